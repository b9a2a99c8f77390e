//! Builds that an evaluation needs, several at once and in the background, so that it goes on with what does not need them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nixlang::host::{HostResult, WantedOutput};
use nixlang_build::CancelToken;
use nixlang_store::path::StorePath;

/// What is there already, or is built in no time, is waited for.
const MOMENT: Duration = Duration::from_millis(20);

/// The builds of one evaluation. Those that are still going on when it is dropped are cancelled.
pub(crate) struct Realising {
    shared: Arc<Shared>,
    n_at_once: usize,
    cancel: CancelToken,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// What was asked for, with the outcome once there is one.
    builds: HashMap<Vec<WantedOutput>, Option<HostResult<Vec<StorePath>>>>,
    n_running: usize,
    /// How many have ended, and how many of them somebody was told of.
    n_ended: usize,
    n_noticed: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Realising {
    /// Returns none yet. `n_at_once` go on at the same time; `cancel` ends all of them.
    pub(crate) fn new(n_at_once: usize, cancel: &CancelToken) -> Realising {
        Realising { shared: Arc::default(), n_at_once: n_at_once.max(1), cancel: cancel.child(), threads: RefCell::default() }
    }

    /// Begins a build unless it was begun before or too many go on; returns its outcome if there is one by now. `build` runs on another thread.
    pub(crate) fn begin(
        &self,
        outputs: &[WantedOutput],
        build: impl FnOnce(&[WantedOutput], &CancelToken) -> HostResult<Vec<StorePath>> + Send + 'static,
    ) -> HostResult<Option<Vec<StorePath>>> {
        let mut state = self.shared.state();
        match state.builds.get(outputs) {
            Some(Some(outcome)) => return outcome.clone().map(Some),
            Some(None) => return Ok(None),
            None if state.n_running >= self.n_at_once => return Ok(None),
            None => {}
        }
        state.builds.insert(outputs.to_vec(), None);
        state.n_running += 1;
        let (shared, cancel, wanted) = (Arc::clone(&self.shared), self.cancel.clone(), outputs.to_vec());
        self.threads.borrow_mut().push(std::thread::spawn(move || {
            let outcome = build(&wanted, &cancel);
            let mut state = shared.state();
            state.builds.insert(wanted, Some(outcome));
            state.n_running -= 1;
            state.n_ended += 1;
            shared.ended.notify_all();
        }));
        let goes_on = |state: &mut State| state.builds.get(outputs).is_some_and(Option::is_none);
        let (state, _) = self.shared.ended.wait_timeout_while(state, MOMENT, goes_on).unwrap_or_else(PoisonError::into_inner);
        state.builds.get(outputs).and_then(Option::clone).transpose()
    }

    /// Waits until a build has ended that was not waited for yet; returns at once if none goes on.
    pub(crate) fn wait(&self) {
        let nothing_new = |state: &mut State| state.n_running > 0 && state.n_ended == state.n_noticed;
        let mut state = self.shared.ended.wait_while(self.shared.state(), nothing_new).unwrap_or_else(PoisonError::into_inner);
        state.n_noticed = state.n_ended;
    }
}

impl Drop for Realising {
    fn drop(&mut self) {
        self.cancel.cancel();
        for thread in self.threads.take() {
            // Whoever panicked has said so.
            let _ = thread.join();
        }
    }
}
