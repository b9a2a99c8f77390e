//! [`DaemonStore`]: a store that a daemon keeps.
//!
//! Connections are made when they are needed and kept for the next request, for as long as the store lives: the daemon's
//! temporary roots belong to a connection. Several threads get several connections. Questions about many paths are sent
//! back to back, so that they cost one round trip.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::connection::{Connection, ReadAnswer, Write1};
use super::pool::Pool;
use super::transport::{Connector, Transport};
use crate::addressed::{Tee, parse_nar};
use crate::content_rules::ContentRules;
use crate::error::{Result, StoreError};
use crate::path::{StoreDir, StorePath};
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::realisation::{DerivationKey, DerivationOutputId, Realisation, UnkeyedRealisation};
use crate::store::{
    AddOptions, Addressing, Capabilities, Contents, GcAction, GcOptions, GcResults, OptimiseEvent, OptimiseStats,
    Roots, RootsEvent, Store, Text, VerifyEvent, VerifyOptions, WriteNarOf,
};
use crate::wire::log::LogSink;
use crate::wire::message::{Dialect, Message, Trust, write_signatures};
use crate::wire::operations::{GcRequest, Operation};
use crate::wire::version::{DaemonInfo, Feature, Number, Version};
use crate::wire::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};

mod contents;
mod options;
mod service;

pub use options::DaemonStoreOptions;

/// A store that a daemon keeps.
///
/// ```no_run
/// use nixlang_store::daemon::{DaemonStore, DaemonStoreOptions, UnixConnector};
/// use nixlang_store::path::StoreDir;
/// use nixlang_store::store::Store;
///
/// let socket = "/nix/var/nix/daemon-socket/socket".into();
/// let connector = UnixConnector { socket, address: "daemon".into() };
/// let store = DaemonStore::new(connector, DaemonStoreOptions::new(StoreDir::default()));
/// println!("trusted: {:?}", store.trusts_this_client()?);
/// # Ok::<(), nixlang_store::error::StoreError>(())
/// ```
pub struct DaemonStore {
    connections: Pool<Connection>,
    options: DaemonStoreOptions,
}

impl std::fmt::Debug for DaemonStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonStore").field("address", &self.connections.address()).finish_non_exhaustive()
    }
}

impl DaemonStore {
    /// Returns a store. The daemon is connected to when it is needed first.
    pub fn new(connector: impl Connector + 'static, options: DaemonStoreOptions) -> DaemonStore {
        DaemonStore { connections: Pool::new(connector), options }
    }

    /// Returns what the daemon says of itself, and the protocol's version that is spoken.
    ///
    /// # Errors
    /// When it can't be reached.
    pub fn daemon_info(&self) -> Result<(DaemonInfo, Number)> {
        self.with(|connection| Ok((connection.info.clone(), connection.version.number)))
    }

    /// What is offered to the daemon.
    fn offered(&self) -> Version {
        let mut offered = Version::of_client();
        if self.options.content_rules == ContentRules::Until2_34 {
            offered.features = offered.features.without(Feature::RealisationsByPath);
        }
        offered
    }

    fn open(&self, transport: Transport) -> Result<Connection> {
        let (dir, log) = (&self.options.store_dir, &*self.options.log);
        let mut connection = Connection::open(transport, &self.connections.address(), dir, &self.offered(), log)?;
        if let Some(settings) = self.options.settings.as_ref().filter(|_| !connection.protocol().has(Feature::NoSettings)) {
            connection.set_options(dir, log, settings)?;
        }
        Ok(connection)
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.connections.with(|transport| self.open(transport), use_it)
    }

    fn request<T>(&self, operation: Operation, write: &Write1<'_>, read: &ReadAnswer<'_, T>) -> Result<T> {
        self.request_logged(&*self.options.log, operation, write, read)
    }

    fn request_logged<T>(
        &self,
        log: &dyn LogSink,
        operation: Operation,
        write: &Write1<'_>,
        read: &ReadAnswer<'_, T>,
    ) -> Result<T> {
        self.with(|connection| connection.request(&self.options.store_dir, log, operation, write, read))
    }

    /// Asks the same about many paths, which costs one round trip.
    fn ask_about<T>(&self, operation: Operation, paths: &[StorePath], read: &ReadAnswer<'_, T>) -> Result<Vec<T>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let write: Vec<_> = paths
            .iter()
            .map(|path| move |sink: &mut dyn Write, dialect: &Dialect<'_>| path.write(sink, dialect))
            .collect();
        let requests: Vec<&Write1<'_>> = write.iter().map(|write| write as &Write1<'_>).collect();
        self.with(|connection| {
            connection.batch(&self.options.store_dir, &*self.options.log, operation, &requests, read)
        })
    }

