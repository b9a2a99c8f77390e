//! Runs the steps of a plan on some threads: constant work per finished step, longest chain first, nothing polled.
//!
//! Of steps with equally long chains the one whose name comes first starts first, as in the reference, whose order is by
//! name alone. Users see it: without `keep_going` it decides which of several failures is reported.
//!
//! The surprising part: this file knows nothing of building. A step is a number; what it does, and whether it worked,
//! is the caller's business. A step may find out that it has to wait for steps that nobody knew of; it adds them and is
//! run once more after them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

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

/// What running a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    /// It worked.
    Done,
    /// It did not work.
    Failed,
    /// It has to run again after these.
    After(Vec<usize>),
    /// It has to run again with another kind of slot.
    Moved(Slot),
}

/// What a step takes up while it runs. There are so many of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Hardly anything.
    Light,
    /// A connection to where paths are fetched from. Progress does not count such steps.
    Fetch,
    /// A place on another machine.
    Remote,
    /// Processors of this machine.
    Build,
}

/// How many slots of each kind there are, in the order of [`Slot`].
pub(crate) type Slots = [usize; N_SLOTS];
const N_SLOTS: usize = 4;

/// How everything came out.
pub(crate) struct Ran {
    /// By step.
    pub(crate) outcomes: Vec<Outcome>,
    /// Steps in the order in which they started; several times if they ran several times.
    pub(crate) started: Vec<usize>,
}

/// Numbers for a progress display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) running: usize,
    pub(crate) failed: usize,
    pub(crate) total: usize,
}

/// A step to be.
#[derive(Clone, Debug)]
pub(crate) struct NewStep<'d> {
    pub(crate) dependencies: &'d [usize],
    pub(crate) slot: Slot,
    /// Of those that are ready the least starts first.
    pub(crate) name: Arc<str>,
    /// Whether it starts before all others, whatever the order.
    pub(crate) goes_first: bool,
}

/// What comes first of the steps that are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The longest chain; of equals the least name.
    Chains,
    /// The least name, for where everything runs one after the other and the order changes nothing of how long it takes.
    Names,
}

struct Node {
    dependents: Vec<usize>,
    n_waiting_for: usize,
    n_failed_dependencies: usize,
    /// Steps on the longest chain from here to the end.
    height: usize,
    slot: Slot,
    name: Arc<str>,
    goes_first: bool,
    outcome: Option<Outcome>,
}

impl Node {
    /// What comes first among ready steps, greatest first.
    fn priority(&self, order: Order, step: usize) -> Priority {
        let height = if order == Order::Chains { self.height } else { 0 };
        (self.goes_first, height, Reverse((self.name.clone(), step)))
    }
}

/// Whether it goes first, height, and among equals the name and then the step.
type Priority = (bool, usize, Reverse<(Arc<str>, usize)>);

struct State {
    nodes: Vec<Node>,
    order: Order,
    /// By slot.
    ready: [BinaryHeap<Priority>; N_SLOTS],
    running: Slots,
    n_idle: usize,
    n_done: usize,
    n_running: usize,
    counts: Counts,
    started: Vec<usize>,
    stopped: bool,
}

/// Runs steps until nothing is left to run.
pub(crate) struct Scheduler<'s> {
    state: Mutex<State>,
    changed: Condvar,
    slots: Slots,
    keep_going: bool,
    cancel: &'s CancelToken,
    run: &'s (dyn Fn(usize, &Scheduler<'_>) -> StepEnd + Sync),
    progress: &'s (dyn Fn(Counts) + Sync),
}

