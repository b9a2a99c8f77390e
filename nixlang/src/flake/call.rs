//! From a locked flake to the value of its outputs.
//!
//! For each node of the lock file there are three values that nobody evaluates before they are needed: the set that describes its tree, where
//! its `flake.nix` is, and what the flake gives. All are in one list, so that each can be made with nothing but that list and its number:
//! `outputs` of one flake gets the results of others, and its own as `self`.

use std::sync::Arc;

use nixlang_store::input::Input;
use nixlang_store::path::StorePath;

use super::lock_file::{Edge, LockFile, NodeIndex};
use super::LockedFlake;
use crate::builtins::fetch::tree::{Revision, describe, fetch_final_input};
use crate::builtins::host_function;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, List, Value};
use crate::source::Pos;

/// What there is to know of a node.
struct CallNode {
    is_flake: bool,
    /// Names and numbers of its inputs.
    inputs: Vec<(String, usize)>,
    tree: Tree,
    /// Where its `flake.nix` is within the tree.
    directory: String,
}

/// Where a node's tree comes from.
enum Tree {
    /// It was fetched already.
    Known { path: StorePath, input: Input, is_dirty: bool },
    /// It is part of another node's, at this path from that one's `flake.nix`.
    Relative { parent: usize, path: String },
    /// It is fetched when it is needed.
    Locked(Input),
}

fn wrong(message: String) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}

/// Returns what `builtins.getFlake` returns for a flake.
///
/// # Errors
/// When inputs follow each other in circles, or the outputs can't be evaluated.
pub fn call<'h>(eval: &Evaluator<'h>, flake: &LockedFlake) -> EvalResult<Value<'h>> {
    let nodes: Vec<CallNode> = (0..flake.lock_file.nodes.len()).map(|i| node(eval, flake, NodeIndex(i))).collect::<EvalResult<_>>()?;
    let n_nodes = nodes.len();
    let nodes = Arc::new(nodes);
    let all = eval.heap.later();
    let part = |name: &'static str, make: for<'x> fn(&Evaluator<'x>, &[CallNode], &Parts<'x>, usize) -> EvalResult<Value<'x>>| {
        let nodes = Arc::clone(&nodes);
        host_function(
            eval.heap,
            name,
            2,
            Arc::new(move |eval, arguments| {
                let list = eval.force_list(arguments[0], Pos::NONE, "")?;
                let number = usize::try_from(eval.force_int(arguments[1], Pos::NONE, "")?).unwrap_or(usize::MAX);
                make(eval, &nodes, &Parts { list, n_nodes: nodes.len() }, number)
            }),
        )
    };
    let parts = [part("flakeTree", tree), part("flakeDirectory", directory), part("flakeResult", result)];
    let values: Vec<Value<'h>> = parts
        .iter()
        .flat_map(|function| (0..n_nodes).map(|i| eval.heap.thunk_call_placeless(*function, &[all, eval.heap.int(i as i64)])).collect::<Vec<_>>())
        .collect();
    let result = values[2 * n_nodes + LockFile::ROOT.0];
    eval.heap.fill(all, Value::list(eval.heap.list(values.into_iter())));
    eval.force(result)
}

fn node(eval: &Evaluator<'_>, flake: &LockedFlake, index: NodeIndex) -> EvalResult<CallNode> {
    let LockedFlake { flake, lock_file, directories } = flake;
    let node = lock_file.node(index);
    let inputs = node.inputs.iter().map(|(name, edge)| match edge {
        Edge::Node(index) => Ok((name.clone(), index.0)),
        Edge::Follows(path) => match lock_file.find_input(path).map_err(wrong)? {
            Some(index) => Ok((name.clone(), index.0)),
            None => Err(wrong(format!("input '{name}' follows a non-existent input '{}'", path.join("/")))),
        },
    });
    let inputs = inputs.collect::<EvalResult<Vec<_>>>()?;
    let is_flake = node.locked.as_ref().is_none_or(|locked| locked.is_flake);
    let reference = node.locked.as_ref().map_or(&flake.locked, |locked| &locked.locked);
    if let Some(known) = directories.get(&index) {
        let (path, rest) = eval.host.store_dir().split_store_path(known).map_err(|error| wrong(error.to_string()))?;
        let directory = String::from_utf8_lossy(&rest).trim_start_matches('/').to_owned();
        let is_dirty = node.locked.is_none() && flake.is_dirty;
        return Ok(CallNode { is_flake, inputs, tree: Tree::Known { path, input: reference.input.clone(), is_dirty }, directory });
    }
    let tree = match (reference.relative_path(), node.locked.as_ref().and_then(|locked| locked.parent.as_ref())) {
        (Some(relative), parent) => {
            let parent = parent.map_or(&[][..], Vec::as_slice);
            let found = lock_file.find_input(parent).map_err(wrong)?;
            let found = found.ok_or_else(|| wrong(format!("the input '{}', which a relative path starts from, does not exist", parent.join("/"))))?;
            Tree::Relative { parent: found.0, path: relative.to_owned() }
        }
        (None, _) => Tree::Locked(reference.input.clone()),
    };
    Ok(CallNode { is_flake, inputs, tree, directory: reference.subdir.clone() })
}

