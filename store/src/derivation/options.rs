//! Build options: attributes of a derivation that mean something to whoever builds it.
//!
//! There are two forms. Without structured attributes they are words in environment variables, with
//! them they are values of the JSON object. The surprising thing: some are honoured in one form only.
//! `allowedReferences` and its neighbours stand at top level in the first and under
//! `outputChecks.<output>` in the second; `passAsFile` exists only in the first,
//! `unsafeDiscardReferences` only in the second.
//!
//! Format source: manual of Nix 2.34, "Advanced Attributes"; `derivation-options.cc` of 2.34.8.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Derivation, DerivationTypeError, OutputName, StructuredAttrsError};
use crate::path::{StoreDir, StorePath, StorePathError};

/// What a derivation asks of the builder and demands of its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivationOptions {
    /// What outputs must be like.
    pub output_checks: OutputChecks,
    /// Outputs whose references are not looked for.
    pub discard_references: BTreeSet<OutputName>,
    /// Variables whose value the builder gets in a file.
    pub pass_as_file: BTreeSet<Vec<u8>>,
    /// By name of a file (or of an attribute): paths whose closure is described there.
    pub export_references_graph: BTreeMap<String, BTreeSet<StorePath>>,
    /// More rules for the sandbox of macOS.
    pub additional_sandbox_profile: String,
    /// Run without a sandbox, if the host allows it.
    pub no_chroot: bool,
    /// Paths of the host that a relaxed sandbox shows.
    pub impure_host_deps: BTreeSet<String>,
    /// Variables of the host's environment that a fixed-output builder gets.
    pub impure_env_vars: BTreeSet<String>,
    /// Let the builder reach the host's own network addresses (macOS).
    pub allow_local_networking: bool,
    /// Features that the machine must have.
    pub required_system_features: BTreeSet<String>,
    /// Cheap enough not to be sent elsewhere.
    pub prefer_local_build: bool,
    /// May come from a substituter.
    pub allow_substitutes: bool,
    /// Attributes that are there but have no effect in this form; worth a warning.
    pub ignored: Vec<&'static str>,
}

/// Rules for the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputChecks {
    /// The same for all; the form without structured attributes.
    ForAll(OutputCheck),
    /// By name; outputs that aren't named have none.
    PerOutput(BTreeMap<OutputName, OutputCheck>),
}

impl OutputChecks {
    /// Returns the rules for one output.
    pub fn for_output(&self, output: &str) -> Option<&OutputCheck> {
        match self {
            Self::ForAll(check) => Some(check),
            Self::PerOutput(checks) => checks.get(output),
        }
    }
}

/// Rules for one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputCheck {
    /// Whether a path may refer to itself whatever the rules say.
    pub ignore_self_references: bool,
    /// Largest size of the NAR, in bytes.
    pub max_size: Option<u64>,
    /// Largest size of the NARs of the closure together, in bytes.
    pub max_closure_size: Option<u64>,
    /// References must be among these; an empty set forbids all.
    pub allowed_references: Option<BTreeSet<Reference>>,
    /// References must not be among these.
    pub disallowed_references: BTreeSet<Reference>,
    /// Paths of the closure must be among these.
    pub allowed_requisites: Option<BTreeSet<Reference>>,
    /// Paths of the closure must not be among these.
    pub disallowed_requisites: BTreeSet<Reference>,
}

/// How a rule names a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// As an output of the derivation itself.
    Output(String),
    /// As such.
    Path(StorePath),
}

