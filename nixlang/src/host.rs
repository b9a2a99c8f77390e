//! `Host`: everything that an evaluation may ask of the world outside. The evaluator opens no file, reads no environment variable
//! and writes no store path itself; so it runs from memory, can be restricted, and everything it read can be recorded.

pub(crate) mod internal;
mod layer;
mod memory;
mod os;
mod recording;
mod restricted;

use std::collections::BTreeSet;
use std::io;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::Derivation;
use nixlang_store::input::{Attrs, Input};
use nixlang_store::path::{StoreDir, StorePath};

pub use layer::HostLayer;
pub use memory::MemoryHost;
pub use os::OsHost;
pub use recording::{Read, Reads, RecordingHost};
pub use restricted::RestrictedHost;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// A regular file; whether its owner may execute it.
    Regular {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Unknown,
}

impl FileType {
    /// Returns the word that `builtins.readFileType` uses.
    pub fn name(self) -> &'static str {
        match self {
            FileType::Regular { .. } => "regular",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Unknown => "unknown",
        }
    }
}

/// Why a host did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such file.
    #[error("path '{path}' does not exist")]
    NotFound {
        /// The path.
        path: String,
    },
    /// Access is not allowed in this mode of evaluation.
    #[error("{message}")]
    Forbidden {
        /// The whole message.
        message: String,
    },
    /// The host cannot do this at all.
    #[error("{message}")]
    Unsupported {
        /// The whole message.
        message: String,
    },
    /// A source does not hash to what it must.
    #[error("the source does not have the hash that it must have")]
    WrongHash,
    /// What was fetched does not hash to what it must. A command that ends with this has exit status 102.
    #[error("{message}")]
    HashMismatch {
        /// The whole message.
        message: String,
    },
    /// It was tried and failed.
    #[error("{message}")]
    Failed {
        /// The whole message.
        message: String,
    },
    /// An error, and what was being done: a frame of the trace.
    #[error("{error}")]
    While {
        /// As in "while fetching the input 'https://…'".
        message: String,
        /// What went wrong.
        error: Box<HostError>,
    },
}

/// What a host's methods return.
pub type HostResult<T> = Result<T, HostError>;

/// An output of a derivation that must exist before evaluation can go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WantedOutput {
    /// The derivation.
    pub derivation: StorePath,
    /// The output's name.
    pub output: String,
}

/// A source to put into the store.
pub struct SourceToAdd<'a> {
    /// Name of the store path.
    pub name: &'a str,
    /// How its content address is computed.
    pub method: ContentAddressMethod,
    /// What it must hash to, if that is known (always SHA-256 here unless this says otherwise).
    pub expected: Option<nixlang_store::hash::Hash>,
    /// Store paths that it refers to.
    pub references: &'a BTreeSet<StorePath>,
    /// Writes the NAR (or the bytes, for flat) of the source. May be called more than once and writes the same each time.
    pub dump: &'a mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
}

/// The world outside of an evaluation. Paths are absolute and in canonical form, and logical: a host that keeps its store elsewhere
/// maps them.
pub trait Host {
    /// Serves `readFile`, `import`, `hashFile` and copying to the store. Follows symbolic links.
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>>;

    /// Serves `readDir` and copying to the store. Returns the entries in any order; the type is `None` where the listing doesn't tell it.
    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>>;

    /// Serves `readFileType`, `pathExists`, `import`. Does not follow a symbolic link at the end. `None` if there is no such file.
    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>>;

    /// Returns the target of a symbolic link.
    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>>;

    /// Serves `getEnv`.
    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>>;

    /// Serves `currentTime`: seconds since 1970.
    fn current_time(&self) -> i64;

    /// Serves the budget of wall time; not asked without one.
    fn now(&self) -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Serves everything that makes store paths.
    fn store_dir(&self) -> &StoreDir;

