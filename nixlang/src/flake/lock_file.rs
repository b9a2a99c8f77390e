//! Lock files as data: a graph of nodes, each an input that was locked, whose edges are inputs of inputs or say which other input is meant.
//!
//! Node 0 is the flake itself. Graphs of other people may have circles; whoever walks one keeps a list of where it was.

use std::collections::BTreeMap;

use nixlang_store::input::{Input, is_flake_id};

use super::FlakeRef;

/// Where an input is: its name, behind those of the inputs that it is an input of.
pub type InputPath = Vec<String>;

/// Returns a path as it is written: `a/b`.
pub fn print_input_path(path: &[String]) -> String {
    path.join("/")
}

/// Reads a path of inputs; empty elements say nothing.
///
/// # Errors
/// The message, when an element is no name.
pub fn parse_input_path(text: &str) -> Result<InputPath, String> {
    let elements = text.split('/').filter(|element| !element.is_empty());
    elements.map(|element| if is_flake_id(element) { Ok(element.to_owned()) } else { Err(format!("invalid flake input attribute path element '{element}'")) }).collect()
}

/// A place in [`LockFile::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// What an input of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A node.
    Node(NodeIndex),
    /// The same as another input, by its path from the root.
    Follows(InputPath),
}

/// An input that was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedNode {
    /// The tree that is meant.
    pub locked: FlakeRef,
    /// What was asked for.
    pub original: FlakeRef,
    /// Whether it is a flake.
    pub is_flake: bool,
    /// Of a relative path: the flake that it is relative to.
    pub parent: Option<InputPath>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its inputs.
    pub inputs: BTreeMap<String, Edge>,
    /// What it is; none for the root.
    pub locked: Option<LockedNode>,
}

/// See the file's comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFile {
    /// All nodes. Edges lead to nodes that are here.
    pub nodes: Vec<Node>,
}

impl Default for LockFile {
    fn default() -> Self {
        LockFile { nodes: vec![Node::default()] }
    }
}

impl LockFile {
    /// The flake that the file belongs to.
    pub const ROOT: NodeIndex = NodeIndex(0);

    /// Returns a node.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }

    /// Adds a node without inputs.
    pub fn add(&mut self, locked: LockedNode) -> NodeIndex {
        self.nodes.push(Node { inputs: BTreeMap::new(), locked: Some(locked) });
        NodeIndex(self.nodes.len() - 1)
    }

    /// Returns the node that a path leads to; none if there is no such input.
    ///
    /// # Errors
    /// The message, when inputs follow each other in a circle.
    pub fn find_input(&self, path: &[String]) -> Result<Option<NodeIndex>, String> {
        self.find(path, &mut Vec::new())
    }

    fn find(&self, path: &[String], visited: &mut Vec<InputPath>) -> Result<Option<NodeIndex>, String> {
        if let Some(first) = visited.iter().position(|other| other == path) {
            let cycle: Vec<String> = visited[first..].iter().map(|path| print_input_path(path)).chain([print_input_path(path)]).collect();
            return Err(format!("follow cycle detected: [{}]", cycle.join(" -> ")));
        }
        if visited.len() > 1000 {
            return Err(format!("input '{}' is one of too many that follow each other", print_input_path(path)));
        }
        visited.push(path.to_vec());
        let mut at = Self::ROOT;
        for name in path {
            at = match self.node(at).inputs.get(name) {
                Some(Edge::Node(node)) => *node,
                Some(Edge::Follows(target)) => match self.find(target, visited)? {
                    Some(node) => node,
                    None => return Ok(None),
                },
                None => return Ok(None),
            };
        }
        Ok(Some(at))
    }

    /// Returns all inputs by their paths. Those of a node that several paths lead to count once.
    pub fn all_inputs(&self) -> BTreeMap<InputPath, &Edge> {
        let mut found = BTreeMap::new();
        let mut is_done = vec![false; self.nodes.len()];
        let mut pending = vec![(InputPath::new(), Self::ROOT)];
        while let Some((prefix, index)) = pending.pop() {
            // Depth first, in the order of the names. What several paths lead to belongs to the one that is met first.
            if std::mem::replace(&mut is_done[index.0], true) {
                continue;
            }
            for (name, edge) in self.node(index).inputs.iter().rev() {
                let path: InputPath = prefix.iter().cloned().chain([name.clone()]).collect();
                if let Edge::Node(node) = edge {
                    pending.push((path.clone(), *node));
                }
                found.insert(path, edge);
            }
        }
        found
    }

    /// Fails if an input follows one that isn't there.
    ///
    /// # Errors
    /// The message.
    pub fn check(&self) -> Result<(), String> {
        for (path, edge) in self.all_inputs() {
            if let Edge::Follows(target) = edge
                && !target.is_empty()
                && self.find_input(target)?.is_none()
            {
                return Err(format!("input '{}' follows a non-existent input '{}'", print_input_path(&path), print_input_path(target)));
            }
        }
        Ok(())
    }

    /// Returns an input that may be another tree tomorrow, if there is one. `is_locked` says of a tree whether it may.
    pub fn unlocked_input(&self, is_locked: impl Fn(&Input) -> bool) -> Option<&FlakeRef> {
        let is_unlocked = |input: &Input| (!is_locked(input) || !input.is_final()) && input.relative_path().is_none();
        // A node that no path leads to is none of the graph.
        let mut is_seen = vec![false; self.nodes.len()];
        let mut pending = vec![Self::ROOT];
        while let Some(index) = pending.pop() {
            if std::mem::replace(&mut is_seen[index.0], true) {
                continue;
            }
            let node = self.node(index);
            if let Some(locked) = node.locked.as_ref().filter(|locked| is_unlocked(&locked.locked.input)) {
                return Some(&locked.locked);
            }
            pending.extend(node.inputs.values().rev().filter_map(|edge| if let Edge::Node(node) = edge { Some(*node) } else { None }));
        }
        None
    }
}
