//! The variables of a session: one frame that grows.
//!
//! Thunks keep the frame that they were made in, so a frame's slots are never changed, only filled; when all are used a larger copy takes over.

use std::collections::BTreeSet;

use crate::eval::Evaluator;
use crate::heap::{Env, Value};
use crate::lower::StaticScope;
use crate::symbol::Symbol;

const FIRST_SLOTS: usize = 1024;

pub(super) struct Scope<'h> {
    names: StaticScope,
    env: Env<'h>,
    n_slots: usize,
    /// What completion offers: these and the global variables.
    sorted: BTreeSet<Vec<u8>>,
}

impl<'h> Scope<'h> {
    pub(super) fn new(eval: &Evaluator<'h>) -> Scope<'h> {
        let sorted = eval.global_names().into_iter().map(|symbol| eval.symbols.text(symbol).to_vec()).collect();
        Scope { names: StaticScope::default(), env: eval.heap.env(eval.root(), FIRST_SLOTS), n_slots: FIRST_SLOTS, sorted }
    }

    /// Adds a variable. One of the same name is hidden from what is parsed from now on.
    pub(super) fn bind(&mut self, eval: &Evaluator<'h>, symbol: Symbol, value: Value<'h>) {
        let used = self.names.names.len();
        if used == self.n_slots {
            let larger = eval.heap.env(eval.root(), self.n_slots * 2);
            for slot in 0..used as u32 {
                larger.slot(slot).set(self.env.slot(slot).get());
            }
            (self.env, self.n_slots) = (larger, self.n_slots * 2);
        }
        self.env.slot(used as u32).set(value);
        self.names.names.push(symbol);
        self.sorted.insert(eval.symbols.text(symbol).to_vec());
    }

    pub(super) fn names(&self) -> &StaticScope {
        &self.names
    }

    pub(super) fn env(&self) -> Env<'h> {
        self.env
    }

    /// Returns the names that begin with a text, sorted.
    pub(super) fn with_prefix<'s>(&'s self, prefix: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        self.sorted.range(prefix.to_vec()..).map(Vec::as_slice).take_while(move |name| name.starts_with(prefix))
    }
}
