//! What the scheduler runs: the steps of a plan and the paths that are fetched, in one numbering that grows with the plan.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use nixlang_store::path::StorePath;

use crate::plan::{Plan, Work};
use crate::scheduler::{NewStep, Slot};

/// One thing that the scheduler runs.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// A step of the plan.
    Step(usize),
    /// A path is fetched.
    Fetch(StorePath),
}

/// All of them, in the scheduler's numbering.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) all: Vec<Task>,
    of_step: Vec<usize>,
    of_path: HashMap<StorePath, usize>,
    /// Those that need not be waited for any more.
    pub(super) done: HashSet<usize>,
}

/// A task that is new.
pub(super) struct NewTask {
    pub(super) dependencies: Vec<usize>,
    pub(super) slot: Slot,
    name: Arc<str>,
    goes_first: bool,
}

impl NewTask {
    pub(super) fn as_step(&self) -> NewStep<'_> {
        NewStep { dependencies: &self.dependencies, slot: self.slot, name: self.name.clone(), goes_first: self.goes_first }
    }
}

/// Returns what a path's work is ordered by, which is how the reference orders it: the name, then the hash.
fn name(path: &StorePath) -> Arc<str> {
    format!("{}${}", path.name(), path.base_name()).into()
}

impl Tasks {
    /// Makes tasks of everything in a plan that is none yet; builds take a `build` slot. Each depends on earlier ones only.
    pub(super) fn grow(&mut self, plan: &Plan, build: Slot) -> Vec<NewTask> {
        let mut new = Vec::new();
        let first = if self.all.is_empty() { plan.first_in_the_reference() } else { None };
        for path in plan.substitution.offers.keys() {
            self.add_fetch(plan, path, &mut new);
        }
        for index in self.of_step.len()..plan.steps.len() {
            let step = &plan.steps[index];
            let mut dependencies: BTreeSet<usize> = step.dependencies.iter().map(|&step| self.of_step[step]).collect();
            dependencies.extend(plan.inputs_of(step).iter().filter_map(|path| self.of_path.get(path)));
            let (slot, name) = match &step.work {
                Work::Build(step) => (build, name(&step.path)),
                Work::Dynamic { derivation, .. } => (Slot::Light, name(derivation.root())),
            };
            self.of_step.push(self.all.len());
            self.all.push(Task::Step(index));
            new.push(NewTask { dependencies: dependencies.into_iter().collect(), slot, name, goes_first: first == Some(index) });
        }
        new
    }

    /// Adds a path after all that it refers to.
    fn add_fetch(&mut self, plan: &Plan, path: &StorePath, new: &mut Vec<NewTask>) {
        let references = |path: &StorePath| -> Vec<StorePath> {
            let Some(offer) = plan.substitution.offers.get(path) else { return Vec::new() };
            let others = offer.info.references.iter().filter(|other| *other != path);
            others.filter(|other| plan.substitution.offers.contains_key(*other)).cloned().collect()
        };
        let mut on_stack: BTreeSet<StorePath> = [path.clone()].into();
        let mut stack = vec![(path.clone(), references(path).into_iter())];
        while let Some((_, rest)) = stack.last_mut() {
            match rest.next() {
                Some(next) => {
                    // References make no circles; a substituter that says so is not followed round.
                    if !self.of_path.contains_key(&next) && on_stack.insert(next.clone()) {
                        let of_next = references(&next).into_iter();
                        stack.push((next, of_next));
                    }
                }
                None => {
                    let Some((path, _)) = stack.pop() else { return };
                    if self.of_path.contains_key(&path) {
                        continue;
                    }
                    let dependencies = references(&path).iter().filter_map(|path| self.of_path.get(path).copied()).collect();
                    let name = name(&path);
                    self.of_path.insert(path.clone(), self.all.len());
                    self.all.push(Task::Fetch(path));
                    new.push(NewTask { dependencies, slot: Slot::Fetch, name, goes_first: false });
                }
            }
        }
    }

    /// Returns the tasks of these steps and paths that have to be waited for.
    pub(super) fn unfinished(&self, steps: &[usize], paths: &[StorePath]) -> Vec<usize> {
        let of_steps = steps.iter().map(|&step| self.of_step[step]);
        let of_paths = paths.iter().filter_map(|path| self.of_path.get(path).copied());
        of_steps.chain(of_paths).filter(|task| !self.done.contains(task)).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
