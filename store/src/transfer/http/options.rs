//! [`HttpOptions`]: how transfers over HTTP behave, by settings and by the environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::transfer::retry::RetryPolicy;

/// How an [`HttpTransport`](super::HttpTransport) behaves. The defaults are the reference's settings.
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
    /// Whether servers may be asked over HTTP/2 (`http2`). They are if they offer it, which takes TLS.
    pub http2: bool,
    /// Bytes per second that a download takes at most (`download-speed`, which is in KiB).
    pub bytes_per_second: Option<u64>,
    /// Trusted certificates (`ssl-cert-file`); those of the system without it.
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
            http2: true,
            bytes_per_second: None,
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
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt",
];

impl HttpOptions {
    /// Returns the certificates that are trusted, `None` if the system has none either.
    pub(super) fn trusted_certificates(&self) -> Option<Certificates> {
        let of_system = || SYSTEM_CERTIFICATES.iter().map(PathBuf::from).find(|file| file.exists());
        self.certificates.clone().or_else(|| of_system().map(Certificates::File))
    }

    /// Returns the defaults with proxies and certificates as variables of the environment have them.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> HttpOptions {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let certificates = first(&["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]).map(PathBuf::from);
        HttpOptions {
            certificates: certificates.map(Certificates::File),
            // Not HTTP_PROXY: in a CGI program it is a header of the request.
            http_proxy: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https_proxy: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: first(&["no_proxy", "NO_PROXY"]),
            ..HttpOptions::default()
        }
    }
}
