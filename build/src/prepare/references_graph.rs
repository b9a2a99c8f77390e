//! `exportReferencesGraph`: the closures of some inputs, written down for the builder.

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::hash::HashFormat;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::Store;
use serde_json::{Map, Value};

use nixlang_store::derivation::options::DerivationOptions;
use super::environment::Export;
use crate::error::BuildError;
use crate::known::Known;

/// Makes all exports that a derivation asks for. `inputs` is the closure of its inputs.
pub(crate) fn exports(
    store: &dyn Store,
    known: &Known<'_>,
    options: &DerivationOptions,
    inputs: &BTreeSet<StorePath>,
    structured: bool,
) -> Result<BTreeMap<String, Export>, BuildError> {
    let mut exports = BTreeMap::new();
    for (name, roots) in &options.export_references_graph {
        let paths = closure(store, known, roots, inputs)?;
        let infos = infos(store, &paths)?;
        let export = if structured { Export::Json(json(store, &infos)?) } else { Export::File(registration(store, &infos)) };
        exports.insert(name.clone(), export);
    }
    Ok(exports)
}

/// Returns the closure of `roots`; derivations in it bring the closures of their outputs.
fn closure(
    store: &dyn Store,
    known: &Known<'_>,
    roots: &BTreeSet<StorePath>,
    inputs: &BTreeSet<StorePath>,
) -> Result<BTreeSet<StorePath>, BuildError> {
    if let Some(path) = roots.iter().find(|path| !inputs.contains(*path)) {
        return Err(BuildError::ExportOutsideInputs { path: store.store_dir().display(path) });
    }
    let roots: Vec<StorePath> = roots.iter().cloned().collect();
    let mut paths = store.closure(&roots)?;
    let mut outputs = Vec::new();
    for derivation in paths.iter().filter(|path| path.is_derivation()) {
        let parsed = store.read_derivation(derivation)?;
        for (name, output) in known.outputs(derivation, &parsed)? {
            outputs.push(output.ok_or_else(|| BuildError::Derivation {
                derivation: store.store_dir().display(derivation),
                reason: format!("cannot export references of output '{name}', whose path is not known"),
            })?);
        }
    }
    paths.extend(store.closure(&outputs)?);
    Ok(paths)
}

fn infos(store: &dyn Store, paths: &BTreeSet<StorePath>) -> Result<Vec<PathInfo>, BuildError> {
    let paths: Vec<StorePath> = paths.iter().cloned().collect();
    let infos = store.query_path_infos(&paths)?;
    infos
        .into_iter()
        .zip(&paths)
        .map(|(info, path)| info.ok_or_else(|| BuildError::Store(store.invalid(path))))
        .collect()
}

/// The format of `nix-store --register-validity`, without hashes and derivers.
fn registration(store: &dyn Store, infos: &[PathInfo]) -> Vec<u8> {
    let dir = store.store_dir();
    let mut text = String::new();
    for info in infos {
        text.push_str(&format!("{}\n\n{}\n", dir.display(&info.path), info.references.len()));
        for reference in &info.references {
            text.push_str(&format!("{}\n", dir.display(reference)));
        }
    }
    text.into_bytes()
}

/// The format of structured attributes, which is frozen.
fn json(store: &dyn Store, infos: &[PathInfo]) -> Result<Value, BuildError> {
    let dir = store.store_dir();
    let mut sizes = BTreeMap::new();
    let mut list = Vec::new();
    for info in infos {
        let mut closure_size: u64 = 0;
        let closure: Vec<StorePath> = store.closure(std::slice::from_ref(&info.path))?.into_iter().collect();
        let unknown: Vec<StorePath> = closure.iter().filter(|path| !sizes.contains_key(*path)).cloned().collect();
        for info in store.query_path_infos(&unknown)?.into_iter().flatten() {
            sizes.insert(info.path.clone(), info.nar_size);
        }
        for path in &closure {
            closure_size = closure_size.saturating_add(sizes.get(path).copied().unwrap_or(0));
        }
        let mut entry = Map::new();
        entry.insert("closureSize".into(), closure_size.into());
        entry.insert("narHash".into(), info.nar_hash.format(HashFormat::Nix32, true).into());
        entry.insert("narSize".into(), info.nar_size.into());
        entry.insert("path".into(), dir.display(&info.path).into());
        let references: Vec<Value> = info.references.iter().map(|path| dir.display(path).into()).collect();
        entry.insert("references".into(), references.into());
        entry.insert("valid".into(), true.into());
        if let Some(address) = &info.content_address {
            entry.insert("ca".into(), address.to_string().into());
        }
        list.push(Value::Object(entry));
    }
    Ok(Value::Array(list))
}
