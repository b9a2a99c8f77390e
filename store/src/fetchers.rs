//! Fetchers: from an [`Input`] to a tree in a store, and to the input with all that was found out on the way.
//!
//! Every kind has a file below. What is common is here: what was fetched before ([`cache`]), what was asked for compared with what came,
//! and the way into the store. The surprising thing: fetching knows two answers of different strength. A *locked* input (with a commit,
//! or a hash) is looked up for ever; any other is asked for again when it is older than [`Options::ttl`].

pub mod cache;
mod command;
mod download;
mod forge;
mod git;
mod mercurial;
mod path;
pub mod reference;
pub mod registry;
mod tarball;
mod working_copy;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use self::cache::Cache;
pub use self::download::Download;
pub use self::registry::{Registries, Registry};
pub use self::tarball::Tarball;
use crate::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use crate::error::StoreError;
use crate::extract::ExtractError;
use crate::hash::{Algorithm, Hash, HashFormat, Hasher};
use crate::input::{Attr, Attrs, Input, InputError, to_json};
use crate::path::{StoreDir, StorePath};
use crate::store::{Addressing, Contents, Store};
use crate::transfer::{Interrupt, Transport, TransferError};

/// Why something can't be fetched. Messages are the reference's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What came does not hash to what it must. Commands end with status 102.
    #[error("{message}")]
    HashMismatch {
        /// The whole message.
        message: String,
    },
    /// What was asked for is wrong, or does not fit what came.
    #[error("{message}")]
    Refused {
        /// The whole message.
        message: String,
    },
    /// A program that does the work failed or is missing.
    #[error("{message}")]
    Program {
        /// The whole message.
        message: String,
    },
    /// An input is malformed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A download failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An archive can't be unpacked.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The operating system refused something.
    #[error("{action} {path:?}: {source}")]
    Io {
        /// What was tried, as in "opening".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// An error, and what was being done.
    #[error("{source}")]
    While {
        /// As in "while fetching the input 'https://…'".
        message: String,
        /// The error.
        source: Box<FetchError>,
    },
}

/// Short for results of fetching.
pub type FetchResult<T> = Result<T, FetchError>;

impl FetchError {
    fn refused(message: impl Into<String>) -> FetchError {
        FetchError::Refused { message: message.into() }
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> FetchError {
        FetchError::Io { action, path: path.to_owned(), source }
    }

    fn spool(source: io::Error) -> FetchError {
        // A store's error that went through a writer is still a store's error.
        match source.downcast::<StoreError>() {
            Ok(error) => FetchError::Store(error),
            Err(source) => FetchError::io("writing", Path::new("a temporary file"), source),
        }
    }
}

/// What fetchers depend on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clones and the table of what was fetched are: `~/.cache/nix`.
    pub cache_dir: PathBuf,
    /// For how many seconds an answer is good that may change (`tarball-ttl`).
    pub ttl: u64,
    /// Whether a repository with uncommitted changes may be fetched (`allow-dirty`).
    pub allow_dirty: bool,
    /// Whether that is warned of (`warn-dirty`).
    pub warn_dirty: bool,
    /// Tokens by host, or by host and the beginning of a path (`access-tokens`).
    pub access_tokens: BTreeMap<String, String>,
    /// Whether local repositories are cloned like those elsewhere; for tests.
    pub clone_local: bool,
}

/// How important a message is: `-v` levels of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Shown unless somebody wants quiet.
    Notice,
    /// Shown, but not by the new command line on a terminal.
    Info,
    /// Shown with `-v`.
    Talkative,
    /// Shown with `-vv`.
    Chatty,
}

/// Hears what fetchers have to say.
pub trait Observer: Send + Sync {
    /// Something is odd.
    fn warn(&self, message: &str) {
        let _ = message;
    }

    /// Something went wrong that is not the end.
    fn error(&self, message: &str) {
        let _ = message;
    }

