//! What is valid already, what must be built, what nobody has: the graph of steps before anything runs.
//!
//! The surprising part: inputs of a derivation whose outputs are valid are not even looked at, so that planning what is
//! built already costs one question to the store. And a plan may grow while it is carried out: what a derivation needs
//! that is itself built is known only then.

mod needed;
mod substitution;
mod want;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nixlang_store::derivation::{Derivation, DerivationType, OutputName};
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::realisation::Realisation;
use nixlang_store::store::Store;
use nixlang_store::substituter::SubstitutionPlan;

pub use nixlang_store::wire::derived_path::{DerivedPath, OutputsSpec, SingleDerivedPath};
pub(crate) use want::Want;

use self::needed::Needed;
use crate::error::BuildError;
use crate::known::{Known, OutputPaths};
use crate::options::{BuildMode, BuildOptions};

/// What has to happen.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Steps, each after all that it needs.
    pub(crate) steps: Vec<Arc<Step>>,
    /// What will be fetched, and what cannot although something that can refers to it.
    pub substitution: SubstitutionPlan,
    /// Which paths outputs are according to substituters; true once those paths are valid.
    pub(crate) realisations: Vec<Realisation>,
    /// Paths of [`Plan::substitution`] that are wanted by themselves, or as sources: nothing here makes them.
    pub(crate) sources: BTreeSet<StorePath>,
    /// What could not be fetched and is not tried again.
    pub(crate) refused: BTreeSet<StorePath>,
    /// Paths that are neither valid nor obtainable, derivations that are missing among them.
    pub unknown: BTreeSet<StorePath>,
    /// Everything wanted, as it was asked for.
    pub wanted: Vec<DerivedPath>,
    /// Wanted derivations with nothing to do, and their outputs.
    pub(crate) already_valid: BTreeMap<StorePath, OutputPaths>,
    /// Everything that was looked at; a plan that grows goes on from here.
    nodes: HashMap<StorePath, Node>,
    dynamic: HashMap<SingleDerivedPath, Vec<usize>>,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) work: Work,
    /// Steps that come before; indices into [`Plan::steps`].
    pub(crate) dependencies: Vec<usize>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Builds a derivation.
    Build(BuildStep),
    /// Looks which derivation another step has made, and plans what is wanted of that.
    Dynamic {
        /// The output that is a derivation.
        derivation: SingleDerivedPath,
        /// What is wanted of it.
        want: Want,
    },
}

/// One derivation to build.
#[derive(Clone, Debug)]
pub(crate) struct BuildStep {
    pub(crate) path: StorePath,
    pub(crate) derivation: Arc<Derivation>,
    /// All outputs, with their paths as far as they are known.
    pub(crate) outputs: BTreeMap<OutputName, Option<StorePath>>,
    /// Outputs that somebody wants; only their validity counts.
    pub(crate) wanted: BTreeSet<OutputName>,
    /// Whether it was asked for, and not only needed.
    pub(crate) is_top_level: bool,
}

impl Plan {
    /// Returns the derivations that will be built, each after all that it needs. More may turn up on the way where
    /// derivations are built.
    pub fn will_build(&self) -> impl ExactSizeIterator<Item = &StorePath> {
        let paths: Vec<&StorePath> = self
            .steps
            .iter()
            .filter_map(|step| match &step.work {
                Work::Build(step) => Some(&step.path),
                Work::Dynamic { .. } => None,
            })
            .collect();
        paths.into_iter()
    }

    /// Returns whether a derivation is built, not only fetched.
    pub(crate) fn has_step(&self, derivation: &StorePath) -> bool {
        self.nodes.get(derivation).is_some_and(|node| node.step.is_some())
    }

