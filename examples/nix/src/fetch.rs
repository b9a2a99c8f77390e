//! Fetching with this program's settings: what downloads, where the caches are, which registries there are.

use std::sync::Arc;

use nixlang::diagnostics::{Diagnostic, Severity, TraceFrame};
use nixlang::host::{FetchRequest, HostError, HostResult};
use nixlang_store::binary_cache::BinaryCache;
use nixlang_store::fetchers::registry::Entry;
use nixlang_store::fetchers::{FetchError, FetchResult, Fetchers, Importance, Observer, Registries, Registry};
use nixlang_store::input::{Attr, Input};
use nixlang_store::open::{Opener, fetch_url};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::substituter::Substituters;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;
use crate::ui::{Ui, Verbosity};

/// Shows what fetchers say.
pub(crate) struct Shown(pub(crate) Ui);

impl Observer for Shown {
    fn warn(&self, message: &str) {
        self.0.warn(message);
    }

    fn error(&self, message: &str) {
        self.0.show(&Diagnostic { severity: Severity::Error, ..Diagnostic::warning(message) });
    }

    fn message(&self, importance: Importance, message: &str) {
        let level = match importance {
            Importance::Notice => Verbosity::NOTICE,
            Importance::Info => Verbosity::INFO,
            Importance::Talkative => Verbosity::INFO.more(1),
            _ => Verbosity::INFO.more(2),
        };
        self.0.line(level, message);
    }
}

/// Returns what opens caches and fetches with a command's settings.
pub(crate) fn opener(context: &Context) -> Opener {
    crate::store_choice::opener(&context.settings, context.ui, &context.cancel)
}

/// Returns fetchers for one evaluation or command.
pub(crate) fn fetchers(context: &Context) -> Fetchers {
    opener(context).fetchers(Arc::new(Shown(context.ui)))
}

/// Returns who is asked before something is built with these settings, `None` if nobody is.
pub(crate) fn substituters(context: &Context, settings: &Settings) -> Option<Arc<Substituters>> {
    crate::store_choice::opener(settings, context.ui, &context.cancel).substituters(context.store.store_dir())
}

/// Opens a binary cache.
pub(crate) fn open_cache(context: &Context, address: &str) -> Outcome<Arc<BinaryCache>> {
    Ok(opener(context).cache(context.store.store_dir(), address)?.cache)
}

/// Returns the error that an evaluation gets.
pub(crate) fn fetch_error(error: FetchError) -> HostError {
    match error {
        FetchError::While { message, source } => HostError::While { message, error: Box::new(fetch_error(*source)) },
        FetchError::HashMismatch { message } => HostError::HashMismatch { message },
        error => HostError::Failed { message: crate::failure::message(&error) },
    }
}

/// Returns an error with what was being done, for a command that goes on.
pub(crate) fn diagnostic(error: FetchError) -> Diagnostic {
    let mut trace = Vec::new();
    let mut error = error;
    while let FetchError::While { message, source } = error {
        trace.push(TraceFrame { message, place: None, always: false });
        error = *source;
    }
    Diagnostic { trace, ..Diagnostic::error(failed(error).message()) }
}

/// Takes away what was found out only by copying a tree to a store.
pub(crate) fn without_copy(asked: &Input, mut fetched: Input) -> Input {
    let has_own_hash = matches!(fetched.kind(), "tarball" | "file");
    if !has_own_hash && asked.text("narHash").is_none() {
        fetched.remove("narHash");
    }
    fetched
}

/// Returns the error that a command ends with.
pub(crate) fn failed(error: FetchError) -> Failure {
    match error {
        FetchError::While { source, .. } => failed(*source),
        FetchError::HashMismatch { message } => Failure::with_status(message, 102),
        error => Failure::new(crate::failure::message(&error)),
    }
}

/// Fetches a file or archive for `fetchurl` and `fetchTarball`.
pub(crate) fn fetch(fetchers: &Fetchers, store: &dyn Store, request: &FetchRequest) -> HostResult<StorePath> {
    let FetchRequest { url, name, unpack, sha256 } = request;
    fetch_url(fetchers, store, url, name, *unpack, *sha256).map_err(fetch_error)
}

/// Returns what the command line says: `--inputs-from`, then `--override-flake`.
fn flag_registry(context: &Context) -> FetchResult<Registry> {
    let mut registry = context.flakes.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for (from, to) in &context.common.override_flakes {
        let read = |text: &str, allow_missing| {
            crate::flakes::plain_reference(context, text, allow_missing).map_err(|failure| FetchError::Refused { message: failure.message() })
        };
        let (from, to) = (read(from, true)?, read(to, false)?);
        let extra = [("dir".to_owned(), Attr::from(to.subdir.as_str()))].into_iter().filter(|_| !to.subdir.is_empty()).collect();
        registry.entries.push(Entry { from: from.input, to: to.input, extra, is_exact: false });
    }
    Ok(registry)
}

/// Reads all registries.
pub(crate) fn registries(context: &Context, fetchers: &Fetchers, store: &dyn Store) -> FetchResult<Registries> {
    let registries = opener(context).registries(fetchers, store, &Shown(context.ui))?;
    Ok(Registries { flag: flag_registry(context)?, ..registries })
}

/// Returns the path of a search path entry that is no path.
pub(crate) fn search_path_entry(context: &Context, fetchers: &Fetchers, store: &dyn Store, entry: &str) -> HostResult<Option<Vec<u8>>> {
    let found = opener(context).search_path_entry(fetchers, store, entry, &|| registries(context, fetchers, store), &Shown(context.ui)).map_err(fetch_error)?;
    Ok(found.map(|path| store.store_dir().display(&path).into_bytes()))
}
