//! The trait that every store implements: what is valid, what is in it, how something is added, what keeps it alive.
//!
//! Calls block; a store may be shared between threads. Methods that take slices are the ones to implement: a database
//! or a connection answers a hundred questions in about the time of one. The methods for one item stand on them.
//!
//! Store paths are logical. Where the files really are, in a store rooted in some directory, [`Store::real_path`] says.

//!
//! Not every store can do everything: [`Store::capabilities`] says what it can before it is asked. The methods for
//! what some stores can't do have default bodies that say [`StoreError::Unsupported`].

mod contents;
mod derived;
mod maintenance;
mod nar_pipe;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::closure;
use crate::content_rules::ContentRules;
use crate::derivation::Derivation;
use crate::error::{Result, StoreError};
use crate::nar::Listing;
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::realisation::{DerivationOutputId, Realisation};

pub use crate::addressed::compute_info;
pub use contents::{AddOptions, Addressing, Contents, FileKind, Filter, Text};
pub(crate) use derived::{
    add_realised_outputs, check_info, check_same_realisation, parse_derivation, print_derivation, realisation_in_either_form, static_outputs,
    text_info,
};
pub use maintenance::{
    GcAction, GcOptions, GcResults, OptimiseEvent, OptimiseStats, Roots, RootsEvent, VerifyEvent, VerifyOptions,
};
pub use nar_pipe::with_nar;
#[cfg(feature = "compression")]
pub(crate) use tree::file_from_nar;

/// What a store can do beyond answering questions about paths and giving their contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Objects can be added.
    pub add: bool,
    /// All valid paths can be listed.
    pub list_paths: bool,
    /// Referrers and derivers can be asked for.
    pub referrers: bool,
    /// Files of valid paths are on the local disk, where [`Store::real_path`] says.
    pub local_files: bool,
    /// Files that are in place can be registered.
    pub register: bool,
    /// Links can be made roots, and roots be listed.
    pub roots: bool,
    /// Garbage can be collected.
    pub collect_garbage: bool,
    /// Equal files can be linked.
    pub optimise: bool,
    /// Contents can be verified.
    pub verify: bool,
    /// Signatures can be added.
    pub add_signatures: bool,
    /// Realisations are kept.
    pub realisations: bool,
    /// Logs of builds are kept.
    pub build_logs: bool,
}

/// A set of store objects.
pub trait Store: Send + Sync {
    /// Returns the logical directory of the store's paths.
    fn store_dir(&self) -> &StoreDir;

    /// Returns the address that names the store to users, as in "copying path … from '…'".
    fn address(&self) -> String {
        "custom".to_owned()
    }

