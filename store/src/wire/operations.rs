//! The daemon's operations: their numbers, and the larger of their requests and answers.
//!
//! Most requests are a path or a set of paths and are written where they are made. The surprising thing: numbers that
//! were once in use stay reserved, and the server still answers the obsolete ones.
//!
//! Format source: `worker-protocol.hh`, `remote-store.cc`, `daemon.cc` of the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use super::message::{Dialect, Message};
use super::version::Feature;
use super::{WireError, WireRead, WireWrite};
use crate::path::StorePath;

macro_rules! operations {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        /// What a client asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub enum Operation {
            $(#[doc = $doc] $name = $number,)*
        }

        impl Operation {
            /// All that there are, by number.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// Returns the operation of a number.
            pub fn from_number(number: u64) -> Option<Operation> {
                match number {
                    $($number => Some(Operation::$name),)*
                    _ => None,
                }
            }

            /// Returns the reference's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Operation::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    IsValidPath = 1, "Whether a path is valid.";
    QueryReferrers = 6, "Who refers to a path.";
    AddToStore = 7, "Adds something by its contents.";
    AddTextToStore = 8, "Adds a text; obsolete since 1.25.";
    BuildPaths = 9, "Builds or fetches.";
    EnsurePath = 10, "Fetches a path if it is not valid.";
    AddTempRoot = 11, "Keeps a path while the connection lasts.";
    AddIndirectRoot = 12, "Registers a link as root.";
    SyncWithGC = 13, "Does nothing; obsolete.";
    FindRoots = 14, "Which roots there are.";
    QueryDeriver = 18, "What built a path; obsolete.";
    SetOptions = 19, "The client's settings.";
    CollectGarbage = 20, "Collects garbage, or says what it would.";
    QuerySubstitutablePathInfo = 21, "What substituters know of a path.";
    QueryDerivationOutputs = 22, "Outputs of a derivation; obsolete.";
    QueryAllValidPaths = 23, "All valid paths.";
    QueryPathInfo = 26, "What is known of a path.";
    QueryDerivationOutputNames = 28, "Names of outputs; obsolete.";
    QueryPathFromHashPart = 29, "The path with a hash part.";
    QuerySubstitutablePathInfos = 30, "What substituters know of paths.";
    QueryValidPaths = 31, "Which of these paths are valid.";
    QuerySubstitutablePaths = 32, "Which of these paths substituters have.";
    QueryValidDerivers = 33, "Which derivations have a path as output.";
    OptimiseStore = 34, "Hard-links equal files.";
    VerifyStore = 35, "Looks whether everything is there.";
    BuildDerivation = 36, "Builds a derivation that is sent along.";
    AddSignatures = 37, "Adds signatures to a path.";
    NarFromPath = 38, "The archive of a path.";
    AddToStoreNar = 39, "Adds a path with its archive.";
    QueryMissing = 40, "What a build would build and fetch.";
    QueryDerivationOutputMap = 41, "Outputs of a derivation, with names.";
    RegisterDrvOutput = 42, "Registers a realisation.";
    QueryRealisation = 43, "What an output turned out to be.";
    AddMultipleToStore = 44, "Adds many paths with their archives.";
    AddBuildLog = 45, "Adds the log of a build.";
    BuildPathsWithResults = 46, "Builds or fetches, and says how each went.";
    AddPermRoot = 47, "Makes a link and registers it as root.";
}

/// What a collection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcAction {
    /// Name what is alive.
    ReturnLive,
    /// Name what is dead.
    ReturnDead,
    /// Delete what is dead.
    DeleteDead,
    /// Delete these paths, if they are dead.
    DeleteSpecific,
}

impl Message for GcAction {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        match source.read_number()? {
            0 => Ok(GcAction::ReturnLive),
            1 => Ok(GcAction::ReturnDead),
            2 => Ok(GcAction::DeleteDead),
            3 => Ok(GcAction::DeleteSpecific),
            number => Err(WireError::OutOfRange { number }),
        }
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_number(*self as u64)?)
    }
}

/// Some paths to collect among.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Among {
    /// The paths.
    pub paths: BTreeSet<StorePath>,
    /// Whether what refers to them may be deleted too.
    pub also_referrers: bool,
}