    /// Returns the step that the reference starts first, where it builds one at a time: it goes down from what is wanted
    /// level by level, and starts with the first that it meets which waits for nothing. Those that it meets while that is
    /// built are ordered by name alone.
    pub(crate) fn first_in_the_reference(&self) -> Option<usize> {
        let mut depths: Vec<Option<usize>> = vec![None; self.steps.len()];
        // Each stands after all that it needs.
        for (index, step) in self.steps.iter().enumerate().rev() {
            let is_wanted = matches!(&step.work, Work::Build(step) if step.is_top_level);
            let depth = if is_wanted { 0 } else { depths[index].unwrap_or(0) };
            depths[index] = Some(depth);
            for &dependency in &step.dependencies {
                depths[dependency] = Some(depths[dependency].map_or(depth + 1, |other| other.min(depth + 1)));
            }
        }
        let builds = self.steps.iter().enumerate().filter_map(|(index, step)| match &step.work {
            Work::Build(build) if step.dependencies.is_empty() => Some(((depths[index], build.path.name(), &build.path), index)),
            _ => None,
        });
        builds.min().map(|(_, index)| index)
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.substitution.offers.is_empty() && self.unknown.is_empty()
    }

    /// Returns the derivations with outputs among these paths that are fetched.
    pub(crate) fn fetched_derivations<'p>(&self, paths: impl Iterator<Item = &'p StorePath>) -> BTreeSet<StorePath> {
        let paths: BTreeSet<&StorePath> = paths.collect();
        let is_one = |node: &Node| node.is_fetched && node.outputs.values().flatten().any(|path| paths.contains(path));
        self.nodes.iter().filter(|(_, node)| is_one(node)).map(|(path, _)| path.clone()).collect()
    }

    /// Returns whether outputs of a derivation are fetched.
    pub(crate) fn is_fetched(&self, derivation: &StorePath) -> bool {
        self.nodes.get(derivation).is_some_and(|node| node.is_fetched)
    }

    /// Returns the paths that a step needs and that may have to be fetched.
    pub(crate) fn inputs_of(&self, step: &Step) -> Vec<StorePath> {
        let mut needed = Needed { nodes: &self.nodes, derivations: BTreeSet::new(), dynamic: BTreeSet::new() };
        let mut inputs = Vec::new();
        match &step.work {
            Work::Build(step) => {
                inputs.extend(step.derivation.input_sources.iter().cloned());
                needed.by(&step.derivation);
            }
            Work::Dynamic { derivation, .. } => {
                inputs.push(derivation.root().clone());
                needed.derivations.insert(derivation.root().clone());
            }
        }
        for derivation in &needed.derivations {
            inputs.extend(self.fetched_outputs(derivation));
        }
        inputs
    }

    /// Returns the wanted outputs of a derivation that are fetched.
    pub(crate) fn fetched_outputs(&self, derivation: &StorePath) -> Vec<StorePath> {
        let Some(node) = self.nodes.get(derivation).filter(|node| node.is_fetched) else { return Vec::new() };
        node.wanted.iter().filter_map(|name| node.outputs.get(name)?.clone()).collect()
    }

    /// Registers what the output at `fetched` is that has been fetched, where its path follows from its derivation.
    pub(crate) fn register_fetched(&self, store: &LocalStore, known: &Known<'_>, fetched: &StorePath) -> Result<(), BuildError> {
        let is_its = |node: &Node| node.is_fetched && node.outputs.values().flatten().any(|path| path == fetched);
        for (path, node) in self.nodes.iter().filter(|(_, node)| is_its(node)) {
            let mut outputs = OutputPaths::new();
            for (name, output) in node.outputs.iter().filter(|(name, _)| node.wanted.contains(*name)) {
                if let Some(output) = output
                    && store.is_valid(output)?
                {
                    outputs.insert(name.clone(), output.clone());
                }
            }
            known.register(path, &node.derivation, &outputs, &[])?;
        }
        Ok(())
    }

    /// Adds steps for what is wanted of a derivation that has been made. Returns the steps that it waits for.
    pub(crate) fn extend(
        &mut self,
        store: &LocalStore,
        options: &BuildOptions,
        known: &Known<'_>,
        derivation: StorePath,
        want: Want,
    ) -> Result<Vec<usize>, BuildError> {
        let n_steps = self.steps.len();
        let request = Request { derivation: derivation.clone(), want, is_top_level: false };
        Planner { store, options, known, plan: self, waiting: HashMap::new() }.all(vec![request])?;
        if self.unknown.contains(&derivation) {
            return Err(missing(store, &derivation));
        }
        let own = self.nodes.get(&derivation).and_then(|node| node.step);
        Ok((n_steps..self.steps.len()).chain(own).collect())
    }

    /// Adds steps that build what was to be fetched and could not be. Returns the steps of the derivations that have this
    /// output; none if no derivation here has.
    pub(crate) fn build_instead(
        &mut self,
        store: &LocalStore,
        options: &BuildOptions,
        known: &Known<'_>,
        path: &StorePath,
    ) -> Result<Vec<usize>, BuildError> {
        self.refused.insert(path.clone());
        let affected: Vec<StorePath> = self.fetched_derivations(std::iter::once(path)).into_iter().collect();
        if affected.is_empty() {
            return Ok(Vec::new());
        }
        let n_unknown = self.unknown.len();
        let mut planner = Planner { store, options, known, plan: self, waiting: HashMap::new() };
        let inputs = planner.must_build(affected.clone())?;
        planner.all(inputs)?;
        if self.unknown.len() > n_unknown
            && let Some(unknown) = self.unknown.last()
        {
            return Err(missing(store, unknown));
        }
        Ok(affected.iter().filter_map(|path| self.nodes[path].step).collect())
    }
}

