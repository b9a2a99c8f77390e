//! What a store knows about a valid path besides its contents.
//!
//! [`json`] is what `nix path-info --json` prints; the narinfo text is in [`crate::narinfo`]. The
//! surprising thing: two of the fields, `registration_time` and `ultimate`,
//! are facts about the *store*, not about the object, and don't take part in signatures.

use std::collections::BTreeSet;

use crate::content_address::{ContentAddress, ContentAddressWithReferences};
use crate::hash::{Hash, HashFormat};
use crate::path::{StoreDir, StorePath};
use crate::signature::{SecretKey, Signature, TrustedKeys};

pub mod json;

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

    /// Tells whether the path is the one that its content address makes. Nobody needs to vouch for
    /// such an object: its contents do.
    pub fn is_content_addressed(&self, store_dir: &StoreDir) -> bool {
        self.content_address_with_references().is_some_and(|content| {
            store_dir.fixed_output_path(self.path.name(), &content).as_ref() == Ok(&self.path)
        })
    }

    /// Returns the line that signatures are made over:
    /// `1;<path>;sha256:<nix32>;<size>;<references, separated by commas>`.
    ///
    /// # Errors
    /// When the size of the archive is not known.
    pub fn fingerprint(&self, store_dir: &StoreDir) -> Result<String, UnknownSizeError> {
        let path = store_dir.display(&self.path);
        if self.info.nar_size == 0 {
            return Err(UnknownSizeError { path });
        }
        let hash = self.info.nar_hash.format(HashFormat::Nix32, true);
        let mut line = format!("1;{path};{hash};{};", self.info.nar_size);
        for (idx, reference) in self.info.references.iter().enumerate() {
            if idx > 0 {
                line.push(',');
            }
            line.push_str(&store_dir.display(reference));
        }
        Ok(line)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// When the size of the archive is not known.
    pub fn sign(&mut self, store_dir: &StoreDir, key: &SecretKey) -> Result<(), UnknownSizeError> {
        let fingerprint = self.fingerprint(store_dir)?;
        self.info.signatures.insert(key.sign(fingerprint.as_bytes()).to_string());
        Ok(())
    }

    /// Returns the number of signatures that trusted keys made over this path. A content-addressed
    /// path needs none, see [`PathInfo::is_content_addressed`].
    pub fn n_good_signatures(&self, store_dir: &StoreDir, keys: &TrustedKeys) -> usize {
        let Ok(fingerprint) = self.fingerprint(store_dir) else {
            return 0;
        };
        let is_good = |text: &&String| {
            text.parse::<Signature>()
                .is_ok_and(|signature| keys.verify(fingerprint.as_bytes(), &signature))
        };
        self.info.signatures.iter().filter(is_good).count()
    }
}

/// The size of an archive is not known, so nothing can be said about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot calculate fingerprint of path '{path}' because its size is not known")]
pub struct UnknownSizeError {
    /// The path.
    pub path: String,
}

impl std::ops::Deref for PathInfo {
    type Target = UnkeyedPathInfo;

    fn deref(&self) -> &UnkeyedPathInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests;