/// The request of [`Operation::CollectGarbage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcRequest {
    /// What to do.
    pub action: GcAction,
    /// Among which paths; the whole store if there are none. Without [`Feature::CollectAmongPaths`] only for
    /// [`GcAction::DeleteSpecific`], and without referrers.
    pub among: Option<Among>,
    /// Delete what is alive too; daemons refuse.
    pub ignore_liveness: bool,
    /// Stop after so many bytes.
    pub max_freed: u64,
}

impl Message for GcRequest {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let action = Message::read(source, dialect)?;
        let among = if dialect.protocol.has(Feature::CollectAmongPaths) {
            match source.read_number()? {
                0 => Some(Among { paths: Message::read(source, dialect)?, also_referrers: source.read_flag()? }),
                1 => None,
                number => return Err(WireError::OutOfRange { number }),
            }
        } else {
            let paths: BTreeSet<StorePath> = Message::read(source, dialect)?;
            (action == GcAction::DeleteSpecific || !paths.is_empty()).then_some(Among { paths, also_referrers: false })
        };
        let request = GcRequest { action, among, ignore_liveness: source.read_flag()?, max_freed: source.read_number()? };
        for _ in 0..3 {
            source.read_number()?;
        }
        Ok(request)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.action.write(sink, dialect)?;
        match (&self.among, dialect.protocol.has(Feature::CollectAmongPaths)) {
            (None, true) => sink.write_number(1)?,
            (Some(among), true) => {
                sink.write_number(0)?;
                among.paths.write(sink, dialect)?;
                sink.write_flag(among.also_referrers)?;
            }
            (None, false) => sink.write_number(0)?,
            (Some(Among { also_referrers: true, .. }), false) => {
                return Err(WireError::Inexpressible { what: "deleting what refers to some paths" });
            }
            (Some(_), false) if self.action != GcAction::DeleteSpecific => {
                return Err(WireError::Inexpressible { what: "deleting what is dead among some paths" });
            }
            (Some(among), false) => among.paths.write(sink, dialect)?,
        }
        sink.write_flag(self.ignore_liveness)?;
        sink.write_number(self.max_freed)?;
        for _ in 0..3 {
            sink.write_number(0)?;
        }
        Ok(())
    }
}

/// The request of [`Operation::SetOptions`]: what a client wants of builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Keep directories of failed builds.
    pub keep_failed: bool,
    /// Go on after a failure.
    pub keep_going: bool,
    /// Build what can't be fetched.
    pub fallback: bool,
    /// How much to say, see [`level`](super::log::level).
    pub verbosity: u64,
    /// Builds at the same time.
    pub max_jobs: u64,
    /// Seconds of silence after which a build is ended; 0 for none.
    pub max_silent_time: u64,
    /// Show the output of builders.
    pub verbose_build: bool,
    /// Processors per build; 0 for all.
    pub cores: u64,
    /// Use substituters.
    pub use_substitutes: bool,
    /// All other settings, by name.
    pub overrides: BTreeMap<String, String>,
}

impl Default for ClientOptions {
    /// The reference's defaults.
    fn default() -> Self {
        ClientOptions {
            keep_failed: false,
            keep_going: false,
            fallback: false,
            verbosity: super::log::level::ERROR,
            max_jobs: 1,
            max_silent_time: 0,
            verbose_build: true,
            cores: 0,
            use_substitutes: true,
            overrides: BTreeMap::new(),
        }
    }
}

impl Message for ClientOptions {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let keep_failed = source.read_flag()?;
        let keep_going = source.read_flag()?;
        let fallback = source.read_flag()?;
        let verbosity = source.read_number()?;
        let max_jobs = source.read_number()?;
        let max_silent_time = source.read_number()?;
        source.read_number()?;
        let verbose_build = source.read_number()? == super::log::level::ERROR;
        source.read_number()?;
        source.read_number()?;
        Ok(ClientOptions {
            keep_failed,
            keep_going,
            fallback,
            verbosity,
            max_jobs,
            max_silent_time,
            verbose_build,
            cores: source.read_number()?,
            use_substitutes: source.read_flag()?,
            overrides: Message::read(source, dialect)?,
        })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        use super::log::level;
        let verbose_build = if self.verbose_build { level::ERROR } else { level::VOMIT };
        for number in [
            self.keep_failed.into(),
            self.keep_going.into(),
            self.fallback.into(),
            self.verbosity,
            self.max_jobs,
            self.max_silent_time,
            // Once whether a build hook is used; then how to show builds, and whether to trace them.
            1,
            verbose_build,
            0,
            0,
            self.cores,
            self.use_substitutes.into(),
        ] {
            sink.write_number(number)?;
        }
        self.overrides.write(sink, dialect)
    }
}

