//! Removal of file trees, by descriptor only: no path is ever resolved twice, no symbolic link is followed.
//!
//! The surprising part is depth. A builder can leave directories nested a million deep, more than there are
//! descriptors or stack, so a directory below a certain level is first moved up next to the tree's root.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Result, StoreError};

/// How many directories are held open at once.
const MAX_OPEN: usize = 64;

/// Removes the file, link or directory tree `name` in the directory `parent`.
///
/// Returns the bytes of disk space freed (files with other hard links count nothing), and 0 if there was nothing.
/// `parent_path` is for error messages only.
///
/// # Errors
/// When a file can't be removed. What was removed until then stays removed.
pub fn remove_tree_at(parent: impl AsFd, parent_path: &Path, name: &OsStr) -> Result<u64> {
    let parent = parent.as_fd();
    let io = |action, error: Errno| StoreError::io(action, parent_path.join(name), error);
    let name_c = CString::new(name.as_bytes()).map_err(|_| io("removing", Errno::INVAL))?;
    let stat = match rustix::fs::statat(parent, &name_c, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(0),
        Err(error) => return Err(io("reading the status of", error)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        unlink(parent, &name_c, AtFlags::empty()).map_err(|error| io("removing", error))?;
        return Ok(freed(&stat));
    }
    let mut walk = Walk { parent, top: name_c, freed: 0, moved: 0, stack: Vec::new() };
    walk.run(stat.st_mode).map_err(|error| io("removing", error))?;
    Ok(walk.freed)
}

/// Removes the file, link or directory tree at `path`; see [`remove_tree_at`].
///
/// # Errors
/// As [`remove_tree_at`]; a missing parent directory counts as nothing to remove.
pub fn remove_tree(path: &Path) -> Result<u64> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::io("removing", path, Errno::INVAL));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(dir) => remove_tree_at(dir, parent, name),
        Err(Errno::NOENT) => Ok(0),
        Err(error) => Err(StoreError::io("opening", parent, error)),
    }
}

struct Walk<'p> {
    parent: BorrowedFd<'p>,
    top: CString,
    freed: u64,
    /// How many directories were moved up because they were too deep.
    moved: u64,
    stack: Vec<Level>,
}

struct Level {
    name: CString,
    fd: OwnedFd,
    entries: std::vec::IntoIter<(CString, FileType)>,
}

impl Walk<'_> {
    fn run(&mut self, mode: u32) -> rustix::io::Result<()> {
        let top = self.top.clone();
        let first = open_level(self.parent, top, mode)?;
        self.stack.push(first);
        while let Some(level) = self.stack.last_mut() {
            let Some((name, kind)) = level.entries.next() else {
                let done = self.stack.pop().expect("the loop saw it");
                match self.stack.last() {
                    Some(above) => unlink(above.fd.as_fd(), &done.name, AtFlags::REMOVEDIR)?,
                    None => {
                        // Directories that were moved up here came after the listing was read.
                        let late = open_level(self.parent, done.name, 0o700)?;
                        if late.entries.len() > 0 {
                            self.stack.push(late);
                        } else {
                            unlink(self.parent, &late.name, AtFlags::REMOVEDIR)?;
                        }
                    }
                }
                continue;
            };
            let stat = match rustix::fs::statat(&level.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            if kind != FileType::Directory && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                unlink(level.fd.as_fd(), &name, AtFlags::empty())?;
                self.freed = self.freed.saturating_add(freed(&stat));
            } else if self.stack.len() < MAX_OPEN {
                let fd = self.stack.last().expect("the loop saw it").fd.as_fd();
                let level = open_level(fd, name, stat.st_mode)?;
                self.stack.push(level);
            } else {
                self.move_up(&name, stat.st_mode)?;
            }
        }
        Ok(())
    }

    /// Moves a directory of the deepest level next to the top level's entries.
    fn move_up(&mut self, name: &CStr, mode: u32) -> rustix::io::Result<()> {
        let from = self.stack.last().expect("called with a deep stack").fd.as_fd();
        let to = self.stack.first().expect("called with a deep stack").fd.as_fd();
        // Only the owner of a directory that it can write may move it elsewhere.
        if mode & 0o700 != 0o700 {
            make_accessible(from, name)?;
        }
        loop {
            let new_name = PathBuf::from(format!(".moved-up-{}", self.moved));
            self.moved += 1;
            match rustix::fs::renameat_with(from, name, to, &new_name, rustix::fs::RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => continue,
                result => return result,
            }
        }
    }
}

/// Opens a directory for removal of its entries, giving its owner the permissions for that.
fn open_level(parent: BorrowedFd<'_>, name: CString, mode: u32) -> rustix::io::Result<Level> {
    if mode & 0o700 != 0o700 {
        make_accessible(parent, &name)?;
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, &name, flags, Mode::empty())?;
    let entries = super::list(fd.as_fd())?;
    Ok(Level { name, fd, entries: entries.into_iter() })
}

/// Sets a directory's mode to 0700 without following a symbolic link put in its place.
fn make_accessible(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags | OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => rustix::fs::fchmod(fd, Mode::RWXU),
        Err(Errno::ACCESS) => {
            let fd = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            chmod_path_fd(fd.as_fd(), Mode::RWXU)
        }
        Err(error) => Err(error),
    }
}

/// Changes the mode of what an `O_PATH` descriptor stands for: fchmod refuses those, procfs does not.
pub(crate) fn chmod_path_fd(fd: BorrowedFd<'_>, mode: Mode) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Disk space that goes with the last link to a file.
fn freed(stat: &rustix::fs::Stat) -> u64 {
    if stat.st_nlink == 1 { u64::try_from(stat.st_blocks).unwrap_or(0) * 512 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn read_only_trees_go_and_what_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "kept").unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/f"), "x".repeat(10_000)).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        for path in ["a/b", "a", ""] {
            std::fs::set_permissions(tree.join(path), PermissionsExt::from_mode(0o555)).unwrap();
        }
        assert!(remove_tree(&tree).unwrap() >= 10_000);
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        assert_eq!(remove_tree(&tree).unwrap(), 0);
        assert_eq!(remove_tree(&dir.path().join("no/such")).unwrap(), 0);
    }

    #[test]
    fn a_very_deep_tree_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..400 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&dir.path().join("d")).unwrap();
        assert!(!dir.path().join("d").exists());
    }
}
