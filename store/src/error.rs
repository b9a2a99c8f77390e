//! What can go wrong in the half with effects.
//!
//! The pure modules have small enums of their own; they arrive here as sources. The first lines of the messages that
//! users of the reference implementation know ("path '…' is not valid", "hash mismatch importing path '…'") are kept.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a [`Store`](crate::store::Store) or of the file system operations beneath it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused an operation on a file.
    #[error("{action} {path:?}: {source}")]
    Io {
        /// What was tried, as in "opening" or "renaming".
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A directory was to be made where there is one.
    #[error("path '{path}' already exists")]
    Exists {
        /// The directory.
        path: String,
    },
    /// SQLite reported an error.
    #[error("the database of valid paths at {path:?}: {source}")]
    Database {
        /// The database's file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// A row of the database does not parse.
    #[error("invalid entry for '{path}' in the database: {reason}")]
    CorruptEntry {
        /// The store path the row is about.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database was made by a newer or much older implementation.
    #[error("the store's schema is version {found}, but only {supported} is supported")]
    Schema {
        /// The version found in `db/schema`.
        found: u32,
        /// The version this crate writes.
        supported: u32,
    },
    /// The store belongs to somebody else.
    #[error(
        "opening lock file {path:?}: {source}\nThis command may have been run as non-root in a single-user Nix installation,\nor the Nix daemon may have crashed."
    )]
    NotWritable {
        /// The lock file that could not be opened.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A store that may not be written to has no database.
    #[error("database does not exist, and cannot be created in read-only mode")]
    NoDatabase,
    /// The store, or the wanted operation, needs writing but was opened read-only.
    #[error("attempt to write a readonly database ({action})")]
    ReadOnly {
        /// What would have been written.
        action: &'static str,
    },
    /// A parent of the store directory is a symbolic link.
    #[error("the path {path:?} is a symlink; this is not allowed for the Nix store and its parent directories")]
    SymlinkedStore {
        /// The symbolic link.
        path: PathBuf,
    },
    /// The directory of a store on top of another one is not a mount of the two layers.
    #[error("overlay filesystem \"{}\" mounted incorrectly", path.display())]
    BadOverlay {
        /// The store's directory.
        path: PathBuf,
    },
    /// A path is asked for that is not registered.
    #[error("path '{path}' is not valid")]
    InvalidPath {
        /// The full logical store path.
        path: String,
    },
    /// A text is not a path in the store directory.
    #[error("path '{path}' is not in the Nix store")]
    NotInStore {
        /// The text.
        path: String,
    },
    /// A text is not a store path.
    #[error("'{path}' is not a store path: {reason}")]
    BadStorePath {
        /// The text.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The bytes that came are not those that were announced.
    #[error("hash mismatch importing path '{path}';\n  specified: {specified}\n  got:       {got}")]
    HashMismatch {
        /// The full logical store path.
        path: String,
        /// The announced hash, `sha256:` and Nix's base 32.
        specified: String,
        /// The hash of what came.
        got: String,
    },
    /// The NAR has not the announced size.
    #[error("size mismatch importing path '{path}';\n  specified: {specified}\n  got:       {got}")]
    SizeMismatch {
        /// The full logical store path.
        path: String,
        /// The announced size in bytes.
        specified: u64,
        /// The size of what came, in bytes.
        got: u64,
    },
    /// A path claims to be content-addressed and its name does not follow from the content.
    #[error("cannot add path '{path}' to the Nix store because it claims to be content-addressed but isn't")]
    NotContentAddressed {
        /// The full logical store path.
        path: String,
    },
    /// A path that is not content-addressed comes without a signature that counts.
    #[error("cannot add path '{path}' because it lacks a signature by a trusted key")]
    MissingSignature {
        /// The full logical store path.
        path: String,
    },
    /// A realisation comes without a signature that counts.
    #[error("cannot register realisation '{id}' because it lacks a signature by a trusted key")]
    UnsignedRealisation {
        /// The output's id.
        id: String,
    },
    /// An output turned out to be two different paths.
    #[error("trying to register a realisation of '{id}', but we already have another one locally.\nLocal:  {known}\nRemote: {new}")]
    RealisationConflict {
        /// The output's id.
        id: String,
        /// The full logical path that is known.
        known: String,
        /// The full logical path that came.
        new: String,
    },
    /// The paths to be registered refer to each other in a circle.
    #[error("cycle detected in the references of '{path}' from '{parent}'")]
    Cycle {
        /// A path of the cycle.
        path: String,
        /// The path that refers to it.
        parent: String,
    },
    /// A path cannot go while others refer to it.
    #[error("cannot delete path '{path}' because it is in use by {users}")]
    PathInUse {
        /// The full logical store path.
        path: String,
        /// Those that refer to it, quoted and joined by commas.
        users: String,
    },
    /// A path was to be deleted that a root keeps alive.
    #[error(
        "Cannot delete path '{path}' since it is still alive. To find out why, use: nix-store --query --roots and nix-store --query --referrers"
    )]
    StillAlive {
        /// The full logical store path.
        path: String,
    },
    /// A profile has no such generation.
    #[error("{}", no_generation(profile, *number, *older))]
    NoGeneration {
        /// The profile's link.
        profile: PathBuf,
        /// The number that was asked for, or that of the current one.
        number: Option<u64>,
        /// Whether any older one was asked for.
        older: bool,
    },
    /// The current generation of a profile was to be deleted.
    #[error("cannot delete current version of profile {profile:?}")]
    CurrentGeneration {
        /// The profile's link.
        profile: PathBuf,
    },
    /// A file in a tree is neither regular, nor a directory, nor a symbolic link.
    #[error("file {path:?} has an unsupported type")]
    UnsupportedFileType {
        /// The file.
        path: PathBuf,
    },
    /// A file grew or shrank while it was being read.
    #[error("file {path:?} changed its size while it was being read: {expected} bytes announced, {got} read")]
    SizeChanged {
        /// The file.
        path: PathBuf,
        /// The size when it was opened, in bytes.
        expected: u64,
        /// How many bytes there were (at least).
        got: u64,
    },
    /// A name of an archive is the one that the case hack made up for another.
    #[error("NAR contains file name '{name}' that collides with case-hacked file name '{other}'")]
    CaseHackCollision {
        /// The name.
        name: String,
        /// The name on disk that it would get.
        other: String,
    },
    /// Two names on disk are one without what the case hack added.
    #[error("file name collision between {path:?} and {other:?}")]
    NameCollision {
        /// A file.
        path: PathBuf,
        /// The name of another in the same directory.
        other: PathBuf,
    },
    /// A file tree changed between being hashed and being copied.
    #[error("file tree {path:?} changed while it was being added")]
    TreeChanged {
        /// The tree's root.
        path: PathBuf,
    },
    /// Directories are nested deeper than an archive may be.
    #[error("directory {path:?} is nested deeper than {limit} levels")]
    TooDeep {
        /// The directory at which the walk stopped.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A file of a build's output does not belong to the build user.
    #[error("invalid ownership on file {path:?}")]
    InvalidOwnership {
        /// The file.
        path: PathBuf,
    },
    /// A pure format refused its input.
    #[error("{context}: {source}")]
    Format {
        /// What was being read.
        context: String,
        /// The format's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A daemon, or whoever it asked in turn, answered with an error.
    #[error("{source}")]
    Remote {
        /// What it said.
        source: crate::wire::log::RemoteError,
    },
    /// The store cannot do this.
    #[error("this store does not support {operation}")]
    Unsupported {
        /// What it cannot do.
        operation: &'static str,
    },
    /// There is no binary cache at an address, and none can be made.
    #[error("'{url}' does not appear to be a binary cache: {source}")]
    NoCache {
        /// The address.
        url: String,
        /// Why it can't be made one.
        #[source]
        source: crate::transfer::TransferError,
    },
    /// A binary cache has paths of another directory.
    #[error("binary cache '{cache}' is for Nix stores with prefix '{found}', not '{expected}'")]
    ForeignCache {
        /// The cache's address.
        cache: String,
        /// The directory that its paths name.
        found: String,
        /// The directory that ours name.
        expected: String,
    },
    /// A cache has no path of which it has not all references.
    #[error("cannot add '{path}' to the binary cache because the reference '{reference}' is not valid")]
    MissingReference {
        /// The full logical store path.
        path: String,
        /// What it refers to.
        reference: String,
    },
    /// Something can't be fetched because what it refers to could not.
    #[error("some references of path '{path}' could not be realised")]
    BrokenReferences {
        /// The full logical store path.
        path: String,
    },
    /// Nobody has a path.
    #[error("path '{path}' is required, but there is no substituter that can build it")]
    NoSubstitute {
        /// The full logical store path.
        path: String,
    },
    /// What was to be copied is announced but not there any more.
    #[error("file '{file}' does not exist in binary cache '{cache}'")]
    Gone {
        /// The file.
        file: String,
        /// The cache's address.
        cache: String,
    },
    /// A file could not be fetched or stored.
    #[error(transparent)]
    Transfer(#[from] crate::transfer::TransferError),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl StoreError {
    /// Makes an [`StoreError::Io`] out of what the operating system answered.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> StoreError {
        StoreError::Io { action, path: path.into(), source: source.into() }
    }

    /// Makes a [`StoreError::Format`].
    pub fn format(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Format { context: context.into(), source: source.into() }
    }
}

/// Returns the text of an operating system's error without Rust's "(os error N)".
#[cfg(feature = "http")]
pub(crate) fn without_number(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

fn no_generation(profile: &Path, number: Option<u64>, older: bool) -> String {
    match (number, older) {
        (Some(number), false) => format!("profile version {number} does not exist"),
        (number, _) => format!("no profile version older than the current ({}) exists in {profile:?}", number.unwrap_or(0)),
    }
}

/// Short for results of the half with effects.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Adds action and path to an error of the operating system.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| StoreError::io(action, path, source))
    }
}
