//! Directories that a build is done with and that the next one may have, as long as a run lasts.
//!
//! Removing a directory can take milliseconds: a file system may tell its disk at once which blocks are free, and wait.
//! A trivial build would remove more than twenty. So empty directories change their names instead, and all of them go at
//! the end. The surprising part: only directories that are as they were made come here, and only those of builds that run
//! as the calling user; a descriptor of another user's directory may have been given away, and a later build's would be
//! reached through it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nixlang_store::fs::remove_tree;
use rustix::io::Errno;

use super::workspace::{PRIVATE, Top};
use crate::error::BuildError;

/// How many empty directories are kept at most; all have to be removed in the end.
const MAX_EMPTY: usize = 1024;
/// What is in the directory of a sandbox: where its root directory comes, its store directory, its `/tmp`.
pub(crate) const CHROOT_PARTS: [(&str, u32); 3] = [("root", 0o750), ("store", 0o1775), ("tmp", 0o1777)];

/// The spare directories of one run; removed when dropped.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Where build directories are made.
    parent: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Holds spare directories under numbers. Made when there is one to keep.
    pool: Option<Top>,
    n_given: u64,
    /// Whether the pool is on another file system than the store, so that nothing moves from one to the other.
    is_apart: bool,
    tops: Vec<Top>,
    chroots: Vec<PathBuf>,
    empty: Vec<PathBuf>,
}

