//! The walk over all inputs that makes a lock file: which are kept from the old one, which are fetched, which follow others.
//!
//! A flake's own `flake.nix` and those of flakes above it may say what its inputs are; who stands higher wins. An input that the old lock
//! file has is not fetched as long as nobody asks for another, so its own inputs are those that the old file has.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use nixlang_store::input::FlakeRef;

use super::lock_file::{Edge, InputPath, LockFile, LockedNode, NodeIndex, print_input_path};
use super::{Flake, FlakeInput, FlakeInputs, LockOptions, UseRegistries};
use crate::builtins::flake_ref::{failed, with_reader};
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::Message;
use crate::source::Pos;

/// Nodes that a lock file may have here. One that others wrote could double with every level.
const MAX_NODES: usize = 100_000;

/// What somebody above says of an input.
#[derive(Clone)]
struct Override {
    input: FlakeInput,
    /// The `flake.nix` that says so, which relative paths are seen from.
    file: Vec<u8>,
    /// The flake that says so; none for the command line.
    parent: Option<InputPath>,
}

/// A node of a lock file that there was.
type OldNode = (Rc<LockFile>, NodeIndex);

/// A node whose inputs are to be found out.
struct Task<'a> {
    /// Its inputs, of its `flake.nix` or of the old lock file.
    inputs: &'a FlakeInputs,
    node: NodeIndex,
    /// Where it is.
    prefix: &'a InputPath,
    /// What it was, if that may be kept.
    old: Option<OldNode>,
    /// What paths of the old node's inputs that follow others begin at.
    follows_prefix: &'a InputPath,
    /// Its `flake.nix`.
    file: &'a [u8],
    /// Whether the old node's inputs are known to be what its `flake.nix` says.
    is_trusted: bool,
}

/// See the file's comment.
pub(super) struct Locking<'a, 'h> {
    eval: &'a Evaluator<'h>,
    options: &'a LockOptions,
    of_inputs: UseRegistries,
    overrides: BTreeMap<InputPath, Override>,
    overrides_used: BTreeSet<InputPath>,
    seen: BTreeSet<InputPath>,
    new: LockFile,
    directories: BTreeMap<NodeIndex, Vec<u8>>,
    parents: Vec<FlakeRef>,
}

impl<'a, 'h> Locking<'a, 'h> {
    /// Returns the new lock file, and where the trees are that were fetched.
    pub(super) fn run(
        eval: &'a Evaluator<'h>,
        flake: &Flake,
        options: &'a LockOptions,
        old: &Rc<LockFile>,
        of_inputs: UseRegistries,
    ) -> EvalResult<(LockFile, BTreeMap<NodeIndex, Vec<u8>>)> {
        let file = flake.file();
        let of_command_line = options.overrides.iter().map(|(path, reference)| {
            let input = FlakeInput { reference: Some(reference.clone()), ..FlakeInput::default() };
            (path.clone(), Override { input, file: file.clone(), parent: None })
        });
        let mut locking = Locking {
            eval,
            options,
            of_inputs,
            overrides: of_command_line.collect(),
            overrides_used: BTreeSet::new(),
            seen: BTreeSet::new(),
            new: LockFile::default(),
            directories: BTreeMap::from([(LockFile::ROOT, flake.directory.clone())]),
            parents: Vec::new(),
        };
        let root = InputPath::new();
        let old = (!options.recreate).then(|| (Rc::clone(old), LockFile::ROOT));
        locking.inputs_of(&Task {
            inputs: &flake.inputs,
            node: LockFile::ROOT,
            prefix: &root,
            old,
            follows_prefix: &root,
            file: &file,
            is_trusted: false,
        })?;
        super::lock::warn_of_unused(eval, options, &locking.overrides_used, &locking.seen);
        Ok((locking.new, locking.directories))
    }

    fn inputs_of(&mut self, task: &Task<'_>) -> EvalResult<()> {
        // How deep this goes is up to the lock files of others.
        let _depth = self.eval.enter_call(Pos::NONE)?;
        if self.new.nodes.len() > MAX_NODES {
            return Err(EvalError::new(ErrorKind::Evaluation, format!("the lock file would have more than {MAX_NODES} inputs")));
        }
        for (name, input) in task.inputs {
            self.add_overrides(input, &path_of(task.prefix, name), task);
        }
        for path in self.overrides.keys() {
            if let Some((name, parent)) = path.split_last()
                && parent == task.prefix.as_slice()
                && !task.inputs.contains_key(name)
            {
                let message = format!("input '{}' has an override for a non-existent input '{name}'", print_input_path(parent));
                self.eval.say(Message::Warning, &message);
            }
        }
        for (name, input) in task.inputs {
            let path = path_of(task.prefix, name);
            self.input(task, name, input, &path)
                .map_err(|error| error.while_(Pos::NONE, format!("while updating the flake input '{}'", print_input_path(&path))))?;
        }
        Ok(())
    }

