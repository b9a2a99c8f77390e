//! Signatures of store objects: ed25519 keys and signatures in text form.
//!
//! All three are `name:base64`. A secret key is libsodium's 64 bytes, seed and public key. The
//! surprising thing: what is signed is not the archive but one line of text about it, the
//! *fingerprint*; see [`crate::path_info::PathInfo::fingerprint`].
//!
//! Making a key needs random bytes, which this half of the crate does not have: the caller brings a
//! seed. Format source: manual of Nix 2.34, "Store signatures"; captured key and signature below.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::hash::decode_base64;

/// What is wrong with the text of a key or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not `name:base64`.
    #[error("{what} is corrupt")]
    Corrupt {
        /// `key` or `signature`
        what: &'static str,
    },
    /// Not base-64 after the name.
    #[error("invalid character in Base64 string of {what} '{name}'")]
    InvalidBase64 {
        /// `key` or `signature`
        what: &'static str,
        /// The name before the colon.
        name: String,
    },
    /// Wrong number of bytes, or bytes that are no key.
    #[error("{what} is not valid")]
    Invalid {
        /// `secret key`, `public key` or `signature`
        what: &'static str,
    },
}

/// Splits `name:base64`.
fn split(text: &str, what: &'static str) -> Result<(String, Vec<u8>), SignatureError> {
    let (name, data) = match text.split_once(':') {
        Some((name, data)) if !name.is_empty() => (name, data),
        _ => return Err(SignatureError::Corrupt { what }),
    };
    let name = name.to_owned();
    match decode_base64(data) {
        None => Err(SignatureError::InvalidBase64 { what, name }),
        Some(bytes) if bytes.is_empty() => Err(SignatureError::Corrupt { what }),
        Some(bytes) => Ok((name, bytes)),
    }
}

fn write(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{name}:{}", data_encoding::BASE64.encode(bytes))
}

/// A signature with the name of its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// Name of the key.
    pub key_name: String,
    /// The signature; 64 bytes if it can be valid at all.
    pub bytes: Vec<u8>,
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (key_name, bytes) = split(text, "signature")?;
        Ok(Self { key_name, bytes })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &self.key_name, &self.bytes)
    }
}

/// Returns signature texts in the order in which the reference writes them: by key name, then by
/// bytes. Text that is no signature comes last.
pub fn in_reference_order<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<&'t str> {
    let mut ordered: Vec<&str> = texts.into_iter().map(String::as_str).collect();
    ordered.sort_by_cached_key(|text| {
        let parsed = text.parse::<Signature>().ok();
        (parsed.is_none(), parsed)
    });
    ordered
}

/// A key that makes signatures. Its text is a secret: it has no `Display`, and `Debug` hides it.
#[derive(Clone)]
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.public_key() == other.public_key()
    }
}

impl Eq for SecretKey {}

impl SecretKey {
    /// Makes a key from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text of a secret key file, without a line feed.
    pub fn to_secret_text(&self) -> String {
        format!("{}:{}", self.name, data_encoding::BASE64.encode(&self.key.to_keypair_bytes()))
    }

    /// Returns the key that checks this one's signatures.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Signs a message, usually a fingerprint.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let bytes = self.key.sign(message).to_bytes().to_vec();
        Signature { key_name: self.name.clone(), bytes }
    }
}

impl FromStr for SecretKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let invalid = || SignatureError::Invalid { what: "secret key" };
        let (name, bytes) = split(text, "key")?;
        let bytes: &[u8; 64] = bytes.as_slice().try_into().map_err(|_| invalid())?;
        let key = SigningKey::from_keypair_bytes(bytes).map_err(|_| invalid())?;
        Ok(Self { name, key })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether `signature` is this key's over `message`. Weak keys and unusual encodings are
    /// refused, as libsodium does.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(bytes) = ed25519_dalek::Signature::from_slice(&signature.bytes) else {
            return false;
        };
        signature.key_name == self.name && self.key.verify_strict(message, &bytes).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let invalid = || SignatureError::Invalid { what: "public key" };
        let (name, bytes) = split(text, "key")?;
        let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| invalid())?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| invalid())?;
        Ok(Self { name, key })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &self.name, self.key.as_bytes())
    }
}

/// The keys that someone trusts, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(BTreeMap<String, PublicKey>);

