//! A body that survives broken connections: it asks again for what has not come yet.
//!
//! That works if the server knows ranges and says by its tag that the file is still the same. Otherwise a body that
//! broke off before its first byte is asked for again, and one that broke off later is an error.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::CONTENT_RANGE;

use super::Shared;
use super::answer::{Answer, AnswerBody};
use super::attempt::Attempt;
use crate::transfer::{Request, Response, TransferError, TransferErrorKind, TransferResult};

/// After so many bytes without trouble a failure counts as the first again.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// The bytes of an answer as they come over the wire.
pub(super) struct ResumingBody {
    shared: Arc<Shared>,
    request: Request,
    source: Option<AnswerBody>,
    /// Bytes that were handed on.
    n_read: u64,
    /// What that was when the last connection was made.
    n_read_before: u64,
    /// Bytes that there will be, if the server said.
    size: Option<u64>,
    knows_ranges: bool,
    tag: Option<String>,
    n_failed: u32,
    began_at: Instant,
}

impl ResumingBody {
    /// Returns the body of `answer`, of which `said` is what it says.
    pub(super) fn new(request: &Request, said: &Response, answer: Answer) -> ResumingBody {
        let knows_ranges = said.status == 206 || said.header("accept-ranges").is_some_and(|unit| unit == "bytes");
        // A weak tag does not promise the same bytes.
        let tag = said.tag().filter(|tag| !tag.starts_with("W/")).map(str::to_owned);
        let is_encoded = said.header("content-encoding").is_some();
        ResumingBody {
            shared: Arc::clone(&answer.shared),
            request: request.clone(),
            source: Some(answer.into_body()),
            n_read: 0,
            n_read_before: 0,
            size: said.header("content-length").and_then(|length| length.parse().ok()),
            knows_ranges: knows_ranges && (tag.is_some() || !is_encoded),
            tag,
            n_failed: 0,
            began_at: Instant::now(),
        }
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> TransferResult<usize> {
        let url = &self.request.url;
        if self.request.interrupt.is_interrupted() {
            return Err(TransferError::new(TransferErrorKind::Interrupted, url, ""));
        }
        if self.source.is_none() {
            self.source = Some(self.reopen()?);
        }
        let source = self.source.as_mut().expect("just opened");
        match source.read(buffer) {
            Ok(0) if !buffer.is_empty() && self.size.is_some_and(|size| self.n_read < size) => {
                let reason = format!("transfer closed after {} of {} bytes", self.n_read, self.size.unwrap_or(0));
                Err(TransferError::new(TransferErrorKind::Transient, url, reason))
            }
            Ok(n) => Ok(n),
            Err(error) => Err(TransferError::from_io(url, error)),
        }
    }

    fn reopen(&self) -> TransferResult<AnswerBody> {
        let refused =
            |reason: &str| TransferError::new(TransferErrorKind::Refused, &self.request.url, reason.to_owned());
        if self.n_read > 0 && !self.knows_ranges {
            return Err(refused("the transfer was interrupted and the server can't go on in the middle"));
        }
        let mut request = self.request.clone();
        if let Some(tag) = &self.tag
            && self.n_read > 0
        {
            request = request.header("if-range", tag.clone());
        }
        let answer = self.shared.attempt(&request, Attempt::to_get(&Method::GET, self.n_read))?;
        if self.n_read == 0 {
            return Ok(answer.into_body());
        }
        let start = request.range.as_ref().map_or(0, |range| range.start) + self.n_read;
        let begins = answer.header(CONTENT_RANGE);
        if answer.status() != 206 || !begins.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
        {
            return Err(refused("the file changed while it was being transferred"));
        }
        Ok(answer.into_body())
    }

    /// Waits as long as it came too fast (`download-speed`); what is not read is not sent.
    fn slow_down(&self) {
        if let Some(speed) = self.shared.options.bytes_per_second.filter(|speed| *speed > 0) {
            let due = Duration::from_secs_f64(self.n_read as f64 / speed as f64);
            self.request.interrupt.sleep(due.saturating_sub(self.began_at.elapsed()));
        }
    }
}

impl Read for ResumingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.read_once(buffer) {
                Ok(n) => {
                    self.n_read += n as u64;
                    if let Some(observer) = &self.request.observer
                        && n > 0
                    {
                        observer.received(&self.request.url, self.n_read, self.size);
                    }
                    self.slow_down();
                    return Ok(n);
                }
                Err(error) => error,
            };
            self.source = None;
            if self.n_read > 0 && !self.knows_ranges {
                return Err(error.into());
            }
            if self.n_read - self.n_read_before >= FORGIVEN_AFTER {
                self.n_failed = 0;
            }
            self.n_read_before = self.n_read;
            self.n_failed += 1;
            self.shared.options.retry.pause(&self.request, self.n_read, self.n_failed, error)?;
        }
    }
}
