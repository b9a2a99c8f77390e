//! From contents to the path and facts of a content-addressed object, while the contents pass by.
//!
//! Every object needs the hash of its NAR; its address may be the hash of something else (a file's plain bytes, another
//! algorithm). Both are computed in one pass over one stream, the NAR, whoever makes it.

use std::io::{self, BufRead, Read, Write};

use crate::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use crate::error::{Result, StoreError};
use crate::hash::{Algorithm, Hash, HashFormat, Hasher};
use crate::nar::{NarReader, NarWriter};
use crate::path::StoreDir;
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::references::{SelfReferenceHasher, SelfReferenceRule};
use crate::store::{Addressing, Contents};

/// Something that writes a NAR.
pub(crate) type WriteNar<'w> = dyn FnMut(&mut dyn Write) -> Result<()> + 'w;

/// Computes path and facts of an object whose NAR `write_nar` writes. It is called once.
pub(crate) fn address(dir: &StoreDir, addressing: &Addressing<'_>, write_nar: &mut WriteNar<'_>) -> Result<PathInfo> {
    let Addressing { name, method, algorithm, ref references } = *addressing;
    let (nar_hash, nar_size, hash) = hash_contents(method, algorithm, name, write_nar)?;
    let content =
        ContentAddressWithReferences { method, hash, references: references.clone(), self_reference: false };
    let path = dir
        .fixed_output_path(name, &content)
        .map_err(|error| StoreError::BadStorePath { path: name.to_owned(), reason: error.to_string() })?;
    let mut info = UnkeyedPathInfo::new(nar_hash, nar_size);
    info.references = content.references.clone();
    info.content_address = Some(content.content_address());
    Ok(PathInfo { path, info })
}

/// Computes path and facts of a content-addressed object without adding it anywhere.
///
/// # Errors
/// As [`Store::add_contents`](crate::store::Store::add_contents).
pub fn compute_info(dir: &StoreDir, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
    let mut contents = Some(contents);
    address(dir, addressing, &mut |sink| match contents.take().expect("asked for once") {
        Contents::Bytes(bytes) => write_file_nar(sink, bytes),
        Contents::Tree { path, filter } => crate::fs::dump(path, filter, sink),
        Contents::Nar(nar) => parse_nar(&mut Tee::new(&mut io::BufReader::new(nar), sink)),
    })
}

/// Makes sure that the contents of a path that claims a content address have it.
pub(crate) fn verify_contents(dir: &StoreDir, info: &PathInfo, write_nar: &mut WriteNar<'_>) -> Result<()> {
    let Some(content) = info.content_address_with_references() else { return Ok(()) };
    if content.self_reference {
        // Paths of both rules are about; which one made this path is not written down.
        let mut got = None;
        for rule in [SelfReferenceRule::Blanked, SelfReferenceRule::BlankedWithPlaces] {
            let mut sink = SelfReferenceHasher::new(content.hash.algorithm(), info.path.hash_digits(), rule);
            write_nar(&mut sink)?;
            let hash = sink.finish();
            if hash == content.hash {
                return Ok(());
            }
            got.get_or_insert(hash);
        }
        return Err(mismatch(dir, info, &content.hash, &got.expect("there is a rule")));
    }
    let plain_nar = content.method == ContentAddressMethod::Nar && content.hash.algorithm() == Algorithm::Sha256;
    let got = if plain_nar {
        info.nar_hash
    } else {
        hash_contents(content.method, content.hash.algorithm(), info.path.name(), write_nar)?.2
    };
    if got == content.hash {
        return Ok(());
    }
    Err(mismatch(dir, info, &content.hash, &got))
}

/// Returns hash and size of the NAR that `write_nar` writes, and the hash that an address of it has.
fn hash_contents(
    method: ContentAddressMethod,
    algorithm: Algorithm,
    name: &str,
    write_nar: &mut WriteNar<'_>,
) -> Result<(Hash, u64, Hash)> {
    if method == ContentAddressMethod::Git {
        return hash_as_git(algorithm, write_nar);
    }
    let mut sink = ContentsHasher::new(method, algorithm);
    write_nar(&mut sink)?;
    sink.finish(name)
}

/// Git's hash is of a tree, so somebody has to read the NAR while it is written.
fn hash_as_git(algorithm: Algorithm, write_nar: &mut WriteNar<'_>) -> Result<(Hash, u64, Hash)> {
    if !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256) {
        return Err(StoreError::Unsupported { operation: "git hashing with other algorithms than sha1 and sha256" });
    }
    let failed = |error| StoreError::format("hashing a NAR as git does", error);
    let (reader, writer) = io::pipe().map_err(failed)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut reader = io::BufReader::with_capacity(64 * 1024, reader);
            let hash = crate::git_hash::hash_nar(algorithm, &mut reader);
            // The writer shall not break off because of what follows the archive.
            io::copy(&mut reader, &mut io::sink()).ok();
            hash
        });
        let mut sink = NarAndPipe { nar: NarHasher::new(), pipe: io::BufWriter::with_capacity(64 * 1024, writer) };
        let written = write_nar(&mut sink).and_then(|()| sink.pipe.flush().map_err(failed));
        let NarAndPipe { nar, pipe } = sink;
        drop(pipe.into_parts());
        let hash = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written?;
        let hash = hash.map_err(|error| StoreError::format("hashing a NAR as git does", error))?;
        let (nar_hash, nar_size) = nar.finish();
        Ok((nar_hash, nar_size, hash))
    })
}

