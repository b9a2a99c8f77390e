//! Canonical metadata: what a store path's files look like on disk, whoever made them.
//!
//! Files are 0444 or 0555, directories 0555, modification times are 1, extended attributes (access control lists among
//! them) are gone, everything belongs to the store's owner. A build's output arrives in any other shape; everything
//! here works on held descriptors, so a name that is exchanged meanwhile for a symbolic link changes nothing outside.
//!
//! A file that does not belong to the build user is an error and not a chown: a builder could have hard-linked
//! somebody else's file into its output.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::error::{Result, StoreError};
use crate::fs::list;
use crate::fs::remove::chmod_path_fd;

/// The modification time of everything in a store: one second after the epoch.
pub const MTIME: i64 = 1;

/// How deeply a tree may be nested: as many levels as a NAR may have.
const MAX_DEPTH: usize = crate::fs::MAX_DEPTH;

/// The access time stays, the modification time becomes [`MTIME`].
pub(crate) const TIMES: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: MTIME, tv_nsec: 0 },
};

/// What [`canonicalise`] accepts and keeps.
#[derive(Debug, Clone, Default)]
pub struct CanonicaliseOptions {
    /// Who must own the files, for outputs of a build that ran as another user. Without it any owner will do.
    pub owners: Option<RangeInclusive<u32>>,
    /// Extended attributes that are left alone; see [`default_ignored_acls`].
    pub ignored_acls: Vec<String>,
}

/// Extended attributes that a file system or security module insists on.
pub fn default_ignored_acls() -> Vec<String> {
    ["security.csm", "security.selinux", "system.nfs4_acl"].map(String::from).to_vec()
}

/// Inodes that were made canonical already; several outputs of one build may share files by hard links.
#[derive(Debug, Default)]
pub struct InodesSeen(HashSet<(u64, u64)>);

/// Gives the file tree at `path` canonical metadata.
///
/// # Errors
/// When a file is neither regular nor directory nor symbolic link, when it belongs to somebody else than
/// `options.owners`, or when the operating system refuses.
pub fn canonicalise(path: &Path, options: &CanonicaliseOptions, seen: &mut InodesSeen) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::io("canonicalising", path, Errno::INVAL));
    };
    let dir = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| StoreError::io("opening", parent, error))?;
    let mut walk = Walk { options, seen, uid: rustix::process::geteuid(), gid: rustix::process::getegid() };
    walk.run(dir, parent, name)
}

struct Walk<'o> {
    options: &'o CanonicaliseOptions,
    seen: &'o mut InodesSeen,
    uid: Uid,
    gid: Gid,
}

struct Level {
    fd: OwnedFd,
    path: PathBuf,
    entries: std::vec::IntoIter<(CString, FileType)>,
}

impl Walk<'_> {
    fn run(&mut self, parent: OwnedFd, parent_path: &Path, name: &OsStr) -> Result<()> {
        let name = CString::new(name.as_bytes()).expect("a path has no NUL byte");
        let mut stack = vec![Level { fd: parent, path: parent_path.to_owned(), entries: vec![(name, FileType::Unknown)].into_iter() }];
        while let Some(level) = stack.last_mut() {
            let Some((name, _)) = level.entries.next() else {
                stack.pop();
                continue;
            };
            let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
            let fd = level.fd.as_fd();
            if let Some(fd) = self.one(fd, &name, &path)? {
                if stack.len() > MAX_DEPTH {
                    return Err(StoreError::TooDeep { path, limit: MAX_DEPTH });
                }
                let entries = list(fd.as_fd()).map_err(|error| StoreError::io("listing", &path, error))?;
                stack.push(Level { fd, path, entries: entries.into_iter() });
            }
        }
        Ok(())
    }

    /// Makes one inode canonical. Returns a descriptor if it is a directory.
    fn one(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<Option<OwnedFd>> {
        let io = |action, error: Errno| StoreError::io(action, path, error);
        // An O_PATH descriptor pins the inode whatever its mode and type are.
        let pin = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| io("opening", error))?;
        let stat = rustix::fs::fstat(&pin).map_err(|error| io("reading the status of", error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink) {
            return Err(StoreError::UnsupportedFileType { path: path.to_owned() });
        }
        if let Some(owners) = &self.options.owners
            && !owners.contains(&stat.st_uid)
        {
            let known = kind != FileType::Directory && self.seen.0.contains(&inode(&stat));
            return if known { Ok(None) } else { Err(StoreError::InvalidOwnership { path: path.to_owned() }) };
        }
        self.seen.0.insert(inode(&stat));

        // The owner comes first: chmod and utimens need it.
        if stat.st_uid != self.uid.as_raw() {
            rustix::fs::chownat(&pin, c"", Some(self.uid), Some(self.gid), AtFlags::EMPTY_PATH)
                .map_err(|error| io("changing the owner of", error))?;
        }
        remove_attributes(pin.as_fd(), &self.options.ignored_acls, kind == FileType::Symlink, dir, name)
            .map_err(|error| io("removing extended attributes of", error))?;
        if kind == FileType::Symlink {
            if stat.st_mtime != MTIME {
                rustix::fs::utimensat(dir, name, &TIMES, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| io("setting the modification time of", error))?;
            }
            return Ok(None);
        }
        let is_dir = kind == FileType::Directory;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let wanted = canonical_mode(is_dir || mode.contains(Mode::XUSR));
        if mode != wanted {
            chmod_path_fd(pin.as_fd(), wanted).map_err(|error| io("changing the mode of", error))?;
        }
        if stat.st_mtime != MTIME || stat.st_mtime_nsec != 0 {
            // utimensat on an O_PATH descriptor needs the same detour as chmod.
            let proc_path = format!("/proc/self/fd/{}", pin.as_raw_fd());
            rustix::fs::utimensat(rustix::fs::CWD, proc_path, &TIMES, AtFlags::empty())
                .map_err(|error| io("setting the modification time of", error))?;
        }
        if !is_dir {
            return Ok(None);
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&pin, c".", flags, Mode::empty()).map(Some).map_err(|error| io("opening", error))
    }
}

