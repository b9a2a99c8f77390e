//! `store diff-closures`: which packages and versions came and went between two closures, and how sizes changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::building::BuildFlags;
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, realise_targets};

/// Sizes of paths by name and version.
type Packages = BTreeMap<String, BTreeMap<String, u64>>;

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables::default();
    let words = invocation.words(|flag, args| installables.flag(flag, args))?;
    installables.words = words.clone();
    let context = installables.context(invocation)?;
    let [before, after] = &words[..] else { return Err(Failure::Usage("'store diff-closures' requires two packages".into())) };
    let before = one_path(&context, &installables, before)?;
    let after = one_path(&context, &installables, after)?;
    for line in difference(&*context.store.any()?, &before, &after)? {
        println!("{line}");
    }
    Ok(0)
}

/// Returns the one path that a word stands for, which is built if it is not there.
pub(super) fn one_path(context: &Arc<Context>, installables: &Installables, word: &str) -> Outcome<StorePath> {
    let mut installables = installables.clone();
    installables.words = vec![word.to_owned()];
    let targets = installables.targets(context, true)?;
    realise_targets(context, &targets, BuildFlags { is_silent: true, ..BuildFlags::default() })?;
    let mut paths: Vec<StorePath> = Vec::new();
    for target in &targets {
        paths.extend(target.outputs(context)?.into_iter().map(|(_, path)| path));
    }
    match (paths.pop(), paths.is_empty()) {
        (Some(path), true) => Ok(path),
        _ => Err(Failure::new(format!("argument '{word}' should evaluate to one store path"))),
    }
}

/// Returns the lines that say how two closures differ.
pub(super) fn difference(store: &dyn Store, before: &StorePath, after: &StorePath) -> Outcome<Vec<String>> {
    let (before, after) = (packages(store, before)?, packages(store, after)?);
    let none = BTreeMap::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let (before, after) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
        let size = |versions: &BTreeMap<String, u64>| versions.values().sum::<u64>() as i64;
        let delta = size(after) - size(before);
        let only = |these: &BTreeMap<String, u64>, those: &BTreeMap<String, u64>| -> Vec<String> {
            these.keys().filter(|version| !those.contains_key(*version)).cloned().collect()
        };
        let (removed, added) = (only(before, after), only(after, before));
        let mut items = Vec::new();
        if !removed.is_empty() || !added.is_empty() {
            items.push(format!("{} → {}", show(&removed), show(&added)));
        }
        if delta.abs() >= 8 * 1024 {
            let (colour, sign) = if delta > 0 { ("\x1b[31;1m", "") } else { ("\x1b[32;1m", "-") };
            let size = super::path_info::human_size(delta.unsigned_abs());
            items.push(format!("{colour}{sign}{}\x1b[0m", size.trim_start()));
        }
        if !items.is_empty() {
            lines.push(format!("{name}: {}", items.join(", ")));
        }
    }
    Ok(lines)
}

pub(super) fn show(versions: &[String]) -> String {
    if versions.is_empty() {
        return "∅".to_owned();
    }
    let shown: BTreeSet<&str> = versions.iter().map(|version| if version.is_empty() { "ε" } else { version }).collect();
    shown.into_iter().collect::<Vec<_>>().join(", ")
}

fn packages(store: &dyn Store, path: &StorePath) -> Outcome<Packages> {
    let closure: Vec<StorePath> = store.closure(std::slice::from_ref(path))?.into_iter().collect();
    let mut packages = Packages::new();
    for info in store.query_path_infos(&closure)?.into_iter().flatten() {
        let (name, version) = split_name(without_output(info.path.name()));
        *packages.entry(name.to_owned()).or_default().entry(version.to_owned()).or_default() += info.info.nar_size;
    }
    Ok(packages)
}

/// Takes off what looks like an output's name: a last part of small letters.
fn without_output(name: &str) -> &str {
    let is_output = |last: &str| matches!(last, "lib32" | "lib64") || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_lowercase());
    match name.rsplit_once('-') {
        Some((rest, last)) if is_output(last) => rest,
        _ => name,
    }
}

/// Splits a name before the first dash that no letter follows.
pub(super) fn split_name(name: &str) -> (&str, &str) {
    let is_split = |place: &usize| name[*place..].starts_with('-') && name.as_bytes().get(place + 1).is_some_and(|next| !next.is_ascii_alphabetic());
    match (0..name.len()).find(|place| name.is_char_boundary(*place) && is_split(place)) {
        Some(place) => (&name[..place], &name[place + 1..]),
        None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        assert_eq!(split_name("hello-2.12.1"), ("hello", "2.12.1"));
        assert_eq!(split_name("apache-httpd-2.0.48"), ("apache-httpd", "2.0.48"));
        assert_eq!(split_name("hello"), ("hello", ""));
        assert_eq!(split_name("x-"), ("x-", ""));
        assert_eq!(without_output("glibc-2.40-bin"), "glibc-2.40");
        assert_eq!(without_output("glibc-2.40"), "glibc-2.40");
        assert_eq!(without_output("hello"), "hello");
    }
}
