//! Single files by address: downloaded into the store, and asked for again with the entity tag of what is there.

use std::fs::File;
use std::io::{Read, Seek, Write};

use super::cache::texts;
use super::{FetchError, FetchResult, Fetchers, Found, Importance, Source, spool};
use crate::content_address::ContentAddressMethod;
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::{Attr, Input};
use crate::nar::NarWriter;
use crate::path::StorePath;
use crate::store::{Addressing, Contents, Store};
use crate::transfer::{Request, Response};

/// A file that was downloaded, now or before.
#[derive(Clone, Debug)]
pub struct Download {
    /// The file in the store.
    pub path: StorePath,
    /// Its entity tag, empty if it has none.
    pub tag: String,
    /// Where it came from in the end.
    pub url: String,
    /// An address that will always have this file, if the server names one.
    pub immutable_url: Option<String>,
}

/// A body that came.
pub(super) struct Fetched {
    pub(super) url: String,
    pub(super) tag: String,
    pub(super) immutable_url: Option<String>,
    /// None if what was known is still current.
    pub(super) file: Option<File>,
}

/// Returns the address of a `Link` header that is for ever.
fn immutable(response: &Response) -> Option<String> {
    let links = response.headers.iter().filter(|(name, _)| name == "link").flat_map(|(_, value)| value.split(", <"));
    links
        .filter_map(|link| {
            let (url, parameters) = link.trim_start_matches('<').split_once('>')?;
            let is_immutable = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"immutable\"" | "rel=immutable"));
            is_immutable.then(|| url.to_owned())
        })
        .next()
}

impl Fetchers {
    /// Downloads a body into an unnamed file.
    pub(super) fn get(&self, url: &str, headers: &[(String, String)], known_tag: Option<&str>) -> FetchResult<Fetched> {
        if !url.starts_with("file:") {
            self.observer.message(Importance::Talkative, &format!("downloading '{url}'..."));
        }
        let mut request = Request::new(url).interrupt(&self.interrupt);
        request.headers = headers.to_vec();
        request.known_tag = known_tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
        request.allows_encoding = true;
        let mut response = self.transport.get(&request)?;
        let tag = response.tag().unwrap_or_default().to_owned();
        let immutable_url = immutable(&response);
        let file = match response.is_unmodified {
            true => None,
            false => {
                let mut file = tempfile::tempfile().map_err(FetchError::spool)?;
                copy(&mut *response.body, &mut file, url)?;
                file.rewind().map_err(FetchError::spool)?;
                Some(file)
            }
        };
        Ok(Fetched { url: response.url, tag, immutable_url, file })
    }

    /// Downloads a file into the store under a name, or returns the one that is there, if it is young enough or the server has no other.
    ///
    /// # Errors
    /// When it can't be had and never was.
    pub fn download(&self, store: &dyn Store, url: &str, name: &str, headers: &[(String, String)]) -> FetchResult<Download> {
        let key = texts([("url", url), ("name", name)]);
        let known = self.cache.lookup_path("file", &key, store)?;
        let known = known.map(|(entry, path)| {
            let text = |name: &str| entry.text(name).map(str::to_owned);
            let download =
                Download { path, tag: text("etag").unwrap_or_default(), url: text("url").unwrap_or_default(), immutable_url: text("immutableUrl") };
            (download, entry.is_expired)
        });
        if let Some((download, false)) = &known {
            return Ok(download.clone());
        }
        let fetched = match (self.get(url, headers, known.as_ref().map(|(known, _)| known.tag.as_str())), &known) {
            (Err(FetchError::Transfer(error)), Some((known, _))) if !self.interrupt.is_interrupted() => {
                self.observer.warn(&format!("{error}; using cached version"));
                return Ok(known.clone());
            }
            (fetched, _) => fetched?,
        };
        let path = match (fetched.file, known) {
            (None, Some((known, _))) => known.path,
            (None, None) => return Err(FetchError::refused(format!("unable to download '{url}': the server answers as if the file were here"))),
            (Some(file), _) => add_file(store, name, file)?.0,
        };
        let mut value = texts([("etag", &fetched.tag), ("url", &fetched.url)]);
        if let Some(url) = &fetched.immutable_url {
            value.insert("immutableUrl".into(), url.as_str().into());
        }
        for url in [url, &fetched.url] {
            self.cache.upsert_path("file", &texts([("url", url), ("name", name)]), &value, &path, store);
        }
        Ok(Download { path, tag: fetched.tag, url: fetched.url, immutable_url: fetched.immutable_url })
    }

