//! Our own API: `nixlang_…`, one module per header of `include/nixlang/`.
//!
//! Functions that can fail return an owned error, NULL for success; getters return whether the value is of their type. Handles are counted slots
//! (see `pool.rs`), so a handle that was freed is refused.
// Each exported function's contract is its header's: handles are NULL or live handles of the right type, strings are as long as they say, and pointers for
// results are NULL or writable.
#![allow(clippy::missing_safety_doc, reason = "see above")]
#![allow(unreachable_pub, missing_docs, reason = "C is who reaches these; the headers document them")]

mod base;
mod build;
mod custom_store;
mod engine;
mod error;
mod function;
mod hooks;
mod make;
mod store;
mod syntax;
mod value;
