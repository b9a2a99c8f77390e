//! `nixlang/value.h`, the other half: making values.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::c_int;
use std::sync::Arc;

use nixlang::heap::Value;

use super::base::{ErrorPointer, Str, look, put, run};
use super::engine::{EngineHandle, EngineShared};
use super::error::Failure;
use super::value::{ValueHandle, give_value, handles};
use crate::pool::Slot;

/// # Safety
/// The header's contract.
unsafe fn make(
    engine: *const Slot<EngineHandle>,
    result: *mut *mut Slot<ValueHandle>,
    make: impl for<'h> FnOnce(&nixlang::eval::Evaluator<'h>) -> Result<Value<'h>, Failure>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let engine: &Arc<EngineShared> = &look(engine, "engine")?.0;
        let value = engine.evaluator.glance(|eval| make(eval).map(|value| engine.evaluator.engine().own(eval.heap, value)))?;
        put(result, give_value(engine, value))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_null(engine: *mut Slot<EngineHandle>, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe { make(engine, result, |_| Ok(Value::NULL)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_bool(engine: *mut Slot<EngineHandle>, bool: bool, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe { make(engine, result, |_| Ok(Value::bool(bool))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_int(engine: *mut Slot<EngineHandle>, int: i64, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe { make(engine, result, |eval| Ok(eval.heap.int(int))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_float(engine: *mut Slot<EngineHandle>, float: f64, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe { make(engine, result, |eval| Ok(eval.heap.float(float))) }
}

/// `nixlang_reference`, as it comes in.
#[repr(C)]
pub struct CReferenceIn {
    kind: c_int,
    path: Str,
    output: Str,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_string(
    engine: *mut Slot<EngineHandle>,
    text: Str,
    references: *const CReferenceIn,
    n_references: usize,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe {
        make(engine, result, |eval| {
            if references.is_null() && n_references != 0 {
                return Err(Failure::argument("the array of references is NULL"));
            }
            let references = if n_references == 0 { &[][..] } else { std::slice::from_raw_parts(references, n_references) };
            let mut elements = Vec::new();
            for reference in references {
                let path = reference.path.text("path")?;
                eval.host.store_dir().parse(path).map_err(|error| Failure::argument(error.to_string()))?;
                elements.push(match reference.kind {
                    0 => eval.contexts.opaque(path),
                    1 => eval.contexts.deep(path),
                    2 => eval.contexts.output(path, reference.output.text("output")?),
                    other => return Err(Failure::argument(format!("there is no reference of kind {other}"))),
                });
            }
            Ok(Value::string(eval.heap.str_from_parts(&[text.bytes()], eval.contexts.context(elements))))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_path(engine: *mut Slot<EngineHandle>, path: Str, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe { make(engine, result, |eval| Ok(eval.heap.path(&nixlang::path::canonicalise(&[b"/", path.bytes()].concat())))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_list(
    engine: *mut Slot<EngineHandle>,
    elements: *const *const Slot<ValueHandle>,
    n_elements: usize,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe {
        make(engine, result, |eval| {
            let elements = handles(elements, n_elements)?.iter().map(|element| element.on(eval)).collect::<Result<Vec<_>, _>>()?;
            Ok(Value::list(eval.heap.list(elements)))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_attrs(
    engine: *mut Slot<EngineHandle>,
    names: *const Str,
    values: *const *const Slot<ValueHandle>,
    n_attributes: usize,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe {
        make(engine, result, |eval| {
            if names.is_null() && n_attributes != 0 {
                return Err(Failure::argument("the array of names is NULL"));
            }
            let names = if n_attributes == 0 { &[][..] } else { std::slice::from_raw_parts(names, n_attributes) };
            let values = handles(values, n_attributes)?;
            let attributes = names.iter().zip(values).map(|(name, value)| Ok((eval.symbols.intern(name.bytes()), value.on(eval)?)));
            Ok(eval.attrs_of(attributes.collect::<Result<Vec<_>, Failure>>()?))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_thunk(
    engine: *mut Slot<EngineHandle>,
    function: *const Slot<ValueHandle>,
    argument: *const Slot<ValueHandle>,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    unsafe {
        make(engine, result, |eval| {
            let (function, argument) = (look(function, "function")?.on(eval)?, look(argument, "argument")?.on(eval)?);
            Ok(eval.heap.thunk_call_placeless(function, &[argument]))
        })
    }
}
