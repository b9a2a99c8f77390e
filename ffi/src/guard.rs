//! What stands around every entry: a panic becomes an error, so that none crosses into C; and a real libnixstore in the same process is noticed.
#![expect(unsafe_code, reason = "asks the dynamic linker")]

use std::any::Any;
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Runs an entry's body; a panic is `Err` with its message.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    // What the body left half-changed is behind locks that don't poison and cells that are written whole.
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| format!("internal error: {}", message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

/// Returns where this library is, if it is a file of its own.
pub(crate) fn library_path() -> Option<PathBuf> {
    // SAFETY: `dladdr` reads the address as a number and fills in the structure, whose strings belong to the linker.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(library_path as *const libc::c_void, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let name = CStr::from_ptr(info.dli_fname);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())))
    }
}

/// The two functions of Boehm's collector that a host may have brought along (bindings of the Nix C API do, because the reference needs it).
struct Collector {
    disable: unsafe extern "C" fn(),
    enable: unsafe extern "C" fn(),
}

fn collector() -> Option<&'static Collector> {
    // What the process was linked with does not change.
    static FOUND: OnceLock<Option<Collector>> = OnceLock::new();
    let find = || {
        // SAFETY: constant names; the functions of these names take and return nothing.
        unsafe {
            let (disable, enable) = (libc::dlsym(libc::RTLD_DEFAULT, c"GC_disable".as_ptr()), libc::dlsym(libc::RTLD_DEFAULT, c"GC_enable".as_ptr()));
            if disable.is_null() || enable.is_null() {
                return None;
            }
            Some(Collector { disable: std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(disable), enable: std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(enable) })
        }
    };
    FOUND.get_or_init(find).as_ref()
}

/// While this lives, a collector of the host does not look at stacks: an evaluation runs on one of its own, which the collector knows nothing of, and looking
/// for its end it would run into memory that is not there. Nests.
pub(crate) struct NoCollection(Option<&'static Collector>);

impl NoCollection {
    /// Stops collections, once the one that runs has ended.
    pub(crate) fn begin() -> NoCollection {
        let found = collector();
        if let Some(collector) = found {
            // SAFETY: may be called at any time, on any thread; it counts.
            unsafe { (collector.disable)() };
        }
        NoCollection(found)
    }
}

impl Drop for NoCollection {
    fn drop(&mut self) {
        if let Some(collector) = self.0 {
            // SAFETY: as above, and disabled in `begin`.
            unsafe { (collector.enable)() };
        }
    }
}

/// Loads a plugin, or all in a directory, and calls its `nix_plugin_entry`, if it has one. It stays loaded.
pub(crate) fn load_plugins(path: &Path) -> Result<(), String> {
    let failed = |reason: String| format!("could not dynamically open plugin file \"{}\": {reason}", path.display());
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| failed(error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        return files.iter().try_for_each(|file| load_plugins(file));
    }
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.to_string()))?;
    // SAFETY: the name is NUL-terminated; what the linker says is copied before it is asked again. Initialisers of the plugin run, as who named it wants.
    let plugin = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if plugin.is_null() {
        // SAFETY: as above.
        let reason = unsafe {
            let said = libc::dlerror();
            if said.is_null() { String::new() } else { CStr::from_ptr(said).to_string_lossy().into_owned() }
        };
        return Err(failed(reason));
    }
    // Plugins in C++ bring the reference's libraries along.
    refuse_second_implementation()?;
    // SAFETY: `plugin` is a handle of the linker; the name of the entry and its type are what plugins agree on.
    unsafe {
        let entry = libc::dlsym(plugin, c"nix_plugin_entry".as_ptr());
        if !entry.is_null() {
            let entry: unsafe extern "C-unwind" fn() = std::mem::transmute(entry);
            entry();
        }
    }
    Ok(())
}

/// Fails if the reference's store library is loaded into this process too: both would rewrite one file of temporary roots, and closing a database in one
/// copy of SQLite drops the locks of the other.
pub(crate) fn refuse_second_implementation() -> Result<(), String> {
    // A C++ symbol that only the reference's libnixstore has.
    // SAFETY: `dlsym` reads a constant string; the address is only compared.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_ZTIN3nix5StoreE".as_ptr()) };
    // One that was loaded privately shows among the mapped files only.
    let is_mapped = || std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains("/libnixstore.so"));
    if found.is_null() && !is_mapped() {
        return Ok(());
    }
    Err("a libnixstore of the reference is loaded into this process; it and this library can't share one (temporary roots, locks of SQLite)".to_owned())
}