/// The values of all nodes.
struct Parts<'h> {
    list: List<'h>,
    n_nodes: usize,
}

impl<'h> Parts<'h> {
    fn tree(&self, i: usize) -> Value<'h> {
        self.list.slots()[i].get()
    }

    fn directory(&self, i: usize) -> Value<'h> {
        self.list.slots()[self.n_nodes + i].get()
    }

    fn result(&self, i: usize) -> Value<'h> {
        self.list.slots()[2 * self.n_nodes + i].get()
    }
}

/// The set that describes a node's tree.
fn tree<'h>(eval: &Evaluator<'h>, nodes: &[CallNode], parts: &Parts<'h>, i: usize) -> EvalResult<Value<'h>> {
    match &nodes[i].tree {
        Tree::Known { path, input, is_dirty } => Ok(describe(eval, path, input, if *is_dirty { Revision::Hidden } else { Revision::Known })),
        Tree::Relative { parent, .. } => eval.force(parts.tree(*parent)),
        Tree::Locked(input) => {
            let fetched = fetch_final_input(eval, input, Pos::NONE)?;
            Ok(describe(eval, &fetched.store_path, &fetched.input, Revision::Known))
        }
    }
}

/// Where a node's `flake.nix` is, as a string that refers to the tree.
fn directory<'h>(eval: &Evaluator<'h>, nodes: &[CallNode], parts: &Parts<'h>, i: usize) -> EvalResult<Value<'h>> {
    let (base, below) = match &nodes[i].tree {
        Tree::Relative { parent, path } => (parts.directory(*parent), path),
        _ => {
            let attrs = eval.force_attrs(parts.tree(i), Pos::NONE, "")?;
            (attrs.get(eval.names.out_path).expect("each tree has one").get(), &nodes[i].directory)
        }
    };
    let base = eval.force_string(base, Pos::NONE, "")?;
    if below.is_empty() {
        return Ok(Value::string(base));
    }
    Ok(Value::string(eval.heap.str_from_parts(&[base.bytes(), b"/", below.as_bytes()], base.context())))
}

/// What a node is to those that have it as an input.
fn result<'h>(eval: &Evaluator<'h>, nodes: &[CallNode], parts: &Parts<'h>, i: usize) -> EvalResult<Value<'h>> {
    let symbol = |name: &str| eval.symbols.intern(name.as_bytes());
    let node = &nodes[i];
    let tree = parts.tree(i);
    let tree_attrs = eval.force_attrs(tree, Pos::NONE, "")?;
    let out_path = parts.directory(i);
    let with = |base: crate::heap::Attrs<'h>, more: Vec<(crate::symbol::Symbol, Value<'h>)>| match eval.attrs_of(more).kind() {
        Kind::Attrs(more) => crate::value::update(eval.heap, base, more),
        _ => unreachable!("attrs_of returns a set"),
    };
    if !node.is_flake {
        return Ok(Value::attrs(with(tree_attrs, vec![(symbol("sourceInfo"), tree), (eval.names.out_path, out_path)])));
    }
    let file = [eval.force_string(out_path, Pos::NONE, "")?.bytes(), b"/flake.nix"].concat();
    let flake = eval.import(&crate::path::canonicalise(&file))?;
    let flake = eval.force_attrs(flake, Pos::NONE, "while evaluating a flake")?;
    let outputs = flake.find(symbol("outputs"));
    let function = match outputs.map(|entry| eval.force_at(entry.slot.get(), entry.pos)).transpose()? {
        Some(function) if matches!(function.kind(), Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_)) => function,
        Some(_) => return Err(EvalError::new(ErrorKind::Assertion, "assertion '(builtins).isFunction (flake).outputs' failed")),
        None => return Err(EvalError::new(ErrorKind::MissingAttribute, "attribute 'outputs' missing")),
    };
    let inputs = eval.attrs_of(node.inputs.iter().map(|(name, i)| (symbol(name), parts.result(*i))));
    let arguments = eval.attrs_of(node.inputs.iter().map(|(name, i)| (symbol(name), parts.result(*i))).chain([(symbol("self"), parts.result(i))]));
    let outputs = eval.call(function, &[arguments], Pos::NONE)?;
    let outputs_attrs = eval.force_attrs(outputs, Pos::NONE, "while evaluating the outputs of a flake")?;
    let all = crate::value::update(eval.heap, outputs_attrs, tree_attrs);
    let own = vec![
        (eval.names.out_path, out_path),
        (symbol("inputs"), inputs),
        (symbol("outputs"), outputs),
        (symbol("sourceInfo"), tree),
        (symbol("_type"), eval.heap.string(b"flake")),
    ];
    Ok(Value::attrs(with(all, own)))
}
