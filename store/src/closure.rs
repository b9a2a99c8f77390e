//! Closures, and orders in which paths can be copied or deleted.
//!
//! Everything here is iterative and asks the store for a whole level of the graph at once.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::error::{Result, StoreError};
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
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

/// Returns what is known about these paths and all that they refer to, in order of the paths.
///
/// # Errors
/// As [`closure`].
pub fn infos<S: Store + ?Sized>(store: &S, paths: &[StorePath]) -> Result<Vec<PathInfo>> {
    let mut found = BTreeMap::new();
    let mut level: Vec<StorePath> = paths.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    while !level.is_empty() {
        let mut reached = BTreeSet::new();
        for (path, info) in level.iter().zip(store.query_path_infos(&level)?) {
            let info = info.ok_or_else(|| store.invalid(path))?;
            reached.extend(info.references.iter().cloned());
            found.insert(path.clone(), info);
        }
        level = reached.into_iter().filter(|path| !found.contains_key(path)).collect();
    }
    Ok(found.into_values().collect())
}

/// Returns these valid paths in an order in which each comes after those it refers to.
///
/// # Errors
/// [`StoreError::Cycle`]; [`StoreError::InvalidPath`]; what the store gives.
pub fn topologically_sorted<S: Store + ?Sized>(store: &S, paths: &BTreeSet<StorePath>) -> Result<Vec<StorePath>> {
    let list: Vec<StorePath> = paths.iter().cloned().collect();
    let mut infos = Vec::with_capacity(list.len());
    for (path, info) in list.iter().zip(store.query_path_infos(&list)?) {
        infos.push(info.ok_or_else(|| store.invalid(path))?);
    }
    Ok(sorted_infos(store.store_dir(), infos)?.into_iter().map(|info| info.path).collect())
}

/// Puts facts about paths, given in order of the paths, in an order in which each comes after those it refers to.
///
/// # Errors
/// [`StoreError::Cycle`].
pub fn sorted_infos(dir: &StoreDir, infos: Vec<PathInfo>) -> Result<Vec<PathInfo>> {
    let order = order(dir, &infos.iter().map(|info| (&info.path, &info.info.references)).collect::<Vec<_>>())?;
    let mut infos: Vec<Option<PathInfo>> = infos.into_iter().map(Some).collect();
    Ok(order.into_iter().map(|place| infos[place].take().expect("each place is there once")).collect())
}

/// Sorts the keys of a map from path to references so that each comes after those it refers to. References that are no
/// keys, and a path's reference to itself, don't matter.
pub(crate) fn sort(
    dir: &StoreDir,
    references: &BTreeMap<StorePath, BTreeSet<StorePath>>,
) -> Result<Vec<StorePath>> {
    let nodes: Vec<_> = references.iter().collect();
    Ok(order(dir, &nodes)?.into_iter().map(|place| nodes[place].0.clone()).collect())
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    Not,
    /// On the stack: its references are being visited.
    Begun,
    Done,
}

/// Returns the places of these nodes in an order in which each comes after those it refers to.
fn order(dir: &StoreDir, nodes: &[(&StorePath, &BTreeSet<StorePath>)]) -> Result<Vec<usize>> {
    let places: FxHashMap<&StorePath, usize> = nodes.iter().enumerate().map(|(place, (path, _))| (*path, place)).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    let mut visits = vec![Visit::Not; nodes.len()];
    for start in 0..nodes.len() {
        if visits[start] == Visit::Done {
            continue;
        }
        let mut stack = vec![(start, nodes[start].1.iter())];
        visits[start] = Visit::Begun;
        while let Some((place, rest)) = stack.last_mut() {
            let place = *place;
            let Some(next) = rest.next() else {
                stack.pop();
                visits[place] = Visit::Done;
                sorted.push(place);
                continue;
            };
            let Some(&next) = places.get(next) else { continue };
            if next == place || visits[next] == Visit::Done {
                continue;
            }
            if visits[next] == Visit::Begun {
                return Err(StoreError::Cycle { path: dir.display(nodes[next].0), parent: dir.display(nodes[place].0) });
            }
            visits[next] = Visit::Begun;
            stack.push((next, nodes[next].1.iter()));
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
