//! `store verify`, `store repair`: whether paths are what they should be.

use std::collections::BTreeSet;

use nixlang_store::hash::{Hash, HashFormat, Hasher};
use nixlang_store::path_info::PathInfo;
use nixlang_store::signature::Signature;
use nixlang_store::store::Store;

use super::super::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::store_choice::StoreChoice;
use crate::store_paths::StorePaths;
use crate::ui::Verbosity;

/// What of a path is to be verified.
#[derive(Default)]
struct Wanted {
    no_contents: bool,
    no_trust: bool,
    signatures_needed: u64,
    substituters: Vec<String>,
}

/// `store verify [--all] PATH…`. The status says what was wrong: 1 contents, 2 trust, 4 something else, added up.
pub(in crate::commands) fn verify(invocation: Invocation) -> Outcome<u8> {
    let mut wanted = Wanted::default();
    let (context, paths) = StorePaths::parse(invocation, |flag, args| {
        match flag {
            "--no-contents" => wanted.no_contents = true,
            "--no-trust" => wanted.no_trust = true,
            "-s" | "--substituter" => wanted.substituters.push(args.value(flag)?),
            "-n" | "--sigs-needed" => {
                let value = args.value(flag)?;
                wanted.signatures_needed = value.parse().map_err(|_| Failure::Usage(format!("'{value}' is not an integer")))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let store = context.store.any()?;
    let others = wanted.substituters.iter().map(|address| StoreChoice::at(&context.settings, address)?.any()).collect::<Outcome<Vec<_>>>()?;
    let keys = nixlang_store::open::trusted_keys(&context.settings)?;
    let (mut corrupted, mut untrusted, mut failed) = (false, false, false);
    for path in paths.of(&context, &*store, false)? {
        let checked = store.path_info(&path).and_then(|info| {
            corrupted |= !wanted.no_contents && !has_its_hash(&context, &*store, &info)?;
            if !wanted.no_trust && !is_trusted(&*store, &others, &info, wanted.signatures_needed, &keys)? {
                context.ui.line(Verbosity::ERROR, &format!("path '{}' is untrusted", store.store_dir().display(&info.path)));
                untrusted = true;
            }
            Ok(())
        });
        if let Err(error) = checked {
            context.ui.show(&nixlang::diagnostics::Diagnostic::error(crate::failure::message(&error)));
            failed = true;
        }
    }
    Ok(u8::from(corrupted) | u8::from(untrusted) << 1 | u8::from(failed) << 2)
}

/// Returns whether the contents of a path are what was registered, and says so if not.
pub(in crate::commands) fn has_its_hash(context: &Context, store: &dyn Store, info: &PathInfo) -> nixlang_store::error::Result<bool> {
    let expected = info.info.nar_hash;
    let mut hasher = Hasher::new(expected.algorithm());
    store.write_nar(&info.path, &mut hasher)?;
    let got = hasher.finish();
    if got != expected {
        let show = |hash: Hash| hash.format(HashFormat::Nix32, true);
        let path = store.store_dir().display(&info.path);
        context.ui.line(Verbosity::ERROR, &format!("path '{path}' was modified! expected hash '{}', got '{}'", show(expected), show(got)));
    }
    Ok(got == expected)
}

/// Returns whether enough keys vouch for a path. What was built here needs none unless some are asked for, what follows from its contents never.
fn is_trusted(
    store: &dyn Store,
    others: &[std::sync::Arc<dyn Store>],
    info: &PathInfo,
    n_needed: u64,
    keys: &nixlang_store::signature::TrustedKeys,
) -> nixlang_store::error::Result<bool> {
    let dir = store.store_dir();
    if info.info.ultimate && n_needed == 0 || info.is_content_addressed(dir) {
        return Ok(true);
    }
    let n_needed = n_needed.max(1);
    let Ok(fingerprint) = info.fingerprint(dir) else { return Ok(false) };
    let is_good = |text: &&String| text.parse::<Signature>().is_ok_and(|signature| keys.verify(fingerprint.as_bytes(), &signature));
    let mut good: BTreeSet<String> = info.info.signatures.iter().filter(is_good).cloned().collect();
    for other in others {
        if good.len() as u64 >= n_needed {
            break;
        }
        if let Some(theirs) = other.query_path_info(&info.path)? {
            good.extend(theirs.info.signatures.iter().filter(is_good).cloned());
        }
    }
    Ok(good.len() as u64 >= n_needed)
}

/// `store repair PATH…`
pub(in crate::commands) fn repair(invocation: Invocation) -> Outcome<u8> {
    let (context, paths) = StorePaths::parse(invocation, |_, _| Ok(false))?;
    for path in paths.of(&context, &**context.store.open()?, false)? {
        crate::repair::repair_path(&context, &path)?;
    }
    Ok(0)
}
