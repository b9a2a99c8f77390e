//! Attributes of a derivation that mean something to the builder: checks of outputs, files instead of variables,
//! exports of references, features.
//!
//! Two forms: plain attributes are strings in the environment, structured ones are JSON. The surprising part: the same
//! name may be honoured in only one of them (`allowedReferences` only in the first, `outputChecks` in the second).

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::derivation::Derivation;
use nixlang_store::path::{StoreDir, StorePath};
use serde_json::{Map, Value};

use crate::error::BuildError;

/// The meaningful attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DerivationOptions {
    /// What outputs must be like.
    pub(crate) output_checks: OutputChecks,
    /// Outputs whose references are ignored.
    pub(crate) discard_references: BTreeSet<String>,
    /// Variables that become files.
    pub(crate) pass_as_file: BTreeSet<Vec<u8>>,
    /// File or attribute name → roots whose closures are written there.
    pub(crate) export_references_graph: BTreeMap<String, BTreeSet<StorePath>>,
    /// Whether the derivation asks to run without a sandbox.
    pub(crate) no_chroot: bool,
    /// Paths of the machine that it wants to see.
    pub(crate) impure_host_deps: BTreeSet<String>,
    /// Variables of the caller's environment that it wants.
    pub(crate) impure_env_vars: BTreeSet<String>,
    /// Features that the machine must have.
    pub(crate) required_system_features: BTreeSet<String>,
    /// Whether it should not be looked for in substituters.
    pub(crate) allow_substitutes: bool,
}

/// Rules for outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutputChecks {
    /// The same for all.
    ForAll(Checks),
    /// By output name.
    PerOutput(BTreeMap<String, Checks>),
}

impl Default for OutputChecks {
    fn default() -> OutputChecks {
        OutputChecks::ForAll(Checks::default())
    }
}

/// Rules for one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Whether a path may be in its own closure whatever the rules say.
    pub(crate) ignore_self_references: bool,
    /// Largest NAR, in bytes.
    pub(crate) max_size: Option<u64>,
    /// Largest sum of NARs of the closure.
    pub(crate) max_closure_size: Option<u64>,
    /// Direct references must be among these; an empty set is not the same as none.
    pub(crate) allowed_references: Option<BTreeSet<Reference>>,
    /// Direct references must not be among these.
    pub(crate) disallowed_references: BTreeSet<Reference>,
    /// The closure must be among these.
    pub(crate) allowed_requisites: Option<BTreeSet<Reference>>,
    /// The closure must not have any of these.
    pub(crate) disallowed_requisites: BTreeSet<Reference>,
}

/// How a rule names a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// As such.
    Path(StorePath),
    /// As an output of the derivation itself.
    Output(String),
}

/// Reads the meaningful attributes of `derivation`, found at `path`.
pub(crate) fn parse(store_dir: &StoreDir, path: &StorePath, derivation: &Derivation) -> Result<DerivationOptions, BuildError> {
    let reject = |reason: String| BuildError::Derivation { derivation: store_dir.display(path), reason };
    let structured = match &derivation.structured_attrs {
        Some(attributes) => Some(attributes.to_value().map_err(|error| reject(error.to_string()))?),
        None => None,
    };
    let reader = Reader { store_dir, derivation, structured: structured.as_ref() };
    reader.read().map_err(reject)
}

struct Reader<'r> {
    store_dir: &'r StoreDir,
    derivation: &'r Derivation,
    structured: Option<&'r Map<String, Value>>,
}

/// Splits at white space as the reference does.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).filter(|word| !word.is_empty())
}

fn expected(name: &str, what: &str) -> String {
    format!("attribute '{name}' must be {what}")
}

