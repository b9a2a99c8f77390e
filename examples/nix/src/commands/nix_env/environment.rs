//! Environments: packages become a tree of links with a manifest in it, and a new generation of a profile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_build::{DerivedPath, OutputsSpec};
use nixlang_store::derivation::{Derivation, DerivationOutput};
use nixlang_store::path::StorePath;
use nixlang_store::profile::Profile;
use nixlang_store::store::Text;
use serde_json::{Map, Value};

use super::super::Context;
use super::packages::{Package, expression};
use crate::building::{BuildFlags, build, output_path};
use crate::failure::{Failure, Outcome};
use crate::ui::Verbosity;

/// Builds an environment of these packages and makes it the profile's next generation. Returns false if the profile was changed by
/// somebody else since it was in `state`.
pub(super) fn install(context: &Arc<Context>, packages: &[Package], profile: &Profile, state: Option<PathBuf>) -> Outcome<bool> {
    let store = context.store.open()?;
    let keep_derivations = context.settings.is_on("keep-env-derivations");
    build(context, &wanted(packages)?, BuildFlags::default())?;

    let dir = store.store_dir();
    let mut references = BTreeSet::new();
    let (mut manifest, mut links) = (Vec::new(), Vec::new());
    for package in packages {
        let (outputs, system, meta) = (&package.contents()?.outputs, &package.contents()?.system, package.meta()?);
        store.add_temp_roots(&outputs.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>())?;
        let mut entry = Map::new();
        entry.insert("type".into(), "derivation".into());
        entry.insert("name".into(), package.name.clone().into());
        if !system.is_empty() {
            entry.insert("system".into(), system.clone().into());
        }
        entry.insert("outPath".into(), dir.display(package.out_path()?).into());
        if let Some(derivation) = package.derivation()?.filter(|_| keep_derivations) {
            entry.insert("drvPath".into(), dir.display(derivation).into());
            references.insert(derivation.clone());
        }
        entry.insert("outputs".into(), outputs.iter().map(|(name, _)| Value::from(name.clone())).collect::<Vec<_>>().into());
        links.push(text_of(meta.get("active").unwrap_or(&"true".into())));
        links.push(text_of(meta.get("priority").unwrap_or(&5.into())));
        links.push(outputs.len().to_string());
        for (name, path) in outputs {
            links.push(dir.display(path));
            entry.insert(name.clone(), serde_json::json!({ "outPath": dir.display(path) }));
            references.insert(path.clone());
        }
        entry.insert("meta".into(), meta.into());
        manifest.push(Value::Object(entry));
    }
    let contents = expression(&Value::Array(manifest));
    let text = Text { name: "env-manifest.nix", contents: contents.as_bytes(), references };
    let manifest = store.add_texts(&[text])?.remove(0);
    let environment = build_environment(context, &manifest, &links)?;

    let lock = profile.lock()?;
    if profile.state() != state {
        context.ui.line(Verbosity::INFO, &format!("profile '{}' changed while we were busy; restarting", profile.link().display()));
        return Ok(false);
    }
    profile.add_generation(&**store, &environment)?;
    drop(lock);
    Ok(true)
}

/// Returns what has to be there for an environment of these packages.
pub(super) fn wanted(packages: &[Package]) -> Outcome<Vec<DerivedPath>> {
    let mut wanted = Vec::new();
    for package in packages {
        match package.derivation()? {
            Some(derivation) => wanted.push(DerivedPath::built(derivation.clone(), OutputsSpec::All)),
            None => wanted.extend(package.contents()?.outputs.iter().map(|(_, path)| DerivedPath::Opaque(path.clone()))),
        }
    }
    Ok(wanted)
}

/// Returns a value as it stands in a derivation's environment.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "1".to_owned(),
        Value::Bool(false) | Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Builds the tree of links.
fn build_environment(context: &Arc<Context>, manifest: &StorePath, links: &[String]) -> Outcome<StorePath> {
    let store = context.store.open()?;
    let env = [
        ("allowSubstitutes", String::new()),
        ("builder", "builtin:buildenv".to_owned()),
        ("derivations", links.join(" ")),
        ("manifest", store.store_dir().display(manifest)),
        ("name", "user-environment".to_owned()),
        ("out", String::new()),
        ("preferLocalBuild", "1".to_owned()),
        ("system", "builtin".to_owned()),
    ];
    let mut derivation = Derivation {
        name: "user-environment".into(),
        outputs: [("out".into(), DerivationOutput::Deferred)].into(),
        input_sources: [manifest.clone()].into(),
        system: b"builtin".to_vec(),
        builder: b"builtin:buildenv".to_vec(),
        env: env.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes())).collect::<BTreeMap<_, _>>(),
        ..Derivation::default()
    };
    derivation
        .instantiate(store.store_dir(), &mut HashMap::new(), &mut |_| Err("an environment has no inputs that are built".into()))
        .map_err(|error| Failure::from_error(&error))?;
    let path = store.write_derivation(&derivation)?;
    let wanted = [DerivedPath::built(path.clone(), OutputsSpec::All)];
    build(context, &wanted, BuildFlags { is_silent: true, ..BuildFlags::default() })?;
    output_path(context, &path, "out")
}
