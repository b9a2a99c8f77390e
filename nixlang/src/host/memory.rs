//! A host without a disk: files in a map, an environment in a map, no time, no store. For tests, examples and sandboxed hosts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::path::{StoreDir, StorePath};

use super::*;

/// Files and variables in memory. Directories are there where files are below them. See [`Host`].
#[derive(Debug, Default)]
pub struct MemoryHost {
    /// Contents by canonical path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The environment.
    pub variables: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What [`Host::current_time`] returns.
    pub time: i64,
    /// The store whose paths are computed.
    pub store_dir: StoreDir,
    derivations: RefCell<BTreeMap<StorePath, Derivation>>,
    messages: RefCell<Vec<(Message, String)>>,
}

impl MemoryHost {
    /// Returns a host with these files (canonical path, contents).
    pub fn with_files<P: Into<Vec<u8>>, C: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let files = files.into_iter().map(|(path, contents)| (path.into(), contents.into())).collect();
        MemoryHost { files, ..Self::default() }
    }

    /// Returns the messages shown so far, in order.
    pub fn take_messages(&self) -> Vec<(Message, String)> {
        self.messages.take()
    }

    fn below(path: &[u8]) -> Vec<u8> {
        if path == b"/" { b"/".to_vec() } else { [path, b"/"].concat() }
    }
}

fn not_found(path: &[u8]) -> HostError {
    HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() }
}

impl Host for MemoryHost {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| not_found(path))
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        let prefix = Self::below(path);
        let mut entries: BTreeMap<Vec<u8>, Option<FileType>> = BTreeMap::new();
        for file in self.files.range(prefix.clone()..).map(|it| it.0).take_while(|file| file.starts_with(&prefix)) {
            let rest = &file[prefix.len()..];
            match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => entries.insert(rest[..slash].to_vec(), Some(FileType::Directory)),
                None => entries.insert(rest.to_vec(), Some(FileType::Regular { executable: false })),
            };
        }
        if entries.is_empty() { Err(not_found(path)) } else { Ok(entries.into_iter().collect()) }
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        if self.files.contains_key(path) {
            return Ok(Some(FileType::Regular { executable: false }));
        }
        Ok(self.read_dir(path).is_ok().then_some(FileType::Directory))
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        Err(not_found(path))
    }

    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.variables.get(name).cloned()
    }

    fn current_time(&self) -> i64 {
        self.time
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

    fn add_derivation(&self, derivation: &Derivation, path: &StorePath, _contents: &[u8]) -> HostResult<()> {
        self.derivations.borrow_mut().insert(path.clone(), derivation.clone());
        Ok(())
    }

    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation> {
        self.derivations.borrow().get(path).cloned().ok_or_else(|| not_found(self.store_dir.display(path).as_bytes()))
    }

    fn ensure_path(&self, path: &StorePath) -> HostResult<()> {
        let file = self.store_dir.display(path);
        self.file_type(file.as_bytes())?.map(drop).ok_or_else(|| not_found(file.as_bytes()))
    }

    fn message(&self, kind: Message, text: &str) {
        self.messages.borrow_mut().push((kind, text.to_string()));
    }
}
