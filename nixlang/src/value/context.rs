//! String contexts: the store objects that a string refers to. Contexts are hash-consed, so that equal contexts are the same
//! object and joining strings of one context costs a pointer comparison.

use std::cell::RefCell;

use hashbrown::HashTable;
use rustc_hash::FxHashMap;

use crate::heap::Heap;
use crate::symbol::{Symbol, SymbolTable};

/// What kind of reference a context element is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ContextKind {
    /// A store path as such.
    Opaque,
    /// A derivation with everything that it needs and makes: `=path` in the reference's notation.
    DeepDerivation,
    /// An output of a derivation: `!output!path`.
    Output,
}

/// One reference. Paths and output names are symbols of the context table's own symbol table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContextElement {
    /// What kind of reference it is.
    pub kind: ContextKind,
    /// The store path (of the derivation, for outputs), in full (`/nix/store/…`).
    pub path: Symbol,
    /// The output's name; the empty name otherwise.
    pub output: Symbol,
}

/// A set of references, not empty, sorted, without duplicates.
pub struct Context<'h> {
    /// The references.
    pub elements: &'h [ContextElement],
}

/// All contexts of one engine.
pub struct ContextTable<'h> {
    heap: &'h Heap,
    /// The paths and output names that occur in contexts. Not the evaluator's table, since symbol numbers there are observable.
    pub names: SymbolTable<'h>,
    contexts: RefCell<HashTable<&'h Context<'h>>>,
    unions: RefCell<FxHashMap<(usize, usize), &'h Context<'h>>>,
}

fn hash(elements: &[ContextElement]) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault};
    BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(elements)
}

/// Contexts to be united. Uniting many one after the other would take room that grows with the square of their number,
/// since every union on the way is kept.
#[derive(Default)]
pub(crate) struct ContextSum<'h> {
    parts: Vec<&'h Context<'h>>,
}

impl<'h> ContextSum<'h> {
    /// Adds one.
    pub(crate) fn add(&mut self, context: Option<&'h Context<'h>>) {
        if let Some(context) = context
            && !self.parts.last().is_some_and(|last| std::ptr::eq(*last, context))
        {
            self.parts.push(context);
        }
    }
}

impl<'h> ContextTable<'h> {
    /// Returns an empty table.
    pub fn new(heap: &'h Heap) -> Self {
        let names = SymbolTable::new(heap);
        names.intern(b"");
        ContextTable { heap, names, contexts: RefCell::default(), unions: RefCell::default() }
    }

    /// Returns the element of a store path.
    pub fn opaque(&self, path: &str) -> ContextElement {
        ContextElement { kind: ContextKind::Opaque, path: self.names.intern(path.as_bytes()), output: Symbol(0) }
    }

    /// Returns the element of a derivation with all that belongs to it.
    pub fn deep(&self, path: &str) -> ContextElement {
        ContextElement { kind: ContextKind::DeepDerivation, path: self.names.intern(path.as_bytes()), output: Symbol(0) }
    }

    /// Returns the element of a derivation's output.
    pub fn output(&self, path: &str, output: &str) -> ContextElement {
        ContextElement { kind: ContextKind::Output, path: self.names.intern(path.as_bytes()), output: self.names.intern(output.as_bytes()) }
    }

    /// Returns the path of an element, in full.
    pub fn path_text(&self, element: &ContextElement) -> &'h str {
        std::str::from_utf8(self.names.text(element.path)).expect("made from a str")
    }

    /// Returns the output name of an element.
    pub fn output_text(&self, element: &ContextElement) -> &'h str {
        std::str::from_utf8(self.names.text(element.output)).expect("made from a str")
    }

    /// Returns the context of these elements (any order, duplicates allowed), `None` if there are none.
    pub fn context(&self, mut elements: Vec<ContextElement>) -> Option<&'h Context<'h>> {
        if elements.is_empty() {
            return None;
        }
        elements.sort_unstable();
        elements.dedup();
        let mut contexts = self.contexts.borrow_mut();
        let hash_of = |context: &&'h Context<'h>| hash(context.elements);
        let entry = contexts.entry(hash(&elements), |context| context.elements == elements, hash_of);
        Some(match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let context: &'h Context<'h> = self.heap.alloc(Context { elements: self.heap.alloc_slice(elements) });
                entry.insert(context);
                context
            }
        })
    }

    /// Returns the union of contexts that were collected.
    pub(crate) fn sum(&self, sum: ContextSum<'h>) -> Option<&'h Context<'h>> {
        // Unions of few are probably remembered already.
        if sum.parts.len() < 8 {
            return sum.parts.into_iter().fold(None, |context, part| self.union(context, Some(part)));
        }
        self.context(sum.parts.iter().flat_map(|part| part.elements).copied().collect())
    }

    /// Returns the union of two contexts.
    pub fn union(&self, a: Option<&'h Context<'h>>, b: Option<&'h Context<'h>>) -> Option<&'h Context<'h>> {
        let (a, b) = match (a, b) {
            (None, other) | (other, None) => return other,
            (Some(a), Some(b)) if std::ptr::eq(a, b) => return Some(a),
            (Some(a), Some(b)) => (a, b),
        };
        let key = (std::ptr::from_ref(a).addr(), std::ptr::from_ref(b).addr());
        if let Some(union) = self.unions.borrow().get(&key) {
            return Some(union);
        }
        let union = self.context(a.elements.iter().chain(b.elements).copied().collect())?;
        self.unions.borrow_mut().insert(key, union);
        Some(union)
    }
}
