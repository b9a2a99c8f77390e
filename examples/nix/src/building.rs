//! Builds: from wanted paths to valid ones, with progress while it goes on and the reference's messages when it fails.

mod machines;
mod remote;

use std::collections::{BTreeMap, BTreeSet};

use nixlang::diagnostics::Diagnostic;
use nixlang::host::WantedOutput;
use nixlang_build::options::OptionsError;
use nixlang_build::remote::{NO_LOCAL_STORE, ThroughPlan, build_through};
use nixlang_build::sandbox::Isolation;
use nixlang_build::{BuildMode, BuildOptions, BuildOutcome, BuildResult, BuildStatus, Builder, CancelToken, DerivedPath, Helper, OutputsSpec, Plan, SingleDerivedPath};
use nixlang_store::derivation::OutputName;
use nixlang_store::path::StorePath;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::ui::Verbosity;

/// Returns an output of a derivation as something to build.
pub(crate) fn output(derivation: &StorePath, outputs: impl IntoIterator<Item = impl AsRef<str>>) -> DerivedPath {
    let names: BTreeSet<OutputName> = outputs.into_iter().map(|name| OutputName::from(name.as_ref())).collect();
    DerivedPath::built(derivation.clone(), OutputsSpec::Names(names))
}

/// How a command wants its builds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BuildFlags {
    /// Build again what is built, and compare.
    pub(crate) check: bool,
    /// Build again what is damaged.
    pub(crate) repair: bool,
    /// Only say what would be built.
    pub(crate) dry_run: bool,
    /// Say nothing beforehand.
    pub(crate) is_silent: bool,
}

/// Builds what is wanted. Fails unless all of it is valid afterwards.
pub(crate) fn build(context: &Context, wanted: &[DerivedPath], flags: BuildFlags) -> Outcome<BuildOutcome> {
    build_until(context, wanted, flags, &context.cancel.token())
}

/// As [`build`], until it is cancelled.
fn build_until(context: &Context, wanted: &[DerivedPath], flags: BuildFlags, cancel: &CancelToken) -> Outcome<BuildOutcome> {
    if context.store.is_cache() {
        return through_machines(context, wanted, flags, cancel);
    }
    let mode = match (context.common.repair || flags.repair, flags.check) {
        (true, _) => BuildMode::Repair,
        (false, true) => BuildMode::Check,
        (false, false) => BuildMode::Normal,
    };
    bring_inputs(context, wanted)?;
    if let Some(service) = context.store.service()? {
        return remote::build(context, service, wanted, flags, mode, cancel);
    }
    let mut options = options(context)?;
    options.mode = mode;
    let builder = builder(context, &context.settings, options)?;
    let plan = builder.plan(wanted).map_err(|error| Failure::from_error(&error))?;
    if context.settings.is_on("print-missing") && !flags.is_silent {
        show_plan(context, &plan, if flags.dry_run { Verbosity::ERROR } else { Verbosity::INFO });
    }
    if flags.dry_run {
        return Ok(BuildOutcome::default());
    }
    let progress = Progress::new(context);
    let outcome = keeping_space(context, || builder.run(&plan, &progress, cancel))?;
    progress.finish();
    if outcome.is_success() {
        if context.common.repair && !flags.repair {
            crate::repair::repair_closure(context, wanted)?;
        }
        return Ok(outcome);
    }
    if cancel.is_cancelled() {
        return Err(Failure::new("interrupted by the user"));
    }
    Err(failure(context, wanted, &outcome))
}

/// Copies what builds need and only the store of evaluations has: sources, and for a daemon the derivations as well.
fn bring_inputs(context: &Context, wanted: &[DerivedPath]) -> Outcome<()> {
    let Some(evaluation) = context.eval_store.as_ref().filter(|store| !store.is_dummy()) else { return Ok(()) };
    let (from, to) = (evaluation.any()?, context.store.any()?);
    let is_remote = context.store.service()?.is_some();
    let mut roots = Vec::new();
    for wanted in wanted {
        let root = wanted.root();
        if !root.is_derivation() || !from.is_valid(root)? {
            continue;
        }
        let is_made = !is_remote && {
            let outputs: Option<Vec<StorePath>> = to.derivation_outputs(root)?.into_values().collect();
            outputs.is_some_and(|outputs| to.are_valid(&outputs).is_ok_and(|valid| valid.iter().all(|valid| *valid)))
        };
        if !is_made {
            roots.push(root.clone());
        }
    }
    let mut needed = from.closure(&roots)?;
    needed.retain(|path| is_remote || !path.is_derivation());
    nixlang_store::copy::copy_paths(&*from, &*to, &needed)?;
    Ok(())
}

