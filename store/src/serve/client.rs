//! [`ServeStore`]: a store behind `nix-store --serve`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::thread::ThreadId;

use crate::addressed::{Spool, Tee, address, parse_nar, write_file_nar};
use crate::daemon::hang_up::HangUp;
use crate::daemon::pool::{Pool, Pooled};
use crate::daemon::{Connector, DaemonService, Transport};
use crate::derivation::Derivation;
use crate::error::{Result, StoreError};
use crate::hash::{Algorithm, Hash};
use crate::path::{StoreDir, StorePath};
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::store::{AddOptions, Addressing, Capabilities, Contents, Store, Text, text_info};
use crate::wire::build_result::{BuildMode, BuildResult, BuildStatus, KeyedBuildResult};
use crate::wire::derivation::write_derivation;
use crate::wire::derived_path::{DerivedPath, OutputsSpec, SingleDerivedPath};
use crate::wire::log::{LogSink, RemoteError};
use crate::wire::message::{Dialect, Message, Protocol};
use crate::wire::serve::{Command, ServeBuildOptions};
use crate::wire::version::{GreetingError, Number, greet_serve_server};
use crate::wire::{WireError, WireRead, WireWrite};

/// A store behind `nix-store --serve`.
pub struct ServeStore {
    connections: Pool<Connection>,
    store_dir: StoreDir,
    /// Names the machine in errors.
    host: String,
    build_options: ServeBuildOptions,
}

impl std::fmt::Debug for ServeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeStore").field("address", &self.connections.address()).finish_non_exhaustive()
    }
}

struct Connection {
    source: BufReader<Box<dyn Read + Send>>,
    sink: BufWriter<Box<dyn Write + Send>>,
    version: Number,
    is_sound: bool,
    hang_up: HangUp,
    _guard: Option<Box<dyn Send>>,
}

impl Pooled for Connection {
    fn is_sound(&self) -> bool {
        self.is_sound
    }

    fn hang_up(&self) -> &HangUp {
        &self.hang_up
    }
}

impl ServeStore {
    /// Returns a store. The server is started when it is needed first.
    pub fn new(
        connector: impl Connector + 'static,
        store_dir: StoreDir,
        host: impl Into<String>,
        build_options: ServeBuildOptions,
    ) -> ServeStore {
        ServeStore { connections: Pool::new(connector), store_dir, host: host.into(), build_options }
    }

