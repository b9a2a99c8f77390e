//! Runs the steps of a plan on some threads: constant work per finished step, longest chain first.
//!
//! The surprising part: this file knows nothing of building. A step is a number; what it does, and whether it worked,
//! is the caller's business.

use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::event::CancelToken;

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked.
    Done,
    /// It ran and did not work.
    Failed,
    /// So many of its direct dependencies did not work, so it did not run.
    DependenciesFailed(usize),
    /// It did not run because everything was stopped.
    NotStarted,
}

/// Numbers for a progress display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) running: usize,
    pub(crate) failed: usize,
    pub(crate) total: usize,
}

struct Node {
    dependents: Vec<usize>,
    n_waiting_for: usize,
    n_failed_dependencies: usize,
    /// Steps on the longest chain from here to the end.
    height: usize,
    outcome: Option<Outcome>,
}

struct State {
    nodes: Vec<Node>,
    /// Height first; of equals the one that was planned first.
    ready: BinaryHeap<(usize, std::cmp::Reverse<usize>)>,
    counts: Counts,
    stopped: bool,
}

/// Runs steps `0..dependencies.len()`, each after all that `dependencies` gives for it (smaller numbers only).
///
/// `run` runs a step and returns whether it worked; it is called on up to `n_threads` threads at once. `progress` is
/// called after every change. Without `keep_going` the first failure cancels `cancel` and starts nothing more.
pub(crate) fn run_steps(
    dependencies: &[&[usize]],
    n_threads: usize,
    keep_going: bool,
    cancel: &CancelToken,
    run: &(dyn Fn(usize) -> bool + Sync),
    progress: &(dyn Fn(Counts) + Sync),
) -> Vec<Outcome> {
    let scheduler = Scheduler { state: Mutex::new(State::new(dependencies)), changed: Condvar::new(), keep_going };
    let n_threads = n_threads.clamp(1, dependencies.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(|| scheduler.work(cancel, run, progress));
        }
        scheduler.work(cancel, run, progress);
    });
    let state = scheduler.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(state)
}

struct Scheduler {
    state: Mutex<State>,
    changed: Condvar,
    keep_going: bool,
}

impl State {
    fn new(dependencies: &[&[usize]]) -> State {
        let mut nodes: Vec<Node> = dependencies
            .iter()
            .map(|dependencies| Node {
                dependents: Vec::new(),
                n_waiting_for: dependencies.len(),
                n_failed_dependencies: 0,
                height: 0,
                outcome: None,
            })
            .collect();
        for (step, dependencies) in dependencies.iter().enumerate() {
            for &dependency in *dependencies {
                nodes[dependency].dependents.push(step);
            }
        }
        for step in (0..nodes.len()).rev() {
            let above = nodes[step].dependents.iter().map(|&dependent| nodes[dependent].height + 1).max();
            nodes[step].height = above.unwrap_or(0);
        }
        let ready = nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.n_waiting_for == 0)
            .map(|(step, node)| (node.height, std::cmp::Reverse(step)))
            .collect();
        let counts = Counts { total: nodes.len(), ..Counts::default() };
        State { nodes, ready, counts, stopped: false }
    }

    /// Notes how a step came out; with that, what could not run any more comes out too.
    fn complete(&mut self, step: usize, outcome: Outcome) {
        let mut pending = vec![(step, outcome)];
        while let Some((step, outcome)) = pending.pop() {
            self.nodes[step].outcome = Some(outcome);
            self.counts.done += 1;
            self.counts.failed += usize::from(outcome != Outcome::Done);
            for dependent in std::mem::take(&mut self.nodes[step].dependents) {
                let node = &mut self.nodes[dependent];
                node.n_waiting_for -= 1;
                node.n_failed_dependencies += usize::from(outcome != Outcome::Done);
                if node.n_waiting_for > 0 {
                    continue;
                }
                match node.n_failed_dependencies {
                    0 => self.ready.push((node.height, std::cmp::Reverse(dependent))),
                    n_failed => pending.push((dependent, Outcome::DependenciesFailed(n_failed))),
                }
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.counts.done == self.counts.total || (self.ready.is_empty() && self.counts.running == 0)
    }
}

impl Scheduler {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, cancel: &CancelToken, run: &(dyn Fn(usize) -> bool + Sync), progress: &(dyn Fn(Counts) + Sync)) {
        let mut state = self.lock();
        loop {
            if state.stopped || cancel.is_cancelled() || state.is_finished() {
                self.changed.notify_all();
                return;
            }
            let Some((_, std::cmp::Reverse(step))) = state.ready.pop() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.counts.running += 1;
            let counts = state.counts;
            drop(state);
            progress(counts);
            let worked = run(step);

            state = self.lock();
            state.counts.running -= 1;
            state.complete(step, if worked { Outcome::Done } else { Outcome::Failed });
            if !worked && !self.keep_going {
                state.stopped = true;
                cancel.cancel();
            }
            let counts = state.counts;
            self.changed.notify_all();
            drop(state);
            progress(counts);
            state = self.lock();
        }
    }
}

