//! A build on another machine: copy what it needs, let it be built there, copy the outputs back.
//!
//! The surprising part: the derivation that is sent has no input derivations. All paths that they stand for are listed as
//! its sources, so the other machine needs no `.drv` files; unless it does not trust us and the outputs are named by the
//! derivation. Then the whole closure of the derivation goes there, and the machine sees for itself.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use nixlang_store::copy::{CopyOptions, copy};
use nixlang_store::derivation::Derivation;
use nixlang_store::local::locks::PathLocks;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::wire::build_result::BuildMode as WireMode;
use nixlang_store::wire::derived_path::{DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::wire::log::{Field, LogMessage, LogSink, level as wire_level, result as wire_result};

use super::run::Run;
use crate::error::BuildError;
use crate::event::BuildEvent;
use crate::known::OutputPaths;
use crate::log::{BuildLog, LogItem};
use crate::options::BuildMode;
use crate::prepare;
use crate::remote::asked::unless_cancelled;
use crate::remote::builders::{Place, wake};
use crate::remote::copying::Copying;
use crate::remote::from_wire_result;
use crate::result::{BuildResult, BuildStatus};

impl Run<'_> {
    /// Takes a place on another machine, if the build should go there.
    pub(super) fn place_elsewhere(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        mode: BuildMode,
        can_build_here: bool,
    ) -> Result<Option<Place>, BuildError> {
        let (Some(builders), BuildMode::Normal) = (&self.builder.options.remote, mode) else { return Ok(None) };
        let store = &self.builder.store;
        let attributes = prepare::read_options(store.store_dir(), path, derivation)?;
        if attributes.prefer_local_build && can_build_here || !store.is_valid(path)? {
            return Ok(None);
        }
        let features = attributes.required_features(derivation).map_err(|error| BuildError::Derivation {
            derivation: self.display(path),
            reason: error.to_string(),
        })?;
        let system = String::from_utf8_lossy(&derivation.system);
        let warn = |message: &str| self.observer.event(&BuildEvent::Warning { derivation: path, message });
        let place = builders.acquire(&system, &features, can_build_here, &self.cancel, &warn).map_err(|error| BuildError::Limit {
            message: format!("cannot take a place on another machine: {error}"),
            status: BuildStatus::MiscFailure,
        })?;
        if place.is_none() && !can_build_here && !self.cancel.is_cancelled() {
            self.observer.event(&BuildEvent::Note { derivation: path, message: &builders.lack(path, &system, &features) });
        }
        Ok(place)
    }

    /// Builds there.
    pub(super) fn build_on(
        &self,
        place: Place,
        path: &StorePath,
        derivation: &Derivation,
        locks: PathLocks,
        result: &mut BuildResult,
    ) -> Result<(BuildStatus, OutputPaths), BuildError> {
        let options = &self.builder.options;
        let machine = place.machine().address();
        self.observer.event(&BuildEvent::StartedElsewhere { derivation: path, machine: &machine });
        let mut log = BuildLog::new(options.log_lines);
        if options.keep_log {
            let _ = log.keep(&self.builder.store.layout().log_dir, path, options.compress_log);
        }
        let log = Mutex::new(log);
        let builders = place.builders().clone();
        let Place { remote, mut said, slot, .. } = place;
        let sink = &ElsewhereLog { run: self, path, log: &log };
        let built = std::thread::scope(|scope| {
            let listening = scope.spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n_read @ 1..) = said.read(&mut buffer) {
                    sink.write(&buffer[..n_read]);
                }
            });
            let built = self.build_with(&remote, &builders, &machine, path, derivation, sink, Some(locks));
            // The other side's end of the pipe goes with its connection.
            drop(remote);
            drop(slot);
            let _ = listening.join();
            built
        });
        wake(&builders);
        let mut show = |item: LogItem<'_>| self.show(path, item);
        result.log_tail = log.into_inner().unwrap_or_else(PoisonError::into_inner).finish(&mut show);
        self.observer.event(&BuildEvent::Ended { derivation: path });
        let (there, outputs) = built?;
        (result.start_time, result.stop_time) = (there.start_time, there.stop_time);
        (result.cpu_user, result.cpu_system) = (there.cpu_user, there.cpu_system);
        self.run_post_build_hook(path, &outputs)?;
        Ok((BuildStatus::Built, outputs))
    }

    /// Copies what a build needs, has it built and copies the outputs back.
    #[expect(clippy::too_many_arguments, reason = "two uses, and all of it is context")]
    pub(super) fn build_with(
        &self,
        remote: &crate::remote::RemoteStore,
        builders: &crate::remote::RemoteBuilders,
        machine: &str,
        path: &StorePath,
        derivation: &Derivation,
        log: &dyn LogSink,
        locks: Option<PathLocks>,
    ) -> Result<(BuildResult, OutputPaths), BuildError> {
        let store = &self.builder.store;
        let mut copying = CopyOptions::default();
        copying.check_signatures = false;
        copying.substitute = builders.substitutes();
        let inputs: BTreeSet<StorePath> = prepare::input_closure(store, &self.known, path, derivation)?;
        let there = Copying::new(self.observer, path, &**store, &*remote.store);
        {
            let _lock = builders.lock_uploads(machine);
            copy(&**store, &*remote.store, &inputs, &copying, &there)?;
        }
        let is_content_addressed = derivation.kind().is_ok_and(|kind| kind.is_content_addressed());
        let is_trusted = remote.store.trusts_this_client()? != Some(false);
        let there = if is_trusted || is_content_addressed {
            let mut basic = derivation.clone();
            // Without input derivations the sources are part of what outputs are named by.
            if !basic.input_derivations.is_empty() {
                basic.input_derivations.clear();
                basic.input_sources = inputs;
            }
            let build = || remote.service.build_derivation(path, &basic, WireMode::Normal, log);
            unless_cancelled(&*remote.service, &self.cancel, build)?
        } else {
            let closure = store.closure(std::slice::from_ref(path))?;
            copy(&**store, &*remote.store, &closure, &copying, &there)?;
            let derivation = SingleDerivedPath::Opaque(path.clone());
            let wanted = DerivedPath::built(derivation, OutputsSpec::All);
            let build = || remote.service.build_paths(&[wanted], WireMode::Normal, log);
            let results = unless_cancelled(&*remote.service, &self.cancel, build)?;
            results.into_iter().next().map(|keyed| keyed.result).ok_or_else(|| BuildError::Limit {
                message: format!("'{machine}' gave no result"),
                status: BuildStatus::MiscFailure,
            })?
        };
        let there = from_wire_result(&there);
        if !there.status.is_success() {
            if self.builder.options.keep_failed {
                let message = "The failed build directory was kept on the remote builder due to `--keep-failed`. You can re-run the \
                               command with `--builders ''` to disable remote building for this invocation.";
                self.observer.event(&BuildEvent::Warning { derivation: path, message });
            }
            let message = format!("build of '{}' on '{machine}' failed: {}", self.display(path), there.message);
            return Err(BuildError::Limit { message, status: there.status });
        }
        let mut outputs = OutputPaths::new();
        for (name, known) in self.known.outputs(path, derivation)? {
            let made = known.or_else(|| there.outputs.get(&name).cloned()).ok_or_else(|| BuildError::Limit {
                message: format!("'{machine}' does not say what output '{name}' of '{}' is", self.display(path)),
                status: BuildStatus::OutputRejected,
            })?;
            outputs.insert(name, made);
        }
        // Adding takes the same locks; whoever gets them first in between adds the same.
        drop(locks);
        copying.substitute = false;
        let wanted: BTreeSet<StorePath> = outputs.values().cloned().collect();
        copy(&*remote.store, &**store, &wanted, &copying, &Copying::new(self.observer, path, &*remote.store, &**store))?;
        if is_content_addressed {
            self.known.register(path, derivation, &outputs, &self.builder.options.secret_keys)?;
        }
        Ok((there, outputs))
    }

    fn show(&self, path: &StorePath, item: LogItem<'_>) {
        match item {
            LogItem::Line(line) => self.observer.event(&BuildEvent::LogLine { derivation: path, line }),
            LogItem::Phase(phase) => self.observer.event(&BuildEvent::Phase { derivation: path, phase }),
            LogItem::Warning(message) => self.observer.event(&BuildEvent::Warning { derivation: path, message }),
        }
    }
}