    fn upload<T>(
        &self,
        operation: Operation,
        write: &Write1<'_>,
        send: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
        read: &ReadAnswer<'_, T>,
    ) -> Result<T> {
        let log = &*self.options.log;
        self.with(|connection| connection.upload(&self.options.store_dir, log, operation, write, send, read))
    }

    /// Returns which of these paths are valid, after the daemon has fetched what it can if that is wanted.
    ///
    /// # Errors
    /// When the daemon can't be reached or does not answer.
    pub fn query_valid_paths(&self, paths: &BTreeSet<StorePath>, substitute: bool) -> Result<BTreeSet<StorePath>> {
        self.request(
            Operation::QueryValidPaths,
            &|sink, dialect| {
                paths.write(sink, dialect)?;
                substitute.write(sink, dialect)
            },
            &Message::read,
        )
    }

    /// Returns the real path of something valid that can be read here.
    fn local(&self, path: &StorePath) -> Option<PathBuf> {
        self.real_path(path).filter(|real| real.symlink_metadata().is_ok())
    }
}

/// Reads an answer that says nothing.
fn ignore_number(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<(), WireError> {
    source.read_number().map(drop)
}

impl Store for DaemonStore {
    fn store_dir(&self) -> &StoreDir {
        &self.options.store_dir
    }

    fn address(&self) -> String {
        self.connections.address()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            add: true,
            list_paths: true,
            referrers: true,
            local_files: self.options.real_store_dir.is_some(),
            register: false,
            roots: true,
            collect_garbage: true,
            optimise: true,
            verify: true,
            add_signatures: true,
            realisations: true,
            build_logs: true,
        }
    }

    fn trusts_this_client(&self) -> Result<Option<bool>> {
        Ok(self.daemon_info()?.0.trust.map(|trust| trust == Trust::Trusted))
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let infos = self.ask_about(Operation::QueryPathInfo, paths, &|source, dialect| {
            if source.read_flag()? { Ok(Some(UnkeyedPathInfo::read(source, dialect)?)) } else { Ok(None) }
        })?;
        let with_path = |(path, info): (&StorePath, Option<UnkeyedPathInfo>)| {
            info.map(|info| PathInfo { path: path.clone(), info })
        };
        Ok(paths.iter().zip(infos).map(with_path).collect())
    }

    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        match paths {
            [] => Ok(Vec::new()),
            [_] => self.ask_about(Operation::IsValidPath, paths, &|source, _| source.read_flag()),
            paths => {
                let valid = self.query_valid_paths(&paths.iter().cloned().collect(), false)?;
                Ok(paths.iter().map(|path| valid.contains(path)).collect())
            }
        }
    }

    fn substitute(&self, paths: &[StorePath]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.query_valid_paths(&paths.iter().cloned().collect(), true).map(drop)
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        self.request(Operation::QueryAllValidPaths, &|_, _| Ok(()), &Message::read)
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        let digits = crate::hash::nix32::encode(hash_part);
        self.request(
            Operation::QueryPathFromHashPart,
            &|sink, _| Ok(sink.write_bytes(digits.as_bytes())?),
            &Message::read,
        )
    }

    fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        self.request(Operation::QueryReferrers, &|sink, dialect| path.write(sink, dialect), &Message::read)
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        self.request(Operation::QueryValidDerivers, &|sink, dialect| path.write(sink, dialect), &Message::read)
    }

    fn derivation_outputs(&self, derivation: &StorePath) -> Result<BTreeMap<String, Option<StorePath>>> {
        let write: &Write1<'_> = &|sink, dialect| derivation.write(sink, dialect);
        self.request(Operation::QueryDerivationOutputMap, write, &Message::read)
    }

    fn substitutable_paths(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let paths: BTreeSet<StorePath> = paths.iter().cloned().collect();
        self.request(Operation::QuerySubstitutablePaths, &|sink, dialect| paths.write(sink, dialect), &Message::read)
    }

    fn content_rules(&self) -> ContentRules {
        self.options.content_rules
    }

    fn query_realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.with(|connection| {
            // In the form that the other side does not have it knows nothing.
            let by_path = connection.protocol().has_realisations_by_path();
            let is_known = |id: &&DerivationOutputId| matches!(id.derivation, DerivationKey::Path(_)) == by_path;
            let write: Vec<_> = ids
                .iter()
                .filter(is_known)
                .map(|id| move |sink: &mut dyn Write, dialect: &Dialect<'_>| id.write(sink, dialect))
                .collect();
            let requests: Vec<&Write1<'_>> = write.iter().map(|write| write as &Write1<'_>).collect();
            let (dir, log) = (&self.options.store_dir, &*self.options.log);
            let answers = connection.batch(dir, log, Operation::QueryRealisation, &requests, &|source, dialect| {
                if by_path {
                    return Option::<UnkeyedRealisation>::read(source, dialect);
                }
                Ok(Vec::<Realisation>::read(source, dialect)?.into_iter().next().map(|known| known.unkeyed()))
            })?;
            let mut answers = answers.into_iter();
            let answer = |id: &DerivationOutputId| if is_known(&id) { answers.next().flatten().map(|found| found.with_id(id.clone())) } else { None };
            Ok(ids.iter().map(answer).collect())
        })
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        if let Some(real) = self.local(path) {
            if !self.is_valid(path)? {
                return Err(self.invalid(path));
            }
            return crate::fs::dump(&real, None, sink);
        }
        // The daemon's own error for this is a connection that ends.
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        self.with(|connection| {
            let (dir, log) = (&self.options.store_dir, &*self.options.log);
            let write: &Write1<'_> = &|sink, dialect| path.write(sink, dialect);
            connection.download(dir, log, Operation::NarFromPath, write, &mut |source| {
                parse_nar(&mut Tee::new(source, sink))
            })
        })
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        let mut contents = Vec::new();
        self.write_file(path, &[], &mut contents)?;
        Ok(contents)
    }

    fn real_path(&self, path: &StorePath) -> Option<PathBuf> {
        self.options.real_store_dir.as_ref().map(|directory| directory.join(path.base_name()))
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        // One question is cheaper than an archive that nobody wants.
        if !options.repair && self.is_valid(&info.path)? {
            return Ok(());
        }
        let mut nar = BufReader::with_capacity(64 * 1024, nar);
        self.upload(
            Operation::AddToStoreNar,
            &|sink, dialect| {
                info.write(sink, &Dialect::before_archives(dialect.store_dir))?;
                options.repair.write(sink, dialect)?;
                (!options.check_signatures).write(sink, dialect)
            },
            &mut |sink| parse_nar(&mut Tee::new(&mut nar, sink)),
            &|_, _| Ok(()),
        )
    }

    fn add_nars(&self, infos: &[PathInfo], write_nar: &WriteNarOf<'_>, options: &AddOptions) -> Result<()> {
        if infos.is_empty() {
            return Ok(());
        }
        let dialect = Dialect::before_archives(&self.options.store_dir);
        self.upload(
            Operation::AddMultipleToStore,
            &|sink, dialect| {
                options.repair.write(sink, dialect)?;
                (!options.check_signatures).write(sink, dialect)
            },
            &mut |sink| {
                let mut sink = std::io::BufWriter::with_capacity(64 * 1024, sink);
                let sent = (|| {
                    sink.write_number(infos.len() as u64).map_err(WireError::from)?;
                    for info in infos {
                        info.write(&mut sink, &dialect)?;
                        write_nar(info, &mut sink)?;
                    }
                    Ok(sink.flush().map_err(WireError::from)?)
                })();
                // What could not be sent must not be tried again when the buffer is dropped.
                let _ = sink.into_parts();
                sent
            },
            &|_, _| Ok(()),
        )
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        contents::add(self, addressing, contents)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        contents::add_texts(self, texts)
    }

    fn add_signatures(&self, path: &StorePath, signatures: &[String]) -> Result<()> {
        let signatures: BTreeSet<String> = signatures.iter().cloned().collect();
        self.request(
            Operation::AddSignatures,
            &|sink, dialect| {
                path.write(sink, dialect)?;
                write_signatures(sink, &signatures)
            },
            &ignore_number,
        )
    }

    fn register_realisations(&self, realisations: &[Realisation], _check_signatures: bool) -> Result<()> {
        for realisation in realisations {
            let write: &Write1<'_> = &|sink, dialect| realisation.write(sink, dialect);
            self.request(Operation::RegisterDrvOutput, write, &|_, _| Ok(()))?;
        }
        Ok(())
    }

    fn add_temp_roots(&self, paths: &[StorePath]) -> Result<()> {
        self.ask_about(Operation::AddTempRoot, paths, &ignore_number).map(drop)
    }

    fn add_indirect_root(&self, link: &Path) -> Result<()> {
        let link = std::path::absolute(link).map_err(|error| StoreError::io("resolving", link, error))?;
        let write: &Write1<'_> = &|sink, _| Ok(sink.write_bytes(link.as_os_str().as_encoded_bytes())?);
        self.request(Operation::AddIndirectRoot, write, &ignore_number)
    }

    fn add_permanent_root(&self, path: &StorePath, link: &Path) -> Result<()> {
        let link = std::path::absolute(link).map_err(|error| StoreError::io("resolving", link, error))?;
        if self.options.daemon_makes_links {
            let write: &Write1<'_> = &|sink, dialect| {
                path.write(sink, dialect)?;
                Ok(sink.write_bytes(link.as_os_str().as_encoded_bytes())?)
            };
            return self.request(Operation::AddPermRoot, write, &|source, _| source.read_bytes(DEFAULT_LIMIT).map(drop));
        }
        // A root for the time until the link is one.
        self.add_temp_roots(std::slice::from_ref(path))?;
        let logical = self.options.store_dir.as_str();
        let real = self.options.real_store_dir.as_deref().unwrap_or(Path::new(logical));
        crate::gc::roots::make_link(logical, real, path, &link, true)?;
        self.add_indirect_root(&link)
    }

    fn find_roots(&self, _events: &mut dyn FnMut(RootsEvent)) -> Result<Roots> {
        self.request(Operation::FindRoots, &|_, _| Ok(()), &|source, dialect| {
            let mut roots = Roots::new();
            for _ in 0..source.read_length(DEFAULT_LIMIT)? {
                let link = String::from_utf8_lossy(&source.read_bytes(DEFAULT_LIMIT)?).into_owned();
                roots.entry(StorePath::read(source, dialect)?).or_default().insert(link);
            }
            Ok(roots)
        })
    }

    fn collect_garbage(&self, options: &GcOptions, _deleting: &mut dyn FnMut(&str)) -> Result<GcResults> {
        use crate::wire::operations::{Among, GcAction as Action};
        if options.registered_before.is_some() || options.unused_since.is_some() {
            return Err(StoreError::Unsupported { operation: "collecting garbage by age" });
        }
        let mut request = GcRequest {
            action: Action::DeleteDead,
            among: None,
            ignore_liveness: false,
            max_freed: options.max_freed,
        };
        match &options.action {
            GcAction::ReturnLive => request.action = Action::ReturnLive,
            GcAction::ReturnDead => request.action = Action::ReturnDead,
            GcAction::DeleteDead => {}
            GcAction::DeletePaths { paths, ignore_liveness, skip_live, also_referrers } => {
                request.action = if *skip_live { Action::DeleteDead } else { Action::DeleteSpecific };
                request.among = Some(Among { paths: paths.clone(), also_referrers: *also_referrers });
                request.ignore_liveness = *ignore_liveness;
            }
        }
        let write: &Write1<'_> = &|sink, dialect| request.write(sink, dialect);
        self.request(Operation::CollectGarbage, write, &|source, dialect| {
            let paths = Message::read(source, dialect)?;
            let results = GcResults { paths, bytes_freed: source.read_number()? };
            source.read_number()?;
            Ok(results)
        })
    }

    fn optimise(&self, _events: &mut dyn FnMut(OptimiseEvent)) -> Result<OptimiseStats> {
        self.request(Operation::OptimiseStore, &|_, _| Ok(()), &ignore_number)?;
        Ok(OptimiseStats::default())
    }

    fn verify(&self, options: &VerifyOptions, _events: &mut dyn FnMut(VerifyEvent)) -> Result<bool> {
        let write: &Write1<'_> = &|sink, dialect| {
            options.check_contents.write(sink, dialect)?;
            options.repair.write(sink, dialect)
        };
        let has_errors = self.request(Operation::VerifyStore, write, &|source, _| source.read_flag())?;
        Ok(!has_errors)
    }

    fn build_log(&self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        match &self.options.log_dir {
            Some(directory) => crate::local::logs::read_log(directory, self, path),
            None => Ok(None),
        }
    }

    fn add_build_log(&self, derivation: &StorePath, log: &[u8]) -> Result<()> {
        self.upload(
            Operation::AddBuildLog,
            &|sink, _| Ok(sink.write_bytes(derivation.base_name().as_bytes())?),
            &mut |sink| Ok(sink.write_all(log).map_err(WireError::from)?),
            &ignore_number,
        )
    }
}