/// As [`build`], for a command that says itself what failed. None where somebody else builds.
pub(crate) fn try_build(context: &Context, wanted: &[DerivedPath]) -> Outcome<Option<BuildOutcome>> {
    if context.store.is_cache() || context.store.service()?.is_some() {
        return Ok(None);
    }
    let builder = builder(context, &context.settings, options(context)?)?;
    let plan = builder.plan(wanted).map_err(|error| Failure::from_error(&error))?;
    if context.settings.is_on("print-missing") {
        show_plan(context, &plan, Verbosity::INFO);
    }
    let progress = Progress::new(context);
    let outcome = keeping_space(context, || builder.run(&plan, &progress, &context.cancel.token()))?;
    progress.finish();
    if context.cancel.is_cancelled() { Err(Failure::new("interrupted by the user")) } else { Ok(Some(outcome)) }
}

/// Collects garbage while builds run, whenever free disk space gets low and the settings ask for that.
fn keeping_space<T>(context: &Context, body: impl FnOnce() -> T) -> Outcome<T> {
    let store = context.store.local()?;
    if store.options().space_guard.min_free == 0 {
        return Ok(body());
    }
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    Ok(std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(std::time::Duration::from_secs(1)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if let Err(error) = store.collect_if_space_is_low() {
                    context.ui.warn(format!("freeing disk space failed: {}", crate::failure::message(&error)));
                }
            }
        });
        let result = body();
        drop(done);
        result
    }))
}

/// Returns a builder for the store of this machine.
pub(crate) fn builder(context: &Context, settings: &Settings, mut options: BuildOptions) -> Outcome<Builder> {
    if context.store.is_cache() {
        return Err(Failure::new(NO_LOCAL_STORE));
    }
    let store = context.store.local()?.clone();
    if let Some(features) = context.store.system_features() {
        options.system_features = features.split_whitespace().map(str::to_owned).collect();
    }
    options.remote = machines::builders(context, settings, &store.layout().state_dir)?;
    crate::remote_execution::builder(context, store, options)
}

/// For stores that can't build: other machines do, if there are some.
fn through_machines(context: &Context, wanted: &[DerivedPath], flags: BuildFlags, cancel: &CancelToken) -> Outcome<BuildOutcome> {
    let store = context.store.any()?;
    let plan = ThroughPlan::new(&*store, wanted).map_err(|error| Failure::from_error(&error))?;
    if flags.dry_run || context.settings.is_on("print-missing") && !flags.is_silent {
        let level = if flags.dry_run { Verbosity::ERROR } else { Verbosity::INFO };
        show_missing(context, level, plan.will_build(), std::iter::empty(), (0, 0), std::iter::empty());
    }
    if flags.dry_run {
        return Ok(BuildOutcome::default());
    }
    let state_dir = context.store.state_dir().unwrap_or_else(|| "/nix/var/nix".into());
    let builders = machines::builders(context, &context.settings, &state_dir)?;
    let progress = Progress::new(context);
    let outcome = build_through(&*store, builders.as_ref(), &plan, context.settings.is_on("keep-going"), &progress, cancel);
    progress.finish();
    match outcome.is_success() {
        true => Ok(outcome),
        false if cancel.is_cancelled() => Err(Failure::new("interrupted by the user")),
        false => Err(failure(context, wanted, &outcome)),
    }
}

