//! [`Builder`]: plan, then run the plan. What happens to one derivation is in `Run::build`, in order.
//!
//! The surprising part: after the output locks are obtained the outputs are looked at again, because whoever had the
//! locks before has probably built them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nixlang_store::derivation::OutputName;
use nixlang_store::local::LocalStore;
use nixlang_store::local::locks::PathLocks;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::error::BuildError;
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::executor::local::LocalExecutor;
use crate::executor::{End, Execution, Executor};
use crate::log::{BuildLog, LogItem};
use crate::options::{BuildMode, BuildOptions};
use crate::plan::{DerivedPath, Plan, Step, plan};
use crate::prepare::{prepare, workspace};
use crate::result::{BuildOutcome, BuildResult, BuildStatus};
use crate::sandbox::{Isolation, Shell};
use crate::scheduler::{Outcome, run_steps};
use crate::{outputs, prepare};

/// Builds derivations in a local store.
///
/// ```no_run
/// use std::sync::Arc;
/// use nixlang_build::{BuildOptions, Builder, CancelToken, DerivedPath};
/// use nixlang_store::local::{LocalStore, LocalStoreOptions};
///
/// // First thing in `main`: builds run under this executable, started anew.
/// let helper = nixlang_build::helper_main();
/// let store = Arc::new(LocalStore::open(LocalStoreOptions::rooted("/home/me/store"))?);
/// let derivation = store.to_store_path("/nix/store/…-hello.drv".as_ref()).expect("a store path").0;
///
/// let builder = Builder::new(store, BuildOptions::new(helper));
/// let plan = builder.plan(&[DerivedPath::from_path(derivation)])?;
/// let outcome = builder.run(&plan, &(), &CancelToken::new());
/// for (path, result) in outcome.failures() {
///     eprintln!("{path:?}: {}", result.message);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder {
    store: Arc<LocalStore>,
    options: BuildOptions,
    executor: Arc<dyn Executor>,
    /// Looked for once, by the first build that needs it.
    shell: OnceLock<Result<Option<Shell>, String>>,
}

impl Builder {
    /// Returns a builder for `store` that runs builds on this machine.
    pub fn new(store: Arc<LocalStore>, options: BuildOptions) -> Builder {
        let executor = Arc::new(LocalExecutor::new(options.helper.clone()));
        Builder::with_executor(store, options, executor)
    }

    /// As [`Builder::new`], with another way to run builds.
    pub fn with_executor(store: Arc<LocalStore>, options: BuildOptions, executor: Arc<dyn Executor>) -> Builder {
        Builder { store, options, executor, shell: OnceLock::new() }
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<LocalStore> {
        &self.store
    }

    /// Returns the settings.
    pub fn options(&self) -> &BuildOptions {
        &self.options
    }

    /// Finds out what has to happen so that `wanted` is valid. All that it meets becomes a temporary root.
    ///
    /// # Errors
    ///
    /// The store can't be read, or a derivation makes no sense. A missing path is no error, see [`Plan::unknown`].
    pub fn plan(&self, wanted: &[DerivedPath]) -> Result<Plan, BuildError> {
        plan(&self.store, wanted, self.options.mode)
    }

    /// Carries a plan out. Returns when everything is done, or stopped.
    pub fn run(&self, plan: &Plan, observer: &dyn Observer, cancel: &CancelToken) -> BuildOutcome {
        Run { builder: self, observer, cancel: cancel.child() }.all(plan)
    }

    /// Returns what `/bin/sh` is in the sandbox of this builder's builds.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn shell(&self) -> Result<Option<&Shell>, BuildError> {
        let found = self.shell.get_or_init(|| {
            Shell::find(&self.options.shell).map_err(|source| BuildError::Shell { source }.to_string())
        });
        match found {
            Ok(shell) => Ok(shell.as_ref()),
            Err(message) => Err(BuildError::NoShell { message: message.clone() }),
        }
    }
}

/// One call of [`Builder::run`].
struct Run<'r> {
    builder: &'r Builder,
    observer: &'r dyn Observer,
    /// Also cancelled by the first failure.
    cancel: CancelToken,
}

