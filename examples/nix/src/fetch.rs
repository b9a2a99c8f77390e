//! Fetching with this program's settings: what downloads, where the caches are, which registries there are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nixlang::diagnostics::{Diagnostic, Severity};
use nixlang::host::{FetchRequest, HostError, HostResult};
use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::fetchers::{FetchError, FetchResult, Fetchers, Importance, Observer, Options, Registries, Registry};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::input::{Attr, Attrs, Input, Reader, feature_message, parse_reference};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::transfer::http::{Certificates, HttpOptions, HttpTransport};
use nixlang_store::transfer::{Interrupt, Transport};

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;
use crate::ui::{Ui, Verbosity};

/// Shows what fetchers say.
struct Shown(Ui);

impl Observer for Shown {
    fn warn(&self, message: &str) {
        self.0.warn(message);
    }

    fn error(&self, message: &str) {
        self.0.show(&Diagnostic { severity: Severity::Error, ..Diagnostic::warning(message) });
    }

    fn message(&self, importance: Importance, message: &str) {
        let level = match importance {
            Importance::Info => Verbosity::INFO,
            Importance::Talkative => Verbosity::INFO.more(1),
            _ => Verbosity::INFO.more(2),
        };
        self.0.line(level, message);
    }
}

fn interrupt(context: &Context) -> Interrupt {
    let cancel = context.cancel.clone();
    Interrupt::new(move || cancel.is_cancelled())
}

/// Returns what downloads, by the settings and the environment.
pub(crate) fn transport(settings: &Settings) -> Arc<dyn Transport> {
    let env = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty());
    let mut options = HttpOptions::default();
    options.retry.n_attempts = u32::try_from(settings.integer("download-attempts")).unwrap_or(u32::MAX).max(1);
    options.connect_timeout = Some(settings.integer("connect-timeout")).filter(|seconds| *seconds > 0).map(Duration::from_secs);
    options.stall_timeout = Some(settings.integer("stalled-download-timeout")).filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let certificates = [settings.text("ssl-cert-file"), "/etc/ssl/certs/ca-certificates.crt"];
    let certificates = certificates.iter().map(|name| (*name).to_owned());
    let certificates = env(&["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]).into_iter().chain(certificates);
    options.certificates = certificates.filter_map(|file| std::fs::read_to_string(file).ok()).map(Certificates::Text).next();
    let netrc = PathBuf::from(settings.text("netrc-file"));
    options.netrc = netrc.exists().then_some(netrc);
    options.http_proxy = env(&["http_proxy", "all_proxy", "ALL_PROXY"]);
    options.https_proxy = env(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
    options.no_proxy = env(&["no_proxy", "NO_PROXY"]);
    options.user_agent_suffix = settings.text("user-agent-suffix").to_owned();
    Arc::new(HttpTransport::new(options))
}

/// Returns `~/.cache/nix`, or what the environment says instead.
pub(crate) fn cache_dir() -> PathBuf {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    env("NIX_CACHE_HOME").unwrap_or_else(|| env("XDG_CACHE_HOME").unwrap_or_else(|| crate::settings::home().join(".cache")).join("nix"))
}

/// Returns fetchers for one evaluation or command.
pub(crate) fn fetchers(context: &Context) -> Outcome<Fetchers> {
    let settings = &context.settings;
    let access_tokens: BTreeMap<String, String> =
        settings.list("access-tokens").filter_map(|entry| entry.split_once('=')).map(|(host, token)| (host.to_owned(), token.to_owned())).collect();
    let options = Options {
        cache_dir: cache_dir(),
        ttl: settings.integer("tarball-ttl"),
        allow_dirty: settings.is_on("allow-dirty"),
        warn_dirty: settings.is_on("warn-dirty"),
        access_tokens,
        clone_local: std::env::var_os("_NIX_FORCE_HTTP").is_some_and(|value| value == "1"),
    };
    Ok(Fetchers::new(options, transport(settings), Arc::new(Shown(context.ui))).interrupt(interrupt(context)))
}

/// Opens a binary cache.
pub(crate) fn open_cache(context: &Context, address: &str) -> Outcome<BinaryCache> {
    let mut options = BinaryCacheOptions::default();
    options.store_dir = context.store.store_dir().clone();
    options.interrupt = interrupt(context);
    Ok(BinaryCache::open(address, transport(&context.settings), options)?)
}

/// Returns the error that an evaluation gets.
pub(crate) fn fetch_error(error: FetchError) -> HostError {
    match error {
        FetchError::While { message, source } => HostError::While { message, error: Box::new(fetch_error(*source)) },
        FetchError::HashMismatch { message } => HostError::HashMismatch { message },
        error => HostError::Failed { message: crate::failure::message(&error) },
    }
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
    let store_error = |error| fetch_error(FetchError::Store(error));
    let (path, got) = if *unpack {
        let tarball = fetchers.tarball(store, url, name).map_err(|error| {
            let error = fetch_error(error);
            match tarball_name(url) {
                Some(input) => HostError::While { message: format!("while fetching the input '{input}'"), error: Box::new(error) },
                None => error,
            }
        })?;
        (tarball.path, tarball.nar_hash)
    } else {
        let path = fetchers.download(store, url, name, &[]).map_err(fetch_error)?.path;
        let info = store.path_info(&path).map_err(store_error)?;
        let hash = match info.content_address_with_references() {
            Some(content) if content.hash.algorithm() == Algorithm::Sha256 => content.hash,
            _ => Hash::digest(Algorithm::Sha256, &store.read_file(&path).map_err(store_error)?),
        };
        (path, hash)
    };
    match sha256.filter(|wanted| *wanted != got) {
        None => Ok(path),
        Some(wanted) => {
            let show = |hash: Hash| hash.format(HashFormat::Nix32, true);
            let message = format!("hash mismatch in file downloaded from '{url}':\n  specified: {}\n  got:       {}", show(wanted), show(got));
            Err(HostError::HashMismatch { message })
        }
    }
}

/// Returns how messages call an archive; not at all if its address is none.
fn tarball_name(url: &str) -> Option<String> {
    let attrs: Attrs = [("type", "tarball"), ("url", url)].map(|(name, text)| (name.to_owned(), Attr::from(text))).into();
    let input = Input::from_attrs(attrs, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} });
    Some(input.ok()?.to_url().ok()?.to_string())
}

