//! Bytes → events, with bounded memory and no recursion.
//!
//! The reader takes exactly the archive's bytes from its source and not one more, because in the
//! daemon's protocol an archive stands in the middle of a stream and only parsing finds its end. The
//! surprising thing: contents are handed out straight from the source's buffer, so how large the
//! pieces are is the source's choice.

use std::io::{self, BufRead};

use super::{Event, MAGIC, MAX_DEPTH, MAX_NAME_LEN, MAX_TARGET_LEN, NarError, check_name, check_target};

/// Longest of the format's own words, with room for a wrong one in a message.
const MAX_TAG_LEN: usize = 32;

/// Reads one archive from a buffered source.
///
/// ```
/// use nixlang_store::nar::{Event, NarReader, NarWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = NarWriter::new(&mut bytes);
/// writer.file(false, b"hi")?;
/// writer.finish()?;
///
/// let mut reader = NarReader::new(bytes.as_slice());
/// assert_eq!(reader.next_event()?, Some(Event::File { executable: false, size: 2 }));
/// assert_eq!(reader.next_event()?, Some(Event::Contents(b"hi")));
/// assert_eq!(reader.next_event()?, Some(Event::EndFile));
/// assert_eq!(reader.next_event()?, None);
/// # Ok::<(), nixlang_store::nar::NarError>(())
/// ```
#[derive(Debug)]
pub struct NarReader<R> {
    source: R,
    /// Bytes taken from the source.
    position: u64,
    /// Bytes of the source's buffer that the caller has seen and that are taken on the next call.
    lent: usize,
    state: State,
    /// For each open directory where its last name begins in `names`.
    open: Vec<usize>,
    /// The last name of each open directory, one after the other.
    names: Vec<u8>,
    /// The string read last.
    string: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been read.
    Start,
    /// A node comes.
    Node,
    /// An entry or the end of the innermost directory comes.
    Entries,
    /// This many bytes of a file of that size come.
    Contents { left: u64, size: u64 },
    /// The root node is complete.
    Done,
    /// An error was reported.
    Failed,
}

impl<R: BufRead> NarReader<R> {
    /// Reads from `source`; nothing happens until the first event is asked for.
    pub fn new(source: R) -> Self {
        Self {
            source,
            position: 0,
            lent: 0,
            state: State::Start,
            open: Vec::new(),
            names: Vec::new(),
            string: Vec::new(),
        }
    }

    /// Returns the next event, or `None` after the archive's last byte.
    ///
    /// # Errors
    /// When the source fails, ends early, or its bytes are no archive. After an error every call
    /// reports that the archive ended early.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, NarError> {
        self.take_lent();
        let state = std::mem::replace(&mut self.state, State::Failed);
        if state == State::Start {
            if !matches!(self.read_string(MAGIC.len()), Ok(()) if self.string == MAGIC) {
                return Err(NarError::NoMagic);
            }
            return self.node().map(Some);
        }
        match state {
            State::Start | State::Node => self.node().map(Some),
            State::Entries => self.entry().map(Some),
            State::Contents { left: 0, size } => {
                self.read_padding(size)?;
                self.expect(b")", "tag ')'")?;
                self.end_node()?;
                Ok(Some(Event::EndFile))
            }
            State::Contents { left, size } => {
                let piece = self.source.fill_buf()?;
                if piece.is_empty() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.lent = length;
                self.state = State::Contents { left: left - length as u64, size };
                // Filling a buffer that is not empty only hands it out again.
                Ok(Some(Event::Contents(&self.source.fill_buf()?[..length])))
            }
            State::Done => {
                self.state = State::Done;
                Ok(None)
            }
            State::Failed => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// Lets contents of the file that has just begun be taken from the source by other means than events: `take` gets the source and how
    /// many bytes are left, and returns how many it took. What it leaves comes as events.
    ///
    /// # Errors
    /// When `take` fails, says that it took more than there was, or no file has begun.
    pub fn take_contents(&mut self, take: impl FnOnce(&mut R, u64) -> io::Result<u64>) -> Result<(), NarError> {
        self.take_lent();
        let State::Contents { left, size } = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        };
        let taken = take(&mut self.source, left)?;
        let left = left.checked_sub(taken).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.position += taken;
        self.state = State::Contents { left, size };
        Ok(())
    }

    /// Returns the number of bytes taken so far. Right after [`Event::File`] this is the offset of
    /// the file's contents in the archive.
    pub fn position(&self) -> u64 {
        self.position + self.lent as u64
    }

