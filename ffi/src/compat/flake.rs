//! `nix_api_fetchers.h` and `nix_api_flake.h`. Flakes are to come: settings and flags are there, everything that would read a flake says that it can't.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_void};

use parking_lot::Mutex;

use super::context::{Context, Failure, Outcome, Status, StringCallback, run, run_code, utf8};
use super::expr::StateBuilder;
use super::handles::{Object, State};
use crate::pool::{self, Slot};

/// `nix_fetchers_settings`
pub struct FetchersSettings;
/// `nix_flake_settings`
pub struct FlakeSettings;
/// `nix_flake_reference_parse_flags`
#[derive(Default)]
pub struct ParseFlags {
    base_directory: Mutex<Option<String>>,
}
/// `nix_flake_lock_flags`
pub struct LockFlags;
/// `nix_flake_reference`
pub struct Reference;
/// `nix_locked_flake`
pub struct LockedFlake;

crate::pool::pooled!(FetchersSettings, FlakeSettings, ParseFlags, LockFlags, Reference, LockedFlake);

fn unsupported<T>() -> Outcome<T> {
    Err(Failure::nix("flakes are not supported yet"))
}

/// # Safety
/// NULL or a handle of the type.
unsafe fn alive<'a, T: pool::Pooled>(handle: *const Slot<T>, what: &str) -> Outcome<&'a T> {
    // SAFETY: the contract.
    unsafe { pool::look(handle) }.ok_or_else(|| Failure::unknown(format!("{what} is null or was freed")))
}

macro_rules! free {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(handle: *mut Slot<$type>) {
            // SAFETY: the headers' contract.
            unsafe { pool::release(handle) };
        })*
    };
}
free!(
    nix_fetchers_settings_free: FetchersSettings, nix_flake_settings_free: FlakeSettings, nix_flake_reference_parse_flags_free: ParseFlags,
    nix_flake_lock_flags_free: LockFlags, nix_flake_reference_free: Reference, nix_locked_flake_free: LockedFlake,
);

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_fetchers_settings_new(context: *mut Context) -> *mut Slot<FetchersSettings> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), || Ok(pool::give(FetchersSettings))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_settings_new(context: *mut Context) -> *mut Slot<FlakeSettings> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), || Ok(pool::give(FlakeSettings))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_settings_add_to_eval_state_builder(context: *mut Context, settings: *mut Slot<FlakeSettings>, _builder: *mut Slot<StateBuilder>) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || alive(settings, "nix_flake_settings").and_then(|_| unsupported())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_reference_parse_flags_new(context: *mut Context, settings: *mut Slot<FlakeSettings>) -> *mut Slot<ParseFlags> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), || alive(settings, "nix_flake_settings").map(|_| pool::give(ParseFlags::default()))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_reference_parse_flags_set_base_directory(context: *mut Context, flags: *mut Slot<ParseFlags>, directory: *const c_char, length: usize) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            if directory.is_null() {
                return Err(Failure::unknown("baseDirectory is NULL"));
            }
            let directory = std::str::from_utf8(std::slice::from_raw_parts(directory.cast::<u8>(), length)).map_err(|_| Failure::nix("baseDirectory is not UTF-8"))?;
            *alive(flags, "nix_flake_reference_parse_flags")?.base_directory.lock() = Some(directory.to_owned());
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_reference_and_fragment_from_string(
    context: *mut Context,
    _fetchers: *mut Slot<FetchersSettings>,
    settings: *mut Slot<FlakeSettings>,
    flags: *mut Slot<ParseFlags>,
    _text: *const c_char,
    _length: usize,
    result: *mut *mut Slot<Reference>,
    _fragment: StringCallback,
    _user_data: *mut c_void,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        if let Some(result) = result.as_mut() {
            *result = std::ptr::null_mut();
        }
        run_code(context, || {
            alive(settings, "nix_flake_settings")?;
            alive(flags, "nix_flake_reference_parse_flags")?;
            unsupported()
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock_flags_new(context: *mut Context, settings: *mut Slot<FlakeSettings>) -> *mut Slot<LockFlags> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), || alive(settings, "nix_flake_settings").map(|_| pool::give(LockFlags))) }
}

macro_rules! modes {
    ($($name:ident),* $(,)?) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(context: *mut Context, flags: *mut Slot<LockFlags>) -> Status {
            // SAFETY: the headers' contract.
            unsafe { run_code(context, || alive(flags, "nix_flake_lock_flags").map(drop)) }
        })*
    };
}
modes!(nix_flake_lock_flags_set_mode_check, nix_flake_lock_flags_set_mode_virtual, nix_flake_lock_flags_set_mode_write_as_needed);

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock_flags_add_input_override(context: *mut Context, flags: *mut Slot<LockFlags>, input: *const c_char, _reference: *mut Slot<Reference>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            alive(flags, "nix_flake_lock_flags")?;
            if utf8(input, "input path")?.is_empty() {
                return Err(Failure::nix("input override path cannot be zero-length"));
            }
            unsupported()
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock(
    context: *mut Context,
    _fetchers: *mut Slot<FetchersSettings>,
    _settings: *mut Slot<FlakeSettings>,
    _state: *mut Slot<State>,
    _flags: *mut Slot<LockFlags>,
    _reference: *mut Slot<Reference>,
) -> *mut Slot<LockedFlake> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), unsupported) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_locked_flake_get_output_attrs(context: *mut Context, _settings: *mut Slot<FlakeSettings>, _state: *mut Slot<State>, _flake: *mut Slot<LockedFlake>) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe { run(context, std::ptr::null_mut(), unsupported) }
}
