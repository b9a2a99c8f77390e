//! Attribute sets.

use rustc_hash::FxHashMap;

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Mapping, Value};
use crate::host::internal;
use crate::source::{Origin, Pos};
use crate::symbol::Symbol;
use crate::value::Lazy;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("attrNames", &["set"], attr_names).strict(1).doc("Returns the names of the attributes, sorted."),
    Definition::new("attrValues", &["set"], attr_values).strict(1).doc("Returns the values of the attributes, in the order of their names."),
    Definition::new("getAttr", &["s", "set"], get_attr).strict(1).doc("Returns the attribute called *s*."),
    Definition::new("hasAttr", &["s", "set"], has_attr).strict(1).doc("Returns whether there is an attribute called *s*."),
    Definition::new("unsafeGetAttrPos", &["s", "set"], unsafe_get_attr_pos).doc("Returns where the attribute called *s* was defined, or `null`."),
    Definition::new("removeAttrs", &["set", "list"], remove_attrs).strict(1).global().doc("Returns *set* without the attributes named in *list*."),
    Definition::new("listToAttrs", &["e"], list_to_attrs).strict(1).doc("Makes a set of a list of `{ name, value }`; of equal names the first counts."),
    Definition::new("intersectAttrs", &["e1", "e2"], intersect_attrs).strict(3).doc("Returns the attributes of *e2* whose names are in *e1* too."),
    Definition::new("catAttrs", &["attr", "list"], cat_attrs).strict(1).doc("Returns the values of the attribute *attr* of those sets in *list* that have it."),
    Definition::new("mapAttrs", &["f", "attrset"], map_attrs).doc("Applies *f* to name and value of every attribute."),
    Definition::new("zipAttrsWith", &["f", "list"], zip_attrs_with).doc("Joins sets: every attribute becomes `f name values`."),
];

fn attr_names<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the argument passed to builtins.attrNames")?.flat(eval.heap);
    let names = attrs.iter_lexicographic(eval.heap, &eval.symbols).map(|entry| Value::string(eval.symbols.str(entry.symbol)));
    Ok(Value::list(eval.heap.list(names)))
}

fn attr_values<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the argument passed to builtins.attrValues")?.flat(eval.heap);
    Ok(Value::list(eval.heap.list(attrs.iter_lexicographic(eval.heap, &eval.symbols).map(|entry| entry.slot.get()))))
}

fn get_attr<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.getAttr")?;
    let attrs = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.getAttr")?;
    let entry = required(eval, attrs, eval.symbols.intern(name.bytes()), "in the attribute set under consideration")?;
    eval.force_slot_at(entry.slot, pos)
}

/// Returns an attribute that must be there.
pub(super) fn required<'h>(eval: &Evaluator<'h>, attrs: Attrs<'h>, symbol: Symbol, context: &'static str) -> EvalResult<crate::heap::Entry<'h>> {
    attrs.find(symbol).ok_or_else(|| {
        EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{}' missing", eval.text(symbol))).while_(Pos::NONE, context)
    })
}

fn has_attr<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.hasAttr")?;
    let attrs = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.hasAttr")?;
    Ok(Value::bool(eval.symbols.lookup(name.bytes()).is_some_and(|symbol| attrs.get(symbol).is_some())))
}

fn unsafe_get_attr_pos<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.unsafeGetAttrPos")?;
    let attrs = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.unsafeGetAttrPos")?;
    let entry = eval.symbols.lookup(name.bytes()).and_then(|symbol| attrs.find(symbol));
    Ok(entry.map_or(Value::NULL, |entry| position(eval, entry.pos)))
}

/// Returns a position as `{ file, line, column }`; `null` for what comes from no file. Line and column are worked out when wanted.
pub(crate) fn position<'h>(eval: &Evaluator<'h>, pos: Pos) -> Value<'h> {
    let Some(Origin::File(path)) = eval.sources.source(pos).map(|source| source.origin) else { return Value::NULL };
    eval.attrs_of([
        (eval.names.file, eval.heap.string(internal::in_tree(&path))),
        (eval.names.line, eval.heap.thunk_lazy(Lazy::Line(pos))),
        (eval.names.column, eval.heap.thunk_lazy(Lazy::Column(pos))),
    ])
}

