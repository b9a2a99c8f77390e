//! What is valid already, what must be built, what nobody has: the graph of steps before anything runs.
//!
//! The surprising part: inputs of a derivation whose outputs are valid are not even looked at, so that planning what is
//! built already costs one question to the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::error::StoreError;
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::error::BuildError;
use crate::options::BuildMode;
use crate::prepare::output_path;

/// Something wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivedPath {
    /// A path as such; it must be valid, or a substituter must have it.
    Opaque(StorePath),
    /// Outputs of a derivation.
    Built {
        /// The derivation.
        derivation: StorePath,
        /// Which of its outputs.
        outputs: WantedOutputs,
    },
}

/// Which outputs of a derivation are wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WantedOutputs {
    /// All of them.
    All,
    /// These.
    Named(BTreeSet<OutputName>),
}

impl DerivedPath {
    /// Returns all outputs of a derivation; of anything else the path itself.
    pub fn from_path(path: StorePath) -> DerivedPath {
        if path.is_derivation() {
            DerivedPath::Built { derivation: path, outputs: WantedOutputs::All }
        } else {
            DerivedPath::Opaque(path)
        }
    }
}

/// What has to happen.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Steps, each after all that it needs.
    pub(crate) steps: Vec<Step>,
    /// Paths that will be fetched.
    pub will_substitute: BTreeSet<StorePath>,
    /// Paths that are neither valid nor obtainable, derivations that are missing among them.
    pub unknown: BTreeSet<StorePath>,
    /// Everything wanted, as it was asked for.
    pub wanted: Vec<DerivedPath>,
    /// Wanted derivations with nothing to do, and their outputs.
    pub(crate) already_valid: BTreeMap<StorePath, BTreeMap<OutputName, StorePath>>,
}

/// One derivation to build.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) path: StorePath,
    pub(crate) derivation: Derivation,
    /// All outputs, with their paths.
    pub(crate) outputs: BTreeMap<OutputName, StorePath>,
    /// Outputs that somebody wants; only their validity counts.
    pub(crate) wanted: BTreeSet<OutputName>,
    /// Whether it was asked for, and not only needed.
    pub(crate) is_top_level: bool,
    /// Steps that come before; indices into [`Plan::steps`].
    pub(crate) dependencies: Vec<usize>,
}

impl Plan {
    /// Returns the derivations that will be built, each after all that it needs.
    pub fn will_build(&self) -> impl ExactSizeIterator<Item = &StorePath> {
        self.steps.iter().map(|step| &step.path)
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.will_substitute.is_empty() && self.unknown.is_empty()
    }
}

/// Makes the plan for `wanted`.
pub(crate) fn plan(store: &LocalStore, wanted: &[DerivedPath], mode: BuildMode) -> Result<Plan, BuildError> {
    let mut planner = Planner { store, mode, nodes: HashMap::new(), unknown: BTreeSet::new() };
    let mut level: Vec<Request> = Vec::new();
    let mut opaque = Vec::new();
    for path in wanted {
        match path {
            DerivedPath::Opaque(path) => opaque.push(path.clone()),
            DerivedPath::Built { derivation, outputs } => {
                let outputs = match outputs {
                    WantedOutputs::All => None,
                    WantedOutputs::Named(names) => Some(names.clone()),
                };
                level.push(Request { derivation: derivation.clone(), outputs, is_top_level: true });
            }
        }
    }
    planner.check_sources(opaque)?;
    while !level.is_empty() {
        level = planner.level(level)?;
    }
    let Planner { nodes, unknown, .. } = planner;
    let already_valid = nodes
        .iter()
        .filter(|(_, node)| !node.must_build && node.is_top_level)
        .map(|(path, node)| (path.clone(), node.outputs.clone()))
        .collect();
    Ok(Plan {
        steps: sort(nodes),
        will_substitute: BTreeSet::new(),
        unknown,
        wanted: wanted.to_vec(),
        already_valid,
    })
}

struct Request {
    derivation: StorePath,
    /// All, if absent.
    outputs: Option<BTreeSet<OutputName>>,
    is_top_level: bool,
}

struct Node {
    derivation: Derivation,
    outputs: BTreeMap<OutputName, StorePath>,
    wanted: BTreeSet<OutputName>,
    is_top_level: bool,
    must_build: bool,
}

struct Planner<'p> {
    store: &'p LocalStore,
    mode: BuildMode,
    nodes: HashMap<StorePath, Node>,
    unknown: BTreeSet<StorePath>,
}

