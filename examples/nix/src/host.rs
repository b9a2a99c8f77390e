//! What an evaluation sees of the world: this process's files and environment, the store, and builds for import from derivation.
//!
//! The surprising part: in a rooted store a path says `/nix/store/…` and the file is elsewhere. Only here one becomes the other.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nixlang::diagnostics::{Diagnostic, Severity};
use nixlang::host::{FetchRequest, FetchedInput, FileType, Host, HostError, HostResult, LockFilePlace, Message, OsHost, SourceToAdd, WantedOutput, compute_source_path, compute_text_path};
use nixlang_build::CancelToken;
use nixlang_store::copy::CopyOptions;
use nixlang_store::derivation::Derivation;
use nixlang_store::fetchers::{Fetchers, Registries};
use nixlang_store::input::{Attrs, Input};
use nixlang_store::make_content_addressed::make_content_addressed;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::{Addressing, Contents, Text};

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::realising::Realising;
use crate::fetch::fetch_error;
use crate::ui::Verbosity;

/// Derivations that are still to be written. Writing many at once takes a hundredth of the time.
#[derive(Default)]
pub(crate) struct Pending {
    texts: Mutex<Vec<PendingText>>,
}

struct PendingText {
    name: String,
    contents: Vec<u8>,
    references: BTreeSet<StorePath>,
}

/// Derivations that are written at once.
const MAX_PENDING: usize = 2000;

impl Pending {
    /// Writes what is pending. Everything that asks the store a question comes after this.
    pub(crate) fn flush(&self, context: &Context) -> Outcome<()> {
        let pending = std::mem::take(&mut *self.texts.lock().unwrap_or_else(PoisonError::into_inner));
        if pending.is_empty() {
            return Ok(());
        }
        let texts: Vec<Text<'_>> = pending
            .iter()
            .map(|text| Text { name: &text.name, contents: &text.contents, references: text.references.clone() })
            .collect();
        context.eval_store().any()?.add_texts(&texts)?;
        Ok(())
    }

    /// Adds a text. Returns how many there are.
    fn push(&self, text: PendingText) -> usize {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.push(text);
        texts.len()
    }
}

/// See the file's comment.
pub(crate) struct StoreHost {
    context: Arc<Context>,
    pending: Arc<Pending>,
    files: OsHost,
    real_store_dir: Option<Vec<u8>>,
    /// Whether only store paths may be read.
    pure: bool,
    /// Whether what is added is really written.
    read_write: bool,
    /// Whether what should be written can't be.
    refuses: bool,
    /// What was fetched by this evaluation: address, name, whether unpacked.
    fetched: RefCell<HashMap<(String, String, bool), StorePath>>,
    /// Read when something is to be looked up.
    registries: OnceCell<Registries>,
    /// Made when something is to be fetched.
    fetchers: OnceCell<Fetchers>,
    realising: Realising,
}

impl StoreHost {
    /// Returns the host for one evaluation.
    pub(crate) fn new(context: Arc<Context>, pending: Arc<Pending>, pure: bool, read_write: bool) -> StoreHost {
        let files = OsHost { store_dir: context.eval_store().store_dir().clone() };
        let real_store_dir = context.eval_store().real_store_dir().map(|path| path.into_os_string().into_vec());
        let refuses = read_write && context.eval_store.as_ref().is_some_and(|store| store.is_dummy());
        let read_write = read_write && !context.eval_store().is_dummy();
        let n_at_once = crate::building::options_of(&context.settings, &context.helper).map_or(1, |options| options.max_jobs);
        let realising = Realising::new(n_at_once, &context.cancel.token());
        StoreHost { context, pending, files, real_store_dir, pure, read_write, refuses, fetched: RefCell::default(), registries: OnceCell::new(), fetchers: OnceCell::new(), realising }
    }

    /// Returns where the file of a path really is. `is_reading` when it is more than a question whether it is there.
    fn locate(&self, path: &[u8], is_reading: bool) -> HostResult<Vec<u8>> {
        let store_dir = self.files.store_dir.as_str().as_bytes();
        let below = path.strip_prefix(store_dir).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        match (below, &self.real_store_dir) {
            (Some(rest), Some(real)) => {
                let located = [real, rest].concat();
                // What is not in a store rooted elsewhere may be in the directory that its paths name.
                let is_here = |path: &[u8]| Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok();
                Ok(if !self.pure && !is_here(&located) && is_here(path) { path.to_vec() } else { located })
            }
            (None, _) if self.pure && is_reading => {
                let path = String::from_utf8_lossy(path);
                let message = format!("access to absolute path '{path}' is forbidden in pure evaluation mode (use '--impure' to override)");
                Err(HostError::Forbidden { message })
            }
            _ => Ok(path.to_vec()),
        }
    }

