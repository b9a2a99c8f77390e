//! `realisation info`: which paths outputs turned out to be.


use super::Invocation;
use crate::failure::Outcome;
use crate::store_paths::StorePaths;

/// `realisation info [--json] INSTALLABLE…`
pub(super) fn info(invocation: Invocation) -> Outcome<u8> {
    let mut json = false;
    let (context, paths) = StorePaths::parse(invocation, |flag, _| {
        json |= flag == "--json";
        Ok(flag == "--json")
    })?;
    let store = context.store.any()?;
    let found = paths.to_copy(&context, &*store, true)?;
    let plain = found.roots.iter().filter(|path| found.realisations.iter().all(|realisation| realisation.path != **path));
    let dir = store.store_dir();
    if json {
        let mut shown: Vec<serde_json::Value> = found.realisations.iter().map(|realisation| realisation.to_json()).collect();
        shown.extend(plain.map(|path| serde_json::json!({ "opaquePath": dir.display(path) })));
        println!("{}", nixlang_store::json::to_string(&shown.into()));
        return Ok(0);
    }
    for realisation in &found.realisations {
        println!("{} {}", realisation.id, dir.display(&realisation.path));
    }
    for path in plain {
        println!("{}", dir.display(path));
    }
    Ok(0)
}