/// The answer to [`Operation::QueryMissing`]: what a build would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Derivations to build.
    pub will_build: BTreeSet<StorePath>,
    /// Paths to fetch.
    pub will_substitute: BTreeSet<StorePath>,
    /// What can be neither built nor fetched.
    pub unknown: BTreeSet<StorePath>,
    /// Bytes to fetch.
    pub download_size: u64,
    /// Bytes of archives that come of it.
    pub nar_size: u64,
}

impl Message for Missing {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        Ok(Missing {
            will_build: Message::read(source, dialect)?,
            will_substitute: Message::read(source, dialect)?,
            unknown: Message::read(source, dialect)?,
            download_size: source.read_number()?,
            nar_size: source.read_number()?,
        })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.will_build.write(sink, dialect)?;
        self.will_substitute.write(sink, dialect)?;
        self.unknown.write(sink, dialect)?;
        sink.write_number(self.download_size)?;
        Ok(sink.write_number(self.nar_size)?)
    }
}

/// What substituters know of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubstitutableInfo {
    /// What built it.
    pub deriver: Option<StorePath>,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
    /// Bytes to fetch; 0 if it is not known.
    pub download_size: u64,
    /// Bytes of its archive; 0 if it is not known.
    pub nar_size: u64,
}

impl Message for SubstitutableInfo {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        Ok(SubstitutableInfo {
            deriver: Message::read(source, dialect)?,
            references: Message::read(source, dialect)?,
            download_size: source.read_number()?,
            nar_size: source.read_number()?,
        })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.deriver.write(sink, dialect)?;
        self.references.write(sink, dialect)?;
        sink.write_number(self.download_size)?;
        Ok(sink.write_number(self.nar_size)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Protocol;
    use super::super::version::{Version, WORKER_LATEST};
    use super::*;
    use crate::path::StoreDir;

    #[test]
    fn numbers() {
        for &operation in Operation::ALL {
            assert_eq!(Operation::from_number(operation as u64), Some(operation));
        }
        assert_eq!(Operation::ALL.len(), 37);
        assert_eq!(Operation::from_number(2), None);
        assert_eq!(Operation::BuildPathsWithResults.name(), "BuildPathsWithResults");
    }

    #[test]
    fn requests_round_trip() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(WORKER_LATEST) };
        fn check<M: Message + PartialEq + std::fmt::Debug>(message: &M, dialect: &Dialect<'_>) {
            let mut bytes = Vec::new();
            message.write(&mut bytes, dialect).unwrap();
            assert_eq!(&M::read(&mut bytes.as_slice(), dialect).unwrap(), message);
            for end in (0..bytes.len()).step_by(8) {
                assert!(M::read(&mut &bytes[..end], dialect).is_err());
            }
        }
        let path = StorePath::new([7; 20], "x").unwrap();
        for verbose_build in [false, true] {
            let overrides = [("a".to_owned(), "b".to_owned())].into();
            check(&ClientOptions { verbose_build, overrides, cores: 3, ..ClientOptions::default() }, &dialect);
        }
        for action in [GcAction::ReturnLive, GcAction::ReturnDead, GcAction::DeleteDead, GcAction::DeleteSpecific] {
            let among = |also_referrers| Some(Among { paths: [path.clone()].into(), also_referrers });
            let request = GcRequest { action, among: None, ignore_liveness: false, max_freed: u64::MAX };
            let newer = Dialect { protocol: Version::of_client().protocol(), ..dialect };
            for among in [None, among(false), among(true)] {
                check(&GcRequest { among, ..request.clone() }, &newer);
            }
            // 2.34 can name paths only if they are what is to be deleted.
            let is_specific = action == GcAction::DeleteSpecific;
            check(&GcRequest { among: if is_specific { among(false) } else { None }, ..request.clone() }, &dialect);
            for among in [(!is_specific).then(|| among(false)).flatten(), among(true)].into_iter().flatten() {
                let refused = GcRequest { among: Some(among), ..request.clone() }.write(&mut Vec::new(), &dialect);
                assert!(matches!(refused, Err(WireError::Inexpressible { .. })));
            }
        }
        check(&Missing { unknown: [path.clone()].into(), nar_size: 5, ..Missing::default() }, &dialect);
        check(
            &SubstitutableInfo { deriver: None, references: [path].into(), download_size: 1, nar_size: 2 },
            &dialect,
        );
    }
}
