//! [`HttpTransport`]: `http://`, `https://` and `file://`, with everything that the network may do in between.
//!
//! Connections are kept and used again. A download that breaks off goes on where it was, if the server can do that. A
//! connection on which nothing comes for a while counts as broken. Names and passwords come from the address or from a
//! `netrc` file and go to their own host alone, also when it redirects.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{CONTENT_ENCODING, RETRY_AFTER};
use ureq::tls::{ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, RustlsConnector, SocksConnector, TcpConnector,
};
use ureq::{Agent, ResponseExt};

use super::netrc::Netrc;
use super::retry::RetryPolicy;
use super::{
    Body, Request, Response, SendMethod, TransferError, TransferErrorKind, TransferResult, Transport, file,
};
use crate::compression::{self, Compression};

mod body;
mod connection;

/// How an [`HttpTransport`] behaves. The defaults are the reference's settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// When failed attempts are repeated.
    pub retry: RetryPolicy,
    /// How long making a connection may take (`connect-timeout`).
    pub connect_timeout: Option<Duration>,
    /// After how long without a byte a connection counts as broken (`stalled-download-timeout`).
    pub stall_timeout: Option<Duration>,
    /// Idle connections that are kept per host (`http-connections`).
    pub n_connections: usize,
    /// Trusted certificates (`ssl-cert-file`); built-in ones without it.
    pub certificates: Option<Certificates>,
    /// Our own certificate and its key, in PEM form, for servers that want one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Names and passwords by host (`netrc-file`).
    pub netrc: Option<PathBuf>,
    /// Proxy for `http://`.
    pub http_proxy: Option<String>,
    /// Proxy for `https://`.
    pub https_proxy: Option<String>,
    /// Hosts that are asked without a proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// What goes behind our name in `User-Agent` (`user-agent-suffix`).
    pub user_agent_suffix: String,
}

/// Trusted certificates in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// In this file.
    File(PathBuf),
    /// This text.
    Text(String),
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            retry: RetryPolicy::default(),
            connect_timeout: Some(Duration::from_secs(15)),
            stall_timeout: Some(Duration::from_secs(300)),
            n_connections: 25,
            certificates: None,
            client_certificate: None,
            netrc: None,
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
            user_agent_suffix: String::new(),
        }
    }
}

/// Where systems keep the certificates that they trust.
const CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt",
];

impl HttpOptions {
    /// Returns the defaults with proxies and certificates as variables of the environment and this machine have them.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> HttpOptions {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let certificates = first(&["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]).map(PathBuf::from);
        HttpOptions {
            certificates: certificates
                .or_else(|| CERTIFICATES.iter().map(PathBuf::from).find(|file| file.exists()))
                .map(Certificates::File),
            // Not HTTP_PROXY: in a CGI program it is a header of the request.
            http_proxy: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https_proxy: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: first(&["no_proxy", "NO_PROXY"]),
            ..HttpOptions::default()
        }
    }
}

/// See the module. Copies share their connections.
#[derive(Clone)]
pub struct HttpTransport(Arc<Shared>);

struct Shared {
    options: HttpOptions,
    /// For `http://` and `https://`, whose proxies may differ.
    agents: [OnceLock<Result<Agent, String>>; 2],
    netrc: OnceLock<Netrc>,
}

impl HttpTransport {
    /// Makes a transport. Nothing is read or connected before the first request.
    pub fn new(options: HttpOptions) -> HttpTransport {
        HttpTransport(Arc::new(Shared { options, agents: Default::default(), netrc: OnceLock::new() }))
    }

    /// Returns how it behaves.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }
}

impl Shared {
    fn netrc(&self) -> &Netrc {
        self.netrc.get_or_init(|| {
            let text = self.options.netrc.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            Netrc::parse(&text.unwrap_or_default())
        })
    }

