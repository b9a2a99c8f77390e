//! `nix-env`: packages of a profile, in generations. Operations are here; what they stand on is below `nix_env/`.

mod environment;
mod names;
mod packages;
mod query;
mod upgrade;
mod xml;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_build::{DerivedPath, OutputsSpec};
use nixlang_store::path::StorePath;
use nixlang_store::profile::{Old, Profile};
use serde_json::Value;

use super::diff_closures::split_name;
use super::{Context, Invocation};
use crate::building::{BuildFlags, build};
use crate::evaluation::Step;
use crate::failure::{Failure, Outcome};
use crate::installables::store_path;
use crate::profiles::{days_ago, default_expression, default_profile, delete_generations, profile_link};
use crate::ui::Verbosity;
use names::{Selector, compare_versions};
use packages::{Found, Package, Source, installed, keep_all, with_packages};

/// A call of an operation.
struct Call {
    context: Arc<Context>,
    profile: Profile,
    /// Where packages are looked for.
    file: String,
    /// The operation's own flags, values among them.
    flags: Vec<String>,
    words: Vec<String>,
    system_filter: String,
    force_name: Option<String>,
    dry_run: bool,
    prebuilt_only: bool,
}

type Operation = fn(&Call) -> Outcome<u8>;

const OPERATIONS: &[(&[&str], Operation)] = &[
    (&["--install", "-i"], install),
    (&["--upgrade", "-u"], upgrade::run),
    (&["--uninstall", "-e"], uninstall),
    (&["--set"], set),
    (&["--set-flag"], set_flag),
    (&["--query", "-q"], query::run),
    (&["--switch-profile", "-S"], switch_profile),
    (&["--switch-generation", "-G"], switch_generation),
    (&["--rollback"], rollback),
    (&["--list-generations"], list_generations),
    (&["--delete-generations"], delete_old),
];

/// Flags of operations, those with a value last.
const OWN_FLAGS: &[&str] = &[
    "--from-expression", "-E", "--attr", "-A", "--preserve-installed", "-P", "--remove-all", "-r", "--lt", "--leq", "--eq", "--always", "--status", "-s",
    "--no-name", "--system", "--description", "--compare-versions", "-c", "--drv-path", "--out-path", "--meta", "--installed", "--available", "-a",
    "--xml", "--json", "--attr-path",
];

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut operation: Option<(&str, Operation)> = None;
    let (flags, mut words) = (RefCell::new(Vec::new()), Vec::new());
    let (mut profile, mut file, mut force_name) = (None, None, None);
    let mut system_filter = "*".to_owned();
    let (mut dry_run, mut prebuilt_only) = (false, false);
    invocation.parse_with(
        |flag, args| {
            if let Some((names, run)) = OPERATIONS.iter().find(|(names, _)| names.contains(&flag)) {
                if operation.is_some_and(|(before, _)| before != names[0]) {
                    return Err(Failure::Usage("only one operation may be specified".into()));
                }
                operation = Some((names[0], *run));
                return Ok(true);
            }
            match flag {
                "-p" | "--profile" => profile = Some(args.value(flag)?),
                "-f" | "--file" => file = Some(args.value(flag)?),
                "--force-name" => force_name = Some(args.value(flag)?),
                "--system-filter" => system_filter = args.value(flag)?,
                "--dry-run" => dry_run = true,
                "-b" | "--prebuilt-only" => prebuilt_only = true,
                "--from-profile" | "--priority" => flags.borrow_mut().extend([flag.to_owned(), args.value(flag)?]),
                "--attr" | "-A" if operation.is_some_and(|(name, _)| name == "--query") => flags.borrow_mut().extend([flag.to_owned(), args.value(flag)?]),
                _ if OWN_FLAGS.contains(&flag) => flags.borrow_mut().push(flag.to_owned()),
                _ => return Ok(false),
            }
            Ok(true)
        },
        |word, _| {
            words.push(word);
            Ok(())
        },
        // It is for the operation to say that it does not know them, if there is one.
        |flag| {
            flags.borrow_mut().push(flag.to_owned());
            Ok(())
        },
    )?;
    let flags = flags.into_inner();
    let (_, run) = operation.ok_or_else(|| Failure::Usage("no operation specified".into()))?;
    let context = invocation.context()?;
    if dry_run {
        context.ui.line(Verbosity::INFO, "(dry run; not doing anything)");
    }
    let given = profile.or_else(|| std::env::var("NIX_PROFILE").ok().filter(|profile| !profile.is_empty()));
    let profile = match given {
        Some(profile) => Profile::new(&PathBuf::from(profile))?,
        None => default_profile(&context)?,
    };
    let default = default_expression(&context)?;
    let file = file.unwrap_or_else(|| default.display().to_string());
    run(&Call { context, profile, file, flags, words, system_filter, force_name, dry_run, prebuilt_only })
}

