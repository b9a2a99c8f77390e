//! The same for many things at once, on some threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::Result;

/// Returns what `f` makes of each of `items`, in their order. Up to `n_threads` are at work; after an error nothing new
/// is begun, and it is returned.
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
}
