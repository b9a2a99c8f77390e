//! Archives by address, unpacked. What is remembered is the tree in the store, not the archive.
//!
//! The reference keeps trees as git objects, in a repository of its own; its entries of the same table are of another domain, and neither
//! sees the other's.

use std::path::Path;

use super::cache::texts;
use super::{FetchError, FetchResult, Fetchers, Found, Importance, Source, add_nar, quoted, source_path};
use crate::extract::Archive;
use crate::hash::{Hash, HashFormat};
use crate::input::url::Url;
use crate::input::{Attr, Attrs, Input, Reader};
use crate::path::StorePath;
use crate::store::Store;

/// The domain of unpacked archives in the table.
const DOMAIN: &str = "unpackedTarball";

/// An archive that was unpacked, now or before.
#[derive(Clone, Debug)]
pub struct Tarball {
    /// The tree in the store.
    pub path: StorePath,
    /// Its NAR's hash.
    pub nar_hash: Hash,
    /// When the youngest file in it was changed, in seconds since 1970.
    pub last_modified: u64,
    /// An address that will always have this archive, if the server names one.
    pub immutable_url: Option<String>,
}

impl Fetchers {
    /// Downloads and unpacks an archive into the store under a name, or returns the tree that is there, if it is young enough or the
    /// server has no other. If the archive has one directory at its top, that is the tree.
    ///
    /// # Errors
    /// When it can't be had or unpacked.
    pub fn tarball(&self, store: &dyn Store, address: &str, name: &str) -> FetchResult<Tarball> {
        let url = Url::parse(address, &mut |_| {})?;
        if url.scheme == "file" {
            check_local(&url)?;
        }
        let key = texts([("url", address)]);
        let known = self.cache.lookup_path(DOMAIN, &key, store)?.and_then(|(entry, path)| {
            let tarball = Tarball {
                path,
                nar_hash: Hash::parse_sri(entry.text("narHash")?).ok()?,
                last_modified: entry.number("lastModified")?,
                immutable_url: entry.text("immutableUrl").map(str::to_owned),
            };
            Some((tarball, entry))
        });
        if let Some((tarball, entry)) = &known
            && !entry.is_expired
        {
            return self.renamed(store, tarball.clone(), name);
        }
        let fetched = self.get(address, &[], known.as_ref().and_then(|(_, entry)| entry.text("etag")))?;
        let (tarball, tag) = match (fetched.file, known) {
            (None, Some((tarball, entry))) => (tarball, entry.text("etag").unwrap_or_default().to_owned()),
            (None, None) => return Err(FetchError::refused(format!("unable to download '{address}': the server answers as if it were here"))),
            (Some(file), _) => {
                self.observer.message(Importance::Info, &format!("unpacking '{address}' into the store..."));
                let mut archive = Archive::read(file, &Default::default())?;
                archive.strip_single_directory();
                let (path, nar_hash) = add_nar(store, name, &mut |sink| Ok(archive.write_nar(false, sink)?))?;
                let tarball = Tarball { path, nar_hash, last_modified: archive.last_modified(), immutable_url: fetched.immutable_url };
                (tarball, fetched.tag)
            }
        };
        let mut value = texts([("etag", &tag), ("narHash", &tarball.nar_hash.format(HashFormat::Sri, true))]);
        value.insert("lastModified".into(), Attr::Number(tarball.last_modified));
        if let Some(url) = &tarball.immutable_url {
            value.insert("immutableUrl".into(), url.as_str().into());
        }
        for url in [address, &fetched.url] {
            self.cache.upsert_path(DOMAIN, &texts([("url", url)]), &value, &tarball.path, store);
        }
        self.renamed(store, tarball, name)
    }

    /// Returns the same tree under another name.
    fn renamed(&self, store: &dyn Store, mut tarball: Tarball, name: &str) -> FetchResult<Tarball> {
        let wanted = source_path(store.store_dir(), name, tarball.nar_hash)?;
        store.add_temp_roots(std::slice::from_ref(&wanted))?;
        if wanted != tarball.path && !store.is_valid(&wanted)? {
            add_nar(store, name, &mut |sink| Ok(store.write_nar(&tarball.path, sink)?))?;
        }
        tarball.path = wanted;
        Ok(tarball)
    }

    pub(super) fn find_tarball<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let tarball = self.tarball(store, input.text("url").unwrap_or_default(), input.name())?;
        if let Some(immutable) = &tarball.immutable_url {
            let mut dubious = |_: &str| {};
            let url = Url::parse(immutable, &mut dubious)?;
            input = Input::from_url(&url, true, &mut Reader { has_feature: &|_| true, dubious: &mut dubious })?;
            if input.kind() != "tarball" {
                return Err(FetchError::refused("tarball 'Link' headers that redirect to non-tarball URLs are not supported"));
            }
        }
        if tarball.last_modified != 0 && !input.attrs().contains_key("lastModified") {
            input.set("lastModified", Attr::Number(tarball.last_modified));
        }
        input.set("narHash", Attr::Text(tarball.nar_hash.format(HashFormat::Sri, true)));
        let shown = format!("«{input}»");
        Ok((Found { source: Source::Stored(tarball.path), fingerprint: None, shown }, input))
    }

    /// Finds the archive of a commit, which never changes.
    pub(super) fn tarball_of_commit(&self, store: &dyn Store, url: &str, headers: &[(String, String)], revision: &str, shown: &str) -> FetchResult<Tarball> {
        let key = texts([("rev", revision), ("url", url)]);
        if let Some((entry, path)) = self.cache.lookup_path(DOMAIN, &key, store)?
            && let Some(nar_hash) = entry.text("narHash").and_then(|hash| Hash::parse_sri(hash).ok())
            && let Some(last_modified) = entry.number("lastModified")
        {
            return Ok(Tarball { path, nar_hash, last_modified, immutable_url: None });
        }
        let fetched = self.get(url, headers, None)?;
        let file = fetched.file.ok_or_else(|| FetchError::refused(format!("unable to download '{url}'")))?;
        self.observer.message(Importance::Info, &format!("unpacking '{shown}' into the store..."));
        let mut archive = Archive::read(file, &Default::default())?;
        archive.strip_single_directory();
        let (path, nar_hash) = add_nar(store, "source", &mut |sink| Ok(archive.write_nar(false, sink)?))?;
        let last_modified = archive.last_modified();
        let mut value: Attrs = texts([("narHash", &nar_hash.format(HashFormat::Sri, true))]);
        value.insert("lastModified".into(), Attr::Number(last_modified));
        self.cache.upsert_path(DOMAIN, &key, &value, &path, store);
        Ok(Tarball { path, nar_hash, last_modified, immutable_url: None })
    }
}

/// Says what is wrong with a local address, where that is easily seen.
fn check_local(url: &Url) -> FetchResult<()> {
    let path = url.file_path()?;
    let path = Path::new(&path);
    if !path.is_absolute() {
        let message = format!("tarball '{url}' must use an absolute path. The 'file' scheme does not support relative paths.");
        return Err(FetchError::refused(message));
    }
    let shown = quoted(path);
    if !path.exists() {
        return Err(FetchError::refused(format!("tarball {shown} does not exist.")));
    }
    if path.is_dir() {
        let message = match path.join(".git").exists() {
            true => format!("tarball {shown} is a git repository, not a tarball. Please use `git+file` as the scheme."),
            false => format!("tarball {shown} is a directory, not a file."),
        };
        return Err(FetchError::refused(message));
    }
    Ok(())
}
