//! Lock files as JSON, versions 5 to 7; version 7 is written, byte for byte as the reference does. Format: the reference's manual, `nix flake`.
//!
//! The surprising thing: keys of nodes mean nothing; they are made anew from the names of inputs whenever a file is written.

use std::collections::{BTreeMap, HashMap};

use nixlang_store::input::{Attr, Attrs, InputError, Reader, to_json};
use serde_json::{Map, Value, json};

use super::lock_file::{Edge, LockFile, LockedNode, Node, NodeIndex};
use super::{FlakeRef, InputPath};

/// Why a text is no lock file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockFileError {
    /// It is no JSON.
    #[error("Could not parse '{file}': {source}")]
    Json {
        /// The file as messages call it.
        file: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It is of a version that nobody knows.
    #[error("lock file '{file}' has unsupported version {version}")]
    Version {
        /// The file as messages call it.
        file: String,
        /// Its version; 0 if it has none.
        version: i64,
    },
    /// Something is missing, or is of another type.
    #[error("lock file '{file}' lacks {what}")]
    Shape {
        /// The file as messages call it.
        file: String,
        /// As in "a text 'root'".
        what: String,
    },
    /// An edge leads nowhere.
    #[error("lock file references missing node '{key}'")]
    MissingNode {
        /// The key of the node.
        key: String,
    },
    /// An edge leads to the root.
    #[error("lock file contains cycle to root node")]
    CycleToRoot,
    /// A node lacks `locked` or `original`.
    #[error("attribute '{attribute}' missing in lock file")]
    MissingAttribute {
        /// Which.
        attribute: &'static str,
    },
    /// An attribute is a list or something else.
    #[error("unsupported input attribute type in lock file")]
    AttributeType,
    /// An input may be another tree tomorrow.
    #[error("Lock file contains unlocked input '{input}'. Use '--allow-dirty-locks' to accept this lock file.")]
    Unlocked {
        /// Its attributes as JSON.
        input: String,
    },
    /// An input is none.
    #[error(transparent)]
    Input(#[from] InputError),
}

/// What the reading of lock files depends on.
pub struct LockFileReader<'a> {
    /// The file as messages call it.
    pub file: &'a str,
    /// Whether a forge's archive of a commit counts as locked without a hash.
    pub trust_forge_archives: bool,
    /// Hears what is doubtful.
    pub warn: &'a mut dyn FnMut(String),
}

impl LockFileReader<'_> {
    fn lacks(&self, what: impl Into<String>) -> LockFileError {
        LockFileError::Shape { file: self.file.to_owned(), what: what.into() }
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&mut self, text: &[u8]) -> Result<LockFile, LockFileError> {
        let json: Value = serde_json::from_slice(text).map_err(|source| LockFileError::Json { file: self.file.to_owned(), source })?;
        let version = json.get("version").map_or(Some(0), Value::as_i64).unwrap_or(0);
        if !(5..=7).contains(&version) {
            return Err(LockFileError::Version { file: self.file.to_owned(), version });
        }
        let root = json.get("root").and_then(Value::as_str).ok_or_else(|| self.lacks("a text 'root'"))?;
        let nodes = json.get("nodes").and_then(Value::as_object).ok_or_else(|| self.lacks("a set 'nodes'"))?;
        let mut file = LockFile::default();
        let mut known: HashMap<&str, NodeIndex> = HashMap::from([(root, LockFile::ROOT)]);
        // Nodes that no path leads to are left out, so that nothing is said of them.
        let mut pending = vec![(LockFile::ROOT, nodes.get(root).unwrap_or(&Value::Null))];
        while let Some((index, json)) = pending.pop() {
            let Some(inputs) = json.get("inputs") else { continue };
            let inputs = inputs.as_object().ok_or_else(|| self.lacks("a set 'inputs' in one of its nodes"))?;
            for (name, value) in inputs {
                let edge = match value {
                    Value::Array(_) => Edge::Follows(self.path(value)?),
                    Value::String(key) => match known.get(key.as_str()) {
                        Some(&LockFile::ROOT) => return Err(LockFileError::CycleToRoot),
                        Some(node) => Edge::Node(*node),
                        None => {
                            let json = nodes.get(key).ok_or_else(|| LockFileError::MissingNode { key: key.clone() })?;
                            let node = file.add(self.node(json)?);
                            known.insert(key, node);
                            pending.push((node, json));
                            Edge::Node(node)
                        }
                    },
                    _ => return Err(self.lacks(format!("a key or path for the input '{name}'"))),
                };
                file.nodes[index.0].inputs.insert(name.clone(), edge);
            }
        }
        Ok(file)
    }

    fn path(&self, value: &Value) -> Result<InputPath, LockFileError> {
        let texts = value.as_array().into_iter().flatten().map(|element| element.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(|| self.lacks("texts in a path of inputs"))
    }

    fn node(&mut self, json: &Value) -> Result<LockedNode, LockFileError> {
        let reader = &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} };
        let mut attrs = attrs(json.get("locked").ok_or(LockFileError::MissingAttribute { attribute: "locked" })?)?;
        if let Some(more) = json.get("info") {
            attrs.append(&mut self::attrs(more)?);
        }
        let mut locked = FlakeRef::from_attrs(attrs, reader)?;
        let original = json.get("original").ok_or(LockFileError::MissingAttribute { attribute: "original" })?;
        let original = FlakeRef::from_attrs(self::attrs(original)?, reader)?;
        let is_flake = json.get("flake").map_or(Some(true), Value::as_bool).ok_or_else(|| self.lacks("a truth value 'flake' in one of its nodes"))?;
        let parent = json.get("parent").map(|parent| self.path(parent)).transpose()?;
        if !locked.input.is_locked(self.trust_forge_archives)? && locked.relative_path().is_none() {
            if locked.input.nar_hash()?.is_none() {
                return Err(LockFileError::Unlocked { input: to_json(locked.input.attrs()) });
            }
            (self.warn)(format!(
                "Lock file entry '{locked}' is unlocked (e.g. lacks a Git revision) but is checked by NAR hash. \
                 This is not reproducible and will break after garbage collection or when shared."
            ));
        }
        // What stands in a lock file is all there is to know of a tree.
        locked.input.set("__final", Attr::Bool(true));
        Ok(LockedNode { locked, original, is_flake, parent })
    }
}

