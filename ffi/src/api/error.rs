//! `nixlang/error.h`: errors that belong to who got them, as data.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_int, c_void};

use nixlang::diagnostics::{Diagnostic, RenderOptions, Style, render};
use nixlang::eval::{ErrorKind, EvalError, Evaluator};
use nixlang::source::{Location, Origin};

use super::base::{Bytes, CText, ErrorPointer, Str, free, give_bytes, plain, run};
use crate::pool::{self, Slot};

/// `nixlang_code`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Code {
    Evaluation = 1,
    Syntax = 2,
    Throw = 3,
    Abort = 4,
    Assertion = 5,
    Type = 6,
    MissingAttribute = 7,
    UndefinedVariable = 8,
    InfiniteRecursion = 9,
    StackOverflow = 10,
    StepLimit = 11,
    HeapLimit = 12,
    TimeLimit = 13,
    Cancelled = 14,
    Restricted = 15,
    Unsupported = 16,
    Host = 17,
    Recoverable = 18,
    Store = 19,
    Build = 20,
    Argument = 21,
    Internal = 22,
}

impl Code {
    fn of(kind: ErrorKind) -> Code {
        match kind {
            ErrorKind::Throw => Code::Throw,
            ErrorKind::Abort => Code::Abort,
            ErrorKind::Assertion => Code::Assertion,
            ErrorKind::Type => Code::Type,
            ErrorKind::UndefinedVariable => Code::UndefinedVariable,
            ErrorKind::MissingAttribute => Code::MissingAttribute,
            ErrorKind::InfiniteRecursion => Code::InfiniteRecursion,
            ErrorKind::StackOverflow | ErrorKind::CallDepth => Code::StackOverflow,
            ErrorKind::Syntax => Code::Syntax,
            ErrorKind::Restricted => Code::Restricted,
            ErrorKind::Unsupported => Code::Unsupported,
            ErrorKind::Host => Code::Host,
            ErrorKind::StepLimit => Code::StepLimit,
            ErrorKind::HeapLimit => Code::HeapLimit,
            ErrorKind::TimeLimit => Code::TimeLimit,
            ErrorKind::Cancelled | ErrorKind::Interrupted => Code::Cancelled,
            ErrorKind::Recoverable => Code::Recoverable,
            _ => Code::Evaluation,
        }
    }

    fn from_number(number: c_int) -> Code {
        const ALL: [Code; 22] = [
            Code::Evaluation, Code::Syntax, Code::Throw, Code::Abort, Code::Assertion, Code::Type, Code::MissingAttribute, Code::UndefinedVariable,
            Code::InfiniteRecursion, Code::StackOverflow, Code::StepLimit, Code::HeapLimit, Code::TimeLimit, Code::Cancelled, Code::Restricted,
            Code::Unsupported, Code::Host, Code::Recoverable, Code::Store, Code::Build, Code::Argument, Code::Internal,
        ];
        ALL.into_iter().find(|code| *code as c_int == number).unwrap_or(Code::Host)
    }
}

/// Why a function failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) diagnostic: Box<Diagnostic>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, diagnostic: Box::new(Diagnostic::error(message)) }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure::new(Code::Argument, message)
    }

    pub(crate) fn store(error: &dyn std::error::Error) -> Failure {
        Failure::new(Code::Store, crate::stores::error_text(error))
    }

    pub(crate) fn eval(eval: &Evaluator<'_>, error: &EvalError) -> Failure {
        Failure { code: Code::of(error.kind()), diagnostic: Box::new(Diagnostic::from_error(error, &eval.sources)) }
    }

    /// Gives the failure to C.
    pub(super) fn give(self) -> ErrorPointer {
        let Failure { code, diagnostic } = self;
        let place = |location: &Option<Location>| location.as_ref().map(Place::new);
        let frames = diagnostic.trace.iter().map(|frame| (CText::new(frame.message.clone()), place(&frame.place), frame.always)).collect();
        let suggestions = diagnostic.suggestions.iter().map(|name| CText::new(name.clone())).collect();
        let message = CText::new(diagnostic.message.clone());
        pool::give(ErrorHandle { code, message, place: place(&diagnostic.place), frames, suggestions, diagnostic: *diagnostic })
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::new(Code::Store, message)
    }
}

/// `nixlang_error`
pub struct ErrorHandle {
    code: Code,
    message: CText,
    place: Option<Place>,
    frames: Vec<(CText, Option<Place>, bool)>,
    suggestions: Vec<CText>,
    diagnostic: Diagnostic,
}

crate::pool::pooled!(ErrorHandle);

struct Place {
    file: CText,
    line: u32,
    column: u32,
}

