//! The protocols of daemons: primitives here (numbers, padded strings, lists, framed streams), values in the modules.
//!
//! A number is 64 bits, little-endian; a string its length and bytes, filled with zeros to the next
//! multiple of 8; a list its length and items. The surprising thing: a *framed* stream is not padded.
//! It is pieces of a length and that many bytes, ended by a length of 0, and the receiver must read
//! it to its end even when it has already failed, or both sides lose their place.
//!
//! Lengths come from a peer: every reader takes a bound, and memory grows with the bytes that
//! arrive, not with what a length claims. What the numbers and strings mean is in [`message`] and the
//! modules beside it: a [`message::Message`] is read and written in a [`message::Dialect`].
//!
//! Format source: `serialise.cc` and the worker protocol of the reference.

use std::io::{self, Read, Write};

pub mod message;
pub mod version;

pub mod build_result;
pub mod derivation;
pub mod derived_path;
pub mod path_info;

pub mod log;
pub mod operations;
pub mod serve;

/// Longest string that is read where no other bound is known: 64 MiB.
pub const DEFAULT_LIMIT: usize = 64 << 20;

/// How much is set aside for a string or piece before any of it has arrived.
const FIRST_CAPACITY: usize = 64 * 1024;

/// What is wrong with the bytes of a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The connection failed or ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A length beyond the bound.
    #[error("string or list is too long ({length}, at most {limit})")]
    TooLong {
        /// The length.
        length: u64,
        /// The bound.
        limit: usize,
    },
    /// Bytes after a string that are not zero.
    #[error("non-zero padding")]
    Padding,
    /// A string that must be UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A number that does not fit.
    #[error("number {number} is out of range")]
    OutOfRange {
        /// The number.
        number: u64,
    },
    /// A string that is not what it should be.
    #[error("invalid {what} from the other side: {source}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A message that nobody knows.
    #[error("got unknown message type {number:x} from Nix daemon")]
    UnknownMessage {
        /// Its number.
        number: u64,
    },
    /// A value that the agreed version has no form for.
    #[error("the other side's protocol is too old to ask for {what}")]
    Inexpressible {
        /// The value.
        what: &'static str,
    },
}

impl WireError {
    /// Makes a [`WireError::Malformed`].
    pub fn malformed(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> WireError {
        WireError::Malformed { what, source: source.into() }
    }
}

/// Writes the primitives; every [`Write`] has them.
///
/// ```
/// use nixlang_store::wire::{WireRead, WireWrite};
///
/// let mut bytes = Vec::new();
/// bytes.write_number(7)?;
/// bytes.write_bytes(b"hello")?;
/// assert_eq!(bytes, b"\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0hello\0\0\0");
///
/// let mut source = bytes.as_slice();
/// assert_eq!(source.read_number()?, 7);
/// assert_eq!(source.read_text(100)?, "hello");
/// # Ok::<(), nixlang_store::wire::WireError>(())
/// ```
pub trait WireWrite: Write {
    /// Writes a number.
    fn write_number(&mut self, number: u64) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }

    /// Writes a flag as 0 or 1.
    fn write_flag(&mut self, flag: bool) -> io::Result<()> {
        self.write_number(flag.into())
    }

    /// Writes a string.
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.write_number(length)?;
        self.write_all(bytes)?;
        self.write_all(&[0; 8][..n_padding(length)])
    }

    /// Writes a list of strings.
    fn write_list<I>(&mut self, items: I) -> io::Result<()>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        let items = items.into_iter();
        self.write_number(items.len() as u64)?;
        items.into_iter().try_for_each(|item| self.write_bytes(item.as_ref()))
    }
}

impl<W: Write + ?Sized> WireWrite for W {}

/// Reads the primitives; every [`Read`] has them. Use a buffered one.
pub trait WireRead: Read {
    /// Reads a number.
    fn read_number(&mut self) -> Result<u64, WireError> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a number that must fit 32 bits, as those that the protocol calls *int* do.
    fn read_u32(&mut self) -> Result<u32, WireError> {
        let number = self.read_number()?;
        u32::try_from(number).map_err(|_| WireError::OutOfRange { number })
    }

    /// Reads a flag; any number but 0 is true.
    fn read_flag(&mut self) -> Result<bool, WireError> {
        Ok(self.read_number()? != 0)
    }

    /// Reads the length of a list or string, at most `limit`.
    fn read_length(&mut self, limit: usize) -> Result<usize, WireError> {
        let length = self.read_number()?;
        match usize::try_from(length) {
            Ok(n_items) if n_items <= limit => Ok(n_items),
            _ => Err(WireError::TooLong { length, limit }),
        }
    }

    /// Reads a string of at most `limit` bytes.
    fn read_bytes(&mut self, limit: usize) -> Result<Vec<u8>, WireError> {
        let length = self.read_length(limit)?;
        let bytes = read_claimed(self, length)?;
        let mut zeros = [0; 8];
        self.read_exact(&mut zeros[..n_padding(length as u64)])?;
        if zeros == [0; 8] { Ok(bytes) } else { Err(WireError::Padding) }
    }

    /// Reads a string of at most `limit` bytes that must be UTF-8.
    fn read_text(&mut self, limit: usize) -> Result<String, WireError> {
        String::from_utf8(self.read_bytes(limit)?).map_err(|_| WireError::NotUtf8)
    }

    /// Reads a list of strings; `limit` bounds their number and their total length in bytes.
    fn read_list(&mut self, limit: usize) -> Result<Vec<Vec<u8>>, WireError> {
        let n_items = self.read_length(limit)?;
        let mut left = limit;
        let mut items = Vec::new();
        for _ in 0..n_items {
            let item = self.read_bytes(left)?;
            left -= item.len();
            items.push(item);
        }
        Ok(items)
    }
}

