//! Ending requests from outside: whoever waits for an answer can't do it.
//!
//! The surprising part: requests are named by the thread that waits for them, since a store may be used by many at once,
//! and each thread waits for one answer at most.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

/// Ends a connection so that a thread that reads from it wakes up.
pub type HangUp = Arc<dyn Fn() + Send + Sync>;

/// Requests that wait for their answers.
#[derive(Default)]
pub(crate) struct Waiting {
    all: Mutex<Vec<(ThreadId, HangUp)>>,
}

/// One of them, as long as it waits.
pub(crate) struct WaitingGuard<'w> {
    waiting: &'w Waiting,
    thread: ThreadId,
}

impl Waiting {
    /// Notes that the calling thread waits for an answer on a connection.
    pub(crate) fn enter(&self, hang_up: &HangUp) -> WaitingGuard<'_> {
        let thread = std::thread::current().id();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push((thread, Arc::clone(hang_up)));
        WaitingGuard { waiting: self, thread }
    }

    /// Ends the connection on which a thread waits, if it does.
    pub(crate) fn hang_up(&self, thread: ThreadId) {
        for (waiting, hang_up) in &*self.all.lock().unwrap_or_else(PoisonError::into_inner) {
            if *waiting == thread {
                hang_up();
            }
        }
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        let mut all = self.waiting.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.iter().rposition(|(thread, _)| *thread == self.thread) {
            all.swap_remove(place);
        }
    }
}
