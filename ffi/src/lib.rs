//! The C ABI. It adds no behaviour: each function checks its arguments, calls the Rust API, and turns panics into errors. The header
//! `include/nixlang.h` is the manual.
#![deny(unsafe_code)]

mod bytes;
mod error;
mod evaluator;
mod guard;

pub use error::Error;
pub use evaluator::nixlang_evaluate;

/// Returns the version of this interface.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub extern "C" fn nixlang_abi_version() -> u32 {
    1
}
