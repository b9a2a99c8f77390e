//! An answer of a server, whose body is read on the caller's thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::HeaderName;

use super::{Shared, error, wait};
use crate::transfer::{Request, Response};

/// An answer, its body yet to be read.
pub(super) struct Answer {
    pub(super) shared: Arc<Shared>,
    pub(super) request: Request,
    pub(super) inner: reqwest::Response,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Returns what it says, without its body.
    pub(super) fn describe(&self) -> Response {
        let headers: Vec<(String, String)> = self
            .inner
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let length = self.header(reqwest::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let is_encoded = self.inner.headers().contains_key(reqwest::header::CONTENT_ENCODING);
        Response {
            url: self.inner.url().to_string(),
            status: self.status(),
            headers,
            size: length.filter(|_| !is_encoded),
            is_unmodified: self.status() == 304,
            body: Box::new(io::empty()),
        }
    }

    pub(super) fn into_body(self) -> AnswerBody {
        let Answer { shared, request, inner } = self;
        let patience = shared.options.stall_timeout;
        AnswerBody { inner, request, patience, piece: Bytes::new(), _shared: shared }
    }
}

/// The bytes of one answer.
pub(super) struct AnswerBody {
    inner: reqwest::Response,
    request: Request,
    patience: Option<Duration>,
    /// What has come and was not read yet.
    piece: Bytes,
    /// Serves the connection.
    _shared: Arc<Shared>,
}

impl Read for AnswerBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            let progress = wait::Progress::new(self.patience);
            let next = wait::wait(self.inner.chunk(), &self.request.interrupt, &progress)
                .map_err(|stopped| error::stopped("download", &self.request, stopped))?;
            match next.map_err(|error| error::failed("download", &self.request, &error))? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
