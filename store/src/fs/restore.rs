//! From a NAR to a file tree.
//!
//! The surprising thing is what is *not* trusted: names were checked by the reader, and still every file and directory
//! must be new (`O_EXCL`, mkdir), since a file system that ignores case or normalises Unicode makes two names one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Result, StoreError};
use crate::fs::{CASE_HACK, LARGE, MAX_DEPTH};
use crate::local::canonicalise::{TIMES, canonical_mode};
use crate::nar::{Event, NarReader};

/// The modes and times that restored files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Those of a store: read-only, modified one second after the epoch.
    Canonical,
    /// Those of any file that is made now.
    Ordinary,
}

/// Reads a NAR and makes its file tree at `path`, where there must be nothing.
///
/// # Errors
/// When the archive is not valid, when something is at `path` already, when two names of the archive are one for the
/// file system, or when the operating system refuses. What was made until then stays.
pub fn restore(nar: &mut dyn Read, path: &Path, metadata: Metadata) -> Result<()> {
    restore_with(nar, path, metadata, false)
}

/// As [`restore`]; with `case_hack` names that differ only in case get different names on disk: see [`CASE_HACK`].
///
/// # Errors
/// As [`restore`], and when a name of the archive is one that was made up for another.
pub fn restore_with(nar: &mut dyn Read, path: &Path, metadata: Metadata, case_hack: bool) -> Result<()> {
    restore_any(&mut BufReader::with_capacity(64 * 1024, nar) as &mut dyn BufRead, path, metadata, case_hack)
}

/// As [`restore_with`], from a descriptor. Contents of large files need not pass through this process.
///
/// # Errors
/// As [`restore_with`].
pub fn restore_from_file(nar: &File, path: &Path, metadata: Metadata, case_hack: bool) -> Result<()> {
    restore_any(BufReader::with_capacity(64 * 1024, nar), path, metadata, case_hack)
}

fn restore_any(nar: impl Archive, path: &Path, metadata: Metadata, case_hack: bool) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::io("creating", path, Errno::EXIST));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| StoreError::io("opening", parent, error))?;
    let mut tree = TreeWriter::new(dir.as_fd(), parent, name, metadata, false);
    tree.used_names = case_hack.then(Vec::new);
    restore_tree(nar, tree)
}

/// Where an archive comes from.
trait Archive: BufRead {
    /// Puts at most so many of the next bytes into a file without looking at them. Returns how many it put there.
    fn move_into(&mut self, file: &mut File, n_bytes: u64) -> std::io::Result<u64>;
}

/// Nothing is known of it, so all has to be read.
impl Archive for &mut dyn BufRead {
    fn move_into(&mut self, _file: &mut File, _n_bytes: u64) -> std::io::Result<u64> {
        Ok(0)
    }
}

impl Archive for BufReader<&File> {
    fn move_into(&mut self, file: &mut File, n_bytes: u64) -> std::io::Result<u64> {
        // Knows what is a file and what a pipe, and asks the kernel to copy between them.
        std::io::copy(&mut Read::take(self, n_bytes), file)
    }
}

/// As [`restore`], in a directory that is held open. `sync` syncs each file's contents.
pub(crate) fn restore_at(
    nar: &mut dyn BufRead,
    dir: BorrowedFd<'_>,
    dir_path: &Path,
    name: &OsStr,
    metadata: Metadata,
    sync: bool,
) -> Result<()> {
    restore_tree(nar, TreeWriter::new(dir, dir_path, name, metadata, sync))
}

fn restore_tree(nar: impl Archive, mut tree: TreeWriter<'_>) -> Result<()> {
    let mut file: Option<(File, bool)> = None;
    let mut reader = NarReader::new(nar);
    while let Some(event) = reader.next_event().map_err(|error| StoreError::format("reading a NAR", error))? {
        match event {
            Event::Directory => tree.start_directory()?,
            Event::Entry(name) => tree.entry(name)?,
            Event::EndDirectory => tree.end_directory()?,
            Event::File { executable, size } => {
                let mut started = tree.start_file(executable)?;
                if size >= LARGE {
                    reader
                        .take_contents(|source, left| source.move_into(&mut started, left))
                        .map_err(|error| StoreError::format("copying out of a NAR", error))?;
                }
                file = Some((started, executable));
            }
            Event::Contents(bytes) => {
                let (file, _) = file.as_mut().expect("contents come inside of a file");
                file.write_all(bytes).map_err(|error| StoreError::io("writing", tree.path(), error))?;
            }
            Event::EndFile => {
                let (file, executable) = file.take().expect("a file ends once");
                tree.end_file(file, executable)?;
            }
            Event::Symlink(target) => tree.symlink(target)?,
        }
    }
    Ok(())
}

/// Makes one file tree, node by node in the order of an archive.
pub(crate) struct TreeWriter<'d> {
    top: BorrowedFd<'d>,
    metadata: Metadata,
    sync: bool,
    /// Directories that are being filled.
    stack: Vec<OwnedFd>,
    /// For each of these the names used in it, by small letters, with how often again: `None` without the case hack.
    used_names: Option<Vec<HashMap<Vec<u8>, (u32, Vec<u8>)>>>,
    /// Where the next node goes: the path of the node, for messages; its last component is its name.
    path: PathBuf,
}