/// Where packages to install come from, as flags say.
enum From {
    /// Names among the packages of the file.
    Names,
    Attributes,
    Functions,
    Profile(PathBuf),
}

impl Call {
    fn say(&self, text: &str) {
        self.context.ui.line(Verbosity::INFO, text);
    }

    /// Refuses flags; operations without any call this.
    fn no_flags(&self) -> Outcome<()> {
        match self.flags.first() {
            Some(flag) => Err(Failure::Usage(format!("unknown flag '{flag}'"))),
            None => Ok(()),
        }
    }

    fn no_words(&self) -> Outcome<()> {
        if self.words.is_empty() { Ok(()) } else { Err(Failure::Usage("no arguments expected".into())) }
    }

    /// Returns what is installed.
    fn installed(&self) -> Outcome<Vec<Package>> {
        installed(&self.context, self.profile.link())
    }

    /// Returns where the flags say that packages come from, and the other flags.
    fn source(&self) -> Outcome<(From, Vec<String>)> {
        let mut from = From::Names;
        let mut rest = Vec::new();
        let mut flags = self.flags.iter();
        while let Some(flag) = flags.next() {
            match flag.as_str() {
                "-A" | "--attr" => from = From::Attributes,
                "-E" | "--from-expression" => from = From::Functions,
                "--from-profile" => from = From::Profile(flags.next().map(PathBuf::from).unwrap_or_default()),
                other => rest.push(other.to_owned()),
            }
        }
        Ok((from, rest))
    }

    /// Finds the packages that the words name.
    fn find(&self, from: &From, newest_only: bool, writes: bool) -> Outcome<Vec<Package>> {
        if let Some(paths) = self.paths(from)? {
            return Ok(paths);
        }
        with_packages(&self.context, &self.place(from), writes, |evaluation, packages| {
            let chosen = self.choose(from, packages, newest_only)?;
            keep_all(evaluation, self.prebuilt(chosen)?)
        })
    }

