//! What a daemon does besides keeping objects.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::ThreadId;

use crate::content_address::ContentAddress;
use crate::derivation::Derivation;
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{GcAction, GcOptions};
use crate::wire::build_result::{BuildMode, BuildResult, KeyedBuildResult};
use crate::wire::derived_path::DerivedPath;
use crate::wire::log::LogSink;
use crate::wire::operations::{ClientOptions, Missing, SubstitutableInfo};
use crate::wire::version::Number;

/// Building, fetching, and settings of clients. `()` can do none of it: a daemon that only keeps objects.
///
/// What happens meanwhile goes to `log`; a server sends it to its client.
pub trait DaemonService: Send + Sync {
    /// Builds or fetches everything that is wanted and says how each went. A build that failed is no error.
    ///
    /// # Errors
    /// When it could not be tried.
    fn build_paths(
        &self,
        _wanted: &[DerivedPath],
        _mode: BuildMode,
        _log: &dyn LogSink,
    ) -> Result<Vec<KeyedBuildResult>> {
        Err(StoreError::Unsupported { operation: "building" })
    }

    /// Builds a derivation whose inputs are paths; it need not be in the store.
    ///
    /// # Errors
    /// When it could not be tried.
    fn build_derivation(
        &self,
        _path: &StorePath,
        _derivation: &Derivation,
        _mode: BuildMode,
        _log: &dyn LogSink,
    ) -> Result<BuildResult> {
        Err(StoreError::Unsupported { operation: "building" })
    }

    /// Returns what [`DaemonService::build_paths`] would do.
    ///
    /// # Errors
    /// When the store can't be read.
    fn query_missing(&self, _wanted: &[DerivedPath], _log: &dyn LogSink) -> Result<Missing> {
        Err(StoreError::Unsupported { operation: "planning builds" })
    }

    /// Fetches a path that is not valid.
    ///
    /// # Errors
    /// When nobody has it.
    fn ensure_path(&self, _path: &StorePath, _log: &dyn LogSink) -> Result<()> {
        Err(StoreError::Unsupported { operation: "substitution" })
    }

    /// Fetches those of these paths that somebody has.
    ///
    /// # Errors
    /// When the store can't be written.
    fn substitute_paths(&self, _paths: &[StorePath], _log: &dyn LogSink) -> Result<()> {
        Ok(())
    }

    /// Returns which of these paths others have who don't mind many questions.
    ///
    /// # Errors
    /// When nobody can be asked.
    fn available_paths(&self, _paths: &[StorePath], _log: &dyn LogSink) -> Result<BTreeSet<StorePath>> {
        Ok(BTreeSet::new())
    }

    /// Returns what others know of these paths. With a content address the path may have another name there.
    ///
    /// # Errors
    /// When nobody can be asked.
    fn substitutable_infos(
        &self,
        _paths: &BTreeMap<StorePath, Option<ContentAddress>>,
        _log: &dyn LogSink,
    ) -> Result<BTreeMap<StorePath, SubstitutableInfo>> {
        Ok(BTreeMap::new())
    }

    /// Takes a client's settings. What it may not set is left out, with a warning on `log`.
    ///
    /// # Errors
    /// When a setting makes no sense.
    fn set_options(&self, _options: &ClientOptions, _is_trusted: bool, _log: &dyn LogSink) -> Result<()> {
        Ok(())
    }

    /// Ends the build that a thread waits for, where somebody else does it: the connection is closed, so that whoever
    /// builds stops, and the thread gets an error. Called from another thread.
    fn hang_up(&self, _thread: ThreadId) {}

    /// Returns the version of the program that does all this, if it says so.
    ///
    /// # Errors
    /// When it can't be reached.
    fn version(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns the version of the protocol that is spoken with it, if it is somewhere else.
    ///
    /// # Errors
    /// When it can't be reached.
    fn protocol(&self) -> Result<Option<Number>> {
        Ok(None)
    }

    /// Returns how garbage is collected here.
    fn gc_options(&self, action: GcAction) -> GcOptions {
        GcOptions::new(action)
    }
}

impl DaemonService for () {}
