//! [`HttpTransport`]: `http://`, `https://` and `file://`, with everything that the network may do in between.
//!
//! Servers that speak HTTP/2 are asked for many files over one connection, others over several, which are kept and used
//! again. A download that breaks off goes on where it was, if the server can do that. A
//! connection on which nothing comes for a while counts as broken. Names and passwords come from the address or from a
//! `netrc` file and go to their own host alone, also when it redirects.

use std::io::{BufReader, Read};
use std::sync::Arc;

use reqwest::Method;

use super::{Body, Request, Response, SendMethod, TransferError, TransferErrorKind, TransferResult, Transport, file};
use crate::compression::{self, Compression};

mod answer;
mod attempt;
mod body;
mod client;
mod error;
mod gate;
mod options;
mod upload;
mod wait;

pub use options::{Certificates, HttpOptions};

use answer::Answer;
use attempt::{Attempt, Shared};

/// Requests that are worth having in flight at the same time where they share a connection. Servers allow 100 or more, and
/// what is above waits for its turn.
const N_MULTIPLEXED: usize = 256;

/// See the module. Copies share their connections.
///
/// It has some threads of its own, from the first request on until the last copy and the last body are dropped.
#[derive(Clone)]
pub struct HttpTransport(Arc<Shared>);

impl HttpTransport {
    /// Makes a transport. Nothing is read or connected before the first request.
    pub fn new(options: HttpOptions) -> HttpTransport {
        HttpTransport(Arc::new(Shared::new(options)))
    }

    /// Returns how it behaves.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    fn fetch(&self, method: &Method, request: &Request) -> TransferResult<Answer> {
        self.0.options.retry.run(request, 0, || self.0.attempt(request, Attempt::to_get(method, 0)))
    }

    /// For servers that don't know ranges: reads and forgets what comes before.
    fn part_of_whole(&self, request: &Request, answer: Answer, n_skipped: u64) -> TransferResult<Response> {
        let whole = Request { range: None, ..request.clone() };
        let mut response = decoded(&whole, answer)?;
        let failed = |error| TransferError::from_io(&request.url, error);
        std::io::copy(&mut (&mut response.body).take(n_skipped), &mut std::io::sink()).map_err(failed)?;
        let length = request.range.as_ref().map_or(u64::MAX, |range| range.end.saturating_sub(range.start));
        Ok(Response { size: None, status: 206, body: Box::new(response.body.take(length)), ..response })
    }
}

impl Transport for HttpTransport {
    fn get(&self, request: &Request) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::get(request, &path);
        }
        let answer = self.fetch(&Method::GET, request)?;
        match &request.range {
            _ if answer.status() == 304 => Ok(answer.describe()),
            Some(range) if answer.status() != 206 => self.part_of_whole(request, answer, range.start),
            _ => decoded(request, answer),
        }
    }

    fn head(&self, request: &Request) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::head(request, &path);
        }
        Ok(self.fetch(&Method::HEAD, request)?.describe())
    }

    fn send(&self, method: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::send(method, request, &path, body);
        }
        let (method, body) = match method {
            SendMethod::Put => (Method::PUT, Some(body)),
            SendMethod::Post => (Method::POST, Some(body)),
            SendMethod::Delete => (Method::DELETE, None),
        };
        let attempt = Attempt { activity: "upload", method: &method, offset: 0, body };
        let answer = self.0.options.retry.run(request, 0, || self.0.attempt(request, attempt))?;
        let response = answer.describe();
        Ok(Response { body: Box::new(answer.into_body().take(1 << 20)), ..response })
    }

    fn n_in_flight(&self, url: &str) -> Option<usize> {
        self.0.is_http2(url).then_some(N_MULTIPLEXED)
    }
}

/// Returns an answer with its body, without what it was compressed with on the way.
fn decoded(request: &Request, answer: Answer) -> TransferResult<Response> {
    let mut response = answer.describe();
    let raw = body::ResumingBody::new(request, &response, answer);
    let encoding = response.header("content-encoding").unwrap_or_default();
    let mut body: Box<dyn Read + Send> = Box::new(raw);
    // Several may stand there, in the order in which they were applied.
    for name in encoding.split(',').rev() {
        let Some(compression) = Compression::from_content_encoding(name) else {
            let reason = format!("unknown content encoding '{}'", name.trim());
            return Err(TransferError::new(TransferErrorKind::Refused, &request.url, reason));
        };
        if compression != Compression::None {
            body = compression::decoder(compression, BufReader::with_capacity(64 * 1024, body))
                .map_err(|error| TransferError::from_io(&request.url, error))?;
        }
    }
    response.body = body;
    Ok(response)
}

#[cfg(test)]
mod tests;
