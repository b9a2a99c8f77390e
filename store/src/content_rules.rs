//! [`ContentRules`]: which generation of the reference's rules content-addressed derivations follow.
//!
//! Between 2.34 and 2.35 two of them changed: where an object that refers to itself ends up ([`SelfReferenceRule`]), and what
//! names an output in a realisation ([`DerivationKey`]). Neither generation finds what the other has made. The surprising
//! thing: checking is not concerned; an address is accepted if it is right by either rule.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::path::StorePath;
use crate::realisation::DerivationKey;
use crate::references::SelfReferenceRule;

/// See the file's comment. As text `2.34` and `2.35`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentRules {
    /// Those of Nix 2.34 and before.
    #[default]
    Until2_34,
    /// Those of Nix 2.35 and later.
    Since2_35,
}

impl ContentRules {
    /// Returns how places of self-references take part in a hash.
    pub fn self_references(self) -> SelfReferenceRule {
        match self {
            ContentRules::Until2_34 => SelfReferenceRule::Blanked,
            ContentRules::Since2_35 => SelfReferenceRule::BlankedWithPlaces,
        }
    }

    /// Returns what names a derivation in realisations: its path, or what `hash` says that its masked hash is.
    ///
    /// # Errors
    /// What `hash` gives.
    pub fn derivation_key<E>(self, path: &StorePath, hash: impl FnOnce() -> Result<Hash, E>) -> Result<DerivationKey, E> {
        match self {
            ContentRules::Until2_34 => hash().map(DerivationKey::Hash),
            ContentRules::Since2_35 => Ok(DerivationKey::Path(path.clone())),
        }
    }
}

impl fmt::Display for ContentRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ContentRules::Until2_34 => "2.34",
            ContentRules::Since2_35 => "2.35",
        })
    }
}

/// Why text names no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is neither '2.34' nor '2.35'")]
pub struct UnknownRules {
    /// The text.
    pub text: String,
}

impl FromStr for ContentRules {
    type Err = UnknownRules;

    fn from_str(text: &str) -> Result<ContentRules, UnknownRules> {
        match text {
            "2.34" => Ok(ContentRules::Until2_34),
            "2.35" => Ok(ContentRules::Since2_35),
            _ => Err(UnknownRules { text: text.to_owned() }),
        }
    }
}