/// Shows what went wrong on the way, and returns the failure of what was wanted.
fn failure(context: &Context, wanted: &[DerivedPath], outcome: &BuildOutcome) -> Failure {
    let store_dir = context.store.store_dir();
    let is_classic = context.common.is_classic;
    // The new command line of the reference says 1 whatever happened.
    let exit_status = if is_classic { outcome.exit_status().max(1) } else { 1 };
    show_told(context, outcome);
    // What failed, by the name under which it is listed.
    let mut failed: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    let mut order = Vec::new();
    for (index, path) in wanted.iter().enumerate() {
        let root = path.root();
        let diagnostic = match (path, outcome.missing.get(root), outcome.results.get(root)) {
            (_, Some(message), _) if root.is_derivation() => Some(Diagnostic::error(message.clone())),
            (_, Some(_), _) => {
                let message = format!("path '{}' is required, but there is no substituter that can build it", store_dir.display(root));
                Some(Diagnostic::error(message))
            }
            // Its maker is only on the way.
            (DerivedPath::Built { derivation: derivation @ SingleDerivedPath::Built { .. }, .. }, ..) => {
                let is_known = outcome.realised.get(index).is_some_and(|realised| realised.derivation.is_some());
                let message = || format!("failed to obtain derivation of '{}'", derivation.display(store_dir));
                (!is_known).then(|| Diagnostic { exit_status, ..Diagnostic::error(message()) })
            }
            (_, None, Some(result)) => diagnostic(context, root, result, exit_status),
            (_, None, None) => None,
        };
        let is_cancelled = outcome.results.get(root).is_some_and(|result| result.status == BuildStatus::Cancelled);
        if diagnostic.is_none() && !(is_classic && is_cancelled) {
            continue;
        }
        // The classic commands list what was not built, the others what failed.
        let outputs = match path {
            DerivedPath::Built { outputs, .. } if !is_classic => format!("^{outputs}"),
            _ => String::new(),
        };
        let of_path = failed.entry(format!("'{}{outputs}'", store_dir.display(root))).or_default();
        if of_path.is_empty() && let Some(diagnostic) = diagnostic {
            of_path.push(diagnostic.clone());
            order.push(((root.name().to_owned(), root.clone()), diagnostic));
        }
    }
    if is_classic {
        // By name; the first comes last.
        order.sort_by(|(a, _), (b, _)| a.cmp(b));
        let n_later = order.len().saturating_sub(1);
        order.rotate_right(n_later);
    }
    match failed.len() {
        0 => Failure::with_status("some builds failed", exit_status),
        1 if order.len() == 1 => order.remove(0).1.into(),
        _ => {
            for (_, diagnostic) in &order {
                context.ui.show(diagnostic);
            }
            let names: Vec<String> = failed.into_keys().collect();
            Failure::with_status(format!("build of {} failed", names.join(", ")), exit_status)
        }
    }
}

/// Returns what there is to say of a derivation that was not built; nothing if it was only cancelled.
fn diagnostic(context: &Context, path: &StorePath, result: &BuildResult, exit_status: u8) -> Option<Diagnostic> {
    if result.status.is_success() || result.status == BuildStatus::Cancelled {
        return None;
    }
    let text = if context.prints_build_logs() {
        result.message.clone()
    } else {
        let command = if context.common.is_classic { "nix log" } else { "nixlang log" };
        result.message_with_log(&format!("{command} {}", context.store.store_dir().display(path)))
    };
    Some(Diagnostic { exit_status, ..Diagnostic::error(text) })
}

/// Shows the failures that others waited for.
pub(crate) fn show_told(context: &Context, outcome: &BuildOutcome) {
    for path in &outcome.told {
        if let Some(diagnostic) = outcome.results.get(path).and_then(|result| diagnostic(context, path, result, 1)) {
            context.ui.show(&diagnostic);
        }
    }
}

/// Says what will be built or fetched, and what nobody has.
fn show_plan(context: &Context, plan: &Plan, level: Verbosity) {
    let substitution = &plan.substitution;
    let unknown: BTreeSet<&StorePath> = plan.unknown.iter().chain(&substitution.unavailable).collect();
    show_missing(context, level, plan.will_build(), substitution.offers.keys(), substitution.sizes(), unknown.into_iter());
}