impl<'d> TreeWriter<'d> {
    pub(crate) fn new(
        top: BorrowedFd<'d>,
        top_path: &Path,
        name: &OsStr,
        metadata: Metadata,
        sync: bool,
    ) -> TreeWriter<'d> {
        TreeWriter { top, metadata, sync, stack: Vec::new(), used_names: None, path: top_path.join(name) }
    }

    /// Names the next node of the innermost directory.
    pub(crate) fn entry(&mut self, name: &[u8]) -> Result<()> {
        if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(self.error("creating", Errno::INVAL));
        }
        let hacked = self.hacked_name(name)?;
        self.path.push(OsStr::from_bytes(hacked.as_deref().unwrap_or(name)));
        Ok(())
    }

    /// Returns another name for one that differs from an earlier one of its directory only in case.
    fn hacked_name(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(used) = self.used_names.as_mut().and_then(|levels| levels.last_mut()) else { return Ok(None) };
        let Some((n_before, _)) = used.get_mut(&name.to_ascii_lowercase()) else {
            used.insert(name.to_ascii_lowercase(), (0, name.to_owned()));
            return Ok(None);
        };
        *n_before += 1;
        let hacked = [name, CASE_HACK.as_bytes(), n_before.to_string().as_bytes()].concat();
        if let Some((_, other)) = used.get(&hacked.to_ascii_lowercase()) {
            return Err(StoreError::CaseHackCollision {
                name: String::from_utf8_lossy(name).into_owned(),
                other: String::from_utf8_lossy(other).into_owned(),
            });
        }
        Ok(Some(hacked))
    }

    /// The node is complete.
    fn done(&mut self) {
        if !self.stack.is_empty() {
            self.path.pop();
        }
    }

    pub(crate) fn start_directory(&mut self) -> Result<()> {
        if self.stack.len() > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: self.path.clone(), limit: MAX_DEPTH });
        }
        let (dir, name) = self.place();
        rustix::fs::mkdirat(dir, name, Mode::RWXU | Mode::RWXG | Mode::RWXO).map_err(|error| {
            if error == Errno::EXIST && self.stack.is_empty() && self.path.is_dir() {
                return StoreError::Exists { path: self.path.display().to_string() };
            }
            self.error("creating directory", error)
        })?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|error| self.error("opening directory", error))?;
        self.stack.push(fd);
        if let Some(levels) = &mut self.used_names {
            levels.push(HashMap::new());
        }
        Ok(())
    }

    pub(crate) fn end_directory(&mut self) -> Result<()> {
        let fd = self.stack.pop().expect("the reader ends only directories that it started");
        if let Some(levels) = &mut self.used_names {
            levels.pop();
        }
        if self.metadata == Metadata::Canonical {
            rustix::fs::fchmod(&fd, canonical_mode(true)).map_err(|error| self.error("changing the mode of", error))?;
            rustix::fs::futimens(&fd, &TIMES).map_err(|error| self.error("setting the modification time of", error))?;
        }
        if self.sync {
            rustix::fs::fsync(&fd).map_err(|error| self.error("syncing", error))?;
        }
        self.done();
        Ok(())
    }

    /// Makes a file; [`TreeWriter::end_file`] takes it back after the contents were written.
    pub(crate) fn start_file(&mut self, executable: bool) -> Result<File> {
        let (dir, name) = self.place();
        let mut mode = canonical_mode(executable);
        if self.metadata == Metadata::Ordinary {
            mode |= Mode::WUSR | Mode::WGRP | Mode::WOTH;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, mode).map_err(|error| self.error("creating file", error))?;
        Ok(File::from(fd))
    }

    pub(crate) fn end_file(&mut self, file: File, executable: bool) -> Result<()> {
        if self.metadata == Metadata::Canonical {
            self.finish(file.as_fd(), executable)?;
        }
        if self.sync {
            rustix::fs::fdatasync(&file).map_err(|error| self.error("syncing", error))?;
        }
        self.done();
        Ok(())
    }

    /// Makes a whole file.
    pub(crate) fn file(&mut self, executable: bool, contents: &[u8]) -> Result<()> {
        let mut file = self.start_file(executable)?;
        file.write_all(contents).map_err(|error| StoreError::io("writing", &self.path, error))?;
        self.end_file(file, executable)
    }

    pub(crate) fn symlink(&mut self, target: &[u8]) -> Result<()> {
        let (dir, name) = self.place();
        rustix::fs::symlinkat(target, dir, name).map_err(|error| self.error("creating symlink", error))?;
        if self.metadata == Metadata::Canonical {
            rustix::fs::utimensat(dir, name, &TIMES, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| self.error("setting the modification time of", error))?;
        }
        self.done();
        Ok(())
    }

    fn finish(&self, fd: BorrowedFd<'_>, executable: bool) -> Result<()> {
        // It has its mode from the start, unless the process's mask takes something away; looking costs less than setting.
        let stat = rustix::fs::fstat(fd).map_err(|error| self.error("reading the status of", error))?;
        if Mode::from_raw_mode(stat.st_mode) != canonical_mode(executable) {
            rustix::fs::fchmod(fd, canonical_mode(executable)).map_err(|error| self.error("changing the mode of", error))?;
        }
        rustix::fs::futimens(fd, &TIMES).map_err(|error| self.error("setting the modification time of", error))
    }

    /// Where the next node goes.
    fn place(&self) -> (BorrowedFd<'_>, &OsStr) {
        let dir = self.stack.last().map_or(self.top, |dir| dir.as_fd());
        (dir, self.path.file_name().expect("every node has a name"))
    }

    fn error(&self, action: &'static str, error: Errno) -> StoreError {
        StoreError::io(action, &self.path, error)
    }

    /// The path of the node that is being made.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
