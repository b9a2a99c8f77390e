//! The evaluator: options and state of one evaluation context on one heap. Read `eval/expr.rs` first: the one match over expressions.

mod call;
mod coerce;
mod compare;
mod debugger;
mod error;
mod expr;
mod force;
mod import;
mod interleave;
mod limits;
mod names;
mod observe;
mod operators;
mod print;
mod profile;
mod select;
mod session;
pub(crate) mod statistics;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustc_hash::FxHashMap;

pub use coerce::Coercion;
pub use debugger::{Debugger, Resume, StopReason, Stopped};
pub use error::{ErrorData, ErrorKind, EvalError, EvalResult, Frame};
pub use limits::{Budgets, CancelToken};
pub use names::Names;
pub use observe::{Call, Callee, Observer};
pub use profile::{FunctionProfile, Profiler};
pub use statistics::{CallCounter, Statistics, statistics_json};
pub use print::{PrintOptions, print_attr_name, print_string};
pub use session::session;

use crate::heap::{Env, Heap, Value};
use crate::host::Host;
use crate::host::internal::WithInternalFiles;
use crate::source::SourceMap;
use crate::symbol::SymbolTable;
use crate::value::ContextTable;

/// What can be chosen about an evaluation; everything has the reference's default.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Pure evaluation: no environment, no time, no search path.
    pub pure: bool,
    /// Nested calls until "stack overflow; max-call-depth exceeded".
    pub max_call_depth: u32,
    /// What the evaluation may use up.
    pub budgets: Budgets,
    /// `builtins.currentSystem`.
    pub system: String,
    /// `builtins.nixPath`: prefix and path of each entry, in order.
    pub search_path: Vec<(String, String)>,
    /// Where `~/` is.
    pub home: Option<String>,
    /// Names of the experimental features that are on.
    pub experimental_features: Vec<String>,
    /// Whether `builtins.traceVerbose` shows its message.
    pub trace_verbose: bool,
    /// Whether `builtins.warn` aborts.
    pub abort_on_warn: bool,
    /// Whether frames of calls are kept in errors' traces.
    pub show_trace: bool,
    /// What to say of literals that are discouraged.
    pub lints: crate::lower::Lints,
    /// Whether derivations and sources are written to the store, not only computed.
    pub read_write: bool,
    /// Whether a forge's archive of a commit counts as locked without a hash.
    pub trust_forge_archives: bool,
    /// What settings say of flakes.
    pub flakes: crate::flake::FlakeOptions,
}

impl Default for EvalOptions {
    fn default() -> Self {
        EvalOptions {
            pure: false,
            max_call_depth: 10_000,
            budgets: Budgets::default(),
            system: "x86_64-linux".into(),
            search_path: Vec::new(),
            home: None,
            experimental_features: Vec::new(),
            trace_verbose: false,
            abort_on_warn: false,
            show_trace: false,
            lints: Default::default(),
            read_write: false,
            trust_forge_archives: true,
            flakes: Default::default(),
        }
    }
}

impl EvalOptions {
    /// Returns whether an experimental feature is on.
    pub fn has_feature(&self, name: &str) -> bool {
        self.experimental_features.iter().any(|feature| feature == name)
    }
}

