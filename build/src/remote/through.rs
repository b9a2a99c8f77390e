//! Builds for a store that can't build, such as a binary cache: each derivation is built on one of some machines, and its
//! outputs are copied from there into the store.
//!
//! The surprising part: everything is copied twice. What a build needs goes from the store to the machine although another
//! build made it there a moment ago, perhaps; only then is everything in the store that was built for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nixlang_store::copy::{CopyOptions, copy};
use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::path::StorePath;
use nixlang_store::realisation::DerivationOutputId;
use nixlang_store::store::Store;
use nixlang_store::wire::build_result::BuildMode as WireMode;

use super::asked::{ObserverLog, unless_cancelled};
use super::builders::{Place, RemoteBuilders, wake};
use super::copying::Copying;
use super::from_wire_result;
use crate::error::BuildError;
use crate::event::{BuildEvent, CancelToken, Observer};
use crate::known::OutputPaths;
use crate::plan::{DerivedPath, OutputsSpec, SingleDerivedPath};
use crate::prepare;
use crate::result::{BuildOutcome, BuildResult, BuildStatus, Realised};
use crate::scheduler::{Counts, NewStep, Order, Outcome, Scheduler, Slot, StepEnd, run_steps};

/// What the reference says of a store that can't build.
pub const NO_LOCAL_STORE: &str = "Unable to build with a primary store that isn't a local store; either pass a different '--store' or enable \
    remote builds.\n\nFor more information check 'man nix.conf' and search for '/machines'.";

/// What has to be built so that something is in a store that can't build.
pub struct ThroughPlan {
    wanted: Vec<DerivedPath>,
    /// Each after all that it needs.
    items: Vec<Item>,
    /// Derivations that are wanted, and all of their outputs.
    outputs: BTreeMap<StorePath, OutputPaths>,
    missing: BTreeSet<StorePath>,
}

struct Item {
    path: StorePath,
    derivation: Derivation,
    outputs: OutputPaths,
    /// Earlier items.
    dependencies: Vec<usize>,
    inputs: Vec<StorePath>,
}

impl ThroughPlan {
    /// Looks for what is not in `store` yet.
    ///
    /// # Errors
    ///
    /// The store can't be read, a derivation makes no sense, or the path of an output is not known before it is built.
    pub fn new(store: &dyn Store, wanted: &[DerivedPath]) -> Result<ThroughPlan, BuildError> {
        let mut plan = ThroughPlan { wanted: wanted.to_vec(), items: Vec::new(), outputs: BTreeMap::new(), missing: BTreeSet::new() };
        let mut places = BTreeMap::new();
        for wanted in wanted {
            match wanted {
                DerivedPath::Opaque(path) => {
                    if !store.is_valid(path)? {
                        plan.missing.insert(path.clone());
                    }
                }
                DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), outputs } => {
                    let all = known_outputs(store, derivation, &store.read_derivation(derivation)?)?;
                    let names = match outputs {
                        OutputsSpec::All => all.keys().cloned().collect(),
                        OutputsSpec::Names(names) => names.clone(),
                    };
                    plan.add(store, derivation, &names, &mut places)?;
                    plan.outputs.insert(derivation.clone(), all);
                }
                DerivedPath::Built { .. } => return Err(unsupported(store, wanted.root())),
            }
        }
        Ok(plan)
    }

    /// Returns the derivations that will be built, each after all that it needs.
    pub fn will_build(&self) -> impl ExactSizeIterator<Item = &StorePath> {
        self.items.iter().map(|item| &item.path)
    }

    /// Adds a derivation after all that it needs, unless its outputs are there. Returns where it stands. Dependencies of
    /// derivations make no circles, since paths contain hashes of what they refer to.
    fn add(
        &mut self,
        store: &dyn Store,
        path: &StorePath,
        names: &BTreeSet<OutputName>,
        places: &mut BTreeMap<StorePath, Option<usize>>,
    ) -> Result<(), BuildError> {
        enum Visit {
            Enter(StorePath, BTreeSet<OutputName>),
            Leave(Box<Item>, Vec<StorePath>),
        }
        let mut stack = vec![Visit::Enter(path.clone(), names.clone())];
        while let Some(visit) = stack.pop() {
            let (path, names) = match visit {
                Visit::Enter(path, names) => (path, names),
                Visit::Leave(mut item, needed) => {
                    if places.get(&item.path).is_none_or(Option::is_none) {
                        item.dependencies = needed.iter().filter_map(|path| places.get(path).copied().flatten()).collect();
                        places.insert(item.path.clone(), Some(self.items.len()));
                        self.items.push(*item);
                    }
                    continue;
                }
            };
            if matches!(places.get(&path), Some(Some(_))) {
                continue;
            }
            let derivation = store.read_derivation(&path)?;
            let outputs = known_outputs(store, &path, &derivation)?;
            let mut wanted = Vec::new();
            for name in &names {
                let output = outputs.get(name).ok_or_else(|| BuildError::NoSuchOutput {
                    derivation: store.store_dir().display(&path),
                    output: name.to_string(),
                })?;
                wanted.push(output.clone());
            }
            if store.are_valid(&wanted)?.into_iter().all(|valid| valid) {
                places.entry(path).or_insert(None);
                continue;
            }
            let mut inputs: Vec<StorePath> = derivation.input_sources.iter().cloned().collect();
            let mut enter = Vec::new();
            for (input, wanted) in &derivation.input_derivations {
                if !wanted.dynamic.is_empty() {
                    return Err(unsupported(store, &path));
                }
                let made = known_outputs(store, input, &store.read_derivation(input)?)?;
                inputs.extend(wanted.outputs.iter().filter_map(|name| made.get(name).cloned()));
                enter.push(Visit::Enter(input.clone(), wanted.outputs.iter().cloned().collect()));
            }
            let needed = derivation.input_derivations.keys().cloned().collect();
            let item = Item { path, derivation, outputs, dependencies: Vec::new(), inputs };
            stack.push(Visit::Leave(Box::new(item), needed));
            stack.extend(enter);
        }
        Ok(())
    }
}

