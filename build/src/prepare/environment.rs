//! The environment of a builder, exactly as the reference makes it, and the files that go with it.
//!
//! Three layers: four defaults, then the derivation's own variables (which may override those), then what is forced.
//! The surprising part: with structured attributes none of the derivation's variables is in the environment, only the
//! names of two files.

use std::collections::BTreeMap;

use nixlang_store::derivation::options::DerivationOptions;
use nixlang_store::derivation::{Derivation, placeholder};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::json;
use serde_json::{Map, Value};

use crate::error::BuildError;
use crate::options::BuildOptions;

/// What a builder gets besides its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Variables, by name.
    pub(crate) variables: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Files of the build directory, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// What the environment depends on besides the derivation.
pub(crate) struct Context<'c> {
    /// Host's settings.
    pub(crate) options: &'c BuildOptions,
    /// Attributes that mean something.
    pub(crate) derivation_options: &'c DerivationOptions,
    /// Logical store directory.
    pub(crate) store_dir: &'c str,
    /// Build directory as the builder sees it.
    pub(crate) build_dir: &'c str,
    /// Exports of references: name → contents of the file, or JSON with structured attributes.
    pub(crate) exports: BTreeMap<String, Export>,
}

/// An export of references.
pub(crate) enum Export {
    /// In the format of `nix-store --register-validity`.
    File(Vec<u8>),
    /// As an attribute.
    Json(Value),
}

/// Makes the environment. Placeholders are not replaced yet; see [`Rewrites`].
pub(crate) fn environment(derivation: &Derivation, context: Context<'_>) -> Result<Environment, BuildError> {
    let Context { options, derivation_options, store_dir, build_dir, exports } = context;
    let mut variables: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut set = |name: &[u8], value: &[u8]| {
        variables.insert(name.to_vec(), value.to_vec());
    };
    set(b"PATH", b"/path-not-set");
    set(b"HOME", b"/homeless-shelter");
    set(b"NIX_STORE", store_dir.as_bytes());
    set(b"NIX_BUILD_CORES", options.n_cores().to_string().as_bytes());

    let in_build_dir = |name: &str| format!("{build_dir}/{name}");
    if let Some(attributes) = &derivation.structured_attrs {
        let mut attributes = attributes.to_value().map_err(|error| BuildError::Derivation {
            derivation: derivation.name.to_string(),
            reason: error.to_string(),
        })?;
        let outputs: Map<String, Value> =
            derivation.outputs.keys().map(|output| (output.to_string(), Value::String(placeholder(output)))).collect();
        attributes.insert("outputs".to_owned(), Value::Object(outputs));
        for (key, export) in exports {
            if let Export::Json(value) = export {
                attributes.insert(key, value);
            }
        }
        files.insert(".attrs.sh".to_owned(), shell_text(&attributes).into_bytes());
        files.insert(".attrs.json".to_owned(), json::to_string(&Value::Object(attributes)).into_bytes());
        set(b"NIX_ATTRS_SH_FILE", in_build_dir(".attrs.sh").as_bytes());
        set(b"NIX_ATTRS_JSON_FILE", in_build_dir(".attrs.json").as_bytes());
    } else {
        for (name, value) in &derivation.env {
            if derivation_options.pass_as_file.contains(name) {
                let hash = Hash::digest(Algorithm::Sha256, name).format(HashFormat::Nix32, false);
                let file = format!(".attr-{hash}");
                set(&[name, &b"Path"[..]].concat(), in_build_dir(&file).as_bytes());
                files.insert(file, value.clone());
            } else {
                set(name, value);
            }
        }
        for (name, export) in exports {
            if let Export::File(text) = export {
                files.insert(name, text);
            }
        }
    }

    for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"] {
        set(name.as_bytes(), build_dir.as_bytes());
    }
    let kind = derivation.kind().ok();
    if kind.is_some_and(|kind| kind.is_fixed()) {
        set(b"NIX_OUTPUT_CHECKED", b"1");
    }
    if kind.is_some_and(|kind| !kind.is_sandboxed()) {
        for name in &derivation_options.impure_env_vars {
            let value = match options.impure_env.get(name) {
                Some(value) => value.clone().into_bytes(),
                None => options.environment_variable(name).unwrap_or_default().into_encoded_bytes(),
            };
            set(name.as_bytes(), &value);
        }
    }
    set(b"NIX_LOG_FD", b"2");
    set(b"TERM", b"xterm-256color");
    Ok(Environment { variables, files })
}

