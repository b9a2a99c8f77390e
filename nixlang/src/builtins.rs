//! The builtin functions: the registry, and how one is written.
//!
//! A builtin is a plain function and a line in the `BUILTINS` table of its file:
//!
//! ```text
//! pub(super) const BUILTINS: &[Definition] = &[
//!     Definition::new("head", &["list"], head).strict(1).doc("Returns the first element of *list*."),
//! ];
//!
//! fn head<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
//!     let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to 'builtins.head'")?;
//!     …
//! }
//! ```
//! It gets exactly as many arguments as it names, each possibly a thunk, and returns a value that may be a thunk (it is forced by the caller). Errors get
//! "while calling the 'head' builtin" from the caller. Reading slots: `slot.get()` is the element as it is (keep the cell, don't force it, where a value is passed on);
//! `eval.force_slot_at(slot, pos)` forces. The registry is made per evaluator; there are no statics.

mod arithmetic;
mod attrs;
mod context;
mod control;
mod derivation;
pub(crate) mod fetch;
mod flake;
pub(crate) mod flake_ref;
mod functions;
mod hash;
mod json;
mod lists;
mod order;
mod paths;
mod regex;
mod sort;
mod strings;
mod toml;
mod types;
mod versions;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod text_tests;

use std::cell::RefCell;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Boxed, Builtin, BuiltinBody, Heap, Value};
use crate::source::Pos;

/// What a builtin written in Rust is.
pub type Run = for<'h> fn(&Evaluator<'h>, &[Value<'h>], Pos) -> EvalResult<Value<'h>>;

/// A builtin as its file defines it.
#[derive(Clone, Copy)]
pub struct Definition {
    /// Its name, without underscores.
    pub name: &'static str,
    /// Names of its arguments.
    pub arguments: &'static [&'static str],
    /// What it does, in Markdown.
    pub doc: &'static str,
    /// Bit `i`: argument `i` may be evaluated in place (see [`Builtin::strict`]).
    pub strict: u8,
    /// Whether it is a global variable under its plain name too; all others are as `__name`.
    pub global: bool,
    /// The experimental feature that it needs to be there.
    pub feature: Option<&'static str>,
    run: Run,
}

impl Definition {
    pub(crate) const fn new(name: &'static str, arguments: &'static [&'static str], run: Run) -> Self {
        Definition { name, arguments, doc: "", strict: 0, global: false, feature: None, run }
    }

    pub(crate) const fn strict(mut self, mask: u8) -> Self {
        self.strict = mask;
        self
    }

    pub(crate) const fn global(mut self) -> Self {
        self.global = true;
        self
    }

    pub(crate) const fn feature(mut self, feature: &'static str) -> Self {
        self.feature = Some(feature);
        self
    }

    pub(crate) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

/// What builtins remember within one evaluator.
#[derive(Default)]
pub struct Caches {
    /// Compiled regular expressions.
    pub(crate) regexes: crate::text::regex::RegexCache,
    /// What entries of search paths stand for.
    pub(crate) search_path: RefCell<FxHashMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Paths that were seen not to be symbolic links.
    pub(crate) plain_paths: RefCell<FxHashSet<Vec<u8>>>,
    /// Derivations made by this evaluator: what their users' hashes need of them.
    pub(crate) derivations: derivation::DerivationCache,
}

/// A builtin that the host added.
pub type HostBuiltin = Arc<dyn for<'h> Fn(&Evaluator<'h>, &[Value<'h>]) -> EvalResult<Value<'h>> + Send + Sync>;

/// Returns all builtin functions, in the order of their registration.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    [types::BUILTINS, control::BUILTINS, arithmetic::BUILTINS, attrs::BUILTINS, lists::BUILTINS, functions::BUILTINS, strings::BUILTINS, regex::BUILTINS, versions::BUILTINS, hash::BUILTINS, json::BUILTINS, toml::BUILTINS, context::BUILTINS, fetch::BUILTINS, flake::BUILTINS, flake_ref::BUILTINS, paths::BUILTINS, derivation::BUILTINS]
        .into_iter()
        .flatten()
}

/// Fills an evaluator's globals.
pub(crate) fn register<'h>(eval: &Evaluator<'h>) {
    order::intern(&eval.symbols);
    let mut builtins: FxHashMap<crate::symbol::Symbol, Value<'h>> = FxHashMap::default();
    let set_symbol = eval.symbols.intern(b"builtins");
    let mut constant = |name: &str, value: Value<'h>, global: bool| {
        let symbol = eval.symbols.intern(name.as_bytes());
        builtins.insert(symbol, value);
        let symbol = if global { symbol } else { eval.symbols.intern(format!("__{name}").as_bytes()) };
        eval.set_global(symbol, value);
    };
    constant("true", Value::TRUE, true);
    constant("false", Value::FALSE, true);
    constant("null", Value::NULL, true);
    if !eval.options.pure {
        constant("currentTime", eval.heap.int(eval.host.current_time()), false);
        constant("currentSystem", eval.heap.string(eval.options.system.as_bytes()), false);
    }
    constant("nixVersion", eval.heap.string(b"2.34.8"), false);
    constant("storeDir", eval.heap.string(eval.host.store_dir().as_str().as_bytes()), false);
    constant("langVersion", eval.heap.int(6), false);
    let search_path = if eval.options.pure { &[][..] } else { &eval.options.search_path[..] };
    let entries = search_path.iter().map(|(prefix, path)| {
        eval.attrs_of([(eval.names.path, eval.heap.string(path.as_bytes())), (eval.names.prefix, eval.heap.string(prefix.as_bytes()))])
    });
    constant("nixPath", Value::list(eval.heap.list(entries)), false);
    for definition in definitions() {
        // Whoever enables flakes means `fetchTree` too.
        let is_enabled = |feature: &str| eval.options.has_feature(feature) || feature == "fetch-tree" && eval.options.has_feature("flakes");
        if definition.feature.is_some_and(|feature| !is_enabled(feature)) {
            continue;
        }
        constant(definition.name, function(eval, definition), definition.global);
    }
    constant("derivation", eval.heap.thunk_lazy(crate::value::Lazy::Import(eval.heap.str(crate::host::internal::DERIVATION))), true);
    // `builtins` contains itself, by way of a thunk.
    let own = eval.heap.thunk_lazy(crate::value::Lazy::Builtins);
    builtins.insert(set_symbol, own);
    let mut entries: Vec<_> = builtins.into_iter().map(|(symbol, value)| (symbol, Pos::NONE, value)).collect();
    entries.sort_by_key(|entry| entry.0);
    eval.set_global(set_symbol, Value::attrs(eval.heap.attrs_from_entries(entries.into_iter())));
}

