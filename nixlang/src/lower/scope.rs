//! Static scopes: which slot of which frame a name means.
//!
//! A frame is what exists at run time; several scopes may share one (the `let`s of a function's
//! body live in the function's frame). Each name has a chain of the bindings that are visible,
//! innermost first, so that entering and leaving a scope cost as much as it has names.

use rustc_hash::FxHashMap;

use super::expr::FrameSlot;
use crate::source::Pos;
use crate::symbol::Symbol;

const NONE: u32 = u32::MAX;

struct Entry {
    symbol: Symbol,
    level: u32,
    slot: u32,
    /// The entry of the same name that this one hides.
    hidden: u32,
}

/// The scopes around the expression that is being resolved.
#[derive(Default)]
pub(super) struct Scopes {
    visible: FxHashMap<Symbol, u32>,
    entries: Vec<Entry>,
    /// For each frame, how many slots it has so far.
    frames: Vec<u32>,
    /// Frame level, slot and place of each `with`, outermost first.
    withs: Vec<(u32, u32, Pos)>,
}

/// What one frame brings into scope, for debuggers.
#[derive(Debug, Default)]
pub(crate) struct FrameNames {
    /// Names with their slots, in the order of their binding; those hidden further in are left out.
    pub(crate) names: Vec<(Symbol, u32)>,
    /// The slots that hold the scopes of `with`s, innermost first.
    pub(crate) withs: Vec<u32>,
}

/// How many bindings there were; names bound later can be left out of a lookup, or unbound.
#[derive(Clone, Copy)]
pub(super) struct Mark(u32);

impl Scopes {
    /// Returns the level of the innermost frame.
    pub(super) fn level(&self) -> u32 {
        self.frames.len() as u32 - 1
    }

    /// Begins a frame of this many slots.
    pub(super) fn enter_frame(&mut self, slots: u32) {
        self.frames.push(slots);
    }

    /// Ends a frame and returns how many slots it got in the end.
    pub(super) fn leave_frame(&mut self) -> u32 {
        self.frames.pop().expect("frames are left as often as entered")
    }

    /// Takes slots of the innermost frame and returns the first one.
    pub(super) fn take_slots(&mut self, count: u32) -> u32 {
        let frame = self.frames.last_mut().expect("there is the outermost frame");
        let first = *frame;
        *frame += count;
        first
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.entries.len() as u32)
    }

    /// Binds a name to a slot of the innermost frame.
    pub(super) fn bind(&mut self, symbol: Symbol, slot: u32) {
        let level = self.level();
        let hidden = self.visible.insert(symbol, self.entries.len() as u32).unwrap_or(NONE);
        self.entries.push(Entry { symbol, level, slot, hidden });
    }

    /// Forgets what was bound since.
    pub(super) fn unbind(&mut self, mark: Mark) {
        while self.entries.len() as u32 > mark.0 {
            let entry = self.entries.pop().expect("there are more than marked");
            if entry.hidden == NONE {
                self.visible.remove(&entry.symbol);
            } else {
                self.visible.insert(entry.symbol, entry.hidden);
            }
        }
    }

    /// Returns the names in scope, some more than once.
    pub(super) fn names(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.entries.iter().map(|entry| entry.symbol)
    }

    /// Returns what is in scope, frame by frame, innermost first.
    pub(super) fn snapshot(&self) -> Vec<FrameNames> {
        let mut frames: Vec<_> = self.frames.iter().map(|_| FrameNames::default()).collect();
        let mut latest: FxHashMap<Symbol, usize> = FxHashMap::default();
        for (index, entry) in self.entries.iter().enumerate() {
            latest.insert(entry.symbol, index);
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if latest[&entry.symbol] == index {
                frames[entry.level as usize].names.push((entry.symbol, entry.slot));
            }
        }
        for &(level, slot, _) in self.withs.iter().rev() {
            frames[level as usize].withs.push(slot);
        }
        frames.reverse();
        frames
    }

    /// Returns level and slot of a name as it was bound at the mark.
    pub(super) fn find(&self, symbol: Symbol, mark: Mark) -> Option<(u32, u32)> {
        let mut index = *self.visible.get(&symbol)?;
        while index >= mark.0 {
            if index == NONE {
                return None;
            }
            index = self.entries[index as usize].hidden;
        }
        let entry = &self.entries[index as usize];
        Some((entry.level, entry.slot))
    }

    /// Begins a `with` whose scope is in this slot of the innermost frame.
    pub(super) fn enter_with(&mut self, slot: u32, pos: Pos) {
        self.withs.push((self.level(), slot, pos));
    }

    pub(super) fn leave_with(&mut self) {
        self.withs.pop();
    }

    /// Returns where the scopes of the `with`s around are, innermost first, seen from `level`.
    pub(super) fn withs(&self, level: u32) -> impl ExactSizeIterator<Item = FrameSlot> + '_ {
        self.withs.iter().rev().map(move |&(with_level, slot, pos)| FrameSlot {
            depth: (level - with_level) as u16,
            slot,
            pos,
        })
    }
}
