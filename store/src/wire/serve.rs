//! The protocol of `nix-store --serve`, which `ssh://` speaks: its commands and build options.
//!
//! The surprising thing: errors don't travel. A server that can't answer ends the connection, and what went wrong is on
//! its standard error.
//!
//! Format source: `serve-protocol.cc`, `nix-store.cc` (`opServe`) of the reference.

use std::io::{Read, Write};

use super::message::{Dialect, Message};
use super::{WireError, WireRead, WireWrite};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Command {
    /// Which of these paths are valid.
    QueryValidPaths = 1,
    /// What is known of paths.
    QueryPathInfos = 2,
    /// The archive of a path.
    DumpStorePath = 3,
    /// Adds exported paths; for Hydra.
    ImportPaths = 4,
    /// Builds or fetches.
    BuildPaths = 6,
    /// Paths and all that they refer to.
    QueryClosure = 7,
    /// Builds a derivation that is sent along.
    BuildDerivation = 8,
    /// Adds a path with its archive.
    AddToStoreNar = 9,
}

impl Command {
    /// Returns the command of a number.
    pub fn from_number(number: u64) -> Option<Command> {
        Some(match number {
            1 => Command::QueryValidPaths,
            2 => Command::QueryPathInfos,
            3 => Command::DumpStorePath,
            4 => Command::ImportPaths,
            6 => Command::BuildPaths,
            7 => Command::QueryClosure,
            8 => Command::BuildDerivation,
            9 => Command::AddToStoreNar,
            _ => return None,
        })
    }
}

/// What a client wants of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeBuildOptions {
    /// Seconds of silence after which a build is ended; 0 for none.
    pub max_silent_time: u64,
    /// Seconds after which a build is ended; 0 for none.
    pub timeout: u64,
    /// Bytes of log after which a build is ended; 0 for none.
    pub max_log_size: u64,
    /// How often to build again; must be 0.
    pub n_repeats: u64,
    /// Without a meaning.
    pub enforce_determinism: bool,
    /// Keep directories of failed builds.
    pub keep_failed: bool,
}

impl Message for ServeBuildOptions {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let mut options = ServeBuildOptions {
            max_silent_time: source.read_number()?,
            timeout: source.read_number()?,
            ..ServeBuildOptions::default()
        };
        if dialect.protocol.is_serve_since(2) {
            options.max_log_size = source.read_number()?;
        }
        if dialect.protocol.is_serve_since(3) {
            options.n_repeats = source.read_number()?;
            options.enforce_determinism = source.read_flag()?;
        }
        if dialect.protocol.is_serve_since(7) {
            options.keep_failed = source.read_flag()?;
        }
        Ok(options)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        sink.write_number(self.max_silent_time)?;
        sink.write_number(self.timeout)?;
        if dialect.protocol.is_serve_since(2) {
            sink.write_number(self.max_log_size)?;
        }
        if dialect.protocol.is_serve_since(3) {
            sink.write_number(self.n_repeats)?;
            sink.write_flag(self.enforce_determinism)?;
        }
        if dialect.protocol.is_serve_since(7) {
            sink.write_flag(self.keep_failed)?;
        }
        Ok(())
    }
}
