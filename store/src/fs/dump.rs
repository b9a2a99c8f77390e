//! From a file tree to a NAR.
//!
//! A file's size stands before its bytes in the archive, so a file that grows or shrinks while it is read is an error:
//! the alternative is an archive that does not parse.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Result, StoreError};
use crate::fs::restore::TreeWriter;
use crate::fs::{CASE_HACK, LARGE, MAX_DEPTH, list};
use crate::nar::{NarError, NarWriter};
use crate::store::{FileKind, Filter};

/// Writes the NAR of the file tree at `path`. A symbolic link there is archived as such.
///
/// `filter` says which files below the root to take; it is asked in the order of the archive.
///
/// # Errors
/// When something can't be read, is neither file nor directory nor symbolic link, changes its size meanwhile, or is
/// nested too deeply; and what the sink gives.
pub fn dump(path: &Path, filter: Option<&mut Filter<'_>>, sink: &mut dyn Write) -> Result<()> {
    dump_with(path, filter, false, sink)
}

/// As [`dump`]; with `case_hack` names lose what [`CASE_HACK`] says was added to them.
///
/// # Errors
/// As [`dump`], and when two names are one then.
pub fn dump_with(path: &Path, filter: Option<&mut Filter<'_>>, case_hack: bool, sink: &mut dyn Write) -> Result<()> {
    let (dir, name) = parent_and_name(path)?;
    dump_tree(dir.as_fd(), &name, path, filter, case_hack, sink)
}

/// As [`dump_with`], into a descriptor. Contents of large files need not pass through this process.
///
/// # Errors
/// As [`dump_with`].
pub fn dump_into_file(path: &Path, case_hack: bool, file: &File) -> Result<()> {
    let (dir, name) = parent_and_name(path)?;
    let mut sink = file;
    let mut walk = Walk { nar: NarWriter::new(&mut sink), filter: None, case_hack, copy: None, direct: Some(file), buffer: vec![0; 64 * 1024] };
    walk.run(dir.as_fd(), &name, path)?;
    walk.nar.finish().map_err(nar_error).map(drop)
}

/// Opens the directory that a path lies in; returns it with the path's name there.
fn parent_and_name(path: &Path) -> Result<(OwnedFd, CString)> {
    // A path like `.` or `/` has no name; it can only be a directory.
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
        (Some(parent), Some(name)) => (parent, name),
        _ => (path, OsStr::new(".")),
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty()).map_err(|error| StoreError::io("opening", path, error))?;
    let name = CString::new(name.as_bytes()).map_err(|_| StoreError::io("opening", path, Errno::INVAL))?;
    Ok((dir, name))
}

/// As [`dump`], for a file in a directory that is held open.
pub(crate) fn dump_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    filter: Option<&mut Filter<'_>>,
    sink: &mut dyn Write,
) -> Result<()> {
    dump_tree(dir, name, path, filter, false, sink)
}

/// As [`dump`], and makes the same tree again with `copy` on the way, so that what is archived is what was copied.
pub(crate) fn dump_and_copy(
    path: &Path,
    filter: Option<&mut Filter<'_>>,
    sink: &mut dyn Write,
    copy: TreeWriter<'_>,
) -> Result<()> {
    let (dir, name) = parent_and_name(path)?;
    let mut walk = Walk { nar: NarWriter::new(sink), filter, case_hack: false, copy: Some(copy), direct: None, buffer: vec![0; 64 * 1024] };
    walk.run(dir.as_fd(), &name, path)?;
    walk.nar.finish().map_err(nar_error).map(drop)
}

fn dump_tree(
    dir: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    filter: Option<&mut Filter<'_>>,
    case_hack: bool,
    sink: &mut dyn Write,
) -> Result<()> {
    let mut walk = Walk { nar: NarWriter::new(sink), filter, case_hack, copy: None, direct: None, buffer: vec![0; 64 * 1024] };
    walk.run(dir, name, path)?;
    walk.nar.finish().map_err(nar_error).map(drop)
}

struct Walk<'s, 'f, 'g, 'c> {
    nar: NarWriter<&'s mut dyn Write>,
    filter: Option<&'f mut Filter<'g>>,
    case_hack: bool,
    copy: Option<TreeWriter<'c>>,
    /// What the archive goes into, if that is a descriptor that nobody keeps bytes back from.
    direct: Option<&'s File>,
    buffer: Vec<u8>,
}

/// A directory whose entries are being archived.
struct Level {
    fd: OwnedFd,
    path: PathBuf,
    /// In reverse order: the next one is the last.
    entries: Vec<(CString, FileType)>,
}

