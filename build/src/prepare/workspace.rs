//! The directories of one build, and what happens to them if the process is killed.
//!
//! A build directory is locked (flock) by its owner as long as that lives. So a directory that can be locked belongs to
//! nobody any more and [`sweep`] removes it; one that was kept on purpose has other permissions and stays. Only
//! directories with this implementation's prefix are looked at: another one that shares the place does not lock its own.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nixlang_store::fs::remove_tree;
use rustix::fs::{FlockOperation, flock};

use crate::error::BuildError;

/// Begins as the reference's do, for scripts that look for `nix-*` in `build-dir`.
const PREFIX: &str = "nix-nixlang-";
/// Permissions of a directory that goes with its build.
const PRIVATE: u32 = 0o700;
/// Permissions of a directory that was kept.
const KEPT: u32 = 0o755;

/// Directories of one build; removed when dropped.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Holds the build directory.
    top: PathBuf,
    /// The lock that says that `top` is in use.
    _lock: File,
    /// Holds the sandbox's root.
    chroot: Option<PathBuf>,
    /// Without a sandbox: where outputs are made. Those that were registered are taken out.
    pub(crate) scratch: Vec<PathBuf>,
    /// Keep the build directory.
    pub(crate) keep: bool,
}

impl Workspace {
    /// Makes a directory of its own in `parent`.
    pub(crate) fn make(parent: &Path) -> Result<Workspace, BuildError> {
        fs::create_dir_all(parent).map_err(BuildError::io("creating", parent))?;
        let prefix = format!("{PREFIX}{}-", std::process::id());
        loop {
            let made = tempfile::Builder::new()
                .prefix(&prefix)
                .permissions(fs::Permissions::from_mode(PRIVATE))
                .tempdir_in(parent);
            let top = made.map_err(BuildError::io("creating a directory in", parent))?.keep();
            let Ok(lock) = File::open(&top) else { continue };
            flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| BuildError::io("locking", &top)(error.into()))?;
            // Somebody may have swept it away before it was locked.
            if is_at(&lock, &top) {
                return Ok(Workspace { top, _lock: lock, chroot: None, scratch: Vec::new(), keep: false });
            }
        }
    }

    /// The directory made.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Makes the directory for the sandbox's root, removing what a killed build left.
    pub(crate) fn make_chroot(&mut self, chroot: PathBuf) -> Result<(), BuildError> {
        // The processes of a build that was killed with its host end a moment after that, and may still write.
        let mut n_attempts = 0;
        while let Err(error) = remove_tree(&chroot) {
            n_attempts += 1;
            if n_attempts == 100 {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::DirBuilder::new().mode(0o700).create(&chroot).map_err(BuildError::io("creating", &chroot))?;
        self.chroot = Some(chroot);
        Ok(())
    }

    /// Removes the sandbox's root. Done before outputs are registered: a build killed after that would not run again, and
    /// nobody would clean up.
    pub(crate) fn remove_chroot(&self) -> Result<(), BuildError> {
        if let Some(chroot) = &self.chroot {
            remove_tree(chroot)?;
        }
        Ok(())
    }

    /// The build directory, if it is to be kept.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        if self.keep { Some(self.top.join("build")) } else { None }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Some(chroot) = &self.chroot {
            let _ = remove_tree(chroot);
        }
        for scratch in &self.scratch {
            let _ = remove_tree(scratch);
        }
        if self.keep {
            let _ = fs::set_permissions(&self.top, fs::Permissions::from_mode(KEPT));
        } else {
            let _ = remove_tree(&self.top);
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
        let used = Workspace::make(scratch.path()).unwrap();
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
