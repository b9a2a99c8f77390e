//! The environment that a derivation's builder begins with, after the setup script of its `stdenv`: what `develop` opens a shell in.
//!
//! It is found out by building a changed derivation, with the same inputs and nearly the same environment, whose builder runs `dump.sh`
//! instead of its own script. The result is JSON in the store; the real Nix reads what is made here and the other way round.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use nixlang_build::{DerivedPath, OutputsSpec};
use nixlang_store::derivation::{Derivation, DerivationOutput, HashModulo, StructuredAttrs};
use nixlang_store::path::StorePath;
use serde::{Deserialize, Serialize};

use crate::building::{BuildFlags, build};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::start::quote;

/// Variables and functions of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevEnv {
    bash_functions: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    structured_attrs: Option<StructuredFiles>,
    #[serde(deserialize_with = "known_variables")]
    variables: BTreeMap<String, Variable>,
}

/// The files of structured attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StructuredFiles {
    #[serde(rename = ".attrs.json")]
    json: String,
    #[serde(rename = ".attrs.sh")]
    shell: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
enum Variable {
    Var(String),
    Exported(String),
    Array(Vec<String>),
    Associative(BTreeMap<String, String>),
}

/// Leaves out variables that bash can't be told to make.
fn known_variables<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Variable>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Known(Variable),
        Unknown(serde::de::IgnoredAny),
    }
    let all = BTreeMap::<String, Any>::deserialize(deserializer)?;
    let known = all.into_iter().filter_map(|(name, variable)| match variable {
        Any::Known(variable) => Some((name, variable)),
        Any::Unknown(_) => None,
    });
    Ok(known.collect())
}

/// Variables that are a shell's own, or that would make the user's session unusable.
const LEFT_OUT: &[&str] = &[
    "BASHOPTS", "HOME", "NIX_BUILD_TOP", "NIX_ENFORCE_PURITY", "NIX_LOG_FD", "NIX_REMOTE", "PPID", "SHELLOPTS", "SSL_CERT_FILE", "TEMP", "TEMPDIR", "TERM",
    "TMP", "TMPDIR", "TZ", "UID",
];

/// Variables of the session that the build's are put in front of.
const EXTENDED: &[&str] = &["PATH", "XDG_DATA_DIRS"];

impl DevEnv {
    /// Builds the environment of a derivation. Returns the store path that it is written to.
    pub(crate) fn build(context: &Context, derivation: &StorePath) -> Outcome<StorePath> {
        let store = context.store.open()?;
        let script = store.add_text("get-env.sh", include_bytes!("dev_env/dump.sh"), &Default::default())?;
        let mut changed = store.read_derivation(derivation)?;
        change(&mut changed, context, script)?;
        let mut known: HashMap<StorePath, HashModulo> = HashMap::new();
        let made = changed.instantiate(store.store_dir(), &mut known, &mut |path| store.read_derivation(path).map_err(Into::into));
        made.map_err(|error| Failure::from_error(&error))?;
        let path = store.write_derivation(&changed)?;
        let wanted = DerivedPath::built(path.clone(), OutputsSpec::All);
        build(context, &[wanted], BuildFlags::default())?;
        // It is in whichever output came first; the others are empty.
        for (_, output) in store.derivation_outputs(&path)? {
            if let Some(output) = output
                && !store.read_file(&output)?.is_empty()
            {
                return Ok(output);
            }
        }
        Err(Failure::new("the builder did not write an environment"))
    }

    /// Reads what [`DevEnv::build`] made.
    pub(crate) fn read(context: &Context, path: &StorePath) -> Outcome<DevEnv> {
        let store = context.store.open()?;
        let bytes = store.read_file(path)?;
        // A variable may hold any bytes.
        serde_json::from_str(&String::from_utf8_lossy(&bytes))
            .map_err(|error| Failure::new(format!("'{}' is not a build environment: {error}", store.store_dir().display(path))))
    }

    /// Returns whether a script of it needs files of structured attributes.
    pub(crate) fn has_files(&self) -> bool {
        self.structured_attrs.is_some()
    }