    /// Something is being done.
    fn message(&self, importance: Importance, message: &str) {
        let _ = (importance, message);
    }
}

/// An observer that doesn't care.
impl Observer for () {}

/// A tree that was fetched.
#[derive(Clone, Debug)]
pub struct FetchedTree {
    /// Where it is.
    pub path: StorePath,
    /// Its NAR's hash.
    pub nar_hash: Hash,
    /// What was fetched, with commit, times and hash.
    pub input: Input,
    /// What tells the contents from others, if anything does without a look at all of them.
    pub fingerprint: Option<String>,
    /// How messages call its root, if not by its store path: a working tree's directory, or `«URL»`.
    pub shown: Option<String>,
}

/// Fetches. May be shared between threads.
pub struct Fetchers {
    options: Options,
    transport: Arc<dyn Transport>,
    observer: Arc<dyn Observer>,
    interrupt: Interrupt,
    cache: Cache,
    /// What working trees had when they were looked at; they don't change for us while we run.
    worktrees: Mutex<BTreeMap<PathBuf, Arc<git::Worktree>>>,
}

/// Writes a NAR.
type WriteNar<'a> = Box<dyn Fn(&mut dyn Write) -> FetchResult<()> + 'a>;

/// Where a tree comes from.
enum Source<'a> {
    /// It is in the store already.
    Stored(StorePath),
    /// It has to be made.
    Nar(WriteNar<'a>),
}

/// A tree that a kind's fetcher found.
struct Found<'a> {
    source: Source<'a>,
    /// What the NAR's hash is remembered by: two trees with the same are the same.
    fingerprint: Option<String>,
    /// How messages call it.
    shown: String,
}

impl Fetchers {
    /// Makes fetchers that download with `transport`.
    pub fn new(options: Options, transport: Arc<dyn Transport>, observer: Arc<dyn Observer>) -> Fetchers {
        let cache = Cache::new(options.cache_dir.join("fetcher-cache-v4.sqlite"), options.ttl);
        Fetchers { options, transport, observer, interrupt: Interrupt::default(), cache, worktrees: Mutex::default() }
    }

    /// Sets what stops a fetch.
    #[must_use]
    pub fn interrupt(mut self, interrupt: Interrupt) -> Fetchers {
        self.interrupt = interrupt;
        self
    }

    /// Returns the table of what was fetched before.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Fetches an input into a store.
    ///
    /// # Errors
    /// When it can't be had, or isn't what the input says.
    pub fn fetch(&self, store: &dyn Store, input: &Input) -> FetchResult<FetchedTree> {
        let (found, mut locked) = self.find(store, input)?;
        let (path, nar_hash) = self.to_store(store, &found, locked.name())?;
        let shown = nar_hash.format(HashFormat::Sri, true);
        locked.set("narHash", shown.as_str());
        if let Some(wanted) = input.nar_hash()?.filter(|wanted| *wanted != nar_hash) {
            // In this order, as the reference.
            let message = format!("NAR hash mismatch in input '{input}', expected '{shown}' but got '{}'", wanted.format(HashFormat::Sri, true));
            return Err(FetchError::HashMismatch { message });
        }
        let shown = (locked.kind() != "path").then(|| found.shown.trim_end_matches('/').to_owned());
        let fingerprint = fingerprint_of(&locked, found.fingerprint)?;
        Ok(FetchedTree { path, nar_hash, input: locked, fingerprint, shown })
    }

    /// Forgets what working trees had when they were looked at.
    pub fn forget_working_trees(&self) {
        self.worktrees.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let find = || {
            let (found, mut result) = self.find_unchecked(store, input)?;
            result.set("__final", Attr::Bool(true));
            check_locks(input, &mut result)?;
            Ok((found, result))
        };
        find().map_err(|error| FetchError::While { message: format!("while fetching the input '{input}'"), source: Box::new(error) })
    }

