//! What a daemon says while it works: log lines, activities, requests for bytes, and how it ended.
//!
//! After a request, and before its answer, a daemon sends any number of these; [`ServerMessage::Last`] or
//! [`ServerMessage::Error`] end them. The surprising thing: requests for bytes come the same way, so a client that only
//! wants to see how things go may be asked to send something.
//!
//! Format source: `worker-protocol-connection.cc`, `logging.hh`, `serialise.cc` of the reference.

use std::io::{Read, Write};

use super::message::{Dialect, Message};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};

/// Kinds of activities, as they travel.
pub mod activity {
    #![allow(missing_docs, reason = "the reference's names; there is no more to say")]
    pub const UNKNOWN: u64 = 0;
    pub const COPY_PATH: u64 = 100;
    pub const FILE_TRANSFER: u64 = 101;
    pub const REALISE: u64 = 102;
    pub const COPY_PATHS: u64 = 103;
    pub const BUILDS: u64 = 104;
    pub const BUILD: u64 = 105;
    pub const OPTIMISE_STORE: u64 = 106;
    pub const VERIFY_PATHS: u64 = 107;
    pub const SUBSTITUTE: u64 = 108;
    pub const QUERY_PATH_INFO: u64 = 109;
    pub const POST_BUILD_HOOK: u64 = 110;
    pub const BUILD_WAITING: u64 = 111;
    pub const FETCH_TREE: u64 = 112;
}

/// Kinds of what activities report, as they travel.
pub mod result {
    #![allow(missing_docs, reason = "the reference's names; there is no more to say")]
    pub const FILE_LINKED: u64 = 100;
    pub const BUILD_LOG_LINE: u64 = 101;
    pub const UNTRUSTED_PATH: u64 = 102;
    pub const CORRUPTED_PATH: u64 = 103;
    pub const SET_PHASE: u64 = 104;
    pub const PROGRESS: u64 = 105;
    pub const SET_EXPECTED: u64 = 106;
    pub const POST_BUILD_LOG_LINE: u64 = 107;
    pub const FETCH_STATUS: u64 = 108;
}

/// Levels of verbosity, as they travel.
pub mod level {
    #![allow(missing_docs, reason = "the reference's names; there is no more to say")]
    pub const ERROR: u64 = 0;
    pub const WARN: u64 = 1;
    pub const NOTICE: u64 = 2;
    pub const INFO: u64 = 3;
    pub const TALKATIVE: u64 = 4;
    pub const CHATTY: u64 = 5;
    pub const DEBUG: u64 = 6;
    pub const VOMIT: u64 = 7;
}

/// A detail of an activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// Text, or whatever a builder wrote.
    Text(Vec<u8>),
}

impl From<u64> for Field {
    fn from(number: u64) -> Field {
        Field::Number(number)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Field {
        Field::Text(text.as_bytes().to_vec())
    }
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogMessage {
    /// A line, or several.
    Text(Vec<u8>),
    /// Something began.
    StartActivity {
        /// Names it until it stops.
        id: u64,
        /// How important it is; 0 is most, see [`level`].
        level: u64,
        /// What it is, see [`activity`].
        kind: u64,
        /// What to show.
        text: Vec<u8>,
        /// Details, depending on the kind.
        fields: Vec<Field>,
        /// The activity that it belongs to; 0 if none.
        parent: u64,
    },
    /// Something ended.
    StopActivity {
        /// Which.
        id: u64,
    },
    /// Something got on.
    Result {
        /// Which activity.
        id: u64,
        /// What happened, see [`result`].
        kind: u64,
        /// Details, depending on the kind.
        fields: Vec<Field>,
    },
}

/// Takes what a daemon says while it works. `()` drops it.
pub trait LogSink: Send + Sync {
    /// Takes a message.
    fn log(&self, message: &LogMessage);
}

impl LogSink for () {
    fn log(&self, _message: &LogMessage) {}
}

impl<F: Fn(&LogMessage) + Send + Sync> LogSink for F {
    fn log(&self, message: &LogMessage) {
        self(message);
    }
}

/// The error with which a daemon answers a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// How bad it is; 0 is an error.
    pub level: u64,
    /// The message; may have several lines and terminal colours.
    pub message: String,
    /// What was going on, outermost first.
    pub traces: Vec<String>,
    /// Exit status; travels only before 1.26.
    pub status: u64,
}

impl RemoteError {
    /// Makes an error with a message.
    pub fn new(message: impl Into<String>) -> RemoteError {
        RemoteError { level: level::ERROR, message: message.into(), traces: Vec::new(), status: 1 }
    }
}

/// One thing that a daemon says between a request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// Something to show.
    Log(LogMessage),
    /// It wants at most so many bytes.
    Read(u64),
    /// It sends bytes.
    Write(Vec<u8>),
    /// It failed.
    Error(RemoteError),
    /// The answer follows.
    Last,
}

