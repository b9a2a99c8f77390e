//! `nix_api_util.h` beside contexts, and `nix_api_main.h`: initialisation, settings, version.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::ffi::{c_char, c_int, c_void};

use parking_lot::Mutex;

use super::context::{Context, Failure, KEY, Outcome, Status, StringCallback, run_code, run_string, utf8};
use crate::guard;
use crate::settings::{SettingError, Settings};

/// The process-wide settings of the Nix C API.
static SETTINGS: Mutex<Option<Settings>> = Mutex::new(None);

/// Returns a copy of the settings.
pub(super) fn settings() -> Settings {
    SETTINGS.lock().clone().unwrap_or_default()
}

fn change<R>(change: impl FnOnce(&mut Settings) -> R) -> R {
    change(SETTINGS.lock().get_or_insert_default())
}

/// Returns the failure of a setting.
pub(super) fn setting_failure(error: &SettingError) -> Failure {
    match error {
        SettingError::Unknown { .. } => Failure::new(KEY, "Setting not found"),
        other => Failure::nix(other.to_string()),
    }
}

fn initialise(load: bool) -> Outcome<()> {
    guard::refuse_second_implementation().map_err(Failure::nix)?;
    static LOADED: Mutex<bool> = Mutex::new(false);
    let mut loaded = LOADED.lock();
    if load && !std::mem::replace(&mut *loaded, true) {
        change(Settings::load).map_err(|error| Failure::nix(error.to_string()))?;
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_libutil_init(context: *mut Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || initialise(false)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_libstore_init(context: *mut Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || initialise(true)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_libstore_init_no_load_config(context: *mut Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || initialise(false)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_libexpr_init(context: *mut Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || initialise(true)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_setting_get(context: *mut Context, key: *const c_char, callback: StringCallback, user_data: *mut c_void) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_string(context, callback, user_data, || {
            let value = settings().get(utf8(key, "key")?);
            value.map(String::into_bytes).ok_or_else(|| Failure::new(KEY, "Setting not found"))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_setting_set(context: *mut Context, key: *const c_char, value: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            let (key, value) = (utf8(key, "key")?, utf8(value, "value")?);
            change(|settings| settings.set(key, value)).map_err(|error| setting_failure(&error))
        })
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nix_version_get() -> *const c_char {
    const VERSION: &std::ffi::CStr = c"2.34.8";
    debug_assert_eq!(VERSION.to_str(), Ok(crate::stores::REFERENCE_VERSION));
    VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_set_verbosity(context: *mut Context, level: c_int) -> Status {
    // Nothing here writes to standard error on its own, so there is nothing to make quieter.
    // SAFETY: the headers' contract.
    unsafe { run_code(context, || if (0..=7).contains(&level) { Ok(()) } else { Err(Failure::unknown("Invalid verbosity level")) }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_init_plugins(context: *mut Context) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            for file in settings().list("plugin-files") {
                guard::load_plugins(std::path::Path::new(&file)).map_err(Failure::nix)?;
            }
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nix_set_log_format(context: *mut Context, format: *const c_char) -> Status {
    // SAFETY: the headers' contract.
    unsafe {
        run_code(context, || {
            if format.is_null() {
                return Err(Failure::unknown("Log format is null"));
            }
            match utf8(format, "format")? {
                "raw" | "raw-with-logs" | "internal-json" | "bar" | "bar-with-logs" | "multiline" | "multiline-with-logs" => Ok(()),
                other => Err(Failure::nix(format!("option 'log-format' has an invalid value '{other}'"))),
            }
        })
    }
}

/// Makes a setting known. For test suites.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nixx_test_register_setting(name: *const c_char, default: *const c_char) -> c_int {
    // SAFETY: both are NUL-terminated.
    let texts = unsafe { (utf8(name, "name"), utf8(default, "default")) };
    if let (Ok(name), Ok(default)) = texts {
        change(|settings| settings.register(name, default));
    }
    0
}
