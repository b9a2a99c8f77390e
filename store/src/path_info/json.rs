//! Path info ↔ JSON, in the two versions that `nix path-info --json --json-format` of 2.34 knows, and the third of 2.35.
//!
//! Version 1 writes full paths and text forms, version 2 base names and objects, version 3 signatures as objects as well.
//! The surprising thing: `signatures` are text in version 2, and `registrationTime` is null rather than 0 when unknown.

use serde_json::{Map, Value};

use super::UnkeyedPathInfo;
use crate::content_address::{ContentAddress, ContentAddressError};
use crate::hash::{Hash, HashError, HashFormat};
use crate::narinfo::NarInfo;
use crate::path::{StoreDir, StorePath, StorePathError};
use crate::signature::{Signature, SignatureError, in_reference_order};

/// Which version of the JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFormat {
    /// Full paths; the default of 2.34, with a warning.
    V1,
    /// Base names and objects.
    V2,
    /// Signatures as objects too: what 2.35 adds.
    V3,
}

impl JsonFormat {
    /// Returns the version of this number; there are 1 to 3.
    pub fn from_number(number: u64) -> Result<Self, JsonError> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            _ => Err(JsonError::UnsupportedVersion { found: number }),
        }
    }

    /// Returns the number.
    pub fn number(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// Why JSON is no path info.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Another version.
    #[error("unsupported path info JSON format version {found}; supported versions are 1 to 3")]
    UnsupportedVersion {
        /// The version.
        found: u64,
    },
    /// A field that is missing or has the wrong type.
    #[error("path info has no valid '{key}'")]
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
    /// A content address.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl UnkeyedPathInfo {
    /// Returns the JSON object. `with_store_facts` adds what is a fact about the store rather than
    /// about the object: deriver, time, signatures.
    pub fn to_json(&self, store_dir: &StoreDir, format: JsonFormat, with_store_facts: bool) -> Value {
        let path = |path: &StorePath| match format {
            JsonFormat::V1 => Value::from(store_dir.display(path)),
            JsonFormat::V2 | JsonFormat::V3 => Value::from(path.base_name()),
        };
        let references: Vec<Value> = self.references.iter().map(path).collect();
        let address = match (&self.content_address, format) {
            (None, _) => Value::Null,
            (Some(address), JsonFormat::V1) => address.to_string().into(),
            (Some(ContentAddress { method, hash }), JsonFormat::V2 | JsonFormat::V3) => serde_json::json!({
                "method": method.name(),
                "hash": hash.format(HashFormat::Sri, true),
            }),
        };
        let mut object = Map::new();
        object.insert("version".into(), format.number().into());
        object.insert("storeDir".into(), store_dir.as_str().into());
        object.insert("narHash".into(), self.nar_hash.format(HashFormat::Sri, true).into());
        object.insert("narSize".into(), self.nar_size.into());
        object.insert("references".into(), references.into());
        object.insert("ca".into(), address);
        if with_store_facts {
            let time = (self.registration_time != 0).then_some(self.registration_time);
            object.insert("deriver".into(), self.deriver.as_ref().map_or(Value::Null, path));
            object.insert("registrationTime".into(), time.into());
            object.insert("ultimate".into(), self.ultimate.into());
            let signatures = in_reference_order(&self.signatures).into_iter().map(|text| match (format, text.split_once(':')) {
                (JsonFormat::V3, Some((key, signature))) => serde_json::json!({ "keyName": key, "sig": signature }),
                _ => text.into(),
            });
            object.insert("signatures".into(), signatures.collect());
        }
        object.into()
    }

    /// Reads the JSON object of any version; paths of version 1 belong to `store_dir`.
    ///
    /// # Errors
    /// When a field is missing or malformed.
    pub fn from_json(store_dir: &StoreDir, json: &Value) -> Result<Self, JsonError> {
        let invalid = |key| JsonError::InvalidField { key };
        let format = match json.get("version") {
            None => JsonFormat::V1,
            Some(version) => JsonFormat::from_number(version.as_u64().ok_or(invalid("version"))?)?,
        };
        let text = |json: &Value, key| json.as_str().map(str::to_owned).ok_or(invalid(key));
        let path = |json: &Value, key| -> Result<StorePath, JsonError> {
            Ok(match format {
                JsonFormat::V1 => store_dir.parse(text(json, key)?)?,
                JsonFormat::V2 | JsonFormat::V3 => StorePath::from_base_name(text(json, key)?)?,
            })
        };
        let field = |key| json.get(key).ok_or(invalid(key));
        let list = |json: &Value, key| json.as_array().cloned().ok_or(invalid(key));
        let given = |key| json.get(key).filter(|value| !value.is_null());

        let nar_size = field("narSize")?.as_u64().ok_or(invalid("narSize"))?;
        let mut info = Self::new(Hash::parse_sri(&text(field("narHash")?, "narHash")?)?, nar_size);
        for reference in list(field("references")?, "references")? {
            info.references.insert(path(&reference, "references")?);
        }
        field("ca")?;
        info.content_address = match (given("ca"), format) {
            (None, _) => None,
            (Some(address), JsonFormat::V1) => Some(text(address, "ca")?.parse()?),
            (Some(address), JsonFormat::V2 | JsonFormat::V3) => {
                let part = |key| address.get(key).ok_or(invalid("ca"));
                let hash = Hash::parse_sri(&text(part("hash")?, "ca")?)?;
                Some(ContentAddress { method: text(part("method")?, "ca")?.parse()?, hash })
            }
        };
        info.deriver = given("deriver").map(|deriver| path(deriver, "deriver")).transpose()?;
        if let Some(time) = given("registrationTime") {
            info.registration_time = time.as_i64().ok_or(invalid("registrationTime"))?;
        }
        if let Some(flag) = json.get("ultimate") {
            info.ultimate = flag.as_bool().ok_or(invalid("ultimate"))?;
        }
        if let Some(signatures) = json.get("signatures") {
            for signature in list(signatures, "signatures")? {
                let signature = match format {
                    JsonFormat::V1 | JsonFormat::V2 => text(&signature, "signatures")?,
                    JsonFormat::V3 => {
                        let part = |key| text(signature.get(key).unwrap_or(&Value::Null), "signatures");
                        format!("{}:{}", part("keyName")?, part("sig")?)
                    }
                };
                let signature: Signature = signature.parse()?;
                info.signatures.insert(signature.to_string());
            }
        }
        Ok(info)
    }
}

impl NarInfo {
    /// Returns the JSON object of the path info, with what the cache says about the file.
    pub fn to_json(&self, store_dir: &StoreDir, format: JsonFormat, with_store_facts: bool) -> Value {
        let mut json = self.path_info.info.to_json(store_dir, format, with_store_facts);
        if with_store_facts {
            json["url"] = self.url.as_str().into();
            json["compression"] = self.compression.as_str().into();
            if let Some(hash) = &self.file_hash {
                json["downloadHash"] = hash.format(HashFormat::Sri, true).into();
            }
            if self.file_size != 0 {
                json["downloadSize"] = self.file_size.into();
            }
        }
        json
    }
}
