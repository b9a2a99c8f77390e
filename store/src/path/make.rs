//! Computing store paths from what they stand for.
//!
//! Every path is `nix32(fold20(sha256("<type>:<hash>:<directory>:<name>")))-<name>`. What varies is
//! the type and which hash goes in. The surprising thing: references are part of the *type* word
//! (`text:<path>:<path>`), and every fixed output except a NAR with SHA-256 hashes a second time,
//! under `fixed:out:…`, because only that one combination may have references.
//!
//! Format source: manual of Nix 2.34, "Complete Store Path Calculation".

use super::{StoreDir, StorePath, StorePathError};
use crate::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use crate::hash::{Algorithm, Hash, HashFormat};

/// Why a path can't be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakePathError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] StorePathError),
    /// Git objects are SHA-1 or SHA-256.
    #[error("Git file ingestion must use SHA-1 or SHA-256 hash, but instead using: {algorithm}")]
    GitAlgorithm {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// Only NARs hashed with SHA-256, and text, may have references.
    #[error(
        "fixed output derivation '{name}' is not allowed to refer to other store paths.\n\
         You may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details."
    )]
    ReferencesNotAllowed {
        /// Name of the object.
        name: String,
    },
    /// Text can't contain its own path.
    #[error("self-reference not allowed with text hashing")]
    SelfReferenceInText,
    /// Text is always hashed with SHA-256.
    #[error("text of '{name}' must be hashed with sha256, not with {algorithm}")]
    TextAlgorithm {
        /// Name of the object.
        name: String,
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
}

impl StoreDir {
    /// Returns the path for `kind` (the type word), `hash` and `name`: the rule all others end in.
    pub fn make_store_path(&self, kind: &str, hash: &Hash, name: &str) -> Result<StorePath, StorePathError> {
        let hash = hash.format(HashFormat::Base16, true);
        let mut preimage = String::with_capacity(kind.len() + hash.len() + self.as_str().len() + name.len() + 3);
        for (idx, part) in [kind, &hash, self.as_str(), name].into_iter().enumerate() {
            if idx > 0 {
                preimage.push(':');
            }
            preimage.push_str(part);
        }
        let digest = Hash::digest(Algorithm::Sha256, preimage.as_bytes());
        StorePath::new(digest.compress_to_20(), name)
    }

    /// Returns the path of a text file (`builtins.toFile`, derivations) with these contents' SHA-256
    /// and references, which are sorted and without repeats (such as a `&BTreeSet`).
    pub fn text_path<'r>(
        &self,
        name: &str,
        contents: &Hash,
        references: impl IntoIterator<Item = &'r StorePath>,
    ) -> Result<StorePath, StorePathError> {
        self.make_store_path(&self.kind_with_references("text", references, false), contents, name)
    }

    /// Returns the path of a content-addressed object.
    ///
    /// # Errors
    /// When the name is not valid, or method, algorithm and references don't go together.
    pub fn fixed_output_path(
        &self,
        name: &str,
        content: &ContentAddressWithReferences,
    ) -> Result<StorePath, MakePathError> {
        let ContentAddressWithReferences { method, hash, references, self_reference } = content;
        let algorithm = hash.algorithm();
        match (*method, algorithm) {
            (ContentAddressMethod::Text, _) if *self_reference => Err(MakePathError::SelfReferenceInText),
            (ContentAddressMethod::Text, Algorithm::Sha256) => Ok(self.text_path(name, hash, references)?),
            (ContentAddressMethod::Text, _) => {
                Err(MakePathError::TextAlgorithm { name: name.to_owned(), algorithm })
            }
            (ContentAddressMethod::Git, Algorithm::Md5 | Algorithm::Sha512 | Algorithm::Blake3) => {
                Err(MakePathError::GitAlgorithm { algorithm })
            }
            (ContentAddressMethod::Nar, Algorithm::Sha256) => {
                let kind = self.kind_with_references("source", references, *self_reference);
                Ok(self.make_store_path(&kind, hash, name)?)
            }
            _ if *self_reference || !references.is_empty() => {
                Err(MakePathError::ReferencesNotAllowed { name: name.to_owned() })
            }
            _ => {
                let preimage =
                    format!("fixed:out:{}{}:", method.prefix(), hash.format(HashFormat::Base16, true));
                let digest = Hash::digest(Algorithm::Sha256, preimage.as_bytes());
                Ok(self.make_store_path("output:out", &digest, name)?)
            }
        }
    }

    /// Returns the path of output `output` of an input-addressed derivation called `name`, whose
    /// masked hash modulo is `hash`.
    pub fn output_path(&self, output: &str, hash: &Hash, name: &str) -> Result<StorePath, StorePathError> {
        self.make_store_path(&format!("output:{output}"), hash, &output_path_name(name, output))
    }

    fn kind_with_references<'r>(
        &self,
        kind: &str,
        references: impl IntoIterator<Item = &'r StorePath>,
        self_reference: bool,
    ) -> String {
        let references = references.into_iter();
        let mut text = Vec::with_capacity(kind.len() + references.size_hint().0 * 96 + 5);
        text.extend_from_slice(kind.as_bytes());
        for reference in references {
            text.push(b':');
            self.append_to(reference, &mut text);
        }
        if self_reference {
            text.extend_from_slice(b":self");
        }
        String::from_utf8(text).expect("directory and base names are UTF-8")
    }
}

