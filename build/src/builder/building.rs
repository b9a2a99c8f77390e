//! What happens to one derivation: resolve, lock, look again, prepare, execute, judge, register.
//!
//! The surprising part: after the output locks are obtained the outputs are looked at again, because whoever had the
//! locks before has probably built them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use nixlang_store::derivation::{Derivation, DerivationOutput, DerivationType, OutputName};
use nixlang_store::local::locks::PathLocks;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::Builder;
use super::run::Run;
use crate::error::BuildError;
use crate::event::BuildEvent;
use crate::executor::{End, Execution};
use crate::known::OutputPaths;
use crate::log::{BuildLog, LogItem};
use crate::options::BuildMode;
use crate::plan::BuildStep;
use crate::prepare::external::{self, SetupFilter};
use crate::prepare::resolve::{is_resolved_first, resolve};
use crate::prepare::{Task, prepare};
use crate::result::{BuildResult, BuildStatus};
use crate::users::{self, BuildUser};
use crate::{hooks, lock_wait, outputs, prepare, recursive};

/// A derivation whose inputs are valid, and what is wanted of it.
struct Target<'t> {
    /// What was to be built; another one than `path` if that was resolved.
    origin: &'t StorePath,
    path: &'t StorePath,
    derivation: &'t Derivation,
    outputs: BTreeMap<OutputName, Option<StorePath>>,
    wanted: &'t BTreeSet<OutputName>,
    mode: BuildMode,
}

