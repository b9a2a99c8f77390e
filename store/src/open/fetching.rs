//! Fetchers as the settings have them, and what `fetchurl` and `fetchTarball` of the language ask of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Opener;
use crate::fetchers::{FetchError, FetchResult, Fetchers, Observer, Options, Registries, Registry};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::{Attr, Attrs, Input, Reader, feature_message, parse_reference};
use crate::path::StorePath;
use crate::store::Store;

impl Opener {
    /// Returns fetchers for one evaluation or command. What they say goes to `observer`.
    pub fn fetchers(&self, observer: Arc<dyn Observer>) -> Fetchers {
        let configuration = self.configuration();
        let tokens = configuration.list("access-tokens");
        let access_tokens: BTreeMap<String, String> =
            tokens.iter().filter_map(|entry| entry.split_once('=')).map(|(host, token)| (host.to_owned(), token.to_owned())).collect();
        let options = Options {
            cache_dir: configuration.cache_dir(),
            ttl: configuration.integer("tarball-ttl"),
            allow_dirty: configuration.is_on("allow-dirty"),
            warn_dirty: configuration.is_on("warn-dirty"),
            access_tokens,
            clone_local: configuration.variable("_NIX_FORCE_HTTP").is_some_and(|value| value == "1"),
        };
        Fetchers::new(options, self.transport(), observer).interrupt(self.interrupt.clone())
    }

    /// Reads all registries; the one for everybody is fetched if need be.
    ///
    /// # Errors
    /// When that fails.
    pub fn registries(&self, fetchers: &Fetchers, store: &dyn Store, observer: &dyn Observer) -> FetchResult<Registries> {
        let configuration = self.configuration();
        Ok(Registries {
            flag: Registry::default(),
            user: Registry::read(&configuration.user_config_dir().join("registry.json"), observer),
            system: Registry::read(&configuration.config_dir().join("registry.json"), observer),
            global: fetchers.global_registry(store, &configuration.text("flake-registry"))?,
        })
    }

    /// Reads a flake reference such as `nixpkgs` or `github:NixOS/nixpkgs` and looks it up in registries, which are read if that is needed.
    ///
    /// # Errors
    /// When it makes no sense or no registry has it.
    pub fn resolve_reference(&self, registries: ReadRegistries<'_>, text: &str, observer: &dyn Observer) -> FetchResult<Input> {
        let features = self.configuration().list("experimental-features");
        let has_feature = |feature: &str| features.iter().any(|enabled| enabled == feature);
        let mut dubious = |name: &str| observer.warn(&format!("dubious URI query '{name}' is missing equal sign '=', ignoring"));
        let reader = &mut Reader { has_feature: &has_feature, dubious: &mut dubious };
        let (mut attrs, fragment) = parse_reference(text, false, reader)?;
        if !fragment.is_empty() {
            return Err(FetchError::Refused { message: format!("unexpected fragment '{fragment}' in flake reference '{text}'") });
        }
        attrs.remove("dir");
        let input = Input::from_attrs(attrs, reader)?;
        if input.is_direct() { Ok(input) } else { Ok(registries()?.resolve(&input, false)?.0) }
    }

    /// Fetches what a search path entry stands for that is no path: an archive's address, `channel:NAME` or `flake:REFERENCE`. `None` if it is none of these,
    /// or an archive that can't be had, of which is warned.
    ///
    /// # Errors
    /// When a flake can't be had, or flakes are not switched on.
    pub fn search_path_entry(&self, fetchers: &Fetchers, store: &dyn Store, entry: &str, registries: ReadRegistries<'_>, observer: &dyn Observer) -> FetchResult<Option<StorePath>> {
        if is_pseudo_url(entry) {
            let tarball = fetchers.tarball(store, &resolve_pseudo_url(entry), "source");
            if tarball.is_err() {
                observer.warn(&format!("Nix search path entry '{entry}' cannot be downloaded, ignoring"));
            }
            return Ok(tarball.ok().map(|tarball| tarball.path));
        }
        let Some(reference) = entry.strip_prefix("flake:") else { return Ok(None) };
        if !self.configuration().list("experimental-features").iter().any(|enabled| enabled == "flakes") {
            return Err(FetchError::Refused { message: feature_message("flakes") });
        }
        let resolved = self.resolve_reference(registries, reference, observer)?;
        Ok(Some(fetchers.fetch(store, &resolved)?.path))
    }
}

/// Reads registries: those of [`Opener::registries`], perhaps with entries of a command line before them.
pub type ReadRegistries<'r> = &'r dyn Fn() -> FetchResult<Registries>;

/// Fetches a file, or unpacks an archive, into a store and returns its path, as `fetchurl` and `fetchTarball` do.
///
/// # Errors
/// When it can't be had, or has another hash than `sha256`.
pub fn fetch_url(fetchers: &Fetchers, store: &dyn Store, url: &str, name: &str, unpack: bool, sha256: Option<Hash>) -> FetchResult<StorePath> {
    let (path, got) = if unpack {
        let tarball = fetchers.tarball(store, url, name).map_err(|error| match tarball_name(url) {
            Some(input) => FetchError::While { message: format!("while fetching the input '{input}'"), source: Box::new(error) },
            None => error,
        })?;
        (tarball.path, tarball.nar_hash)
    } else {
        let path = fetchers.download(store, url, name, &[])?.path;
        let info = store.path_info(&path)?;
        let hash = match info.content_address_with_references() {
            Some(content) if content.hash.algorithm() == Algorithm::Sha256 => content.hash,
            _ => Hash::digest(Algorithm::Sha256, &store.read_file(&path)?),
        };
        (path, hash)
    };
    match sha256.filter(|wanted| *wanted != got) {
        None => Ok(path),
        Some(wanted) => {
            let show = |hash: Hash| hash.format(HashFormat::Nix32, true);
            let message = format!("hash mismatch in file downloaded from '{url}':\n  specified: {}\n  got:       {}", show(wanted), show(got));
            Err(FetchError::HashMismatch { message })
        }
    }
}

/// Returns how messages call an archive; not at all if its address is none.
fn tarball_name(url: &str) -> Option<String> {
    let attrs: Attrs = [("type", "tarball"), ("url", url)].map(|(name, text)| (name.to_owned(), Attr::from(text))).into();
    let input = Input::from_attrs(attrs, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} });
    Some(input.ok()?.to_url().ok()?.to_string())
}

/// Returns whether a text stands for an archive elsewhere.
pub fn is_pseudo_url(text: &str) -> bool {
    text.starts_with("channel:")
        || text.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "file" | "channel" | "git" | "s3" | "ssh"))
}

/// Returns the address that a text stands for: `channel:NAME` is one of the channels' archives.
pub fn resolve_pseudo_url(text: &str) -> String {
    match text.strip_prefix("channel:") {
        Some(channel) => format!("https://channels.nixos.org/{channel}/nixexprs.tar.xz"),
        None => text.to_owned(),
    }
}
