//! String contexts as values: `getContext`, `appendContext` and what takes references away.

use std::collections::BTreeMap;

use super::Definition;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Str, Value};
use crate::source::Pos;
use crate::value::{ContextElement, ContextKind};

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("unsafeDiscardStringContext", &["s"], unsafe_discard_string_context).strict(1).doc("Returns *s* as a string that refers to nothing."),
    Definition::new("hasContext", &["s"], has_context).strict(1).doc("Returns whether the string *s* refers to anything in the store."),
    Definition::new("unsafeDiscardOutputDependency", &["s"], unsafe_discard_output_dependency)
        .strict(1)
        .doc("Returns *s* with references to whole derivations replaced by references to their store paths."),
    Definition::new("addDrvOutputDependencies", &["s"], add_drv_output_dependencies)
        .strict(1)
        .doc("Returns *s* with its only reference, the store path of a derivation, replaced by one to the whole derivation."),
    Definition::new("getContext", &["s"], get_context).strict(1).doc(
        "Returns what the string *s* refers to: a set of `path`, `allOutputs` and `outputs` for each store path.",
    ),
    Definition::new("appendContext", &["s", "context"], append_context)
        .strict(1)
        .doc("Returns the string *s* with more references, written as `getContext` returns them."),
];

fn unsafe_discard_string_context<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the argument passed to builtins.unsafeDiscardStringContext";
    let string = eval.coerce_to_string(args[0], pos, Coercion::INTERPOLATION, context)?;
    Ok(match string.context() {
        None => Value::string(string),
        Some(_) => eval.heap.string(string.bytes()),
    })
}

fn has_context<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let string = eval.force_string(args[0], pos, "while evaluating the argument passed to builtins.hasContext")?;
    Ok(Value::bool(string.context().is_some()))
}

fn with_elements<'h>(eval: &Evaluator<'h>, string: Str<'h>, elements: Vec<ContextElement>) -> Value<'h> {
    Value::string(eval.heap.str_from_parts(&[string.bytes()], eval.contexts.context(elements)))
}

fn unsafe_discard_output_dependency<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the argument passed to builtins.unsafeDiscardOutputDependency";
    let string = eval.coerce_to_string(args[0], pos, Coercion::INTERPOLATION, context)?;
    let elements = string.context().map_or(&[][..], |context| context.elements);
    let elements = elements.iter().map(|element| match element.kind {
        ContextKind::DeepDerivation => ContextElement { kind: ContextKind::Opaque, ..*element },
        _ => *element,
    });
    Ok(with_elements(eval, string, elements.collect()))
}

fn add_drv_output_dependencies<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the argument passed to builtins.addDrvOutputDependencies";
    let string = eval.coerce_to_string(args[0], pos, Coercion::INTERPOLATION, context)?;
    let failed = |message: String| Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
    let elements = string.context().map_or(&[][..], |context| context.elements);
    let [element] = elements else {
        let text = String::from_utf8_lossy(string.bytes());
        return failed(format!("context of string '{text}' must have exactly one element, but has {}", elements.len()));
    };
    match element.kind {
        ContextKind::DeepDerivation => Ok(Value::string(string)),
        ContextKind::Opaque => {
            let path = eval.contexts.path_text(element);
            if !path.ends_with(".drv") {
                return failed(format!("path '{path}' is not a derivation"));
            }
            Ok(with_elements(eval, string, vec![ContextElement { kind: ContextKind::DeepDerivation, ..*element }]))
        }
        ContextKind::Output => {
            let output = eval.contexts.output_text(element);
            failed(format!("`addDrvOutputDependencies` can only act on derivations, not on a derivation output such as '{output}'"))
        }
    }
}

/// What a string refers to of one store path.
#[derive(Default)]
struct References<'h> {
    path: bool,
    all_outputs: bool,
    outputs: Vec<&'h str>,
}

