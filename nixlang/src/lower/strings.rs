//! Strings, indented strings and paths out of their parts.

use super::build::{Builder, Item};
use super::tree::Raw;
use crate::source::Pos;
use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::Step;
use crate::syntax::text::IndentationFinder;

impl<'a> Builder<'a, '_> {
    /// Returns the expression of a `"…"` whose parts are the items from `base` on.
    pub(super) fn string(&mut self, base: usize) -> &'a Raw<'a> {
        let raw = match self.items[base..] {
            [] => Raw::String(b""),
            [Item::Text { text, .. }] => Raw::String(text),
            _ => {
                let parts = self.parts(base);
                let pos = parts.first().map_or(Pos::NONE, |part| part.1);
                Raw::Join { parts, interpolation: true, pos }
            }
        };
        self.items.truncate(base);
        self.bump.alloc(raw)
    }

    fn parts(&self, base: usize) -> &'a [(&'a Raw<'a>, Pos)] {
        let bump = self.bump;
        bump.alloc_slice_fill_iter(self.items[base..].iter().map(|item| match *item {
            Item::Text { text, pos, .. } => (&*bump.alloc(Raw::String(text)), pos),
            Item::Expression(raw, pos) => (raw, pos),
            _ => unreachable!("the grammar sends parts of a string here"),
        }))
    }

    /// Returns the expression of a `''…''` that starts at `pos`: indentation removed, empty parts
    /// dropped.
    pub(super) fn ind_string(&mut self, base: usize, pos: Pos) -> &'a Raw<'a> {
        let mut finder = IndentationFinder::default();
        for item in &self.items[base..] {
            match item {
                Item::Text { text, indentation: true, .. } => finder.text(text),
                _ => finder.other(),
            }
        }
        let mut stripper = finder.stripper();
        let count = self.items.len();
        let mut kept = base;
        let mut value = Vec::new();
        for index in base..count {
            match self.items[index] {
                Item::Text { text, pos, .. } => {
                    value.clear();
                    stripper.text(text, index + 1 == count, &mut value);
                    if value.is_empty() {
                        continue;
                    }
                    // Most parts of most strings are shorter than before, but not all.
                    let text =
                        if value == text { text } else { self.bump.alloc_slice_copy(&value) };
                    self.items[kept] = Item::Text { text, indentation: false, pos };
                }
                item => {
                    stripper.interpolation();
                    self.items[kept] = item;
                }
            }
            kept += 1;
        }
        self.items.truncate(kept);
        let raw = match self.items[base..] {
            [] => Raw::String(b""),
            [Item::Text { text, .. }] => Raw::String(text),
            // A single interpolated string literal is that literal.
            [Item::Expression(raw @ Raw::String(_), _)] => {
                self.items.truncate(base);
                return raw;
            }
            _ => Raw::Join { parts: self.parts(base), interpolation: true, pos },
        };
        self.items.truncate(base);
        self.bump.alloc(raw)
    }

    /// Returns the expression of a path that starts at `pos`.
    pub(super) fn path(&mut self, base: usize, pos: Pos) -> Step<&'a Raw<'a>> {
        let Item::Text { text, .. } = self.items[base] else {
            unreachable!("the grammar sends a path's first part here")
        };
        let kind = match text.first() {
            Some(b'~') => SyntaxKind::HomePath,
            _ => SyntaxKind::Path,
        };
        let resolved = self.resolve_path(kind, text, pos)?;
        let first = &*self.bump.alloc(Raw::Path(resolved));
        if self.items.len() == base + 1 {
            self.items.truncate(base);
            return Ok(first);
        }
        self.items[base] = Item::Expression(first, pos);
        let parts = self.parts(base);
        self.items.truncate(base);
        Ok(self.bump.alloc(Raw::Join { parts, interpolation: false, pos }))
    }
}
