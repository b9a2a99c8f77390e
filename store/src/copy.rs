//! Copying closures from store to store.
//!
//! Each object is added after those that it refers to, several at the same time. The surprising thing: a path that
//! follows from its contents and has no references may go to a store with another directory; it has another name there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use crate::closure;
use crate::error::{Result, StoreError};
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::realisation::Realisation;
use crate::store::{AddOptions, Store, WriteNarOf, with_nar};
use crate::transfer::Interrupt;

/// How something is copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Whether the destination asks for signatures, if it does at all. Only somebody who trusts the source may turn
    /// this off.
    pub check_signatures: bool,
    /// Copies also what is valid already, in place of it.
    pub repair: bool,
    /// Lets the destination first fetch what it can get elsewhere.
    pub substitute: bool,
    /// Stops the copying.
    pub interrupt: Interrupt,
}

impl Default for CopyOptions {
    fn default() -> CopyOptions {
        CopyOptions { check_signatures: true, repair: false, substitute: false, interrupt: Interrupt::default() }
    }
}

/// Watches copying. Called from several threads, never two calls for one path at once.
pub trait CopyObserver: Sync {
    /// It is known what is to be copied: so many paths, with so many bytes as NARs.
    fn planned(&self, n_paths: usize, n_bytes: u64) {
        let _ = (n_paths, n_bytes);
    }

    /// A path is begun.
    fn started(&self, info: &PathInfo) {
        let _ = info;
    }

    /// So many bytes of a path's NAR were read.
    fn progress(&self, info: &PathInfo, n_bytes: u64) {
        let _ = (info, n_bytes);
    }
}

/// Watches nothing.
impl CopyObserver for () {}

/// Copies these paths and all they refer to, as far as they are missing; each after what it refers to. The source is
/// trusted. Returns what was copied.
///
/// # Errors
/// As [`copy`].
pub fn copy_closure(from: &dyn Store, to: &dyn Store, paths: &[StorePath]) -> Result<Vec<StorePath>> {
    copy_paths(from, to, &from.closure(paths)?)
}

/// Copies these paths as far as they are missing; what they refer to must be among them or valid in `to`. The source is
/// trusted. Returns what was copied.
///
/// # Errors
/// As [`copy`].
pub fn copy_paths(from: &dyn Store, to: &dyn Store, paths: &BTreeSet<StorePath>) -> Result<Vec<StorePath>> {
    copy(from, to, paths, &CopyOptions { check_signatures: false, ..CopyOptions::default() }, &())
}

/// Copies these paths as far as they are missing; what they refer to must be among them or valid in `to`. Returns the
/// names in `to` of what was copied.
///
/// # Errors
/// When a path is not valid in `from` or has no name in `to`, when a signature is missing, and what reading and adding
/// give. What was copied until then stays.
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    paths: &BTreeSet<StorePath>,
    options: &CopyOptions,
    observer: &dyn CopyObserver,
) -> Result<Vec<StorePath>> {
    let all: Vec<StorePath> = paths.iter().cloned().collect();
    let mut infos = Vec::with_capacity(all.len());
    let is_same_dir = from.store_dir() == to.store_dir();
    let wanted = if is_same_dir && !options.repair { missing(to, &all, options)? } else { all };
    for (path, info) in wanted.iter().zip(from.query_path_infos(&wanted)?) {
        infos.push(info.ok_or_else(|| from.invalid(path))?);
    }
    // From names there to infos and names here.
    let mut sources: HashMap<StorePath, StorePath> = HashMap::with_capacity(infos.len());
    for info in &mut infos {
        let name = name_in(from, to, info)?;
        sources.insert(name.clone(), std::mem::replace(&mut info.path, name));
        // Facts about the other store, not about the object.
        info.info.ultimate = false;
        info.info.registration_time = 0;
    }
    if !is_same_dir && !options.repair {
        let names: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
        let missing: BTreeSet<StorePath> = missing(to, &names, options)?.into_iter().collect();
        infos.retain(|info| missing.contains(&info.path));
    }
    let infos = sorted(to.store_dir(), infos)?;
    observer.planned(infos.len(), infos.iter().map(|info| info.nar_size).sum());
    let write_nar = |info: &PathInfo, sink: &mut dyn Write| {
        if options.interrupt.is_interrupted() {
            return Err(StoreError::Interrupted);
        }
        observer.started(info);
        let mut watched = Watched { sink, info, observer, interrupt: &options.interrupt, n_bytes: 0, n_shown: 0 };
        let source = &sources[&info.path];
        let written = from.write_nar(source, &mut watched);
        if options.interrupt.is_interrupted() { Err(StoreError::Interrupted) } else { written }
    };
    let add = AddOptions { repair: options.repair, check_signatures: options.check_signatures };
    to.add_nars(&infos, &write_nar, &add)?;
    Ok(infos.into_iter().map(|info| info.path).collect())
}

