//! One call of [`Builder::run`]: the steps of a plan, what they made, and what the plan grows by on the way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nixlang_store::derivation::OutputName;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::Builder;
use super::tasks::{NewTask, Task, Tasks};
use crate::error::BuildError;
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::known::{Known, OutputPaths};
use crate::plan::{DerivedPath, Plan, SingleDerivedPath, Want, Work};
use crate::prepare::spares::Spares;
use crate::prepare::workspace;
use crate::result::{BuildOutcome, BuildResult, BuildStatus, Realised};
use crate::scheduler::{Counts, NewStep, Order, Outcome, Scheduler, Slot, StepEnd, run_steps};

/// One call of [`Builder::run`].
pub(super) struct Run<'r> {
    pub(super) builder: &'r Builder,
    pub(super) observer: &'r dyn Observer,
    /// Also cancelled by the first failure.
    pub(super) cancel: CancelToken,
    pub(super) known: Known<'r>,
    /// The plan, as far as it has grown.
    plan: Mutex<Plan>,
    results: Mutex<BTreeMap<StorePath, BuildResult>>,
    tasks: Mutex<Tasks>,
    /// Why paths were not fetched.
    pub(super) not_fetched: Mutex<BTreeMap<StorePath, (BuildStatus, String)>>,
    pub(super) spares: Arc<Spares>,
    /// Steps that no other machine takes.
    declined: Mutex<HashSet<usize>>,
    /// What was built in place of derivations, and failed.
    pub(super) resolved_failures: Mutex<BTreeMap<StorePath, StorePath>>,
}