fn missing(store: &LocalStore, path: &StorePath) -> BuildError {
    BuildError::Missing { message: format!("path '{}' does not exist and cannot be created", store.store_dir().display(path)) }
}

/// Makes the plan for one derivation, as it is given.
pub(crate) fn plan_one(
    store: &LocalStore,
    options: &BuildOptions,
    path: &StorePath,
    derivation: &Derivation,
) -> Result<Plan, BuildError> {
    let known = Known::new(store, options.has_feature("ca-derivations"));
    let mut paths: Vec<StorePath> = derivation.input_sources.iter().cloned().collect();
    let outputs = known.outputs(path, derivation)?;
    paths.extend(outputs.values().flatten().cloned());
    store.add_temp_roots(&paths)?;
    let step = BuildStep {
        path: path.clone(),
        derivation: Arc::new(derivation.clone()),
        wanted: outputs.keys().cloned().collect(),
        outputs,
        is_top_level: true,
    };
    let steps = vec![Arc::new(Step { work: Work::Build(step), dependencies: Vec::new() })];
    let wanted = vec![DerivedPath::built(path.clone(), OutputsSpec::All)];
    Ok(Plan { steps, wanted, ..Plan::default() })
}

/// Makes the plan for `wanted`.
pub(crate) fn plan(store: &LocalStore, options: &BuildOptions, wanted: &[DerivedPath]) -> Result<Plan, BuildError> {
    let known = Known::new(store, options.has_feature("ca-derivations"));
    let mut plan = Plan { wanted: wanted.to_vec(), ..Plan::default() };
    let mut planner = Planner { store, options, known: &known, plan: &mut plan, waiting: HashMap::new() };
    let mut level: Vec<Request> = Vec::new();
    let mut opaque = Vec::new();
    for path in wanted {
        let (derivation, want) = match path {
            DerivedPath::Opaque(path) => {
                opaque.push(path.clone());
                continue;
            }
            DerivedPath::Built { derivation, outputs } => {
                if matches!(derivation, SingleDerivedPath::Built { .. }) {
                    options.require_feature("dynamic-derivations")?;
                }
                (derivation.root(), Want::of_outputs(outputs).behind(&derivation.names()))
            }
        };
        level.push(Request { derivation: derivation.clone(), want, is_top_level: true });
    }
    planner.check_sources(opaque)?;
    planner.all(level)?;
    let mut already_valid = BTreeMap::new();
    for (path, node) in plan.nodes.iter().filter(|(_, node)| node.is_top_level && !node.must_build) {
        let outputs: OutputPaths =
            node.outputs.iter().filter_map(|(name, path)| Some((name.clone(), path.clone()?))).collect();
        if known.has_realisations() && !node.is_fetched {
            // Built before realisations were kept, perhaps.
            let wanted = outputs.iter().filter(|(name, _)| node.wanted.contains(*name));
            known.register(path, &node.derivation, &wanted.map(|(n, p)| (n.clone(), p.clone())).collect(), &[])?;
        }
        already_valid.insert(path.clone(), outputs);
    }
    plan.already_valid = already_valid;
    Ok(plan)
}

