//! The store as a builder sees it: its inputs and what it added, and of these no more than it could find out itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nixlang_store::error::{Result, StoreError};
use nixlang_store::hash::{Algorithm, Hasher};
use nixlang_store::nar::Listing;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::path_info::PathInfo;
use nixlang_store::content_rules::ContentRules;
use nixlang_store::realisation::{DerivationOutputId, Realisation};
use nixlang_store::store::{
    AddOptions, Addressing, Capabilities, Contents, GcOptions, GcResults, Roots, RootsEvent, Store, Text,
};

use super::Guest;

/// See the file's comment.
pub(super) struct RestrictedStore<'g> {
    guest: &'g Guest<'g>,
    store: &'g dyn Store,
}

impl<'g> RestrictedStore<'g> {
    pub(super) fn new(guest: &'g Guest<'_>) -> RestrictedStore<'g> {
        RestrictedStore { guest, store: &**guest.builder.store() }
    }

    fn check(&self, path: &StorePath) -> Result<()> {
        if self.guest.is_allowed(path) { Ok(()) } else { Err(self.invalid(path)) }
    }

    fn check_all<'p>(&self, paths: impl IntoIterator<Item = &'p StorePath>) -> Result<()> {
        paths.into_iter().try_for_each(|path| self.check(path))
    }

    /// Grants a path that is valid already to who brings its archive. Without looking at that, a path would be had for its name.
    fn check_same(&self, known: &PathInfo, nar: &mut dyn Read) -> Result<()> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = [0; 64 * 1024];
        let mut nar = nar.take(known.nar_size);
        loop {
            match nar.read(&mut buffer).map_err(|error| StoreError::format("reading a NAR", error))? {
                0 => break,
                n_bytes => hasher.update(&buffer[..n_bytes]),
            }
        }
        if hasher.finish() == known.nar_hash { Ok(()) } else { Err(self.invalid(&known.path)) }
    }
}

impl Store for RestrictedStore<'_> {
    fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    fn address(&self) -> String {
        "restricted".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::default();
        (can.add, can.list_paths, can.realisations) = (true, true, self.store.capabilities().realisations);
        can
    }

    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(Some(false))
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let infos = paths.iter().zip(self.store.query_path_infos(paths)?);
        let shown = infos.map(|(path, info)| {
            let mut info = info.filter(|_| self.guest.is_allowed(path))?;
            // What depends on this machine rather than on the path.
            (info.info.deriver, info.info.registration_time, info.info.ultimate) = (None, 0, false);
            info.info.signatures = BTreeSet::new();
            Some(info)
        });
        Ok(shown.collect())
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        Ok(self.guest.all())
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        Ok(self.guest.all().into_iter().find(|path| path.hash_part() == *hash_part))
    }

    fn referrers(&self, _path: &StorePath) -> Result<BTreeSet<StorePath>> {
        Ok(BTreeSet::new())
    }

    fn valid_derivers(&self, _path: &StorePath) -> Result<BTreeSet<StorePath>> {
        Ok(BTreeSet::new())
    }

    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>> {
        self.check(derivation)?;
        self.store.derivation_outputs(derivation)
    }

    fn content_rules(&self) -> ContentRules {
        self.store.content_rules()
    }

    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        let known = self.store.query_realisations(ids)?;
        Ok(known.into_iter().map(|known| known.filter(|known| self.guest.is_allowed(&known.path))).collect())
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        self.check(path)?;
        self.store.write_nar(path, sink)
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        self.check(path)?;
        self.store.read_file(path)
    }

    fn listing(&self, path: &StorePath) -> Result<Listing> {
        self.check(path)?;
        self.store.listing(path)
    }

    fn write_file(&self, path: &StorePath, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
        self.check(path)?;
        self.store.write_file(path, below, sink)
    }

    fn real_path(&self, path: &StorePath) -> Option<PathBuf> {
        self.guest.is_allowed(path).then(|| self.store.real_path(path)).flatten()
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        self.check_all(info.references.iter().filter(|path| **path != info.path))?;
        if !self.guest.is_allowed(&info.path) {
            match self.store.query_path_info(&info.path)? {
                Some(known) => self.check_same(&known, nar)?,
                None => self.store.add_nar(info, nar, options)?,
            }
        }
        self.guest.add(&info.path)
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        self.check_all(&addressing.references)?;
        let info = self.store.add_contents(addressing, contents)?;
        self.guest.add(&info.path)?;
        Ok(info)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        let mut paths = Vec::with_capacity(texts.len());
        // One by one, because a text may refer to an earlier one.
        for text in texts {
            self.check_all(&text.references)?;
            let added = self.store.add_texts(std::slice::from_ref(text))?;
            added.iter().try_for_each(|path| self.guest.add(path))?;
            paths.extend(added);
        }
        Ok(paths)
    }

    fn add_temp_roots(&self, _paths: &[StorePath]) -> Result<()> {
        // What is allowed is kept by the build itself.
        Ok(())
    }

    fn add_indirect_root(&self, _link: &Path) -> Result<()> {
        Ok(())
    }

    fn find_roots(&self, _events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
        Ok(Roots::new())
    }

    fn collect_garbage(&self, _options: &GcOptions, _deleting: &mut dyn FnMut(&str)) -> Result<GcResults> {
        Ok(GcResults::default())
    }
}
