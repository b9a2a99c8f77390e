//! One attempt to get an answer: the request's headers, credentials, and who goes first.

use std::sync::{Arc, OnceLock};

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, LOCATION};
use reqwest::{Url, Version};

use super::answer::Answer;
use super::client::Client;
use super::gate::Gate;
use super::options::HttpOptions;
use super::upload::Upload;
use super::wait::{Progress, wait};
use super::error;
use crate::transfer::netrc::Netrc;
use crate::transfer::{Body, Request, TransferError, TransferErrorKind, TransferResult, file};

/// How often a server may point elsewhere.
const MOST_REDIRECTIONS: usize = 10;

/// Headers that are for the server that was asked, and for none that it points to.
const SECRETS: [&str; 4] = ["authorization", "cookie", "private-token", "proxy-authorization"];

/// What the copies of a transport, and the bodies that it gave, have in common.
pub(super) struct Shared {
    pub(super) options: HttpOptions,
    client: OnceLock<Result<Client, String>>,
    netrc: OnceLock<Netrc>,
    gate: Gate,
}

/// What is to be done, besides what the request says.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) activity: &'a str,
    pub(super) method: &'a Method,
    /// Added to the start of what is wanted.
    pub(super) offset: u64,
    pub(super) body: Option<Body<'a>>,
}

impl<'a> Attempt<'a> {
    pub(super) fn to_get(method: &'a Method, offset: u64) -> Attempt<'a> {
        Attempt { activity: "download", method, offset, body: None }
    }
}

impl Shared {
    pub(super) fn new(options: HttpOptions) -> Shared {
        Shared { options, client: OnceLock::new(), netrc: OnceLock::new(), gate: Gate::default() }
    }

