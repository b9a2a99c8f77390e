//! `nix_api_external.h`: values whose behaviour is a table of the host's functions.
#![expect(unsafe_code, reason = "the host's functions are called through pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use nixlang::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use nixlang::heap::{Str, on_host_stack};
use nixlang::source::Pos;
use nixlang::value::{ContextElement, External, XmlOptions};

use super::context::{Context, Failure, Status, run, run_code, utf8};
use super::handles::{Object, State, running_state};
use crate::pool::{self, Slot};

/// `nix_string_return`
#[derive(Default)]
pub struct StringReturn(Vec<u8>);

/// `nix_printer`
#[derive(Default)]
pub struct Printer(Vec<u8>);

/// `nix_string_context`: elements in the reference's notation.
#[derive(Default)]
pub struct StringContext(Vec<String>);

/// `NixCExternalValueDesc`
#[repr(C)]
pub struct Description {
    print: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut Printer)>,
    show_type: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut StringReturn)>,
    type_of: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut StringReturn)>,
    coerce_to_string: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut StringContext, c_int, c_int, *mut StringReturn)>,
    equal: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int>,
    json: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut Slot<State>, bool, *mut StringContext, bool, *mut StringReturn)>,
    /// The reference passes its own XML writer, which no C program can use; here it is a printer, for `nix_external_print`.
    xml: Option<XmlFunction>,
}

/// data, state, strict, location, printer, context, derivations seen (nothing here), position
type XmlFunction = unsafe extern "C-unwind" fn(*mut c_void, *mut Slot<State>, c_int, c_int, *mut c_void, *mut StringContext, *mut c_void, c_int);

/// What `ExternalValue` is: a description and the host's data, both kept alive by the host.
pub struct ExternalObject {
    description: *const Description,
    data: *mut c_void,
}

// SAFETY: by the header's contract the functions may be called with the data on any thread that evaluates, one at a time.
unsafe impl Send for ExternalObject {}
// SAFETY: as above.
unsafe impl Sync for ExternalObject {}

/// An external value in the heap, with the handle that `nix_get_external` returns.
pub(super) struct InHeap {
    object: Arc<ExternalObject>,
    handle: usize,
}

impl InHeap {
    /// Returns the value of a live handle, which is kept.
    pub(super) fn new(object: Arc<ExternalObject>, handle: *mut Slot<Object>) -> InHeap {
        // SAFETY: the caller looked at the handle just now.
        unsafe { pool::retain(handle) };
        InHeap { object, handle: handle.expose_provenance() }
    }

    pub(super) fn handle(&self) -> *mut Slot<Object> {
        std::ptr::with_exposed_provenance_mut(self.handle)
    }

    fn description(&self) -> &Description {
        // SAFETY: by the header's contract the host keeps the description alive.
        unsafe { &*self.object.description }
    }

    fn text_of(&self, get: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut StringReturn)>) -> String {
        let mut text = StringReturn::default();
        if let Some(get) = get {
            // SAFETY: the header's contract.
            on_host_stack(|| unsafe { get(self.object.data, &mut text) });
        }
        String::from_utf8_lossy(&text.0).into_owned()
    }
}

impl Drop for InHeap {
    fn drop(&mut self) {
        // SAFETY: retained in `new`.
        unsafe { pool::release(self.handle()) };
    }
}

impl External for InHeap {
    fn type_name(&self) -> String {
        self.text_of(self.description().type_of)
    }

    fn described_type(&self) -> String {
        self.text_of(self.description().show_type)
    }

    fn print(&self) -> Vec<u8> {
        let mut printer = Printer::default();
        if let Some(print) = self.description().print {
            // SAFETY: the header's contract.
            on_host_stack(|| unsafe { print(self.object.data, &mut printer) });
        }
        printer.0
    }