impl Planner<'_> {
    fn check_sources(&mut self, sources: Vec<StorePath>) -> Result<(), BuildError> {
        self.store.add_temp_roots(&sources)?;
        let valid = self.store.are_valid(&sources)?;
        self.unknown.extend(sources.into_iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path));
        Ok(())
    }

    /// Looks at some derivations at once. Returns the requests for their inputs.
    fn level(&mut self, requests: Vec<Request>) -> Result<Vec<Request>, BuildError> {
        let paths: Vec<StorePath> = requests.iter().map(|request| request.derivation.clone()).collect();
        self.store.add_temp_roots(&paths)?;
        for path in &paths {
            self.read(path)?;
        }
        // Which outputs count that did not before?
        let mut questions: Vec<(StorePath, OutputName, StorePath)> = Vec::new();
        let mut next = Vec::new();
        let mut forced = Vec::new();
        for Request { derivation, outputs, is_top_level } in requests {
            let Some(node) = self.nodes.get_mut(&derivation) else { continue };
            node.is_top_level |= is_top_level;
            let names = outputs.unwrap_or_else(|| node.outputs.keys().cloned().collect());
            for name in names {
                let Some(path) = node.outputs.get(&name) else {
                    return Err(BuildError::Derivation {
                        derivation: self.store.store_dir().display(&derivation),
                        reason: format!("it does not have wanted output '{name}'"),
                    });
                };
                if node.wanted.insert(name.clone()) {
                    questions.push((derivation.clone(), name, path.clone()));
                }
            }
            if is_top_level && self.mode == BuildMode::Check {
                forced.push(derivation);
            }
        }
        let outputs: Vec<StorePath> = questions.iter().map(|(_, _, path)| path.clone()).collect();
        self.store.add_temp_roots(&outputs)?;
        let valid = self.store.are_valid(&outputs)?;
        let invalid = questions.into_iter().zip(valid).filter(|(_, valid)| !valid).map(|((path, _, _), _)| path);
        let mut sources = BTreeSet::new();
        for path in forced.into_iter().chain(invalid) {
            let node = self.nodes.get_mut(&path).expect("every question is about a node");
            if std::mem::replace(&mut node.must_build, true) {
                continue;
            }
            sources.extend(node.derivation.input_sources.iter().cloned());
            next.extend(node.derivation.input_derivations.iter().map(|(input, wanted)| Request {
                derivation: input.clone(),
                outputs: Some(wanted.outputs.clone()),
                is_top_level: false,
            }));
        }
        self.check_sources(sources.into_iter().collect())?;
        Ok(next)
    }

    fn read(&mut self, path: &StorePath) -> Result<(), BuildError> {
        if self.nodes.contains_key(path) || self.unknown.contains(path) {
            return Ok(());
        }
        let derivation = match self.store.read_derivation(path) {
            Ok(derivation) => derivation,
            Err(StoreError::InvalidPath { .. }) => {
                self.unknown.insert(path.clone());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut outputs = BTreeMap::new();
        for (name, output) in &derivation.outputs {
            outputs.insert(name.clone(), output_path(self.store, path, &derivation, name, output)?);
        }
        let node = Node { derivation, outputs, wanted: BTreeSet::new(), is_top_level: false, must_build: false };
        self.nodes.insert(path.clone(), node);
        Ok(())
    }
}

/// Orders what must be built: depth first over sorted paths, which is the order in which the reference lists them.
fn sort(mut nodes: HashMap<StorePath, Node>) -> Vec<Step> {
    let mut to_build: Vec<StorePath> =
        nodes.iter().filter(|(_, node)| node.must_build).map(|(path, _)| path.clone()).collect();
    to_build.sort();
    nodes.retain(|_, node| node.must_build);

    let inputs = |path: &StorePath| -> Vec<StorePath> {
        let mut inputs: Vec<StorePath> =
            nodes[path].derivation.input_derivations.keys().filter(|input| nodes.contains_key(*input)).cloned().collect();
        inputs.sort();
        inputs
    };
    let mut order: Vec<StorePath> = Vec::with_capacity(to_build.len());
    let mut visited: BTreeSet<StorePath> = BTreeSet::new();
    for start in to_build {
        if !visited.insert(start.clone()) {
            continue;
        }
        let mut stack = vec![(start.clone(), inputs(&start).into_iter())];
        while let Some((_, rest)) = stack.last_mut() {
            match rest.next() {
                Some(input) if visited.insert(input.clone()) => {
                    let of_input = inputs(&input).into_iter();
                    stack.push((input, of_input));
                }
                Some(_) => {}
                None => order.extend(stack.pop().map(|(path, _)| path)),
            }
        }
    }
    let index: HashMap<StorePath, usize> = order.iter().cloned().zip(0..).collect();
    order
        .into_iter()
        .map(|path| {
            let node = nodes.remove(&path).expect("every path of the order is a node, once");
            let dependencies =
                node.derivation.input_derivations.keys().filter_map(|input| index.get(input).copied()).collect();
            Step {
                path,
                derivation: node.derivation,
                outputs: node.outputs,
                wanted: node.wanted,
                is_top_level: node.is_top_level,
                dependencies,
            }
        })
        .collect()
}