/// Why options can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// An attribute of the wrong type.
    #[error("while parsing attribute \"{attribute}\": expected {expected}")]
    WrongType {
        /// The attribute.
        attribute: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Names and paths of `exportReferencesGraph` don't come in pairs.
    #[error("odd number of tokens in 'exportReferencesGraph': '{text}'")]
    OddReferencesGraph {
        /// The value.
        text: String,
    },
    /// A name in `exportReferencesGraph` that no file should have.
    #[error("invalid file name '{name}' in 'exportReferencesGraph'")]
    InvalidFileName {
        /// The name.
        name: String,
    },
    /// A path in `exportReferencesGraph`.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// Structured attributes are no JSON object.
    #[error(transparent)]
    StructuredAttrs(#[from] StructuredAttrsError),
}

/// Attributes that structured attributes switch off.
const TOP_LEVEL_CHECKS: [&str; 6] = [
    "allowedReferences",
    "allowedRequisites",
    "disallowedRequisites",
    "disallowedReferences",
    "maxSize",
    "maxClosureSize",
];

impl DerivationOptions {
    /// Reads the options of a derivation.
    ///
    /// # Errors
    /// When an attribute has the wrong type or names no store path where it must.
    pub fn read(store_dir: &StoreDir, derivation: &Derivation) -> Result<Self, OptionsError> {
        let attrs = derivation.structured_attrs.as_ref().map(|attrs| attrs.to_value()).transpose()?;
        let reader = Reader { store_dir, env: &derivation.env, attrs: attrs.as_ref() };
        Ok(Self {
            output_checks: reader.output_checks()?,
            discard_references: reader.discard_references()?,
            pass_as_file: match (reader.attrs, reader.env.get(&b"passAsFile"[..])) {
                (None, Some(names)) => words(names).map(<[u8]>::to_vec).collect(),
                _ => BTreeSet::new(),
            },
            export_references_graph: reader.export_references_graph()?,
            additional_sandbox_profile: reader.string("__sandboxProfile")?,
            no_chroot: reader.flag("__noChroot", false)?,
            impure_host_deps: reader.strings("__impureHostDeps")?.unwrap_or_default(),
            impure_env_vars: reader.strings("impureEnvVars")?.unwrap_or_default(),
            allow_local_networking: reader.flag("__darwinAllowLocalNetworking", false)?,
            required_system_features: reader.strings("requiredSystemFeatures")?.unwrap_or_default(),
            prefer_local_build: reader.flag("preferLocalBuild", false)?,
            allow_substitutes: reader.flag("allowSubstitutes", true)?,
            ignored: reader.ignored(),
        })
    }

    /// Returns the features that the machine must have, with those that follow from the kind of
    /// derivation.
    ///
    /// # Errors
    /// When the derivation's outputs don't go together.
    pub fn required_features(&self, derivation: &Derivation) -> Result<BTreeSet<String>, DerivationTypeError> {
        let mut features = self.required_system_features.clone();
        if !derivation.kind()?.has_known_output_paths() {
            features.insert("ca-derivations".to_owned());
        }
        Ok(features)
    }
}

/// Splits at white space as the reference does.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).filter(|word| !word.is_empty())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wrong_type(attribute: &str, expected: &'static str) -> OptionsError {
    OptionsError::WrongType { attribute: attribute.to_owned(), expected }
}

fn string_set(attribute: &str, value: &Value) -> Result<BTreeSet<String>, OptionsError> {
    let strings = value.as_array().and_then(|items| {
        items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<BTreeSet<_>>>()
    });
    strings.ok_or_else(|| wrong_type(attribute, "a list of strings"))
}

struct Reader<'d> {
    store_dir: &'d StoreDir,
    env: &'d BTreeMap<Vec<u8>, Vec<u8>>,
    attrs: Option<&'d Map<String, Value>>,
}

