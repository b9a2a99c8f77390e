//! `nix_c_context`: the error of the last call; and the frame around every function of this API.
#![expect(unsafe_code, reason = "contexts are C's")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use nixlang::diagnostics::{Diagnostic, RenderOptions, render};
use nixlang::eval::{ErrorKind, EvalError, Evaluator};

use crate::guard;

/// `nix_err`
pub type Status = c_int;
pub const OK: Status = 0;
pub const UNKNOWN: Status = -1;
pub const KEY: Status = -3;
pub const NIX_ERROR: Status = -4;
pub const RECOVERABLE: Status = -5;

/// `nix_get_string_callback`
pub type StringCallback = Option<unsafe extern "C-unwind" fn(*const c_char, c_uint, *mut c_void)>;

/// `nix_c_context`. Its first field is documented to be the code.
#[repr(C)]
pub struct Context {
    pub(super) code: Status,
    message: CString,
    name: String,
    info: String,
}

/// Why a function failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Status,
    /// The C++ class that the reference would have thrown.
    pub(super) name: &'static str,
    /// In full, with the trace.
    pub(super) message: String,
    /// The message alone.
    pub(super) info: String,
}

impl Failure {
    /// An error of the API itself.
    pub(super) fn new(code: Status, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { code, name: "nix::Error", info: message.clone(), message }
    }

    /// A wrong argument.
    pub(super) fn unknown(message: impl Into<String>) -> Failure {
        Failure::new(UNKNOWN, message)
    }

    /// An error that the reference throws as `nix::Error`.
    pub(super) fn nix(message: impl Into<String>) -> Failure {
        let info = message.into();
        Failure { code: NIX_ERROR, name: "nix::Error", message: format!("error: {info}"), info }
    }

    /// An error of an evaluation.
    pub(super) fn eval(eval: &Evaluator<'_>, error: &EvalError) -> Failure {
        let diagnostic = Diagnostic::from_error(error, &eval.sources);
        let name = match error.kind() {
            ErrorKind::Throw => "nix::ThrownError",
            ErrorKind::Abort => "nix::Abort",
            ErrorKind::Assertion => "nix::AssertionError",
            ErrorKind::Type => "nix::TypeError",
            ErrorKind::UndefinedVariable => "nix::UndefinedVarError",
            ErrorKind::InfiniteRecursion => "nix::InfiniteRecursionError",
            ErrorKind::Syntax => "nix::ParseError",
            ErrorKind::Restricted => "nix::RestrictedPathError",
            ErrorKind::Recoverable => "nix::RecoverableEvalError",
            ErrorKind::Cancelled | ErrorKind::Interrupted => "nix::Interrupted",
            ErrorKind::Host => "nix::Error",
            _ => "nix::EvalError",
        };
        Failure { code: NIX_ERROR, name, message: render(&diagnostic, &RenderOptions { show_trace: eval.options.show_trace, ..RenderOptions::default() }), info: diagnostic.message }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::nix(message)
    }
}

/// What the body of a function returns.
pub(super) type Outcome<T> = Result<T, Failure>;

impl Context {
    pub(super) fn new() -> Context {
        Context { code: OK, message: CString::default(), name: String::new(), info: String::new() }
    }

    pub(super) fn set(&mut self, failure: Failure) {
        self.code = failure.code;
        self.message = c_text(&failure.message);
        self.name = failure.name.to_owned();
        self.info = failure.info;
    }

    /// Returns the message, if there is an error.
    pub(super) fn message(&self) -> Option<&CStr> {
        (self.code != OK).then_some(&*self.message)
    }
}

/// Returns a text for C; a NUL in it is shown as a replacement character.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

#[cfg(feature = "test-hooks")]
static NULL_CONTEXT: parking_lot::Mutex<Option<unsafe extern "C-unwind" fn(c_int, *const c_char)>> = parking_lot::Mutex::new(None);

/// Puts a failure where the caller wants it.
///
/// # Safety
/// `context` is NULL or a live context.
unsafe fn report(context: *mut Context, failure: Failure) {
    // SAFETY: the contract.
    if let Some(context) = unsafe { context.as_mut() } {
        context.set(failure);
        return;
    }
    #[cfg(feature = "test-hooks")]
    {
        let handler = *NULL_CONTEXT.lock();
        if let Some(handler) = handler {
            let code = failure.code;
            let message = c_text(&failure.message);
            drop(failure);
            // It may throw: the text would stay behind, so it is given to the context-less caller for good.
            // SAFETY: the handler takes a code and a text; no frame above catches panics.
            unsafe { handler(code, message.into_raw()) };
        }
    }
}

/// Runs the body of a function: resets the context, turns panics and failures into its error, and returns `otherwise` then.
///
/// # Safety
/// `context` is NULL or a live context.
pub(super) unsafe fn run<R>(context: *mut Context, otherwise: R, body: impl FnOnce() -> Outcome<R>) -> R {
    // SAFETY: the contract.
    unsafe { run_then(context, body) }.unwrap_or(otherwise)
}

/// As [`run`], for functions that return a code.
///
/// # Safety
/// As `run`.
pub(super) unsafe fn run_code(context: *mut Context, body: impl FnOnce() -> Outcome<()>) -> Status {
    // SAFETY: the contract.
    match unsafe { attempt(context, body) } {
        Ok(()) => OK,
        Err(code) => code,
    }
}

