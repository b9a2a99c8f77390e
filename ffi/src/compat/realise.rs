//! `nix_string_realise` and what it returns.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::c_char;

use nixlang::eval::Coercion;
use nixlang::source::Pos;

use super::context::{Context, run};
use super::handles::{Object, PathHandle, State, cell, checked, evaluate, on};
use crate::pool::{self, Slot};

/// `nix_realised_string`
pub struct RealisedString {
    /// With a NUL after it.
    bytes: Vec<u8>,
    paths: Vec<usize>,
}

crate::pool::pooled!(RealisedString);

impl Drop for RealisedString {
    fn drop(&mut self) {
        for path in &self.paths {
            // SAFETY: the string holds its paths.
            unsafe { pool::release::<PathHandle>(std::ptr::with_exposed_provenance(*path)) };
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_string_realise(context: *mut Context, state: *mut Slot<State>, value: *mut Slot<Object>, _is_ifd: bool) -> *mut Slot<RealisedString> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let value = cell(value)?.value()?;
            let realised = evaluate(state, |eval, _| {
                let text = eval.coerce_to_string(on(eval, &value)?, Pos::NONE, Coercion::INTERPOLATION, "while realising a string");
                let text = checked(eval, text)?;
                checked(eval, crate::values::realise(eval, text.bytes(), text.context()))
            })?;
            let mut bytes = realised.bytes;
            bytes.push(0);
            let paths = realised.paths.into_iter().map(|path| pool::give(PathHandle(path)).expose_provenance()).collect();
            Ok(pool::give(RealisedString { bytes, paths }))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_realised_string_free(string: *mut Slot<RealisedString>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(string) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_realised_string_get_buffer_start(string: *mut Slot<RealisedString>) -> *const c_char {
    // SAFETY: the headers' contract.
    unsafe { pool::look(string) }.map_or(std::ptr::null(), |string| string.bytes.as_ptr().cast())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_realised_string_get_buffer_size(string: *mut Slot<RealisedString>) -> usize {
    // SAFETY: the headers' contract.
    unsafe { pool::look(string) }.map_or(0, |string| string.bytes.len() - 1)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_realised_string_get_store_path_count(string: *mut Slot<RealisedString>) -> usize {
    // SAFETY: the headers' contract.
    unsafe { pool::look(string) }.map_or(0, |string| string.paths.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nix_realised_string_get_store_path(string: *mut Slot<RealisedString>, index: usize) -> *const Slot<PathHandle> {
    // SAFETY: the headers' contract.
    let path = unsafe { pool::look(string) }.and_then(|string| string.paths.get(index));
    path.map_or(std::ptr::null(), |path| std::ptr::with_exposed_provenance(*path))
}