impl Run<'_> {
    fn display(&self, path: &StorePath) -> String {
        self.builder.store.store_dir().display(path)
    }

    fn all(&self, plan: &Plan) -> BuildOutcome {
        let mut outcome = BuildOutcome::default();
        for path in &plan.unknown {
            let message = format!("path '{}' does not exist and cannot be created", self.display(path));
            outcome.missing.insert(path.clone(), message);
        }
        for (path, outputs) in &plan.already_valid {
            let outputs = outputs.clone();
            let result = BuildResult { outputs, ..BuildResult::new(BuildStatus::AlreadyValid, "") };
            outcome.results.insert(path.clone(), result);
        }
        if !plan.unknown.is_empty() && !self.builder.options.keep_going {
            return outcome;
        }

        if !plan.steps.is_empty() {
            let options = &self.builder.options;
            let own = self.builder.store.layout().state_dir.join("builds");
            workspace::sweep(options.build_dir.as_ref().unwrap_or(&own));
        }
        let results: Vec<OnceLock<BuildResult>> = plan.steps.iter().map(|_| OnceLock::new()).collect();
        let dependencies: Vec<&[usize]> = plan.steps.iter().map(|step| step.dependencies.as_slice()).collect();
        let run = |index: usize| {
            let step = &plan.steps[index];
            let result = self.build(step);
            self.observer.event(&BuildEvent::Finished { derivation: &step.path, result: &result });
            let worked = result.status.is_success();
            let _ = results[index].set(result);
            worked
        };
        let progress = |counts: crate::scheduler::Counts| {
            let crate::scheduler::Counts { done, running, failed, total } = counts;
            self.observer.event(&BuildEvent::Progress { done, total, running, failed });
        };
        let n_threads = self.builder.options.max_jobs.max(1);
        let keep_going = self.builder.options.keep_going;
        let outcomes = run_steps(&dependencies, n_threads, keep_going, &self.cancel, &run, &progress);
        for ((step, result), how) in plan.steps.iter().zip(results).zip(outcomes) {
            let result = match (result.into_inner(), how) {
                (Some(result), _) => result,
                (None, Outcome::DependenciesFailed(n_failed)) => {
                    let what = if n_failed == 1 { "dependency" } else { "dependencies" };
                    let message = self.cannot_build(step, &format!("{n_failed} {what} failed"));
                    BuildResult::new(BuildStatus::DependencyFailed, message)
                }
                (None, _) => BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string()),
            };
            outcome.results.insert(step.path.clone(), result);
        }
        outcome
    }

    /// The reference's message for a build that failed.
    fn cannot_build(&self, step: &Step, reason: &str) -> String {
        let mut message = format!("Cannot build '{}'.\nReason: {reason}.\nOutput paths:", self.display(&step.path));
        for path in step.outputs.values() {
            message.push_str(&format!("\n  {}", self.display(path)));
        }
        message
    }

    /// Builds one derivation, whose inputs are valid.
    fn build(&self, step: &Step) -> BuildResult {
        let mut result = BuildResult::new(BuildStatus::Built, "");
        match self.try_build(step, &mut result) {
            Ok((status, outputs)) => {
                result.status = status;
                result.outputs = outputs;
                result.log_tail.clear();
            }
            Err(error) => {
                result.status = error.status();
                result.message = error.to_string();
            }
        }
        result
    }

    fn try_build(
        &self,
        step: &Step,
        result: &mut BuildResult,
    ) -> Result<(BuildStatus, BTreeMap<OutputName, StorePath>), BuildError> {
        let Builder { store, options, executor, .. } = self.builder;
        let mode = if step.is_top_level { options.mode } else { BuildMode::Normal };
        self.refuse_wrong_machine(step)?;
        let locks = self.lock_outputs(step)?;
        if mode == BuildMode::Normal && self.is_done(step)? {
            return Ok((BuildStatus::AlreadyValid, step.outputs.clone()));
        }
        let shell = self.builder.shell()?;
        let mut prepared = prepare(store, options, shell, &step.path, &step.derivation)?;
        let planned = prepared.request.sandbox.as_ref().map_or(Isolation::None, |sandbox| sandbox.isolation());
        self.observer.event(&BuildEvent::Started { derivation: &step.path, isolation: planned });

        let mut log = BuildLog::new(options.log_lines);
        if options.keep_log {
            // A log that can't be kept is no reason not to build.
            let _ = log.keep(&store.layout().log_dir, &step.path, options.compress_log);
        }
        result.start_time = now();
        let mut sink = |item: LogItem<'_>| match item {
            LogItem::Line(line) => self.observer.event(&BuildEvent::LogLine { derivation: &step.path, line }),
            LogItem::Phase(phase) => self.observer.event(&BuildEvent::Phase { derivation: &step.path, phase }),
        };
        let execution =
            executor.execute(&prepared.request, &mut |bytes| log.write(bytes, &mut sink), &self.cancel);
        result.stop_time = now();
        result.log_tail = log.finish(&mut sink);
        let execution = execution.map_err(|source| BuildError::Execute { source })?;
        result.isolation = Some(execution.isolation);
        result.shell = match (&prepared.request.sandbox, shell) {
            (Some(_), Some(shell)) => Some(shell.to_string()),
            _ => None,
        };
        (result.cpu_user, result.cpu_system) = execution.cpu;

        let made = self
            .judge(step, &execution)
            .and_then(|()| outputs::register(store, options, &step.path, &step.derivation, &prepared, mode));
        if made.is_err() && options.keep_failed && !step.derivation.is_builtin() {
            prepared.workspace.keep = true;
            if let Some(kept) = prepared.workspace.kept() {
                let line = format!("note: keeping build directory '{}'", kept.display());
                self.observer.event(&BuildEvent::LogLine { derivation: &step.path, line: line.as_bytes() });
            }
        }
        let made = made?;
        let registered: Vec<_> = made.values().map(|path| store.to_real_path(path)).collect();
        prepared.workspace.scratch.retain(|path| !registered.contains(path));
        drop(prepared);
        drop(locks);
        Ok((BuildStatus::Built, made))
    }

    /// Returns whether the outputs that somebody wants are valid.
    fn is_done(&self, step: &Step) -> Result<bool, BuildError> {
        let wanted: Vec<StorePath> = step.wanted.iter().filter_map(|name| step.outputs.get(name)).cloned().collect();
        Ok(self.builder.store.are_valid(&wanted)?.into_iter().all(|valid| valid))
    }

    fn lock_outputs(&self, step: &Step) -> Result<PathLocks, BuildError> {
        let paths: Vec<StorePath> = step.outputs.values().cloned().collect();
        let mut pause = Duration::from_millis(5);
        let mut is_announced = false;
        loop {
            if self.cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if let Some(locks) = self.builder.store.try_lock_paths(&paths)? {
                return Ok(locks);
            }
            if !std::mem::replace(&mut is_announced, true) {
                self.observer.event(&BuildEvent::WaitingForLock { derivation: &step.path });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Refuses what this machine can't run, in the reference's words.
    fn refuse_wrong_machine(&self, step: &Step) -> Result<(), BuildError> {
        let options = &self.builder.options;
        let mut message = format!("Cannot build '{}'.", self.display(&step.path));
        let length = message.len();
        if options.max_jobs == 0 {
            message.push_str(
                "\nReason: local builds are disabled (max-jobs = 0)\nHint: set 'max-jobs' to a non-zero value to \
                 enable local builds, or configure remote builders via 'builders'",
            );
        }
        let system = String::from_utf8_lossy(&step.derivation.system);
        if system != "builtin" && system != options.system && !options.extra_platforms.contains(&*system) {
            message.push_str(&format!(
                "\nReason: platform mismatch\nRequired system: '{system}'\nCurrent system: '{}'",
                options.system
            ));
        }
        let store_dir = self.builder.store.store_dir();
        let attributes = prepare::read_options(store_dir, &step.path, &step.derivation)?;
        let required = &attributes.required_system_features;
        if !required.is_subset(&options.system_features) {
            let list = |features: &std::collections::BTreeSet<String>| {
                features.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            message.push_str(&format!(
                "\nReason: missing system features\nRequired features: {{{}}}\nAvailable features: {{{}}}",
                list(required),
                list(&options.system_features)
            ));
        }
        if message.len() > length { Err(BuildError::WrongMachine { message }) } else { Ok(()) }
    }

    /// Turns the end of a builder into the reference's error, if it is none of success.
    fn judge(&self, step: &Step, execution: &Execution) -> Result<(), BuildError> {
        let reason = match execution.end {
            End::Exited(0) => return Ok(()),
            End::Exited(status) => format!("builder failed with exit code {status}"),
            End::Signalled(signal) => format!("builder failed due to signal {signal} ({})", signal_name(signal)),
            End::TimedOut(limit) => {
                let message = format!("timed out after {} seconds", limit.as_secs());
                return Err(BuildError::Limit { message, status: BuildStatus::TimedOut });
            }
            End::LogTooLong(limit) => {
                let path = self.display(&step.path);
                let message = format!("building derivation '{path}' killed after writing more than {limit} bytes of log output");
                return Err(BuildError::Limit { message, status: BuildStatus::LogLimitExceeded });
            }
            End::Cancelled => return Err(BuildError::Cancelled),
        };
        let is_sandboxed_kind = step.derivation.kind().is_ok_and(|kind| kind.is_sandboxed());
        let is_disk_full = self.is_disk_full();
        let mut message = self.cannot_build(step, &reason);
        if is_disk_full {
            message.push_str("\nnote: build failure may have been caused by lack of free disk space");
        }
        Err(BuildError::Builder { message, transient: !is_sandboxed_kind || is_disk_full })
    }

    /// Whether hardly anything is left where the store or build directories are.
    fn is_disk_full(&self) -> bool {
        const REQUIRED: u64 = 8 << 20;
        let layout = self.builder.store.layout();
        let build_dir = self.builder.options.build_dir.as_ref().unwrap_or(&layout.state_dir);
        [&layout.real_store_dir, build_dir].into_iter().any(|path| {
            rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < REQUIRED)
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The C library's words for a signal.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        31 => "Bad system call",
        _ => "Unknown signal",
    }
}
