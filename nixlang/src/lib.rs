//! (skeleton)
pub(crate) mod text;
