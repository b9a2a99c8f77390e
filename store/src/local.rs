//! The store on the local disk, shared with other processes and other implementations.
//!
//! Everything that counts happens in the database: a path is valid when its row is there, and the row comes last. Files
//! without a row are left-overs; the next addition of the path replaces them, a collection deletes them.
//!
//! One handle serves any number of threads. A handle holds a shared lock on the whole database (`db/big-lock`) as long
//! as it lives, which makes others wait who want to change its schema.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

mod add;
pub mod canonicalise;
mod derivations;
pub(crate) mod index;
mod layout;
pub mod locks;
pub mod logs;
mod optimise;
mod options;
mod overlay;
mod realisations;
pub(crate) mod rows;
mod schema;
mod space;
mod staging;
mod verify;

pub use layout::Layout;
pub use options::LocalStoreOptions;
pub use overlay::{OverlayOptions, Remount};
pub use crate::store::{OptimiseEvent, OptimiseStats, VerifyEvent};
pub(crate) use layout::make_dirs;
pub use space::SpaceGuard;

use crate::derivation::Derivation;
use crate::error::{IoContext, Result, StoreError};
use crate::gc::temp_roots::TempRoots;
use crate::local::index::{Index, Registration};
use crate::local::locks::{LockMode, PathLocks, lock, open_lock_file};
use crate::local::staging::Staging;
use crate::path::{StoreDir, StorePath};
use crate::nar::Listing;
use crate::path_info::PathInfo;
use crate::transfer::Interrupt;
use crate::content_rules::ContentRules;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::{
    AddOptions, Addressing, Capabilities, Contents, GcOptions, GcResults, Roots, RootsEvent, Store, Text,
    VerifyOptions, add_realised_outputs, check_info, parse_derivation, static_outputs,
};

/// A store on the local disk.
#[derive(Debug)]
pub struct LocalStore {
    layout: Layout,
    options: LocalStoreOptions,
    pub(crate) index: Index,
    /// `None` if read-only.
    temp_roots: Option<Arc<TempRoots>>,
    pub(crate) store_fd: OwnedFd,
    staging: Mutex<Option<Arc<Staging>>>,
    guard_state: Mutex<space::GuardState>,
    /// Held shared as long as the store is open.
    _big_lock: Option<File>,
    overlay: Option<overlay::Overlay>,
    derivations: OnceLock<OtherStore>,
    interrupt: Interrupt,
}

/// A store that is asked for what is not here.
struct OtherStore(Arc<dyn Store>);

impl fmt::Debug for OtherStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.address())
    }
}