    /// Returns the source, which stands right after the archive once [`NarReader::next_event`] has
    /// returned `None`.
    pub fn into_inner(mut self) -> R {
        self.take_lent();
        self.source
    }

    fn take_lent(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.consume(lent);
    }

    fn consume(&mut self, length: usize) {
        self.source.consume(length);
        self.position += length as u64;
    }

    fn node(&mut self) -> Result<Event<'_>, NarError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(NarError::TooDeep);
        }
        self.expect(b"(", "tag '('")?;
        self.expect(b"type", "tag 'type'")?;
        self.read_string(MAX_TAG_LEN)?;
        match self.string.as_slice() {
            b"regular" => {
                self.read_string(MAX_TAG_LEN)?;
                let executable = self.string == b"executable";
                if executable {
                    match self.read_string(0) {
                        Err(NarError::TooLong { .. }) => return Err(NarError::ExecutableValue),
                        other => other?,
                    }
                    self.read_string(MAX_TAG_LEN)?;
                }
                if self.string != b"contents" {
                    return Err(self.unexpected("tag 'contents'"));
                }
                let size = self.read_number()?;
                self.state = State::Contents { left: size, size };
                Ok(Event::File { executable, size })
            }
            b"directory" => {
                self.open.push(self.names.len());
                self.state = State::Entries;
                Ok(Event::Directory)
            }
            b"symlink" => {
                self.expect(b"target", "tag 'target'")?;
                self.read_string(MAX_TARGET_LEN)?;
                check_target(&self.string)?;
                let target = std::mem::take(&mut self.string);
                self.expect(b")", "tag ')'")?;
                self.end_node()?;
                self.string = target;
                Ok(Event::Symlink(&self.string))
            }
            _ => Err(NarError::UnknownType { found: self.lossy() }),
        }
    }

    fn entry(&mut self) -> Result<Event<'_>, NarError> {
        let start = *self.open.last().expect("this state is left when the last directory ends");
        self.read_string(MAX_TAG_LEN)?;
        match self.string.as_slice() {
            b")" => {
                self.open.pop();
                self.names.truncate(start);
                self.end_node()?;
                Ok(Event::EndDirectory)
            }
            b"entry" => {
                self.expect(b"(", "tag '('")?;
                self.expect(b"name", "tag 'name'")?;
                self.read_string(MAX_NAME_LEN)?;
                check_name(&self.string, &self.names[start..])?;
                self.names.truncate(start);
                self.names.extend_from_slice(&self.string);
                self.expect(b"node", "tag 'node'")?;
                self.state = State::Node;
                Ok(Event::Entry(&self.names[start..]))
            }
            _ => Err(self.unexpected("tag 'entry' or ')'")),
        }
    }

    /// Closes the entry that a finished node stands in, or the archive.
    fn end_node(&mut self) -> Result<(), NarError> {
        if self.open.is_empty() {
            self.state = State::Done;
        } else {
            self.expect(b")", "tag ')'")?;
            self.state = State::Entries;
        }
        Ok(())
    }

    fn expect(&mut self, tag: &[u8], expected: &'static str) -> Result<(), NarError> {
        self.read_string(MAX_TAG_LEN)?;
        if self.string == tag { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> NarError {
        NarError::UnexpectedTag { expected, found: self.lossy() }
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.string).into_owned()
    }

    fn read_number(&mut self) -> Result<u64, NarError> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a string of at most `limit` bytes into `self.string`.
    fn read_string(&mut self, limit: usize) -> Result<(), NarError> {
        let length = self.read_number()?;
        let n_bytes = match usize::try_from(length) {
            Ok(n_bytes) if n_bytes <= limit => n_bytes,
            _ => return Err(NarError::TooLong { length, limit }),
        };
        let mut string = std::mem::take(&mut self.string);
        string.resize(n_bytes, 0);
        let result = self.read_exact(&mut string);
        self.string = string;
        result?;
        self.read_padding(length)
    }

    fn read_padding(&mut self, length: u64) -> Result<(), NarError> {
        let n_zeros = (length.wrapping_neg() % 8) as usize;
        let mut zeros = [0; 8];
        self.read_exact(&mut zeros[..n_zeros])?;
        if zeros == [0; 8] { Ok(()) } else { Err(NarError::Padding) }
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NarError> {
        self.source.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}
