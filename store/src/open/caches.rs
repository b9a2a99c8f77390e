//! Binary caches and substituters as the settings have them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::place::{percent_decoded, store_dir as parse_store_dir};
use super::{OpenError, OpenObserver, Opener};
use crate::binary_cache::disk_cache::{DiskCache, Lifetimes};
use crate::binary_cache::{BinaryCache, BinaryCacheOptions};
use crate::compression::Compression;
use crate::configuration::Configuration;
use crate::error::{StoreError, without_number};
use crate::path::{StoreDir, StorePath};
use crate::signature::{PublicKey, SecretKey, TrustedKeys};
use crate::substituter::{OpenSubstituter, Substituter, SubstituterObserver, Substituters};
use crate::transfer::http::{Certificates, HttpOptions, HttpTransport};
use crate::transfer::retry::RetryPolicy;
use crate::transfer::{Retry, TransferObserver, Transport};

/// Returns whether an address is one of a binary cache.
pub fn is_cache(address: &str) -> bool {
    let is_bucket = cfg!(feature = "s3") && address.starts_with("s3://");
    is_bucket || ["file:", "http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

/// A cache that is open.
pub struct OpenCache {
    /// The cache.
    pub cache: Arc<BinaryCache>,
    /// Whether it is believed without signatures.
    pub is_trusted: bool,
}

fn n_connections(configuration: &dyn Configuration) -> usize {
    match usize::try_from(configuration.integer("http-connections")).unwrap_or(usize::MAX) {
        // No limit, for the reference.
        0 => 128,
        n => n.min(1024),
    }
}

fn disk_cache(configuration: &dyn Configuration) -> Option<DiskCache> {
    let seconds = |name: &str| Duration::from_secs(configuration.integer(name));
    let lifetimes = Lifetimes {
        positive: seconds("narinfo-cache-positive-ttl"),
        negative: seconds("narinfo-cache-negative-ttl"),
        meta: seconds("narinfo-cache-meta-ttl"),
    };
    DiskCache::open(&configuration.cache_dir().join(DiskCache::FILE_NAME), lifetimes)
}

/// Reads the parameter `parameter`.
fn compression(parameter: &str, name: &str) -> Result<Compression, OpenError> {
    Compression::from_name(name).filter(|_| !name.is_empty()).ok_or_else(|| match name {
        "compress" | "grzip" | "lrzip" | "lzop" => OpenError::new(format!("compression method '{name}' is not supported")),
        _ => OpenError::new(format!("option '{parameter}' has invalid value '{name}'")),
    })
}

/// Reads a file with a key that is signed with.
///
/// # Errors
/// When it can't be read or holds something else.
pub fn secret_key(file: &str) -> Result<SecretKey, OpenError> {
    let text = std::fs::read_to_string(file).map_err(|error| OpenError::new(format!("opening file \"{file}\": {}", without_number(&error))))?;
    text.trim().parse().map_err(|error: crate::signature::SignatureError| OpenError::new(error.to_string()))
}

/// Returns the keys whose signatures count: those of `trusted-public-keys`, and the user's own.
///
/// # Errors
/// When one is malformed.
pub fn trusted_keys(configuration: &dyn Configuration) -> Result<TrustedKeys, OpenError> {
    let parse = |text: &String| text.parse::<PublicKey>().map_err(|error| OpenError::new(error.to_string()));
    let mut keys: Vec<PublicKey> = configuration.list("trusted-public-keys").iter().map(parse).collect::<Result<_, _>>()?;
    keys.extend(secret_keys(configuration)?.iter().map(SecretKey::public_key));
    Ok(TrustedKeys::new(keys))
}

/// Returns the keys of `secret-key-files`. A file that can't be read is passed over, as in the reference: the daemon's keys are not for users.
pub(super) fn secret_keys(configuration: &dyn Configuration) -> Result<Vec<SecretKey>, OpenError> {
    let read = |file: &String| std::fs::read_to_string(file).ok();
    let parse = |text: String| text.trim().parse::<SecretKey>().map_err(|error| OpenError::new(error.to_string()));
    configuration.list("secret-key-files").iter().filter_map(read).map(parse).collect()
}

impl Opener {
    /// Returns what downloads, by the settings and the environment.
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.transport_with(None)
    }

    /// Returns how the settings want files to be transferred.
    fn transport_with(&self, client_certificate: Option<(PathBuf, PathBuf)>) -> Arc<dyn Transport> {
        let configuration = &*self.configuration;
        let mut options = HttpOptions::from_environment(|name| configuration.variable(name)?.into_string().ok());
        let seconds = |name: &str| Some(Duration::from_secs(configuration.integer(name))).filter(|time| !time.is_zero());
        options.retry = RetryPolicy {
            n_attempts: u32::try_from(configuration.integer("download-attempts")).unwrap_or(u32::MAX).max(1),
            ..RetryPolicy::default()
        };
        options.connect_timeout = seconds("connect-timeout");
        options.stall_timeout = seconds("stalled-download-timeout");
        options.n_connections = n_connections(configuration);
        options.http2 = configuration.is_on("http2");
        options.bytes_per_second = Some(configuration.integer("download-speed").saturating_mul(1024)).filter(|speed| *speed > 0);
        if let Some(file) = configuration.path("ssl-cert-file") {
            options.certificates = Some(Certificates::File(file));
        }
        options.netrc = configuration.path("netrc-file");
        options.user_agent_suffix = configuration.text("user-agent-suffix").into_owned();
        options.client_certificate = client_certificate;
        Arc::new(HttpTransport::new(options))
    }

    /// Opens the binary cache at an address with parameters. Warns of those that make no sense.
    ///
    /// # Errors
    /// When a parameter has a value that it can't have, or the cache is one for another store directory.
    pub fn cache(&self, store_dir: &StoreDir, address: &str) -> Result<OpenCache, OpenError> {
        let configuration = &*self.configuration;
        let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
        let base = match base.strip_prefix("file:") {
            Some(path) if !path.starts_with("//") => format!("file://{path}"),
            _ => base.to_owned(),
        };
        let mut options = BinaryCacheOptions::default();
        options.content_rules = super::content_rules(configuration)?;
        options.store_dir = store_dir.clone();
        let (mut certificate, mut key, mut is_trusted, mut key_files) = (None, None, false, Vec::new());
        #[cfg(feature = "s3")]
        let mut bucket = base.starts_with("s3://").then(super::s3::Bucket::default);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
            let value = percent_decoded(value)?;
            let is_on = matches!(value.as_str(), "true" | "1" | "yes");
            #[cfg(feature = "s3")]
            if let Some(bucket) = &mut bucket
                && bucket.parameter(name, &value)?
            {
                continue;
            }
            let number = || value.parse().map_err(|_| OpenError::new(format!("setting '{name}' has invalid value '{value}'")));
            match name {
                "compression" => options.compression = compression(name, &value)?,
                "compression-level" => options.encoder.level = Some(number()?).filter(|level| *level >= 0),
                "parallel-compression" => options.encoder.parallel = is_on,
                "narinfo-compression" => options.narinfo_compression = compression(name, &value)?,
                "ls-compression" => options.listing_compression = compression(name, &value)?,
                "log-compression" => options.log_compression = compression(name, &value)?,
                "write-nar-listing" => options.write_listing = is_on,
                "index-debug-info" => options.index_debug_info = is_on,
                "secret-key" => key_files.push(value),
                "secret-keys" => key_files.extend(value.split(',').filter(|file| !file.is_empty()).map(str::to_owned)),
                "priority" => options.priority = Some(i64::from(number()?)),
                "want-mass-query" => options.want_mass_query = Some(is_on),
                "trusted" => is_trusted = is_on,
                "store" => options.store_dir = parse_store_dir(&value)?,
                "local-nar-cache" => options.nar_cache = Some(value.into()),
                "tls-certificate" => certificate = Some(PathBuf::from(value)),
                "tls-private-key" => key = Some(PathBuf::from(value)),
                "path-info-cache-size" | "system-features" => {}
                _ => self.observer.warn(&format!("unknown setting '{name}'")),
            }
        }
        #[cfg(feature = "s3")]
        bucket.as_ref().map_or(Ok(()), |bucket| bucket.check(&*self.observer))?;
        for file in key_files {
            options.secret_keys.push(secret_key(&file)?);
        }
        options.n_parallel = n_connections(configuration);
        options.interrupt = self.interrupt.clone();
        options.observer = Some(Arc::new(Warnings(Arc::clone(&self.observer))));
        options.as_server = configuration.variable("_NIX_FORCE_HTTP").is_some_and(|value| value == "1");
        if options.as_server || !base.starts_with("file://") {
            options.disk_cache = disk_cache(configuration).map(Arc::new);
        }
        let transport = self.transport_with(certificate.zip(key));
        #[cfg(feature = "s3")]
        let transport = match bucket {
            Some(bucket) => {
                if !bucket.is_unique() {
                    options.disk_cache = None;
                }
                bucket.transport(&self.configuration, transport)
            }
            None => transport,
        };
        let cache = BinaryCache::open(&base, transport, options)?;
        Ok(OpenCache { cache: Arc::new(cache), is_trusted })
    }

    /// Returns who is asked before something is built (`substitute`, `substituters`), `None` if nobody is. Each is opened when it is first needed.
    pub fn substituters(&self, store_dir: &StoreDir) -> Option<Arc<Substituters>> {
        let configuration = &*self.configuration;
        if !configuration.is_on("substitute") {
            return None;
        }
        let mut addresses: Vec<String> = Vec::new();
        for address in configuration.list("substituters") {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let open: Vec<(String, OpenSubstituter)> = addresses
            .into_iter()
            .map(|address| {
                let (opener, store_dir, name) = (self.clone(), store_dir.clone(), address.clone());
                let open: OpenSubstituter = Box::new(move || opener.substituter(&store_dir, &address));
                (name, open)
            })
            .collect();
        let n_parallel = usize::try_from(configuration.integer("max-substitution-jobs")).unwrap_or(usize::MAX).clamp(1, 256);
        let observer = SubstituterWarnings { observer: Arc::clone(&self.observer), store_dir: store_dir.clone() };
        let substituters = Substituters::new(open, Arc::new(observer), self.interrupt.clone()).n_parallel(n_parallel);
        (!substituters.is_empty()).then(|| Arc::new(substituters))
    }

    fn substituter(&self, store_dir: &StoreDir, address: &str) -> Result<Substituter, StoreError> {
        let failed = |error: OpenError| StoreError::format(OPENING, error);
        if is_cache(address) {
            let OpenCache { cache, is_trusted } = self.cache(store_dir, address).map_err(failed)?;
            return Ok(Substituter::cache(cache).trusted(is_trusted));
        }
        let store = self.open_address(address).map_err(failed)?.store;
        let parameters = address.split_once('?').map_or("", |(_, parameters)| parameters);
        let parameter = |name: &str| parameters.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
        let priority = parameter("priority").and_then(|priority| priority.parse().ok()).unwrap_or(0);
        Ok(Substituter::new(store, priority).trusted(matches!(parameter("trusted"), Some("true" | "1" | "yes"))))
    }
}

/// What is done when a substituter can't be opened; the message of what went wrong says it all.
const OPENING: &str = "opening a substituter";

/// Tells what goes wrong with substituters.
struct SubstituterWarnings {
    observer: Arc<dyn OpenObserver>,
    store_dir: StoreDir,
}

impl SubstituterObserver for SubstituterWarnings {
    fn failed(&self, address: &str, error: &StoreError, pause: Option<Duration>) {
        let text = message(error);
        let text = text.strip_prefix(OPENING).and_then(|text| text.strip_prefix(": ")).unwrap_or(&text);
        self.observer.warn(text);
        if let Some(pause) = pause {
            self.observer.warn(&format!("disabling binary cache '{address}' for {} seconds", pause.as_secs()));
        }
    }

    fn unsigned(&self, address: &str, path: &StorePath) {
        let path = self.store_dir.display(path);
        self.observer.warn(&format!("ignoring substitute for '{path}' from '{address}', as it's not signed by any of the keys in 'trusted-public-keys'"));
    }
}

/// Returns an error's message with those of its causes.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        let cause_text = cause_text.rfind(" (os error ").map_or(&*cause_text, |end| &cause_text[..end]);
        if !text.contains(cause_text) {
            text.push_str(": ");
            text.push_str(cause_text);
        }
        next = cause.source();
    }
    text
}

/// Tells what is tried again.
struct Warnings(Arc<dyn OpenObserver>);

impl TransferObserver for Warnings {
    fn retrying(&self, retry: &Retry<'_>) {
        let Retry { error, delay, attempt, n_attempts, offset } = retry;
        let from = if *offset > 0 { format!(" from offset {offset}") } else { String::new() };
        self.0.warn(&format!("{error}; retrying{from} in {} ms (attempt {attempt}/{n_attempts})", delay.as_millis()));
    }
}