    /// Whether a path is a directory on the way to the store, which need not exist on this machine.
    fn leads_to_store(&self, path: &[u8]) -> bool {
        let store_dir = self.files.store_dir.as_str().as_bytes();
        store_dir.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/") || path == b"/" || rest.is_empty())
    }

    /// Returns the store to fetch into. Without one that keeps anything it is found out what can be fetched, and no more.
    fn fetch_store(&self) -> HostResult<Arc<dyn nixlang_store::store::Store>> {
        if self.context.eval_store().is_dummy() {
            return Ok(Arc::new(nixlang_store::memory::MemoryStore::new(self.store_dir().clone())));
        }
        Ok(Arc::clone(self.store()?))
    }

    fn must_keep(&self) -> HostResult<()> {
        if self.context.eval_store().is_dummy() {
            return Err(HostError::Failed { message: "operation 'addToStore' is not supported by store 'dummy://'".into() });
        }
        Ok(())
    }

    fn fetchers(&self) -> HostResult<&Fetchers> {
        if self.fetchers.get().is_none() {
            let _ = self.fetchers.set(crate::fetch::fetchers(&self.context));
        }
        Ok(self.fetchers.get().expect("it was set above"))
    }

    /// Makes everything ready for builds during the evaluation.
    fn prepare_realising(&self, outputs: &[WantedOutput]) -> HostResult<()> {
        if !self.context.settings.is_on("allow-import-from-derivation") {
            let first = outputs.first().map(|output| self.store_dir().display(&output.derivation)).unwrap_or_default();
            let message = format!("cannot build '{first}' during evaluation because the option 'allow-import-from-derivation' is disabled");
            return Err(HostError::Forbidden { message });
        }
        if self.context.settings.is_on("trace-import-from-derivation")
            && let Some(first) = outputs.first()
        {
            let shown = format!("{}^{}", self.store_dir().display(&first.derivation), first.output);
            self.context.ui.warn(format!("built '{shown}' during evaluation due to an import from derivation"));
        }
        self.pending.flush(&self.context).map_err(failed)
    }

    /// Returns the store, with everything written that was to be.
    fn store(&self) -> HostResult<&Arc<dyn nixlang_store::store::Store>> {
        self.pending.flush(&self.context).map_err(failed)?;
        self.context.eval_store().open().map_err(failed)
    }
}

/// Returns the error of a missing file with the path that was asked for, and not with where that really is.
fn as_written(error: HostError, path: &[u8]) -> HostError {
    match error {
        HostError::NotFound { .. } => HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() },
        other => other,
    }
}

/// Turns a failure of a command's part into one of the host.
fn failed(failure: Failure) -> HostError {
    match failure {
        Failure::Shown(diagnostic) => HostError::Failed { message: diagnostic.message },
        Failure::Usage(message) => HostError::Failed { message },
        Failure::Status(_) | Failure::BrokenPipe => HostError::Failed { message: "interrupted by the user".into() },
    }
}

fn store_error(error: nixlang_store::error::StoreError) -> HostError {
    HostError::Failed { message: crate::failure::message(&error) }
}

/// Builds outputs, and brings them to where the evaluation reads.
fn realise(context: &Context, outputs: &[WantedOutput], cancel: &CancelToken) -> HostResult<Vec<StorePath>> {
    let paths = crate::building::realise(context, outputs, cancel).map_err(failed)?;
    if context.eval_store.is_some() {
        let (from, to) = (context.store.any().map_err(failed)?, context.eval_store().any().map_err(failed)?);
        let closure = from.closure(&paths).map_err(store_error)?;
        nixlang_store::copy::copy(&*from, &*to, &closure, &CopyOptions::default(), &()).map_err(store_error)?;
    }
    Ok(paths)
}

impl Host for StoreHost {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.files.read_file(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        self.files.read_dir(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        if self.leads_to_store(path) {
            return Ok(Some(FileType::Directory));
        }
        self.files.file_type(&self.locate(path, self.pure)?)
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.files.read_link(&self.locate(path, true)?).map_err(|error| as_written(error, path))
    }

    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
        if self.pure {
            return None;
        }
        let own = std::str::from_utf8(name).ok().and_then(|name| self.context.common.variables.get(name));
        own.map(|value| value.clone().into_bytes()).or_else(|| self.files.env_var(name))
    }

    fn current_time(&self) -> i64 {
        self.files.current_time()
    }

    fn store_dir(&self) -> &StoreDir {
        &self.files.store_dir
    }

