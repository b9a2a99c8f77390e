//! Running one build: a [`BuildRequest`] in, its log and its end out.
//!
//! The surprising part: a request holds no policy any more. Everything was decided when it was made, so that another
//! executor (another machine, say) does the same with it.

pub mod builtin;
pub mod local;
#[cfg(feature = "remote-execution")]
pub mod remote_execution;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nixlang_store::path::StorePath;

use crate::event::CancelToken;
pub use crate::sandbox::helper::{Program, RunAs};
pub use crate::sandbox::linux::cgroup::ResourceLimits;
use crate::sandbox::{Isolation, SandboxSpec};

/// One build, ready to run.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The derivation, for messages.
    pub derivation: StorePath,
    /// Whether all of the outputs' hashes are known beforehand.
    pub is_fixed_output: bool,
    /// What runs.
    pub program: Program,
    /// Working directory, as the builder sees it.
    pub directory: PathBuf,
    /// The outputs: where the builder makes them, and where they have to be on this machine afterwards.
    pub outputs: BTreeMap<PathBuf, PathBuf>,
    /// Whether a result that somebody remembers won't do: the build is compared with an earlier one.
    pub anew: bool,
    /// The sandbox; none only if the caller's settings say so.
    pub sandbox: Option<SandboxSpec>,
    /// When to give up.
    pub limits: Limits,
    /// Who the builder runs as without a sandbox; the calling user if absent.
    pub user: Option<RunAs>,
    /// Name of the build's control group, and what it may use.
    pub cgroup: Option<(String, ResourceLimits)>,
}

/// When a build is ended by force. Without a value there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Longest run time.
    pub timeout: Option<Duration>,
    /// Longest time without a word on the log.
    pub max_silent: Option<Duration>,
    /// Longest log in bytes.
    pub max_log_bytes: Option<u64>,
}

/// How a builder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// It ran for longer than this, or was silent for so long.
    TimedOut(Duration),
    /// It wrote more than this number of bytes.
    LogTooLong(u64),
    /// The caller wanted it.
    Cancelled,
}

/// What is known after a run.
#[derive(Clone, Debug)]
pub struct Execution {
    /// How it ended.
    pub end: End,
    /// Processor time in user mode and in the kernel.
    pub cpu: (Duration, Duration),
}

/// A build could not even start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The helper process did not start.
    #[error("cannot start the helper process for builds")]
    Helper {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The helper process ended without a word: it is not one, or was killed.
    #[error("the helper process for builds ended unexpectedly; the program that it is must call `helper_main` first thing")]
    HelperDied,
    /// The sandbox could not be made.
    #[error("cannot set up the sandbox: {step}: {reason}{}", hint_suffix(.hint))]
    Sandbox {
        /// What was tried.
        step: String,
        /// Why it failed.
        reason: String,
        /// What the machine says about it; may be empty.
        hint: String,
    },
    /// A server could not run the build.
    #[error("cannot build on '{server}': {reason}")]
    Remote {
        /// Its address.
        server: String,
        /// Why not.
        reason: String,
    },
    /// Reading the builder's output failed.
    #[error("cannot read the output of a builder")]
    Log {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn hint_suffix(hint: &str) -> String {
    if hint.is_empty() {
        return String::new();
    }
    format!(
        "\n{hint}\nhint: builds are never run without a sandbox unless that is asked for; \
         the setting 'sandbox = false' does, in a store whose real directory is '/nix/store'"
    )
}

/// Runs builds.
pub trait Executor: Send + Sync {
    /// Returns how a build is isolated when this executor runs it.
    fn isolation(&self, request: &BuildRequest) -> Isolation {
        request.sandbox.as_ref().map_or(Isolation::None, SandboxSpec::isolation)
    }

    /// Runs one build to its end. `log` gets what it writes, as it comes.
    ///
    /// # Errors
    ///
    /// The builder could not start. A builder that fails is no error here, see [`Execution::end`].
    fn execute(
        &self,
        request: &BuildRequest,
        log: &mut dyn FnMut(&[u8]),
        cancel: &CancelToken,
    ) -> Result<Execution, ExecuteError>;
}
