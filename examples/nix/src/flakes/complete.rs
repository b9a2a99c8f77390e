//! Completion of command lines (`NIX_GET_COMPLETIONS=N`): what the word number N may become. The first line says of which kind the others are.
//!
//! What can't be found out is no completion; nothing here is ever an error.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use nixlang::flake::{FlakeRef, LockOptions, UseRegistries, get_flake};
use nixlang::heap::{Kind, Value};

use super::{Defaults, FlakeWord};
use crate::commands::Context;
use crate::evaluation::{Evaluation, Step, evaluate, split_attr_path};
use crate::failure::Outcome;

/// Flags of all commands that are worth completing beside those that are named for settings.
const FLAGS: &[&str] = &[
    "--arg", "--argstr", "--commit-lock-file", "--debug", "--expr", "--file", "--help", "--impure", "--include", "--inputs-from", "--json", "--log-format",
    "--no-registries", "--no-update-lock-file", "--no-write-lock-file", "--offline", "--option", "--out-link", "--output-lock-file", "--override-flake",
    "--override-input", "--print-build-logs", "--quiet", "--recreate-lock-file", "--reference-lock-file", "--refresh", "--repair", "--stdin", "--store",
    "--update-input", "--verbose", "--version",
];

/// Flags of which each takes one value, in front of which no installable stands.
const ONE_VALUE: &[&str] = &["--flake", "--file", "-f", "--expr", "-E", "--update-input", "--include", "-I", "--inputs-from", "--out-link", "-o", "--log-format", "--store", "--apply"];
/// Flags of which each takes two.
const TWO_VALUES: &[&str] = &["--override-input", "--override-flake", "--option", "--arg", "--argstr"];

/// What is found.
#[derive(Default)]
struct Completions {
    kind: Option<&'static str>,
    found: BTreeSet<String>,
}

impl Completions {
    fn add(&mut self, text: impl Into<String>) {
        self.found.insert(text.into());
    }
}

/// What a word stands behind.
struct Place<'w> {
    /// The flag whose value it is, and which one of them.
    flag: Option<(&'w str, usize)>,
    /// Words that belong to no flag.
    plain: Vec<&'w str>,
    /// The value of `--flake`.
    flake: Option<&'w str>,
    /// The value of `--file`.
    file: Option<&'w str>,
}

impl<'w> Place<'w> {
    /// Looks at the words behind those of the command; `at` is the one to be completed.
    fn new(words: &'w [String], at: usize) -> Place<'w> {
        let mut place = Place { flag: None, plain: Vec::new(), flake: None, file: None };
        let mut i = 0;
        while i < words.len() {
            let word = words[i].as_str();
            let n_values = if TWO_VALUES.contains(&word) { 2 } else { usize::from(ONE_VALUE.contains(&word)) };
            for value in 1..=n_values {
                if i + value == at {
                    place.flag = Some((word, value));
                }
            }
            match word {
                "--flake" => place.flake = words.get(i + 1).map(String::as_str),
                "--file" | "-f" => place.file = words.get(i + 1).map(String::as_str),
                _ if n_values == 0 && !word.starts_with('-') && i != at => place.plain.push(word),
                _ => {}
            }
            i += 1 + n_values;
        }
        place
    }
}

/// Prints what word `at` (from 0) of a command may become. `begin` is how many words name the command.
pub(crate) fn complete(context: &Arc<Context>, command: &str, words: &[String], at: usize) {
    let mut completions = Completions::default();
    let prefix = words.get(at).map_or("", String::as_str);
    let place = Place::new(words, at);
    let _ = match (place.flag, command) {
        (Some(("--override-input", 1) | ("--update-input", 1)), _) => {
            let flakes = if command == "flake update" { vec![place.flake.unwrap_or(".")] } else { place.plain.clone() };
            inputs(context, &flakes, prefix, &mut completions)
        }
        (Some(("--option", 1)), _) => {
            context.settings.all().filter(|(setting, _)| setting.name.starts_with(prefix)).for_each(|(setting, _)| completions.add(setting.name));
            Ok(())
        }
        (Some(("--override-input" | "--override-flake", 2) | ("--inputs-from" | "--flake", 1)), _) => reference(context, prefix, &mut completions),
        (Some(("--file" | "-f" | "--out-link" | "-o", 1)), _) => {
            paths(prefix, false, &mut completions);
            Ok(())
        }
        (Some(_), _) => Ok(()),
        (None, _) if prefix.starts_with('-') => {
            FLAGS.iter().filter(|flag| flag.starts_with(prefix)).for_each(|flag| completions.add(*flag));
            Ok(())
        }
        (None, "flake update") => inputs(context, &[place.flake.unwrap_or(".")], prefix, &mut completions),
        (None, command) if command.starts_with("flake ") => reference(context, prefix, &mut completions),
        (None, _) => match place.file {
            Some(file) => attributes_of_file(context, file, prefix, &mut completions),
            None => output(context, command, prefix, &mut completions),
        },
    };
    print(completions);
}

/// Prints the words that a command's name may go on with.
pub(crate) fn complete_command(names: impl Iterator<Item = String>) {
    print(Completions { kind: None, found: names.collect() });
}

fn print(completions: Completions) {
    println!("{}", completions.kind.unwrap_or("normal"));
    for text in completions.found {
        println!("{text}\t");
    }
}

/// `~/x` is what a shell would make of it.
fn with_home(text: &str) -> String {
    match text.strip_prefix("~/") {
        Some(rest) => crate::settings::home().join(rest).display().to_string(),
        None => text.to_owned(),
    }
}

fn flake(context: &Context, text: &str) -> Outcome<FlakeRef> {
    Ok(super::reference(context, &with_home(text), false, true)?.0)
}

fn inputs(context: &Arc<Context>, flakes: &[&str], prefix: &str, completions: &mut Completions) -> Outcome<()> {
    let flakes = if flakes.is_empty() { &["."][..] } else { flakes };
    for text in flakes {
        let Ok(reference) = flake(context, text) else { continue };
        let found = evaluate(context, false, |evaluation| Ok(get_flake(evaluation.eval, &reference, UseRegistries::All, &[])?.inputs));
        let names = found.into_iter().flat_map(|inputs| inputs.into_keys());
        names.filter(|name| name.starts_with(prefix)).for_each(|name| completions.add(name));
    }
    Ok(())
}

fn paths(prefix: &str, only_directories: bool, completions: &mut Completions) {
    completions.kind = Some("filenames");
    let (directory, name) = prefix.rsplit_once('/').map_or(("", prefix), |(directory, name)| (&prefix[..directory.len() + 1], name));
    let Ok(entries) = std::fs::read_dir(if directory.is_empty() { Path::new(".") } else { Path::new(directory) }) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let is_hidden = found.starts_with('.') && !name.starts_with('.');
        if found.starts_with(name) && !is_hidden && (!only_directories || entry.path().is_dir()) {
            completions.add(format!("{directory}{found}"));
        }
    }
}

