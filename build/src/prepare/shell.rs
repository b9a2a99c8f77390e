//! What a shell needs in order to stand in for a builder: its variables and the files that go with them.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::environment::{self, Context, Environment, Rewrites};
use super::references_graph;
use super::resolve::{is_resolved_first, resolve};
use crate::error::BuildError;
use crate::known::Known;
use crate::options::BuildOptions;

/// A derivation's environment outside of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellEnvironment {
    /// Variables by name: those that the derivation sets, and the names of [`ShellEnvironment::files`]. Nothing that a builder gets besides
    /// (`HOME`, `NIX_BUILD_TOP`, …).
    pub variables: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Files that the variables name, without the directory: of `passAsFile` and of structured attributes. The caller writes them.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Returns the environment of `derivation`, found at `path`, for a shell that has its files in `directory`. All inputs must be valid.
///
/// The reference's `nix-shell` is the model: with structured attributes there are `.attrs.json` and `.attrs.sh` only.
///
/// # Errors
/// When the derivation's attributes make no sense, or an input is not valid.
pub fn shell_environment(
    store: &LocalStore,
    options: &BuildOptions,
    path: &StorePath,
    derivation: &Derivation,
    directory: &Path,
) -> Result<ShellEnvironment, BuildError> {
    let dir = store.store_dir();
    let known = Known::new(store, options.has_feature("ca-derivations"));
    let resolved;
    let derivation = if is_resolved_first(derivation, known.has_realisations()) {
        let output = |input: &StorePath, name: &OutputName| {
            known.output(input, name)?.ok_or_else(|| BuildError::Derivation {
                derivation: dir.display(path),
                reason: format!("output '{name}' of input derivation '{}' is not known", dir.display(input)),
            })
        };
        resolved = resolve(dir, path, derivation, &output)?.1;
        &resolved
    } else {
        derivation
    };
    let derivation_options = super::read_options(dir, path, derivation)?;
    let in_directory = |name: &str| directory.join(name).as_os_str().as_bytes().to_vec();
    let mut made = ShellEnvironment::default();
    if derivation.structured_attrs.is_none() {
        for (name, value) in &derivation.env {
            if derivation_options.pass_as_file.contains(name) {
                let file = format!(".attr-{}", made.files.len());
                made.variables.insert([name, &b"Path"[..]].concat(), in_directory(&file));
                made.files.insert(file, value.clone());
            } else {
                made.variables.insert(name.clone(), value.clone());
            }
        }
        return Ok(made);
    }
    let inputs = super::input_closure(store, &known, path, derivation)?;
    let exports = references_graph::exports(store, &known, &derivation_options, &inputs, true)?;
    let context =
        Context { options, derivation_options: &derivation_options, store_dir: dir.as_str(), build_dir: "", exports };
    let Environment { files, .. } = environment::environment(derivation, context)?;
    let mut outputs = Vec::new();
    for (name, output) in known.outputs(path, derivation)? {
        if let Some(output) = output {
            outputs.push((name, dir.display(&output)));
        }
    }
    let rewrites = Rewrites::for_outputs(outputs.iter().map(|(name, path)| (name.as_str(), path.clone())));
    for (variable, file) in [("NIX_ATTRS_SH_FILE", ".attrs.sh"), ("NIX_ATTRS_JSON_FILE", ".attrs.json")] {
        made.variables.insert(variable.into(), in_directory(file));
        made.files.insert(file.to_owned(), rewrites.apply(&files[file]));
    }
    Ok(made)
}