    /// Serves `path`, `filterSource` and coercion of paths to strings. Returns the source's store path; a host without a writable store
    /// only computes it.
    fn add_source(&self, source: SourceToAdd<'_>) -> HostResult<StorePath>;

    /// Serves `toFile`.
    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath>;

    /// Serves `derivation`: writes the `.drv` file, if there is a writable store. `contents` are its bytes, `path` follows from them.
    fn add_derivation(&self, derivation: &Derivation, path: &StorePath, contents: &[u8]) -> HostResult<()>;

    /// Serves hashing derivations whose inputs were not made by this evaluation, and `import` of a `.drv` file.
    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation>;

    /// Serves import from derivation: builds or fetches outputs, and returns the path of each.
    fn realise(&self, _outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>> {
        Err(no_store("build derivations"))
    }

    /// As [`realise`](Self::realise), but need not wait: `None` says that it goes on in the background, and to ask for the same again later. Only
    /// [`Evaluator::interleaved`](crate::eval::Evaluator::interleaved) asks this way. By default it waits.
    fn begin_realise(&self, outputs: &[WantedOutput]) -> HostResult<Option<Vec<StorePath>>> {
        self.realise(outputs).map(Some)
    }

    /// Waits until something has ended of what [`begin_realise`](Self::begin_realise) left to the background; returns at once if nothing is there.
    fn await_realised(&self) {}

    /// Serves `storePath` and strings with context that are read: makes sure that a store path is there.
    fn ensure_path(&self, path: &StorePath) -> HostResult<()>;

    /// Serves sources with a known hash: whether a store path is there already. No is a safe answer.
    fn is_valid(&self, _path: &StorePath) -> bool {
        false
    }

    /// Serves contexts of whole derivations: the closure of a store path.
    fn closure(&self, _path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        Err(no_store("query references"))
    }

    /// Serves reading of files inside the store: the references of the store object that a path lies in.
    fn references(&self, _path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        Err(no_store("query references"))
    }

    /// Serves `fetchurl` and `fetchTarball`: fetches, checks against `sha256` if given, and returns the store path.
    fn fetch(&self, _request: &FetchRequest) -> HostResult<StorePath> {
        Err(no_store("fetch files"))
    }

    /// Serves `fetchTree`, `fetchGit` and `fetchMercurial`: fetches, checks against what the input says already, and puts the tree into the store.
    fn fetch_input(&self, input: &Input) -> HostResult<FetchedInput> {
        Err(no_store(&format!("fetch '{input}'")))
    }

    /// Serves `fetchTree` of `flake:nixpkgs` and the like, and flakes: returns what the registries have for a name, always a direct input, and
    /// what they say beside (`dir`). `only_fixed` leaves out registries that differ from machine to machine.
    fn resolve_input(&self, input: &Input, _only_fixed: bool) -> HostResult<(Input, Attrs)> {
        Err(HostError::Failed { message: format!("cannot find flake '{input}' in the flake registries") })
    }

    /// Serves flakes: where the lock file of an input would be written, by its path within the tree; none if the tree is not here to be changed.
    fn lock_file(&self, _input: &Input, _path: &str) -> HostResult<Option<LockFilePlace>> {
        Ok(None)
    }

    /// Serves flakes: writes a lock file where [`lock_file`](Host::lock_file) says, and commits it if there is a message.
    fn write_lock_file(&self, input: &Input, path: &str, _text: &[u8], _commit_message: Option<&str>) -> HostResult<()> {
        Err(HostError::Unsupported { message: format!("this evaluation cannot write '{path}' of '{input}'") })
    }

    /// Serves flakes whose lock file goes elsewhere: writes a file, by a path as the user wrote it.
    fn write_file(&self, path: &str, _text: &[u8]) -> HostResult<()> {
        Err(HostError::Unsupported { message: format!("this evaluation cannot write '{path}'") })
    }

    /// Serves errors: says that a tree that was copied from a working copy has no file of this path.
    fn missing_in_working_copy(&self, root: &str, path: &str) -> String {
        format!("path '{root}/{path}' does not exist")
    }

    /// Serves whoever wants to see what changed: forgets which trees were fetched.
    fn forget_fetched(&self) {}

    /// Serves all that fetches: whether an address may be fetched from, which a restricted host doesn't allow of all.
    fn check_address(&self, _address: &str) -> HostResult<()> {
        Ok(())
    }

    /// Serves search path entries that are no paths, such as `channel:nixos-unstable` or `flake:nixpkgs`: returns the path of the fetched tree.
    /// `None` if it can't be had, of which the host warns.
    fn fetch_search_path_entry(&self, _entry: &str) -> HostResult<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Serves `fetchClosure`: whether a store of this address may be copied from.
    fn check_closure_store(&self, address: &str) -> HostResult<()> {
        if address.starts_with("http://") || address.starts_with("https://") {
            return Ok(());
        }
        Err(HostError::Failed { message: "'fetchClosure' only supports http:// and https:// stores".into() })
    }

    /// Serves `fetchClosure`: copies a path and all that it refers to from the store of this address.
    fn copy_closure(&self, address: &str, _path: &StorePath) -> HostResult<()> {
        Err(no_store(&format!("copy from '{address}'")))
    }

    /// Serves `fetchClosure`: as [`copy_closure`](Host::copy_closure), but the copies are content-addressed. Returns the new path.
    fn rewrite_closure(&self, address: &str, _path: &StorePath) -> HostResult<StorePath> {
        Err(no_store(&format!("copy from '{address}'")))
    }

    /// Serves `fetchClosure`: whether a valid path follows from its contents.
    fn is_content_addressed(&self, path: &StorePath) -> HostResult<bool> {
        Err(HostError::Failed { message: format!("path '{}' is not valid", self.store_dir().display(path)) })
    }

    /// Serves whoever looks for what went wrong: says what is being done.
    fn debug(&self, _text: &str) {}

    /// Serves `trace`, `warn` and the evaluator's own warnings: shows a line to the user (without a prefix for [`Message::Trace`]).
    fn message(&self, kind: Message, text: &str);
}

fn no_store(what: &str) -> HostError {
    HostError::Unsupported { message: format!("this evaluation has no store, so it cannot {what}") }
}

/// What [`Host::message`] shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Of `builtins.trace`: shown as `trace: …`.
    Trace,
    /// Of `builtins.warn`: shown as `evaluation warning: …`.
    EvaluationWarning,
    /// Of the evaluator: shown as `warning: …`.
    Warning,
}

/// A tree that was fetched.
#[derive(Clone, Debug)]
pub struct FetchedInput {
    /// Where it is.
    pub store_path: StorePath,
    /// What was fetched, with all that is known of it now: commit, hash, times.
    pub input: Input,
    /// What tells the contents from others, if anything does without a look at all of them.
    pub fingerprint: Option<String>,
    /// How messages call its root, if not by its store path: a working tree's directory, or `«URL»`.
    pub shown: Option<String>,
}

/// Where a lock file is written.
#[derive(Clone, Debug)]
pub struct LockFilePlace {
    /// The file.
    pub path: String,
    /// Whether it is there already.
    pub exists: bool,
}

/// A file or tree to fetch.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// From where.
    pub url: String,
    /// Name of the store path.
    pub name: String,
    /// Whether to unpack an archive.
    pub unpack: bool,
    /// What the result must hash to (flat, or NAR when unpacked).
    pub sha256: Option<nixlang_store::hash::Hash>,
}

