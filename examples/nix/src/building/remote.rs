//! Builds by a daemon: asked for, watched and judged as if they had run here.

use std::sync::Arc;

use nixlang_build::remote::{from_wire_result, to_wire_mode, to_wire_path};
use nixlang_build::result::Realised;
use nixlang_build::{BuildMode, BuildOutcome, DerivedPath, WantedOutputs};
use nixlang_store::daemon::DaemonService;
use nixlang_store::error::StoreError;
use nixlang_store::path::StorePath;
use nixlang_store::wire;

use super::{BuildFlags, failure, show_missing};
use crate::commands::Context;
use crate::failure::Outcome;
use crate::remote_log::RemoteLog;
use crate::ui::Verbosity;

/// See [`super::build`].
pub(super) fn build(context: &Context, service: &Arc<dyn DaemonService>, wanted: &[DerivedPath], flags: BuildFlags, mode: BuildMode) -> Outcome<BuildOutcome> {
    let asked: Vec<wire::derived_path::DerivedPath> = wanted.iter().map(to_wire_path).collect();
    let log = RemoteLog::new(context.ui, context.prints_build_logs(), context.common.is_classic);
    if flags.dry_run || (context.settings.is_on("print-missing") && !flags.is_silent) {
        match service.query_missing(&asked, &log) {
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
    let results = service.build_paths(&asked, to_wire_mode(mode), &log)?;
    let mut outcome = BuildOutcome::default();
    for (wanted, keyed) in wanted.iter().zip(results) {
        let result = from_wire_result(&keyed.result);
        let is_success = result.status.is_success();
        let realised = match wanted {
            _ if !is_success => Realised::default(),
            DerivedPath::Opaque(path) => Realised { derivation: None, outputs: [("out".into(), path.clone())].into() },
            DerivedPath::Built { derivation, outputs } => realised(context, derivation, outputs, &result)?,
            DerivedPath::Nested { outputs, .. } => {
                let outputs = result.outputs.iter().filter(|(name, _)| is_wanted(outputs, name));
                Realised { derivation: None, outputs: outputs.map(|(name, path)| (name.clone(), path.clone())).collect() }
            }
        };
        outcome.realised.push(realised);
        outcome.results.insert(wanted.root().clone(), result);
    }
    if outcome.is_success() { Ok(outcome) } else { Err(failure(context, wanted, &outcome)) }
}

fn is_wanted(outputs: &WantedOutputs, name: &str) -> bool {
    match outputs {
        WantedOutputs::All => true,
        WantedOutputs::Named(names) => names.contains(name),
    }
}

/// Returns the outputs that a result names, or else those that the store knows.
fn realised(context: &Context, derivation: &StorePath, outputs: &WantedOutputs, result: &nixlang_build::BuildResult) -> Outcome<Realised> {
    let mut made = result.outputs.clone();
    if made.is_empty() {
        let known = context.store.open()?.derivation_outputs(derivation)?;
        made = known.into_iter().filter_map(|(name, path)| Some((name.into(), path?))).collect();
    }
    made.retain(|name, _| is_wanted(outputs, name));
    Ok(Realised { derivation: Some(derivation.clone()), outputs: made })
}
