//! What an evaluation sees of the world when a host embeds the library: files (of the disk or of the host), the environment, an open store, builds for
//! import from derivation, and fetchers that the host brought.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use nixlang::host::{
    FetchRequest, FetchedInput, FileType, Host, HostError, HostResult, LockFilePlace, Message, OsHost, SourceToAdd, WantedOutput, compute_source_path, compute_text_path,
};
use nixlang_store::closure::Follow;
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::Derivation;
use nixlang_store::input::{Attrs, Input};
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::{Addressing, Contents};
use parking_lot::Mutex;

use crate::fetching::{self, BuiltInFetchers};
use crate::settings::Settings;
use crate::store_files::StoreFiles;
use crate::stores::{OpenStore, error_text};

/// Files that an evaluation reads. Paths are absolute and canonical.
pub(crate) trait Files: Send + Sync {
    /// See [`Host::read_file`].
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>>;
    /// See [`Host::read_dir`].
    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>>;
    /// See [`Host::file_type`].
    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>>;
    /// See [`Host::read_link`].
    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>>;
}

/// The files of this machine.
pub(crate) struct DiskFiles(pub(crate) OsHost);

impl Files for DiskFiles {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.0.read_file(path)
    }
    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        self.0.read_dir(path)
    }
    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        self.0.file_type(path)
    }
    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.0.read_link(path)
    }
}

/// Fetches an address: returns the bytes of a file, or an archive's NAR when `unpack`.
pub(crate) type Fetcher = dyn Fn(&FetchRequest) -> HostResult<Fetched> + Send + Sync;

/// What a fetcher of the host gives.
pub(crate) enum Fetched {
    /// The bytes of a file.
    File(Vec<u8>),
    /// A file tree as NAR.
    Nar(Vec<u8>),
}

/// Gets what `builtins.trace`, `builtins.warn` and the evaluator say.
pub(crate) type MessageSink = dyn Fn(Message, &str) + Send + Sync;

/// What a host's evaluation is made of.
pub(crate) struct World {
    pub(crate) store: Arc<OpenStore>,
    pub(crate) settings: Settings,
    pub(crate) files: Arc<dyn Files>,
    /// Whether files are those of this machine, where store paths are found by the store.
    pub(crate) is_disk: bool,
    /// By the scheme of the address.
    pub(crate) fetchers: HashMap<String, Arc<Fetcher>>,
    /// None says it on standard error.
    pub(crate) messages: Option<Arc<MessageSink>>,
    pub(crate) read_write: bool,
    pub(crate) pure: bool,
}

/// The host of one evaluator.
pub(crate) struct EmbeddedHost {
    world: World,
    fetched: Mutex<HashMap<(String, String, bool), StorePath>>,
    built_in: BuiltInFetchers,
    /// For stores whose files are not on this machine's disk.
    in_store: StoreFiles,
}

pub(crate) fn failed(error: &dyn std::error::Error) -> HostError {
    HostError::Failed { message: error_text(error) }
}

impl EmbeddedHost {
    /// Returns the host of a world.
    pub(crate) fn new(world: World) -> EmbeddedHost {
        let built_in = BuiltInFetchers::new(&world.settings, world.messages.clone());
        let in_store = StoreFiles::new(world.store.store.clone());
        EmbeddedHost { world, fetched: Mutex::default(), built_in, in_store }
    }

    fn writes(&self) -> bool {
        self.world.read_write && self.world.store.is_writable
    }

    /// Returns where a path really is. `is_reading` when it is more than a question whether it is there.
    fn locate(&self, path: &[u8], is_reading: bool) -> HostResult<Vec<u8>> {
        let store_dir = self.store_dir().as_str().as_bytes();
        let below = path.strip_prefix(store_dir).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        match (below, &self.world.store.local) {
            (Some(rest), Some(local)) if self.world.is_disk => {
                Ok([&local.layout().real_store_dir.clone().into_os_string().into_vec(), rest].concat())
            }
            (Some(rest), None) if self.world.is_disk => {
                let end = rest.iter().skip(1).position(|byte| *byte == b'/').map_or(rest.len(), |at| at + 1);
                let store_path = StorePath::from_base_name(rest.get(1..end).unwrap_or_default()).ok();
                let real = store_path.and_then(|path| self.world.store.store.real_path(&path));
                Ok(real.map_or_else(|| path.to_vec(), |real| [&real.into_os_string().into_vec(), &rest[end..]].concat()))
            }
            (None, _) if self.world.pure && is_reading => {
                let path = String::from_utf8_lossy(path);
                let message = format!("access to absolute path '{path}' is forbidden in pure evaluation mode (use '--impure' to override)");
                Err(HostError::Forbidden { message })
            }
            _ => Ok(path.to_vec()),
        }
    }

    /// Returns the files of the store, if the path lies in it and they are nowhere on the disk.
    fn in_store(&self, path: &[u8]) -> Option<&StoreFiles> {
        let below = path.strip_prefix(self.store_dir().as_str().as_bytes())?;
        (self.world.is_disk && below.starts_with(b"/") && self.in_store.has(path)).then_some(&self.in_store)
    }

