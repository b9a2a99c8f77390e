//! `nixlang/value.h`: reading values, forcing and calling them, taking them apart without copies, exporting them.
//!
//! Getters look at memory that doesn't change, without a lock and without evaluating. Strings that they lend live as long as the engine, which the value keeps.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::c_int;
use std::sync::Arc;

use nixlang::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use nixlang::heap::{Kind, OwnedValue, Value};
use nixlang::source::Pos;
use nixlang::value::ContextKind;

use super::base::{Bytes, ErrorPointer, Str, free, give_bytes, look, plain, put, run};
use super::engine::{CBudget, EngineShared};
use super::error::Failure;
use crate::pool::{self, Slot};

/// `nixlang_value`
pub struct ValueHandle {
    // Dropped before the engine that it lies in.
    value: OwnedValue,
    pub(super) engine: Arc<EngineShared>,
}

crate::pool::pooled!(ValueHandle);
free!(nixlang_value_free: ValueHandle);

/// Gives a value to C.
pub(super) fn give_value(engine: &Arc<EngineShared>, value: OwnedValue) -> *mut Slot<ValueHandle> {
    pool::give(ValueHandle { value, engine: engine.clone() })
}

impl ValueHandle {
    /// Returns the value for an evaluator.
    pub(super) fn on<'h>(&self, eval: &Evaluator<'h>) -> Result<Value<'h>, Failure> {
        self.value.get(eval).ok_or_else(|| Failure::argument("the value belongs to another engine"))
    }

    pub(super) fn owned(&self) -> &OwnedValue {
        &self.value
    }
}

/// Returns what a thunk has become, if it has.
fn known(value: Value<'_>) -> Value<'_> {
    match value.kind() {
        Kind::Thunk(thunk) => thunk.value().unwrap_or(value),
        _ => value,
    }
}

/// For evaluations: the value of a handle.
pub(super) fn of_engine<'h>(eval: &Evaluator<'h>, value: &OwnedValue) -> EvalResult<Value<'h>> {
    value.get(eval).ok_or_else(|| EvalError::new(ErrorKind::Host, "the value belongs to another engine"))
}

/// Looks at what is known of a value.
///
/// # Safety
/// NULL or a handle of values.
#[inline]
unsafe fn peek<R>(value: *const Slot<ValueHandle>, look: impl for<'h> FnOnce(Value<'h>) -> Option<R>) -> Option<R> {
    // SAFETY: the contract.
    unsafe { pool::look(value) }?.value.peek(|value| look(known(value)))
}