impl<'r> Run<'r> {
    pub(super) fn new(builder: &'r Builder, plan: Plan, observer: &'r dyn Observer, cancel: CancelToken) -> Run<'r> {
        let own = builder.store.layout().state_dir.join("builds");
        Run {
            builder,
            spares: Arc::new(Spares::new(builder.options.build_dir.clone().unwrap_or(own))),
            observer,
            cancel,
            known: Known::new(&builder.store, builder.options.has_feature("ca-derivations")),
            plan: Mutex::new(plan),
            results: Mutex::default(),
            tasks: Mutex::default(),
            not_fetched: Mutex::default(),
            declined: Mutex::default(),
            resolved_failures: Mutex::default(),
        }
    }

    pub(super) fn display(&self, path: &StorePath) -> String {
        self.builder.store.store_dir().display(path)
    }

    /// Locked before the tasks, and those before the results.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What builds take up.
    fn build_slot(&self) -> Slot {
        if self.builder.options.remote.is_some() { Slot::Remote } else { Slot::Build }
    }

    /// Gives the scheduler what the plan has grown by. Returns which of these steps and paths have to be waited for.
    pub(super) fn grow(&self, plan: &Plan, scheduler: &Scheduler<'_>, steps: &[usize], paths: &[StorePath]) -> Vec<usize> {
        let mut tasks = self.tasks();
        let new = tasks.grow(plan, self.build_slot());
        // Still holding the tasks, so that numbers agree.
        scheduler.add(&new.iter().map(NewTask::as_step).collect::<Vec<_>>());
        tasks.unfinished(steps, paths)
    }

    fn declined(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.declined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep_result(&self, path: &StorePath, result: BuildResult) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), result);
    }

    /// Forgets what was expected of derivations.
    pub(super) fn forget_results(&self, derivations: &BTreeSet<StorePath>) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| !derivations.contains(path));
    }

    pub(super) fn all(self) -> BuildOutcome {
        let mut outcome = BuildOutcome::default();
        let options = &self.builder.options;
        let n_wanted = {
            let plan = self.plan();
            for path in &plan.unknown {
                let message = format!("path '{}' does not exist and cannot be created", self.display(path));
                outcome.missing.insert(path.clone(), message);
            }
            for (path, outputs) in &plan.already_valid {
                let outputs = outputs.clone();
                let status = if plan.is_fetched(path) { BuildStatus::Substituted } else { BuildStatus::AlreadyValid };
                let result = BuildResult { outputs, ..BuildResult::new(status, "") };
                self.keep_result(path, result);
            }
            plan.wanted.len()
        };
        outcome.realised = vec![Realised::default(); n_wanted];
        if !outcome.missing.is_empty() && !options.keep_going {
            outcome.results = self.results.into_inner().unwrap_or_else(PoisonError::into_inner);
            return outcome;
        }

        // Also where nothing is to be done: what was killed may have been done but for this.
        workspace::sweep(self.spares.parent());
        let order = if options.max_jobs <= 1 && options.remote.is_none() { Order::Names } else { Order::Chains };
        let new = self.tasks().grow(&self.plan(), self.build_slot());
        let run = |task: usize, scheduler: &Scheduler<'_>| self.task(task, scheduler);
        let progress = |counts: Counts| {
            let Counts { done, running, failed, total } = counts;
            self.observer.event(&BuildEvent::Progress { done, total, running, failed });
        };
        let n_elsewhere = options.remote.as_ref().map_or(1, |remote| remote.n_slots());
        let n_fetches = options.substituters.as_ref().map_or(1, |substituters| substituters.max_parallel());
        let slots = [16, n_fetches, n_elsewhere, options.max_jobs];
        let new: Vec<NewStep<'_>> = new.iter().map(NewTask::as_step).collect();
        let ran = run_steps(&new, slots, order, options.keep_going, &self.cancel, &run, &progress);
        let tasks = std::mem::take(&mut self.tasks().all);
        let plan = std::mem::take(&mut *self.plan());
        let mut results = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
        for (task, how) in tasks.iter().zip(ran.outcomes) {
            match task {
                Task::Fetch(path) => self.report_fetch(&plan, path, how, &mut results, &mut outcome.missing),
                Task::Step(index) => {
                    let Work::Build(step) = &plan.steps[*index].work else { continue };
                    results.entry(step.path.clone()).or_insert_with(|| match how {
                        Outcome::DependenciesFailed(n_failed) => self.dependency_failed(step, n_failed),
                        _ => BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string()),
                    });
                }
            }
        }
        outcome.realised = plan.wanted.iter().map(|wanted| self.realised(&plan, wanted).unwrap_or_default()).collect();
        outcome.results = results;
        let started = ran.started.iter().filter_map(|&task| match tasks[task] {
            Task::Step(index) => Some(index),
            Task::Fetch(_) => None,
        });
        self.order_failures(&plan, started, options.keep_going, &mut outcome);
        outcome
    }

    /// Returns what something wanted has become.
    fn realised(&self, plan: &Plan, wanted: &DerivedPath) -> Result<Realised, BuildError> {
        let store = &self.builder.store;
        let (derivation, outputs) = match wanted {
            DerivedPath::Opaque(path) => {
                let outputs = [("out".into(), path.clone())].into();
                return Ok(if store.is_valid(path)? { Realised { derivation: None, outputs } } else { Realised::default() });
            }
            DerivedPath::Built { derivation, outputs } => match self.known.single(derivation)? {
                Some(path) => (path, outputs),
                None => return Ok(Realised::default()),
            },
        };
        let is_wanted = |name: &OutputName| outputs.contains(name);
        // Nothing happened to those, so nobody need look again.
        if let Some(known) = plan.already_valid.get(&derivation).filter(|_| !plan.is_fetched(&derivation)) {
            let outputs = known.iter().filter(|(name, _)| is_wanted(name)).map(|(name, path)| (name.clone(), path.clone()));
            return Ok(Realised { outputs: outputs.collect(), derivation: Some(derivation) });
        }
        let parsed = store.read_derivation(&derivation)?;
        let outputs: OutputPaths = self
            .known
            .outputs(&derivation, &parsed)?
            .into_iter()
            .filter(|(name, _)| is_wanted(name))
            .filter_map(|(name, path)| Some((name, path?)))
            .collect();
        Ok(Realised { derivation: Some(derivation), outputs })
    }

    fn task(&self, number: usize, scheduler: &Scheduler<'_>) -> StepEnd {
        let task = self.tasks().all[number].clone();
        let end = match task {
            Task::Step(index) => self.step(index, scheduler),
            Task::Fetch(path) => self.fetch(&path, scheduler),
        };
        if end == StepEnd::Done {
            self.tasks().done.insert(number);
        }
        end
    }

    fn step(&self, index: usize, scheduler: &Scheduler<'_>) -> StepEnd {
        let step = self.plan().steps[index].clone();
        match &step.work {
            Work::Build(step) => {
                let elsewhere = self.builder.options.remote.is_some() && !self.declined().contains(&index);
                let Some(mut result) = self.build(step, elsewhere) else {
                    self.declined().insert(index);
                    return StepEnd::Moved(Slot::Build);
                };
                if result.status == BuildStatus::MiscFailure && self.cancel.is_cancelled() {
                    // It was not the build that failed.
                    result = BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string());
                }
                self.observer.event(&BuildEvent::Finished { derivation: &step.path, result: &result });
                let worked = result.status.is_success();
                if worked {
                    self.known.note(&step.path, &result.outputs);
                }
                self.keep_result(&step.path, result);
                if worked { StepEnd::Done } else { StepEnd::Failed }
            }
            Work::Dynamic { derivation, want } => match self.dynamic(derivation, want, scheduler) {
                Ok(waiting_for) if waiting_for.is_empty() => StepEnd::Done,
                Ok(waiting_for) => StepEnd::After(waiting_for),
                Err(error) => {
                    let message = error.to_string();
                    self.keep_result(derivation.root(), BuildResult::new(error.status(), message));
                    StepEnd::Failed
                }
            },
        }
    }

    /// Plans what is wanted of a derivation that has been made. Returns what is not done yet of it.
    fn dynamic(
        &self,
        derivation: &SingleDerivedPath,
        want: &Want,
        scheduler: &Scheduler<'_>,
    ) -> Result<Vec<usize>, BuildError> {
        let store = &self.builder.store;
        let path = self.known.single(derivation)?.ok_or_else(|| BuildError::Missing {
            message: format!("failed to obtain derivation of '{}'", derivation.display(store.store_dir())),
        })?;
        let mut plan = self.plan();
        let waiting_for = plan.extend(store, &self.builder.options, &self.known, path.clone(), want.clone())?;
        let fetched = plan.fetched_outputs(&path);
        Ok(self.grow(&plan, scheduler, &waiting_for, &fetched))
    }
}
