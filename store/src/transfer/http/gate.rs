//! The first request to a server goes alone.
//!
//! Whether a server speaks HTTP/2 shows when a connection to it stands. Until then every request would make a connection
//! of its own, and hundreds at the same moment hundreds of them; so they wait for the first one's answer and then share
//! its connection. What they wait is bounded: a slow answer shall not hold up what has nothing to do with it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::transfer::Interrupt;

/// How long others wait for the first.
const PATIENCE: Duration = Duration::from_secs(2);

/// After so long without a request the connection may be gone.
const IDLE: Duration = Duration::from_secs(30);

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
    /// When somebody began to make the first connection, as long as that goes on.
    connecting_since: Option<Instant>,
    /// When a connection was last known to stand.
    connected_at: Option<Instant>,
    is_http2: bool,
}

/// A request that is on its way. To be told how it went; without that it went wrong.
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    server: &'g str,
    is_first: bool,
}

impl Gate {
    /// Waits until a request to `server` may go.
    pub(super) fn enter<'g>(&'g self, server: &'g str, interrupt: &Interrupt) -> Pass<'g> {
        let mut servers = self.lock();
        let is_first = loop {
            let state = servers.entry(server.to_owned()).or_default();
            if state.connected_at.is_some_and(|at| at.elapsed() < IDLE) {
                break false;
            }
            match state.connecting_since {
                None => {
                    state.connecting_since = Some(Instant::now());
                    break true;
                }
                Some(since) if since.elapsed() >= self.patience || interrupt.is_interrupted() => break false,
                Some(_) => {
                    let waited = self.changed.wait_timeout(servers, Duration::from_millis(100));
                    servers = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        Pass { gate: self, server, is_first }
    }

    /// Notes that a connection to `server` broke: the next request goes alone again.
    pub(super) fn broken(&self, server: &str) {
        if let Some(state) = self.lock().get_mut(server) {
            state.connected_at = None;
        }
    }

    /// Returns whether `server` is known to speak HTTP/2.
    pub(super) fn is_http2(&self, server: &str) -> bool {
        self.lock().get(server).is_some_and(|state| state.is_http2)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Notes that the server answered.
    pub(super) fn answered(self, is_http2: bool) {
        if let Some(state) = self.gate.lock().get_mut(self.server) {
            state.connected_at = Some(Instant::now());
            state.is_http2 = is_http2;
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_first {
            if let Some(state) = self.gate.lock().get_mut(self.server) {
                state.connecting_since = None;
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
        assert!(!gate.enter("another", &Interrupt::default()).gate.is_http2("server"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let pass = gate.enter("server", &Interrupt::default());
                    // Whoever comes through before the answer is known is one too many.
                    assert!(gate.is_http2("server"));
                    n_through.fetch_add(1, Ordering::SeqCst);
                    pass.answered(true);
                });
            }
            first.answered(true);
        });
        assert_eq!(n_through.into_inner(), 8);
        gate.broken("server");
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