fn remove_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the first argument passed to builtins.removeAttrs")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.removeAttrs")?;
    let mut removed = Vec::with_capacity(list.len());
    for name in list.iter() {
        let name = eval.force_string_no_context(name, pos, "while evaluating the values of the second argument passed to builtins.removeAttrs")?;
        if let Some(symbol) = eval.symbols.lookup(name.bytes()) {
            removed.push(symbol);
        }
    }
    removed.retain(|symbol| attrs.get(*symbol).is_some());
    if removed.is_empty() {
        return Ok(Value::attrs(attrs));
    }
    removed.sort_unstable();
    let flat = attrs.flat(eval.heap);
    let kept: Vec<_> = flat
        .iter()
        .filter(|entry| removed.binary_search(&entry.symbol).is_err())
        .map(|entry| (entry.symbol, entry.pos, entry.slot.get()))
        .collect();
    Ok(Value::attrs(eval.heap.attrs_from_entries(kept.into_iter())))
}

fn list_to_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[0], pos, "while evaluating the argument passed to builtins.listToAttrs")?;
    let mut entries: Vec<(Symbol, Pos, Value<'h>)> = Vec::with_capacity(list.len());
    let mut seen = rustc_hash::FxHashSet::default();
    for element in list.slots() {
        let attrs = eval.force_slot_attrs(element, pos, "while evaluating an element of the list passed to builtins.listToAttrs")?;
        let name = required(eval, attrs, eval.names.name, "in a {name=...; value=...;} pair")?;
        let context = "while evaluating the `name` attribute of an element of the list passed to builtins.listToAttrs";
        let symbol = eval.symbols.intern(eval.force_string_no_context(name.slot.get(), name.pos, context)?.bytes());
        if seen.insert(symbol) {
            let value = required(eval, attrs, eval.names.value, "in a {name=...; value=...;} pair")?;
            entries.push((symbol, value.pos, value.slot.get()));
        }
    }
    entries.sort_unstable_by_key(|entry| entry.0);
    Ok(Value::attrs(eval.heap.attrs_from_entries(entries.into_iter())))
}

fn intersect_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let left = eval.force_attrs(args[0], pos, "while evaluating the first argument passed to builtins.intersectAttrs")?;
    let right = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.intersectAttrs")?;
    let entries: Vec<_> = if left.len_bound() <= right.len_bound() {
        left.flat(eval.heap).iter().filter_map(|entry| right.find(entry.symbol)).map(|entry| (entry.symbol, entry.pos, entry.slot.get())).collect()
    } else {
        let right = right.flat(eval.heap);
        right.iter().filter(|entry| left.get(entry.symbol).is_some()).map(|entry| (entry.symbol, entry.pos, entry.slot.get())).collect()
    };
    Ok(Value::attrs(eval.heap.attrs_from_entries(entries.into_iter())))
}

fn cat_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.catAttrs")?;
    let symbol = eval.symbols.intern(name.bytes());
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.catAttrs")?;
    let mut found = Vec::with_capacity(list.len());
    for element in list.slots() {
        let attrs = eval.force_slot_attrs(element, pos, "while evaluating an element in the list passed as second argument to builtins.catAttrs")?;
        if let Some(slot) = attrs.get(symbol) {
            found.push(slot.get());
        }
    }
    Ok(Value::list(eval.heap.list(found)))
}

fn map_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.mapAttrs")?.flat(eval.heap);
    let mapping = eval.heap.alloc(Mapping { function: args[0], attrs });
    let values = (0..attrs.slots.len()).map(|index| eval.heap.thunk_mapped(mapping, index));
    Ok(Value::attrs(eval.heap.attrs(attrs.shape.without_positions(eval.heap), values)))
}

fn zip_attrs_with<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.zipAttrsWith")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.zipAttrsWith")?;
    let mut values: FxHashMap<Symbol, Vec<Value<'h>>> = FxHashMap::default();
    let mut symbols = Vec::new();
    for element in list.slots() {
        let attrs = eval.force_slot_attrs(element, Pos::NONE, "while evaluating a value of the list passed as second argument to builtins.zipAttrsWith")?;
        for entry in attrs.flat(eval.heap).iter() {
            let values = values.entry(entry.symbol).or_default();
            if values.is_empty() {
                symbols.push(entry.symbol);
            }
            values.push(entry.slot.get());
        }
    }
    symbols.sort_unstable();
    let entries: Vec<_> = symbols
        .into_iter()
        .map(|symbol| {
            let list = Value::list(eval.heap.list(values.remove(&symbol).unwrap_or_default()));
            (symbol, Pos::NONE, eval.heap.thunk_call(function, &[Value::string(eval.symbols.str(symbol)), list]))
        })
        .collect();
    Ok(Value::attrs(eval.heap.attrs_from_entries(entries.into_iter())))
}