struct Request {
    derivation: StorePath,
    want: Want,
    is_top_level: bool,
}

#[derive(Clone, Debug)]
struct Node {
    derivation: Arc<Derivation>,
    outputs: BTreeMap<OutputName, Option<StorePath>>,
    wanted: BTreeSet<OutputName>,
    is_top_level: bool,
    must_build: bool,
    /// Whether outputs are fetched.
    is_fetched: bool,
    step: Option<usize>,
}

struct Planner<'p> {
    store: &'p LocalStore,
    options: &'p BuildOptions,
    known: &'p Known<'p>,
    plan: &'p mut Plan,
    /// Outputs that are derivations to be made, and what is wanted of them.
    waiting: HashMap<SingleDerivedPath, Want>,
}

impl Planner<'_> {
    fn all(&mut self, mut level: Vec<Request>) -> Result<(), BuildError> {
        while !level.is_empty() {
            level = self.level(level)?;
        }
        self.add_steps()
    }

    fn check_sources(&mut self, sources: Vec<StorePath>) -> Result<(), BuildError> {
        self.store.add_temp_roots(&sources)?;
        let valid = self.store.are_valid(&sources)?;
        let missing = sources.into_iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path).collect();
        let unknown = self.fetch_sources(missing)?;
        self.plan.unknown.extend(unknown);
        Ok(())
    }

    /// Looks at some derivations at once. Returns the requests for their inputs.
    fn level(&mut self, requests: Vec<Request>) -> Result<Vec<Request>, BuildError> {
        let paths: Vec<StorePath> = requests.iter().map(|request| request.derivation.clone()).collect();
        self.store.add_temp_roots(&paths)?;
        self.read(&paths)?;
        // Which outputs count that did not before?
        let mut questions: Vec<(StorePath, StorePath)> = Vec::new();
        let mut forced = Vec::new();
        let mut nameless = Vec::new();
        let mut dynamic = Vec::new();
        for Request { derivation, want, is_top_level } in requests {
            let Some(node) = self.plan.nodes.get_mut(&derivation) else {
                // What can be fetched is looked at then.
                if self.plan.substitution.offers.contains_key(&derivation) {
                    self.waiting.entry(SingleDerivedPath::Opaque(derivation)).or_default().merge(want);
                }
                continue;
            };
            node.is_top_level |= is_top_level;
            let mut names: BTreeSet<OutputName> = want.outputs;
            names.extend(want.dynamic.keys().cloned());
            if want.all {
                names.extend(node.outputs.keys().cloned());
            }
            for name in names {
                let Some(path) = node.outputs.get(&name) else {
                    return Err(BuildError::NoSuchOutput {
                        derivation: self.store.store_dir().display(&derivation),
                        output: name.to_string(),
                    });
                };
                if node.wanted.insert(name.clone()) {
                    match path {
                        Some(path) => questions.push((derivation.clone(), path.clone())),
                        None => nameless.push((derivation.clone(), name.clone())),
                    }
                }
            }
            dynamic.extend(want.dynamic.into_iter().map(|(name, want)| (derivation.clone(), name, want)));
            if is_top_level && self.options.mode == BuildMode::Check {
                forced.push(derivation);
            }
        }
        let outputs: Vec<StorePath> = questions.iter().map(|(_, path)| path.clone()).collect();
        self.store.add_temp_roots(&outputs)?;
        let valid = self.store.are_valid(&outputs)?;
        let mut invalid = Vec::new();
        for ((derivation, path), valid) in questions.into_iter().zip(valid) {
            let is_good = valid && (self.options.mode != BuildMode::Repair || self.is_intact(&path)?);
            if !is_good {
                invalid.push((derivation, path));
            }
        }
        let must_build = self.fetch_instead(invalid, nameless, &forced)?;
        let mut next = self.must_build(forced.into_iter().chain(must_build).collect())?;
        for (derivation, name, want) in dynamic {
            let node = &self.plan.nodes[&derivation];
            match node.outputs.get(&name).cloned().flatten().filter(|_| !node.must_build) {
                Some(path) => next.push(Request { derivation: path, want, is_top_level: false }),
                None => {
                    let made = SingleDerivedPath::Opaque(derivation).output(name);
                    self.waiting.entry(made).or_default().merge(want);
                }
            }
        }
        Ok(next)
    }

    /// Notes that derivations are built. Returns the requests for their inputs.
    fn must_build(&mut self, paths: Vec<StorePath>) -> Result<Vec<Request>, BuildError> {
        let mut next = Vec::new();
        let mut sources = BTreeSet::new();
        for path in paths {
            let node = self.plan.nodes.get_mut(&path).expect("only what has been looked at is built");
            if std::mem::replace(&mut node.must_build, true) {
                continue;
            }
            node.is_fetched = false;
            sources.extend(node.derivation.input_sources.iter().cloned());
            next.extend(node.derivation.input_derivations.iter().map(|(input, wanted)| Request {
                derivation: input.clone(),
                want: Want::of_input(wanted),
                is_top_level: false,
            }));
        }
        self.check_sources(sources.into_iter().collect())?;
        Ok(next)
    }

    /// Returns whether the contents of a valid path are what they were.
    fn is_intact(&self, path: &StorePath) -> Result<bool, BuildError> {
        crate::outputs::is_intact(self.store, path)
    }

    /// Looks at derivations that were not looked at yet.
    fn read(&mut self, paths: &[StorePath]) -> Result<(), BuildError> {
        let is_new = |path: &&StorePath| !self.plan.nodes.contains_key(*path) && !self.plan.unknown.contains(*path);
        let new: BTreeSet<StorePath> = paths.iter().filter(is_new).cloned().collect();
        let new: Vec<StorePath> = new.into_iter().collect();
        let mut missing = Vec::new();
        for (path, derivation) in new.iter().zip(self.store.read_derivations(&new)?) {
            match derivation {
                Some(derivation) => self.add_node(path, derivation)?,
                None => missing.push(path.clone()),
            }
        }
        if !missing.is_empty() {
            let unknown = self.fetch_sources(missing)?;
            self.plan.unknown.extend(unknown);
        }
        Ok(())
    }

    fn add_node(&mut self, path: &StorePath, derivation: Derivation) -> Result<(), BuildError> {
        if let Ok(kind) = derivation.kind()
            && !kind.has_known_output_paths()
        {
            self.options.require_feature("ca-derivations")?;
            if kind == DerivationType::Impure {
                self.options.require_feature("impure-derivations")?;
            }
        }
        let outputs = self.known.outputs(path, &derivation)?;
        let node = Node {
            derivation: Arc::new(derivation),
            outputs,
            wanted: BTreeSet::new(),
            is_top_level: false,
            must_build: false,
            is_fetched: false,
            step: None,
        };
        self.plan.nodes.insert(path.clone(), node);
        Ok(())
    }

    /// Makes steps of what must be built and is none yet: depth first over sorted paths, which is the order in which the
    /// reference lists them.
    fn add_steps(&mut self) -> Result<(), BuildError> {
        let is_new = |node: &Node| node.must_build && node.step.is_none();
        let nodes = &self.plan.nodes;
        let mut to_build: Vec<&StorePath> =
            nodes.iter().filter(|(_, node)| is_new(node)).map(|(path, _)| path).collect();
        to_build.sort();
        let inputs = |path: &StorePath| -> Vec<StorePath> {
            let mut needed = Needed { nodes, derivations: BTreeSet::new(), dynamic: BTreeSet::new() };
            needed.by(&nodes[path].derivation);
            needed.derivations.retain(|input| nodes.get(input).is_some_and(is_new));
            needed.derivations.into_iter().collect()
        };
        let mut order: Vec<StorePath> = Vec::with_capacity(to_build.len());
        let mut visited: BTreeSet<StorePath> = BTreeSet::new();
        for start in to_build {
            if !visited.insert(start.clone()) {
                continue;
            }
            let mut stack = vec![(start.clone(), inputs(start).into_iter())];
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
        let mut waiting = std::mem::take(&mut self.waiting);
        for path in order {
            let derivation = Arc::clone(&self.plan.nodes[&path].derivation);
            let kind = derivation.kind().ok();
            let is_pure = kind.is_some_and(|kind| kind != DerivationType::Impure && !kind.is_fixed());
            let is_impure = |input: &&StorePath| {
                self.plan.nodes.get(*input).is_some_and(|node| node.derivation.kind() == Ok(DerivationType::Impure))
            };
            if is_pure && let Some(input) = derivation.input_derivations.keys().find(is_impure) {
                let dir = self.store.store_dir();
                return Err(BuildError::DependsOnImpure { derivation: dir.display(&path), input: dir.display(input) });
            }
            let mut needed = Needed { nodes: &self.plan.nodes, derivations: BTreeSet::new(), dynamic: BTreeSet::new() };
            needed.by(&derivation);
            let Needed { derivations, dynamic, .. } = needed;
            let mut dependencies: BTreeSet<usize> =
                derivations.iter().filter_map(|input| self.plan.nodes.get(input)?.step).collect();
            for derivation in dynamic {
                dependencies.extend(self.dynamic_steps(derivation, &mut waiting));
            }
            let node = self.plan.nodes.get_mut(&path).expect("every path of the order is a node");
            node.step = Some(self.plan.steps.len());
            let step = BuildStep {
                path,
                derivation,
                outputs: node.outputs.clone(),
                wanted: node.wanted.clone(),
                is_top_level: node.is_top_level,
            };
            let dependencies = dependencies.into_iter().collect();
            self.plan.steps.push(Arc::new(Step { work: Work::Build(step), dependencies }));
        }
        // What was wanted itself.
        let mut rest: Vec<SingleDerivedPath> = waiting.keys().cloned().collect();
        rest.sort();
        for derivation in rest {
            self.dynamic_steps(derivation, &mut waiting);
        }
        Ok(())
    }

    /// Returns the steps that plan what is wanted of an output that is a derivation.
    fn dynamic_steps(
        &mut self,
        derivation: SingleDerivedPath,
        waiting: &mut HashMap<SingleDerivedPath, Want>,
    ) -> Vec<usize> {
        if let Some(want) = waiting.remove(&derivation) {
            let maker = self.plan.nodes.get(derivation.root()).and_then(|node| node.step);
            let index = self.plan.steps.len();
            let work = Work::Dynamic { derivation: derivation.clone(), want };
            self.plan.steps.push(Arc::new(Step { work, dependencies: maker.into_iter().collect() }));
            self.plan.dynamic.entry(derivation.clone()).or_default().push(index);
        }
        self.plan.dynamic.get(&derivation).cloned().unwrap_or_default()
    }
}
