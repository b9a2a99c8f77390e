//! One connection to a daemon: the greeting, requests, batches of requests, uploads.
//!
//! A connection is sound between requests. An error that the daemon sends leaves it so; anything else that goes wrong
//! leaves it in the middle of something, and then it is not used again.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hang_up::HangUp;
use super::pool::Pooled;
use super::transport::Transport;
use crate::error::{Result, StoreError};
use crate::path::StoreDir;
use crate::wire::log::{LogSink, RemoteError, ServerMessage};
use crate::wire::message::{Dialect, Message, Protocol};
use crate::wire::operations::{ClientOptions, Operation};
use crate::wire::version::{DaemonInfo, GreetingError, Version, greet_daemon};
use crate::wire::{FramedWriter, WireError, WireWrite};

const BUFFER_SIZE: usize = 64 * 1024;

/// Up to so many requests are written before the first answer is read, on one thread: their answers fit any socket.
const SMALL_BATCH: usize = 16;

pub(super) type Write1<'w> = dyn Fn(&mut dyn Write, &Dialect<'_>) -> Result<(), WireError> + Sync + 'w;
pub(super) type ReadAnswer<'r, T> = dyn Fn(&mut dyn Read, &Dialect<'_>) -> Result<T, WireError> + 'r;

pub(super) struct Connection {
    source: BufReader<Box<dyn Read + Send>>,
    sink: BufWriter<Box<dyn Write + Send>>,
    hang_up: HangUp,
    pub(super) version: Version,
    pub(super) info: DaemonInfo,
    /// Whether it stands between two requests.
    is_sound: bool,
    /// Dropped last: the child at the other end sees the end of its input first.
    _guard: Option<Box<dyn Send>>,
}

impl Pooled for Connection {
    fn is_sound(&self) -> bool {
        self.is_sound
    }

    fn hang_up(&self) -> &HangUp {
        &self.hang_up
    }
}

impl Connection {
    /// Greets a daemon.
    pub(super) fn open(
        transport: Transport,
        address: &str,
        store_dir: &StoreDir,
        ours: &Version,
        log: &dyn LogSink,
    ) -> Result<Connection> {
        let Transport { source, sink, hang_up, guard } = transport;
        let mut source = BufReader::with_capacity(BUFFER_SIZE, source);
        let mut sink = BufWriter::with_capacity(BUFFER_SIZE, sink);
        let failed = |reason: String| {
            StoreError::Remote {
                source: RemoteError::new(format!("cannot open connection to remote store '{address}': {reason}")),
            }
        };
        let (version, info) = greet_daemon(&mut source, &mut sink, store_dir, ours).map_err(|error| match error {
            GreetingError::Wire(error) => failed(super::error_text(&StoreError::from(error))),
            error => failed(error.to_string()),
        })?;
        let mut connection =
            Connection { source, sink, hang_up, version, info, is_sound: true, _guard: guard };
        let dialect = Dialect { store_dir, protocol: connection.protocol() };
        match read_messages(&mut connection.source, &dialect, log) {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(error)) => Err(failed(error.message)),
            Err(error) => Err(failed(super::error_text(&StoreError::from(error)))),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.version.protocol()
    }

    /// Sends a request and reads its answer.
    pub(super) fn request<T>(
        &mut self,
        store_dir: &StoreDir,
        log: &dyn LogSink,
        operation: Operation,
        write: &Write1<'_>,
        read: &ReadAnswer<'_, T>,
    ) -> Result<T> {
        self.is_sound = false;
        let dialect = Dialect { store_dir, protocol: self.protocol() };
        let sent = write_request(&mut self.sink, &dialect, operation, write).and_then(|()| Ok(self.sink.flush()?));
        let answered = match sent {
            Ok(()) => read_messages(&mut self.source, &dialect, log),
            // Nothing of it was sent yet.
            Err(error @ WireError::Inexpressible { .. }) => return Err(error.into()),
            // Why it does not listen any more may be its last words.
            Err(error) => match read_messages(&mut self.source, &dialect, log) {
                Ok(Err(last_words)) => return Err(StoreError::Remote { source: last_words }),
                _ => return Err(error.into()),
            },
        };
        if let Err(error) = answered? {
            self.is_sound = true;
            return Err(super::from_remote(error));
        }
        let answer = read(&mut self.source, &dialect)?;
        self.is_sound = true;
        Ok(answer)
    }

