//! What editors and other tools ask of a source text: its documentation comments, what its names mean, where they are used.
//!
//! Everything here works on the lossless tree ([`crate::syntax::tree`]) and evaluates nothing, so it answers for broken and for unknown code too;
//! offsets are bytes from the beginning of the text.

pub mod documentation;
pub mod names;
