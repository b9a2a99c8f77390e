//! From wanted outputs to valid store paths: plan, prepare, execute in a sandbox, collect.
//!
//! The surprising part: a host program must call [`helper_main`] first thing in its `main`, because every build runs
//! under a small process that is this program executed anew (or another one that the host names).
#![deny(unsafe_code)]

mod bytes;
mod executor;
pub mod sandbox;

pub use sandbox::helper::{Helper, helper_main};
