//! The trait that every store implements: what is valid, what is in it, how something is added, what keeps it alive.
//!
//! Calls block; a store may be shared between threads. Methods that take slices are the ones to implement: a database
//! or a connection answers a hundred questions in about the time of one. The methods for one item stand on them.
//!
//! Store paths are logical. Where the files really are, in a store rooted in some directory, [`Store::real_path`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::closure;
use crate::content_address::ContentAddressMethod;
use crate::derivation::Derivation;
use crate::error::{Result, StoreError};
use crate::hash::Algorithm;
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;

/// A text file with references: what `builtins.toFile` and derivations are in a store.
#[derive(Debug, Clone)]
pub struct Text<'t> {
    /// The name behind the hash.
    pub name: &'t str,
    /// What the file holds.
    pub contents: &'t [u8],
    /// Store paths that it refers to; they are part of its identity and must be valid.
    pub references: BTreeSet<StorePath>,
}

/// Where the contents of a content-addressed object come from.
pub enum Contents<'c> {
    /// A regular file with these bytes, not executable.
    Bytes(&'c [u8]),
    /// A NAR.
    Nar(&'c mut dyn Read),
    /// A file tree on disk. It is hashed first and copied only if the object is missing.
    Tree {
        /// The tree's root: a file, a symbolic link or a directory.
        path: &'c Path,
        /// Which files below the root to take; all without it.
        filter: Option<&'c mut Filter<'c>>,
    },
}

/// Decides whether a file below a tree's root is taken. Gets its path, which starts with the root's.
pub type Filter<'f> = dyn FnMut(&Path, FileKind) -> bool + 'f;

/// What kind of file a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file with bytes.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// How an object is named by its contents.
#[derive(Debug, Clone)]
pub struct Addressing<'a> {
    /// The name behind the hash.
    pub name: &'a str,
    /// What is hashed.
    pub method: ContentAddressMethod,
    /// With which algorithm.
    pub algorithm: Algorithm,
    /// Store paths that it refers to; only texts and NARs with SHA-256 may have some.
    pub references: BTreeSet<StorePath>,
}

impl<'a> Addressing<'a> {
    /// The usual address of sources: NAR, SHA-256, no references.
    pub fn source(name: &'a str) -> Addressing<'a> {
        Addressing {
            name,
            method: ContentAddressMethod::Nar,
            algorithm: Algorithm::Sha256,
            references: BTreeSet::new(),
        }
    }
}

/// A set of store objects.
pub trait Store: Send + Sync {
    /// Returns the logical directory of the store's paths.
    fn store_dir(&self) -> &StoreDir;

    // --- what is known about paths ---

    /// Returns what is known about each of these paths, `None` for those that are not valid.
    ///
    /// # Errors
    /// When the store can't be read, or holds something that does not parse.
    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>>;

    /// Returns for each of these paths whether it is valid.
    ///
    /// # Errors
    /// When the store can't be read.
    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        Ok(self.query_path_infos(paths)?.iter().map(Option::is_some).collect())
    }

    /// Returns all valid paths, in no order.
    ///
    /// # Errors
    /// When the store can't be read, or can't list its paths.
    fn all_valid_paths(&self) -> Result<Vec<StorePath>>;

    /// Returns the valid path with this hash part.
    ///
    /// # Errors
    /// When the store can't be read.
    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>>;

    /// Returns the valid paths that refer to this one, itself among them if it does.
    ///
    /// # Errors
    /// When the store can't be read, or can't answer this.
    fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>>;

    /// Returns the valid derivations that have this path as an output.
    ///
    /// # Errors
    /// When the store can't be read, or can't answer this.
    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>>;

    /// Returns the outputs of a valid derivation; `None` for a path that is known only after the build.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] if the derivation is not valid.
    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>>;

    // --- contents ---

    /// Writes the NAR of a valid path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], what reading gave, or what the sink gave.
    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()>;

