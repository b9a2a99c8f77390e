//! Saving disk space: files with the same contents become hard links of one inode.
//!
//! `.links` in the store has one link per distinct file, called by the hash of the file's NAR; executable and plain
//! files of the same contents are therefore different ones. Only what is registered is linked, and only what nobody can
//! write: whoever changed one of the links would change them all.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::addressed::NarHasher;
use crate::error::{Result, StoreError};
use crate::fs::{MAX_DEPTH, list};
use crate::hash::{Hash, HashFormat};
use crate::local::LocalStore;
use crate::local::canonicalise::{TIMES, canonical_mode};
use crate::local::staging::Staging;
use crate::path::StorePath;
use crate::store::{OptimiseEvent, OptimiseStats, Store};

impl LocalStore {
    /// See [`Store::optimise`].
    pub(crate) fn link_equal_files(&self, events: &mut dyn FnMut(OptimiseEvent)) -> Result<OptimiseStats> {
        let mut optimiser = Optimiser::new(self, events)?;
        for path in self.all_valid_paths()? {
            self.go_on()?;
            // A collection may be running: what is rooted and still valid stays.
            self.add_temp_roots(std::slice::from_ref(&path))?;
            if self.is_valid(&path)? {
                optimiser.tree(&path)?;
            }
        }
        Ok(optimiser.stats)
    }

    /// Links files of one valid path with equal ones of others that were linked before.
    ///
    /// # Errors
    /// As [`LocalStore::optimise`], and [`StoreError::InvalidPath`].
    pub fn optimise_path(&self, path: &StorePath, events: &mut dyn FnMut(OptimiseEvent)) -> Result<OptimiseStats> {
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        let mut optimiser = Optimiser::new(self, events)?;
        // What was just put right must not be exchanged for what was wrong.
        optimiser.checks_links = true;
        optimiser.tree(path)?;
        Ok(optimiser.stats)
    }
}

struct Optimiser<'o> {
    store: &'o LocalStore,
    events: &'o mut dyn FnMut(OptimiseEvent),
    links: OwnedFd,
    links_path: PathBuf,
    staging: std::sync::Arc<Staging>,
    /// Inodes that have a link already.
    known: HashSet<u64>,
    /// Whether links are read before they are used: somebody may have written to the file that they share.
    checks_links: bool,
    stats: OptimiseStats,
}

struct Level {
    fd: OwnedFd,
    path: PathBuf,
    entries: Vec<(CString, FileType)>,
    changed: bool,
}

