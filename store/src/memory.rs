//! A store in memory: for tests, for evaluation without a disk, and as the plainest reading of the trait.
//!
//! Objects are kept as their NARs. Nothing is ever collected, so roots are accepted and forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::addressed::{NarHasher, Spool, Tee, address, parse_nar, verify_contents, write_file_nar};
use crate::error::{Result, StoreError};
use crate::nar::{Event, NarReader};
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::{
    AddOptions, Addressing, Capabilities, Contents, Store, Text, check_info, check_same_realisation, parse_derivation,
    static_outputs, text_info,
};

/// A store in memory.
///
/// ```
/// use nixlang_store::memory::MemoryStore;
/// use nixlang_store::store::Store;
///
/// let store = MemoryStore::default();
/// let path = store.add_text("greeting", b"hello", &Default::default())?;
/// assert_eq!(store.read_file(&path)?, b"hello");
/// # Ok::<(), nixlang_store::error::StoreError>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    store_dir: StoreDir,
    objects: RwLock<BTreeMap<StorePath, Object>>,
    realisations: RwLock<BTreeMap<DerivationOutputId, Realisation>>,
    logs: RwLock<BTreeMap<StorePath, Vec<u8>>>,
}

#[derive(Debug, Clone)]
struct Object {
    info: PathInfo,
    nar: Arc<[u8]>,
}

impl MemoryStore {
    /// Makes an empty store for paths in this directory.
    pub fn new(store_dir: StoreDir) -> MemoryStore {
        MemoryStore { store_dir, ..MemoryStore::default() }
    }

    fn objects(&self) -> RwLockReadGuard<'_, BTreeMap<StorePath, Object>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, path: &StorePath) -> Result<Object> {
        self.objects().get(path).cloned().ok_or_else(|| self.invalid(path))
    }

    /// Adds an object whose NAR is known to be what its facts say.
    fn insert(&self, info: PathInfo, nar: Vec<u8>, replace: bool) -> Result<()> {
        if info.path.is_derivation() {
            let bytes = file_contents(&info.path, &nar)?;
            static_outputs(&self.store_dir, &parse_derivation(&self.store_dir, &info.path, &bytes)?)?;
        }
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = objects.get(&info.path)
            && !replace
        {
            debug_assert_eq!(known.info.nar_hash, info.nar_hash, "content-addressed or checked by its hash");
            return Ok(());
        }
        let missing = info.references.iter().find(|path| **path != info.path && !objects.contains_key(*path));
        if let Some(missing) = missing {
            return Err(self.invalid(missing));
        }
        objects.insert(info.path.clone(), Object { info, nar: nar.into() });
        Ok(())
    }
}

