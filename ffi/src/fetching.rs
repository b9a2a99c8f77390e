//! The fetchers that come with the library, for evaluations whose host brought none of its own: those of [`nixlang_store::fetchers`], by the settings.
//!
//! They are made when something is to be fetched, and one thread at a time uses them, as one evaluates.

use std::collections::BTreeMap;
use std::sync::Arc;

use nixlang::host::{FetchRequest, FetchedInput, HostError, HostResult, LockFilePlace, Message};
use nixlang_store::copy::CopyOptions;
use nixlang_store::fetchers::{FetchError, Fetchers, Importance, Observer};
use nixlang_store::input::{Attrs, Input};
use nixlang_store::make_content_addressed::make_content_addressed;
use nixlang_store::open::{OpenObserver, Opener, fetch_url, is_pseudo_url};
use nixlang_store::path::StorePath;
use nixlang_store::references::SelfReferenceRule;
use nixlang_store::store::Store;
use parking_lot::Mutex;

use crate::host::{MessageSink, failed};
use crate::settings::Settings;

/// Gives what fetchers say to the host, as warnings.
struct Said(Option<Arc<MessageSink>>);

impl Said {
    fn say(&self, text: &str) {
        match &self.0 {
            Some(sink) => nixlang::heap::on_host_stack(|| sink(Message::Warning, text)),
            None => eprintln!("warning: {text}"),
        }
    }
}

impl Observer for Said {
    fn warn(&self, message: &str) {
        self.say(message);
    }
    fn error(&self, message: &str) {
        self.say(message);
    }
    fn message(&self, _importance: Importance, _message: &str) {}
}

impl OpenObserver for Said {
    fn warn(&self, message: &str) {
        self.say(message);
    }
}

/// Fetchers, made when they are needed.
pub(crate) struct BuiltInFetchers {
    opener: Opener,
    said: Arc<Said>,
    fetchers: Mutex<Option<Fetchers>>,
    /// What was fetched already.
    fetched: Mutex<BTreeMap<Input, FetchedInput>>,
}

fn fetch_error(error: FetchError) -> HostError {
    match error {
        FetchError::While { message, source } => HostError::While { message, error: Box::new(fetch_error(*source)) },
        FetchError::HashMismatch { message } => HostError::HashMismatch { message },
        error => failed(&error),
    }
}

/// Whether a search path entry has to be fetched.
pub(crate) fn is_fetched(entry: &str) -> bool {
    is_pseudo_url(entry) || entry.starts_with("flake:")
}

/// Fetches for `fetchurl` and `fetchTarball`.
pub(crate) fn fetch(fetchers: &Fetchers, store: &dyn Store, request: &FetchRequest) -> HostResult<StorePath> {
    fetch_url(fetchers, store, &request.url, &request.name, request.unpack, request.sha256).map_err(fetch_error)
}

impl BuiltInFetchers {
    /// Returns fetchers with these settings.
    pub(crate) fn new(settings: &Settings, messages: Option<Arc<MessageSink>>) -> BuiltInFetchers {
        let said = Arc::new(Said(messages));
        let opener = Opener::new(Arc::new(settings.clone())).observer(said.clone());
        BuiltInFetchers { opener, said, fetchers: Mutex::default(), fetched: Mutex::default() }
    }

    /// Runs `body` with the fetchers.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&Fetchers) -> R) -> R {
        body(self.fetchers.lock().get_or_insert_with(|| self.opener.fetchers(self.said.clone())))
    }

    /// See [`Host::fetch_input`](nixlang::host::Host::fetch_input).
    pub(crate) fn fetch_input(&self, store: &dyn Store, input: &Input) -> HostResult<FetchedInput> {
        if let Some(known) = self.fetched.lock().get(input) {
            return Ok(known.clone());
        }
        let fetched = self.with(|fetchers| fetchers.fetch(store, input)).map_err(fetch_error)?;
        let fetched = FetchedInput { store_path: fetched.path, input: fetched.input, fingerprint: fetched.fingerprint, shown: fetched.shown };
        self.fetched.lock().insert(input.clone(), fetched.clone());
        Ok(fetched)
    }

    /// See [`Host::lock_file`](nixlang::host::Host::lock_file).
    pub(crate) fn lock_file(&self, input: &Input, path: &str) -> HostResult<Option<LockFilePlace>> {
        let root = self.with(|fetchers| fetchers.working_copy(input)).map_err(fetch_error)?;
        Ok(root.map(|root| {
            let file = root.join(path);
            LockFilePlace { exists: file.symlink_metadata().is_ok(), path: file.display().to_string() }
        }))
    }

    /// See [`Host::write_lock_file`](nixlang::host::Host::write_lock_file).
    pub(crate) fn write_lock_file(&self, input: &Input, path: &str, text: &[u8], commit_message: Option<&str>) -> HostResult<()> {
        self.with(|fetchers| fetchers.put_file(input, path, text, commit_message)).map_err(fetch_error)
    }

    /// See [`Host::forget_fetched`](nixlang::host::Host::forget_fetched).
    pub(crate) fn forget(&self) {
        self.fetched.lock().clear();
        if let Some(fetchers) = &*self.fetchers.lock() {
            fetchers.forget_working_trees();
        }
    }

    /// See [`Host::resolve_input`](nixlang::host::Host::resolve_input).
    pub(crate) fn resolve_input(&self, store: &dyn Store, input: &Input, only_fixed: bool) -> HostResult<(Input, Attrs)> {
        let registries = self.with(|fetchers| self.opener.registries(fetchers, store, &*self.said)).map_err(fetch_error)?;
        registries.resolve(input, only_fixed).map_err(fetch_error)
    }

    /// See [`Host::fetch_search_path_entry`](nixlang::host::Host::fetch_search_path_entry).
    pub(crate) fn search_path_entry(&self, store: &dyn Store, entry: &str) -> HostResult<Option<Vec<u8>>> {
        let found = self.with(|fetchers| {
            let registries = || self.opener.registries(fetchers, store, &*self.said);
            self.opener.search_path_entry(fetchers, store, entry, &registries, &*self.said)
        });
        let found = found.map_err(fetch_error)?;
        Ok(found.map(|path| store.store_dir().display(&path).into_bytes()))
    }

    /// See [`Host::copy_closure`](nixlang::host::Host::copy_closure).
    pub(crate) fn copy_closure(&self, store: &dyn Store, address: &str, path: &StorePath, check_signatures: bool) -> HostResult<()> {
        let from = self.opener.cache(store.store_dir(), address).map_err(|error| failed(&error))?.cache;
        let missing = Store::closure(&*from, std::slice::from_ref(path)).map_err(|error| failed(&error))?;
        let mut options = CopyOptions::default();
        options.check_signatures = check_signatures;
        nixlang_store::copy::copy(&*from, store, &missing, &options, &()).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// See [`Host::rewrite_closure`](nixlang::host::Host::rewrite_closure).
    pub(crate) fn rewrite_closure(&self, store: &dyn Store, address: &str, path: &StorePath) -> HostResult<StorePath> {
        let from = self.opener.cache(store.store_dir(), address).map_err(|error| failed(&error))?.cache;
        let rewritten = make_content_addressed(&*from, store, std::slice::from_ref(path), SelfReferenceRule::default()).map_err(|error| failed(&error))?;
        rewritten.get(path).cloned().ok_or_else(|| HostError::Failed { message: format!("path '{}' is not valid", store.store_dir().display(path)) })
    }
}
