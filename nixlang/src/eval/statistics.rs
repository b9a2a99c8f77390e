//! Counts of what an evaluation did, for whoever wants to know why it is slow, and the reference's JSON form of them (`NIX_SHOW_STATS`).
//!
//! The surprising part: names are the reference's, the numbers are of this evaluator. It makes far fewer thunks, and where the reference
//! counts `Value` cells there are none here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::observe::{Call, Callee, Observer};
use super::{EvalError, EvalResult, Evaluator};

/// Counters of a heap. They only ever grow.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) thunks: Cell<u64>,
    pub(crate) envs: Cell<u64>,
    pub(crate) env_slots: Cell<u64>,
    pub(crate) lists: Cell<u64>,
    pub(crate) list_elements: Cell<u64>,
    pub(crate) sets: Cell<u64>,
    pub(crate) set_elements: Cell<u64>,
    pub(crate) exprs: Cell<u64>,
    pub(crate) avoided: Cell<u64>,
    pub(crate) lookups: Cell<u64>,
    pub(crate) updates: Cell<u64>,
    pub(crate) update_values: Cell<u64>,
    pub(crate) concats: Cell<u64>,
}

/// Adds to a counter.
#[inline(always)]
pub(crate) fn count(counter: &Cell<u64>, n: usize) {
    counter.set(counter.get().wrapping_add(n as u64));
}

/// What an evaluator has done so far. See [`Evaluator::statistics`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Calls and evaluated thunks.
    pub steps: u64,
    /// Thunks made.
    pub thunks: u64,
    /// Environments made, and slots in them.
    pub envs: (u64, u64),
    /// Lists made, and elements in them.
    pub lists: (u64, u64),
    /// Attribute sets made, and attributes in them.
    pub sets: (u64, u64),
    /// Expressions that sources were lowered to.
    pub exprs: u64,
    /// Values that needed no thunk where one might have been made.
    pub avoided_thunks: u64,
    /// Attributes that were selected.
    pub lookups: u64,
    /// Sets made by `//`, and attributes copied for them.
    pub updates: (u64, u64),
    /// Lists made by `++`.
    pub concats: u64,
    /// Interned names, and bytes in them.
    pub symbols: (u64, u64),
    /// Bytes on the heap.
    pub heap_bytes: u64,
    /// Sources read, and bytes in them.
    pub sources: (u64, u64),
}

impl<'h> Evaluator<'h> {
    /// Returns what was done so far.
    pub fn statistics(&self) -> Statistics {
        let counters = self.heap.counters();
        Statistics {
            steps: self.steps(),
            thunks: counters.thunks.get(),
            envs: (counters.envs.get(), counters.env_slots.get()),
            lists: (counters.lists.get(), counters.list_elements.get()),
            sets: (counters.sets.get(), counters.set_elements.get()),
            exprs: counters.exprs.get(),
            avoided_thunks: counters.avoided.get(),
            lookups: counters.lookups.get(),
            updates: (counters.updates.get(), counters.update_values.get()),
            concats: counters.concats.get(),
            symbols: self.symbols.size(),
            heap_bytes: self.heap.used_bytes() as u64,
            sources: self.sources.size(),
        }
    }
}

/// Counts calls per function. Give it to [`Evaluator::set_observer`].
#[derive(Default)]
pub struct CallCounter {
    calls: std::cell::RefCell<BTreeMap<Callee, u64>>,
}

impl CallCounter {
    /// Returns a counter that has counted nothing.
    pub fn new() -> Rc<CallCounter> {
        Rc::default()
    }

    /// Returns how often each function was called.
    pub fn calls(&self) -> BTreeMap<Callee, u64> {
        self.calls.borrow().clone()
    }
}

impl<'h> Observer<'h> for CallCounter {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        *self.calls.borrow_mut().entry(eval.callee(call.function)).or_default() += 1;
        Ok(())
    }

    fn leave(&self, _eval: &Evaluator<'h>, _call: &Call<'_, 'h>, _error: Option<&EvalError>) {}
}

/// Returns statistics in the reference's JSON form. `cpu_seconds` is what the process has used; `calls` adds `nrFunctionCalls`, `nrPrimOpCalls` and, if
/// `with_functions`, every function (`NIX_COUNT_CALLS`).
pub fn statistics_json(eval: &Evaluator<'_>, cpu_seconds: f64, calls: &CallCounter, with_functions: bool) -> Json {
    let it = eval.statistics();
    let calls = calls.calls();
    let sum = |of_builtins: bool| -> u64 {
        calls.iter().filter(|(callee, _)| matches!(callee, Callee::Builtin(_)) == of_builtins && **callee != Callee::Other).map(|(_, n)| n).sum()
    };
    const WORD: u64 = 8;
    let mut json = json!({
        "cpuTime": cpu_seconds,
        "time": { "cpu": cpu_seconds, "gc": 0.0, "gcFraction": 0.0 },
        "envs": { "number": it.envs.0, "elements": it.envs.1, "bytes": (it.envs.0 + it.envs.1) * WORD },
        "list": { "concats": it.concats, "elements": it.lists.1, "bytes": (it.lists.0 + it.lists.1) * WORD },
        "values": { "number": it.thunks, "bytes": it.thunks * 2 * WORD },
        "symbols": { "number": it.symbols.0, "bytes": it.symbols.1 },
        "sets": { "number": it.sets.0, "elements": it.sets.1, "bytes": (it.sets.0 + it.sets.1) * WORD },
        "sizes": { "Env": WORD, "Value": WORD, "Bindings": WORD, "Attr": WORD },
        "nrThunks": it.thunks,
        "nrAvoided": it.avoided_thunks,
        "nrExprs": it.exprs,
        "nrLookups": it.lookups,
        "nrOpUpdates": it.updates.0,
        "nrOpUpdateValuesCopied": it.updates.1,
        "nrSteps": it.steps,
        "nrFunctionCalls": sum(false),
        "nrPrimOpCalls": sum(true),
        // Nothing is collected while an evaluation runs.
        "gc": { "cycles": 0, "heapSize": eval.heap.allocated_bytes(), "totalBytes": it.heap_bytes },
        "sources": { "number": it.sources.0, "bytes": it.sources.1 },
    });
    if with_functions {
        let mut builtins = serde_json::Map::new();
        let mut functions = Vec::new();
        for (callee, n) in &calls {
            match callee {
                Callee::Builtin(name) => {
                    builtins.insert(String::from_utf8_lossy(eval.symbols.text(*name)).into_owned(), json!(n));
                }
                Callee::Lambda(name, pos) => {
                    let mut function = json!({ "count": n, "name": name.map(|name| String::from_utf8_lossy(eval.symbols.text(name)).into_owned()) });
                    if let Some(place) = eval.sources.locate(*pos) {
                        if let crate::source::Origin::File(file) = &place.source.origin {
                            function["file"] = json!(String::from_utf8_lossy(file));
                        }
                        function["line"] = json!(place.line);
                        function["column"] = json!(place.column);
                    }
                    functions.push((std::cmp::Reverse(*n), function));
                }
                _ => {}
            }
        }
        functions.sort_by_key(|it| it.0);
        json["primops"] = Json::Object(builtins);
        json["functions"] = functions.into_iter().map(|it| it.1).collect();
    }
    json
}
