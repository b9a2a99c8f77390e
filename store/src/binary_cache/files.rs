//! The files of a cache by name, over a transport.
//!
//! Names in a cache's own files (`URL` of a narinfo) come from a stranger. They are resolved against the cache's
//! address; what would leave a directory, or lead from a server to the local disk, is refused.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::compression::{self, Compression, EncoderOptions};
use crate::error::{IoContext, Result, StoreError};
use crate::transfer::file::{path_of, write_atomically};
use crate::transfer::{
    Body, Interrupt, Request, Response, TransferError, TransferErrorKind, TransferObserver, Transport,
};

use super::BinaryCacheOptions;

/// See the module.
pub(super) struct Files {
    url: String,
    /// Where the files are, if they are on this machine's disk.
    directory: Option<PathBuf>,
    /// A directory that is treated as a server.
    is_read_only: bool,
    transport: Arc<dyn Transport>,
    interrupt: Interrupt,
    observer: Option<Arc<dyn TransferObserver>>,
}

/// A file that is being made, and will be one of the cache.
pub(super) enum NewFile {
    /// Beside where it will be.
    Here(tempfile::NamedTempFile),
    /// Elsewhere, to be sent.
    Elsewhere(tempfile::NamedTempFile),
}

impl NewFile {
    pub(super) fn file(&mut self) -> &mut File {
        match self {
            NewFile::Here(file) | NewFile::Elsewhere(file) => file.as_file_mut(),
        }
    }
}

impl Files {
    pub(super) fn new(url: &str, transport: Arc<dyn Transport>, options: &BinaryCacheOptions) -> Result<Files> {
        let mut url = url.to_owned();
        while url.ends_with('/') && !url.ends_with("://") {
            url.pop();
        }
        if url.contains(['?', '#']) {
            let reason = TransferError::new(TransferErrorKind::Refused, &url, "the address of a cache has no parameters here");
            return Err(reason.into());
        }
        Ok(Files {
            directory: path_of(&url).filter(|_| !options.as_server),
            is_read_only: options.as_server && path_of(&url).is_some(),
            url,
            transport,
            interrupt: options.interrupt.clone(),
            observer: options.observer.clone(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Returns how many small files are worth asking for at the same time, where `n_connections` is what a server gets if
    /// nothing better is known.
    pub(super) fn n_in_flight(&self, n_connections: usize) -> usize {
        match &self.directory {
            // Files on disk come faster than threads start.
            Some(_) => 1,
            None => self.transport.n_in_flight(&format!("{}/{}", self.url, super::info::FILE)).unwrap_or(n_connections),
        }
    }

    /// Makes the directories of a cache on disk.
    pub(super) fn make_directories(&self, with_debug_info: bool) -> Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let names = ["nar", "realisations", "log", "debuginfo"];
        for name in &names[..if with_debug_info { 4 } else { 3 }] {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).at("creating directory", &path)?;
        }
        Ok(())
    }

    /// Fetches a file, or a part of it; `None` if there is none.
    pub(super) fn get(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Response>> {
        let mut request = self.request(name)?;
        request.allows_encoding = range.is_none() && is_text(name);
        if name == super::info::FILE {
            // Whether somebody is there at all shall not take long to find out.
            request.n_attempts = Some(2);
        }
        request.range = range;
        absent_is_none(self.transport.get(&request))
    }

    /// Fetches a small file.
    pub(super) fn get_bytes(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.get(name, None)? {
            Some(response) => Ok(absent_is_none(response.bytes(limit))?),
            None => Ok(None),
        }
    }

    /// Fetches a small file that is text.
    pub(super) fn get_text(&self, name: &str, limit: u64) -> Result<Option<String>> {
        let Some(bytes) = self.get_bytes(name, limit)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| StoreError::format(self.describe(name), error))?;
        Ok(Some(text))
    }

    pub(super) fn exists(&self, name: &str) -> Result<bool> {
        Ok(absent_is_none(self.transport.head(&self.request(name)?))?.is_some())
    }

    /// Stores a small file. `compression` is for servers; files on disk are as they are.
    pub(super) fn put_bytes(&self, name: &str, bytes: &[u8], mime_type: &str, compression: Compression) -> Result<()> {
        if let Some(path) = self.path(name)? {
            return make_file(&path, &mut |file| file.write_all(bytes)).at("writing", &path);
        }
        self.check_writable(name)?;
        let mut request = self.request(name)?.header("content-type", mime_type);
        let compressed;
        let mut bytes = bytes;
        if compression != Compression::None {
            compressed = compression::compress(compression, &EncoderOptions::default(), bytes)
                .map_err(|error| StoreError::format(self.describe(name), error))?;
            bytes = &compressed;
            request = request.header("content-encoding", compression.name());
        }
        Ok(self.transport.put(&request, Body::Bytes(bytes))?)
    }

    /// Starts a file whose name is not known yet; it will be in the directory `directory`.
    pub(super) fn new_file(&self, directory: &str) -> Result<NewFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        match &self.directory {
            Some(root) => {
                let path = root.join(directory);
                std::fs::create_dir_all(&path).at("creating directory", &path)?;
                let permissions: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                Ok(NewFile::Here(builder.permissions(permissions).tempfile_in(&path).at("creating a file in", &path)?))
            }
            None => Ok(NewFile::Elsewhere(builder.tempfile().at("creating a file in", &std::env::temp_dir())?)),
        }
    }

    /// Makes a finished file one of the cache.
    pub(super) fn put_file(&self, name: &str, file: NewFile, mime_type: &str) -> Result<()> {
        match file {
            NewFile::Here(file) => {
                let path = self.path(name)?.expect("it was made here");
                file.persist(&path).map(drop).map_err(|error| StoreError::io("renaming to", path, error.error))
            }
            NewFile::Elsewhere(file) => {
                self.check_writable(name)?;
                let request = self.request(name)?.header("content-type", mime_type);
                Ok(self.transport.put(&request, Body::File(file.path()))?)
            }
        }
    }

    fn check_writable(&self, name: &str) -> Result<()> {
        if !self.is_read_only {
            return Ok(());
        }
        let url = format!("{}/{name}", self.url);
        let message = format!("uploading to '{url}' is not supported");
        Err(TransferError { message, ..TransferError::during("upload", TransferErrorKind::Refused, &url, "") }.into())
    }

    /// Returns what errors call a file.
    pub(super) fn describe(&self, name: &str) -> String {
        format!("file '{name}' of binary cache '{}'", self.url)
    }

    fn request(&self, name: &str) -> Result<Request> {
        let url = match self.path(name)? {
            // The name may hold what means something in an address.
            Some(path) => format!("file://{}", encoded(&path)),
            None => self.resolve(name)?,
        };
        Ok(Request::new(url).interrupt(&self.interrupt).observer(self.observer.clone()))
    }

    /// Returns the path of a file on disk, `None` if the cache is on a server.
    fn path(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let is_below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        let path = Path::new(name);
        if name.is_empty() || name.contains('\0') || !is_below(path) {
            return Err(self.refuse(name, "it is not below the cache's directory"));
        }
        Ok(Some(directory.join(path)))
    }

    /// Resolves a relative or absolute address against the cache's.
    fn resolve(&self, name: &str) -> Result<String> {
        let scheme_of = |url: &str| {
            let scheme = url.split_once(':').map(|(scheme, _)| scheme)?;
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
            is_scheme.then(|| scheme.to_ascii_lowercase())
        };
        if name.contains(|c: char| c.is_control() || c == ' ') {
            return Err(self.refuse(name, "it is no address"));
        }
        if let Some(scheme) = scheme_of(name) {
            if !matches!(scheme.as_str(), "http" | "https") || !self.url.starts_with("http") {
                return Err(self.refuse(name, "only servers may point to other servers"));
            }
            return Ok(name.to_owned());
        }
        let (origin, _) = split_origin(&self.url);
        Ok(match name {
            _ if name.starts_with("//") => {
                format!("{}:{name}", self.url.split(':').next().unwrap_or_default())
            }
            _ if name.starts_with('/') => format!("{origin}{name}"),
            _ => format!("{}/{name}", self.url),
        })
    }

    fn refuse(&self, name: &str, reason: &str) -> StoreError {
        let reason = format!("the name '{name}' is refused: {reason}");
        TransferError::new(TransferErrorKind::Refused, &self.url, reason).into()
    }
}

fn is_text(name: &str) -> bool {
    name.ends_with(".narinfo") || name.ends_with(".ls") || name.starts_with("log/") || name == super::info::FILE
}

fn absent_is_none<T>(result: Result<T, TransferError>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) if error.kind == TransferErrorKind::Interrupted => Err(StoreError::Interrupted),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file, making its directory if need be.
fn make_file(path: &Path, write: &mut dyn FnMut(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    match write_atomically(path, &mut *write) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            write_atomically(path, write)
        }
        other => other,
    }
}

