//! Which store: `--store`, `NIX_REMOTE`, or what suits the machine: `/nix` if it can be written to, else a store rooted in the user's data
//! directory, whose paths say `/nix/store` all the same. It is opened only when somebody needs it.

mod remote;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nixlang_build::CancelToken;
use nixlang_store::daemon::DaemonService;
use nixlang_store::local::{LocalStore, LocalStoreOptions, SpaceGuard};
use nixlang_store::path::StoreDir;
use nixlang_store::signature::{PublicKey, SecretKey, TrustedKeys};
use nixlang_store::store::Store;

pub(crate) use self::remote::daemon_socket;
use self::remote::Remote;
use crate::failure::{Failure, Outcome};
use crate::remote_log::RemoteLog;
use crate::settings::{Settings, data_home};
use crate::ui::Ui;

/// A store that is opened when it is first used.
pub(crate) struct StoreChoice {
    options: LocalStoreOptions,
    kind: Kind,
    settings: Settings,
    /// What is shown of what the other side of a connection says.
    ui: Ui,
    prints_logs: bool,
    is_classic: bool,
    /// What the address says that builds in it may require.
    system_features: Option<String>,
    opened: OnceLock<Result<Opened, String>>,
    cancel: CancelToken,
}

/// A store that is open.
struct Opened {
    store: Arc<dyn Store>,
    /// The same, if it is one of this machine.
    local: Option<Arc<LocalStore>>,
    /// Who builds, if that is somebody else.
    service: Option<Arc<dyn DaemonService>>,
}

#[derive(Debug)]
enum Kind {
    Local,
    /// Behind a connection.
    Remote(Remote),
    /// Computes paths, keeps nothing.
    Dummy,
    /// A binary cache, with its address.
    Cache(String),
    /// Cannot be opened, for this reason.
    Unsupported(String),
}

impl StoreChoice {
    /// Chooses by settings and environment.
    pub(crate) fn new(settings: &Settings) -> Outcome<StoreChoice> {
        let mut options = LocalStoreOptions {
            allow_symlinked_store: settings.is_on("allow-symlinked-store"),
            use_wal: settings.is_on("use-sqlite-wal"),
            fsync_metadata: settings.is_on("fsync-metadata"),
            fsync_store_paths: settings.is_on("fsync-store-paths"),
            sync_before_registering: settings.is_on("sync-before-registering"),
            ignored_acls: settings.list("ignored-acls").map(str::to_owned).collect(),
            reserved_space: settings.integer("gc-reserved-space"),
            auto_optimise: settings.is_on("auto-optimise-store"),
            require_signatures: settings.is_on("require-sigs"),
            trusted_keys: trusted_keys(settings)?,
            secret_keys: secret_keys(settings)?,
            space_guard: SpaceGuard {
                min_free: settings.integer("min-free"),
                max_free: settings.integer("max-free"),
                interval: std::time::Duration::from_secs(settings.integer("min-free-check-interval")),
            },
            ..LocalStoreOptions::default()
        };
        if let Some(directory) = env("NIX_STORE_DIR").or_else(|| env("NIX_STORE")) {
            options.store_dir = store_dir(&directory.to_string_lossy())?;
        }
        options.state_dir = env("NIX_STATE_DIR");
        options.log_dir = env("NIX_LOG_DIR");
        let address = settings.text("store");
        // Whoever names a store that lies elsewhere gets links as the reference makes them; to a user of a store of his
        // own that nobody named such links would lead nowhere.
        options.logical_links = !matches!(address, "" | "auto");
        let kind = choose(address, &mut options)?;
        let system_features = match parameter(address, "system-features") {
            Some(features) if matches!(kind, Kind::Local) => Some(percent_decoded(features)?),
            _ => None,
        };
        let (ui, settings) = (Ui::plain(), settings.clone());
        let cancel = CancelToken::new();
        Ok(StoreChoice { options, kind, settings, ui, prints_logs: false, is_classic: false, system_features, opened: OnceLock::new(), cancel })
    }