/// Puts what the other machine says of the build into the build's log.
struct ElsewhereLog<'e, 'r> {
    run: &'e Run<'r>,
    path: &'e StorePath,
    log: &'e Mutex<BuildLog>,
}

impl ElsewhereLog<'_, '_> {
    fn write(&self, bytes: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes, &mut |item| self.run.show(self.path, item));
    }
}

impl LogSink for ElsewhereLog<'_, '_> {
    fn log(&self, message: &LogMessage) {
        match message {
            LogMessage::Text(text) => self.write(text),
            LogMessage::Result { kind, fields, .. } => match (*kind, fields.first()) {
                (wire_result::BUILD_LOG_LINE | wire_result::POST_BUILD_LOG_LINE, Some(Field::Text(line))) => {
                    self.write(&[line.as_slice(), b"\n"].concat());
                }
                (wire_result::SET_PHASE, Some(Field::Text(phase))) => {
                    let phase = String::from_utf8_lossy(phase);
                    self.run.observer.event(&BuildEvent::Phase { derivation: self.path, phase: &phase });
                }
                _ => {}
            },
            LogMessage::StartActivity { level, text, .. } if *level <= wire_level::INFO && !text.is_empty() => {
                let message = format!("{}...", String::from_utf8_lossy(text));
                self.run.observer.event(&BuildEvent::Note { derivation: self.path, message: &message });
            }
            LogMessage::StartActivity { .. } | LogMessage::StopActivity { .. } => {}
        }
    }
}