/// As [`show_plan`], wherever that is known from.
fn show_missing<'p>(
    context: &Context,
    level: Verbosity,
    mut will_build: impl ExactSizeIterator<Item = &'p StorePath>,
    will_substitute: impl ExactSizeIterator<Item = &'p StorePath>,
    (download, unpacked): (u64, u64),
    mut unknown: impl ExactSizeIterator<Item = &'p StorePath>,
) {
    let ui = &context.ui;
    let list = |title: String, paths: &mut dyn Iterator<Item = &'p StorePath>| {
        ui.line(level, &title);
        for path in paths {
            ui.line(level, &format!("  {}", context.store.store_dir().display(path)));
        }
    };
    match will_build.len() {
        0 => {}
        1 => list("this derivation will be built:".into(), &mut will_build),
        n => list(format!("these {n} derivations will be built:"), &mut will_build),
    }
    let mut fetched: Vec<&StorePath> = will_substitute.collect();
    fetched.sort_by_key(|path| (path.name().to_owned(), path.base_name()));
    let sizes = format!("({} download, {} unpacked)", size(download), size(unpacked));
    match fetched.len() {
        0 => {}
        1 => list(format!("this path will be fetched {sizes}:"), &mut fetched.into_iter()),
        n => list(format!("these {n} paths will be fetched {sizes}:"), &mut fetched.into_iter()),
    }
    if unknown.len() > 0 {
        list("don't know how to build these paths:".into(), &mut unknown);
    }
}

/// Returns a number of bytes as the reference shows it: at least in KiB, with one decimal.
pub(crate) fn size(n_bytes: u64) -> String {
    let mut value = n_bytes as f64 / 1024.0;
    let mut units = "KMGTPE".chars();
    let mut unit = units.next().unwrap_or('K');
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}iB")
}

/// Builds outputs during an evaluation, until it is cancelled. Returns their paths, in the same places.
pub(crate) fn realise(context: &Context, outputs: &[WantedOutput], cancel: &CancelToken) -> Outcome<Vec<StorePath>> {
    let wanted: Vec<DerivedPath> = outputs.iter().map(|wanted| output(&wanted.derivation, [&wanted.output])).collect();
    let store = context.eval_store().open()?;
    for wanted in outputs {
        if !store.is_valid(&wanted.derivation)? {
            return Err(Failure::new(format!("path '{}' is not valid", wanted.derivation.base_name())));
        }
    }
    let outcome = build_until(context, &wanted, BuildFlags { is_silent: true, ..BuildFlags::default() }, cancel)?;
    let paths = outputs.iter().zip(outcome.realised).map(|(wanted, mut realised)| match realised.outputs.remove(&*wanted.output) {
        Some(path) => Ok(path),
        None => output_path(context, &wanted.derivation, &wanted.output),
    });
    paths.collect()
}

/// Returns where an output of a derivation is.
pub(crate) fn output_path(context: &Context, derivation: &StorePath, output: &str) -> Outcome<StorePath> {
    let store = context.store.open()?;
    let mut outputs = store.derivation_outputs(derivation)?;
    let shown = || context.store.store_dir().display(derivation);
    match outputs.remove(output) {
        Some(Some(path)) => Ok(path),
        Some(None) => Err(Failure::new(format!("output '{output}' of derivation '{}' has no known path", shown()))),
        None => Err(Failure::new(format!("derivation '{}' does not have output '{output}'", shown()))),
    }
}

pub(crate) fn options(context: &Context) -> Outcome<BuildOptions> {
    let mut options = options_of(&context.settings, &context.helper)?;
    options.substituters = crate::fetch::substituters(context, &context.settings);
    Ok(options)
}

/// Returns the options that settings mean.
pub(crate) fn options_of(settings: &Settings, helper: &Helper) -> Outcome<BuildOptions> {
    BuildOptions::configured(settings, helper).map_err(|error| match error {
        OptionsError::Key(error) => error.into(),
        error => Failure::Usage(error.to_string()),
    })
}

/// Says how a build was kept apart, where that is not how it should be.
pub(crate) fn isolation_note(isolation: Option<Isolation>) -> Option<&'static str> {
    match isolation {
        Some(Isolation::None) => Some("it was built without a sandbox"),
        _ => None,
    }
}