    /// Returns the store that is fetched into.
    fn fetch_store(&self, what: &dyn std::fmt::Display) -> HostResult<&dyn nixlang_store::store::Store> {
        if !self.world.is_disk || !self.world.store.is_writable {
            let message = format!("cannot fetch '{what}': the program that embeds the language gave this evaluation no store to keep it in");
            return Err(HostError::Unsupported { message });
        }
        Ok(&*self.world.store.store)
    }

    fn leads_to_store(&self, path: &[u8]) -> bool {
        let store_dir = self.store_dir().as_str().as_bytes();
        self.world.is_disk && store_dir.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/") || path == b"/" || rest.is_empty())
    }

    fn add(&self, name: &str, fetched: Fetched) -> HostResult<StorePath> {
        let store = &self.world.store.store;
        let (method, contents) = match &fetched {
            Fetched::File(bytes) => (ContentAddressMethod::Flat, bytes),
            Fetched::Nar(bytes) => (ContentAddressMethod::Nar, bytes),
        };
        let addressing = Addressing { method, ..Addressing::source(name) };
        let mut reader = &contents[..];
        let contents = if method == ContentAddressMethod::Flat { Contents::Bytes(contents) } else { Contents::Nar(&mut reader) };
        store.add_contents(&addressing, contents).map(|info| info.path).map_err(|error| failed(&error))
    }
}

/// Returns the error of a missing file with the path that was asked for, and not with where that really is.
fn as_written(error: HostError, path: &[u8]) -> HostError {
    match error {
        HostError::NotFound { .. } => HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() },
        other => other,
    }
}

impl Host for EmbeddedHost {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        if let Some(files) = self.in_store(path) {
            return files.read_file(path);
        }
        self.world.files.read_file(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        if let Some(files) = self.in_store(path) {
            return files.read_dir(path);
        }
        self.world.files.read_dir(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        if self.leads_to_store(path) {
            return Ok(Some(FileType::Directory));
        }
        if let Some(files) = self.in_store(path) {
            return files.file_type(path);
        }
        self.world.files.file_type(&self.locate(path, self.world.pure)?)
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        if let Some(files) = self.in_store(path) {
            return files.read_link(path);
        }
        self.world.files.read_link(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
        if self.world.pure || !self.world.is_disk { None } else { OsHost::default().env_var(name) }
    }

    fn current_time(&self) -> i64 {
        OsHost::default().current_time()
    }

    fn store_dir(&self) -> &StoreDir {
        self.world.store.store.store_dir()
    }

    fn add_source(&self, source: SourceToAdd<'_>) -> HostResult<StorePath> {
        let expected = source.expected;
        let (name, method, references, dump) = (source.name, source.method, source.references.clone(), source.dump);
        let path = compute_source_path(self.store_dir(), SourceToAdd { name, method, expected, references: &references, dump })?;
        let store = &self.world.store.store;
        if !self.writes() || store.is_valid(&path).map_err(|error| failed(&error))? {
            return Ok(path);
        }
        let algorithm = expected.map_or(nixlang_store::hash::Algorithm::Sha256, |hash| hash.algorithm());
        let io = |error: std::io::Error| HostError::Failed { message: format!("copying '{name}' to the store: {error}") };
        let mut file = tempfile::tempfile().map_err(io)?;
        dump(&mut file).map_err(io)?;
        std::io::Seek::rewind(&mut file).map_err(io)?;
        let addressing = Addressing { name, method, algorithm, references };
        let added = if matches!(method, ContentAddressMethod::Flat | ContentAddressMethod::Text) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).map_err(io)?;
            store.add_contents(&addressing, Contents::Bytes(&bytes))
        } else {
            store.add_contents(&addressing, Contents::Nar(&mut file))
        };
        let added = added.map_err(|error| failed(&error))?.path;
        if added != path {
            return Err(HostError::Failed { message: format!("'{name}' changed while it was copied to the store") });
        }
        Ok(added)
    }

    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath> {
        if !self.writes() {
            return compute_text_path(self.store_dir(), name, contents, references);
        }
        self.world.store.store.add_text(name, contents, references).map_err(|error| failed(&error))
    }