    fn find_unchecked<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        // Only of a final input all attributes are known without fetching it.
        if input.is_final()
            && let Some(path) = input.store_path(store.store_dir())?
        {
            store.add_temp_roots(std::slice::from_ref(&path))?;
            if store.is_valid(&path)? {
                return Ok((Found { source: Source::Stored(path), fingerprint: None, shown: format!("«{input}»") }, input.clone()));
            }
        }
        match input.kind() {
            "git" => self.find_git(store, input),
            "hg" => self.find_mercurial(store, input),
            "path" => self.find_path(store, input),
            "file" => self.find_file(store, input),
            "tarball" => self.find_tarball(store, input),
            "github" | "gitlab" | "sourcehut" => self.find_forge(store, input),
            "indirect" => Err(FetchError::refused(format!("indirect input '{input}' cannot be fetched directly"))),
            _ => Err(FetchError::refused(format!("cannot fetch unsupported input '{}'", to_json(input.attrs())))),
        }
    }

    /// Puts a tree into the store. Returns its path and its NAR's hash.
    fn to_store(&self, store: &dyn Store, found: &Found<'_>, name: &str) -> FetchResult<(StorePath, Hash)> {
        let key = found.fingerprint.as_ref().map(|fingerprint| {
            let attrs = [("fingerprint", fingerprint.as_str()), ("method", "nar"), ("path", "/")];
            attrs.map(|(name, text)| (name.to_owned(), Attr::from(text))).into_iter().collect::<Attrs>()
        });
        if let Some(key) = &key
            && let Some(known) = self.cache.lookup("sourcePathToHash", key)
            && let Some(hash) = known.text("hash").and_then(|hash| Hash::parse_sri(hash).ok())
        {
            let path = source_path(store.store_dir(), name, hash)?;
            store.add_temp_roots(std::slice::from_ref(&path))?;
            if store.is_valid(&path)? {
                return Ok((path, hash));
            }
        }
        if let Source::Stored(path) = &found.source
            && path.name() == name
            && let info = store.path_info(path)?
            && source_path(store.store_dir(), name, info.nar_hash)? == *path
        {
            return Ok((path.clone(), info.nar_hash));
        }
        self.observer.message(Importance::Chatty, &format!("copying '{}' to the store", found.shown));
        let (path, hash) = match &found.source {
            Source::Stored(path) => add_nar(store, name, &mut |sink| Ok(store.write_nar(path, sink)?))?,
            Source::Nar(write) => add_nar(store, name, &mut |sink| write(sink))?,
        };
        if let Some(key) = &key {
            let value = [("hash".to_owned(), Attr::from(hash.format(HashFormat::Sri, true)))].into();
            self.cache.upsert("sourcePathToHash", key, &value);
        }
        Ok((path, hash))
    }

    fn worktree(&self, path: &Path, look: impl FnOnce() -> FetchResult<git::Worktree>) -> FetchResult<Arc<git::Worktree>> {
        if let Some(known) = self.worktrees.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(look()?);
        self.worktrees.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}

/// Returns what tells a fetched tree from others of its kind.
fn fingerprint_of(input: &Input, found: Option<String>) -> FetchResult<Option<String>> {
    Ok(match input.kind() {
        "git" => match input.revision_text()? {
            Some(revision) => Some(git::Reading::of(input)?.fingerprint(&revision)),
            None => found,
        },
        "tarball" | "file" => match input.nar_hash()? {
            Some(hash) => Some(hash.format(HashFormat::Sri, true)),
            None => input.revision_text()?,
        },
        "github" | "gitlab" | "sourcehut" | "hg" => input.revision_text()?,
        "path" => found,
        _ => None,
    })
}

/// Returns the path of a tree with this NAR hash.
fn source_path(dir: &StoreDir, name: &str, hash: Hash) -> FetchResult<StorePath> {
    let content = ContentAddressWithReferences { method: ContentAddressMethod::Nar, hash, references: Default::default(), self_reference: false };
    dir.fixed_output_path(name, &content).map_err(|error| FetchError::refused(error.to_string()))
}

