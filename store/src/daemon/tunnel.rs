//! The server's way to its client: log messages between request and answer, at no other time.
//!
//! Messages may come from any thread at any time; those that come while no request is at work wait for the next one.

use std::io::{BufWriter, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Result, StoreError};
use crate::path::StoreDir;
use crate::wire::log::{LogMessage, LogSink, ServerMessage};
use crate::wire::message::{Dialect, Message, Protocol};
use crate::wire::WireError;

/// Messages that wait for a request; more are dropped.
const PENDING_LIMIT: usize = 1000;

pub(super) struct Tunnel<'t> {
    store_dir: &'t StoreDir,
    protocol: Protocol,
    state: Mutex<State>,
}

struct State {
    sink: BufWriter<Box<dyn Write + Send>>,
    is_open: bool,
    pending: Vec<LogMessage>,
}

impl<'t> Tunnel<'t> {
    pub(super) fn new(
        sink: BufWriter<Box<dyn Write + Send>>,
        store_dir: &'t StoreDir,
        protocol: Protocol,
    ) -> Tunnel<'t> {
        Tunnel { store_dir, protocol, state: Mutex::new(State { sink, is_open: false, pending: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dialect(&self) -> Dialect<'t> {
        Dialect { store_dir: self.store_dir, protocol: self.protocol }
    }

    /// Does what a request wants while its client hears of it. Returns nothing if it failed; the client knows then.
    pub(super) fn work<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<Option<T>, WireError> {
        {
            let mut state = self.state();
            for message in std::mem::take(&mut state.pending) {
                ServerMessage::Log(message).write(&mut state.sink, &self.dialect())?;
            }
            state.is_open = true;
            state.sink.flush()?;
        }
        let result = work();
        let mut state = self.state();
        state.is_open = false;
        let message = match &result {
            Ok(_) => ServerMessage::Last,
            Err(error) => ServerMessage::Error(super::to_remote(error)),
        };
        message.write(&mut state.sink, &self.dialect())?;
        state.sink.flush()?;
        Ok(result.ok())
    }

    /// Tells the client why the connection ends.
    pub(super) fn last_words(&self, error: &StoreError) {
        let mut state = self.state();
        let message = ServerMessage::Error(super::to_remote(error));
        let _ = message.write(&mut state.sink, &self.dialect());
        let _ = state.sink.flush();
    }

    /// Writes an answer.
    pub(super) fn answer(
        &self,
        write: impl FnOnce(&mut dyn Write, &Dialect<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut state = self.state();
        write(&mut state.sink, &self.dialect())?;
        Ok(state.sink.flush()?)
    }

    /// Writes an answer that may be long, such as an archive.
    pub(super) fn stream(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let mut state = self.state();
        write(&mut state.sink)?;
        state.sink.flush().map_err(|error| WireError::from(error).into())
    }

    /// Asks the client for at most so many bytes; old clients send them so.
    pub(super) fn ask_for_bytes(&self, length: u64) -> Result<(), WireError> {
        let mut state = self.state();
        ServerMessage::Read(length).write(&mut state.sink, &self.dialect())?;
        Ok(state.sink.flush()?)
    }
}

impl LogSink for Tunnel<'_> {
    fn log(&self, message: &LogMessage) {
        let mut state = self.state();
        if state.is_open {
            let written = ServerMessage::Log(message.clone())
                .write(&mut state.sink, &self.dialect())
                .and_then(|()| Ok(state.sink.flush()?));
            // Whoever waits for the answer will notice that the client is gone.
            state.is_open = written.is_ok();
        } else if state.pending.len() < PENDING_LIMIT {
            state.pending.push(message.clone());
        }
    }
}