/// Placeholders and the paths that they stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrites(Vec<(String, String)>);

impl Rewrites {
    /// Returns the replacements for a derivation's own outputs, given as name and full path.
    pub(crate) fn for_outputs<'o>(outputs: impl Iterator<Item = (&'o str, String)>) -> Rewrites {
        Rewrites(outputs.map(|(name, path)| (placeholder(name), path)).collect())
    }

    /// Also replaces `from` by `to`.
    pub(crate) fn add(&mut self, from: String, to: String) {
        self.0.push((from, to));
    }

    /// Replaces all placeholders in `bytes`.
    pub(crate) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = bytes.to_vec();
        for (from, to) in &self.0 {
            let positions: Vec<usize> = memchr::memmem::find_iter(&text, from).collect();
            if positions.is_empty() {
                continue;
            }
            let mut rewritten = Vec::with_capacity(text.len());
            let mut rest = 0;
            for position in positions {
                rewritten.extend_from_slice(&text[rest..position]);
                rewritten.extend_from_slice(to.as_bytes());
                rest = position + from.len();
            }
            rewritten.extend_from_slice(&text[rest..]);
            text = rewritten;
        }
        text
    }
}

/// Returns the text of `.attrs.sh`, with the reference's quirks: what is not simple enough is left out, and numbers go
/// through a 32-bit float and a 32-bit integer.
fn shell_text(attributes: &Map<String, Value>) -> String {
    let mut text = String::new();
    let mut entries: Vec<_> = attributes.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    for (name, value) in entries {
        if !is_shell_name(name) {
            continue;
        }
        match value {
            Value::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(simple).collect();
                if let Some(items) = items {
                    let list: String = items.iter().map(|item| format!("{item} ")).collect();
                    text.push_str(&format!("declare -a {name}=({list})\n"));
                }
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| *key);
                let members: Option<Vec<String>> = members
                    .into_iter()
                    .map(|(key, value)| Some(format!("[{}]={} ", quoted(key), simple(value)?)))
                    .collect();
                if let Some(members) = members {
                    text.push_str(&format!("declare -A {name}=({})\n", members.concat()));
                }
            }
            value => {
                if let Some(value) = simple(value) {
                    text.push_str(&format!("declare {name}={value}\n"));
                }
            }
        }
    }
    text
}

