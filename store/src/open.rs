//! From an address and settings to an open store: `local`, `daemon`, `ssh-ng://…`, `https://…`; substituters and fetchers too.
//!
//! This is what the command line and the C ABI open stores with. An [`Opener`] holds what all of it needs: settings, where messages go and what stops
//! it. [`StorePlace::choose`] reads an address without touching anything, [`Opener::open`] opens the place. Nothing here builds: a store of
//! this machine is built in by the crate `nixlang-build`, and others come with a [`DaemonService`] that builds on their side.
//!
//! ```
//! use std::borrow::Cow;
//! use std::sync::Arc;
//! use nixlang_store::configuration::Configuration;
//! use nixlang_store::open::{Opener, StorePlace};
//!
//! struct Defaults;
//! impl Configuration for Defaults {
//!     fn text(&self, _name: &str) -> Cow<'_, str> {
//!         "".into()
//!     }
//!     fn is_set(&self, _name: &str) -> bool {
//!         false
//!     }
//!     fn names(&self) -> Vec<&str> {
//!         Vec::new()
//!     }
//! }
//!
//! let directory = tempfile::tempdir()?;
//! let opener = Opener::new(Arc::new(Defaults));
//! let place = StorePlace::choose(opener.configuration(), &format!("file://{}", directory.path().display()))?;
//! assert!(place.is_cache());
//! assert!(opener.open(&place)?.store.all_valid_paths()?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod caches;
#[cfg(feature = "fetchers")]
mod fetching;
mod overlay;
mod place;
mod reference;
mod remote;
#[cfg(feature = "s3")]
mod s3;

use std::sync::Arc;

use crate::configuration::Configuration;
use crate::content_rules::ContentRules;
use crate::daemon::DaemonService;
use crate::error::StoreError;
use crate::local::LocalStore;
use crate::memory::MemoryStore;
use crate::store::Store;
use crate::transfer::Interrupt;
use crate::wire::log::LogSink;

pub use self::caches::{OpenCache, is_cache, secret_key, trusted_keys};
#[cfg(feature = "fetchers")]
pub use self::fetching::{ReadRegistries, fetch_url, is_pseudo_url, resolve_pseudo_url};
pub use self::overlay::OverlayPlace;
pub use self::place::{StoreKind, StorePlace, percent_decoded};
pub use self::reference::{StoreName, StoreReference};
pub use self::remote::{RemotePlace, client_options, daemon_socket};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address or a setting makes no sense, or there is no such kind of store.
    #[error("{message}")]
    Refused {
        /// What is wrong with which.
        message: String,
    },
    /// Opening it failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    fn new(message: impl Into<String>) -> OpenError {
        OpenError::Refused { message: message.into() }
    }
}

/// Returns the rules that `content-address-rules` says; 2.34's if there is no such setting.
///
/// # Errors
/// When it says something else.
pub fn content_rules(configuration: &dyn Configuration) -> Result<ContentRules, OpenError> {
    match &*configuration.text("content-address-rules") {
        "" => Ok(ContentRules::default()),
        text => text.parse().map_err(|error| OpenError::new(format!("setting 'content-address-rules': {error}"))),
    }
}

/// Gets told what users should know.
pub trait OpenObserver: Send + Sync {
    /// Something is odd: a substituter is down, an address has a parameter that there is not, a transfer is tried again.
    fn warn(&self, message: &str) {
        let _ = message;
    }
}

/// Hears nothing.
impl OpenObserver for () {}

/// An open store.
#[derive(Clone)]
pub struct OpenedStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The same, if it is one of this machine.
    pub local: Option<Arc<LocalStore>>,
    /// Who builds and fetches there, if that is somebody else.
    pub service: Option<Arc<dyn DaemonService>>,
}

/// What opens stores, by settings. Copies are cheap.
#[derive(Clone)]
pub struct Opener {
    configuration: Arc<dyn Configuration>,
    observer: Arc<dyn OpenObserver>,
    log: Arc<dyn LogSink>,
    interrupt: Interrupt,
    verbosity: u64,
}

impl Opener {
    /// Returns an opener that tells nobody anything and is never stopped.
    pub fn new(configuration: Arc<dyn Configuration>) -> Opener {
        Opener { configuration, observer: Arc::new(()), log: Arc::new(()), interrupt: Interrupt::default(), verbosity: 3 }
    }

    /// Sends warnings to `observer`.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn OpenObserver>) -> Opener {
        Opener { observer, ..self }
    }

    /// Sends what daemons say to `log`.
    #[must_use]
    pub fn log(self, log: Arc<dyn LogSink>) -> Opener {
        Opener { log, ..self }
    }

    /// Stops transfers and long operations of local stores when `interrupt` says so.
    #[must_use]
    pub fn interrupt(self, interrupt: Interrupt) -> Opener {
        Opener { interrupt, ..self }
    }

    /// Asks daemons for messages up to this level: 0 for errors alone, 3 is usual, 7 is all.
    #[must_use]
    pub fn verbosity(self, verbosity: u64) -> Opener {
        Opener { verbosity, ..self }
    }

    /// Returns the settings.
    pub fn configuration(&self) -> &dyn Configuration {
        &*self.configuration
    }

    /// Opens the store at an address with parameters; empty for what the setting `store` says.
    ///
    /// # Errors
    /// When the address makes no sense or the store can't be opened.
    pub fn open_address(&self, address: &str) -> Result<OpenedStore, OpenError> {
        self.open(&StorePlace::choose(&*self.configuration, address)?)
    }

    /// Opens the store at a place. Whether a daemon can be reached shows when it is first asked something.
    ///
    /// # Errors
    /// When it can't be opened, or is `dummy://`, which keeps nothing.
    pub fn open(&self, place: &StorePlace) -> Result<OpenedStore, OpenError> {
        match &place.kind {
            StoreKind::Local => {
                let local = Arc::new(LocalStore::open(place.options.clone())?.interrupted_by(self.interrupt.clone()));
                Ok(OpenedStore { store: local.clone(), local: Some(local), service: None })
            }
            StoreKind::Overlay(overlay) => {
                let local = Arc::new(overlay.open(self, place)?.interrupted_by(self.interrupt.clone()));
                Ok(OpenedStore { store: local.clone(), local: Some(local), service: None })
            }
            StoreKind::Memory => {
                let store = Arc::new(MemoryStore::new(place.options.store_dir.clone()));
                Ok(OpenedStore { store, local: None, service: None })
            }
            StoreKind::Remote(remote) => Ok(remote.open(self, place)),
            StoreKind::Cache { address } => {
                let opened = self.cache(&place.options.store_dir, address)?;
                Ok(OpenedStore { store: opened.cache, local: None, service: None })
            }
            StoreKind::Dummy => Err(OpenError::new("operation is not supported by store 'dummy://'")),
            StoreKind::Unsupported { reason } => Err(OpenError::new(reason.clone())),
        }
    }
}
