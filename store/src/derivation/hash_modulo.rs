//! The hash of a derivation modulo its fixed outputs: what input-addressed paths are made from.
//!
//! It is the hash of the ATerm text in which every input derivation's path is replaced by that
//! derivation's own such hash. A fixed-output derivation counts as what it makes, not how: changing
//! a download's mirror does not rebuild the world. So the replacement goes through the whole graph,
//! and each derivation must be hashed once only: the memo is a [`HashModuloCache`] that the caller
//! owns and may share between evaluator and store.
//!
//! The surprising thing: two inputs may have equal hashes (two mirrors of one file); their sets of
//! outputs are then merged into one entry.
//!
//! Format source: manual of Nix 2.34, "Derivation hash modulo"; `hashDerivationModulo` in the
//! reference.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::output::DerivationTypeError;
use super::print::{Aterm, PrintError, print_names, separate};
use super::{Derivation, DerivationOutput, OutputName};
use crate::hash::{Algorithm, Hash, HashFormat, Hasher};
use crate::path::{StoreDir, StorePath};

/// What an input derivation contributes to the hash of those that use it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashModulo {
    /// The hash, the same for all outputs.
    pub hash: Hash,
    /// Whether some output path in the graph below is not known before it is built; then no path
    /// may be made from the hash.
    pub is_deferred: bool,
    /// Names of the derivation's outputs.
    pub outputs: Arc<[OutputName]>,
}

/// The caller's memo of hashes (with outputs not masked) by derivation path.
pub trait HashModuloCache {
    /// Returns what has been remembered for `path`.
    fn get(&self, path: &StorePath) -> Option<HashModulo>;
    /// Remembers.
    fn insert(&mut self, path: StorePath, hash: HashModulo);
}

impl<S: BuildHasher> HashModuloCache for HashMap<StorePath, HashModulo, S> {
    fn get(&self, path: &StorePath) -> Option<HashModulo> {
        Self::get(self, path).cloned()
    }

    fn insert(&mut self, path: StorePath, hash: HashModulo) {
        Self::insert(self, path, hash);
    }
}

/// Why a caller could not supply an input derivation.
pub type LookupError = Box<dyn Error + Send + Sync>;

/// Why a derivation has no hash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashModuloError {
    /// The outputs don't go together.
    #[error(transparent)]
    Type(#[from] DerivationTypeError),
    /// The derivation can't be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// An input derivation has no such output.
    #[error("no hash for output '{output}' of derivation '{derivation}'")]
    NoSuchOutput {
        /// The output.
        output: OutputName,
        /// Name of the derivation that wants it.
        derivation: String,
    },
    /// The caller could not supply an input derivation.
    #[error("reading derivation '{path}': {source}")]
    Lookup {
        /// The input derivation.
        path: StorePath,
        /// The caller's reason.
        source: LookupError,
    },
    /// The cache lost an entry that was put into it.
    #[error("the cache has forgotten derivation '{path}'")]
    Forgotten {
        /// The input derivation.
        path: StorePath,
    },
    /// A derivation is its own input.
    #[error("derivation '{path}' depends on itself")]
    Cycle {
        /// One of the derivations in the circle.
        path: StorePath,
    },
}

/// How input derivations that are not in the memo are read.
pub type Lookup<'a> = dyn FnMut(&StorePath) -> Result<Derivation, LookupError> + 'a;

/// The input derivations of one derivation as hashed text.
pub(super) struct HashedInputs {
    pub(super) text: Vec<u8>,
    is_deferred: bool,
}

impl Derivation {
    /// Returns the hash modulo fixed outputs. `mask_outputs` blanks the derivation's own output
    /// paths, as is needed to compute them; what goes into a cache is not masked.
    ///
    /// Input derivations come from `cache` or else from `lookup`, and are then remembered. The graph
    /// is walked with a stack on the heap, so its depth does not matter.
    ///
    /// # Errors
    /// When an input can't be read, lacks a wanted output or is part of a circle.
    pub fn hash_modulo(
        &self,
        store_dir: &StoreDir,
        mask_outputs: bool,
        cache: &mut dyn HashModuloCache,
        lookup: &mut Lookup<'_>,
    ) -> Result<HashModulo, HashModuloError> {
        if !self.kind()?.is_fixed() {
            ensure_inputs(self, store_dir, cache, lookup)?;
        }
        self.hash_modulo_of_known_inputs(store_dir, mask_outputs, cache)
    }

    /// All input derivations must be in `cache`, unless the derivation is a fixed output.
    fn hash_modulo_of_known_inputs(
        &self,
        store_dir: &StoreDir,
        mask_outputs: bool,
        cache: &dyn HashModuloCache,
    ) -> Result<HashModulo, HashModuloError> {
        if let Some(fixed) = self.fixed_hash_modulo(store_dir)? {
            return Ok(fixed);
        }
        let inputs = self.hashed_inputs(cache)?;
        let aterm = self.print(store_dir, mask_outputs, Some(&inputs.text))?;
        let hash = Hash::digest(Algorithm::Sha256, &aterm.text);
        self.wrap_hash(hash, &inputs)
    }

