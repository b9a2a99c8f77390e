//! `flake metadata`: what a reference turned out to be, and the tree of its inputs.

use std::collections::BTreeSet;

use nixlang::flake::{Edge, LockFile, LockedFlake, NodeIndex, print_input_path};
use nixlang_store::hash::HashFormat;
use serde_json::{Map, Value};

use super::{Flake, attrs_to_json};
use crate::commands::Invocation;
use crate::evaluation::evaluate;
use crate::failure::Outcome;

pub(in crate::commands) fn info(mut invocation: Invocation) -> Outcome<u8> {
    invocation.common.warnings.push("'nix flake info' is a deprecated alias for 'nix flake metadata'".into());
    metadata(invocation)
}

pub(in crate::commands) fn metadata(mut invocation: Invocation) -> Outcome<u8> {
    let flake = Flake::parse(&mut invocation, |_, _| Ok(false))?;
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let options = flake.flags.options(&context)?;
    let (locked, fingerprint, is_locked) = evaluate(&context, true, |evaluation| {
        let locked = crate::flakes::locked(evaluation, &reference, &options)?;
        let is_locked = locked.flake.locked.input.is_locked(evaluation.eval.options.trust_forge_archives).unwrap_or(false);
        let fingerprint = locked.fingerprint(evaluation.eval).map(|hash| hash.format(HashFormat::Base16, false));
        Ok((locked, fingerprint, is_locked))
    })?;
    let LockedFlake { flake: found, lock_file, .. } = &*locked;
    let input = &found.locked.input;
    let path = found.tree.as_ref().map(|path| context.store.store_dir().display(path)).unwrap_or_default();
    let revision = input.revision_text().unwrap_or_default();
    if flake.json {
        let mut json = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(name.to_owned(), value);
            }
        };
        set("description", found.description.clone().map(Value::from));
        set("originalUrl", Some(found.original.to_string().into()));
        set("original", Some(attrs_to_json(&found.original.to_attrs())));
        set("resolvedUrl", Some(found.resolved.to_string().into()));
        set("resolved", Some(attrs_to_json(&found.resolved.to_attrs())));
        set("url", Some(found.locked.to_string().into()));
        set("locked", Some(attrs_to_json(&found.locked.to_attrs())));
        set("revision", revision.map(Value::from));
        set("dirtyRevision", input.text("dirtyRev").map(Value::from));
        set("revCount", input.number("revCount").map(Value::from));
        set("lastModified", input.number("lastModified").map(Value::from));
        set("path", Some(path.into()));
        set("locks", Some(lock_file.to_json().0));
        set("fingerprint", fingerprint.map(Value::from));
        flake.print(&json.into());
        return Ok(0);
    }
    let say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // All values begin in the same column.
            println!("\x1b[1m{name}:\x1b[0m{:width$}{value}", "", width = 14_usize.saturating_sub(name.len()));
        }
    };
    say("Resolved URL", Some(found.resolved.to_string()));
    say("Locked URL", is_locked.then(|| found.locked.to_string()));
    say("Description", found.description.clone());
    say("Path", Some(path));
    say("Revision", revision);
    say("Revision", input.text("dirtyRev").map(str::to_owned));
    say("Revisions", input.number("revCount").map(|count| count.to_string()));
    say("Last modified", input.number("lastModified").map(local_time));
    say("Fingerprint", fingerprint);
    if !lock_file.node(LockFile::ROOT).inputs.is_empty() {
        println!("\x1b[1mInputs:\x1b[0m");
    }
    print_inputs(lock_file, LockFile::ROOT, "", &mut BTreeSet::from([LockFile::ROOT]));
    Ok(0)
}

fn print_inputs(file: &LockFile, index: NodeIndex, prefix: &str, visited: &mut BTreeSet<NodeIndex>) {
    let inputs = &file.node(index).inputs;
    for (i, (name, edge)) in inputs.iter().enumerate() {
        let is_last = i + 1 == inputs.len();
        let branch = if is_last { "└───" } else { "├───" };
        match edge {
            Edge::Follows(path) => println!("{prefix}{branch}\x1b[1m{name}\x1b[0m follows input '{}'", print_input_path(path)),
            Edge::Node(node) => {
                let Some(locked) = &file.node(*node).locked else { continue };
                let modified = locked.locked.input.number("lastModified");
                let modified = modified.map(|seconds| format!(" ({})", time(seconds, chrono::Utc))).unwrap_or_default();
                println!("{prefix}{branch}\x1b[1m{name}\x1b[0m: {}{modified}", locked.locked);
                if visited.insert(*node) {
                    print_inputs(file, *node, &format!("{prefix}{}", if is_last { "    " } else { "│   " }), visited);
                }
            }
        }
    }
}

fn local_time(seconds: u64) -> String {
    time(seconds, chrono::Local)
}

fn time<Zone: chrono::TimeZone>(seconds: u64, zone: Zone) -> String
where
    Zone::Offset: std::fmt::Display,
{
    let at = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    at.map_or_else(String::new, |at| at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string())
}