    /// Stops what the store does with this token.
    pub(crate) fn cancelled_by(self, cancel: &CancelToken) -> StoreChoice {
        StoreChoice { cancel: cancel.clone(), ..self }
    }

    /// Shows what a daemon says, and the output of its builds if `prints_logs`.
    pub(crate) fn shown_by(mut self, ui: Ui, prints_logs: bool, is_classic: bool) -> StoreChoice {
        (self.ui, self.prints_logs, self.is_classic) = (ui, prints_logs, is_classic);
        self
    }

    /// Chooses the store with this address, otherwise by settings and environment.
    pub(crate) fn at(settings: &Settings, address: &str) -> Outcome<StoreChoice> {
        let mut settings = settings.clone();
        settings.set("store", address)?;
        StoreChoice::new(&settings)
    }

    /// Opens the store, of whatever kind it is.
    pub(crate) fn any(&self) -> Outcome<Arc<dyn Store>> {
        Ok(Arc::clone(self.open()?))
    }

    /// Returns the logical directory of paths.
    pub(crate) fn store_dir(&self) -> &StoreDir {
        &self.options.store_dir
    }

    /// Sends what commands on other machines write to standard error somewhere else.
    pub(crate) fn with_stderr(mut self, stderr: std::os::fd::OwnedFd) -> StoreChoice {
        if let Kind::Remote(remote) = &mut self.kind {
            remote.set_stderr(stderr);
        }
        self
    }

    /// Returns what the address says that builds in the store may require.
    pub(crate) fn system_features(&self) -> Option<&str> {
        self.system_features.as_deref()
    }

    /// Returns where the state of the machine's store is, if that is not the usual place.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.options.state_dir.clone()
    }

    /// Returns whether it is a binary cache, which can't build.
    pub(crate) fn is_cache(&self) -> bool {
        matches!(self.kind, Kind::Cache(_))
    }

    /// Returns whether nothing is ever kept.
    pub(crate) fn is_dummy(&self) -> bool {
        matches!(self.kind, Kind::Dummy)
    }

    /// Returns where files of store paths really are, if that is not where their paths say.
    pub(crate) fn real_store_dir(&self) -> Option<PathBuf> {
        match (&self.options.real_store_dir, &self.options.root) {
            (Some(real), _) => Some(real.clone()),
            (None, Some(root)) => Some(root.join("nix/store")),
            (None, None) => None,
        }
    }

    /// Opens the store, at the first call.
    pub(crate) fn open(&self) -> Outcome<&Arc<dyn Store>> {
        Ok(&self.opened()?.store)
    }

    /// Opens the store, which must be one of this machine.
    pub(crate) fn local(&self) -> Outcome<&Arc<LocalStore>> {
        let opened = self.opened()?;
        opened.local.as_ref().ok_or_else(|| Failure::new(format!("store '{}' is not a store of this machine; this can't be done through it", opened.store.address())))
    }

    /// Opens the store and returns who builds there, if that is somebody else.
    pub(crate) fn service(&self) -> Outcome<Option<&Arc<dyn DaemonService>>> {
        Ok(self.opened()?.service.as_ref())
    }

    fn opened(&self) -> Outcome<&Opened> {
        let opened = self.opened.get_or_init(|| match &self.kind {
            Kind::Local => {
                let local = LocalStore::open(self.options.clone()).map(Arc::new).map_err(|error| crate::failure::message(&error))?;
                Ok(Opened { store: local.clone(), local: Some(local), service: None })
            }
            Kind::Remote(remote) => {
                let log = Arc::new(RemoteLog::new(self.ui, self.prints_logs, self.is_classic));
                let real = self.real_store_dir().unwrap_or_else(|| self.options.store_dir.as_str().into());
                let remote::Opened { store, service } = remote.open(self.options.store_dir.clone(), Some(real), self.log_dir(), &self.settings, self.ui, log);
                Ok(Opened { store, local: None, service: Some(service) })
            }
            Kind::Cache(address) => {
                let opened = crate::caches::open(&self.settings, &self.options.store_dir, address, &self.cancel);
                Ok(Opened { store: opened.map_err(Failure::into_message)?.cache, local: None, service: None })
            }
            Kind::Dummy => Err("operation is not supported by store 'dummy://'".to_owned()),
            Kind::Unsupported(reason) => Err(reason.clone()),
        });
        opened.as_ref().map_err(|message| Failure::new(message.clone()))
    }

    /// Returns where the logs of builds are.
    fn log_dir(&self) -> PathBuf {
        match (&self.options.log_dir, &self.options.root) {
            (Some(log), _) => log.clone(),
            (None, Some(root)) => root.join("nix/var/log/nix"),
            (None, None) => "/nix/var/log/nix".into(),
        }
    }

    /// Returns the directory of database, roots and profiles.
    pub(crate) fn state_directory(&self) -> PathBuf {
        match (&self.options.state_dir, &self.options.root) {
            (Some(state), _) => state.clone(),
            (None, Some(root)) => root.join("nix/var/nix"),
            (None, None) => PathBuf::from("/nix/var/nix"),
        }
    }

    /// Returns whether there is a store to read, without making one.
    pub(crate) fn exists(&self) -> bool {
        matches!(self.kind, Kind::Remote(_) | Kind::Cache(_)) || matches!(self.kind, Kind::Local) && self.state_directory().join("db/db.sqlite").exists()
    }
}

