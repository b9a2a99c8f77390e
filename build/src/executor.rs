//! Running one build: see `local` for how.

pub(crate) mod builtin;
