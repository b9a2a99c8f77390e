//! `store sign`, `store copy-sigs`: signatures of paths.

use nixlang_store::signature::SecretKey;

use super::super::Invocation;
use crate::failure::{Failure, Outcome, plain};
use crate::store_choice::StoreChoice;
use crate::store_paths::StorePaths;
use crate::ui::Verbosity;

/// `store sign --key-file FILE PATH…`
pub(in crate::commands) fn sign(invocation: Invocation) -> Outcome<u8> {
    let mut file = None;
    let (context, paths) = StorePaths::parse(invocation, |flag, args| {
        if matches!(flag, "-k" | "--key-file") {
            file = Some(args.value(flag)?);
            return Ok(true);
        }
        Ok(false)
    })?;
    let file = file.ok_or_else(|| Failure::Usage("required argument '--key-file' is missing".into()))?;
    let text = std::fs::read_to_string(&file).map_err(|error| Failure::new(format!("opening file \"{file}\": {}", plain(&error))))?;
    let key: SecretKey = text.trim().parse().map_err(|error: nixlang_store::signature::SignatureError| Failure::from_error(&error))?;
    let store = context.store.any()?;
    let mut n_added = 0;
    for path in paths.of(&context, &*store, false)? {
        let mut info = store.path_info(&path)?;
        let known = std::mem::take(&mut info.info.signatures);
        info.sign(store.store_dir(), &key).map_err(|error| Failure::from_error(&error))?;
        let new: Vec<String> = info.info.signatures.difference(&known).cloned().collect();
        if !new.is_empty() {
            store.add_signatures(&info.path, &new)?;
            n_added += 1;
        }
    }
    context.ui.line(Verbosity::INFO, &format!("added {n_added} signatures"));
    Ok(0)
}

/// `store copy-sigs --substituter STORE PATH…`
pub(in crate::commands) fn copy_signatures(invocation: Invocation) -> Outcome<u8> {
    let mut addresses = Vec::new();
    let (context, paths) = StorePaths::parse(invocation, |flag, args| {
        if matches!(flag, "-s" | "--substituter") {
            addresses.push(args.value(flag)?);
            return Ok(true);
        }
        Ok(false)
    })?;
    if addresses.is_empty() {
        return Err(Failure::Usage("you must specify at least one substituter using '-s'".into()));
    }
    let store = context.store.any()?;
    let others = addresses.iter().map(|address| StoreChoice::at(&context.settings, address)?.any()).collect::<Outcome<Vec<_>>>()?;
    let mut n_added = 0;
    for path in paths.of(&context, &*store, false)? {
        let info = store.path_info(&path)?;
        let mut new = std::collections::BTreeSet::new();
        for other in &others {
            // Signatures over other contents would be worth nothing here.
            if let Some(theirs) = other.query_path_info(&info.path)?
                && theirs.info.nar_hash == info.info.nar_hash
                && theirs.info.nar_size == info.info.nar_size
                && theirs.info.references == info.info.references
            {
                new.extend(theirs.info.signatures.difference(&info.info.signatures).cloned());
            }
        }
        if !new.is_empty() {
            n_added += new.len();
            store.add_signatures(&info.path, &new.into_iter().collect::<Vec<_>>())?;
        }
    }
    context.ui.line(Verbosity::INFO, &format!("imported {n_added} signatures"));
    Ok(0)
}
