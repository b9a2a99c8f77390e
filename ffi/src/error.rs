//! The error handle.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]
#![allow(unreachable_pub, reason = "C is who reaches them")]

use std::ffi::{CString, c_char};

/// An error as C programs hold it.
#[derive(Debug)]
pub struct Error {
    message: CString,
}

impl Error {
    pub(crate) fn new(message: String) -> Box<Self> {
        // A NUL would end the text early for C; it is shown as a replacement character.
        let message = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
        Box::new(Error { message })
    }
}

/// Returns the message. A null error gives null.
#[unsafe(no_mangle)]
pub extern "C" fn nixlang_error_message(error: Option<&Error>) -> *const c_char {
    error.map_or(std::ptr::null(), |error| error.message.as_ptr())
}

/// Frees an error.
#[unsafe(no_mangle)]
pub extern "C" fn nixlang_error_free(error: Option<Box<Error>>) {
    drop(error);
}

/// Runs an entry's body; returns null for success, otherwise an owned error.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), String>) -> Option<Box<Error>> {
    match crate::guard::catch(body) {
        Ok(Ok(())) => None,
        Ok(Err(message)) | Err(message) => Some(Error::new(message)),
    }
}