fn unsupported(store: &dyn Store, path: &StorePath) -> BuildError {
    let derivation = store.store_dir().display(path);
    let reason = format!("store '{}' cannot build, and outputs whose paths are not known beforehand are not built for it elsewhere", store.address());
    BuildError::Derivation { derivation, reason }
}

/// Returns the outputs of a derivation: where it says so itself, or the store knows what they turned out to be.
fn known_outputs(store: &dyn Store, path: &StorePath, derivation: &Derivation) -> Result<OutputPaths, BuildError> {
    let dir = store.store_dir();
    let failed = |error: &dyn std::fmt::Display| BuildError::Derivation { derivation: dir.display(path), reason: error.to_string() };
    let mut outputs = OutputPaths::new();
    let mut unknown = Vec::new();
    for (name, output) in &derivation.outputs {
        match output.path(dir, &derivation.name, name).map_err(|error| failed(&error))? {
            Some(known) => drop(outputs.insert(name.clone(), known)),
            None => unknown.push(name.clone()),
        }
    }
    if !unknown.is_empty() {
        let key = store.content_rules().derivation_key(path, || {
            let mut lookup = |path: &StorePath| Ok(store.read_derivation(path)?);
            let hash = derivation.hash_modulo(dir, true, &mut HashMap::new(), &mut lookup);
            hash.map(|modulo| modulo.hash).map_err(|error| failed(&error))
        })?;
        let ids = unknown.iter().map(|name| DerivationOutputId { derivation: key.clone(), output: name.clone() });
        let ids: Vec<DerivationOutputId> = ids.collect();
        for (name, realisation) in unknown.into_iter().zip(store.query_realisations(&ids)?) {
            outputs.insert(name, realisation.ok_or_else(|| unsupported(store, path))?.path);
        }
    }
    Ok(outputs)
}