impl Store for MemoryStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            add: true,
            list_paths: true,
            referrers: true,
            add_signatures: true,
            realisations: true,
            build_logs: true,
            ..Capabilities::default()
        }
    }

    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(Some(true))
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let objects = self.objects();
        Ok(paths.iter().map(|path| objects.get(path).map(|object| object.info.clone())).collect())
    }

    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        let objects = self.objects();
        Ok(paths.iter().map(|path| objects.contains_key(path)).collect())
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        Ok(self.objects().keys().cloned().collect())
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        Ok(self.objects().keys().find(|path| path.hash_part() == *hash_part).cloned())
    }

    fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let objects = self.objects();
        let referrers = objects.values().filter(|object| object.info.references.contains(path));
        Ok(referrers.map(|object| object.info.path.clone()).collect())
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let derivations: Vec<StorePath> = self.objects().keys().filter(|path| path.is_derivation()).cloned().collect();
        let mut derivers = BTreeSet::new();
        for derivation in derivations {
            if self.derivation_outputs(&derivation)?.values().flatten().any(|output| output == path) {
                derivers.insert(derivation);
            }
        }
        Ok(derivers)
    }

    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>> {
        static_outputs(&self.store_dir, &self.read_derivation(derivation)?)
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        let object = self.object(path)?;
        sink.write_all(&object.nar).map_err(|error| StoreError::format("writing a NAR", error))
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        file_contents(path, &self.object(path)?.nar)
    }

    fn real_path(&self, _path: &StorePath) -> Option<PathBuf> {
        None
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        check_info(&self.store_dir, info)?;
        if !options.repair && self.is_valid(&info.path)? {
            return Ok(());
        }
        let limit = if info.nar_size == 0 { u64::MAX } else { info.nar_size };
        let mut hasher = NarHasher::new();
        let mut kept = Some(Vec::new());
        let mut spool = Spool { bytes: &mut kept, limit: usize::MAX, sink: &mut hasher, stop: None };
        parse_nar(&mut Tee::new(&mut BufReader::new(nar.take(limit)), &mut spool))?;
        let nar_size = hasher.check(&self.store_dir, info)?;
        let bytes = kept.expect("there is no limit");
        verify_contents(&self.store_dir, info, &mut |sink| {
            sink.write_all(&bytes).map_err(|error| StoreError::format("reading a NAR", error))
        })?;
        let mut info = info.clone();
        info.info.nar_size = nar_size;
        self.insert(info, bytes, options.repair)
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        let mut spooled = Some(Vec::new());
        let mut contents = Some(contents);
        let info = address(&self.store_dir, addressing, &mut |sink| {
            let mut spool = Spool { bytes: &mut spooled, limit: usize::MAX, sink, stop: None };
            match contents.take().expect("asked for once") {
                Contents::Bytes(bytes) => write_file_nar(&mut spool, bytes),
                Contents::Tree { path, filter } => crate::fs::dump(path, filter, &mut spool),
                Contents::Nar(nar) => parse_nar(&mut Tee::new(&mut BufReader::new(nar), &mut spool)),
            }
        })?;
        self.insert(info.clone(), spooled.expect("there is no limit"), false)?;
        Ok(info)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        let mut paths = Vec::with_capacity(texts.len());
        for text in texts {
            let info = text_info(&self.store_dir, text)?;
            let mut nar = Vec::new();
            write_file_nar(&mut nar, text.contents)?;
            paths.push(info.path.clone());
            self.insert(info, nar, false)?;
        }
        Ok(paths)
    }

    fn add_signatures(&self, path: &StorePath, signatures: &[String]) -> Result<()> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let object = objects.get_mut(path).ok_or_else(|| self.invalid(path))?;
        object.info.info.signatures.extend(signatures.iter().cloned());
        Ok(())
    }

    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        let realisations = self.realisations.read().unwrap_or_else(PoisonError::into_inner);
        Ok(ids.iter().map(|id| realisations.get(id).cloned()).collect())
    }

    fn register_realisations(&self, realisations: &[Realisation], _check_signatures: bool) -> Result<()> {
        let paths: Vec<StorePath> = realisations.iter().map(|realisation| realisation.path.clone()).collect();
        if let Some((path, _)) = paths.iter().zip(self.are_valid(&paths)?).find(|(_, valid)| !valid) {
            return Err(self.invalid(path));
        }
        let mut known = self.realisations.write().unwrap_or_else(PoisonError::into_inner);
        for new in realisations {
            let entry = known.entry(new.id.clone()).or_insert_with(|| new.clone());
            check_same_realisation(&self.store_dir, entry, new)?;
            entry.signatures.extend(new.signatures.iter().cloned());
        }
        Ok(())
    }

    fn build_log(&self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        let deriver = self.query_path_info(path)?.and_then(|info| info.info.deriver);
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        Ok(logs.get(path).or_else(|| logs.get(&deriver?)).cloned())
    }

    fn add_build_log(&self, derivation: &StorePath, log: &[u8]) -> Result<()> {
        self.logs.write().unwrap_or_else(PoisonError::into_inner).insert(derivation.clone(), log.to_owned());
        Ok(())
    }
}

/// Returns the bytes of the one regular file in a NAR.
fn file_contents(path: &StorePath, nar: &[u8]) -> Result<Vec<u8>> {
    let mut reader = NarReader::new(nar);
    let mut contents = None;
    while let Some(event) = reader.next_event().map_err(|error| StoreError::format("reading a NAR", error))? {
        match event {
            Event::File { .. } => contents = Some(Vec::new()),
            Event::Contents(bytes) => contents.get_or_insert_default().extend_from_slice(bytes),
            Event::EndFile => {}
            _ => break,
        }
    }
    contents.ok_or_else(|| StoreError::UnsupportedFileType { path: path.base_name().into() })
}
