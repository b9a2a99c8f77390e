//! Content addresses: how the path of an object follows from its contents.
//!
//! The text form is what the database, narinfo and the daemon carry: `text:sha256:<nix32>`,
//! `fixed:sha256:<nix32>` (flat file), `fixed:r:sha256:<nix32>` (NAR), `fixed:git:sha1:<nix32>`.
//! The surprising thing: derivations write the same methods without `fixed:` (`r:sha256`), so there
//! are two prefixes per method.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::hash::{Algorithm, Hash, HashError, HashFormat};
use crate::path::StorePath;

/// What of an object is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentAddressMethod {
    /// The bytes of a text file; references are part of the path's type word.
    Text,
    /// The bytes of a regular file.
    Flat,
    /// The NAR of any file tree.
    Nar,
    /// The git object of a file tree. Experimental (`git-hashing`) in the reference.
    Git,
}

impl ContentAddressMethod {
    /// Returns the name that JSON and the language use: `text`, `flat`, `nar`, `git`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Flat => "flat",
            Self::Nar => "nar",
            Self::Git => "git",
        }
    }

    /// Returns the prefix before the algorithm in derivations: `text:`, nothing, `r:`, `git:`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "",
            Self::Nar => "r:",
            Self::Git => "git:",
        }
    }

    /// Splits a derivation's `r:sha256` into method and the rest.
    pub fn split_prefix(text: &str) -> (Self, &str) {
        for method in [Self::Nar, Self::Git, Self::Text] {
            if let Some(rest) = text.strip_prefix(method.prefix()) {
                return (method, rest);
            }
        }
        (Self::Flat, text)
    }

    /// Reads a derivation's `r:sha256`.
    pub fn parse_with_algorithm(text: &str) -> Result<(Self, Algorithm), HashError> {
        let (method, rest) = Self::split_prefix(text);
        Ok((method, rest.parse()?))
    }

    /// Writes a derivation's `r:sha256`.
    pub fn with_algorithm(self, algorithm: Algorithm) -> String {
        format!("{}{algorithm}", self.prefix())
    }
}

impl fmt::Display for ContentAddressMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ContentAddressMethod {
    type Err = ContentAddressError;

    /// Reads a name as JSON and `--mode` write it.
    fn from_str(name: &str) -> Result<Self, ContentAddressError> {
        match name {
            "text" => Ok(Self::Text),
            "flat" => Ok(Self::Flat),
            "nar" => Ok(Self::Nar),
            "git" => Ok(Self::Git),
            _ => Err(ContentAddressError::UnknownMethod { name: name.to_owned() }),
        }
    }
}

/// What is wrong with the text of a content address, in the reference's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentAddressError {
    /// There is no colon.
    #[error("not a content address because it is not in the form '<prefix>:<rest>': {text}")]
    NoPrefix {
        /// The whole text.
        text: String,
    },
    /// There is no algorithm.
    #[error("content address hash must be in form '<algo>:<hash>', but found: {text}")]
    NoAlgorithm {
        /// The whole text.
        text: String,
    },
    /// The first word is neither `text` nor `fixed`. (The spelling is the reference's.)
    #[error("content address prefix '{prefix}' is unrecognized. Recogonized prefixes are 'text' or 'fixed'")]
    UnknownPrefix {
        /// The first word.
        prefix: String,
    },
    /// No such method.
    #[error("Unknown file ingestion method '{name}', expect `flat`, `nar`, or `git`")]
    UnknownMethod {
        /// What stood in its place.
        name: String,
    },
    /// The hash is not valid.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// A method and the hash it gave.
///
/// ```
/// use nixlang_store::content_address::{ContentAddress, ContentAddressMethod};
///
/// let text = "fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
/// let address: ContentAddress = text.parse()?;
/// assert_eq!(address.method, ContentAddressMethod::Nar);
/// assert_eq!(address.to_string(), text);
/// # Ok::<(), nixlang_store::content_address::ContentAddressError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentAddress {
    /// What was hashed.
    pub method: ContentAddressMethod,
    /// The hash of it.
    pub hash: Hash,
}