    /// Sends requests of one kind back to back and reads their answers, in the same places. The first error of the
    /// daemon is returned once all are answered.
    pub(super) fn batch<T>(
        &mut self,
        store_dir: &StoreDir,
        log: &dyn LogSink,
        operation: Operation,
        requests: &[&Write1<'_>],
        read: &ReadAnswer<'_, T>,
    ) -> Result<Vec<T>> {
        self.is_sound = false;
        let dialect = Dialect { store_dir, protocol: self.protocol() };
        let Connection { source, sink, hang_up, .. } = self;
        let write_all = move || -> Result<(), WireError> {
            for request in requests {
                write_request(sink, &dialect, operation, request)?;
            }
            Ok(sink.flush()?)
        };
        let read_all = move || -> Result<(Vec<T>, Option<RemoteError>), WireError> {
            let mut answers = Vec::with_capacity(requests.len());
            let mut failure = None;
            for _ in requests {
                match read_messages(source, &dialect, log)? {
                    Ok(()) => answers.push(read(source, &dialect)?),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            Ok((answers, failure))
        };
        let (answers, failure) = if requests.len() <= SMALL_BATCH {
            let mut write_all = write_all;
            let mut read_all = read_all;
            write_all()?;
            read_all()?
        } else {
            std::thread::scope(|scope| {
                let mut write_all = write_all;
                let mut read_all = read_all;
                let writing = scope.spawn(move || write_all());
                let read = read_all();
                if read.is_err() {
                    // Nobody listens: the writer must not wait for ever.
                    hang_up();
                }
                let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                read.and_then(|answers| written.map(|()| answers))
            })?
        };
        self.is_sound = true;
        match failure {
            Some(error) => Err(super::from_remote(error)),
            None => Ok(answers),
        }
    }

    /// Sends a request that a framed stream follows, which `send` writes, and reads its answer. The daemon is listened
    /// to all the while; once it has answered, what is still to be sent is not.
    pub(super) fn upload<T>(
        &mut self,
        store_dir: &StoreDir,
        log: &dyn LogSink,
        operation: Operation,
        write: &Write1<'_>,
        send: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
        read: &ReadAnswer<'_, T>,
    ) -> Result<T> {
        self.is_sound = false;
        let dialect = Dialect { store_dir, protocol: self.protocol() };
        let Connection { source, sink, hang_up, .. } = self;
        write_request(sink, &dialect, operation, write)?;
        sink.flush().map_err(WireError::from)?;
        let is_answered = AtomicBool::new(false);
        let (sent, answered) = std::thread::scope(|scope| {
            let is_answered = &is_answered;
            let listening = scope.spawn(move || {
                let answered = read_messages(source, &dialect, log);
                is_answered.store(true, Ordering::Release);
                answered
            });
            let mut frames = Frames { inner: FramedWriter::new(&mut *sink), is_answered };
            // A source that panics must not leave both sides waiting for each other.
            let sent = match std::panic::catch_unwind(AssertUnwindSafe(|| send(&mut frames))) {
                Ok(sent) => sent,
                Err(panic) => {
                    hang_up();
                    std::panic::resume_unwind(panic)
                }
            };
            let was_answered = frames.is_answered.load(Ordering::Acquire);
            // Half a stream must not look like a whole one. If the daemon has answered it only waits for the end.
            let ended = if sent.is_ok() || was_answered { frames.inner.finish().map(drop) } else { Ok(()) };
            if ended.is_err() || (sent.is_err() && !was_answered) {
                // Closes the way to a child; a socket needs more.
                let old = std::mem::replace(sink, BufWriter::new(Box::new(io::sink())));
                drop(old.into_parts());
                hang_up();
            }
            (sent, listening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        match (sent, answered) {
            (_, Ok(Err(error))) => {
                self.is_sound = true;
                Err(super::from_remote(error))
            }
            (Err(error), _) => Err(error),
            (Ok(()), Err(error)) => Err(error.into()),
            (Ok(()), Ok(Ok(()))) => {
                let answer = read(&mut self.source, &dialect)?;
                self.is_sound = true;
                Ok(answer)
            }
        }
    }

    /// Sends a request whose answer is a stream that `receive` must read to its end, and no further.
    pub(super) fn download(
        &mut self,
        store_dir: &StoreDir,
        log: &dyn LogSink,
        operation: Operation,
        write: &Write1<'_>,
        receive: &mut dyn FnMut(&mut dyn io::BufRead) -> Result<()>,
    ) -> Result<()> {
        self.request(store_dir, log, operation, write, &|_, _| Ok(()))?;
        self.is_sound = false;
        receive(&mut self.source)?;
        self.is_sound = true;
        Ok(())
    }

    pub(super) fn set_options(
        &mut self,
        store_dir: &StoreDir,
        log: &dyn LogSink,
        options: &ClientOptions,
    ) -> Result<()> {
        self.request(store_dir, log, Operation::SetOptions, &|sink, dialect| options.write(sink, dialect), &|_, _| Ok(()))
    }
}

fn write_request(
    sink: &mut dyn Write,
    dialect: &Dialect<'_>,
    operation: Operation,
    write: &Write1<'_>,
) -> Result<(), WireError> {
    sink.write_number(operation as u64)?;
    write(sink, dialect)
}

/// Reads what a daemon says until its answer follows or it has failed.
fn read_messages(
    source: &mut dyn Read,
    dialect: &Dialect<'_>,
    log: &dyn LogSink,
) -> Result<Result<(), RemoteError>, WireError> {
    loop {
        match ServerMessage::read(source, dialect)? {
            ServerMessage::Log(message) => log.log(&message),
            ServerMessage::Error(error) => return Ok(Err(error)),
            ServerMessage::Last => return Ok(Ok(())),
            // Only old daemons want bytes this way.
            ServerMessage::Read(_) => return Err(WireError::UnknownMessage { number: 0x6461_7461 }),
            ServerMessage::Write(_) => return Err(WireError::UnknownMessage { number: 0x6461_7416 }),
        }
    }
}

/// Refuses to go on once the daemon has answered.
struct Frames<'f, W> {
    inner: FramedWriter<W>,
    is_answered: &'f AtomicBool,
}

impl<W: Write> Write for Frames<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_answered.load(Ordering::Acquire) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
