//! Derivations: the build step that a `.drv` file describes.
//!
//! A [`Derivation`] is plain data whose strings are bytes, not UTF-8. Its text is the ATerm form
//! ([`Derivation::to_aterm`], [`Derivation::parse_aterm`]); [`Derivation::instantiate`] fills in where
//! its outputs go and makes the `.drv` file; [`Derivation::to_json`] is what `nix derivation show`
//! prints; [`options`] reads what the builder asks for.
//!
//! The surprising thing: a derivation does not contain its own path or, for a fixed output, the path
//! of its output. Both follow from the rest and the store directory.
//!
//! Format source: manual of Nix 2.34, "Derivation" and "Derivation ATerm Format".

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::path::StorePath;

mod hash_modulo;
mod json;
pub mod options;
mod output;
mod output_paths;
mod parse;
mod placeholder;
mod print;
mod structured_attrs;
#[cfg(test)]
mod tests;

pub use hash_modulo::{HashModulo, HashModuloCache, HashModuloError, Lookup, LookupError};
pub use json::{JSON_VERSION, JsonError, derivations_to_json};
pub use output::{DerivationOutput, DerivationType, DerivationTypeError};
pub use output_paths::{Instantiated, OutputPathError};
pub use parse::{MAX_DYNAMIC_DEPTH, ParseError, ParseErrorKind};
pub use placeholder::{Placeholder, placeholder};
pub use print::PrintError;
pub use structured_attrs::{StructuredAttrs, StructuredAttrsError};

/// Name of an output, such as `out` or `dev`. Short ones don't allocate.
pub type OutputName = SmolStr;

/// A build step: what to run, with which inputs, and what it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derivation {
    /// Name without `.drv`; the store path of the derivation carries it, the file does not.
    pub name: SmolStr,
    /// What is made, by output name.
    pub outputs: BTreeMap<OutputName, DerivationOutput>,
    /// Derivations whose outputs must be there first, with the outputs that are needed.
    pub input_derivations: BTreeMap<StorePath, InputOutputs>,
    /// Store paths that must be there first.
    pub input_sources: BTreeSet<StorePath>,
    /// The kind of machine, such as `x86_64-linux` or `builtin`.
    pub system: Vec<u8>,
    /// The program to run, or `builtin:<name>`.
    pub builder: Vec<u8>,
    /// Arguments of the builder.
    pub args: Vec<Vec<u8>>,
    /// Environment of the builder, without `__json`.
    pub env: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Structured attributes; in the ATerm form they are the variable `__json`.
    pub structured_attrs: Option<StructuredAttrs>,
}

/// Which outputs of an input derivation are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputOutputs {
    /// Names of outputs needed as they are.
    pub outputs: BTreeSet<OutputName>,
    /// Outputs that are themselves derivations, and what is needed of those
    /// (experimental feature `dynamic-derivations`).
    pub dynamic: BTreeMap<OutputName, InputOutputs>,
}

impl InputOutputs {
    /// Wraps the names of plain outputs.
    pub fn plain<N: Into<OutputName>>(outputs: impl IntoIterator<Item = N>) -> Self {
        Self { outputs: outputs.into_iter().map(Into::into).collect(), dynamic: BTreeMap::new() }
    }
}

impl Derivation {
    /// Tells whether the builder is one of the store's own (`builtin:fetchurl` and the like).
    pub fn is_builtin(&self) -> bool {
        self.builder.starts_with(b"builtin:")
    }

    /// Tells whether an input is an output of an output (which needs the newer ATerm form).
    pub fn has_dynamic_inputs(&self) -> bool {
        self.input_derivations.values().any(|input| !input.dynamic.is_empty())
    }

    /// Returns all paths that the `.drv` file refers to: input derivations and input sources.
    pub fn references(&self) -> BTreeSet<StorePath> {
        self.input_sources.iter().chain(self.input_derivations.keys()).cloned().collect()
    }
}
