//! Transfers of files by address: the trait [`Transport`], and what goes in and comes out of it.
//!
//! Binary caches, fetchers and `builtin:fetchurl` all ask through this trait, so that a host can put its own network (or
//! none) beneath them. [`http::HttpTransport`] (feature `http`) is the one for `http://`, `https://` and `file://`.
//!
//! The surprising thing: a transport retries by itself, also in the middle of a body. What comes out of
//! [`Response::body`] is the file's bytes, once each, however many connections that took; an error there is final.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub mod file;
#[cfg(feature = "http")]
pub mod http;
pub mod netrc;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;

/// Short for results of transfers.
pub type TransferResult<T> = std::result::Result<T, TransferError>;

/// Moves files. Calls block; a transport may be shared between threads.
pub trait Transport: Send + Sync {
    /// Fetches a file, or a part of it.
    ///
    /// # Errors
    /// When the file is not there, is not given, or can't be fetched now.
    fn get(&self, request: &Request) -> TransferResult<Response>;

    /// Asks what [`Transport::get`] would say, without the body.
    ///
    /// # Errors
    /// As [`Transport::get`].
    fn head(&self, request: &Request) -> TransferResult<Response>;

    /// Stores a file, or whatever the address does with it. The answer's body is at most some kilobytes long.
    ///
    /// # Errors
    /// When the other side refuses, or can't be reached now.
    fn send(&self, method: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response>;

    /// Stores a file under an address.
    ///
    /// # Errors
    /// As [`Transport::send`].
    fn put(&self, request: &Request, body: Body<'_>) -> TransferResult<()> {
        self.send(SendMethod::Put, request, body).map(drop)
    }

    /// Returns how many requests to the server of an address are worth having in flight at the same time, `None` if that is
    /// not known (yet) or for the caller to decide.
    fn n_in_flight(&self, url: &str) -> Option<usize> {
        let _ = url;
        None
    }
}

/// How something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMethod {
    /// `PUT`: the body is the file.
    Put,
    /// `POST`: the body is for the address to judge.
    Post,
    /// `DELETE`: the file goes.
    Delete,
}

/// What is sent. It can be read again, since sending may need several attempts.
#[derive(Clone, Copy, Debug)]
pub enum Body<'b> {
    /// These bytes.
    Bytes(&'b [u8]),
    /// The contents of this file.
    File(&'b Path),
    /// `size` bytes of this file from `start` on, all of which there have to be.
    Part {
        /// The file.
        file: &'b Path,
        /// Position of the first byte.
        start: u64,
        /// Number of bytes.
        size: u64,
    },
}

impl<'b> Body<'b> {
    /// Returns `size` bytes of it from `start` on, which must be there.
    #[must_use]
    pub fn part(self, start: u64, size: u64) -> Body<'b> {
        match self {
            Body::Bytes(bytes) => {
                let rest = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
                Body::Bytes(&rest[..usize::try_from(size).map_or(rest.len(), |size| size.min(rest.len()))])
            }
            Body::File(file) => Body::Part { file, start, size },
            Body::Part { file, start: before, .. } => Body::Part { file, start: before.saturating_add(start), size },
        }
    }

    /// Returns the number of bytes.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn size(&self) -> std::io::Result<u64> {
        match self {
            Body::Bytes(bytes) => Ok(bytes.len() as u64),
            Body::File(path) => Ok(std::fs::metadata(path)?.len()),
            Body::Part { size, .. } => Ok(*size),
        }
    }

    /// Opens it for reading from the start.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn open(self) -> std::io::Result<Box<dyn Read + Send + 'b>> {
        match self {
            Body::Bytes(bytes) => Ok(Box::new(bytes)),
            Body::File(path) => Ok(Box::new(File::open(path)?)),
            Body::Part { file, start, size } => Ok(Box::new(open_part(file, start, size)?)),
        }
    }
}

/// Opens a part of a file.
pub(crate) fn open_part(file: &Path, start: u64, size: u64) -> std::io::Result<std::io::Take<File>> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file.take(size))
}

/// What is wanted.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Request {
    /// The address, a URL.
    pub url: String,
    /// Headers to send besides the usual ones.
    pub headers: Vec<(String, String)>,
    /// Which bytes of the file; all of them without it. An end behind the file's is the file's.
    pub range: Option<Range<u64>>,
    /// The entity tag of the version that is known already; if it is still the current one the answer is
    /// [`Response::is_unmodified`].
    pub known_tag: Option<String>,
    /// Whether the other side may compress on the way; the body comes out decompressed either way.
    pub allows_encoding: bool,
    /// Attempts altogether, if fewer than the transport's own number.
    pub n_attempts: Option<u32>,
    /// Stops the transfer.
    pub interrupt: Interrupt,
    /// Gets told what happens.
    pub observer: Option<Arc<dyn TransferObserver>>,
}

