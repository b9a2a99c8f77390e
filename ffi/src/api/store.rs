//! `nixlang/store.h`: stores, what they know, what is added to them.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang_store::closure::Follow;
use nixlang_store::hash::HashFormat;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::{Addressing, Contents, Store};

use super::base::{Bytes, CText, ErrorPointer, Str, free, give_bytes, look, put, run};
use super::engine::ConfigHandle;
use super::error::Failure;
use crate::pool::{self, Slot};
use crate::settings::Settings;
use crate::stores::OpenStore;

/// `nixlang_store`
pub struct StoreHandle(pub(super) Arc<OpenStore>);

/// `nixlang_path_info`
pub struct PathInfoHandle {
    hash: CText,
    references: Vec<CText>,
    deriver: Option<CText>,
    signatures: Vec<CText>,
    content_address: Option<CText>,
    nar_size: u64,
    registration_time: i64,
}

/// `nixlang_paths`
pub struct PathsHandle(Vec<CText>);

crate::pool::pooled!(StoreHandle, PathInfoHandle, PathsHandle);
free!(nixlang_store_free: StoreHandle, nixlang_path_info_free: PathInfoHandle, nixlang_paths_free: PathsHandle);

/// # Safety
/// The header's contract.
pub(super) unsafe fn store_path(store: &OpenStore, path: Str) -> Result<StorePath, Failure> {
    // SAFETY: the header's contract.
    store.store.store_dir().parse(unsafe { path.bytes() }).map_err(|error| Failure::argument(error.to_string()))
}

fn failed(error: nixlang_store::error::StoreError) -> Failure {
    Failure::store(&error)
}

