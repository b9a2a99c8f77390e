//! `profile …`: what is installed, in generations, as `manifest.json` says it.
//!
//! A profile is a store object of its own, named by its contents, and no derivation.

mod add;
mod manifest;
mod matching;
mod naming;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang_store::profile::{Old, Profile};

pub(super) use self::add::{add, upgrade};

use self::add::update;
use self::manifest::Manifest;
use self::matching::Matching;
use super::diff_closures::difference;
use super::{Context, Invocation};
use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::installables::store_path;
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

fn read(context: &Arc<Context>, profile: &Profile) -> Outcome<Manifest> {
    Manifest::read(context, profile.link())
}

/// Reads a command line of words; `--profile` and flags that `own` knows.
fn words(invocation: &mut Invocation, mut own: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<(Vec<String>, Option<String>)> {
    let mut profile = None;
    let words = invocation.words(|flag, args| match flag {
        "--profile" => {
            profile = Some(args.value(flag)?);
            Ok(true)
        }
        flag => own(flag, args),
    })?;
    Ok((words, profile))
}

/// `profile remove {NAME…|PATH…|--regex PATTERN|--all}`
pub(super) fn remove(mut invocation: Invocation) -> Outcome<u8> {
    let mut matching = Matching::default();
    let (words, profile) = words(&mut invocation, |flag, args| matching.flag(flag, args))?;
    let context = invocation.context()?;
    let profile = open(&context, profile)?;
    let mut manifest = read(&context, &profile)?;
    let names = matching.names(&context, &manifest, &words)?;
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
        if let Some(source) = &element.source {
            println!("Flake attribute:    {}{}", source.attribute, source.caret());
            println!("Original flake URL: {}\nLocked flake URL:   {}", source.original, source.locked);
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
        let manifest = Manifest::read(&context, &generation.link)?;
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
