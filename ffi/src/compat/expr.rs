//! `nix_api_expr.h`: states, evaluating, calling, forcing, counting references.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use nixlang::source::{Origin, Pos};
use parking_lot::Mutex;

use super::context::{Context, Failure, Outcome, Status, attempt, run, run_code, utf8};
use super::handles::{self, Finalizer, Object, PathHandle, State, StoreHandle, cell, checked, evaluate, on};
use super::util::{setting_failure, settings};
use crate::host::{DiskFiles, EmbeddedHost, World};
use crate::pool::{self, Slot};
use crate::settings::Settings;
use crate::stores::OpenStore;
use crate::world;

/// `nix_eval_state_builder`
pub struct StateBuilder {
    store: Arc<OpenStore>,
    parts: Mutex<Parts>,
}

#[derive(Clone, Default)]
struct Parts {
    settings: Settings,
    lookup_path: Vec<String>,
    /// What is evaluated may be written to the store.
    is_loaded: bool,
}

crate::pool::pooled!(StateBuilder);

/// # Safety
/// NULL or a handle of builders.
unsafe fn builder<'a>(builder: *const Slot<StateBuilder>) -> Outcome<&'a StateBuilder> {
    // SAFETY: the contract.
    unsafe { pool::look(builder) }.ok_or_else(|| Failure::unknown("nix_eval_state_builder is null or was freed"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_builder_new(context: *mut Context, store: *mut Slot<StoreHandle>) -> *mut Slot<StateBuilder> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let store = handles::store(store)?.clone();
            // What was set process-wide is known to be set; files are read by `load`.
            let parts = Parts { settings: settings(), ..Parts::default() };
            Ok(pool::give(StateBuilder { store, parts: Mutex::new(parts) }))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_builder_free(builder: *mut Slot<StateBuilder>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(builder) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_builder_load(context: *mut Context, handle: *mut Slot<StateBuilder>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let mut parts = builder(handle)?.parts.lock();
            parts.settings.load().map_err(|error| Failure::nix(error.to_string()))?;
            parts.is_loaded = true;
            Ok(())
        })
    }
}

/// # Safety
/// NULL, or pointers to NUL-terminated texts, the last of which is NULL.
unsafe fn texts(texts: *const *const c_char) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let mut next = texts;
    // SAFETY: the contract.
    unsafe {
        while !next.is_null() && !(*next).is_null() {
            found.push(utf8(*next, "search path")?.to_owned());
            next = next.add(1);
        }
    }
    Ok(found)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_builder_set_lookup_path(context: *mut Context, handle: *mut Slot<StateBuilder>, lookup_path: *const *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            builder(handle)?.parts.lock().lookup_path = texts(lookup_path)?;
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_builder_set_setting(context: *mut Context, handle: *mut Slot<StateBuilder>, key: *const c_char, value: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (key, value) = (utf8(key, "key")?, utf8(value, "value")?);
            builder(handle)?.parts.lock().settings.set(key, value).map_err(|error| setting_failure(&error))
        })
    }
}

fn build(store: Arc<OpenStore>, parts: Parts) -> Outcome<*mut Slot<State>> {
    let Parts { settings, lookup_path, is_loaded } = parts;
    let options = world::options(&settings, &lookup_path, is_loaded);
    let files = Arc::new(DiskFiles(nixlang::host::OsHost { store_dir: store.store.store_dir().clone() }));
    let pure = options.pure;
    let world = World {
        store,
        settings,
        files,
        is_disk: true,
        fetchers: Default::default(),
        messages: None,
        read_write: is_loaded,
        pure,
    };
    let evaluator = Arc::new(handles::engine()?.evaluator(Box::new(EmbeddedHost::new(world)), options));
    super::primop::add_registered(&evaluator);
    Ok(pool::give(State { evaluator }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_eval_state_build(context: *mut Context, handle: *mut Slot<StateBuilder>) -> *mut Slot<State> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let builder = builder(handle)?;
            let parts = builder.parts.lock().clone();
            build(builder.store.clone(), parts)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_state_create(context: *mut Context, lookup_path: *const *const c_char, store: *mut Slot<StoreHandle>) -> *mut Slot<State> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let mut parts = Parts { settings: settings(), lookup_path: texts(lookup_path)?, is_loaded: true };
            parts.settings.load().map_err(|error| Failure::nix(error.to_string()))?;
            build(handles::store(store)?.clone(), parts)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_state_free(state: *mut Slot<State>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(state) };
    handles::collect();
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_expr_eval_from_string(
    context: *mut Context,
    state: *mut Slot<State>,
    expression: *const c_char,
    path: *const c_char,
    value: *mut Slot<Object>,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (text, path, cell) = (super::context::text(expression, "expression")?, super::context::text(path, "path")?, cell(value)?);
            // As in the reference the path is taken from the root, so "." is "/".
            let base = nixlang::path::canonicalise(&[b"/", path.to_bytes()].concat());
            evaluate(state, |eval, _| {
                let value = checked(eval, eval.eval_text(text.to_bytes(), Origin::String, &base))?;
                cell.set(eval.heap, value);
                Ok(())
            })
        })
    }
}

