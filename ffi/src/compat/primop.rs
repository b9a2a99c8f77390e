//! Functions of the host as builtins.
//!
//! The surprising part is how arguments are counted: the reference never releases them, and there are callbacks that release what they did not retain, and
//! others that retain what they keep. So each has a count to spare while the callback runs.
#![expect(unsafe_code, reason = "the host's functions are called through pointers")]

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use nixlang::builtins::{HostBuiltin, add_builtin, documented_host_function};
use nixlang::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use nixlang::heap::{Heap, OwnedEvaluator, Value, on_host_stack};
use parking_lot::Mutex;

use super::context::{Context, Failure, OK, RECOVERABLE, Status, run, run_code, utf8};
use super::handles::{Cell, Object, State, evaluate, give_value, on, running_state};
use crate::pool::{self, Slot};

/// `PrimOpFun`
type Function = unsafe extern "C-unwind" fn(*mut c_void, *mut Context, *mut Slot<State>, *mut *mut Slot<Object>, *mut Slot<Object>);

/// What `PrimOp` is.
pub struct PrimOpObject {
    function: Function,
    arity: u8,
    name: String,
    /// As Markdown; for `:doc` and `nixlang_value_documentation`.
    documentation: String,
    user_data: *mut c_void,
}

// SAFETY: by the header's contract the function may be called with its data on any thread that evaluates, one at a time.
unsafe impl Send for PrimOpObject {}
// SAFETY: as above.
unsafe impl Sync for PrimOpObject {}

/// Builtins of states that are made from now on.
static REGISTERED: Mutex<Vec<Arc<PrimOpObject>>> = Mutex::new(Vec::new());

/// Adds the registered builtins to a new state.
pub(super) fn add_registered(evaluator: &OwnedEvaluator) {
    let registered = REGISTERED.lock().clone();
    if !registered.is_empty() {
        evaluator.glance(|eval| {
            for primop in &registered {
                // As in the reference: `__name` is hidden, others are global variables too.
                add_builtin(eval, &primop.name, primop.clone().value(eval.heap), !primop.name.starts_with("__"));
            }
        });
    }
}

impl PrimOpObject {
    /// Returns the function as a value.
    pub(super) fn value<'h>(self: Arc<Self>, heap: &'h Heap) -> Value<'h> {
        let (name, arity) = (self.name.clone(), self.arity);
        let documentation = self.documentation.clone();
        let run: HostBuiltin = Arc::new(move |eval, arguments| self.call(eval, arguments));
        documented_host_function(heap, &name, arity, &documentation, run)
    }

    fn call<'h>(&self, eval: &Evaluator<'h>, arguments: &[Value<'h>]) -> EvalResult<Value<'h>> {
        let fail = |message: &str| Err(EvalError::new(ErrorKind::Evaluation, format!("Implementation error in custom function: {message}")));
        let state = running_state();
        // SAFETY: the state was live when the evaluation began, and slots are for ever.
        let engine = unsafe { evaluate(state, |eval, engine| on(eval, &engine.own(eval.heap, Value::NULL)).map(|_| engine.clone())) };
        let Ok(engine) = engine else { return fail("no state is evaluating") };
        let mut context = Context::new();
        let mut handles: Vec<*mut Slot<Object>> = arguments.iter().map(|argument| give_value(&engine.own(eval.heap, *argument))).collect();
        // SAFETY: given just now. The second count is for callbacks that release what they did not retain.
        for handle in &handles {
            unsafe { pool::retain(*handle) };
        }
        let result = pool::give(Object::Value(Cell::new(&engine)));
        // SAFETY: the header's contract.
        on_host_stack(|| unsafe { (self.function)(self.user_data, &mut context, state, handles.as_mut_ptr(), result) });
        // SAFETY: the handles are live: their counts are one or what the callback made of them.
        let value = unsafe {
            let value = super::handles::cell(result).and_then(Cell::value);
            pool::release(result);
            for handle in handles {
                if pool::count(handle) > 1 {
                    pool::release(handle);
                }
                pool::release(handle);
            }
            value
        };
        if context.code != OK {
            let message = context.message().map(|message| message.to_string_lossy().into_owned()).unwrap_or_default();
            return Err(match context.code {
                RECOVERABLE => EvalError::new(ErrorKind::Recoverable, format!("Recoverable error from custom function: {message}")),
                _ => EvalError::new(ErrorKind::Evaluation, format!("Error from custom function: {message}")),
            });
        }
        let Ok(value) = value else { return fail("return value was not initialized") };
        match value.get(eval).map(super::handles::known) {
            Some(value) if value.is_thunk() => fail("return value must not be a thunk"),
            Some(value) => Ok(value),
            None => fail("return value belongs to another engine"),
        }
    }
}

/// Returns what is shown of a function: how it is called, and what the host says of it. Empty if it says nothing.
///
/// # Safety
/// `arguments` is NULL or NUL-terminated texts, of which NULL is the last unless there are `arity`; `doc` is NULL or such a text.
unsafe fn documentation(name: &str, arity: u8, arguments: *const *const c_char, doc: *const c_char) -> Result<String, Failure> {
    if doc.is_null() {
        return Ok(String::new());
    }
    let mut text = format!("**Synopsis:** `builtins.{}`", name.trim_start_matches("__"));
    // SAFETY: the contract.
    unsafe {
        let mut next = arguments;
        for _ in 0..arity {
            if next.is_null() || (*next).is_null() {
                break;
            }
            text.push_str(&format!(" *{}*", utf8(*next, "name of an argument")?));
            next = next.add(1);
        }
        text.push_str("\n\n");
        text.push_str(utf8(doc, "documentation")?);
    }
    Ok(text)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_alloc_primop(
    context: *mut Context,
    function: Option<Function>,
    arity: c_int,
    name: *const c_char,
    arguments: *const *const c_char,
    doc: *const c_char,
    user_data: *mut c_void,
) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let function = function.ok_or_else(|| Failure::unknown("PrimOpFun is NULL"))?;
            let arity = u8::try_from(arity).ok().filter(|arity| *arity > 0).ok_or_else(|| Failure::unknown(format!("a function of {arity} arguments is not possible")))?;
            let name = utf8(name, "name")?.to_owned();
            let documentation = documentation(&name, arity, arguments, doc)?;
            Ok(pool::give(Object::PrimOp(Arc::new(PrimOpObject { function, arity, name, documentation, user_data }))))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_register_primop(context: *mut Context, primop: *mut Slot<Object>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || match pool::look(primop) {
            Some(Object::PrimOp(primop)) => {
                REGISTERED.lock().push(primop.clone());
                Ok(())
            }
            _ => Err(Failure::unknown("PrimOp is null or was released")),
        })
    }
}