    /// Returns the bytes of a valid path that is a regular file; derivations are.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or [`StoreError::UnsupportedFileType`] if it is no regular file.
    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>>;

    /// Returns where the files of this path are, or would be, on the local disk.
    fn real_path(&self, path: &StorePath) -> Option<PathBuf>;

    // --- adding ---

    /// Adds a path with its NAR. Nothing happens if it is valid, unless `options` wants it anew; the NAR may then be
    /// left unread.
    ///
    /// # Errors
    /// When the NAR is not the one that `info` describes, when `info` claims a content address that gives another
    /// path, when a reference is not valid, or when the store can't be written. The store is as it was then.
    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()>;

    /// Adds a content-addressed object. Its references must be valid. Returns its facts; it is a temporary root.
    ///
    /// # Errors
    /// When the contents can't be read, when method, algorithm and references don't go together, or when the store
    /// can't be written.
    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo>;

    /// Adds texts and returns their paths, in the same places. A text may refer to an earlier one of the same call.
    /// Many are registered together, which is much cheaper than one by one. All become temporary roots.
    ///
    /// # Errors
    /// As [`Store::add_contents`]. Earlier texts of the call may be valid then.
    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>>;

    /// Registers paths whose files are in place, all or none.
    ///
    /// # Errors
    /// When a reference is neither among them nor valid, when they refer to each other in a circle, or when the store
    /// keeps no files on disk.
    fn register_paths(&self, infos: &[PathInfo]) -> Result<()>;

    /// Adds signatures, texts of the form `name:base64`, to a valid path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or when the store can't be written.
    fn add_signatures(&self, path: &StorePath, signatures: &[String]) -> Result<()>;

    // --- what keeps paths alive ---

    /// Keeps these paths, valid or not yet, from being collected while the process works on them.
    ///
    /// # Errors
    /// When the store can't be written.
    fn add_temp_roots(&self, paths: &[StorePath]) -> Result<()>;

    /// Registers a symbolic link anywhere on disk as a root, as long as it exists and points into the store.
    ///
    /// # Errors
    /// When the store can't be written or has no roots.
    fn add_indirect_root(&self, link: &Path) -> Result<()>;

    /// Makes a symbolic link at `link` to a store path and registers it as a root. Replaces a link into the store.
    ///
    /// # Errors
    /// When there is something else at `link`, or when the store has no roots.
    fn add_permanent_root(&self, path: &StorePath, link: &Path) -> Result<()>;

    // --- for one item, and from the above ---

    /// Returns what is known about a path, `None` if it is not valid.
    ///
    /// # Errors
    /// As [`Store::query_path_infos`].
    fn query_path_info(&self, path: &StorePath) -> Result<Option<PathInfo>> {
        Ok(self.query_path_infos(std::slice::from_ref(path))?.pop().flatten())
    }

    /// Returns what is known about a valid path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or as [`Store::query_path_infos`].
    fn path_info(&self, path: &StorePath) -> Result<PathInfo> {
        self.query_path_info(path)?.ok_or_else(|| self.invalid(path))
    }