    /// Notes what an input says of inputs of its own, unless somebody above said something.
    fn add_overrides(&mut self, input: &FlakeInput, path: &InputPath, task: &Task<'_>) {
        for (name, of_input) in &input.overrides {
            let path = path_of(path, name);
            if of_input.reference.is_some() || of_input.follows.is_some() {
                let make = || Override { input: of_input.clone(), file: task.file.to_vec(), parent: Some(task.prefix.clone()) };
                self.overrides.entry(path.clone()).or_insert_with(make);
            }
            self.add_overrides(of_input, &path, task);
        }
    }

    fn input(&mut self, task: &Task<'_>, name: &str, own: &FlakeInput, path: &InputPath) -> EvalResult<()> {
        let over = self.overrides.get(path).cloned();
        let is_of_command_line = self.options.overrides.contains_key(path);
        if over.is_some() {
            self.overrides_used.insert(path.clone());
        }
        let mut input = over.as_ref().map_or(own, |over| &over.input).clone();
        input.is_flake = own.is_flake;
        // What is followed may come later.
        if let Some(target) = input.follows {
            self.new.nodes[task.node.0].inputs.insert(name.to_owned(), Edge::Follows(target));
            return Ok(());
        }
        let reference = match input.reference {
            Some(reference) => reference,
            None => with_reader(self.eval, |reader| FlakeRef::indirect(name, reader))?,
        };
        let (from, parent) = match &over {
            Some(over) => (over.file.as_slice(), over.parent.clone()),
            None => (task.file, Some(task.prefix.clone())),
        };
        let wanted = Wanted {
            relative: reference.relative_path().map(|relative| (from.to_vec(), resolve_relative(from, relative))),
            parent: parent.filter(|_| reference.relative_path().is_some()),
            reference,
            is_flake: input.is_flake,
            is_of_command_line,
            // What the command line says is for once; what is written down is what the flake says.
            original: own.reference.clone().filter(|_| is_of_command_line),
        };
        self.seen.insert(path.clone());
        let old = task.old.as_ref().filter(|_| !self.options.updates.contains(path)).and_then(|(file, node)| match file.node(*node).inputs.get(name) {
            Some(Edge::Node(index)) => file.node(*index).locked.as_ref().map(|locked| (file, *index, locked)),
            _ => None,
        });
        match old {
            Some((file, index, locked))
                if locked.original.canonical() == wanted.reference.canonical() && locked.parent == wanted.parent && !is_of_command_line =>
            {
                self.keep(task, name, path, (Rc::clone(file), index), locked, &wanted)
            }
            _ => self.fetch(task, name, path, wanted),
        }
    }

    fn add(&mut self, task: &Task<'_>, name: &str, locked: LockedNode) -> NodeIndex {
        let node = self.new.add(locked);
        self.new.nodes[task.node.0].inputs.insert(name.to_owned(), Edge::Node(node));
        node
    }

    /// Takes an input from the old lock file.
    fn keep(&mut self, task: &Task<'_>, name: &str, path: &InputPath, old: OldNode, locked: &LockedNode, wanted: &Wanted) -> EvalResult<()> {
        let node = self.add(task, name, locked.clone());
        // An input of it is to be found out anew, and only its flake.nix knows what that is.
        let is_below = |other: &InputPath| other.len() > path.len() && other.starts_with(path);
        let mut must_fetch = self.options.updates.iter().any(is_below);
        let mut inputs = FlakeInputs::new();
        if !must_fetch {
            let (file, index) = &old;
            for (name, edge) in &file.node(*index).inputs {
                let input = match edge {
                    Edge::Node(index) => {
                        let Some(locked) = &file.node(*index).locked else { continue };
                        FlakeInput { reference: Some(locked.original.clone()), is_flake: locked.is_flake, ..FlakeInput::default() }
                    }
                    // Who said so may not say so any more; then the old file lacks what the input's own flake.nix has there.
                    Edge::Follows(_) if !task.is_trusted && !self.overrides.contains_key(&path_of(path, name)) => {
                        must_fetch = true;
                        break;
                    }
                    Edge::Follows(target) => {
                        let target = task.follows_prefix.iter().chain(target).cloned().collect();
                        FlakeInput { follows: Some(target), ..FlakeInput::default() }
                    }
                };
                inputs.insert(name.clone(), input);
            }
        }
        if !must_fetch {
            return self.inputs_of(&Task {
                inputs: &inputs,
                node,
                prefix: path,
                old: Some(old),
                follows_prefix: task.follows_prefix,
                file: task.file,
                is_trusted: true,
            });
        }
        let flake = self.flake_of(&locked.locked, wanted, path, self.of_inputs)?;
        self.directories.insert(node, flake.directory.clone());
        self.inputs_of(&Task {
            inputs: &flake.inputs,
            node,
            prefix: path,
            old: Some(old),
            follows_prefix: task.follows_prefix,
            file: &flake.file(),
            is_trusted: false,
        })
    }

