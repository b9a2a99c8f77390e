//! `nix_api_store.h`: stores, their paths, closures, building and copying.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use nixlang_store::closure::Follow;
use nixlang_store::path::StorePath;
use nixlang_store::store::{AddOptions, Store};

use super::context::{Context, Failure, OK, Outcome, Status, StringCallback, attempt, give_string, run, run_code, run_string, text, utf8};
use super::handles::{PathHandle, StoreHandle, path, store};
use super::util::settings;
use crate::pool::{self, Slot};
use crate::stores::{OpenStore, error_text};

fn store_failure(error: &nixlang_store::error::StoreError) -> Failure {
    Failure::nix(error_text(error))
}

fn give_path(path: StorePath) -> *mut Slot<PathHandle> {
    pool::give(PathHandle(path))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_open(context: *mut Context, uri: *const c_char, parameters: *mut *mut *const c_char) -> *mut Slot<StoreHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let address = if uri.is_null() { "" } else { utf8(uri, "store address")? };
            let mut given = Vec::new();
            let mut next = parameters;
            while !address.is_empty() && !next.is_null() && !(*next).is_null() {
                let pair = *next;
                given.push((utf8(*pair, "parameter")?.to_owned(), utf8(*pair.add(1), "parameter")?.to_owned()));
                next = next.add(1);
            }
            let store = OpenStore::open(address, &given, &settings())?;
            Ok(pool::give(StoreHandle(Arc::new(store))))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_free(store: *mut Slot<StoreHandle>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(store) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_get_uri(context: *mut Context, handle: *mut Slot<StoreHandle>, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_string(context, callback, user_data, || Ok(store(handle)?.address.clone().into_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_get_storedir(context: *mut Context, handle: *mut Slot<StoreHandle>, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_string(context, callback, user_data, || Ok(store(handle)?.store.store_dir().as_str().as_bytes().to_vec())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_get_version(context: *mut Context, handle: *mut Slot<StoreHandle>, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_string(context, callback, user_data, || Ok(store(handle)?.version().unwrap_or_default().as_bytes().to_vec())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_is_valid_path(context: *mut Context, handle: *mut Slot<StoreHandle>, wanted: *const Slot<PathHandle>) -> bool {
    // SAFETY: the headers' contract.
    unsafe { run(context, false, || store(handle)?.store.is_valid(path(wanted)?).map_err(|error| store_failure(&error))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_real_path(
    context: *mut Context,
    handle: *mut Slot<StoreHandle>,
    wanted: *mut Slot<PathHandle>,
    callback: StringCallback,
    user_data: *mut c_void,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_string(context, callback, user_data, || Ok(store(handle)?.real_path(path(wanted)?).into_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_parse_path(context: *mut Context, handle: *mut Slot<StoreHandle>, full: *const c_char) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let full = text(full, "path")?;
            let parsed = store(handle)?.store.store_dir().parse(full.to_bytes());
            parsed.map(give_path).map_err(|error| Failure::nix(error.to_string()))
        })
    }
}

type ClosureCallback = Option<unsafe extern "C-unwind" fn(*mut Context, *mut c_void, *const Slot<PathHandle>)>;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_get_fs_closure(
    context: *mut Context,
    handle: *mut Slot<StoreHandle>,
    start: *const Slot<PathHandle>,
    flip_direction: bool,
    include_outputs: bool,
    include_derivers: bool,
    user_data: *mut c_void,
    callback: ClosureCallback,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        let follow = Follow { referrers: flip_direction, outputs: include_outputs, derivers: include_derivers };
        let found = match attempt(context, || Ok(store(handle)?.closure(path(start)?, follow)?)) {
            Ok(found) => found,
            Err(code) => return code,
        };
        let Some(callback) = callback else { return OK };
        for path in found {
            let handle = give_path(path);
            callback(context, user_data, handle);
            pool::release(handle);
            if let Some(context) = context.as_ref()
                && context.code != OK
            {
                return context.code;
            }
        }
        OK
    }
}

type OutputCallback = Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const Slot<PathHandle>)>;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_realise(context: *mut Context, handle: *mut Slot<StoreHandle>, derivation: *mut Slot<PathHandle>, user_data: *mut c_void, callback: OutputCallback) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        let outputs = match attempt(context, || Ok(store(handle)?.realise(path(derivation)?, &settings())?)) {
            Ok(outputs) => outputs,
            Err(code) => return code,
        };
        let Some(callback) = callback else { return OK };
        for (name, path) in outputs {
            let (name, handle) = (super::context::c_text(&name), give_path(path));
            callback(user_data, name.as_ptr(), handle);
            pool::release(handle);
        }
        OK
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_copy_closure(context: *mut Context, from: *mut Slot<StoreHandle>, to: *mut Slot<StoreHandle>, start: *mut Slot<PathHandle>) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (from, to, start) = (store(from)?, store(to)?, path(start)?);
            nixlang_store::copy::copy_closure(&*from.store, &*to.store, std::slice::from_ref(start)).map_err(|error| store_failure(&error))?;
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_copy_path(
    context: *mut Context,
    from: *mut Slot<StoreHandle>,
    to: *mut Slot<StoreHandle>,
    wanted: *const Slot<PathHandle>,
    repair: bool,
    check_signatures: bool,
) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let null = |what: &str| Failure::unknown(format!("{what} is null"));
            let from = store(from).map_err(|_| null("Source store"))?;
            let to = store(to).map_err(|_| null("Destination store"))?;
            let wanted = path(wanted).map_err(|_| null("Store path"))?;
            copy_path(&*from.store, &*to.store, wanted, repair, check_signatures)
        })
    }
}

fn copy_path(from: &dyn Store, to: &dyn Store, wanted: &StorePath, repair: bool, check_signatures: bool) -> Outcome<()> {
    let info = from.path_info(wanted).map_err(|error| store_failure(&error))?;
    if !repair && to.is_valid(wanted).map_err(|error| store_failure(&error))? {
        return Ok(());
    }
    let mut nar = tempfile::tempfile().map_err(|error| Failure::nix(format!("cannot make a temporary file: {error}")))?;
    from.write_nar(wanted, &mut nar).map_err(|error| store_failure(&error))?;
    std::io::Seek::rewind(&mut nar).map_err(|error| Failure::nix(error.to_string()))?;
    let mut options = AddOptions::default();
    options.repair = repair;
    options.check_signatures = check_signatures;
    to.add_nar(&info, &mut nar, &options).map_err(|error| store_failure(&error))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_query_path_from_hash_part(context: *mut Context, handle: *mut Slot<StoreHandle>, hash: *const c_char) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let (store, hash) = (&store(handle)?.store, utf8(hash, "hash part")?);
            let dummy = StorePath::from_base_name(format!("{hash}-x")).map_err(|_| Failure::nix(format!("invalid hash part '{hash}'")))?;
            let found = store.path_from_hash_part(&dummy.hash_part()).map_err(|error| store_failure(&error))?;
            Ok(found.map_or(std::ptr::null_mut(), give_path))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_path_clone(wanted: *const Slot<PathHandle>) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe { path(wanted) }.map_or(std::ptr::null_mut(), |path| give_path(path.clone()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_path_free(path: *mut Slot<PathHandle>) {
    // SAFETY: the headers' contract.
    unsafe { pool::release(path) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_path_name(wanted: *const Slot<PathHandle>, callback: StringCallback, user_data: *mut c_void) {
    // SAFETY: the headers' contract.
    unsafe {
        if let Ok(path) = path(wanted) {
            let mut name = path.name().as_bytes().to_vec();
            name.push(0);
            give_string(callback, user_data, &name);
        }
    }
}

/// `nix_store_path_hash_part`
#[repr(C)]
pub struct HashPart {
    bytes: [u8; 20],
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_path_hash(context: *mut Context, wanted: *const Slot<PathHandle>, result: *mut HashPart) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let result = result.as_mut().ok_or_else(|| Failure::unknown("hash_part_out is NULL"))?;
            result.bytes = path(wanted)?.hash_part();
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_store_create_from_parts(context: *mut Context, hash: *const HashPart, name: *const c_char, length: usize) -> *mut Slot<PathHandle> {
    // SAFETY: the headers' contract.
    unsafe {
        run(context, std::ptr::null_mut(), || {
            let hash = hash.as_ref().ok_or_else(|| Failure::unknown("hash is NULL"))?;
            if name.is_null() {
                return Err(Failure::unknown("name is NULL"));
            }
            let name = std::str::from_utf8(std::slice::from_raw_parts(name.cast::<u8>(), length)).map_err(|_| Failure::nix("name is not UTF-8"))?;
            StorePath::new(hash.bytes, name).map(give_path).map_err(|error| Failure::nix(error.to_string()))
        })
    }
}