/// Returns the store path that a source would have, for hosts without a writable store.
pub fn compute_source_path(store_dir: &StoreDir, source: SourceToAdd<'_>) -> HostResult<StorePath> {
    use nixlang_store::content_address::{ContentAddressMethod, ContentAddressWithReferences};
    use nixlang_store::hash::{Algorithm, Hasher};
    let failed = |e: &dyn std::fmt::Display| HostError::Failed { message: e.to_string() };
    let algorithm = source.expected.map_or(Algorithm::Sha256, |hash| hash.algorithm());
    let mut hasher = Hasher::new(algorithm);
    (source.dump)(&mut hasher).map_err(|e| failed(&e))?;
    let hash = hasher.finish();
    if source.expected.is_some_and(|expected| expected != hash) {
        return Err(HostError::WrongHash);
    }
    if source.method == ContentAddressMethod::Text {
        return store_dir.text_path(source.name, &hash, source.references).map_err(|e| failed(&e));
    }
    let content = ContentAddressWithReferences { method: source.method, hash, references: source.references.clone(), self_reference: false };
    store_dir.fixed_output_path(source.name, &content).map_err(|e| failed(&e))
}

/// Returns the store path that a text would have, for hosts without a writable store.
pub fn compute_text_path(store_dir: &StoreDir, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath> {
    let hash = nixlang_store::hash::Hash::digest(nixlang_store::hash::Algorithm::Sha256, contents);
    store_dir.text_path(name, &hash, references).map_err(|e| HostError::Failed { message: e.to_string() })
}
