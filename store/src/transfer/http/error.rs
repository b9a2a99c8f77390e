//! What went wrong on the way, as a [`TransferError`].

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;

use super::answer::Answer;
use super::wait::Stopped;
use crate::transfer::{Request, TransferError, TransferErrorKind};

/// How long a server is left alone that got too many requests and does not say until when, as the reference has it.
const TOO_MANY_REQUESTS: Duration = Duration::from_secs(60);

/// Makes an error of a status that is none of success.
pub(super) fn refusal(activity: &str, request: &Request, answer: Answer) -> TransferError {
    use TransferErrorKind::{Forbidden, NotFound, Refused, Transient};
    let status = answer.status();
    let kind = match status {
        404 | 410 => NotFound,
        401 | 403 | 407 => Forbidden,
        // These may pass, other refusals don't.
        408 | 429 => Transient,
        501 | 505 | 511 => Refused,
        500..600 => Transient,
        _ => Refused,
    };
    let asked = answer.header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let mut text = Vec::new();
    let _ = answer.into_body().take(4096).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let mut reason = format!("HTTP error {status}");
    if !text.trim().is_empty() {
        reason.push_str("\n\nresponse body:\n\n");
        reason.push_str(text.trim_end());
    }
    let mut error = TransferError::during(activity, kind, &request.url, reason);
    error.status = Some(status);
    error.retry_after = asked.or((status == 429).then_some(TOO_MANY_REQUESTS));
    error
}

/// Makes an error of waiting that ended early.
pub(super) fn stopped(activity: &str, request: &Request, stopped: Stopped) -> TransferError {
    match stopped {
        Stopped::Interrupted => TransferError::during(activity, TransferErrorKind::Interrupted, &request.url, ""),
        Stopped::Stalled => TransferError::during(activity, TransferErrorKind::Transient, &request.url, "the connection is stalled"),
    }
}

/// Makes an error of one of the client's.
pub(super) fn failed(activity: &str, request: &Request, error: &reqwest::Error) -> TransferError {
    let is_final = error.is_builder()
        || find::<rustls::Error>(error).is_some()
        // What answers there does not speak HTTP, or says more than anybody would.
        || find::<hyper::Error>(error).is_some_and(|error| error.is_parse());
    let kind = if is_final { TransferErrorKind::Refused } else { TransferErrorKind::Transient };
    TransferError::during(activity, kind, &request.url, describe(error))
}

fn describe(error: &reqwest::Error) -> String {
    if error.is_dns() {
        return "Could not resolve hostname".to_owned();
    }
    let cause = cause(error);
    match find::<std::io::Error>(error) {
        _ if error.is_connect() && error.is_timeout() => "Could not connect to server: connection timed out".to_owned(),
        Some(io) if error.is_connect() && io.raw_os_error().is_some() => format!("Could not connect to server: {cause}"),
        _ => cause,
    }
}

/// Returns what is at the bottom of an error: those above say where it happened, addresses with signatures included.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let last = chain(error).last().expect("the error itself is there");
    match last.downcast_ref::<std::io::Error>() {
        Some(io) => crate::error::without_number(io),
        None => last.to_string(),
    }
}

/// Returns the first of a kind among an error and its causes.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An error of the operating system's kind says nothing of what it was made of by `source`.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inside {
            Some(inside) => Some(inside as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
