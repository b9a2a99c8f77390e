//! What keeping a store in order is told and tells: collections, roots, linking equal files, verification.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::path::StorePath;

/// What to do with the garbage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcAction {
    /// Report the paths that are alive.
    ReturnLive,
    /// Report the paths that are dead.
    ReturnDead,
    /// Delete what is dead.
    DeleteDead,
    /// Delete these paths, all of which must be dead but for each other.
    DeletePaths {
        /// The paths.
        paths: BTreeSet<StorePath>,
        /// Delete them even if a root leads to them. Paths that refer to them still stand in the way.
        ignore_liveness: bool,
        /// Leave alone what is alive instead of refusing to delete anything.
        skip_live: bool,
        /// Delete what refers to them too; it must be dead as well.
        also_referrers: bool,
    },
}

/// How to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcOptions {
    /// What to do.
    pub action: GcAction,
    /// `keep-derivations`: what is alive keeps the derivation that it was built from.
    pub keep_derivations: bool,
    /// `keep-outputs`: a derivation that is alive keeps its outputs.
    pub keep_outputs: bool,
    /// Stop after this many bytes were freed.
    pub max_freed: u64,
    /// Spare what was registered at this time or later, in seconds since 1970.
    pub registered_before: Option<i64>,
    /// Spare what was read at this time or later, in seconds since 1970, as far as the file system notes it: the
    /// latest access to the path itself or an entry in it counts.
    pub unused_since: Option<i64>,
}

impl GcOptions {
    /// Options with the reference's defaults.
    pub fn new(action: GcAction) -> GcOptions {
        GcOptions {
            action,
            keep_derivations: true,
            keep_outputs: false,
            max_freed: u64::MAX,
            registered_before: None,
            unused_since: None,
        }
    }
}

/// What a collection found or did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcResults {
    /// Full logical paths: those alive, dead or deleted, as asked for. Deleted ones include left-overs whose names are
    /// no store paths.
    pub paths: BTreeSet<String>,
    /// Disk space freed, in bytes.
    pub bytes_freed: u64,
}

/// Roots by store path: for each the places that make it one.
pub type Roots = BTreeMap<StorePath, BTreeSet<String>>;

/// Something about roots that a user may want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootsEvent {
    /// A link leads to a path that is not valid.
    Invalid {
        /// The link.
        link: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
    /// A link in `gcroots/auto` led nowhere and was removed.
    Stale {
        /// The link.
        link: PathBuf,
        /// What it pointed to.
        target: PathBuf,
    },
    /// A file of temporary roots of a dead process was removed.
    StaleTemporary {
        /// The file.
        file: PathBuf,
    },
    /// Something could not be read and may hide roots.
    Unreadable {
        /// What.
        path: PathBuf,
    },
}

/// What linking saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OptimiseStats {
    /// How many files were replaced by links.
    pub files_linked: u64,
    /// The sizes of these files, in bytes.
    pub bytes_freed: u64,
}

/// Something unusual about a file that was not linked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptimiseEvent {
    /// A file in the store can be written by its owner, so somebody may have changed it.
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// A link in `.links` had another size than its contents should have; it was removed.
    CorruptLink {
        /// The link.
        path: PathBuf,
    },
}

/// What a verification looks at and does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Whether contents are hashed; otherwise only their existence is looked at.
    pub check_contents: bool,
    /// Whether what is missing or modified is to be replaced, if the store knows where to get it.
    pub repair: bool,
}

impl VerifyOptions {
    /// Looks at contents or only at existence; repairs nothing.
    pub fn new(check_contents: bool) -> VerifyOptions {
        VerifyOptions { check_contents, repair: false }
    }
}

/// Something that a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyEvent {
    /// The files of a path are gone; it is not valid any more.
    Disappeared {
        /// The path.
        path: StorePath,
    },
    /// The files of a path are gone, and others that are there refer to it. An error.
    DisappearedInUse {
        /// The path.
        path: StorePath,
    },
    /// The contents of a path are not what was registered. An error.
    Modified {
        /// The path.
        path: StorePath,
        /// The hash that was registered, `sha256:` and Nix's base 32.
        expected: String,
        /// The hash of what is there.
        got: String,
    },
    /// A file in `.links` has another hash than its name says. An error.
    LinkModified {
        /// The name.
        name: String,
        /// The hash of what is there.
        got: String,
    },
    /// A path that was missing or modified is right again.
    Repaired {
        /// The path.
        path: StorePath,
    },
    /// A path can't be read. An error.
    Unreadable {
        /// The path.
        path: StorePath,
        /// Why.
        error: String,
    },
    /// The size of a path was not known, and now is.
    SizeUpdated {
        /// The path.
        path: StorePath,
        /// In bytes.
        nar_size: u64,
    },
}

impl VerifyEvent {
    /// Whether it is an error that remains.
    pub fn is_error(&self) -> bool {
        !matches!(
            self,
            VerifyEvent::Disappeared { .. } | VerifyEvent::SizeUpdated { .. } | VerifyEvent::Repaired { .. }
        )
    }
}

