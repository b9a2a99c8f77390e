//! Looks for store paths in a stream: their hash parts, 32 characters of a small alphabet, wherever they stand.
//!
//! The surprising part is what makes it fast: a window is read from its right end, and the first character that can't be
//! part of a hash moves the next window past it.

use std::collections::{BTreeSet, HashMap};

use nixlang_store::hash::nix32;
use nixlang_store::path::{HASH_LEN, StorePath};

/// Finds which of some paths a stream mentions.
pub(super) struct ReferenceScanner {
    candidates: HashMap<[u8; HASH_LEN], StorePath>,
    found: BTreeSet<StorePath>,
    /// The end of the stream so far, shorter than a hash.
    tail: Vec<u8>,
}

impl ReferenceScanner {
    /// Returns a scanner for these paths.
    pub(super) fn new(candidates: impl IntoIterator<Item = StorePath>) -> ReferenceScanner {
        let candidates = candidates.into_iter().map(|path| (path.hash_digits(), path)).collect();
        ReferenceScanner { candidates, found: BTreeSet::new(), tail: Vec::new() }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        // A hash that crosses the border starts in the tail.
        let n_border = bytes.len().min(HASH_LEN - 1);
        let mut border = std::mem::take(&mut self.tail);
        border.extend_from_slice(&bytes[..n_border]);
        self.scan(&border);
        if bytes.len() >= HASH_LEN {
            self.scan(bytes);
            border.clear();
            border.extend_from_slice(&bytes[bytes.len() - (HASH_LEN - 1)..]);
        } else if border.len() >= HASH_LEN {
            border.drain(..border.len() - (HASH_LEN - 1));
        }
        self.tail = border;
    }

    fn scan(&mut self, bytes: &[u8]) {
        let mut start = 0;
        while let Some(window) = bytes.get(start..start + HASH_LEN) {
            match window.iter().rposition(|&byte| !nix32::is_digit(byte)) {
                Some(foreign) => start += foreign + 1,
                None => {
                    let window: &[u8; HASH_LEN] = window.try_into().expect("the window is as long as a hash");
                    if let Some(path) = self.candidates.get(window) {
                        self.found.insert(path.clone());
                    }
                    start += 1;
                }
            }
        }
    }

    /// Returns the paths that were mentioned.
    pub(super) fn finish(self) -> BTreeSet<StorePath> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_found_wherever_chunks_end() {
        let path = |byte| StorePath::new([byte; 20], "name").unwrap();
        let text = format!("xx{}yy /nix/store/{}-name", path(1).hash_text(), path(2).hash_text());
        for n_chunk in 1..text.len() {
            let mut scanner = ReferenceScanner::new([path(1), path(2), path(3)]);
            for chunk in text.as_bytes().chunks(n_chunk) {
                scanner.update(chunk);
            }
            assert_eq!(scanner.finish(), [path(1), path(2)].into(), "chunks of {n_chunk}");
        }
    }

    #[test]
    fn what_is_almost_a_hash_is_none() {
        let path = StorePath::new([9; 20], "name").unwrap();
        let hash = path.hash_text();
        let mut scanner = ReferenceScanner::new([path.clone()]);
        scanner.update(&hash.as_bytes()[1..]);
        scanner.update(b"-");
        scanner.update(hash.to_uppercase().as_bytes());
        assert_eq!(scanner.finish(), BTreeSet::new());
    }
}