    /// The same from text that was printed for the `.drv` file.
    pub(super) fn hash_modulo_of_text(
        &self,
        aterm: &Aterm,
        inputs: &HashedInputs,
    ) -> Result<HashModulo, HashModuloError> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&aterm.text[..aterm.inputs.start]);
        hasher.update(&inputs.text);
        hasher.update(&aterm.text[aterm.inputs.end..]);
        self.wrap_hash(hasher.finish(), inputs)
    }

    pub(super) fn wrap_hash(&self, hash: Hash, inputs: &HashedInputs) -> Result<HashModulo, HashModuloError> {
        let kind = self.kind()?;
        let own_paths_unknown = kind.is_content_addressed() && !kind.is_fixed();
        Ok(HashModulo {
            hash,
            is_deferred: inputs.is_deferred || own_paths_unknown,
            outputs: self.outputs.keys().cloned().collect(),
        })
    }

    /// For a fixed output: a hash of what it is and where, nothing of how it is made.
    pub(super) fn fixed_hash_modulo(&self, store_dir: &StoreDir) -> Result<Option<HashModulo>, HashModuloError> {
        if !self.kind()?.is_fixed() {
            return Ok(None);
        }
        let (name, output) =
            self.outputs.first_key_value().expect("a fixed-output derivation has one output");
        let DerivationOutput::Fixed(address) = output else {
            unreachable!("the type of the derivation says that its output is fixed");
        };
        let path = output
            .path(store_dir, &self.name, name)
            .map_err(PrintError::from)?
            .expect("the path of a fixed output is known");
        let preimage = format!(
            "fixed:out:{}:{}:{}",
            address.method_and_algorithm(),
            address.hash.format(HashFormat::Base16, false),
            store_dir.display(&path),
        );
        Ok(Some(HashModulo {
            hash: Hash::digest(Algorithm::Sha256, preimage.as_bytes()),
            is_deferred: false,
            outputs: self.outputs.keys().cloned().collect(),
        }))
    }

    /// Prints the inputs with hashes in place of paths, sorted and merged by hash. All must be in
    /// `cache`.
    pub(super) fn hashed_inputs(&self, cache: &dyn HashModuloCache) -> Result<HashedInputs, HashModuloError> {
        let mut is_deferred = false;
        let mut inputs: Vec<(Hash, &BTreeSet<OutputName>)> = Vec::with_capacity(self.input_derivations.len());
        for (path, wanted) in &self.input_derivations {
            let known =
                cache.get(path).ok_or_else(|| HashModuloError::Forgotten { path: path.clone() })?;
            is_deferred |= known.is_deferred;
            if let Some(output) = wanted.outputs.iter().find(|name| !known.outputs.contains(name)) {
                let (output, derivation) = (output.clone(), self.name.to_string());
                return Err(HashModuloError::NoSuchOutput { output, derivation });
            }
            // Dynamic outputs don't take part, so an input wanted for them alone leaves no trace.
            if !wanted.outputs.is_empty() {
                inputs.push((known.hash, &wanted.outputs));
            }
        }
        // Hashes of equal length sort like their hexadecimal text.
        inputs.sort_unstable_by_key(|(hash, _)| *hash);
        let mut text = Vec::with_capacity(inputs.len() * 80);
        for (idx, group) in inputs.chunk_by(|left, right| left.0 == right.0).enumerate() {
            separate(idx, &mut text);
            text.extend_from_slice(b"(\"");
            let mut digits = [0; 64];
            data_encoding::HEXLOWER.encode_mut(group[0].0.as_bytes(), &mut digits);
            text.extend_from_slice(&digits);
            text.extend_from_slice(b"\",");
            match group {
                [(_, outputs)] => print_names(outputs, &mut text),
                several => {
                    let merged = several.iter().flat_map(|(_, outputs)| (*outputs).clone()).collect();
                    print_names(&merged, &mut text);
                }
            }
            text.push(b')');
        }
        Ok(HashedInputs { text, is_deferred })
    }
}

/// A derivation whose inputs are being hashed.
struct Pending {
    path: StorePath,
    derivation: Derivation,
}

/// Hashes all input derivations that are not in the cache, deepest first.
pub(super) fn ensure_inputs(
    derivation: &Derivation,
    store_dir: &StoreDir,
    cache: &mut dyn HashModuloCache,
    lookup: &mut Lookup<'_>,
) -> Result<(), HashModuloError> {
    let mut waiting: Vec<StorePath> = unknown_inputs(derivation, cache);
    let mut stack: Vec<Pending> = Vec::new();
    let mut on_stack: HashSet<StorePath> = HashSet::new();
    while let Some(path) = waiting.last() {
        // A path is on top of `waiting` a second time once everything above it has been hashed.
        if stack.last().is_some_and(|top| top.path == *path) {
            let Pending { path, derivation } = stack.pop().expect("the top was just looked at");
            let hash = derivation.hash_modulo_of_known_inputs(store_dir, false, cache)?;
            on_stack.remove(&path);
            cache.insert(path, hash);
            waiting.pop();
            continue;
        }
        if cache.get(path).is_some() {
            waiting.pop();
            continue;
        }
        let path = path.clone();
        on_stack.insert(path.clone());
        let derivation =
            lookup(&path).map_err(|source| HashModuloError::Lookup { path: path.clone(), source })?;
        if !derivation.kind()?.is_fixed() {
            let mut inputs = unknown_inputs(&derivation, cache);
            if let Some(path) = inputs.iter().find(|input| on_stack.contains(input)) {
                return Err(HashModuloError::Cycle { path: path.clone() });
            }
            waiting.append(&mut inputs);
        }
        stack.push(Pending { path, derivation });
    }
    Ok(())
}

fn unknown_inputs(derivation: &Derivation, cache: &dyn HashModuloCache) -> Vec<StorePath> {
    let inputs = derivation.input_derivations.keys();
    inputs.filter(|path| cache.get(path).is_none()).cloned().collect()
}