    /// Returns where packages are.
    fn place<'s>(&'s self, from: &From) -> Source<'s> {
        let (file, words) = (&*self.file, &self.words[..]);
        match from {
            From::Names => Source::File { file, attribute: "" },
            From::Attributes => Source::Attributes { file, attributes: words },
            From::Functions => Source::Functions { file, functions: words },
            From::Profile(profile) => Source::Installed(profile.clone()),
        }
    }

    /// Chooses by the words where they are names.
    fn choose<'e, 'h>(&self, from: &From, mut packages: Vec<Found<'e, 'h>>, newest_only: bool) -> Step<Vec<Found<'e, 'h>>> {
        match from {
            From::Names => {
                self.filter_systems(&mut packages)?;
                self.select(packages, newest_only)
            }
            From::Profile(_) => self.select(packages, newest_only),
            From::Attributes | From::Functions => Ok(packages),
        }
    }

    /// Leaves out what is for other systems.
    fn filter_systems(&self, packages: &mut Vec<Found<'_, '_>>) -> Step<()> {
        if self.system_filter != "*" {
            let systems = packages.iter().map(|package| Ok(package.system()?)).collect::<Step<Vec<_>>>()?;
            let mut systems = systems.iter();
            packages.retain(|_| systems.next().is_some_and(|system| *system == self.system_filter));
        }
        Ok(())
    }

    /// Returns packages for the words if those are paths.
    fn paths(&self, from: &From) -> Outcome<Option<Vec<Package>>> {
        if !matches!(from, From::Names) || !self.words.first().is_some_and(|word| word.contains('/')) {
            return Ok(None);
        }
        self.words.iter().map(|word| self.path_package(word)).collect::<Outcome<_>>().map(Some)
    }

    /// Returns a package for a store path or a link to one.
    fn path_package(&self, word: &str) -> Outcome<Package> {
        let path = store_path(&self.context, word).ok_or_else(|| Failure::new(format!("path '{word}' is not in the Nix store")))?;
        if !path.is_derivation() {
            return Ok(Package::of_path(path.name(), None, path.clone()));
        }
        let outputs = self.context.store.open()?.derivation_outputs(&path)?;
        let out = outputs.get("out").cloned().flatten().ok_or_else(|| Failure::new(format!("derivation '{word}' does not have output 'out'")))?;
        Ok(Package::of_path(path.name(), Some(path.clone()), out))
    }

    /// Chooses packages by the words, which are selectors; of several with one name the best if that is wanted.
    fn select<'e, 'h>(&self, all: Vec<Found<'e, 'h>>, newest_only: bool) -> Step<Vec<Found<'e, 'h>>> {
        let names = all.iter().map(|package| Ok(package.name()?)).collect::<Step<Vec<_>>>()?;
        let mut chosen: Vec<usize> = Vec::new();
        let mut is_chosen = vec![false; all.len()];
        for selector in Selector::all(&self.words)? {
            let mut matches: Vec<usize> = (0..all.len()).filter(|i| selector.matches(&names[*i])).collect();
            if matches.is_empty() && selector.text != "*" {
                let mut near = BTreeSet::new();
                for name in names.iter().map(|name| split_name(name).0).filter(|name| name.starts_with(&selector.name)) {
                    if near.len() < 3 {
                        near.insert(name);
                    }
                }
                let mut message = format!("selector '{}' matches no derivations", selector.text);
                if !near.is_empty() {
                    message.push_str(", maybe you meant:");
                    near.iter().for_each(|name| message.push_str(&format!("\n{name}")));
                }
                return Err(Failure::new(message).into());
            }
            if newest_only {
                matches = self.newest(&all, &names, matches)?;
            }
            for i in matches {
                if !std::mem::replace(&mut is_chosen[i], true) {
                    chosen.push(i);
                }
            }
        }
        Ok(chosen.into_iter().map(|i| all[i].clone()).collect())
    }

    /// Picks one per name: for this system, of the highest priority, of the newest version, the first.
    fn newest(&self, all: &[Found<'_, '_>], names: &[String], matches: Vec<usize>) -> Step<Vec<usize>> {
        let mut best: BTreeMap<&str, usize> = BTreeMap::new();
        let mut several = BTreeSet::new();
        let here = self.context.settings.text("system");
        let priority = |i: usize| -> Step<i64> { Ok(all[i].meta_int("priority")?.unwrap_or(0)) };
        for i in matches {
            let (name, version) = split_name(&names[i]);
            let Some(other) = best.get(name).copied() else {
                best.insert(name, i);
                continue;
            };
            let (system, of_other) = (all[i].system()?, all[other].system()?);
            let mut order = if system == of_other { Ordering::Equal } else { (system == here).cmp(&(of_other == here)) };
            if order == Ordering::Equal {
                // A small number is a high priority.
                order = priority(other)?.cmp(&priority(i)?);
            }
            if order == Ordering::Equal {
                order = compare_versions(version, split_name(&names[other]).1);
            }
            match order {
                Ordering::Greater => {
                    best.insert(name, i);
                    several.remove(names[other].as_str());
                }
                Ordering::Equal => drop(several.insert(names[i].as_str())),
                Ordering::Less => {}
            }
        }
        for name in several {
            self.context.ui.warn(format!("there are multiple derivations named '{name}'; using the first one"));
        }
        Ok(best.into_values().collect())
    }

    /// Returns which of these paths substituters have that don't mind many questions.
    fn fetchable(&self, paths: &[StorePath]) -> Outcome<BTreeSet<StorePath>> {
        let store = &self.context.store;
        match store.service()? {
            Some(_) => Ok(store.open()?.substitutable_paths(paths)?),
            None if store.is_cache() => Ok(BTreeSet::new()),
            None => {
                let substituters = crate::fetch::substituters(&self.context, &self.context.settings);
                Ok(substituters.map(|substituters| substituters.available(store.store_dir(), paths)).unwrap_or_default())
            }
        }
    }

    /// Leaves out what would have to be built, if that is wanted.
    fn prebuilt<'e, 'h>(&self, packages: Vec<Found<'e, 'h>>) -> Step<Vec<Found<'e, 'h>>> {
        if !self.prebuilt_only {
            return Ok(packages);
        }
        let paths = packages.iter().map(|package| Ok(package.out_path()?)).collect::<Step<Vec<StorePath>>>()?;
        let ready = self.ready(&paths)?;
        Ok(packages.into_iter().zip(paths).filter(|(_, path)| ready.contains(path)).map(|(package, _)| package).collect())
    }

    /// Returns which of these paths are there or can be fetched.
    fn ready(&self, paths: &[StorePath]) -> Outcome<BTreeSet<StorePath>> {
        let mut ready = self.fetchable(paths)?;
        ready.extend(self.valid(paths)?);
        Ok(ready)
    }

    /// Returns which of these paths are there.
    fn valid(&self, paths: &[StorePath]) -> Outcome<BTreeSet<StorePath>> {
        let valid = self.context.store.open()?.are_valid(paths)?;
        Ok(paths.iter().zip(valid).filter(|(_, valid)| *valid).map(|(path, _)| path.clone()).collect())
    }

    /// Changes what is installed by `change` until nobody else changed it meanwhile.
    fn change(&self, mut change: impl FnMut(Vec<Package>) -> Outcome<Vec<Package>>) -> Outcome<u8> {
        loop {
            let state = self.profile.state();
            let packages = change(self.installed()?)?;
            if self.dry_run {
                build(&self.context, &environment::wanted(&packages)?, BuildFlags { dry_run: true, ..BuildFlags::default() })?;
                return Ok(0);
            }
            if environment::install(&self.context, &packages, &self.profile, state)? {
                return Ok(0);
            }
        }
    }
}

