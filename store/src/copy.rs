//! Copying closures from store to store.

use std::collections::BTreeSet;

use crate::closure::topologically_sorted;
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{AddOptions, Store, with_nar};

/// Copies these paths and all they refer to, as far as they are missing; each after what it refers to. Returns what was
/// copied.
///
/// # Errors
/// When a path is not valid in `from`, when the stores name their paths differently, and what reading and adding give.
/// What was copied until then stays.
pub fn copy_closure(from: &dyn Store, to: &dyn Store, paths: &[StorePath]) -> Result<Vec<StorePath>> {
    let closure = from.closure(paths)?;
    copy_paths(from, to, &closure)
}

/// Copies these paths as far as they are missing; what they refer to must be among them or valid in `to`.
///
/// # Errors
/// As [`copy_closure`].
pub fn copy_paths(from: &dyn Store, to: &dyn Store, paths: &BTreeSet<StorePath>) -> Result<Vec<StorePath>> {
    if from.store_dir() != to.store_dir() {
        return Err(StoreError::Unsupported { operation: "copying between stores with different directories" });
    }
    let all: Vec<StorePath> = paths.iter().cloned().collect();
    to.add_temp_roots(&all)?;
    let valid = to.are_valid(&all)?;
    let missing: BTreeSet<StorePath> =
        all.into_iter().zip(valid).filter_map(|(path, valid)| (!valid).then_some(path)).collect();
    let sorted = topologically_sorted(from, &missing)?;
    for (path, info) in sorted.iter().zip(from.query_path_infos(&sorted)?) {
        let mut info = info.ok_or_else(|| from.invalid(path))?;
        // Facts about the other store, not about the object.
        info.info.ultimate = false;
        info.info.registration_time = 0;
        copy_one(from, to, &info)?;
    }
    Ok(sorted)
}

fn copy_one(from: &dyn Store, to: &dyn Store, info: &crate::path_info::PathInfo) -> Result<()> {
    with_nar(&mut |sink| from.write_nar(&info.path, sink), &mut |nar| to.add_nar(info, nar, &AddOptions::trusted()))
}
