//! Answers the commands of one client of `nix-store --serve`.
//!
//! Whoever may run the program may use the store: paths are added without looking at signatures, if writing is allowed
//! at all (`--write`).

use std::collections::BTreeSet;
use std::io::{BufReader, BufWriter, Read, Write};

use crate::closure::{Follow, closure};
use crate::daemon::{DaemonService, error_text, first_failure};
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::store::{AddOptions, Store};
use crate::wire::build_result::BuildMode;
use crate::wire::derivation::read_derivation;
use crate::wire::derived_path::DerivedPath;
use crate::wire::log::LogSink;
use crate::wire::message::{Dialect, Message, Protocol};
use crate::wire::serve::{Command, ServeBuildOptions};
use crate::wire::version::{GreetingError, greet_serve_client};
use crate::wire::{WireError, WireRead, WireWrite};

/// What a server grants, and how it takes a client's wishes.
pub struct ServeServerOptions<'o> {
    /// Whether the client may add paths and build.
    pub may_write: bool,
    /// Called with what a client wants of builds, before each.
    pub set_build_options: &'o dyn Fn(&ServeBuildOptions),
    /// Takes what builds say; the client does not hear of it.
    pub log: &'o dyn LogSink,
}

impl std::fmt::Debug for ServeServerOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeServerOptions").field("may_write", &self.may_write).finish_non_exhaustive()
    }
}

/// Answers a client until it leaves. Blocks.
///
/// # Errors
/// When a command failed or was not understood, or the connection failed. The client finds that the connection ends, so
/// the caller should say why on standard error.
pub fn serve_commands(
    store: &dyn Store,
    service: &dyn DaemonService,
    options: &ServeServerOptions<'_>,
    source: &mut dyn Read,
    sink: &mut dyn Write,
) -> Result<()> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    let mut sink = BufWriter::with_capacity(64 * 1024, sink);
    let version = greet_serve_client(&mut source, &mut sink).map_err(|error| match error {
        GreetingError::Wire(error) => StoreError::from(error),
        error => StoreError::format("greeting a client", error),
    })?;
    let dialect = Dialect { store_dir: store.store_dir(), protocol: Protocol::Serve(version) };
    let mut session = Session { store, service, options, source: &mut source, sink: &mut sink, dialect };
    loop {
        let number = match session.source.read_number() {
            Ok(number) => number,
            Err(WireError::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(command) = Command::from_number(number) else {
            return Err(StoreError::format("reading a command", format!("unknown serve command {number}")));
        };
        session.answer(command)?;
        session.sink.flush().map_err(WireError::from)?;
    }
}

struct Session<'s> {
    store: &'s dyn Store,
    service: &'s dyn DaemonService,
    options: &'s ServeServerOptions<'s>,
    source: &'s mut dyn std::io::BufRead,
    sink: &'s mut dyn Write,
    dialect: Dialect<'s>,
}

impl Session<'_> {
    fn read<M: Message>(&mut self) -> Result<M, WireError> {
        M::read(&mut self.source, &self.dialect)
    }

    fn write<M: Message>(&mut self, message: &M) -> Result<()> {
        Ok(message.write(&mut self.sink, &self.dialect)?)
    }

    fn check_write(&self, what: &'static str) -> Result<()> {
        if self.options.may_write { Ok(()) } else { Err(StoreError::ReadOnly { action: what }) }
    }

    fn answer(&mut self, command: Command) -> Result<()> {
        match command {
            Command::QueryValidPaths => {
                let lock: bool = self.read()?;
                let substitute: bool = self.read()?;
                let paths: Vec<StorePath> = self.read()?;
                if lock && self.options.may_write {
                    self.store.add_temp_roots(&paths)?;
                }
                if substitute && self.options.may_write {
                    self.service.substitute_paths(&paths, self.options.log)?;
                }
                let valid = self.store.are_valid(&paths)?;
                let valid = paths.into_iter().zip(valid).filter_map(|(path, valid)| valid.then_some(path));
                self.write(&valid.collect::<BTreeSet<StorePath>>())
            }
            Command::QueryPathInfos => {
                let paths: BTreeSet<StorePath> = self.read()?;
                let paths: Vec<StorePath> = paths.into_iter().collect();
                for info in self.store.query_path_infos(&paths)?.into_iter().flatten() {
                    self.write(&info)?;
                }
                self.write(&None::<StorePath>)
            }
            Command::DumpStorePath => {
                let path: StorePath = self.read()?;
                self.store.path_info(&path)?;
                self.store.write_nar(&path, self.sink)
            }
            Command::ImportPaths => {
                self.check_write("importing paths is not allowed")?;
                crate::export::import_paths(self.store, &mut self.source, &AddOptions::trusted())?;
                self.write(&1_u64)
            }
            Command::BuildPaths => self.build_paths(),
            Command::QueryClosure => {
                let include_outputs: bool = self.read()?;
                let paths: Vec<StorePath> = self.read()?;
                let follow = Follow { outputs: include_outputs, ..Follow::default() };
                self.write(&closure(self.store, &paths, &follow)?)
            }
            Command::BuildDerivation => self.build_derivation(),
            Command::AddToStoreNar => self.add_nar(),
        }
    }

    fn build_options(&mut self) -> Result<()> {
        let options: ServeBuildOptions = self.read()?;
        if options.n_repeats != 0 {
            let message = "client requested repeating builds, but this is not currently implemented";
            return Err(StoreError::format("reading build options", message));
        }
        (self.options.set_build_options)(&options);
        Ok(())
    }

    fn build_paths(&mut self) -> Result<()> {
        self.check_write("building paths is not allowed")?;
        let wanted: Vec<DerivedPath> = self.read()?;
        self.build_options()?;
        let results = self.service.build_paths(&wanted, BuildMode::Normal, self.options.log);
        let status = results.as_ref().ok().and_then(|results| {
            results.iter().map(|keyed| keyed.result.status).find(|status| !status.is_success())
        });
        match results.and_then(|results| first_failure(self.store.store_dir(), &results)) {
            Ok(()) => self.write(&0_u64),
            Err(error) => {
                // Any number but those of successes; 9 is a failure of no special kind.
                self.write(&status.map_or(9, |status| status as u64))?;
                self.write(&error_text(&error).into_bytes())
            }
        }
    }

    fn build_derivation(&mut self) -> Result<()> {
        self.check_write("building paths is not allowed")?;
        let path: StorePath = self.read()?;
        let name = path.derivation_name().map(str::to_owned).ok_or_else(|| StoreError::BadStorePath {
            path: self.dialect.store_dir.display(&path),
            reason: "its name does not end in .drv".to_owned(),
        })?;
        let derivation = read_derivation(&mut self.source, &self.dialect, &name)?;
        self.build_options()?;
        let result = self.service.build_derivation(&path, &derivation, BuildMode::Normal, self.options.log)?;
        self.write(&result)
    }

    fn add_nar(&mut self) -> Result<()> {
        self.check_write("importing paths is not allowed")?;
        let info = PathInfo::read(&mut self.source, &Dialect::before_archives(self.dialect.store_dir))?;
        if info.nar_size == 0 {
            return Err(StoreError::format("adding a path", "the size of its NAR is missing"));
        }
        let mut nar = (&mut self.source).take(info.nar_size);
        self.store.add_nar(&info, &mut nar, &AddOptions::trusted())?;
        std::io::copy(&mut nar, &mut std::io::sink()).map_err(WireError::from)?;
        Ok(self.sink.write_number(1).map_err(WireError::from)?)
    }
}