/// Returns the text of a parameter of an address.
fn parameter<'a>(address: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = address.split_once('?')?;
    parameters.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

/// Reads a store's address.
fn choose(address: &str, options: &mut LocalStoreOptions) -> Outcome<Kind> {
    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    let mut remote = Remote::parse(base, address, options.state_dir.as_ref())?;
    match base {
        _ if remote.is_some() => {}
        "" | "auto" => remote = automatic(options)?,
        "local" | "local://" => {}
        "dummy" | "dummy://" => return Ok(Kind::Dummy),
        _ if base.starts_with("local://") => {
            let root = percent_decoded(&base["local://".len()..])?;
            if !root.is_empty() {
                options.root = Some(absolute(&root)?);
            }
        }
        _ if crate::caches::is_cache(base) => return Ok(Kind::Cache(address.to_owned())),
        _ if base.contains("://") => return Ok(Kind::Unsupported(format!("don't know how to open Nix store with scheme '{}'", base.split(':').next().unwrap_or(base)))),
        _ if base.starts_with('/') || base.starts_with("./") || base.starts_with("../") || base.starts_with("~/") => options.root = Some(absolute(base)?),
        _ => return Ok(Kind::Unsupported(format!("don't know how to open Nix store '{address}'"))),
    }
    let (mut state, mut log) = (None, None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
        let value = &percent_decoded(value)?;
        let is_true = matches!(value.as_str(), "true" | "1" | "yes");
        match name {
            "root" => options.root = Some(absolute(value)?),
            "store" => options.store_dir = store_dir(value)?,
            "real" => options.real_store_dir = Some(absolute(value)?),
            "state" => state = Some(absolute(value)?),
            "log" => log = Some(absolute(value)?),
            "read-only" => options.read_only = is_true,
            "require-sigs" => options.require_signatures = is_true,
            _ => {
                if let Some(remote) = &mut remote {
                    remote.parameter(name, value)?;
                }
            }
        }
    }
    // A store that lies elsewhere has its own state, whatever the environment says of the machine's.
    let is_rooted = options.root.is_some();
    options.state_dir = state.or(options.state_dir.take().filter(|_| !is_rooted));
    options.log_dir = log.or(options.log_dir.take().filter(|_| !is_rooted));
    Ok(remote.map_or(Kind::Local, Kind::Remote))
}