impl ContentAddress {
    /// Returns method and algorithm as derivations write them: `r:sha256`.
    pub fn method_and_algorithm(&self) -> String {
        self.method.with_algorithm(self.hash.algorithm())
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = if self.method == ContentAddressMethod::Text { "" } else { "fixed:" };
        let hash = self.hash.format(HashFormat::Nix32, true);
        write!(f, "{fixed}{}{hash}", self.method.prefix())
    }
}

impl FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(text: &str) -> Result<Self, ContentAddressError> {
        let Some((prefix, rest)) = text.split_once(':') else {
            return Err(ContentAddressError::NoPrefix { text: text.to_owned() });
        };
        let (method, rest) = match prefix {
            "text" => (ContentAddressMethod::Text, rest),
            "fixed" => match rest.strip_prefix("r:") {
                Some(rest) => (ContentAddressMethod::Nar, rest),
                None => match rest.strip_prefix("git:") {
                    Some(rest) => (ContentAddressMethod::Git, rest),
                    None => (ContentAddressMethod::Flat, rest),
                },
            },
            _ => return Err(ContentAddressError::UnknownPrefix { prefix: prefix.to_owned() }),
        };
        let Some((algorithm, digits)) = rest.split_once(':') else {
            return Err(ContentAddressError::NoAlgorithm { text: text.to_owned() });
        };
        let hash = Hash::parse_unprefixed(digits, algorithm.parse()?)?;
        Ok(Self { method, hash })
    }
}

/// A content address together with the references that take part in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentAddressWithReferences {
    /// What was hashed.
    pub method: ContentAddressMethod,
    /// The hash of it. With a self-reference: of the contents with their own hash part zeroed.
    pub hash: Hash,
    /// References to other objects.
    pub references: BTreeSet<StorePath>,
    /// Whether the object refers to itself.
    pub self_reference: bool,
}

impl ContentAddressWithReferences {
    /// Wraps a content address of an object without references.
    pub fn without_references(method: ContentAddressMethod, hash: Hash) -> Self {
        Self { method, hash, references: BTreeSet::new(), self_reference: false }
    }

    /// Returns the address without the references.
    pub fn content_address(&self) -> ContentAddress {
        ContentAddress { method: self.method, hash: self.hash }
    }
}

impl From<ContentAddress> for ContentAddressWithReferences {
    fn from(address: ContentAddress) -> Self {
        Self::without_references(address.method, address.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for method in [
            ContentAddressMethod::Text,
            ContentAddressMethod::Flat,
            ContentAddressMethod::Nar,
            ContentAddressMethod::Git,
        ] {
            for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
                let address = ContentAddress { method, hash: Hash::digest(algorithm, b"x") };
                assert_eq!(address.to_string().parse(), Ok(address));
                let written = address.method_and_algorithm();
                assert_eq!(ContentAddressMethod::parse_with_algorithm(&written), Ok((method, algorithm)));
            }
            assert_eq!(method.name().parse(), Ok(method));
        }
    }

    /// Messages from `content-address.cc` of Nix 2.34.8.
    #[test]
    fn refused_text() {
        let check = |text: &str, message: &str| {
            assert_eq!(text.parse::<ContentAddress>().unwrap_err().to_string(), message);
        };
        check("", "not a content address because it is not in the form '<prefix>:<rest>': ");
        check("fixed:r:x", "content address hash must be in form '<algo>:<hash>', but found: fixed:r:x");
        check(
            "path:r:x",
            "content address prefix 'path' is unrecognized. Recogonized prefixes are 'text' or 'fixed'",
        );
        check("text:sha256:00", "hash '00' has wrong length for hash algorithm 'sha256'");
        check(
            "fixed:r:r:00",
            "unknown hash algorithm 'r', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'",
        );
    }
}
