//! Binary caches: stores that are nothing but files behind an address.
//!
//! `<hash part>.narinfo` says what an object is and where its compressed archive lies, `nix-cache-info` whether it is
//! a cache at all. All else (`.ls` listings, `log/`, `debuginfo/`, `realisations/` or `build-trace-v2/`) is there or not. Files come and go
//! through a [`Transport`], so one implementation serves disks, HTTP and whatever a host thinks of.
//!
//! The surprising thing: nothing in a cache can be believed. Who adds from it checks hash and signature; here only what
//! would lead astray is refused: a narinfo for another name, an archive that is longer than announced, an address that
//! points to the local disk.
//!
//! Archives stream in both directions; memory does not grow with their size.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::addressed::{address, write_file_nar};
use crate::compression::{Compression, EncoderOptions};
use crate::error::{Result, StoreError};
use crate::nar::Listing;
use crate::narinfo::NarInfo;
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::content_rules::ContentRules;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::signature::SecretKey;
use crate::store::{
    AddOptions, Addressing, Capabilities, Contents, Store, Text, WriteNarOf, text_info, with_nar,
};
use crate::transfer::{Interrupt, TransferObserver, Transport};

pub mod disk_cache;
mod files;
pub mod info;
mod lookup;
mod read;
pub mod server;
mod write;

use disk_cache::DiskCache;
use files::Files;
use info::CacheInfo;
use lookup::Lookups;

/// How a [`BinaryCache`] is used. The defaults are the reference's.
#[derive(Clone)]
#[non_exhaustive]
pub struct BinaryCacheOptions {
    /// The directory that paths name; the cache must be for the same.
    pub store_dir: StoreDir,
    /// How archives are compressed (`compression`).
    pub compression: Compression,
    /// Level and parallelism (`compression-level`, `parallel-compression`).
    pub encoder: EncoderOptions,
    /// How `.narinfo` files are compressed on servers (`narinfo-compression`).
    pub narinfo_compression: Compression,
    /// How `.ls` files are compressed on servers (`ls-compression`).
    pub listing_compression: Compression,
    /// How logs are compressed on servers (`log-compression`).
    pub log_compression: Compression,
    /// Whether to write listings (`write-nar-listing`).
    pub write_listing: bool,
    /// Whether to write an index of files with debug information (`index-debug-info`).
    pub index_debug_info: bool,
    /// In which form realisations are asked for. What is added may be in either.
    pub content_rules: ContentRules,
    /// Keys that sign what is added (`secret-key`, `secret-keys`).
    pub secret_keys: Vec<SecretKey>,
    /// In place of what the cache says (`priority`); lower is asked first.
    pub priority: Option<i64>,
    /// In place of what the cache says (`want-mass-query`).
    pub want_mass_query: Option<bool>,
    /// Requests at the same time (`http-connections`).
    pub n_parallel: usize,
    /// A directory in which archives are kept whose single files were asked for (`local-nar-cache`).
    pub nar_cache: Option<PathBuf>,
    /// Treats a directory as if it were on a server: it is not listed or written to, and its answers are remembered.
    pub as_server: bool,
    /// Remembers answers of servers between processes.
    pub disk_cache: Option<Arc<DiskCache>>,
    /// Stops everything that the handle does.
    pub interrupt: Interrupt,
    /// Gets told about transfers.
    pub observer: Option<Arc<dyn TransferObserver>>,
}

impl Default for BinaryCacheOptions {
    fn default() -> BinaryCacheOptions {
        BinaryCacheOptions {
            store_dir: StoreDir::default(),
            compression: Compression::Xz,
            encoder: EncoderOptions::default(),
            narinfo_compression: Compression::None,
            listing_compression: Compression::None,
            log_compression: Compression::None,
            write_listing: false,
            index_debug_info: false,
            content_rules: ContentRules::default(),
            secret_keys: Vec::new(),
            priority: None,
            want_mass_query: None,
            n_parallel: 25,
            nar_cache: None,
            as_server: false,
            disk_cache: None,
            interrupt: Interrupt::default(),
            observer: None,
        }
    }
}

/// A binary cache.
///
/// ```
/// use std::sync::Arc;
/// use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
/// use nixlang_store::memory::MemoryStore;
/// use nixlang_store::store::Store;
/// use nixlang_store::transfer::file::FileTransport;
///
/// let directory = tempfile::tempdir()?;
/// let url = format!("file://{}", directory.path().display());
/// let cache = BinaryCache::open(&url, Arc::new(FileTransport), BinaryCacheOptions::default())?;
///
/// let store = MemoryStore::default();
/// let path = store.add_text("greeting", b"hello", &Default::default())?;
/// nixlang_store::copy::copy_closure(&store, &cache, &[path.clone()])?;
/// assert_eq!(cache.read_file(&path)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BinaryCache {
    files: Files,
    options: BinaryCacheOptions,
    info: CacheInfo,
    lookups: Lookups,
    /// The cache's number in the disk cache.
    disk_cache_id: Option<i64>,
}

impl BinaryCache {
    /// Opens the cache at an address without parameters: `file:///directory`, `https://host/directory`. One on disk
    /// that is not there is made.
    ///
    /// # Errors
    /// When there is no cache at the address, or one for another store directory.
    pub fn open(url: &str, transport: Arc<dyn Transport>, options: BinaryCacheOptions) -> Result<BinaryCache> {
        let files = Files::new(url, transport, &options)?;
        files.make_directories(options.index_debug_info)?;
        let (info, disk_cache_id) = info::obtain(&files, &options)?;
        Ok(BinaryCache { files, options, info, lookups: Lookups::default(), disk_cache_id })
    }

