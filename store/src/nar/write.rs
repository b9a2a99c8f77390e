//! Events → bytes, into any sink.
//!
//! The caller brings entries in ascending order and says the size of a file before its contents;
//! anything that would make a broken archive is refused before it is written. The surprising thing:
//! a file that grows or shrinks while it is read is such a case, and is an error rather than a
//! shorter file.

use std::io::{self, Read, Write};

use super::{Event, MAGIC, MAX_DEPTH, MAX_NAME_LEN, MAX_TARGET_LEN, NarError, check_name, check_target};

/// How much is collected before it goes to the sink; small tags would cost a call each.
const BUFFER_LEN: usize = 32 * 1024;

/// Writes one archive.
///
/// ```
/// use nixlang_store::hash::{Algorithm, HashFormat, Hasher};
/// use nixlang_store::nar::NarWriter;
///
/// let mut writer = NarWriter::new(Hasher::new(Algorithm::Sha256));
/// writer.directory()?;
/// writer.entry(b"greeting")?;
/// writer.file(false, b"hello\n")?;
/// writer.entry(b"link")?;
/// writer.symlink(b"greeting")?;
/// writer.end_directory()?;
/// let hash = writer.finish()?.finish();
/// assert_eq!(
///     hash.format(HashFormat::Nix32, true),
///     "sha256:1k4pshyirbmmy6g8jsxpk8pabpvlsjb1vdmdra02z0mxgznxqkg2",
/// );
/// # Ok::<(), nixlang_store::nar::NarError>(())
/// ```
#[derive(Debug)]
pub struct NarWriter<W> {
    sink: W,
    buffer: Vec<u8>,
    state: State,
    /// For each open directory where its last name begins in `names`.
    open: Vec<usize>,
    /// The last name of each open directory, one after the other.
    names: Vec<u8>,
    n_written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Node,
    Entries,
    Contents { left: u64, size: u64 },
    Done,
}

impl State {
    fn describe(self) -> &'static str {
        match self {
            Self::Node => "a file, directory or link",
            Self::Entries => "an entry or the end of the directory",
            Self::Contents { .. } => "contents of a file or its end",
            Self::Done => "nothing more",
        }
    }
}

impl<W: Write> NarWriter<W> {
    /// Writes to `sink`, collecting small pieces.
    pub fn new(sink: W) -> Self {
        let mut writer = Self {
            sink,
            buffer: Vec::with_capacity(BUFFER_LEN),
            state: State::Node,
            open: Vec::new(),
            names: Vec::new(),
            n_written: 0,
        };
        writer.string(MAGIC);
        writer
    }

    /// Writes one event; so an archive can be copied from a reader.
    ///
    /// # Errors
    /// When the sink fails or the event has no place here.
    pub fn event(&mut self, event: Event<'_>) -> Result<(), NarError> {
        match event {
            Event::Directory => self.directory(),
            Event::Entry(name) => self.entry(name),
            Event::EndDirectory => self.end_directory(),
            Event::File { executable, size } => self.begin_file(executable, size),
            Event::Contents(bytes) => self.contents(bytes),
            Event::EndFile => self.end_file(),
            Event::Symlink(target) => self.symlink(target),
        }
    }

    /// Begins a directory.
    pub fn directory(&mut self) -> Result<(), NarError> {
        self.begin_node("directory")?;
        self.string(b"directory");
        self.open.push(self.names.len());
        self.state = State::Entries;
        self.flush_if_full()
    }

    /// Names the next node.
    pub fn entry(&mut self, name: &[u8]) -> Result<(), NarError> {
        let start = self.innermost("entry")?;
        check_length(name, MAX_NAME_LEN)?;
        check_name(name, &self.names[start..])?;
        self.names.truncate(start);
        self.names.extend_from_slice(name);
        self.string(b"entry");
        self.string(b"(");
        self.string(b"name");
        self.string(name);
        self.string(b"node");
        self.state = State::Node;
        Ok(())
    }

    /// Ends the innermost directory.
    pub fn end_directory(&mut self) -> Result<(), NarError> {
        let start = self.innermost("end of a directory")?;
        self.open.pop();
        self.names.truncate(start);
        self.end_node()
    }

    /// Writes a whole regular file.
    pub fn file(&mut self, executable: bool, contents: &[u8]) -> Result<(), NarError> {
        self.begin_file(executable, contents.len() as u64)?;
        self.contents(contents)?;
        self.end_file()
    }