/// Returns the name that an output's path has: the derivation's, with `-<output>` unless it is `out`.
pub(crate) fn output_path_name(name: &str, output: &str) -> String {
    if output == "out" { name.to_owned() } else { format!("{name}-{output}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn nar(algorithm: Algorithm, contents: &[u8]) -> ContentAddressWithReferences {
        ContentAddressWithReferences::without_references(
            ContentAddressMethod::Nar,
            Hash::digest(algorithm, contents),
        )
    }

    /// `builtins.toFile "foo" "bar"`, Nix 2.34.8.
    #[test]
    fn text() {
        let dir = StoreDir::default();
        let contents = Hash::digest(Algorithm::Sha256, b"bar");
        let path = dir.text_path("foo", &contents, &BTreeSet::new()).unwrap();
        assert_eq!(path.to_string(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
    }

    /// `nix store make-content-addressed` of Nix 2.34.8 on a file that names itself and another path.
    #[test]
    fn source_with_references_and_itself() {
        let reference = StorePath::from_base_name("dxwkwjzdaq7ka55pkk252gh32bgpmql4-foo").unwrap();
        let content = ContentAddressWithReferences {
            method: ContentAddressMethod::Nar,
            hash: Hash::parse("sha256-BnTH3HdWHtpdbJvB/qKW3+U2yRKYec4zpC8/SbMIPIk=", None).unwrap(),
            references: BTreeSet::from([reference]),
            self_reference: true,
        };
        let path = StoreDir::default().fixed_output_path("selfref", &content).unwrap();
        assert_eq!(path.to_string(), "98lhlx17rqm2r7hx5n57d5rw6g1ff2a5-selfref");
    }

    #[test]
    fn directory_is_part_of_the_hash() {
        let contents = nar(Algorithm::Sha256, b"x");
        let here = StoreDir::default().fixed_output_path("x", &contents).unwrap();
        let there = StoreDir::new("/elsewhere").unwrap().fixed_output_path("x", &contents).unwrap();
        assert_ne!(here, there);
    }

    #[test]
    fn combinations_that_are_refused() {
        let dir = StoreDir::default();
        let mut content = nar(Algorithm::Sha1, b"x");
        content.self_reference = true;
        let message = dir.fixed_output_path("x", &content).unwrap_err().to_string();
        assert!(message.starts_with("fixed output derivation 'x' is not allowed to refer to"), "{message}");
        let mut git = nar(Algorithm::Md5, b"x");
        git.method = ContentAddressMethod::Git;
        assert_eq!(
            dir.fixed_output_path("x", &git).unwrap_err().to_string(),
            "Git file ingestion must use SHA-1 or SHA-256 hash, but instead using: md5",
        );
        let error = dir.fixed_output_path("a b", &nar(Algorithm::Sha256, b"x")).unwrap_err();
        assert!(matches!(error, MakePathError::Name(StorePathError::Name { .. })));
    }
}
