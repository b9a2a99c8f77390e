//! Derivation ↔ JSON, version 4: what `nix derivation show` of Nix 2.33 and later prints.
//!
//! Paths are base names, so the text is the same in every store. The surprising thing: JSON can't
//! hold every derivation. Its strings are UTF-8, a derivation's are bytes; such a derivation has no
//! JSON form, here as in the reference.
//!
//! Format source: manual of Nix 2.34, "Derivation JSON Format"; the fixture `show.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Derivation, DerivationOutput, InputOutputs, MAX_DYNAMIC_DEPTH, OutputName, StructuredAttrs,
    StructuredAttrsError,
};
use crate::content_address::{ContentAddress, ContentAddressError};
use crate::hash::{Algorithm, Hash, HashError, HashFormat};
use crate::path::{StorePath, StorePathError};

/// The version of the format that is written and read.
pub const JSON_VERSION: u64 = 4;

/// Why there is no JSON for a derivation, or no derivation in JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A string of the derivation is not UTF-8.
    #[error("'{key}' of derivation '{derivation}' is not UTF-8 and has no JSON form")]
    NotUtf8 {
        /// The field.
        key: &'static str,
        /// Name of the derivation.
        derivation: String,
    },
    /// Structured attributes are no JSON object.
    #[error(transparent)]
    StructuredAttrs(#[from] StructuredAttrsError),
    /// A field is missing.
    #[error("expected JSON object to contain key '{key}' but it doesn't")]
    MissingKey {
        /// The field.
        key: &'static str,
    },
    /// A field has the wrong type.
    #[error("expected '{key}' to be {expected}")]
    WrongType {
        /// The field.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Another version of the format.
    #[error(
        "Unsupported derivation JSON format version {found}, only format version {JSON_VERSION} is currently supported."
    )]
    UnsupportedVersion {
        /// The version.
        found: u64,
    },
    /// The fields of an output don't make any kind of output.
    #[error("invalid JSON for derivation output")]
    InvalidOutput,
    /// Dynamic outputs nested too deeply.
    #[error("dynamic outputs nested deeper than {MAX_DYNAMIC_DEPTH} levels")]
    TooDeep,
    /// A store path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// A hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A method.
    #[error(transparent)]
    Method(#[from] ContentAddressError),
}

impl Derivation {
    /// Returns the JSON object of this derivation.
    ///
    /// # Errors
    /// When a string is not UTF-8.
    pub fn to_json(&self) -> Result<Value, JsonError> {
        let text = |key: &'static str, bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err(JsonError::NotUtf8 { key, derivation: self.name.to_string() }),
        };
        let mut env = Map::new();
        for (key, value) in &self.env {
            let Value::String(key) = text("env", key)? else {
                unreachable!("text is a JSON string");
            };
            env.insert(key, text("env", value)?);
        }
        let args: Result<Vec<Value>, JsonError> = self.args.iter().map(|arg| text("args", arg)).collect();
        let outputs: Map<String, Value> =
            self.outputs.iter().map(|(name, output)| (name.to_string(), output.to_json())).collect();
        let sources: Vec<Value> = self.input_sources.iter().map(|path| path.base_name().into()).collect();
        let derivations: Map<String, Value> = self
            .input_derivations
            .iter()
            .map(|(path, input)| (path.base_name(), input_to_json(input)))
            .collect();

        let mut object = Map::new();
        object.insert("name".into(), self.name.as_str().into());
        object.insert("version".into(), JSON_VERSION.into());
        object.insert("outputs".into(), outputs.into());
        object.insert("inputs".into(), serde_json::json!({ "srcs": sources, "drvs": derivations }));
        object.insert("system".into(), text("system", &self.system)?);
        object.insert("builder".into(), text("builder", &self.builder)?);
        object.insert("args".into(), args?.into());
        object.insert("env".into(), env.into());
        if let Some(attrs) = &self.structured_attrs {
            object.insert("structuredAttrs".into(), attrs.to_value()?.into());
        }
        Ok(object.into())
    }

    /// Reads the JSON object of a derivation. Its outputs' paths are not checked.
    ///
    /// # Errors
    /// When a field is missing or has the wrong type or form.
    pub fn from_json(json: &Value) -> Result<Self, JsonError> {
        let object = as_object("derivation", json)?;
        let version = field(object, "version")?
            .as_u64()
            .ok_or_else(|| wrong_type("version", "an unsigned number"))?;
        if version != JSON_VERSION {
            return Err(JsonError::UnsupportedVersion { found: version });
        }
        let mut derivation = Self { name: string_field(object, "name")?.into(), ..Self::default() };
        for (name, output) in as_object("outputs", field(object, "outputs")?)? {
            derivation.outputs.insert(name.into(), DerivationOutput::from_json(output)?);
        }
        let inputs = as_object("inputs", field(object, "inputs")?)?;
        for source in as_array("srcs", field(inputs, "srcs")?)? {
            derivation.input_sources.insert(StorePath::from_base_name(as_str("srcs", source)?)?);
        }
        for (path, input) in as_object("drvs", field(inputs, "drvs")?)? {
            derivation.input_derivations.insert(StorePath::from_base_name(path)?, input_from_json(input, 0)?);
        }
        derivation.system = string_field(object, "system")?.into();
        derivation.builder = string_field(object, "builder")?.into();
        for arg in as_array("args", field(object, "args")?)? {
            derivation.args.push(as_str("args", arg)?.into());
        }
        for (key, value) in as_object("env", field(object, "env")?)? {
            derivation.env.insert(key.as_bytes().to_vec(), as_str("env", value)?.into());
        }
        if let Some(attrs) = object.get("structuredAttrs") {
            derivation.structured_attrs = Some(StructuredAttrs::from_value(attrs)?);
        }
        Ok(derivation)
    }
}

