//! Cursors into a tree: nodes, tokens and their text.
//!
//! They are cheap to clone, know their parents, and stay on one thread. Nothing here panics for
//! positions outside of the text, and walking keeps no native stack.

use std::fmt;

use rowan::{GreenNode, NodeOrToken};

use crate::syntax::kind::SyntaxKind;

/// Tells rowan about our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Language {}

impl rowan::Language for Language {
    type Kind = SyntaxKind;

    fn kind_from_raw(raw: rowan::SyntaxKind) -> SyntaxKind {
        SyntaxKind::from_raw(raw.0).unwrap_or(SyntaxKind::ErrorNode)
    }

    fn kind_to_raw(kind: SyntaxKind) -> rowan::SyntaxKind {
        kind.into()
    }
}

/// A range of bytes of the source, the end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextRange {
    /// The offset of the first byte.
    pub start: u32,
    /// The offset after the last byte.
    pub end: u32,
}

impl TextRange {
    /// Returns the range of no bytes at an offset.
    pub fn empty(offset: u32) -> TextRange {
        TextRange { start: offset, end: offset }
    }

    /// Returns how many bytes this is.
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether this is no byte.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns whether all of `other` lies within this range.
    pub fn contains(self, other: TextRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl From<rowan::TextRange> for TextRange {
    fn from(range: rowan::TextRange) -> TextRange {
        TextRange { start: range.start().into(), end: range.end().into() }
    }
}

/// A node of a tree.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SyntaxNode(rowan::SyntaxNode<Language>);

/// A token of a tree; it has text and no children.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SyntaxToken(rowan::SyntaxToken<Language>);

/// A node or a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyntaxElement {
    /// A node.
    Node(SyntaxNode),
    /// A token.
    Token(SyntaxToken),
}

/// A step of a walk over a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalkEvent {
    /// An element begins; its children follow.
    Enter(SyntaxElement),
    /// An element ends.
    Leave(SyntaxElement),
}

/// The text of a node, which is in pieces; printing it copies nothing.
#[derive(Clone)]
pub struct SyntaxText(rowan::SyntaxText);

impl SyntaxNode {
    pub(super) fn new_root(green: GreenNode) -> SyntaxNode {
        SyntaxNode(rowan::SyntaxNode::new_root(green))
    }

    /// Returns what the node is.
    pub fn kind(&self) -> SyntaxKind {
        self.0.kind()
    }

    /// Returns where its text is.
    pub fn text_range(&self) -> TextRange {
        self.0.text_range().into()
    }

    /// Returns its text, comments and spaces within it included.
    pub fn text(&self) -> SyntaxText {
        SyntaxText(self.0.text())
    }

    /// Returns the node around it; nothing for the root.
    pub fn parent(&self) -> Option<SyntaxNode> {
        self.0.parent().map(SyntaxNode)
    }

    /// Returns this node, its parent, and so on up to the root.
    pub fn ancestors(&self) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.0.ancestors().map(SyntaxNode)
    }

    /// Returns the nodes that are directly in this one.
    pub fn children(&self) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.0.children().map(SyntaxNode)
    }

    /// Returns the nodes and tokens that are directly in this one, in order.
    pub fn children_with_tokens(&self) -> impl Iterator<Item = SyntaxElement> + use<> {
        self.0.children_with_tokens().map(SyntaxElement::from)
    }

    /// Returns the tokens that are directly in this node, in order.
    pub fn tokens(&self) -> impl Iterator<Item = SyntaxToken> + use<> {
        self.children_with_tokens().filter_map(SyntaxElement::into_token)
    }

    /// Returns the first token of this kind that is directly in this node.
    pub fn token(&self, kind: SyntaxKind) -> Option<SyntaxToken> {
        self.tokens().find(|token| token.kind() == kind)
    }

    /// Returns the next node with the same parent.
    pub fn next_sibling(&self) -> Option<SyntaxNode> {
        self.0.next_sibling().map(SyntaxNode)
    }

    /// Returns the previous node with the same parent.
    pub fn prev_sibling(&self) -> Option<SyntaxNode> {
        self.0.prev_sibling().map(SyntaxNode)
    }

    /// Returns the next node or token with the same parent.
    pub fn next_sibling_or_token(&self) -> Option<SyntaxElement> {
        self.0.next_sibling_or_token().map(SyntaxElement::from)
    }

    /// Returns the previous node or token with the same parent.
    pub fn prev_sibling_or_token(&self) -> Option<SyntaxElement> {
        self.0.prev_sibling_or_token().map(SyntaxElement::from)
    }

    /// Returns the first token in this node, at any depth.
    pub fn first_token(&self) -> Option<SyntaxToken> {
        // Rowan's own descends into the first child only, which may be empty.
        self.descendants_with_tokens().find_map(SyntaxElement::into_token)
    }

    /// Returns this node and all nodes in it, parents before children.
    pub fn descendants(&self) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.0.descendants().map(SyntaxNode)
    }

    /// Returns this node and all nodes and tokens in it, parents before children.
    pub fn descendants_with_tokens(&self) -> impl Iterator<Item = SyntaxElement> + use<> {
        self.0.descendants_with_tokens().map(SyntaxElement::from)
    }

    /// Returns the beginnings and ends of this node and of all in it, in order.
    pub fn preorder(&self) -> impl Iterator<Item = WalkEvent> + use<> {
        self.0.preorder_with_tokens().map(|event| match event {
            rowan::WalkEvent::Enter(element) => WalkEvent::Enter(element.into()),
            rowan::WalkEvent::Leave(element) => WalkEvent::Leave(element.into()),
        })
    }

    /// Returns the token that the byte at this offset belongs to.
    pub fn token_at(&self, offset: u32) -> Option<SyntaxToken> {
        if !self.text_range().contains(TextRange { start: offset, end: offset.checked_add(1)? }) {
            return None;
        }
        self.0.token_at_offset(offset.into()).right_biased().map(SyntaxToken)
    }

    /// Returns the token that ends at this offset, or that the offset lies within.
    pub fn token_before(&self, offset: u32) -> Option<SyntaxToken> {
        self.token_at(offset.checked_sub(1)?)
    }

    /// Returns the smallest element that this range lies within.
    pub fn covering_element(&self, range: TextRange) -> Option<SyntaxElement> {
        if range.start > range.end || !self.text_range().contains(range) {
            return None;
        }
        let range = rowan::TextRange::new(range.start.into(), range.end.into());
        Some(self.0.covering_element(range).into())
    }
}