    fn coerce_to_string<'h>(&self, eval: &Evaluator<'h>, coercion: Coercion) -> EvalResult<Option<Str<'h>>> {
        let Some(coerce) = self.description().coerce_to_string else { return Ok(None) };
        let (mut context, mut text) = (StringContext::default(), StringReturn::default());
        // SAFETY: the header's contract.
        on_host_stack(|| unsafe { coerce(self.object.data, &mut context, c_int::from(coercion.more), c_int::from(coercion.copy_to_store), &mut text) });
        if text.0.is_empty() {
            return Ok(None);
        }
        let elements = elements(eval, &context)?;
        Ok(Some(eval.heap.str_from_parts(&[&text.0], eval.contexts.context(elements))))
    }

    fn write_xml(&self, eval: &Evaluator<'_>, options: XmlOptions, pos: Pos) -> EvalResult<Option<(Vec<u8>, Vec<ContextElement>)>> {
        let Some(xml) = self.description().xml else { return Ok(None) };
        let (mut printer, mut context) = (Printer::default(), StringContext::default());
        let (strict, location) = (c_int::from(options.force), c_int::from(options.locations));
        let writer = std::ptr::from_mut(&mut printer).cast();
        // SAFETY: the header's contract.
        on_host_stack(|| unsafe { xml(self.object.data, running_state(), strict, location, writer, &mut context, std::ptr::null_mut(), pos.0.cast_signed()) });
        Ok(Some((printer.0, elements(eval, &context)?)))
    }

    fn equals(&self, other: &dyn External) -> bool {
        let other: &dyn std::any::Any = other;
        match (self.description().equal, other.downcast_ref::<InHeap>()) {
            // SAFETY: the header's contract.
            (Some(equal), Some(other)) => on_host_stack(|| unsafe { equal(self.object.data, other.object.data) }) != 0,
            _ => false,
        }
    }

    fn to_json(&self, _eval: &Evaluator<'_>, copy_to_store: bool) -> EvalResult<Vec<u8>> {
        let unconvertible = || EvalError::new(ErrorKind::Type, format!("cannot convert {} to JSON", self.described_type()));
        let json = self.description().json.ok_or_else(unconvertible)?;
        let (mut context, mut text) = (StringContext::default(), StringReturn::default());
        // SAFETY: the header's contract.
        on_host_stack(|| unsafe { json(self.object.data, running_state(), true, &mut context, copy_to_store, &mut text) });
        if text.0.is_empty() {
            return Err(unconvertible());
        }
        let parsed: serde_json::Value = serde_json::from_slice(&text.0).map_err(|error| EvalError::new(ErrorKind::Evaluation, error.to_string()))?;
        Ok(parsed.to_string().into_bytes())
    }
}

/// Returns the elements of a context that a callback made.
fn elements(eval: &Evaluator<'_>, context: &StringContext) -> EvalResult<Vec<ContextElement>> {
    let elements = context.0.iter().map(|element| parse_context(eval, element)).collect::<Result<_, _>>();
    elements.map_err(|message| EvalError::new(ErrorKind::Evaluation, message))
}

/// Reads an element in the reference's notation: `path`, `=path` or `!output!path`.
fn parse_context(eval: &Evaluator<'_>, element: &str) -> Result<ContextElement, String> {
    let full = |path: &str| {
        let full = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", eval.host.store_dir().as_str()) };
        eval.host.store_dir().parse(&full).map(|_| full).map_err(|error| error.to_string())
    };
    match element.as_bytes().first() {
        Some(b'=') => Ok(eval.contexts.deep(&full(&element[1..])?)),
        Some(b'!') => match element[1..].split_once('!') {
            Some((output, path)) => Ok(eval.contexts.output(&full(path)?, output)),
            None => Err(format!("string content element '{element}' should have a second '!'")),
        },
        _ => Ok(eval.contexts.opaque(&full(element)?)),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_set_string_return(result: *mut StringReturn, text: *const c_char) {
    // SAFETY: the headers' contract.
    unsafe {
        if let (Some(result), false) = (result.as_mut(), text.is_null()) {
            result.0 = CStr::from_ptr(text).to_bytes().to_vec();
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_external_print(context: *mut Context, printer: *mut Printer, text: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let printer = printer.as_mut().ok_or_else(|| Failure::unknown("nix_printer is null"))?;
            printer.0.extend_from_slice(super::context::text(text, "text")?.to_bytes());
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_external_add_string_context(context: *mut Context, elements: *mut StringContext, element: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let elements = elements.as_mut().ok_or_else(|| Failure::unknown("nix_string_context is null"))?;
            elements.0.push(utf8(element, "string context")?.to_owned());
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_create_external_value(context: *mut Context, description: *mut Description, data: *mut c_void) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            if description.is_null() {
                return Err(Failure::unknown("NixCExternalValueDesc is null"));
            }
            Ok(pool::give(Object::External(Arc::new(ExternalObject { description, data }))))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_get_external_value_content(context: *mut Context, external: *mut Slot<Object>) -> *mut c_void {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            Ok(match pool::look(external) {
                Some(Object::External(object)) => object.data,
                _ => std::ptr::null_mut(),
            })
        })
    }
}
