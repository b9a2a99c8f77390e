//! What is known of servers: whether they speak HTTP/2, which shows with the first answer.
//!
//! Until then every request would make a connection of its own, and hundreds at the same moment hundreds of them. So the
//! first one goes alone, and the others wait until it is known which client is theirs. What they wait is bounded: a slow
//! answer shall not hold up what has nothing to do with it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::transfer::Interrupt;

/// How long others wait for the first.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Gate {
    servers: Mutex<HashMap<String, Server>>,
    changed: Condvar,
    patience: Duration,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { servers: Mutex::default(), changed: Condvar::new(), patience: PATIENCE }
    }
}

#[derive(Default)]
struct Server {
    /// When somebody began to find out, as long as that goes on.
    asked_since: Option<Instant>,
    is_http2: Option<bool>,
}

/// A request that may go. To be told how it went; without that nothing is known.
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    server: &'g str,
    is_first: bool,
    /// Whether the server is known to speak HTTP/2.
    pub(super) is_http2: bool,
}

impl Gate {
    /// Waits until a request to `server` may go.
    pub(super) fn enter<'g>(&'g self, server: &'g str, interrupt: &Interrupt) -> Pass<'g> {
        let pass = |is_first, is_http2| Pass { gate: self, server, is_first, is_http2 };
        let mut servers = self.lock();
        loop {
            let state = servers.entry(server.to_owned()).or_default();
            match (state.is_http2, state.asked_since) {
                (Some(is_http2), _) => return pass(false, is_http2),
                (None, None) => {
                    state.asked_since = Some(Instant::now());
                    return pass(true, false);
                }
                (None, Some(since)) if since.elapsed() >= self.patience || interrupt.is_interrupted() => return pass(false, false),
                (None, Some(_)) => {
                    let waited = self.changed.wait_timeout(servers, Duration::from_millis(100));
                    servers = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Returns whether `server` is known to speak HTTP/2.
    pub(super) fn is_http2(&self, server: &str) -> bool {
        self.lock().get(server).is_some_and(|state| state.is_http2 == Some(true))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Notes that the server answered.
    pub(super) fn answered(self, is_http2: bool) {
        if let Some(state) = self.gate.lock().get_mut(self.server) {
            state.is_http2 = Some(is_http2);
        }
    }

    /// Notes that no connection was made: somebody else may be there by now.
    pub(super) fn failed(self) {
        if let Some(state) = self.gate.lock().get_mut(self.server) {
            state.is_http2 = None;
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_first {
            if let Some(state) = self.gate.lock().get_mut(self.server) {
                state.asked_since = None;
            }
            self.gate.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_goes_first_and_the_others_once_it_is_answered() {
        let gate = Gate { patience: Duration::MAX, ..Gate::default() };
        let n_through = AtomicUsize::new(0);
        let first = gate.enter("server", &Interrupt::default());
        assert!(first.is_first && gate.enter("another", &Interrupt::default()).is_first);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // Whoever comes through before the answer is known is one too many.
                    let pass = gate.enter("server", &Interrupt::default());
                    assert!(pass.is_http2 && !pass.is_first);
                    n_through.fetch_add(1, Ordering::SeqCst);
                });
            }
            first.answered(true);
        });
        assert_eq!(n_through.into_inner(), 8);
        gate.enter("server", &Interrupt::default()).failed();
        assert!(gate.enter("server", &Interrupt::default()).is_first);
        // The one before did not get an answer, so the next is the first again.
        assert!(gate.enter("server", &Interrupt::default()).is_first);
    }

    #[test]
    fn who_is_interrupted_does_not_wait() {
        let gate = Gate { patience: Duration::MAX, ..Gate::default() };
        let _first = gate.enter("server", &Interrupt::default());
        assert!(!gate.enter("server", &Interrupt::new(|| true)).is_first);
    }
}