impl<'o> Optimiser<'o> {
    fn new(store: &'o LocalStore, events: &'o mut dyn FnMut(OptimiseEvent)) -> Result<Optimiser<'o>> {
        store.writable("linking equal files")?;
        let links_path = store.layout().links_dir();
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| StoreError::io("opening", path, error))
        };
        // Listing gives the inodes as well; asking for each of a million links would take much longer.
        let mut known = HashSet::new();
        let mut buffer: Vec<u8> = Vec::with_capacity(64 * 1024);
        let listed = open(&links_path)?;
        let mut entries = rustix::fs::RawDir::new(&listed, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            known.insert(entry.map_err(|error| StoreError::io("listing", &links_path, error))?.ino());
        }
        Ok(Optimiser {
            store,
            events,
            links: open(&links_path)?,
            links_path,
            staging: store.staging()?,
            known,
            checks_links: false,
            stats: OptimiseStats::default(),
        })
    }

    fn tree(&mut self, path: &StorePath) -> Result<()> {
        let name = CString::new(path.base_name()).expect("names of store paths have no NUL byte");
        let store_dir = self.store.layout().real_store_dir.clone();
        let mut changed = false;
        let store_fd = self.store.store_fd.as_fd();
        let mut stack: Vec<Level> = self.node(store_fd, &name, &store_dir, &mut changed)?.into_iter().collect();
        while let Some(level) = stack.last_mut() {
            let Some((name, _)) = level.entries.pop() else {
                if level.changed {
                    let io = |error| StoreError::io("restoring the metadata of", &level.path, error);
                    rustix::fs::fchmod(&level.fd, canonical_mode(true)).map_err(io)?;
                    rustix::fs::futimens(&level.fd, &TIMES).map_err(io)?;
                }
                stack.pop();
                continue;
            };
            let mut changed = false;
            let below = self.node(level.fd.as_fd(), &name, &level.path, &mut changed);
            level.changed |= changed;
            if let Some(below) = below? {
                if stack.len() > MAX_DEPTH {
                    return Err(StoreError::TooDeep { path: below.path, limit: MAX_DEPTH });
                }
                stack.push(below);
            }
        }
        Ok(())
    }

    /// Links a file, or opens a directory.
    fn node(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        dir_path: &Path,
        changed: &mut bool,
    ) -> Result<Option<Level>> {
        let path = dir_path.join(OsStr::from_bytes(name.to_bytes()));
        let io = |action, error: Errno| StoreError::io(action, &path, error);
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| io("reading the status of", error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
                let fd =
                    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|error| io("opening", error))?;
                let entries = list(fd.as_fd()).map_err(|error| io("listing", error))?;
                Ok(Some(Level { fd, path, entries, changed: false }))
            }
            FileType::RegularFile if stat.st_mode & 0o200 != 0 => {
                (self.events)(OptimiseEvent::Writable { path });
                Ok(None)
            }
            FileType::RegularFile | FileType::Symlink => {
                *changed = self.link(dir, name, &path, &stat)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Replaces a file by a link to its equal. Returns whether it did.
    fn link(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path, stat: &Stat) -> Result<bool> {
        if stat.st_nlink > 1 && self.known.contains(&stat.st_ino) {
            return Ok(false);
        }
        let link_name = self.hash(dir, name, path)?.format(HashFormat::Nix32, false);
        let link_path = self.links_path.join(&link_name);
        let io = |action, error: Errno| StoreError::io(action, &link_path, error);
        let link_status = || match rustix::fs::statat(&self.links, &link_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io("reading the status of", error)),
        };
        let mut known = link_status()?;
        if known.is_some_and(|known| known.st_size != stat.st_size || self.is_changed(&link_name, &link_path)) {
            (self.events)(OptimiseEvent::CorruptLink { path: link_path.clone() });
            let _ = rustix::fs::unlinkat(&self.links, &link_name, AtFlags::empty());
            known = None;
        }
        if known.is_none() {
            match rustix::fs::linkat(dir, name, &self.links, &link_name, AtFlags::empty()) {
                Ok(()) => {
                    self.known.insert(stat.st_ino);
                    return Ok(false);
                }
                // Somebody was quicker; or the directory or the inode can take no more links, which only costs space.
                Err(Errno::EXIST) => known = link_status()?,
                Err(Errno::NOSPC | Errno::MLINK) => return Ok(false),
                Err(error) => return Err(io("creating hard link", error)),
            }
        }
        if known.is_none_or(|known| known.st_ino == stat.st_ino) {
            return Ok(false);
        }
        let mut staged = self.staging.place();
        match rustix::fs::linkat(&self.links, &link_name, staged.dir(), staged.name(), AtFlags::empty()) {
            Ok(()) => {}
            // A collection has just removed it; or an inode has as many links as it can, as empty files often do.
            Err(Errno::NOENT | Errno::MLINK) => return Ok(false),
            Err(error) => return Err(io("creating hard link to", error)),
        }
        let rename = || rustix::fs::renameat(staged.dir(), staged.name(), dir, name);
        let renamed = match rename() {
            Err(Errno::ACCESS) => {
                rustix::fs::fchmod(dir, canonical_mode(true) | Mode::WUSR)
                    .map_err(|error| StoreError::io("changing the mode of the directory of", path, error))?;
                rename()
            }
            renamed => renamed,
        };
        match renamed {
            Ok(()) => staged.moved(),
            Err(Errno::MLINK) => return Ok(true),
            Err(error) => return Err(StoreError::io("replacing", path, error)),
        }
        self.stats.files_linked += 1;
        self.stats.bytes_freed += u64::try_from(stat.st_size).unwrap_or(0);
        Ok(true)
    }

    /// Whether a link is not what its name says, as far as that is to be looked at.
    fn is_changed(&self, name: &str, path: &Path) -> bool {
        let c_name = CString::new(name).expect("digits have no NUL byte");
        let hash = || self.hash(self.links.as_fd(), &c_name, path);
        self.checks_links && hash().is_ok_and(|hash| hash.format(HashFormat::Nix32, false) != name)
    }

    fn hash(&self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<Hash> {
        let mut hasher = NarHasher::new();
        crate::fs::dump::dump_at(dir, name, path, None, &mut hasher)?;
        Ok(hasher.finish().0)
    }
}
