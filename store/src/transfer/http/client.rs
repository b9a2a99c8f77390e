//! The HTTP client itself: its threads, certificates and proxies, as the options want them.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;

use super::options::{Certificates, HttpOptions};

/// Bytes that a server may send ahead of what is read, per file. Over HTTP/2 all files share a connection; one that is not
/// read for a while shall not hold up the others, so what the connection may have on its way is no limit beside this.
const WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Size of an answer's headers in bytes, at most.
const HEADER_LIMIT: u32 = 64 << 10;

/// How often a connection with requests on it is asked whether it stands, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// A client with threads of its own, which run as long as it lives.
pub(super) struct Client {
    /// For servers of which nothing is known yet, or that don't speak HTTP/2.
    pub(super) http: reqwest::Client,
    /// For those that do. It makes one connection at a time to a server, where the other can't know that it will not need more.
    pub(super) http2: reqwest::Client,
    /// Why certificates can't be checked. Nobody is asked over TLS then.
    pub(super) tls_error: Option<String>,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Client {
    pub(super) fn new(options: &HttpOptions) -> Result<Client, String> {
        // Connections are served here; callers do the rest on their own threads.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("transfers").enable_all().build();
        let runtime = runtime.map_err(|error| format!("starting threads for transfers: {}", crate::error::without_number(&error)))?;
        let (tls, tls_error) = match trusted(options) {
            Ok(roots) => (tls(options, roots)?, None),
            Err(reason) => (tls(options, RootCertStore::empty())?, Some(reason)),
        };
        let http = make(options, &tls, if options.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] })?;
        let http2 = make(options, &tls, &["h2"])?;
        Ok(Client { http, http2, tls_error, runtime: Some(runtime) })
    }

    /// Makes this thread one that may use the client, until what is returned is dropped.
    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.as_ref().expect("there until it is dropped").enter()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Does not wait for its threads, which is not allowed on those of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes a client that offers servers these protocols, by their names in TLS.
fn make(options: &HttpOptions, tls: &ClientConfig, protocols: &[&str]) -> Result<reqwest::Client, String> {
    let mut tls = tls.clone();
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut user_agent = format!("nixlang/{}", env!("CARGO_PKG_VERSION"));
    if !options.user_agent_suffix.is_empty() {
        user_agent.push(' ');
        user_agent.push_str(&options.user_agent_suffix);
    }
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // Those of the environment are among the options, or not wanted.
        .no_proxy()
        // Followed where it is known what may be said to whom.
        .redirect(Policy::none())
        .user_agent(user_agent)
        .pool_max_idle_per_host(options.n_connections.max(1))
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADER_LIMIT)
        // A connection that nobody ends, such as one through a router that forgot it, would hold up all that share it.
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT);
    if let Some(timeout) = options.connect_timeout.filter(|timeout| !timeout.is_zero()) {
        builder = builder.connect_timeout(timeout);
    }
    match protocols {
        ["h2"] => builder = builder.http2_prior_knowledge(),
        ["http/1.1"] => builder = builder.http1_only(),
        _ => {}
    }
    for (text, make) in [(&options.http_proxy, Proxy::http as fn(String) -> _), (&options.https_proxy, Proxy::https)] {
        let Some(text) = text else { continue };
        let address = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        let proxy: Proxy = make(address).map_err(|error| format!("proxy '{text}': {}", super::error::cause(&error)))?;
        builder = builder.proxy(proxy.no_proxy(options.no_proxy.as_deref().and_then(NoProxy::from_string)));
    }
    builder.build().map_err(|error| super::error::cause(&error))
}

/// Reads the certificates that are trusted.
fn trusted(options: &HttpOptions) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match options.trusted_certificates() {
        None => Vec::new(),
        Some(Certificates::File(path)) => certificates(&path)?,
        Some(Certificates::Text(text)) => CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).collect(),
    };
    // There are files with certificates that make no sense among those that do.
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn tls(options: &HttpOptions, roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match &options.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| "the file of the TLS private key has none".to_owned())?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| error.to_string())
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    Ok(CertificateDer::pem_slice_iter(&read(path)?).filter_map(Result::ok).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("reading certificates '{}': {}", path.display(), crate::error::without_number(&error)))
}