    /// Returns whether a path is valid.
    ///
    /// # Errors
    /// As [`Store::are_valid`].
    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        Ok(self.are_valid(std::slice::from_ref(path))?.first().copied().unwrap_or(false))
    }

    /// Returns these paths and all that they refer to, directly or not.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] if one of them is not valid.
    fn closure(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        closure::closure(self, paths, &closure::Follow::default())
    }

    /// Adds a text and returns its path; see [`Store::add_texts`].
    ///
    /// # Errors
    /// As [`Store::add_texts`].
    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> Result<StorePath> {
        let text = Text { name, contents, references: references.clone() };
        Ok(self.add_texts(std::slice::from_ref(&text))?.pop().expect("one path per text"))
    }

    /// Writes derivations and returns their paths; each may have earlier ones as inputs.
    ///
    /// # Errors
    /// As [`Store::add_texts`].
    fn write_derivations(&self, derivations: &[Derivation]) -> Result<Vec<StorePath>> {
        let dir = self.store_dir();
        let parts: Vec<(String, Vec<u8>)> = derivations
            .iter()
            .map(|derivation| Ok((format!("{}.drv", derivation.name), print_derivation(dir, derivation)?)))
            .collect::<Result<_>>()?;
        let texts: Vec<Text<'_>> = derivations
            .iter()
            .zip(&parts)
            .map(|(derivation, (name, contents))| Text { name, contents, references: derivation.references() })
            .collect();
        self.add_texts(&texts)
    }

    /// Writes a derivation and returns its path.
    ///
    /// # Errors
    /// As [`Store::add_texts`].
    fn write_derivation(&self, derivation: &Derivation) -> Result<StorePath> {
        Ok(self.write_derivations(std::slice::from_ref(derivation))?.pop().expect("one path per derivation"))
    }

    /// Reads a valid derivation.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or when it does not parse.
    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        let bytes = self.read_file(path)?;
        parse_derivation(self.store_dir(), path, &bytes)
    }

    /// Makes the error for a path that is not valid here.
    fn invalid(&self, path: &StorePath) -> StoreError {
        StoreError::InvalidPath { path: self.store_dir().display(path) }
    }
}

/// How [`Store::add_nar`] adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddOptions {
    /// Puts the contents in place again even if the path is valid.
    pub repair: bool,
}

/// Parses the bytes of a derivation, with the path in the error.
pub(crate) fn parse_derivation(dir: &StoreDir, path: &StorePath, bytes: &[u8]) -> Result<Derivation> {
    let context = || format!("error parsing derivation '{}'", dir.display(path));
    let name = path.derivation_name().ok_or_else(|| StoreError::BadStorePath {
        path: dir.display(path),
        reason: "its name does not end in .drv".to_owned(),
    })?;
    Derivation::parse_aterm(dir, name, bytes).map_err(|error| StoreError::format(context(), error))
}

/// Prints the bytes of a derivation, with its name in the error.
pub(crate) fn print_derivation(dir: &StoreDir, derivation: &Derivation) -> Result<Vec<u8>> {
    derivation
        .to_aterm(dir)
        .map_err(|error| StoreError::format(format!("error writing derivation '{}'", derivation.name), error))
}

/// Returns names and paths of a derivation's outputs, as far as they are known before the build.
pub(crate) fn static_outputs(
    dir: &StoreDir,
    derivation: &Derivation,
) -> Result<BTreeMap<String, Option<StorePath>>> {
    derivation
        .outputs
        .iter()
        .map(|(name, output)| {
            let path = output.path(dir, &derivation.name, name).map_err(|error| {
                StoreError::format(format!("output '{name}' of derivation '{}'", derivation.name), error)
            })?;
            Ok((name.to_string(), path))
        })
        .collect()
}

/// Returns the path and facts of a text.
pub(crate) fn text_info(dir: &StoreDir, text: &Text<'_>) -> Result<PathInfo> {
    let addressing = Addressing {
        name: text.name,
        method: ContentAddressMethod::Text,
        algorithm: Algorithm::Sha256,
        references: text.references.clone(),
    };
    crate::addressed::address(dir, &addressing, &mut |sink| crate::addressed::write_file_nar(sink, text.contents))
}

/// Checks what the facts of a path promise about each other.
pub(crate) fn check_info(dir: &StoreDir, info: &PathInfo) -> Result<()> {
    if info.nar_hash.algorithm() != Algorithm::Sha256 {
        let reason = format!("the NAR's hash is {} instead of sha256", info.nar_hash.algorithm());
        return Err(StoreError::CorruptEntry { path: dir.display(&info.path), reason });
    }
    if let Some(content) = info.content_address_with_references()
        && dir.fixed_output_path(info.path.name(), &content).ok().as_ref() != Some(&info.path)
    {
        return Err(StoreError::NotContentAddressed { path: dir.display(&info.path) });
    }
    Ok(())
}
