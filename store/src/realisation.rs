//! Realisations: which path an output of a content-addressed derivation turned out to be.
//!
//! There are two forms, and the [`DerivationOutputId`] says which one a realisation has. Until Nix 2.34 an output is named by the
//! derivation's masked hash (`sha256:<hex>!out`), from 2.35 on by the derivation's path (`<hash>-<name>.drv^out`). The
//! two don't interoperate: they have different JSON, different files in caches, different tables, and a signature of one says nothing
//! about the other. The surprising thing: the signed text is the JSON itself without its signatures, so the layout of
//! JSON takes part in trust.
//!
//! Format source: `realisation.cc` of Nix 2.34.8 and of the master after 2.35, and the captured text in the tests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::derivation::OutputName;
use crate::hash::{Algorithm, Hash, HashError, HashFormat};
use crate::json;
use crate::path::{StorePath, StorePathError, StorePathName};
use crate::signature::{SecretKey, Signature, SignatureError, TrustedKeys, in_reference_order};

/// What names a derivation in a realisation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivationKey {
    /// Its hash modulo, outputs masked: the form of Nix 2.34 and before.
    Hash(Hash),
    /// Its path: the form of Nix 2.35 and later.
    Path(StorePath),
}

/// Names an output of a derivation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DerivationOutputId {
    /// The derivation.
    pub derivation: DerivationKey,
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

/// A realisation without the name of its output, which stands elsewhere; so the form of 2.35 keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnkeyedRealisation {
    /// The path.
    pub path: StorePath,
    /// Signatures in the text form `key-name:base64`.
    pub signatures: BTreeSet<String>,
}

/// Why text is no realisation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealisationError {
    /// Neither `!` nor `^` is in it, or no name of an output stands behind.
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
    /// It is about another output than it should be.
    #[error("it is about another output, '{found}'")]
    OtherOutput {
        /// The output that it is about.
        found: String,
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
        let invalid = || RealisationError::InvalidId { text: text.to_owned() };
        let (derivation, output) = match (text.rsplit_once('^'), text.split_once('!')) {
            (Some((path, output)), _) => (DerivationKey::Path(StorePath::from_base_name(path)?), output),
            (None, Some((hash, output))) => (DerivationKey::Hash(Hash::parse_prefixed(hash)?), output),
            (None, None) => return Err(invalid()),
        };
        // It becomes part of a file's name.
        StorePathName::new(output).map_err(|_| invalid())?;
        Ok(Self { derivation, output: output.into() })
    }
}

impl fmt::Display for DerivationOutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.derivation {
            DerivationKey::Hash(hash) => write!(f, "{}!{}", hash.format(HashFormat::Base16, true), self.output),
            DerivationKey::Path(path) => write!(f, "{}^{}", path.base_name(), self.output),
        }
    }
}

impl DerivationOutputId {
    /// Names an output by its derivation's masked hash.
    pub fn by_hash(hash: Hash, output: impl Into<OutputName>) -> Self {
        Self { derivation: DerivationKey::Hash(hash), output: output.into() }
    }

    /// Names an output by its derivation's path.
    pub fn by_path(derivation: StorePath, output: impl Into<OutputName>) -> Self {
        Self { derivation: DerivationKey::Path(derivation), output: output.into() }
    }

    /// Returns an id that names nothing in particular: 2.35 sends it to older programs, which want one in results of builds and
    /// don't look at more than the output's name.
    pub(crate) fn dummy(output: &OutputName) -> Self {
        Self::by_hash(Hash::zero(Algorithm::Sha256), output.clone())
    }

    /// Returns the name of its file in a binary cache.
    pub fn cache_file(&self) -> String {
        match &self.derivation {
            DerivationKey::Hash(_) => format!("realisations/{self}.doi"),
            DerivationKey::Path(path) => format!("build-trace-v2/{}/{}.doi", path.base_name(), self.output),
        }
    }
}

impl UnkeyedRealisation {
    /// Returns the JSON object, as it stands in `build-trace-v2/<derivation>/<output>.doi` of a binary cache.
    pub fn to_json(&self) -> Value {
        let signature = |text: &str| {
            let (key, bytes) = text.split_once(':').unwrap_or((text, ""));
            serde_json::json!({ "keyName": key, "sig": bytes })
        };
        let signatures: Vec<Value> = in_reference_order(&self.signatures).into_iter().map(signature).collect();
        serde_json::json!({ "outPath": self.path.base_name(), "signatures": signatures })
    }

