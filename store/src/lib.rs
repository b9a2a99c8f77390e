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

// The half with effects: disks, databases, other processes.
#[cfg(feature = "effects")]
mod addressed;
#[cfg(feature = "effects")]
pub mod closure;
#[cfg(feature = "effects")]
pub mod copy;
#[cfg(feature = "effects")]
pub mod error;
#[cfg(feature = "effects")]
pub mod fs;
#[cfg(feature = "effects")]
pub mod gc;
#[cfg(feature = "effects")]
pub mod local;
#[cfg(feature = "effects")]
pub mod memory;
#[cfg(feature = "effects")]
pub mod store;
