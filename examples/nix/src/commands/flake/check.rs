//! `flake check`: whether all outputs are what their names say, and whether the checks build.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use nixlang::diagnostics::Diagnostic;
use nixlang::heap::Value;
use nixlang::source::Pos;
use nixlang_build::{BuildResult, BuildStatus, DerivedPath, OutputsSpec};
use nixlang_store::path::StorePath;

use super::Flake;
use super::check_outputs::{apps, bundler, derivation, hydra_jobs, module, nixos, overlay, template};
use crate::building::{BuildFlags, build, show_told, try_build};
use crate::commands::Invocation;
use crate::evaluation::{Evaluation, Step, Stop, evaluate};
use crate::failure::{Failure, Outcome};
use crate::ui::Verbosity;

/// A check that goes on.
pub(super) struct Check<'e, 'h> {
    pub(super) evaluation: &'e Evaluation<'e, 'h>,
    keep_going: bool,
    all_systems: bool,
    system: String,
    /// Whether something was wrong.
    failed: Cell<bool>,
    omitted: RefCell<BTreeSet<String>>,
}

impl Check<'_, '_> {
    /// Says what is being done.
    pub(super) fn activity(&self, text: &str) {
        self.evaluation.context().ui.line(Verbosity::INFO, &format!("{text}..."));
    }

    /// Notes an error, which ends the check unless it is to go on.
    fn report(&self, stop: Stop) -> Step<()> {
        let ui = self.evaluation.context().ui;
        if !self.keep_going {
            return Err(stop);
        }
        match stop {
            Stop::Error(error) => ui.show(&Diagnostic::from_error(&error, &self.evaluation.eval.sources)),
            Stop::Failure(Failure::Shown(diagnostic)) => ui.show(&diagnostic),
            Stop::Failure(Failure::Usage(message)) => ui.show(&Diagnostic::error(message)),
            other => return Err(other),
        }
        self.failed.set(true);
        Ok(())
    }

    /// Runs a part of the check; its error says what it was.
    pub(super) fn part<T>(&self, pos: Pos, what: String, run: impl FnOnce() -> Step<T>) -> Step<Option<T>> {
        match run() {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Error(error)) => self.report(Stop::Error(error.while_(pos, what))).map(|()| None),
            Err(other) => self.report(other).map(|()| None),
        }
    }

    /// Whether outputs of a system are looked at.
    fn is_checked(&self, system: &str, pos: Pos) -> Step<bool> {
        if !system.contains('-') {
            let place = self.evaluation.eval.show_pos(pos);
            self.report(Failure::new(format!("'{system}' is not a valid system type, at {place}")).into())?;
        }
        let is_checked = self.all_systems || system == self.system;
        if !is_checked {
            self.omitted.borrow_mut().insert(system.to_owned());
        }
        Ok(is_checked)
    }
}

/// A derivation of `checks`, and the attributes that are it.
type Checks = BTreeMap<StorePath, Vec<String>>;

