//! Which store an address means, and where it lies: read before anything is opened.

use std::path::{Path, PathBuf};

use super::overlay::OverlayPlace;
use super::remote::{RemotePlace, daemon_socket};
use super::{OpenError, caches, reference};
use crate::configuration::Configuration;
use crate::local::{LocalStoreOptions, SpaceGuard};
use crate::path::StoreDir;

/// The kinds of stores.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreKind {
    /// A store of this machine, at [`StorePlace::options`].
    Local,
    /// One behind a connection.
    Remote(RemotePlace),
    /// One of this machine on top of another, at [`StorePlace::options`].
    Overlay(OverlayPlace),
    /// Computes paths, keeps nothing.
    Dummy,
    /// Keeps everything as long as it is open.
    Memory,
    /// A binary cache.
    Cache {
        /// Its address with parameters.
        address: String,
    },
    /// None that could be opened.
    Unsupported {
        /// Why not.
        reason: String,
    },
}

/// A store that may be opened: its kind, and where it lies on this machine.
#[derive(Debug, Clone)]
pub struct StorePlace {
    /// The kind.
    pub kind: StoreKind,
    /// Directories and, for a store of this machine, how it is kept.
    pub options: LocalStoreOptions,
    /// What the address says that builds in it may require (`system-features`).
    pub system_features: Option<String>,
}

impl StorePlace {
    /// Reads an address with parameters; empty for what the setting `store` says, and `auto` for what suits the machine: `/nix` if it can be written to, else
    /// its daemon, else a store rooted in the user's data directory, whose paths say `/nix/store` all the same.
    ///
    /// # Errors
    /// When the address or a setting that matters here is malformed. An unknown kind is no error before it is opened.
    pub fn choose(configuration: &dyn Configuration, address: &str) -> Result<StorePlace, OpenError> {
        let address = if address.is_empty() { configuration.text("store") } else { address.into() };
        let mut options = local_options(configuration)?;
        // Whoever names a store that lies elsewhere gets links as the reference makes them; to a user of a store of his
        // own that nobody named such links would lead nowhere.
        options.logical_links = !matches!(&*address, "" | "auto");
        let kind = choose(configuration, &address, &mut options)?;
        let system_features = match parameter(&address, "system-features") {
            Some(features) if matches!(kind, StoreKind::Local | StoreKind::Overlay(_)) => Some(percent_decoded(features)?),
            _ => None,
        };
        Ok(StorePlace { kind, options, system_features })
    }

    /// Returns whether it is a binary cache, which can't build.
    pub fn is_cache(&self) -> bool {
        matches!(self.kind, StoreKind::Cache { .. })
    }

    /// Returns whether nothing is ever kept.
    pub fn is_dummy(&self) -> bool {
        matches!(self.kind, StoreKind::Dummy)
    }

    /// Returns where files of store paths really are, if that is not where their paths say.
    pub fn real_store_dir(&self) -> Option<PathBuf> {
        match (&self.options.real_store_dir, &self.options.root) {
            (Some(real), _) => Some(real.clone()),
            (None, Some(root)) => Some(root.join("nix/store")),
            (None, None) => None,
        }
    }

    /// Returns where the logs of builds are.
    pub fn log_dir(&self) -> PathBuf {
        match (&self.options.log_dir, &self.options.root) {
            (Some(log), _) => log.clone(),
            (None, Some(root)) => root.join("nix/var/log/nix"),
            (None, None) => "/nix/var/log/nix".into(),
        }
    }

    /// Returns the directory of database, roots and profiles.
    pub fn state_dir(&self) -> PathBuf {
        match (&self.options.state_dir, &self.options.root) {
            (Some(state), _) => state.clone(),
            (None, Some(root)) => root.join("nix/var/nix"),
            (None, None) => PathBuf::from("/nix/var/nix"),
        }
    }

    /// Returns whether there is a store to read, without making one.
    pub fn exists(&self) -> bool {
        match self.kind {
            StoreKind::Remote(_) | StoreKind::Cache { .. } | StoreKind::Memory => true,
            StoreKind::Local | StoreKind::Overlay(_) => self.state_dir().join("db/db.sqlite").exists(),
            _ => false,
        }
    }
}

