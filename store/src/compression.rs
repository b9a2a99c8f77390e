//! Compression of archives and answers: one way in and out for all methods that binary caches use.
//!
//! Everything streams, and no input makes a decoder take more than some hundred megabytes. The surprising thing:
//! the output of every method may be several streams one behind the other (that is how compressing in parallel works),
//! and all decoders here go on to the next one.

use std::io::{self, BufRead, BufReader, Read, Write};

mod lzip;

use lzip::LzipEncoder;

/// What a decoder may take in memory, in bytes. `xz -9` needs 65 MiB; nothing in use needs much more.
const DECODER_MEMORY: u64 = 256 << 20;

/// The largest window of zstd, as a power of two: 128 MiB, which is what decoders accept without being told.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A method of compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// None at all.
    None,
    /// `xz`
    Xz,
    /// `bzip2`
    Bzip2,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `lzma`, the format before xz
    Lzma,
    /// `lzip`
    Lzip,
    /// `lz4`, in frames
    Lz4,
    /// `deflate` with the zlib header, which HTTP knows; it can only be read
    Zlib,
}

impl Compression {
    /// Returns the method that a narinfo file or a setting names. An empty name is bzip2, see [`crate::narinfo`].
    pub fn from_name(name: &str) -> Option<Compression> {
        Some(match name {
            "none" => Compression::None,
            "xz" => Compression::Xz,
            "" | "bzip2" => Compression::Bzip2,
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            "br" => Compression::Brotli,
            "lzma" => Compression::Lzma,
            "lzip" => Compression::Lzip,
            "lz4" => Compression::Lz4,
            _ => return None,
        })
    }

    /// Returns the method of a `Content-Encoding`.
    pub fn from_content_encoding(name: &str) -> Option<Compression> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Compression::None,
            "x-gzip" => Compression::Gzip,
            "deflate" => Compression::Zlib,
            other => return Compression::from_name(other),
        })
    }

    /// Returns the method that the first bytes of a file show, `None` if they show none. Brotli has no mark.
    pub fn from_magic(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', ..] => Compression::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            [b'L', b'Z', b'I', b'P', ..] => Compression::Lzip,
            [0x04, 0x22, 0x4d, 0x18, ..] => Compression::Lz4,
            [0x5d, 0, 0, ..] => Compression::Lzma,
            _ => Compression::None,
        }
    }

    /// Returns the name that narinfo files use.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Brotli => "br",
            Compression::Lzma => "lzma",
            Compression::Lzip => "lzip",
            Compression::Lz4 => "lz4",
            Compression::Zlib => "deflate",
        }
    }

    /// Returns what the reference puts behind the name of a file that is compressed so, with the dot.
    pub fn extension(self) -> &'static str {
        match self {
            // The reference has none for gzip and the older methods.
            Compression::None | Compression::Zlib | Compression::Gzip | Compression::Lzma => "",
            Compression::Xz => ".xz",
            Compression::Bzip2 => ".bz2",
            Compression::Zstd => ".zst",
            Compression::Brotli => ".br",
            Compression::Lzip => ".lzip",
            Compression::Lz4 => ".lz4",
        }
    }
}

/// Returns a reader of the decompressed bytes.
///
/// # Errors
/// When the method can't be set up; what is wrong with the input shows while reading.
pub fn decoder<'r>(compression: Compression, source: impl BufRead + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let lzma = |stream: Result<liblzma::stream::Stream, liblzma::stream::Error>| stream.map_err(io::Error::from);
    use liblzma::stream::{CONCATENATED, Stream};
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Xz => {
            let stream = lzma(Stream::new_stream_decoder(DECODER_MEMORY, CONCATENATED))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Lzma => {
            let stream = lzma(Stream::new_lzma_decoder(DECODER_MEMORY))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Lzip => {
            let stream = lzma(Stream::new_lzip_decoder(DECODER_MEMORY, CONCATENATED))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Brotli => Box::new(brotli::Decompressor::new(source, 64 * 1024)),
        Compression::Lz4 => Box::new(Lz4Frames(lz4_flex::frame::FrameDecoder::new(source))),
    })
}

/// Goes on to the next frame where one ends.
struct Lz4Frames<R: Read>(lz4_flex::frame::FrameDecoder<R>);

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.0.read(buffer)?;
            if n > 0 || buffer.is_empty() || self.0.get_mut().fill_buf()?.is_empty() {
                return Ok(n);
            }
        }
    }
}