impl Reader<'_> {
    fn variable(&self, name: &str) -> Option<&[u8]> {
        self.env.get(name.as_bytes()).map(Vec::as_slice)
    }

    fn string(&self, name: &str) -> Result<String, OptionsError> {
        match self.attrs {
            None => Ok(self.variable(name).map(lossy).unwrap_or_default()),
            Some(attrs) => match attrs.get(name) {
                None => Ok(String::new()),
                Some(value) => Ok(value.as_str().ok_or_else(|| wrong_type(name, "a string"))?.to_owned()),
            },
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, OptionsError> {
        match self.attrs {
            None => Ok(self.variable(name).map_or(default, |value| value == b"1")),
            Some(attrs) => match attrs.get(name) {
                None => Ok(default),
                Some(value) => value.as_bool().ok_or_else(|| wrong_type(name, "a Boolean")),
            },
        }
    }

    fn strings(&self, name: &str) -> Result<Option<BTreeSet<String>>, OptionsError> {
        match self.attrs {
            None => Ok(self.variable(name).map(|text| words(text).map(lossy).collect())),
            Some(attrs) => attrs.get(name).map(|value| string_set(name, value)).transpose(),
        }
    }

    fn references(&self, texts: BTreeSet<String>) -> BTreeSet<Reference> {
        let reference = |text: String| match self.store_dir.parse(&text) {
            Ok(path) => Reference::Path(path),
            Err(_) => Reference::Output(text),
        };
        texts.into_iter().map(reference).collect()
    }

    fn output_checks(&self) -> Result<OutputChecks, OptionsError> {
        let Some(attrs) = self.attrs else {
            let references = |name| -> Result<Option<BTreeSet<Reference>>, OptionsError> {
                Ok(self.strings(name)?.map(|texts| self.references(texts)))
            };
            return Ok(OutputChecks::ForAll(OutputCheck {
                ignore_self_references: true,
                allowed_references: references("allowedReferences")?,
                disallowed_references: references("disallowedReferences")?.unwrap_or_default(),
                allowed_requisites: references("allowedRequisites")?,
                disallowed_requisites: references("disallowedRequisites")?.unwrap_or_default(),
                ..OutputCheck::default()
            }));
        };
        let mut checks = BTreeMap::new();
        if let Some(outputs) = attrs.get("outputChecks") {
            let outputs = outputs.as_object().ok_or_else(|| wrong_type("outputChecks", "an object"))?;
            for (name, rules) in outputs {
                checks.insert(name.into(), self.output_check(name, rules)?);
            }
        }
        Ok(OutputChecks::PerOutput(checks))
    }

    fn output_check(&self, output: &str, rules: &Value) -> Result<OutputCheck, OptionsError> {
        let attribute = |name: &str| format!("outputChecks.{output}.{name}");
        let rules = rules
            .as_object()
            .ok_or_else(|| wrong_type(&format!("outputChecks.{output}"), "an object"))?;
        let references = |name: &str| -> Result<Option<BTreeSet<Reference>>, OptionsError> {
            let texts = rules.get(name).map(|value| string_set(&attribute(name), value)).transpose()?;
            Ok(texts.map(|texts| self.references(texts)))
        };
        let size = |name: &str| match rules.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(size) => Ok(Some(size)),
                None => Err(wrong_type(&attribute(name), "an unsigned number")),
            },
        };
        Ok(OutputCheck {
            ignore_self_references: false,
            max_size: size("maxSize")?,
            max_closure_size: size("maxClosureSize")?,
            allowed_references: references("allowedReferences")?,
            disallowed_references: references("disallowedReferences")?.unwrap_or_default(),
            allowed_requisites: references("allowedRequisites")?,
            disallowed_requisites: references("disallowedRequisites")?.unwrap_or_default(),
        })
    }

    fn discard_references(&self) -> Result<BTreeSet<OutputName>, OptionsError> {
        const NAME: &str = "unsafeDiscardReferences";
        let Some(value) = self.attrs.and_then(|attrs| attrs.get(NAME)) else {
            return Ok(BTreeSet::new());
        };
        let mut outputs = BTreeSet::new();
        for (output, flag) in value.as_object().ok_or_else(|| wrong_type(NAME, "an object"))? {
            if flag.as_bool().ok_or_else(|| wrong_type(NAME, "an object of Booleans"))? {
                outputs.insert(output.into());
            }
        }
        Ok(outputs)
    }

    fn export_references_graph(&self) -> Result<BTreeMap<String, BTreeSet<StorePath>>, OptionsError> {
        const NAME: &str = "exportReferencesGraph";
        let path = |text: &str| Ok::<_, OptionsError>(self.store_dir.split_store_path(text)?.0);
        let mut graphs = BTreeMap::new();
        let Some(attrs) = self.attrs else {
            let text = self.variable(NAME).unwrap_or_default();
            let mut tokens = words(text);
            while let Some(name) = tokens.next() {
                let Some(target) = tokens.next() else {
                    return Err(OptionsError::OddReferencesGraph { text: lossy(text) });
                };
                let name = lossy(name);
                if !is_file_name(&name) {
                    return Err(OptionsError::InvalidFileName { name });
                }
                graphs.insert(name, BTreeSet::from([path(&lossy(target))?]));
            }
            return Ok(graphs);
        };
        // Anything but an object is ignored, with a warning.
        let Some(targets) = attrs.get(NAME).and_then(Value::as_object) else {
            return Ok(graphs);
        };
        for (name, value) in targets {
            let mut paths = BTreeSet::new();
            let mut waiting = vec![value];
            while let Some(value) = waiting.pop() {
                match value {
                    Value::Array(items) => waiting.extend(items),
                    Value::String(text) => {
                        paths.insert(path(text)?);
                    }
                    _ => return Err(wrong_type(NAME, "a string or an array of them")),
                }
            }
            graphs.insert(name.clone(), paths);
        }
        Ok(graphs)
    }

    fn ignored(&self) -> Vec<&'static str> {
        let Some(attrs) = self.attrs else {
            return Vec::new();
        };
        let mut ignored: Vec<&'static str> =
            TOP_LEVEL_CHECKS.into_iter().filter(|name| attrs.contains_key(*name)).collect();
        if self.variable("passAsFile").is_some() {
            ignored.push("passAsFile");
        }
        if attrs.get("exportReferencesGraph").is_some_and(|value| !value.is_object()) {
            ignored.push("exportReferencesGraph");
        }
        ignored
    }
}