    /// Returns how it is used.
    pub fn options(&self) -> &BinaryCacheOptions {
        &self.options
    }

    /// Returns its priority among caches; lower is asked first.
    pub fn priority(&self) -> i64 {
        self.options.priority.unwrap_or(self.info.priority)
    }

    /// Returns whether it may be asked about many paths at once.
    pub fn wants_mass_query(&self) -> bool {
        self.options.want_mass_query.unwrap_or(self.info.want_mass_query)
    }

    /// Returns what the cache says about these paths, `None` for those that it has not.
    ///
    /// # Errors
    /// When the cache can't be asked or says something that does not parse.
    pub fn query_narinfos(&self, paths: &[StorePath]) -> Result<Vec<Option<Arc<NarInfo>>>> {
        lookup::narinfos(self, paths)
    }

    /// Returns what the cache says about a valid path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], or as [`BinaryCache::query_narinfos`].
    pub fn narinfo(&self, path: &StorePath) -> Result<Arc<NarInfo>> {
        self.query_narinfos(std::slice::from_ref(path))?.pop().flatten().ok_or_else(|| self.invalid(path))
    }

    /// Forgets what the cache said about a path.
    fn forget(&self, path: &StorePath) {
        self.lookups.forget(&path.hash_part());
        if let Some((disk_cache, id)) = self.disk_cache() {
            disk_cache.forget_narinfo(id, &path.hash_part());
        }
    }

    fn disk_cache(&self) -> Option<(&DiskCache, i64)> {
        Some((self.options.disk_cache.as_deref()?, self.disk_cache_id?))
    }

    /// Returns where the file with debug information for a build id is: the archive's name in the cache, and the file in
    /// it.
    ///
    /// # Errors
    /// When the cache can't be asked or says something that does not parse.
    pub fn debug_info(&self, build_id: &str) -> Result<Option<(String, String)>> {
        read::debug_info(self, build_id)
    }
}

impl Store for BinaryCache {
    fn store_dir(&self) -> &StoreDir {
        &self.options.store_dir
    }

    fn address(&self) -> String {
        self.files.url().to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            add: true,
            list_paths: self.files.directory().is_some(),
            add_signatures: true,
            realisations: true,
            build_logs: true,
            ..Capabilities::default()
        }
    }

    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(self.files.directory().map(|_| true))
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let narinfos = self.query_narinfos(paths)?;
        Ok(narinfos.into_iter().map(|narinfo| Some(narinfo?.path_info.clone())).collect())
    }

    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        Ok(self.query_narinfos(paths)?.iter().map(Option::is_some).collect())
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        lookup::all(self)
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        lookup::by_hash_part(self, hash_part)
    }

    fn content_rules(&self) -> ContentRules {
        self.options.content_rules
    }

    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        lookup::realisations(self, ids)
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        read::nar(self, path, sink)
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_file(path, &[], &mut bytes)?;
        Ok(bytes)
    }

    fn real_path(&self, _path: &StorePath) -> Option<PathBuf> {
        None
    }

    fn listing(&self, path: &StorePath) -> Result<Listing> {
        read::listing(self, path)
    }

    fn write_file(&self, path: &StorePath, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
        read::file(self, path, below, sink)
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        if !options.repair && self.is_valid(&info.path)? {
            return Ok(());
        }
        write::nar(self, info, nar, options)
    }

    fn add_nars(&self, infos: &[PathInfo], write_nar: &WriteNarOf<'_>, options: &AddOptions) -> Result<()> {
        write::nars(self, infos, write_nar, options)
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        let failed = |error| StoreError::format("making an archive", error);
        let mut spool = tempfile::tempfile().map_err(failed)?;
        let mut contents = Some(contents);
        let info = address(self.store_dir(), addressing, &mut |hasher| {
            let mut sink = write::Both(&mut spool, hasher);
            match contents.take().expect("asked for once") {
                Contents::Bytes(bytes) => write_file_nar(&mut sink, bytes),
                Contents::Tree { path, filter } => crate::fs::dump(path, filter, &mut sink),
                Contents::Nar(nar) => {
                    std::io::copy(&mut *nar, &mut sink).map(drop).map_err(|error| StoreError::format("reading a NAR", error))
                }
            }
        })?;
        std::io::Seek::rewind(&mut spool).map_err(failed)?;
        self.add_nar(&info, &mut spool, &AddOptions::default())?;
        Ok(info)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        let mut paths = Vec::with_capacity(texts.len());
        for text in texts {
            let info = text_info(self.store_dir(), text)?;
            with_nar(&mut |sink| write_file_nar(&mut &mut *sink, text.contents), &mut |nar| {
                self.add_nar(&info, nar, &AddOptions::default())
            })?;
            paths.push(info.path);
        }
        Ok(paths)
    }

    fn add_signatures(&self, path: &StorePath, signatures: &[String]) -> Result<()> {
        let mut narinfo = NarInfo::clone(&*self.narinfo(path)?);
        let before = narinfo.path_info.info.signatures.len();
        narinfo.path_info.info.signatures.extend(signatures.iter().cloned());
        if narinfo.path_info.info.signatures.len() == before {
            return Ok(());
        }
        write::narinfo(self, narinfo)
    }

    fn register_realisations(&self, realisations: &[Realisation], _check_signatures: bool) -> Result<()> {
        realisations.iter().try_for_each(|realisation| write::realisation(self, realisation))
    }

    fn build_log(&self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        read::log(self, path)
    }

    fn add_build_log(&self, derivation: &StorePath, log: &[u8]) -> Result<()> {
        let name = format!("log/{}", derivation.base_name());
        self.files.put_bytes(&name, log, "text/plain; charset=utf-8", self.options.log_compression)
    }
}

#[cfg(test)]
mod tests;
