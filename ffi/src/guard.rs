//! What stands around every entry: a panic becomes an error, so that none crosses into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// Runs an entry's body; returns null for success, otherwise an owned error.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), String>) -> Option<Box<Error>> {
    // Nothing that the body could leave half-changed is seen again: it works on its own state.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => None,
        Ok(Err(message)) => Some(Error::new(message)),
        Err(panic) => {
            let what = panic.downcast_ref::<&str>().map(|text| (*text).to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
            Some(Error::new(format!("internal error: {}", what.unwrap_or_else(|| "panic".into()))))
        }
    }
}
