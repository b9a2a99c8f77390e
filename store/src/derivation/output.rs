//! The five kinds of derivation output, and the type of a derivation that follows from them.
//!
//! The surprising thing: outputs of one derivation can't be of different kinds, and a fixed output
//! must be the only one and be called `out`. [`Derivation::kind`] is where that is checked.

use super::Derivation;
use crate::content_address::{ContentAddress, ContentAddressMethod};
use crate::hash::Algorithm;
use crate::path::{MakePathError, StoreDir, StorePath, output_path_name};

/// How the path of an output is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DerivationOutput {
    /// By hashing the derivation; the path is known and written down.
    InputAddressed(StorePath),
    /// By the content address that the output must turn out to have.
    Fixed(ContentAddress),
    /// By the contents, whatever they turn out to be (`ca-derivations`).
    Floating {
        /// What is hashed.
        method: ContentAddressMethod,
        /// With what.
        algorithm: Algorithm,
    },
    /// By hashing the derivation, once the paths of its inputs are known; also an input-addressed
    /// output that has not been filled in yet.
    Deferred,
    /// By the contents, and built anew every time (`impure-derivations`).
    Impure {
        /// What is hashed.
        method: ContentAddressMethod,
        /// With what.
        algorithm: Algorithm,
    },
}

impl DerivationOutput {
    /// Returns the path of this output, if it is known before the build.
    ///
    /// # Errors
    /// When a fixed output's name or method don't make a valid path.
    pub fn path(
        &self,
        store_dir: &StoreDir,
        derivation_name: &str,
        output_name: &str,
    ) -> Result<Option<StorePath>, MakePathError> {
        match self {
            Self::InputAddressed(path) => Ok(Some(path.clone())),
            Self::Fixed(address) => {
                let name = output_path_name(derivation_name, output_name);
                store_dir.fixed_output_path(&name, &(*address).into()).map(Some)
            }
            Self::Floating { .. } | Self::Deferred | Self::Impure { .. } => Ok(None),
        }
    }
}

/// What all outputs of a derivation have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivationType {
    /// Paths follow from the derivation.
    InputAddressed {
        /// Some input's path is not known yet.
        deferred: bool,
    },
    /// Paths follow from the contents.
    ContentAddressed {
        /// The builder has no network. (Not so for fixed outputs.)
        sandboxed: bool,
        /// The contents' hash is known beforehand.
        fixed: bool,
    },
    /// Contents vary, are content-addressed and never reused.
    Impure,
}

impl DerivationType {
    /// Tells whether outputs are content-addressed.
    pub fn is_content_addressed(self) -> bool {
        !matches!(self, Self::InputAddressed { .. })
    }

    /// Tells whether this is a fixed-output derivation.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::ContentAddressed { fixed: true, .. })
    }

    /// Tells whether the outputs' paths are known before the build.
    pub fn has_known_output_paths(self) -> bool {
        match self {
            Self::InputAddressed { deferred } => !deferred,
            Self::ContentAddressed { fixed, .. } => fixed,
            Self::Impure => false,
        }
    }

    /// Tells whether the builder must be cut off from the network.
    pub fn is_sandboxed(self) -> bool {
        match self {
            Self::InputAddressed { .. } => true,
            Self::ContentAddressed { sandboxed, .. } => sandboxed,
            Self::Impure => false,
        }
    }
}

/// Outputs that can't stand in one derivation, in the reference's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DerivationTypeError {
    /// Outputs of different kinds.
    #[error("can't mix derivation output types")]
    Mixed,
    /// More than one fixed output.
    #[error("only one fixed output is allowed for now")]
    SeveralFixed,
    /// A fixed output with another name.
    #[error("single fixed output must be named \"out\"")]
    FixedNotOut,
    /// Floating outputs with different algorithms.
    #[error("all floating outputs must use the same hash algorithm")]
    FloatingAlgorithms,
    /// No output at all.
    #[error("must have at least one output")]
    NoOutput,
}

impl Derivation {
    /// Returns the type that all outputs agree on.
    ///
    /// # Errors
    /// When they don't, or there is none.
    pub fn kind(&self) -> Result<DerivationType, DerivationTypeError> {
        let mut kind = None;
        let mut floating_algorithm = None;
        for (name, output) in &self.outputs {
            let next = match output {
                DerivationOutput::InputAddressed(_) => DerivationType::InputAddressed { deferred: false },
                DerivationOutput::Deferred => DerivationType::InputAddressed { deferred: true },
                DerivationOutput::Fixed(_) => {
                    DerivationType::ContentAddressed { sandboxed: false, fixed: true }
                }
                DerivationOutput::Floating { .. } => {
                    DerivationType::ContentAddressed { sandboxed: true, fixed: false }
                }
                DerivationOutput::Impure { .. } => DerivationType::Impure,
            };
            match kind {
                None => kind = Some(next),
                Some(kind) if kind != next => return Err(DerivationTypeError::Mixed),
                Some(kind) if kind.is_fixed() => return Err(DerivationTypeError::SeveralFixed),
                Some(_) => {}
            }
            match output {
                DerivationOutput::Fixed(_) if name != "out" => {
                    return Err(DerivationTypeError::FixedNotOut);
                }
                DerivationOutput::Floating { algorithm, .. }
                    if *floating_algorithm.get_or_insert(*algorithm) != *algorithm =>
                {
                    return Err(DerivationTypeError::FloatingAlgorithms);
                }
                _ => {}
            }
        }
        kind.ok_or(DerivationTypeError::NoOutput)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    fn check(outputs: &[(&str, DerivationOutput)], expected: Result<DerivationType, DerivationTypeError>) {
        let outputs = outputs.iter().map(|(name, output)| ((*name).into(), output.clone())).collect();
        let derivation = Derivation { outputs, ..Derivation::default() };
        assert_eq!(derivation.kind(), expected);
    }

    #[test]
    fn kinds_and_impossible_combinations() {
        let hash = Hash::digest(Algorithm::Sha256, b"");
        let fixed = DerivationOutput::Fixed(ContentAddress { method: ContentAddressMethod::Flat, hash });
        let floating = |algorithm| DerivationOutput::Floating { method: ContentAddressMethod::Nar, algorithm };
        let deferred = DerivationOutput::Deferred;

        check(&[], Err(DerivationTypeError::NoOutput));
        check(
            &[("out", deferred.clone()), ("dev", deferred.clone())],
            Ok(DerivationType::InputAddressed { deferred: true }),
        );
        check(
            &[("out", fixed.clone())],
            Ok(DerivationType::ContentAddressed { sandboxed: false, fixed: true }),
        );
        check(&[("dev", fixed.clone())], Err(DerivationTypeError::FixedNotOut));
        check(&[("out", fixed.clone()), ("x", deferred)], Err(DerivationTypeError::Mixed));
        check(&[("out", fixed.clone()), ("x", fixed)], Err(DerivationTypeError::SeveralFixed));
        check(
            &[("a", floating(Algorithm::Sha1)), ("b", floating(Algorithm::Sha256))],
            Err(DerivationTypeError::FloatingAlgorithms),
        );
    }
}
