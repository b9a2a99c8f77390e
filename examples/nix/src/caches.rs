//! Binary caches and substituters as the settings have them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nixlang_build::CancelToken;
use nixlang_store::binary_cache::disk_cache::{DiskCache, Lifetimes};
use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::compression::Compression;
use nixlang_store::error::StoreError;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::signature::SecretKey;
use nixlang_store::substituter::{OpenSubstituter, Substituter, SubstituterObserver, Substituters};
use nixlang_store::transfer::http::{Certificates, HttpOptions, HttpTransport};
use nixlang_store::transfer::retry::RetryPolicy;
use nixlang_store::transfer::{Interrupt, Retry, TransferObserver, Transport};

use crate::commands::Context;
use crate::failure::{Failure, Outcome, message, plain};
use crate::settings::Settings;
use crate::store_choice::{StoreChoice, percent_decoded};
use crate::ui::{Ui, Verbosity};

/// Returns whether an address is one of a binary cache.
pub(crate) fn is_cache(address: &str) -> bool {
    ["file:", "http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

/// Returns what transfers are stopped by.
pub(crate) fn interrupt(cancel: &CancelToken) -> Interrupt {
    let cancel = cancel.clone();
    Interrupt::new(move || cancel.is_cancelled())
}

/// Returns how the settings want files to be transferred.
fn transport(settings: &Settings, client_certificate: Option<(PathBuf, PathBuf)>) -> Arc<dyn Transport> {
    let mut options = HttpOptions::from_environment(|name| std::env::var(name).ok());
    let seconds = |name: &str| Some(Duration::from_secs(settings.integer(name))).filter(|time| !time.is_zero());
    options.retry = RetryPolicy {
        n_attempts: u32::try_from(settings.integer("download-attempts")).unwrap_or(u32::MAX),
        ..RetryPolicy::default()
    };
    options.connect_timeout = seconds("connect-timeout");
    options.stall_timeout = seconds("stalled-download-timeout");
    options.n_connections = n_connections(settings);
    let file = settings.text("ssl-cert-file");
    if !file.is_empty() {
        options.certificates = Some(Certificates::File(file.into()));
    }
    options.netrc = Some(settings.text("netrc-file")).filter(|file| !file.is_empty()).map(PathBuf::from);
    options.user_agent_suffix = settings.text("user-agent-suffix").to_owned();
    options.client_certificate = client_certificate;
    Arc::new(HttpTransport::new(options))
}

fn n_connections(settings: &Settings) -> usize {
    match usize::try_from(settings.integer("http-connections")).unwrap_or(usize::MAX) {
        // No limit, for the reference.
        0 => 128,
        n => n.min(1024),
    }
}

/// Opens the cache at an address with parameters. Says which of these make no sense.
pub(crate) fn open(settings: &Settings, store_dir: &StoreDir, address: &str, cancel: &CancelToken) -> Outcome<Opened> {
    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    let base = match base.strip_prefix("file:") {
        Some(path) if !path.starts_with("//") => format!("file://{path}"),
        _ => base.to_owned(),
    };
    let ui = Ui::new(settings, true, Verbosity::INFO);
    let mut options = BinaryCacheOptions::default();
    options.store_dir = store_dir.clone();
    let (mut certificate, mut key, mut is_trusted, mut key_files) = (None, None, false, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
        let value = percent_decoded(value)?;
        let is_on = matches!(value.as_str(), "true" | "1" | "yes");
        let number = || value.parse().map_err(|_| Failure::new(format!("setting '{name}' has invalid value '{value}'")));
        match name {
            "compression" => options.compression = compression(&value)?,
            "compression-level" => options.encoder.level = Some(number()?).filter(|level| *level >= 0),
            "parallel-compression" => options.encoder.parallel = is_on,
            "narinfo-compression" => options.narinfo_compression = compression(&value)?,
            "ls-compression" => options.listing_compression = compression(&value)?,
            "log-compression" => options.log_compression = compression(&value)?,
            "write-nar-listing" => options.write_listing = is_on,
            "index-debug-info" => options.index_debug_info = is_on,
            "secret-key" => key_files.push(value),
            "secret-keys" => key_files.extend(value.split(',').filter(|file| !file.is_empty()).map(str::to_owned)),
            "priority" => options.priority = Some(i64::from(number()?)),
            "want-mass-query" => options.want_mass_query = Some(is_on),
            "trusted" => is_trusted = is_on,
            "store" => options.store_dir = StoreDir::new(&value).map_err(|error| Failure::new(error.to_string()))?,
            "local-nar-cache" => options.nar_cache = Some(value.into()),
            "tls-certificate" => certificate = Some(PathBuf::from(value)),
            "tls-private-key" => key = Some(PathBuf::from(value)),
            "path-info-cache-size" | "system-features" => {}
            _ => ui.warn(format!("unknown setting '{name}'")),
        }
    }
    for file in key_files {
        options.secret_keys.push(secret_key(&file)?);
    }
    options.n_parallel = n_connections(settings);
    options.interrupt = interrupt(cancel);
    options.observer = Some(Arc::new(Warnings(ui)));
    options.as_server = std::env::var_os("_NIX_FORCE_HTTP").is_some_and(|value| value == "1");
    if options.as_server || !base.starts_with("file://") {
        options.disk_cache = disk_cache(settings).map(Arc::new);
    }
    let cache = BinaryCache::open(&base, transport(settings, certificate.zip(key)), options)?;
    Ok(Opened { cache: Arc::new(cache), is_trusted })
}

/// A cache that is open.
pub(crate) struct Opened {
    pub(crate) cache: Arc<BinaryCache>,
    /// Whether it is believed without signatures.
    is_trusted: bool,
}

fn disk_cache(settings: &Settings) -> Option<DiskCache> {
    let directory = match std::env::var_os("NIX_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
            Some(path) => Path::new(&path).join("nix"),
            None => crate::settings::home().join(".cache/nix"),
        },
    };
    let seconds = |name: &str| Duration::from_secs(settings.integer(name));
    let lifetimes = Lifetimes {
        positive: seconds("narinfo-cache-positive-ttl"),
        negative: seconds("narinfo-cache-negative-ttl"),
        meta: seconds("narinfo-cache-meta-ttl"),
    };
    DiskCache::open(&directory.join(DiskCache::FILE_NAME), lifetimes)
}

fn compression(name: &str) -> Outcome<Compression> {
    Compression::from_name(name).filter(|_| !name.is_empty()).ok_or_else(|| Failure::new(format!("unknown compression method '{name}'")))
}

pub(crate) fn secret_key(file: &str) -> Outcome<SecretKey> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("opening file \"{file}\": {}", plain(&error))))?;
    text.trim().parse().map_err(|error: nixlang_store::signature::SignatureError| Failure::new(error.to_string()))
}

