//! The directories of one build, and what happens to them if the process is killed.
//!
//! A build directory is locked (flock) by its owner as long as that lives. So a directory that can be locked belongs to
//! nobody any more and [`sweep`] removes it; one that was kept on purpose has other permissions and stays. Only
//! directories with this implementation's prefix are looked at: another one that shares the place does not lock its own.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nixlang_store::fs::remove_tree;
use rustix::fs::{FlockOperation, flock};

use super::spares::Spares;
use crate::error::BuildError;

/// Begins as the reference's do, for scripts that look for `nix-*` in `build-dir`.
const PREFIX: &str = "nix-nixlang-";
/// Permissions of a directory that goes with its build.
pub(super) const PRIVATE: u32 = 0o700;
/// Permissions of a directory that was kept.
const KEPT: u32 = 0o755;

/// A private directory in the place of build directories, locked; removed when dropped.
#[derive(Debug)]
pub(crate) struct Top {
    pub(crate) path: PathBuf,
    /// Whether it was made with a directory `build` in it.
    pub(crate) has_build: bool,
    /// Says that it is in use.
    _lock: File,
    /// Stays when dropped.
    keep: bool,
}

impl Top {
    /// Makes a directory of its own in `parent`.
    pub(crate) fn make(parent: &Path, has_build: bool) -> Result<Top, BuildError> {
        fs::create_dir_all(parent).map_err(BuildError::io("creating", parent))?;
        let prefix = format!("{PREFIX}{}-", std::process::id());
        loop {
            let made = tempfile::Builder::new()
                .prefix(&prefix)
                .permissions(fs::Permissions::from_mode(PRIVATE))
                .tempdir_in(parent);
            let path = made.map_err(BuildError::io("creating a directory in", parent))?.keep();
            let Ok(lock) = File::open(&path) else { continue };
            flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| BuildError::io("locking", &path)(error.into()))?;
            // Somebody may have swept it away before it was locked.
            if !is_at(&lock, &path) {
                continue;
            }
            let top = Top { path, has_build, _lock: lock, keep: false };
            if has_build {
                let build = top.path.join("build");
                fs::DirBuilder::new().mode(PRIVATE).create(&build).map_err(BuildError::io("creating", &build))?;
            }
            return Ok(top);
        }
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        if self.keep {
            let _ = fs::set_permissions(&self.path, fs::Permissions::from_mode(KEPT));
        } else {
            let _ = remove_tree(&self.path);
        }
    }
}

/// Directories of one build; removed when dropped, or kept for the next one.
#[derive(Debug)]
pub(crate) struct Workspace {
    spares: Arc<Spares>,
    /// Holds the build directory. There until this is dropped.
    top: Option<Top>,
    /// Holds what becomes the sandbox's root, store and `/tmp`.
    chroot: Mutex<Option<PathBuf>>,
    /// Places in the sandbox's store where directories are mounted.
    mount_points: Vec<PathBuf>,
    /// Without a sandbox: where outputs are made. Those that were registered are taken out.
    pub(crate) scratch: Vec<PathBuf>,
    /// Keep the build directory.
    pub(crate) keep: bool,
    /// Whether the next build may have the directories.
    is_reusable: bool,
}

impl Workspace {
    /// Takes or makes a directory for a build; that of a sandboxed one is in it, called `build`.
    pub(crate) fn make(spares: &Arc<Spares>, sandboxed: bool, is_reusable: bool) -> Result<Workspace, BuildError> {
        let top = if is_reusable { spares.top(sandboxed)? } else { Top::make(spares.parent(), sandboxed)? };
        Ok(Workspace {
            spares: Arc::clone(spares),
            top: Some(top),
            chroot: Mutex::new(None),
            mount_points: Vec::new(),
            scratch: Vec::new(),
            keep: false,
            is_reusable,
        })
    }

    fn chroot(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.chroot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory made.
    pub(crate) fn top(&self) -> &Path {
        self.top.as_ref().map_or(Path::new(""), |top| &top.path)
    }

    /// Makes the directory for a sandbox, removing what a killed build left.
    pub(crate) fn make_chroot(&mut self, chroot: PathBuf) -> Result<(), BuildError> {
        self.spares.place_chroot(&chroot)?;
        *self.chroot() = Some(chroot);
        Ok(())
    }

    /// Makes a place for a directory in the sandbox's store.
    pub(crate) fn make_mount_point(&mut self, name: &str) -> Result<(), BuildError> {
        let chroot = self.chroot().clone();
        if let Some(chroot) = chroot {
            let place = chroot.join("store").join(name);
            self.spares.place_empty(&place)?;
            self.mount_points.push(place);
        }
        Ok(())
    }

    /// Takes the directory for the sandbox away. Done before outputs are registered: a build killed after that would not
    /// run again, and nobody would clean up.
    pub(crate) fn remove_chroot(&self) -> Result<(), BuildError> {
        let chroot = self.chroot().take();
        if let Some(chroot) = chroot
            && !(self.is_reusable && self.spares.keep_chroot(&chroot, &self.mount_points))
        {
            remove_tree(&chroot)?;
        }
        Ok(())
    }

    /// The build directory, if it is to be kept.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        if self.keep { Some(self.top().join("build")) } else { None }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = self.remove_chroot();
        for scratch in &self.scratch {
            let _ = remove_tree(scratch);
        }
        let Some(mut top) = self.top.take() else { return };
        if self.keep {
            top.keep = true;
        } else if self.is_reusable {
            self.spares.keep_top(top);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Removes build directories in `parent` whose owners are gone. What can't be removed stays, silently.
pub(crate) fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let is_private = fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.permissions().mode() & 0o777 == PRIVATE);
        if is_private
            && let Ok(lock) = File::open(&path)
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = remove_tree(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_swept() {
        let scratch = tempfile::tempdir().unwrap();
        let used = Workspace::make(&Arc::new(Spares::new(scratch.path().to_owned())), true, false).unwrap();
        let kept = scratch.path().join(format!("{PREFIX}kept"));
        let stale = scratch.path().join(format!("{PREFIX}stale"));
        let foreign = scratch.path().join("nix-1-x");
        for (path, mode) in [(&kept, KEPT), (&stale, PRIVATE), (&foreign, PRIVATE)] {
            fs::DirBuilder::new().mode(mode).create(path).unwrap();
        }
        sweep(scratch.path());
        assert!(used.top().exists() && kept.exists() && foreign.exists());
        assert!(!stale.exists());
        let top = used.top().to_owned();
        drop(used);
        assert!(!top.exists());
    }
}
