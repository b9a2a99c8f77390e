//! Garbage collection: what keeps paths alive and how the rest goes.

pub mod roots;
pub(crate) mod temp_roots;