fn encoded(path: &Path) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+=".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Splits an address into scheme with host, and the rest.
fn split_origin(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |idx| idx + 3);
    let end = url[start..].find('/').map_or(url.len(), |idx| start + idx);
    url.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::file::FileTransport;

    #[test]
    fn names_are_resolved_and_dangerous_ones_refused() {
        let files = |url: &str| Files::new(url, Arc::new(FileTransport), &BinaryCacheOptions::default()).unwrap();
        let check = |base: &str, name: &str, expected: Option<&str>| {
            let url = files(base).request(name).ok().map(|request| request.url);
            assert_eq!(url.as_deref(), expected, "{name} in {base}");
        };
        check("http://h/c/", "nar/x.nar?hash=y", Some("http://h/c/nar/x.nar?hash=y"));
        check("http://h/c", "/nar/x", Some("http://h/nar/x"));
        check("http://h/c", "//i/x", Some("http://i/x"));
        check("http://h/c", "https://i/x", Some("https://i/x"));
        check("http://h/c", "file:///etc/passwd", None);
        check("http://h/c", "FILE:/etc/passwd", None);
        check("http://h/c", "x\r\ny", None);
        check("file:///c%20d", "nar/x y", Some("file:///c%20d/nar/x%20y"));
        check("file:///c", "../x", None);
        check("file:///c", "/x", None);
        check("file:///c", "http://h/x", Some("file:///c/http%3A//h/x"));
        check("file:///c", "", None);
        assert!(Files::new("http://h/?x=y", Arc::new(FileTransport), &BinaryCacheOptions::default()).is_err());
    }
}