impl Place {
    fn new(location: &Location) -> Place {
        let file = match &location.source.origin {
            Origin::File(path) => path.to_vec(),
            Origin::String => "«string»".into(),
            Origin::Stdin => "«stdin»".into(),
            Origin::Repl => "«repl»".into(),
        };
        Place { file: CText::new(file), line: location.line, column: location.column }
    }
}

/// `nixlang_place`
#[repr(C)]
pub struct CPlace {
    file: Str,
    line: u32,
    column: u32,
}

fn lend_place(place: &Option<Place>) -> CPlace {
    match place {
        Some(place) => CPlace { file: place.file.lend(), line: place.line, column: place.column },
        None => CPlace { file: Str::EMPTY, line: 0, column: 0 },
    }
}

/// `nixlang_frame`
#[repr(C)]
pub struct CFrame {
    message: Str,
    place: CPlace,
    always: bool,
}

/// Takes an error that a callback returned: its code and message.
///
/// # Safety
/// NULL or a handle of errors, which is not used again.
pub(super) unsafe fn take(error: ErrorPointer) -> Option<(Code, String)> {
    // SAFETY: the contract.
    unsafe {
        let taken = pool::look(error).map(|error| (error.code, error.diagnostic.message.clone()));
        pool::release(error);
        taken
    }
}

/// Returns the error of an evaluation for what a callback returned.
pub(super) fn eval_error((code, message): (Code, String)) -> EvalError {
    let kind = match code {
        Code::Throw => ErrorKind::Throw,
        Code::Abort => ErrorKind::Abort,
        Code::Assertion => ErrorKind::Assertion,
        Code::Type => ErrorKind::Type,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Recoverable => ErrorKind::Recoverable,
        Code::Restricted => ErrorKind::Restricted,
        Code::StepLimit => ErrorKind::StepLimit,
        Code::HeapLimit => ErrorKind::HeapLimit,
        Code::TimeLimit => ErrorKind::TimeLimit,
        Code::Evaluation => ErrorKind::Evaluation,
        _ => ErrorKind::Host,
    };
    EvalError::new(kind, message)
}

free!(nixlang_error_free: ErrorHandle);

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_new(code: c_int, message: Str) -> ErrorPointer {
    // SAFETY: the header's contract.
    plain(std::ptr::null_mut(), || Some(Failure::new(Code::from_number(code), String::from_utf8_lossy(unsafe { message.bytes() })).give()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_code(error: *const Slot<ErrorHandle>) -> c_int {
    // SAFETY: the header's contract.
    unsafe { pool::look(error) }.map_or(0, |error| error.code as c_int)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_message(error: *const Slot<ErrorHandle>) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(error) }.map_or(Str::EMPTY, |error| error.message.lend())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_place(error: *const Slot<ErrorHandle>) -> CPlace {
    // SAFETY: the header's contract.
    unsafe { pool::look(error) }.map_or(lend_place(&None), |error| lend_place(&error.place))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_frame_count(error: *const Slot<ErrorHandle>) -> usize {
    // SAFETY: the header's contract.
    unsafe { pool::look(error) }.map_or(0, |error| error.frames.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_frame(error: *const Slot<ErrorHandle>, index: usize, frame: *mut CFrame) -> bool {
    // SAFETY: the header's contract.
    unsafe {
        let found = pool::look(error).and_then(|error| error.frames.get(index));
        let (Some((message, place, always)), Some(frame)) = (found, frame.as_mut()) else { return false };
        *frame = CFrame { message: message.lend(), place: lend_place(place), always: *always };
        true
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_suggestion(error: *const Slot<ErrorHandle>, index: usize) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(error) }.and_then(|error| error.suggestions.get(index)).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_error_render(error: *const Slot<ErrorHandle>, style: c_int, show_trace: bool, colour: bool, result: *mut Bytes) -> ErrorPointer {
    run(|| {
        // SAFETY: the header's contract.
        unsafe {
            let error = super::base::look(error, "error")?;
            let style = if style == 1 { Style::Rich } else { Style::Reference };
            give_bytes(render(&error.diagnostic, &RenderOptions { style, show_trace, colour }).into_bytes(), result)
        }
    })
}

/// Data of a host, with what frees it; freed when this is dropped.
pub(super) struct HostData {
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
}

// SAFETY: by the header's contract the host's functions may be called with its data on any thread.
unsafe impl Send for HostData {}
// SAFETY: as above.
unsafe impl Sync for HostData {}

impl HostData {
    pub(super) fn new(data: *mut c_void, drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>) -> HostData {
        HostData { data, drop }
    }

    pub(super) fn get(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for HostData {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: by the header's contract it takes the data, once, and does not throw.
            unsafe { drop(self.data) };
        }
    }
}
