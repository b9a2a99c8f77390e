//! `derivation show`, `derivation add`: derivations to JSON and back.

use std::collections::{BTreeMap, HashMap};

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::{Derivation, DerivationOutput, HashModulo, derivations_to_json};
use nixlang_store::path::StorePath;

use super::Invocation;
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Target};

pub(super) fn show(invocation: Invocation) -> Outcome<u8> {
    let (mut recursive, mut pretty) = (false, false);
    let (installables, context) = Installables::parse(invocation, |flag, _| {
        match flag {
            "-r" | "--recursive" => recursive = true,
            "--pretty" => pretty = true,
            "--no-pretty" => pretty = false,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let targets = installables.targets(&context, true)?;
    let store = context.store.any()?;
    let mut paths = Vec::new();
    for target in targets {
        paths.push(match target {
            Target::Built { derivation, .. } => derivation,
            Target::Nested { derivation, .. } => derivation.root().clone(),
            Target::Path(path) if path.is_derivation() => path,
            Target::Path(path) => {
                let deriver = store.path_info(&path)?.info.deriver.clone();
                deriver.ok_or_else(|| Failure::new(format!("'{}' does not have a known deriver", store.store_dir().display(&path))))?
            }
        });
    }
    if recursive {
        paths = store.closure(&paths)?.into_iter().filter(|path| path.is_derivation()).collect();
    }
    let mut derivations = BTreeMap::new();
    for path in paths {
        let derivation = store.read_derivation(&path)?;
        derivations.insert(path, derivation);
    }
    let json = derivations_to_json(&derivations).map_err(|error| Failure::from_error(&error))?;
    println!("{}", if pretty { nixlang_store::json::to_string_pretty(&json) } else { nixlang_store::json::to_string(&json) });
    Ok(0)
}

/// Refuses kinds of derivations whose experimental features are off.
fn require_features(context: &super::Context, derivation: &Derivation) -> Outcome<()> {
    let has = |feature: &str| context.settings.list("experimental-features").any(|known| known == feature);
    for output in derivation.outputs.values() {
        let (feature, method) = match output {
            DerivationOutput::Floating { method, .. } => (Some("ca-derivations"), Some(*method)),
            DerivationOutput::Impure { method, .. } => (Some("impure-derivations"), Some(*method)),
            DerivationOutput::Fixed(address) => (None, Some(address.method)),
            _ => (None, None),
        };
        let by_method = match method {
            Some(ContentAddressMethod::Text) => Some("dynamic-derivations"),
            Some(ContentAddressMethod::Git) => Some("git-hashing"),
            _ => None,
        };
        if let Some(feature) = feature.into_iter().chain(by_method).find(|feature| !has(feature)) {
            return Err(Failure::new(format!("experimental Nix feature '{feature}' is disabled; add '--extra-experimental-features {feature}' to enable it")));
        }
    }
    Ok(())
}

/// `derivation add < JSON`: writes the derivation, with its output paths if they are left out.
pub(super) fn add(mut invocation: Invocation) -> Outcome<u8> {
    let mut dry_run = false;
    invocation.parse(
        |flag, _| {
            dry_run |= flag == "--dry-run";
            Ok(flag == "--dry-run")
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    let context = invocation.context()?;
    let store = context.store.any()?;
    let json = serde_json::from_slice(&crate::common::read_stdin()?).map_err(|error| Failure::from_error(&error))?;
    let mut derivation = Derivation::from_json(&json).map_err(|error| Failure::from_error(&error))?;
    let mut known: HashMap<StorePath, HashModulo> = HashMap::new();
    require_features(&context, &derivation)?;
    let made = derivation.instantiate(store.store_dir(), &mut known, &mut |path| store.read_derivation(path).map_err(Into::into));
    let made = made.map_err(|error| Failure::from_error(&error))?;
    let path = if dry_run { made.path } else { store.write_derivation(&derivation)? };
    println!("{}", store.store_dir().display(&path));
    Ok(0)
}
