//! Evaluating expressions.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::c_char;

use nixlang::eval::{EvalOptions, session};
use nixlang::host::OsHost;
use nixlang::source::Origin;

use crate::error::Error;
use crate::bytes;

/// Evaluates an expression deeply and gives its value as text. See the header.
///
/// # Safety
/// `expression` is valid for reads of `length` bytes (or `length` is 0); `result` and `result_length` are null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nixlang_evaluate(
    expression: *const c_char,
    length: usize,
    result: *mut *mut c_char,
    result_length: *mut usize,
) -> Option<Box<Error>> {
    crate::error::guard(|| {
        if result.is_null() || result_length.is_null() || (expression.is_null() && length != 0) {
            return Err("nixlang_evaluate: a pointer is NULL".into());
        }
        // SAFETY: not null, and valid by the contract; used only during this call.
        let expression = unsafe { bytes::borrow(expression, length) };
        let directory = std::env::current_dir().map_err(|e| e.to_string())?;
        let base = directory.as_os_str().as_encoded_bytes();
        let printed = session(|| Box::new(OsHost::default()), EvalOptions::default(), |eval| {
            let value = eval.eval_text(expression, Origin::String, base).and_then(|value| eval.force_deep(value));
            value.and_then(|value| eval.print_plain(value)).map_err(|error| {
                let place = if error.data().pos.is_some() { format!(" at {}", eval.show_pos(error.data().pos)) } else { String::new() };
                format!("{error}{place}")
            })
        })
        .map_err(|e| e.to_string())??;
        // SAFETY: both were checked not to be null, and are valid for a write by the contract.
        unsafe { bytes::give(printed, result, result_length) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::nixlang_bytes_free;
    use crate::error::{nixlang_error_free, nixlang_error_message};

    fn evaluate(expression: &str) -> Result<String, String> {
        let (mut text, mut length) = (std::ptr::null_mut(), 0);
        // SAFETY: all pointers are to live local variables.
        unsafe {
            match nixlang_evaluate(expression.as_ptr().cast(), expression.len(), &mut text, &mut length) {
                None => {
                    let copy = String::from_utf8_lossy(bytes::borrow(text, length)).into_owned();
                    nixlang_bytes_free(text, length);
                    Ok(copy)
                }
                Some(error) => {
                    let message = std::ffi::CStr::from_ptr(nixlang_error_message(Some(&error))).to_string_lossy().into_owned();
                    nixlang_error_free(Some(error));
                    Err(message)
                }
            }
        }
    }

    #[test]
    fn values_and_errors_come_out() {
        assert_eq!(evaluate("{ a = 1 + 1; b = [ \"x\" ]; }"), Ok("{ a = 2; b = [ \"x\" ]; }".into()));
        assert_eq!(evaluate("throw \"no\""), Err("no".into()));
        assert!(evaluate("1 +").is_err_and(|message| message.contains("syntax error")));
        assert_eq!(evaluate(""), Err("syntax error, unexpected end of file at «string»:1:1".into()));
    }

    #[test]
    fn null_pointers_are_refused() {
        // SAFETY: null is what the function checks for.
        let error = unsafe { nixlang_evaluate(std::ptr::null(), 1, std::ptr::null_mut(), std::ptr::null_mut()) };
        assert!(error.is_some());
    }
}