/// Whether a text stands for an archive elsewhere.
pub(crate) fn is_pseudo_url(text: &str) -> bool {
    text.starts_with("channel:")
        || text.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "file" | "channel" | "git" | "s3" | "ssh"))
}

/// Returns the address that a text stands for.
pub(crate) fn resolve_pseudo_url(text: &str) -> String {
    match text.strip_prefix("channel:") {
        Some(channel) => format!("https://channels.nixos.org/{channel}/nixexprs.tar.xz"),
        None => text.to_owned(),
    }
}

/// Reads all registries.
pub(crate) fn registries(context: &Context, fetchers: &Fetchers, store: &dyn Store) -> FetchResult<Registries> {
    let shown = Shown(context.ui);
    let system = std::env::var_os("NIX_CONF_DIR").map_or_else(|| PathBuf::from("/etc/nix"), PathBuf::from);
    Ok(Registries {
        flag: Registry::default(),
        user: Registry::read(&crate::settings::config_dir().join("registry.json"), &shown),
        system: Registry::read(&system.join("registry.json"), &shown),
        global: fetchers.global_registry(store, context.settings.text("flake-registry"))?,
    })
}

/// A flake reference of the command line, and what it turned out to be.
pub(crate) struct Resolved {
    /// What to fetch.
    pub(crate) input: Input,
    /// Attributes that belong to the flake and not to fetching it.
    pub(crate) extra: Attrs,
}

/// Reads a flake reference and looks it up in all registries.
pub(crate) fn resolve(context: &Context, fetchers: &Fetchers, store: &dyn Store, text: &str, require_tree: bool) -> FetchResult<Resolved> {
    let has_feature = |feature: &str| context.settings.list("experimental-features").any(|enabled| enabled == feature);
    let mut dubious = |name: &str| context.ui.warn(format!("dubious URI query '{name}' is missing equal sign '=', ignoring"));
    let reader = &mut Reader { has_feature: &has_feature, dubious: &mut dubious };
    let (mut attrs, fragment) = parse_reference(text, require_tree, reader)?;
    if !fragment.is_empty() {
        return Err(FetchError::Refused { message: format!("unexpected fragment '{fragment}' in flake reference '{text}'") });
    }
    let mut extra: Attrs = attrs.remove_entry("dir").into_iter().collect();
    let mut input = Input::from_attrs(attrs, reader)?;
    if !input.is_direct() {
        let (resolved, of_registry) = registries(context, fetchers, store)?.resolve(&input, false)?;
        input = resolved;
        if extra.is_empty() {
            extra = of_registry;
        }
    }
    Ok(Resolved { input, extra })
}

/// Returns the path of a search path entry that is no path.
pub(crate) fn search_path_entry(context: &Context, fetchers: &Fetchers, store: &dyn Store, entry: &str) -> HostResult<Option<Vec<u8>>> {
    let path = if is_pseudo_url(entry) {
        match fetchers.tarball(store, &resolve_pseudo_url(entry), "source") {
            Ok(tarball) => tarball.path,
            Err(_) => {
                context.ui.warn(format!("Nix search path entry '{entry}' cannot be downloaded, ignoring"));
                return Ok(None);
            }
        }
    } else if let Some(reference) = entry.strip_prefix("flake:") {
        if !context.settings.list("experimental-features").any(|enabled| enabled == "flakes") {
            return Err(HostError::Failed { message: feature_message("flakes") });
        }
        let resolved = resolve(context, fetchers, store, reference, true).map_err(fetch_error)?;
        fetchers.fetch(store, &resolved.input).map_err(fetch_error)?.path
    } else {
        return Ok(None);
    };
    Ok(Some(store.store_dir().display(&path).into_bytes()))
}
