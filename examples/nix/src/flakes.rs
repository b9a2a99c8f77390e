//! Flakes on the command line: flags of the lock file, references relative to where we are, and outputs by their attribute path.
//!
//! What a command finds out of a flake is remembered for as long as it runs ([`FlakeState`]): a flake that was locked once is not locked again
//! when a second evaluation of the same command needs it.

mod app;
mod complete;
mod config;
mod find;
mod flags;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use nixlang::flake::{FlakeRef, LockOptions, LockedFlake, lock};
use nixlang::heap::Value;
use nixlang::host::FetchedInput;
use nixlang_store::fetchers::reference::{ReferenceOptions, parse_reference};
use nixlang_store::fetchers::registry::Registry;
use nixlang_store::input::{Input, InputError, Reader, feature_message};

use crate::commands::Context;
use crate::evaluation::{Evaluation, Step};
use crate::failure::{Failure, Outcome};
use crate::fetch::Shown;

pub(crate) use app::program;
pub(crate) use complete::{complete, complete_command};
pub(crate) use config::configured;
pub(crate) use find::{find, find_all};
pub(crate) use flags::FlakeFlags;
pub(crate) use target::{FlakeOutput, flake_output, flake_target};

/// What one command knows of flakes.
#[derive(Default)]
pub(crate) struct FlakeState {
    /// What `--override-flake` and `--inputs-from` say.
    pub(crate) registry: Mutex<Registry>,
    /// Trees that were fetched.
    pub(crate) fetched: Mutex<BTreeMap<Input, FetchedInput>>,
    /// Flakes that were locked, by reference and options.
    locked: Mutex<HashMap<String, Arc<LockedFlake>>>,
}

