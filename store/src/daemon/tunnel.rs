//! The server's way to its client: log messages between request and answer, at no other time.
//!
//! Messages may come from any thread at any time; those that come while no request is at work wait for the next one. The surprising
//! thing: a message goes out at once only if none has just gone. A builder that says thousands of lines a second would cost a system
//! call for each, so what follows closely is sent together, by a thread that waits for that ([`Tunnel::flush_late`]).

use std::io::{BufWriter, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Result, StoreError};
use crate::path::StoreDir;
use crate::wire::log::{LogMessage, LogSink, ServerMessage};
use crate::wire::message::{Dialect, Message, Protocol};
use crate::wire::WireError;

/// Messages that wait for a request; more are dropped.
const PENDING_LIMIT: usize = 1000;

/// For how long a message may wait for others: less than anybody sees.
const DELAY: Duration = Duration::from_millis(5);

pub(super) struct Tunnel<'t> {
    store_dir: &'t StoreDir,
    protocol: Protocol,
    state: Mutex<State>,
    /// Told that [`State::is_late`] or [`State::is_closed`] has become true.
    changed: Condvar,
}

struct State {
    sink: BufWriter<Box<dyn Write + Send>>,
    is_open: bool,
    pending: Vec<LogMessage>,
    /// When messages were last sent.
    sent: Option<Instant>,
    /// Whether there are messages that were not sent yet.
    is_late: bool,
    /// Whether nothing more will come.
    is_closed: bool,
}

impl State {
    fn send(&mut self) -> std::io::Result<()> {
        self.is_late = false;
        self.sent = Some(Instant::now());
        self.sink.flush()
    }
}

impl<'t> Tunnel<'t> {
    pub(super) fn new(
        sink: BufWriter<Box<dyn Write + Send>>,
        store_dir: &'t StoreDir,
        protocol: Protocol,
    ) -> Tunnel<'t> {
        let state = State { sink, is_open: false, pending: Vec::new(), sent: None, is_late: false, is_closed: false };
        Tunnel { store_dir, protocol, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends messages that were kept back for others to come, until [`Tunnel::close`]. Runs on a thread of its own.
    pub(super) fn flush_late(&self) {
        let mut state = self.state();
        while !state.is_closed {
            if !state.is_late {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.changed.wait_timeout(state, DELAY).unwrap_or_else(PoisonError::into_inner).0;
            if state.is_late {
                state.is_open &= state.send().is_ok();
            }
        }
    }

    /// Ends [`Tunnel::flush_late`].
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
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
            state.send()?;
        }
        let result = work();
        let mut state = self.state();
        state.is_open = false;
        let message = match &result {
            Ok(_) => ServerMessage::Last,
            Err(error) => ServerMessage::Error(super::to_remote(error)),
        };
        message.write(&mut state.sink, &self.dialect())?;
        state.send()?;
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
            let mut written = ServerMessage::Log(message.clone()).write(&mut state.sink, &self.dialect());
            if state.sent.is_none_or(|sent| sent.elapsed() >= DELAY) {
                written = written.and_then(|()| Ok(state.send()?));
            } else if !std::mem::replace(&mut state.is_late, true) {
                self.changed.notify_all();
            }
            // Whoever waits for the answer will notice that the client is gone.
            state.is_open = written.is_ok();
        } else if state.pending.len() < PENDING_LIMIT {
            state.pending.push(message.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::wire::version::WORKER_LATEST;

    /// Counts how often something is sent, and tells about it.
    struct Sent(mpsc::Sender<usize>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_follow_closely_are_sent_together() {
        let dir = StoreDir::default();
        let (sender, sent) = mpsc::channel();
        let sink = BufWriter::with_capacity(1 << 20, Box::new(Sent(sender)) as Box<dyn Write + Send>);
        let tunnel = Arc::new(Tunnel::new(sink, &dir, Protocol::worker(WORKER_LATEST)));
        std::thread::scope(|scope| {
            scope.spawn(|| tunnel.flush_late());
            let worked = tunnel.work(|| {
                let line = LogMessage::Text(b"12345678".to_vec());
                for _ in 0..10_000 {
                    tunnel.log(&line);
                }
                // All of it arrives while the request is still at work.
                let n_bytes = 10_000 * 24;
                let (mut n_arrived, mut n_sent) = (0, 0);
                while n_arrived < n_bytes {
                    n_arrived += sent.recv().expect("the other end is there");
                    n_sent += 1;
                }
                assert_eq!(n_arrived, n_bytes);
                assert!(n_sent < 10_000, "{n_sent}");
                Ok(())
            });
            worked.unwrap();
            tunnel.close();
        });
    }
}
