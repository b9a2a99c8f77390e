//! [`S3Transport`]: `s3://bucket/key` over another transport, for Amazon's S3 and what speaks like it.
//!
//! Each request becomes one to a signed address of HTTP (SigV4, by `rusty-s3`), so that connections, retries and resuming
//! are those of the transport beneath. The surprising thing: a signed address is as good as a password for hours, so it
//! is never shown; errors and observers get to see the `s3://` one.

use std::sync::Arc;
use std::time::Duration;

use rusty_s3::actions::{DeleteObject, GetObject, HeadObject, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::{
    Body, Request, Response, Retry, SendMethod, TransferError, TransferErrorKind, TransferObserver, TransferResult,
    Transport, file,
};

mod credentials;
mod multipart;

pub use credentials::{CredentialChain, S3Credentials};
pub use multipart::MultipartOptions;

/// How long a signed address is good for: longer than any download takes, with all its attempts.
const VALIDITY: Duration = Duration::from_secs(12 * 60 * 60);

/// How the bucket is named in an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressingStyle {
    /// In the host's name for Amazon's own, in the path for other endpoints and for names with a dot.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host's name.
    Virtual,
}

/// Where a bucket is and who asks. The defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Options {
    /// `region`
    pub region: String,
    /// `endpoint`: a host with a port perhaps, or an address; Amazon's without it.
    pub endpoint: Option<String>,
    /// `scheme` of an endpoint that is only a host.
    pub scheme: String,
    /// `addressing-style`
    pub addressing_style: AddressingStyle,
    /// `storage-class` of what is written.
    pub storage_class: Option<String>,
    /// When files are sent in parts.
    pub multipart: MultipartOptions,
    /// Key, secret and session token; without them, and without a chain that finds some, requests are not signed.
    pub credentials: Option<S3Credentials>,
}

impl Default for S3Options {
    fn default() -> S3Options {
        S3Options {
            region: "us-east-1".into(),
            endpoint: None,
            scheme: "https".into(),
            addressing_style: AddressingStyle::Auto,
            storage_class: None,
            multipart: MultipartOptions::default(),
            credentials: None,
        }
    }
}

/// See the module.
pub struct S3Transport {
    beneath: Arc<dyn Transport>,
    options: S3Options,
    chain: Option<CredentialChain>,
}

impl S3Transport {
    /// Returns one that asks through `beneath`, which must know HTTP.
    pub fn new(beneath: Arc<dyn Transport>, options: S3Options) -> S3Transport {
        S3Transport { beneath, options, chain: None }
    }

    /// Looks for credentials when the first request needs some, and again when they may be too old.
    #[must_use]
    pub fn chain(self, chain: CredentialChain) -> S3Transport {
        S3Transport { chain: Some(chain), ..self }
    }

    fn credentials(&self) -> TransferResult<Option<Credentials>> {
        let found = match (&self.options.credentials, &self.chain) {
            (Some(fixed), _) => Some(fixed.clone()),
            (None, Some(chain)) => chain.credentials(&*self.beneath)?,
            (None, None) => None,
        };
        Ok(found.map(|S3Credentials { key, secret, token }| match token {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        }))
    }