impl Run<'_> {
    /// The reference's message for a build that failed.
    pub(super) fn cannot_build(
        &self,
        path: &StorePath,
        outputs: &BTreeMap<OutputName, Option<StorePath>>,
        reason: &str,
    ) -> String {
        let mut message = format!("Cannot build '{}'.\nReason: {reason}.", self.display(path));
        let known: BTreeSet<&StorePath> = outputs.values().flatten().collect();
        if !known.is_empty() {
            message.push_str("\nOutput paths:");
        }
        for path in known {
            message.push_str(&format!("\n  {}", self.display(path)));
        }
        message
    }

    /// Builds one derivation, whose inputs are valid: on another machine if `elsewhere`. Returns none if it has to be here.
    pub(super) fn build(&self, step: &BuildStep, elsewhere: bool) -> Option<BuildResult> {
        let mut result = BuildResult::new(BuildStatus::Built, "");
        match self.resolve_and_build(step, &mut result, elsewhere) {
            Err(BuildError::Declined) => return None,
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
        Some(result)
    }

    fn resolve_and_build(
        &self,
        step: &BuildStep,
        result: &mut BuildResult,
        elsewhere: bool,
    ) -> Result<(BuildStatus, OutputPaths), BuildError> {
        let Builder { store, options, .. } = self.builder;
        let mode = if step.is_top_level || options.mode == BuildMode::Repair { options.mode } else { BuildMode::Normal };
        let BuildStep { path, derivation, outputs, wanted, .. } = step;
        if !is_resolved_first(derivation, self.known.has_realisations()) {
            return self.try_build(&Target { origin: path, path, derivation, outputs: outputs.clone(), wanted, mode }, result, elsewhere);
        }
        options.require_feature("ca-derivations")?;
        let output = |input: &StorePath, name: &OutputName| {
            self.known.output(input, name)?.ok_or_else(|| BuildError::Derivation {
                derivation: self.display(path),
                reason: format!("output '{name}' of input derivation '{}' is not known", self.display(input)),
            })
        };
        let (resolved_path, resolved) = resolve(store.store_dir(), path, derivation, &output)?;
        self.observer.event(&BuildEvent::Resolved { derivation: path, resolved: &resolved_path });
        let outputs = self.known.outputs(&resolved_path, &resolved)?;
        let mut target = Target { origin: path, path: &resolved_path, derivation: &resolved, outputs, wanted, mode };
        if mode == BuildMode::Normal && !self.is_done(&target)? {
            let fetched = self.fetch_resolved(&resolved_path, &resolved, wanted)?;
            target.outputs.extend(fetched.into_iter().map(|(name, path)| (name, Some(path))));
        }
        let built = if mode == BuildMode::Normal && self.is_done(&target)? {
            let outputs = target.outputs.into_iter().filter_map(|(name, path)| Some((name, path?))).collect();
            Ok((BuildStatus::AlreadyValid, outputs))
        } else {
            // What is really built stays on record.
            store.write_derivation(&resolved)?;
            self.try_build(&target, result, elsewhere)
        };
        let (status, outputs) = match built {
            Ok((BuildStatus::AlreadyValid, outputs)) => (BuildStatus::ResolvesToAlreadyValid, outputs),
            Ok(built) => built,
            Err(error @ (BuildError::Cancelled | BuildError::Declined)) => return Err(error),
            Err(error) => {
                let mut failed = std::mem::replace(result, BuildResult::new(BuildStatus::Built, ""));
                failed.status = error.status();
                failed.message = error.to_string();
                self.keep_result(&resolved_path, failed);
                self.resolved_failures.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), resolved_path.clone());
                return Err(BuildError::ResolvedFailed { resolved: self.display(&resolved_path) });
            }
        };
        self.known.note(&resolved_path, &outputs);
        if derivation.kind() != Ok(DerivationType::Impure) {
            self.known.register(path, derivation, &outputs, &options.secret_keys)?;
        }
        Ok((status, outputs))
    }

    fn try_build(
        &self,
        target: &Target<'_>,
        result: &mut BuildResult,
        elsewhere: bool,
    ) -> Result<(BuildStatus, OutputPaths), BuildError> {
        let Builder { store, options, executor, .. } = self.builder;
        let Target { path, derivation, mode, .. } = *target;
        let here = self.refuse_wrong_machine(target);
        let place = if elsewhere {
            Some(self.place_elsewhere(path, derivation, mode, here.is_ok())?.ok_or(BuildError::Declined)?)
        } else {
            here?;
            None
        };
        let locks = self.lock_outputs(target)?;
        let outputs = self.known.outputs(path, derivation)?;
        let target = &Target { outputs, ..*target };
        let is_done = mode != BuildMode::Repair && self.is_done(target)?;
        if mode == BuildMode::Normal && is_done {
            let outputs = target.outputs.iter().filter_map(|(name, path)| Some((name.clone(), path.clone()?))).collect();
            return Ok((BuildStatus::AlreadyValid, outputs));
        }
        if mode == BuildMode::Check && !is_done {
            return Err(BuildError::NothingToCheck { derivation: self.display(path) });
        }
        if let Some(place) = place {
            return self.build_on(place, path, derivation, locks, result);
        }
        let shell = self.builder.shell()?;
        let outputs = &target.outputs;
        let user = |n_ids: u32, sandboxed: bool| self.take_user(path, n_ids, sandboxed);
        let known = &self.known;
        let mut prepared = prepare(Task { store, options, known, shell, path, derivation, outputs, mode, limits_of: target.origin, spares: &self.spares, user: &user })?;
        let isolation = executor.isolation(&prepared.request);
        self.observer.event(&BuildEvent::Started { derivation: path, isolation });
        for message in prepare::warnings(&prepared.options) {
            self.observer.event(&BuildEvent::Warning { derivation: path, message: &message });
        }
        self.observer.event(&BuildEvent::Executing { derivation: path, program: &derivation.builder });

        let mut log = BuildLog::new(options.log_lines);
        if options.keep_log {
            // A log that can't be kept is no reason not to build.
            let _ = log.keep(&store.layout().log_dir, path, options.compress_log);
        }
        result.start_time = now();
        let mut sink = |item: LogItem<'_>| match item {
            LogItem::Line(line) => self.observer.event(&BuildEvent::LogLine { derivation: path, line }),
            LogItem::Phase(phase) => self.observer.event(&BuildEvent::Phase { derivation: path, phase }),
            LogItem::Warning(message) => self.observer.event(&BuildEvent::Warning { derivation: path, message }),
        };
        let mut setup = prepared.is_external.then(SetupFilter::default);
        let (execution, added) = recursive::with_daemon(self.builder, &prepared, &self.cancel, || {
            let mut write = |bytes: &[u8]| match &mut setup {
                Some(setup) => setup.write(bytes, &mut |bytes| log.write(bytes, &mut sink)),
                None => log.write(bytes, &mut sink),
            };
            executor.execute(&prepared.request, &mut write, &self.cancel)
        })?;
        if let Some(setup) = setup {
            setup.finish(&mut |bytes| log.write(bytes, &mut sink));
        }
        prepared.inputs.extend(added);
        result.stop_time = now();
        result.log_tail = log.finish(&mut sink);
        let execution = execution.map_err(|source| BuildError::Execute { source })?;
        result.isolation = Some(isolation);
        result.shell = match (&prepared.request.sandbox, shell) {
            (Some(_), Some(shell)) => Some(shell.to_string()),
            _ => None,
        };
        (result.cpu_user, result.cpu_system) = execution.cpu;

        let show = |said: &str| {
            for line in said.lines() {
                self.observer.event(&BuildEvent::HookLine { derivation: path, line: line.as_bytes() });
            }
        };
        let made = self.judge(target, &execution).and_then(|()| {
            outputs::register(store, options, &self.known, path, derivation, &prepared, mode, &show)
        });
        if made.is_err() && options.keep_failed && !derivation.is_builtin() {
            prepared.workspace.keep = true;
            if let Some(kept) = prepared.workspace.kept() {
                let line = format!("note: keeping build directory \"{}\"", kept.display());
                self.observer.event(&BuildEvent::LogLine { derivation: path, line: line.as_bytes() });
            }
        }
        self.observer.event(&BuildEvent::Ended { derivation: path });
        let made = made?;
        let registered: Vec<_> = made.values().map(|path| store.to_real_path(path)).collect();
        prepared.workspace.scratch.retain(|path| !registered.contains(path));
        drop(prepared);
        self.run_post_build_hook(path, &made)?;
        drop(locks);
        Ok((BuildStatus::Built, made))
    }

    /// Runs the hook after a build, if there is one.
    pub(super) fn run_post_build_hook(&self, path: &StorePath, made: &OutputPaths) -> Result<(), BuildError> {
        let Builder { store, options, .. } = self.builder;
        let Some(hook) = &options.post_build_hook else { return Ok(()) };
        self.observer.event(&BuildEvent::HookStarted { derivation: path, program: hook });
        let mut line = |line: &[u8]| self.observer.event(&BuildEvent::HookLine { derivation: path, line });
        let outputs: Vec<&StorePath> = made.values().collect();
        let ran = hooks::run_post_build_hook(hook, options, store, path, &outputs, &mut line);
        self.observer.event(&BuildEvent::HookFinished { derivation: path });
        Ok(ran?)
    }

    /// Takes a user for a build, waiting until one is free. Returns none where builds run as the calling user.
    fn take_user(&self, path: &StorePath, n_ids: u32, sandboxed: bool) -> Result<Option<BuildUser>, BuildError> {
        let options = &self.builder.options;
        if !users::are_used(options) {
            return Ok(None);
        }
        let mut is_announced = false;
        loop {
            let user = users::acquire(options, &self.builder.store.layout().state_dir, n_ids, sandboxed)?;
            if user.is_some() {
                return Ok(user);
            }
            if self.cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if !std::mem::replace(&mut is_announced, true) {
                self.observer.event(&BuildEvent::WaitingForUser { derivation: path });
            }
            lock_wait::wait_for_one(&users::lock_files(options, &self.builder.store.layout().state_dir)?, &self.cancel);
        }
    }

    /// Returns whether the outputs that somebody wants are valid.
    fn is_done(&self, target: &Target<'_>) -> Result<bool, BuildError> {
        let wanted: Option<Vec<StorePath>> =
            target.wanted.iter().map(|name| target.outputs.get(name).cloned().flatten()).collect();
        match wanted {
            Some(wanted) => Ok(self.builder.store.are_valid(&wanted)?.into_iter().all(|valid| valid)),
            None => Ok(false),
        }
    }

    fn lock_outputs(&self, target: &Target<'_>) -> Result<PathLocks, BuildError> {
        let store = &self.builder.store;
        let mut paths = BTreeSet::new();
        for (name, output) in &target.outputs {
            let is_static = target.derivation.outputs.get(name).is_some_and(|output| {
                !matches!(output, DerivationOutput::Floating { .. } | DerivationOutput::Impure { .. })
            });
            paths.insert(match output {
                Some(output) if is_static => store.to_real_path(output),
                _ => store.to_real_path(target.path).with_added_extension(name),
            });
        }
        let files: Vec<PathBuf> = paths.iter().map(|path| path.with_added_extension("lock")).collect();
        let mut is_announced = false;
        loop {
            if self.cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if let Some(locks) = PathLocks::try_lock(&paths)? {
                return Ok(locks);
            }
            if !std::mem::replace(&mut is_announced, true) {
                self.observer.event(&BuildEvent::WaitingForLock { derivation: target.path });
            }
            lock_wait::wait_for_one(&files, &self.cancel);
        }
    }

    /// Refuses what this machine can't run, in the reference's words.
    fn refuse_wrong_machine(&self, step: &Target<'_>) -> Result<(), BuildError> {
        let options = &self.builder.options;
        if options.max_jobs > 0 && external::find(options, step.derivation).is_some() {
            return Ok(());
        }
        let mut message = format!("Cannot build '{}'.", self.display(step.path));
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
        let attributes = prepare::read_options(store_dir, step.path, step.derivation)?;
        let required = attributes.required_features(step.derivation).map_err(|error| BuildError::Derivation {
            derivation: self.display(step.path),
            reason: error.to_string(),
        })?;
        let available = options.all_system_features();
        if !required.is_subset(&available) {
            let list = |features: &std::collections::BTreeSet<String>| {
                features.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            message.push_str(&format!(
                "\nReason: missing system features\nRequired features: {{{}}}\nAvailable features: {{{}}}",
                list(&required),
                list(&available)
            ));
        }
        if message.len() > length { Err(BuildError::WrongMachine { message }) } else { Ok(()) }
    }

    /// Turns the end of a builder into the reference's error, if it is none of success.
    fn judge(&self, step: &Target<'_>, execution: &Execution) -> Result<(), BuildError> {
        let reason = match execution.end {
            End::Exited(0) => return Ok(()),
            End::Exited(status) => format!("builder failed with exit code {status}"),
            End::Signalled(signal) => format!("builder failed due to signal {signal} ({})", signal_name(signal)),
            End::TimedOut(limit) => {
                let message = format!("timed out after {} seconds", limit.as_secs());
                return Err(BuildError::Limit { message, status: BuildStatus::TimedOut });
            }
            End::LogTooLong(limit) => {
                let path = self.display(step.path);
                let message = format!("building derivation '{path}' killed after writing more than {limit} bytes of log output");
                return Err(BuildError::Limit { message, status: BuildStatus::LogLimitExceeded });
            }
            End::Cancelled => return Err(BuildError::Cancelled),
        };
        let is_sandboxed_kind = step.derivation.kind().is_ok_and(|kind| kind.is_sandboxed());
        let is_disk_full = self.is_disk_full();
        let mut message = self.cannot_build(step.path, &step.outputs, &reason);
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