    /// Makes one attempt, following the server to other addresses.
    pub(super) fn attempt(self: &Arc<Shared>, request: &Request, attempt: Attempt<'_>) -> TransferResult<Answer> {
        let refused = |reason: String| TransferError::during(attempt.activity, TransferErrorKind::Refused, &request.url, reason);
        let (address, user) = split_user(&request.url);
        let mut url = Url::parse(&address).map_err(|error| refused(error.to_string()))?;
        let mut headers = request.headers.clone();
        if !headers.iter().any(|(name, _)| AUTHORIZATION == *name.to_ascii_lowercase()) {
            headers.extend(self.authorization(&url, user.as_deref()));
        }
        let mut attempt = attempt;
        for _ in 0..=MOST_REDIRECTIONS {
            let answer = self.ask(request, attempt, &url, &headers)?;
            let status = answer.status();
            let next = answer.header(LOCATION).and_then(|location| url.join(location).ok());
            match (status, next) {
                (200..=299 | 304, _) => return Ok(answer),
                (301 | 302 | 303 | 307 | 308, Some(next)) => {
                    if status == 303 || status < 303 && *attempt.method == Method::POST {
                        attempt = Attempt { method: if *attempt.method == Method::HEAD { attempt.method } else { &Method::GET }, body: None, ..attempt };
                    }
                    if next.origin() != url.origin() {
                        // What opens a door there is nobody else's business.
                        headers.retain(|(name, _)| !SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)));
                        headers.extend(self.authorization(&next, None));
                    }
                    url = next;
                }
                _ => return Err(error::refusal(attempt.activity, request, answer)),
            }
        }
        Err(refused("too many redirects".into()))
    }

    fn ask(self: &Arc<Shared>, request: &Request, attempt: Attempt<'_>, url: &Url, headers: &[(String, String)]) -> TransferResult<Answer> {
        let Attempt { activity, method, offset, body } = attempt;
        let failed = |kind, reason: String| TransferError::during(activity, kind, &request.url, reason);
        if request.interrupt.is_interrupted() {
            return Err(failed(TransferErrorKind::Interrupted, String::new()));
        }
        let client = self.client(request, url)?;
        let server = self.server(url);
        let pass = server.as_deref().map(|server| self.gate.enter(server, &request.interrupt));
        let http = if pass.as_ref().is_some_and(|pass| pass.is_http2) { &client.http2 } else { &client.http };
        let mut builder = http.request(method.clone(), url.clone());
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        builder = builder.header("accept-encoding", if request.allows_encoding { "zstd, br, gzip, deflate, xz, bzip2" } else { "identity" });
        if let Some(tag) = &request.known_tag {
            builder = builder.header("if-none-match", tag);
        }
        let start = request.range.as_ref().map_or(0, |range| range.start).saturating_add(offset);
        if request.range.is_some() || offset > 0 {
            let end = request.range.as_ref().map(|range| range.end).filter(|end| *end != u64::MAX);
            let end = end.map_or(String::new(), |end| end.saturating_sub(1).to_string());
            builder = builder.header("range", format!("bytes={start}-{end}"));
        }
        let progress = Arc::new(Progress::new(self.options.stall_timeout));
        if let Some(body) = body {
            let upload = Upload::new(body, &progress).map_err(|error| failed(TransferErrorKind::Refused, error.to_string()))?;
            builder = builder.body(reqwest::Body::wrap(upload));
        }
        let _entered = client.enter();
        let answer = wait(builder.send(), &request.interrupt, &progress).map_err(|stopped| error::stopped(activity, request, stopped))?;
        match answer {
            Ok(inner) => {
                if let Some(pass) = pass {
                    pass.answered(inner.version() == Version::HTTP_2);
                }
                Ok(Answer { shared: Arc::clone(self), request: request.clone(), inner })
            }
            Err(error) => {
                if let Some(pass) = pass.filter(|_| error.is_connect()) {
                    pass.failed();
                }
                Err(error::failed(activity, request, &error))
            }
        }
    }

    fn client(&self, request: &Request, url: &Url) -> TransferResult<&Client> {
        let refused = |reason: &str| TransferError::new(TransferErrorKind::Refused, &request.url, reason);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(&format!("scheme '{}' is not supported", url.scheme())));
        }
        let client = self.client.get_or_init(|| Client::new(&self.options)).as_ref().map_err(|reason| refused(reason))?;
        match client.tls_error.as_deref().filter(|_| url.scheme() == "https") {
            Some(reason) => Err(refused(reason)),
            None => Ok(client),
        }
    }

    /// Returns the server whose connection a request may share, `None` where there is no HTTP/2.
    fn server(&self, url: &Url) -> Option<String> {
        (self.options.http2 && url.scheme() == "https").then(|| url.origin().ascii_serialization())
    }

    /// Returns whether the server of an address is known to speak HTTP/2.
    pub(super) fn is_http2(&self, url: &str) -> bool {
        Url::parse(url).ok().and_then(|url| self.server(&url)).is_some_and(|server| self.gate.is_http2(&server))
    }

    fn netrc(&self) -> &Netrc {
        self.netrc.get_or_init(|| {
            let text = self.options.netrc.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            Netrc::parse(&text.unwrap_or_default())
        })
    }

    /// Returns the header with name and password for an address, of which `user` was taken.
    fn authorization(&self, url: &Url, user: Option<&str>) -> Option<(String, String)> {
        let (name, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) if !password.is_empty() => (decoded(name), decoded(password)),
            user => {
                let login = user.map(|(name, _)| decoded(name));
                match self.netrc().credentials(url.host_str().unwrap_or_default(), login.as_deref()) {
                    Some(credentials) => (credentials.login.clone(), credentials.password.clone()),
                    None => (login?, String::new()),
                }
            }
        };
        let basic = format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes()));
        Some(("authorization".into(), basic))
    }
}

/// Takes `user:password@` out of an address.
fn split_user(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) => (format!("{scheme}://{host}{}", &rest[end..]), Some(user.to_owned())),
        None => (url.to_owned(), None),
    }
}

fn decoded(text: &str) -> String {
    file::percent_decoded(text).to_string_lossy().into_owned()
}
