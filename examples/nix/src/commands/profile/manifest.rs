//! What is in a profile: `manifest.json`, version 3, as `nix profile` of the reference writes it.
//!
//! The surprising part: addresses of flakes are kept as they were read, so that nothing that another version wrote there is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use nixlang::source::Pos;
use nixlang_store::path::{StoreDir, StorePath};
use serde_json::{Map, Value};

use super::super::Context;
use super::super::diff_closures::{show, split_name};
use super::naming::name_of_address;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::installables::Outputs;

/// The elements of a profile, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifest {
    pub(super) elements: BTreeMap<String, Element>,
}

/// Something that was added.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) paths: BTreeSet<StorePath>,
    pub(super) active: bool,
    pub(super) priority: i64,
    /// Where it came from, if that is a flake.
    pub(super) source: Option<Source>,
}

/// An output of a flake.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The flake as somebody wrote it.
    pub(super) original: String,
    /// What that was.
    pub(super) locked: String,
    /// Where in its outputs.
    pub(super) attribute: String,
    /// Which outputs of the derivation.
    pub(super) outputs: Outputs,
}

impl Source {
    /// Returns it as a word of the command line.
    pub(super) fn installable(&self) -> String {
        format!("{}#{}{}", self.original, self.attribute, self.caret())
    }

    /// Returns what stands behind the attribute: nothing, or a caret and names.
    pub(super) fn caret(&self) -> String {
        match &self.outputs {
            Outputs::Default => String::new(),
            Outputs::All => "^*".to_owned(),
            Outputs::Named(names) => format!("^{}", names.join(",")),
        }
    }
}

/// What an element has that says nothing else.
pub(super) const DEFAULT_PRIORITY: i64 = 5;

impl Manifest {
    /// Reads that of a generation; nothing there is an empty one.
    pub(super) fn read(context: &Arc<Context>, generation: &Path) -> Outcome<Manifest> {
        let dir = context.store.store_dir();
        let file = generation.join("manifest.json");
        if !file.exists() {
            let old = generation.join("manifest.nix");
            if old.exists() {
                return Manifest::take_over(context, &old);
            }
            return Ok(Manifest::default());
        }
        let broken = |what: &str| Failure::new(format!("profile manifest '{}' {what}", file.display()));
        let json: Value = serde_json::from_slice(&std::fs::read(&file)?).map_err(|error| broken(&format!("is no JSON: {error}")))?;
        let (original, locked) = match json["version"].as_u64() {
            Some(1) => ("originalUri", "uri"),
            Some(2 | 3) => ("originalUrl", "url"),
            version => return Err(broken(&format!("has unsupported version {}", version.unwrap_or(0)))),
        };
        let mut manifest = Manifest::default();
        let read = |json: &Value| Element::read(dir, json, original, locked).ok_or_else(|| broken("has an element that makes no sense"));
        match &json["elements"] {
            Value::Object(elements) => {
                for (name, json) in elements {
                    manifest.elements.insert(name.clone(), read(json)?);
                }
            }
            Value::Array(elements) => {
                for json in elements {
                    let element = read(json)?;
                    manifest.add(&element.name(), element);
                }
            }
            _ => return Err(broken("has no elements")),
        }
        Ok(manifest)
    }