impl LocalStore {
    /// Opens a store, making it if there is none.
    ///
    /// # Errors
    /// When directories can't be made, when the store directory is a symbolic link, when the database is of another
    /// schema, or (read-only) when there is none.
    ///
    /// ```
    /// use nixlang_store::local::{LocalStore, LocalStoreOptions};
    /// use nixlang_store::store::Store;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let store = LocalStore::open(LocalStoreOptions::rooted(directory.path()))?;
    /// let path = store.add_text("greeting", b"hello", &Default::default())?;
    /// assert!(store.is_valid(&path)?);
    /// // The path says /nix/store, the file is below the root.
    /// assert!(store.real_path(&path).expect("on disk").starts_with(directory.path()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(options: LocalStoreOptions) -> Result<LocalStore> {
        let layout = Layout::new(&options)?;
        if !options.read_only {
            layout.make_directories()?;
        }
        if !options.allow_symlinked_store {
            layout.refuse_symlinks()?;
        }
        let big_lock = if options.read_only {
            None
        } else {
            layout.reserve_space(options.reserved_space);
            let path = layout.db_dir().join("big-lock");
            let file = open_lock_file(&path).map_err(|error| match error {
                StoreError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    StoreError::NotWritable { path, source }
                }
                other => other,
            })?;
            lock(&file, LockMode::Shared, &path)?;
            Some(file)
        };
        let index = open_index(&layout, &options)?;
        let temp_roots = if options.read_only { None } else { Some(TempRoots::of(&layout.state_dir)?) };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let store_fd =
            rustix::fs::open(&layout.real_store_dir, flags, Mode::empty()).at("opening", &layout.real_store_dir)?;
        Ok(LocalStore {
            layout,
            options,
            index,
            temp_roots,
            store_fd,
            staging: Mutex::new(None),
            guard_state: Mutex::default(),
            _big_lock: big_lock,
            overlay: None,
            derivations: OnceLock::new(),
            interrupt: Interrupt::default(),
        })
    }

    /// Lets collecting garbage, linking equal files and verifying end with [`StoreError::Interrupted`] between two paths
    /// once `interrupt` says so.
    #[must_use]
    pub fn interrupted_by(self, interrupt: Interrupt) -> LocalStore {
        LocalStore { interrupt, ..self }
    }

    /// Ends a long operation if that is wanted.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.interrupt.is_interrupted() { Err(StoreError::Interrupted) } else { Ok(()) }
    }

    /// Says in which store the derivations are that are not valid in this one: what is evaluated there can be built
    /// here. Only the first call counts.
    pub fn read_derivations_from(&self, other: Arc<dyn Store>) {
        let _ = self.derivations.set(OtherStore(other));
    }

    /// Returns where the store keeps what.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the options it was opened with.
    pub fn options(&self) -> &LocalStoreOptions {
        &self.options
    }

    /// Returns where the files of this path are or would be.
    pub fn to_real_path(&self, path: &StorePath) -> PathBuf {
        self.layout.real_store_dir.join(path.base_name())
    }

    /// Locks paths against other writers, waiting for them. Whoever makes files of a store path outside of the methods
    /// here, as a build does, holds these locks meanwhile and looks after locking whether the path is valid by now.
    ///
    /// # Errors
    /// When the lock files can't be made.
    pub fn lock_paths(&self, paths: &[StorePath]) -> Result<PathLocks> {
        PathLocks::lock(&self.lockable(paths).collect())
    }

    /// As [`LocalStore::lock_paths`], but returns `None` if somebody has one of them.
    ///
    /// # Errors
    /// As [`LocalStore::lock_paths`].
    pub fn try_lock_paths(&self, paths: &[StorePath]) -> Result<Option<PathLocks>> {
        PathLocks::try_lock(&self.lockable(paths).collect())
    }

    fn lockable<'p>(&self, paths: &'p [StorePath]) -> impl Iterator<Item = PathBuf> + use<'_, 'p> {
        paths.iter().filter(|path| !self.options.held_locks.contains(path)).map(|path| self.to_real_path(path))
    }

    /// Returns the logical path that this real or logical path, or what lies below it, stands for; with the rest.
    pub fn to_store_path<'p>(&self, path: &'p Path) -> Option<(StorePath, &'p Path)> {
        let below = path
            .strip_prefix(&self.layout.real_store_dir)
            .or_else(|_| path.strip_prefix(self.layout.store_dir.as_str()))
            .ok()?;
        let mut components = below.components();
        let std::path::Component::Normal(base_name) = components.next()? else { return None };
        use std::os::unix::ffi::OsStrExt;
        let store_path = StorePath::from_base_name(base_name.as_bytes()).ok()?;
        Some((store_path, components.as_path()))
    }

    /// Returns whether somebody trusted vouches for the contents of a path, or its name does, or nobody has to.
    pub fn accepts(&self, info: &PathInfo) -> bool {
        let dir = &self.layout.store_dir;
        !self.options.require_signatures
            || info.is_content_addressed(dir)
            || info.n_good_signatures(dir, &self.options.trusted_keys) > 0
    }

    /// Refuses facts about a path of which nobody trusted vouches for the contents.
    fn check_signatures(&self, info: &PathInfo) -> Result<()> {
        let path = || self.layout.store_dir.display(&info.path);
        if self.accepts(info) { Ok(()) } else { Err(StoreError::MissingSignature { path: path() }) }
    }

    pub(crate) fn writable(&self, action: &'static str) -> Result<()> {
        if !self.options.read_only {
            return Ok(());
        }
        // If it could not be written anyway that is the better reason.
        rustix::fs::accessat(&self.store_fd, c".", rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS)
            .at("writing to", &self.layout.real_store_dir)?;
        Err(StoreError::ReadOnly { action })
    }

    fn staging(&self) -> Result<Arc<Staging>> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staging) = &*staging {
            return Ok(Arc::clone(staging));
        }
        let made = Arc::new(Staging::new(&self.layout.real_store_dir)?);
        *staging = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Makes registrations out of facts, after checking what can be checked without reading contents.
    fn registrations<'i>(
        &self,
        infos: impl IntoIterator<Item = (&'i PathInfo, Option<Vec<(String, String)>>)>,
    ) -> Result<Vec<Registration>> {
        let mut hashes = HashMap::new();
        infos
            .into_iter()
            .map(|(info, outputs)| {
                check_info(&self.layout.store_dir, info)?;
                let outputs = match outputs {
                    Some(outputs) => outputs,
                    None if info.path.is_derivation() => {
                        let bytes = self.read_unregistered_file(&info.path)?;
                        let derivation = parse_derivation(&self.layout.store_dir, &info.path, &bytes)?;
                        self.refuse_wrong_outputs(&info.path, &derivation, &mut hashes)?;
                        self.output_rows(&derivation)?
                    }
                    None => Vec::new(),
                };
                Ok(Registration { row: rows::to_row(&self.layout.store_dir, info), outputs })
            })
            .collect()
    }

    fn register(&self, registrations: &[Registration]) -> Result<()> {
        if self.options.sync_before_registering {
            rustix::fs::syncfs(&self.store_fd).at("syncing", &self.layout.real_store_dir)?;
        }
        self.copy_up_for(registrations)?;
        self.index.register(registrations, now())?;
        if self.options.auto_optimise && self.overlay.is_none() {
            for Registration { row, .. } in registrations {
                let path = rows::parse_path(&self.layout.store_dir, &row.path)?;
                // What could not be linked takes more space, and nothing else.
                let _ = self.optimise_path(&path, &mut |_| {});
            }
        }
        Ok(())
    }

    /// Reads a regular file in the store, whether it is registered or not.
    fn read_unregistered_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        let real = self.to_real_path(path);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match rustix::fs::openat(&self.store_fd, path.base_name(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::LOOP) => return Err(StoreError::UnsupportedFileType { path: real }),
            Err(error) => return Err(StoreError::io("opening", real, error)),
        };
        let mut file = File::from(fd);
        if !file.metadata().at("reading the status of", &real)?.is_file() {
            return Err(StoreError::UnsupportedFileType { path: real });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).at("reading", &real)?;
        Ok(bytes)
    }

    fn display_all(&self, paths: &[StorePath]) -> Vec<String> {
        paths.iter().map(|path| self.layout.store_dir.display(path)).collect()
    }
}

