//! Sources and positions. Every source that an engine reads gets a range of one virtual concatenation of all sources,
//! so that a position is a single 32-bit number; file, line and column are worked out only when somebody asks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host::internal;

/// A position: a byte offset into the virtual concatenation of all sources of one engine. Zero means "nowhere".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Pos(pub u32);

impl Pos {
    /// The position of things that come from no source.
    pub const NONE: Pos = Pos(0);

    /// Returns whether this is a place in some source.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }

    /// Returns this position, or `other` if this one is nowhere.
    pub fn or(self, other: Pos) -> Pos {
        if self.is_some() { self } else { other }
    }
}

/// Where a source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, by its canonical path.
    File(Arc<[u8]>),
    /// Text given by the caller (`--expr`).
    String,
    /// Text read from standard input.
    Stdin,
    /// A line of an interactive session.
    Repl,
}

/// One source: its text and where it comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where the text comes from.
    pub origin: Origin,
    /// The text, as bytes (it need not be UTF-8).
    pub text: Arc<[u8]>,
    /// The position of the first byte.
    pub start: Pos,
}

/// A position made readable: lines and columns count from 1, columns count bytes.
#[derive(Clone, Debug)]
pub struct Location {
    /// The source it lies in.
    pub source: Source,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// All sources of one engine, in the order in which they were added.
#[derive(Default)]
pub struct SourceMap {
    sources: RefCell<Vec<Source>>,
    /// Fetched trees: the root in the store, and how messages call it.
    trees: RefCell<BTreeMap<Vec<u8>, String>>,
}

/// The 4 GiB that positions can address are used up.
#[derive(Debug, thiserror::Error)]
#[error("the sources of this evaluation exceed 4 GiB")]
pub struct TooMuchSource;

impl SourceMap {
    /// Adds a source and returns the position of its first byte.
    pub fn add(&self, origin: Origin, text: Arc<[u8]>) -> Result<Pos, TooMuchSource> {
        let mut sources = self.sources.borrow_mut();
        // One position past the end belongs to the source as well (an error at its end), hence the gap of one.
        let start = sources.last().map_or(1, |last| last.start.0 as u64 + last.text.len() as u64 + 1);
        let end = start + text.len() as u64 + 1;
        if end > u32::MAX as u64 {
            return Err(TooMuchSource);
        }
        let start = Pos(start as u32);
        sources.push(Source { origin, text, start });
        Ok(start)
    }

    /// Has messages call the root of a fetched tree something else than its path.
    pub fn show_tree(&self, root: &[u8], shown: &str) {
        self.trees.borrow_mut().insert(root.to_owned(), shown.to_owned());
    }

    /// Returns how messages call the root of the tree that a path lies in, and the way from there; none if that is its path.
    pub fn tree_of(&self, path: &[u8]) -> Option<(String, String)> {
        let trees = self.trees.borrow();
        let (root, shown) = trees.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(path))).next_back()?;
        let below = path.strip_prefix(root.as_slice())?;
        let below = if below.is_empty() { below } else { below.strip_prefix(b"/")? };
        Some((shown.clone(), String::from_utf8_lossy(below).into_owned()))
    }

    /// Returns how messages call a path.
    pub fn shown_path(&self, path: &[u8]) -> String {
        match self.tree_of(path) {
            Some((root, below)) if below.is_empty() => root,
            Some((root, below)) => format!("{root}/{below}"),
            None => String::from_utf8_lossy(&internal::shown(path)).into_owned(),
        }
    }

    /// As [`SourceMap::locate`], with the file as messages call it.
    pub fn locate_shown(&self, pos: Pos) -> Option<Location> {
        let mut location = self.locate(pos)?;
        if let Origin::File(path) = &location.source.origin
            && (internal::is_internal(path) || self.tree_of(path).is_some())
        {
            location.source.origin = Origin::File(self.shown_path(path).into_bytes().into());
        }
        Some(location)
    }

    /// Returns how many sources there are, and how many bytes they have.
    pub fn size(&self) -> (u64, u64) {
        let sources = self.sources.borrow();
        (sources.len() as u64, sources.iter().map(|source| source.text.len() as u64).sum())
    }

    /// Returns the source that a position lies in.
    pub fn source(&self, pos: Pos) -> Option<Source> {
        if !pos.is_some() {
            return None;
        }
        let sources = self.sources.borrow();
        let after = sources.partition_point(|source| source.start <= pos);
        sources.get(after.checked_sub(1)?).cloned()
    }

    /// Returns file, line and column of a position; `None` for [`Pos::NONE`].
    /// LF, CR and CRLF end a line, as in the reference.
    pub fn locate(&self, pos: Pos) -> Option<Location> {
        let source = self.source(pos)?;
        let offset = ((pos.0 - source.start.0) as usize).min(source.text.len());
        let (mut line, mut line_start, mut i) = (1, 0, 0);
        while i < offset {
            match source.text[i] {
                b'\n' => (line, line_start) = (line + 1, i + 1),
                b'\r' if source.text.get(i + 1) != Some(&b'\n') => (line, line_start) = (line + 1, i + 1),
                _ => {}
            }
            i += 1;
        }
        Some(Location { source, line, column: (offset - line_start) as u32 + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_counts() {
        let map = SourceMap::default();
        let first = map.add(Origin::String, Arc::from(&b"a\nb\r\nc\rd"[..])).expect("small");
        let second = map.add(Origin::String, Arc::from(&b"x"[..])).expect("small");
        let at = |pos: u32| map.locate(Pos(pos)).map(|l| (l.line, l.column)).expect("in a source");
        assert_eq!(at(first.0), (1, 1));
        assert_eq!(at(first.0 + 2), (2, 1));
        assert_eq!(at(first.0 + 5), (3, 1));
        assert_eq!(at(first.0 + 7), (4, 1));
        assert_eq!(at(second.0), (1, 1));
        assert!(map.locate(Pos::NONE).is_none());
    }
}