/// Builds what a plan says; without machines nothing can be built. Returns when everything is done, or stopped.
pub fn build_through(
    store: &dyn Store,
    builders: Option<&Arc<RemoteBuilders>>,
    plan: &ThroughPlan,
    keep_going: bool,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> BuildOutcome {
    let through = Through { store, builders, observer, cancel: cancel.child(), results: Mutex::default() };
    let names = plan.items.iter().map(|item| format!("{}${}", item.path.name(), item.path.base_name()));
    let names: Vec<Arc<str>> = names.map(Arc::from).collect();
    let steps = plan.items.iter().zip(&names).map(|(item, name)| NewStep {
        dependencies: &item.dependencies,
        slot: Slot::Remote,
        name: name.clone(),
        goes_first: false,
    });
    let steps: Vec<NewStep<'_>> = steps.collect();
    let progress = |Counts { done, running, failed, total }| observer.event(&BuildEvent::Progress { done, total, running, failed });
    let n_slots = builders.map_or(1, |builders| builders.n_slots());
    let run = |step: usize, _: &Scheduler<'_>| if through.step(&plan.items[step]) { StepEnd::Done } else { StepEnd::Failed };
    let ran = run_steps(&steps, [1, 1, n_slots, 1], Order::Chains, keep_going, &through.cancel, &run, &progress);

    let mut outcome = BuildOutcome::default();
    let mut results = std::mem::take(&mut *through.results());
    let is_wanted = |path: &StorePath| plan.outputs.contains_key(path);
    for (item, how) in plan.items.iter().zip(&ran.outcomes) {
        let result = results.entry(item.path.clone()).or_insert_with(|| match how {
            Outcome::DependenciesFailed(n_failed) => through.dependency_failed(item, *n_failed),
            _ => BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string()),
        });
        if !result.status.is_success() && result.status != BuildStatus::Cancelled {
            outcome.order.push(item.path.clone());
            if !is_wanted(&item.path) {
                outcome.told.push(item.path.clone());
            }
        }
    }
    for (path, outputs) in &plan.outputs {
        let there = || BuildResult { outputs: outputs.clone(), ..BuildResult::new(BuildStatus::AlreadyValid, "") };
        results.entry(path.clone()).or_insert_with(there);
    }
    for path in &plan.missing {
        let message = format!("path '{}' does not exist and cannot be created", store.store_dir().display(path));
        outcome.missing.insert(path.clone(), message);
    }
    let realised = plan.wanted.iter().map(|wanted| match wanted {
        DerivedPath::Opaque(path) => Realised { derivation: None, outputs: [("out".into(), path.clone())].into() },
        DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), outputs } if results[derivation].status.is_success() => {
            let mut made = plan.outputs[derivation].clone();
            if let OutputsSpec::Names(names) = outputs {
                made.retain(|name, _| names.contains(name));
            }
            Realised { derivation: Some(derivation.clone()), outputs: made }
        }
        _ => Realised::default(),
    });
    outcome.realised = realised.collect();
    outcome.results = results;
    outcome
}

/// One call of [`build_through`].
struct Through<'t> {
    store: &'t dyn Store,
    builders: Option<&'t Arc<RemoteBuilders>>,
    observer: &'t dyn Observer,
    cancel: CancelToken,
    results: Mutex<BTreeMap<StorePath, BuildResult>>,
}