/// One evaluation context: everything that evaluating needs, on one heap.
///
/// Builtins get a reference to it and use: [`force`](Self::force) and its typed variants, [`call`](Self::call), the heap's constructors, [`coerce`](Self::coerce_to_string).
pub struct Evaluator<'h> {
    /// Where values live.
    pub heap: &'h Heap,
    /// Interned names.
    pub symbols: Rc<SymbolTable<'h>>,
    /// Symbols that the evaluator itself uses.
    pub names: Names,
    /// The sources read so far.
    pub sources: Rc<SourceMap>,
    /// String contexts.
    pub contexts: Rc<ContextTable<'h>>,
    /// The world outside.
    pub host: Box<dyn Host>,
    /// Options.
    pub options: EvalOptions,
    /// Caches of the builtins.
    pub caches: crate::builtins::Caches,
    /// Whether frames of calls are kept in errors' traces; begins as the options say.
    pub show_trace: Cell<bool>,
    globals: RefCell<FxHashMap<crate::symbol::Symbol, Value<'h>>>,
    imports: RefCell<FxHashMap<Vec<u8>, Value<'h>>>,
    sources_in_store: RefCell<FxHashMap<Vec<u8>, String>>,
    root: Env<'h>,
    /// What one parse leaves to the next.
    pub(crate) parse_scratch: Cell<crate::lower::Scratch>,
    call_depth: Cell<u32>,
    stack_limit: Cell<usize>,
    meter: limits::Meter,
    interleaving: interleave::Interleaving,
    /// Whether there is an observer that is to be told.
    observing: Cell<bool>,
    observer: RefCell<Option<Rc<dyn Observer<'h> + 'h>>>,
    functors_seen: RefCell<rustc_hash::FxHashSet<u64>>,
}

/// What the evaluators of one heap have in common: without it the values of one would mean nothing to another.
pub(crate) struct Tables<'h> {
    symbols: Rc<SymbolTable<'h>>,
    pub(crate) sources: Rc<SourceMap>,
    contexts: Rc<ContextTable<'h>>,
}

impl<'h> Tables<'h> {
    /// Returns empty tables.
    pub(crate) fn new(heap: &'h Heap) -> Self {
        Tables { symbols: Rc::new(SymbolTable::new(heap)), sources: Rc::default(), contexts: Rc::new(ContextTable::new(heap)) }
    }
}

impl<'h> Evaluator<'h> {
    /// Returns an evaluator on an empty heap.
    pub(crate) fn new(heap: &'h Heap, host: Box<dyn Host>, options: EvalOptions) -> Self {
        Self::with_tables(heap, &Tables::new(heap), host, options)
    }

    /// Returns one more evaluator on a heap. `tables` are the ones of that heap.
    pub(crate) fn with_tables(heap: &'h Heap, tables: &Tables<'h>, host: Box<dyn Host>, options: EvalOptions) -> Self {
        let names = Names::new(&tables.symbols);
        let evaluator = Evaluator {
            heap,
            names,
            symbols: Rc::clone(&tables.symbols),
            sources: Rc::clone(&tables.sources),
            contexts: Rc::clone(&tables.contexts),
            host: Box::new(WithInternalFiles(host)),
            show_trace: Cell::new(options.show_trace),
            options,
            caches: Default::default(),
            globals: RefCell::default(),
            imports: RefCell::default(),
            sources_in_store: RefCell::default(),
            root: heap.root_env(0),
            parse_scratch: Cell::default(),
            call_depth: Cell::new(0),
            stack_limit: Cell::new(0),
            meter: Default::default(),
            interleaving: Default::default(),
            observing: Cell::new(false),
            observer: RefCell::new(None),
            functors_seen: RefCell::default(),
        };
        evaluator.set_budgets(evaluator.options.budgets.clone());
        crate::builtins::register(&evaluator);
        evaluator
    }

    /// Makes `value` a global variable (and what the parser folds `builtins.x` to stays what it was).
    pub fn set_global(&self, symbol: crate::symbol::Symbol, value: Value<'h>) {
        self.globals.borrow_mut().insert(symbol, value);
    }

    /// Returns a global variable.
    pub fn global(&self, symbol: crate::symbol::Symbol) -> Option<Value<'h>> {
        self.globals.borrow().get(&symbol).copied()
    }

    /// Returns the names of all global variables, in no particular order.
    pub fn global_names(&self) -> Vec<crate::symbol::Symbol> {
        self.globals.borrow().keys().copied().collect()
    }

    /// Returns the outermost environment.
    pub fn root(&self) -> Env<'h> {
        self.root
    }
}
