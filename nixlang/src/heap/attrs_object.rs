//! Attribute sets and their shapes.
//!
//! ```text
//! flat     [ &Shape ][ slot ] …            as many slots as the shape has names
//! layered  [ 1 ][ base ][ top ] …          a struct; `base // top` without copying base
//! ```
//! See `shape.rs` for shapes.
#![expect(unsafe_code, reason = "sets are of variable length and told apart by their first word")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::eval::statistics::count;
use super::object::{handle, pointer_of, word_of};
use super::word::Brand;
use super::{Heap, Shape, Slot, Value};
use crate::source::Pos;
use crate::symbol::{Symbol, SymbolTable};

handle! {
    /// An attribute set.
    Attrs
}

/// An attribute set that is not layered.
#[derive(Clone, Copy)]
pub struct FlatAttrs<'h> {
    /// The names.
    pub shape: &'h Shape<'h>,
    /// The values, in the shape's order.
    pub slots: &'h [Slot<'h>],
}

/// `base // top`.
#[repr(C)]
pub(super) struct Layered<'h> {
    marker: u64,
    base: Attrs<'h>,
    top: Attrs<'h>,
    len: Cell<u32>,
    depth: u32,
    flat: Cell<Option<Attrs<'h>>>,
}

/// One attribute.
#[derive(Clone, Copy)]
pub struct Entry<'h> {
    /// Its name.
    pub symbol: Symbol,
    /// Where it was defined.
    pub pos: Pos,
    /// Its value's place.
    pub slot: &'h Slot<'h>,
}

enum View<'h> {
    Flat(FlatAttrs<'h>),
    Layered(&'h Layered<'h>),
}

impl<'h> Attrs<'h> {
    #[inline]
    fn view(self) -> View<'h> {
        // SAFETY: the first word is 1 for a `Layered` made by `layered`, otherwise it was made from a `&'h Shape<'h>` by `attrs`, which also
        // initialised as many slots as that shape has names.
        unsafe {
            match self.pointer().read() {
                1 => View::Layered(self.pointer().cast().as_ref()),
                word => {
                    let shape: &'h Shape<'h> = pointer_of(word).cast().as_ref();
                    let slots = std::slice::from_raw_parts(self.pointer().add(1).cast().as_ptr(), shape.symbols().len());
                    View::Flat(FlatAttrs { shape, slots })
                }
            }
        }
    }

    /// Returns shape and slots if the set is not layered.
    #[inline]
    pub fn as_flat(self) -> Option<FlatAttrs<'h>> {
        match self.view() {
            View::Flat(flat) => Some(flat),
            View::Layered(_) => None,
        }
    }

    /// Returns the slot of a name.
    #[inline]
    pub fn get(self, symbol: Symbol) -> Option<&'h Slot<'h>> {
        self.find(symbol).map(|entry| entry.slot)
    }

    /// Returns the attribute of a name.
    #[inline]
    pub fn find(self, symbol: Symbol) -> Option<Entry<'h>> {
        let mut attrs = self;
        loop {
            match attrs.view() {
                View::Flat(flat) => return flat.find(symbol),
                View::Layered(layered) => match layered.top.find(symbol) {
                    Some(entry) => return Some(entry),
                    None => attrs = layered.base,
                },
            }
        }
    }

    /// Returns how many attributes there are.
    pub fn len(self, heap: &'h Heap) -> usize {
        match self.view() {
            View::Flat(flat) => flat.slots.len(),
            View::Layered(layered) => {
                if layered.len.get() == u32::MAX {
                    layered.len.set(self.flat(heap).slots.len() as u32);
                }
                layered.len.get() as usize
            }
        }
    }

    /// Returns an upper bound of the number of attributes, at no cost.
    pub fn len_bound(self) -> usize {
        match self.view() {
            View::Flat(flat) => flat.slots.len(),
            View::Layered(layered) => layered.base.len_bound() + layered.top.len_bound(),
        }
    }

    /// Returns how many layers there are besides the lowest.
    pub fn depth(self) -> u32 {
        match self.view() {
            View::Flat(_) => 0,
            View::Layered(layered) => layered.depth,
        }
    }

    /// Returns the set as shape and slots, merging layers if there are any (once per set).
    pub fn flat(self, heap: &'h Heap) -> FlatAttrs<'h> {
        match self.view() {
            View::Flat(flat) => flat,
            View::Layered(layered) => {
                if let Some(flat) = layered.flat.get().and_then(Attrs::as_flat) {
                    return flat;
                }
                let mut layers = vec![layered.top];
                let mut base = layered.base;
                let lowest = loop {
                    match base.view() {
                        View::Flat(flat) => break flat,
                        View::Layered(next) => match next.flat.get().and_then(Attrs::as_flat) {
                            Some(flat) => break flat,
                            None => {
                                layers.push(next.top);
                                base = next.base;
                            }
                        },
                    }
                };
                let mut entries: Vec<Entry<'h>> = lowest.iter().collect();
                for layer in layers.into_iter().rev() {
                    entries = merge(&entries, &layer.flat(heap).iter().collect::<Vec<_>>());
                }
                let attrs = heap.attrs_from_entries(entries.iter().map(|entry| (entry.symbol, entry.pos, entry.slot.get())));
                layered.flat.set(Some(attrs));
                attrs.as_flat().expect("made flat just now")
            }
        }
    }
}