    /// Writes a regular file of known size from a reader.
    ///
    /// # Errors
    /// Also when the reader has more or fewer bytes.
    pub fn file_from(&mut self, executable: bool, size: u64, mut reader: impl Read) -> Result<(), NarError> {
        self.begin_file(executable, size)?;
        let mut piece = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 64 * 1024)];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return self.end_file(),
                Ok(length) => self.contents(&piece[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins a regular file whose contents are exactly `size` bytes.
    pub fn begin_file(&mut self, executable: bool, size: u64) -> Result<(), NarError> {
        self.begin_node("file")?;
        self.string(b"regular");
        if executable {
            self.string(b"executable");
            self.string(b"");
        }
        self.string(b"contents");
        self.buffer.extend_from_slice(&size.to_le_bytes());
        self.state = State::Contents { left: size, size };
        Ok(())
    }

    /// Writes some bytes of a file.
    pub fn contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        let State::Contents { left, size } = self.state else {
            return Err(self.misplaced("contents"));
        };
        let length = bytes.len() as u64;
        let Some(left) = left.checked_sub(length) else {
            return Err(NarError::WrongSize { found: size - left + length, expected: size });
        };
        self.state = State::Contents { left, size };
        if bytes.len() >= BUFFER_LEN {
            self.flush()?;
            self.sink.write_all(bytes)?;
            self.n_written += length;
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    /// Lets contents of a file be put into the sink by other means: `put` gets the sink, into which all that was written before has gone,
    /// and how many bytes are left, and returns how many it put there.
    ///
    /// # Errors
    /// When a sink fails, `put` says that it put more than there was, or no file has begun.
    pub fn put_contents(&mut self, put: impl FnOnce(&mut W, u64) -> io::Result<u64>) -> Result<(), NarError> {
        let State::Contents { left, size } = self.state else {
            return Err(self.misplaced("contents"));
        };
        self.flush()?;
        let length = put(&mut self.sink, left)?;
        let Some(left) = left.checked_sub(length) else {
            return Err(NarError::WrongSize { found: size - left + length, expected: size });
        };
        self.n_written += length;
        self.state = State::Contents { left, size };
        Ok(())
    }

    /// Ends a file, all of whose bytes must have come.
    pub fn end_file(&mut self) -> Result<(), NarError> {
        match self.state {
            State::Contents { left: 0, size } => {
                self.pad(size);
                self.end_node()
            }
            State::Contents { left, size } => {
                Err(NarError::WrongSize { found: size - left, expected: size })
            }
            _ => Err(self.misplaced("end of a file")),
        }
    }

    /// Writes a symbolic link.
    pub fn symlink(&mut self, target: &[u8]) -> Result<(), NarError> {
        check_length(target, MAX_TARGET_LEN)?;
        check_target(target)?;
        self.begin_node("link")?;
        self.string(b"symlink");
        self.string(b"target");
        self.string(target);
        self.end_node()
    }

    /// Returns the number of bytes of the archive so far.
    pub fn position(&self) -> u64 {
        self.n_written + self.buffer.len() as u64
    }

    /// Writes what is left in the buffer and returns the sink.
    ///
    /// # Errors
    /// When the sink fails or the archive is not complete.
    pub fn finish(mut self) -> Result<W, NarError> {
        if self.state != State::Done {
            return Err(self.misplaced("end of the archive"));
        }
        self.flush()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn begin_node(&mut self, found: &'static str) -> Result<(), NarError> {
        if self.state != State::Node {
            return Err(self.misplaced(found));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(NarError::TooDeep);
        }
        self.string(b"(");
        self.string(b"type");
        Ok(())
    }

    fn end_node(&mut self) -> Result<(), NarError> {
        self.string(b")");
        if self.open.is_empty() {
            self.state = State::Done;
        } else {
            self.string(b")");
            self.state = State::Entries;
        }
        self.flush_if_full()
    }

    /// Returns where the last name of the innermost directory begins.
    fn innermost(&self, found: &'static str) -> Result<usize, NarError> {
        match (self.state, self.open.last()) {
            (State::Entries, Some(start)) => Ok(*start),
            _ => Err(self.misplaced(found)),
        }
    }

    fn misplaced(&self, found: &'static str) -> NarError {
        NarError::Misplaced { found, expected: self.state.describe() }
    }

    fn string(&mut self, string: &[u8]) {
        let length = string.len() as u64;
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(string);
        self.pad(length);
    }

    fn pad(&mut self, length: u64) {
        let n_zeros = (length.wrapping_neg() % 8) as usize;
        self.buffer.extend_from_slice(&[0; 8][..n_zeros]);
    }

    fn flush_if_full(&mut self) -> Result<(), NarError> {
        if self.buffer.len() >= BUFFER_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NarError> {
        self.sink.write_all(&self.buffer)?;
        self.n_written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn check_length(string: &[u8], limit: usize) -> Result<(), NarError> {
    if string.len() > limit {
        return Err(NarError::TooLong { length: string.len() as u64, limit });
    }
    Ok(())
}
