//! The writing half of `nix_api_value.h`: values are allocated empty and initialised once; lists and sets go through builders.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_uint};
use std::sync::Arc;

use nixlang::heap::{OwnedEvaluator, OwnedValue, Value};
use parking_lot::Mutex;

use super::context::{Context, Failure, Outcome, Status, run, run_code, text};
use super::handles::{Cell, Object, State, cell, on, state};
use crate::pool::{self, Slot};

/// `ListBuilder`: as many places as were asked for.
pub struct ListBuilder {
    evaluator: Arc<OwnedEvaluator>,
    elements: Mutex<Vec<Option<OwnedValue>>>,
}

/// `BindingsBuilder`
pub struct BindingsBuilder {
    evaluator: Arc<OwnedEvaluator>,
    attributes: Mutex<Vec<(Vec<u8>, OwnedValue)>>,
}

crate::pool::pooled!(ListBuilder, BindingsBuilder);

/// Longest list that a builder makes.
const MAX_ELEMENTS: usize = 1 << 28;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_alloc_value(context: *mut Context, handle: *mut Slot<State>) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), || Ok(pool::give(Object::Value(Cell::new(state(handle)?.evaluator.engine()))))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_bool(context: *mut Context, value: *mut Slot<Object>, bool: bool) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || cell(value)?.init(|_| Value::bool(bool))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_string(context: *mut Context, value: *mut Slot<Object>, string: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let bytes = text(string, "string")?.to_bytes();
            cell(value)?.init(|heap| heap.string(bytes))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_path_string(context: *mut Context, _state: *mut Slot<State>, value: *mut Slot<Object>, path: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let path = nixlang::path::canonicalise(&[b"/", text(path, "path")?.to_bytes()].concat());
            cell(value)?.init(|heap| heap.path(&path))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_float(context: *mut Context, value: *mut Slot<Object>, float: f64) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || cell(value)?.init(|heap| heap.float(float))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_int(context: *mut Context, value: *mut Slot<Object>, int: i64) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || cell(value)?.init(|heap| heap.int(int))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_null(context: *mut Context, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || cell(value)?.init(|_| Value::NULL)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_apply(context: *mut Context, value: *mut Slot<Object>, function: *mut Slot<Object>, argument: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (value, function, argument) = (cell(value)?, cell(function)?.argument(), cell(argument)?.argument());
            value.engine().with_heap(|heap| {
                let (Some(function), Some(argument)) = (function.on(heap), argument.on(heap)) else {
                    return Err(Failure::unknown("the values belong to different engines"));
                };
                // As in the reference this may replace a value.
                value.set(heap, heap.thunk_call_placeless(function, &[argument]));
                Ok(())
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_external(context: *mut Context, value: *mut Slot<Object>, external: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || match pool::look(external) {
            Some(Object::External(object)) => {
                let object = super::external::InHeap::new(object.clone(), external);
                cell(value)?.init(|heap| heap.external(Box::new(object)))
            }
            _ => Err(Failure::unknown("ExternalValue is null or was released")),
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_primop(context: *mut Context, value: *mut Slot<Object>, primop: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || match pool::look(primop) {
            Some(Object::PrimOp(primop)) => {
                let primop = primop.clone();
                cell(value)?.init(|heap| primop.value(heap))
            }
            _ => Err(Failure::unknown("PrimOp is null or was released")),
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_copy_value(context: *mut Context, value: *mut Slot<Object>, source: *const Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (value, source) = (cell(value)?, cell(source)?.value()?);
            value.check_empty()?;
            value.engine().with_heap(|heap| match source.on(heap) {
                Some(source) => {
                    value.set(heap, source);
                    Ok(())
                }
                None => Err(Failure::unknown("the values belong to different engines")),
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_make_list_builder(context: *mut Context, handle: *mut Slot<State>, capacity: usize) -> *mut Slot<ListBuilder> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let evaluator = state(handle)?.evaluator.clone();
            let mut elements = Vec::new();
            if capacity > MAX_ELEMENTS || elements.try_reserve_exact(capacity).is_err() {
                return Err(Failure::unknown(format!("a list of {capacity} elements is too long")));
            }
            elements.resize_with(capacity, || None);
            Ok(pool::give(ListBuilder { evaluator, elements: Mutex::new(elements) }))
        })
    }
}

/// # Safety
/// NULL or a handle of builders.
unsafe fn list_builder<'a>(builder: *const Slot<ListBuilder>) -> Outcome<&'a ListBuilder> {
    // SAFETY: the contract.
    unsafe { pool::look(builder) }.ok_or_else(|| Failure::unknown("ListBuilder is null or was freed"))
}

/// # Safety
/// NULL or a handle of builders.
unsafe fn bindings_builder<'a>(builder: *const Slot<BindingsBuilder>) -> Outcome<&'a BindingsBuilder> {
    // SAFETY: the contract.
    unsafe { pool::look(builder) }.ok_or_else(|| Failure::unknown("BindingsBuilder is null or was freed"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_list_builder_insert(context: *mut Context, builder: *mut Slot<ListBuilder>, index: c_uint, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let value = cell(value)?.argument();
            let mut elements = list_builder(builder)?.elements.lock();
            let n_elements = elements.len();
            match elements.get_mut(index as usize) {
                Some(place) => {
                    *place = Some(value);
                    Ok(())
                }
                None => Err(Failure::unknown(format!("index {index} is past the end of a list of {n_elements} elements"))),
            }
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_list_builder_free(builder: *mut Slot<ListBuilder>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(builder) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_make_list(context: *mut Context, builder: *mut Slot<ListBuilder>, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (builder, cell) = (list_builder(builder)?, cell(value)?);
            cell.check_empty()?;
            let elements = builder.elements.lock();
            builder.evaluator.glance(|eval| {
                // A place that was never filled stays something that is asked for in vain.
                let elements = elements.iter().map(|element| element.as_ref().map_or_else(|| Ok(eval.heap.later()), |element| on(eval, element)));
                let elements = elements.collect::<Outcome<Vec<_>>>()?;
                cell.set(eval.heap, Value::list(eval.heap.list(elements)));
                Ok(())
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_make_bindings_builder(context: *mut Context, handle: *mut Slot<State>, _capacity: usize) -> *mut Slot<BindingsBuilder> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let evaluator = state(handle)?.evaluator.clone();
            Ok(pool::give(BindingsBuilder { evaluator, attributes: Mutex::default() }))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_bindings_builder_insert(context: *mut Context, builder: *mut Slot<BindingsBuilder>, name: *const c_char, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (name, value) = (text(name, "name")?.to_bytes().to_vec(), cell(value)?.argument());
            bindings_builder(builder)?.attributes.lock().push((name, value));
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_bindings_builder_free(builder: *mut Slot<BindingsBuilder>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(builder) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_make_attrs(context: *mut Context, value: *mut Slot<Object>, builder: *mut Slot<BindingsBuilder>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (builder, cell) = (bindings_builder(builder)?, cell(value)?);
            cell.check_empty()?;
            let attributes = builder.attributes.lock();
            builder.evaluator.glance(|eval| {
                let attributes = attributes.iter().map(|(name, value)| Ok((eval.symbols.intern(name), on(eval, value)?)));
                let attributes = attributes.collect::<Outcome<Vec<_>>>()?;
                cell.set(eval.heap, eval.attrs_of(attributes));
                Ok(())
            })
        })
    }
}