impl SyntaxToken {
    /// Returns what the token is.
    pub fn kind(&self) -> SyntaxKind {
        self.0.kind()
    }

    /// Returns where its text is.
    pub fn text_range(&self) -> TextRange {
        self.0.text_range().into()
    }

    /// Returns its text.
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// Returns the node that it is directly in.
    pub fn parent(&self) -> Option<SyntaxNode> {
        self.0.parent().map(SyntaxNode)
    }

    /// Returns the next node or token with the same parent.
    pub fn next_sibling_or_token(&self) -> Option<SyntaxElement> {
        self.0.next_sibling_or_token().map(SyntaxElement::from)
    }

    /// Returns the previous node or token with the same parent.
    pub fn prev_sibling_or_token(&self) -> Option<SyntaxElement> {
        self.0.prev_sibling_or_token().map(SyntaxElement::from)
    }

    /// Returns the token before this one in the text.
    pub fn prev_token(&self) -> Option<SyntaxToken> {
        SyntaxNode(self.0.tree_top()).token_before(self.text_range().start)
    }

    /// Returns the token after this one in the text.
    pub fn next_token(&self) -> Option<SyntaxToken> {
        SyntaxNode(self.0.tree_top()).token_at(self.text_range().end)
    }
}

impl SyntaxElement {
    /// Returns what it is.
    pub fn kind(&self) -> SyntaxKind {
        match self {
            SyntaxElement::Node(node) => node.kind(),
            SyntaxElement::Token(token) => token.kind(),
        }
    }

    /// Returns where its text is.
    pub fn text_range(&self) -> TextRange {
        match self {
            SyntaxElement::Node(node) => node.text_range(),
            SyntaxElement::Token(token) => token.text_range(),
        }
    }

    /// Returns the node that it is directly in.
    pub fn parent(&self) -> Option<SyntaxNode> {
        match self {
            SyntaxElement::Node(node) => node.parent(),
            SyntaxElement::Token(token) => token.parent(),
        }
    }

    /// Returns the node, if it is one.
    pub fn into_node(self) -> Option<SyntaxNode> {
        match self {
            SyntaxElement::Node(node) => Some(node),
            SyntaxElement::Token(_) => None,
        }
    }

    /// Returns the token, if it is one.
    pub fn into_token(self) -> Option<SyntaxToken> {
        match self {
            SyntaxElement::Node(_) => None,
            SyntaxElement::Token(token) => Some(token),
        }
    }
}

impl SyntaxText {
    /// Returns the length in bytes.
    pub fn len(&self) -> u32 {
        self.0.len().into()
    }

    /// Returns whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the text contains this character.
    pub fn contains_char(&self, character: char) -> bool {
        self.0.contains_char(character)
    }
}

impl From<rowan::SyntaxElement<Language>> for SyntaxElement {
    fn from(element: rowan::SyntaxElement<Language>) -> SyntaxElement {
        match element {
            NodeOrToken::Node(node) => SyntaxElement::Node(SyntaxNode(node)),
            NodeOrToken::Token(token) => SyntaxElement::Token(SyntaxToken(token)),
        }
    }
}

impl PartialEq<str> for SyntaxText {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for SyntaxText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl fmt::Display for SyntaxText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SyntaxText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SyntaxNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text().fmt(f)
    }
}

impl fmt::Display for SyntaxToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// With `{:#?}` the whole tree, one line per node and token.
impl fmt::Debug for SyntaxNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for SyntaxToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