struct NarAndPipe {
    nar: NarHasher,
    pipe: io::BufWriter<io::PipeWriter>,
}

impl Write for NarAndPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.nar.write_all(bytes)?;
        self.pipe.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn mismatch(dir: &StoreDir, info: &PathInfo, specified: &Hash, got: &Hash) -> StoreError {
    StoreError::HashMismatch {
        path: dir.display(&info.path),
        specified: specified.format(HashFormat::Nix32, true),
        got: got.format(HashFormat::Nix32, true),
    }
}

/// Hashes a NAR, and beside it what the address is made from.
struct ContentsHasher {
    nar: NarHasher,
    address: AddressHasher,
}

enum AddressHasher {
    /// The NAR's own hash.
    Nar,
    /// The NAR with another algorithm.
    OtherNar(Hasher),
    /// The bytes of the file that the NAR holds.
    File(FileHasher),
}

impl ContentsHasher {
    fn new(method: ContentAddressMethod, algorithm: Algorithm) -> ContentsHasher {
        let address = match method {
            ContentAddressMethod::Nar if algorithm == Algorithm::Sha256 => AddressHasher::Nar,
            // Git's is another way.
            ContentAddressMethod::Nar | ContentAddressMethod::Git => AddressHasher::OtherNar(Hasher::new(algorithm)),
            ContentAddressMethod::Flat | ContentAddressMethod::Text => AddressHasher::File(FileHasher::new(algorithm)),
        };
        ContentsHasher { nar: NarHasher::new(), address }
    }

    /// Returns hash and size of the NAR and the hash for the address.
    fn finish(self, name: &str) -> Result<(Hash, u64, Hash)> {
        let (nar, nar_size) = self.nar.finish();
        let address = match self.address {
            AddressHasher::Nar => nar,
            AddressHasher::OtherNar(hasher) => hasher.finish(),
            AddressHasher::File(file) => {
                file.finish().ok_or_else(|| StoreError::UnsupportedFileType { path: name.into() })?
            }
        };
        Ok((nar, nar_size, address))
    }
}

impl Write for ContentsHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.nar.write_all(bytes)?;
        match &mut self.address {
            AddressHasher::Nar => {}
            AddressHasher::OtherNar(hasher) => hasher.update(bytes),
            AddressHasher::File(file) => file.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes the bytes of the one regular file in a NAR. What stands before them has one of two forms.
struct FileHasher {
    hasher: Hasher,
    head: Vec<u8>,
    state: FileState,
}

#[derive(PartialEq)]
enum FileState {
    Head,
    Contents { left: u64 },
    NoFile,
}

const FILE_HEADS: [&[u8]; 2] = [
    b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0type\0\0\0\0\
      \x07\0\0\0\0\0\0\0regular\0\x08\0\0\0\0\0\0\0contents",
    b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0type\0\0\0\0\
      \x07\0\0\0\0\0\0\0regular\0\x0a\0\0\0\0\0\0\0executable\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0contents",
];

impl FileHasher {
    fn new(algorithm: Algorithm) -> FileHasher {
        FileHasher { hasher: Hasher::new(algorithm), head: Vec::new(), state: FileState::Head }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        if self.state == FileState::Head {
            let longest = FILE_HEADS[1].len() + 8;
            let wanted = longest.saturating_sub(self.head.len()).min(bytes.len());
            // Byte by byte, since the shorter head ends in the middle of what the longer one would take.
            for taken in 1..=wanted {
                self.head.push(bytes[taken - 1]);
                let (head, size) = self.head.split_at(self.head.len().saturating_sub(8));
                if FILE_HEADS.contains(&head) {
                    let size = size.try_into().map_or(0, u64::from_le_bytes);
                    self.state = FileState::Contents { left: size };
                    bytes = &bytes[taken..];
                    break;
                }
            }
            if self.state == FileState::Head {
                if self.head.len() == longest {
                    self.state = FileState::NoFile;
                }
                return;
            }
        }
        if let FileState::Contents { left } = &mut self.state {
            let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.hasher.update(&bytes[..here]);
            *left -= here as u64;
        }
    }

    /// Returns the hash, or `None` if there was no whole regular file.
    fn finish(self) -> Option<Hash> {
        (self.state == FileState::Contents { left: 0 }).then(|| self.hasher.finish())
    }
}

/// Passes an archive on and gives a sink what is taken from it; what is only read ahead does not count.
pub(crate) struct Tee<'r, 's> {
    inner: &'r mut dyn BufRead,
    sink: &'s mut dyn Write,
    error: Option<io::Error>,
}

impl<'r, 's> Tee<'r, 's> {
    pub(crate) fn new(inner: &'r mut dyn BufRead, sink: &'s mut dyn Write) -> Tee<'r, 's> {
        Tee { inner, sink, error: None }
    }
}

impl BufRead for Tee<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if length == 0 {
            return;
        }
        // The buffer is not empty, so filling it only hands it out again.
        let written = self.inner.fill_buf().and_then(|buffer| self.sink.write_all(&buffer[..length]));
        self.inner.consume(length);
        self.error = self.error.take().or(written.err());
    }
}

