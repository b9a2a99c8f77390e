//! Byte strings across the boundary: borrowed ones come in, owned ones go out.
#![expect(unsafe_code, reason = "raw pointers of C")]
#![allow(unreachable_pub, reason = "C is who reaches them")]

use std::ffi::c_char;

/// Gives a byte string to the caller.
///
/// # Safety
/// `result` and `result_length` are valid for a write.
pub(crate) unsafe fn give(bytes: Vec<u8>, result: *mut *mut c_char, result_length: *mut usize) {
    let bytes = bytes.into_boxed_slice();
    // SAFETY: by the contract both may be written.
    unsafe {
        result_length.write(bytes.len());
        result.write(Box::into_raw(bytes).cast());
    }
}

/// Returns the caller's bytes.
///
/// # Safety
/// `bytes` is valid for reads of `length` bytes while the result is used, or `length` is 0.
pub(crate) unsafe fn borrow<'a>(bytes: *const c_char, length: usize) -> &'a [u8] {
    if length == 0 || bytes.is_null() {
        return &[];
    }
    // SAFETY: not null, and by the contract as many bytes are there.
    unsafe { std::slice::from_raw_parts(bytes.cast(), length) }
}

/// Frees bytes that this library gave out.
///
/// # Safety
/// `bytes` and `length` are what one call of this library gave, and it is not used again; or `bytes` is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nixlang_bytes_free(bytes: *mut c_char, length: usize) {
    if !bytes.is_null() {
        // SAFETY: by the contract this is the boxed slice that `give` let go.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.cast::<u8>(), length)) });
    }
}