const NEXT: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;
const START_ACTIVITY: u64 = 0x5354_5254;
const STOP_ACTIVITY: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// Most details that a message may have.
const FIELD_LIMIT: usize = 1024;

/// Most traces that an error may have.
const TRACE_LIMIT: usize = 64 * 1024;

impl Message for ServerMessage {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        Ok(match source.read_number()? {
            NEXT => ServerMessage::Log(LogMessage::Text(source.read_bytes(DEFAULT_LIMIT)?)),
            READ => ServerMessage::Read(source.read_number()?),
            WRITE => ServerMessage::Write(source.read_bytes(DEFAULT_LIMIT)?),
            LAST => ServerMessage::Last,
            ERROR => ServerMessage::Error(read_error(source, dialect)?),
            START_ACTIVITY => ServerMessage::Log(LogMessage::StartActivity {
                id: source.read_number()?,
                level: source.read_number()?,
                kind: source.read_number()?,
                text: source.read_bytes(DEFAULT_LIMIT)?,
                fields: read_fields(source)?,
                parent: source.read_number()?,
            }),
            STOP_ACTIVITY => ServerMessage::Log(LogMessage::StopActivity { id: source.read_number()? }),
            RESULT => ServerMessage::Log(LogMessage::Result {
                id: source.read_number()?,
                kind: source.read_number()?,
                fields: read_fields(source)?,
            }),
            number => return Err(WireError::UnknownMessage { number }),
        })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        match self {
            ServerMessage::Log(LogMessage::Text(text)) => {
                sink.write_number(NEXT)?;
                sink.write_bytes(text)?;
            }
            // Before 1.20 there are only lines.
            ServerMessage::Log(LogMessage::StartActivity { text, .. }) if !dialect.protocol.is_worker_since(20) => {
                if !text.is_empty() {
                    sink.write_number(NEXT)?;
                    sink.write_bytes(&[text.as_slice(), b"...\n"].concat())?;
                }
            }
            ServerMessage::Log(_) if !dialect.protocol.is_worker_since(20) => {}
            ServerMessage::Log(LogMessage::StartActivity { id, level, kind, text, fields, parent }) => {
                for number in [START_ACTIVITY, *id, *level, *kind] {
                    sink.write_number(number)?;
                }
                sink.write_bytes(text)?;
                write_fields(sink, fields)?;
                sink.write_number(*parent)?;
            }
            ServerMessage::Log(LogMessage::StopActivity { id }) => {
                sink.write_number(STOP_ACTIVITY)?;
                sink.write_number(*id)?;
            }
            ServerMessage::Log(LogMessage::Result { id, kind, fields }) => {
                for number in [RESULT, *id, *kind] {
                    sink.write_number(number)?;
                }
                write_fields(sink, fields)?;
            }
            ServerMessage::Read(length) => {
                sink.write_number(READ)?;
                sink.write_number(*length)?;
            }
            ServerMessage::Write(bytes) => {
                sink.write_number(WRITE)?;
                sink.write_bytes(bytes)?;
            }
            ServerMessage::Error(error) => {
                sink.write_number(ERROR)?;
                write_error(sink, dialect, error)?;
            }
            ServerMessage::Last => sink.write_number(LAST)?,
        }
        Ok(())
    }
}

fn read_fields(source: &mut dyn Read) -> Result<Vec<Field>, WireError> {
    let n_fields = source.read_length(FIELD_LIMIT)?;
    (0..n_fields)
        .map(|_| match source.read_number()? {
            0 => Ok(Field::Number(source.read_number()?)),
            1 => Ok(Field::Text(source.read_bytes(DEFAULT_LIMIT)?)),
            number => Err(WireError::OutOfRange { number }),
        })
        .collect()
}

fn write_fields(sink: &mut dyn Write, fields: &[Field]) -> Result<(), WireError> {
    sink.write_number(fields.len() as u64)?;
    for field in fields {
        match field {
            Field::Number(number) => {
                sink.write_number(0)?;
                sink.write_number(*number)?;
            }
            Field::Text(text) => {
                sink.write_number(1)?;
                sink.write_bytes(text)?;
            }
        }
    }
    Ok(())
}

