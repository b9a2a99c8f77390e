//! The words of commands that work on paths of a store, with the flags that all of these have: `--all`, `--recursive`, `--stdin`, `--derivation`.

use std::cell::Cell;
use std::sync::Arc;

use nixlang_build::BuildError;
use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::realisation::{DerivationOutputId, Realisation};
use nixlang_store::store::Store;

use crate::args::Args;
use crate::building::BuildFlags;
use crate::commands::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Target, realise_targets};

/// Which paths a command works on.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorePaths {
    installables: Installables,
    all: bool,
    recursive: bool,
}

impl StorePaths {
    /// Reads a command line whose own flags `flag` handles. Returns what the command works with.
    pub(crate) fn parse(invocation: Invocation, mut flag: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<(Arc<Context>, StorePaths)> {
        let (all, mut recursive) = (Cell::new(false), false);
        let (installables, context) = Installables::parse_or_all(invocation, &all, |name, args| {
            if flag(name, args)? {
                return Ok(true);
            }
            match name {
                "--all" => all.set(true),
                "-r" | "--recursive" => recursive = true,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok((context, StorePaths { installables, all: all.get(), recursive }))
    }

    /// As [`StorePaths::parse`], for a command that works on closures unless `--no-recursive` is given.
    pub(crate) fn parse_recursive(invocation: Invocation, mut flag: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<(Arc<Context>, StorePaths)> {
        let mut is_single = false;
        let (context, paths) = StorePaths::parse(invocation, |name, args| {
            if name == "--no-recursive" {
                is_single = true;
                return Ok(true);
            }
            flag(name, args)
        })?;
        Ok((context, StorePaths { recursive: !is_single, ..paths }))
    }

    /// Returns what is to be copied from a store. What the words name is built first if that is the store that is built in (`is_own`).
    pub(crate) fn to_copy(&self, context: &Arc<Context>, from: &dyn Store, is_own: bool) -> Outcome<ToCopy> {
        let mut wanted = ToCopy::default();
        if self.all {
            wanted.roots = self.of(context, from, false)?;
        } else {
            let targets = self.installables.targets(context, true)?;
            // Plain paths are there or not, which copying will say.
            if is_own && targets.iter().any(|target| !matches!(target, Target::Path(_))) {
                realise_targets(context, &targets, BuildFlags::default())?;
            }
            for target in targets {
                match target {
                    Target::Path(path) => wanted.roots.push(path),
                    Target::Built { derivation, outputs } => wanted.add_outputs(context, from, &derivation, outputs)?,
                    nested => wanted.roots.extend(nested.outputs(context)?.into_iter().map(|(_, path)| path)),
                }
            }
        }
        wanted.paths = if self.recursive { from.closure(&wanted.roots)?.into_iter().collect() } else { wanted.roots.clone() };
        Ok(wanted)
    }

    /// Returns the paths with what is known about them, each once and after those that it refers to.
    pub(crate) fn infos(&self, context: &Arc<Context>, store: &dyn Store) -> Outcome<Vec<(StorePath, Option<PathInfo>)>> {
        if self.recursive && !self.all {
            let roots = StorePaths { recursive: false, ..self.clone() }.of(context, store, false)?;
            let infos = nixlang_store::closure::sorted_infos(store.store_dir(), store.closure_infos(&roots)?)?;
            return Ok(infos.into_iter().map(|info| (info.path.clone(), Some(info))).collect());
        }
        let mut paths = self.of(context, store, false)?;
        paths.sort();
        paths.dedup();
        let infos = store.query_path_infos(&paths)?;
        if infos.iter().any(Option::is_none) {
            return Ok(paths.into_iter().zip(infos).collect());
        }
        let infos = nixlang_store::closure::sorted_infos(store.store_dir(), infos.into_iter().flatten().collect())?;
        Ok(infos.into_iter().map(|info| (info.path.clone(), Some(info))).collect())
    }

    /// Returns the paths, references before those that refer to them if there are more than the words name. With `build` they are made first.
    pub(crate) fn of(&self, context: &Arc<Context>, store: &dyn Store, build: bool) -> Outcome<Vec<StorePath>> {
        let mut paths = Vec::new();
        if self.all {
            if !self.installables.words.is_empty() {
                return Err(Failure::Usage("'--all' does not expect arguments".into()));
            }
            paths = store.all_valid_paths()?;
            paths.sort();
            return Ok(paths);
        }
        let targets = self.installables.targets(context, true)?;
        if build {
            realise_targets(context, &targets, BuildFlags::default())?;
        }
        for target in targets {
            paths.extend(target.outputs(context)?.into_iter().map(|(_, path)| path));
        }
        if self.recursive {
            let infos = nixlang_store::closure::sorted_infos(store.store_dir(), store.closure_infos(&paths)?)?;
            paths = infos.into_iter().map(|info| info.path).collect();
        }
        Ok(paths)
    }
}

/// What is to be copied.
#[derive(Debug, Default)]
pub(crate) struct ToCopy {
    /// What was named.
    pub(crate) roots: Vec<StorePath>,
    /// That, and what it refers to if that is wanted.
    pub(crate) paths: Vec<StorePath>,
    /// What is known about outputs among them.
    pub(crate) realisations: Vec<Realisation>,
}

impl ToCopy {
    /// Adds outputs of a derivation, all of them if none are named.
    fn add_outputs(&mut self, context: &Context, from: &dyn Store, path: &StorePath, names: Option<Vec<String>>) -> Outcome<()> {
        for (_, output, realisation) in outputs_in(context, from, path, names)? {
            self.roots.push(output);
            self.realisations.extend(realisation);
        }
        Ok(())
    }
}

/// Returns outputs of a derivation, all of them if none are named: names, paths, and how the paths are known if not from the derivation alone.
pub(crate) fn outputs_in(
    context: &Context,
    from: &dyn Store,
    path: &StorePath,
    names: Option<Vec<String>>,
) -> Outcome<Vec<(String, StorePath, Option<Realisation>)>> {
    // Evaluation has written it to our own store, wherever its outputs are.
    let own = context.store.any()?;
    let derivation = own.read_derivation(path)?;
    let names: Vec<String> = names.unwrap_or_else(|| derivation.outputs.keys().map(ToString::to_string).collect());
    let features = context.settings.list("experimental-features");
    let has_realisations = from.capabilities().realisations && features.into_iter().any(|feature| feature == "ca-derivations");
    let known = KnownOutputs { own: &*own, from, has_realisations };
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let shown = || format!("'{}' output '{name}'", from.store_dir().display(path));
        if !derivation.outputs.contains_key(name.as_str()) {
            return Err(Failure::new(format!("derivation has no {}", shown())));
        }
        let output = known.find(path, &derivation, &name)?;
        let (output, realisation) = output.ok_or_else(|| Failure::new(format!("cannot operate on {} because its path is not known", shown())))?;
        found.push((name, output, realisation));
    }
    Ok(found)
}

/// Which paths outputs of our own derivations are in another store.
struct KnownOutputs<'k> {
    own: &'k dyn Store,
    from: &'k dyn Store,
    has_realisations: bool,
}

impl KnownOutputs<'_> {
    /// Returns the path of an output and how it is known. The store may know it only for the derivation that this one became once its inputs
    /// were known.
    fn find(&self, path: &StorePath, derivation: &Derivation, name: &str) -> Outcome<Option<(StorePath, Option<Realisation>)>> {
        if let Some(realisation) = self.realisation(path, derivation, name)? {
            return Ok(Some((realisation.path.clone(), Some(realisation))));
        }
        let output = derivation.outputs.get(name);
        let fixed = output.and_then(|output| output.path(self.from.store_dir(), &derivation.name, name).ok().flatten());
        if fixed.is_some() || !self.has_realisations || derivation.input_derivations.is_empty() {
            return Ok(fixed.map(|path| (path, None)));
        }
        let unknown = |message: String| BuildError::Missing { message };
        let input = |input: &StorePath, name: &OutputName| {
            let derivation = self.own.read_derivation(input)?;
            let found = self.find(input, &derivation, name).map_err(|failure| unknown(failure.message()))?;
            found.map(|(path, _)| path).ok_or_else(|| unknown(format!("output '{name}' of '{}' is not known", input.base_name())))
        };
        match nixlang_build::resolve(self.from.store_dir(), path, derivation, &input) {
            Ok((path, resolved)) => self.find(&path, &resolved, name),
            Err(BuildError::Missing { .. }) => Ok(None),
            Err(error) => Err(Failure::from_error(&error)),
        }
    }

    fn realisation(&self, path: &StorePath, derivation: &Derivation, name: &str) -> Outcome<Option<Realisation>> {
        if !self.has_realisations {
            return Ok(None);
        }
        let key = self.from.content_rules().derivation_key(path, || {
            let mut lookup = |path: &StorePath| self.own.read_derivation(path).map_err(Into::into);
            let hash = derivation.hash_modulo(self.from.store_dir(), true, &mut std::collections::HashMap::new(), &mut lookup);
            hash.map(|modulo| modulo.hash).map_err(|error| Failure::from_error(&error))
        })?;
        Ok(self.from.query_realisation(&DerivationOutputId { derivation: key, output: name.into() })?)
    }
}
