//! Filling in and checking the paths of input-addressed outputs.
//!
//! The path of such an output is made from the hash of the derivation in which that path, and the
//! variable that carries it, are blank. [`Derivation::instantiate`] does everything that turns an
//! evaluated derivation into a `.drv`, printing it twice only. The surprising thing: a variable named
//! like an output is always blanked, also in derivations that don't set it to the path.

use super::hash_modulo::{HashModulo, HashModuloCache, HashModuloError, Lookup, ensure_inputs};
use super::print::PrintError;
use super::{Derivation, DerivationOutput, OutputName};
use crate::hash::{Algorithm, Hash};
use crate::path::{DERIVATION_EXTENSION, MakePathError, StoreDir, StorePath, StorePathError};

/// What is wrong with the outputs of a derivation, in the reference's words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputPathError {
    /// The derivation has no hash.
    #[error(transparent)]
    HashModulo(#[from] HashModuloError),
    /// The derivation can't be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// The derivation's or an output's name is not valid in a path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// A fixed output's path can't be computed.
    #[error(transparent)]
    MakePath(#[from] MakePathError),
    /// An input-addressed output has a path that does not follow from the derivation.
    #[error("derivation has incorrect output '{found}', should be {expected}")]
    WrongPath {
        /// The path it has.
        found: String,
        /// `deferred`, or the path it should have, in quotes.
        expected: String,
    },
    /// The variable for an output is missing.
    #[error("derivation has missing environment variable '{name}', should be '{expected}' but is not present")]
    MissingVariable {
        /// The output.
        name: OutputName,
        /// Its path.
        expected: String,
    },
    /// The variable for an output is not its path.
    #[error("derivation has incorrect environment variable '{name}', should be '{expected}' but is actually '{found}'")]
    WrongVariable {
        /// The output.
        name: OutputName,
        /// Its path.
        expected: String,
        /// The variable's value.
        found: String,
    },
}

/// A derivation as it goes into a store.
#[derive(Clone, Debug)]
pub struct Instantiated {
    /// The path of the `.drv` file.
    pub path: StorePath,
    /// The bytes of the `.drv` file.
    pub contents: Vec<u8>,
    /// SHA-256 of the contents.
    pub contents_hash: Hash,
    /// What derivations that use this one need of it; already in the cache.
    pub hash_modulo: HashModulo,
}

impl Derivation {
    /// Fills in output paths, prints the derivation, computes its path and remembers its hash
    /// modulo in `cache`.
    ///
    /// # Errors
    /// As [`Derivation::fill_in_output_paths`].
    pub fn instantiate(
        &mut self,
        store_dir: &StoreDir,
        cache: &mut dyn HashModuloCache,
        lookup: &mut Lookup<'_>,
    ) -> Result<Instantiated, OutputPathError> {
        let fixed = self.fixed_hash_modulo(store_dir)?;
        let inputs = match &fixed {
            Some(_) => None,
            None => {
                ensure_inputs(self, store_dir, cache, lookup)?;
                Some(self.hashed_inputs(cache)?)
            }
        };
        if let Some(inputs) = &inputs {
            let has_input_addressed = self.outputs.values().any(|output| {
                matches!(output, DerivationOutput::Deferred | DerivationOutput::InputAddressed(_))
            });
            if has_input_addressed {
                let masked = self.print(store_dir, true, Some(&inputs.text))?;
                let hash = Hash::digest(Algorithm::Sha256, &masked.text);
                let hash = self.wrap_hash(hash, inputs)?;
                drop(masked);
                self.place_outputs(store_dir, Some(&hash), true)?;
            }
        } else {
            self.place_outputs(store_dir, None, true)?;
        }
        let aterm = self.print(store_dir, false, None)?;
        let hash_modulo = match (fixed, &inputs) {
            (Some(fixed), _) => fixed,
            (None, Some(inputs)) => self.hash_modulo_of_text(&aterm, inputs)?,
            (None, None) => unreachable!("inputs are hashed unless the output is fixed"),
        };
        let contents_hash = Hash::digest(Algorithm::Sha256, &aterm.text);
        let path = self.path_of_contents(store_dir, &contents_hash)?;
        cache.insert(path.clone(), hash_modulo.clone());
        Ok(Instantiated { path, contents: aterm.text, contents_hash, hash_modulo })
    }

    /// Returns the path of the `.drv` file that [`Derivation::to_aterm`] gives.
    ///
    /// # Errors
    /// When it can't be printed or its name is not valid.
    pub fn store_path(&self, store_dir: &StoreDir) -> Result<StorePath, OutputPathError> {
        let contents = self.to_aterm(store_dir)?;
        Ok(self.path_of_contents(store_dir, &Hash::digest(Algorithm::Sha256, &contents))?)
    }

    fn path_of_contents(&self, store_dir: &StoreDir, contents: &Hash) -> Result<StorePath, StorePathError> {
        let mut references: Vec<&StorePath> =
            self.input_sources.iter().chain(self.input_derivations.keys()).collect();
        references.sort_unstable();
        references.dedup();
        store_dir.text_path(&format!("{}{DERIVATION_EXTENSION}", self.name), contents, references)
    }

    /// Turns deferred outputs into input-addressed ones where their path follows from the
    /// derivation, and sets the variables of outputs that are unset or empty.
    ///
    /// # Errors
    /// When a path or variable is there already and is wrong, an input can't be read, or a name is
    /// not valid.
    pub fn fill_in_output_paths(
        &mut self,
        store_dir: &StoreDir,
        cache: &mut dyn HashModuloCache,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), OutputPathError> {
        let hash = self.masked_hash(store_dir, cache, lookup)?;
        self.place_outputs(store_dir, hash.as_ref(), true)
    }

    /// Checks that the outputs' paths and variables follow from the derivation. (Like the reference,
    /// accepts a deferred output whose path could be known.)
    ///
    /// # Errors
    /// As [`Derivation::fill_in_output_paths`].
    pub fn check_output_paths(
        &self,
        store_dir: &StoreDir,
        cache: &mut dyn HashModuloCache,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), OutputPathError> {
        let hash = self.masked_hash(store_dir, cache, lookup)?;
        self.clone().place_outputs(store_dir, hash.as_ref(), false)
    }

    /// The hash that input-addressed outputs are made from; `None` if there is no such output.
    fn masked_hash(
        &self,
        store_dir: &StoreDir,
        cache: &mut dyn HashModuloCache,
        lookup: &mut Lookup<'_>,
    ) -> Result<Option<HashModulo>, OutputPathError> {
        self.kind().map_err(HashModuloError::from)?;
        let is_input_addressed = self.outputs.values().any(|output| {
            matches!(output, DerivationOutput::Deferred | DerivationOutput::InputAddressed(_))
        });
        if !is_input_addressed {
            return Ok(None);
        }
        Ok(Some(self.hash_modulo(store_dir, true, cache, lookup)?))
    }

    fn place_outputs(
        &mut self,
        store_dir: &StoreDir,
        hash: Option<&HashModulo>,
        fill_in: bool,
    ) -> Result<(), OutputPathError> {
        let Self { name: derivation_name, outputs, env, .. } = self;
        for (name, output) in outputs {
            let made_path = || -> Result<Option<StorePath>, StorePathError> {
                match hash {
                    Some(hash) if !hash.is_deferred => {
                        store_dir.output_path(name, &hash.hash, derivation_name).map(Some)
                    }
                    _ => Ok(None),
                }
            };
            let path = match output {
                DerivationOutput::InputAddressed(found) => {
                    let expected = match made_path()? {
                        Some(made) if made == *found => continue,
                        Some(made) => format!("'{}'", store_dir.display(&made)),
                        None => "deferred".to_owned(),
                    };
                    return Err(OutputPathError::WrongPath { found: store_dir.display(found), expected });
                }
                DerivationOutput::Deferred => match made_path()? {
                    Some(path) if fill_in => {
                        *output = DerivationOutput::InputAddressed(path.clone());
                        path
                    }
                    _ => continue,
                },
                DerivationOutput::Fixed(_) => output
                    .path(store_dir, derivation_name, name)?
                    .expect("the path of a fixed output is known"),
                DerivationOutput::Floating { .. } | DerivationOutput::Impure { .. } => continue,
            };
            let expected = store_dir.display(&path);
            match env.get_mut(name.as_bytes()) {
                Some(value) if value == expected.as_bytes() => {}
                Some(value) if fill_in && value.is_empty() => *value = expected.into_bytes(),
                Some(value) => {
                    let found = String::from_utf8_lossy(value).into_owned();
                    return Err(OutputPathError::WrongVariable { name: name.clone(), expected, found });
                }
                None if fill_in => {
                    env.insert(name.as_bytes().to_vec(), expected.into_bytes());
                }
                None => {
                    return Err(OutputPathError::MissingVariable { name: name.clone(), expected });
                }
            }
        }
        Ok(())
    }
}
