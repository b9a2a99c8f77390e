//! Interned names. A `Symbol` is a 32-bit number; the numbers are given in the order of first interning, and that order
//! is observable (attribute sets are forced and compared in it, as in the reference), so nothing may intern "ahead".

use std::cell::RefCell;

use hashbrown::HashTable;

use crate::heap::{Heap, Str};

/// An interned name. Ordered by when it was first interned, not by its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Symbol(pub u32);

/// The names of one engine. Each name is a string in the heap, so that it is a value without another copy.
pub struct SymbolTable<'h> {
    heap: &'h Heap,
    names: RefCell<Names<'h>>,
}

struct Names<'h> {
    by_number: Vec<Str<'h>>,
    by_text: HashTable<Entry>,
}

/// A symbol in the table. Its hash is kept, so that growing and most misses look at no text.
struct Entry {
    hash: u64,
    number: u32,
}

fn hash(text: &[u8]) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault};
    BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(text)
}

impl<'h> SymbolTable<'h> {
    /// Returns an empty table whose strings live in `heap`.
    pub fn new(heap: &'h Heap) -> Self {
        SymbolTable { heap, names: RefCell::new(Names { by_number: Vec::new(), by_text: HashTable::new() }) }
    }

    /// Returns the symbol of `text`, making one if it is new.
    pub fn intern(&self, text: &[u8]) -> Symbol {
        let names = &mut *self.names.borrow_mut();
        let hash = hash(text);
        let is_text = |entry: &Entry| entry.hash == hash && names.by_number[entry.number as usize].bytes() == text;
        match names.by_text.entry(hash, is_text, |entry| entry.hash) {
            hashbrown::hash_table::Entry::Occupied(entry) => Symbol(entry.get().number),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = names.by_number.len() as u32;
                entry.insert(Entry { hash, number });
                names.by_number.push(self.heap.str(text));
                Symbol(number)
            }
        }
    }

    /// Returns the symbol of `text` if it was interned before.
    pub fn lookup(&self, text: &[u8]) -> Option<Symbol> {
        let names = self.names.borrow();
        let found = names.by_text.find(hash(text), |entry| names.by_number[entry.number as usize].bytes() == text);
        found.map(|entry| Symbol(entry.number))
    }

    /// Returns the string of a symbol, as the heap's string object (it is also a value without context).
    pub fn str(&self, symbol: Symbol) -> Str<'h> {
        self.names.borrow().by_number[symbol.0 as usize]
    }

    /// Returns the text of a symbol.
    pub fn text(&self, symbol: Symbol) -> &'h [u8] {
        self.str(symbol).bytes()
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.names.borrow().by_number.len()
    }

    /// Returns how many names there are, and how many bytes they have.
    pub fn size(&self) -> (u64, u64) {
        let names = self.names.borrow();
        (names.by_number.len() as u64, names.by_number.iter().map(|name| name.bytes().len() as u64).sum())
    }

    /// Returns whether no name was interned yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
