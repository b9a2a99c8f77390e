//! `flake archive`, `flake prefetch-inputs`, `flake clone`: the trees of a flake and its inputs, in stores and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nixlang::flake::{Edge, LockFile, NodeIndex};
use nixlang_store::copy::CopyOptions;
use nixlang_store::path::StorePath;
use serde_json::{Map, Value, json};

use super::Flake;
use crate::commands::{Context, Invocation};
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::fetch::{failed, fetchers};
use crate::store_choice::StoreChoice;
use crate::ui::Verbosity;

/// `flake archive [--to STORE] [--dry-run]`
pub(in crate::commands) fn archive(mut invocation: Invocation) -> Outcome<u8> {
    let (mut to, mut dry_run, mut check_signatures) = (None, false, true);
    let flake = Flake::parse(&mut invocation, |flag, args| {
        match flag {
            "--to" => to = Some(args.value(flag)?),
            "--dry-run" => dry_run = true,
            "--no-check-sigs" => check_signatures = false,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let options = flake.flags.options(&context)?;
    let locked = evaluate(&context, true, |evaluation| crate::flakes::locked(evaluation, &reference, &options))?;
    let Some(tree) = locked.flake.tree.clone() else { return Err(Failure::new("the flake has no tree of its own")) };
    let mut trees = BTreeMap::new();
    let mut paths = BTreeSet::from([tree.clone()]);
    let store = context.store.any()?;
    let fetchers = fetchers(&context);
    for index in reachable(&locked.lock_file) {
        let Some(node) = &locked.lock_file.node(index).locked else { continue };
        if node.locked.relative_path().is_some() {
            continue;
        }
        let path = match dry_run {
            true => node.locked.input.store_path(store.store_dir()).ok().flatten(),
            false => Some(fetchers.fetch(&*store, &node.locked.input).map_err(failed)?.path),
        };
        let path = path.ok_or_else(|| Failure::new(format!("cannot compute store path for unlocked input '{}'", node.locked.input)))?;
        paths.insert(path.clone());
        trees.insert(index, path);
    }
    if flake.json {
        let inputs = inputs_to_json(&context, &locked.lock_file, LockFile::ROOT, &trees, 0)?;
        flake.print(&json!({ "path": context.store.store_dir().display(&tree), "inputs": inputs }));
    }
    if let Some(to) = to.filter(|_| !dry_run) {
        let to = StoreChoice::at(&context.settings, &to)?.any()?;
        let mut options = CopyOptions::default();
        options.check_signatures = check_signatures;
        options.interrupt = context.cancel.interrupt();
        let paths: Vec<StorePath> = paths.into_iter().collect();
        nixlang_store::copy::copy(&*store, &*to, &store.closure(&paths)?, &options, &())?;
    }
    Ok(0)
}

/// Returns all nodes that some path leads to.
fn reachable(file: &LockFile) -> BTreeSet<NodeIndex> {
    let mut found = BTreeSet::new();
    let mut pending = vec![LockFile::ROOT];
    while let Some(index) = pending.pop() {
        if found.insert(index) {
            pending.extend(file.node(index).inputs.values().filter_map(|edge| if let Edge::Node(node) = edge { Some(*node) } else { None }));
        }
    }
    found
}

fn inputs_to_json(context: &Context, file: &LockFile, index: NodeIndex, trees: &BTreeMap<NodeIndex, StorePath>, depth: u32) -> Outcome<Value> {
    if depth > 1000 {
        return Err(Failure::new("the inputs of this flake go in circles"));
    }
    let mut json = Map::new();
    for (name, edge) in &file.node(index).inputs {
        let Edge::Node(node) = edge else { continue };
        let mut input = Map::new();
        if let Some(path) = trees.get(node) {
            input.insert("path".into(), context.store.store_dir().display(path).into());
        }
        input.insert("inputs".into(), inputs_to_json(context, file, *node, trees, depth + 1)?);
        json.insert(name.clone(), input.into());
    }
    Ok(json.into())
}

/// `flake prefetch-inputs`
pub(in crate::commands) fn prefetch_inputs(mut invocation: Invocation) -> Outcome<u8> {
    let flake = Flake::parse(&mut invocation, |_, _| Ok(false))?;
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let options = flake.flags.options(&context)?;
    let locked = evaluate(&context, true, |evaluation| crate::flakes::locked(evaluation, &reference, &options))?;
    let store = context.store.any()?;
    let fetchers = fetchers(&context);
    let mut status = 0;
    for index in reachable(&locked.lock_file) {
        let Some(node) = &locked.lock_file.node(index).locked else { continue };
        context.ui.line(Verbosity::INFO, &format!("fetching '{}'...", node.locked));
        if let Err(error) = fetchers.fetch(&*store, &node.locked.input) {
            context.ui.show(&crate::fetch::diagnostic(error));
            status = 1;
        }
    }
    Ok(status)
}

/// `flake clone --dest DIRECTORY`
pub(in crate::commands) fn clone(mut invocation: Invocation) -> Outcome<u8> {
    let mut destination: Option<PathBuf> = None;
    let flake = Flake::parse(&mut invocation, |flag, args| {
        let is_known = matches!(flag, "--dest" | "-f");
        if is_known {
            destination = Some(args.value(flag)?.into());
        }
        Ok(is_known)
    })?;
    let Some(destination) = destination else { return Err(Failure::new("missing flag '--dest'")) };
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let store = context.store.any()?;
    let fetchers = fetchers(&context);
    let (input, _) = crate::fetch::registries(&context, &fetchers, &*store).and_then(|registries| registries.resolve(&reference.input, false)).map_err(failed)?;
    fetchers.clone_to(&*store, &input, &destination).map_err(failed)?;
    Ok(0)
}