fn install(call: &Call) -> Outcome<u8> {
    let (from, flags) = call.source()?;
    let (mut preserve, mut remove_all, mut priority) = (false, false, None);
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "-P" | "--preserve-installed" => preserve = true,
            "-r" | "--remove-all" => remove_all = true,
            "--priority" => {
                let value = flags.next().cloned().unwrap_or_default();
                priority = Some(value.parse::<i64>().map_err(|_| Failure::Usage("'--priority' requires an integer argument".into()))?);
            }
            other => return Err(Failure::Usage(format!("unknown flag '{other}'"))),
        }
    }
    let mut new = call.find(&from, true, true)?;
    for package in &mut new {
        if let Some(name) = &call.force_name {
            package.name.clone_from(name);
        }
        if let Some(priority) = priority {
            package.flags.insert("priority".into(), priority.to_string().into());
        }
    }
    call.change(|installed| {
        let mut all = new.clone();
        if !remove_all {
            for package in installed {
                let is_replaced = new.iter().any(|new| split_name(&new.name).0 == split_name(&package.name).0);
                if is_replaced && !preserve && !package.is_kept()? {
                    call.say(&format!("replacing old '{}'", package.name));
                } else {
                    all.push(package);
                }
            }
            new.iter().for_each(|package| call.say(&format!("installing '{}'", package.name)));
        }
        Ok(all)
    })
}

fn uninstall(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    call.change(|mut packages| {
        for word in &call.words {
            let is_removed: Box<dyn Fn(&Package) -> Outcome<bool>> = if word.contains('/') {
                let path = store_path(&call.context, word).ok_or_else(|| Failure::new(format!("path '{word}' is not in the Nix store")))?;
                Box::new(move |package| Ok(*package.out_path()? == path))
            } else {
                let selector = Selector::new(word)?;
                Box::new(move |package| Ok(selector.matches(&package.name)))
            };
            let (mut removed, mut kept) = (Vec::new(), Vec::new());
            for package in packages {
                if is_removed(&package)? { &mut removed } else { &mut kept }.push(package);
            }
            if removed.is_empty() {
                call.context.ui.warn(format!("selector '{word}' matched no installed derivations"));
            }
            removed.iter().for_each(|package| call.say(&format!("uninstalling '{}'", package.name)));
            packages = kept;
        }
        Ok(packages)
    })
}

