//! Finding which store paths some bytes refer to.
//!
//! A reference is the hash part of a path, wherever its 32 digits stand in contents, names or link
//! targets of an archive. There is no parsing: of a set of candidates those are found whose digits
//! occur, and compressed or encoded contents hide theirs. The surprising thing: the bytes come in
//! pieces and digits may lie across a border, so the last 31 bytes are always kept.
//!
//! Speed: a window is read from its right end. Most bytes are no Nix32 digit, and one at the right
//! end rules out all windows that contain it, so about one byte in thirty-two is looked at.

use std::collections::BTreeSet;
use std::io;

use rustc_hash::FxHashMap;

use crate::hash::nix32;
use crate::path::{HASH_LEN, StorePath};

mod rewrite;

pub use rewrite::{Rewriter, SelfReferenceHasher, SelfReferenceRule};

const IS_DIGIT: [bool; 256] = {
    let mut table = [false; 256];
    let mut idx = 0;
    while idx < 256 {
        table[idx] = nix32::is_digit(idx as u8);
        idx += 1;
    }
    table
};

/// Collects which of a set of candidate paths occur in the bytes it is given; also an
/// [`io::Write`] that never fails, so that an archive can be written into it.
///
/// ```
/// use nixlang_store::path::StorePath;
/// use nixlang_store::references::ReferenceScanner;
///
/// let foo = StorePath::from_base_name("vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo")?;
/// let tree = StorePath::from_base_name("17xqk9h2vk34q8j1vzswqkja6ds19yw4-tree")?;
/// let mut scanner = ReferenceScanner::new([foo.clone(), tree]);
/// scanner.update(b"#!/nix/store/vxjiwkjkn7x4079q");
/// scanner.update(b"vh1jkl5pn05j2aw0-foo/bin/sh\n");
/// assert_eq!(scanner.found().iter().collect::<Vec<_>>(), [&foo]);
/// # Ok::<(), nixlang_store::path::StorePathError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReferenceScanner {
    /// Candidates that have not been found yet, by their digits.
    missing: FxHashMap<[u8; HASH_LEN], Vec<StorePath>>,
    found: BTreeSet<StorePath>,
    /// The last bytes of the previous pieces, fewer than `HASH_LEN`.
    tail: Vec<u8>,
}

impl ReferenceScanner {
    /// Looks for these paths.
    pub fn new(candidates: impl IntoIterator<Item = StorePath>) -> Self {
        let mut missing: FxHashMap<_, Vec<StorePath>> = FxHashMap::default();
        for path in candidates {
            missing.entry(path.hash_digits()).or_default().push(path);
        }
        Self { missing, found: BTreeSet::new(), tail: Vec::with_capacity(2 * HASH_LEN) }
    }

    /// Searches the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        if self.missing.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            // Windows that begin in the tail; those that begin in the piece come below.
            let mut border = std::mem::take(&mut self.tail);
            border.extend_from_slice(&piece[..piece.len().min(HASH_LEN - 1)]);
            self.search(&border);
            if piece.len() < HASH_LEN - 1 {
                // The border is all there is to keep from.
                border.drain(..border.len().saturating_sub(HASH_LEN - 1));
                self.tail = border;
                return;
            }
            border.clear();
            self.tail = border;
        }
        self.search(piece);
        let keep = piece.len().min(HASH_LEN - 1);
        self.tail.extend_from_slice(&piece[piece.len() - keep..]);
    }

    /// Returns the candidates found so far.
    pub fn found(&self) -> &BTreeSet<StorePath> {
        &self.found
    }

    /// Returns the candidates found.
    pub fn into_found(self) -> BTreeSet<StorePath> {
        self.found
    }

    fn search(&mut self, bytes: &[u8]) {
        let Self { missing, found, .. } = self;
        // The search ends at a match only when nothing is left to look for.
        next_match(bytes, |window| {
            let Some(paths) = missing.remove(window) else {
                return false;
            };
            found.extend(paths);
            missing.is_empty()
        });
    }
}

