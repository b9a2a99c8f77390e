//! Builds on servers of the Bazel Remote Execution API v2 (feature `remote-execution`): inputs go there as Merkle trees, outputs come back as
//! files, and results that the server knows are not computed again.
//!
//! ```text
//! BuildRequest ─ tree ─▶ blobs ─ connection: what is missing? upload ─▶ Action ─ execute ─▶ ActionResult ─ outputs ─▶ files where the sandbox
//!                                                                                                        would have left them
//! ```
//!
//! The tree of a store path has the same names, bytes, links and executable bits as its NAR and nothing else, so nothing is lost on the way.
//! What comes back is scanned, hashed, checked and registered here, as after any build.
//!
//! The surprising part: an action has to be the same wherever it comes from, or the server's cache would never answer. So the number of cores is
//! what [`RemoteOptions::cores`] says. And builds with network (fixed outputs) and built-in builders run on this machine.
//!
//! Source of the protocol: `build/bazel/remote/execution/v2/remote_execution.proto`.

mod connection;
mod outputs;
mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2::{Action, Command, command::EnvironmentVariable};
use prost::Message;

use self::connection::{Connection, RemoteError, Stopped};
use self::tree::{Blobs, InputRoot, Subtree};
use super::{BuildRequest, End, ExecuteError, Execution, Executor, Program};
use crate::event::CancelToken;
use crate::sandbox::{EntryKind, Isolation, Network, SandboxSpec};

/// Where the server is, and how actions are made for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// `grpc://HOST:PORT`, or `grpcs://HOST:PORT` with TLS.
    pub address: String,
    /// Name of the instance on the server; often empty.
    pub instance: String,
    /// Sent as `Authorization: Bearer TOKEN`.
    pub token: Option<String>,
    /// What builders are told of cores (`NIX_BUILD_CORES`). Part of what the server's cache goes by.
    pub cores: usize,
    /// Wishes for the machine, as name and value: part of the action (`OSFamily` and the like).
    pub platform: Vec<(String, String)>,
}

impl RemoteOptions {
    /// Returns options for a server: no instance, no token, one core per build.
    pub fn new(address: impl Into<String>) -> RemoteOptions {
        RemoteOptions { address: address.into(), instance: String::new(), token: None, cores: 1, platform: Vec::new() }
    }
}

/// Runs builds on a server; see the [module](self). Connects at the first build.
pub struct RemoteExecutor {
    options: RemoteOptions,
    connection: Connection,
    /// Runs what can't be run remotely.
    local: Arc<dyn Executor>,
    /// Trees of files that don't change any more: those of the store.
    trees: Mutex<HashMap<PathBuf, Arc<Subtree>>>,
}