impl<'s> Walk<'s, '_, '_, '_> {
    fn run(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<()> {
        let kind = file_kind(dir, name, FileType::Unknown, path)?;
        let mut stack: Vec<Level> = Vec::new();
        stack.extend(self.node(dir, name, kind, path)?);
        while let Some(level) = stack.last_mut() {
            let Some((name, kind)) = level.entries.pop() else {
                self.nar(NarWriter::end_directory)?;
                if let Some(copy) = &mut self.copy {
                    copy.end_directory()?;
                }
                stack.pop();
                continue;
            };
            let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
            let kind = file_kind(level.fd.as_fd(), &name, kind, &path)?;
            if let Some(filter) = &mut self.filter
                && !filter(&path, kind)
            {
                continue;
            }
            let shown = if self.case_hack { without_hack(&name) } else { name.to_bytes() };
            self.nar(|nar| nar.entry(shown))?;
            if let Some(copy) = &mut self.copy {
                copy.entry(shown)?;
            }
            if let Some(below) = self.node(level.fd.as_fd(), &name, kind, &path)? {
                if stack.len() > MAX_DEPTH {
                    return Err(StoreError::TooDeep { path, limit: MAX_DEPTH });
                }
                stack.push(below);
            }
        }
        Ok(())
    }

    fn nar(&mut self, write: impl FnOnce(&mut NarWriter<&'s mut dyn Write>) -> Result<(), NarError>) -> Result<()> {
        write(&mut self.nar).map_err(nar_error)
    }

    /// Archives a node; the entries of a directory are left for later.
    fn node(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileKind, path: &Path) -> Result<Option<Level>> {
        match kind {
            FileKind::Regular => {
                self.file(dir, name, path)?;
                Ok(None)
            }
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(|error| StoreError::io("reading symbolic link", path, error))?;
                self.nar(|nar| nar.symlink(target.to_bytes()))?;
                if let Some(copy) = &mut self.copy {
                    copy.symlink(target.to_bytes())?;
                }
                Ok(None)
            }
            FileKind::Directory => {
                let fd = rustix::fs::openat(dir, name, flags(OFlags::DIRECTORY), Mode::empty())
                    .map_err(|error| StoreError::io("opening", path, error))?;
                let mut entries = list(fd.as_fd()).map_err(|error| StoreError::io("reading directory", path, error))?;
                if self.case_hack {
                    entries.sort_unstable_by(|a, b| without_hack(&b.0).cmp(without_hack(&a.0)));
                    if let Some(same) = entries.windows(2).find(|pair| without_hack(&pair[0].0) == without_hack(&pair[1].0)) {
                        let name = |i: usize| PathBuf::from(OsStr::from_bytes(same[i].0.to_bytes()));
                        return Err(StoreError::NameCollision { path: path.join(name(0)), other: name(1) });
                    }
                } else {
                    entries.sort_unstable_by(|a, b| b.0.cmp(&a.0));
                }
                self.nar(NarWriter::directory)?;
                if let Some(copy) = &mut self.copy {
                    copy.start_directory()?;
                }
                Ok(Some(Level { fd, path: path.to_owned(), entries }))
            }
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<()> {
        // NONBLOCK: what was a file a moment ago may be a fifo now.
        let fd = rustix::fs::openat(dir, name, flags(OFlags::NONBLOCK), Mode::empty())
            .map_err(|error| StoreError::io("opening", path, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| StoreError::io("reading the status of", path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreError::UnsupportedFileType { path: path.to_owned() });
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let executable = stat.st_mode & 0o100 != 0;
        self.nar(|nar| nar.begin_file(executable, size))?;
        let mut copied = self.copy.as_mut().map(|copy| copy.start_file(executable)).transpose()?;
        let mut file = File::from(fd);
        let mut got = 0u64;
        if let Some(direct) = self.direct.filter(|_| size >= LARGE) {
            self.nar.put_contents(|_, left| send(&file, direct, left).inspect(|sent| got = *sent)).map_err(nar_error)?;
        }
        loop {
            // Asking for one byte more than is left shows a file that grew; a shorter answer is the end of the file
            // once everything is there, which saves the call that would return nothing.
            let n_read = match file.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                result => result.map_err(|error| StoreError::io("reading", path, error))?,
            };
            got += n_read as u64;
            if got > size || n_read == 0 && got < size {
                return Err(StoreError::SizeChanged { path: path.to_owned(), expected: size, got });
            }
            self.nar.contents(&self.buffer[..n_read]).map_err(nar_error)?;
            if let Some(copied) = &mut copied {
                copied.write_all(&self.buffer[..n_read]).map_err(|error| StoreError::io("copying", path, error))?;
            }
            if got == size && n_read < self.buffer.len() {
                break;
            }
        }
        if let (Some(copy), Some(copied)) = (&mut self.copy, copied) {
            copy.end_file(copied, executable)?;
        }
        self.nar(NarWriter::end_file)
    }
}

/// Lets the kernel move bytes from a file to anything. Returns how many it moved; fewer where it can't, or the file ends.
fn send(file: &File, to: &File, n_bytes: u64) -> std::io::Result<u64> {
    let mut n_sent = 0;
    while n_sent < n_bytes {
        let count = usize::try_from(n_bytes - n_sent).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::sendfile(to, file, None, count) {
            Ok(0) => break,
            Ok(n) => n_sent += n as u64,
            Err(Errno::INTR) => {}
            // Not between these two, or not without waiting: then as ever.
            Err(Errno::INVAL | Errno::NOSYS | Errno::AGAIN | Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(n_sent)
}

/// Returns a name as it stands in archives.
fn without_hack(name: &CStr) -> &[u8] {
    let name = name.to_bytes();
    let place = memchr::memmem::find(name, CASE_HACK.as_bytes());
    &name[..place.unwrap_or(name.len())]
}

fn nar_error(error: NarError) -> StoreError {
    StoreError::format("writing a NAR", error)
}

fn flags(more: OFlags) -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | more
}

/// Asks what kind of file this is, if the directory's listing didn't say.
fn file_kind(dir: BorrowedFd<'_>, name: &CStr, listed: FileType, path: &Path) -> Result<FileKind> {
    let kind = match listed {
        FileType::Unknown => {
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| StoreError::io("reading the status of", path, error))?;
            FileType::from_raw_mode(stat.st_mode)
        }
        known => known,
    };
    match kind {
        FileType::RegularFile => Ok(FileKind::Regular),
        FileType::Directory => Ok(FileKind::Directory),
        FileType::Symlink => Ok(FileKind::Symlink),
        _ => Err(StoreError::UnsupportedFileType { path: path.to_owned() }),
    }
}
