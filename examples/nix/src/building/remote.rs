//! Builds by a daemon: asked for, watched and judged as if they had run here.

use std::sync::Arc;

use nixlang_build::remote::build_by_service;
use nixlang_build::{BuildMode, BuildOutcome, CancelToken, DerivedPath};
use nixlang_store::daemon::DaemonService;
use nixlang_store::error::StoreError;

use super::{BuildFlags, failure, show_missing};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::remote_log::RemoteLog;
use crate::ui::Verbosity;

/// See [`super::build`].
pub(super) fn build(context: &Context, service: &Arc<dyn DaemonService>, wanted: &[DerivedPath], flags: BuildFlags, mode: BuildMode, cancel: &CancelToken) -> Outcome<BuildOutcome> {
    let log = RemoteLog::new(context.ui, context.prints_build_logs(), context.common.is_classic);
    if flags.dry_run || (context.settings.is_on("print-missing") && !flags.is_silent) {
        match service.query_missing(wanted, &log) {
            Ok(missing) => {
                let level = if flags.dry_run { Verbosity::ERROR } else { Verbosity::INFO };
                show_missing(context, level, missing.will_build.iter(), missing.will_substitute.iter(), (missing.download_size, missing.nar_size), missing.unknown.iter());
            }
            // The older protocol can't say.
            Err(StoreError::Unsupported { .. }) if !flags.dry_run => {}
            Err(error) => return Err(error.into()),
        }
    }
    if flags.dry_run {
        return Ok(BuildOutcome::default());
    }
    let outcome = build_by_service(&**service, &**context.store.open()?, wanted, mode, &log, cancel);
    if cancel.is_cancelled() {
        return Err(Failure::new("interrupted by the user"));
    }
    let outcome = outcome?;
    if outcome.is_success() { Ok(outcome) } else { Err(failure(context, wanted, &outcome)) }
}