    /// Reads the JSON object; signatures may be texts or have their two halves apart.
    ///
    /// # Errors
    /// When a field is missing or makes no sense.
    pub fn from_json(json: &Value) -> Result<Self, RealisationError> {
        let invalid = |key| RealisationError::InvalidField { key };
        let path = json.get("outPath").and_then(Value::as_str).ok_or(invalid("outPath"))?;
        let mut realisation = Self { path: StorePath::from_base_name(path)?, signatures: BTreeSet::new() };
        if let Some(signatures) = json.get("signatures") {
            for signature in signatures.as_array().ok_or(invalid("signatures"))? {
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

    /// Says which output it is about.
    pub fn with_id(self, id: DerivationOutputId) -> Realisation {
        Realisation { id, path: self.path, signatures: self.signatures }
    }
}

impl Realisation {
    /// Returns it without its name.
    pub fn unkeyed(&self) -> UnkeyedRealisation {
        UnkeyedRealisation { path: self.path.clone(), signatures: self.signatures.clone() }
    }

    /// Returns the JSON object: as it stands in `realisations/<id>.doi` of a binary cache, or with `key` and `value` if its
    /// derivation is named by its path.
    pub fn to_json(&self) -> Value {
        match &self.id.derivation {
            DerivationKey::Hash(_) => serde_json::json!({
                "id": self.id.to_string(),
                "outPath": self.path.base_name(),
                "signatures": in_reference_order(&self.signatures),
                // What it depends on is no longer recorded, but older readers want the field.
                "dependentRealisations": {},
            }),
            DerivationKey::Path(path) => serde_json::json!({
                "key": { "drvPath": path.base_name(), "outputName": self.id.output.as_str() },
                "value": self.unkeyed().to_json(),
            }),
        }
    }

    /// Reads the JSON object, in either form.
    pub fn from_json(json: &Value) -> Result<Self, RealisationError> {
        let invalid = |key| RealisationError::InvalidField { key };
        if let Some(key) = json.get("key") {
            let text = |name| key.get(name).and_then(Value::as_str).ok_or(invalid(name));
            let id: DerivationOutputId = format!("{}^{}", text("drvPath")?, text("outputName")?).parse()?;
            return Ok(UnkeyedRealisation::from_json(json.get("value").ok_or(invalid("value"))?)?.with_id(id));
        }
        let id = json.get("id").and_then(Value::as_str).ok_or(invalid("id"))?.parse()?;
        Ok(UnkeyedRealisation::from_json(json)?.with_id(id))
    }

    /// Returns the text of its file in a binary cache, whose name is [`DerivationOutputId::cache_file`].
    pub fn to_cache_text(&self) -> String {
        match &self.id.derivation {
            DerivationKey::Hash(_) => json::to_string(&self.to_json()),
            DerivationKey::Path(_) => json::to_string(&self.unkeyed().to_json()),
        }
    }

    /// Reads the text of the file of `id` in a binary cache.
    ///
    /// # Errors
    /// When it is no realisation, or that of another output.
    pub fn from_cache_text(id: &DerivationOutputId, text: &str) -> Result<Self, RealisationError> {
        let realisation = match &id.derivation {
            DerivationKey::Hash(_) => Self::parse(text)?,
            DerivationKey::Path(_) => UnkeyedRealisation::from_json(&parse_json(text)?)?.with_id(id.clone()),
        };
        if realisation.id == *id { Ok(realisation) } else { Err(RealisationError::OtherOutput { found: realisation.id.to_string() }) }
    }

    /// Reads JSON text.
    pub fn parse(text: &str) -> Result<Self, RealisationError> {
        Self::from_json(&parse_json(text)?)
    }

    /// Returns the text that signatures are made over.
    pub fn fingerprint(&self) -> String {
        let mut json = self.to_json();
        let signed = if matches!(self.id.derivation, DerivationKey::Path(_)) { &mut json["value"] } else { &mut json };
        if let Value::Object(object) = signed {
            object.remove("signatures");
        }
        json::to_string(&json)
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

fn parse_json(text: &str) -> Result<Value, RealisationError> {
    serde_json::from_str(text).map_err(|error| RealisationError::Syntax { message: error.to_string() })
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
        assert_eq!(Realisation::parse(CAPTURED).unwrap().id.derivation, DerivationKey::Hash(modulo.hash));
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

    /// The form of 2.35 has the same contents in other places, and another text is signed.
    #[test]
    fn both_forms_are_read_and_written() {
        let key = SecretKey::from_seed("k", &[7; 32]);
        let by_hash = Realisation::parse(CAPTURED).unwrap();
        let derivation = StorePath::from_base_name("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-ca.drv").unwrap();
        let mut by_path = by_hash.unkeyed().with_id(DerivationOutputId::by_path(derivation, "out"));
        by_path.sign(&key);
        assert_eq!(by_path.n_good_signatures(&TrustedKeys::new([key.public_key()])), 1);
        assert_eq!(
            by_path.fingerprint(),
            r#"{"key":{"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-ca.drv","outputName":"out"},"value":{"outPath":"jg3iyw19sm3aqibd9m0bpimiz60gk2nl-ca"}}"#
        );
        assert_eq!(by_path.id.cache_file(), "build-trace-v2/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-ca.drv/out.doi");
        for realisation in [&by_hash, &by_path] {
            assert_eq!(&Realisation::from_json(&realisation.to_json()).unwrap(), realisation);
            assert_eq!(&Realisation::from_cache_text(&realisation.id, &realisation.to_cache_text()).unwrap(), realisation);
            assert_eq!(realisation.id.to_string().parse(), Ok(realisation.id.clone()));
        }
        let other = DerivationOutputId { output: "dev".into(), ..by_hash.id.clone() };
        assert!(matches!(Realisation::from_cache_text(&other, CAPTURED), Err(RealisationError::OtherOutput { .. })));
        // What was signed in one form counts for nothing in the other.
        let moved = by_path.unkeyed().with_id(by_hash.id);
        assert_eq!(moved.n_good_signatures(&TrustedKeys::new([key.public_key()])), 0);
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
