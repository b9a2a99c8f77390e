//! Locks on store paths, and the flock(2) calls that all locks of a store are made of.
//!
//! A store path is locked by an exclusive flock on `<real path>.lock`. A lock file is unlinked when its owner is done
//! with it, so whoever gets a lock must look whether the file is still the one in the directory: its last owner writes
//! a byte into it after unlinking. flock belongs to the open file, not to the process, which is why a table of the
//! paths locked by this process stands in front: two handles of one process wait for each other there.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;

use crate::error::{IoContext, Result};

/// Whether others may hold the lock as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    Shared,
    Exclusive,
}

/// Opens a lock file, making it if it is missing.
pub(crate) fn open_lock_file(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .at("opening lock file", path)
}

/// Takes a lock, waiting for it. `path` is for the error message only.
pub(crate) fn lock(file: impl AsFd, mode: LockMode, path: &Path) -> Result<()> {
    let operation = match mode {
        LockMode::Shared => FlockOperation::LockShared,
        LockMode::Exclusive => FlockOperation::LockExclusive,
    };
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(rustix::io::Errno::INTR) => continue,
            result => return result.at("locking", path),
        }
    }
}

/// Takes a lock if it is free; returns whether it was.
pub(crate) fn try_lock(file: impl AsFd, mode: LockMode, path: &Path) -> Result<bool> {
    let operation = match mode {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).at("locking", path),
        }
    }
}

/// Gives a lock back. Closing the file does as well.
pub(crate) fn unlock(file: impl AsFd, path: &Path) -> Result<()> {
    rustix::fs::flock(file, FlockOperation::Unlock).at("unlocking", path)
}

/// Exclusive locks on store paths, given back when dropped.
///
/// Locks are taken in sorted order, so that two who want several cannot wait for each other in a circle. Whoever holds
/// some and asks for more breaks that promise.
#[derive(Debug, Default)]
pub struct PathLocks {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    lock_path: PathBuf,
    /// `None` while only the place in this process's table is held.
    file: Option<File>,
}

impl PathLocks {
    /// Locks these real paths, waiting for whoever holds them.
    ///
    /// # Errors
    /// When a lock file can't be made, which is to say when the store directory can't be written.
    pub fn lock(real_paths: &BTreeSet<PathBuf>) -> Result<PathLocks> {
        let mut locks = PathLocks::default();
        for path in real_paths {
            locks.lock_one(path, true)?;
        }
        Ok(locks)
    }

    /// Locks these real paths if all are free; otherwise holds none of them and returns `None`.
    ///
    /// # Errors
    /// As [`PathLocks::lock`].
    pub fn try_lock(real_paths: &BTreeSet<PathBuf>) -> Result<Option<PathLocks>> {
        let mut locks = PathLocks::default();
        for path in real_paths {
            if !locks.lock_one(path, false)? {
                return Ok(None);
            }
        }
        Ok(Some(locks))
    }

    fn lock_one(&mut self, real_path: &Path, wait: bool) -> Result<bool> {
        let mut lock_path = real_path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);

        if !table().enter(&lock_path, wait) {
            return Ok(false);
        }
        self.held.push(Held { lock_path: lock_path.clone(), file: None });
        loop {
            let file = open_lock_file(&lock_path)?;
            if !try_lock(&file, LockMode::Exclusive, &lock_path)? {
                if !wait {
                    return Ok(false);
                }
                lock(&file, LockMode::Exclusive, &lock_path)?;
            }
            // A lock file with content was unlinked by its last owner: others may already hold its successor.
            let metadata = file.metadata().at("reading the size of lock file", &lock_path)?;
            if metadata.len() == 0 {
                self.held.last_mut().expect("pushed above").file = Some(file);
                return Ok(true);
            }
        }
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Drop for PathLocks {
    fn drop(&mut self) {
        for held in self.held.drain(..) {
            if let Some(file) = held.file {
                // The order is the protocol: unlink, then mark, then close. A failure leaves an empty lock file
                // behind, which does no harm.
                let _ = std::fs::remove_file(&held.lock_path);
                let _ = rustix::io::write(&file, b"d");
            }
            table().leave(&held.lock_path);
        }
    }
}

/// The lock files held by this process, by path.
///
/// One per process because flock can't tell two handles of one process apart from two processes, and a thread waiting
/// in the kernel for another thread of its own process could not be cancelled.
struct Table {
    locked: Mutex<HashSet<PathBuf>>,
    freed: Condvar,
}

fn table() -> &'static Table {
    static TABLE: std::sync::LazyLock<Table> =
        std::sync::LazyLock::new(|| Table { locked: Mutex::default(), freed: Condvar::new() });
    &TABLE
}

impl Table {
    fn entries(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, path: &Path, wait: bool) -> bool {
        let mut locked = self.entries();
        while locked.contains(path) {
            if !wait {
                return false;
            }
            locked = self.freed.wait(locked).unwrap_or_else(PoisonError::into_inner);
        }
        locked.insert(path.to_owned());
        true
    }

    fn leave(&self, path: &Path) {
        self.entries().remove(path);
        self.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &Path) -> BTreeSet<PathBuf> {
        BTreeSet::from([path.to_owned()])
    }

    #[test]
    fn a_locked_path_is_locked_for_others_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let locks = PathLocks::lock(&one(&path)).unwrap();
        assert!(dir.path().join("x.lock").exists());
        assert!(PathLocks::try_lock(&one(&path)).unwrap().is_none());
        drop(locks);
        assert!(!dir.path().join("x.lock").exists());
        assert!(PathLocks::try_lock(&one(&path)).unwrap().is_some());
    }

    #[test]
    fn a_foreign_lock_is_seen_and_a_refused_try_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = open_lock_file(&dir.path().join("b.lock")).unwrap();
        lock(&foreign, LockMode::Exclusive, dir.path()).unwrap();
        let both = BTreeSet::from([dir.path().join("a"), dir.path().join("b")]);
        assert!(PathLocks::try_lock(&both).unwrap().is_none());
        assert!(PathLocks::try_lock(&one(&dir.path().join("a"))).unwrap().is_some());
    }

    #[test]
    fn a_stale_lock_file_is_not_mistaken_for_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let lock_path = dir.path().join("x.lock");
        // The last owner has the lock, unlinks and marks the file while we wait for it.
        let last_owner = open_lock_file(&lock_path).unwrap();
        lock(&last_owner, LockMode::Exclusive, &lock_path).unwrap();
        let waiter = {
            let path = path.clone();
            std::thread::spawn(move || PathLocks::lock(&one(&path)).unwrap())
        };
        std::fs::remove_file(&lock_path).unwrap();
        rustix::io::write(&last_owner, b"d").unwrap();
        drop(last_owner);
        let locks = waiter.join().unwrap();
        assert!(lock_path.exists(), "the waiter holds a file that is in the directory");
        drop(locks);
    }
}
