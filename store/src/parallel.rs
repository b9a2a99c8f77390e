//! The same for many things at once, on some threads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Result;

/// Returns what `f` makes of each of `items`, in their order. Up to `n_threads` are at work; after an error nothing new
/// is begun, and it is returned.
#[cfg_attr(not(feature = "compression"), allow(dead_code))]
pub(crate) fn map<I: Sync, T: Send>(items: &[I], n_threads: usize, f: &(dyn Fn(&I) -> Result<T> + Sync)) -> Result<Vec<T>> {
    let n_threads = n_threads.min(items.len());
    if n_threads <= 1 {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(idx) else { break };
            let result = f(item);
            if result.is_err() {
                stopped.store(true, Ordering::Relaxed);
            }
            done.push((idx, result));
        }
        done
    };
    let mut results: Vec<Option<Result<T>>> = items.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for worker in workers {
            done.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        for (idx, result) in done {
            results[idx] = Some(result);
        }
    });
    let mut values = Vec::with_capacity(items.len());
    let mut is_complete = true;
    for result in results {
        match result {
            Some(result) => values.push(result?),
            None => is_complete = false,
        }
    }
    debug_assert!(is_complete, "only an error stops, and it was returned");
    Ok(values)
}

/// Calls `f` for `0..dependencies.len()`, for each after all that `dependencies` has for it. Up to `n_threads` are at
/// work; after an error nothing new is begun, and it is returned. What depends on itself is never begun.
pub(crate) fn in_order(dependencies: &[Vec<usize>], n_threads: usize, f: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
    struct State {
        /// Those that can begin; the one that was named first comes first.
        ready: BTreeSet<usize>,
        n_waiting_for: Vec<usize>,
        n_running: usize,
        error: Option<crate::error::StoreError>,
    }
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); dependencies.len()];
    for (idx, of_idx) in dependencies.iter().enumerate() {
        for &dependency in of_idx {
            dependents[dependency].push(idx);
        }
    }
    let n_waiting_for: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let ready = (0..dependencies.len()).filter(|idx| n_waiting_for[*idx] == 0).collect();
    let state = Mutex::new(State { ready, n_waiting_for, n_running: 0, error: None });
    let changed = Condvar::new();
    let work = || {
        let mut locked = state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if locked.error.is_some() || (locked.ready.is_empty() && locked.n_running == 0) {
                changed.notify_all();
                return;
            }
            let Some(idx) = locked.ready.pop_first() else {
                locked = changed.wait(locked).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            locked.n_running += 1;
            drop(locked);
            let result = f(idx);
            locked = state.lock().unwrap_or_else(PoisonError::into_inner);
            locked.n_running -= 1;
            match result {
                Err(error) => drop(locked.error.get_or_insert(error)),
                Ok(()) => {
                    for &dependent in &dependents[idx] {
                        locked.n_waiting_for[dependent] -= 1;
                        if locked.n_waiting_for[dependent] == 0 {
                            locked.ready.insert(dependent);
                        }
                    }
                }
            }
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..n_threads.min(dependencies.len()) {
            scope.spawn(work);
        }
        work();
    });
    match state.into_inner().unwrap_or_else(PoisonError::into_inner).error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreError;

    #[test]
    fn order_is_kept_and_an_error_stops() {
        let items: Vec<u32> = (0..1000).collect();
        for n_threads in [0, 1, 4, 2000] {
            assert_eq!(map(&items, n_threads, &|item| Ok(item * 2)).unwrap(), items.iter().map(|i| i * 2).collect::<Vec<_>>());
            let n_calls = AtomicUsize::new(0);
            let result = map(&items, n_threads, &|item| {
                n_calls.fetch_add(1, Ordering::Relaxed);
                if *item == 10 { Err(StoreError::Interrupted) } else { Ok(()) }
            });
            assert!(matches!(result, Err(StoreError::Interrupted)));
        }
        assert!(map(&[] as &[u8], 4, &|_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn what_others_wait_for_is_done_first() {
        let dependencies: Vec<Vec<usize>> = (0..200).map(|idx| if idx < 3 { vec![] } else { vec![idx / 2, idx - 3] }).collect();
        for n_threads in [1, 8] {
            let done = Mutex::new(BTreeSet::new());
            in_order(&dependencies, n_threads, &|idx| {
                let mut done = done.lock().unwrap();
                assert!(dependencies[idx].iter().all(|dependency| done.contains(dependency)));
                done.insert(idx);
                Ok(())
            })
            .unwrap();
            assert_eq!(done.into_inner().unwrap().len(), 200);
            let result = in_order(&dependencies, n_threads, &|idx| if idx == 7 { Err(StoreError::Interrupted) } else { Ok(()) });
            assert!(result.is_err());
        }
        in_order(&[vec![1], vec![0]], 4, &|_| unreachable!("they wait for each other")).unwrap();
    }
}