/// Gives every step an outcome that has none because everything was stopped.
fn finish(mut state: State) -> Vec<Outcome> {
    for step in 0..state.nodes.len() {
        let failed = match state.nodes[step].outcome {
            Some(outcome) => outcome != Outcome::Done,
            None => {
                let n_failed = state.nodes[step].n_failed_dependencies;
                let outcome = if n_failed > 0 { Outcome::DependenciesFailed(n_failed) } else { Outcome::NotStarted };
                state.nodes[step].outcome = Some(outcome);
                n_failed > 0
            }
        };
        // A step that ran has passed its outcome on already.
        if failed {
            for dependent in std::mem::take(&mut state.nodes[step].dependents) {
                state.nodes[dependent].n_failed_dependencies += 1;
            }
        }
    }
    state.nodes.into_iter().map(|node| node.outcome.unwrap_or(Outcome::NotStarted)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run(
        dependencies: &[&[usize]],
        n_threads: usize,
        keep_going: bool,
        failing: &[usize],
    ) -> (Vec<Outcome>, Vec<usize>) {
        let order = Mutex::new(Vec::new());
        let outcomes = run_steps(
            dependencies,
            n_threads,
            keep_going,
            &CancelToken::new(),
            &|step| {
                order.lock().unwrap().push(step);
                !failing.contains(&step)
            },
            &|_| {},
        );
        (outcomes, order.into_inner().unwrap())
    }

    #[test]
    fn the_longest_chain_goes_first() {
        // 0 alone; 1 → 2 → 3.
        let (outcomes, order) = run(&[&[], &[], &[1], &[2]], 1, false, &[]);
        assert_eq!(order, [1, 2, 0, 3]);
        assert_eq!(outcomes, [Outcome::Done; 4]);
    }

    #[test]
    fn keep_going_runs_everything_that_can() {
        let dependencies: &[&[usize]] = &[&[], &[], &[0, 1], &[2], &[]];
        let (outcomes, order) = run(dependencies, 1, true, &[0, 1]);
        assert_eq!(
            outcomes,
            [
                Outcome::Failed,
                Outcome::Failed,
                Outcome::DependenciesFailed(2),
                Outcome::DependenciesFailed(1),
                Outcome::Done
            ]
        );
        assert_eq!(order.len(), 3);
    }

    #[test]
    fn the_first_failure_stops_the_rest() {
        let dependencies: &[&[usize]] = &[&[], &[0], &[1], &[]];
        let (outcomes, order) = run(dependencies, 1, false, &[0]);
        assert_eq!(order, [0]);
        assert_eq!(
            outcomes,
            [
                Outcome::Failed,
                Outcome::DependenciesFailed(1),
                Outcome::DependenciesFailed(1),
                Outcome::NotStarted
            ]
        );
    }

    #[test]
    fn many_threads_run_each_step_once_and_in_order() {
        let lists: Vec<Vec<usize>> = (0..2000_usize).map(|step| (step.saturating_sub(7)..step).step_by(3).collect()).collect();
        let dependencies: Vec<&[usize]> = lists.iter().map(Vec::as_slice).collect();
        let finished: Vec<AtomicUsize> = lists.iter().map(|_| AtomicUsize::new(0)).collect();
        let largest = AtomicUsize::new(0);
        let outcomes = run_steps(
            &dependencies,
            8,
            false,
            &CancelToken::new(),
            &|step| {
                assert!(lists[step].iter().all(|&dependency| finished[dependency].load(Ordering::SeqCst) == 1));
                finished[step].fetch_add(1, Ordering::SeqCst);
                true
            },
            &|counts| {
                largest.fetch_max(counts.done, Ordering::SeqCst);
            },
        );
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
        assert!(finished.iter().all(|count| count.load(Ordering::SeqCst) == 1));
        assert_eq!(largest.into_inner(), 2000);
    }

    #[test]
    fn a_cancelled_run_starts_nothing() {
        let cancel = CancelToken::new();
        cancel.cancel();
        let outcomes = run_steps(&[&[]], 2, true, &cancel, &|_| panic!("must not run"), &|_| {});
        assert_eq!(outcomes, [Outcome::NotStarted]);
        assert_eq!(run_steps(&[], 2, true, &CancelToken::new(), &|_| true, &|_| {}), []);
    }
}
