//! Roots: links that keep paths alive.
//!
//! Below `gcroots` and `profiles` every symbolic link into the store is a root. Links elsewhere are made known by
//! another link to them in `gcroots/auto`, named by a hash of their path; such a root lives as long as the user's link.
//! In a store rooted elsewhere a user's link may point to the real or to the logical path.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, StoreError};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::local::locks::{LockMode, try_lock};
use crate::local::{Layout, LocalStore};
use crate::path::StorePath;
use crate::store::Store;

pub use crate::store::{Roots, RootsEvent};

/// Makes the link in `gcroots/auto`.
pub(crate) fn add_indirect(layout: &Layout, link: &Path) -> Result<()> {
    let link = std::path::absolute(link).at("resolving", link)?;
    let name = Hash::digest(Algorithm::Sha1, link.as_os_str().as_bytes()).format(HashFormat::Nix32, false);
    let auto = layout.state_dir.join("gcroots").join("auto");
    crate::local::make_dirs(&auto)?;
    replace_symlink(&link, &auto.join(name))
}

/// Makes a link to a store path, real where the files are unless `is_logical`, and a root of it.
pub(crate) fn add_permanent(layout: &Layout, path: &StorePath, link: &Path, is_logical: bool) -> Result<()> {
    let link = std::path::absolute(link).at("resolving", link)?;
    make_link(layout.store_dir.as_str(), &layout.real_store_dir, path, &link, is_logical)?;
    add_indirect(layout, &link)
}

/// Makes a link to a store path, or makes one that leads into the store lead there. It is no root by that.
pub(crate) fn make_link(
    store_dir: &str,
    real_store_dir: &Path,
    path: &StorePath,
    link: &Path,
    is_logical: bool,
) -> Result<()> {
    let is_ours = |target: &Path| target.starts_with(store_dir) || target.starts_with(real_store_dir);
    if is_ours(link) {
        let error = std::io::Error::new(ErrorKind::InvalidInput, "a root can't be in the store itself");
        return Err(StoreError::io("creating a garbage collector root at", link, error));
    }
    match link.symlink_metadata() {
        Ok(_) if std::fs::read_link(link).is_ok_and(|target| is_ours(&target)) => {}
        Ok(_) => return Err(StoreError::io("creating symlink", link, std::io::Error::from(ErrorKind::AlreadyExists))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = link.parent() {
                crate::local::make_dirs(parent)?;
            }
        }
        Err(error) => return Err(StoreError::io("reading the status of", link, error)),
    }
    let target = if is_logical { Path::new(store_dir) } else { real_store_dir };
    replace_symlink(&target.join(path.base_name()), link)
}

/// Makes a symbolic link, replacing in one step what is there.
pub fn replace_symlink(target: &Path, link: &Path) -> Result<()> {
    for attempt in 0..1000u32 {
        let mut name = std::ffi::OsString::from(format!(".{attempt}-{}-", std::process::id()));
        name.push(link.file_name().unwrap_or_default());
        let temporary = link.with_file_name(name);
        match symlink(target, &temporary) {
            Ok(()) => {
                return std::fs::rename(&temporary, link).map_err(|error| {
                    let _ = std::fs::remove_file(&temporary);
                    StoreError::io("creating symlink", link, error)
                });
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(StoreError::io("creating symlink", link, error)),
        }
    }
    Err(StoreError::io("creating symlink", link, std::io::Error::from(ErrorKind::AlreadyExists)))
}

impl LocalStore {
    /// See [`Store::find_roots`].
    pub(crate) fn roots(&self, events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
        let mut roots = find_persistent(self, events)?;
        for (path, places) in find_temporary(self.layout(), events)? {
            roots.entry(path).or_default().extend(places);
        }
        Ok(roots)
    }
}

/// Finds the roots that are not temporary; only valid paths.
pub(crate) fn find_persistent(store: &LocalStore, events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
    let layout = store.layout();
    let mut found = Roots::new();
    // Validity is asked for all at once in the end.
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut todo = vec![layout.state_dir.join("gcroots"), layout.state_dir.join("profiles")];
    while let Some(path) = todo.pop() {
        match visit(layout, &path, &mut todo, &mut links, events) {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                events(RootsEvent::Unreadable { path });
            }
            Err(error) => return Err(StoreError::io("finding GC roots in", &path, error)),
        }
    }
    let targets: Vec<Option<StorePath>> =
        links.iter().map(|(_, target)| store.to_store_path(target).map(|(path, _)| path)).collect();
    for ((link, target), path) in links.into_iter().zip(targets) {
        let Some(path) = path else { continue };
        if store.is_valid(&path)? {
            found.entry(path).or_default().insert(link.to_string_lossy().into_owned());
        } else {
            events(RootsEvent::Invalid { link, target });
        }
    }
    let prefixes = [layout.store_dir.as_str().as_bytes(), layout.real_store_dir.as_os_str().as_bytes()];
    let prefixes = if layout.is_rooted() { &prefixes[..] } else { &prefixes[..1] };
    let (paths, places): (Vec<StorePath>, Vec<_>) = super::runtime::find(prefixes).into_iter().unzip();
    for ((path, places), valid) in paths.iter().zip(places).zip(store.are_valid(&paths)?) {
        if valid {
            found.entry(path.clone()).or_default().extend(places);
        }
    }
    Ok(found)
}