    /// Returns the protocol's version that is spoken.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn version(&self) -> Result<Number> {
        self.with(|connection, _| Ok(connection.version))
    }

    fn open(&self, transport: Transport) -> Result<Connection> {
        let Transport { source, sink, guard, hang_up } = transport;
        let mut source = BufReader::with_capacity(64 * 1024, source);
        let mut sink = BufWriter::with_capacity(64 * 1024, sink);
        let failed = |message: String| StoreError::Remote { source: RemoteError::new(message) };
        let version = greet_serve_server(&mut source, &mut sink).map_err(|error| match error {
            GreetingError::Wire(_) => failed(format!("cannot connect to '{}'", self.host)),
            GreetingError::Unsupported { .. } => {
                failed(format!("unsupported 'nix-store --serve' protocol version on '{}'", self.host))
            }
            GreetingError::Magic => failed(format!("'nix-store --serve' protocol mismatch from '{}'", self.host)),
        })?;
        Ok(Connection { source, sink, version, is_sound: true, hang_up, _guard: guard })
    }

    /// A command that fails ends the connection; so a connection is sound only after one that did not.
    fn with<T>(&self, use_it: impl FnOnce(&mut Connection, &Dialect<'_>) -> Result<T>) -> Result<T> {
        self.connections.with(
            |transport| self.open(transport),
            |connection| {
                let dialect = Dialect { store_dir: &self.store_dir, protocol: Protocol::Serve(connection.version) };
                connection.is_sound = false;
                let result = use_it(connection, &dialect);
                connection.is_sound = result.is_ok();
                result
            },
        )
    }

    fn request<T>(
        &self,
        command: Command,
        write: impl FnOnce(&mut dyn Write, &Dialect<'_>) -> Result<(), WireError>,
        read: impl FnOnce(&mut dyn Read, &Dialect<'_>) -> Result<T, WireError>,
    ) -> Result<T> {
        self.with(|connection, dialect| {
            let answer = (|| {
                connection.sink.write_number(command as u64)?;
                write(&mut connection.sink, dialect)?;
                connection.sink.flush()?;
                read(&mut connection.source, dialect)
            })();
            Ok(answer?)
        })
    }

    /// Returns which of these paths are valid. With `lock` they become temporary roots there; with `substitute` the other
    /// side fetches what it can first.
    ///
    /// # Errors
    /// When the server can't be reached or does not answer.
    pub fn query_valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        lock: bool,
        substitute: bool,
    ) -> Result<BTreeSet<StorePath>> {
        self.request(
            Command::QueryValidPaths,
            |sink, dialect| {
                lock.write(sink, dialect)?;
                substitute.write(sink, dialect)?;
                paths.write(sink, dialect)
            },
            |source, dialect| Message::read(source, dialect),
        )
    }

    /// Adds a path whose archive `send` writes.
    fn add(&self, info: &PathInfo, send: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
        self.with(|connection, dialect| {
            let sink = &mut connection.sink;
            (|| -> Result<(), WireError> {
                sink.write_number(Command::AddToStoreNar as u64)?;
                info.write(sink, &Dialect::before_archives(dialect.store_dir))
            })()?;
            send(sink)?;
            sink.flush().map_err(WireError::from)?;
            match connection.source.read_number()? {
                1 => Ok(()),
                _ => {
                    let path = self.store_dir.display(&info.path);
                    let message = format!("failed to add path '{path}' to remote host '{}'", self.host);
                    Err(StoreError::Remote { source: RemoteError::new(message) })
                }
            }
        })
    }

    fn unsupported<T>(&self, operation: &'static str) -> Result<T> {
        Err(StoreError::Unsupported { operation })
    }
}

impl Store for ServeStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn address(&self) -> String {
        self.connections.address()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.add = true;
        capabilities
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        let wanted: BTreeSet<StorePath> = paths.iter().cloned().collect();
        let mut infos: BTreeMap<StorePath, UnkeyedPathInfo> = self.request(
            Command::QueryPathInfos,
            |sink, dialect| wanted.write(sink, dialect),
            |source, dialect| {
                let mut infos = BTreeMap::new();
                while let Some(path) = Option::<StorePath>::read(source, dialect)? {
                    infos.insert(path, UnkeyedPathInfo::read(source, dialect)?);
                }
                Ok(infos)
            },
        )?;
        // What is asked for twice is rare.
        infos.retain(|_, info| info.nar_hash != Hash::zero(Algorithm::Sha256));
        Ok(paths
            .iter()
            .map(|path| infos.get(path).map(|info| PathInfo { path: path.clone(), info: info.clone() }))
            .collect())
    }

    fn are_valid(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        let valid = self.query_valid_paths(&paths.iter().cloned().collect(), false, false)?;
        Ok(paths.iter().map(|path| valid.contains(path)).collect())
    }

    fn substitute(&self, paths: &[StorePath]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.query_valid_paths(&paths.iter().cloned().collect(), true, true).map(drop)
    }

    fn path_from_hash_part(&self, _hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        self.unsupported("looking for a hash part")
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        // For a path that is not valid the server ends the connection.
        if !self.is_valid(path)? {
            return Err(self.invalid(path));
        }
        self.with(|connection, dialect| {
            (|| -> Result<(), WireError> {
                connection.sink.write_number(Command::DumpStorePath as u64)?;
                path.write(&mut connection.sink, dialect)?;
                Ok(connection.sink.flush()?)
            })()?;
            parse_nar(&mut Tee::new(&mut connection.source, sink))
        })
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        let mut contents = Vec::new();
        self.write_file(path, &[], &mut contents)?;
        Ok(contents)
    }

    fn real_path(&self, _path: &StorePath) -> Option<PathBuf> {
        None
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
        if options.repair {
            return self.unsupported("repairing paths");
        }
        if info.nar_size == 0 {
            return Err(StoreError::format("adding a path", "the size of its NAR is not known"));
        }
        let mut nar = BufReader::with_capacity(64 * 1024, nar);
        self.add(info, &mut |sink| parse_nar(&mut Tee::new(&mut nar, sink)))
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        // The other side has no way to work out a path from contents, so that is done here.
        let spooling = |error| StoreError::io("writing", std::env::temp_dir(), error);
        let mut file = tempfile::tempfile().map_err(spooling)?;
        let mut contents = Some(contents);
        let info = address(&self.store_dir, addressing, &mut |sink| {
            let mut both = Both { first: sink, second: &mut file };
            match contents.take().expect("asked for once") {
                Contents::Bytes(bytes) => write_file_nar(&mut both, bytes),
                Contents::Tree { path, filter } => crate::fs::dump(path, filter, &mut both),
                Contents::Nar(nar) => parse_nar(&mut Tee::new(&mut BufReader::new(nar), &mut both)),
            }
        })?;
        if !self.is_valid(&info.path)? {
            std::io::Seek::rewind(&mut file).map_err(spooling)?;
            self.add_nar(&info, &mut file, &AddOptions::default())?;
        }
        Ok(info)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        let infos: Vec<PathInfo> =
            texts.iter().map(|text| text_info(&self.store_dir, text)).collect::<Result<_>>()?;
        let paths: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
        let mut valid = self.query_valid_paths(&paths.iter().cloned().collect(), true, false)?;
        for (text, info) in texts.iter().zip(&infos) {
            if valid.insert(info.path.clone()) {
                let mut nar = Some(Vec::new());
                let mut spool = Spool { bytes: &mut nar, limit: usize::MAX, sink: &mut std::io::sink(), stop: None };
                write_file_nar(&mut spool, text.contents)?;
                let nar = nar.expect("there is no limit");
                self.add(info, &mut |sink| Ok(sink.write_all(&nar).map_err(WireError::from)?))?;
            }
        }
        Ok(paths)
    }

    fn add_temp_roots(&self, paths: &[StorePath]) -> Result<()> {
        self.query_valid_paths(&paths.iter().cloned().collect(), true, false).map(drop)
    }

    fn closure(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let wanted: BTreeSet<StorePath> = paths.iter().cloned().collect();
        if let Some(missing) = wanted.iter().zip(self.are_valid(paths)?).find(|(_, valid)| !valid) {
            return Err(self.invalid(missing.0));
        }
        self.request(
            Command::QueryClosure,
            |sink, dialect| {
                false.write(sink, dialect)?;
                wanted.write(sink, dialect)
            },
            |source, dialect| Message::read(source, dialect),
        )
    }
}