/// How something is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The method's own level; its default without.
    pub level: Option<i32>,
    /// Whether to use all processors, where the method can (xz and zstd).
    pub parallel: bool,
}

/// Compresses what is written to it.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Lzma(liblzma::write::XzEncoder<W>),
    Bzip2(bzip2::write::BzEncoder<W>),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Brotli(Box<brotli::CompressorWriter<W>>),
    Lzip(Box<LzipEncoder<W>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    /// Returns an encoder whose output goes to `sink`.
    ///
    /// # Errors
    /// When the method has no such level, or can only be read.
    pub fn new(compression: Compression, options: &EncoderOptions, sink: W) -> io::Result<Encoder<W>> {
        let level = options.level;
        let clamped = |default: u32, most: u32| level.map_or(default, |level| level.max(0).cast_unsigned().min(most));
        let n_threads = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        Ok(Encoder(match compression {
            Compression::None => Inner::None(sink),
            Compression::Xz if options.parallel => {
                let stream = liblzma::stream::MtStreamBuilder::new()
                    .threads(n_threads())
                    .preset(clamped(6, 9))
                    .check(liblzma::stream::Check::Crc64)
                    .encoder()?;
                Inner::Lzma(liblzma::write::XzEncoder::new_stream(sink, stream))
            }
            Compression::Xz => Inner::Lzma(liblzma::write::XzEncoder::new(sink, clamped(6, 9))),
            Compression::Lzma => {
                let options = liblzma::stream::LzmaOptions::new_preset(clamped(6, 9))?;
                let stream = liblzma::stream::Stream::new_lzma_encoder(&options)?;
                Inner::Lzma(liblzma::write::XzEncoder::new_stream(sink, stream))
            }
            Compression::Bzip2 => {
                Inner::Bzip2(bzip2::write::BzEncoder::new(sink, bzip2::Compression::new(clamped(9, 9).max(1))))
            }
            Compression::Gzip => Inner::Gzip(flate2::write::GzEncoder::new(sink, flate2::Compression::new(clamped(6, 9)))),
            Compression::Zstd => {
                let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let mut encoder = zstd::stream::write::Encoder::new(sink, level)?;
                if options.parallel {
                    encoder.multithread(n_threads())?;
                }
                Inner::Zstd(encoder)
            }
            Compression::Brotli => {
                let quality = clamped(11, 11);
                Inner::Brotli(Box::new(brotli::CompressorWriter::new(sink, 64 * 1024, quality, 22)))
            }
            Compression::Lzip => Inner::Lzip(Box::new(LzipEncoder::new(clamped(6, 9), sink)?)),
            Compression::Lz4 => {
                // It has no levels. Checksums show what is spoilt.
                let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB).content_checksum(true);
                Inner::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(info, sink)))
            }
            Compression::Zlib => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("compression method '{}' can only be read", compression.name()),
                ));
            }
        }))
    }

    /// Writes what is left and returns the sink.
    ///
    /// # Errors
    /// What the sink gave.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(sink) => Ok(sink),
            Inner::Lzma(encoder) => encoder.finish(),
            Inner::Bzip2(encoder) => encoder.finish(),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
            Inner::Brotli(mut encoder) => {
                encoder.flush()?;
                Ok(encoder.into_inner())
            }
            Inner::Lzip(encoder) => encoder.finish(),
            Inner::Lz4(encoder) => Ok(encoder.finish()?),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.0 {
            Inner::None(sink) => sink,
            Inner::Lzma(encoder) => encoder,
            Inner::Bzip2(encoder) => encoder,
            Inner::Gzip(encoder) => encoder,
            Inner::Zstd(encoder) => encoder,
            Inner::Brotli(encoder) => encoder,
            Inner::Lzip(encoder) => encoder,
            Inner::Lz4(encoder) => encoder,
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

/// Decompresses bytes that may become at most `limit`.
///
/// # Errors
/// When the input is malformed or too large.
pub fn decompress(compression: Compression, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let n = decoder(compression, BufReader::new(bytes))?.take(limit.saturating_add(1)).read_to_end(&mut out)?;
    if n as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {limit} bytes when decompressed")));
    }
    Ok(out)
}