/// Offers each window of 32 digits to `accept` from left to right; returns the place of the first
/// that it takes.
fn next_match(bytes: &[u8], mut accept: impl FnMut(&[u8; HASH_LEN]) -> bool) -> Option<usize> {
    let mut start = 0;
    // How many bytes at the start of the window are known to be digits.
    let mut n_known = 0;
    while let Some(window) = bytes[start..].first_chunk::<HASH_LEN>() {
        match window[n_known..].iter().rposition(|byte| !IS_DIGIT[usize::from(*byte)]) {
            Some(position) => {
                // What is right of that byte has just been seen to be digits.
                let position = n_known + position;
                start += position + 1;
                n_known = HASH_LEN - 1 - position;
            }
            None if accept(window) => return Some(start),
            None => {
                start += 1;
                n_known = HASH_LEN - 1;
            }
        }
    }
    None
}

impl io::Write for ReferenceScanner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Algorithm, Hash};

    fn path(seed: u8) -> StorePath {
        let hash = Hash::digest(Algorithm::Sha1, &[seed]);
        StorePath::new(hash.compress_to_20(), "x").unwrap()
    }

    /// What to look for, by trying every window.
    fn expected(candidates: &[StorePath], bytes: &[u8]) -> BTreeSet<StorePath> {
        let occurs = |path: &&StorePath| bytes.windows(HASH_LEN).any(|window| window == path.hash_digits());
        candidates.iter().filter(occurs).cloned().collect()
    }

    /// Bytes full of digits and of parts of candidates, from a fixed sequence.
    fn material(candidates: &[StorePath], length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut state = Hash::digest(Algorithm::Sha256, &[seed]);
        while bytes.len() < length {
            let [choice, pick, cut, ..] = *state.as_bytes() else { unreachable!("32 bytes") };
            let digits = candidates[usize::from(pick) % candidates.len()].hash_digits();
            match choice % 5 {
                0 => bytes.extend_from_slice(&digits),
                1 => bytes.extend_from_slice(&digits[usize::from(cut % 32)..]),
                2 => bytes.extend_from_slice(&digits[..usize::from(cut % 32)]),
                3 => bytes.extend(std::iter::repeat_n(b'0', usize::from(cut % 70))),
                _ => bytes.extend_from_slice(&state.as_bytes()[..usize::from(cut % 32)]),
            }
            state = Hash::digest(Algorithm::Sha256, state.as_bytes());
        }
        bytes
    }

    #[test]
    fn any_split_finds_what_trying_every_window_finds() {
        let candidates: Vec<StorePath> = (0..6).map(path).collect();
        for seed in 0..60 {
            let bytes = material(&candidates, 80 + usize::from(seed) * 5, seed);
            // Only some occur, so that a scanner that finds everything fails.
            let bytes = &bytes[usize::from(seed % 40)..];
            let expected = expected(&candidates, bytes);
            for piece_len in [1, 2, 7, 30, 31, 32, 33, 63, 64, 1000] {
                let mut scanner = ReferenceScanner::new(candidates.clone());
                for piece in bytes.chunks(piece_len) {
                    scanner.update(piece);
                }
                assert_eq!(scanner.found(), &expected, "seed {seed}, pieces of {piece_len}");
            }
            for border in 0..bytes.len() {
                let mut scanner = ReferenceScanner::new(candidates.clone());
                scanner.update(&bytes[..border]);
                scanner.update(&bytes[border..]);
                assert_eq!(scanner.found(), &expected, "seed {seed}, border at {border}");
            }
        }
    }

    #[test]
    fn paths_with_equal_hash_part_are_found_together() {
        let one = path(1);
        let two = StorePath::new(one.hash_part(), "y").unwrap();
        let mut scanner = ReferenceScanner::new([one.clone(), two.clone()]);
        scanner.update(&one.hash_digits());
        assert_eq!(scanner.into_found(), BTreeSet::from([one, two]));
    }

    /// `nix-store -q --references` of the captured derivation in Nix 2.34.8.
    #[test]
    fn references_of_a_captured_file() {
        let text = include_bytes!("../fixtures/derivations/j3mz2dx8wm8f8ks7x58shramh032bhgh-multi-1.0.drv");
        let references = [
            "39jrpsdaw854xlfg7iwxknvcjsvmi3xb-src.tar.drv",
            "61d20cwys71nr57zl1qhazrg8pwvfs3q-recursive.drv",
            "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo",
        ]
        .map(|name| StorePath::from_base_name(name).unwrap());
        let mut scanner = ReferenceScanner::new(references.iter().cloned().chain((0..9).map(path)));
        scanner.update(text);
        assert!(scanner.found().iter().eq(&references));
    }
}