fn string_list(name: &str, value: &Value) -> Result<BTreeSet<String>, String> {
    let strings = value.as_array().map(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    strings.flatten().ok_or_else(|| expected(name, "a list of strings"))
}

impl Reader<'_> {
    fn variable(&self, name: &str) -> Option<&[u8]> {
        self.derivation.env.get(name.as_bytes()).map(Vec::as_slice)
    }

    fn bool(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.structured {
            Some(attributes) => match attributes.get(name) {
                Some(value) => value.as_bool().ok_or_else(|| expected(name, "a Boolean")),
                None => Ok(default),
            },
            None => Ok(self.variable(name).map_or(default, |value| value == b"1")),
        }
    }

    fn strings(&self, name: &str) -> Result<Option<BTreeSet<String>>, String> {
        match self.structured {
            Some(attributes) => attributes.get(name).map(|value| string_list(name, value)).transpose(),
            None => Ok(self
                .variable(name)
                .map(|text| words(text).map(|word| String::from_utf8_lossy(word).into_owned()).collect())),
        }
    }

    fn reference(&self, text: &str) -> Reference {
        match self.store_dir.parse(text) {
            Ok(path) => Reference::Path(path),
            Err(_) => Reference::Output(text.to_owned()),
        }
    }

    /// Reads a store path, or a path below one.
    fn store_path(&self, text: &str) -> Result<StorePath, String> {
        let base = text
            .strip_prefix(self.store_dir.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.split('/').next());
        let base = base.ok_or_else(|| format!("path '{text}' is not in the Nix store"))?;
        StorePath::from_base_name(base).map_err(|error| format!("path '{text}' is not a valid store path: {error}"))
    }

    fn references(&self, names: Option<BTreeSet<String>>) -> Option<BTreeSet<Reference>> {
        names.map(|names| names.iter().map(|name| self.reference(name)).collect())
    }

    fn read(&self) -> Result<DerivationOptions, String> {
        Ok(DerivationOptions {
            output_checks: self.output_checks()?,
            discard_references: self.discard_references()?,
            pass_as_file: match self.structured {
                Some(_) => BTreeSet::new(),
                None => self.variable("passAsFile").into_iter().flat_map(words).map(<[u8]>::to_vec).collect(),
            },
            export_references_graph: self.export_references_graph()?,
            no_chroot: self.bool("__noChroot", false)?,
            impure_host_deps: self.strings("__impureHostDeps")?.unwrap_or_default(),
            impure_env_vars: self.strings("impureEnvVars")?.unwrap_or_default(),
            required_system_features: self.strings("requiredSystemFeatures")?.unwrap_or_default(),
            allow_substitutes: self.bool("allowSubstitutes", true)?,
        })
    }

    fn output_checks(&self) -> Result<OutputChecks, String> {
        let Some(attributes) = self.structured else {
            return Ok(OutputChecks::ForAll(Checks {
                ignore_self_references: true,
                max_size: None,
                max_closure_size: None,
                allowed_references: self.references(self.strings("allowedReferences")?),
                disallowed_references: self.references(self.strings("disallowedReferences")?).unwrap_or_default(),
                allowed_requisites: self.references(self.strings("allowedRequisites")?),
                disallowed_requisites: self.references(self.strings("disallowedRequisites")?).unwrap_or_default(),
            }));
        };
        let mut per_output = BTreeMap::new();
        if let Some(checks) = attributes.get("outputChecks") {
            let checks = checks.as_object().ok_or_else(|| expected("outputChecks", "an attribute set"))?;
            for (output, rules) in checks {
                let name = format!("outputChecks.\"{output}\"");
                let rules = rules.as_object().ok_or_else(|| expected(&name, "an attribute set"))?;
                let list = |rule: &str| {
                    rules.get(rule).map(|value| string_list(&format!("{name}.{rule}"), value)).transpose()
                };
                let size = |rule: &str| match rules.get(rule) {
                    Some(value) => {
                        value.as_u64().map(Some).ok_or_else(|| expected(&format!("{name}.{rule}"), "a number of bytes"))
                    }
                    None => Ok(None),
                };
                let checks = Checks {
                    ignore_self_references: false,
                    max_size: size("maxSize")?,
                    max_closure_size: size("maxClosureSize")?,
                    allowed_references: self.references(list("allowedReferences")?),
                    disallowed_references: self.references(list("disallowedReferences")?).unwrap_or_default(),
                    allowed_requisites: self.references(list("allowedRequisites")?),
                    disallowed_requisites: self.references(list("disallowedRequisites")?).unwrap_or_default(),
                };
                per_output.insert(output.clone(), checks);
            }
        }
        Ok(OutputChecks::PerOutput(per_output))
    }

    fn discard_references(&self) -> Result<BTreeSet<String>, String> {
        const NAME: &str = "unsafeDiscardReferences";
        let Some(value) = self.structured.and_then(|attributes| attributes.get(NAME)) else {
            return Ok(BTreeSet::new());
        };
        let object = value.as_object().ok_or_else(|| expected(NAME, "an attribute set"))?;
        let mut discarded = BTreeSet::new();
        for (output, flag) in object {
            if flag.as_bool().ok_or_else(|| expected(NAME, "a set of Booleans"))? {
                discarded.insert(output.clone());
            }
        }
        Ok(discarded)
    }

    fn export_references_graph(&self) -> Result<BTreeMap<String, BTreeSet<StorePath>>, String> {
        const NAME: &str = "exportReferencesGraph";
        let mut graph = BTreeMap::new();
        if let Some(attributes) = self.structured {
            // Something else than an object is ignored, by the reference too.
            for (key, roots) in attributes.get(NAME).and_then(Value::as_object).into_iter().flatten() {
                let mut paths = BTreeSet::new();
                self.flatten(roots, &mut paths)?;
                graph.insert(key.clone(), paths);
            }
            return Ok(graph);
        }
        let text = self.variable(NAME).unwrap_or_default();
        let tokens: Vec<String> = words(text).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if !tokens.len().is_multiple_of(2) {
            return Err(format!("odd number of tokens in '{NAME}': '{}'", String::from_utf8_lossy(text)));
        }
        for pair in tokens.chunks_exact(2) {
            let name = &pair[0];
            let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
            let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
            if !starts_well || !name.chars().all(is_allowed) {
                return Err(format!("invalid file name '{name}' in '{NAME}'"));
            }
            graph.insert(name.clone(), BTreeSet::from([self.store_path(&pair[1])?]));
        }
        Ok(graph)
    }

    /// Collects the strings of a list of lists of strings. The store bounds how deeply attributes are nested.
    fn flatten(&self, value: &Value, paths: &mut BTreeSet<StorePath>) -> Result<(), String> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.flatten(item, paths)),
            Value::String(path) => {
                paths.insert(self.store_path(path)?);
                Ok(())
            }
            _ => Err("'exportReferencesGraph' value is not an array or a string".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nixlang_store::derivation::StructuredAttrs;

    use super::*;

    const A: &str = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-a";

    fn plain(variables: &[(&str, &str)]) -> Result<DerivationOptions, String> {
        let env = variables.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        read(Derivation { env, ..Derivation::default() })
    }

    fn structured(json: &str) -> Result<DerivationOptions, String> {
        let attributes = StructuredAttrs::parse(json.as_bytes()).unwrap();
        read(Derivation { structured_attrs: Some(attributes), ..Derivation::default() })
    }

    fn read(derivation: Derivation) -> Result<DerivationOptions, String> {
        let path = StorePath::new([1; 20], "x.drv").unwrap();
        parse(&StoreDir::default(), &path, &derivation).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_list_of_allowed_references_is_not_the_same_as_none() {
        let OutputChecks::ForAll(checks) = plain(&[("allowedReferences", "")]).unwrap().output_checks else { panic!() };
        assert_eq!(checks.allowed_references, Some(BTreeSet::new()));
        assert_eq!(checks.allowed_requisites, None);
        let options = plain(&[("disallowedRequisites", &format!("{A} out"))]).unwrap();
        let OutputChecks::ForAll(checks) = options.output_checks else { panic!() };
        let path = StoreDir::default().parse(A).unwrap();
        assert_eq!(checks.disallowed_requisites, [Reference::Path(path), Reference::Output("out".into())].into());
    }

    #[test]
    fn structured_attributes_have_checks_per_output_and_types() {
        let options = structured(
            r#"{"outputChecks":{"out":{"maxSize":5,"allowedReferences":["out"]}},"__noChroot":true,
                "passAsFile":["x"],"unsafeDiscardReferences":{"out":true,"dev":false}}"#,
        )
        .unwrap();
        let OutputChecks::PerOutput(checks) = options.output_checks else { panic!() };
        assert_eq!(checks["out"].max_size, Some(5));
        assert_eq!(checks["out"].allowed_references, Some([Reference::Output("out".into())].into()));
        assert!(options.no_chroot && options.pass_as_file.is_empty());
        assert_eq!(options.discard_references, ["out".to_owned()].into());
        assert!(structured(r#"{"__noChroot":"1"}"#).unwrap_err().contains("must be a Boolean"));
    }

    #[test]
    fn exports_are_checked() {
        let graph = plain(&[("exportReferencesGraph", &format!("graph\n {A}/sub"))]).unwrap().export_references_graph;
        assert_eq!(graph.keys().collect::<Vec<_>>(), ["graph"]);
        assert!(plain(&[("exportReferencesGraph", "graph")]).unwrap_err().contains("odd number of tokens"));
        assert!(plain(&[("exportReferencesGraph", &format!("../x {A}"))]).unwrap_err().contains("invalid file name"));
        assert!(plain(&[("exportReferencesGraph", "x /etc/passwd")]).unwrap_err().contains("not in the Nix store"));
        assert!(structured(&format!(r#"{{"exportReferencesGraph":{{"k":[["{A}"],"{A}"]}}}}"#)).is_ok());
    }
}
