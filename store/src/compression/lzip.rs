//! Writing lzip, which liblzma can only read: a header, what its encoder of raw LZMA makes, and a trailer with the checksum.
//!
//! Format source: the manual of lzip, chapter "File format"; a whole file is one member.

use std::io::{self, Write};

use liblzma::stream::{Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

/// Sizes of the dictionary by level, as powers of two; those of xz.
const DICTIONARIES: [u8; 10] = [18, 20, 21, 22, 22, 23, 23, 24, 25, 26];

/// Compresses what is written to it.
pub(super) struct LzipEncoder<W: Write> {
    encoder: XzEncoder<Counting<W>>,
    checksum: flate2::Crc,
}

impl<W: Write> LzipEncoder<W> {
    /// `level` is 0 to 9.
    pub(super) fn new(level: u32, sink: W) -> io::Result<LzipEncoder<W>> {
        let dictionary = DICTIONARIES[level.min(9) as usize];
        let mut options = LzmaOptions::new_preset(level.min(9))?;
        options.dict_size(1 << dictionary);
        let mut filters = Filters::new();
        filters.lzma1(&options);
        let mut sink = Counting { sink, n_bytes: 0 };
        sink.write_all(&[b'L', b'Z', b'I', b'P', 1, dictionary])?;
        Ok(LzipEncoder { encoder: XzEncoder::new_stream(sink, Stream::new_raw_encoder(&filters)?), checksum: flate2::Crc::new() })
    }

    /// Writes what is left and returns the sink.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let n_bytes = self.encoder.total_in();
        self.encoder.try_finish()?;
        let mut sink = self.encoder.finish()?;
        sink.write_all(&self.checksum.sum().to_le_bytes())?;
        sink.write_all(&n_bytes.to_le_bytes())?;
        // With the trailer, of which these are the last bytes.
        let n_written = sink.n_bytes + 8;
        sink.write_all(&n_written.to_le_bytes())?;
        Ok(sink.sink)
    }
}

impl<W: Write> Write for LzipEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.encoder.write(bytes)?;
        self.checksum.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

struct Counting<W> {
    sink: W,
    n_bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