impl Read for Tee<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.fill_buf()?.read(buffer)?;
        self.consume(n_read);
        Ok(n_read)
    }
}

/// Counts and hashes a NAR.
pub(crate) struct NarHasher {
    hasher: Hasher,
    size: u64,
}

impl NarHasher {
    pub(crate) fn new() -> NarHasher {
        NarHasher { hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }

    /// Returns hash and size of what was written.
    pub(crate) fn finish(self) -> (Hash, u64) {
        (self.hasher.finish(), self.size)
    }

    /// Makes sure that what was written is the NAR of `info`. Returns its size.
    pub(crate) fn check(self, dir: &StoreDir, info: &PathInfo) -> Result<u64> {
        let (hash, size) = self.finish();
        if hash != info.nar_hash {
            return Err(StoreError::HashMismatch {
                path: dir.display(&info.path),
                specified: info.nar_hash.format(HashFormat::Nix32, true),
                got: hash.format(HashFormat::Nix32, true),
            });
        }
        if info.nar_size != 0 && size != info.nar_size {
            return Err(StoreError::SizeMismatch { path: dir.display(&info.path), specified: info.nar_size, got: size });
        }
        Ok(size)
    }
}

impl Write for NarHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the NAR of a file with these bytes.
pub(crate) fn write_file_nar(sink: &mut dyn Write, contents: &[u8]) -> Result<()> {
    let mut nar = NarWriter::new(sink);
    nar.file(false, contents).and_then(|()| nar.finish().map(drop)).map_err(|error| StoreError::format("writing a NAR", error))
}

/// Reads a NAR to its end, making sure that it is one.
pub(crate) fn parse_nar(nar: &mut dyn BufRead) -> Result<()> {
    let mut reader = NarReader::new(nar);
    while reader.next_event().map_err(|error| StoreError::format("reading a NAR", error))?.is_some() {}
    Ok(())
}

/// Keeps what is written as long as it is not too much, and passes it on.
pub(crate) struct Spool<'s> {
    /// What was written, `None` once it was more than the limit.
    pub(crate) bytes: &'s mut Option<Vec<u8>>,
    pub(crate) limit: usize,
    pub(crate) sink: &'s mut dyn Write,
    /// Asked when the limit is reached: whether to break off, with an error.
    pub(crate) stop: Option<&'s mut dyn FnMut() -> bool>,
}

impl Write for Spool<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write_all(bytes)?;
        if let Some(kept) = self.bytes {
            if kept.len() + bytes.len() > self.limit {
                *self.bytes = None;
                if self.stop.as_mut().is_some_and(|stop| stop()) {
                    return Err(io::ErrorKind::QuotaExceeded.into());
                }
            } else {
                kept.extend_from_slice(bytes);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_nar(executable: bool, contents: &[u8]) -> Vec<u8> {
        let mut nar = FILE_HEADS[usize::from(executable)].to_vec();
        nar.extend((contents.len() as u64).to_le_bytes());
        nar.extend(contents);
        nar.resize(nar.len().next_multiple_of(8), 0);
        nar.extend(b"\x01\0\0\0\0\0\0\0)\0\0\0\0\0\0\0");
        nar
    }

    #[test]
    fn the_bytes_of_a_file_are_found_in_its_nar_in_any_chunks() {
        for executable in [false, true] {
            for contents in [&b""[..], b"x", &[7; 500]] {
                let nar = file_nar(executable, contents);
                for chunk in [1, 3, 8, 100, nar.len()] {
                    let mut hasher = FileHasher::new(Algorithm::Sha1);
                    nar.chunks(chunk).for_each(|chunk| hasher.update(chunk));
                    assert_eq!(hasher.finish(), Some(Hash::digest(Algorithm::Sha1, contents)));
                }
                let mut hasher = FileHasher::new(Algorithm::Sha1);
                hasher.update(&nar[..nar.len() - 16 - contents.len().next_multiple_of(8).max(1)]);
                assert_eq!(hasher.finish(), None, "cut short");
            }
        }
    }

    #[test]
    fn a_directory_has_no_bytes() {
        let mut hasher = FileHasher::new(Algorithm::Sha256);
        hasher.update(&FILE_HEADS[0][..40]);
        hasher.update(b"\x09\0\0\0\0\0\0\0directory\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0)\0\0\0\0\0\0\0");
        hasher.update(&[0; 200]);
        assert_eq!(hasher.finish(), None);
    }
}
