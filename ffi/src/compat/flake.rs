//! `nix_api_fetchers.h` and `nix_api_flake.h`: references, locking, outputs of flakes.
//!
//! The surprising part: settings of fetchers and flakes are empty handles, as nothing can be set in them; what counts are the settings of the state.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_void};

use nixlang::flake::{self, LockOptions, parse_input_path};
use nixlang::source::Pos;
use nixlang_store::fetchers::reference::{ReferenceOptions, parse_reference};
use nixlang_store::input::{FlakeRef, Reader};
use parking_lot::Mutex;

use super::context::{Context, Failure, OK, Outcome, Status, StringCallback, attempt, give_string, run, run_code, utf8};
use super::expr::StateBuilder;
use super::handles::{Object, State, checked, evaluate, give_value};
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
pub struct LockFlags(Mutex<LockOptions>);
/// `nix_flake_reference`
pub struct Reference(FlakeRef);
/// `nix_locked_flake`
pub struct LockedFlake(flake::LockedFlake);

crate::pool::pooled!(FetchersSettings, FlakeSettings, ParseFlags, LockFlags, Reference, LockedFlake);

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
pub unsafe extern "C-unwind" fn nix_flake_settings_add_to_eval_state_builder(context: *mut Context, settings: *mut Slot<FlakeSettings>, builder: *mut Slot<StateBuilder>) -> Status {
    // States have `getFlake` as soon as the feature is on.
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || alive(settings, "nix_flake_settings").and_then(|_| alive(builder, "nix_eval_state_builder")).map(drop)) }
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

/// Reads a reference. Relative ones start from `directory`; without one they are refused.
fn read_reference(text: &str, directory: Option<&str>) -> Outcome<(FlakeRef, String)> {
    let features = super::util::settings().list("experimental-features");
    let has_feature = |feature: &str| features.iter().any(|enabled| enabled == feature);
    let reader = &mut Reader { has_feature: &has_feature, dubious: &mut |_| {} };
    let read = match directory {
        Some(directory) => {
            let options = ReferenceOptions { directory: std::path::Path::new(directory), allow_missing: true, is_flake: true };
            parse_reference(text, options, reader, &())
        }
        None => FlakeRef::parse(text, true, reader),
    };
    read.map_err(|error| Failure::nix(error.to_string()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_reference_and_fragment_from_string(
    context: *mut Context,
    fetchers: *mut Slot<FetchersSettings>,
    settings: *mut Slot<FlakeSettings>,
    flags: *mut Slot<ParseFlags>,
    text: *const c_char,
    length: usize,
    result: *mut *mut Slot<Reference>,
    fragment: StringCallback,
    user_data: *mut c_void,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        let Some(result) = result.as_mut() else { return run_code(context, || Err(Failure::unknown("flakeReferenceOut is NULL"))) };
        *result = std::ptr::null_mut();
        let read = attempt(context, || {
            alive(fetchers, "nix_fetchers_settings")?;
            alive(settings, "nix_flake_settings")?;
            if text.is_null() {
                return Err(Failure::unknown("the reference is NULL"));
            }
            let text = std::str::from_utf8(std::slice::from_raw_parts(text.cast::<u8>(), length)).map_err(|_| Failure::nix("the reference is not UTF-8"))?;
            let directory = alive(flags, "nix_flake_reference_parse_flags")?.base_directory.lock().clone();
            read_reference(text, directory.as_deref())
        });
        let (reference, rest) = match read {
            Ok(read) => read,
            Err(code) => return code,
        };
        *result = pool::give(Reference(reference));
        let mut rest = rest.into_bytes();
        rest.push(0);
        give_string(fragment, user_data, &rest);
        OK
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock_flags_new(context: *mut Context, settings: *mut Slot<FlakeSettings>) -> *mut Slot<LockFlags> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            alive(settings, "nix_flake_settings")?;
            // Those of the reference: no registries, and no tree that may be another one tomorrow, before a mode is set.
            let options = LockOptions { use_registries: Some(false), allow_unlocked: false, ..LockOptions::default() };
            Ok(pool::give(LockFlags(Mutex::new(options))))
        })
    }
}

/// Update, write, fail on what is not locked, allow that.
type Mode = (bool, bool, bool, bool);

fn set_mode(options: &mut LockOptions, (update, write, fail_on_unlocked, allow_unlocked): Mode) {
    (options.update, options.write, options.fail_on_unlocked, options.allow_unlocked) = (update, write, fail_on_unlocked, allow_unlocked);
}

const CHECK: Mode = (false, false, true, false);
const VIRTUAL: Mode = (true, false, false, true);
const WRITE_AS_NEEDED: Mode = (true, true, false, true);

macro_rules! modes {
    ($($name:ident: $mode:ident),* $(,)?) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(context: *mut Context, flags: *mut Slot<LockFlags>) -> Status {
            // SAFETY: the headers' contract.
            unsafe { run_code(context, || alive(flags, "nix_flake_lock_flags").map(|flags| set_mode(&mut flags.0.lock(), $mode))) }
        })*
    };
}
modes!(nix_flake_lock_flags_set_mode_check: CHECK, nix_flake_lock_flags_set_mode_virtual: VIRTUAL, nix_flake_lock_flags_set_mode_write_as_needed: WRITE_AS_NEEDED);

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock_flags_add_input_override(context: *mut Context, flags: *mut Slot<LockFlags>, input: *const c_char, reference: *mut Slot<Reference>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let flags = alive(flags, "nix_flake_lock_flags")?;
            let path = parse_input_path(utf8(input, "input path")?).map_err(Failure::nix)?;
            if path.is_empty() {
                return Err(Failure::nix("input override path cannot be zero-length; it would refer to the flake itself, not an input"));
            }
            let reference = alive(reference, "nix_flake_reference")?.0.clone();
            let mut options = flags.0.lock();
            // As in the reference the first one counts.
            options.overrides.entry(path).or_insert(reference);
            if options.write {
                set_mode(&mut options, VIRTUAL);
            }
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_flake_lock(
    context: *mut Context,
    fetchers: *mut Slot<FetchersSettings>,
    settings: *mut Slot<FlakeSettings>,
    state: *mut Slot<State>,
    flags: *mut Slot<LockFlags>,
    reference: *mut Slot<Reference>,
) -> *mut Slot<LockedFlake> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            alive(fetchers, "nix_fetchers_settings")?;
            alive(settings, "nix_flake_settings")?;
            let options = alive(flags, "nix_flake_lock_flags")?.0.lock().clone();
            let reference = &alive(reference, "nix_flake_reference")?.0;
            let locked = evaluate(state, |eval, _| {
                // What was fetched may have changed since.
                eval.host.forget_fetched();
                checked(eval, flake::lock(eval, reference, &options))
            })?;
            Ok(pool::give(LockedFlake(locked)))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_locked_flake_get_output_attrs(context: *mut Context, settings: *mut Slot<FlakeSettings>, state: *mut Slot<State>, locked: *mut Slot<LockedFlake>) -> *mut Slot<Object> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            alive(settings, "nix_flake_settings")?;
            let locked = &alive(locked, "nix_locked_flake")?.0;
            evaluate(state, |eval, engine| {
                let outputs = checked(eval, flake::call(eval, locked).and_then(|outputs| eval.force_at(outputs, Pos::NONE)))?;
                Ok(give_value(&engine.own(eval.heap, outputs)))
            })
        })
    }
}
