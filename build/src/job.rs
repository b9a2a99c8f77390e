//! Builds in the background, for host programs: start a plan, look how far it is, wait for it, cancel it.
//!
//! ```standalone_crate
//! use std::collections::HashMap;
//! use std::sync::Arc;
//! use nixlang_build::{BuildEvent, BuildOptions, Builder, DerivedPath, Observer, Scheduler};
//! use nixlang_store::derivation::{Derivation, DerivationOutput};
//! use nixlang_store::local::{LocalStore, LocalStoreOptions};
//! use nixlang_store::store::Store;
//!
//! struct Print;
//! impl Observer for Print {
//!     fn event(&self, event: &BuildEvent<'_>) {
//!         if let BuildEvent::LogLine { line, .. } = event {
//!             println!("{}", String::from_utf8_lossy(line));
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First thing in `main`: builds run under this executable, started anew.
//!     let helper = nixlang_build::helper_main();
//!     let directory = tempfile::tempdir()?;
//!     let store = Arc::new(LocalStore::open(LocalStoreOptions::rooted(directory.path()))?);
//!
//!     let mut derivation = Derivation {
//!         name: "hello".into(),
//!         outputs: [("out".into(), DerivationOutput::Deferred)].into(),
//!         system: b"x86_64-linux".to_vec(),
//!         builder: b"/bin/sh".to_vec(),
//!         args: vec![b"-c".to_vec(), b"echo working; echo Hello > $out".to_vec()],
//!         ..Derivation::default()
//!     };
//!     derivation.instantiate(store.store_dir(), &mut HashMap::new(), &mut |_| Err("it has no inputs".into()))?;
//!     let path = store.write_derivation(&derivation)?;
//!
//!     let options = BuildOptions { system: "x86_64-linux".into(), ..BuildOptions::new(helper) };
//!     let scheduler = Scheduler::new(Arc::new(Builder::new(Arc::clone(&store), options)));
//!     let plan = scheduler.builder().plan(&[DerivedPath::from_path(path)])?;
//!     assert_eq!(plan.will_build().len(), 1);
//!     let job = scheduler.start(plan, Arc::new(Print));
//!     let outcome = job.wait();
//!     assert!(outcome.is_success(), "{:?}", outcome.failures());
//!     let out = &outcome.realised[0].outputs["out"];
//!     assert_eq!(std::fs::read_to_string(store.to_real_path(out))?, "Hello\n");
//!     Ok(())
//! }
//! ```
//!
//! The surprising part: a job that is dropped is cancelled and waited for, so that no build outlives its host by
//! accident; [`Job::detach`] is for those that shall.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::builder::Builder;
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::plan::Plan;
use crate::result::BuildOutcome;

/// Starts plans in the background. Any number of them may run at once; each has slots of its own.
#[derive(Clone)]
pub struct Scheduler {
    builder: Arc<Builder>,
}

/// A plan that is being carried out.
pub struct Job {
    shared: Arc<Shared>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// Steps done with.
    pub done: usize,
    /// Steps at work.
    pub running: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps known so far.
    pub total: usize,
    /// Whether everything has ended.
    pub is_finished: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    progress: JobProgress,
    outcome: Option<BuildOutcome>,
}

impl Scheduler {
    /// Returns a scheduler for a builder.
    pub fn new(builder: Arc<Builder>) -> Scheduler {
        Scheduler { builder }
    }

    /// Returns the builder, which makes plans.
    pub fn builder(&self) -> &Arc<Builder> {
        &self.builder
    }

    /// Starts to carry out a plan. `observer` is called on the job's threads.
    pub fn start(&self, plan: Plan, observer: Arc<dyn Observer + Send + Sync>) -> Job {
        let shared = Arc::new(Shared::default());
        let cancel = CancelToken::new();
        let (builder, of_thread, token) = (Arc::clone(&self.builder), Arc::clone(&shared), cancel.clone());
        let run = move || {
            let watch = Watch { shared: &of_thread, observer: &*observer };
            let outcome = builder.run(&plan, &watch, &token);
            let mut state = of_thread.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.progress.is_finished = true;
            state.outcome = Some(outcome);
            of_thread.ended.notify_all();
        };
        Job { shared, cancel, thread: Some(std::thread::spawn(run)) }
    }
}

impl Job {
    /// Returns how far it is. Never waits.
    pub fn poll(&self) -> JobProgress {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).progress
    }

    /// Stops it: kills what runs, starts nothing more. Returns at once; see [`Job::wait`].
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Returns what stops it, for those who hold the job no longer.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Waits for its end. Returns what became of everything.
    pub fn wait(mut self) -> BuildOutcome {
        if let Some(thread) = self.thread.take() {
            // A panic in an observer ends the job without an outcome.
            let _ = thread.join();
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outcome.take().unwrap_or_default()
    }

    /// Waits for its end, but not longer than this. Returns whether it has ended.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .shared
            .ended
            .wait_timeout_while(state, limit, |state| !state.progress.is_finished)
            .unwrap_or_else(PoisonError::into_inner);
        state.progress.is_finished
    }

    /// Lets it run on without anybody who waits.
    pub fn detach(mut self) {
        drop(self.thread.take());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.cancel.cancel();
            let _ = thread.join();
        }
    }
}

/// Notes how far everything is, and passes events on.
struct Watch<'w> {
    shared: &'w Shared,
    observer: &'w (dyn Observer + Send + Sync),
}

impl Observer for Watch<'_> {
    fn event(&self, event: &BuildEvent<'_>) {
        if let BuildEvent::Progress { done, total, running, failed } = *event {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.progress = JobProgress { done, total, running, failed, is_finished: false };
        }
        self.observer.event(event);
    }
}
