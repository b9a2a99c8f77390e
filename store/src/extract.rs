//! From an archive that anybody may have made (tar, zip) to a file tree that can do no harm.
//!
//! Nothing is written under a name of the archive's. Its entries become a tree in memory, their contents go one after the other into
//! one unnamed file, and what comes out is a NAR, whose one way to disk ([`crate::fs::restore`]) checks names, follows no links and opens
//! nothing that exists. So `..`, absolute paths, links to elsewhere and hard links can't reach outside: there is no outside.
//!
//! The surprising things are the reference's rules: `..` stops at the top, a later file replaces an earlier one, and hard links become
//! copies once everything else is there.

mod tar;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::compression::{Compression, decoder};
use crate::nar::{NarError, NarWriter};

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files, directories and links.
    pub n_entries: usize,
    /// Bytes of all files together, unpacked.
    pub n_bytes: u64,
    /// Bytes of a path or of a link's target.
    pub path_len: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { n_entries: 10_000_000, n_bytes: 1 << 40, path_len: 16 * 1024 }
    }
}

/// Why an archive can't be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// It is no archive, or a broken one.
    #[error("Failed to open archive ({reason})")]
    NotAnArchive {
        /// What is wrong.
        reason: String,
    },
    /// Reading it failed, or what is in it ends early.
    #[error("cannot read file from tarball: {0}")]
    Read(#[source] io::Error),
    /// The unnamed file of contents can't be written or read.
    #[error("unpacking an archive: {0}")]
    Spool(#[source] io::Error),
    /// A device, a pipe, or the like.
    #[error("file '{path}' in tarball has unsupported file type {found}")]
    UnsupportedType {
        /// The entry.
        path: String,
        /// Its type's number.
        found: u8,
    },
    /// An entry below something that is no directory.
    #[error("path '{path}' has a non-directory parent")]
    NotADirectory {
        /// The entry.
        path: String,
    },
    /// A hard link to nothing.
    #[error("path '{path}' does not exist")]
    NoTarget {
        /// What is linked to.
        path: String,
    },
    /// A hard link to a directory.
    #[error("cannot create a hard link to a directory")]
    LinkToDirectory,
    /// An entry of a zip archive that needs a password.
    #[error("file '{path}' in the archive is encrypted")]
    Encrypted {
        /// The entry.
        path: String,
    },
    /// It holds more than its reader wants.
    #[error("archive has more than {limit} {what}")]
    TooMuch {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// What it holds makes no NAR.
    #[error("{0}")]
    Nar(#[from] NarError),
    /// An empty file where an archive was wanted.
    #[error("archive '{path}' is empty")]
    Empty {
        /// The file.
        path: String,
    },
}

type Result<T> = std::result::Result<T, ExtractError>;

/// What an archive holds.
#[derive(Debug)]
pub struct Archive {
    root: Directory,
    contents: File,
    last_modified: u64,
}

type Directory = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, Debug)]
enum Node {
    Directory(Directory),
    File { executable: bool, start: u64, size: u64 },
    Symlink(Vec<u8>),
}

impl Archive {
    /// Reads an archive, compressed or not; its first bytes say how. An empty file is an empty archive.
    ///
    /// # Errors
    /// When it is none, is broken, or holds too much or what no tree can have.
    pub fn read(mut file: File, limits: &Limits) -> Result<Archive> {
        let mut magic = [0; 6];
        let n = read_up_to(&mut file, &mut magic).map_err(ExtractError::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(ExtractError::Read)?;
        let mut builder = Builder::new(*limits).map_err(ExtractError::Spool)?;
        match &magic[..n] {
            [] => (),
            [b'P', b'K', 3 | 5 | 7, _, ..] => zip::read(file, &mut builder)?,
            head => {
                let source = BufReader::with_capacity(1 << 16, file);
                let tar = decoder(Compression::from_magic(head), source).map_err(ExtractError::Read)?;
                tar::read(tar, &mut builder)?;
            }
        }
        builder.finish()
    }

    /// As [`Archive::read`], for a file by its name; there an empty file is an error.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Archive> {
        let file = File::open(path).map_err(ExtractError::Read)?;
        if file.metadata().map_err(ExtractError::Read)?.len() == 0 {
            return Err(ExtractError::Empty { path: path.display().to_string() });
        }
        Archive::read(file, limits)
    }

    /// Returns when the youngest entry was changed, in seconds since 1970.
    pub fn last_modified(&self) -> u64 {
        self.last_modified
    }

    /// Makes the only directory at the top the top, if there is nothing beside it. Returns whether it did.
    pub fn strip_single_directory(&mut self) -> bool {
        if self.root.len() != 1 || !matches!(self.root.values().next(), Some(Node::Directory(_))) {
            return false;
        }
        if let Some((_, Node::Directory(only))) = self.root.pop_first() {
            self.root = only;
        }
        true
    }

    /// Returns how many entries are at the top.
    pub fn n_top_entries(&self) -> usize {
        self.root.len()
    }

    /// Writes the NAR of the tree; of the only entry at the top if `only` is set and there is just one.
    ///
    /// # Errors
    /// When the sink fails, or a name or the depth of the tree is more than a NAR may have.
    pub fn write_nar(&self, only: bool, sink: &mut dyn Write) -> Result<()> {
        let mut nar = NarWriter::new(sink);
        let mut open: Vec<std::collections::btree_map::Iter<'_, Vec<u8>, Node>> = Vec::new();
        match self.root.values().next() {
            Some(node) if only && self.root.len() == 1 => self.begin(node, &mut nar, &mut open)?,
            _ => {
                nar.directory()?;
                open.push(self.root.iter());
            }
        }
        while let Some(entries) = open.last_mut() {
            match entries.next() {
                Some((name, node)) => {
                    nar.entry(name)?;
                    self.begin(node, &mut nar, &mut open)?;
                }
                None => {
                    nar.end_directory()?;
                    open.pop();
                }
            }
        }
        nar.finish()?;
        Ok(())
    }

    /// Writes a node, but not yet what is in a directory.
    fn begin<'a, W: Write>(
        &self,
        node: &'a Node,
        nar: &mut NarWriter<W>,
        open: &mut Vec<std::collections::btree_map::Iter<'a, Vec<u8>, Node>>,
    ) -> Result<()> {
        match node {
            Node::Directory(entries) => {
                nar.directory()?;
                open.push(entries.iter());
            }
            Node::Symlink(target) => nar.symlink(target)?,
            Node::File { executable, start, size } => {
                nar.begin_file(*executable, *size)?;
                let mut buffer = vec![0; 64 * 1024];
                let (mut at, end) = (*start, start + size);
                while at < end {
                    let wanted = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
                    self.contents.read_exact_at(&mut buffer[..wanted], at).map_err(ExtractError::Spool)?;
                    nar.contents(&buffer[..wanted])?;
                    at += wanted as u64;
                }
                nar.end_file()?;
            }
        }
        Ok(())
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // A path of some kilobytes is a tree of some thousand levels: not by recursion.
        let mut directories = vec![std::mem::take(&mut self.root)];
        while let Some(directory) = directories.pop() {
            directories.extend(directory.into_values().filter_map(|node| match node {
                Node::Directory(entries) => Some(entries),
                _ => None,
            }));
        }
    }
}

fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match source.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// Takes an archive's entries in any order.
struct Builder {
    archive: Archive,
    limits: Limits,
    n_entries: usize,
    n_bytes: u64,
    links: BTreeMap<Vec<Vec<u8>>, Vec<Vec<u8>>>,
}

fn show(path: &[Vec<u8>]) -> String {
    format!("/{}", String::from_utf8_lossy(&path.join(&b'/')))
}

impl Builder {
    fn new(limits: Limits) -> io::Result<Builder> {
        let archive = Archive { root: Directory::new(), contents: tempfile::tempfile()?, last_modified: 0 };
        Ok(Builder { archive, limits, n_entries: 0, n_bytes: 0, links: BTreeMap::new() })
    }

    /// Splits a path; `..` goes up, but not further than to the top.
    fn path(&self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        if path.len() > self.limits.path_len {
            return Err(ExtractError::TooMuch { limit: self.limits.path_len as u64, what: "bytes in a path" });
        }
        let mut components: Vec<Vec<u8>> = Vec::new();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => (),
                b".." => drop(components.pop()),
                name => components.push(name.to_vec()),
            }
        }
        Ok(components)
    }

    /// Counts an entry.
    fn entry(&mut self, modified: u64) -> Result<()> {
        self.n_entries += 1;
        if self.n_entries > self.limits.n_entries {
            return Err(ExtractError::TooMuch { limit: self.limits.n_entries as u64, what: "entries" });
        }
        self.archive.last_modified = self.archive.last_modified.max(modified);
        Ok(())
    }

    /// Puts a node into its place. Only a file replaces what is there.
    fn add(&mut self, path: &[Vec<u8>], node: Node) -> Result<()> {
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        let mut directory = &mut self.archive.root;
        for parent in parents {
            let child = directory.entry(parent.clone()).or_insert_with(|| {
                self.n_entries += 1;
                Node::Directory(Directory::new())
            });
            match child {
                Node::Directory(entries) => directory = entries,
                _ => return Err(ExtractError::NotADirectory { path: show(path) }),
            }
        }
        if self.n_entries > self.limits.n_entries {
            return Err(ExtractError::TooMuch { limit: self.limits.n_entries as u64, what: "entries" });
        }
        if matches!(node, Node::File { .. }) {
            directory.insert(name.clone(), node);
        } else {
            directory.entry(name.clone()).or_insert(node);
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8]) -> Result<()> {
        let path = self.path(path)?;
        self.add(&path, Node::Directory(Directory::new()))
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        if target.len() > self.limits.path_len {
            return Err(ExtractError::TooMuch { limit: self.limits.path_len as u64, what: "bytes in a link" });
        }
        let path = self.path(path)?;
        self.add(&path, Node::Symlink(target.to_vec()))
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (path, target) = (self.path(path)?, self.path(target)?);
        self.links.insert(path, target);
        Ok(())
    }

    /// Takes a file whose contents are read to their end. `announced` is how long they should be.
    fn file(&mut self, path: &[u8], executable: bool, announced: Option<u64>, contents: &mut dyn Read) -> Result<()> {
        let path = self.path(path)?;
        let left = self.limits.n_bytes - self.n_bytes;
        let too_much = ExtractError::TooMuch { limit: self.limits.n_bytes, what: "bytes" };
        if announced.is_some_and(|announced| announced > left) {
            return Err(too_much);
        }
        let start = self.n_bytes;
        let mut size = 0u64;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ExtractError::Read(error)),
            };
            size += n as u64;
            if size > left {
                return Err(too_much);
            }
            self.archive.contents.write_all(&buffer[..n]).map_err(ExtractError::Spool)?;
        }
        if announced.is_some_and(|announced| announced != size) {
            return Err(ExtractError::Read(io::Error::new(io::ErrorKind::UnexpectedEof, "Truncated input file")));
        }
        self.n_bytes += size;
        self.add(&path, Node::File { executable, start, size })
    }

    fn find(&self, path: &[Vec<u8>]) -> Result<&Node> {
        let missing = || ExtractError::NoTarget { path: show(path) };
        let (name, parents) = path.split_last().ok_or(ExtractError::LinkToDirectory)?;
        let mut directory = &self.archive.root;
        for parent in parents {
            match directory.get(parent).ok_or_else(missing)? {
                Node::Directory(entries) => directory = entries,
                _ => return Err(ExtractError::NotADirectory { path: show(path) }),
            }
        }
        directory.get(name).ok_or_else(missing)
    }

    fn finish(mut self) -> Result<Archive> {
        for (path, target) in std::mem::take(&mut self.links) {
            if target.is_empty() {
                continue;
            }
            let node = match self.find(&target)? {
                Node::Directory(_) => return Err(ExtractError::LinkToDirectory),
                node => node.clone(),
            };
            self.add(&path, node)?;
        }
        Ok(self.archive)
    }
}

