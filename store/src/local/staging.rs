//! The directory in the store where new objects are made before they get their names.
//!
//! It is called `tmp-…` and kept locked: a collection deletes such directories unless their lock is taken. Objects in
//! it are renamed into the store, so it must be there and not in `/tmp`. A handle keeps one for all its additions.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Result, StoreError};
use crate::fs::remove_tree_at;
use crate::local::locks::{LockMode, lock};

/// A locked directory for work in progress.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    fd: OwnedFd,
    pid: u32,
    next: AtomicU64,
}

impl Staging {
    /// Makes one in the store directory.
    pub(crate) fn new(store_dir: &Path) -> Result<Staging> {
        /// Makes names differ between the handles of a process.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        loop {
            let path = store_dir.join(format!("tmp-{pid}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(StoreError::io("creating directory", path, error)),
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            let fd = match rustix::fs::open(&path, flags, Mode::empty()) {
                Ok(fd) => fd,
                // A collection was quicker than our lock.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(StoreError::io("opening", path, error)),
            };
            lock(&fd, LockMode::Exclusive, &path)?;
            if path.symlink_metadata().is_err() {
                continue;
            }
            // A default access control list of the store directory would be handed down to every new file.
            crate::local::canonicalise::strip_directory(fd.as_fd());
            return Ok(Staging { path, fd, pid, next: AtomicU64::new(0) });
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a name for a new object. What is there under it when the value is dropped is removed.
    pub(crate) fn place(&self) -> Staged<'_> {
        let name = format!("x{}", self.next.fetch_add(1, Ordering::Relaxed));
        Staged { staging: self, name: name.into(), done: false }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // In a forked child it is still the parent's.
        if self.pid == std::process::id()
            && let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name())
            && let Ok(dir) = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            && rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).is_err()
        {
            let _ = remove_tree_at(&dir, parent, name);
        }
    }
}

/// The place of one object that is being made.
#[derive(Debug)]
pub(crate) struct Staged<'s> {
    staging: &'s Staging,
    name: OsString,
    done: bool,
}

impl Staged<'_> {
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.staging.fd()
    }

    pub(crate) fn dir_path(&self) -> &Path {
        self.staging.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.staging.path().join(&self.name)
    }

    /// Says that the object was moved away.
    pub(crate) fn moved(&mut self) {
        self.done = true;
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.done {
            let _ = remove_tree_at(self.staging.fd(), &self.staging.path, &self.name);
        }
    }
}
