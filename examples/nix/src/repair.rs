//! Damaged paths are put right: fetched again, or else built again from the derivation that made them.

use nixlang_build::{DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::path::StorePath;
use nixlang_store::store::{AddOptions, Store, with_nar};

use crate::building::{BuildFlags, build};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::store_choice::StoreChoice;
use crate::ui::Verbosity;

/// Puts right whatever the outputs of these refer to: each damaged path is built again by a derivation that makes it.
pub(crate) fn repair_closure(context: &Context, wanted: &[DerivedPath]) -> Outcome<()> {
    let store = context.store.local()?;
    let mut outputs = Vec::new();
    for wanted in wanted {
        match wanted {
            DerivedPath::Opaque(path) => outputs.push(path.clone()),
            DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), .. } => outputs.extend(store.derivation_outputs(derivation)?.into_values().flatten()),
            DerivedPath::Built { .. } => {}
        }
    }
    let valid = store.are_valid(&outputs)?;
    let outputs: Vec<StorePath> = outputs.into_iter().zip(valid).filter_map(|(path, valid)| valid.then_some(path)).collect();
    for path in store.closure(&outputs)? {
        if store.is_intact(&path)? {
            continue;
        }
        let show = store.store_dir().display(&path);
        context.ui.line(Verbosity::ERROR, &format!("found corrupted or missing path '{show}' in the output closure"));
        match store.valid_derivers(&path)?.pop_first() {
            Some(derivation) => rebuild(context, derivation)?,
            None => repair_path(context, &path)?,
        }
    }
    Ok(())
}

fn rebuild(context: &Context, derivation: StorePath) -> Outcome<()> {
    let wanted = [DerivedPath::built(derivation, OutputsSpec::All)];
    build(context, &wanted, BuildFlags { repair: true, ..BuildFlags::default() }).map(drop)
}

/// Replaces the contents of a path that are not what was registered.
pub(crate) fn repair_path(context: &Context, path: &StorePath) -> Outcome<()> {
    let store = context.store.local()?;
    for address in context.settings.list("substituters").filter(|_| context.settings.is_on("substitute")) {
        match fetch(context, address, path) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Failure::Shown(diagnostic)) => context.ui.warn(format!("substituter '{address}': {}", diagnostic.message)),
            Err(other) => return Err(other),
        }
    }
    let deriver = store.query_path_info(path)?.and_then(|info| info.info.deriver);
    match deriver {
        Some(derivation) if store.is_valid(&derivation)? => rebuild(context, derivation),
        _ => Err(Failure::new(format!("cannot repair path '{}'", store.store_dir().display(path)))),
    }
}

/// Takes the contents of a path from another store, if it has the path.
fn fetch(context: &Context, address: &str, path: &StorePath) -> Outcome<bool> {
    let other = StoreChoice::at(&context.settings, address)?.any()?;
    let Some(mut info) = other.query_path_info(path)? else { return Ok(false) };
    info.info.ultimate = false;
    let mut options = AddOptions::default();
    options.repair = true;
    let store = context.store.local()?;
    let message = nixlang_store::copy::message(&other.address(), &store.address(), &store.store_dir().display(path));
    context.ui.line(Verbosity::INFO, &message);
    with_nar(&mut |sink| other.write_nar(path, sink), &mut |nar| store.add_nar(&info, nar, &options))?;
    Ok(true)
}
