//! Checking that what is registered is there, and is what was registered.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::addressed::NarHasher;
use crate::error::{IoContext, Result, StoreError};
use crate::hash::{Hash, HashFormat};
use crate::local::LocalStore;
use crate::local::locks::{LockMode, lock, open_lock_file};
use crate::path::StorePath;
use crate::store::{Store, VerifyEvent};

impl LocalStore {
    /// As [`Store::verify`], and asks `repair` to put right each path that is missing though others refer to it, or that
    /// is not what was registered. It returns whether it did.
    ///
    /// # Errors
    /// As [`Store::verify`].
    pub fn verify_and_repair(
        &self,
        check_contents: bool,
        repair: Option<&mut dyn FnMut(&StorePath) -> bool>,
        events: &mut dyn FnMut(VerifyEvent),
    ) -> Result<bool> {
        self.writable("verifying")?;
        // No collection meanwhile: files and rows shall belong together.
        let lock_path = self.layout().state_dir.join("gc.lock");
        let lock_file = open_lock_file(&lock_path)?;
        lock(&lock_file, LockMode::Shared, &lock_path)?;
        let repairs = repair.is_some();
        let mut broken = BTreeSet::new();
        let mut is_right = true;
        let mut report = |event: VerifyEvent| {
            match &event {
                VerifyEvent::DisappearedInUse { path } | VerifyEvent::Modified { path, .. } if repairs => {
                    broken.insert(path.clone());
                }
                VerifyEvent::LinkModified { name, .. } if repairs => {
                    is_right &= std::fs::remove_file(self.layout().links_dir().join(name)).is_ok();
                }
                event => is_right &= !event.is_error(),
            }
            events(event);
        };
        let valid = self.verify_existence(&mut report)?;
        if check_contents {
            self.verify_links(&mut report)?;
            for path in valid {
                self.go_on()?;
                self.verify_contents(&path, &mut report)?;
            }
        }
        if let Some(repair) = repair {
            for path in broken {
                if repair(&path) {
                    events(VerifyEvent::Repaired { path });
                } else {
                    is_right = false;
                }
            }
        }
        Ok(is_right)
    }

    /// Returns whether the files of a path are there and their NAR is the one that was registered.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or when the database can't be read.
    pub fn is_intact(&self, path: &StorePath) -> Result<bool> {
        let info = self.path_info(path)?;
        Ok(self.hash_tree(&self.to_real_path(path)).is_ok_and(|(hash, _)| hash == info.info.nar_hash))
    }

    /// Returns the valid paths that are there.
    fn verify_existence(&self, report: &mut dyn FnMut(VerifyEvent)) -> Result<BTreeSet<StorePath>> {
        // The database comes first: what is registered later was there before.
        let valid: BTreeSet<StorePath> = self.all_valid_paths()?.into_iter().collect();
        let dir = &self.layout().real_store_dir;
        let mut present = HashSet::new();
        for entry in std::fs::read_dir(dir).at("reading directory", dir)? {
            if let Ok(path) = StorePath::from_base_name(entry.at("reading directory", dir)?.file_name().as_bytes()) {
                present.insert(path);
            }
        }
        let mut missing: BTreeSet<StorePath> = valid.iter().filter(|path| !present.contains(path)).cloned().collect();
        // A path must stay valid while one that stays refers to it.
        let mut in_use = BTreeSet::new();
        loop {
            let mut staying = Vec::new();
            for path in &missing {
                if self.referrers(path)?.iter().any(|user| user != path && !missing.contains(user)) {
                    staying.push(path.clone());
                }
            }
            if staying.is_empty() {
                break;
            }
            for path in staying {
                missing.remove(&path);
                in_use.insert(path);
            }
        }
        let texts: Vec<String> = missing.iter().map(|path| self.store_dir().display(path)).collect();
        self.index.invalidate_all(&texts.iter().map(String::as_str).collect())?;
        in_use.iter().for_each(|path| report(VerifyEvent::DisappearedInUse { path: path.clone() }));
        let there = valid.into_iter().filter(|path| !missing.contains(path) && !in_use.contains(path)).collect();
        missing.into_iter().for_each(|path| report(VerifyEvent::Disappeared { path }));
        Ok(there)
    }

    fn verify_links(&self, report: &mut dyn FnMut(VerifyEvent)) -> Result<()> {
        let dir = self.layout().links_dir();
        for entry in std::fs::read_dir(&dir).at("reading directory", &dir)? {
            let path = entry.at("reading directory", &dir)?.path();
            self.go_on()?;
            let got = match self.hash_tree(&path) {
                Ok((hash, _)) => hash.format(HashFormat::Nix32, false),
                // Others remove links that nobody has any more.
                Err(_) if path.symlink_metadata().is_err() => continue,
                Err(error) => error.to_string(),
            };
            if path.file_name() != Some(OsStr::new(&got)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                report(VerifyEvent::LinkModified { name, got });
            }
        }
        Ok(())
    }

    fn verify_contents(&self, path: &StorePath, report: &mut dyn FnMut(VerifyEvent)) -> Result<()> {
        let Some(mut info) = self.query_path_info(path)? else { return Ok(()) };
        match self.hash_tree(&self.to_real_path(path)) {
            Ok((got, _)) if got != info.nar_hash => report(VerifyEvent::Modified {
                path: path.clone(),
                expected: info.nar_hash.format(HashFormat::Nix32, true),
                got: got.format(HashFormat::Nix32, true),
            }),
            Ok((_, nar_size)) if info.nar_size == 0 => {
                info.info.nar_size = nar_size;
                self.register_paths(&[info])?;
                report(VerifyEvent::SizeUpdated { path: path.clone(), nar_size });
            }
            Ok(_) => {}
            Err(error) => report(VerifyEvent::Unreadable { path: path.clone(), error: error.to_string() }),
        }
        Ok(())
    }

    fn hash_tree(&self, path: &std::path::Path) -> Result<(Hash, u64), StoreError> {
        let mut hasher = NarHasher::new();
        crate::fs::dump(path, None, &mut hasher)?;
        Ok(hasher.finish())
    }
}