impl FlakeState {
    /// Forgets trees and flakes, so that what changed is seen.
    pub(crate) fn forget(&self) {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.locked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Where outputs are looked for if a reference names none, and what stands before a name that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Defaults {
    /// `build` and most others.
    #[default]
    Packages,
    /// `run`, `bundle`.
    Apps,
    /// `develop`, `print-dev-env`.
    DevShells,
    /// `search`.
    Search,
    /// `formatter`.
    Formatter,
    /// `repl`.
    Everything,
    /// `flake init`.
    Templates,
    /// `bundle --bundler`.
    Bundlers,
    /// nixpkgs, whose packages are where they always were.
    LegacyPackages,
}

impl Defaults {
    fn paths(self, system: &str) -> Vec<String> {
        let packages = || vec![format!("packages.{system}.default"), format!("defaultPackage.{system}")];
        let before = |first: [String; 2]| first.into_iter().chain(packages()).collect();
        match self {
            Defaults::Packages => packages(),
            Defaults::Apps => before([format!("apps.{system}.default"), format!("defaultApp.{system}")]),
            Defaults::DevShells => before([format!("devShells.{system}.default"), format!("devShell.{system}")]),
            Defaults::Search => vec![format!("packages.{system}"), format!("legacyPackages.{system}")],
            Defaults::Formatter => vec![format!("formatter.{system}")],
            Defaults::Everything => vec![String::new()],
            Defaults::Templates => vec!["templates.default".into(), "defaultTemplate".into()],
            Defaults::Bundlers => vec![format!("bundlers.{system}.default"), format!("defaultBundler.{system}")],
            Defaults::LegacyPackages => Vec::new(),
        }
    }

    fn prefixes(self, system: &str) -> Vec<String> {
        let packages = [format!("packages.{system}."), format!("legacyPackages.{system}.")];
        match self {
            Defaults::Packages | Defaults::Search | Defaults::Everything => packages.into(),
            Defaults::Apps => [format!("apps.{system}.")].into_iter().chain(packages).collect(),
            Defaults::DevShells => [format!("devShells.{system}.")].into_iter().chain(packages).collect(),
            Defaults::Formatter => Vec::new(),
            Defaults::Templates => vec!["templates.".into()],
            Defaults::Bundlers => vec![format!("bundlers.{system}.")],
            Defaults::LegacyPackages => vec![format!("legacyPackages.{system}.")],
        }
    }
}

/// A flake, and what of it is meant.
#[derive(Clone, Debug)]
pub(crate) struct FlakeWord {
    /// The flake.
    pub(crate) reference: FlakeRef,
    /// Attribute paths to try, in this order.
    pub(crate) paths: Vec<String>,
}

impl FlakeWord {
    /// Reads a word without outputs behind it.
    pub(crate) fn parse(context: &Context, word: &str, defaults: Defaults) -> Outcome<FlakeWord> {
        let (reference, fragment) = reference(context, word, false, true)?;
        Ok(FlakeWord::new(context, reference, &fragment, defaults))
    }

    /// Returns what a fragment means for a flake.
    pub(crate) fn new(context: &Context, reference: FlakeRef, fragment: &str, defaults: Defaults) -> FlakeWord {
        let system = context.settings.system();
        let paths = match (fragment, fragment.strip_prefix('.')) {
            ("", _) => defaults.paths(system),
            (_, Some(absolute)) => vec![absolute.to_owned()],
            (name, None) => defaults.prefixes(system).into_iter().map(|prefix| prefix + name).chain([name.to_owned()]).collect(),
        };
        FlakeWord { reference, paths }
    }
}

/// Fails unless an experimental feature is enabled.
pub(crate) fn require(context: &Context, feature: &str) -> Outcome<()> {
    match context.settings.list("experimental-features").any(|enabled| enabled == feature) {
        true => Ok(()),
        false => Err(Failure::new(feature_message(feature))),
    }
}

/// Reads something with what is enabled.
pub(crate) fn with_reader<T>(context: &Context, read: impl FnOnce(&mut Reader<'_>) -> Result<T, InputError>) -> Outcome<T> {
    let has_feature = |feature: &str| context.settings.list("experimental-features").any(|enabled| enabled == feature);
    let mut dubious = |name: &str| context.ui.warn(format!("dubious URI query '{name}' is missing equal sign '=', ignoring"));
    read(&mut Reader { has_feature: &has_feature, dubious: &mut dubious }).map_err(|error| Failure::new(error.to_string()))
}

/// Reads a reference of the command line and its fragment.
pub(crate) fn reference(context: &Context, text: &str, allow_missing: bool, is_flake: bool) -> Outcome<(FlakeRef, String)> {
    let directory = match &context.common.base_directory {
        Some(directory) => directory.clone(),
        None => std::env::current_dir()?,
    };
    let options = ReferenceOptions { directory: &directory, allow_missing, is_flake };
    with_reader(context, |reader| parse_reference(text, options, reader, &Shown(context.ui)))
}

/// As [`reference`], where there must be no fragment.
pub(crate) fn plain_reference(context: &Context, text: &str, allow_missing: bool) -> Outcome<FlakeRef> {
    let (reference, fragment) = reference(context, text, allow_missing, true)?;
    reference.without_fragment(&fragment, text).map_err(|error| Failure::new(error.to_string()))
}

/// Locks a flake, once for all evaluations of a command.
pub(crate) fn locked(evaluation: &Evaluation<'_, '_>, reference: &FlakeRef, options: &LockOptions) -> Step<Arc<LockedFlake>> {
    let state = &evaluation.context().flakes;
    let key = format!("{reference:?} {options:?}");
    if let Some(known) = state.locked.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Arc::clone(known));
    }
    let locked = Arc::new(lock(evaluation.eval, reference, options)?);
    state.locked.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&locked));
    Ok(locked)
}

/// Returns the outputs of a flake.
pub(crate) fn outputs<'h>(evaluation: &Evaluation<'_, 'h>, reference: &FlakeRef, options: &LockOptions) -> Step<Value<'h>> {
    let locked = locked(evaluation, reference, options)?;
    outputs_of(evaluation, &locked)
}

/// Returns the outputs of a flake that was locked.
pub(crate) fn outputs_of<'h>(evaluation: &Evaluation<'_, 'h>, locked: &LockedFlake) -> Step<Value<'h>> {
    let eval = evaluation.eval;
    let value = nixlang::flake::call(eval, locked)?;
    let attrs = eval.force_attrs(value, nixlang::source::Pos::NONE, "while parsing cached flake data")?;
    match attrs.get(eval.symbols.intern(b"outputs")) {
        Some(outputs) => Ok(outputs.get()),
        None => Err(Failure::new("the flake has no outputs").into()),
    }
}
