//! Builds that a daemon is asked for, judged as if they had run here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nixlang_store::daemon::DaemonService;
use nixlang_store::error::StoreError;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::wire::log::{Field, LogMessage, LogSink, activity, result};

use super::convert::{from_wire_result, to_wire_mode};
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::options::BuildMode;
use crate::plan::{DerivedPath, OutputsSpec, SingleDerivedPath};
use crate::result::{BuildOutcome, BuildResult, BuildStatus, Realised};

/// How often a connection is closed on which nothing was waited for yet when everything was cancelled.
const AGAIN: Duration = Duration::from_millis(5);

/// Waits for an answer of whoever builds elsewhere, or has the connection closed when `cancel` is cancelled.
pub(crate) fn unless_cancelled<T>(service: &dyn DaemonService, cancel: &CancelToken, ask: impl FnOnce() -> T) -> T {
    struct Answered<'a>(&'a CancelToken);
    impl Drop for Answered<'_> {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let (thread, answered) = (std::thread::current().id(), CancelToken::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            CancelToken::wait_for_any(&[cancel, &answered], None);
            while !answered.is_cancelled() {
                service.hang_up(thread);
                CancelToken::wait_for_any(&[&answered], Some(AGAIN));
            }
        });
        let _answered = Answered(&answered);
        ask()
    })
}

/// Has a daemon build what is wanted. What it says meanwhile goes to `log`; [`ObserverLog`] turns that into events. When
/// `cancel` is cancelled its connection is closed.
///
/// # Errors
/// When the daemon can't be asked. A build that failed is part of the outcome.
pub fn build_by_service(service: &dyn DaemonService, store: &dyn Store, wanted: &[DerivedPath], mode: BuildMode, log: &dyn LogSink, cancel: &CancelToken) -> Result<BuildOutcome, StoreError> {
    let results = unless_cancelled(service, cancel, || service.build_paths(wanted, to_wire_mode(mode), log))?;
    let mut outcome = BuildOutcome::default();
    let mut results = results.into_iter().peekable();
    for wanted in wanted {
        // What was cancelled for another failure is left out.
        let mut result = match results.next_if(|keyed| keyed.path == *wanted) {
            Some(keyed) => from_wire_result(&keyed.result),
            None => BuildResult::new(BuildStatus::Cancelled, "it was cancelled"),
        };
        let is_success = result.status.is_success();
        let realised = match wanted {
            _ if !is_success => Realised::default(),
            DerivedPath::Opaque(path) => Realised { derivation: None, outputs: [("out".into(), path.clone())].into() },
            DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), outputs } => realised(store, derivation, outputs, &result)?,
            DerivedPath::Built { outputs, .. } => {
                let outputs = result.outputs.iter().filter(|(name, _)| outputs.contains(name));
                Realised { derivation: None, outputs: outputs.map(|(name, path)| (name.clone(), path.clone())).collect() }
            }
        };
        if result.outputs.is_empty() {
            result.outputs = realised.outputs.clone();
        }
        outcome.realised.push(realised);
        outcome.results.insert(wanted.root().clone(), result);
    }
    Ok(outcome)
}

/// Returns the outputs that a result names, or else those that the store knows.
fn realised(store: &dyn Store, derivation: &StorePath, outputs: &OutputsSpec, result: &BuildResult) -> Result<Realised, StoreError> {
    let mut made = result.outputs.clone();
    if made.is_empty() {
        let known = store.derivation_outputs(derivation)?;
        made = known.into_iter().filter_map(|(name, path)| Some((name.into(), path?))).collect();
    }
    made.retain(|name, _| outputs.contains(name));
    Ok(Realised { derivation: Some(derivation.clone()), outputs: made })
}

/// Turns what a daemon says of its builds into events: their beginnings, lines, phases and ends.
pub struct ObserverLog<'o> {
    store: &'o dyn Store,
    observer: &'o dyn Observer,
    /// What is built, by the number of the activity.
    builds: Mutex<HashMap<u64, StorePath>>,
}

impl<'o> ObserverLog<'o> {
    /// Returns a sink that tells `observer`. Paths are those of `store`.
    pub fn new(store: &'o dyn Store, observer: &'o dyn Observer) -> ObserverLog<'o> {
        ObserverLog { store, observer, builds: Mutex::default() }
    }

    fn build(&self, id: u64) -> Option<StorePath> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

impl LogSink for ObserverLog<'_> {
    fn log(&self, message: &LogMessage) {
        match message {
            LogMessage::StartActivity { id, kind: activity::BUILD, fields, .. } => {
                let Some(Field::Text(path)) = fields.first() else { return };
                let Ok(path) = self.store.store_dir().parse(path) else { return };
                let machine = match fields.get(1) {
                    Some(Field::Text(machine)) => String::from_utf8_lossy(machine),
                    _ => "".into(),
                };
                self.observer.event(&BuildEvent::StartedElsewhere { derivation: &path, machine: &machine });
                self.builds.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, path);
            }
            LogMessage::StopActivity { id } => {
                let build = self.builds.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
                if let Some(derivation) = build {
                    self.observer.event(&BuildEvent::Ended { derivation: &derivation });
                }
            }
            LogMessage::Result { id, kind: kind @ (result::BUILD_LOG_LINE | result::SET_PHASE), fields } => {
                let (Some(derivation), Some(Field::Text(text))) = (self.build(*id), fields.first()) else { return };
                if *kind == result::BUILD_LOG_LINE {
                    self.observer.event(&BuildEvent::LogLine { derivation: &derivation, line: text });
                } else if let Ok(phase) = std::str::from_utf8(text) {
                    self.observer.event(&BuildEvent::Phase { derivation: &derivation, phase });
                }
            }
            _ => {}
        }
    }
}
