//! Answers the requests of one client.
//!
//! A request that fails is answered with the error and the connection goes on, except when it was not understood: then
//! nobody knows where the next one begins. What an upload still sends is read in either case.
//!
//! What a client may do if it is not trusted is decided here and nowhere else; see the rules at [`serve`].
//!
//! Source of the rules: `daemon.cc` of the reference (2.34.8).

use std::io::{BufReader, BufWriter, Read, Write};

use super::service::DaemonService;
use super::tunnel::Tunnel;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::wire::message::{Message, Trust};
use crate::wire::operations::{ClientOptions, Operation};
use crate::wire::version::{DaemonInfo, Feature, GreetingError, Version, greet_client};
use crate::wire::{WireError, WireRead};

mod adding;
mod builds;
mod queries;
mod upkeep;

pub(crate) use builds::first_failure;

/// What a server says and grants.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The program's version, which clients show.
    pub version: String,
    /// Whether this client may do everything.
    pub is_trusted: bool,
    /// Whether the client is a builder that asks in the middle of its own build: its settings are not taken.
    pub is_recursive: bool,
}

/// Answers a client until it leaves. Blocks.
///
/// A client that is not trusted may ask everything, add what is content-addressed or signed, build derivations that are
/// in the store or content-addressed, collect garbage and register indirect roots. It may not bring unsigned paths,
/// repair, bring logs, make links, build an input-addressed derivation that it sends along, or set what
/// [`DaemonService::set_options`] does not allow; where running processes hold roots is hidden from it.
///
/// # Errors
/// When the connection failed or the client said something that is no request. Errors of requests go to the client.
pub fn serve(
    store: &dyn Store,
    service: &dyn DaemonService,
    options: &ServerOptions,
    source: Box<dyn Read + Send>,
    sink: Box<dyn Write + Send>,
) -> Result<()> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    let mut sink = BufWriter::with_capacity(64 * 1024, sink);
    let trust = if options.is_trusted {
        // Both we and the store behind us must trust the client.
        store.trusts_this_client()?.map(|trusts| if trusts { Trust::Trusted } else { Trust::NotTrusted })
    } else {
        Some(Trust::NotTrusted)
    };
    let info = DaemonInfo { version: Some(options.version.clone()), trust };
    let mut offered = Version::of_server();
    if options.is_recursive {
        offered.features = offered.features.with(Feature::NoSettings);
    }
    let version = greet_client(&mut source, &mut sink, store.store_dir(), &offered, &info)
        .map_err(|error| match error {
            GreetingError::Wire(error) => StoreError::from(error),
            error => StoreError::format("greeting a client", error),
        })?;
    let tunnel = Tunnel::new(sink, store.store_dir(), version.protocol());
    std::thread::scope(|scope| {
        scope.spawn(|| tunnel.flush_late());
        // A thread that waits must hear of the end, whatever it is.
        let _closing = Closing(&tunnel);
        let mut session = Session { store, service, options, source, tunnel: &tunnel };
        let result = session.run();
        if let Err(error) = &result {
            tunnel.last_words(error);
        }
        result
    })
}

struct Session<'s> {
    store: &'s dyn Store,
    service: &'s dyn DaemonService,
    options: &'s ServerOptions,
    source: BufReader<Box<dyn Read + Send>>,
    tunnel: &'s Tunnel<'s>,
}

/// Closes a tunnel when it is dropped.
struct Closing<'c>(&'c Tunnel<'c>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Session<'_> {
    fn run(&mut self) -> Result<()> {
        // Before its first request a client hears whether it may make any.
        self.tunnel.work(|| Ok(()))?;
        loop {
            let number = match self.source.read_number() {
                Ok(number) => number,
                Err(WireError::Io(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Some(operation) = Operation::from_number(number) else {
                return Err(StoreError::format("reading a request", format!("invalid operation {number}")));
            };
            self.answer(operation)?;
        }
    }

    fn read<M: Message>(&mut self) -> Result<M, WireError> {
        M::read(&mut self.source, &self.tunnel.dialect())
    }

    /// Does what a request wants and writes the answer, a value.
    fn reply<M: Message>(&self, work: impl FnOnce() -> Result<M>) -> Result<()> {
        if let Some(answer) = self.tunnel.work(work)? {
            self.tunnel.answer(|sink, dialect| answer.write(sink, dialect))?;
        }
        Ok(())
    }

    /// As [`Session::reply`]; that it worked is the answer.
    fn confirm(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.reply(|| work().map(|()| 1_u64))
    }

    /// Refuses what only trusted clients may do.
    fn require_trust(&self, message: &'static str) -> Result<()> {
        if self.options.is_trusted { Ok(()) } else { Err(refused(message)) }
    }

    fn answer(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::IsValidPath => self.is_valid_path(),
            Operation::QueryReferrers
            | Operation::QueryValidDerivers
            | Operation::QueryDerivationOutputs
            | Operation::QuerySubstitutablePaths
            | Operation::QueryDerivationOutputNames
            | Operation::QueryDerivationOutputMap
            | Operation::QueryDeriver
            | Operation::QueryPathFromHashPart
            | Operation::QueryAllValidPaths
            | Operation::QueryPathInfo
            | Operation::QueryValidPaths
            | Operation::QueryRealisation
            | Operation::NarFromPath => self.query(operation),
            Operation::QuerySubstitutablePathInfo | Operation::QuerySubstitutablePathInfos => {
                self.substitutable_infos(operation)
            }
            Operation::AddToStore => self.add_to_store(),
            Operation::AddTextToStore => self.add_text(),
            Operation::AddToStoreNar => self.add_nar(),
            Operation::AddMultipleToStore => self.add_multiple(),
            Operation::AddBuildLog => self.add_build_log(),
            Operation::AddSignatures => self.add_signatures(),
            Operation::RegisterDrvOutput => self.register_realisation(),
            Operation::BuildPaths => self.build_paths(),
            Operation::BuildPathsWithResults => self.build_paths_with_results(),
            Operation::BuildDerivation => self.build_derivation(),
            Operation::EnsurePath => self.ensure_path(),
            Operation::QueryMissing => self.query_missing(),
            Operation::AddTempRoot
            | Operation::AddIndirectRoot
            | Operation::AddPermRoot
            | Operation::SyncWithGC
            | Operation::FindRoots => self.roots(operation),
            Operation::CollectGarbage => self.collect_garbage(),
            Operation::OptimiseStore => self.optimise(),
            Operation::VerifyStore => self.verify(),
            Operation::SetOptions => {
                let options: ClientOptions = self.read()?;
                if self.tunnel.dialect().protocol.has(Feature::NoSettings) {
                    self.tunnel.work(|| -> Result<()> { Err(refused("setting options is not allowed here")) })?;
                    return Ok(());
                }
                let Session { service, tunnel, .. } = self;
                let (is_trusted, is_recursive) = (self.options.is_trusted, self.options.is_recursive);
                tunnel.work(|| if is_recursive { Ok(()) } else { service.set_options(&options, is_trusted, *tunnel) })?;
                Ok(())
            }
        }
    }
}

/// The error for what a client may not do.
fn refused(message: &'static str) -> StoreError {
    StoreError::Remote { source: crate::wire::log::RemoteError::new(message) }
}