/// Copies what is known of outputs; their paths must be valid in `to`. A store that keeps no such knowledge is left
/// alone.
///
/// # Errors
/// When a signature is missing or an output is known to be another path.
pub fn copy_realisations(to: &dyn Store, realisations: &[Realisation], options: &CopyOptions) -> Result<()> {
    if realisations.is_empty() || !to.capabilities().realisations {
        return Ok(());
    }
    to.register_realisations(realisations, options.check_signatures)
}

/// Returns what users are told when a path is copied: `copying path '…' from '…' to '…'`. A store of this machine's own
/// is not named.
pub fn message(from: &str, to: &str, path: &str) -> String {
    let is_own = |address: &str| {
        let base = address.split('?').next().unwrap_or_default();
        matches!(base.trim_end_matches("://"), "local" | "daemon" | "unix" | "auto" | "")
    };
    match (is_own(from), is_own(to)) {
        (true, _) => format!("copying path '{path}' to '{to}'"),
        (false, true) => format!("copying path '{path}' from '{from}'"),
        (false, false) => format!("copying path '{path}' from '{from}' to '{to}'"),
    }
}

/// Adds paths by [`Store::add_nar`], several at a time, each after those of them that it refers to.
pub(crate) fn add_in_order<S: Store + ?Sized>(
    store: &S,
    infos: &[PathInfo],
    write_nar: &WriteNarOf<'_>,
    options: &AddOptions,
) -> Result<()> {
    let index: HashMap<&StorePath, usize> = infos.iter().map(|info| &info.path).zip(0..).collect();
    let dependencies: Vec<Vec<usize>> = infos
        .iter()
        .enumerate()
        .map(|(idx, info)| info.references.iter().filter_map(|path| index.get(path).copied()).filter(|i| *i != idx).collect())
        .collect();
    // Sources wait for networks and disks more than they work.
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(8);
    crate::parallel::in_order(&dependencies, n_threads, &|idx| {
        let info = &infos[idx];
        with_nar(&mut |sink| write_nar(info, sink), &mut |nar| store.add_nar(info, nar, options))
    })
}

/// Returns those that the destination has not, after it got what it can elsewhere.
fn missing(to: &dyn Store, paths: &[StorePath], options: &CopyOptions) -> Result<Vec<StorePath>> {
    let those = |valid: Vec<bool>, paths: &[StorePath]| -> Vec<StorePath> {
        paths.iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path.clone()).collect()
    };
    to.add_temp_roots(paths)?;
    let missing = those(to.are_valid(paths)?, paths);
    if !options.substitute || missing.is_empty() {
        return Ok(missing);
    }
    to.substitute(&missing)?;
    Ok(those(to.are_valid(&missing)?, &missing))
}

/// Returns the name that an object has in another store.
fn name_in(from: &dyn Store, to: &dyn Store, info: &PathInfo) -> Result<StorePath> {
    if from.store_dir() == to.store_dir() {
        return Ok(info.path.clone());
    }
    info.content_address_with_references()
        .filter(|content| content.references.is_empty() && !content.self_reference)
        .and_then(|content| to.store_dir().fixed_output_path(info.path.name(), &content).ok())
        .ok_or(StoreError::Unsupported { operation: "copying between stores with different directories" })
}

