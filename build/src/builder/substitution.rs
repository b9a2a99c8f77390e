//! The first part of carrying out a plan: fetching. What could not be fetched changes the plan.
//!
//! A path that is not there any more although somebody said so is as if nobody had said so: it is built. For any other
//! failure that is so only with `fallback`, since a build may take hours where another attempt takes seconds.

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::error::StoreError;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::Store;
use nixlang_store::substituter::{SubstituterObserver, SubstitutionFailure};

use super::Builder;
use super::run::Run;
use crate::error::BuildError;
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::known::OutputPaths;
use crate::plan::{DerivedPath, Plan, plan_without};
use crate::result::{BuildOutcome, BuildResult, BuildStatus};

/// Fetches what the plan says. Returns the plan for what is left, or how everything came out if that was the end.
pub(super) fn fetch(
    builder: &Builder,
    plan: &Plan,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<Plan, Box<BuildOutcome>> {
    let mut plan = plan.clone();
    let Some(substituters) = &builder.options.substituters else { return Ok(plan) };
    let is_stuck = |plan: &Plan| !plan.unknown.is_empty() && !builder.options.keep_going;
    while !plan.substitution.offers.is_empty() && !is_stuck(&plan) {
        let failures = match substituters.fetch(&builder.store, &plan.substitution, &Events(observer)) {
            Ok(failures) => failures,
            Err(error) => {
                let status = if cancel.is_cancelled() { BuildStatus::Cancelled } else { BuildStatus::MiscFailure };
                return Err(fail_all(&plan, status, &error.to_string()));
            }
        };
        if failures.is_empty() {
            break;
        }
        if !builder.options.fallback && failures.values().any(|failure| !failure.is_gone) {
            return Err(failed(builder, &plan, &failures));
        }
        let mut refused = plan.refused.clone();
        refused.extend(failures.into_keys());
        plan = plan_without(&builder.store, &builder.options, &plan.wanted, refused)
            .map_err(|error| fail_all(&plan, error.status(), &error.to_string()))?;
    }
    if let Err(error) = register(builder, &plan) {
        return Err(fail_all(&plan, BuildStatus::MiscFailure, &error.to_string()));
    }
    Ok(plan)
}

impl Run<'_> {
    /// Fetches outputs of a derivation that became known only now. Returns those that are valid now; it is all the same
    /// why others are not.
    pub(super) fn fetch_resolved(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        wanted: &BTreeSet<OutputName>,
    ) -> Result<OutputPaths, BuildError> {
        let Builder { store, options, .. } = self.builder;
        let mut fetched = OutputPaths::new();
        let Some(substituters) = &options.substituters else { return Ok(fetched) };
        let is_allowed = options.always_allow_substitutes
            || crate::prepare::read_options(store.store_dir(), path, derivation)?.allow_substitutes;
        if !is_allowed {
            return Ok(fetched);
        }
        let names: Vec<OutputName> = wanted.iter().cloned().collect();
        let realisations = self.known.ask(substituters, path, derivation, &names)?;
        let paths: Vec<StorePath> = realisations.values().map(|realisation| realisation.path.clone()).collect();
        if paths.is_empty() {
            return Ok(fetched);
        }
        store.add_temp_roots(&paths)?;
        let plan = substituters.plan(store, &paths)?;
        substituters.fetch(store, &plan, &Events(self.observer))?;
        let mut known = Vec::new();
        for (name, realisation) in realisations {
            if store.is_valid(&realisation.path)? {
                fetched.insert(name, realisation.path.clone());
                known.push(realisation);
            }
        }
        store.register_realisations(&known, false)?;
        Ok(fetched)
    }
}

/// Registers what substituters said that outputs are, now that the paths are valid.
fn register(builder: &Builder, plan: &Plan) -> Result<(), BuildError> {
    let store = &builder.store;
    let paths: Vec<StorePath> = plan.realisations.iter().map(|realisation| realisation.path.clone()).collect();
    let valid = store.are_valid(&paths)?;
    let realisations: Vec<_> =
        plan.realisations.iter().zip(valid).filter(|(_, valid)| *valid).map(|(realisation, _)| realisation.clone()).collect();
    // They were judged when they were asked for.
    store.register_realisations(&realisations, false)?;
    if builder.options.has_feature("ca-derivations") {
        plan.register_fetched(store, &crate::known::Known::new(store, true))?;
    }
    Ok(())
}

fn fail_all(plan: &Plan, status: BuildStatus, message: &str) -> Box<BuildOutcome> {
    let mut outcome = BuildOutcome::default();
    for wanted in &plan.wanted {
        match wanted {
            DerivedPath::Opaque(path) => drop(outcome.missing.insert(path.clone(), message.to_owned())),
            DerivedPath::Built { derivation, .. } => {
                outcome.results.insert(derivation.clone(), BuildResult::new(status, message));
            }
            DerivedPath::Nested { derivation, .. } => {
                outcome.results.insert(derivation.root().clone(), BuildResult::new(status, message));
            }
        }
    }
    Box::new(outcome)
}

/// Says of each wanted thing what its failure means.
fn failed(builder: &Builder, plan: &Plan, failures: &BTreeMap<StorePath, SubstitutionFailure>) -> Box<BuildOutcome> {
    let dir = builder.store.store_dir();
    let mut outcome = BuildOutcome::default();
    let affected = plan.fetched_derivations(failures.keys());
    for path in &affected {
        let message = format!(
            "some substitutes for the outputs of derivation '{}' failed (usually happens due to networking issues); \
             try '--fallback' to build derivation from source ",
            dir.display(path)
        );
        outcome.results.insert(path.clone(), BuildResult::new(BuildStatus::TransientFailure, message));
    }
    for wanted in &plan.wanted {
        match wanted {
            DerivedPath::Opaque(path) if failures.contains_key(path) => {
                let error = StoreError::NoSubstitute { path: dir.display(path) };
                outcome.missing.insert(path.clone(), error.to_string());
            }
            DerivedPath::Opaque(_) => {}
            DerivedPath::Built { derivation: path, .. } if !affected.contains(path) => {
                let message = format!("Cannot build '{}'.\nReason: 1 dependency failed.", dir.display(path));
                outcome.results.insert(path.clone(), BuildResult::new(BuildStatus::DependencyFailed, message));
            }
            DerivedPath::Built { .. } | DerivedPath::Nested { .. } => {}
        }
    }
    Box::new(outcome)
}

/// Passes on what happens.
struct Events<'e>(&'e dyn Observer);

impl SubstituterObserver for Events<'_> {
    fn fetching(&self, address: &str, info: &PathInfo) {
        self.0.event(&BuildEvent::Fetching { path: &info.path, from: address, nar_size: info.nar_size });
    }

    fn progress(&self, info: &PathInfo, n_bytes: u64) {
        self.0.event(&BuildEvent::FetchProgress { path: &info.path, n_bytes, nar_size: info.nar_size });
    }

    fn finished(&self, path: &StorePath, error: Option<&StoreError>) {
        self.0.event(&BuildEvent::Fetched { path, error });
    }
}
