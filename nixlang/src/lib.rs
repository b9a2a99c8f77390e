//! (skeleton)
pub mod syntax;
pub(crate) mod text;
