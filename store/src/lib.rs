//! Nix store objects: pure formats and rules, and a local store.
#![deny(unsafe_code)]

// The pure half: bytes in, values out. No file system, clock, process or thread.
pub mod content_address;
pub mod derivation;
pub mod hash;
pub mod path;
pub mod path_info;
pub mod json;
pub mod nar;