impl std::fmt::Debug for RemoteExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteExecutor").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RemoteExecutor {
    /// Returns an executor for a server. `local` runs builds with network and built-in builders.
    ///
    /// # Errors
    /// When the address makes no sense, or the machine has no room for another thread.
    pub fn new(options: RemoteOptions, local: Arc<dyn Executor>) -> Result<RemoteExecutor, ExecuteError> {
        let connection = Connection::new(&options).map_err(|error| remote(&options, error))?;
        Ok(RemoteExecutor { options, connection, local, trees: Mutex::default() })
    }

    /// Returns the tree of a file of this machine. Those of read-only mounts are kept.
    fn subtree(&self, source: &Path, keep: bool) -> Result<Arc<Subtree>, RemoteError> {
        if keep && let Some(tree) = self.trees.lock().unwrap_or_else(PoisonError::into_inner).get(source) {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(Subtree::read(source).map_err(|error| RemoteError::input(source, error))?);
        if keep {
            self.trees.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), Arc::clone(&tree));
        }
        Ok(tree)
    }

    /// Makes the root directory that a build sees.
    fn input_root(&self, sandbox: &SandboxSpec, blobs: &mut Blobs) -> Result<InputRoot, RemoteError> {
        let mut root = InputRoot::default();
        for entry in &sandbox.entries {
            // Devices and processes are the server's own.
            if is_machine_own(&entry.path) {
                continue;
            }
            match &entry.kind {
                EntryKind::Directory(_) => root.directory(&entry.path)?,
                EntryKind::File(text) => root.file(&entry.path, blobs.bytes(text.as_bytes().to_vec()), false)?,
                EntryKind::Symlink(target) => root.symlink(&entry.path, target)?,
            }
        }
        for mount in sandbox.mounts.iter().filter(|mount| !is_machine_own(&mount.target)) {
            if mount.optional && !mount.source.exists() {
                continue;
            }
            let tree = self.subtree(&mount.source, mount.read_only)?;
            blobs.extend(&tree);
            root.subtree(&mount.target, &tree)?;
        }
        Ok(root)
    }

    fn run(&self, request: &BuildRequest, sandbox: &SandboxSpec, log: &mut dyn FnMut(&[u8]), cancel: &CancelToken) -> Result<End, Stopped> {
        let mut blobs = Blobs::default();
        let root = self.input_root(sandbox, &mut blobs)?.finish(&mut blobs);
        let command = self.command(request)?;
        let action = Action {
            command_digest: Some(blobs.bytes(command.encode_to_vec())),
            input_root_digest: Some(root),
            timeout: request.limits.timeout.map(duration),
            // A build that is compared with an earlier one must really run.
            do_not_cache: request.anew,
            platform: (!self.options.platform.is_empty()).then(|| tree::platform(&self.options.platform)),
            ..Action::default()
        };
        let action = blobs.bytes(action.encode_to_vec());
        let result = match self.connection.execute(&blobs, &action, request.anew, cancel) {
            Err(Stopped::TimedOut) => return Ok(End::TimedOut(request.limits.timeout.unwrap_or_default())),
            other => other?,
        };
        let mut n_bytes = 0;
        for text in self.connection.log(&result, cancel)? {
            n_bytes += text.len() as u64;
            log(&text);
        }
        if let Some(limit) = request.limits.max_log_bytes.filter(|limit| n_bytes > *limit) {
            return Ok(End::LogTooLong(limit));
        }
        if result.exit_code == 0 {
            outputs::fetch(&self.connection, &result, request, cancel)?;
        }
        Ok(End::Exited(result.exit_code))
    }

    fn command(&self, request: &BuildRequest) -> Result<Command, RemoteError> {
        let Program::Execute { path, arguments, environment, .. } = &request.program else {
            return Err(RemoteError::Builtin);
        };
        let text = |bytes: &[u8], what: &'static str| {
            String::from_utf8(bytes.to_vec()).map_err(|_| RemoteError::NotUtf8 { what, text: String::from_utf8_lossy(bytes).into_owned() })
        };
        let mut words = vec![text(&path.0, "the builder")?];
        for argument in arguments.iter().skip(1) {
            words.push(text(&argument.0, "an argument of the builder")?);
        }
        let mut variables = Vec::new();
        for variable in environment {
            let variable = text(&variable.0, "a variable of the builder")?;
            let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
            let value = if name == "NIX_BUILD_CORES" { self.options.cores.to_string() } else { value.to_owned() };
            variables.push(EnvironmentVariable { name: name.to_owned(), value });
        }
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        let directory = relative(&request.directory)?;
        // Paths of outputs start from the working directory.
        let up = "../".repeat(directory.split('/').filter(|part| !part.is_empty()).count());
        let mut output_paths: Vec<String> = Vec::new();
        for output in request.outputs.keys() {
            output_paths.push(format!("{up}{}", relative(output)?));
        }
        output_paths.sort();
        Ok(Command { arguments: words, environment_variables: variables, output_paths, working_directory: directory, ..Command::default() })
    }
}

impl Executor for RemoteExecutor {
    fn isolation(&self, request: &BuildRequest) -> Isolation {
        if goes_there(request).is_some() { Isolation::Remote } else { self.local.isolation(request) }
    }

    fn execute(&self, request: &BuildRequest, log: &mut dyn FnMut(&[u8]), cancel: &CancelToken) -> Result<Execution, ExecuteError> {
        let Some(sandbox) = goes_there(request) else { return self.local.execute(request, log, cancel) };
        let end = match self.run(request, sandbox, log, cancel) {
            Ok(end) => end,
            Err(Stopped::Cancelled) => End::Cancelled,
            Err(Stopped::TimedOut) => End::TimedOut(request.limits.timeout.unwrap_or_default()),
            Err(Stopped::Failed(error)) => return Err(remote(&self.options, error)),
        };
        Ok(Execution { end, cpu: (Duration::ZERO, Duration::ZERO) })
    }
}

/// Returns the sandbox of a build that the server can run: a program, without network.
fn goes_there(request: &BuildRequest) -> Option<&SandboxSpec> {
    let is_program = matches!(request.program, Program::Execute { .. });
    request.sandbox.as_ref().filter(|sandbox| is_program && sandbox.network == Network::Private)
}

fn remote(options: &RemoteOptions, error: RemoteError) -> ExecuteError {
    ExecuteError::Remote { server: options.address.clone(), reason: error.to_string() }
}

/// Returns whether a path is of the machine that runs the build rather than of the build.
fn is_machine_own(path: &Path) -> bool {
    ["/dev", "/proc", "/sys"].iter().any(|own| path.starts_with(own))
}

/// Returns a path of the sandbox as the protocol wants it: from the root directory, without a slash in front.
fn relative(path: &Path) -> Result<String, RemoteError> {
    let text = path.to_str().ok_or_else(|| RemoteError::NotUtf8 { what: "a path", text: path.display().to_string() })?;
    Ok(text.trim_start_matches('/').to_owned())
}

fn duration(duration: Duration) -> bazel_remote_apis::google::protobuf::Duration {
    bazel_remote_apis::google::protobuf::Duration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: duration.subsec_nanos().cast_signed() }
}
