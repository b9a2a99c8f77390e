//! `profile …`: what is installed, in generations, as `manifest.json` says it.
//!
//! Store paths and attributes of `--file` and `--expr` can be added; flakes can't yet. A profile is a store object of its own, named by its
//! contents, and no derivation.

mod manifest;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang_build::executor::builtin::{Package, link_packages};
use nixlang_store::profile::{Old, Profile};
use nixlang_store::store::{Addressing, Contents};

use self::manifest::{DEFAULT_PRIORITY, Element, Manifest};
use super::diff_closures::difference;
use super::{Context, Invocation};
use crate::args::Args;
use crate::building::BuildFlags;
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Word, build_targets, store_path};
use crate::profiles::{days_ago, default_profile, delete_generations};
use crate::ui::Verbosity;

// As the reference writes them, wherever they go.
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32;1m";
const NORMAL: &str = "\x1b[0m";

fn open(context: &Context, given: Option<String>) -> Outcome<Profile> {
    match given {
        Some(profile) => Ok(Profile::new(&PathBuf::from(profile))?),
        None => default_profile(context),
    }
}

fn read(context: &Context, profile: &Profile) -> Outcome<Manifest> {
    Manifest::read(context.store.store_dir(), profile.link())
}

/// Reads a command line of words; `--profile` and flags that `own` knows.
fn words(invocation: &mut Invocation, mut own: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<(Vec<String>, Option<String>)> {
    let mut profile = None;
    let words = super::store::words(invocation, |flag, args| match flag {
        "--profile" => {
            profile = Some(args.value(flag)?);
            Ok(true)
        }
        flag => own(flag, args),
    })?;
    Ok((words, profile))
}

/// `profile add [--priority N] INSTALLABLE…`
pub(super) fn add(invocation: Invocation) -> Outcome<u8> {
    let (mut profile, mut priority) = (None, DEFAULT_PRIORITY);
    let (installables, context) = Installables::parse(invocation, |flag, args| {
        match flag {
            "--profile" => profile = Some(args.value(flag)?),
            "--priority" => {
                let number = args.value(flag)?;
                priority = number.parse().map_err(|_| Failure::Usage(format!("'{number}' is not an integer")))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let profile = open(&context, profile)?;
    let mut manifest = read(&context, &profile)?;
    for word in installables.words() {
        if !installables.has_source() && matches!(installables.word(&context, &word)?, Word::Flake { .. }) {
            return Err(Failure::new(format!("'{word}' is a flake, which 'profile add' does not support yet; name what it builds with '--file' or '--expr'")));
        }
        let one = Installables { words: vec![word], stdin: false, ..installables.clone() };
        let targets = one.targets(&context, true)?;
        let (built, _) = build_targets(&context, &targets, BuildFlags::default())?;
        let paths = built.into_iter().flat_map(|built| built.outputs).map(|(_, path)| path).collect();
        let element = Element { paths, active: true, priority, source: None };
        manifest.add(&element.identifier(), element);
    }
    update(&context, &profile, &manifest)
}

/// Makes a manifest the next generation of a profile.
fn update(context: &Context, profile: &Profile, manifest: &Manifest) -> Outcome<u8> {
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
    link_packages(&tree, &packages).map_err(Failure::new)?;
    std::fs::write(tree.join("manifest.json"), nixlang_store::json::to_string(&manifest.to_json(dir)))?;
    let addressing = Addressing { references, ..Addressing::source("profile") };
    let made = store.add_contents(&addressing, Contents::Tree { path: &tree, filter: None })?.path;
    let _lock = profile.lock()?;
    profile.add_generation(&*store, &made)?;
    Ok(0)
}

/// `profile remove {NAME…|PATH…|--all}`
pub(super) fn remove(mut invocation: Invocation) -> Outcome<u8> {
    let mut all = false;
    let (words, profile) = words(&mut invocation, |flag, _| {
        all |= flag == "--all";
        Ok(flag == "--all")
    })?;
    let context = invocation.context()?;
    if words.is_empty() && !all {
        return Err(Failure::Usage("No packages specified.".into()));
    }
    if all && !words.is_empty() {
        return Err(Failure::Usage("--all cannot be used with package names or regular expressions.".into()));
    }
    let profile = open(&context, profile)?;
    let mut manifest = read(&context, &profile)?;
    let names = matching(&context, &manifest, &words, all)?;
    if names.is_empty() {
        context.ui.warn("No packages to remove. Use 'nix profile list' to see the current profile.");
        return Ok(0);
    }
    for name in &names {
        if let Some(element) = manifest.elements.remove(name) {
            context.ui.line(Verbosity::NOTICE, &format!("removing '{}'", element.identifier()));
        }
    }
    context.ui.line(Verbosity::INFO, &format!("removed {} packages, kept {} packages", names.len(), manifest.elements.len()));
    update(&context, &profile, &manifest)
}

/// Returns the names of the elements that words mean.
fn matching(context: &Context, manifest: &Manifest, words: &[String], all: bool) -> Outcome<BTreeSet<String>> {
    if manifest.elements.is_empty() {
        context.ui.warn("There are no packages in the profile.");
        return Ok(BTreeSet::new());
    }
    if all {
        return Ok(manifest.elements.keys().cloned().collect());
    }
    let mut names = BTreeSet::new();
    for word in words {
        if word.parse::<u64>().is_ok() {
            return Err(Failure::new(format!("'nix profile' no longer supports indices ('{word}')")));
        }
        let path = context.store.store_dir().parse(word).ok();
        let found = manifest.elements.iter().filter(|(name, element)| match &path {
            Some(path) => element.paths.contains(path),
            None => *name == word,
        });
        let n_names = names.len();
        names.extend(found.map(|(name, _)| name.clone()));
        if names.len() == n_names {
            let title = match &path {
                Some(path) => format!("Store path '{}'", path.base_name()),
                None => format!("Package name '{word}'"),
            };
            context.ui.warn(format!("{title} does not match any packages in the profile."));
        }
    }
    Ok(names)
}

/// `profile list [--json]`
pub(super) fn list(mut invocation: Invocation) -> Outcome<u8> {
    let mut json = false;
    let (words, profile) = words(&mut invocation, |flag, _| {
        json |= flag == "--json";
        Ok(flag == "--json")
    })?;
    no_words(&words)?;
    let context = invocation.context()?;
    let manifest = read(&context, &open(&context, profile)?)?;
    let dir = context.store.store_dir();
    if json {
        println!("{}", nixlang_store::json::to_string(&manifest.to_json(dir)));
        return Ok(0);
    }
    for (idx, (name, element)) in manifest.elements.iter().enumerate() {
        if idx > 0 {
            println!();
        }
        let note = if element.active { "" } else { " \x1b[31;1m(inactive)\x1b[0m" };
        println!("Name:               {BOLD}{name}{NORMAL}{note}");
        if let Some((attribute, outputs, original, locked)) = element.flake() {
            println!("Flake attribute:    {attribute}{outputs}\nOriginal flake URL: {original}\nLocked flake URL:   {locked}");
        }
        let paths: Vec<String> = element.paths.iter().map(|path| dir.display(path)).collect();
        println!("Store paths:        {}", paths.join(" "));
    }
    Ok(0)
}

/// `profile history`
pub(super) fn history(mut invocation: Invocation) -> Outcome<u8> {
    let (words, profile) = words(&mut invocation, |_, _| Ok(false))?;
    no_words(&words)?;
    let context = invocation.context()?;
    let mut before: Option<(u64, Manifest)> = None;
    let generations = open(&context, profile)?.generations()?;
    for generation in &generations.all {
        let manifest = Manifest::read(context.store.store_dir(), &generation.link)?;
        let date = chrono::DateTime::from_timestamp(generation.created, 0).ok_or_else(|| Failure::new("cannot convert time"))?;
        let arrow = before.as_ref().map(|(number, _)| format!(" <- {number}")).unwrap_or_default();
        if before.is_some() {
            println!();
        }
        let style = if generations.current == Some(generation.number) { GREEN } else { BOLD };
        println!("Version {style}{}{NORMAL} ({}){arrow}:", generation.number, date.format("%Y-%m-%d"));
        let empty = Manifest::default();
        for line in manifest.difference(before.as_ref().map_or(&empty, |(_, manifest)| manifest)) {
            println!("  {line}");
        }
        before = Some((generation.number, manifest));
    }
    Ok(0)
}

/// `profile diff-closures`
pub(super) fn diff_closures(mut invocation: Invocation) -> Outcome<u8> {
    let (words, profile) = words(&mut invocation, |_, _| Ok(false))?;
    no_words(&words)?;
    let context = invocation.context()?;
    let store = context.store.any()?;
    let generations = open(&context, profile)?.generations()?.all;
    let target = |link: &Path| store_path(&context, &link.to_string_lossy()).ok_or_else(|| Failure::new(format!("'{}' leads nowhere", link.display())));
    for (idx, pair) in generations.windows(2).enumerate() {
        if idx > 0 {
            println!();
        }
        println!("Version {} -> {}:", pair[0].number, pair[1].number);
        for line in difference(&*store, &target(&pair[0].link)?, &target(&pair[1].link)?)? {
            println!("  {line}");
        }
    }
    Ok(0)
}

/// `profile rollback [--to VERSION] [--dry-run]`
pub(super) fn rollback(mut invocation: Invocation) -> Outcome<u8> {
    let (mut to, mut dry_run) = (None, false);
    let (words, profile) = words(&mut invocation, |flag, args| {
        match flag {
            "--to" => to = Some(args.value(flag)?.parse().map_err(|_| Failure::Usage("'--to' requires a version".into()))?),
            "--dry-run" => dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    no_words(&words)?;
    let context = invocation.context()?;
    let (from, to) = open(&context, profile)?.switch(to, dry_run)?;
    context.ui.line(Verbosity::NOTICE, &format!("switching profile from version {from} to {to}"));
    Ok(0)
}

/// `profile wipe-history [--older-than AGE] [--dry-run]`
pub(super) fn wipe_history(mut invocation: Invocation) -> Outcome<u8> {
    let (mut old, mut dry_run) = (Old::All, false);
    let (words, profile) = words(&mut invocation, |flag, args| {
        match flag {
            "--older-than" => old = Old::Before(days_ago(&args.value(flag)?)?),
            "--dry-run" => dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    no_words(&words)?;
    let context: Arc<Context> = invocation.context()?;
    delete_generations(&context, &open(&context, profile)?, &old, dry_run)?;
    Ok(0)
}

fn no_words(words: &[String]) -> Outcome<()> {
    match words.first() {
        Some(word) => Err(Failure::Usage(format!("unexpected argument '{word}'"))),
        None => Ok(()),
    }
}
