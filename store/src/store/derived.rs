//! What follows from the trait's types without any store: derivations as bytes, facts of texts, checks of facts.

use std::collections::{BTreeMap, HashMap};

use crate::content_address::ContentAddressMethod;
use crate::derivation::{Derivation, DerivationType};
use crate::error::{Result, StoreError};
use crate::hash::Algorithm;
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::realisation::{DerivationKey, DerivationOutputId, Realisation};
use crate::store::{Addressing, Store, Text};

/// Parses the bytes of a derivation, with the path in the error.
pub(crate) fn parse_derivation(dir: &StoreDir, path: &StorePath, bytes: &[u8]) -> Result<Derivation> {
    let context = || format!("error parsing derivation '{}'", dir.display(path));
    let name = path.derivation_name().ok_or_else(|| StoreError::BadStorePath {
        path: dir.display(path),
        reason: "its name does not end in .drv".to_owned(),
    })?;
    Derivation::parse_aterm(dir, name, bytes).map_err(|error| StoreError::format(context(), error))
}

/// Prints the bytes of a derivation, with its name in the error.
pub(crate) fn print_derivation(dir: &StoreDir, derivation: &Derivation) -> Result<Vec<u8>> {
    derivation
        .to_aterm(dir)
        .map_err(|error| StoreError::format(format!("error writing derivation '{}'", derivation.name), error))
}

/// Returns names and paths of a derivation's outputs, as far as they are known before the build.
pub(crate) fn static_outputs(
    dir: &StoreDir,
    derivation: &Derivation,
) -> Result<BTreeMap<String, Option<StorePath>>> {
    derivation
        .outputs
        .iter()
        .map(|(name, output)| {
            let path = output.path(dir, &derivation.name, name).map_err(|error| {
                StoreError::format(format!("output '{name}' of derivation '{}'", derivation.name), error)
            })?;
            Ok((name.to_string(), path))
        })
        .collect()
}

/// Adds to a derivation's outputs what those turned out to be whose paths are known only after a build, as far as the
/// store has realisations of them.
pub(crate) fn add_realised_outputs<S: Store + ?Sized>(
    store: &S,
    path: &StorePath,
    derivation: &Derivation,
    outputs: &mut BTreeMap<String, Option<StorePath>>,
) -> Result<()> {
    let unknown: Vec<String> = outputs.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| name.clone()).collect();
    if unknown.is_empty() || derivation.kind() == Ok(DerivationType::Impure) {
        return Ok(());
    }
    let key = store.content_rules().derivation_key(path, || {
        let mut lookup = |path: &StorePath| Ok(store.read_derivation(path)?);
        let hash = derivation.hash_modulo(store.store_dir(), true, &mut HashMap::new(), &mut lookup);
        hash.map(|modulo| modulo.hash).map_err(|error| StoreError::format("error hashing a derivation", error))
    })?;
    let id = |name: &String| DerivationOutputId { derivation: key.clone(), output: name.as_str().into() };
    let ids: Vec<DerivationOutputId> = unknown.iter().map(id).collect();
    for (name, realisation) in unknown.into_iter().zip(store.query_realisations(&ids)?) {
        outputs.insert(name, realisation.map(|realisation| realisation.path));
    }
    Ok(())
}

/// Returns what a store knows about an output: for a derivation's path also what it knows by the derivation's hash, if it has
/// the derivation. Who asks by path is of 2.35, and what he gets then has no signatures, because those were made over the other
/// form.
pub(crate) fn realisation_in_either_form<S: Store + ?Sized>(store: &S, id: &DerivationOutputId) -> Result<Option<Realisation>> {
    if let Some(known) = store.query_realisation(id)? {
        return Ok(Some(known));
    }
    let DerivationKey::Path(path) = &id.derivation else { return Ok(None) };
    if !path.is_derivation() || !store.is_valid(path)? {
        return Ok(None);
    }
    let derivation = store.read_derivation(path)?;
    if !derivation.outputs.contains_key(&id.output) {
        return Ok(None);
    }
    let mut lookup = |path: &StorePath| Ok(store.read_derivation(path)?);
    // A derivation whose inputs are not here has no hash here.
    let Ok(hash) = derivation.hash_modulo(store.store_dir(), true, &mut HashMap::new(), &mut lookup) else { return Ok(None) };
    let known = store.query_realisation(&DerivationOutputId::by_hash(hash.hash, id.output.clone()))?;
    Ok(known.map(|known| Realisation { id: id.clone(), path: known.path, signatures: Default::default() }))
}

/// Returns the path and facts of a text.
pub(crate) fn text_info(dir: &StoreDir, text: &Text<'_>) -> Result<PathInfo> {
    let addressing = Addressing {
        name: text.name,
        method: ContentAddressMethod::Text,
        algorithm: Algorithm::Sha256,
        references: text.references.clone(),
    };
    crate::addressed::address(dir, &addressing, &mut |sink| crate::addressed::write_file_nar(sink, text.contents))
}

/// Checks what the facts of a path promise about each other.
pub(crate) fn check_info(dir: &StoreDir, info: &PathInfo) -> Result<()> {
    if info.nar_hash.algorithm() != Algorithm::Sha256 {
        let reason = format!("the NAR's hash is {} instead of sha256", info.nar_hash.algorithm());
        return Err(StoreError::CorruptEntry { path: dir.display(&info.path), reason });
    }
    if let Some(content) = info.content_address_with_references()
        && dir.fixed_output_path(info.path.name(), &content).ok().as_ref() != Some(&info.path)
    {
        return Err(StoreError::NotContentAddressed { path: dir.display(&info.path) });
    }
    Ok(())
}

/// Makes sure that two who name the same output mean the same path.
pub(crate) fn check_same_realisation(dir: &StoreDir, known: &Realisation, new: &Realisation) -> Result<()> {
    if known.path == new.path {
        return Ok(());
    }
    Err(StoreError::RealisationConflict {
        id: new.id.to_string(),
        known: dir.display(&known.path),
        new: dir.display(&new.path),
    })
}