/// Reads a NAR up to its end, so that two can be joined; see [`splice`].
pub(crate) fn copy_nar(source: &mut dyn BufRead, sink: &mut NarWriter<impl Write>) -> std::result::Result<(), NarError> {
    let mut reader = crate::nar::NarReader::new(source);
    while let Some(event) = reader.next_event()? {
        sink.event(event)?;
    }
    Ok(())
}

/// Copies a NAR and puts other NARs in place of what it has at some paths (names joined by `/`).
pub(crate) fn splice(
    source: &mut dyn BufRead,
    mounts: &mut BTreeMap<Vec<u8>, Box<dyn BufRead>>,
    sink: &mut dyn Write,
) -> std::result::Result<(), NarError> {
    use crate::nar::Event;
    let mut reader = crate::nar::NarReader::new(source);
    let mut nar = NarWriter::new(sink);
    let mut path: Vec<Vec<u8>> = Vec::new();
    // How many directories are open, and how many were where a replaced node began.
    let (mut depth, mut skipping) = (0usize, None);
    while let Some(event) = reader.next_event()? {
        match event {
            Event::Directory => depth += 1,
            Event::EndDirectory => depth -= 1,
            Event::Entry(name) => {
                path.truncate(depth - 1);
                path.push(name.to_vec());
            }
            _ => {}
        }
        if let Some(at) = skipping {
            if depth == at && matches!(event, Event::Symlink(_) | Event::EndFile | Event::EndDirectory) {
                skipping = None;
            }
            continue;
        }
        nar.event(event)?;
        if matches!(event, Event::Entry(_))
            && let Some(mut mount) = mounts.remove(&path.join(&b'/'))
        {
            copy_nar(&mut *mount, &mut nar)?;
            skipping = Some(depth);
        }
    }
    nar.finish().map(drop)
}

#[cfg(test)]
mod tests;
