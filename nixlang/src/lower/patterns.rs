//! Functions and their parameters. Names get their numbers when a production ends: a formal's
//! after its default, a parameter's after the body.

use std::cell::Cell;

use super::build::{Builder, Item};
use super::error::LowerErrorKind;
use super::tree::{Raw, RawFormal, RawFormals, RawLambda};
use crate::source::Pos;
use crate::symbol::Symbol;
use crate::syntax::parser::Step;

impl<'a> Builder<'a, '_> {
    pub(super) fn lambda(&mut self, position: u32) -> Step {
        let (body, _) = self.pop();
        let pos = self.pos(position);
        let parameter = self.items.pop();
        let (argument, formals) = match parameter {
            Some(Item::Parameter(name, _)) => (Some(self.symbols.intern(name)), None),
            Some(Item::Pattern { bind, entries, ellipsis }) => {
                let argument = bind.map(|(name, _)| self.symbols.intern(name));
                let mut sorted = Vec::with_capacity(entries.len());
                sorted.extend_from_slice(entries);
                sorted.sort_by_key(|formal| (formal.symbol, formal.pos));
                self.check_formals(&sorted, argument, pos)?;
                let entries = self.bump.alloc_slice_copy(&sorted);
                (argument, Some(RawFormals { entries, ellipsis }))
            }
            _ => unreachable!("the grammar sends a parameter here"),
        };
        let name = Cell::new(None);
        self.raw(Raw::Lambda(RawLambda { argument, formals, body, pos, name }), position);
        Ok(())
    }

    fn check_formals(
        &mut self,
        sorted: &[RawFormal<'a>],
        argument: Option<Symbol>,
        pos: Pos,
    ) -> Step {
        // Of several, the one with the lowest symbol number; of that, the second occurrence.
        let duplicate = sorted.windows(2).find(|pair| pair[0].symbol == pair[1].symbol);
        let duplicate = match duplicate {
            Some(pair) => Some((pair[1].symbol, pair[1].pos)),
            None => argument
                .filter(|name| sorted.binary_search_by_key(name, |formal| formal.symbol).is_ok())
                .map(|name| (name, pos)),
        };
        match duplicate {
            Some((symbol, pos)) => {
                let name = self.show_symbol(symbol);
                self.fail(LowerErrorKind::DuplicateFormal { name }, pos)
            }
            None => Ok(()),
        }
    }

    pub(super) fn pattern(&mut self, base: usize) {
        let mut entries = Vec::new();
        let (mut bind, mut ellipsis) = (None, false);
        for item in &self.items[base..] {
            match *item {
                Item::Formal(formal) => entries.push(formal),
                Item::Parameter(name, pos) => bind = Some((name, pos)),
                _ => ellipsis = true,
            }
        }
        self.items.truncate(base);
        let entries = self.bump.alloc_slice_copy(&entries);
        self.items.push(Item::Pattern { bind, entries, ellipsis });
    }

    pub(super) fn pattern_entry(&mut self, base: usize, position: u32) {
        let default = match self.items.len() > base {
            true => Some(self.pop().0),
            false => None,
        };
        let rest = &self.source[position as usize..];
        let length = rest.iter().take_while(|&&byte| is_identifier_byte(byte)).count();
        let symbol = self.symbols.intern(&rest[..length]);
        let pos = self.pos(position);
        self.items.push(Item::Formal(RawFormal { symbol, pos, default }));
    }
}

fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'-')
}
