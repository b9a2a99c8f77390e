//! References to nodes that keep no tree alive: kind and place. They may be stored, compared and
//! sent to other threads, and found again in the same tree.

use std::marker::PhantomData;

use super::ast::AstNode;
use super::kind::SyntaxKind;
use super::tree::{SyntaxNode, TextRange};

/// A reference to a node of some tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyntaxNodePtr {
    kind: SyntaxKind,
    range: TextRange,
}

impl SyntaxNodePtr {
    /// Returns a reference to a node.
    pub fn new(node: &SyntaxNode) -> SyntaxNodePtr {
        SyntaxNodePtr { kind: node.kind(), range: node.text_range() }
    }

    /// Returns what the node is.
    pub fn kind(self) -> SyntaxKind {
        self.kind
    }

    /// Returns where the node's text is.
    pub fn text_range(self) -> TextRange {
        self.range
    }

    /// Returns the node, if this tree has one of that kind there.
    ///
    /// If one node of the kind holds exactly another, the outer one is returned.
    pub fn to_node(self, root: &SyntaxNode) -> Option<SyntaxNode> {
        let mut node = root.clone();
        loop {
            if node.kind() == self.kind && node.text_range() == self.range {
                return Some(node);
            }
            node = node.children().find(|child| child.text_range().contains(self.range))?;
        }
    }
}

/// A reference to a node that has a type.
#[derive(Debug)]
pub struct AstPtr<N> {
    ptr: SyntaxNodePtr,
    node: PhantomData<fn() -> N>,
}

impl<N: AstNode> AstPtr<N> {
    /// Returns a reference to a node.
    pub fn new(node: &N) -> AstPtr<N> {
        AstPtr { ptr: SyntaxNodePtr::new(node.syntax()), node: PhantomData }
    }

    /// Returns the reference without its type.
    pub fn syntax(&self) -> SyntaxNodePtr {
        self.ptr
    }

    /// Returns the node, if this tree has one of that kind there.
    pub fn to_node(&self, root: &SyntaxNode) -> Option<N> {
        self.ptr.to_node(root).and_then(N::cast)
    }
}

impl<N> Clone for AstPtr<N> {
    fn clone(&self) -> AstPtr<N> {
        *self
    }
}

impl<N> Copy for AstPtr<N> {}

impl<N> PartialEq for AstPtr<N> {
    fn eq(&self, other: &AstPtr<N>) -> bool {
        self.ptr == other.ptr
    }
}

impl<N> Eq for AstPtr<N> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::ast::Lambda;
    use crate::syntax::tree::{ParseOptions, parse};

    #[test]
    fn every_node_is_found_again() {
        let source = "{ a ? [ 1 ], ... }@b: let c = \"x${a}\"; in ((c)) b.c or d";
        let root = parse(source, ParseOptions::default()).expect("short enough").root();
        for node in root.descendants() {
            let ptr = SyntaxNodePtr::new(&node);
            let found = ptr.to_node(&root).expect("it is there");
            assert_eq!(SyntaxNodePtr::new(&found), ptr);
        }
        let lambda = root.descendants().find_map(Lambda::cast).expect("there is a function");
        let ptr = AstPtr::new(&lambda);
        assert_eq!(ptr.to_node(&root), Some(lambda));
        let other = parse("a", ParseOptions::default()).expect("short enough").root();
        assert_eq!(ptr.to_node(&other), None);
    }
}
