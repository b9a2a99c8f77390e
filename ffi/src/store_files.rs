//! Files of store paths that are nowhere on this machine's disk: in memory, in a store of the host, behind `ssh-ng://`. They are read through the store.
//!
//! What a path's tree looks like is remembered: store paths don't change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang::host::{FileType, HostError, HostResult};
use nixlang_store::nar::Listing;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use parking_lot::Mutex;

use crate::host::failed;

/// Trees that are remembered; after that all are forgotten.
const MAX_TREES: usize = 256;

/// See the file's comment.
pub(crate) struct StoreFiles {
    store: Arc<dyn Store>,
    trees: Mutex<HashMap<StorePath, Arc<Listing>>>,
}

/// A place in a store: the path, and the names below it.
struct Place<'p> {
    path: StorePath,
    below: Vec<&'p [u8]>,
}

impl StoreFiles {
    /// Returns the files of a store.
    pub(crate) fn new(store: Arc<dyn Store>) -> StoreFiles {
        StoreFiles { store, trees: Mutex::default() }
    }

    /// Returns whether a path lies in a valid store path that has no files on the disk.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        let Some(place) = self.place(path) else { return false };
        let on_disk: Option<PathBuf> = self.store.real_path(&place.path);
        on_disk.is_none() && (self.trees.lock().contains_key(&place.path) || self.store.is_valid(&place.path).unwrap_or(false))
    }

    fn place<'p>(&self, path: &'p [u8]) -> Option<Place<'p>> {
        let rest = path.strip_prefix(self.store.store_dir().as_str().as_bytes())?.strip_prefix(b"/")?;
        let mut names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let base_name = std::str::from_utf8(names.next()?).ok()?;
        Some(Place { path: StorePath::from_base_name(base_name).ok()?, below: names.collect() })
    }

    /// Runs `body` with the node at a path, `None` if there is none.
    fn look<R>(&self, path: &[u8], body: impl FnOnce(&Place<'_>, Option<&Listing>) -> HostResult<R>) -> HostResult<R> {
        let place = self.place(path).ok_or_else(|| HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() })?;
        let known = self.trees.lock().get(&place.path).cloned();
        let tree = match known {
            Some(tree) => tree,
            None => {
                let tree = Arc::new(self.store.listing(&place.path).map_err(|error| failed(&error))?);
                let mut trees = self.trees.lock();
                if trees.len() >= MAX_TREES {
                    trees.clear();
                }
                trees.insert(place.path.clone(), tree.clone());
                tree
            }
        };
        let mut node = Some(&*tree);
        for name in &place.below {
            node = match node {
                Some(Listing::Directory(entries)) => entries.get(*name),
                _ => None,
            };
        }
        body(&place, node)
    }

    fn missing(path: &[u8]) -> HostError {
        HostError::NotFound { path: String::from_utf8_lossy(path).into_owned() }
    }

    /// Returns the bytes of a file; links are followed within the store path.
    pub(crate) fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..40 {
            let target = self.look(&path, |place, node| match node {
                Some(Listing::Regular { .. }) => {
                    let mut bytes = Vec::new();
                    self.store.write_file(&place.path, &place.below, &mut bytes).map_err(|error| failed(&error))?;
                    Ok(Err(bytes))
                }
                Some(Listing::Symlink(target)) => Ok(Ok(target.clone())),
                Some(Listing::Directory(_)) => Err(HostError::Failed { message: format!("reading '{}': it is a directory", String::from_utf8_lossy(&path)) }),
                None => Err(Self::missing(&path)),
            })?;
            match target {
                Err(bytes) => return Ok(bytes),
                Ok(target) if target.starts_with(b"/") => path = target,
                Ok(target) => {
                    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    path = nixlang::path::canonicalise(&[&path[..], b"/", &target].concat());
                }
            }
        }
        Err(HostError::Failed { message: format!("too many symbolic links at '{}'", String::from_utf8_lossy(&path)) })
    }

    /// Returns the names in a directory with what they are.
    pub(crate) fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        self.look(path, |_, node| match node {
            Some(Listing::Directory(entries)) => Ok(entries.iter().map(|(name, node)| (name.clone(), Some(file_type(node)))).collect()),
            Some(_) => Err(HostError::Failed { message: format!("reading directory '{}': it is none", String::from_utf8_lossy(path)) }),
            None => Err(Self::missing(path)),
        })
    }

    /// Returns what is at a path.
    pub(crate) fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        self.look(path, |_, node| Ok(node.map(file_type)))
    }

    /// Returns where a link leads to.
    pub(crate) fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.look(path, |_, node| match node {
            Some(Listing::Symlink(target)) => Ok(target.clone()),
            Some(_) => Err(HostError::Failed { message: format!("'{}' is no symbolic link", String::from_utf8_lossy(path)) }),
            None => Err(Self::missing(path)),
        })
    }
}

fn file_type(node: &Listing) -> FileType {
    match node {
        Listing::Regular { executable, .. } => FileType::Regular { executable: *executable },
        Listing::Directory(_) => FileType::Directory,
        Listing::Symlink(_) => FileType::Symlink,
    }
}
