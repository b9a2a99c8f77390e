//! Building and fetching.

use super::{Session, refused};
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::wire::build_result::{BuildMode, KeyedBuildResult};
use crate::wire::derivation::read_derivation;
use crate::wire::derived_path::DerivedPath;
use crate::wire::log::RemoteError;

const NO_REPAIR: &str = "repairing is not allowed because you are not in 'trusted-users'";

impl Session<'_> {
    fn build(&self, wanted: &[DerivedPath], mode: BuildMode) -> Result<Vec<KeyedBuildResult>> {
        if mode == BuildMode::Repair {
            self.require_trust(NO_REPAIR)?;
        }
        self.service.build_paths(wanted, mode, self.tunnel)
    }

    pub(super) fn build_paths(&mut self) -> Result<()> {
        let wanted: Vec<DerivedPath> = self.read()?;
        let mode: BuildMode = self.read()?;
        self.confirm(|| {
            let results = self.build(&wanted, mode)?;
            first_failure(self.store.store_dir(), &results)
        })
    }

    pub(super) fn build_paths_with_results(&mut self) -> Result<()> {
        let wanted: Vec<DerivedPath> = self.read()?;
        let mode: BuildMode = self.read()?;
        self.reply(|| self.build(&wanted, mode))
    }

    /// The path of an input-addressed output proves nothing without the derivation's inputs, which don't travel; that of
    /// a content-addressed one is made from what comes out.
    pub(super) fn build_derivation(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        let dialect = self.tunnel.dialect();
        let name = path.derivation_name().map(str::to_owned).ok_or_else(|| StoreError::BadStorePath {
            path: dialect.store_dir.display(&path),
            reason: "its name does not end in .drv".to_owned(),
        })?;
        let derivation = read_derivation(&mut self.source, &dialect, &name)?;
        let mode: BuildMode = self.read()?;
        let is_trusted = self.options.is_trusted;
        self.reply(|| {
            if mode == BuildMode::Repair {
                self.require_trust(NO_REPAIR)?;
            }
            let kind = derivation.kind().map_err(|error| StoreError::format("reading a derivation", error))?;
            let path = match (is_trusted, kind.is_content_addressed()) {
                (true, _) => path,
                (false, false) => return Err(refused("you are not privileged to build input-addressed derivations")),
                (false, true) => self.store.write_derivation(&derivation)?,
            };
            self.service.build_derivation(&path, &derivation, mode, self.tunnel)
        })
    }

    pub(super) fn ensure_path(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        self.confirm(|| {
            self.store.add_temp_roots(std::slice::from_ref(&path))?;
            if self.store.is_valid(&path)? { Ok(()) } else { self.service.ensure_path(&path, self.tunnel) }
        })
    }

    pub(super) fn query_missing(&mut self) -> Result<()> {
        let wanted: Vec<DerivedPath> = self.read()?;
        self.reply(|| self.service.query_missing(&wanted, self.tunnel))
    }
}

/// Turns results into the error of a request that has no results: the one failure's message, or what failed.
pub(crate) fn first_failure(store_dir: &crate::path::StoreDir, results: &[KeyedBuildResult]) -> Result<()> {
    let failures: Vec<&KeyedBuildResult> =
        results.iter().filter(|keyed| !keyed.result.status.is_success()).collect();
    let message = match failures.as_slice() {
        [] => return Ok(()),
        [only] => only.result.error.clone(),
        several => {
            let names: Vec<String> =
                several.iter().map(|keyed| format!("'{}'", keyed.path.to_text(store_dir, '^'))).collect();
            format!("build of {} failed", names.join(", "))
        }
    };
    Err(StoreError::Remote { source: RemoteError { status: 100, ..RemoteError::new(message) } })
}
