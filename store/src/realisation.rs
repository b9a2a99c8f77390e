//! Realisations: which path an output of a content-addressed derivation turned out to be.
//!
//! This is the form of Nix 2.34 and before, in which an output is named by the derivation's hash
//! modulo (`sha256:<hex>!out`), not by its path. From 2.35 on the reference uses another key and
//! format; the two don't interoperate. The surprising thing: the signed text is the JSON itself
//! without its signatures, so the layout of JSON takes part in trust.
//!
//! Format source: `realisation.cc` of Nix 2.34.8 and the captured text in the tests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::derivation::OutputName;
use crate::hash::{Hash, HashError, HashFormat};
use crate::json;
use crate::path::{StorePath, StorePathError};
use crate::signature::{SecretKey, Signature, SignatureError, TrustedKeys, in_reference_order};

/// Names an output by the masked hash modulo of its derivation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DerivationOutputId {
    /// The derivation's hash modulo, outputs masked.
    pub derivation_hash: Hash,
    /// The output.
    pub output: OutputName,
}

/// Which path an output is, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realisation {
    /// The output.
    pub id: DerivationOutputId,
    /// The path.
    pub path: StorePath,
    /// Signatures in the text form `key-name:base64`.
    pub signatures: BTreeSet<String>,
}

/// Why text is no realisation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealisationError {
    /// No `!`.
    #[error("Invalid derivation output id {text}")]
    InvalidId {
        /// The text.
        text: String,
    },
    /// Not JSON.
    #[error("realisation is not JSON: {message}")]
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// A field that is missing or has the wrong type.
    #[error("realisation has no valid '{key}'")]
    InvalidField {
        /// The field.
        key: &'static str,
    },
    /// A hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A store path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl FromStr for DerivationOutputId {
    type Err = RealisationError;

    fn from_str(text: &str) -> Result<Self, RealisationError> {
        let (hash, output) = text
            .split_once('!')
            .ok_or_else(|| RealisationError::InvalidId { text: text.to_owned() })?;
        Ok(Self { derivation_hash: Hash::parse_prefixed(hash)?, output: output.into() })
    }
}

impl fmt::Display for DerivationOutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.derivation_hash.format(HashFormat::Base16, true), self.output)
    }
}

impl Realisation {
    /// Returns the JSON object, as it stands in `realisations/<id>.doi` of a binary cache.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "id": self.id.to_string(),
            "outPath": self.path.base_name(),
            "signatures": in_reference_order(&self.signatures),
            // What it depends on is no longer recorded, but older readers want the field.
            "dependentRealisations": {},
        })
    }

    /// Reads the JSON object.
    pub fn from_json(json: &Value) -> Result<Self, RealisationError> {
        let invalid = |key| RealisationError::InvalidField { key };
        let text = |key| json.get(key).and_then(Value::as_str).ok_or(invalid(key));
        let mut realisation = Self {
            id: text("id")?.parse()?,
            path: StorePath::from_base_name(text("outPath")?)?,
            signatures: BTreeSet::new(),
        };
        if let Some(signatures) = json.get("signatures") {
            for signature in signatures.as_array().ok_or(invalid("signatures"))? {
                // Since 2.35 the two halves stand apart.
                let part = |key| signature.get(key).and_then(Value::as_str);
                let text = match (signature.as_str(), part("keyName"), part("sig")) {
                    (Some(text), ..) => text.to_owned(),
                    (None, Some(key), Some(bytes)) => format!("{key}:{bytes}"),
                    _ => return Err(invalid("signatures")),
                };
                realisation.signatures.insert(text.parse::<Signature>()?.to_string());
            }
        }
        Ok(realisation)
    }

    /// Reads JSON text.
    pub fn parse(text: &str) -> Result<Self, RealisationError> {
        let json = serde_json::from_str(text)
            .map_err(|error| RealisationError::Syntax { message: error.to_string() })?;
        Self::from_json(&json)
    }

    /// Returns the text that signatures are made over.
    pub fn fingerprint(&self) -> String {
        let mut value = self.to_json();
        if let Value::Object(object) = &mut value {
            object.remove("signatures");
        }
        json::to_string(&value)
    }

    /// Adds a signature.
    pub fn sign(&mut self, key: &SecretKey) {
        self.signatures.insert(key.sign(self.fingerprint().as_bytes()).to_string());
    }

    /// Returns the number of signatures that trusted keys made over this realisation.
    pub fn n_good_signatures(&self, keys: &TrustedKeys) -> usize {
        let fingerprint = self.fingerprint();
        let is_good = |text: &&String| {
            text.parse::<Signature>()
                .is_ok_and(|signature| keys.verify(fingerprint.as_bytes(), &signature))
        };
        self.signatures.iter().filter(is_good).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::derivation::Derivation;
    use crate::path::StoreDir;

    /// `nix copy --to file://…` of Nix 2.34.8 wrote this for the derivation below.
    const CAPTURED: &str = r#"{"dependentRealisations":{},"id":"sha256:12b4babb21a9e09f635f491da600e7f1111f0374b376c1884b3bfd7490e5d492!out","outPath":"jg3iyw19sm3aqibd9m0bpimiz60gk2nl-ca","signatures":[]}"#;

    #[test]
    fn captured_text_round_trips() {
        let realisation = Realisation::parse(CAPTURED).unwrap();
        assert_eq!(json::to_string(&realisation.to_json()), CAPTURED);
        assert_eq!(realisation.id.output, "out");
    }

    const DERIVATION: &[u8] = br#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",["-c","echo hi > $out"],[("builder","/bin/sh"),("name","ca"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","recursive"),("system","x86_64-linux")])"#;

    #[test]
    fn id_is_the_masked_hash_of_the_derivation() {
        let dir = StoreDir::default();
        let derivation = Derivation::parse_aterm(&dir, "ca", DERIVATION).unwrap();
        let mut lookup = |_: &StorePath| Err("it has no inputs".into());
        let modulo = derivation.hash_modulo(&dir, true, &mut HashMap::new(), &mut lookup).unwrap();
        assert_eq!(Realisation::parse(CAPTURED).unwrap().id.derivation_hash, modulo.hash);
    }

    #[test]
    fn signatures() {
        let key = SecretKey::from_seed("k", &[7; 32]);
        let keys = TrustedKeys::new([key.public_key()]);
        let mut realisation = Realisation::parse(CAPTURED).unwrap();
        assert_eq!(realisation.n_good_signatures(&keys), 0);
        realisation.sign(&key);
        assert_eq!(realisation.n_good_signatures(&keys), 1);
        realisation.id.output = "dev".into();
        assert_eq!(realisation.n_good_signatures(&keys), 0);
    }

    #[test]
    fn refused_texts() {
        let good: Value = serde_json::from_str(CAPTURED).unwrap();
        for key in ["id", "outPath"] {
            let mut wrong = good.clone();
            wrong.as_object_mut().unwrap().remove(key);
            assert_eq!(Realisation::from_json(&wrong), Err(RealisationError::InvalidField { key }));
            wrong[key] = "x".into();
            assert!(Realisation::from_json(&wrong).is_err());
        }
        for signatures in [serde_json::json!("x"), serde_json::json!([1]), serde_json::json!(["x"])] {
            let mut wrong = good.clone();
            wrong["signatures"] = signatures;
            assert!(Realisation::from_json(&wrong).is_err());
        }
        assert!(Realisation::parse("{").is_err());
        let deep = "[".repeat(100_000);
        assert!(Realisation::parse(&deep).is_err());
    }
}
