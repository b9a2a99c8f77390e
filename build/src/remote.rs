//! Builds that somebody else asked for, and builds that somebody else does: between this crate's types and those of the
//! daemon protocol.
//!
//! [`build_paths`], [`build_derivation`] and [`query_missing`] are what a daemon does for its clients; a host makes a
//! [`Builder`] with the client's settings and calls them. The surprising part: a result that travels names each output by
//! the derivation's hash modulo, also where nothing is content-addressed, so that the closure of `.drv` files is read.

pub(crate) mod asked;
pub(crate) mod builders;
mod convert;
pub(crate) mod copying;
pub mod machines;
mod through;
mod tunnel;

use std::collections::BTreeMap;

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::wire;
use nixlang_store::wire::build_result::{BuiltOutput, KeyedBuildResult};
use nixlang_store::wire::log::{LogMessage, LogSink};
use nixlang_store::wire::operations::Missing;

pub use asked::{ObserverLog, build_by_service};
pub use builders::{OpenMachine, RemoteBuilders, RemoteStore};
pub use convert::{from_wire_result, to_wire_mode, to_wire_result};
pub use through::{NO_LOCAL_STORE, ThroughPlan, build_through};
pub use tunnel::LogObserver;

use crate::builder::Builder;
use crate::error::BuildError;
use crate::event::CancelToken;
use crate::known::{Known, OutputPaths};
use crate::plan::DerivedPath;
use crate::result::{BuildOutcome, BuildResult, BuildStatus};

/// Builds what a client wants and says how each went, but for what was cancelled because something else failed.
///
/// # Errors
///
/// It could not be planned.
pub fn build_paths(
    builder: &Builder,
    wanted: &[DerivedPath],
    log: &dyn LogSink,
    cancel: &CancelToken,
) -> Result<Vec<KeyedBuildResult>, BuildError> {
    let plan = builder.plan(wanted)?;
    let observer = LogObserver::new(builder.store().store_dir(), log);
    let outcome = builder.run(&plan, &observer, cancel);
    for result in outcome.told.iter().filter_map(|path| outcome.results.get(path)) {
        log.log(&LogMessage::Text(format!("error: {}\n", result.message.replace('\n', "\n       ")).into_bytes()));
    }
    let known = Known::new(builder.store(), builder.options().has_feature("ca-derivations"));
    let is_cancelled = |path: &DerivedPath| {
        outcome.results.get(path.root()).is_some_and(|result| result.status == BuildStatus::Cancelled)
    };
    // Of what was cancelled for another failure there is nothing to say.
    let told = wanted.iter().enumerate().filter(|(_, path)| outcome.order.is_empty() || !is_cancelled(path));
    let keyed = told.map(|(index, path)| {
        let result = result_of(&known, builder, path, index, &outcome)?;
        Ok(KeyedBuildResult { path: path.clone(), result })
    });
    keyed.collect()
}

/// Picks what became of one thing that was wanted.
fn result_of(
    known: &Known<'_>,
    builder: &Builder,
    wanted: &DerivedPath,
    index: usize,
    outcome: &BuildOutcome,
) -> Result<wire::build_result::BuildResult, BuildError> {
    let store = builder.store();
    let root = wanted.root();
    if let Some(message) = outcome.missing.get(root) {
        return Ok(wire::build_result::BuildResult::new(wire::build_result::BuildStatus::NoSubstituters, message.clone()));
    }
    let realised = outcome.realised.get(index).cloned().unwrap_or_default();
    let derivation = match (wanted, realised.derivation) {
        (DerivedPath::Opaque(_), _) => {
            return Ok(wire::build_result::BuildResult::new(wire::build_result::BuildStatus::AlreadyValid, ""));
        }
        (_, Some(derivation)) => derivation,
        (_, None) => root.clone(),
    };
    let result = match outcome.results.get(&derivation).or_else(|| outcome.results.get(root)) {
        Some(result) => result.clone(),
        None => BuildResult::new(BuildStatus::MiscFailure, "some of what is needed failed"),
    };
    let mut result = to_wire_result(&result);
    if result.status.is_success() {
        let parsed = store.read_derivation(&derivation)?;
        result.outputs = with_ids(known, &derivation, &parsed, &realised.outputs)?;
    }
    Ok(result)
}

/// Returns outputs as they travel.
fn with_ids(
    known: &Known<'_>,
    path: &StorePath,
    derivation: &Derivation,
    outputs: &OutputPaths,
) -> Result<BTreeMap<OutputName, BuiltOutput>, BuildError> {
    let ids = known.ids(path, derivation, outputs.keys())?;
    let output = |(id, (name, path)): (_, (&OutputName, &StorePath))| (name.clone(), BuiltOutput { id: Some(id), ..BuiltOutput::new(path.clone()) });
    Ok(ids.into_iter().zip(outputs).map(output).collect())
}

/// Builds a derivation that need not be in the store. Its inputs must be there.
///
/// # Errors
///
/// The store can't be read, or the derivation makes no sense.
pub fn build_derivation(
    builder: &Builder,
    path: &StorePath,
    derivation: &Derivation,
    log: &dyn LogSink,
    cancel: &CancelToken,
) -> Result<wire::build_result::BuildResult, BuildError> {
    let plan = builder.plan_derivation(path, derivation)?;
    let observer = LogObserver::new(builder.store().store_dir(), log);
    let outcome = builder.run(&plan, &observer, cancel);
    let result = match outcome.results.get(path) {
        Some(result) => result.clone(),
        None => BuildResult::new(BuildStatus::MiscFailure, "it was not built"),
    };
    let mut wire = to_wire_result(&result);
    if result.status.is_success() {
        let known = Known::new(builder.store(), builder.options().has_feature("ca-derivations"));
        wire.outputs = with_ids(&known, path, derivation, &result.outputs)?;
    }
    Ok(wire)
}

/// Returns what [`build_paths`] would do.
///
/// # Errors
///
/// It could not be planned.
pub fn query_missing(builder: &Builder, wanted: &[DerivedPath]) -> Result<Missing, BuildError> {
    let plan = builder.plan(wanted)?;
    Ok(Missing {
        will_build: plan.will_build().cloned().collect(),
        will_substitute: plan.substitution.offers.keys().cloned().collect(),
        unknown: plan.unknown.clone(),
        download_size: plan.substitution.sizes().0,
        nar_size: plan.substitution.sizes().1,
    })
}