    pub(super) fn find_file<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let file = self.download(store, input.text("url").unwrap_or_default(), input.name(), &[])?;
        let hash = store.path_info(&file.path)?.nar_hash;
        input.set("narHash", Attr::Text(hash.format(HashFormat::Sri, true)));
        let shown = format!("«{input}»");
        Ok((Found { source: Source::Stored(file.path), fingerprint: None, shown }, input))
    }

    /// Downloads a file into the store under a name and returns its hash, whether something is there or not. With `unpack` it is an archive
    /// of one thing, and that is what is stored and hashed.
    ///
    /// # Errors
    /// When it can't be had or unpacked.
    pub fn prefetch(&self, store: &dyn Store, url: &str, name: &str, unpack: bool, executable: bool, algorithm: Algorithm) -> FetchResult<(StorePath, Hash)> {
        let fetched = self.get(url, &[], None)?;
        let Some(mut file) = fetched.file else { return Err(FetchError::refused(format!("unable to download '{url}'"))) };
        if !unpack && !executable {
            let hash = hash_file(&mut file, algorithm)?;
            return Ok((add_flat(store, name, file, algorithm)?, hash));
        }
        let archive;
        let mut write: Box<dyn FnMut(&mut dyn Write) -> FetchResult<()>> = if unpack {
            if file.metadata().map_err(FetchError::spool)?.len() == 0 {
                return Err(crate::extract::ExtractError::Empty { path: url.to_owned() }.into());
            }
            archive = crate::extract::Archive::read(file, &Default::default())?;
            Box::new(|sink| Ok(archive.write_nar(true, sink)?))
        } else {
            Box::new(move |sink| write_file(&mut file, true, sink))
        };
        let mut hasher = crate::hash::Hasher::new(algorithm);
        let (mut nar, _) = spool(&mut *write)?;
        std::io::copy(&mut nar, &mut hasher).map_err(FetchError::spool)?;
        nar.rewind().map_err(FetchError::spool)?;
        let addressing = Addressing { name, method: ContentAddressMethod::Nar, algorithm, references: Default::default() };
        let path = store.add_contents(&addressing, Contents::Nar(&mut nar))?.path;
        Ok((path, hasher.finish()))
    }
}

/// Copies a body; errors of reading it are the transfer's.
fn copy(body: &mut dyn Read, file: &mut File, url: &str) -> FetchResult<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => file.write_all(&buffer[..n]).map_err(FetchError::spool)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(crate::transfer::TransferError::from_io(url, error).into()),
        }
    }
}

fn hash_file(file: &mut File, algorithm: Algorithm) -> FetchResult<Hash> {
    let mut hasher = crate::hash::Hasher::new(algorithm);
    std::io::copy(file, &mut hasher).map_err(FetchError::spool)?;
    file.rewind().map_err(FetchError::spool)?;
    Ok(hasher.finish())
}

/// Adds a file, addressed by its bytes' SHA-256, which is returned with its path.
fn add_file(store: &dyn Store, name: &str, mut file: File) -> FetchResult<(StorePath, Hash)> {
    let hash = hash_file(&mut file, Algorithm::Sha256)?;
    Ok((add_flat(store, name, file, Algorithm::Sha256)?, hash))
}

fn add_flat(store: &dyn Store, name: &str, mut file: File, algorithm: Algorithm) -> FetchResult<StorePath> {
    let (mut nar, _) = spool(&mut |sink| write_file(&mut file, false, sink))?;
    let addressing = Addressing { name, method: ContentAddressMethod::Flat, algorithm, references: Default::default() };
    Ok(store.add_contents(&addressing, Contents::Nar(&mut nar))?.path)
}

/// Writes the NAR of a file.
fn write_file(file: &mut File, executable: bool, sink: &mut dyn Write) -> FetchResult<()> {
    let nar = |error| FetchError::Store(crate::error::StoreError::format("writing a NAR", error));
    let size = file.metadata().map_err(FetchError::spool)?.len();
    let mut archive = NarWriter::new(sink);
    archive.begin_file(executable, size).map_err(nar)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(FetchError::spool)? {
            0 => break,
            n => archive.contents(&buffer[..n]).map_err(nar)?,
        }
    }
    archive.end_file().map_err(nar)?;
    archive.finish().map_err(nar)?;
    Ok(())
}
