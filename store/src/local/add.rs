//! Adding paths: temporary root, look, lock, look again, make, rename, register.
//!
//! The order is the contract. The temporary root comes before the look, or a collection could delete between the two;
//! the second look is under the lock, where nobody else makes the same path; the row comes last. Whatever is in the way
//! without a row is a left-over of somebody who was interrupted, and replaced.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::addressed::{NarHasher, Spool, Tee, address, parse_nar, verify_contents, write_file_nar};
use crate::error::{Result, StoreError};
use crate::fs::restore::{TreeWriter, restore_at};
use crate::fs::{Metadata, dump, remove_tree_at};
use crate::local::canonicalise::{TIMES, canonical_mode};
use crate::local::staging::Staged;
use crate::local::LocalStore;
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::store::{
    AddOptions, Addressing, Contents, FileKind, Filter, Store, Text, check_info, parse_derivation, text_info,
};

/// A source's archive is kept in memory up to this size, in bytes, instead of being read or written twice.
const SPOOL_LIMIT: usize = 8 * 1024 * 1024;

/// How many texts share a transaction, and how many locks are held for that.
const TEXTS_AT_ONCE: usize = 256;

/// See [`Store::add_nar`].
pub(super) fn nar(store: &LocalStore, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
    let dir = &store.layout.store_dir;
    check_info(dir, info)?;
    if options.check_signatures {
        store.check_signatures(info)?;
    }
    store.collect_if_space_is_low()?;
    store.add_temp_roots(std::slice::from_ref(&info.path))?;
    if !options.repair && store.is_valid(&info.path)? {
        return Ok(());
    }
    store.writable("adding a path")?;
    let _locks = store.lock_paths(std::slice::from_ref(&info.path))?;
    let was_valid = store.is_valid(&info.path)?;
    if was_valid && !options.repair {
        return Ok(());
    }

    let staging = store.staging()?;
    let staged = staging.place();
    let mut hasher = NarHasher::new();
    // Not a byte more than was announced: the archive may stand in the middle of a connection.
    let limit = if info.nar_size == 0 { u64::MAX } else { info.nar_size };
    let mut nar = BufReader::with_capacity(256 * 1024, nar.take(limit));
    restore(store, &mut Tee::new(&mut nar, &mut hasher), &staged)?;
    let nar_size = hasher.check(dir, info)?;
    verify_contents(dir, info, &mut |sink| dump(&staged.path(), None, sink))?;

    let mut info = info.clone();
    info.info.nar_size = nar_size;
    if was_valid {
        exchange(store, staged, &info.path)?;
        return register_or_remove(store, &info, false);
    }
    install(store, staged, &info.path)?;
    register_or_remove(store, &info, true)
}

/// See [`Store::add_contents`].
pub(super) fn contents(store: &LocalStore, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
    store.collect_if_space_is_low()?;
    match contents {
        Contents::Bytes(bytes) => {
            let info = address(&store.layout.store_dir, addressing, &mut |sink| write_file_nar(sink, bytes))?;
            add_missing(store, &info, &mut |staged| tree_writer(store, staged).file(false, bytes))?;
            Ok(info)
        }
        Contents::Nar(nar) => from_nar(store, addressing, nar),
        Contents::Tree { path, filter } => from_tree(store, addressing, path, filter),
    }
}

/// Adds what a NAR holds. A small one is looked at in memory, a larger one restored while it is hashed.
fn from_nar(store: &LocalStore, addressing: &Addressing<'_>, nar: &mut dyn Read) -> Result<PathInfo> {
    let read_error = |error| StoreError::format("reading a NAR", error);
    let mut head = Vec::new();
    let n_read = Read::take(&mut *nar, SPOOL_LIMIT as u64).read_to_end(&mut head).map_err(read_error)?;
    if n_read < SPOOL_LIMIT {
        let info = address(&store.layout.store_dir, addressing, &mut |sink| {
            parse_nar(&mut Tee::new(&mut head.as_slice(), sink))
        })?;
        add_missing(store, &info, &mut |staged| restore(store, &mut head.as_slice(), staged))?;
        return Ok(info);
    }
    store.writable("adding a path")?;
    let staging = store.staging()?;
    let staged = staging.place();
    let mut whole = BufReader::with_capacity(64 * 1024, head.as_slice().chain(nar));
    let info = address(&store.layout.store_dir, addressing, &mut |sink| {
        restore(store, &mut Tee::new(&mut whole, sink), &staged)
    })?;
    let Some(_locks) = lock_missing(store, &info.path)? else { return Ok(info) };
    install(store, staged, &info.path)?;
    register_or_remove(store, &info, true)?;
    Ok(info)
}