    /// Returns the bucket and the key of an address.
    fn split<'u>(&self, url: &'u str) -> TransferResult<(Bucket, std::borrow::Cow<'u, str>)> {
        let refuse = |reason: &dyn std::fmt::Display| TransferError::new(TransferErrorKind::Refused, url, reason);
        let rest = url.strip_prefix("s3://").ok_or_else(|| refuse(&"the address is not of the form s3://BUCKET/KEY"))?;
        let (name, key) = rest.split_once('/').filter(|(name, key)| !name.is_empty() && !key.is_empty()).ok_or_else(|| refuse(&"the address has no bucket or no key"))?;
        let S3Options { region, endpoint, scheme, addressing_style, .. } = &self.options;
        let is_virtual = match addressing_style {
            AddressingStyle::Virtual if name.contains('.') => return Err(refuse(&"a bucket's name with a dot can't be part of a host's name")),
            AddressingStyle::Virtual => true,
            AddressingStyle::Path => false,
            AddressingStyle::Auto => endpoint.is_none() && !name.contains('.'),
        };
        let endpoint = match endpoint {
            None => format!("{scheme}://s3.{region}.amazonaws.com"),
            Some(endpoint) if endpoint.contains("://") => endpoint.clone(),
            Some(host) => format!("{scheme}://{host}"),
        };
        let style = if is_virtual { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let endpoint = endpoint.parse().map_err(|error| refuse(&format_args!("endpoint '{endpoint}': {error}")))?;
        let bucket = Bucket::new(endpoint, style, name.to_owned(), region.clone()).map_err(|error| refuse(&error))?;
        let key = file::percent_decoded(key);
        Ok((bucket, key.into_string().map_err(|_| refuse(&"the key is not UTF-8"))?.into()))
    }

    /// Signs a request. Returns it as one to the transport beneath.
    fn signed<'a, A: S3Action<'a>>(&self, request: &Request, mut action: A, headers: &[(&'a str, String)]) -> Request {
        for (name, value) in headers {
            action.headers_mut().insert(*name, value.clone());
        }
        let mut signed = request.clone();
        signed.url = action.sign(VALIDITY).to_string();
        signed.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        signed.observer = request.observer.clone().map(|observer| {
            Arc::new(Hiding { observer, shown: request.url.clone(), hidden: signed.url.clone() }) as Arc<dyn TransferObserver>
        });
        signed
    }
}

/// Puts the address that may be shown in the place of a signed one.
fn hide(mut error: TransferError, shown: &str, hidden: &str) -> TransferError {
    error.message = error.message.replace(hidden, shown);
    error.url = shown.to_owned();
    error
}

struct Hiding {
    observer: Arc<dyn TransferObserver>,
    shown: String,
    hidden: String,
}

impl TransferObserver for Hiding {
    fn retrying(&self, retry: &Retry<'_>) {
        let error = hide(retry.error.clone(), &self.shown, &self.hidden);
        self.observer.retrying(&Retry { error: &error, ..*retry });
    }

    fn received(&self, _url: &str, n_bytes: u64, size: Option<u64>) {
        self.observer.received(&self.shown, n_bytes, size);
    }
}

/// Hides the address of an answer too, and of what goes wrong while its body is read.
fn shown(answer: TransferResult<Response>, shown: &str, hidden: String) -> TransferResult<Response> {
    let mut response = answer.map_err(|error| hide(error, shown, &hidden))?;
    response.url = shown.to_owned();
    response.body = Box::new(HidingBody { body: response.body, shown: shown.to_owned(), hidden });
    Ok(response)
}

struct HidingBody {
    body: Box<dyn std::io::Read + Send>,
    shown: String,
    hidden: String,
}

impl std::io::Read for HidingBody {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.body.read(buffer).map_err(|error| hide(TransferError::from_io(&self.shown, error), &self.shown, &self.hidden).into())
    }
}

impl Transport for S3Transport {
    fn get(&self, request: &Request) -> TransferResult<Response> {
        let (bucket, key) = self.split(&request.url)?;
        let signed = self.signed(request, GetObject::new(&bucket, self.credentials()?.as_ref(), &key), &[]);
        shown(self.beneath.get(&signed), &request.url, signed.url)
    }

    fn head(&self, request: &Request) -> TransferResult<Response> {
        let (bucket, key) = self.split(&request.url)?;
        let signed = self.signed(request, HeadObject::new(&bucket, self.credentials()?.as_ref(), &key), &[]);
        shown(self.beneath.head(&signed), &request.url, signed.url)
    }

    fn send(&self, method: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response> {
        let (bucket, key) = self.split(&request.url)?;
        let credentials = self.credentials()?;
        let credentials = credentials.as_ref();
        let signed = match method {
            SendMethod::Put => {
                let class = self.options.storage_class.iter().map(|class| ("x-amz-storage-class", class.clone()));
                let headers: Vec<_> = class.collect();
                let failed = |reason: String| TransferError::during("upload", TransferErrorKind::Refused, &request.url, reason);
                let size = body.size().map_err(|error| failed(error.to_string()))?;
                let MultipartOptions { is_enabled, threshold, .. } = self.options.multipart;
                if is_enabled && size > threshold {
                    return multipart::send(self, (&bucket, &key), request, &headers, body, size);
                }
                if size > multipart::LARGEST_PART {
                    let (size, most) = (multipart::rendered(size), multipart::rendered(multipart::LARGEST_PART));
                    let reason = format!("file too large for S3 upload without multipart: {size} would exceed maximum size of {most}. Consider enabling multipart-upload.");
                    return Err(failed(reason));
                }
                self.signed(request, PutObject::new(&bucket, credentials, &key), &headers)
            }
            SendMethod::Delete => self.signed(request, DeleteObject::new(&bucket, credentials, &key), &[]),
            SendMethod::Post => return Err(TransferError::new(TransferErrorKind::Refused, &request.url, "nothing is posted to a bucket")),
        };
        shown(self.beneath.send(method, &signed, body), &request.url, signed.url)
    }

    fn n_in_flight(&self, url: &str) -> Option<usize> {
        self.beneath.n_in_flight(self.split(url).ok()?.0.base_url().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says where it was asked to go.
    struct Nowhere;

    impl Nowhere {
        fn refuse(request: &Request) -> TransferResult<Response> {
            Err(TransferError::new(TransferErrorKind::Transient, &request.url, "host").with_header(request))
        }
    }

    impl TransferError {
        fn with_header(mut self, request: &Request) -> TransferError {
            let address = request.url.split('?').next().unwrap_or_default();
            self.message = format!("{address} {} {}", request.url.contains("X-Amz-Signature="), self.message);
            self
        }
    }

    impl Transport for Nowhere {
        fn get(&self, request: &Request) -> TransferResult<Response> {
            Nowhere::refuse(request)
        }

        fn head(&self, request: &Request) -> TransferResult<Response> {
            Nowhere::refuse(request)
        }

        fn send(&self, _: SendMethod, request: &Request, _: Body<'_>) -> TransferResult<Response> {
            Nowhere::refuse(request)
        }
    }

    fn check(options: S3Options, url: &str, expected: &str) {
        let error = S3Transport::new(Arc::new(Nowhere), options).get(&Request::new(url)).unwrap_err();
        let expected = format!("{expected} unable to download '{url}': host");
        assert_eq!(error.message, expected);
        assert_eq!(error.url, url);
    }

    #[test]
    fn addresses_are_signed_and_not_shown() {
        let key = S3Credentials { key: "k".into(), secret: "s".into(), token: None };
        let with = |change: &dyn Fn(&mut S3Options)| {
            let mut options = S3Options { credentials: Some(key.clone()), ..S3Options::default() };
            change(&mut options);
            options
        };
        check(with(&|_| {}), "s3://b/nar/x.nar", "https://b.s3.us-east-1.amazonaws.com/nar/x.nar true");
        check(with(&|_| {}), "s3://a.b/x", "https://s3.us-east-1.amazonaws.com/a.b/x true");
        check(with(&|options| options.endpoint = Some("localhost:9000".into())), "s3://b/x", "https://localhost:9000/b/x true");
        check(with(&|options| options.endpoint = Some("http://h:1".into())), "s3://b/x", "http://h:1/b/x true");
        check(with(&|options| options.addressing_style = AddressingStyle::Path), "s3://b/x", "https://s3.us-east-1.amazonaws.com/b/x true");
        // Without a signature there is nothing in the address to hide, but it is replaced as well.
        check(S3Options { region: "eu-west-1".into(), ..S3Options::default() }, "s3://b/x", "s3://b/x false");
        let error = S3Transport::new(Arc::new(Nowhere), S3Options::default()).get(&Request::new("s3://b")).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Refused);
    }
}
