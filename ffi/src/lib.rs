//! The C ABI. It adds no behaviour: each function checks its arguments, calls the Rust API, and turns panics into errors. The headers in `include/` are the
//! manual. Two families of names: `nixlang_…`, our own API (`api`), and `nix_…`, the Nix C API's (`compat`).
#![deny(unsafe_code)]

mod api;
mod compat;
mod fetching;
mod guard;
mod host;
mod pool;
mod settings;
mod store_files;
mod stores;
mod values;
mod world;