/// The mode of a file or directory in a store.
pub(crate) fn canonical_mode(executable: bool) -> Mode {
    let read = Mode::RUSR | Mode::RGRP | Mode::ROTH;
    if executable { read | Mode::XUSR | Mode::XGRP | Mode::XOTH } else { read }
}

fn inode(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Removes the extended attributes of what `pin` stands for.
fn remove_attributes(
    pin: BorrowedFd<'_>,
    ignored: &[String],
    is_symlink: bool,
    dir: BorrowedFd<'_>,
    name: &CStr,
) -> rustix::io::Result<()> {
    // The calls for descriptors refuse O_PATH; procfs leads to the inode itself. A symbolic link it would follow, so
    // there the way goes through its directory.
    let path = if is_symlink {
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        path
    } else {
        format!("/proc/self/fd/{}", pin.as_raw_fd()).into_bytes()
    };
    let list = |buffer: &mut [u8]| {
        if is_symlink { rustix::fs::llistxattr(&path[..], buffer) } else { rustix::fs::listxattr(&path[..], buffer) }
    };
    let mut buffer = vec![0; 1024];
    let size = loop {
        match list(&mut buffer) {
            Ok(size) => break size,
            // The kernel caps a list at 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Err(Errno::NOTSUP | Errno::NODATA) => return Ok(()),
            Err(error) => return Err(error),
        }
    };
    for attribute in buffer[..size].split(|byte| *byte == 0).filter(|attribute| !attribute.is_empty()) {
        if ignored.iter().any(|ignored| ignored.as_bytes() == attribute) {
            continue;
        }
        if is_symlink {
            rustix::fs::lremovexattr(&path[..], attribute)?;
        } else {
            rustix::fs::removexattr(&path[..], attribute)?;
        }
    }
    Ok(())
}

/// Removes extended attributes of a directory made for files that should inherit none (a default access control list
/// would be handed down). Failures don't matter: a later walk over the files would meet them again.
pub(crate) fn strip_directory(fd: BorrowedFd<'_>) {
    let _ = remove_attributes(fd, &default_ignored_acls(), false, fd, c".");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("x");
        std::fs::create_dir(&top).unwrap();
        std::fs::write(top.join("plain"), "1").unwrap();
        std::fs::write(top.join("program"), "2").unwrap();
        std::fs::set_permissions(top.join("program"), PermissionsExt::from_mode(0o4750)).unwrap();
        std::fs::write(top.join("secret"), "3").unwrap();
        std::fs::set_permissions(top.join("secret"), PermissionsExt::from_mode(0o000)).unwrap();
        symlink("/nonexistent", top.join("link")).unwrap();
        dir
    }

    #[test]
    fn modes_and_times() {
        let dir = tree();
        let top = dir.path().join("x");
        // Where the file system has no user attributes this one is not there to be removed.
        let has_attribute =
            rustix::fs::setxattr(top.join("plain"), "user.x", b"1", rustix::fs::XattrFlags::empty()).is_ok();
        canonicalise(&top, &CanonicaliseOptions::default(), &mut InodesSeen::default()).unwrap();
        for (name, mode) in [("", 0o555), ("plain", 0o444), ("program", 0o555), ("secret", 0o444), ("link", 0o777)] {
            let metadata = top.join(name).symlink_metadata().unwrap();
            assert_eq!((name, metadata.mode() & 0o7777, metadata.mtime()), (name, mode, 1));
        }
        if has_attribute {
            let mut names = [0u8; 1000];
            assert_eq!(rustix::fs::listxattr(top.join("plain"), &mut names[..]).unwrap(), 0);
        }
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn special_files_and_foreign_owners_are_refused() {
        let dir = tree();
        let top = dir.path().join("x");
        let strange = CanonicaliseOptions { owners: Some(4_000_000..=4_000_001), ..Default::default() };
        let error = canonicalise(&top, &strange, &mut InodesSeen::default()).unwrap_err();
        assert!(matches!(error, StoreError::InvalidOwnership { path } if path == top));

        rustix::fs::mkfifoat(rustix::fs::CWD, top.join("fifo"), Mode::RUSR).unwrap();
        let error = canonicalise(&top, &CanonicaliseOptions::default(), &mut InodesSeen::default()).unwrap_err();
        assert!(matches!(error, StoreError::UnsupportedFileType { path } if path == top.join("fifo")));
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o755)).unwrap();
    }
}
