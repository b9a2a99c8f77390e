//! What is registered of derivations besides their files: which paths they say they make, checked before it is believed.

use std::collections::HashMap;

use super::LocalStore;
use crate::derivation::{Derivation, HashModulo};
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{parse_derivation, static_outputs};

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