impl Spares {
    /// Returns none so far; `parent` is where build directories are made.
    pub(crate) fn new(parent: PathBuf) -> Spares {
        Spares { parent, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the place of build directories.
    pub(crate) fn parent(&self) -> &Path {
        &self.parent
    }

    /// Returns a private directory for a build, with a directory `build` in it or with nothing.
    pub(crate) fn top(&self, has_build: bool) -> Result<Top, BuildError> {
        let mut state = self.state();
        if let Some(found) = state.tops.iter().position(|top| top.has_build == has_build) {
            return Ok(state.tops.swap_remove(found));
        }
        drop(state);
        Top::make(&self.parent, has_build)
    }

    /// Takes back what [`Spares::top`] gave, if the build left it as it was; removes it otherwise.
    pub(crate) fn keep_top(&self, top: Top) {
        let inner = if top.has_build { top.path.join("build") } else { top.path.clone() };
        if is_as_made(&inner, PRIVATE) && (!top.has_build || is_as_made_with(&top.path, PRIVATE, 1)) {
            self.state().tops.push(top);
        }
    }

    /// Puts the directory of a sandbox with its [`CHROOT_PARTS`] at `to`, in place of what a killed build left there.
    pub(crate) fn place_chroot(&self, to: &Path) -> Result<(), BuildError> {
        let spare = self.state().chroots.pop();
        if let Some(spare) = spare {
            if rustix::fs::rename(&spare, to).is_ok() {
                return Ok(());
            }
            remove_stubborn(to)?;
            match rustix::fs::rename(&spare, to) {
                Ok(()) => return Ok(()),
                Err(error) => return Err(BuildError::io("moving a directory to", to)(error.into())),
            }
        }
        remove_stubborn(to)?;
        make(to, PRIVATE)?;
        CHROOT_PARTS.iter().try_for_each(|(name, mode)| make(&to.join(name), *mode))
    }

    /// Takes back what [`Spares::place_chroot`] put at `from`, without what is in its store directory: `mount_points` are
    /// empty directories there. Returns whether it is gone from there.
    pub(crate) fn keep_chroot(&self, from: &Path, mount_points: &[PathBuf]) -> bool {
        if self.state().is_apart {
            return false;
        }
        if !mount_points.iter().all(|directory| self.keep_empty(directory)) {
            return false;
        }
        let [root, store, tmp] = CHROOT_PARTS.map(|(name, _)| from.join(name));
        // Places where files and links were mounted.
        for entry in fs::read_dir(&store).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let modes = CHROOT_PARTS.map(|(_, mode)| mode);
        let are_empty = [&root, &store, &tmp].into_iter().zip(modes).all(|(path, mode)| is_as_made(path, mode));
        if !are_empty || !is_as_made_with(from, PRIVATE, CHROOT_PARTS.len()) {
            return false;
        }
        match self.keep(from) {
            Some(kept) => {
                self.state().chroots.push(kept);
                true
            }
            None => false,
        }
    }

    /// Puts an empty directory at `to`, where there is nothing.
    pub(crate) fn place_empty(&self, to: &Path) -> Result<(), BuildError> {
        let spare = self.state().empty.pop();
        match spare {
            Some(spare) if rustix::fs::rename(&spare, to).is_ok() => Ok(()),
            _ => make(to, 0o755),
        }
    }

    /// Takes an empty directory back, or removes it. Returns whether it is gone.
    fn keep_empty(&self, from: &Path) -> bool {
        if !is_as_made(from, 0o755) {
            return false;
        }
        if self.state().empty.len() >= MAX_EMPTY {
            return fs::remove_dir(from).is_ok();
        }
        match self.keep(from) {
            Some(kept) => {
                self.state().empty.push(kept);
                true
            }
            None => false,
        }
    }

    /// Moves a directory into the pool. Returns where it is then.
    fn keep(&self, from: &Path) -> Option<PathBuf> {
        let mut state = self.state();
        if state.pool.is_none() {
            state.pool = Top::make(&self.parent, false).ok();
        }
        state.n_given += 1;
        let to = state.pool.as_ref()?.path.join(state.n_given.to_string());
        match rustix::fs::rename(from, &to) {
            Ok(()) => Some(to),
            Err(error) => {
                state.is_apart |= error == Errno::XDEV;
                None
            }
        }
    }
}

/// Makes a directory with these permissions, whatever the process takes away from new ones.
fn make(path: &Path, mode: u32) -> Result<(), BuildError> {
    let made = fs::DirBuilder::new().mode(mode & 0o755).create(path);
    let made = made.and_then(|()| if mode & !0o755 == 0 { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(mode)) });
    made.map_err(BuildError::io("creating", path))
}

/// Removes what a killed build left: its processes end a moment after their host, and may still write.
fn remove_stubborn(path: &Path) -> Result<(), BuildError> {
    let mut n_attempts = 0;
    while let Err(error) = remove_tree(path) {
        n_attempts += 1;
        if n_attempts == 100 {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_as_made(path: &Path, mode: u32) -> bool {
    is_as_made_with(path, mode, 0)
}

/// Returns whether this is a directory of the calling user's with so many entries, and nothing else about it is unusual.
fn is_as_made_with(path: &Path, mode: u32, n_entries: usize) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    metadata.is_dir()
        && metadata.permissions().mode() & 0o7777 == mode
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.gid() == rustix::process::getegid().as_raw()
        && matches!(rustix::fs::llistxattr(path, &mut [0_u8; 0]), Ok(0) | Err(Errno::NOTSUP))
        && fs::read_dir(path).is_ok_and(|entries| entries.count() == n_entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_it_was_is_used_again() {
        let scratch = tempfile::tempdir().unwrap();
        let spares = Spares::new(scratch.path().join("builds"));
        let place = |name: &str| scratch.path().join(name);
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();

        spares.place_chroot(&place("a.chroot")).unwrap();
        let input = place("a.chroot/store/input");
        spares.place_empty(&input).unwrap();
        fs::write(place("a.chroot/store/file"), "").unwrap();
        let (first, of_input) = (inode(&place("a.chroot")), inode(&input));
        assert!(spares.keep_chroot(&place("a.chroot"), &[input]));
        assert!(!place("a.chroot").exists());

        // In place of what was left there.
        fs::create_dir_all(place("b.chroot/store/left")).unwrap();
        spares.place_chroot(&place("b.chroot")).unwrap();
        assert_eq!(inode(&place("b.chroot")), first);
        assert_eq!(fs::read_dir(place("b.chroot/store")).unwrap().count(), 0);
        spares.place_empty(&place("b.chroot/store/other")).unwrap();
        assert_eq!(inode(&place("b.chroot/store/other")), of_input);
        assert!(!spares.keep_chroot(&place("b.chroot"), &[]), "a directory that nobody named");
        assert!(place("b.chroot").exists());

        spares.place_chroot(&place("c.chroot")).unwrap();
        fs::write(place("c.chroot/tmp/x"), "").unwrap();
        assert!(!spares.keep_chroot(&place("c.chroot"), &[]), "its /tmp is not empty");
        fs::remove_file(place("c.chroot/tmp/x")).unwrap();
        fs::set_permissions(place("c.chroot/tmp"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!spares.keep_chroot(&place("c.chroot"), &[]), "its /tmp has other permissions");

        let top = spares.top(true).unwrap();
        let path = top.path.clone();
        spares.keep_top(top);
        assert_ne!(spares.top(false).unwrap().path, path);
        let top = spares.top(true).unwrap();
        assert_eq!(top.path, path);
        fs::write(path.join("build/x"), "").unwrap();
        spares.keep_top(top);
        assert!(!path.exists());

        drop(spares);
        assert_eq!(fs::read_dir(place("builds")).unwrap().count(), 0);
    }
}