    fn add_derivation(&self, derivation: &Derivation, _path: &StorePath, contents: &[u8]) -> HostResult<()> {
        if self.writes() {
            let name = format!("{}.drv", derivation.name);
            self.world.store.store.add_text(&name, contents, &derivation.references()).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation> {
        self.world.store.store.read_derivation(path).map_err(|error| failed(&error))
    }

    fn realise(&self, outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>> {
        if !self.world.settings.is_on("allow-import-from-derivation") {
            let first = outputs.first().map(|output| self.store_dir().display(&output.derivation)).unwrap_or_default();
            let message = format!("cannot build '{first}' during evaluation because the option 'allow-import-from-derivation' is disabled");
            return Err(HostError::Forbidden { message });
        }
        let wanted: Vec<(StorePath, String)> = outputs.iter().map(|wanted| (wanted.derivation.clone(), wanted.output.clone())).collect();
        self.world.store.realise_outputs(&wanted, &self.world.settings).map_err(|message| HostError::Failed { message })
    }

    fn ensure_path(&self, path: &StorePath) -> HostResult<()> {
        if self.is_valid(path) {
            return Ok(());
        }
        let shown = self.store_dir().display(path);
        Err(HostError::Failed { message: format!("path '{shown}' does not exist and cannot be created") })
    }

    fn is_valid(&self, path: &StorePath) -> bool {
        self.world.store.store.is_valid(path).unwrap_or(false)
    }

    fn closure(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        self.world.store.closure(path, Follow::default()).map_err(|message| HostError::Failed { message })
    }

    fn references(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        let info = self.world.store.store.query_path_info(path).map_err(|error| failed(&error))?;
        Ok(info.map(|info| info.references.clone()).unwrap_or_default())
    }

    fn fetch(&self, request: &FetchRequest) -> HostResult<StorePath> {
        let key = (request.url.clone(), request.name.clone(), request.unpack);
        if let Some(path) = self.fetched.lock().get(&key) {
            return Ok(path.clone());
        }
        let scheme = request.url.split(':').next().unwrap_or_default();
        let Some(fetcher) = self.world.fetchers.get(scheme) else {
            let store = self.fetch_store(&request.url)?;
            let path = self.built_in.with(|fetchers| fetching::fetch(fetchers, store, request))?;
            self.fetched.lock().insert(key, path.clone());
            return Ok(path);
        };
        let fetched = nixlang::heap::on_host_stack(|| fetcher(request))?;
        if let Some(wanted) = request.sha256 {
            let bytes = match &fetched {
                Fetched::File(bytes) | Fetched::Nar(bytes) => bytes,
            };
            let found = nixlang_store::hash::Hash::digest(nixlang_store::hash::Algorithm::Sha256, bytes);
            if found != wanted {
                let message = format!("hash mismatch in file downloaded from '{}':\n  specified: {wanted}\n  got:       {found}", request.url);
                return Err(HostError::HashMismatch { message });
            }
        }
        let path = self.add(&request.name, fetched)?;
        self.fetched.lock().insert(key, path.clone());
        Ok(path)
    }

    fn fetch_input(&self, input: &Input) -> HostResult<FetchedInput> {
        let store = self.fetch_store(input)?;
        self.built_in.fetch_input(store, input)
    }

    fn resolve_input(&self, input: &Input, only_fixed: bool) -> HostResult<(Input, Attrs)> {
        let store = self.fetch_store(input)?;
        self.built_in.resolve_input(store, input, only_fixed)
    }

    fn lock_file(&self, input: &Input, path: &str) -> HostResult<Option<LockFilePlace>> {
        self.built_in.lock_file(input, path)
    }

    fn write_lock_file(&self, input: &Input, path: &str, text: &[u8], commit_message: Option<&str>) -> HostResult<()> {
        self.built_in.write_lock_file(input, path, text, commit_message)
    }

    fn write_file(&self, path: &str, text: &[u8]) -> HostResult<()> {
        std::fs::write(path, text).map_err(|error| HostError::Failed { message: format!("opening file \"{path}\": {error}") })
    }

    fn forget_fetched(&self) {
        self.built_in.forget();
    }

    fn fetch_search_path_entry(&self, entry: &str) -> HostResult<Option<Vec<u8>>> {
        if !fetching::is_fetched(entry) {
            return Ok(None);
        }
        let store = self.fetch_store(&entry)?;
        self.built_in.search_path_entry(store, entry)
    }

    fn copy_closure(&self, address: &str, path: &StorePath) -> HostResult<()> {
        let store = self.fetch_store(&address)?;
        self.built_in.copy_closure(store, address, path, self.world.settings.is_on("require-sigs"))
    }

    fn rewrite_closure(&self, address: &str, path: &StorePath) -> HostResult<StorePath> {
        let store = self.fetch_store(&address)?;
        self.built_in.rewrite_closure(store, address, path)
    }

    fn is_content_addressed(&self, path: &StorePath) -> HostResult<bool> {
        let info = self.world.store.store.path_info(path).map_err(|error| failed(&error))?;
        let follows = |content| self.store_dir().fixed_output_path(path.name(), &content).is_ok_and(|made| made == *path);
        Ok(info.content_address_with_references().is_some_and(follows))
    }

    fn message(&self, kind: Message, text: &str) {
        match &self.world.messages {
            Some(sink) => nixlang::heap::on_host_stack(|| sink(kind, text)),
            None => match kind {
                // What others wrote does not get to do something to a terminal.
                _ if text.contains('\x1b') => self.message(kind, &nixlang::diagnostics::filter_escapes(text, false)),
                Message::Trace => eprintln!("trace: {text}"),
                Message::EvaluationWarning => eprintln!("evaluation warning: {text}"),
                Message::Warning => eprintln!("warning: {text}"),
            },
        }
    }
}