/// As [`run`], and gives the body's string to a callback, outside of everything that could stop what it throws.
///
/// # Safety
/// As `run`; and the callback takes bytes and `user_data`.
pub(super) unsafe fn run_string(context: *mut Context, callback: StringCallback, user_data: *mut c_void, body: impl FnOnce() -> Outcome<Vec<u8>>) -> Status {
    // SAFETY: the contract.
    match unsafe { attempt(context, body) } {
        Ok(mut bytes) => {
            bytes.push(0);
            // SAFETY: the contract.
            unsafe { give_string(callback, user_data, &bytes) };
            OK
        }
        Err(code) => code,
    }
}

/// Gives bytes, whose last is a NUL that doesn't count, to a callback.
///
/// # Safety
/// The callback takes bytes and `user_data`.
pub(super) unsafe fn give_string(callback: StringCallback, user_data: *mut c_void, bytes_with_nul: &[u8]) {
    if let Some(callback) = callback {
        // SAFETY: the contract.
        unsafe { callback(bytes_with_nul.as_ptr().cast(), c_uint::try_from(bytes_with_nul.len() - 1).unwrap_or(c_uint::MAX), user_data) };
    }
}

/// # Safety
/// As `run`.
pub(super) unsafe fn run_then<R>(context: *mut Context, body: impl FnOnce() -> Outcome<R>) -> Option<R> {
    // SAFETY: the contract.
    unsafe { attempt(context, body) }.ok()
}

/// # Safety
/// As `run`.
pub(super) unsafe fn attempt<R>(context: *mut Context, body: impl FnOnce() -> Outcome<R>) -> Result<R, Status> {
    // SAFETY: the contract.
    if let Some(context) = unsafe { context.as_mut() } {
        context.code = OK;
    }
    let failure = match guard::catch(body) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::unknown(panic),
    };
    let code = failure.code;
    // SAFETY: the contract.
    unsafe { report(context, failure) };
    Err(code)
}

/// Returns C's text.
///
/// # Safety
/// NULL, or NUL-terminated and alive while the result is used.
pub(super) unsafe fn text<'a>(text: *const c_char, what: &str) -> Outcome<&'a CStr> {
    if text.is_null() {
        return Err(Failure::unknown(format!("{what} is NULL")));
    }
    // SAFETY: the contract.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// As [`text`], for what must be UTF-8.
///
/// # Safety
/// As `text`.
pub(super) unsafe fn utf8<'a>(pointer: *const c_char, what: &str) -> Outcome<&'a str> {
    // SAFETY: the contract.
    unsafe { text(pointer, what) }?.to_str().map_err(|_| Failure::nix(format!("{what} is not UTF-8")))
}

#[unsafe(no_mangle)]
pub extern "C" fn nix_c_context_create() -> *mut Context {
    Box::into_raw(Box::new(Context::new()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_c_context_free(context: *mut Context) {
    if !context.is_null() {
        // SAFETY: made by `nix_c_context_create`, and not used again.
        drop(unsafe { Box::from_raw(context) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_err_msg(context: *mut Context, read: *const Context, length: *mut c_uint) -> *const c_char {
    // SAFETY: the headers' contract.
    unsafe {
        if let Some(context) = context.as_mut()
            && !std::ptr::eq(context, read)
        {
            context.code = OK;
        }
        let Some(message) = read.as_ref().and_then(Context::message) else {
            report(context, Failure::unknown("No error message"));
            return std::ptr::null();
        };
        if let Some(length) = length.as_mut() {
            *length = c_uint::try_from(message.count_bytes()).unwrap_or(c_uint::MAX);
        }
        message.as_ptr()
    }
}

/// # Safety
/// The headers' contract.
unsafe fn part(context: *mut Context, read: *const Context, callback: StringCallback, user_data: *mut c_void, part: fn(&Context) -> &str) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        let found = read.as_ref().filter(|read| read.code == NIX_ERROR).map(|read| part(read).as_bytes().to_vec());
        run_string(context, callback, user_data, || found.ok_or_else(|| Failure::unknown("Last error was not a nix error")))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_err_info_msg(context: *mut Context, read: *const Context, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { part(context, read, callback, user_data, |read| &read.info) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_err_name(context: *mut Context, read: *const Context, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { part(context, read, callback, user_data, |read| &read.name) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_err_code(read: *const Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe { read.as_ref() }.map_or(UNKNOWN, |read| read.code)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_set_err_msg(context: *mut Context, code: Status, message: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        let message = if message.is_null() { String::new() } else { CStr::from_ptr(message).to_string_lossy().into_owned() };
        let failure = if context.is_null() { Failure::nix(format!("Nix C api error: {message}")) } else { Failure::new(code, message) };
        report(context, failure);
    }
    code
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_clear_err(context: *mut Context) {
    // SAFETY: the headers' contract.
    if let Some(context) = unsafe { context.as_mut() } {
        context.code = OK;
    }
}

/// Sets all parts of an error, as the reference does when it catches an exception. For test suites.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nixx_context_set_error(context: *mut Context, code: Status, name: *const c_char, message: *const c_char, info: *const c_char) -> Status {
    // SAFETY: texts are NULL or NUL-terminated, the context is live.
    unsafe {
        let text = |text: *const c_char| if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        let Some(context) = context.as_mut() else { return UNKNOWN };
        context.code = code;
        context.message = c_text(&text(message));
        context.name = text(name);
        context.info = text(info);
    }
    code
}

/// Says what happens with errors for which there is no context. For test suites.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
pub extern "C" fn nixx_set_null_context_handler(handler: Option<unsafe extern "C-unwind" fn(c_int, *const c_char)>) {
    *NULL_CONTEXT.lock() = handler;
}
