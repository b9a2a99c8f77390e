//! What is in a profile: `manifest.json`, version 3, as `nix profile` of the reference writes it.
//!
//! The surprising part: elements that came from flakes are kept as they were read, although this program can't add such yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nixlang_store::path::{StoreDir, StorePath};
use serde_json::{Map, Value};

use super::super::diff_closures::{show, split_name};
use crate::failure::{Failure, Outcome};

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
    /// Where it came from, if that is a flake: `attrPath`, `originalUrl`, `outputs`, `url`.
    pub(super) source: Option<Map<String, Value>>,
}

/// What an element has that says nothing else.
pub(super) const DEFAULT_PRIORITY: i64 = 5;

impl Manifest {
    /// Reads that of a generation; nothing there is an empty one.
    pub(super) fn read(dir: &StoreDir, generation: &Path) -> Outcome<Manifest> {
        let file = generation.join("manifest.json");
        if !file.exists() {
            if generation.join("manifest.nix").exists() {
                let message = format!("profile '{}' was made by 'nix-env', which 'profile' does not take over yet", generation.display());
                return Err(Failure::new(message));
            }
            return Ok(Manifest::default());
        }
        let broken = |what: &str| Failure::new(format!("profile manifest '{}' {what}", file.display()));
        let json: Value = serde_json::from_slice(&std::fs::read(&file)?).map_err(|error| broken(&format!("is no JSON: {error}")))?;
        match json["version"].as_u64() {
            Some(2 | 3) => {}
            version => return Err(broken(&format!("has unsupported version {}", version.unwrap_or(0)))),
        }
        let mut manifest = Manifest::default();
        let read = |json: &Value| Element::read(dir, json).ok_or_else(|| broken("has an element that makes no sense"));
        match &json["elements"] {
            Value::Object(elements) => {
                for (name, json) in elements {
                    manifest.elements.insert(name.clone(), read(json)?);
                }
            }
            Value::Array(elements) => {
                for json in elements {
                    let element = read(json)?;
                    manifest.add(&element.identifier(), element);
                }
            }
            _ => return Err(broken("has no elements")),
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
    fn read(dir: &StoreDir, json: &Value) -> Option<Element> {
        let object = json.as_object()?;
        let paths = object.get("storePaths")?.as_array()?.iter().map(|path| dir.parse(path.as_str()?).ok());
        let source = ["attrPath", "originalUrl", "outputs", "url"].into_iter().filter_map(|name| Some((name.to_owned(), object.get(name)?.clone())));
        let source = source.collect::<Map<_, _>>();
        Some(Element {
            paths: paths.collect::<Option<_>>()?,
            active: object.get("active").is_none_or(|active| active.as_bool() == Some(true)),
            priority: object.get("priority").map_or(Some(DEFAULT_PRIORITY), Value::as_i64)?,
            source: source.get("url").is_some_and(|url| url.as_str().is_some_and(|url| !url.is_empty())).then_some(source),
        })
    }

    fn to_json(&self, dir: &StoreDir) -> Value {
        let mut object: BTreeMap<String, Value> = self.source.clone().into_iter().flatten().collect();
        object.insert("active".into(), self.active.into());
        object.insert("priority".into(), self.priority.into());
        object.insert("storePaths".into(), self.paths.iter().map(|path| Value::from(dir.display(path))).collect::<Vec<_>>().into());
        Value::Object(object.into_iter().collect())
    }

    /// Returns where it came from, if that is a flake: attribute, outputs behind a caret, original and locked address.
    pub(super) fn flake(&self) -> Option<(String, String, String, String)> {
        let source = self.source.as_ref()?;
        let text = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let outputs = source.get("outputs").and_then(Value::as_array).map(|names| {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            format!("^{}", names.join(","))
        });
        Some((text("attrPath"), outputs.unwrap_or_default(), text("originalUrl"), text("url")))
    }

    /// Returns what users know it by.
    pub(super) fn identifier(&self) -> String {
        match self.flake() {
            Some((attribute, outputs, original, _)) => format!("{original}#{attribute}{outputs}"),
            None => {
                let names: BTreeSet<&str> = self.paths.iter().map(|path| split_name(path.name()).0).collect();
                names.into_iter().collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn versions(&self) -> Vec<String> {
        self.paths.iter().map(|path| split_name(path.name()).1.to_owned()).collect()
    }
}