    fn add_source(&self, source: SourceToAdd<'_>) -> HostResult<StorePath> {
        if !self.read_write {
            return compute_source_path(self.store_dir(), source);
        }
        let expected = source.expected;
        let algorithm = expected.map_or(nixlang_store::hash::Algorithm::Sha256, |hash| hash.algorithm());
        let (name, method, references) = (source.name, source.method, source.references.clone());
        let dump = source.dump;
        // Hashing is much cheaper than writing, and mostly the path is there already.
        let path = compute_source_path(self.store_dir(), SourceToAdd { name, method, expected, references: &references, dump })?;
        let store = self.store()?;
        store.add_temp_roots(std::slice::from_ref(&path)).map_err(store_error)?;
        if store.is_valid(&path).map_err(store_error)? {
            return Ok(path);
        }
        let mut file = tempfile::tempfile().map_err(|error| HostError::Failed { message: format!("cannot make a temporary file: {error}") })?;
        let write = |error: std::io::Error| HostError::Failed { message: format!("copying '{name}' to the store: {}", crate::failure::plain(&error)) };
        dump(&mut file).map_err(write)?;
        std::io::Seek::rewind(&mut file).map_err(write)?;
        let addressing = Addressing { name, method, algorithm, references };
        use nixlang_store::content_address::ContentAddressMethod;
        let info = if matches!(method, ContentAddressMethod::Flat | ContentAddressMethod::Text) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).map_err(write)?;
            store.add_contents(&addressing, Contents::Bytes(&bytes))
        } else {
            store.add_contents(&addressing, Contents::Nar(&mut file))
        };
        let added = info.map_err(store_error)?.path;
        if added != path {
            return Err(HostError::Failed { message: format!("'{name}' changed while it was copied to the store") });
        }
        Ok(added)
    }

    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath> {
        if !self.read_write {
            return compute_text_path(self.store_dir(), name, contents, references);
        }
        self.store()?.add_text(name, contents, references).map_err(store_error)
    }

    fn add_derivation(&self, derivation: &Derivation, _path: &StorePath, contents: &[u8]) -> HostResult<()> {
        if self.refuses {
            return Err(HostError::Failed { message: "operation 'writeDerivation' is not supported by store 'dummy://'".into() });
        }
        if self.read_write {
            let text = PendingText { name: format!("{}.drv", derivation.name), contents: contents.to_vec(), references: derivation.references() };
            if self.pending.push(text) >= MAX_PENDING {
                self.pending.flush(&self.context).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation> {
        self.store()?.read_derivation(path).map_err(store_error)
    }

    fn realise(&self, outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>> {
        self.prepare_realising(outputs)?;
        realise(&self.context, outputs, &self.context.cancel.token())
    }

    fn begin_realise(&self, outputs: &[WantedOutput]) -> HostResult<Option<Vec<StorePath>>> {
        self.prepare_realising(outputs)?;
        let context = Arc::clone(&self.context);
        self.realising.begin(outputs, move |outputs, cancel| realise(&context, outputs, cancel))
    }

    fn await_realised(&self) {
        self.realising.wait();
    }

    fn ensure_path(&self, path: &StorePath) -> HostResult<()> {
        if !self.read_write && !self.context.eval_store().exists() {
            return self.files.ensure_path(path);
        }
        if self.store()?.is_valid(path).map_err(store_error)? {
            return Ok(());
        }
        if !self.read_write {
            return Err(HostError::Failed { message: format!("path '{path}' is not valid") });
        }
        Err(HostError::Failed { message: format!("path '{}' does not exist and cannot be created", self.store_dir().display(path)) })
    }

    fn is_valid(&self, path: &StorePath) -> bool {
        self.context.eval_store().exists() && self.store().is_ok_and(|store| store.is_valid(path).unwrap_or(false))
    }

    fn closure(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        self.store()?.closure(std::slice::from_ref(path)).map_err(store_error)
    }

    fn references(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>> {
        let info = self.store()?.query_path_info(path).map_err(store_error)?;
        Ok(info.map(|info| info.references.clone()).unwrap_or_default())
    }

    fn fetch(&self, request: &FetchRequest) -> HostResult<StorePath> {
        let key = (request.url.clone(), request.name.clone(), request.unpack);
        if let Some(path) = self.fetched.borrow().get(&key) {
            return Ok(path.clone());
        }
        let path = crate::fetch::fetch(self.fetchers()?, &*self.fetch_store()?, request)?;
        self.must_keep()?;
        self.fetched.borrow_mut().insert(key, path.clone());
        Ok(path)
    }

    fn fetch_input(&self, input: &Input) -> HostResult<FetchedInput> {
        let known = || self.context.flakes.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(input) {
            return Ok(known.clone());
        }
        let fetched = self.fetchers()?.fetch(&*self.fetch_store()?, input).map_err(fetch_error)?;
        self.must_keep()?;
        let fetched = FetchedInput { store_path: fetched.path, input: fetched.input, fingerprint: fetched.fingerprint, shown: fetched.shown };
        known().insert(input.clone(), fetched.clone());
        Ok(fetched)
    }

    fn resolve_input(&self, input: &Input, only_fixed: bool) -> HostResult<(Input, Attrs)> {
        if self.registries.get().is_none() {
            let _ = self.registries.set(crate::fetch::registries(&self.context, self.fetchers()?, &**self.store()?).map_err(fetch_error)?);
        }
        self.registries.get().expect("it was set above").resolve(input, only_fixed).map_err(fetch_error)
    }

    fn missing_in_working_copy(&self, root: &str, path: &str) -> String {
        match Path::new(root).join(path).symlink_metadata() {
            Ok(_) => format!(
                "Path '{path}' in the repository \"{root}\" is not tracked by Git.\n\nTo make it visible to Nix, run:\n\ngit -C \"{root}\" add \"{path}\""
            ),
            Err(_) => format!("Path '{path}' does not exist in Git repository \"{root}\"."),
        }
    }

    fn debug(&self, text: &str) {
        self.context.ui.line(Verbosity::DEBUG, text);
    }

    fn forget_fetched(&self) {
        self.context.flakes.forget();
        if let Some(fetchers) = self.fetchers.get() {
            fetchers.forget_working_trees();
        }
    }

    fn lock_file(&self, input: &Input, path: &str) -> HostResult<Option<LockFilePlace>> {
        let root = self.fetchers()?.working_copy(input).map_err(fetch_error)?;
        Ok(root.map(|root| {
            let file = root.join(path);
            LockFilePlace { exists: file.symlink_metadata().is_ok(), path: file.display().to_string() }
        }))
    }

    fn write_lock_file(&self, input: &Input, path: &str, text: &[u8], commit_message: Option<&str>) -> HostResult<()> {
        self.fetchers()?.put_file(input, path, text, commit_message).map_err(fetch_error)
    }

    fn write_file(&self, path: &str, text: &[u8]) -> HostResult<()> {
        std::fs::write(path, text).map_err(|error| HostError::Failed { message: format!("opening file \"{path}\": {}", crate::failure::plain(&error)) })
    }

    fn fetch_search_path_entry(&self, entry: &str) -> HostResult<Option<Vec<u8>>> {
        crate::fetch::search_path_entry(&self.context, self.fetchers()?, &**self.store()?, entry)
    }

    fn check_closure_store(&self, address: &str) -> HostResult<()> {
        let is_test = address.starts_with("file://") && self.files.env_var(b"_NIX_IN_TEST").is_some();
        if is_test || address.starts_with("http://") || address.starts_with("https://") {
            return Ok(());
        }
        Err(HostError::Failed { message: "'fetchClosure' only supports http:// and https:// stores".into() })
    }

    fn copy_closure(&self, address: &str, path: &StorePath) -> HostResult<()> {
        let from = crate::fetch::open_cache(&self.context, address).map_err(failed)?;
        let to = self.store()?;
        let missing = nixlang_store::store::Store::closure(&*from, std::slice::from_ref(path)).map_err(store_error)?;
        let mut options = CopyOptions::default();
        options.check_signatures = self.context.settings.is_on("require-sigs");
        nixlang_store::copy::copy(&*from, &**to, &missing, &options, &()).map_err(store_error)?;
        Ok(())
    }

    fn rewrite_closure(&self, address: &str, path: &StorePath) -> HostResult<StorePath> {
        let from = crate::fetch::open_cache(&self.context, address).map_err(failed)?;
        let rewritten = make_content_addressed(&*from, &**self.store()?, std::slice::from_ref(path), self.store()?.content_rules().self_references()).map_err(store_error)?;
        rewritten.get(path).cloned().ok_or_else(|| HostError::Failed { message: format!("path '{}' is not valid", self.store_dir().display(path)) })
    }

    fn is_content_addressed(&self, path: &StorePath) -> HostResult<bool> {
        let info = self.store()?.path_info(path).map_err(store_error)?;
        let follows = |content| self.store_dir().fixed_output_path(path.name(), &content).is_ok_and(|made| made == *path);
        Ok(info.content_address_with_references().is_some_and(follows))
    }

    fn message(&self, kind: Message, text: &str) {
        let ui = &self.context.ui;
        match kind {
            Message::Trace => ui.line(Verbosity::ERROR, &format!("trace: {text}")),
            Message::EvaluationWarning => ui.show(&Diagnostic { severity: Severity::EvaluationWarning, ..Diagnostic::warning(text) }),
            // Has its places in it, laid out.
            Message::Warning => ui.warn_as_is(text),
        }
    }
}
