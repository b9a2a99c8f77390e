//! Which store: `--store`, `NIX_REMOTE`, or what suits the machine: `/nix` if it can be written to, else a store rooted in the user's data
//! directory, whose paths say `/nix/store` all the same. It is opened only when somebody needs it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StoreDir;

use crate::failure::{Failure, Outcome};
use crate::settings::{Settings, data_home};

/// A store that is opened when it is first used.
#[derive(Debug)]
pub(crate) struct StoreChoice {
    options: LocalStoreOptions,
    kind: Kind,
    opened: OnceLock<Result<Arc<LocalStore>, String>>,
}

#[derive(Debug)]
enum Kind {
    Local,
    /// Computes paths, keeps nothing.
    Dummy,
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
            ..LocalStoreOptions::default()
        };
        if let Some(directory) = env("NIX_STORE_DIR").or_else(|| env("NIX_STORE")) {
            options.store_dir = store_dir(&directory.to_string_lossy())?;
        }
        options.state_dir = env("NIX_STATE_DIR");
        options.log_dir = env("NIX_LOG_DIR");
        let kind = choose(settings.text("store"), &mut options)?;
        Ok(StoreChoice { options, kind, opened: OnceLock::new() })
    }

    /// Returns the logical directory of paths.
    pub(crate) fn store_dir(&self) -> &StoreDir {
        &self.options.store_dir
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
    pub(crate) fn open(&self) -> Outcome<&Arc<LocalStore>> {
        let opened = self.opened.get_or_init(|| match &self.kind {
            Kind::Local => LocalStore::open(self.options.clone()).map(Arc::new).map_err(|error| crate::failure::message(&error)),
            Kind::Dummy => Err("operation is not supported by store 'dummy://'".to_owned()),
            Kind::Unsupported(reason) => Err(reason.clone()),
        });
        opened.as_ref().map_err(|message| Failure::new(message.clone()))
    }

    /// Returns whether there is a store to read, without making one.
    pub(crate) fn exists(&self) -> bool {
        let state = match (&self.options.state_dir, &self.options.root) {
            (Some(state), _) => state.clone(),
            (None, Some(root)) => root.join("nix/var/nix"),
            (None, None) => PathBuf::from("/nix/var/nix"),
        };
        matches!(self.kind, Kind::Local) && state.join("db/db.sqlite").exists()
    }
}

/// Reads a store's address.
fn choose(address: &str, options: &mut LocalStoreOptions) -> Outcome<Kind> {
    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    match base {
        "" | "auto" => automatic(options),
        "local" | "local://" => {}
        "dummy" | "dummy://" => return Ok(Kind::Dummy),
        "daemon" | "unix" => return Ok(Kind::Unsupported("connecting to a daemon is not supported yet; use a local store".into())),
        _ if base.starts_with("local://") => options.root = Some(absolute(&base["local://".len()..])?),
        _ if base.contains("://") => return Ok(Kind::Unsupported(format!("don't know how to open Nix store with scheme '{}'", base.split(':').next().unwrap_or(base)))),
        _ if base.starts_with('/') || base.starts_with("./") || base.starts_with("../") || base.starts_with("~/") => options.root = Some(absolute(base)?),
        _ => return Ok(Kind::Unsupported(format!("don't know how to open Nix store '{address}'"))),
    }
    let (mut state, mut log) = (None, None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
        let is_true = matches!(value, "true" | "1" | "yes");
        match name {
            "root" => options.root = Some(absolute(value)?),
            "store" => options.store_dir = store_dir(value)?,
            "real" => options.real_store_dir = Some(absolute(value)?),
            "state" => state = Some(absolute(value)?),
            "log" => log = Some(absolute(value)?),
            "read-only" => options.read_only = is_true,
            _ => {}
        }
    }
    // A store that lies elsewhere has its own state, whatever the environment says of the machine's.
    let is_rooted = options.root.is_some();
    options.state_dir = state.or(options.state_dir.take().filter(|_| !is_rooted));
    options.log_dir = log.or(options.log_dir.take().filter(|_| !is_rooted));
    Ok(Kind::Local)
}

/// Takes the machine's store if it can be written to, else the user's own.
fn automatic(options: &mut LocalStoreOptions) {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let is_elsewhere = options.store_dir.as_str() != StoreDir::default().as_str() || options.state_dir.is_some();
    let state = options.state_dir.clone().unwrap_or_else(|| PathBuf::from("/nix/var/nix"));
    let store = PathBuf::from(options.store_dir.as_str());
    // What does not exist yet is made by opening the store.
    let can_be_made = |path: &Path| path.ancestors().find(|dir| dir.exists()).is_some_and(writable);
    let is_usable = if is_elsewhere { can_be_made(&state) && can_be_made(&store) } else { Path::new("/nix").is_dir() && can_be_made(&state.join("db")) && can_be_made(&store) };
    if !is_usable {
        options.root = Some(data_home().join("nixlang/root"));
        options.state_dir = None;
        options.log_dir = None;
    }
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
                (Kind::Unsupported(_), _) => "unsupported".to_owned(),
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
        check("daemon", "unsupported");
        check("ftp://x", "unsupported");
    }
}
