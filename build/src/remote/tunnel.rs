//! [`LogObserver`]: what happens in builds, as the activities of the daemon's protocol.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::wire::log::{Field, LogMessage, LogSink, activity, level, result};

use crate::event::{BuildEvent, Observer, building};

/// Tells a log sink what happens, in the reference's activities.
pub struct LogObserver<'l> {
    store_dir: &'l StoreDir,
    log: &'l dyn LogSink,
    next_id: AtomicU64,
    /// Activities of builds, and of hooks after them.
    running: Mutex<HashMap<(StorePath, u64), u64>>,
}

impl<'l> LogObserver<'l> {
    /// Returns an observer that tells `log`.
    pub fn new(store_dir: &'l StoreDir, log: &'l dyn LogSink) -> LogObserver<'l> {
        // Numbers of several programs may meet at one client.
        let first = u64::from(std::process::id()) << 32;
        LogObserver { store_dir, log, next_id: AtomicU64::new(first + 1), running: Mutex::default() }
    }

    fn start(&self, path: &StorePath, kind: u64, text: String, fields: Vec<Field>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert((path.clone(), kind), id);
        let level = level::INFO;
        self.log.log(&LogMessage::StartActivity { id, level, kind, text: text.into_bytes(), fields, parent: 0 });
    }

    /// Says that a build begins, on a machine or (empty) here.
    fn building(&self, derivation: &StorePath, machine: &str) {
        let path = self.store_dir.display(derivation);
        // The derivation, the machine, the round and of how many.
        let fields = vec![path.as_str().into(), machine.into(), 1.into(), 1.into()];
        self.start(derivation, activity::BUILD, building(&path, machine), fields);
    }

    fn stop(&self, path: &StorePath, kind: u64) {
        let id = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&(path.clone(), kind));
        if let Some(id) = id {
            self.log.log(&LogMessage::StopActivity { id });
        }
    }

    fn result(&self, path: &StorePath, of: u64, kind: u64, text: &[u8]) {
        let id = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&(path.clone(), of)).copied();
        let fields = vec![Field::Text(text.to_vec())];
        self.log.log(&LogMessage::Result { id: id.unwrap_or(0), kind, fields });
    }
}

impl Observer for LogObserver<'_> {
    fn event(&self, event: &BuildEvent<'_>) {
        match event {
            BuildEvent::Started { derivation, .. } => self.building(derivation, ""),
            BuildEvent::StartedElsewhere { derivation, machine } => self.building(derivation, machine),
            BuildEvent::Note { message, .. } => self.log.log(&LogMessage::Text(format!("{message}\n").into_bytes())),
            BuildEvent::LogLine { derivation, line } => {
                self.result(derivation, activity::BUILD, result::BUILD_LOG_LINE, line);
            }
            BuildEvent::Phase { derivation, phase } => {
                self.result(derivation, activity::BUILD, result::SET_PHASE, phase.as_bytes());
            }
            BuildEvent::HookStarted { derivation, program } => {
                let path = self.store_dir.display(derivation);
                let text = format!("running post-build-hook '{}'", program.display());
                self.start(derivation, activity::POST_BUILD_HOOK, text, vec![path.as_str().into()]);
            }
            BuildEvent::HookLine { derivation, line } => {
                self.result(derivation, activity::POST_BUILD_HOOK, result::POST_BUILD_LOG_LINE, line);
            }
            BuildEvent::HookFinished { derivation } => self.stop(derivation, activity::POST_BUILD_HOOK),
            BuildEvent::Finished { derivation, .. } => self.stop(derivation, activity::BUILD),
            _ => {}
        }
    }
}