    /// Returns what the store can do.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns whether the other side believes this client whatever it says; `None` if it does not tell.
    ///
    /// # Errors
    /// When the store can't be reached.
    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(None)
    }

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
    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        Err(StoreError::Unsupported { operation: "listing all valid paths" })
    }

    /// Returns the valid path with this hash part.
    ///
    /// # Errors
    /// When the store can't be read.
    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>>;

    /// Returns the valid paths that refer to this one, itself among them if it does.
    ///
    /// # Errors
    /// When the store can't be read, or can't answer this.
    fn referrers(&self, _path: &StorePath) -> Result<BTreeSet<StorePath>> {
        Err(StoreError::Unsupported { operation: "looking for referrers" })
    }

    /// Returns the valid derivations that have this path as an output.
    ///
    /// # Errors
    /// When the store can't be read, or can't answer this.
    fn valid_derivers(&self, _path: &StorePath) -> Result<BTreeSet<StorePath>> {
        Err(StoreError::Unsupported { operation: "looking for derivers" })
    }

    /// Returns the rules that this store's content-addressed derivations follow: in which form realisations are asked for.
    fn content_rules(&self) -> ContentRules {
        ContentRules::default()
    }

    /// Returns the outputs of a valid derivation; `None` for a path that is known only after the build.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] if the derivation is not valid.
    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>> {
        let parsed = self.read_derivation(derivation)?;
        let mut outputs = static_outputs(self.store_dir(), &parsed)?;
        add_realised_outputs(self, derivation, &parsed, &mut outputs)?;
        Ok(outputs)
    }

    /// Returns those of these paths that the store could get from elsewhere.
    ///
    /// # Errors
    /// When the store can't be read.
    fn substitutable_paths(&self, _paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        Ok(BTreeSet::new())
    }

    /// Fetches those of these paths that the store can get from elsewhere; the others stay as they are.
    ///
    /// # Errors
    /// When the store can't be written.
    fn substitute(&self, _paths: &[StorePath]) -> Result<()> {
        Ok(())
    }

    /// Returns which paths these outputs turned out to be, `None` where nobody knows.
    ///
    /// # Errors
    /// When the store can't be read.
    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        Ok(vec![None; ids.len()])
    }

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

    /// Returns the tree of a valid path without its contents, with their places in the NAR if those are known.
    ///
    /// # Errors
    /// As [`Store::write_nar`].
    fn listing(&self, path: &StorePath) -> Result<Listing> {
        tree::listing_from_nar(self, path)
    }

    /// Writes the bytes of a regular file below a valid path; `below` are the names on the way, none for the path
    /// itself. Symbolic links are not followed.
    ///
    /// # Errors
    /// As [`Store::write_nar`]; [`StoreError::UnsupportedFileType`] if there is no regular file.
    fn write_file(&self, path: &StorePath, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
        tree::file_from_nar(self, path, below, sink)
    }

    // --- adding ---

    /// Adds a path with its NAR. Nothing happens if it is valid, unless `options` wants it anew; the NAR may then be
    /// left unread.
    ///
    /// # Errors
    /// When the NAR is not the one that `info` describes, when `info` claims a content address that gives another
    /// path, when a reference is not valid, or when the store can't be written. The store is as it was then.
    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()>;

    /// Adds several paths, each after those that it refers to. `write_nar` is asked for the NARs, maybe on several
    /// threads, and only for what is added. A connection sends all in one go.
    ///
    /// # Errors
    /// As [`Store::add_nar`], and what `write_nar` gives. What was added until then stays.
    fn add_nars(&self, infos: &[PathInfo], write_nar: &WriteNarOf<'_>, options: &AddOptions) -> Result<()> {
        crate::copy::add_in_order(self, infos, write_nar, options)
    }

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
    fn register_paths(&self, _infos: &[PathInfo]) -> Result<()> {
        Err(StoreError::Unsupported { operation: "registering files on disk" })
    }

    /// Adds signatures, texts of the form `name:base64`, to a valid path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or when the store can't be written.
    fn add_signatures(&self, _path: &StorePath, _signatures: &[String]) -> Result<()> {
        Err(StoreError::Unsupported { operation: "adding signatures" })
    }

    /// Remembers which paths outputs turned out to be. The paths must be valid. With `check_signatures` each needs a
    /// signature of a key that the store trusts, if the store asks for signatures at all.
    ///
    /// # Errors
    /// When a signature is missing, when an output is known to be another path, or when the store can't be written.
    fn register_realisations(&self, _realisations: &[Realisation], _check_signatures: bool) -> Result<()> {
        Err(StoreError::Unsupported { operation: "registering realisations" })
    }

    // --- what keeps paths alive ---

    /// Keeps these paths, valid or not yet, from being collected while the process works on them.
    ///
    /// # Errors
    /// When the store can't be written.
    fn add_temp_roots(&self, _paths: &[StorePath]) -> Result<()> {
        Ok(())
    }

    /// Registers a symbolic link anywhere on disk as a root, as long as it exists and points into the store.
    ///
    /// # Errors
    /// When the store can't be written or has no roots.
    fn add_indirect_root(&self, _link: &Path) -> Result<()> {
        Err(StoreError::Unsupported { operation: "roots outside of the process" })
    }

    /// Makes a symbolic link at `link` to a store path and registers it as a root. Replaces a link into the store.
    ///
    /// # Errors
    /// When there is something else at `link`, or when the store has no roots.
    fn add_permanent_root(&self, _path: &StorePath, _link: &Path) -> Result<()> {
        Err(StoreError::Unsupported { operation: "roots outside of the process" })
    }

    /// Finds all roots: links, running processes, work in progress (`{temp:<pid>}`). `events` hears of oddities.
    ///
    /// # Errors
    /// When they can't be read.
    fn find_roots(&self, _events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
        Err(StoreError::Unsupported { operation: "listing roots" })
    }

    /// Finds the paths that nothing keeps alive and does with them what `options` say. `deleting` is called with the
    /// full logical path of each thing before it is deleted.
    ///
    /// # Errors
    /// [`StoreError::StillAlive`] when a path that was to be deleted is alive; when the store can't be written.
    fn collect_garbage(&self, _options: &GcOptions, _deleting: &mut dyn FnMut(&str)) -> Result<GcResults> {
        Err(StoreError::Unsupported { operation: "collecting garbage" })
    }

    // --- order ---

    /// Links equal files of all valid paths.
    ///
    /// # Errors
    /// When the store can't be read or written.
    fn optimise(&self, _events: &mut dyn FnMut(OptimiseEvent)) -> Result<OptimiseStats> {
        Err(StoreError::Unsupported { operation: "linking equal files" })
    }

    /// Makes paths invalid whose files are gone, and looks whether contents are unchanged if `options` say so.
    /// Returns whether everything is right that is valid now; `events` hears of what is not.
    ///
    /// # Errors
    /// When the store can't be read or written.
    fn verify(&self, _options: &VerifyOptions, _events: &mut dyn FnMut(VerifyEvent)) -> Result<bool> {
        Err(StoreError::Unsupported { operation: "verification" })
    }

    // --- logs ---

    /// Returns the log of the build of a derivation, or of the build that made a path, uncompressed.
    ///
    /// # Errors
    /// When the log can't be read.
    fn build_log(&self, _path: &StorePath) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Keeps the log of a derivation's build, in place of an earlier one.
    ///
    /// # Errors
    /// When the store can't be written.
    fn add_build_log(&self, _derivation: &StorePath, _log: &[u8]) -> Result<()> {
        Err(StoreError::Unsupported { operation: "keeping logs" })
    }

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

    /// Returns what is known about these paths and all that they refer to, directly or not, in order of the paths.
    ///
    /// # Errors
    /// As [`Store::closure`].
    fn closure_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>> {
        closure::infos(self, paths)
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

    /// Returns derivations, in the places of their paths; none for a path that is not valid.
    ///
    /// # Errors
    /// As [`Store::read_derivation`].
    fn read_derivations(&self, paths: &[StorePath]) -> Result<Vec<Option<Derivation>>> {
        let read = |path| match self.read_derivation(path) {
            Err(StoreError::InvalidPath { .. }) => Ok(None),
            derivation => derivation.map(Some),
        };
        paths.iter().map(read).collect()
    }

    /// Returns which path an output turned out to be, if somebody knows; see [`Store::query_realisations`].
    ///
    /// # Errors
    /// As [`Store::query_realisations`].
    fn query_realisation(&self, id: &DerivationOutputId) -> Result<Option<Realisation>> {
        Ok(self.query_realisations(std::slice::from_ref(id))?.pop().flatten())
    }

    /// Makes the error for a path that is not valid here.
    fn invalid(&self, path: &StorePath) -> StoreError {
        StoreError::InvalidPath { path: self.store_dir().display(path) }
    }
}

/// Writes the NAR of one of the paths that [`Store::add_nars`] was given.
pub type WriteNarOf<'w> = dyn Fn(&PathInfo, &mut dyn Write) -> Result<()> + Sync + 'w;