/// Adds a file tree: hashes it, and copies it only if it is missing.
///
/// A large tree of a name that no valid path has can't be there, so it is copied at once, while it is hashed. Otherwise
/// it is read twice rather than written in vain: adding again what has not changed writes nothing.
fn from_tree(
    store: &LocalStore,
    addressing: &Addressing<'_>,
    path: &Path,
    mut filter: Option<&mut Filter<'_>>,
) -> Result<PathInfo> {
    // The filter is asked once per file, whatever the number of passes: it may be slow, or answer differently.
    let mut taken = BTreeMap::new();
    let mut spooled = Some(Vec::new());
    let mut is_new_name = false;
    let hashed = address(&store.layout.store_dir, addressing, &mut |sink| {
        let mut stop = || {
            is_new_name = !store.options.read_only && matches!(store.index.has_name(addressing.name), Ok(false));
            is_new_name
        };
        let mut spool = Spool { bytes: &mut spooled, limit: SPOOL_LIMIT, sink, stop: Some(&mut stop) };
        match &mut filter {
            None => dump(path, None, &mut spool),
            Some(filter) => {
                let mut remember = |path: &Path, kind: FileKind| {
                    let take = filter(path, kind);
                    taken.insert(path.to_owned(), take);
                    take
                };
                dump(path, Some(&mut remember), &mut spool)
            }
        }
    });
    let has_filter = filter.is_some();
    let mut replay = |path: &Path, kind: FileKind| match (taken.get(path), &mut filter) {
        (Some(taken), _) => *taken,
        (None, Some(filter)) if is_new_name => filter(path, kind),
        _ => false,
    };
    let replayed: Option<&mut Filter<'_>> = if has_filter { Some(&mut replay) } else { None };
    if is_new_name {
        return from_new_tree(store, addressing, path, replayed);
    }
    let info = hashed?;
    let mut replayed = replayed;
    add_missing(store, &info, &mut |staged| match &spooled {
        Some(bytes) => restore(store, &mut bytes.as_slice(), staged),
        None => copy_tree(store, path, replayed.take(), staged, &info),
    })?;
    Ok(info)
}

/// Copies a tree while it is hashed.
fn from_new_tree(
    store: &LocalStore,
    addressing: &Addressing<'_>,
    path: &Path,
    filter: Option<&mut Filter<'_>>,
) -> Result<PathInfo> {
    let staging = store.staging()?;
    let staged = staging.place();
    let mut filter = filter;
    let info = address(&store.layout.store_dir, addressing, &mut |sink| {
        crate::fs::dump::dump_and_copy(path, filter.take(), sink, tree_writer(store, &staged))
    })?;
    let Some(_locks) = lock_missing(store, &info.path)? else { return Ok(info) };
    install(store, staged, &info.path)?;
    register_or_remove(store, &info, true)?;
    Ok(info)
}

/// Copies a tree that is too large for memory, and makes sure that it is still the one that was hashed.
fn copy_tree(
    store: &LocalStore,
    path: &Path,
    filter: Option<&mut Filter<'_>>,
    staged: &Staged<'_>,
    info: &PathInfo,
) -> Result<()> {
    let mut hasher = NarHasher::new();
    crate::fs::dump::dump_and_copy(path, filter, &mut hasher, tree_writer(store, staged))?;
    if hasher.finish().0 == info.nar_hash { Ok(()) } else { Err(StoreError::TreeChanged { path: path.to_owned() }) }
}