/// Sorts so that each comes after those that it refers to.
fn sorted(dir: &StoreDir, infos: Vec<PathInfo>) -> Result<Vec<PathInfo>> {
    let references: BTreeMap<StorePath, BTreeSet<StorePath>> =
        infos.iter().map(|info| (info.path.clone(), info.references.clone())).collect();
    let mut by_path: HashMap<StorePath, PathInfo> = infos.into_iter().map(|info| (info.path.clone(), info)).collect();
    let order = closure::sort(dir, &references)?;
    Ok(order.iter().filter_map(|path| by_path.remove(path)).collect())
}

/// A sink that tells how far it is, and stops when it is time to.
struct Watched<'w> {
    sink: &'w mut dyn Write,
    info: &'w PathInfo,
    observer: &'w dyn CopyObserver,
    interrupt: &'w Interrupt,
    n_bytes: u64,
    n_shown: u64,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const STEP: u64 = 256 << 10;
        let n = self.sink.write(bytes)?;
        self.n_bytes += n as u64;
        if self.n_bytes >= self.n_shown + STEP {
            if self.interrupt.is_interrupted() {
                return Err(io::Error::other("interrupted"));
            }
            self.n_shown = self.n_bytes;
            self.observer.progress(self.info, self.n_bytes);
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::memory::MemoryStore;
    use crate::store::{Addressing, Contents};

    #[derive(Default)]
    struct Counter(AtomicU64);

    impl CopyObserver for Counter {
        fn started(&self, _: &PathInfo) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn closures_arrive_and_nothing_is_copied_twice() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let mut last = from.add_text("n", b"0", &BTreeSet::new()).unwrap();
        let mut paths = vec![last.clone()];
        for idx in 1..50 {
            let references = [last.clone(), paths[idx / 2].clone()].into();
            last = from.add_text("n", format!("{idx}").as_bytes(), &references).unwrap();
            paths.push(last.clone());
        }
        let counter = Counter::default();
        let closure = from.closure(&[last.clone()]).unwrap();
        let copied = copy(&from, &to, &closure, &CopyOptions::default(), &counter).unwrap();
        assert_eq!((copied.len(), counter.0.into_inner()), (50, 50));
        assert_eq!(copy_closure(&from, &to, &[last]).unwrap(), []);
        assert_eq!(to.all_valid_paths().unwrap().len(), 50);
    }

    #[test]
    fn a_path_without_references_may_change_its_directory() {
        let from = MemoryStore::default();
        let to = MemoryStore::new(StoreDir::new("/elsewhere").unwrap());
        let source = from.add_contents(&Addressing::source("s"), Contents::Bytes(b"text")).unwrap();
        let copied = copy_closure(&from, &to, &[source.path.clone()]).unwrap();
        assert_ne!(copied, [source.path.clone()]);
        assert_eq!(to.read_file(&copied[0]).unwrap(), b"text");
        assert_eq!(copy_closure(&from, &to, &[source.path.clone()]).unwrap(), []);
        let text = from.add_text("t", b"", &[source.path].into()).unwrap();
        assert!(matches!(copy_closure(&from, &to, &[text]), Err(StoreError::Unsupported { .. })));
    }

    #[test]
    fn copying_can_be_interrupted() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let path = from.add_text("n", &vec![0; 1 << 20], &BTreeSet::new()).unwrap();
        let options = CopyOptions { interrupt: Interrupt::new(|| true), ..CopyOptions::default() };
        let result = copy(&from, &to, &[path.clone()].into(), &options, &());
        assert!(matches!(result, Err(StoreError::Interrupted)), "{result:?}");
        assert!(!to.is_valid(&path).unwrap());
    }

    #[test]
    fn messages_name_what_is_not_this_machines_own() {
        assert_eq!(message("local", "file:///c", "/p"), "copying path '/p' to 'file:///c'");
        assert_eq!(message("file:///c", "local?root=/x", "/p"), "copying path '/p' from 'file:///c'");
        assert_eq!(message("file:///c", "ssh://h", "/p"), "copying path '/p' from 'file:///c' to 'ssh://h'");
    }
}
