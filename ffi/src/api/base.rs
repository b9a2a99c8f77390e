//! Strings across the boundary: borrowed ones with a length, owned bytes; and the frame around functions that can fail.
#![expect(unsafe_code, reason = "raw pointers of C")]

use std::ffi::c_char;

use super::error::{Code, ErrorHandle, Failure};
use crate::guard;
use crate::pool::{self, Slot};

/// `nixlang_string`: borrowed bytes. What we give has a NUL behind it; what we take need not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    data: *const c_char,
    length: usize,
}

impl Str {
    pub(super) const EMPTY: Str = Str { data: c"".as_ptr(), length: 0 };

    /// Returns bytes for C; the last one is a NUL that doesn't count.
    pub(super) fn with_nul(bytes: &[u8]) -> Str {
        debug_assert_eq!(bytes.last(), Some(&0));
        Str { data: bytes.as_ptr().cast(), length: bytes.len() - 1 }
    }

    /// Returns bytes for C that have no NUL behind them.
    pub(super) fn plain(bytes: &[u8]) -> Str {
        Str { data: bytes.as_ptr().cast(), length: bytes.len() }
    }

    /// # Safety
    /// The bytes are there, and stay while the result is used.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: the contract.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.length) }
    }

    /// # Safety
    /// As [`bytes`](Self::bytes).
    pub(super) unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        // SAFETY: the contract.
        std::str::from_utf8(unsafe { self.bytes() }).map_err(|_| Failure::argument(format!("{what} is not UTF-8")))
    }
}

/// Bytes with a NUL behind them, to be lent to C.
#[derive(Clone, Debug, Default)]
pub(crate) struct CText(Vec<u8>);

impl CText {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> CText {
        let mut bytes = bytes.into();
        bytes.push(0);
        CText(bytes)
    }

    pub(super) fn lend(&self) -> Str {
        if self.0.is_empty() { Str::EMPTY } else { Str::with_nul(&self.0) }
    }
}

/// `nixlang_bytes`: bytes that belong to who got them.
#[repr(C)]
pub struct Bytes {
    data: *mut c_char,
    length: usize,
}

/// Gives bytes away, with a NUL behind them.
///
/// # Safety
/// `result` is NULL or writable.
pub(super) unsafe fn give_bytes(mut bytes: Vec<u8>, result: *mut Bytes) -> Result<(), Failure> {
    // SAFETY: the contract.
    let result = unsafe { result.as_mut() }.ok_or_else(|| Failure::argument("the pointer for the result is NULL"))?;
    let length = bytes.len();
    bytes.push(0);
    *result = Bytes { data: Box::into_raw(bytes.into_boxed_slice()).cast(), length };
    Ok(())
}

/// Writes a result.
///
/// # Safety
/// `result` is NULL or writable.
pub(super) unsafe fn put<T>(result: *mut T, value: T) -> Result<(), Failure> {
    if result.is_null() {
        return Err(Failure::argument("the pointer for the result is NULL"));
    }
    // SAFETY: the contract.
    unsafe { result.write(value) };
    Ok(())
}

/// What functions that can fail return.
pub type ErrorPointer = *mut Slot<ErrorHandle>;

/// Runs the body of a function that can fail.
pub(super) fn run(body: impl FnOnce() -> Result<(), Failure>) -> ErrorPointer {
    match guard::catch(body) {
        Ok(Ok(())) => std::ptr::null_mut(),
        Ok(Err(failure)) => failure.give(),
        Err(panic) => Failure::new(Code::Internal, panic).give(),
    }
}

/// Runs the body of a function that returns something else; a panic gives `otherwise`.
pub(super) fn plain<R>(otherwise: R, body: impl FnOnce() -> Option<R>) -> R {
    guard::catch(body).ok().flatten().unwrap_or(otherwise)
}

/// Returns what a handle stands for.
///
/// # Safety
/// NULL or a handle of the type.
pub(super) unsafe fn look<'a, T: pool::Pooled>(handle: *const Slot<T>, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the contract.
    unsafe { pool::look(handle) }.ok_or_else(|| Failure::argument(format!("{what} is NULL or was freed")))
}

/// Declares functions that free a handle.
macro_rules! free {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(handle: *mut crate::pool::Slot<$type>) {
            // SAFETY: the header's contract.
            let _ = crate::guard::catch(|| unsafe { crate::pool::release(handle) });
        })*
    };
}
pub(super) use free;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nixlang_bytes_free(bytes: *mut Bytes) {
    // SAFETY: the header's contract: written by `give_bytes`, or zero.
    unsafe {
        if let Some(bytes) = bytes.as_mut()
            && !bytes.data.is_null()
        {
            let length = std::mem::take(&mut bytes.length) + 1;
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(std::mem::replace(&mut bytes.data, std::ptr::null_mut()).cast::<u8>(), length)));
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nixlang_abi_version() -> u32 {
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn nixlang_version() -> Str {
    Str::with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes())
}
