//! Of all that went wrong, what counts and in which order it is told: as by the reference, whose goals fail one after the
//! other.
//!
//! The surprising part: without `keep_going` exactly one wanted derivation fails, the first that the news of the first
//! failure reaches. Everything else is cancelled, also what failed by itself in the same instant, and what was waiting for
//! several things counts one failed dependency only.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

use nixlang_store::path::StorePath;

use super::run::Run;
use crate::error::BuildError;
use crate::plan::{Plan, Step, Work};
use crate::result::{BuildOutcome, BuildResult, BuildStatus};

impl Run<'_> {
    /// Returns the result of a derivation of whose dependencies so many failed.
    pub(super) fn dependency_failed(&self, step: &crate::plan::BuildStep, n_failed: usize) -> BuildResult {
        let what = if n_failed == 1 { "dependency" } else { "dependencies" };
        let reason = format!("{n_failed} {what} failed");
        BuildResult::new(BuildStatus::DependencyFailed, self.cannot_build(&step.path, &step.outputs, &reason))
    }

    /// Fills in the order of failures. `started` are the steps that ran, in the order in which they started; without
    /// `keep_going` what the first of their failures leaves undone is cancelled.
    pub(super) fn order_failures(&self, plan: &Plan, started: impl Iterator<Item = usize>, keep_going: bool, outcome: &mut BuildOutcome) {
        let graph = Graph::new(plan);
        let own = |step: &usize| {
            let path = graph.path(*step);
            let status = outcome.results.get(path).map(|result| result.status);
            status.is_some_and(|status| !status.is_success() && status != BuildStatus::Cancelled)
        };
        let mut own: Vec<usize> = started.filter(own).collect();
        let mut seen = HashSet::new();
        own.retain(|step| seen.insert(*step));
        let Some(&first) = own.first() else { return };
        let ascent = if keep_going { graph.all_above(&own) } else { graph.until_wanted(first) };
        let resolved = self.resolved_failures.lock().unwrap_or_else(PoisonError::into_inner);
        for &step in &ascent.order {
            let path = graph.path(step);
            if let Some(resolved) = resolved.get(path) {
                outcome.order.push(resolved.clone());
                outcome.told.push(resolved.clone());
            }
            outcome.order.push(path.clone());
            if ascent.told.contains(&step) {
                outcome.told.push(path.clone());
            }
        }
        if keep_going {
            return;
        }
        for step in &ascent.order[1..] {
            if let Work::Build(step) = &plan.steps[*step].work {
                outcome.results.insert(step.path.clone(), self.dependency_failed(step, 1));
            }
        }
        let counts: HashSet<&StorePath> = outcome.order.iter().collect();
        for (path, result) in outcome.results.iter_mut().filter(|(path, _)| !counts.contains(*path)) {
            let is_other = resolved.values().any(|resolved| resolved == path);
            if !result.status.is_success() && (is_other || plan.has_step(path)) {
                *result = BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string());
            }
        }
    }
}

/// The steps of a plan, and who waits for each.
struct Graph<'p> {
    steps: &'p [std::sync::Arc<Step>],
    dependents: Vec<Vec<usize>>,
}

/// What fails, first to last, and what of that somebody waited for.
#[derive(Default)]
struct Ascent {
    order: Vec<usize>,
    told: BTreeSet<usize>,
}

impl<'p> Graph<'p> {
    fn new(plan: &'p Plan) -> Graph<'p> {
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for &dependency in &step.dependencies {
                dependents[dependency].push(index);
            }
        }
        Graph { steps: &plan.steps, dependents }
    }

    fn path(&self, step: usize) -> &'p StorePath {
        match &self.steps[step].work {
            Work::Build(step) => &step.path,
            Work::Dynamic { derivation, .. } => derivation.root(),
        }
    }

    fn is_wanted(&self, step: usize) -> bool {
        match &self.steps[step].work {
            Work::Build(build) => build.is_top_level,
            Work::Dynamic { .. } => self.dependents[step].is_empty(),
        }
    }

    fn sort(&self, steps: &mut [usize]) {
        steps.sort_by_key(|&step| (self.path(step).name(), self.path(step)));
    }

    /// Goes from a failure to those that waited for it, level by level, until one is reached that was wanted.
    fn until_wanted(&self, first: usize) -> Ascent {
        let mut ascent = Ascent::default();
        // Those that wait for nothing more.
        let mut woken = HashSet::new();
        let mut level = vec![first];
        while !level.is_empty() {
            self.sort(&mut level);
            let mut next = Vec::new();
            for step in level {
                ascent.order.push(step);
                let waiting: Vec<usize> = self.dependents[step].iter().copied().filter(|step| woken.insert(*step)).collect();
                if !waiting.is_empty() {
                    ascent.told.insert(step);
                }
                if self.is_wanted(step) {
                    return ascent;
                }
                next.extend(waiting);
            }
            level = next;
        }
        ascent
    }

    /// Goes from some failures to all that can't be built for them.
    fn all_above(&self, own: &[usize]) -> Ascent {
        let mut n_left: BTreeMap<usize, usize> = BTreeMap::new();
        let mut reached: HashSet<usize> = own.iter().copied().collect();
        let mut stack = own.to_vec();
        while let Some(step) = stack.pop() {
            for &dependent in &self.dependents[step] {
                *n_left.entry(dependent).or_default() += 1;
                if reached.insert(dependent) {
                    stack.push(dependent);
                }
            }
        }
        let mut ascent = Ascent::default();
        let mut level: Vec<usize> = own.iter().copied().filter(|step| !n_left.contains_key(step)).collect();
        while !level.is_empty() {
            let mut next = Vec::new();
            for step in level {
                ascent.order.push(step);
                if !self.dependents[step].is_empty() {
                    ascent.told.insert(step);
                }
                for dependent in &self.dependents[step] {
                    let left = n_left.get_mut(dependent).expect("whatever is above a failure was counted");
                    *left -= 1;
                    if *left == 0 {
                        next.push(*dependent);
                    }
                }
            }
            self.sort(&mut next);
            level = next;
        }
        ascent
    }
}
