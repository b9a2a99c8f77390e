//! The store of a command: chosen by `--store`, `NIX_REMOTE` or what suits the machine, and opened only when somebody needs it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nixlang_store::daemon::DaemonService;
use nixlang_store::local::LocalStore;
use nixlang_store::open::{OpenObserver, OpenedStore, Opener, StoreKind, StorePlace};
use nixlang_store::path::StoreDir;
use nixlang_store::store::Store;

use crate::cancel::Cancel;
use crate::failure::{Failure, Outcome};
use crate::remote_log::RemoteLog;
use crate::settings::Settings;
use crate::ui::Ui;

/// A store that is opened when it is first used.
pub(crate) struct StoreChoice {
    place: StorePlace,
    settings: Settings,
    /// What is shown of what the other side of a connection says.
    ui: Ui,
    prints_logs: bool,
    is_classic: bool,
    opened: OnceLock<Result<OpenedStore, String>>,
    cancel: Cancel,
    /// Where evaluations write, if that is another store.
    evaluation: Option<Arc<StoreChoice>>,
}

/// Shows warnings.
struct Shown(Ui);

impl OpenObserver for Shown {
    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}

/// Returns what opens stores and caches with these settings.
pub(crate) fn opener(settings: &Settings, ui: Ui, cancel: &Cancel) -> Opener {
    let verbosity = u64::try_from(ui.verbosity.0).unwrap_or(0);
    Opener::new(Arc::new(settings.clone())).observer(Arc::new(Shown(ui))).interrupt(cancel.interrupt()).verbosity(verbosity)
}

impl StoreChoice {
    /// Chooses by settings and environment.
    pub(crate) fn new(settings: &Settings) -> Outcome<StoreChoice> {
        let place = StorePlace::choose(settings, settings.text("store"))?;
        let (ui, settings, cancel) = (Ui::plain(), settings.clone(), Cancel::default());
        Ok(StoreChoice { place, settings, ui, prints_logs: false, is_classic: false, opened: OnceLock::new(), cancel, evaluation: None })
    }

    /// Stops what the store does with this token.
    pub(crate) fn cancelled_by(self, cancel: &Cancel) -> StoreChoice {
        StoreChoice { cancel: cancel.clone(), ..self }
    }

    /// Builds what is evaluated in another store.
    pub(crate) fn building_for(self, evaluation: Option<Arc<StoreChoice>>) -> StoreChoice {
        StoreChoice { evaluation, ..self }
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
        &self.place.options.store_dir
    }

    /// Sends what commands on other machines write to standard error somewhere else.
    pub(crate) fn with_stderr(mut self, stderr: std::os::fd::OwnedFd) -> StoreChoice {
        if let StoreKind::Remote(remote) = &mut self.place.kind {
            remote.set_stderr(stderr);
        }
        self
    }

    /// Returns what the address says that builds in the store may require.
    pub(crate) fn system_features(&self) -> Option<&str> {
        self.place.system_features.as_deref()
    }

    /// Returns where the state of the machine's store is, if that is not the usual place.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.place.options.state_dir.clone()
    }

    /// Returns whether it is a binary cache, which can't build.
    pub(crate) fn is_cache(&self) -> bool {
        self.place.is_cache()
    }

    /// Returns whether nothing is ever kept.
    pub(crate) fn is_dummy(&self) -> bool {
        self.place.is_dummy()
    }

    /// Returns where files of store paths really are, if that is not where their paths say.
    pub(crate) fn real_store_dir(&self) -> Option<PathBuf> {
        self.place.real_store_dir()
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

    fn opened(&self) -> Outcome<&OpenedStore> {
        let opened = self.opened.get_or_init(|| {
            let log = RemoteLog::new(self.ui, self.prints_logs, self.is_classic);
            let opener = opener(&self.settings, self.ui, &self.cancel).log(Arc::new(log));
            let opened = opener.open(&self.place).map_err(|error| crate::failure::message(&error))?;
            if let (Some(local), Some(evaluation)) = (&opened.local, self.evaluation.as_ref().filter(|choice| !choice.is_dummy())) {
                local.read_derivations_from(evaluation.any().map_err(|failure| failure.message())?);
            }
            Ok(opened)
        });
        opened.as_ref().map_err(|message| Failure::new(message.clone()))
    }

    /// Returns the directory of database, roots and profiles.
    pub(crate) fn state_directory(&self) -> PathBuf {
        self.place.state_dir()
    }

    /// Returns whether there is a store to read, without making one.
    pub(crate) fn exists(&self) -> bool {
        self.place.exists()
    }
}