fn function<'h>(eval: &Evaluator<'h>, definition: &'static Definition) -> Value<'h> {
    let builtin = eval.heap.alloc(Builtin {
        name: definition.name,
        arity: definition.arguments.len() as u8,
        strict: definition.strict,
        body: BuiltinBody::Native(definition.run),
        documentation: "",
    });
    Value::boxed(eval.heap.alloc(Boxed::Builtin(builtin)))
}

/// Returns a function of the host as a value. It is dropped with the heap.
pub fn host_function<'h>(heap: &'h Heap, name: &str, arity: u8, run: HostBuiltin) -> Value<'h> {
    documented_host_function(heap, name, arity, "", run)
}

/// As [`host_function`], with what `:doc` shows of it, as Markdown.
pub fn documented_host_function<'h>(heap: &'h Heap, name: &str, arity: u8, documentation: &str, run: HostBuiltin) -> Value<'h> {
    let kept = |text: &str| std::str::from_utf8(heap.str(text.as_bytes()).bytes()).expect("made from a str");
    let (name, documentation) = (kept(name), kept(documentation));
    let builtin = heap.alloc(Builtin { name, arity: arity.max(1), strict: 0, body: BuiltinBody::Host(heap.keep_function(run)), documentation });
    Value::boxed(heap.alloc(Boxed::Builtin(builtin)))
}

/// Makes `value` a builtin: a global variable of its plain name if `global`, otherwise `__name`; and an attribute of `builtins`.
/// A name that begins with `__` is one for the global variable alone, as in the reference.
pub fn add_builtin<'h>(eval: &Evaluator<'h>, name: &str, value: Value<'h>, global: bool) {
    let plain = name.strip_prefix("__").unwrap_or(name);
    let variable = if global { name.to_owned() } else { format!("__{plain}") };
    eval.set_global(eval.symbols.intern(variable.as_bytes()), value);
    let builtins = eval.symbols.intern(b"builtins");
    if let Some(crate::heap::Kind::Attrs(known)) = eval.global(builtins).map(Value::kind) {
        let crate::heap::Kind::Attrs(added) = eval.attrs_of([(eval.symbols.intern(plain.as_bytes()), value)]).kind() else { return };
        eval.set_global(builtins, Value::attrs(crate::value::update(eval.heap, known, added)));
    }
}

/// Returns what `readFileType` gives for a path.
pub(crate) fn file_type_value<'h>(eval: &Evaluator<'h>, path: &[u8]) -> EvalResult<Value<'h>> {
    match eval.file_type(path)? {
        Some(file_type) => Ok(Value::string(eval.symbols.str(eval.symbols.intern(file_type.name().as_bytes())))),
        None => Err(EvalError::new(ErrorKind::Host, format!("path '{}' does not exist", eval.sources.shown_path(path)))),
    }
}
