//! Shapes: the names of attribute sets with their positions, sorted by symbol number, apart from the values.
//!
//! Shapes of up to [`SHARED_UP_TO`] names are interned by content, so that sets of the same names and positions share one, whether they come from a
//! literal, from `//` or from a builtin. What `//` makes of two shared shapes is worked out once per pair (a transition). Shapes of any size share
//! their lists of names, and of positions, with others that have the same.
#![expect(unsafe_code, reason = "the table of a heap refers into that heap, which no lifetime can say")]

use std::cell::{Cell, OnceCell, RefCell};
use std::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::marker::PhantomData;
use std::ptr::NonNull;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;
use rustc_hash::FxHashMap;

use super::Heap;
use super::arena::Allocable;
use super::object::{pointer_of, word_of};
use crate::source::Pos;
use crate::symbol::{Symbol, SymbolTable};

/// Shapes of more names are not interned: they seldom recur, and comparing them costs.
const SHARED_UP_TO: usize = 64;

/// Lists of names and positions are shared from this length on: short ones take less than looking for them costs.
const LISTS_SHARED_FROM: usize = 24;

/// The names of an attribute set, sorted by symbol number, with the position of each.
pub struct Shape<'h> {
    number: u32,
    place: Cell<Pos>,
    symbols: &'h [Symbol],
    positions: &'h [Pos],
    lexicographic: OnceCell<&'h [u32]>,
    unplaced: OnceCell<&'h Shape<'h>>,
}

impl<'h> Shape<'h> {
    /// Returns the names, sorted by symbol number.
    #[inline]
    pub fn symbols(&self) -> &'h [Symbol] {
        self.symbols
    }

    /// Returns the position of the `index`th name.
    #[inline]
    pub fn position(&self, index: usize) -> Pos {
        self.positions.get(index).copied().unwrap_or(Pos::NONE)
    }

    /// Returns the positions (empty when none is known).
    pub fn positions(&self) -> &'h [Pos] {
        self.positions
    }

    /// Returns where the literal stands that sets of this shape come from, if they come from one.
    pub fn place(&self) -> Pos {
        self.place.get()
    }

    /// Notes where the literal of this shape stands. Without names and their positions that would say nothing of other sets.
    pub(crate) fn set_place(&self, place: Pos) {
        if !self.positions.is_empty() {
            self.place.set(place);
        }
    }

    /// Returns a number that identifies this shape in caches, 0 for one that is not shared.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the index of a name.
    #[inline]
    pub fn find(&self, symbol: Symbol) -> Option<usize> {
        if self.symbols.len() <= 8 {
            self.symbols.iter().position(|it| *it == symbol)
        } else {
            self.symbols.binary_search(&symbol).ok()
        }
    }

    /// Returns the shape of the same names without positions.
    pub fn without_positions(&'h self, heap: &'h Heap) -> &'h Shape<'h> {
        if self.positions.is_empty() {
            return self;
        }
        self.unplaced.get_or_init(|| {
            let names: Vec<_> = self.symbols.iter().map(|symbol| (*symbol, Pos::NONE)).collect();
            heap.shape(&names)
        })
    }

    /// Returns the indices in the bytewise order of the names.
    pub fn lexicographic(&self, heap: &'h Heap, symbols: &SymbolTable<'h>) -> &'h [u32] {
        self.lexicographic.get_or_init(|| {
            let mut indices: Vec<u32> = (0..self.symbols.len() as u32).collect();
            indices.sort_by_key(|index| symbols.text(self.symbols[*index as usize]));
            heap.alloc_slice(indices)
        })
    }
}

/// What `//` makes of two shapes.
pub struct Transition<'h> {
    /// The resulting shape.
    pub shape: &'h Shape<'h>,
    /// For each name of it, which slot its value comes from: twice the index, plus one for the right operand.
    pub plan: &'h [u32],
}

/// The shared shapes of one heap, by address: each was made by `shape` in that heap.
#[derive(Default)]
pub(super) struct ShapeTable {
    by_content: RefCell<HashTable<u64>>,
    transitions: RefCell<FxHashMap<(u32, u32), u64>>,
    names: SliceTable<Symbol>,
    positions: SliceTable<Pos>,
}

/// Slices of one heap by content: each was made by `intern` in that heap.
struct SliceTable<T>(RefCell<HashTable<KnownSlice>>, PhantomData<T>);

struct KnownSlice {
    hash: u64,
    address: u64,
    len: u32,
}

impl<T> Default for SliceTable<T> {
    fn default() -> Self {
        SliceTable(RefCell::default(), PhantomData)
    }
}