/// Returns who is asked before something is built, `None` if nobody is.
pub(crate) fn substituters(context: &Context) -> Option<Arc<Substituters>> {
    substituters_of(context, &context.settings)
}

/// As [`substituters`], with other settings than the context's.
pub(crate) fn substituters_of(context: &Context, settings: &Settings) -> Option<Arc<Substituters>> {
    if !settings.is_on("substitute") {
        return None;
    }
    let mut addresses: Vec<String> = Vec::new();
    for address in settings.list("substituters") {
        if !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
    }
    let open: Vec<(String, OpenSubstituter)> = addresses
        .into_iter()
        .map(|address| {
            let (settings, store_dir) = (settings.clone(), context.store.store_dir().clone());
            let (name, cancel) = (address.clone(), context.cancel.clone());
            let open: OpenSubstituter = Box::new(move || substituter(&settings, &store_dir, &address, &cancel));
            (name, open)
        })
        .collect();
    let n_parallel = usize::try_from(settings.integer("max-substitution-jobs")).unwrap_or(usize::MAX).clamp(1, 256);
    let observer = Observer { ui: context.ui, store_dir: context.store.store_dir().clone() };
    let substituters = Substituters::new(open, Arc::new(observer), interrupt(&context.cancel)).n_parallel(n_parallel);
    (!substituters.is_empty()).then(|| Arc::new(substituters))
}

fn substituter(settings: &Settings, store_dir: &StoreDir, address: &str, cancel: &CancelToken) -> Result<Substituter, StoreError> {
    // Errors come as they are shown: a failure that has no cause to look at.
    let failed = |failure: Failure| match failure {
        Failure::Shown(diagnostic) => StoreError::format("opening a substituter", diagnostic.message.clone()),
        _ => StoreError::format("opening a substituter", address.to_owned()),
    };
    if is_cache(address) {
        let Opened { cache, is_trusted } = open(settings, store_dir, address, cancel).map_err(failed)?;
        return Ok(Substituter::cache(cache).trusted(is_trusted));
    }
    let store = StoreChoice::at(settings, address).and_then(|choice| choice.any()).map_err(failed)?;
    let parameters = address.split_once('?').map_or("", |(_, parameters)| parameters);
    let parameter = |name: &str| parameters.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
    let priority = parameter("priority").and_then(|priority| priority.parse().ok()).unwrap_or(0);
    Ok(Substituter::new(store, priority).trusted(matches!(parameter("trusted"), Some("true" | "1" | "yes"))))
}

/// Shows what goes wrong with substituters.
struct Observer {
    ui: Ui,
    store_dir: StoreDir,
}

impl SubstituterObserver for Observer {
    fn failed(&self, address: &str, error: &StoreError, pause: Option<Duration>) {
        let text = message(error);
        let text = text.strip_prefix("opening a substituter: ").unwrap_or(&text);
        self.ui.warn(text);
        if let Some(pause) = pause {
            self.ui.warn(format!("disabling binary cache '{address}' for {} seconds", pause.as_secs()));
        }
    }

    fn unsigned(&self, address: &str, path: &StorePath) {
        let path = self.store_dir.display(path);
        self.ui.warn(format!("ignoring substitute for '{path}' from '{address}', as it's not signed by any of the keys in 'trusted-public-keys'"));
    }
}

/// Shows what is tried again.
struct Warnings(Ui);

impl TransferObserver for Warnings {
    fn retrying(&self, retry: &Retry<'_>) {
        let Retry { error, delay, attempt, n_attempts, offset } = retry;
        let from = if *offset > 0 { format!(" from offset {offset}") } else { String::new() };
        self.0.warn(format!("{error}; retrying{from} in {} ms (attempt {attempt}/{n_attempts})", delay.as_millis()));
    }
}