/// See [`Store::add_texts`].
pub(super) fn texts(store: &LocalStore, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
    let dir = &store.layout.store_dir;
    let infos: Vec<PathInfo> = texts.iter().map(|text| text_info(dir, text)).collect::<Result<_>>()?;
    let paths: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
    store.add_temp_roots(&paths)?;
    let valid = store.are_valid(&paths)?;
    if !valid.iter().all(|valid| *valid) {
        store.writable("adding a path")?;
    }
    let mut seen = HashSet::new();
    let missing: Vec<(&Text<'_>, &PathInfo)> = texts
        .iter()
        .zip(&infos)
        .zip(valid)
        .filter(|((_, info), valid)| !valid && seen.insert(&info.path))
        .map(|(missing, _)| missing)
        .collect();
    for chunk in missing.chunks(TEXTS_AT_ONCE) {
        add_missing_texts(store, chunk)?;
    }
    Ok(paths)
}

fn add_missing_texts(store: &LocalStore, texts: &[(&Text<'_>, &PathInfo)]) -> Result<()> {
    let paths: Vec<StorePath> = texts.iter().map(|(_, info)| info.path.clone()).collect();
    let _locks = store.lock_paths(&paths)?;
    let valid = store.are_valid(&paths)?;
    let staging = store.staging()?;
    let mut prepared = Vec::with_capacity(texts.len());
    let mut installed = Vec::with_capacity(texts.len());
    for ((text, info), _) in texts.iter().zip(valid).filter(|(_, valid)| !valid) {
        let outputs = if info.path.is_derivation() {
            let derivation = parse_derivation(&store.layout.store_dir, &info.path, text.contents)?;
            Some(store.output_rows(&derivation)?)
        } else {
            Some(Vec::new())
        };
        let staged = staging.place();
        tree_writer(store, &staged).file(false, text.contents)?;
        install(store, staged, &info.path)?;
        installed.push(&info.path);
        prepared.push((*info, outputs));
    }
    let registered = store.registrations(prepared).and_then(|rows| store.register(&rows));
    if registered.is_err() {
        for path in installed {
            let _ = remove(store, path);
        }
    }
    registered
}

/// Roots a path, and locks it unless it is valid already.
fn lock_missing(store: &LocalStore, path: &StorePath) -> Result<Option<crate::local::locks::PathLocks>> {
    store.add_temp_roots(std::slice::from_ref(path))?;
    if store.is_valid(path)? {
        return Ok(None);
    }
    store.writable("adding a path")?;
    let locks = store.lock_paths(std::slice::from_ref(path))?;
    Ok(if store.is_valid(path)? { None } else { Some(locks) })
}

/// Adds an object if it is missing; `make` makes its files.
fn add_missing(
    store: &LocalStore,
    info: &PathInfo,
    make: &mut dyn FnMut(&Staged<'_>) -> Result<()>,
) -> Result<()> {
    let Some(_locks) = lock_missing(store, &info.path)? else { return Ok(()) };
    let staging = store.staging()?;
    let staged = staging.place();
    make(&staged)?;
    install(store, staged, &info.path)?;
    register_or_remove(store, info, true)
}

fn restore(store: &LocalStore, nar: &mut dyn BufRead, staged: &Staged<'_>) -> Result<()> {
    let sync = store.options.fsync_store_paths;
    restore_at(nar, staged.dir(), staged.dir_path(), staged.name(), Metadata::Canonical, sync)
}

fn tree_writer<'s>(store: &LocalStore, staged: &'s Staged<'_>) -> TreeWriter<'s> {
    let sync = store.options.fsync_store_paths;
    TreeWriter::new(staged.dir(), staged.dir_path(), staged.name(), Metadata::Canonical, sync)
}

/// Gives a finished object its name in the store, after removing what is in the way. The caller holds the path's lock.
fn install(store: &LocalStore, mut staged: Staged<'_>, path: &StorePath) -> Result<()> {
    let name = path.base_name();
    remove(store, path)?;
    let real = store.to_real_path(path);
    let io = |action, error: Errno| StoreError::io(action, &real, error);
    let rename = || {
        rustix::fs::renameat_with(staged.dir(), staged.name(), &store.store_fd, &name, RenameFlags::NOREPLACE)
    };
    match rename() {
        Ok(()) => {}
        // A directory that changes its parent must be writable for its owner; root may do without.
        Err(Errno::ACCESS) => {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(staged.dir(), staged.name(), flags, Mode::empty())
                .map_err(|error| io("opening", error))?;
            rustix::fs::fchmod(&dir, canonical_mode(true) | Mode::WUSR).map_err(|error| io("renaming to", error))?;
            let renamed = rename();
            rustix::fs::fchmod(&dir, canonical_mode(true)).map_err(|error| io("renaming to", error))?;
            rustix::fs::futimens(&dir, &TIMES).map_err(|error| io("renaming to", error))?;
            renamed.map_err(|error| io("renaming to", error))?;
        }
        // Not every file system knows how to rename without replacing.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::renameat(staged.dir(), staged.name(), &store.store_fd, &name)
                .map_err(|error| io("renaming to", error))?;
        }
        Err(error) => return Err(io("renaming to", error)),
    }
    staged.moved();
    sync_store_dir(store)
}

/// Puts a finished object in the place of a valid one, which is removed with the staged name.
fn exchange(store: &LocalStore, staged: Staged<'_>, path: &StorePath) -> Result<()> {
    let name = path.base_name();
    match rustix::fs::renameat_with(staged.dir(), staged.name(), &store.store_fd, &name, RenameFlags::EXCHANGE) {
        Ok(()) => sync_store_dir(store),
        // Directories that their owner can't write don't change places, and not every file system knows how.
        Err(Errno::NOENT | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::XDEV) => install(store, staged, path),
        Err(error) => Err(StoreError::io("renaming to", store.to_real_path(path), error)),
    }
}

fn sync_store_dir(store: &LocalStore) -> Result<()> {
    if store.options.fsync_store_paths {
        rustix::fs::fsync(&store.store_fd)
            .map_err(|error| StoreError::io("syncing", &store.layout.real_store_dir, error))?;
    }
    Ok(())
}

fn remove(store: &LocalStore, path: &StorePath) -> Result<u64> {
    remove_tree_at(&store.store_fd, &store.layout.real_store_dir, path.base_name().as_ref())
}

/// Registers an object that has its name; if that fails its files go again.
fn register_or_remove(store: &LocalStore, info: &PathInfo, remove_on_error: bool) -> Result<()> {
    let registered = store.registrations([(info, None)]).and_then(|rows| store.register(&rows));
    if registered.is_err() && remove_on_error {
        let _ = remove(store, &info.path);
    }
    registered
}