impl Request {
    /// Returns a request for the whole file at an address.
    pub fn new(url: impl Into<String>) -> Request {
        Request { url: url.into(), ..Request::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets which bytes are wanted.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Request {
        self.range = Some(range);
        self
    }

    /// Sets what stops the transfer.
    #[must_use]
    pub fn interrupt(mut self, interrupt: &Interrupt) -> Request {
        self.interrupt = interrupt.clone();
        self
    }

    /// Sets who gets told what happens.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn TransferObserver>>) -> Request {
        self.observer = observer;
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the headers: there may be passwords in them.
        f.debug_struct("Request").field("url", &self.url).field("range", &self.range).finish_non_exhaustive()
    }
}

/// The answer to a [`Request`].
pub struct Response {
    /// The address that it came from, after redirections.
    pub url: String,
    /// The status of HTTP, or the one that would fit.
    pub status: u16,
    /// Names, in lower case, and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Number of bytes that [`Response::body`] will have, if it is known. Not known where the other side compressed.
    pub size: Option<u64>,
    /// Whether the version that the request knew is the current one; there is no body then.
    pub is_unmodified: bool,
    /// The bytes.
    pub body: Box<dyn Read + Send>,
}

impl Response {
    /// Returns the value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the entity tag.
    pub fn tag(&self) -> Option<&str> {
        self.header("etag")
    }

    /// Reads the whole body, which may have at most `limit` bytes.
    ///
    /// # Errors
    /// When reading fails or the body is longer.
    pub fn bytes(self, limit: u64) -> TransferResult<Vec<u8>> {
        let Response { url, body, size, .. } = self;
        let too_long = || TransferError::new(TransferErrorKind::Refused, &url, format!("more than {limit} bytes"));
        if size.is_some_and(|size| size > limit) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        let n_read = body
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| TransferError::from_io(&url, error))?;
        if n_read as u64 > limit { Err(too_long()) } else { Ok(bytes) }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { url, status, headers, size, is_unmodified, .. } = self;
        f.debug_struct("Response")
            .field("url", url)
            .field("status", status)
            .field("headers", headers)
            .field("size", size)
            .field("is_unmodified", is_unmodified)
            .finish_non_exhaustive()
    }
}

/// Watches transfers. Called on the threads that transfer.
pub trait TransferObserver: Send + Sync {
    /// An attempt failed, and there will be another one.
    fn retrying(&self, retry: &Retry<'_>) {
        let _ = retry;
    }

    /// So many bytes of a body have come, of so many if that is known.
    fn received(&self, url: &str, n_bytes: u64, size: Option<u64>) {
        let _ = (url, n_bytes, size);
    }
}

/// An attempt that failed and is not the last.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'r> {
    /// Why it failed.
    pub error: &'r TransferError,
    /// How long until the next one.
    pub delay: Duration,
    /// The number of the attempt that failed, from 1.
    pub attempt: u32,
    /// How many there are at most.
    pub n_attempts: u32,
    /// The position in the file from which the next attempt goes on; 0 from the start.
    pub offset: u64,
}

/// Tells long operations to stop: a question that they ask now and then. The default never stops anything.
#[derive(Clone, Default)]
pub struct Interrupt(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Interrupt {
    /// Returns one that stops as soon as `is_interrupted` returns true, for which it must be quick.
    pub fn new(is_interrupted: impl Fn() -> bool + Send + Sync + 'static) -> Interrupt {
        Interrupt(Some(Arc::new(is_interrupted)))
    }

    /// Returns whether to stop.
    pub fn is_interrupted(&self) -> bool {
        self.0.as_ref().is_some_and(|is_interrupted| is_interrupted())
    }

    /// Sleeps, but not on when it is time to stop. Returns whether it is.
    pub fn sleep(&self, duration: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(50);
        let end = std::time::Instant::now() + duration;
        loop {
            if self.is_interrupted() {
                return true;
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt").field(&self.is_interrupted()).finish()
    }
}

/// What kind of failure a transfer met, which is what a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferErrorKind {
    /// There is no such file.
    NotFound,
    /// There may be such a file, but not for us (status 401, 403, 407).
    Forbidden,
    /// May work another time: no connection, a broken one, an overloaded server. All attempts were used up.
    Transient,
    /// Will not work: refused, malformed, or no way to ask.
    Refused,
    /// The caller asked to stop.
    Interrupted,
}

/// Why a transfer failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransferError {
    /// The kind.
    pub kind: TransferErrorKind,
    /// The address.
    pub url: String,
    /// The status of HTTP, if there was an answer.
    pub status: Option<u16>,
    /// How long the other side asked to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The whole message, in the reference's words.
    pub message: String,
}

impl TransferError {
    /// Makes the error of a download.
    pub fn new(kind: TransferErrorKind, url: &str, reason: impl fmt::Display) -> TransferError {
        TransferError::during("download", kind, url, reason)
    }

    /// Makes the error of `activity`, which is `download` or `upload`.
    pub fn during(activity: &str, kind: TransferErrorKind, url: &str, reason: impl fmt::Display) -> TransferError {
        let message = match kind {
            TransferErrorKind::Interrupted => format!("{activity} of '{url}' was interrupted"),
            _ => format!("unable to {activity} '{url}': {reason}"),
        };
        TransferError { kind, url: url.to_owned(), status: None, retry_after: None, message }
    }

    /// Makes an error of one that a body's reader gave.
    pub fn from_io(url: &str, error: std::io::Error) -> TransferError {
        match error.downcast::<TransferError>() {
            Ok(error) => error,
            Err(error) => TransferError::new(TransferErrorKind::Transient, url, error),
        }
    }

    /// Returns whether the other side has no such file, or none for us: to somebody who looks in several places
    /// that is the same.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, TransferErrorKind::NotFound | TransferErrorKind::Forbidden)
    }
}

impl From<TransferError> for std::io::Error {
    fn from(error: TransferError) -> std::io::Error {
        let kind = match error.kind {
            TransferErrorKind::NotFound => std::io::ErrorKind::NotFound,
            TransferErrorKind::Forbidden => std::io::ErrorKind::PermissionDenied,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}