/// Opens the database, making it if there is none.
fn open_index(layout: &Layout, options: &LocalStoreOptions) -> Result<Index> {
    let path = layout.db_dir().join("db.sqlite");
    let found = layout.schema_version()?;
    if found == 0 && options.read_only {
        return Err(StoreError::NoDatabase);
    }
    if found != schema::SCHEMA_VERSION && (found != 0 || options.read_only) {
        return Err(StoreError::Schema { found, supported: schema::SCHEMA_VERSION });
    }
    let open = schema::OpenOptions {
        read_only: options.read_only,
        use_wal: options.use_wal,
        sync: options.fsync_metadata,
    };
    let connection = schema::open(&path, found == 0, open)?;
    if found == 0 {
        // Only now: whoever was interrupted before has left no version and starts again.
        layout.write_schema_version(schema::SCHEMA_VERSION)?;
    }
    Ok(Index::new(path, connection))
}

impl Store for LocalStore {
    fn store_dir(&self) -> &StoreDir {
        &self.layout.store_dir
    }

    fn address(&self) -> String {
        match &self.options.root {
            _ if self.overlay.is_some() => "local-overlay".to_owned(),
            Some(root) => format!("local?root={}", root.display()),
            None => "local".to_owned(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let writable = !self.options.read_only;
        Capabilities {
            add: writable,
            list_paths: true,
            referrers: true,
            local_files: true,
            register: writable,
            roots: writable,
            collect_garbage: writable,
            optimise: writable,
            verify: writable,
            add_signatures: writable,
            realisations: writable,
            build_logs: writable,
        }
    }

    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(Some(true))
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let texts = self.display_all(paths);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = self.index.rows(&texts)?;
        let infos = rows.into_iter().map(|row| row.map(|row| rows::from_row(&self.layout.store_dir, row)).transpose());
        let mut infos = infos.collect::<Result<Vec<_>>>()?;
        if let Some(lower) = self.lower() {
            for (info, path) in infos.iter_mut().zip(paths).filter(|(info, _)| info.is_none()) {
                *info = lower.query_path_info(path)?;
            }
        }
        Ok(infos)
    }

    fn closure_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>> {
        if self.overlay.is_some() {
            return crate::closure::infos(self, paths);
        }
        let texts = self.display_all(paths);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = self.index.closure(&texts)?.map_err(|path| StoreError::InvalidPath { path })?;
        rows::from_closure(&self.layout.store_dir, rows)
    }

    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        let texts = self.display_all(paths);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut valid = self.index.are_valid(&texts)?;
        if self.overlay.is_some() && valid.contains(&false) {
            let unknown: Vec<StorePath> = paths.iter().zip(&valid).filter(|(_, valid)| !**valid).map(|(path, _)| path.clone()).collect();
            let found = self.copy_up(&unknown)?;
            valid.iter_mut().filter(|valid| !**valid).zip(found).for_each(|(valid, found)| *valid = found);
        }
        Ok(valid)
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        self.index.all_paths()?.iter().map(|path| rows::parse_path(&self.layout.store_dir, path)).collect()
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        let digits = crate::hash::nix32::encode(hash_part);
        let prefix = format!("{}/{digits}", self.layout.store_dir);
        let found = self.index.first_with_prefix(&prefix)?;
        match (found, self.lower()) {
            (None, Some(lower)) => lower.path_from_hash_part(hash_part),
            (found, _) => found.map(|path| rows::parse_path(&self.layout.store_dir, &path)).transpose(),
        }
    }

    fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let dir = &self.layout.store_dir;
        let own = self.index.referrers(&dir.display(path))?;
        let mut found: BTreeSet<StorePath> = own.iter().map(|path| rows::parse_path(dir, path)).collect::<Result<_>>()?;
        if let Some(lower) = self.lower() {
            found.extend(lower.referrers(path)?);
        }
        Ok(found)
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let dir = &self.layout.store_dir;
        let own = self.index.derivers(&dir.display(path))?;
        let mut found: BTreeSet<StorePath> = own.iter().map(|path| rows::parse_path(dir, path)).collect::<Result<_>>()?;
        if let Some(lower) = self.lower() {
            found.extend(lower.valid_derivers(path)?);
        }
        Ok(found)
    }

    fn content_rules(&self) -> ContentRules {
        self.options.content_rules
    }

    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>> {
        // The table has only the outputs whose paths are known; their names are in the file.
        let parsed = self.read_derivation(derivation)?;
        let mut outputs = static_outputs(&self.layout.store_dir, &parsed)?;
        for (name, path) in self.index.outputs(&self.layout.store_dir.display(derivation))? {
            outputs.insert(name, Some(rows::parse_path(&self.layout.store_dir, &path)?));
        }
        // The others may have been built before.
        add_realised_outputs(self, derivation, &parsed, &mut outputs)?;
        Ok(outputs)
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        crate::fs::dump(&self.to_real_path(path), None, sink)
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        self.read_unregistered_file(path)
    }

    fn read_derivation(&self, path: &StorePath) -> Result<Derivation> {
        derivations::read(self, std::slice::from_ref(path))?.pop().flatten().ok_or_else(|| self.invalid(path))
    }

    fn read_derivations(&self, paths: &[StorePath]) -> Result<Vec<Option<Derivation>>> {
        derivations::read(self, paths)
    }

    fn real_path(&self, path: &StorePath) -> Option<PathBuf> {
        Some(self.to_real_path(path))
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        add::nar(self, info, nar, options)
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        add::contents(self, addressing, contents)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        add::texts(self, texts)
    }

    fn register_paths(&self, infos: &[PathInfo]) -> Result<()> {
        self.writable("registering paths")?;
        let references =
            infos.iter().map(|info| (info.path.clone(), info.references.clone())).collect::<BTreeMap<_, _>>();
        crate::closure::sort(&self.layout.store_dir, &references)?;
        let mut infos: Vec<Cow<'_, PathInfo>> = infos.iter().map(Cow::Borrowed).collect();
        for info in infos.iter_mut().filter(|info| info.info.ultimate && info.info.nar_size != 0) {
            for key in &self.options.secret_keys {
                let signed = info.to_mut().sign(&self.layout.store_dir, key);
                signed.expect("the size is known, and nothing else can be wrong");
            }
        }
        let registrations = self.registrations(infos.iter().map(|info| (&**info, None)))?;
        self.register(&registrations)
    }

    fn add_signatures(&self, path: &StorePath, signatures: &[String]) -> Result<()> {
        self.writable("adding signatures")?;
        self.index.add_signatures(&self.layout.store_dir.display(path), signatures)
    }

    fn add_temp_roots(&self, paths: &[StorePath]) -> Result<()> {
        // A read-only store can't collect garbage either.
        let Some(temp_roots) = &self.temp_roots else { return Ok(()) };
        let texts = self.display_all(paths);
        temp_roots.add(texts.iter().map(String::as_str))
    }

    fn add_indirect_root(&self, link: &Path) -> Result<()> {
        self.writable("adding a root")?;
        crate::gc::roots::add_indirect(&self.layout, link)
    }

    fn add_permanent_root(&self, path: &StorePath, link: &Path) -> Result<()> {
        self.writable("adding a root")?;
        crate::gc::roots::add_permanent(&self.layout, path, link, self.options.logical_links)
    }

    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        self.realisations(ids)
    }

    fn register_realisations(&self, realisations: &[Realisation], check_signatures: bool) -> Result<()> {
        self.add_realisations(realisations, check_signatures)
    }

    fn build_log(&self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        self.read_log(path)
    }

    fn add_build_log(&self, derivation: &StorePath, log: &[u8]) -> Result<()> {
        self.write_log(derivation, log)
    }

    fn listing(&self, path: &StorePath) -> Result<Listing> {
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        crate::fs::tree::listing(&self.to_real_path(path))
    }

    fn write_file(&self, path: &StorePath, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        crate::fs::tree::write_file(&self.to_real_path(path), below, sink)
    }

    fn find_roots(&self, events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
        self.roots(events)
    }

    fn collect_garbage(&self, options: &GcOptions, deleting: &mut dyn FnMut(&str)) -> Result<GcResults> {
        self.collect(options, deleting)
    }

    fn optimise(&self, events: &mut dyn FnMut(OptimiseEvent)) -> Result<OptimiseStats> {
        match self.lower() {
            Some(lower) => self.remove_duplicates(lower),
            None => self.link_equal_files(events),
        }
    }

    fn verify(&self, options: &VerifyOptions, events: &mut dyn FnMut(VerifyEvent)) -> Result<bool> {
        // Where to get replacements is for the host to say: see `verify_and_repair`.
        self.verify_and_repair(options.check_contents, None, events)
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(1)
}
