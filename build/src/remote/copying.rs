//! Tells an observer of builds what is copied between this machine and another one.

use nixlang_store::copy::{CopyObserver, message};
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::Store;

use crate::event::{BuildEvent, Observer};

/// Watches one copying, for a build.
pub(crate) struct Copying<'c> {
    observer: &'c dyn Observer,
    derivation: &'c StorePath,
    from: &'c dyn Store,
    to: &'c dyn Store,
}

impl<'c> Copying<'c> {
    pub(crate) fn new(observer: &'c dyn Observer, derivation: &'c StorePath, from: &'c dyn Store, to: &'c dyn Store) -> Copying<'c> {
        Copying { observer, derivation, from, to }
    }

    fn note(&self, message: &str) {
        self.observer.event(&BuildEvent::Note { derivation: self.derivation, message });
    }
}

impl CopyObserver for Copying<'_> {
    fn planned(&self, n_paths: usize, _: u64) {
        self.note(&format!("copying {n_paths} paths..."));
    }

    fn started(&self, info: &PathInfo) {
        // Messages name a machine without the parameters of its address.
        let name = |store: &dyn Store| store.address().split('?').next().unwrap_or_default().to_owned();
        let path = self.from.store_dir().display(&info.path);
        self.note(&format!("{}...", message(&name(self.from), &name(self.to), &path)));
    }
}