/// Adds the tree whose NAR `write` writes. Hashing comes first: most trees are there already.
fn add_nar(store: &dyn Store, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> FetchResult<()>) -> FetchResult<(StorePath, Hash)> {
    let (mut file, hash) = spool(write)?;
    let path = source_path(store.store_dir(), name, hash)?;
    store.add_temp_roots(std::slice::from_ref(&path))?;
    if !store.is_valid(&path)? {
        store.add_contents(&Addressing::source(name), Contents::Nar(&mut file))?;
    }
    Ok((path, hash))
}

/// Writes into an unnamed file, and returns it, at its start, with the hash of what is in it.
fn spool(write: &mut dyn FnMut(&mut dyn Write) -> FetchResult<()>) -> FetchResult<(File, Hash)> {
    let file = tempfile::tempfile().map_err(FetchError::spool)?;
    let mut sink = HashingWriter { inner: BufWriter::with_capacity(1 << 16, file), hasher: Hasher::new(Algorithm::Sha256) };
    write(&mut sink)?;
    let mut file = sink.inner.into_inner().map_err(|error| FetchError::spool(error.into_error()))?;
    file.rewind().map_err(FetchError::spool)?;
    Ok((file, sink.hasher.finish()))
}

/// As [`spool`], buffered for reading.
fn spool_to_read(write: &mut dyn FnMut(&mut dyn Write) -> FetchResult<()>) -> FetchResult<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 16, spool(write)?.0))
}

struct HashingWriter {
    inner: BufWriter<File>,
    hasher: Hasher,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.write_all(&bytes[..n])?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Compares what was asked for with what came.
fn check_locks(specified: &Input, result: &mut Input) -> FetchResult<()> {
    if specified.is_final() {
        let mut specified = specified.clone();
        for input in [&mut specified, &mut *result] {
            // Old lock files have hashes without padding.
            if let Some(hash) = input.nar_hash()? {
                input.set("narHash", hash.format(HashFormat::Sri, true));
            }
        }
        for (name, value) in specified.attrs() {
            if result.attrs().get(name).is_some_and(|other| other != value) {
                let (specified, result) = (to_json(specified.attrs()), to_json(result.attrs()));
                return Err(FetchError::refused(format!("mismatch in field '{name}' of input '{specified}', got '{result}'")));
            }
        }
        *result = specified;
        return Ok(());
    }
    if let Some(wanted) = specified.nar_hash()? {
        let got = result.nar_hash()?;
        if got != Some(wanted) {
            let got = got.map_or_else(|| "none".to_owned(), |hash| format!("'{}'", hash.format(HashFormat::Sri, true)));
            let wanted = wanted.format(HashFormat::Sri, true);
            let message = format!("NAR hash mismatch in input '{specified}', expected '{wanted}' but got {got}");
            return Err(FetchError::HashMismatch { message });
        }
    }
    if let Some(wanted) = specified.number("lastModified")
        && result.number("lastModified") != Some(wanted)
    {
        let got = result.number("lastModified").map_or("-1".to_owned(), |number| number.to_string());
        return Err(FetchError::refused(format!("'lastModified' attribute mismatch in input '{result}', expected {wanted}, got {got}")));
    }
    if let Some(wanted) = specified.revision()?
        && result.revision()? != Some(wanted)
    {
        let wanted = wanted.format(HashFormat::Base16, false);
        return Err(FetchError::refused(format!("'rev' attribute mismatch in input '{result}', expected {wanted}")));
    }
    if let Some(wanted) = specified.number("revCount")
        && result.number("revCount") != Some(wanted)
    {
        return Err(FetchError::refused(format!("'revCount' attribute mismatch in input '{result}', expected {wanted}")));
    }
    Ok(())
}

/// Returns how messages write a path.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
