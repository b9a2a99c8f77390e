//! What outputs are known to be: from the derivation itself, from this run's builds, or from the store's realisations.
//!
//! The surprising part: an output of an impure derivation is known only to the run that made it, so nothing but
//! [`Known::note`] can tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use nixlang_store::derivation::{Derivation, HashModulo, OutputName};
use nixlang_store::hash::Hash;
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::realisation::{DerivationOutputId, Realisation};
use nixlang_store::signature::SecretKey;
use nixlang_store::store::Store;
use nixlang_store::substituter::Substituters;

use crate::error::BuildError;
use crate::plan::SingleDerivedPath;

/// Paths of outputs, by name.
pub(crate) type OutputPaths = BTreeMap<OutputName, StorePath>;

/// See the file's comment. One per plan or run.
pub(crate) struct Known<'k> {
    store: &'k LocalStore,
    /// Whether realisations are used (`ca-derivations`).
    has_realisations: bool,
    hashes: Mutex<HashMap<StorePath, HashModulo>>,
    made: Mutex<HashMap<StorePath, OutputPaths>>,
}

impl<'k> Known<'k> {
    pub(crate) fn new(store: &'k LocalStore, has_realisations: bool) -> Known<'k> {
        Known { store, has_realisations, hashes: Mutex::default(), made: Mutex::default() }
    }

    /// Returns what substituters say that these outputs are; nothing is made of that here.
    pub(crate) fn ask(
        &self,
        substituters: &Substituters,
        path: &StorePath,
        derivation: &Derivation,
        names: &[OutputName],
    ) -> Result<BTreeMap<OutputName, Realisation>, BuildError> {
        let is_impure = derivation.kind().is_ok_and(|kind| kind == nixlang_store::derivation::DerivationType::Impure);
        if names.is_empty() || !self.has_realisations || is_impure {
            return Ok(BTreeMap::new());
        }
        let ids = self.ids(path, derivation, names)?;
        let answers = substituters.query_realisations(self.store, &ids);
        Ok(names.iter().zip(answers).filter_map(|(name, answer)| Some((name.clone(), answer?))).collect())
    }

    /// Whether realisations are used.
    pub(crate) fn has_realisations(&self) -> bool {
        self.has_realisations
    }

    /// Remembers what a derivation made in this run.
    pub(crate) fn note(&self, path: &StorePath, outputs: &OutputPaths) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(path.clone()).or_default().extend(outputs.clone());
    }

    /// Returns what outputs of a derivation are called in realisations, by the rules of the store.
    pub(crate) fn ids<'n>(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        names: impl IntoIterator<Item = &'n OutputName>,
    ) -> Result<Vec<DerivationOutputId>, BuildError> {
        let key = self.store.content_rules().derivation_key(path, || self.hash(path, derivation))?;
        Ok(names.into_iter().map(|name| DerivationOutputId { derivation: key.clone(), output: name.clone() }).collect())
    }

    /// Returns the hash by which realisations of 2.34 name the outputs of a derivation.
    fn hash(&self, path: &StorePath, derivation: &Derivation) -> Result<Hash, BuildError> {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lookup = |path: &StorePath| Ok(self.store.read_derivation(path)?);
        let hash = derivation.hash_modulo(self.store.store_dir(), true, &mut *hashes, &mut lookup);
        let hash = hash.map_err(|error| BuildError::Derivation {
            derivation: self.store.store_dir().display(path),
            reason: error.to_string(),
        })?;
        Ok(hash.hash)
    }

    /// Returns all outputs of a derivation, with their paths as far as they are known. Those need not be valid.
    pub(crate) fn outputs(
        &self,
        path: &StorePath,
        derivation: &Derivation,
    ) -> Result<BTreeMap<OutputName, Option<StorePath>>, BuildError> {
        let dir = self.store.store_dir();
        let mut outputs = BTreeMap::new();
        let mut unknown = Vec::new();
        {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let made = made.get(path);
            for (name, output) in &derivation.outputs {
                let known = match made.and_then(|made| made.get(name)) {
                    Some(path) => Some(path.clone()),
                    None => output.path(dir, &derivation.name, name).map_err(|error| BuildError::Derivation {
                        derivation: dir.display(path),
                        reason: error.to_string(),
                    })?,
                };
                if known.is_none() {
                    unknown.push(name.clone());
                }
                outputs.insert(name.clone(), known);
            }
        }
        let is_impure = derivation.kind().is_ok_and(|kind| kind == nixlang_store::derivation::DerivationType::Impure);
        if !unknown.is_empty() && self.has_realisations && !is_impure {
            let ids = self.ids(path, derivation, &unknown)?;
            for (name, realisation) in unknown.into_iter().zip(self.store.query_realisations(&ids)?) {
                outputs.insert(name, realisation.map(|realisation| realisation.path));
            }
        }
        Ok(outputs)
    }

    /// Returns the path that an output of a valid derivation is known to be.
    pub(crate) fn output(&self, path: &StorePath, name: &str) -> Result<Option<StorePath>, BuildError> {
        {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(output) = made.get(path).and_then(|made| made.get(name)) {
                return Ok(Some(output.clone()));
            }
        }
        let derivation = self.store.read_derivation(path)?;
        match self.outputs(path, &derivation)?.remove(name) {
            Some(output) => Ok(output),
            None => Err(BuildError::NoSuchOutput {
                derivation: self.store.store_dir().display(path),
                output: name.to_owned(),
            }),
        }
    }

    /// Returns the path that something nested is known to be.
    pub(crate) fn single(&self, path: &SingleDerivedPath) -> Result<Option<StorePath>, BuildError> {
        let mut known = path.root().clone();
        for name in path.names() {
            match self.output(&known, name)? {
                Some(output) => known = output,
                None => return Ok(None),
            }
        }
        Ok(Some(known))
    }

    /// Registers what outputs turned out to be, signed with `keys`. Does nothing where realisations are not used.
    pub(crate) fn register(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        outputs: &OutputPaths,
        keys: &[SecretKey],
    ) -> Result<(), BuildError> {
        if !self.has_realisations || outputs.is_empty() {
            return Ok(());
        }
        let realisations: Vec<Realisation> = self
            .ids(path, derivation, outputs.keys())?
            .into_iter()
            .zip(outputs.values())
            .map(|(id, path)| {
                let mut realisation = Realisation { id, path: path.clone(), signatures: Default::default() };
                for key in keys {
                    realisation.sign(key);
                }
                realisation
            })
            .collect();
        Ok(self.store.register_realisations(&realisations, false)?)
    }
}
