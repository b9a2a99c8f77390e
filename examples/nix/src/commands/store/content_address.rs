//! `store make-content-addressed`: paths under names that follow from their contents.

use nixlang_store::make_content_addressed::make_content_addressed as rewrite;
use nixlang_store::open::content_rules;

use super::super::Invocation;
use crate::failure::Outcome;
use crate::store_choice::StoreChoice;
use crate::store_paths::StorePaths;
use crate::ui::Verbosity;

/// `store make-content-addressed [--from STORE] [--to STORE] [--json] PATH…`
pub(in crate::commands) fn make_content_addressed(invocation: Invocation) -> Outcome<u8> {
    let (mut from, mut to, mut json) = (None, None, false);
    let (context, paths) = StorePaths::parse(invocation, |flag, args| {
        match flag {
            "--from" => from = Some(args.value(flag)?),
            "--to" => to = Some(args.value(flag)?),
            "--json" => json = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let open = |address: Option<String>| match address {
        Some(address) => StoreChoice::at(&context.settings, &address)?.any(),
        None => context.store.any(),
    };
    let (from, to) = (open(from)?, open(to)?);
    let paths = paths.of(&context, &*from, true)?;
    let remapped = rewrite(&*from, &*to, &paths, content_rules(&context.settings)?.self_references())?;
    let dir = from.store_dir();
    let pairs = paths.iter().map(|path| (dir.display(path), dir.display(&remapped[path])));
    if json {
        let rewrites: serde_json::Map<String, serde_json::Value> = pairs.map(|(old, new)| (old, new.into())).collect();
        println!("{}", nixlang_store::json::to_string(&serde_json::json!({ "rewrites": rewrites })));
    } else {
        for (old, new) in pairs {
            context.ui.line(Verbosity::NOTICE, &format!("rewrote '{old}' to '{new}'"));
        }
    }
    Ok(0)
}