fn set(call: &Call) -> Outcome<u8> {
    let (from, flags) = call.source()?;
    if let Some(flag) = flags.first() {
        return Err(Failure::Usage(format!("unknown flag '{flag}'")));
    }
    let mut packages = call.find(&from, true, true)?;
    let (Some(package), true) = (packages.pop(), packages.is_empty()) else { return Err(Failure::new("--set requires exactly one derivation")) };
    let wanted = match package.derivation()? {
        Some(derivation) => DerivedPath::built(derivation.clone(), OutputsSpec::All),
        None => DerivedPath::Opaque(package.out_path()?.clone()),
    };
    build(&call.context, &[wanted], BuildFlags { dry_run: call.dry_run, ..BuildFlags::default() })?;
    if !call.dry_run {
        let _lock = call.profile.lock()?;
        call.profile.add_generation(&**call.context.store.open()?, package.out_path()?)?;
    }
    Ok(0)
}

fn set_flag(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    let [name, value, words @ ..] = &call.words[..] else { return Err(Failure::Usage("not enough arguments to '--set-flag'".into())) };
    let selectors = words.iter().map(|word| Selector::new(word)).collect::<Outcome<Vec<_>>>()?;
    call.change(|mut packages| {
        let mut used = vec![false; selectors.len()];
        for package in &mut packages {
            if let Some(i) = selectors.iter().position(|selector| selector.matches(&package.name)) {
                call.say(&format!("setting flag on '{}'", package.name));
                used[i] = true;
                package.flags.insert(name.clone(), Value::from(value.clone()));
            }
        }
        match selectors.iter().zip(used).find(|(selector, used)| !used && selector.text != "*") {
            Some((selector, _)) => Err(Failure::new(format!("selector '{}' matches no derivations", selector.text))),
            None => Ok(packages),
        }
    })
}

fn switch_profile(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("exactly one argument expected".into())) };
    nixlang_store::gc::roots::replace_symlink(&std::path::absolute(word)?, &profile_link(&call.context))?;
    Ok(0)
}

fn switch_generation(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("exactly one argument expected".into())) };
    switch(call, Some(word.parse().map_err(|_| Failure::Usage("expected a generation number".into()))?))
}

fn rollback(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    call.no_words()?;
    switch(call, None)
}

fn switch(call: &Call, to: Option<u64>) -> Outcome<u8> {
    let (from, to) = call.profile.switch(to, call.dry_run)?;
    call.context.ui.line(Verbosity::NOTICE, &format!("switching profile from version {from} to {to}"));
    Ok(0)
}

fn list_generations(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    call.no_words()?;
    let generations = call.profile.generations()?;
    for generation in generations.all {
        use chrono::TimeZone;
        let time = chrono::Local.timestamp_opt(generation.created, 0).single().ok_or_else(|| Failure::new("cannot convert time"))?;
        let current = if Some(generation.number) == generations.current { "(current)" } else { "" };
        println!("{:4}   {}   {current}", generation.number, time.format("%Y-%m-%d %H:%M:%S"));
    }
    Ok(0)
}

fn delete_old(call: &Call) -> Outcome<u8> {
    call.no_flags()?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| Failure::Usage(format!("invalid generation number '{text}'")));
    let old = match &call.words[..] {
        [word] if word == "old" => Old::All,
        [word] if word.contains('d') => Old::Before(days_ago(word)?),
        [word] if word.starts_with('+') => {
            let kept = word[1..].parse().map_err(|_| Failure::new(format!("invalid number of generations to keep '{}'", &word[1..])))?;
            if kept == 0 {
                return Err(Failure::new("Must keep at least one generation, otherwise the current one would be deleted"));
            }
            Old::AllBut(kept)
        }
        words => Old::Numbers(words.iter().map(|word| number(word)).collect::<Outcome<_>>()?),
    };
    delete_generations(&call.context, &call.profile, &old, call.dry_run)?;
    Ok(0)
}