impl DaemonService for ServeStore {
    fn hang_up(&self, thread: ThreadId) {
        self.connections.hang_up(thread);
    }

    fn build_paths(
        &self,
        wanted: &[DerivedPath],
        mode: BuildMode,
        _log: &dyn LogSink,
    ) -> Result<Vec<KeyedBuildResult>> {
        if mode != BuildMode::Normal {
            return self.unsupported("building again");
        }
        let failure = self.request(
            Command::BuildPaths,
            |sink, dialect| {
                sink.write_number(wanted.len() as u64)?;
                wanted.iter().try_for_each(|path| path.write(sink, dialect))?;
                self.build_options.write(sink, dialect)
            },
            |source, dialect| match source.read_number()? {
                0 => Ok(None),
                number => {
                    let status = usize::try_from(number).ok().and_then(|number| BuildStatus::ALL.get(number).copied());
                    let error = Vec::<u8>::read(source, dialect)?;
                    let status = status.filter(|status| !status.is_success()).unwrap_or(BuildStatus::MiscFailure);
                    Ok(Some(BuildResult::new(status, String::from_utf8_lossy(&error))))
                }
            },
        )?;
        if let Some(result) = failure {
            // It does not say which of them.
            return Ok(wanted.iter().map(|path| KeyedBuildResult { path: path.clone(), result: result.clone() }).collect());
        }
        let built = |path: &DerivedPath| {
            let status = match path {
                DerivedPath::Opaque(_) => BuildStatus::Substituted,
                DerivedPath::Built { .. } => BuildStatus::Built,
            };
            KeyedBuildResult { path: path.clone(), result: BuildResult::new(status, "") }
        };
        Ok(wanted.iter().map(built).collect())
    }

    fn build_derivation(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        _mode: BuildMode,
        _log: &dyn LogSink,
    ) -> Result<BuildResult> {
        self.request(
            Command::BuildDerivation,
            |sink, dialect| {
                path.write(sink, dialect)?;
                write_derivation(sink, dialect, derivation)?;
                self.build_options.write(sink, dialect)
            },
            |source, dialect| Message::read(source, dialect),
        )
    }

    fn ensure_path(&self, path: &StorePath, log: &dyn LogSink) -> Result<()> {
        // Asking for outputs of a derivation is the only way to name it here.
        let wanted = if path.is_derivation() {
            DerivedPath::Built { derivation: SingleDerivedPath::Opaque(path.clone()), outputs: OutputsSpec::All }
        } else {
            DerivedPath::Opaque(path.clone())
        };
        let results = self.build_paths(&[wanted], BuildMode::Normal, log)?;
        crate::daemon::first_failure(&self.store_dir, &results)
    }

    fn protocol(&self) -> Result<Option<Number>> {
        self.version().map(Some)
    }

    fn substitute_paths(&self, paths: &[StorePath], _log: &dyn LogSink) -> Result<()> {
        self.query_valid_paths(&paths.iter().cloned().collect(), false, true).map(drop)
    }
}

/// Writes to two sinks.
struct Both<'b> {
    first: &'b mut dyn Write,
    second: &'b mut dyn Write,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.first.write_all(bytes)?;
        self.second.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.first.flush()?;
        self.second.flush()
    }
}