/// `[A-Za-z_][A-Za-z0-9_.-]*`
fn is_file_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_other = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.bytes().next().is_some_and(is_first) && name.bytes().all(is_other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derivation::StructuredAttrs;

    const FOO: &str = "/nix/store/vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo";

    fn read_env(env: &[(&str, &str)]) -> Result<DerivationOptions, OptionsError> {
        let env = env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        DerivationOptions::read(&StoreDir::default(), &Derivation { env, ..Derivation::default() })
    }

    fn read_json(json: Value) -> Result<DerivationOptions, OptionsError> {
        let structured_attrs = Some(StructuredAttrs::from_value(&json).unwrap());
        let derivation = Derivation { structured_attrs, ..Derivation::default() };
        DerivationOptions::read(&StoreDir::default(), &derivation)
    }

    fn foo() -> StorePath {
        StoreDir::default().parse(FOO).unwrap()
    }

    #[test]
    fn defaults() {
        let options = read_env(&[]).unwrap();
        assert!(options.allow_substitutes && !options.no_chroot && !options.prefer_local_build);
        let check = options.output_checks.for_output("out").unwrap();
        assert!(check.ignore_self_references && check.allowed_references.is_none());
        let options = read_json(serde_json::json!({})).unwrap();
        assert!(options.allow_substitutes);
        assert_eq!(options.output_checks.for_output("out"), None);
    }

    #[test]
    fn plain_attributes() {
        let options = read_env(&[
            ("allowedReferences", &format!("out\n{FOO}")),
            ("disallowedRequisites", ""),
            ("passAsFile", " a\tb "),
            ("exportReferencesGraph", &format!("graph {FOO}/bin")),
            ("impureEnvVars", "http_proxy https_proxy"),
            ("preferLocalBuild", "1"),
            ("allowSubstitutes", ""),
            ("__noChroot", "true"),
            ("outputChecks", "nonsense"),
        ])
        .unwrap();
        let check = options.output_checks.for_output("out").unwrap();
        let expected = BTreeSet::from([Reference::Output("out".into()), Reference::Path(foo())]);
        assert_eq!(check.allowed_references, Some(expected));
        assert_eq!(options.pass_as_file, BTreeSet::from([b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(options.export_references_graph["graph"], BTreeSet::from([foo()]));
        assert_eq!(options.impure_env_vars.len(), 2);
        // Only "1" is true.
        assert!(options.prefer_local_build && !options.allow_substitutes && !options.no_chroot);
        assert!(options.ignored.is_empty());
    }

    #[test]
    fn structured_attributes() {
        let options = read_json(serde_json::json!({
            "outputChecks": { "out": { "maxSize": 10, "allowedReferences": [], "disallowedRequisites": [FOO, "dev"] } },
            "unsafeDiscardReferences": { "out": true, "dev": false },
            "exportReferencesGraph": { "g": [FOO, [[FOO]]] },
            "requiredSystemFeatures": ["kvm"],
            "preferLocalBuild": true,
            "allowedReferences": [],
        }))
        .unwrap();
        let check = options.output_checks.for_output("out").unwrap();
        assert_eq!((check.max_size, check.max_closure_size), (Some(10), None));
        assert_eq!(check.allowed_references, Some(BTreeSet::new()));
        assert_eq!(check.disallowed_requisites.len(), 2);
        assert!(!check.ignore_self_references);
        assert_eq!(options.output_checks.for_output("dev"), None);
        assert_eq!(options.discard_references, BTreeSet::from(["out".into()]));
        assert_eq!(options.export_references_graph["g"], BTreeSet::from([foo()]));
        assert_eq!(options.ignored, ["allowedReferences"]);
        assert!(options.prefer_local_build);
    }

    #[test]
    fn required_features_follow_from_the_kind() {
        let options = read_env(&[("requiredSystemFeatures", "kvm")]).unwrap();
        let mut derivation = Derivation::default();
        derivation.outputs.insert("out".into(), crate::derivation::DerivationOutput::Deferred);
        let features = options.required_features(&derivation).unwrap();
        assert!(features.contains("kvm") && features.contains("ca-derivations"));
    }

    #[test]
    fn refused_values() {
        let env = |key: &str, value: &str| read_env(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(
            env("exportReferencesGraph", "a b c"),
            "path 'b' is not in the Nix store",
        );
        assert_eq!(
            env("exportReferencesGraph", "a"),
            "odd number of tokens in 'exportReferencesGraph': 'a'",
        );
        assert_eq!(
            env("exportReferencesGraph", &format!("../x {FOO}")),
            "invalid file name '../x' in 'exportReferencesGraph'",
        );
        for json in [
            serde_json::json!({ "outputChecks": [] }),
            serde_json::json!({ "outputChecks": { "out": 1 } }),
            serde_json::json!({ "outputChecks": { "out": { "maxSize": -1 } } }),
            serde_json::json!({ "outputChecks": { "out": { "allowedReferences": "x" } } }),
            serde_json::json!({ "preferLocalBuild": "1" }),
            serde_json::json!({ "impureEnvVars": "x" }),
            serde_json::json!({ "unsafeDiscardReferences": { "out": 1 } }),
            serde_json::json!({ "exportReferencesGraph": { "g": [1] } }),
        ] {
            assert!(matches!(read_json(json.clone()), Err(OptionsError::WrongType { .. })), "{json}");
        }
    }
}
