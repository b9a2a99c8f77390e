//! `profile add` and `profile upgrade`: what is built becomes an element of a profile, which remembers the flake that it came from.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang_build::executor::builtin::{LinkError, Package, link_packages};
use nixlang_store::path::StorePath;
use nixlang_store::profile::Profile;
use nixlang_store::store::{Addressing, Contents};

use super::super::{Context, Invocation};
use super::manifest::{DEFAULT_PRIORITY, Element, Manifest, Source};
use super::matching::Matching;
use super::{open, read, words};
use crate::building::BuildFlags;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::flakes::{FlakeFlags, FlakeOutput, FlakeWord, flake_output, locked, reference};
use crate::installables::{BuiltTarget, Installables, Outputs, Target, Word, build_targets};
use crate::ui::Verbosity;

/// `profile add [--priority N] INSTALLABLE…`
pub(in super::super) fn add(invocation: Invocation) -> Outcome<u8> {
    let (mut profile, mut priority) = (None, None);
    let (installables, context) = Installables::parse(invocation, |flag, args| {
        match flag {
            "--profile" => profile = Some(args.value(flag)?),
            "--priority" => {
                let number = args.value(flag)?;
                priority = Some(number.parse::<i64>().map_err(|_| Failure::Usage(format!("'{number}' is not an integer")))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let profile = open(&context, profile)?;
    let mut manifest = read(&context, &profile)?;
    let (mut targets, mut elements) = (Vec::new(), Vec::new());
    for word in installables.words() {
        let (found, source, own_priority) = one(&context, &installables, word)?;
        let range = targets.len()..targets.len() + found.len();
        targets.extend(found);
        elements.push((range, source, priority.or(own_priority).unwrap_or(DEFAULT_PRIORITY)));
    }
    let (built, _) = build_targets(&context, &targets, BuildFlags::default())?;
    for (range, source, priority) in elements {
        // What stands for nothing adds nothing.
        if range.is_empty() {
            continue;
        }
        let element = Element { paths: paths(&built, range), active: true, priority, source };
        let name = element.name();
        if manifest.elements.get(&name).is_some_and(|known| is_same(known, &element)) {
            context.ui.warn(format!("'{name}' is already added"));
            continue;
        }
        manifest.add(&name, element);
    }
    update(&context, &profile, &manifest)
}

/// Returns what a word stands for, where that came from, and the priority that it wants.
fn one(context: &Arc<Context>, installables: &Installables, word: String) -> Outcome<(Vec<Target>, Option<Source>, Option<i64>)> {
    if !installables.has_source()
        && let Word::Flake { flake, outputs } = installables.word(context, &word)?
    {
        let (found, source) = of_flake(context, &flake, &outputs, &installables.flakes)?;
        return Ok((vec![found.target], source, found.priority));
    }
    let one = Installables { words: vec![word], stdin: false, ..installables.clone() };
    Ok((one.targets(context, true)?, None, None))
}

/// Evaluates an output of a flake.
fn of_flake(context: &Arc<Context>, flake: &FlakeWord, outputs: &Outputs, flags: &FlakeFlags) -> Outcome<(FlakeOutput, Option<Source>)> {
    crate::flakes::require(context, "flakes")?;
    let options = flags.options(context)?;
    evaluate(context, true, |evaluation| {
        let found = flake_output(evaluation, flake, outputs, &options, false)?;
        let locked = locked(evaluation, &flake.reference, &options)?;
        let source = found.attribute.clone().map(|attribute| Source {
            original: flake.reference.to_string(),
            locked: locked.flake.locked.to_string(),
            attribute,
            outputs: outputs.clone(),
        });
        Ok((found, source))
    })
}

fn paths(built: &[BuiltTarget], range: Range<usize>) -> BTreeSet<StorePath> {
    built[range].iter().flat_map(|built| &built.outputs).map(|(_, path)| path.clone()).collect()
}

/// Whether one need not be added where the other is.
fn is_same(known: &Element, new: &Element) -> bool {
    match (&known.source, &new.source) {
        (Some(a), Some(b)) => known.priority == new.priority && a.original == b.original && a.attribute == b.attribute,
        _ => false,
    }
}

/// `profile upgrade {NAME…|PATH…|--regex PATTERN|--all}`
pub(in super::super) fn upgrade(mut invocation: Invocation) -> Outcome<u8> {
    let (mut matching, mut flags) = (Matching::default(), FlakeFlags::default());
    let (words, profile) = words(&mut invocation, |flag, args| Ok(matching.flag(flag, args)? || flags.flag(flag, args)?))?;
    let context = invocation.context()?;
    flags.begin(&context)?;
    let profile = open(&context, profile)?;
    let mut manifest = read(&context, &profile)?;
    let names = matching.names(&context, &manifest, &words)?;
    if names.is_empty() {
        context.ui.warn("No packages to upgrade. Use 'nix profile list' to see the current profile.");
        return Ok(0);
    }
    let trusts_archives = context.settings.is_on("trust-tarballs-from-git-forges");
    let (mut n_looked_at, mut upgraded) = (0, Vec::new());
    for name in names {
        let element = &manifest.elements[&name];
        let Some(source) = &element.source else {
            let shown = element.identifier();
            context.ui.warn(format!("Found package '{shown}', but it was not added from a flake, so it can't be checked for upgrades!"));
            continue;
        };
        let (reference, _) = reference(&context, &source.original, true, true)?;
        if reference.input.is_locked(trusts_archives).map_err(|error| Failure::new(error.to_string()))? {
            let shown = element.identifier();
            context.ui.warn(format!("Found package '{shown}', but it was added from a locked flake reference so it can't be upgraded!"));
            continue;
        }
        n_looked_at += 1;
        let flake = FlakeWord { reference, paths: vec![source.attribute.clone()] };
        let (found, new) = of_flake(&context, &flake, &source.outputs, &flags)?;
        let Some(new) = new else {
            return Err(Failure::new(format!("'{}' is not a derivation any more", source.installable())));
        };
        let is_known = found_is_locked(&context, &new.locked, trusts_archives)? && source.locked == new.locked;
        if is_known {
            continue;
        }
        let line = format!("upgrading '{}' from flake '{}' to '{}'", source.attribute, source.locked, new.locked);
        context.ui.line(Verbosity::INFO, &line);
        upgraded.push((name, found.target, new));
    }
    if n_looked_at == 0 {
        context.ui.warn("Found some packages but none of them could be upgraded.");
        return Ok(0);
    }
    let targets: Vec<Target> = upgraded.iter().map(|(_, target, _)| target.clone()).collect();
    let (built, _) = build_targets(&context, &targets, BuildFlags::default())?;
    for (place, (name, _, source)) in upgraded.into_iter().enumerate() {
        if let Some(element) = manifest.elements.get_mut(&name) {
            element.source = Some(source);
            element.paths = paths(&built, place..place + 1);
        }
    }
    update(&context, &profile, &manifest)
}

/// Whether an address names contents that don't change.
fn found_is_locked(context: &Context, address: &str, trusts_archives: bool) -> Outcome<bool> {
    let (reference, _) = reference(context, address, true, true)?;
    reference.input.is_locked(trusts_archives).map_err(|error| Failure::new(error.to_string()))
}

/// Makes a manifest the next generation of a profile.
pub(super) fn update(context: &Context, profile: &Profile, manifest: &Manifest) -> Outcome<u8> {
    let store = context.store.any()?;
    let dir = store.store_dir();
    let mut references = BTreeSet::new();
    let mut packages = Vec::new();
    for element in manifest.elements.values() {
        for path in &element.paths {
            references.insert(path.clone());
            let logical = PathBuf::from(dir.display(path));
            if element.active && store.real_path(path).is_none_or(|real| real != logical) {
                return Err(Failure::new("profiles of stores that are rooted elsewhere are not supported yet"));
            }
            packages.push(Package { path: logical, active: element.active, priority: element.priority });
        }
    }
    let scratch = tempfile::tempdir()?;
    let tree = scratch.path().join("profile");
    link_packages(&tree, &packages).map_err(|error| conflict(context, manifest, &error))?;
    std::fs::write(tree.join("manifest.json"), nixlang_store::json::to_string(&manifest.to_json(dir)))?;
    let addressing = Addressing { references, ..Addressing::source("profile") };
    let made = store.add_contents(&addressing, Contents::Tree { path: &tree, filter: None })?.path;
    let _lock = profile.lock()?;
    profile.add_generation(&*store, &made)?;
    Ok(0)
}

/// Says how to get over two elements that have the same file.
fn conflict(context: &Context, manifest: &Manifest, error: &LinkError) -> Failure {
    let LinkError::Conflict { first, second, priority } = error else { return Failure::new(error.to_string()) };
    let dir = context.store.store_dir();
    // The element of one of the two files, and which of them.
    let owned = |(name, element): (&String, &Element)| -> Option<(String, PathBuf, Vec<String>)> {
        let file = element.paths.iter().find_map(|path| {
            let root = PathBuf::from(dir.display(path));
            [first, second].into_iter().find(|file| Path::new(file).starts_with(&root))
        })?;
        Some((name.clone(), file.clone(), element.installables(dir)))
    };
    let (old, new) = (manifest.elements.iter().find_map(owned), manifest.elements.iter().rev().find_map(owned));
    let (Some((old_name, old_file, _)), Some((_, new_file, new_words))) = (old, new) else { return Failure::new(error.to_string()) };
    let words = new_words.join(" ");
    Failure::new(format!(
        "An existing package already provides the following file:\n\n  \"{}\"\n\n\
         This is the conflicting file from the new package:\n\n  \"{}\"\n\n\
         To remove the existing package:\n\n  nix profile remove {old_name}\n\n\
         The new package can also be added next to the existing one by assigning a different priority.\n\
         The conflicting packages have a priority of {priority}.\n\
         To prioritise the new package:\n\n  nix profile add {words} --priority {}\n\n\
         To prioritise the existing package:\n\n  nix profile add {words} --priority {}",
        old_file.display(),
        new_file.display(),
        priority.saturating_sub(1),
        priority.saturating_add(1),
    ))
}