    fn agent(&self, url: &str) -> TransferResult<&Agent> {
        let is_https = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            scheme => {
                let reason = format!("scheme '{}' is not supported", scheme.unwrap_or_default());
                return Err(TransferError::new(TransferErrorKind::Refused, url, reason));
            }
        };
        self.agents[usize::from(is_https)]
            .get_or_init(|| make_agent(&self.options, is_https))
            .as_ref()
            .map_err(|reason| TransferError::new(TransferErrorKind::Refused, url, reason))
    }

    /// Makes one attempt. `offset` is added to the start of what is wanted.
    fn attempt(&self, activity: &str, method: &str, request: &Request, offset: u64, body: Option<Body<'_>>) -> Attempt {
        let failed = |kind, reason: String| TransferError::during(activity, kind, &request.url, reason);
        if request.interrupt.is_interrupted() {
            return Err(failed(TransferErrorKind::Interrupted, String::new()));
        }
        let agent = self.agent(&request.url)?;
        let (url, user) = split_user(&request.url);
        let mut builder = ureq::http::Request::builder().method(method).uri(&url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let host = url.parse::<ureq::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let has_authorization = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(authorization) = self.authorization(&host, user.as_deref())
            && !has_authorization
        {
            builder = builder.header("authorization", authorization);
        }
        let encodings = if request.allows_encoding { "zstd, br, gzip, deflate, xz, bzip2" } else { "identity" };
        builder = builder.header("accept-encoding", encodings);
        if let Some(tag) = &request.known_tag {
            builder = builder.header("if-none-match", tag);
        }
        let start = request.range.as_ref().map_or(0, |range| range.start).saturating_add(offset);
        if request.range.is_some() || offset > 0 {
            let end = request.range.as_ref().map(|range| range.end).filter(|end| *end != u64::MAX);
            let end = end.map_or(String::new(), |end| end.saturating_sub(1).to_string());
            builder = builder.header("range", format!("bytes={start}-{end}"));
        }
        let invalid = |error: ureq::http::Error| failed(TransferErrorKind::Refused, error.to_string());
        let _current = connection::enter(&request.interrupt);
        let result = match body {
            None => agent.run(builder.body(()).map_err(invalid)?),
            Some(Body::Bytes(bytes)) => agent.run(builder.body(bytes).map_err(invalid)?),
            Some(Body::File(path)) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| failed(TransferErrorKind::Refused, error.to_string()))?;
                agent.run(builder.body(&file).map_err(invalid)?)
            }
        };
        let response = result.map_err(|error| classify(activity, request, &error))?;
        let status = response.status().as_u16();
        match status {
            200..300 | 304 => Ok(response),
            _ => Err(refusal(activity, request, status, response)),
        }
    }

    fn authorization(&self, host: &str, user: Option<&str>) -> Option<String> {
        let (name, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) if !password.is_empty() => (decoded(name), decoded(password)),
            user => {
                let login = user.map(|(name, _)| decoded(name));
                match self.netrc().credentials(host, login.as_deref()) {
                    Some(credentials) => (credentials.login.clone(), credentials.password.clone()),
                    None => (login?, String::new()),
                }
            }
        };
        Some(format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes())))
    }

    fn fetch(&self, method: &str, request: &Request) -> TransferResult<ureq::http::Response<ureq::Body>> {
        self.options.retry.run(request, 0, || self.attempt("download", method, request, 0, None))
    }
}

type Attempt = TransferResult<ureq::http::Response<ureq::Body>>;

impl Transport for HttpTransport {
    fn get(&self, request: &Request) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::get(request, &path);
        }
        let response = self.0.fetch("GET", request)?;
        let mut answer = describe(request, &response);
        if answer.is_unmodified {
            return Ok(answer);
        }
        if request.range.is_some() && answer.status != 206 {
            let skipped = request.range.as_ref().map_or(0, |range| range.start);
            return self.get_part_of_whole(request, answer, response, skipped);
        }
        let encoding = answer.header("content-encoding").unwrap_or_default().to_owned();
        let raw = body::ResumingBody::new(&self.0, request, &answer, response.into_body());
        answer.body = decode(&request.url, &encoding, raw)?;
        if !matches!(Compression::from_content_encoding(&encoding), Some(Compression::None)) {
            answer.size = None;
        }
        Ok(answer)
    }

    fn head(&self, request: &Request) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::head(request, &path);
        }
        let response = self.0.fetch("HEAD", request)?;
        Ok(describe(request, &response))
    }

    fn send(&self, method: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response> {
        if let Some(path) = file::path_of(&request.url) {
            return file::send(method, request, &path, body);
        }
        let (name, body) = match method {
            SendMethod::Put => ("PUT", Some(body)),
            SendMethod::Post => ("POST", Some(body)),
            SendMethod::Delete => ("DELETE", None),
        };
        let response = self.0.options.retry.run(request, 0, || self.0.attempt("upload", name, request, 0, body))?;
        let mut answer = describe(request, &response);
        answer.body = Box::new(response.into_body().into_reader().take(1 << 20));
        Ok(answer)
    }
}