fn get_context<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let string = eval.force_string(args[0], pos, "while evaluating the argument passed to builtins.getContext")?;
    let mut by_path: BTreeMap<&'h str, References<'h>> = BTreeMap::new();
    for element in string.context().map_or(&[][..], |context| context.elements) {
        let references = by_path.entry(eval.contexts.path_text(element)).or_default();
        match element.kind {
            ContextKind::Opaque => references.path = true,
            ContextKind::DeepDerivation => references.all_outputs = true,
            ContextKind::Output => references.outputs.push(eval.contexts.output_text(element)),
        }
    }
    let (path_name, all_outputs_name) = (eval.names.path, eval.symbols.intern(b"allOutputs"));
    let mut members = Vec::with_capacity(by_path.len());
    for (path, mut references) in by_path {
        let mut inner = Vec::new();
        if references.path {
            inner.push((path_name, Value::TRUE));
        }
        if references.all_outputs {
            inner.push((all_outputs_name, Value::TRUE));
        }
        if !references.outputs.is_empty() {
            references.outputs.sort_unstable();
            let outputs: Vec<_> = references.outputs.iter().map(|output| eval.heap.string(output.as_bytes())).collect();
            inner.push((eval.names.outputs, Value::list(eval.heap.list(outputs))));
        }
        members.push((eval.symbols.intern(path.as_bytes()), eval.attrs_of(inner)));
    }
    Ok(eval.attrs_of(members))
}

fn append_context<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let string = eval.force_string(args[0], Pos::NONE, "while evaluating the first argument passed to builtins.appendContext")?;
    let attrs = eval.force_attrs(args[1], pos, "while evaluating the second argument passed to builtins.appendContext")?;
    let all_outputs_name = eval.symbols.intern(b"allOutputs");
    let mut elements: Vec<ContextElement> = string.context().map_or(Vec::new(), |context| context.elements.to_vec());
    for entry in attrs.flat(eval.heap).iter() {
        let name = String::from_utf8_lossy(eval.symbols.text(entry.symbol));
        let failed = |message: String| Err(EvalError::new(ErrorKind::Evaluation, message).at(entry.pos));
        let Ok(path) = eval.host.store_dir().parse(&*name) else {
            let mut shown = Vec::new();
            crate::eval::print_attr_name(&mut shown, name.as_bytes());
            return failed(format!("context key '{}' is not a store path", String::from_utf8_lossy(&shown)));
        };
        if eval.options.read_write {
            eval.host.ensure_path(&path).map_err(|e| eval.host_error(e))?;
        }
        let references = eval.force_attrs(entry.slot.get(), entry.pos, "while evaluating the value of a string context")?;
        if let Some(flag) = references.find(eval.names.path)
            && eval.force_bool(flag.slot.get(), flag.pos, "while evaluating the `path` attribute of a string context")?
        {
            elements.push(eval.contexts.opaque(&name));
        }
        if let Some(flag) = references.find(all_outputs_name)
            && eval.force_bool(flag.slot.get(), flag.pos, "while evaluating the `allOutputs` attribute of a string context")?
        {
            if !path.is_derivation() {
                return failed(format!("tried to add all-outputs context of {name}, which is not a derivation, to a string"));
            }
            elements.push(eval.contexts.deep(&name));
        }
        if let Some(outputs) = references.find(eval.names.outputs) {
            let list = eval.force_list(outputs.slot.get(), outputs.pos, "while evaluating the `outputs` attribute of a string context")?;
            if !list.is_empty() && !path.is_derivation() {
                return failed(format!("tried to add derivation output context of {name}, which is not a derivation, to a string"));
            }
            for output in list.iter() {
                let output = eval.force_string_no_context(output, outputs.pos, "while evaluating an output name within a string context")?;
                elements.push(eval.contexts.output(&name, &String::from_utf8_lossy(output.bytes())));
            }
        }
    }
    Ok(with_elements(eval, string, elements))
}