/// # Safety
/// Live handles, or NULL.
unsafe fn call(state: *mut Slot<State>, function: *mut Slot<Object>, arguments: &[*mut Slot<Object>], result: *mut Slot<Object>) -> Outcome<()> {
    // SAFETY: the contract.
    unsafe {
        let (function, result) = (cell(function)?.argument(), cell(result)?);
        let arguments = arguments.iter().map(|argument| Ok(cell(*argument)?.argument())).collect::<Outcome<Vec<_>>>()?;
        evaluate(state, |eval, _| {
            let arguments = arguments.iter().map(|argument| on(eval, argument)).collect::<Outcome<Vec<_>>>()?;
            let value = eval.call(on(eval, &function)?, &arguments, Pos::NONE).and_then(|value| eval.force(value));
            result.set(eval.heap, checked(eval, value)?);
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_call(context: *mut Context, state: *mut Slot<State>, function: *mut Slot<Object>, argument: *mut Slot<Object>, result: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || call(state, function, &[argument], result)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_call_multi(
    context: *mut Context,
    state: *mut Slot<State>,
    function: *mut Slot<Object>,
    n_arguments: usize,
    arguments: *mut *mut Slot<Object>,
    result: *mut Slot<Object>,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            if arguments.is_null() && n_arguments != 0 {
                return Err(Failure::unknown("args is NULL"));
            }
            let arguments = if n_arguments == 0 { &[][..] } else { std::slice::from_raw_parts(arguments, n_arguments) };
            call(state, function, arguments, result)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_auto_call_function(
    context: *mut Context,
    state: *mut Slot<State>,
    arguments: *mut Slot<Object>,
    function: *mut Slot<Object>,
    result: *mut Slot<Object>,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (function, result) = (cell(function)?.argument(), cell(result)?);
            let arguments = if arguments.is_null() { None } else { Some(cell(arguments)?.argument()) };
            evaluate(state, |eval, _| {
                let arguments = match &arguments {
                    Some(arguments) => on(eval, arguments)?,
                    None => eval.attrs_of([]),
                };
                let value = checked(eval, eval.auto_call(on(eval, &function)?, arguments))?;
                result.set(eval.heap, value);
                Ok(())
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_derivation(context: *mut Context, state: *mut Slot<State>, value: *mut Slot<Object>, ignore_assertion_failures: bool) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let value = cell(value)?.argument();
            evaluate(state, |eval, _| {
                let value = on(eval, &value)?;
                // A derivation whose name can't be had is none, if assertions don't count.
                let look = || -> nixlang::eval::EvalResult<bool> {
                    let value = eval.force(value)?;
                    let is_derivation = eval.is_derivation(value)?;
                    if let nixlang::heap::Kind::Attrs(attrs) = value.kind()
                        && let Some(name) = attrs.get(eval.names.name)
                        && is_derivation
                    {
                        eval.force(name.get())?;
                    }
                    Ok(is_derivation)
                };
                let is_derivation = match look() {
                    Err(error) if ignore_assertion_failures && error.kind() == nixlang::eval::ErrorKind::Assertion => return Ok(std::ptr::null_mut()),
                    other => checked(eval, other)?,
                };
                if !is_derivation {
                    return Ok(std::ptr::null_mut());
                }
                let path = checked(eval, crate::values::derivation_path(eval, value))?;
                Ok(pool::give(PathHandle(path)))
            })
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_force(context: *mut Context, state: *mut Slot<State>, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let cell = cell(value)?;
            if cell.peek(|value| Ok(!value.is_thunk())).is_ok_and(|is_there| is_there) {
                return Ok(());
            }
            let value = cell.value()?;
            evaluate(state, |eval, _| checked(eval, eval.force(on(eval, &value)?)).map(drop))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_force_deep(context: *mut Context, state: *mut Slot<State>, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let value = cell(value)?.value()?;
            evaluate(state, |eval, _| checked(eval, eval.force_deep(on(eval, &value)?)).map(drop))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_gc_incref(context: *mut Context, object: *const c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || if pool::retain(object.cast::<Slot<Object>>()) { Ok(()) } else { Err(Failure::unknown("nix_gc_incref: object is not there")) }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_gc_decref(context: *mut Context, object: *const c_void) -> Status {
    // SAFETY: the headers' contract.
    let status = unsafe { attempt(context, || if pool::release(object.cast::<Slot<Object>>()) { Ok(()) } else { Err(Failure::unknown("nix_gc_decref: object was not referenced")) }) };
    handles::collect();
    status.err().unwrap_or(super::context::OK)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_incref(context: *mut Context, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe { nix_gc_incref(context, value.cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_value_decref(context: *mut Context, value: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe { nix_gc_decref(context, value.cast()) }
}

#[unsafe(no_mangle)]
pub extern "C" fn nix_gc_now() {
    // Memory comes back when the last state and value are gone.
    handles::collect();
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_gc_register_finalizer(object: *mut c_void, data: *mut c_void, finalizer: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void)>) {
    // SAFETY: the headers' contract.
    let found = unsafe { pool::look(object.cast::<Slot<Object>>()) };
    if let (Some(Object::Value(cell)), Some(finalizer)) = (found, finalizer) {
        cell.on_release(Finalizer(finalizer, object.expose_provenance(), data.expose_provenance()));
    }
}
