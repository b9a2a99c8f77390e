//! `nixlang/function.h`: functions and objects of the host as values. Their data is freed with the engine.
#![expect(unsafe_code, reason = "the host's functions are called through pointers")]

use std::any::Any;
use std::ffi::c_void;
use std::sync::{Arc, Weak};

use nixlang::builtins::{HostBuiltin, host_function};
use nixlang::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use nixlang::heap::{Kind, Value, on_host_stack};
use nixlang::value::External;

use super::base::{ErrorPointer, Str, look, put, run};
use super::engine::{EngineHandle, EngineShared};
use super::error::{Failure, HostData, eval_error, take};
use super::value::{ValueHandle, give_value, of_engine};
use crate::pool::{self, Slot};

/// `nixlang_function`
type Function = unsafe extern "C-unwind" fn(*mut c_void, *const *mut Slot<ValueHandle>, usize, *mut *mut Slot<ValueHandle>) -> ErrorPointer;

/// A function of the host. It doesn't keep the engine, in whose heap it lies.
struct HostFunction {
    function: Function,
    data: HostData,
    engine: Weak<EngineShared>,
}

impl HostFunction {
    fn call<'h>(&self, eval: &Evaluator<'h>, arguments: &[Value<'h>]) -> EvalResult<Value<'h>> {
        let Some(engine) = self.engine.upgrade() else { return Err(EvalError::new(ErrorKind::Host, "the engine is going away")) };
        let own = |value: &Value<'h>| give_value(&engine, engine.evaluator.engine().own(eval.heap, *value));
        let handles: Vec<*mut Slot<ValueHandle>> = arguments.iter().map(own).collect();
        let mut result = std::ptr::null_mut();
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { (self.function)(self.data.get(), handles.as_ptr(), handles.len(), &mut result) });
        // SAFETY: the handles are ours; the result and the error were given to us.
        unsafe {
            let value = pool::look(result).map(|result| of_engine(eval, result.owned()));
            handles.iter().for_each(|handle| {
                pool::release(*handle);
            });
            pool::release(result);
            if let Some(error) = take(error) {
                return Err(eval_error(error));
            }
            match value {
                Some(value) => value,
                None => Err(EvalError::new(ErrorKind::Host, "a function of the host returned neither a value nor an error")),
            }
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_function(
    engine: *mut Slot<EngineHandle>,
    name: Str,
    n_arguments: usize,
    function: Option<Function>,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let engine = &look(engine, "engine")?.0;
        let function = function.ok_or_else(|| Failure::argument("the function is NULL"))?;
        let arity = u8::try_from(n_arguments).ok().filter(|arity| *arity > 0).ok_or_else(|| Failure::argument("a function has 1 to 255 arguments"))?;
        let name = name.text("name")?;
        let host = HostFunction { function, data, engine: Arc::downgrade(engine) };
        let run: HostBuiltin = Arc::new(move |eval, arguments| host.call(eval, arguments));
        let value = engine.evaluator.glance(|eval| engine.evaluator.engine().own(eval.heap, host_function(eval.heap, name, arity, run)));
        put(result, give_value(engine, value))
    })
}

/// An object of the host.
struct HostObject {
    type_name: String,
    data: HostData,
}

impl External for HostObject {
    fn type_name(&self) -> String {
        self.type_name.clone()
    }

    fn described_type(&self) -> String {
        format!("an object of type '{}'", self.type_name)
    }

    fn print(&self) -> Vec<u8> {
        format!("«{}»", self.type_name).into_bytes()
    }

    fn equals(&self, other: &dyn External) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<HostObject>().is_some_and(|other| std::ptr::eq(self, other))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_make_object(
    engine: *mut Slot<EngineHandle>,
    type_name: Str,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let engine = &look(engine, "engine")?.0;
        let object = HostObject { type_name: type_name.text("type name")?.to_owned(), data };
        let value = engine.evaluator.glance(|eval| engine.evaluator.engine().own(eval.heap, eval.heap.external(Box::new(object))));
        put(result, give_value(engine, value))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_value_object(value: *const Slot<ValueHandle>, type_name: Str, result: *mut *mut c_void) -> bool {
    super::base::plain(false, || {
        // SAFETY: the header's contract.
        let (value, wanted) = unsafe { (pool::look(value)?, type_name.bytes()) };
        let data = value.owned().peek(|value| match value.kind() {
            Kind::External(external) => {
                let external: &dyn Any = external;
                external.downcast_ref::<HostObject>().filter(|object| object.type_name.as_bytes() == wanted).map(|object| object.data.get())
            }
            _ => None,
        })?;
        // SAFETY: the header's contract.
        unsafe { put(result, data) }.ok().map(|()| true)
    })
}
