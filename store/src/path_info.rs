//! What a store knows about a valid path besides its contents.
//!
//! The surprising thing: two of the fields, `registration_time` and `ultimate`,
//! are facts about the *store*, not about the object, and don't take part in signatures.

use std::collections::BTreeSet;

use crate::content_address::{ContentAddress, ContentAddressWithReferences};
use crate::hash::Hash;
use crate::path::StorePath;

/// Facts about a valid path that don't name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnkeyedPathInfo {
    /// Hash of the NAR, always SHA-256 in stores of today.
    pub nar_hash: Hash,
    /// Size of the NAR in bytes; 0 when it is not known.
    pub nar_size: u64,
    /// Paths that the contents refer to, among them the path itself.
    pub references: BTreeSet<StorePath>,
    /// The derivation that built it.
    pub deriver: Option<StorePath>,
    /// When this store registered it, in seconds since 1970; 0 when it is not known.
    pub registration_time: i64,
    /// Built by this store itself, so trusted without signatures.
    pub ultimate: bool,
    /// Signatures in the text form `key-name:base64`.
    pub signatures: BTreeSet<String>,
    /// How the path follows from the contents, if it does.
    pub content_address: Option<ContentAddress>,
}

/// A valid path with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The facts.
    pub info: UnkeyedPathInfo,
}

impl UnkeyedPathInfo {
    /// Returns facts with nothing known but the NAR.
    pub fn new(nar_hash: Hash, nar_size: u64) -> Self {
        Self {
            nar_hash,
            nar_size,
            references: BTreeSet::new(),
            deriver: None,
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            content_address: None,
        }
    }
}

impl PathInfo {
    /// Returns the content address with the references that take part in it, a reference to the
    /// path itself counted apart; `None` for an input-addressed path.
    pub fn content_address_with_references(&self) -> Option<ContentAddressWithReferences> {
        let ContentAddress { method, hash } = self.info.content_address?;
        let mut references = self.info.references.clone();
        let self_reference = references.remove(&self.path);
        Some(ContentAddressWithReferences { method, hash, references, self_reference })
    }
}

impl std::ops::Deref for PathInfo {
    type Target = UnkeyedPathInfo;

    fn deref(&self) -> &UnkeyedPathInfo {
        &self.info
    }
}