/// Takes the machine's store if it can be written to, else its daemon's, else the user's own.
fn automatic(options: &mut LocalStoreOptions) -> Outcome<Option<Remote>> {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let is_elsewhere = options.store_dir.as_str() != StoreDir::default().as_str() || options.state_dir.is_some();
    let state = options.state_dir.clone().unwrap_or_else(|| PathBuf::from("/nix/var/nix"));
    let store = PathBuf::from(options.store_dir.as_str());
    // What does not exist yet is made by opening the store.
    let can_be_made = |path: &Path| path.ancestors().find(|dir| dir.exists()).is_some_and(writable);
    let is_usable = if is_elsewhere { can_be_made(&state) && can_be_made(&store) } else { Path::new("/nix").is_dir() && can_be_made(&state.join("db")) && can_be_made(&store) };
    if !is_usable && daemon_socket(options.state_dir.as_ref()).exists() {
        return Remote::parse("daemon", "daemon", options.state_dir.as_ref());
    }
    // Who names a place means that place, whatever it takes.
    if !is_usable && !is_elsewhere {
        options.root = Some(data_home().join("nixlang/root"));
        options.state_dir = None;
        options.log_dir = None;
    }
    Ok(None)
}

/// Returns the keys whose signatures count: those of `trusted-public-keys`, and the user's own.
pub(crate) fn trusted_keys(settings: &Settings) -> Outcome<TrustedKeys> {
    let parse = |text: &str| text.parse::<PublicKey>().map_err(|error| Failure::new(error.to_string()));
    let mut keys: Vec<PublicKey> = settings.list("trusted-public-keys").map(parse).collect::<Outcome<_>>()?;
    keys.extend(secret_keys(settings)?.iter().map(SecretKey::public_key));
    Ok(TrustedKeys::new(keys))
}

/// Returns the keys of `secret-key-files`. A file that can't be read is passed over, as in the reference: the daemon's keys are not for users.
fn secret_keys(settings: &Settings) -> Outcome<Vec<SecretKey>> {
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let parse = |text: String| text.trim().parse::<SecretKey>().map_err(|error| Failure::new(error.to_string()));
    settings.list("secret-key-files").filter_map(read).map(parse).collect()
}

/// Returns text with `%2F` and the like replaced.
pub(crate) fn percent_decoded(text: &str) -> Outcome<String> {
    let invalid = || Failure::new(format!("invalid URI parameter '{text}'"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(invalid);
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

fn env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn store_dir(path: &str) -> Outcome<StoreDir> {
    StoreDir::new(path).map_err(|error| Failure::new(error.to_string()))
}

fn absolute(path: &str) -> Outcome<PathBuf> {
    let path = match path.strip_prefix("~/") {
        Some(rest) => crate::settings::home().join(rest),
        None => PathBuf::from(path),
    };
    Ok(std::path::absolute(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |address: &str, expected: &str| {
            let mut settings = Settings::default();
            settings.set("store", address).expect("a setting");
            let choice = StoreChoice::new(&settings).expect("chosen");
            let found = match (&choice.kind, choice.real_store_dir()) {
                (Kind::Dummy, _) => "dummy".to_owned(),
                (Kind::Cache(address), _) => format!("cache {address}"),
                (Kind::Unsupported(_), _) => "unsupported".to_owned(),
                (Kind::Remote(Remote::Unix { address, .. }), _) => address.clone(),
                (Kind::Remote(remote), _) => format!("{remote:?}"),
                (Kind::Local, Some(real)) => real.display().to_string(),
                (Kind::Local, None) => "where paths say".to_owned(),
            };
            assert_eq!(found, expected, "{address}");
        };
        check("dummy://", "dummy");
        check("local", "where paths say");
        check("/x", "/x/nix/store");
        check("local?root=/y&read-only=true", "/y/nix/store");
        check("local://?real=/z/s", "/z/s");
        check("daemon", "daemon");
        check("unix://", "daemon");
        check("unix:///a%20b/socket?root=/x", "unix:///a b/socket?root=/x");
        check("https://h/c?priority=1", "cache https://h/c?priority=1");
        check("ftp://x", "unsupported");
    }
}
