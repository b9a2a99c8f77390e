//! Connections of one store: made when they are needed, kept for the next request, closed from outside when nobody waits for the
//! answer any more.
//!
//! Both protocols use it. The surprising part: a connection says itself whether it may be used again, because only what speaks on it
//! knows whether it stopped between two requests or in the middle of one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use super::hang_up::{HangUp, Waiting};
use super::transport::{Connector, Transport};
use crate::error::Result;

/// A connection that a [`Pool`] keeps.
pub(crate) trait Pooled {
    /// Whether it stands between two requests.
    fn is_sound(&self) -> bool;

    /// What ends it.
    fn hang_up(&self) -> &HangUp;
}

/// See the file's comment.
pub(crate) struct Pool<C> {
    connector: Box<dyn Connector>,
    idle: Mutex<Vec<C>>,
    waiting: Waiting,
}

impl<C: Pooled> Pool<C> {
    pub(crate) fn new(connector: impl Connector + 'static) -> Pool<C> {
        Pool { connector: Box::new(connector), idle: Mutex::default(), waiting: Waiting::default() }
    }

    /// Returns the address that names the other side to users.
    pub(crate) fn address(&self) -> String {
        self.connector.address()
    }

    /// Ends the connection on which a thread waits, if it does.
    pub(crate) fn hang_up(&self, thread: ThreadId) {
        self.waiting.hang_up(thread);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses a connection that nobody else uses meanwhile; `open` greets on one that is new.
    pub(crate) fn with<T>(
        &self,
        open: impl FnOnce(Transport) -> Result<C>,
        use_it: impl FnOnce(&mut C) -> Result<T>,
    ) -> Result<T> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let transport = self.connector.connect()?;
                // Whoever never greets can be left too.
                let _waiting = self.waiting.enter(&transport.hang_up);
                open(transport)?
            }
        };
        let hang_up = HangUp::clone(connection.hang_up());
        let waiting = self.waiting.enter(&hang_up);
        let result = use_it(&mut connection);
        drop(waiting);
        if connection.is_sound() {
            self.idle().push(connection);
        }
        result
    }
}
