//! The Nix language: text → tokens → lossless tree or arena IR → lazy values → derivations.
//!
//! Start with [`eval`] and `eval/expr.rs`; everything outside of the language comes through [`host::Host`].
#![deny(unsafe_code)]

pub mod builtins;
pub mod diagnostics;
pub mod eval;
pub mod heap;
pub mod host;
pub mod lower;
pub mod path;
pub mod source;
mod source_dump;
pub mod symbol;
pub mod syntax;
pub(crate) mod text;
pub mod value;
