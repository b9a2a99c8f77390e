//! Sending a large file in parts, which S3 demands of files from 5 GiB on.
//!
//! The upload is begun, each part is sent (and sent again if that fails), and the whole becomes the object when it is
//! completed. The surprising thing: what is not completed is kept, unseen and paid for, until it is aborted, so a failure
//! is followed by one more request.
//!
//! Protocol source: Amazon's API reference of `CreateMultipartUpload` and what belongs to it.

use rusty_s3::Bucket;
use rusty_s3::actions::{AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, UploadPart};

use super::{S3Transport, shown};
use crate::transfer::{
    Body, Interrupt, Request, Response, SendMethod, TransferError, TransferErrorKind, TransferResult,
};

/// Size of a part in bytes, at least (but for the last) and at most; the latter holds for an object in one piece too.
const SMALLEST_PART: u64 = 5 << 20;
pub(super) const LARGEST_PART: u64 = 5 << 30;

/// Parts of an upload, at most.
const N_PARTS: u64 = 10_000;

/// Size of an answer in bytes, at most.
const LIMIT: u64 = 64 << 10;

/// When files are sent in parts. The defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartOptions {
    /// Whether they are at all (`multipart-upload`).
    pub is_enabled: bool,
    /// Larger ones are, in bytes (`multipart-threshold`).
    pub threshold: u64,
    /// Size of a part in bytes (`multipart-chunk-size`); more where there would be too many parts.
    pub part_size: u64,
}

impl Default for MultipartOptions {
    fn default() -> MultipartOptions {
        MultipartOptions { is_enabled: false, threshold: 100 << 20, part_size: SMALLEST_PART }
    }
}

impl MultipartOptions {
    /// Returns what is wrong with the size of parts.
    pub(crate) fn complaint(&self) -> Option<String> {
        let wrong = |bound: &str, size| format!("multipart-chunk-size must be at {bound} {}, got {}", rendered(size), rendered(self.part_size));
        match self.part_size {
            ..SMALLEST_PART => Some(wrong("least", SMALLEST_PART)),
            size if size > LARGEST_PART => Some(wrong("most", LARGEST_PART)),
            _ => None,
        }
    }

    /// Returns what is odd about the sizes.
    pub(crate) fn warning(&self) -> Option<String> {
        let (threshold, part_size) = (rendered(self.threshold), rendered(self.part_size));
        (self.is_enabled && self.threshold < self.part_size).then(|| {
            format!("multipart-threshold ({threshold}) is less than multipart-chunk-size ({part_size}), which may result in single-part multipart uploads")
        })
    }
}

/// Returns a size as the reference's messages have it.
pub(super) fn rendered(n_bytes: u64) -> String {
    let mut value = n_bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].iter();
    let mut unit = units.next().expect("there are some");
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// An upload that was begun.
struct Upload<'a> {
    transport: &'a S3Transport,
    bucket: &'a Bucket,
    key: &'a str,
    /// What was asked for, without headers: those belong to the object.
    request: Request,
    id: String,
}

/// Sends `body` in parts. `headers` are for the object, besides those of the request.
pub(super) fn send(
    transport: &S3Transport,
    (bucket, key): (&Bucket, &str),
    request: &Request,
    headers: &[(&str, String)],
    body: Body<'_>,
    size: u64,
) -> TransferResult<Response> {
    let part_size = transport.options.multipart.part_size.max(size.div_ceil(N_PARTS));
    if part_size > LARGEST_PART {
        let reason = format!("file too large for S3 multipart upload: {}", rendered(size));
        return Err(TransferError::during("upload", TransferErrorKind::Refused, &request.url, reason));
    }
    let credentials = transport.credentials()?;
    let create = CreateMultipartUpload::new(bucket, credentials.as_ref(), key);
    let signed = transport.signed(request, create, headers);
    let answer = transport.beneath.send(SendMethod::Post, &signed, Body::Bytes(b""));
    let text = text(shown(answer, &request.url, signed.url)?)?;
    let created = CreateMultipartUpload::parse_response(&text).map_err(|error| {
        let reason = format!("the answer to S3 CreateMultipartUpload makes no sense: {error}");
        TransferError::during("upload", TransferErrorKind::Refused, &request.url, reason)
    })?;
    let id = created.upload_id().to_owned();
    let request = Request { headers: Vec::new(), ..request.clone() };
    let upload = Upload { transport, bucket, key, request, id };
    let sent = upload.parts(body, size, part_size).and_then(|tags| upload.complete(&tags));
    if sent.is_err() {
        upload.abort();
    }
    sent
}

impl Upload<'_> {
    /// Sends all parts. Returns their tags.
    fn parts(&self, body: Body<'_>, size: u64, part_size: u64) -> TransferResult<Vec<String>> {
        let mut tags = Vec::new();
        for start in (0..size).step_by(usize::try_from(part_size).unwrap_or(usize::MAX)) {
            let number = u16::try_from(tags.len() + 1).expect("there are at most 10000");
            let credentials = self.transport.credentials()?;
            let part = UploadPart::new(self.bucket, credentials.as_ref(), self.key, number, &self.id);
            let part = self.transport.signed(&self.request, part, &[]);
            let answer = self.ask(SendMethod::Put, part, body.part(start, part_size.min(size - start)))?;
            let tag = answer.tag().map(str::to_owned);
            tags.push(tag.ok_or_else(|| self.refused(&format!("S3 UploadPart response missing ETag for part {number}")))?);
        }
        Ok(tags)
    }

    fn complete(&self, tags: &[String]) -> TransferResult<Response> {
        let credentials = self.transport.credentials()?;
        let tags = || tags.iter().map(String::as_str);
        let complete = || CompleteMultipartUpload::new(self.bucket, credentials.as_ref(), self.key, &self.id, tags());
        let signed = self.transport.signed(&self.request, complete(), &[]).header("content-type", "text/xml");
        let document = complete().body();
        let answer = self.ask(SendMethod::Post, signed, Body::Bytes(document.as_bytes()))?;
        let (url, status, headers) = (answer.url.clone(), answer.status, answer.headers.clone());
        // Making the object takes a while, so the status comes first; whether it worked shows at the end.
        let text = text(answer)?;
        if text.contains("<Error>") {
            return Err(self.refused(&format!("S3 CompleteMultipartUpload failed: {text}")));
        }
        Ok(Response { url, status, headers, size: Some(0), is_unmodified: false, body: Box::new(std::io::empty()) })
    }

    /// What was sent is no longer needed. That it can't be said is no failure beside the one that led here.
    fn abort(&self) {
        let Ok(credentials) = self.transport.credentials() else { return };
        let abort = AbortMultipartUpload::new(self.bucket, credentials.as_ref(), self.key, &self.id);
        let mut signed = self.transport.signed(&self.request, abort, &[]);
        signed.interrupt = Interrupt::default();
        signed.n_attempts = Some(1);
        let _ = self.transport.beneath.send(SendMethod::Delete, &signed, Body::Bytes(b""));
    }

    fn ask(&self, method: SendMethod, signed: Request, body: Body<'_>) -> TransferResult<Response> {
        shown(self.transport.beneath.send(method, &signed, body), &self.request.url, signed.url)
    }

    fn refused(&self, reason: &str) -> TransferError {
        TransferError::during("upload", TransferErrorKind::Refused, &self.request.url, reason)
    }
}

fn text(answer: Response) -> TransferResult<String> {
    Ok(String::from_utf8_lossy(&answer.bytes(LIMIT)?).into_owned())
}
