//! `nixlang/host.h`: file systems and fetchers of the host.
#![expect(unsafe_code, reason = "the host's functions are called through pointers")]

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use nixlang::heap::on_host_stack;
use nixlang::host::{FetchRequest, FileType, HostError, HostResult};

use super::base::{ErrorPointer, Str, look, run};
use super::engine::ConfigHandle;
use super::error::{Failure, HostData, take};
use super::store::Sink;
use crate::host::{Fetched, Fetcher, Files};
use crate::pool::Slot;

type Entry = Option<unsafe extern "C-unwind" fn(*mut c_void, Str, c_int)>;

/// `nixlang_file_system`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CFileSystem {
    size: usize,
    file_type: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, *mut c_int) -> ErrorPointer>,
    read_file: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Sink, *mut c_void) -> ErrorPointer>,
    read_directory: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Entry, *mut c_void) -> ErrorPointer>,
    read_link: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Sink, *mut c_void) -> ErrorPointer>,
}

/// Files of the host.
struct HostFiles {
    functions: CFileSystem,
    data: HostData,
}

/// Collects what the host writes.
pub(super) unsafe extern "C-unwind" fn collect(bytes: *mut c_void, data: *const c_char, length: usize) -> bool {
    // SAFETY: given together with a vector, by functions of this crate; the host says how many bytes there are.
    unsafe {
        if length != 0 {
            (*bytes.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(data.cast(), length));
        }
    }
    true
}

unsafe extern "C-unwind" fn collect_entry(entries: *mut c_void, name: Str, file_type: c_int) {
    // SAFETY: as above.
    unsafe { (*entries.cast::<Vec<(Vec<u8>, Option<FileType>)>>()).push((name.bytes().to_vec(), file_type_of(file_type))) };
}

fn file_type_of(number: c_int) -> Option<FileType> {
    match number {
        1 => Some(FileType::Regular { executable: false }),
        2 => Some(FileType::Regular { executable: true }),
        3 => Some(FileType::Directory),
        4 => Some(FileType::Symlink),
        _ => None,
    }
}

/// # Safety
/// What a callback returned.
unsafe fn check(error: ErrorPointer) -> HostResult<()> {
    // SAFETY: the contract.
    match unsafe { take(error) } {
        None => Ok(()),
        Some((_, message)) => Err(HostError::Failed { message }),
    }
}

fn missing(what: &str) -> HostError {
    HostError::Unsupported { message: format!("the host's file system cannot {what}") }
}

impl HostFiles {
    fn bytes(&self, read: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Sink, *mut c_void) -> ErrorPointer>, path: &[u8], what: &str) -> HostResult<Vec<u8>> {
        let read = read.ok_or_else(|| missing(what))?;
        let mut bytes: Vec<u8> = Vec::new();
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { read(self.data.get(), Str::plain(path), Some(collect), (&raw mut bytes).cast()) });
        // SAFETY: what the callback returned.
        unsafe { check(error) }?;
        Ok(bytes)
    }
}

impl Files for HostFiles {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.bytes(self.functions.read_file, path, "read files")
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        let read = self.functions.read_directory.ok_or_else(|| missing("read directories"))?;
        let mut entries: Vec<(Vec<u8>, Option<FileType>)> = Vec::new();
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { read(self.data.get(), Str::plain(path), Some(collect_entry), (&raw mut entries).cast()) });
        // SAFETY: what the callback returned.
        unsafe { check(error) }?;
        Ok(entries)
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        let get = self.functions.file_type.ok_or_else(|| missing("tell types of files"))?;
        let mut file_type = 0;
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { get(self.data.get(), Str::plain(path), &mut file_type) });
        // SAFETY: what the callback returned.
        unsafe { check(error) }?;
        Ok(file_type_of(file_type))
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.bytes(self.functions.read_link, path, "read links")
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_set_file_system(
    config: *mut Slot<ConfigHandle>,
    functions: *const CFileSystem,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let functions = *functions.as_ref().filter(|it| it.size >= size_of::<CFileSystem>()).ok_or_else(|| Failure::argument("the file system is NULL or its size is not set"))?;
        look(config, "config")?.parts.lock().files = Some(Arc::new(HostFiles { functions, data }));
        Ok(())
    })
}

/// `nixlang_fetcher`
type FetchFunction = unsafe extern "C-unwind" fn(*mut c_void, Str, bool, Sink, *mut c_void) -> ErrorPointer;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_add_fetcher(
    config: *mut Slot<ConfigHandle>,
    scheme: Str,
    function: Option<FetchFunction>,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let function = function.ok_or_else(|| Failure::argument("the function is NULL"))?;
        let fetcher: Arc<Fetcher> = Arc::new(move |request: &FetchRequest| {
            let mut bytes: Vec<u8> = Vec::new();
            // SAFETY: by the header's contract.
            let error = function(data.get(), Str::plain(request.url.as_bytes()), request.unpack, Some(collect), (&raw mut bytes).cast());
            // SAFETY: what the callback returned.
            check(error)?;
            Ok(if request.unpack { Fetched::Nar(bytes) } else { Fetched::File(bytes) })
        });
        let scheme = scheme.text("scheme")?.to_owned();
        look(config, "config")?.parts.lock().fetchers.insert(scheme, fetcher);
        Ok(())
    })
}