impl HttpTransport {
    /// For servers that don't know ranges: reads and forgets what comes before.
    fn get_part_of_whole(
        &self,
        request: &Request,
        mut answer: Response,
        response: ureq::http::Response<ureq::Body>,
        n_skipped: u64,
    ) -> TransferResult<Response> {
        let encoding = answer.header("content-encoding").unwrap_or_default().to_owned();
        let whole = Request { range: None, ..request.clone() };
        let raw = body::ResumingBody::new(&self.0, &whole, &answer, response.into_body());
        let mut body = decode(&request.url, &encoding, raw)?;
        let failed = |error| TransferError::from_io(&request.url, error);
        std::io::copy(&mut (&mut body).take(n_skipped), &mut std::io::sink()).map_err(failed)?;
        let length = request.range.as_ref().map_or(u64::MAX, |range| range.end.saturating_sub(range.start));
        answer.size = None;
        answer.status = 206;
        answer.body = Box::new(body.take(length));
        Ok(answer)
    }
}

fn decode(url: &str, encoding: &str, raw: body::ResumingBody) -> TransferResult<Box<dyn Read + Send>> {
    let mut body: Box<dyn Read + Send> = Box::new(raw);
    // Several may stand there, in the order in which they were applied.
    for name in encoding.split(',').rev() {
        let Some(compression) = Compression::from_content_encoding(name) else {
            let reason = format!("unknown content encoding '{}'", name.trim());
            return Err(TransferError::new(TransferErrorKind::Refused, url, reason));
        };
        if compression != Compression::None {
            body = compression::decoder(compression, BufReader::with_capacity(64 * 1024, body))
                .map_err(|error| TransferError::from_io(url, error))?;
        }
    }
    Ok(body)
}

/// Returns an answer without its body.
fn describe(request: &Request, response: &ureq::http::Response<ureq::Body>) -> Response {
    let headers: Vec<(String, String)> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let length = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
    let uri = response.get_uri();
    let url = if uri.host().is_some() { uri.to_string() } else { request.url.clone() };
    Response {
        url,
        status: response.status().as_u16(),
        headers,
        size: length.filter(|_| !is_encoded),
        is_unmodified: response.status().as_u16() == 304,
        body: Box::new(std::io::empty()),
    }
}

/// Makes an error of a status that is none of success.
fn refusal(activity: &str, request: &Request, status: u16, response: ureq::http::Response<ureq::Body>) -> TransferError {
    use TransferErrorKind::{Forbidden, NotFound, Refused, Transient};
    let kind = match status {
        404 | 410 => NotFound,
        401 | 403 | 407 => Forbidden,
        // These may pass, other refusals don't.
        408 | 429 => Transient,
        501 | 505 | 511 => Refused,
        500..600 => Transient,
        _ => Refused,
    };
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut text = Vec::new();
    let _ = response.into_body().into_reader().take(4096).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let mut reason = format!("HTTP error {status}");
    if !text.trim().is_empty() {
        reason.push_str("\n\nresponse body:\n\n");
        reason.push_str(text.trim_end());
    }
    let mut error = TransferError::during(activity, kind, &request.url, reason);
    error.status = Some(status);
    error.retry_after = retry_after.map(Duration::from_secs);
    error
}