/// Returns the document that `nix derivation show` prints for several derivations.
///
/// # Errors
/// When a string of one of them is not UTF-8.
pub fn derivations_to_json<'d>(
    derivations: impl IntoIterator<Item = (&'d StorePath, &'d Derivation)>,
) -> Result<Value, JsonError> {
    let mut object = Map::new();
    for (path, derivation) in derivations {
        object.insert(path.base_name(), derivation.to_json()?);
    }
    Ok(serde_json::json!({ "derivations": object, "version": JSON_VERSION }))
}

impl DerivationOutput {
    /// Returns the JSON object of an output.
    pub fn to_json(&self) -> Value {
        match self {
            Self::InputAddressed(path) => serde_json::json!({ "path": path.base_name() }),
            Self::Fixed(ContentAddress { method, hash }) => serde_json::json!({
                "method": method.name(),
                "hash": hash.format(HashFormat::Sri, true),
            }),
            Self::Floating { method, algorithm } => serde_json::json!({
                "method": method.name(),
                "hashAlgo": algorithm.name(),
            }),
            Self::Deferred => serde_json::json!({}),
            Self::Impure { method, algorithm } => serde_json::json!({
                "method": method.name(),
                "hashAlgo": algorithm.name(),
                "impure": true,
            }),
        }
    }

    /// Reads the JSON object of an output; which keys it has tells the kind.
    ///
    /// # Errors
    /// When the keys fit no kind or a value is not valid.
    pub fn from_json(json: &Value) -> Result<Self, JsonError> {
        let object = as_object("output", json)?;
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let method = || Ok::<_, JsonError>(string_field(object, "method")?.parse()?);
        let algorithm = || Ok::<Algorithm, JsonError>(string_field(object, "hashAlgo")?.parse()?);
        match keys.as_slice() {
            [] => Ok(Self::Deferred),
            ["path"] => Ok(Self::InputAddressed(StorePath::from_base_name(string_field(object, "path")?)?)),
            ["hash", "method"] => {
                let hash = Hash::parse_sri(string_field(object, "hash")?)?;
                Ok(Self::Fixed(ContentAddress { method: method()?, hash }))
            }
            ["hashAlgo", "method"] => Ok(Self::Floating { method: method()?, algorithm: algorithm()? }),
            ["hashAlgo", "impure", "method"] => {
                Ok(Self::Impure { method: method()?, algorithm: algorithm()? })
            }
            _ => Err(JsonError::InvalidOutput),
        }
    }
}

fn input_to_json(input: &InputOutputs) -> Value {
    let outputs: Vec<&str> = input.outputs.iter().map(OutputName::as_str).collect();
    let dynamic: Map<String, Value> =
        input.dynamic.iter().map(|(name, inner)| (name.to_string(), input_to_json(inner))).collect();
    serde_json::json!({ "outputs": outputs, "dynamicOutputs": dynamic })
}

fn input_from_json(json: &Value, depth: usize) -> Result<InputOutputs, JsonError> {
    if depth > MAX_DYNAMIC_DEPTH {
        return Err(JsonError::TooDeep);
    }
    let object = as_object("drvs", json)?;
    let mut input = InputOutputs::default();
    for name in as_array("outputs", field(object, "outputs")?)? {
        input.outputs.insert(as_str("outputs", name)?.into());
    }
    let mut dynamic = BTreeMap::new();
    for (name, inner) in as_object("dynamicOutputs", field(object, "dynamicOutputs")?)? {
        dynamic.insert(OutputName::from(name), input_from_json(inner, depth + 1)?);
    }
    input.dynamic = dynamic;
    Ok(input)
}

fn wrong_type(key: &str, expected: &'static str) -> JsonError {
    JsonError::WrongType { key: key.to_owned(), expected }
}

fn field<'j>(object: &'j Map<String, Value>, key: &'static str) -> Result<&'j Value, JsonError> {
    object.get(key).ok_or(JsonError::MissingKey { key })
}

fn string_field<'j>(object: &'j Map<String, Value>, key: &'static str) -> Result<&'j str, JsonError> {
    as_str(key, field(object, key)?)
}

fn as_object<'j>(key: &str, json: &'j Value) -> Result<&'j Map<String, Value>, JsonError> {
    json.as_object().ok_or_else(|| wrong_type(key, "an object"))
}

fn as_array<'j>(key: &str, json: &'j Value) -> Result<&'j [Value], JsonError> {
    json.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(key, "an array"))
}

fn as_str<'j>(key: &str, json: &'j Value) -> Result<&'j str, JsonError> {
    json.as_str().ok_or_else(|| wrong_type(key, "a string"))
}
