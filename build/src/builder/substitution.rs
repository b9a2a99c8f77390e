//! Fetching, which is a task like building. What could not be fetched makes the plan grow.
//!
//! A path that is not there any more although somebody said so is as if nobody had said so: it is built. For any other
//! failure that is so only with `fallback`, since a build may take hours where another attempt takes seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::error::StoreError;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::realisation::Realisation;
use nixlang_store::store::Store;
use nixlang_store::substituter::{SubstituterObserver, SubstitutionFailure};
use nixlang_store::transfer::Interrupt;

use super::Builder;
use super::run::Run;
use crate::error::BuildError;
use crate::event::{BuildEvent, Observer};
use crate::known::OutputPaths;
use crate::plan::{DerivedPath, Plan, SingleDerivedPath};
use crate::result::{BuildResult, BuildStatus};
use crate::scheduler::{Outcome, Scheduler, StepEnd};

impl Run<'_> {
    /// Fetches a path whose references are valid, or were not to be had.
    pub(super) fn fetch(&self, path: &StorePath, scheduler: &Scheduler<'_>) -> StepEnd {
        let (status, message) = match self.try_fetch(path, scheduler) {
            Ok(waiting_for) if waiting_for.is_empty() => return StepEnd::Done,
            Ok(waiting_for) => return StepEnd::After(waiting_for),
            Err(BuildError::Cancelled) => (BuildStatus::Cancelled, BuildError::Cancelled.to_string()),
            Err(error) => (error.status(), error.to_string()),
        };
        self.not_fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), (status, message));
        StepEnd::Failed
    }

    /// Returns the tasks that make what can't be fetched; none if there is nothing more to do.
    fn try_fetch(&self, path: &StorePath, scheduler: &Scheduler<'_>) -> Result<Vec<usize>, BuildError> {
        let Builder { store, options, .. } = self.builder;
        let Some(substituters) = &options.substituters else { return Ok(Vec::new()) };
        let (is_refused, offered, references) = {
            let plan = self.plan();
            let offered = plan.substitution.offers.get(path).map(|offer| offer.info.clone());
            let references = offered.iter().flat_map(|info| info.references.iter());
            let refused = references.filter(|reference| plan.refused.contains(*reference)).cloned();
            (plan.refused.contains(path), offered.clone(), refused.collect::<Vec<_>>())
        };
        let Some(offered) = offered.filter(|_| !is_refused) else {
            // It was built instead. Where its path depends on its contents it may be another one now.
            return Ok(Vec::new());
        };
        if !store.is_valid(path)? {
            let is_broken = store.are_valid(&references)?.contains(&false);
            let fetched = if is_broken {
                let error = StoreError::BrokenReferences { path: store.store_dir().display(path) };
                Err(SubstitutionFailure { error, is_gone: true })
            } else {
                let cancel = self.cancel.clone();
                substituters.fetch_path(store, &offered, &Events(self.observer), &Interrupt::new(move || cancel.is_cancelled()))
            };
            match fetched {
                Ok(()) => self.observer.event(&BuildEvent::Fetched { path, error: None }),
                Err(SubstitutionFailure { error: StoreError::Interrupted, .. }) => return Err(BuildError::Cancelled),
                Err(SubstitutionFailure { error, is_gone }) => {
                    self.observer.event(&BuildEvent::Fetched { path, error: Some(&error) });
                    if !is_gone && !options.fallback {
                        return Err(error.into());
                    }
                    return self.do_without(path, error, scheduler);
                }
            }
        }
        self.note_fetched(path)?;
        Ok(Vec::new())
    }

    /// Lets what makes a path be built. Returns the tasks for that; none if only other paths that are fetched refer to it.
    fn do_without(&self, path: &StorePath, error: StoreError, scheduler: &Scheduler<'_>) -> Result<Vec<usize>, BuildError> {
        let Builder { store, options, .. } = self.builder;
        let mut plan = self.plan();
        let makers = plan.fetched_derivations(std::iter::once(path));
        if makers.is_empty() && plan.sources.contains(path) {
            return Err(error.into());
        }
        self.forget_results(&makers);
        let steps = plan.build_instead(store, options, &self.known, path)?;
        Ok(self.grow(&plan, scheduler, &steps, &[]))
    }

    /// Registers what substituters said that outputs are, now that the path is valid.
    fn note_fetched(&self, path: &StorePath) -> Result<(), BuildError> {
        let Builder { store, options, .. } = self.builder;
        let plan = self.plan();
        let of_path = |realisation: &&Realisation| realisation.path == *path;
        let realisations: Vec<Realisation> = plan.realisations.iter().filter(of_path).cloned().collect();
        // They were judged when they were asked for.
        if !realisations.is_empty() {
            store.register_realisations(&realisations, false)?;
        }
        if options.has_feature("ca-derivations") {
            plan.register_fetched(store, &self.known, path)?;
        }
        Ok(())
    }

    /// Says what it means that a path was not fetched, for everything that was wanted.
    pub(super) fn report_fetch(
        &self,
        plan: &Plan,
        path: &StorePath,
        how: Outcome,
        results: &mut BTreeMap<StorePath, BuildResult>,
        missing: &mut BTreeMap<StorePath, String>,
    ) {
        if how == Outcome::Done {
            return;
        }
        let dir = self.builder.store.store_dir();
        let reasons = self.not_fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = reasons.get(path);
        let is_cancelled = how == Outcome::NotStarted || reason.is_some_and(|(status, _)| *status == BuildStatus::Cancelled);
        for derivation in plan.fetched_derivations(std::iter::once(path)) {
            let is_failure = results.get(&derivation).is_some_and(|result| !result.status.is_success());
            if is_failure {
                continue;
            }
            let result = if is_cancelled {
                BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string())
            } else {
                let message = format!(
                    "some substitutes for the outputs of derivation '{}' failed (usually happens due to networking issues); \
                     try '--fallback' to build derivation from source ",
                    dir.display(&derivation)
                );
                BuildResult::new(BuildStatus::TransientFailure, message)
            };
            results.insert(derivation, result);
        }
        for wanted in &plan.wanted {
            match wanted {
                DerivedPath::Opaque(wanted) if wanted == path => {
                    let error = StoreError::NoSubstitute { path: dir.display(path) };
                    missing.insert(path.clone(), error.to_string());
                }
                DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), .. } if derivation == path => {
                    let (status, message) = reason.cloned().unwrap_or((BuildStatus::Cancelled, BuildError::Cancelled.to_string()));
                    results.insert(path.clone(), BuildResult::new(status, message));
                }
                _ => {}
            }
        }
    }

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