    /// Finds out what an input is.
    fn fetch(&mut self, task: &Task<'_>, name: &str, path: &InputPath, wanted: Wanted) -> EvalResult<()> {
        let eval = self.eval;
        let is_locked = || wanted.reference.input.is_locked(eval.options.trust_forge_archives).map_err(failed);
        if !self.options.allow_unlocked && wanted.relative.is_none() && !is_locked()? {
            let message = format!("cannot update unlocked flake input '{}' in pure mode", print_input_path(path));
            return Err(EvalError::new(ErrorKind::Evaluation, message));
        }
        let original = wanted.original.clone().unwrap_or_else(|| wanted.reference.clone());
        if !wanted.is_flake {
            let (directory, locked) = match &wanted.relative {
                Some((_, directory)) => (directory.clone(), wanted.reference.clone()),
                None => {
                    let (fetched, _, _) = super::get::fetch(eval, &wanted.reference, self.of_inputs)?;
                    let directory = eval.host.store_dir().display(&fetched.store_path).into_bytes();
                    (directory, FlakeRef::new(fetched.input, wanted.reference.subdir.clone()))
                }
            };
            let node = self.add(task, name, LockedNode { locked, original, is_flake: false, parent: wanted.parent });
            self.directories.insert(node, directory);
            return Ok(());
        }
        let registries = if wanted.is_of_command_line { UseRegistries::All } else { self.of_inputs };
        let flake = self.flake_of(&wanted.reference, &wanted, path, registries)?;
        let locked = flake.locked.clone();
        let node = self.add(task, name, LockedNode { locked, original, is_flake: true, parent: wanted.parent });
        if self.parents.contains(&wanted.reference) {
            return Err(EvalError::new(ErrorKind::Evaluation, format!("found circular import of flake '{}'", wanted.reference)));
        }
        self.parents.push(wanted.reference);
        self.directories.insert(node, flake.directory.clone());
        let old = Rc::new(super::lock::read_lock_file(eval, &flake.lock_file())?);
        self.inputs_of(&Task {
            inputs: &flake.inputs,
            node,
            prefix: path,
            old: Some((old, LockFile::ROOT)),
            follows_prefix: path,
            file: &flake.file(),
            is_trusted: false,
        })?;
        self.parents.pop();
        Ok(())
    }

    fn flake_of(&self, reference: &FlakeRef, wanted: &Wanted, path: &InputPath, registries: UseRegistries) -> EvalResult<Flake> {
        match &wanted.relative {
            Some((from, directory)) => super::get::read_relative(self.eval, reference, from, directory, path),
            None => super::get_flake(self.eval, reference, registries, path),
        }
    }
}

/// An input as it is wanted.
struct Wanted {
    reference: FlakeRef,
    is_flake: bool,
    /// If its path is relative: the `flake.nix` that this is seen from, and where it is.
    relative: Option<(Vec<u8>, Vec<u8>)>,
    /// The flake that the path is relative to.
    parent: Option<InputPath>,
    is_of_command_line: bool,
    /// What the lock file says was asked for, if that isn't what is wanted.
    original: Option<FlakeRef>,
}

fn path_of(prefix: &InputPath, name: &str) -> InputPath {
    prefix.iter().cloned().chain([name.to_owned()]).collect()
}

/// Returns where a path leads that is relative to a `flake.nix`'s directory.
fn resolve_relative(file: &[u8], relative: &str) -> Vec<u8> {
    crate::path::canonicalise(&[crate::path::parent(file), b"/", relative.as_bytes()].concat())
}