    /// Returns it as JSON.
    pub(crate) fn to_json(&self) -> Outcome<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Failure::from_error(&error))
    }

    /// Returns a script for bash that sets all of it up in a session, with outputs below `outputs` and files of structured attributes in
    /// `files`, which are written. `redirects` are further texts to replace.
    pub(crate) fn script(&self, outputs: &Path, files: &Path, redirects: &[(String, String)]) -> Outcome<String> {
        let mut script = String::from("unset shellHook\n");
        for name in EXTENDED {
            let _ = writeln!(script, "{name}=${{{name}:-}}\nnix_saved_{name}=\"${name}\"");
        }
        self.declare(&mut script);
        for name in EXTENDED {
            let _ = writeln!(script, "{name}=\"${name}${{nix_saved_{name}:+:$nix_saved_{name}}}\"");
        }
        script.push_str("export NIX_BUILD_TOP=\"$(mktemp -d -t nix-shell.XXXXXX)\"\n");
        for name in ["TMP", "TMPDIR", "TEMP", "TEMPDIR"] {
            let _ = writeln!(script, "export {name}=\"$NIX_BUILD_TOP\"");
        }
        script.push_str("eval \"${shellHook:-}\"\n");

        let mut replaced: Vec<(String, String)> = self.outputs()?.into_iter().map(|(name, path)| (path, outputs.join(name).display().to_string())).collect();
        replaced.extend_from_slice(redirects);
        if let Some(structured) = &self.structured_attrs {
            for (variable, name, text) in [("NIX_ATTRS_SH_FILE", ".attrs.sh", &structured.shell), ("NIX_ATTRS_JSON_FILE", ".attrs.json", &structured.json)] {
                let file = files.join(name);
                std::fs::write(&file, replace(text, &replaced))?;
                if let Some(Variable::Var(told) | Variable::Exported(told)) = self.variables.get(variable) {
                    replaced.push((told.clone(), file.display().to_string()));
                }
            }
        }
        Ok(replace(&script, &replaced))
    }

    /// Declares variables and functions.
    fn declare(&self, script: &mut String) {
        for (name, variable) in self.variables.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
            let _ = match variable {
                Variable::Var(value) => writeln!(script, "{name}={}", quote(value)),
                Variable::Exported(value) => writeln!(script, "{name}={}\nexport {name}", quote(value)),
                Variable::Array(items) => {
                    let items: String = items.iter().map(|item| quote(item) + " ").collect();
                    writeln!(script, "declare -a {name}=({items})")
                }
                Variable::Associative(items) => {
                    let items: String = items.iter().map(|(key, value)| format!("[{}]={} ", quote(key), quote(value))).collect();
                    writeln!(script, "declare -A {name}=({items})")
                }
            };
        }
        for (name, body) in &self.bash_functions {
            let _ = write!(script, "{name} ()\n{{\n{body}}}\n");
        }
    }

    /// Returns names and paths of the build's outputs.
    fn outputs(&self) -> Outcome<BTreeMap<String, String>> {
        match self.variables.get("outputs") {
            Some(Variable::Associative(outputs)) => Ok(outputs.clone()),
            Some(Variable::Var(names) | Variable::Exported(names)) => {
                let path = |name: &str| match self.variables.get(name) {
                    Some(Variable::Var(path) | Variable::Exported(path)) => Ok((name.to_owned(), path.clone())),
                    _ => Err(Failure::new(format!("the build environment has no variable for the output '{name}'"))),
                };
                names.split_whitespace().map(path).collect()
            }
            _ => Err(Failure::new("the build environment does not say which outputs there are")),
        }
    }
}

/// Replaces texts, the longest that fits at each place.
fn replace(text: &str, replaced: &[(String, String)]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let fits = replaced.iter().filter(|(from, _)| !from.is_empty() && rest.starts_with(from.as_str()));
        match fits.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => {
                result.push_str(to);
                rest = &rest[from.len()..];
            }
            None => {
                result.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    result
}

/// Turns a derivation into one that writes its environment.
fn change(derivation: &mut Derivation, context: &Context, script: StorePath) -> Outcome<()> {
    if !derivation.builder.ends_with(b"/bash") && derivation.builder != b"bash" {
        return Err(Failure::new("'nix develop' only works on derivations that use 'bash' as their builder"));
    }
    derivation.args = vec![context.store.store_dir().display(&script).into_bytes()];
    // It is not the real outputs that are made.
    if let Some(attributes) = &derivation.structured_attrs {
        let mut object = attributes.to_value().map_err(|error| Failure::from_error(&error))?;
        object.remove("outputChecks");
        derivation.structured_attrs = Some(StructuredAttrs::from_value(&object.into()).map_err(|error| Failure::from_error(&error))?);
    } else {
        for name in ["allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites"] {
            derivation.env.remove(name.as_bytes());
        }
    }
    derivation.name = format!("{}-env", derivation.name).into();
    derivation.env.insert(b"name".to_vec(), derivation.name.as_bytes().to_vec());
    derivation.input_sources.insert(script);
    for (name, output) in &mut derivation.outputs {
        if matches!(output, DerivationOutput::InputAddressed(_) | DerivationOutput::Fixed(_)) {
            *output = DerivationOutput::Deferred;
            derivation.env.insert(name.as_bytes().to_vec(), Vec::new());
        }
    }
    Ok(())
}

/// Returns the environment of what an installable stands for: a derivation, or an environment that was built before.
pub(crate) fn of_target(context: &Arc<Context>, path: &StorePath) -> Outcome<(StorePath, DevEnv)> {
    let path = if !path.is_derivation() && path.name().ends_with("-env") { path.clone() } else { DevEnv::build(context, path)? };
    let environment = DevEnv::read(context, &path)?;
    Ok((path, environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "bashFunctions": { "fun": " \n    echo hi\n" },
        "variables": {
            "a": { "type": "exported", "value": "it's" }, "b": { "type": "var", "value": "" }, "HOME": { "type": "exported", "value": "/h" },
            "c": { "type": "array", "value": [ "1", "2 3" ] }, "d": { "type": "associative", "value": { "k": "v" } }, "e": { "type": "unknown" },
            "outputs": { "type": "exported", "value": "out" }, "out": { "type": "exported", "value": "/nix/store/x-out" }
        }
    }"#;

    #[test]
    fn a_script_declares_everything() {
        let environment: DevEnv = serde_json::from_str(JSON).expect("well-formed");
        let script = environment.script(Path::new("/w/outputs"), Path::new("/none"), &[]).expect("complete");
        let expected = "a='it'\\''s'\nexport a\nb=''\ndeclare -a c=('1' '2 3' )\ndeclare -A d=(['k']='v' )\nout='/w/outputs/out'\nexport out\noutputs='out'\nexport outputs\nfun ()\n{\n \n    echo hi\n}\n";
        assert!(script.contains(expected), "{script}");
        assert!(!script.contains("HOME"), "{script}");
        let again: DevEnv = serde_json::from_value(environment.to_json().expect("prints")).expect("reads");
        assert_eq!(again, environment);
    }

    #[test]
    fn the_longest_text_is_replaced() {
        let replaced = [("/x".to_owned(), "1".to_owned()), ("/x-dev".to_owned(), "2".to_owned())];
        assert_eq!(replace("/x /x-dev /é", &replaced), "1 2 /é");
    }
}
