//! Makes a green tree out of tokens and nodes in source order, sharing equal parts.
//!
//! Most tokens of a file occur before in it, and so do most small nodes. Rowan's own builder finds
//! them by hashing text and children again each time; here a token that always has the same text
//! is found by its kind, others by their text, and a small node of shared children by those
//! children's addresses.
//!
//! The surprising thing: an address identifies a child only because the table holds on to the
//! child, so only what is in a table itself counts as shared.

use rowan::{GreenNode, GreenToken, NodeOrToken};
use rustc_hash::FxHashMap;

use crate::syntax::kind::SyntaxKind;

/// Text that is longer is not looked for.
const MAX_SHARED_TEXT: usize = 48;
/// Nodes with more children are not looked for.
const MAX_SHARED_CHILDREN: usize = 3;
/// Texts of whitespace that are found by their length: this many spaces after a line feed.
const MAX_INDENT: usize = 16;

/// A node that has ended, or a token, and its address if it is shared; otherwise zero.
struct Element {
    green: NodeOrToken<GreenNode, GreenToken>,
    address: usize,
}

/// Builds one tree.
pub(super) struct Builder<'s> {
    /// What has no parent yet.
    elements: Vec<Element>,
    /// The kinds of the nodes that have begun, and where their children start in `elements`.
    open: Vec<(SyntaxKind, usize)>,
    /// Tokens that always have the same text, by kind; then indentations.
    fixed: Vec<Option<GreenToken>>,
    tokens: FxHashMap<(SyntaxKind, &'s str), GreenToken>,
    nodes: FxHashMap<(SyntaxKind, [usize; MAX_SHARED_CHILDREN]), GreenNode>,
}

impl<'s> Builder<'s> {
    /// Returns a builder for a text of this many bytes.
    pub(super) fn new(length: usize) -> Builder<'s> {
        let mut builder = Builder {
            elements: Vec::with_capacity(64),
            open: Vec::with_capacity(32),
            fixed: Vec::new(),
            tokens: FxHashMap::default(),
            nodes: FxHashMap::default(),
        };
        builder.fixed.resize(SyntaxKind::ALL.len() + MAX_INDENT + 2, None);
        // Growing the tables step by step would cost as much as filling them.
        builder.tokens.reserve((length / 64).min(4096));
        builder.nodes.reserve((length / 64).min(4096));
        builder
    }

    /// Adds a token.
    pub(super) fn token(&mut self, kind: SyntaxKind, text: &'s str) {
        let shared = match fixed_index(kind, text) {
            Some(index) => {
                self.fixed[index].get_or_insert_with(|| GreenToken::new(kind.into(), text))
            }
            None if text.len() <= MAX_SHARED_TEXT => self
                .tokens
                .entry((kind, text))
                .or_insert_with(|| GreenToken::new(kind.into(), text)),
            None => {
                let green = NodeOrToken::Token(GreenToken::new(kind.into(), text));
                self.elements.push(Element { green, address: 0 });
                return;
            }
        };
        debug_assert_eq!(shared.text(), text);
        let address = std::ptr::from_ref(&**shared).addr();
        let green = NodeOrToken::Token(shared.clone());
        self.elements.push(Element { green, address });
    }

    /// Returns a mark for the place behind what has been added so far.
    pub(super) fn checkpoint(&self) -> usize {
        self.elements.len()
    }

    /// Begins a node.
    pub(super) fn start(&mut self, kind: SyntaxKind) {
        self.open.push((kind, self.elements.len()));
    }

    /// Begins a node at a mark that no open node began behind.
    pub(super) fn start_at(&mut self, checkpoint: usize, kind: SyntaxKind) {
        self.open.push((kind, checkpoint));
    }

    /// Ends the innermost node.
    pub(super) fn finish(&mut self) {
        let (kind, first) = self.open.pop().expect("the parser ends only what it began");
        let children = &self.elements[first..];
        let mut key = [0; MAX_SHARED_CHILDREN];
        let is_shared = !children.is_empty()
            && children.len() <= MAX_SHARED_CHILDREN
            && children.iter().all(|child| child.address != 0);
        if !is_shared {
            let children = self.elements.drain(first..).map(|child| child.green);
            let green = NodeOrToken::Node(GreenNode::new(kind.into(), children));
            self.elements.push(Element { green, address: 0 });
            return;
        }
        for (address, child) in key.iter_mut().zip(children) {
            *address = child.address;
        }
        let elements = &mut self.elements;
        let node = self.nodes.entry((kind, key)).or_insert_with(|| {
            GreenNode::new(kind.into(), elements.drain(first..).map(|child| child.green))
        });
        elements.truncate(first);
        let address = std::ptr::from_ref(&**node).addr();
        elements.push(Element { green: NodeOrToken::Node(node.clone()), address });
    }

    /// Returns the tree.
    pub(super) fn build(mut self) -> GreenNode {
        match self.elements.pop().map(|element| element.green) {
            Some(NodeOrToken::Node(root)) => root,
            _ => unreachable!("the parser sends one root, and everything else within it"),
        }
    }
}

/// Returns where a token is that has this text whenever it has this kind, or this length.
fn fixed_index(kind: SyntaxKind, text: &str) -> Option<usize> {
    match kind {
        SyntaxKind::Whitespace => {
            // A space, or a line feed and spaces: by far the most.
            if text == " " {
                return Some(usize::from(kind.to_raw()));
            }
            let (first, spaces) = text.as_bytes().split_first()?;
            let is_indent = *first == b'\n'
                && spaces.len() <= MAX_INDENT
                && spaces.iter().all(|&byte| byte == b' ');
            is_indent.then(|| SyntaxKind::ALL.len() + spaces.len())
        }
        _ if kind.has_fixed_text() => Some(usize::from(kind.to_raw())),
        _ => None,
    }
}
