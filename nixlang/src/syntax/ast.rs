//! Types over the lossless tree: what a node is in the language, and where its parts are.
//!
//! The shapes are those of `nix.ungram`; a test keeps both equal. The tree may be that of broken
//! text, so every accessor returns `Option` (or an iterator that skips what is missing) and none
//! panics.

mod bindings;
mod functions;
mod nodes;
mod operators;
mod strings;
mod tokens;

use super::kind::SyntaxKind;
use super::tree::{SyntaxElement, SyntaxNode};

pub use bindings::{
    Attr, AttrPath, AttrSet, Binding, DynamicAttr, Entry, InheritBinding, InheritFrom, LegacyLet,
    LetIn, Name,
};
pub use functions::{Apply, IdentParam, Lambda, Param, Pattern, PatternBind, PatternEntry};
pub use nodes::{
    AssertExpr, ErrorNode, Expr, HasAttr, IfElse, List, Literal, Paren, Root, Select, Variable,
    WithExpr,
};
pub use operators::{Associativity, BinaryOp, BinaryOperator, UnaryOp, UnaryOperator};
pub use strings::{IndStringNode, Interpolation, PathNode, SearchPathNode, StringNode, StringPart};
pub use tokens::{AstToken, Comment, DocComment, Float, Ident, Integer, Uri};

/// A type over nodes.
pub trait AstNode: Sized {
    /// The kinds of nodes that have this type.
    const KINDS: &'static [SyntaxKind];

    /// Returns the node as this type, if it is one.
    fn cast(syntax: SyntaxNode) -> Option<Self>;

    /// Returns the node.
    fn syntax(&self) -> &SyntaxNode;
}

/// Returns the first child of this type.
fn child<N: AstNode>(node: &SyntaxNode) -> Option<N> {
    node.children().find_map(N::cast)
}

/// Returns the children of this type.
fn children<N: AstNode>(node: &SyntaxNode) -> impl Iterator<Item = N> + use<N> {
    node.children().filter_map(N::cast)
}

/// Returns the first child of this type before the first token of kind `end`.
fn child_before<N: AstNode>(node: &SyntaxNode, end: SyntaxKind) -> Option<N> {
    node.children_with_tokens()
        .take_while(|element| element.kind() != end)
        .filter_map(SyntaxElement::into_node)
        .find_map(N::cast)
}

/// Returns the first child of this type after the first token of kind `start`.
fn child_after<N: AstNode>(node: &SyntaxNode, start: SyntaxKind) -> Option<N> {
    node.children_with_tokens()
        .skip_while(|element| element.kind() != start)
        .filter_map(SyntaxElement::into_node)
        .find_map(N::cast)
}

/// Returns the first child of this type between the first tokens of kinds `start` and `end`.
fn child_between<N: AstNode>(node: &SyntaxNode, start: SyntaxKind, end: SyntaxKind) -> Option<N> {
    node.children_with_tokens()
        .skip_while(|element| element.kind() != start)
        .take_while(|element| element.kind() != end)
        .filter_map(SyntaxElement::into_node)
        .find_map(N::cast)
}

/// Returns the last doc comment between a node and the token before it.
fn doc_comment(node: &SyntaxNode) -> Option<DocComment> {
    let mut token = node.first_token()?.prev_token();
    while let Some(it) = token {
        if !it.kind().is_trivia() {
            return None;
        }
        token = it.prev_token();
        if let Some(doc) = DocComment::cast(it) {
            return Some(doc);
        }
    }
    None
}

#[cfg(test)]
mod tests;
