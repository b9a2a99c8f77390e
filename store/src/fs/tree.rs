//! Looking into a file tree without following symbolic links: its listing, and one file of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::error::{IoContext, Result, StoreError};
use crate::nar::Listing;

/// Lists the tree at `path`. Offsets are not known.
///
/// Unlike an archive this is read by paths: it is shown to somebody, and nothing is opened.
pub(crate) fn listing(path: &Path) -> Result<Listing> {
    let metadata = path.symlink_metadata().at("reading the status of", path)?;
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).at("reading symbolic link", path)?;
        return Ok(Listing::Symlink(target.into_os_string().into_encoded_bytes()));
    }
    if metadata.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        return Ok(Listing::Regular { size: metadata.len(), executable, nar_offset: None });
    }
    if !metadata.is_dir() {
        return Err(StoreError::UnsupportedFileType { path: path.to_owned() });
    }
    // Directories whose entries are being listed: each with what is still to be looked at.
    let mut open = vec![Open::new(path)?];
    loop {
        let level = open.last_mut().expect("it ends with the first");
        match level.left.pop() {
            Some(path) if path.symlink_metadata().at("reading the status of", &path)?.is_dir() => {
                if open.len() > crate::fs::MAX_DEPTH {
                    return Err(StoreError::TooDeep { path, limit: crate::fs::MAX_DEPTH });
                }
                open.push(Open::new(&path)?);
            }
            Some(path) => {
                let node = listing(&path)?;
                level.entries.insert(name_of(&path), node);
            }
            None => {
                let done = open.pop().expect("it was the last");
                let node = Listing::Directory(done.entries);
                match open.last_mut() {
                    Some(above) => above.entries.insert(name_of(&done.path), node),
                    None => return Ok(node),
                };
            }
        }
    }
}

struct Open {
    path: PathBuf,
    left: Vec<PathBuf>,
    entries: BTreeMap<Vec<u8>, Listing>,
}

impl Open {
    fn new(path: &Path) -> Result<Open> {
        let entries = std::fs::read_dir(path).at("reading directory", path)?;
        let left = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
        Ok(Open { path: path.to_owned(), left: left.at("reading directory", path)?, entries: BTreeMap::new() })
    }
}

fn name_of(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_bytes().to_owned()
}

/// Writes the bytes of the regular file that is reached from `root` by these names.
pub(crate) fn write_file(root: &Path, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
    let mut path = root.to_owned();
    let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else {
        return Err(StoreError::UnsupportedFileType { path });
    };
    let flags = OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut dir: OwnedFd = rustix::fs::open(parent, flags | OFlags::DIRECTORY, Mode::empty()).at("opening", parent)?;
    let mut name = name;
    for next in below {
        let is_name = !next.is_empty() && !matches!(*next, b"." | b"..") && !next.contains(&b'/');
        dir = rustix::fs::openat(&dir, name, flags | OFlags::DIRECTORY, Mode::empty()).at("opening", &path)?;
        name = OsStr::from_bytes(next);
        path.push(name);
        if !is_name {
            return Err(StoreError::UnsupportedFileType { path });
        }
    }
    let opened = rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty());
    let fd = match opened {
        Err(rustix::io::Errno::LOOP) => return Err(StoreError::UnsupportedFileType { path }),
        opened => opened.at("opening", &path)?,
    };
    let stat = rustix::fs::fstat(&fd).at("reading the status of", &path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(StoreError::UnsupportedFileType { path });
    }
    copy(File::from(fd), &path, sink)
}

fn copy(mut file: File, path: &PathBuf, sink: &mut dyn Write) -> Result<()> {
    std::io::copy(&mut file, sink).at("reading", path).map(drop)
}