impl<T: Allocable + Copy + Eq + Hash> SliceTable<T> {
    /// Returns a slice of these items; if there are many of them, the same for the same items.
    fn intern<'h>(&self, heap: &'h Heap, items: impl ExactSizeIterator<Item = T>) -> &'h [T] {
        let len = match u32::try_from(items.len()) {
            Ok(len) if items.len() >= LISTS_SHARED_FROM => len,
            _ => return heap.alloc_slice(items),
        };
        let items: Vec<T> = items.collect();
        // SAFETY: the table holds addresses and lengths of slices of `T` of this heap, put in below, and they live as long as the heap.
        let slice_of = |known: &KnownSlice| -> &'h [T] { unsafe { std::slice::from_raw_parts(pointer_of(known.address).cast().as_ptr(), known.len as usize) } };
        let hash = BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(&items[..]);
        let mut table = self.0.borrow_mut();
        match table.entry(hash, |known| known.hash == hash && slice_of(known) == items, |known| known.hash) {
            TableEntry::Occupied(entry) => slice_of(entry.get()),
            TableEntry::Vacant(entry) => {
                let slice = heap.alloc_slice(items);
                entry.insert(KnownSlice { hash, address: word_of(NonNull::from(slice).cast::<T>()), len });
                slice
            }
        }
    }
}

fn hash(names: impl Iterator<Item = (Symbol, Pos)>) -> u64 {
    use std::hash::Hasher;
    let mut hasher = BuildHasherDefault::<rustc_hash::FxHasher>::default().build_hasher();
    names.for_each(|(symbol, pos)| hasher.write_u64((symbol.0 as u64) << 32 | pos.0 as u64));
    hasher.finish()
}

impl<'h> Shape<'h> {
    fn names(&self) -> impl ExactSizeIterator<Item = (Symbol, Pos)> {
        self.symbols.iter().enumerate().map(|(index, symbol)| (*symbol, self.position(index)))
    }
}

impl Heap {
    /// Returns the shape of these names, which are sorted by symbol and have no duplicates.
    pub fn shape<'h>(&'h self, names: &[(Symbol, Pos)]) -> &'h Shape<'h> {
        debug_assert!(names.is_sorted_by(|a, b| a.0 < b.0), "sorted, no duplicates");
        if names.len() > SHARED_UP_TO {
            return self.new_shape(names, 0);
        }
        // SAFETY: the table holds addresses of shapes of this heap, put in below, and shapes live as long as the heap.
        let shape_at = |word: u64| -> &'h Shape<'h> { unsafe { pointer_of(word).cast().as_ref() } };
        let mut table = self.shapes.by_content.borrow_mut();
        let is_same = |word: &u64| {
            let shape = shape_at(*word);
            shape.symbols.len() == names.len() && shape.names().eq(names.iter().copied())
        };
        match table.entry(hash(names.iter().copied()), is_same, |word| hash(shape_at(*word).names())) {
            TableEntry::Occupied(entry) => shape_at(*entry.get()),
            TableEntry::Vacant(entry) => {
                let shape = self.new_shape(names, self.next_shape_number());
                entry.insert(word_of(NonNull::from(shape)));
                shape
            }
        }
    }

    fn new_shape<'h>(&'h self, names: &[(Symbol, Pos)], number: u32) -> &'h Shape<'h> {
        let symbols = self.shapes.names.intern(self, names.iter().map(|name| name.0));
        let are_known = names.iter().any(|name| name.1.is_some());
        let positions = if are_known { self.shapes.positions.intern(self, names.iter().map(|name| name.1)) } else { &[] };
        self.alloc(Shape { number, place: Cell::default(), symbols, positions, lexicographic: OnceCell::new(), unplaced: OnceCell::new() })
    }

    /// Returns what `//` makes of two shapes, `None` where one is not shared or the result would not be.
    pub fn transition<'h>(&'h self, left: &'h Shape<'h>, right: &'h Shape<'h>) -> Option<&'h Transition<'h>> {
        if left.number == 0 || right.number == 0 || left.symbols.len() + right.symbols.len() > SHARED_UP_TO {
            return None;
        }
        let key = (left.number, right.number);
        if let Some(word) = self.shapes.transitions.borrow().get(&key) {
            // SAFETY: the table holds addresses of transitions of this heap, put in below, and they live as long as the heap.
            return Some(unsafe { pointer_of(*word).cast().as_ref() });
        }
        let (mut names, mut plan) = (Vec::new(), Vec::new());
        let (mut l, mut r) = (0, 0);
        while l < left.symbols.len() || r < right.symbols.len() {
            match (left.symbols.get(l), right.symbols.get(r)) {
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    names.push((*a, left.position(l)));
                    plan.push(2 * l as u32);
                    l += 1;
                }
                (a, _) => {
                    l += (a == right.symbols.get(r)) as usize;
                    names.push((right.symbols[r], right.position(r)));
                    plan.push(2 * r as u32 + 1);
                    r += 1;
                }
            }
        }
        let transition: &'h Transition<'h> = self.alloc(Transition { shape: self.shape(&names), plan: self.alloc_slice(plan) });
        self.shapes.transitions.borrow_mut().insert(key, word_of(NonNull::from(transition)));
        Some(transition)
    }
}