impl Through<'_> {
    fn results(&self) -> MutexGuard<'_, BTreeMap<StorePath, BuildResult>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dependency_failed(&self, item: &Item, n_failed: usize) -> BuildResult {
        let dir = self.store.store_dir();
        let what = if n_failed == 1 { "dependency" } else { "dependencies" };
        let mut message = format!("Cannot build '{}'.\nReason: {n_failed} {what} failed.\nOutput paths:", dir.display(&item.path));
        for output in item.outputs.values().collect::<BTreeSet<_>>() {
            message.push_str(&format!("\n  {}", dir.display(output)));
        }
        BuildResult::new(BuildStatus::DependencyFailed, message)
    }

    /// Builds one derivation. Returns whether that worked.
    fn step(&self, item: &Item) -> bool {
        let mut result = match self.build(item) {
            Ok(result) => result,
            Err(error) => BuildResult::new(error.status(), error.to_string()),
        };
        if result.status == BuildStatus::MiscFailure && self.cancel.is_cancelled() {
            result = BuildResult::new(BuildStatus::Cancelled, BuildError::Cancelled.to_string());
        }
        self.observer.event(&BuildEvent::Finished { derivation: &item.path, result: &result });
        let worked = result.status.is_success();
        self.results().insert(item.path.clone(), result);
        worked
    }

    fn build(&self, item: &Item) -> Result<BuildResult, BuildError> {
        let Item { path, derivation, .. } = item;
        let place = match self.builders {
            Some(builders) => self.place(builders, item)?,
            None => None,
        };
        let Some(place) = place else {
            return Err(BuildError::Limit { message: NO_LOCAL_STORE.into(), status: BuildStatus::InputRejected });
        };
        let machine = place.machine().address();
        let builders = place.builders().clone();
        self.observer.event(&BuildEvent::StartedElsewhere { derivation: path, machine: &machine });
        let Place { remote, said, slot, .. } = place;
        let result = std::thread::scope(|scope| {
            let listening = scope.spawn(move || {
                let mut said = std::io::BufReader::new(said);
                let mut line = Vec::new();
                while std::io::BufRead::read_until(&mut said, b'\n', &mut line).is_ok_and(|n_read| n_read > 0) {
                    let shown = line.strip_suffix(b"\n").unwrap_or(&line);
                    self.observer.event(&BuildEvent::LogLine { derivation: path, line: shown });
                    line.clear();
                }
            });
            let inputs = self.store.closure(&item.inputs).map_err(BuildError::from);
            let result = inputs.and_then(|inputs| self.build_on(&remote, &builders, &machine, item, derivation, inputs));
            // The other side's end of the pipe goes with its connection.
            drop(remote);
            drop(slot);
            let _ = listening.join();
            result
        });
        wake(&builders);
        result
    }

    fn place(&self, builders: &Arc<RemoteBuilders>, item: &Item) -> Result<Option<Place>, BuildError> {
        let Item { path, derivation, .. } = item;
        let dir = self.store.store_dir();
        let features = prepare::read_options(dir, path, derivation)?.required_features(derivation);
        let features = features.map_err(|error| BuildError::Derivation { derivation: dir.display(path), reason: error.to_string() })?;
        let system = String::from_utf8_lossy(&derivation.system);
        let warn = |message: &str| self.observer.event(&BuildEvent::Warning { derivation: path, message });
        let place = builders.acquire(&system, &features, false, &self.cancel, &warn).map_err(|error| BuildError::Limit {
            message: format!("cannot take a place on another machine: {error}"),
            status: BuildStatus::MiscFailure,
        })?;
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if place.is_none() {
            self.observer.event(&BuildEvent::Note { derivation: path, message: &builders.lack(path, &system, &features) });
        }
        Ok(place)
    }

    fn build_on(
        &self,
        remote: &super::RemoteStore,
        builders: &RemoteBuilders,
        machine: &str,
        item: &Item,
        derivation: &Derivation,
        inputs: BTreeSet<StorePath>,
    ) -> Result<BuildResult, BuildError> {
        let mut copying = CopyOptions::default();
        copying.check_signatures = false;
        copying.substitute = builders.substitutes();
        {
            let _lock = builders.lock_uploads(machine);
            copy(self.store, &*remote.store, &inputs, &copying, &Copying::new(self.observer, &item.path, self.store, &*remote.store))?;
        }
        let mut basic = derivation.clone();
        if !basic.input_derivations.is_empty() {
            basic.input_derivations.clear();
            basic.input_sources = inputs;
        }
        let log = ObserverLog::new(&*remote.store, self.observer);
        let mut result = {
            let build = || remote.service.build_derivation(&item.path, &basic, WireMode::Normal, &log);
            from_wire_result(&unless_cancelled(&*remote.service, &self.cancel, build)?)
        };
        if !result.status.is_success() {
            result.message = format!("build of '{}' on '{machine}' failed: {}", self.store.store_dir().display(&item.path), result.message);
            return Ok(result);
        }
        copying.substitute = false;
        let outputs: BTreeSet<StorePath> = item.outputs.values().cloned().collect();
        copy(&*remote.store, self.store, &outputs, &copying, &Copying::new(self.observer, &item.path, &*remote.store, self.store))?;
        result.outputs = item.outputs.clone();
        Ok(result)
    }
}