fn attrs(json: &Value) -> Result<Attrs, LockFileError> {
    let object = json.as_object().ok_or(LockFileError::AttributeType)?;
    let attr = |value: &Value| match value {
        Value::String(text) => Ok(Attr::Text(text.clone())),
        Value::Bool(value) => Ok(Attr::Bool(*value)),
        // Negative numbers wrap, as they do in the reference.
        Value::Number(number) => number.as_u64().or_else(|| number.as_i64().map(|number| number as u64)).map(Attr::Number).ok_or(LockFileError::AttributeType),
        _ => Err(LockFileError::AttributeType),
    };
    object.iter().map(|(name, value)| Ok((name.clone(), attr(value)?))).collect()
}

/// Returns attributes as JSON.
pub(super) fn attrs_to_json(attrs: &Attrs) -> Value {
    attrs.iter().map(|(name, attr)| (name.clone(), serde_json::to_value(attr).expect("texts, numbers and booleans can be written"))).collect::<Map<_, _>>().into()
}

impl LockFile {
    /// Returns the file as JSON, and the keys of its nodes.
    pub fn to_json(&self) -> (Value, BTreeMap<NodeIndex, String>) {
        let mut keys: BTreeMap<NodeIndex, String> = BTreeMap::new();
        // Names are used up in the order in which inputs are met, depth first.
        let mut n_of_name: HashMap<&str, usize> = HashMap::new();
        let mut taken: std::collections::HashSet<String> = std::collections::HashSet::new();
        let mut pending = vec![("root", LockFile::ROOT)];
        while let Some((name, index)) = pending.pop() {
            if keys.contains_key(&index) {
                continue;
            }
            let mut key = name.to_owned();
            if !taken.insert(key.clone()) {
                let n = n_of_name.entry(name).or_insert(1);
                loop {
                    *n += 1;
                    key = format!("{name}_{n}");
                    if taken.insert(key.clone()) {
                        break;
                    }
                }
            }
            keys.insert(index, key);
            let inputs = self.node(index).inputs.iter().rev();
            pending.extend(inputs.filter_map(|(name, edge)| if let Edge::Node(node) = edge { Some((name.as_str(), *node)) } else { None }));
        }
        let nodes: Map<String, Value> = keys.iter().map(|(index, key)| (key.clone(), node_to_json(self.node(*index), &keys))).collect();
        let root = &keys[&LockFile::ROOT];
        (json!({ "nodes": nodes, "root": root, "version": 7 }), keys)
    }

    /// Returns the file as text, without an end of line at its end.
    pub fn to_text(&self) -> String {
        nixlang_store::json::to_string_pretty(&self.to_json().0)
    }
}

