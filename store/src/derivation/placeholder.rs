//! Placeholders: strings that stand for paths nobody knows yet.
//!
//! A builder's own output is `/` and a hash of the output's name; an output of another derivation
//! whose path is only known after its build is `/` and a hash of that derivation and the name. They
//! are replaced before the builder runs. The surprising thing: they land in `.drv` bytes, so they are
//! part of the format although they never name a file.
//!
//! Format source: manual of Nix 2.34, "placeholder" and `hashPlaceholder` in the reference.

use crate::hash::{Algorithm, Hash, HashFormat, nix32};
use crate::path::{StorePath, output_path_name};

/// Returns the string for a derivation's own output, as `builtins.placeholder` does.
///
/// ```
/// assert_eq!(
///     nixlang_store::derivation::placeholder("out"),
///     "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9",
/// );
/// ```
pub fn placeholder(output: &str) -> String {
    Placeholder(digest(&format!("nix-output:{output}"))).to_string()
}

/// Stands for an output of another derivation that has no known path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder(Hash);

impl Placeholder {
    /// Stands for `output` of the content-addressed derivation at `derivation`.
    pub fn content_addressed_output(derivation: &StorePath, output: &str) -> Self {
        let name = derivation.derivation_name().unwrap_or(derivation.name());
        let name = output_path_name(name, output);
        Self(digest(&format!("nix-upstream-output:{}:{name}", derivation.hash_text())))
    }

    /// Stands for `output` of the derivation that `self` stands for (dynamic derivations).
    pub fn output(&self, output: &str) -> Self {
        let inner = nix32::encode(&self.0.compress_to_20());
        Self(digest(&format!("nix-computed-output:{inner}:{output}")))
    }
}

/// Writes the string that stands in derivations.
impl std::fmt::Display for Placeholder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0.format(HashFormat::Nix32, false))
    }
}

fn digest(text: &str) -> Hash {
    Hash::digest(Algorithm::Sha256, text.as_bytes())
}