fn read_error(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<RemoteError, WireError> {
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if !dialect.protocol.is_worker_since(26) {
        let message = lossy(source.read_bytes(DEFAULT_LIMIT)?);
        return Ok(RemoteError { status: source.read_number()?, ..RemoteError::new(message) });
    }
    source.read_bytes(64)?;
    let level = source.read_number()?;
    source.read_bytes(DEFAULT_LIMIT)?;
    let mut error = RemoteError { level, ..RemoteError::new(lossy(source.read_bytes(DEFAULT_LIMIT)?)) };
    expect_no_position(source)?;
    for _ in 0..source.read_length(TRACE_LIMIT)? {
        expect_no_position(source)?;
        error.traces.push(lossy(source.read_bytes(DEFAULT_LIMIT)?));
    }
    Ok(error)
}

/// A position was planned for and never sent.
fn expect_no_position(source: &mut dyn Read) -> Result<(), WireError> {
    match source.read_number()? {
        0 => Ok(()),
        number => Err(WireError::OutOfRange { number }),
    }
}

fn write_error(sink: &mut dyn Write, dialect: &Dialect<'_>, error: &RemoteError) -> Result<(), WireError> {
    if !dialect.protocol.is_worker_since(26) {
        sink.write_bytes(error.message.as_bytes())?;
        return Ok(sink.write_number(error.status)?);
    }
    sink.write_bytes(b"Error")?;
    sink.write_number(error.level)?;
    sink.write_bytes(b"Error")?;
    sink.write_bytes(error.message.as_bytes())?;
    sink.write_number(0)?;
    sink.write_number(error.traces.len() as u64)?;
    for trace in &error.traces {
        sink.write_number(0)?;
        sink.write_bytes(trace.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::message::Protocol;
    use super::super::version::{Number, WORKER_LATEST};
    use super::*;
    use crate::path::StoreDir;

    fn all() -> Vec<ServerMessage> {
        let fields = vec![Field::from(7), Field::from("seven")];
        vec![
            ServerMessage::Log(LogMessage::Text(b"line\n".to_vec())),
            ServerMessage::Log(LogMessage::StartActivity {
                id: 1,
                level: level::INFO,
                kind: activity::BUILD,
                text: b"building".to_vec(),
                fields: fields.clone(),
                parent: 0,
            }),
            ServerMessage::Log(LogMessage::Result { id: 1, kind: result::BUILD_LOG_LINE, fields }),
            ServerMessage::Log(LogMessage::StopActivity { id: 1 }),
            ServerMessage::Read(10),
            ServerMessage::Write(b"bytes".to_vec()),
            ServerMessage::Error(RemoteError { traces: vec!["while".into()], ..RemoteError::new("no") }),
            ServerMessage::Last,
        ]
    }

    #[test]
    fn messages_round_trip_and_break_off_cleanly() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(WORKER_LATEST) };
        for message in all() {
            let mut bytes = Vec::new();
            message.write(&mut bytes, &dialect).unwrap();
            assert_eq!(ServerMessage::read(&mut bytes.as_slice(), &dialect).unwrap(), message);
            for end in 0..bytes.len() {
                assert!(ServerMessage::read(&mut &bytes[..end], &dialect).is_err());
            }
        }
    }

    #[test]
    fn old_clients_get_lines() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(Number::new(1, 18)) };
        let mut bytes = Vec::new();
        for message in &all()[..4] {
            message.write(&mut bytes, &dialect).unwrap();
        }
        let mut source = bytes.as_slice();
        for line in [&b"line\n"[..], b"building...\n"] {
            let message = ServerMessage::read(&mut source, &dialect).unwrap();
            assert_eq!(message, ServerMessage::Log(LogMessage::Text(line.to_vec())));
        }
        assert!(source.is_empty());
    }

    #[test]
    fn hostile_messages() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(WORKER_LATEST) };
        let read = |numbers: &[u64]| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            ServerMessage::read(&mut bytes.as_slice(), &dialect).unwrap_err()
        };
        assert!(matches!(read(&[1]), WireError::UnknownMessage { number: 1 }));
        assert!(matches!(read(&[NEXT, 1 << 63]), WireError::TooLong { .. }));
        assert!(matches!(read(&[RESULT, 1, 101, 1 << 63]), WireError::TooLong { .. }));
        assert!(matches!(read(&[RESULT, 1, 101, 1, 2]), WireError::OutOfRange { number: 2 }));
        assert!(matches!(read(&[ERROR, 1 << 63]), WireError::TooLong { .. }));
        assert!(matches!(read(&[ERROR, 0, 0, 0, 0, 1]), WireError::OutOfRange { number: 1 }));
        assert!(matches!(read(&[ERROR, 0, 0, 0, 0, 0, 1 << 63]), WireError::TooLong { .. }));
    }
}
