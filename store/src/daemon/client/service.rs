//! What a daemon does for its client besides keeping objects: building and fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::ThreadId;

use super::{DaemonStore, ignore_number};
use crate::content_address::ContentAddress;
use crate::daemon::connection::Write1;
use crate::daemon::service::DaemonService;
use crate::derivation::Derivation;
use crate::error::Result;
use crate::path::StorePath;
use crate::store::Store;
use crate::wire::WireWrite;
use crate::wire::build_result::{BuildMode, BuildResult, KeyedBuildResult};
use crate::wire::derivation::write_derivation;
use crate::wire::derived_path::DerivedPath;
use crate::wire::log::LogSink;
use crate::wire::message::Message;
use crate::wire::operations::{ClientOptions, Missing, Operation, SubstitutableInfo};
use crate::wire::version::Number;

impl DaemonService for DaemonStore {
    fn hang_up(&self, thread: ThreadId) {
        self.connections.hang_up(thread);
    }

    fn build_paths(
        &self,
        wanted: &[DerivedPath],
        mode: BuildMode,
        log: &dyn LogSink,
    ) -> Result<Vec<KeyedBuildResult>> {
        let write: &Write1<'_> = &|sink, dialect| {
            sink.write_number(wanted.len() as u64)?;
            wanted.iter().try_for_each(|path| path.write(sink, dialect))?;
            mode.write(sink, dialect)
        };
        self.request_logged(log, Operation::BuildPathsWithResults, write, &Message::read)
    }

    fn build_derivation(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        mode: BuildMode,
        log: &dyn LogSink,
    ) -> Result<BuildResult> {
        let write: &Write1<'_> = &|sink, dialect| {
            path.write(sink, dialect)?;
            write_derivation(sink, dialect, derivation)?;
            mode.write(sink, dialect)
        };
        self.request_logged(log, Operation::BuildDerivation, write, &Message::read)
    }

    fn query_missing(&self, wanted: &[DerivedPath], log: &dyn LogSink) -> Result<Missing> {
        let write: &Write1<'_> = &|sink, dialect| {
            sink.write_number(wanted.len() as u64)?;
            wanted.iter().try_for_each(|path| path.write(sink, dialect))
        };
        self.request_logged(log, Operation::QueryMissing, write, &Message::read)
    }

    fn ensure_path(&self, path: &StorePath, log: &dyn LogSink) -> Result<()> {
        self.request_logged(log, Operation::EnsurePath, &|sink, dialect| path.write(sink, dialect), &ignore_number)
    }

    fn substitute_paths(&self, paths: &[StorePath], _log: &dyn LogSink) -> Result<()> {
        self.query_valid_paths(&paths.iter().cloned().collect(), true).map(drop)
    }

    fn available_paths(&self, paths: &[StorePath], _log: &dyn LogSink) -> Result<BTreeSet<StorePath>> {
        self.substitutable_paths(paths)
    }

    fn substitutable_infos(
        &self,
        paths: &BTreeMap<StorePath, Option<ContentAddress>>,
        log: &dyn LogSink,
    ) -> Result<BTreeMap<StorePath, SubstitutableInfo>> {
        let write: &Write1<'_> = &|sink, dialect| paths.write(sink, dialect);
        self.request_logged(log, Operation::QuerySubstitutablePathInfos, write, &Message::read)
    }

    fn version(&self) -> Result<Option<String>> {
        Ok(self.daemon_info()?.0.version)
    }

    fn protocol(&self) -> Result<Option<Number>> {
        Ok(Some(self.daemon_info()?.1))
    }

    /// Connections that are open keep their settings.
    fn set_options(&self, options: &ClientOptions, _is_trusted: bool, log: &dyn LogSink) -> Result<()> {
        self.with(|connection| connection.set_options(&self.options.store_dir, log, options))
    }
}