/// Writes what a getter found. Returns whether it found it.
///
/// # Safety
/// `result` is NULL or writable.
unsafe fn found<T>(found: Option<T>, result: *mut T) -> bool {
    match found {
        Some(found) if !result.is_null() => {
            // SAFETY: the contract.
            unsafe { result.write(found) };
            true
        }
        _ => false,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_retain(value: *mut Slot<ValueHandle>) -> *mut Slot<ValueHandle> {
    // SAFETY: the header's contract.
    if unsafe { pool::retain(value) } { value } else { std::ptr::null_mut() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_type(value: *const Slot<ValueHandle>) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        peek(value, |value| {
            Some(match value.kind() {
                Kind::Thunk(_) => 1,
                Kind::Null => 2,
                Kind::Bool(_) => 3,
                Kind::Int(_) => 4,
                Kind::Float(_) => 5,
                Kind::String(_) => 6,
                Kind::Path(_) => 7,
                Kind::List(_) => 8,
                Kind::Attrs(_) => 9,
                Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_) => 10,
                Kind::External(_) => 11,
            })
        })
        .unwrap_or(0)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_bool(value: *const Slot<ValueHandle>, result: *mut bool) -> bool {
    // SAFETY: the header's contract.
    unsafe { found(peek(value, |value| if let Kind::Bool(bool) = value.kind() { Some(bool) } else { None }), result) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_int(value: *const Slot<ValueHandle>, result: *mut i64) -> bool {
    // SAFETY: the header's contract.
    unsafe { found(peek(value, |value| if let Kind::Int(int) = value.kind() { Some(int) } else { None }), result) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_float(value: *const Slot<ValueHandle>, result: *mut f64) -> bool {
    // SAFETY: the header's contract.
    unsafe { found(peek(value, |value| if let Kind::Float(float) = value.kind() { Some(float) } else { None }), result) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_string(value: *const Slot<ValueHandle>, result: *mut Str) -> bool {
    // SAFETY: the header's contract.
    unsafe { found(peek(value, |value| if let Kind::String(string) = value.kind() { Some(Str::with_nul(string.bytes_with_nul())) } else { None }), result) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_path(value: *const Slot<ValueHandle>, result: *mut Str) -> bool {
    // SAFETY: the header's contract.
    unsafe { found(peek(value, |value| if let Kind::Path(path) = value.kind() { Some(Str::with_nul(path.text.bytes_with_nul())) } else { None }), result) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_length(value: *const Slot<ValueHandle>) -> usize {
    // SAFETY: the header's contract.
    unsafe {
        let quick = peek(value, |value| match value.kind() {
            Kind::List(list) => Some(Some(list.len())),
            Kind::Attrs(attrs) => Some(attrs.as_flat().map(|flat| flat.slots.len())),
            _ => None,
        });
        match quick {
            None => 0,
            Some(Some(length)) => length,
            Some(None) => with_attrs(value, |eval, attrs| Some(attrs.len(eval.heap))).unwrap_or(0),
        }
    }
}

/// # Safety
/// NULL or a handle of values.
unsafe fn with_attrs<R>(value: *const Slot<ValueHandle>, body: impl for<'h> FnOnce(&Evaluator<'h>, nixlang::heap::Attrs<'h>) -> Option<R>) -> Option<R> {
    // SAFETY: the contract.
    let value = unsafe { pool::look(value) }?;
    value.engine.evaluator.glance(|eval| match known(value.value.get(eval)?).kind() {
        Kind::Attrs(attrs) => body(eval, attrs),
        _ => None,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_element(value: *const Slot<ValueHandle>, index: usize) -> *mut Slot<ValueHandle> {
    // SAFETY: the header's contract; the word is that of a value of the same engine.
    unsafe {
        let element = peek(value, |value| match value.kind() {
            Kind::List(list) => list.slots().get(index).and_then(|slot| std::num::NonZeroU64::new(slot.get().word())),
            _ => None,
        });
        let (Some(element), Some(list)) = (element, pool::look(value)) else { return std::ptr::null_mut() };
        give_value(&list.engine, list.value.engine().value_of_word(element))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_attribute(value: *const Slot<ValueHandle>, name: Str) -> *mut Slot<ValueHandle> {
    // SAFETY: the header's contract.
    plain(std::ptr::null_mut(), || unsafe {
        let set = pool::look(value)?;
        let found = with_attrs(value, |eval, attrs| {
            let slot = attrs.get(eval.symbols.lookup(name.bytes())?)?;
            Some(set.value.engine().own(eval.heap, slot.get()))
        })?;
        Some(give_value(&set.engine, found))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_attribute_at(value: *const Slot<ValueHandle>, index: usize, name: *mut Str) -> *mut Slot<ValueHandle> {
    // SAFETY: the header's contract.
    plain(std::ptr::null_mut(), || unsafe {
        let set = pool::look(value)?;
        let (found, its_name) = with_attrs(value, |eval, attrs| {
            let flat = attrs.flat(eval.heap);
            let entry = flat.entry(*flat.shape.lexicographic(eval.heap, &eval.symbols).get(index)? as usize);
            Some((set.value.engine().own(eval.heap, entry.slot.get()), Str::with_nul(eval.symbols.str(entry.symbol).bytes_with_nul())))
        })?;
        if !name.is_null() {
            name.write(its_name);
        }
        Some(give_value(&set.engine, found))
    })
}

/// `nixlang_reference`
#[repr(C)]
pub struct CReference {
    kind: c_int,
    path: Str,
    output: Str,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_reference_count(value: *const Slot<ValueHandle>) -> usize {
    // SAFETY: the header's contract.
    unsafe { peek(value, |value| if let Kind::String(string) = value.kind() { Some(string.context().map_or(0, |context| context.elements.len())) } else { None }) }.unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_reference_at(value: *const Slot<ValueHandle>, index: usize, result: *mut CReference) -> bool {
    // SAFETY: the header's contract.
    plain(false, || unsafe {
        let handle = pool::look(value)?;
        let reference = handle.engine.evaluator.glance(|eval| {
            let Kind::String(string) = known(handle.value.get(eval)?).kind() else { return None };
            let element = string.context()?.elements.get(index)?;
            let kind = match element.kind {
                ContextKind::Opaque => 0,
                ContextKind::DeepDerivation => 1,
                ContextKind::Output => 2,
            };
            let text = |symbol| Str::with_nul(eval.contexts.names.str(symbol).bytes_with_nul());
            Some(CReference { kind, path: text(element.path), output: text(element.output) })
        });
        Some(found(reference, result))
    })
}

/// `nixlang_formal`
#[repr(C)]
pub struct CFormal {
    name: Str,
    has_default: bool,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_formal_at(value: *const Slot<ValueHandle>, index: usize, result: *mut CFormal) -> bool {
    // SAFETY: the header's contract.
    plain(false, || unsafe {
        let handle = pool::look(value)?;
        let formal = handle.engine.evaluator.glance(|eval| {
            let Kind::Lambda(closure) = known(handle.value.get(eval)?).kind() else { return None };
            let formal = closure.lambda.formals?.entries.get(index)?;
            Some(CFormal { name: Str::with_nul(eval.symbols.str(formal.symbol).bytes_with_nul()), has_default: formal.default.is_some() })
        });
        Some(found(formal, result))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_force(value: *const Slot<ValueHandle>, budget: *const CBudget) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        if value.value.peek(|value| !known(value).is_thunk()) {
            return Ok(());
        }
        value.engine.enter(budget, |eval| eval.force(of_engine(eval, &value.value)?).map(drop))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_force_deep(value: *const Slot<ValueHandle>, budget: *const CBudget) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        value.engine.enter(budget, |eval| eval.force_deep(of_engine(eval, &value.value)?).map(drop))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_call(
    function: *const Slot<ValueHandle>,
    arguments: *const *const Slot<ValueHandle>,
    n_arguments: usize,
    budget: *const CBudget,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let function = look(function, "function")?;
        let arguments = handles(arguments, n_arguments)?;
        function.engine.enter_for(budget, result, |eval| {
            let arguments = arguments.iter().map(|argument| of_engine(eval, &argument.value)).collect::<EvalResult<Vec<_>>>()?;
            eval.call(of_engine(eval, &function.value)?, &arguments, Pos::NONE).and_then(|value| eval.force(value))
        })
    })
}

/// Returns the values of an array of handles.
///
/// # Safety
/// As many handles are there.
pub(super) unsafe fn handles<'a>(values: *const *const Slot<ValueHandle>, n_values: usize) -> Result<Vec<&'a ValueHandle>, Failure> {
    if n_values == 0 {
        return Ok(Vec::new());
    }
    if values.is_null() {
        return Err(Failure::argument("the array of values is NULL"));
    }
    // SAFETY: the contract.
    unsafe { std::slice::from_raw_parts(values, n_values) }.iter().map(|value| unsafe { look(*value, "value") }).collect()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_auto_call(
    function: *const Slot<ValueHandle>,
    arguments: *const Slot<ValueHandle>,
    budget: *const CBudget,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let function = look(function, "function")?;
        let arguments = if arguments.is_null() { None } else { Some(look(arguments, "arguments")?) };
        function.engine.enter_for(budget, result, |eval| {
            let arguments = match arguments {
                Some(arguments) => of_engine(eval, &arguments.value)?,
                None => eval.attrs_of([]),
            };
            eval.auto_call(of_engine(eval, &function.value)?, arguments)
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_select(value: *const Slot<ValueHandle>, path: Str, budget: *const CBudget, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (handle, path) = (look(value, "value")?, path.bytes());
        handle.engine.enter_for(budget, result, |eval| select(eval, of_engine(eval, &handle.value)?, path))
    })
}

/// Walks a path such as `a.b.0`.
fn select<'h>(eval: &Evaluator<'h>, value: Value<'h>, path: &[u8]) -> EvalResult<Value<'h>> {
    let mut value = eval.force(value)?;
    for step in path.split(|byte| *byte == b'.').filter(|step| !step.is_empty()) {
        let shown = || String::from_utf8_lossy(step).into_owned();
        value = match value.kind() {
            Kind::Attrs(attrs) => match eval.symbols.lookup(step).and_then(|symbol| attrs.find(symbol)) {
                Some(entry) => eval.force_at(entry.slot.get(), entry.pos)?,
                None => return Err(eval.missing_attribute(attrs, eval.symbols.intern(step), Pos::NONE)),
            },
            Kind::List(list) => {
                let slot = std::str::from_utf8(step).ok().and_then(|step| step.parse::<usize>().ok()).and_then(|index| list.slots().get(index));
                match slot {
                    Some(slot) => eval.force(slot.get())?,
                    None => return Err(EvalError::new(ErrorKind::MissingAttribute, format!("list index '{}' is out of range", shown()))),
                }
            }
            _ => return Err(EvalError::new(ErrorKind::Type, format!("cannot select '{}' from {}", shown(), value.described_type()))),
        };
    }
    Ok(value)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_to_json(value: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        let json = value.engine.enter(budget, |eval| eval.to_json(of_engine(eval, &value.value)?, Pos::NONE, false).map(|(json, _)| json))?;
        give_bytes(json, result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_print(value: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        let text = value.engine.enter(budget, |eval| eval.print_plain(of_engine(eval, &value.value)?))?;
        give_bytes(text, result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_documentation(value: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        let text = value.engine.enter(budget, |eval| {
            let text = nixlang::repl::documentation_of_value(eval, eval.force(of_engine(eval, &value.value)?)?)?;
            Ok(text.map(|text| nixlang::tools::documentation::strip_indentation(&text).trim().to_owned()).unwrap_or_default())
        })?;
        give_bytes(text.into_bytes(), result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_derivation(value: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        let path = value.engine.enter(budget, |eval| {
            let path = crate::values::derivation_path(eval, of_engine(eval, &value.value)?)?;
            Ok(eval.host.store_dir().display(&path))
        })?;
        give_bytes(path.into_bytes(), result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_realise(value: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let value = look(value, "value")?;
        let realised = value.engine.enter(budget, |eval| {
            let text = eval.coerce_to_string(of_engine(eval, &value.value)?, Pos::NONE, nixlang::eval::Coercion::INTERPOLATION, "while realising a string")?;
            crate::values::realise(eval, text.bytes(), text.context())
        })?;
        give_bytes(realised.bytes, result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_equal(a: *const Slot<ValueHandle>, b: *const Slot<ValueHandle>, budget: *const CBudget, result: *mut bool) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (a, b) = (look(a, "value")?, look(b, "value")?);
        let equal = a.engine.enter(budget, |eval| eval.equal(of_engine(eval, &a.value)?, of_engine(eval, &b.value)?, Pos::NONE, ""))?;
        put(result, equal)
    })
}