/// Compresses bytes.
///
/// # Errors
/// As [`Encoder::new`].
pub fn compress(compression: Compression, options: &EncoderOptions, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(compression, options, Vec::new())?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITABLE: [Compression; 9] = [
        Compression::None,
        Compression::Xz,
        Compression::Bzip2,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Brotli,
        Compression::Lzma,
        Compression::Lzip,
        Compression::Lz4,
    ];

    fn text() -> Vec<u8> {
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n) / 7).to_le_bytes()).collect()
    }

    #[test]
    fn every_method_gives_back_what_it_took() {
        let text = text();
        for compression in WRITABLE {
            assert_eq!(Compression::from_name(compression.name()), Some(compression));
            for (level, parallel) in [(None, false), (Some(1), false), (Some(1), true), (Some(1000), false)] {
                let quick = matches!(compression, Compression::None | Compression::Gzip | Compression::Bzip2);
                if level == Some(1000) && !quick || level.is_none() && compression == Compression::Brotli {
                    continue;
                }
                let bytes = compress(compression, &EncoderOptions { level, parallel }, &text).unwrap();
                assert_eq!(decompress(compression, &bytes, u64::MAX).unwrap(), text, "{compression:?}");
                if compression != Compression::Brotli && compression != Compression::None {
                    assert_eq!(Compression::from_magic(&bytes), compression);
                }
            }
        }
    }

    #[test]
    fn streams_one_behind_the_other_are_one() {
        for compression in [Compression::Xz, Compression::Bzip2, Compression::Gzip, Compression::Zstd, Compression::Lzip, Compression::Lz4] {
            let mut bytes = compress(compression, &EncoderOptions::default(), b"one ").unwrap();
            bytes.extend(compress(compression, &EncoderOptions::default(), b"two").unwrap());
            assert_eq!(decompress(compression, &bytes, 100).unwrap(), b"one two", "{compression:?}");
        }
    }

    #[test]
    fn what_ends_early_or_is_spoilt_is_an_error() {
        let text = text();
        for compression in WRITABLE.into_iter().filter(|compression| *compression != Compression::None) {
            let bytes = compress(compression, &EncoderOptions { level: Some(1), parallel: false }, &text).unwrap();
            for end in [1, bytes.len() / 2, bytes.len() - 1] {
                let result = decompress(compression, &bytes[..end], u64::MAX);
                assert!(result.is_err() || compression == Compression::Lzma, "{compression:?} {end}");
            }
            assert!(decompress(compression, b"\xff\xfe\xfd\xfc what is this, and why", 100).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn what_the_reference_writes_is_read() {
        // Caches of 2.34.8 with `compression=…`; the archive of a file that says hello.
        for (compression, text) in [
            (Compression::Lz4, "BCJNGGRwuWAAAAAiDQABAPICbml4LWFyY2hpdmUtMQAAAAEXACMAKAgAEwQIAEB0eXBlCwAQBwUAwQAAAHJlZ3VsYXIACA4AsAAAY29udGVudHMGDQCWAAAAaGVsbG8KUACAKQAAAAAAAAAAAAAAJjWtZg=="),
            (Compression::Lzip, "TFpJUAEXAAaANh/vps6/droaek8r6qRTJO2hIwRx/1u/l2m68ym+JEmkcF2PMAtHKBMzvRezszyuOH2U7Eam+xwfZuTYK5wxi///a2wAAGiJBmt4AAAAAAAAAGMAAAAAAAAA"),
            (Compression::Lzma, "XQAAgAD//////////wAGgDYf76bOv3a6GnpPK+qkUyTtoSMEcf9bv5dpuvMpviRJpHBdjzALRygTM70Xs7M8rjh9lOxGpvscH2bk2CucMYv//2tsAAA="),
        ] {
            let bytes = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
            assert_eq!(Compression::from_magic(&bytes), compression);
            let mut archive = Vec::new();
            crate::addressed::write_file_nar(&mut archive, b"hello\n").unwrap();
            assert_eq!(decompress(compression, &bytes, 1000).unwrap(), archive);
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let zeros = vec![0; 1 << 20];
        for compression in WRITABLE {
            let bytes = compress(compression, &EncoderOptions { level: Some(1), parallel: false }, &zeros).unwrap();
            assert!(decompress(compression, &bytes, 1000).is_err(), "{compression:?}");
            assert_eq!(decompress(compression, &bytes, 1 << 20).unwrap(), zeros);
        }
    }
}