/// Returns how the settings want a store of this machine to be kept, and where the environment puts it.
fn local_options(configuration: &dyn Configuration) -> Result<LocalStoreOptions, OpenError> {
    let mut options = LocalStoreOptions {
        allow_symlinked_store: configuration.is_on("allow-symlinked-store"),
        use_wal: configuration.is_on("use-sqlite-wal"),
        fsync_metadata: configuration.is_on("fsync-metadata"),
        fsync_store_paths: configuration.is_on("fsync-store-paths"),
        sync_before_registering: configuration.is_on("sync-before-registering"),
        ignored_acls: configuration.list("ignored-acls"),
        reserved_space: configuration.integer("gc-reserved-space"),
        auto_optimise: configuration.is_on("auto-optimise-store"),
        require_signatures: configuration.is_on("require-sigs"),
        trusted_keys: caches::trusted_keys(configuration)?,
        secret_keys: caches::secret_keys(configuration)?,
        content_rules: super::content_rules(configuration)?,
        space_guard: SpaceGuard {
            min_free: configuration.integer("min-free"),
            max_free: configuration.integer("max-free"),
            interval: std::time::Duration::from_secs(configuration.integer("min-free-check-interval")),
        },
        ..LocalStoreOptions::default()
    };
    if let Some(directory) = configuration.variable("NIX_STORE_DIR").or_else(|| configuration.variable("NIX_STORE")) {
        options.store_dir = store_dir(&directory.to_string_lossy())?;
    }
    options.state_dir = configuration.variable_path("NIX_STATE_DIR");
    options.log_dir = configuration.variable_path("NIX_LOG_DIR");
    Ok(options)
}

/// Returns the text of a parameter of an address.
fn parameter<'a>(address: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = address.split_once('?')?;
    parameters.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

/// Reads a store's address.
fn choose(configuration: &dyn Configuration, address: &str, options: &mut LocalStoreOptions) -> Result<StoreKind, OpenError> {
    let unsupported = |reason: String| Ok(StoreKind::Unsupported { reason });
    if let Some(dir) = parameter(address, "store") {
        options.store_dir = store_dir(&percent_decoded(dir)?)?;
    }
    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    let mut remote = RemotePlace::parse(configuration, base, address, options.state_dir.as_ref())?;
    let mut overlay = None;
    match base {
        _ if remote.is_some() => {}
        "" | "auto" => remote = automatic(configuration, options)?,
        "local" | "local://" => {}
        "dummy" | "dummy://" if matches!(parameter(address, "read-only"), Some("false" | "0" | "no")) => return Ok(StoreKind::Memory),
        "dummy" | "dummy://" => return Ok(StoreKind::Dummy),
        _ if base == "local-overlay" || base.starts_with("local-overlay://") => {
            let root = percent_decoded(base.strip_prefix("local-overlay://").unwrap_or_default())?;
            if !root.is_empty() {
                options.root = Some(absolute(configuration, &root)?);
            }
            overlay = Some(OverlayPlace::default());
        }
        _ if base.starts_with("local://") => {
            let root = percent_decoded(&base["local://".len()..])?;
            if !root.is_empty() {
                options.root = Some(absolute(configuration, &root)?);
            }
        }
        _ if caches::is_cache(base) => return Ok(StoreKind::Cache { address: address.to_owned() }),
        _ if base.contains("://") => return unsupported(format!("don't know how to open Nix store with scheme '{}'", base.split(':').next().unwrap_or(base))),
        _ if base.starts_with('/') || base.starts_with("./") || base.starts_with("../") || base.starts_with("~/") => options.root = Some(absolute(configuration, base)?),
        _ => return unsupported(format!("don't know how to open Nix store '{address}'")),
    }
    let (mut state, mut log) = (None, None);
    for (name, value) in &reference::parameters(parameters)? {
        let is_true = matches!(value.as_str(), "true" | "1" | "yes");
        match name.as_str() {
            "root" if value.is_empty() => {}
            "root" => options.root = Some(absolute(configuration, value)?),
            "store" => options.store_dir = store_dir(value)?,
            "real" => options.real_store_dir = Some(absolute(configuration, value)?),
            "state" => state = Some(absolute(configuration, value)?),
            "log" => log = Some(absolute(configuration, value)?),
            "read-only" => options.read_only = is_true,
            "require-sigs" => options.require_signatures = is_true,
            _ => match (&mut remote, &mut overlay, name.as_str()) {
                (Some(remote), ..) => remote.parameter(name, value)?,
                (_, Some(overlay), "lower-store") => overlay.lower = value.clone(),
                (_, Some(overlay), "upper-layer") => overlay.upper_layer = absolute(configuration, value)?,
                (_, Some(overlay), "check-mount") => overlay.check_mount = is_true,
                (_, Some(overlay), "remount-hook") => overlay.remount_hook = Some(absolute(configuration, value)?),
                _ => {}
            },
        }
    }
    // A store that lies elsewhere has its own state, whatever the environment says of the machine's.
    let is_rooted = options.root.is_some();
    options.state_dir = state.or(options.state_dir.take().filter(|_| !is_rooted));
    options.log_dir = log.or(options.log_dir.take().filter(|_| !is_rooted));
    Ok(remote.map(StoreKind::Remote).or(overlay.map(StoreKind::Overlay)).unwrap_or(StoreKind::Local))
}

