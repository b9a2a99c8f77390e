//! A layer between socket and TLS that wakes up now and then to see whether the caller wants to stop.
//!
//! A connection outlives the request that it was made for, so it can't know whose interruption counts. What counts is
//! the thread's current request: calls are blocking, so a thread has exactly one, which [`enter`] says.

use std::cell::RefCell;
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::transfer::Interrupt;

/// How long an interruption may go unnoticed.
const STEP: Duration = Duration::from_millis(100);

thread_local! {
    static CURRENT: RefCell<Interrupt> = RefCell::new(Interrupt::default());
}

/// Makes `interrupt` the one that counts on this thread, until what is returned is dropped.
pub(super) fn enter(interrupt: &Interrupt) -> impl Drop + use<> {
    struct Restore(Interrupt);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(std::mem::take(&mut self.0));
        }
    }
    Restore(CURRENT.replace(interrupt.clone()))
}

/// Puts [`Interruptible`] around connections.
#[derive(Debug)]
pub(super) struct InterruptConnector;

impl<In: Transport> Connector<In> for InterruptConnector {
    type Out = Interruptible<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Interruptible { inner }))
    }
}

/// A connection on which waiting ends when the thread's request is interrupted.
#[derive(Debug)]
pub(super) struct Interruptible<In> {
    inner: In,
}

impl<In: Transport> Transport for Interruptible<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limited = timeout.for_read();
        let mut left = *limited.after;
        loop {
            if CURRENT.with_borrow(Interrupt::is_interrupted) {
                return Err(Error::Other("interrupted".into()));
            }
            let step = left.min(STEP);
            let waited = NextTimeout { after: step.into(), reason: limited.reason, per_read: None, per_write: None };
            match self.inner.await_input(waited) {
                Err(Error::Timeout(_)) if step < left => left -= step,
                Err(Error::Timeout(_)) => return Err(Error::Timeout(limited.reason)),
                other => return other,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
