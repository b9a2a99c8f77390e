//! Builds for a builder: only of what it knows, and what comes out becomes known to it.

use nixlang_store::daemon::DaemonService;
use nixlang_store::error::{Result, StoreError};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::wire::build_result::{BuildMode, KeyedBuildResult};
use nixlang_store::wire::derived_path::DerivedPath;
use nixlang_store::wire::log::{LogSink, RemoteError};
use nixlang_store::wire::operations::Missing;

use super::Guest;
use crate::error::BuildError;
use crate::event::CancelToken;
use crate::remote;

/// See the file's comment.
pub(super) struct RestrictedService<'g> {
    guest: &'g Guest<'g>,
    /// Ends builds with the builder.
    cancel: &'g CancelToken,
}

impl<'g> RestrictedService<'g> {
    pub(super) fn new(guest: &'g Guest<'_>, cancel: &'g CancelToken) -> RestrictedService<'g> {
        RestrictedService { guest, cancel }
    }

    fn is_allowed(&self, wanted: &DerivedPath) -> bool {
        self.guest.is_allowed(wanted.root())
    }
}

fn refused(message: String) -> StoreError {
    StoreError::Remote { source: RemoteError::new(message) }
}

fn failed(error: BuildError) -> StoreError {
    match error {
        BuildError::Store(error) => error,
        error => refused(error.to_string()),
    }
}

impl DaemonService for RestrictedService<'_> {
    fn build_paths(&self, wanted: &[DerivedPath], mode: BuildMode, log: &dyn LogSink) -> Result<Vec<KeyedBuildResult>> {
        let Guest { builder, .. } = self.guest;
        if mode != BuildMode::Normal {
            return Err(StoreError::Unsupported { operation: "building anew in a build" });
        }
        if let Some(unknown) = wanted.iter().find(|wanted| !self.is_allowed(wanted)) {
            let unknown = unknown.to_text(builder.store().store_dir(), '^');
            return Err(refused(format!("cannot build '{unknown}' in recursive Nix because path is unknown")));
        }
        let results = remote::build_paths(builder, wanted, log, self.cancel).map_err(failed)?;
        let made = results.iter().flat_map(|keyed| keyed.result.outputs.values());
        let made: Vec<StorePath> = made.map(|output| output.made.path.clone()).collect();
        for path in builder.store().closure(&made)? {
            self.guest.add(&path)?;
        }
        Ok(results)
    }

    fn query_missing(&self, wanted: &[DerivedPath], _log: &dyn LogSink) -> Result<Missing> {
        let (allowed, others): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|wanted| self.is_allowed(wanted));
        let mut missing = remote::query_missing(self.guest.builder, &allowed).map_err(failed)?;
        missing.unknown.extend(others.iter().map(|other| other.root().clone()));
        Ok(missing)
    }

    fn ensure_path(&self, path: &StorePath, _log: &dyn LogSink) -> Result<()> {
        if self.guest.is_allowed(path) {
            return Ok(());
        }
        let path = self.guest.builder.store().store_dir().display(path);
        Err(refused(format!("cannot substitute unknown path '{path}' in recursive Nix")))
    }
}