/// Makes an error of one of the network's.
fn classify(activity: &str, request: &Request, error: &ureq::Error) -> TransferError {
    use TransferErrorKind::{Interrupted, Refused, Transient};
    if request.interrupt.is_interrupted() {
        return TransferError::during(activity, Interrupted, &request.url, "");
    }
    let kind = match error {
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Pem(_)
        | ureq::Error::TooManyRedirects
        | ureq::Error::RedirectFailed
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::LargeResponseHeader(..) => Refused,
        // A certificate that is not trusted arrives as one of these.
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Refused,
        _ => Transient,
    };
    let reason = match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) => "Could not connect to server: connection timed out".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::PerRead) => "the connection is stalled".to_owned(),
        ureq::Error::Io(error) => match crate::error::without_number(error) {
            text if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                format!("Could not connect to server: {text}")
            }
            text => text,
        },
        ureq::Error::HostNotFound => "Could not resolve hostname".to_owned(),
        other => other.to_string(),
    };
    TransferError::during(activity, kind, &request.url, reason)
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

fn make_agent(options: &HttpOptions, is_https: bool) -> Result<Agent, String> {
    let proxy = if is_https { &options.https_proxy } else { &options.http_proxy };
    let proxy = proxy.as_ref().map(|proxy| make_proxy(proxy, options.no_proxy.as_deref())).transpose()?;
    let mut tls = TlsConfig::builder();
    if is_https && let Some(certificates) = &options.certificates {
        let items = match certificates {
            Certificates::File(path) => pem(path)?,
            Certificates::Text(text) => parse_pem(text.as_bytes()).filter_map(Result::ok).collect(),
        };
        let certificates: Vec<_> = items
            .into_iter()
            .filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    if is_https && let Some((certificate, key)) = &options.client_certificate {
        tls = tls.client_cert(Some(client_certificate(certificate, key)?));
    }
    let mut user_agent = format!("nixlang/{}", env!("CARGO_PKG_VERSION"));
    if !options.user_agent_suffix.is_empty() {
        user_agent.push(' ');
        user_agent.push_str(&options.user_agent_suffix);
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .save_redirect_history(false)
        .tls_config(tls.build())
        .proxy(proxy)
        .user_agent(user_agent)
        .max_idle_connections(options.n_connections.max(1) * 2)
        .max_idle_connections_per_host(options.n_connections.max(1))
        .timeout_connect(options.connect_timeout.filter(|timeout| !timeout.is_zero()))
        .timeout_per_read(options.stall_timeout.filter(|timeout| !timeout.is_zero()))
        .timeout_per_write(options.stall_timeout.filter(|timeout| !timeout.is_zero()))
        .build();
    let connector = ()
        .chain(SocksConnector::default())
        .chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(connection::InterruptConnector)
        .chain(RustlsConnector::default());
    Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
}

fn make_proxy(text: &str, no_proxy: Option<&str>) -> Result<ureq::Proxy, String> {
    let wrong = |error: ureq::Error| format!("proxy '{text}': {error}");
    let proxy = ureq::Proxy::new(text).map_err(wrong)?;
    let Some(no_proxy) = no_proxy else { return Ok(proxy) };
    let mut builder = ureq::Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
    for expression in no_proxy.split(',').map(str::trim).filter(|expression| !expression.is_empty()) {
        builder = builder.no_proxy(expression);
    }
    if let Some(name) = proxy.username() {
        builder = builder.username(name);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    builder.build().map_err(wrong)
}

fn pem(path: &Path) -> Result<Vec<PemItem<'static>>, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("reading certificates '{}': {}", path.display(), crate::error::without_number(&error)))?;
    Ok(parse_pem(&bytes).filter_map(Result::ok).collect())
}

fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert, String> {
    let certificates: Vec<_> = pem(certificate)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let key: Option<PrivateKey<'static>> = pem(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let key = key.ok_or_else(|| "the file of the TLS private key has none".to_owned())?;
    Ok(ClientCert::new_with_certs(&certificates, key))
}

#[cfg(test)]
mod tests;
