//! Looking into a file tree without following symbolic links: its listing, and one file of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::error::{IoContext, Result, StoreError};
use crate::nar::Listing;

/// Lists the tree at `path`. Offsets are not known.
pub(crate) fn listing(path: &Path) -> Result<Listing> {
    // What an archive of the tree would say is what counts, so one is made and its contents dropped. Listings are made
    // for people and small trees; a cache writes its own while it packs.
    let mut listing = None;
    crate::store::with_nar(&mut |sink| crate::fs::dump(path, None, sink), &mut |nar| {
        let nar = std::io::BufReader::new(nar);
        let mut read = Listing::read(nar).map_err(|error| StoreError::format("reading a NAR", error))?;
        read.forget_offsets();
        listing = Some(read);
        Ok(())
    })?;
    Ok(listing.expect("it was read"))
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