/// Runs `steps`, each after all that its `dependencies` are (smaller numbers only).
///
/// `run` runs a step; it is called on several threads at once. `progress` is called after every change. Without
/// `keep_going` the first failure cancels `cancel` and starts nothing more.
pub(crate) fn run_steps(
    steps: &[NewStep<'_>],
    slots: Slots,
    order: Order,
    keep_going: bool,
    cancel: &CancelToken,
    run: &(dyn Fn(usize, &Scheduler<'_>) -> StepEnd + Sync),
    progress: &(dyn Fn(Counts) + Sync),
) -> Ran {
    let state = State {
        nodes: Vec::new(),
        order,
        ready: Default::default(),
        running: [0; N_SLOTS],
        n_idle: 0,
        n_done: 0,
        n_running: 0,
        counts: Counts::default(),
        started: Vec::new(),
        stopped: false,
    };
    let scheduler = Scheduler {
        state: Mutex::new(state),
        changed: Condvar::new(),
        slots: slots.map(|n_slots| n_slots.max(1)),
        keep_going,
        cancel,
        run,
        progress,
    };
    scheduler.add(steps);
    std::thread::scope(|scope| scheduler.work(scope));
    let state = scheduler.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(state)
}

impl State {
    fn add(&mut self, steps: &[NewStep<'_>], above: usize) {
        let first = self.nodes.len();
        for (offset, step) in steps.iter().enumerate() {
            let mut node = Node {
                dependents: Vec::new(),
                n_waiting_for: 0,
                n_failed_dependencies: 0,
                height: above,
                slot: step.slot,
                name: step.name.clone(),
                goes_first: step.goes_first,
                outcome: None,
            };
            for &dependency in step.dependencies {
                match self.nodes[dependency].outcome {
                    None => {
                        node.n_waiting_for += 1;
                        self.nodes[dependency].dependents.push(first + offset);
                    }
                    Some(Outcome::Done) => {}
                    Some(_) => node.n_failed_dependencies += 1,
                }
            }
            self.nodes.push(node);
        }
        for step in (first..self.nodes.len()).rev() {
            let above = self.nodes[step].dependents.iter().map(|&dependent| self.nodes[dependent].height + 1).max();
            self.nodes[step].height = above.unwrap_or(0).max(self.nodes[step].height);
        }
        self.counts.total += steps.iter().filter(|step| step.slot != Slot::Fetch).count();
        for step in first..self.nodes.len() {
            if self.nodes[step].n_waiting_for == 0 {
                self.unblock(step);
            }
        }
    }

    /// Makes a step ready that waits for nothing more, or gives it its outcome.
    fn unblock(&mut self, step: usize) {
        let node = &self.nodes[step];
        match node.n_failed_dependencies {
            0 => self.ready[node.slot as usize].push(node.priority(self.order, step)),
            n_failed => self.complete(step, Outcome::DependenciesFailed(n_failed)),
        }
    }

    /// Notes how a step came out; with that, what could not run any more comes out too.
    fn complete(&mut self, step: usize, outcome: Outcome) {
        let mut pending = vec![(step, outcome)];
        while let Some((step, outcome)) = pending.pop() {
            self.nodes[step].outcome = Some(outcome);
            self.n_done += 1;
            if self.nodes[step].slot != Slot::Fetch {
                self.counts.done += 1;
                self.counts.failed += usize::from(outcome != Outcome::Done);
            }
            for dependent in std::mem::take(&mut self.nodes[step].dependents) {
                let node = &mut self.nodes[dependent];
                node.n_waiting_for -= 1;
                node.n_failed_dependencies += usize::from(outcome != Outcome::Done);
                if node.n_waiting_for > 0 {
                    continue;
                }
                match node.n_failed_dependencies {
                    0 => self.ready[node.slot as usize].push(node.priority(self.order, dependent)),
                    n_failed => pending.push((dependent, Outcome::DependenciesFailed(n_failed))),
                }
            }
        }
    }

    /// Lets a step wait that ran already.
    fn wait_for(&mut self, step: usize, dependencies: &[usize]) {
        for &dependency in dependencies.iter().filter(|&&dependency| dependency != step) {
            match self.nodes[dependency].outcome {
                None => {
                    self.nodes[step].n_waiting_for += 1;
                    self.nodes[dependency].dependents.push(step);
                }
                Some(Outcome::Done) => {}
                Some(_) => self.nodes[step].n_failed_dependencies += 1,
            }
        }
        if self.nodes[step].n_waiting_for == 0 {
            self.unblock(step);
        }
    }

    /// Returns a kind of slot that is free and for which a step is ready.
    fn startable(&self, slots: &Slots) -> Option<usize> {
        (0..N_SLOTS).find(|&slot| self.running[slot] < slots[slot] && !self.ready[slot].is_empty())
    }

    fn is_finished(&self) -> bool {
        self.n_done == self.nodes.len()
            || (self.n_running == 0 && self.ready.iter().all(BinaryHeap::is_empty))
    }
}

impl Scheduler<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds steps; their numbers follow those that are there. Called while a step runs that is going to wait for them.
    pub(crate) fn add(&self, steps: &[NewStep<'_>]) {
        self.lock().add(steps, 0);
    }

    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut state = self.lock();
        loop {
            if state.stopped || self.cancel.is_cancelled() || state.is_finished() {
                self.changed.notify_all();
                return;
            }
            let Some(slot) = state.startable(&self.slots) else {
                state.n_idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.n_idle -= 1;
                continue;
            };
            let (.., Reverse((_, step))) = state.ready[slot].pop().expect("something is ready for this slot");
            state.running[slot] += 1;
            state.started.push(step);
            state.n_running += 1;
            let is_counted = usize::from(state.nodes[step].slot != Slot::Fetch);
            state.counts.running += is_counted;
            if state.startable(&self.slots).is_some() {
                if state.n_idle > 0 {
                    self.changed.notify_one();
                } else {
                    // Without another thread everything still runs, one after the other.
                    let _ = std::thread::Builder::new().spawn_scoped(scope, || self.work(scope));
                }
            }
            let counts = state.counts;
            drop(state);
            (self.progress)(counts);
            let end = (self.run)(step, self);

            state = self.lock();
            state.running[slot] -= 1;
            state.n_running -= 1;
            state.counts.running -= is_counted;
            match end {
                StepEnd::Done => state.complete(step, Outcome::Done),
                StepEnd::Failed => {
                    state.complete(step, Outcome::Failed);
                    if !self.keep_going {
                        state.stopped = true;
                        self.cancel.cancel();
                    }
                }
                StepEnd::After(dependencies) => state.wait_for(step, &dependencies),
                StepEnd::Moved(slot) => {
                    state.nodes[step].slot = slot;
                    state.unblock(step);
                }
            }
            let counts = state.counts;
            if state.is_finished() || state.stopped {
                self.changed.notify_all();
            }
            drop(state);
            (self.progress)(counts);
            state = self.lock();
        }
    }
}

/// Gives every step an outcome that has none because everything was stopped.
fn finish(mut state: State) -> Ran {
    let is_doomed = |node: &Node| node.outcome.is_none() && node.n_failed_dependencies > 0;
    let mut failed: Vec<usize> = (0..state.nodes.len()).filter(|&step| is_doomed(&state.nodes[step])).collect();
    while let Some(step) = failed.pop() {
        if state.nodes[step].outcome.is_some() {
            continue;
        }
        state.nodes[step].outcome = Some(Outcome::DependenciesFailed(state.nodes[step].n_failed_dependencies));
        for dependent in std::mem::take(&mut state.nodes[step].dependents) {
            state.nodes[dependent].n_failed_dependencies += 1;
            failed.push(dependent);
        }
    }
    let outcomes = state.nodes.into_iter().map(|node| node.outcome.unwrap_or(Outcome::NotStarted)).collect();
    Ran { outcomes, started: state.started }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn steps<'d>(dependencies: &[&'d [usize]]) -> Vec<NewStep<'d>> {
        dependencies.iter().map(|&dependencies| new_step(dependencies, Slot::Build, "")).collect()
    }

    fn new_step<'d>(dependencies: &'d [usize], slot: Slot, name: &str) -> NewStep<'d> {
        NewStep { dependencies, slot, name: name.into(), goes_first: false }
    }

    fn run(
        dependencies: &[&[usize]],
        n_threads: usize,
        keep_going: bool,
        failing: &[usize],
    ) -> (Vec<Outcome>, Vec<usize>) {
        let order = Mutex::new(Vec::new());
        let outcomes = run_steps(
            &steps(dependencies),
            [1, 1, 1, n_threads],
            Order::Chains,
            keep_going,
            &CancelToken::new(),
            &|step, _| {
                order.lock().unwrap().push(step);
                if failing.contains(&step) { StepEnd::Failed } else { StepEnd::Done }
            },
            &|_| {},
        );
        (outcomes.outcomes, order.into_inner().unwrap())
    }

    #[test]
    fn the_longest_chain_goes_first() {
        // 0 alone; 1 → 2 → 3.
        let (outcomes, order) = run(&[&[], &[], &[1], &[2]], 1, false, &[]);
        assert_eq!(order, [1, 2, 0, 3]);
        assert_eq!(outcomes, [Outcome::Done; 4]);
    }

    #[test]
    fn names_decide_among_equals_or_alone() {
        let lists: [(&[usize], &str); 5] = [(&[], "d"), (&[0], "c"), (&[], "b"), (&[], "a"), (&[], "a")];
        let named: Vec<NewStep<'_>> = lists.iter().map(|&(dependencies, name)| new_step(dependencies, Slot::Build, name)).collect();
        let ran = |by: Order| {
            let ran = Mutex::new(Vec::new());
            let run = |step, _: &Scheduler<'_>| {
                ran.lock().unwrap().push(step);
                StepEnd::Done
            };
            run_steps(&named, [1; 4], by, false, &CancelToken::new(), &run, &|_| {});
            ran.into_inner().unwrap()
        };
        assert_eq!(ran(Order::Chains), [0, 3, 4, 2, 1]);
        assert_eq!(ran(Order::Names), [3, 4, 2, 0, 1]);
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
            &steps(&dependencies),
            [1, 1, 1, 8],
            Order::Chains,
            false,
            &CancelToken::new(),
            &|step, _| {
                assert!(lists[step].iter().all(|&dependency| finished[dependency].load(Ordering::SeqCst) == 1));
                finished[step].fetch_add(1, Ordering::SeqCst);
                StepEnd::Done
            },
            &|counts| {
                largest.fetch_max(counts.done, Ordering::SeqCst);
            },
        );
        assert!(outcomes.outcomes.iter().all(|outcome| *outcome == Outcome::Done));
        assert!(finished.iter().all(|count| count.load(Ordering::SeqCst) == 1));
        assert_eq!(largest.into_inner(), 2000);
    }

    #[test]
    fn a_cancelled_run_starts_nothing() {
        let cancel = CancelToken::new();
        cancel.cancel();
        let outcomes = run_steps(&steps(&[&[]]), [2; 4], Order::Chains, true, &cancel, &|_, _| panic!("must not run"), &|_| {});
        assert_eq!(outcomes.outcomes, [Outcome::NotStarted]);
        assert_eq!(run_steps(&[], [2; 4], Order::Chains, true, &CancelToken::new(), &|_, _| StepEnd::Done, &|_| {}).outcomes, []);
    }

    #[test]
    fn steps_may_turn_up_on_the_way() {
        // 0 finds out that it needs 2 and 3; 1 waits for 0.
        let order = Mutex::new(Vec::new());
        let check = |fails: usize| {
            order.lock().unwrap().clear();
            run_steps(
                &steps(&[&[], &[0]]),
                [1; 4],
                Order::Chains,
                true,
                &CancelToken::new(),
                &|step, scheduler| {
                    let mut order = order.lock().unwrap();
                    order.push(step);
                    if step == 0 && order.len() == 1 {
                        scheduler.add(&[
                            new_step(&[], Slot::Build, ""),
                            new_step(&[2], Slot::Fetch, ""),
                        ]);
                        return StepEnd::After(vec![3]);
                    }
                    if step == fails { StepEnd::Failed } else { StepEnd::Done }
                },
                &|_| {},
            )
        };
        assert_eq!(check(9).outcomes, [Outcome::Done; 4]);
        assert_eq!(*order.lock().unwrap(), [0, 2, 3, 0, 1]);
        let outcomes = check(2).outcomes;
        assert_eq!(outcomes[2], Outcome::Failed);
        assert_eq!([outcomes[0], outcomes[1], outcomes[3]], [Outcome::DependenciesFailed(1); 3]);
    }

    #[test]
    fn slots_bound_what_runs_at_once_and_steps_may_change_theirs() {
        let running = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let most = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let tried: Vec<AtomicUsize> = (0..40).map(|_| AtomicUsize::new(0)).collect();
        let lists = vec![new_step(&[], Slot::Remote, ""); 40];
        let outcomes = run_steps(
            &lists,
            [1, 1, 3, 2],
            Order::Chains,
            false,
            &CancelToken::new(),
            &|step, _| {
                let is_second = tried[step].fetch_add(1, Ordering::SeqCst);
                let now = running[is_second].fetch_add(1, Ordering::SeqCst) + 1;
                most[is_second].fetch_max(now, Ordering::SeqCst);
                std::thread::yield_now();
                running[is_second].fetch_sub(1, Ordering::SeqCst);
                if is_second == 0 { StepEnd::Moved(Slot::Build) } else { StepEnd::Done }
            },
            &|_| {},
        );
        assert!(outcomes.outcomes.iter().all(|outcome| *outcome == Outcome::Done));
        assert!(most[0].load(Ordering::SeqCst) <= 3 && most[1].load(Ordering::SeqCst) <= 2);
        assert!(tried.iter().all(|count| count.load(Ordering::SeqCst) == 2));
    }
}
