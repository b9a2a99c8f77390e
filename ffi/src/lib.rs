//! The C ABI. It adds no behaviour: each function checks its arguments, calls the Rust API, and turns panics into errors. The headers in `include/` are the
//! manual. Two families of names: `nixlang_…`, our own API, and `nix_…`, the Nix C API's ([`compat`]).
#![deny(unsafe_code)]

mod bytes;
mod compat;
mod error;
mod evaluator;
mod guard;
mod host;
mod pool;
mod remote;
mod settings;
mod stores;
mod values;
mod world;

pub use error::Error;
pub use evaluator::nixlang_evaluate;

/// Returns the version of this interface.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub extern "C" fn nixlang_abi_version() -> u32 {
    1
}
