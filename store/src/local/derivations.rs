//! Reading derivations, and what is registered of them besides their files: which paths they say they make, checked before it is
//! believed.

use std::collections::HashMap;

use super::LocalStore;
use crate::derivation::{Derivation, HashModulo};
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{Store, parse_derivation, static_outputs};

impl LocalStore {
    /// Refuses a derivation that claims the output paths of another one: whoever builds it would put something else there.
    pub(super) fn refuse_wrong_outputs(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        hashes: &mut HashMap<StorePath, HashModulo>,
    ) -> Result<()> {
        let dir = &self.layout.store_dir;
        // Inputs may be registered together with it.
        let mut lookup = |path: &StorePath| Ok(parse_derivation(dir, path, &self.read_unregistered_file(path)?)?);
        let checked = derivation.check_output_paths(dir, hashes, &mut lookup);
        checked.map_err(|error| StoreError::format(format!("derivation '{}'", dir.display(path)), error))
    }

    /// Returns names and full paths of the outputs whose paths are known.
    pub(super) fn output_rows(&self, derivation: &Derivation) -> Result<Vec<(String, String)>> {
        let dir = &self.layout.store_dir;
        let outputs = static_outputs(dir, derivation)?;
        Ok(outputs.into_iter().filter_map(|(name, path)| Some((name, dir.display(&path?)))).collect())
    }
}

/// Returns derivations, in the places of their paths; none for a path that is not valid.
pub(super) fn read(store: &LocalStore, paths: &[StorePath]) -> Result<Vec<Option<Derivation>>> {
    let valid = store.are_valid(paths)?;
    let read = |(path, valid): (&StorePath, bool)| match (valid, store.derivations.get()) {
        (true, _) => parse_derivation(&store.layout.store_dir, path, &store.read_unregistered_file(path)?).map(Some),
        (false, Some(other)) => Ok(other.0.read_derivations(std::slice::from_ref(path))?.pop().flatten()),
        (false, None) => Ok(None),
    };
    paths.iter().zip(valid).map(read).collect()
}
