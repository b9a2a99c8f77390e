//! `nix_api_store/derivation.h`: derivations, and their JSON.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::collections::HashMap;
use std::ffi::{c_char, c_void};

use nixlang_store::derivation::Derivation;
use nixlang_store::store::Store;

use super::context::{Context, Failure, Outcome, Status, StringCallback, run, run_string, utf8};
use super::handles::{DerivationHandle, PathHandle, StoreHandle, path, store};
use crate::pool::{self, Slot};
use crate::stores::error_text;

/// # Safety
/// NULL or a handle of derivations.
unsafe fn derivation<'a>(derivation: *const Slot<DerivationHandle>) -> Outcome<&'a Derivation> {
    // SAFETY: the contract.
    unsafe { pool::look(derivation) }.map(|derivation| &derivation.0).ok_or_else(|| Failure::unknown("nix_derivation is null or was freed"))
}

/// Reads JSON, fills in what follows from the rest and checks what is there.
fn parse(store: &dyn Store, json: &str) -> Outcome<Derivation> {
    let json: serde_json::Value = serde_json::from_str(json).map_err(|error| Failure::nix(format!("derivation is not JSON: {error}")))?;
    let mut derivation = Derivation::from_json(&json).map_err(|error| Failure::nix(error.to_string()))?;
    let (mut memo, mut lookup) = (HashMap::new(), |path: &_| store.read_derivation(path).map_err(|error| error_text(&error).into()));
    derivation.fill_in_output_paths(store.store_dir(), &mut memo, &mut lookup).map_err(|error| Failure::nix(error_text(&error)))?;
    derivation.check_output_paths(store.store_dir(), &mut memo, &mut lookup).map_err(|error| Failure::nix(error_text(&error)))?;
    Ok(derivation)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_derivation_from_json(context: *mut Context, handle: *mut Slot<StoreHandle>, json: *const c_char) -> *mut Slot<DerivationHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let derivation = parse(&*store(handle)?.store, utf8(json, "JSON")?)?;
            Ok(pool::give(DerivationHandle(derivation)))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_derivation_to_json(context: *mut Context, handle: *const Slot<DerivationHandle>, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_string(context, callback, user_data, || {
            let json = derivation(handle)?.to_json().map_err(|error| Failure::nix(error.to_string()))?;
            Ok(json.to_string().into_bytes())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_derivation_clone(handle: *const Slot<DerivationHandle>) -> *mut Slot<DerivationHandle> {
    // SAFETY: the headers' contract.
    unsafe { derivation(handle) }.map_or(std::ptr::null_mut(), |derivation| pool::give(DerivationHandle(derivation.clone())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_derivation_free(derivation: *mut Slot<DerivationHandle>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(derivation) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_add_derivation(context: *mut Context, handle: *mut Slot<StoreHandle>, added: *mut Slot<DerivationHandle>) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let path = store(handle)?.store.write_derivation(derivation(added)?).map_err(|error| Failure::nix(error_text(&error)))?;
            Ok(pool::give(PathHandle(path)))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_drv_from_store_path(context: *mut Context, handle: *mut Slot<StoreHandle>, wanted: *const Slot<PathHandle>) -> *mut Slot<DerivationHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let read = store(handle)?.store.read_derivation(path(wanted)?).map_err(|error| Failure::nix(error_text(&error)))?;
            Ok(pool::give(DerivationHandle(read)))
        })
    }
}