/// Merges two sequences sorted by symbol; of equal symbols the one of `top` stays.
fn merge<'h>(base: &[Entry<'h>], top: &[Entry<'h>]) -> Vec<Entry<'h>> {
    let mut merged = Vec::with_capacity(base.len() + top.len());
    let (mut b, mut t) = (0, 0);
    while b < base.len() && t < top.len() {
        match base[b].symbol.cmp(&top[t].symbol) {
            std::cmp::Ordering::Less => {
                merged.push(base[b]);
                b += 1;
            }
            order => {
                merged.push(top[t]);
                t += 1;
                b += (order == std::cmp::Ordering::Equal) as usize;
            }
        }
    }
    merged.extend_from_slice(&base[b..]);
    merged.extend_from_slice(&top[t..]);
    merged
}

impl<'h> FlatAttrs<'h> {
    /// Returns the attribute of a name.
    #[inline]
    pub fn find(self, symbol: Symbol) -> Option<Entry<'h>> {
        let index = self.shape.find(symbol)?;
        Some(Entry { symbol, pos: self.shape.position(index), slot: &self.slots[index] })
    }

    /// Returns the attributes in symbol order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Entry<'h>> + DoubleEndedIterator {
        (0..self.slots.len()).map(move |index| self.entry(index))
    }

    /// Returns the attributes in the bytewise order of their names.
    pub fn iter_lexicographic(self, heap: &'h Heap, symbols: &SymbolTable<'h>) -> impl ExactSizeIterator<Item = Entry<'h>> + DoubleEndedIterator {
        self.shape.lexicographic(heap, symbols).iter().map(move |index| self.entry(*index as usize))
    }

    /// Returns the `index`th attribute in symbol order.
    pub fn entry(self, index: usize) -> Entry<'h> {
        Entry { symbol: self.shape.symbols()[index], pos: self.shape.position(index), slot: &self.slots[index] }
    }
}

impl Heap {
    /// Returns a set of a shape; `values` gives the values in the shape's order (missing ones become `null`).
    #[inline]
    pub fn attrs<'h>(&'h self, shape: &'h Shape<'h>, values: impl IntoIterator<Item = Value<'h>>) -> Attrs<'h> {
        let len = shape.symbols().len();
        count(&self.counters.sets, 1);
        count(&self.counters.set_elements, len);
        let pointer = self.words(1 + len);
        let mut values = values.into_iter();
        for i in 0..len {
            let value = values.next().unwrap_or(Value::NULL);
            // SAFETY: there is room for the header and `len` slots, and `i < len`.
            unsafe { pointer.add(1 + i).write(value.word()) };
        }
        // SAFETY: as above.
        unsafe { pointer.write(word_of(NonNull::from(shape))) };
        Attrs(pointer, PhantomData)
    }

    /// Returns a set of entries that are sorted by symbol and have no duplicates.
    pub fn attrs_from_entries<'h>(&'h self, entries: impl Iterator<Item = (Symbol, Pos, Value<'h>)> + Clone) -> Attrs<'h> {
        let names: Vec<(Symbol, Pos)> = entries.clone().map(|(symbol, pos, _)| (symbol, pos)).collect();
        let shape = self.shape(&names);
        self.attrs(shape, entries.map(|(_, _, value)| value))
    }

    /// Returns `base // top` that refers to both.
    pub fn layered<'h>(&'h self, base: Attrs<'h>, top: Attrs<'h>) -> Attrs<'h> {
        let depth = base.depth() + top.depth() + 1;
        let layered = Layered { marker: 1, base, top, len: Cell::new(u32::MAX), depth, flat: Cell::new(None) };
        Attrs(NonNull::from(self.alloc(layered)).cast(), PhantomData)
    }
}