impl<R: Read + ?Sized> WireRead for R {}

fn n_padding(length: u64) -> usize {
    (length.wrapping_neg() % 8) as usize
}

/// Reads as many bytes as a peer claims there are, without trusting the claim.
fn read_claimed(source: &mut (impl Read + ?Sized), length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(FIRST_CAPACITY));
    let n_read = source.take(length as u64).read_to_end(&mut bytes)?;
    if n_read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes a framed stream. [`FramedWriter::finish`] must be called, also when there is nothing more
/// to say: the peer waits for it.
#[derive(Debug)]
pub struct FramedWriter<W> {
    sink: W,
}

impl<W: Write> FramedWriter<W> {
    /// Begins a stream. Each write becomes a piece, so wrap this in a `BufWriter` for small ones.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Ends the stream and returns the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.write_number(0)?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

impl<W: Write> Write for FramedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A piece of no bytes would end the stream.
        if !bytes.is_empty() {
            self.sink.write_number(bytes.len() as u64)?;
            self.sink.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Reads a framed stream; at its end it reads as the end of a file.
#[derive(Debug)]
pub struct FramedReader<R> {
    source: R,
    /// Bytes left of the current piece.
    left: u64,
    is_done: bool,
}

impl<R: Read> FramedReader<R> {
    /// Begins to read a stream.
    pub fn new(source: R) -> Self {
        Self { source, left: 0, is_done: false }
    }

    /// Reads and drops what is left, so that the source stands behind the stream. Call it on every
    /// way out, errors too.
    pub fn drain(mut self) -> io::Result<R> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.source)
    }
}

impl<R: Read> Read for FramedReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.is_done || bytes.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut length = [0; 8];
            self.source.read_exact(&mut length)?;
            self.left = u64::from_le_bytes(length);
            if self.left == 0 {
                self.is_done = true;
                return Ok(0);
            }
        }
        let wanted = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n_read = self.source.read(&mut bytes[..wanted])?;
        if n_read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n_read as u64;
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primitives_round_trip() {
        for length in 0..20 {
            let string: Vec<u8> = (0..length).collect();
            let mut bytes = Vec::new();
            bytes.write_bytes(&string).unwrap();
            bytes.write_flag(true).unwrap();
            bytes.write_list([&b"a"[..], b"", b"ccccccccc"]).unwrap();
            assert_eq!(bytes.len() % 8, 0);
            let mut source = bytes.as_slice();
            assert_eq!(source.read_bytes(20).unwrap(), string);
            assert!(source.read_flag().unwrap());
            assert_eq!(source.read_list(10).unwrap(), [&b"a"[..], b"", b"ccccccccc"]);
            assert!(source.is_empty());
        }
    }

    /// The first bytes that `nix-store` 2.34.8 sends to a daemon: its magic and version 1.38.
    #[test]
    fn captured_greeting() {
        let mut bytes = Vec::new();
        bytes.write_number(0x6e69_7863).unwrap();
        bytes.write_number(1 << 8 | 38).unwrap();
        assert_eq!(bytes, b"cxin\0\0\0\0\x26\x01\0\0\0\0\0\0");
    }

    #[test]
    fn hostile_lengths_cost_nothing() {
        let claim = |length: u64| {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend_from_slice(b"abc");
            bytes
        };
        assert!(matches!(claim(u64::MAX).as_slice().read_bytes(usize::MAX - 1), Err(WireError::TooLong { .. })));
        assert!(matches!(claim(1 << 40).as_slice().read_bytes(1 << 41), Err(WireError::Io(_))));
        assert!(matches!(claim(1 << 40).as_slice().read_list(1 << 41), Err(WireError::Io(_))));
        assert!(matches!(claim(5).as_slice().read_bytes(4), Err(WireError::TooLong { length: 5, limit: 4 })));
        assert!(matches!(claim(1 << 32).as_slice().read_u32(), Err(WireError::OutOfRange { .. })));
        let padded = b"\x01\0\0\0\0\0\0\0a\0\0\0\0\0\0\x01";
        assert!(matches!((&padded[..]).read_bytes(9), Err(WireError::Padding)));
        let not_text = b"\x01\0\0\0\0\0\0\0\xff\0\0\0\0\0\0\0";
        assert!(matches!((&not_text[..]).read_text(9), Err(WireError::NotUtf8)));
        // Each item is within the bound, all together are not.
        let mut list = Vec::new();
        list.write_list([b"aaaa", b"bbbb"]).unwrap();
        assert!(matches!(list.as_slice().read_list(7), Err(WireError::TooLong { length: 4, limit: 3 })));
    }

    #[test]
    fn framed_streams_round_trip_and_drain() {
        let mut writer = FramedWriter::new(Vec::new());
        for piece in [&b"one"[..], b"", b"three"] {
            writer.write_all(piece).unwrap();
        }
        let mut bytes = writer.finish().unwrap();
        assert_eq!(bytes, b"\x03\0\0\0\0\0\0\0one\x05\0\0\0\0\0\0\0three\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"after");

        let mut reader = FramedReader::new(bytes.as_slice());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "onethree");
        assert_eq!(reader.drain().unwrap(), b"after");

        let mut half_read = FramedReader::new(bytes.as_slice());
        half_read.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(half_read.drain().unwrap(), b"after");

        for end in 0..bytes.len() - 5 {
            assert!(FramedReader::new(&bytes[..end]).drain().is_err());
        }
    }
}
