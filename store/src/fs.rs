//! File trees on disk to NARs and back.
//!
//! All work is relative to held directory descriptors with one name at a time, never following a symbolic link and
//! never opening what exists for writing, so that neither an archive nor somebody who changes the tree meanwhile can
//! lead it elsewhere. Nothing here recurses; nothing holds a file in memory.

pub mod dump;
pub mod remove;
pub mod restore;

pub use dump::dump;
pub use remove::{remove_tree, remove_tree_at};
pub use restore::{Metadata, restore};

/// How many directories may be nested below each other: what an archive allows.
pub(crate) const MAX_DEPTH: usize = crate::nar::MAX_DEPTH - 1;