impl TrustedKeys {
    /// Collects keys; of several with one name the last counts.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().map(|key| (key.name.clone(), key)).collect())
    }

    /// Tells whether one of the keys made `signature` over `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.get(&signature.key_name).is_some_and(|key| key.verify(message, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `nix key generate-secret --key-name test-1` and `nix key convert-secret-to-public`, Nix 2.34.8.
    const SECRET: &str = "test-1:+a4Jl+0R4YXpLLxkHIhJodh6d7n2KmzQhqzRz4XoFfXlIB2QLXMfUKHgl/mHpivyVsxij6Lzanznr1QU9R7oLQ==";
    const PUBLIC: &str = "test-1:5SAdkC1zH1Ch4Jf5h6Yr8lbMYo+i82p8569UFPUe6C0=";

    #[test]
    fn keys_round_trip() {
        let secret: SecretKey = SECRET.parse().unwrap();
        assert_eq!(secret.to_secret_text(), SECRET);
        assert_eq!(secret.public_key().to_string(), PUBLIC);
        assert_eq!(secret.public_key(), PUBLIC.parse().unwrap());
        assert!(!format!("{secret:?}").contains("a4Jl"));
        let seed: [u8; 32] = decode_base64(&SECRET[7..]).unwrap()[..32].try_into().unwrap();
        assert_eq!(SecretKey::from_seed("test-1", &seed).to_secret_text(), SECRET);
    }

    /// `nix store sign -k` of Nix 2.34.8 made this over the fingerprint of the captured tree.
    #[test]
    fn signature_is_the_reference_one() {
        let dir = crate::path::StoreDir::DEFAULT;
        let message = format!(
            "1;{dir}/17xqk9h2vk34q8j1vzswqkja6ds19yw4-tree;\
             sha256:0p5l6vi6b75jx9wzj7r45mihdpw748mj56hp4sc8nxq3n83fa3x0;1424;"
        );
        let text = "test-1:trhbsEKFpfAtlGUGrO4gNguZP9Nz9cUttzYdNjikQhVy4Ee/+YLKsYmJbOC5BIJvA6jywEIiJsvNQ6K2G3/VDA==";
        let signature = SECRET.parse::<SecretKey>().unwrap().sign(message.as_bytes());
        assert_eq!(signature.to_string(), text);
        assert_eq!(text.parse(), Ok(signature.clone()));

        let keys = TrustedKeys::new([PUBLIC.parse().unwrap()]);
        assert!(keys.verify(message.as_bytes(), &signature));
        assert!(!keys.verify(b"another message", &signature));
        let renamed = Signature { key_name: "test-2".into(), ..signature.clone() };
        assert!(!keys.verify(message.as_bytes(), &renamed));
        for position in 0..64 {
            let mut spoilt = signature.clone();
            spoilt.bytes[position] ^= 1;
            assert!(!keys.verify(message.as_bytes(), &spoilt));
        }
        let short = Signature { bytes: vec![0; 63], ..signature };
        assert!(!keys.verify(message.as_bytes(), &short));
    }

    #[test]
    fn weak_keys_sign_nothing() {
        // The neutral point: with plain verification a zero signature fits every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let text = format!("weak:{}", data_encoding::BASE64.encode(&neutral));
        if let Ok(key) = text.parse::<PublicKey>() {
            let mut bytes = neutral.to_vec();
            bytes.extend_from_slice(&[0; 32]);
            assert!(!key.verify(b"anything", &Signature { key_name: "weak".into(), bytes }));
        }
    }

    #[test]
    fn refused_texts() {
        let key = |text: &str| text.parse::<PublicKey>().unwrap_err().to_string();
        assert_eq!(key("no colon"), "key is corrupt");
        assert_eq!(key(":AAAA"), "key is corrupt");
        assert_eq!(key("a:"), "key is corrupt");
        assert_eq!(key("a:*"), "invalid character in Base64 string of key 'a'");
        assert_eq!(key("a:AAAA"), "public key is not valid");
        assert_eq!("a:AAAA".parse::<SecretKey>().unwrap_err().to_string(), "secret key is not valid");
        assert_eq!("a".parse::<Signature>().unwrap_err().to_string(), "signature is corrupt");
    }

    #[test]
    fn reference_order_is_by_key_name() {
        let texts = ["a-b:AAAA".to_owned(), "a:++++".to_owned(), "a:AAAA".to_owned(), "rubbish".to_owned()];
        assert_eq!(in_reference_order(&texts), ["a:AAAA", "a:++++", "a-b:AAAA", "rubbish"]);
    }
}