fn is_shell_name(name: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_start) && name.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns the shell form of a string, number, Boolean or null; none of anything else and of fractions.
fn simple(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(quoted(text)),
        Value::Null => Some("''".to_owned()),
        Value::Bool(true) => Some("1".to_owned()),
        Value::Bool(false) => Some(String::new()),
        Value::Number(number) => {
            let float = number.as_f64()? as f32;
            if float.ceil() != float {
                return None;
            }
            // The reference converts with C++'s rules: integers wrap, floats are cut towards zero.
            let integer = match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => integer as i32,
                (None, Some(integer)) => integer as i32,
                (None, None) => {
                    let float = number.as_f64()?;
                    // Out of range the result is the processor's: on x86-64 the smallest integer.
                    if (-2_147_483_648.0..2_147_483_648.0).contains(&float) { float as i32 } else { i32::MIN }
                }
            };
            Some(integer.to_string())
        }
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use nixlang_store::derivation::{DerivationOutput, StructuredAttrs};
    use nixlang_store::path::{StoreDir, StorePath};

    use super::*;
    use crate::sandbox::Helper;

    fn check(derivation: &Derivation, change: impl FnOnce(&mut BuildOptions)) -> Environment {
        let mut options = BuildOptions::new(Helper::program("/helper"));
        options.cores = 3;
        options.environment = Some(BTreeMap::new());
        change(&mut options);
        let derivation_options = DerivationOptions::read(&StoreDir::default(), derivation).unwrap();
        let context = Context {
            options: &options,
            derivation_options: &derivation_options,
            store_dir: "/nix/store",
            build_dir: "/build",
            exports: BTreeMap::new(),
        };
        environment(derivation, context).unwrap()
    }

    fn derivation(variables: &[(&str, &str)]) -> Derivation {
        let out = StorePath::new([2; 20], "x").unwrap();
        Derivation {
            outputs: [("out".into(), DerivationOutput::InputAddressed(out))].into(),
            env: variables.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect(),
            ..Derivation::default()
        }
    }

    fn text(environment: &Environment) -> String {
        let lines = environment.variables.iter().map(|(name, value)| {
            format!("{}={}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        lines.collect()
    }

    #[test]
    fn defaults_can_be_overridden_but_forced_variables_not() {
        let environment = check(&derivation(&[("PATH", "/p"), ("TMPDIR", "/t"), ("TERM", "dumb"), ("a", "1")]), |_| {});
        assert_eq!(
            text(&environment),
            "HOME=/homeless-shelter\nNIX_BUILD_CORES=3\nNIX_BUILD_TOP=/build\nNIX_LOG_FD=2\nNIX_STORE=/nix/store\n\
             PATH=/p\nPWD=/build\nTEMP=/build\nTEMPDIR=/build\nTERM=xterm-256color\nTMP=/build\nTMPDIR=/build\na=1\n"
        );
    }

    #[test]
    fn pass_as_file_moves_a_variable_into_a_file() {
        let environment = check(&derivation(&[("passAsFile", "big unknown"), ("big", "text")]), |_| {});
        let file = ".attr-1dpv93sw3hb9hvql14sx9jm0iyicfbqygkf52k4pfdgskapxhdg1";
        let name = environment.files.keys().next().unwrap();
        assert_eq!(name.len(), file.len());
        assert_eq!(environment.files[name], b"text");
        assert_eq!(environment.variables[&b"bigPath"[..]], format!("/build/{name}").as_bytes());
        assert!(!environment.variables.contains_key(&b"big"[..]));
    }

    #[test]
    fn impure_variables_are_for_fixed_outputs_only() {
        let set = |options: &mut BuildOptions| {
            options.environment = Some([("proxy".into(), "here".into())].into());
            options.impure_env = [("set".to_owned(), "there".to_owned())].into();
        };
        let mut derivation = derivation(&[("impureEnvVars", "proxy set unset")]);
        assert!(!check(&derivation, set).variables.contains_key(&b"proxy"[..]));
        let hash = Hash::digest(Algorithm::Sha256, b"");
        let address = nixlang_store::content_address::ContentAddress {
            method: nixlang_store::content_address::ContentAddressMethod::Flat,
            hash,
        };
        derivation.outputs = [("out".into(), DerivationOutput::Fixed(address))].into();
        let variables = check(&derivation, set).variables;
        assert_eq!(variables[&b"proxy"[..]], b"here");
        assert_eq!(variables[&b"set"[..]], b"there");
        assert_eq!(variables[&b"unset"[..]], b"");
        assert_eq!(variables[&b"NIX_OUTPUT_CHECKED"[..]], b"1");
    }

    #[test]
    fn structured_attributes_come_as_two_files() {
        let json = r#"{"s":"it's","n":4294967296,"i":-5,"f":1.5,"g":2.0,"t":true,"x":false,"z":null,"bad-name":1,
                       "l":["a",1],"nested":[[1]],"o":{"b c":"d","a":1},"deep":{"a":{}}}"#;
        let derivation =
            Derivation { structured_attrs: Some(StructuredAttrs::parse(json.as_bytes()).unwrap()), ..derivation(&[("hidden", "1")]) };
        let environment = check(&derivation, |_| {});
        let placeholder = placeholder("out");
        assert_eq!(
            String::from_utf8_lossy(&environment.files[".attrs.sh"]),
            format!(
                "declare g=2\ndeclare i=-5\ndeclare -a l=('a' 1 )\ndeclare n=0\n\
                 declare -A o=(['a']=1 ['b c']='d' )\ndeclare -A outputs=(['out']='{placeholder}' )\n\
                 declare s='it'\\''s'\ndeclare t=1\ndeclare x=\ndeclare z=''\n"
            )
        );
        let parsed: Value = serde_json::from_slice(&environment.files[".attrs.json"]).unwrap();
        assert_eq!(parsed["outputs"]["out"], placeholder);
        assert!(!environment.variables.contains_key(&b"hidden"[..]));
        assert_eq!(environment.variables[&b"NIX_ATTRS_JSON_FILE"[..]], b"/build/.attrs.json");

        let rewrites = Rewrites::for_outputs([("out", "/nix/store/x".to_owned())].into_iter());
        let text = rewrites.apply(format!("{placeholder}:{placeholder}/bin").as_bytes());
        assert_eq!(text, b"/nix/store/x:/nix/store/x/bin");
    }
}