fn give_paths(store: &OpenStore, paths: impl IntoIterator<Item = StorePath>) -> *mut Slot<PathsHandle> {
    pool::give(PathsHandle(paths.into_iter().map(|path| CText::new(store.store.store_dir().display(&path))).collect()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_open(address: Str, config: *const Slot<ConfigHandle>, result: *mut *mut Slot<StoreHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let settings = if config.is_null() { Settings::embedded() } else { look(config, "config")?.parts.lock().settings.clone() };
        let store = OpenStore::open(address.text("address")?, &[], &settings)?;
        put(result, pool::give(StoreHandle(Arc::new(store))))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_directory(store: *const Slot<StoreHandle>) -> Str {
    // SAFETY: the header's contract; the text lives as long as the store.
    unsafe { pool::look(store) }.map_or(Str::EMPTY, |store| Str::plain(store.0.store.store_dir().as_str().as_bytes()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_address(store: *const Slot<StoreHandle>) -> Str {
    // SAFETY: as above.
    unsafe { pool::look(store) }.map_or(Str::EMPTY, |store| Str::plain(store.0.address.as_bytes()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_is_valid(store: *const Slot<StoreHandle>, path: Str, result: *mut bool) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        put(result, store.store.is_valid(&store_path(store, path)?).map_err(failed)?)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_path_info(store: *const Slot<StoreHandle>, path: Str, result: *mut *mut Slot<PathInfoHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let info = store.store.query_path_info(&store_path(store, path)?).map_err(failed)?;
        put(result, info.map_or(std::ptr::null_mut(), |info| pool::give(path_info(store, &info))))
    })
}

fn path_info(store: &OpenStore, info: &PathInfo) -> PathInfoHandle {
    let shown = |path: &StorePath| CText::new(store.store.store_dir().display(path));
    PathInfoHandle {
        hash: CText::new(info.nar_hash.format(HashFormat::Sri, true)),
        references: info.references.iter().map(shown).collect(),
        deriver: info.deriver.as_ref().map(shown),
        signatures: info.signatures.iter().map(|signature| CText::new(signature.clone())).collect(),
        content_address: info.content_address.as_ref().map(|address| CText::new(address.to_string())),
        nar_size: info.nar_size,
        registration_time: info.registration_time,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_nar_hash(info: *const Slot<PathInfoHandle>) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.map_or(Str::EMPTY, |info| info.hash.lend())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_nar_size(info: *const Slot<PathInfoHandle>) -> u64 {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.map_or(0, |info| info.nar_size)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_registration_time(info: *const Slot<PathInfoHandle>) -> i64 {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.map_or(0, |info| info.registration_time)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_reference(info: *const Slot<PathInfoHandle>, index: usize) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.and_then(|info| info.references.get(index)).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_signature(info: *const Slot<PathInfoHandle>, index: usize) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.and_then(|info| info.signatures.get(index)).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_deriver(info: *const Slot<PathInfoHandle>) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.and_then(|info| info.deriver.as_ref()).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_path_info_content_address(info: *const Slot<PathInfoHandle>) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(info) }.and_then(|info| info.content_address.as_ref()).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_paths_count(paths: *const Slot<PathsHandle>) -> usize {
    // SAFETY: the header's contract.
    unsafe { pool::look(paths) }.map_or(0, |paths| paths.0.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_paths_at(paths: *const Slot<PathsHandle>, index: usize) -> Str {
    // SAFETY: the header's contract.
    unsafe { pool::look(paths) }.and_then(|paths| paths.0.get(index)).map_or(Str::EMPTY, CText::lend)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_valid_paths(store: *const Slot<StoreHandle>, result: *mut *mut Slot<PathsHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let mut paths = store.store.all_valid_paths().map_err(failed)?;
        paths.sort();
        put(result, give_paths(store, paths))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_closure(store: *const Slot<StoreHandle>, path: Str, follow: c_int, result: *mut *mut Slot<PathsHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let follow = Follow { referrers: follow & 1 != 0, outputs: follow & 2 != 0, derivers: follow & 4 != 0 };
        let closure = store.closure(&store_path(store, path)?, follow)?;
        put(result, give_paths(store, closure))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_referrers(store: *const Slot<StoreHandle>, path: Str, result: *mut *mut Slot<PathsHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        put(result, give_paths(store, store.store.referrers(&store_path(store, path)?).map_err(failed)?))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_real_path(store: *const Slot<StoreHandle>, path: Str, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        give_bytes(store.real_path(&store_path(store, path)?).into_bytes(), result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_derivation_json(store: *const Slot<StoreHandle>, path: Str, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let derivation = store.store.read_derivation(&store_path(store, path)?).map_err(failed)?;
        let json = derivation.to_json().map_err(|error| Failure::store(&error))?;
        give_bytes(json.to_string().into_bytes(), result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_add_bytes(store: *mut Slot<StoreHandle>, name: Str, contents: Str, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let addressing = Addressing::source(name.text("name")?);
        let mut nar = Vec::new();
        let mut writer = nixlang_store::nar::NarWriter::new(&mut nar);
        writer.file(false, contents.bytes()).map_err(|error| Failure::store(&error))?;
        writer.finish().map_err(|error| Failure::store(&error))?;
        let info = store.store.add_contents(&addressing, Contents::Nar(&mut &nar[..])).map_err(failed)?;
        give_bytes(store.store.store_dir().display(&info.path).into_bytes(), result)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_add_tree(store: *mut Slot<StoreHandle>, name: Str, directory: Str, result: *mut Bytes) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        let path = PathBuf::from(directory.text("path")?);
        let addressing = Addressing::source(name.text("name")?);
        let info = store.store.add_contents(&addressing, Contents::Tree { path: &path, filter: None }).map_err(failed)?;
        give_bytes(store.store.store_dir().display(&info.path).into_bytes(), result)
    })
}

/// `nixlang_sink`
pub type Sink = Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, usize) -> bool>;

/// A sink of the host as a writer.
pub(super) struct SinkWriter(pub(super) Sink, pub(super) *mut c_void);

impl std::io::Write for SinkWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let stopped = || std::io::Error::other("the host stopped reading");
        let sink = self.0.ok_or_else(stopped)?;
        // SAFETY: by the header's contract.
        if unsafe { sink(self.1, bytes.as_ptr().cast(), bytes.len()) } { Ok(bytes.len()) } else { Err(stopped()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_write_nar(store: *const Slot<StoreHandle>, path: Str, sink: Sink, data: *mut c_void) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        store.store.write_nar(&store_path(store, path)?, &mut SinkWriter(sink, data)).map_err(failed)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_copy(from: *const Slot<StoreHandle>, to: *mut Slot<StoreHandle>, path: Str, result: *mut *mut Slot<PathsHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (from, to) = (&look(from, "store")?.0, &look(to, "store")?.0);
        let copied = nixlang_store::copy::copy_closure(&*from.store, &*to.store, &[store_path(from, path)?]).map_err(failed)?;
        if result.is_null() { Ok(()) } else { put(result, give_paths(to, copied)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_add_root(store: *mut Slot<StoreHandle>, path: Str, link: Str) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = &look(store, "store")?.0;
        store.store.add_permanent_root(&store_path(store, path)?, Path::new(link.text("link")?)).map_err(failed)
    })
}

/// Makes a handle of a store that a host implements.
pub(super) fn custom(store: Arc<dyn Store>) -> *mut Slot<StoreHandle> {
    pool::give(StoreHandle(Arc::new(OpenStore { address: store.address(), store, local: None, service: None, is_writable: true })))
}