fn reference(context: &Arc<Context>, prefix: &str, completions: &mut Completions) -> Outcome<()> {
    super::require(context, "flakes")?;
    if prefix.is_empty() {
        completions.add(".");
    }
    paths(prefix, true, completions);
    let registries = crate::fetch::registries(context, &crate::fetch::fetchers(context), &*context.store.any()?).map_err(crate::fetch::failed)?;
    for registry in [registries.flag, registries.user, registries.system, registries.global] {
        for entry in registry.entries {
            let from = entry.from.to_string();
            let short = if prefix.starts_with("flake:") { None } else { from.strip_prefix("flake:") };
            let text = short.unwrap_or(&from);
            if text.starts_with(prefix) {
                completions.add(text);
            }
        }
    }
    Ok(())
}

/// Adds the members of a set whose names begin like the last of a path. `show` makes a completion of a path.
fn members<'h>(evaluation: &Evaluation<'_, 'h>, root: Value<'h>, path: &str, show: &dyn Fn(&[String]) -> String, completions: &mut Completions) -> Step<()> {
    let eval = evaluation.eval;
    let mut names = split_attr_path(path)?;
    let last = if path.is_empty() || path.ends_with('.') { String::new() } else { names.pop().unwrap_or_default() };
    let mut value = eval.force(root)?;
    for name in &names {
        let Kind::Attrs(attrs) = value.kind() else { return Ok(()) };
        let Some(slot) = attrs.get(eval.symbols.intern(name.as_bytes())) else { return Ok(()) };
        value = eval.force(slot.get())?;
    }
    let Kind::Attrs(attrs) = value.kind() else { return Ok(()) };
    for entry in attrs.flat(eval.heap).iter() {
        let name = String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned();
        if name.starts_with(&last) {
            let path: Vec<String> = names.iter().cloned().chain([name]).collect();
            completions.add(show(&path));
        }
    }
    Ok(())
}

fn attributes_of_file(context: &Arc<Context>, file: &str, prefix: &str, completions: &mut Completions) -> Outcome<()> {
    completions.kind = Some("attrs");
    let mut settings = context.settings.clone();
    settings.set("pure-eval", "false")?;
    let found = evaluate(&context.with_settings(settings)?, false, |evaluation| {
        let mut found = Completions::default();
        let root = evaluation.auto_call(evaluation.file(file)?)?;
        members(evaluation, root, prefix, &|path| path.join("."), &mut found)?;
        Ok(found.found)
    })?;
    completions.found.extend(found);
    Ok(())
}

fn output(context: &Arc<Context>, command: &str, prefix: &str, completions: &mut Completions) -> Outcome<()> {
    let Some((text, fragment)) = prefix.split_once('#') else { return reference(context, prefix, completions) };
    completions.kind = Some("attrs");
    let defaults = match command {
        "run" | "bundle" => Defaults::Apps,
        "develop" | "print-dev-env" => Defaults::DevShells,
        _ => Defaults::Packages,
    };
    let reference = flake(context, text)?;
    let (dot, fragment) = fragment.strip_prefix('.').map_or(("", fragment), |rest| (".", rest));
    let system = context.settings.system().to_owned();
    let mut prefixes = if dot.is_empty() { defaults.prefixes(&system) } else { Vec::new() };
    prefixes.push(String::new());
    let found = evaluate(context, false, |evaluation| {
        let mut found = Completions::default();
        let root = super::outputs(evaluation, &reference, &LockOptions::default())?;
        for outer in &prefixes {
            let n_outer = split_attr_path(outer)?.len();
            let show = |path: &[String]| format!("{text}#{dot}{}", path[n_outer..].join("."));
            members(evaluation, root, &format!("{outer}{fragment}"), &show, &mut found)?;
        }
        if fragment.is_empty() {
            let word = FlakeWord::new(evaluation.context(), reference.clone(), "", defaults);
            if super::find(evaluation, &word, &LockOptions::default()).is_ok() {
                found.add(format!("{text}#{dot}"));
            }
        }
        Ok(found.found)
    })?;
    completions.found.extend(found);
    Ok(())
}