fn node_to_json(node: &Node, keys: &BTreeMap<NodeIndex, String>) -> Value {
    let mut json = Map::new();
    if !node.inputs.is_empty() {
        let edge = |edge: &Edge| match edge {
            Edge::Node(index) => Value::from(keys[index].as_str()),
            Edge::Follows(path) => json!(path),
        };
        json.insert("inputs".into(), node.inputs.iter().map(|(name, it)| (name.clone(), edge(it))).collect::<Map<_, _>>().into());
    }
    if let Some(locked) = &node.locked {
        let mut attrs = locked.locked.to_attrs();
        attrs.remove("__final");
        json.insert("locked".into(), attrs_to_json(&attrs));
        json.insert("original".into(), attrs_to_json(&locked.original.to_attrs()));
        if !locked.is_flake {
            json.insert("flake".into(), false.into());
        }
        if let Some(parent) = &locked.parent {
            json.insert("parent".into(), json!(parent));
        }
    }
    json.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(LockFile, Vec<String>), LockFileError> {
        let mut warnings = Vec::new();
        let file = LockFileReader { file: "/f/flake.lock", trust_forge_archives: true, warn: &mut |warning| warnings.push(warning) }.read(text.as_bytes())?;
        Ok((file, warnings))
    }

    const A: &str = r#"{ "locked": { "type": "path", "path": "/a", "narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }, "original": { "id": "a", "type": "indirect" } }"#;

    #[test]
    fn keys_follow_from_names_and_what_nobody_needs_is_dropped() {
        let text = format!(
            r#"{{ "version": 7, "root": "x", "nodes": {{ "unused": {{}}, "n1": {A}, "n2": {}, "x": {{ "inputs": {{ "b": "n2", "a": "n1", "c": ["b", "a"] }} }} }} }}"#,
            A.replacen('{', r#"{ "inputs": { "a": "n3" }, "flake": false,"#, 1).replace("\"n3\"", "\"n1\"")
        );
        let (file, warnings) = read(&text).unwrap();
        assert!(warnings.is_empty());
        let written = file.to_text();
        // What 2.34.8 makes of it.
        let nar = r#""narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "path": "/a",
        "type": "path"
      },
      "original": {
        "id": "a",
        "type": "indirect"
      }
    }"#;
        let expected = format!(
            r#"{{
  "nodes": {{
    "a": {{
      "locked": {{
        {nar},
    "b": {{
      "flake": false,
      "inputs": {{
        "a": "a"
      }},
      "locked": {{
        {nar},
    "root": {{
      "inputs": {{
        "a": "a",
        "b": "b",
        "c": [
          "b",
          "a"
        ]
      }}
    }}
  }},
  "root": "root",
  "version": 7
}}"#
        );
        assert_eq!(written, expected);
        assert_eq!(read(&written).unwrap().0.to_text(), written);
        assert_eq!(file.find_input(&["c".into()]), Ok(Some(NodeIndex(1))));
        assert_eq!(file.all_inputs().into_keys().map(|path| path.join("/")).collect::<Vec<_>>(), ["a", "b", "b/a", "c"]);
    }

    #[test]
    fn what_is_no_lock_file() {
        let check = |text: &str, expected: &str| assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
        check(r#"{ "version": 4 }"#, "lock file '/f/flake.lock' has unsupported version 4");
        check("{}", "lock file '/f/flake.lock' has unsupported version 0");
        let with_root = |inputs: &str| format!(r#"{{ "version": 7, "root": "root", "nodes": {{ "root": {{ "inputs": {inputs} }}, "a": {A} }} }}"#);
        check(&with_root(r#"{ "x": "nothing" }"#), "lock file references missing node 'nothing'");
        check(&with_root(r#"{ "x": "root" }"#), "lock file contains cycle to root node");
        check(&with_root(r#"{ "x": "a" }"#).replace(", \"original\"", ", \"other\""), "attribute 'original' missing in lock file");
        let unlocked = with_root(r#"{ "x": "a" }"#).replace(r#", "narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=""#, "");
        check(&unlocked, r#"Lock file contains unlocked input '{"path":"/a","type":"path"}'. Use '--allow-dirty-locks' to accept this lock file."#);
        assert!(matches!(read("{"), Err(LockFileError::Json { .. })));
        assert!(matches!(read(r#"{ "version": 7, "root": 3, "nodes": {} }"#), Err(LockFileError::Shape { .. })));
    }

    #[test]
    fn circles_of_inputs_end() {
        let circle = A.replacen('{', r#"{ "inputs": { "a": "a" },"#, 1);
        let (file, _) = read(&format!(r#"{{ "version": 7, "root": "root", "nodes": {{ "root": {{ "inputs": {{ "a": "a" }} }}, "a": {circle} }} }}"#)).unwrap();
        assert_eq!(file.all_inputs().len(), 2);
        assert_eq!(read(&file.to_text()).unwrap().0, file);
        let follows = r#"{ "version": 7, "root": "root", "nodes": { "root": { "inputs": { "a": ["b"], "b": ["a"] } } } }"#;
        assert_eq!(read(follows).unwrap().0.find_input(&["a".into()]), Err("follow cycle detected: [a -> b -> a]".into()));
    }
}
