//! Closures, and orders in which paths can be copied or deleted.
//!
//! Everything here is iterative and asks the store for a whole level of the graph at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::{Result, StoreError};
use crate::path::{StoreDir, StorePath};
use crate::store::Store;

/// Which edges a closure follows besides, or instead of, references.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follow {
    /// From a path to those that refer to it, instead of the other way round.
    pub referrers: bool,
    /// From a derivation to its valid outputs (backwards: from an output to its derivers).
    pub outputs: bool,
    /// From a path to its valid deriver (backwards: from a derivation to the outputs that name it).
    pub derivers: bool,
}

/// Returns these paths and all that can be reached from them.
///
/// # Errors
/// [`StoreError::InvalidPath`] if one of them, or something reached, is not valid; what the store gives otherwise.
pub fn closure<S: Store + ?Sized>(store: &S, paths: &[StorePath], follow: &Follow) -> Result<BTreeSet<StorePath>> {
    let mut seen: BTreeSet<StorePath> = paths.iter().cloned().collect();
    let mut level: Vec<StorePath> = seen.iter().cloned().collect();
    while !level.is_empty() {
        let infos = store.query_path_infos(&level)?;
        let mut reached = Vec::new();
        for (path, info) in level.iter().zip(infos) {
            let info = info.ok_or_else(|| store.invalid(path))?;
            if follow.referrers {
                reached.extend(store.referrers(path)?);
                if follow.outputs {
                    reached.extend(store.valid_derivers(path)?);
                }
                if follow.derivers && path.is_derivation() {
                    let outputs = valid_outputs(store, path)?;
                    let infos = store.query_path_infos(&outputs)?;
                    reached.extend(
                        infos.into_iter().flatten().filter(|info| info.deriver.as_ref() == Some(path)).map(|i| i.path),
                    );
                }
            } else {
                reached.extend(info.info.references);
                if follow.outputs && path.is_derivation() {
                    reached.extend(valid_outputs(store, path)?);
                }
                if follow.derivers
                    && let Some(deriver) = info.info.deriver
                    && store.is_valid(&deriver)?
                {
                    reached.push(deriver);
                }
            }
        }
        level = reached.into_iter().filter(|path| seen.insert(path.clone())).collect();
    }
    Ok(seen)
}

fn valid_outputs<S: Store + ?Sized>(store: &S, derivation: &StorePath) -> Result<Vec<StorePath>> {
    let outputs: Vec<StorePath> = store.derivation_outputs(derivation)?.into_values().flatten().collect();
    let valid = store.are_valid(&outputs)?;
    Ok(outputs.into_iter().zip(valid).filter_map(|(path, valid)| valid.then_some(path)).collect())
}

/// Returns these valid paths in an order in which each comes after those it refers to.
///
/// # Errors
/// [`StoreError::Cycle`]; [`StoreError::InvalidPath`]; what the store gives.
pub fn topologically_sorted<S: Store + ?Sized>(store: &S, paths: &BTreeSet<StorePath>) -> Result<Vec<StorePath>> {
    let list: Vec<StorePath> = paths.iter().cloned().collect();
    let mut references = BTreeMap::new();
    for (path, info) in list.iter().zip(store.query_path_infos(&list)?) {
        let info = info.ok_or_else(|| store.invalid(path))?;
        references.insert(path.clone(), info.info.references);
    }
    sort(store.store_dir(), &references)
}

/// Sorts the keys of a map from path to references so that each comes after those it refers to. References that are no
/// keys, and a path's reference to itself, don't matter.
pub(crate) fn sort(
    dir: &StoreDir,
    references: &BTreeMap<StorePath, BTreeSet<StorePath>>,
) -> Result<Vec<StorePath>> {
    let mut sorted = Vec::with_capacity(references.len());
    let mut done: HashSet<&StorePath> = HashSet::new();
    // A path on the stack is one whose references are being visited.
    let mut on_stack: HashMap<&StorePath, ()> = HashMap::new();
    for start in references.keys() {
        if done.contains(start) {
            continue;
        }
        let mut stack = vec![(start, references[start].iter())];
        on_stack.insert(start, ());
        while let Some((path, rest)) = stack.last_mut() {
            let path = *path;
            let Some(next) = rest.next() else {
                stack.pop();
                on_stack.remove(path);
                done.insert(path);
                sorted.push(path.clone());
                continue;
            };
            if next == path || done.contains(next) {
                continue;
            }
            let Some(next_references) = references.get(next) else { continue };
            if on_stack.insert(next, ()).is_some() {
                return Err(StoreError::Cycle { path: dir.display(next), parent: dir.display(path) });
            }
            stack.push((next, next_references.iter()));
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        StorePath::new([name.as_bytes()[0]; 20], name).unwrap()
    }

    fn graph(edges: &[(&str, &[&str])]) -> BTreeMap<StorePath, BTreeSet<StorePath>> {
        edges.iter().map(|(from, to)| (path(from), to.iter().map(|to| path(to)).collect())).collect()
    }

    #[test]
    fn references_come_first() {
        let sorted = sort(
            &StoreDir::default(),
            &graph(&[("a", &["b", "c", "a"]), ("b", &["d"]), ("c", &["d", "elsewhere"]), ("d", &[])]),
        );
        let names: Vec<String> = sorted.unwrap().iter().map(|path| path.name().to_owned()).collect();
        assert_eq!(names, ["d", "b", "c", "a"]);
    }

    #[test]
    fn a_cycle_is_an_error_and_a_long_chain_is_not() {
        let error = sort(&StoreDir::default(), &graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])])).unwrap_err();
        assert!(matches!(error, StoreError::Cycle { .. }), "{error}");

        let node = |idx: u32| {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&idx.to_be_bytes());
            StorePath::new(hash, "n").unwrap()
        };
        let chain: BTreeMap<_, _> = (0..200_000).map(|idx| (node(idx), BTreeSet::from([node(idx + 1)]))).collect();
        assert_eq!(sort(&StoreDir::default(), &chain).unwrap().len(), 200_000);
    }
}