pub(in crate::commands) fn check(mut invocation: Invocation) -> Outcome<u8> {
    let (mut with_build, mut all_systems) = (true, false);
    let flake = Flake::parse(&mut invocation, |flag, _| {
        match flag {
            "--no-build" => with_build = false,
            "--all-systems" => all_systems = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let settings = &mut invocation.common.settings;
    if !with_build && !settings.is_set("allow-import-from-derivation") {
        settings.set("allow-import-from-derivation", "false")?;
    }
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let context = crate::flakes::configured(context, std::slice::from_ref(&reference), &flake.flags)?;
    let options = flake.flags.options(&context)?;
    let system = context.settings.system().to_owned();
    let keep_going = context.settings.is_on("keep-going");
    let (checks, mut failed, omitted) = evaluate(&context, with_build, |evaluation| {
        let (failed, omitted) = Default::default();
        let check = Check { evaluation, keep_going, all_systems, system, failed, omitted };
        check.activity("evaluating flake");
        let locked = crate::flakes::locked(evaluation, &reference, &options)?;
        let outputs = crate::flakes::outputs_of(evaluation, &locked)?;
        let mut checks = Checks::new();
        let attrs = evaluation.eval.force_attrs(outputs, Pos::NONE, "while evaluating the outputs of a flake")?;
        let flat = attrs.flat(evaluation.eval.heap);
        let hydra_jobs = evaluation.eval.symbols.intern(b"hydraJobs");
        let others = flat.iter().filter(|entry| entry.symbol != hydra_jobs);
        // They must not need anything built, which the others may.
        for entry in flat.find(hydra_jobs).into_iter().chain(others) {
            let name = String::from_utf8_lossy(evaluation.eval.symbols.text(entry.symbol)).into_owned();
            check.activity(&format!("checking flake output '{name}'"));
            let what = format!("while checking flake output '{name}'");
            check.part(entry.pos, what, || output(&check, &name, entry.slot.get(), entry.pos, &mut checks))?;
        }
        Ok((checks, check.failed.get(), check.omitted.into_inner()))
    })?;
    if with_build && !checks.is_empty() {
        let wanted: Vec<DerivedPath> = checks.keys().map(|path| DerivedPath::built(path.clone(), OutputsSpec::All)).collect();
        context.ui.line(Verbosity::INFO, &format!("running {} flake checks...", wanted.len()));
        match try_build(&context, &wanted)? {
            None => drop(build(&context, &wanted, BuildFlags::default())?),
            Some(outcome) => {
                let store_dir = context.store.store_dir();
                show_told(&context, &outcome);
                let is_failure = |result: &&BuildResult| !result.status.is_success() && result.status != BuildStatus::Cancelled;
                let failures = checks.keys().filter_map(|path| Some((path, outcome.results.get(path).filter(is_failure)?)));
                for (path, result) in failures {
                    let shown = store_dir.display(path);
                    let text = result.message_with_log(&format!("nixlang log {shown}"));
                    let mut messages: Vec<String> = checks
                        .get(path)
                        .into_iter()
                        .flatten()
                        .map(|attribute| format!("failed to build attribute '{attribute}', build of '{shown}^*' failed: {text}"))
                        .collect();
                    if messages.is_empty() {
                        messages.push(format!("build of '{shown}^*' failed: {text}"));
                    }
                    for message in messages {
                        if !keep_going {
                            return Err(Failure::new(message));
                        }
                        context.ui.show(&Diagnostic::error(message));
                        failed = true;
                    }
                }
                if !outcome.is_success() && !failed {
                    let reasons: Vec<&str> = outcome.missing.values().map(String::as_str).collect();
                    return Err(Failure::new(if reasons.is_empty() { "some builds failed".into() } else { reasons.join("\n") }));
                }
            }
        }
    }
    if failed {
        return Err(Failure::new("some errors were encountered during the evaluation"));
    }
    context.ui.line(Verbosity::INFO, "\x1b[32;1mall checks passed!\x1b[0m");
    if !omitted.is_empty() {
        let omitted: Vec<String> = omitted.into_iter().collect();
        context.ui.warn_as_is(&format!("The check omitted these incompatible systems: {}\nUse '--all-systems' to check all.", omitted.join(", ")));
    }
    Ok(0)
}

/// Returns what is to be said instead of a name that is out of date.
fn replacement(name: &str) -> Option<&'static str> {
    Some(match name {
        "defaultPackage" => "packages.<system>.default",
        "defaultApp" => "apps.<system>.default",
        "defaultTemplate" => "templates.default",
        "defaultBundler" => "bundlers.<system>.default",
        "overlay" => "overlays.default",
        "devShell" => "devShells.<system>.default",
        "nixosModule" => "nixosModules.default",
        _ => return None,
    })
}

fn output<'h>(check: &Check<'_, 'h>, name: &str, value: Value<'h>, pos: Pos, checks: &mut Checks) -> Step<()> {
    let eval = check.evaluation.eval;
    let ui = check.evaluation.context().ui;
    let value = eval.force_at(value, pos)?;
    if let Some(replacement) = replacement(name) {
        ui.warn(format!("flake output attribute '{name}' is deprecated; use '{replacement}' instead"));
    }
    match name {
        "checks" | "packages" | "devShells" => each_of_systems(check, name, value, pos, &mut |path, value, pos, system| {
            let found = derivation(check, path, value, pos)?;
            if name == "checks"
                && system == check.system
                && let Some(found) = found
            {
                checks.entry(found).or_default().push(path.to_owned());
            }
            Ok(())
        }),
        "apps" => each_of_systems(check, name, value, pos, &mut |path, value, pos, _| apps(check, path, value, pos)),
        "bundlers" => each_of_systems(check, name, value, pos, &mut |path, value, pos, _| bundler(check, path, value, pos)),
        "formatter" | "defaultPackage" | "devShell" => each_system(check, name, value, pos, &mut |path, value, pos, _| derivation(check, path, value, pos).map(drop)),
        "defaultApp" => each_system(check, name, value, pos, &mut |path, value, pos, _| apps(check, path, value, pos)),
        "defaultBundler" => each_system(check, name, value, pos, &mut |path, value, pos, _| bundler(check, path, value, pos)),
        "legacyPackages" => each_system(check, name, value, pos, &mut |_, _, _, _| Ok(())),
        "overlay" => overlay(check, name, value, pos),
        "overlays" => each(check, name, value, pos, &mut |path, value, pos| overlay(check, path, value, pos)),
        "nixosModule" => module(check, name, value, pos),
        "nixosModules" => each(check, name, value, pos, &mut |path, value, pos| module(check, path, value, pos)),
        "nixosConfigurations" => each(check, name, value, pos, &mut |path, value, pos| nixos(check, path, value, pos)),
        "hydraJobs" => hydra_jobs(check, name, value, pos),
        "defaultTemplate" => template(check, name, value, pos),
        "templates" => each(check, name, value, pos, &mut |path, value, pos| template(check, path, value, pos)),
        "lib" | "darwinConfigurations" | "darwinModules" | "flakeModule" | "flakeModules" | "herculesCI" | "homeConfigurations" | "homeModule"
        | "homeModules" | "nixopsConfigurations" => Ok(()),
        _ => {
            ui.warn(format!("unknown flake output '{name}'"));
            Ok(())
        }
    }
}

/// Does something with each member of a set.
fn each<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos, run: &mut dyn FnMut(&str, Value<'h>, Pos) -> Step<()>) -> Step<()> {
    let eval = check.evaluation.eval;
    let value = eval.force_attrs(value, pos, "")?;
    for entry in value.flat(eval.heap).iter() {
        let name = String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned();
        run(&format!("{path}.{name}"), entry.slot.get(), entry.pos)?;
    }
    Ok(())
}

/// What is done with something of a system: its path, value, place and system.
type OfSystem<'r, 'h> = &'r mut dyn FnMut(&str, Value<'h>, Pos, &str) -> Step<()>;

/// Does something with the member of each system that is looked at.
fn each_system<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos, run: OfSystem<'_, 'h>) -> Step<()> {
    each(check, path, value, pos, &mut |inner, value, pos| {
        let system = &inner[path.len() + 1..];
        if check.is_checked(system, pos)? { run(inner, value, pos, system) } else { Ok(()) }
    })
}

/// Does something with each member of each system that is looked at.
fn each_of_systems<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos, run: OfSystem<'_, 'h>) -> Step<()> {
    each_system(check, path, value, pos, &mut |path, value, pos, system| each(check, path, value, pos, &mut |path, value, pos| run(path, value, pos, system)))
}
