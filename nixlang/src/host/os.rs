//! The host of an ordinary process: its file system, environment and clock. It has no store to write to: store paths are only computed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nixlang_store::path::{StoreDir, StorePath};

use super::*;

/// Files, environment and time of this process. See [`Host`].
#[derive(Debug, Default)]
pub struct OsHost {
    /// The store whose paths are computed.
    pub store_dir: StoreDir,
}

fn os(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Returns an I/O error on a path as a host error.
pub(super) fn io_error(doing: &str, path: &[u8], error: &io::Error) -> HostError {
    let path = String::from_utf8_lossy(path).into_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => HostError::NotFound { path },
        _ => HostError::Failed { message: format!("{doing} '{path}': {}", describe(error)) },
    }
}

/// Returns the system's text of an error, without Rust's "(os error N)".
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Returns what a file is, from its metadata.
pub(super) fn file_type_of(metadata: &std::fs::Metadata) -> FileType {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        FileType::Regular { executable: metadata.permissions().mode() & 0o100 != 0 }
    } else if file_type.is_dir() {
        FileType::Directory
    } else if file_type.is_symlink() {
        FileType::Symlink
    } else {
        FileType::Unknown
    }
}

impl Host for OsHost {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        std::fs::read(os(path)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() },
            _ => io_error("reading file", path, &e),
        })
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        let fail = |e: io::Error| match e.kind() {
            io::ErrorKind::NotADirectory => {
                HostError::Failed { message: format!("cannot read directory \"{}\": Not a directory", String::from_utf8_lossy(path)) }
            }
            _ => io_error("reading directory", path, &e),
        };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(os(path)).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let file_type = entry.file_type().ok().and_then(|it| {
                // Whether a file is executable is not in the listing, and nobody who lists asks for it.
                if it.is_file() {
                    Some(FileType::Regular { executable: false })
                } else if it.is_dir() {
                    Some(FileType::Directory)
                } else if it.is_symlink() {
                    Some(FileType::Symlink)
                } else {
                    Some(FileType::Unknown)
                }
            });
            entries.push((entry.file_name().into_vec(), file_type));
        }
        Ok(entries)
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        match std::fs::symlink_metadata(os(path)) {
            Ok(metadata) => Ok(Some(file_type_of(&metadata))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(io_error("getting status of", path, &e)),
        }
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        let target = std::fs::read_link(os(path)).map_err(|e| io_error("reading symbolic link", path, &e))?;
        Ok(target.into_os_string().into_vec())
    }

    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
        std::env::var_os(OsStr::from_bytes(name)).map(OsStringExt::into_vec)
    }

    fn current_time(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |time| time.as_secs() as i64)
    }

    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn add_source(&self, source: SourceToAdd<'_>) -> HostResult<StorePath> {
        compute_source_path(&self.store_dir, source)
    }

    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath> {
        compute_text_path(&self.store_dir, name, contents, references)
    }

    fn add_derivation(&self, _derivation: &Derivation, _path: &StorePath, _contents: &[u8]) -> HostResult<()> {
        Ok(())
    }

    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation> {
        let file = self.store_dir.display(path);
        let text = self.read_file(file.as_bytes())?;
        let parsed = Derivation::parse_aterm(&self.store_dir, path.derivation_name().unwrap_or_default(), &text);
        parsed.map_err(|e| HostError::Failed { message: format!("error parsing derivation '{file}': {e}") })
    }

    fn ensure_path(&self, path: &StorePath) -> HostResult<()> {
        match self.file_type(self.store_dir.display(path).as_bytes())? {
            Some(_) => Ok(()),
            None => Err(HostError::Failed { message: format!("path '{path}' is not valid") }),
        }
    }

    fn message(&self, kind: Message, text: &str) {
        let prefix = match kind {
            Message::Trace => "trace: ",
            Message::EvaluationWarning => "evaluation warning: ",
            Message::Warning => "warning: ",
        };
        eprintln!("{prefix}{text}");
    }
}
