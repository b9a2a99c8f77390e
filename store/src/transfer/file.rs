//! `file://` addresses: the same questions, answered by the file system.
//!
//! What is stored appears under its name complete or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Body, Request, Response, SendMethod, TransferError, TransferErrorKind, TransferResult, Transport};

/// Returns the path of a `file:` address, `None` for others and for those of other hosts.
pub fn path_of(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("file:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest),
        None => rest,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    path.starts_with('/').then(|| percent_decoded(path).into())
}

/// Undoes the `%` encoding of an address.
pub fn percent_decoded(text: &str) -> std::ffi::OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
}

/// A transport for `file://` alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileTransport;

impl Transport for FileTransport {
    fn get(&self, request: &Request) -> TransferResult<Response> {
        get(request, &path_or_error(request)?)
    }

    fn head(&self, request: &Request) -> TransferResult<Response> {
        head(request, &path_or_error(request)?)
    }

    fn send(&self, method: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response> {
        send(method, request, &path_or_error(request)?, body)
    }
}

fn path_or_error(request: &Request) -> TransferResult<PathBuf> {
    path_of(&request.url).ok_or_else(|| {
        let scheme = request.url.split(':').next().unwrap_or_default();
        TransferError::new(TransferErrorKind::Refused, &request.url, format!("scheme '{scheme}' is not supported"))
    })
}

/// See [`super::Transport::get`].
pub(crate) fn get(request: &Request, path: &Path) -> TransferResult<Response> {
    let (mut file, size) = open(request, path)?;
    let failed = |error: io::Error| TransferError::new(TransferErrorKind::Refused, &request.url, error);
    let range = request.range.clone().unwrap_or(0..size);
    let (start, end) = (range.start.min(size), range.end.min(size));
    if start > 0 {
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
    }
    let n_bytes = end.saturating_sub(start);
    Ok(Response {
        url: request.url.clone(),
        status: if request.range.is_some() { 206 } else { 200 },
        headers: Vec::new(),
        size: Some(n_bytes),
        is_unmodified: false,
        body: Box::new(Watched { inner: file.take(n_bytes), request: request.clone(), n_read: 0, size: n_bytes }),
    })
}

/// See [`super::Transport::head`].
pub(crate) fn head(request: &Request, path: &Path) -> TransferResult<Response> {
    let (_, size) = open(request, path)?;
    Ok(answer(request, Some(size)))
}

/// See [`super::Transport::send`].
pub(crate) fn send(method: SendMethod, request: &Request, path: &Path, body: Body<'_>) -> TransferResult<Response> {
    let failed = |error: io::Error| TransferError::during("upload", TransferErrorKind::Refused, &request.url, error);
    match method {
        SendMethod::Put => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).map_err(failed)?;
            write_atomically(path, |file| {
                io::copy(&mut body.open()?, file)?;
                Ok(())
            })
            .map_err(failed)?;
        }
        SendMethod::Delete => fs::remove_file(path).map_err(failed)?,
        SendMethod::Post => return Err(failed(io::ErrorKind::Unsupported.into())),
    }
    Ok(answer(request, Some(0)))
}

/// Writes a file under another name and then gives it its own, in place of what is there.
///
/// # Errors
/// What `write` or the file system gave. Nothing is left behind then.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".tmp-").permissions(permissions).tempfile_in(parent)?;
    write(file.as_file_mut())?;
    file.as_file_mut().flush()?;
    file.persist(path)?;
    Ok(())
}

fn answer(request: &Request, size: Option<u64>) -> Response {
    Response {
        url: request.url.clone(),
        status: 200,
        headers: Vec::new(),
        size,
        is_unmodified: false,
        body: Box::new(io::empty()),
    }
}

fn open(request: &Request, path: &Path) -> TransferResult<(File, u64)> {
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok((file, metadata.len()))
    });
    opened.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => TransferErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => TransferErrorKind::Forbidden,
            _ => TransferErrorKind::Refused,
        };
        let reason = format!("Could not open file {}", path.display());
        TransferError::new(kind, &request.url, reason)
    })
}

/// A file that tells how far it was read, and stops when it is time to.
struct Watched {
    inner: io::Take<File>,
    request: Request,
    n_read: u64,
    size: u64,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.request.interrupt.is_interrupted() {
            return Err(TransferError::new(TransferErrorKind::Interrupted, &self.request.url, "").into());
        }
        let n = self.inner.read(buffer)?;
        self.n_read += n as u64;
        if n == 0 && self.n_read < self.size && !buffer.is_empty() {
            let reason = format!("the file ends after {} of {} bytes", self.n_read, self.size);
            return Err(TransferError::new(TransferErrorKind::Refused, &self.request.url, reason).into());
        }
        if let Some(observer) = &self.request.observer {
            observer.received(&self.request.url, self.n_read, Some(self.size));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |url: &str, path: Option<&str>| assert_eq!(path_of(url), path.map(PathBuf::from), "{url}");
        check("file:///a%20b", Some("/a b"));
        check("file:/a", Some("/a"));
        check("file://localhost/a", Some("/a"));
        check("file:///a?x=y#z", Some("/a"));
        check("file://host/a", None);
        check("file:a", None);
        check("http://host/a", None);
        assert_eq!(percent_decoded("%zz%4%"), "%zz%4%");
    }

    #[test]
    fn what_is_stored_comes_back_whole_and_in_parts() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        let request = Request::new("file:///a/b");
        send(SendMethod::Put, &request, &path, Body::Bytes(b"0123456789")).unwrap();
        let read = |request: &Request| get(request, &path).unwrap().bytes(100).unwrap();
        assert_eq!(read(&request), b"0123456789");
        assert_eq!(read(&request.clone().range(3..5)), b"34");
        assert_eq!(read(&request.clone().range(8..u64::MAX)), b"89");
        assert_eq!(read(&request.clone().range(50..60)), b"");
        assert_eq!(head(&request, &path).unwrap().size, Some(10));
        assert!(get(&request, &path).unwrap().bytes(9).is_err());
        send(SendMethod::Put, &request, &path, Body::Bytes(b"new")).unwrap();
        assert_eq!(read(&request), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        send(SendMethod::Delete, &request, &path, Body::Bytes(b"")).unwrap();
        assert_eq!(get(&request, &path).unwrap_err().kind, TransferErrorKind::NotFound);
        assert_eq!(get(&request, scratch.path()).unwrap_err().kind, TransferErrorKind::Refused);
    }

    #[test]
    fn reading_can_be_interrupted() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a");
        fs::write(&path, "text").unwrap();
        let request = Request::new("file:///a").interrupt(&super::super::Interrupt::new(|| true));
        let error = get(&request, &path).unwrap().bytes(100).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Interrupted);
    }
}
