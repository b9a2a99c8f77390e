//! Waiting on the calling thread for what a runtime's threads do.
//!
//! Calls of a transport block, so a caller's own thread polls the one future that it waits for. That needs no more than
//! parking the thread, works whatever else runs on it (another runtime perhaps), and lets it look up now and then: whether
//! to stop, and whether anything still moves.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::transfer::Interrupt;

/// How long an interruption may go unnoticed.
const STEP: Duration = Duration::from_millis(100);

/// Why waiting ended before there was a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The caller asked for it.
    Interrupted,
    /// Nothing moved for too long.
    Stalled,
}

/// When something moved last, and for how long nothing may.
#[derive(Debug)]
pub(super) struct Progress {
    begin: Instant,
    /// Milliseconds after `begin`.
    moved_ms: AtomicU64,
    patience: Option<Duration>,
}

impl Progress {
    /// Something moves now; `None` and zero wait for ever.
    pub(super) fn new(patience: Option<Duration>) -> Progress {
        let patience = patience.filter(|patience| !patience.is_zero());
        Progress { begin: Instant::now(), moved_ms: AtomicU64::new(0), patience }
    }

    /// Something moves now.
    pub(super) fn moved(&self) {
        self.moved_ms.store(self.begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn is_stalled(&self) -> bool {
        let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        self.patience.is_some_and(|patience| self.begin.elapsed().saturating_sub(moved) >= patience)
    }
}

/// Returns what `future` gives. It is dropped, which ends what it stands for, when it is time to stop.
pub(super) fn wait<T>(future: impl Future<Output = T>, interrupt: &Interrupt, progress: &Progress) -> Result<T, Stopped> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let step = progress.patience.map_or(STEP, |patience| patience.min(STEP));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if interrupt.is_interrupted() {
            return Err(Stopped::Interrupted);
        }
        if progress.is_stalled() {
            return Err(Stopped::Stalled);
        }
        std::thread::park_timeout(step);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_a_value_or_when_it_is_time() {
        let patient = || Progress::new(None);
        assert_eq!(wait(std::future::ready(1), &Interrupt::default(), &patient()), Ok(1));
        let stopping = Interrupt::new(|| true);
        assert_eq!(wait(std::future::pending::<()>(), &stopping, &patient()), Err(Stopped::Interrupted));
        let impatient = Progress::new(Some(Duration::from_millis(1)));
        assert_eq!(wait(std::future::pending::<()>(), &Interrupt::default(), &impatient), Err(Stopped::Stalled));
    }

    #[test]
    fn other_threads_wake() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver, &Interrupt::default(), &Progress::new(None)), Ok(Ok(7)));
        assert_eq!(other.join().unwrap(), Ok(()));
    }
}
