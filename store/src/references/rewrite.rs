//! Replacing hash parts in a stream, and hashing contents that contain their own.
//!
//! The path of a content-addressed object follows from its contents, so an object that refers to
//! itself is hashed with its own hash part replaced by zero bytes ([`SelfReferenceHasher`]); later
//! the real one is put in ([`Rewriter`]). Lengths never change. The surprising thing: Nix up to 2.34
//! hashes only the blanked bytes, from 2.35 on also where the blanks are, so the same object has
//! another path; [`SelfReferenceRule`] says which.
//!
//! Format source: `HashModuloSink` in the reference; the captured hash in the tests.

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::next_match;
use crate::hash::{Algorithm, Hash, Hasher};
use crate::path::HASH_LEN;

/// Passes bytes on with hash parts replaced; call [`Rewriter::finish`] for the last ones.
#[derive(Debug)]
pub struct Rewriter<W> {
    sink: W,
    rewrites: FxHashMap<[u8; HASH_LEN], [u8; HASH_LEN]>,
    /// Bytes that have not been passed on because a hash part may begin in them.
    pending: Vec<u8>,
    /// Where in the stream `pending` begins.
    position: u64,
    matches: Vec<u64>,
}

impl<W: Write> Rewriter<W> {
    /// Replaces the digits of each pair's first by its second.
    pub fn new(sink: W, rewrites: impl IntoIterator<Item = ([u8; HASH_LEN], [u8; HASH_LEN])>) -> Self {
        let rewrites = rewrites.into_iter().collect();
        Self { sink, rewrites, pending: Vec::new(), position: 0, matches: Vec::new() }
    }

    /// Passes on what is left. Returns the sink and where replacements were made.
    pub fn finish(mut self) -> io::Result<(W, Vec<u64>)> {
        self.sink.write_all(&self.pending)?;
        Ok((self.sink, self.matches))
    }
}

impl<W: Write> Write for Rewriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(place) = next_match(&self.pending[done..], |digits| self.rewrites.contains_key(digits)) {
            let digits = self.pending[done + place..]
                .first_chunk_mut::<HASH_LEN>()
                .expect("a match is a whole window");
            *digits = self.rewrites[digits];
            self.matches.push(self.position + (done + place) as u64);
            done += place + HASH_LEN;
        }
        let passed = done.max(self.pending.len().saturating_sub(HASH_LEN - 1));
        self.sink.write_all(&self.pending[..passed])?;
        self.pending.drain(..passed);
        self.position += passed as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// How places of self-references take part in a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfReferenceRule {
    /// Not at all: Nix 2.34 and before.
    #[default]
    Blanked,
    /// Their list follows the contents: Nix 2.35 and later.
    BlankedWithPlaces,
}

/// Hashes contents modulo their own hash part.
///
/// ```
/// use std::io::Write;
/// use nixlang_store::hash::{Algorithm, Hash};
/// use nixlang_store::references::{SelfReferenceHasher, SelfReferenceRule};
///
/// let digits = *b"98lhlx17rqm2r7hx5n57d5rw6g1ff2a5";
/// let mut hasher = SelfReferenceHasher::new(Algorithm::Sha256, digits, SelfReferenceRule::Blanked);
/// hasher.write_all(b"I am 98lhlx17rqm2r7hx5n57d5rw6g1ff2a5-x")?;
/// let blanked = [&b"I am "[..], &[0; 32], b"-x"].concat();
/// assert_eq!(hasher.finish(), Hash::digest(Algorithm::Sha256, &blanked));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SelfReferenceHasher {
    rewriter: Rewriter<Hasher>,
    rule: SelfReferenceRule,
}

impl SelfReferenceHasher {
    /// Blanks `own_digits`.
    pub fn new(algorithm: Algorithm, own_digits: [u8; HASH_LEN], rule: SelfReferenceRule) -> Self {
        let rewriter = Rewriter::new(Hasher::new(algorithm), [(own_digits, [0; HASH_LEN])]);
        Self { rewriter, rule }
    }

    /// Returns the hash.
    pub fn finish(self) -> Hash {
        let (mut hasher, places) = self.rewriter.finish().expect("writing to a hasher does not fail");
        if self.rule == SelfReferenceRule::BlankedWithPlaces {
            for place in places {
                hasher.update(format!("|{place}").as_bytes());
            }
        }
        hasher.finish()
    }
}

impl Write for SelfReferenceHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rewriter.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nar::NarWriter;

    const OWN: [u8; HASH_LEN] = *b"98lhlx17rqm2r7hx5n57d5rw6g1ff2a5";
    const OTHER: [u8; HASH_LEN] = *b"17xqk9h2vk34q8j1vzswqkja6ds19yw4";

    /// The file that `nix store make-content-addressed` of Nix 2.34.8 moved to this path, and the
    /// hash that its path info has.
    #[test]
    fn captured_self_reference() {
        let dir = crate::path::StoreDir::DEFAULT;
        let text = format!(
            "self {dir}/98lhlx17rqm2r7hx5n57d5rw6g1ff2a5-selfref \
             ref {dir}/dxwkwjzdaq7ka55pkk252gh32bgpmql4-foo\n"
        );
        for piece_len in [1, 5, 31, 32, 33, 1000] {
            let mut nar = NarWriter::new(Vec::new());
            nar.file(false, text.as_bytes()).unwrap();
            let mut hasher = SelfReferenceHasher::new(Algorithm::Sha256, OWN, SelfReferenceRule::Blanked);
            for piece in nar.finish().unwrap().chunks(piece_len) {
                hasher.write_all(piece).unwrap();
            }
            assert_eq!(hasher.finish().to_string(), "sha256-BnTH3HdWHtpdbJvB/qKW3+U2yRKYec4zpC8/SbMIPIk=");
        }
    }

    #[test]
    fn any_pieces_give_the_same_result() {
        let text = [&OWN[..], b"-", &OWN[3..], &OWN, &OTHER, &OTHER[..20], &OWN].concat();
        let whole = [&OTHER[..], b"-", &OWN[3..], &OTHER, &OTHER, &OTHER[..20], &OTHER].concat();
        for piece_len in 1..text.len() {
            let mut rewriter = Rewriter::new(Vec::new(), [(OWN, OTHER)]);
            for piece in text.chunks(piece_len) {
                rewriter.write_all(piece).unwrap();
            }
            let (bytes, places) = rewriter.finish().unwrap();
            assert_eq!((bytes, places), (whole.clone(), vec![0, 62, 146]));
        }
    }

    #[test]
    fn places_tell_blanks_from_zeros() {
        let hash = |rule, bytes: &[u8]| {
            let mut hasher = SelfReferenceHasher::new(Algorithm::Sha256, OWN, rule);
            hasher.write_all(bytes).unwrap();
            hasher.finish()
        };
        let zeros = [0; HASH_LEN];
        assert_eq!(hash(SelfReferenceRule::Blanked, &OWN), hash(SelfReferenceRule::Blanked, &zeros));
        assert_eq!(
            hash(SelfReferenceRule::BlankedWithPlaces, &OWN),
            Hash::digest(Algorithm::Sha256, &[&zeros[..], b"|0"].concat()),
        );
    }
}