/// Looks at one file below a directory of roots.
fn visit(
    layout: &Layout,
    path: &Path,
    todo: &mut Vec<PathBuf>,
    links: &mut Vec<(PathBuf, PathBuf)>,
    events: &mut dyn FnMut(RootsEvent),
) -> std::io::Result<()> {
    let in_store = |target: &Path| {
        target.strip_prefix(layout.store_dir.as_str()).or_else(|_| target.strip_prefix(&layout.real_store_dir)).is_ok()
    };
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_dir() {
        for entry in std::fs::read_dir(path)? {
            todo.push(entry?.path());
        }
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path)?;
        if in_store(&target) {
            links.push((path.to_owned(), target));
            return Ok(());
        }
        // A link to a link of a user's.
        let target = path.parent().unwrap_or(Path::new("/")).join(target);
        match target.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                let second = std::fs::read_link(&target)?;
                if in_store(&second) {
                    links.push((target, second));
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.starts_with(layout.state_dir.join("gcroots").join("auto")) {
                    let _ = std::fs::remove_file(path);
                    events(RootsEvent::Stale { link: path.to_owned(), target });
                }
            }
            Err(error) => return Err(error),
        }
    } else if kind.is_file()
        && let Some(name) = path.file_name()
    {
        // A file that is called like a path keeps it.
        links.push((path.to_owned(), layout.real_store_dir.join(name)));
    }
    Ok(())
}

/// Finds the roots of work in progress. Files of processes that are no more are removed.
pub(crate) fn find_temporary(layout: &Layout, events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
    let dir = layout.state_dir.join("temproots");
    let mut roots = Roots::new();
    for entry in std::fs::read_dir(&dir).at("reading directory", &dir)? {
        let entry = entry.at("reading directory", &dir)?;
        let name = entry.file_name();
        // Package managers leave hidden files so that the directory is not empty.
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("opening temporary roots file", path, error)),
        };
        if try_lock(&file, LockMode::Exclusive, &path)? {
            // Its owner is gone. A namesake that has opened it before us sees the mark and makes a new one.
            let _ = std::fs::remove_file(&path);
            let _ = (&file).write_all(b"d");
            events(RootsEvent::StaleTemporary { file: path });
            continue;
        }
        let mut text = Vec::new();
        (&file).read_to_end(&mut text).at("reading", &path)?;
        for root in text.split_inclusive(|byte| *byte == 0) {
            // What has no end yet is being written by somebody who waits for our lock.
            if let Some(root) = root.strip_suffix(&[0])
                && let Ok(root) = layout.store_dir.parse(root)
            {
                roots.entry(root).or_default().insert(format!("{{temp:{}}}", name.to_string_lossy()));
            }
        }
    }
    Ok(roots)
}
