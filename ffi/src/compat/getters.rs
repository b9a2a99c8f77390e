//! The reading half of `nix_api_value.h`. Nothing here switches stacks or waits unless an element has to be evaluated.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use nixlang::heap::{Entry, Kind, OwnedEvaluator, OwnedValue, Value};

use super::context::{Context, Failure, KEY, Outcome, Status, StringCallback, attempt, give_string, run, text};
use super::external::InHeap;
use super::handles::{Object, State, cell, checked, evaluate, give_value, known, on, state};
use crate::pool::Slot;

/// `ValueType`
const TYPES: [&str; 12] = ["thunk", "int", "float", "bool", "string", "path", "null", "set", "list", "lambda", "external", "failed"];

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_type(context: *mut Context, value: *const Slot<Object>) -> c_int {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, 6, || {
            cell(value)?.peek(|value| {
                let name = match value.kind() {
                    Kind::Thunk(thunk) if thunk.has_failed() => "failed",
                    _ => value.type_name(),
                };
                Ok(TYPES.iter().position(|it| *it == name).unwrap_or(6) as c_int)
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_typename(context: *mut Context, value: *const Slot<Object>) -> *mut c_char {
    // SAFETY: the headers' contract; the caller frees the copy with `free`.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let name = cell(value)?.peek(|value| Ok(super::context::c_text(&value.described_type())))?;
            Ok(libc::strdup(name.as_ptr()))
        })
    }
}

fn wrong(expected: &str, value: Value<'_>) -> Failure {
    Failure::nix(format!("expected {expected} but found {}", value.described_type()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_bool(context: *mut Context, value: *const Slot<Object>) -> bool {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, false, || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::Bool(value) => Ok(value),
                _ => Err(wrong("a Boolean", value)),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_int(context: *mut Context, value: *const Slot<Object>) -> i64 {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, 0, || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::Int(value) => Ok(value),
                _ => Err(wrong("an integer", value)),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_float(context: *mut Context, value: *const Slot<Object>) -> f64 {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, 0.0, || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::Float(value) => Ok(value),
                _ => Err(wrong("a float", value)),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_string(context: *mut Context, value: *const Slot<Object>, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract; the bytes live as long as the engine, which the value keeps.
    unsafe {
        let found = attempt(context, || {
            let bytes = cell(value)?.peek(|value| match value.kind() {
                Kind::String(value) => Ok(std::ptr::from_ref(value.bytes_with_nul())),
                _ => Err(wrong("a string", value)),
            })?;
            Ok(&*bytes)
        });
        match found {
            Ok(bytes) => {
                give_string(callback, user_data, bytes);
                super::context::OK
            }
            Err(code) => code,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_path_string(context: *mut Context, value: *const Slot<Object>) -> *const c_char {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null(), || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::Path(path) => Ok(path.text.bytes_with_nul().as_ptr().cast()),
                _ => Err(wrong("a path", value)),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_list_size(context: *mut Context, value: *const Slot<Object>) -> c_uint {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, 0, || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::List(list) => Ok(c_uint::try_from(list.len()).unwrap_or(c_uint::MAX)),
                _ => Err(wrong("a list", value)),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attrs_size(context: *mut Context, value: *const Slot<Object>) -> c_uint {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, 0, || {
            let cell = cell(value)?;
            let len = cell.peek(|value| match value.kind() {
                Kind::Attrs(attrs) => Ok(attrs.as_flat().map(|flat| flat.slots.len())),
                _ => Err(wrong("a set", value)),
            })?;
            let count = || {
                let value = cell.value()?;
                cell.engine().with_heap(|heap| match value.on(heap).map(known).map(Value::kind) {
                    Some(Kind::Attrs(attrs)) => Ok(attrs.len(heap)),
                    _ => Err(Failure::unknown("the value changed while it was looked at")),
                })
            };
            Ok(c_uint::try_from(len.map_or_else(count, Ok)?).unwrap_or(c_uint::MAX))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_external(context: *mut Context, value: *mut Slot<Object>) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            cell(value)?.peek(|value| match value.kind() {
                Kind::External(external) => {
                    let external: &dyn std::any::Any = external;
                    external.downcast_ref::<InHeap>().map(InHeap::handle).ok_or_else(|| Failure::unknown("the value was not made by this API"))
                }
                _ => Err(wrong("an external value", value)),
            })
        })
    }
}

/// Gives an element to C, evaluated if `forced`.
///
/// # Safety
/// `handle` is NULL or a handle of states.
unsafe fn give_element(handle: *mut Slot<State>, element: &OwnedValue, forced: bool) -> Outcome<*mut Slot<Object>> {
    if forced && element.peek(|value| known(value).is_thunk()) {
        // SAFETY: the contract.
        unsafe { evaluate(handle, |eval, _| checked(eval, eval.force(on(eval, element)?)).map(drop)) }?;
    }
    Ok(give_value(element))
}

/// # Safety
/// The headers' contract.
unsafe fn list_element(context: *mut Context, value: *const Slot<Object>, handle: *mut Slot<State>, index: c_uint, forced: bool) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let cell = cell(value)?;
            let element = cell.peek(|value| match value.kind() {
                Kind::List(list) => match list.slots().get(index as usize) {
                    Some(slot) => Ok(std::num::NonZeroU64::new(slot.get().word()).expect("words are not zero")),
                    None => Err(Failure::new(KEY, "list index out of bounds")),
                },
                _ => Err(wrong("a list", value)),
            })?;
            give_element(handle, &cell.engine().value_of_word(element), forced)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_list_byidx(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, index: c_uint) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { list_element(context, value, state, index, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_list_byidx_lazy(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, index: c_uint) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { list_element(context, value, state, index, false) }
}

/// Runs `find` with a set and an evaluator, without a change of stacks.
///
/// # Safety
/// NULL or live handles.
unsafe fn with_attrs<R>(
    value: *const Slot<Object>,
    handle: *const Slot<State>,
    find: impl for<'h> FnOnce(&nixlang::eval::Evaluator<'h>, nixlang::heap::Attrs<'h>) -> Outcome<R>,
) -> Outcome<R> {
    // SAFETY: the contract.
    let (cell, evaluator): (_, &Arc<OwnedEvaluator>) = unsafe { (cell(value)?, &state(handle)?.evaluator) };
    let value = cell.value()?;
    evaluator.glance(|eval| {
        let value = known(on(eval, &value)?);
        match value.kind() {
            Kind::Attrs(attrs) => find(eval, attrs),
            _ => Err(wrong("a set", value)),
        }
    })
}

fn own<'h>(evaluator: &Arc<OwnedEvaluator>, eval: &nixlang::eval::Evaluator<'h>, entry: Entry<'h>) -> OwnedValue {
    evaluator.engine().own(eval.heap, entry.slot.get())
}

/// # Safety
/// The headers' contract.
unsafe fn attribute(context: *mut Context, value: *const Slot<Object>, handle: *mut Slot<State>, name: *const c_char, forced: bool) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let name = text(name, "name")?;
            let evaluator = &state(handle)?.evaluator;
            let element = with_attrs(value, handle, |eval, attrs| {
                let found = eval.symbols.lookup(name.to_bytes()).and_then(|symbol| attrs.find(symbol));
                found.map(|entry| own(evaluator, eval, entry)).ok_or_else(|| Failure::new(KEY, "missing attribute"))
            })?;
            give_element(handle, &element, forced)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attr_byname(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, name: *const c_char) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { attribute(context, value, state, name, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attr_byname_lazy(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, name: *const c_char) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { attribute(context, value, state, name, false) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_has_attr_byname(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, name: *const c_char) -> bool {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, false, || {
            let name = text(name, "name")?;
            with_attrs(value, state, |eval, attrs| Ok(eval.symbols.lookup(name.to_bytes()).is_some_and(|symbol| attrs.get(symbol).is_some())))
        })
    }
}

/// The attribute of a number, in the order of the names' bytes.
///
/// # Safety
/// NULL or live handles.
unsafe fn nth(value: *const Slot<Object>, handle: *const Slot<State>, index: c_uint) -> Outcome<(OwnedValue, *const c_char)> {
    // SAFETY: the contract; names live as long as the engine.
    unsafe {
        let evaluator = &state(handle)?.evaluator;
        with_attrs(value, handle, |eval, attrs| {
            let flat = attrs.flat(eval.heap);
            let at = flat.shape.lexicographic(eval.heap, &eval.symbols).get(index as usize);
            let entry = flat.entry(*at.ok_or_else(|| Failure::new(KEY, "attribute index out of bounds"))? as usize);
            Ok((own(evaluator, eval, entry), eval.symbols.str(entry.symbol).bytes_with_nul().as_ptr().cast()))
        })
    }
}

/// # Safety
/// The headers' contract.
unsafe fn attribute_at(context: *mut Context, value: *const Slot<Object>, state: *mut Slot<State>, index: c_uint, name: *mut *const c_char, forced: bool) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let (element, its_name) = nth(value, state, index)?;
            if let Some(name) = name.as_mut() {
                *name = its_name;
            }
            give_element(state, &element, forced)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attr_byidx(context: *mut Context, value: *mut Slot<Object>, state: *mut Slot<State>, index: c_uint, name: *mut *const c_char) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { attribute_at(context, value, state, index, name, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attr_byidx_lazy(context: *mut Context, value: *mut Slot<Object>, state: *mut Slot<State>, index: c_uint, name: *mut *const c_char) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { attribute_at(context, value, state, index, name, false) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_attr_name_byidx(context: *mut Context, value: *mut Slot<Object>, state: *mut Slot<State>, index: c_uint) -> *const c_char {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null(), || nth(value, state, index).map(|(_, name)| name)) }
}