    /// Reads a profile that `nix-env` made.
    fn take_over(context: &Arc<Context>, file: &Path) -> Outcome<Manifest> {
        // It says nothing but names and paths, which need no file, so that it is read even where files may not be.
        let text = std::fs::read(file)?;
        let paths = evaluate(context, false, |evaluation| {
            let packages = evaluation.text(&text)?;
            let function = evaluation.text(b"packages: map (package: \"${package.outPath}\") packages")?;
            let list = evaluation.eval.call(function, &[packages], Pos::NONE)?;
            let what = "while evaluating the packages of a profile";
            let mut paths = Vec::new();
            for path in evaluation.eval.force_list(list, Pos::NONE, what)?.iter() {
                paths.push(String::from_utf8_lossy(evaluation.eval.force_string(path, Pos::NONE, what)?.bytes()).into_owned());
            }
            Ok(paths)
        })?;
        let mut manifest = Manifest::default();
        for path in paths {
            let path = context.store.store_dir().parse(path.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
            let element = Element { paths: BTreeSet::from([path]), active: true, priority: DEFAULT_PRIORITY, source: None };
            manifest.add(&element.name(), element);
        }
        Ok(manifest)
    }

    /// Adds an element under this name, or one like it.
    pub(super) fn add(&mut self, name: &str, element: Element) {
        let mut free = name.to_owned();
        for number in 1.. {
            if !self.elements.contains_key(&free) {
                break;
            }
            free = format!("{name}-{number}");
        }
        self.elements.insert(free, element);
    }

    pub(super) fn to_json(&self, dir: &StoreDir) -> Value {
        let elements: Map<String, Value> = self.elements.iter().map(|(name, element)| (name.clone(), element.to_json(dir))).collect();
        Value::Object(Map::from_iter([("elements".to_owned(), Value::Object(elements)), ("version".to_owned(), 3.into())]))
    }

    /// Returns the lines that say how this differs from an earlier one.
    pub(super) fn difference(&self, before: &Manifest) -> Vec<String> {
        let names: BTreeSet<&String> = before.elements.keys().chain(self.elements.keys()).collect();
        let mut lines = Vec::new();
        for name in names {
            let (old, new) = (before.elements.get(name), self.elements.get(name));
            let Some(element) = new.or(old) else { continue };
            let versions = |element: Option<&Element>| show(&element.map(Element::versions).unwrap_or_default());
            let (old, new) = (versions(old), versions(new));
            if old != new {
                lines.push(format!("{}: {old} -> {new}", element.identifier()));
            }
        }
        if lines.is_empty() {
            lines.push("No changes.".to_owned());
        }
        lines
    }
}

impl Element {
    fn read(dir: &StoreDir, json: &Value, original: &str, locked: &str) -> Option<Element> {
        let object = json.as_object()?;
        let paths = object.get("storePaths")?.as_array()?.iter().map(|path| dir.parse(path.as_str()?).ok());
        let text = |name: &str| Some(object.get(name)?.as_str()?.to_owned());
        let source = match text(locked).filter(|locked| !locked.is_empty()) {
            None => None,
            Some(locked) => {
                let outputs = match object.get("outputs") {
                    None | Some(Value::Null) => Outputs::Default,
                    Some(names) => {
                        let names = names.as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect::<Option<BTreeSet<_>>>()?;
                        if names.contains("*") { Outputs::All } else { Outputs::Named(names.into_iter().collect()) }
                    }
                };
                Some(Source { original: text(original)?, locked, attribute: text("attrPath")?, outputs })
            }
        };
        Some(Element {
            paths: paths.collect::<Option<_>>()?,
            active: object.get("active").is_none_or(|active| active.as_bool() == Some(true)),
            priority: object.get("priority").map_or(Some(DEFAULT_PRIORITY), Value::as_i64)?,
            source,
        })
    }

    fn to_json(&self, dir: &StoreDir) -> Value {
        let mut object: BTreeMap<String, Value> = BTreeMap::new();
        if let Some(source) = &self.source {
            object.insert("attrPath".into(), source.attribute.clone().into());
            object.insert("originalUrl".into(), source.original.clone().into());
            object.insert("url".into(), source.locked.clone().into());
            let outputs = match &source.outputs {
                Outputs::Default => Value::Null,
                Outputs::All => Value::from(vec!["*"]),
                Outputs::Named(names) => Value::from(names.clone()),
            };
            object.insert("outputs".into(), outputs);
        }
        object.insert("active".into(), self.active.into());
        object.insert("priority".into(), self.priority.into());
        object.insert("storePaths".into(), self.paths.iter().map(|path| Value::from(dir.display(path))).collect::<Vec<_>>().into());
        Value::Object(object.into_iter().collect())
    }

    /// Returns what users know it by.
    pub(super) fn identifier(&self) -> String {
        match &self.source {
            Some(source) => source.installable(),
            None => {
                let names: BTreeSet<&str> = self.paths.iter().map(|path| split_name(path.name()).0).collect();
                names.into_iter().collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Returns the name that it gets in a profile.
    pub(super) fn name(&self) -> String {
        let of_source = self.source.as_ref().and_then(|source| name_of_address(&source.installable()));
        of_source.unwrap_or_else(|| self.identifier())
    }

    /// Returns words of the command line that stand for it.
    pub(super) fn installables(&self, dir: &StoreDir) -> Vec<String> {
        match &self.source {
            Some(source) => vec![source.installable()],
            None => self.paths.iter().map(|path| dir.display(path)).collect(),
        }
    }

    fn versions(&self) -> Vec<String> {
        self.paths.iter().map(|path| split_name(path.name()).1.to_owned()).collect()
    }
}