/// Takes the machine's store if it can be written to, else its daemon's, else the user's own.
fn automatic(configuration: &dyn Configuration, options: &mut LocalStoreOptions) -> Result<Option<RemotePlace>, OpenError> {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let is_elsewhere = options.store_dir.as_str() != StoreDir::default().as_str() || options.state_dir.is_some();
    let state = options.state_dir.clone().unwrap_or_else(|| PathBuf::from("/nix/var/nix"));
    let store = PathBuf::from(options.store_dir.as_str());
    // What does not exist yet is made by opening the store.
    let can_be_made = |path: &Path| path.ancestors().find(|dir| dir.exists()).is_some_and(writable);
    let is_usable = if is_elsewhere { can_be_made(&state) && can_be_made(&store) } else { Path::new("/nix").is_dir() && can_be_made(&state.join("db")) && can_be_made(&store) };
    if !is_usable && daemon_socket(configuration, options.state_dir.as_ref()).exists() {
        return RemotePlace::parse(configuration, "daemon", "daemon", options.state_dir.as_ref());
    }
    // Who names a place means that place, whatever it takes.
    if !is_usable && !is_elsewhere {
        let data_home = configuration.variable_path("XDG_DATA_HOME").unwrap_or_else(|| configuration.home().join(".local/share"));
        options.root = Some(data_home.join("nixlang/root"));
        options.state_dir = None;
        options.log_dir = None;
    }
    Ok(None)
}

/// Returns text of an address with `%2F` and the like replaced.
///
/// # Errors
/// When digits are missing or what comes out is no UTF-8.
pub fn percent_decoded(text: &str) -> Result<String, OpenError> {
    let invalid = || OpenError::new(format!("invalid URI parameter '{text}'"));
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

pub(super) fn store_dir(path: &str) -> Result<StoreDir, OpenError> {
    StoreDir::new(path).map_err(|error| OpenError::new(error.to_string()))
}

fn absolute(configuration: &dyn Configuration, path: &str) -> Result<PathBuf, OpenError> {
    let named = match path.strip_prefix("~/") {
        Some(rest) => configuration.home().join(rest),
        None => PathBuf::from(path),
    };
    std::path::absolute(named).map_err(|error| OpenError::new(format!("path '{path}': {error}")))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::ffi::OsString;

    use super::*;

    struct Nothing;

    impl Configuration for Nothing {
        fn text(&self, _name: &str) -> Cow<'_, str> {
            Cow::Borrowed("")
        }
        fn is_set(&self, _name: &str) -> bool {
            false
        }
        fn names(&self) -> Vec<&str> {
            Vec::new()
        }
        fn variable(&self, _name: &str) -> Option<OsString> {
            None
        }
    }

    #[test]
    fn addresses() {
        let check = |address: &str, expected: &str| {
            let place = StorePlace::choose(&Nothing, address).expect("chosen");
            let found = match (&place.kind, place.real_store_dir()) {
                (StoreKind::Dummy, _) => "dummy".to_owned(),
                (StoreKind::Memory, _) => "memory".to_owned(),
                (StoreKind::Overlay(OverlayPlace { lower, upper_layer, .. }), real) => format!("{real:?} over {lower} with {}", upper_layer.display()),
                (StoreKind::Cache { address }, _) => format!("cache {address}"),
                (StoreKind::Unsupported { .. }, _) => "unsupported".to_owned(),
                (StoreKind::Remote(remote), _) => remote.address().to_owned(),
                (StoreKind::Local, Some(real)) => real.display().to_string(),
                (StoreKind::Local, None) => "where paths say".to_owned(),
            };
            assert_eq!(found, expected, "{address}");
        };
        check("dummy://", "dummy");
        check("dummy://?read-only=false", "memory");
        for address in ["dummy://?store=/x", "dummy://?read-only=false&store=/x", "file:///c?store=/x", "local?store=/x"] {
            assert_eq!(StorePlace::choose(&Nothing, address).unwrap().options.store_dir.as_str(), "/x", "{address}");
        }
        check("local-overlay://?root=/m&lower-store=/a&upper-layer=/b", "Some(\"/m/nix/store\") over /a with /b");
        check("local", "where paths say");
        check("local?root=", "where paths say");
        check("/x", "/x/nix/store");
        check("local?root=/y&read-only=true", "/y/nix/store");
        check("local://?real=/z/s", "/z/s");
        check("daemon", "daemon");
        check("unix://", "daemon");
        check("unix:///a%20b/socket?root=/x", "unix:///a b/socket?root=/x");
        check("ssh-ng://me@there?compress=true", "ssh-ng://me@there?compress=true");
        check("https://h/c?priority=1", "cache https://h/c?priority=1");
        check("ftp://x", "unsupported");
        assert!(StorePlace::choose(&Nothing, "local?root=%zz").is_err());
        assert!(StorePlace::choose(&Nothing, "ssh://-oProxyCommand=x").is_err());
    }
}
