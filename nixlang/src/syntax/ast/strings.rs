//! Strings and paths: their parts, and what those stand for.
//!
//! `parts` gives values: escapes resolved, line ends made LF (in `"…"` only, as in the reference)
//! and indentation removed. The tokens themselves are at `syntax().tokens()`.

use super::nodes::Expr;
use super::{AstNode, child};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::text::{IndentationFinder, unescape, unescape_indented};
use crate::syntax::tree::{SyntaxElement, SyntaxNode, SyntaxToken, TextRange};

use SyntaxKind as K;

/// A part of a string or path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringPart {
    /// Text, as the value that it stands for.
    Text {
        /// The value.
        value: String,
        /// Where it stands in the source.
        range: TextRange,
    },
    /// `${…}`
    Interpolation(Interpolation),
}

/// `"…"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StringNode(SyntaxNode);

impl AstNode for StringNode {
    const KINDS: &'static [SyntaxKind] = &[K::StringNode];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::StringNode).then_some(StringNode(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl StringNode {
    /// Returns the parts; text without anything between is one part.
    pub fn parts(&self) -> Vec<StringPart> {
        let mut parts = Vec::new();
        for element in self.0.children_with_tokens() {
            match element {
                SyntaxElement::Token(token) if token.kind() == K::StringContent => {
                    let mut value = Vec::new();
                    unescape(token.text().as_bytes(), &mut value);
                    push_text(&mut parts, value, token.text_range());
                }
                SyntaxElement::Node(node) => {
                    parts.extend(Interpolation::cast(node).map(StringPart::Interpolation));
                }
                SyntaxElement::Token(_) => {}
            }
        }
        parts
    }

    /// Returns the value, if nothing is interpolated and the string is whole.
    pub fn static_value(&self) -> Option<String> {
        static_value(self.syntax(), self.parts())
    }
}

/// `''…''`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndStringNode(SyntaxNode);

impl AstNode for IndStringNode {
    const KINDS: &'static [SyntaxKind] = &[K::IndStringNode];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::IndStringNode).then_some(IndStringNode(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl IndStringNode {
    /// Returns the parts, indentation removed; empty text is left out.
    pub fn parts(&self) -> Vec<StringPart> {
        let mut finder = IndentationFinder::default();
        let is_part = |element: &SyntaxElement| {
            matches!(element.kind(), K::IndStringContent | K::IndStringEscape | K::Interpolation)
        };
        let elements: Vec<_> = self.0.children_with_tokens().filter(is_part).collect();
        for element in &elements {
            match element {
                SyntaxElement::Token(token) if token.kind() == K::IndStringContent => {
                    finder.text(token.text().as_bytes());
                }
                _ => finder.other(),
            }
        }
        let mut stripper = finder.stripper();
        let mut parts = Vec::new();
        let last = elements.len().saturating_sub(1);
        for (index, element) in elements.into_iter().enumerate() {
            match element {
                SyntaxElement::Token(token) => {
                    let mut text = Vec::new();
                    if token.kind() == K::IndStringEscape {
                        unescape_indented(token.text().as_bytes(), &mut text);
                    } else {
                        text.extend_from_slice(token.text().as_bytes());
                    }
                    let mut value = Vec::new();
                    stripper.text(&text, index == last, &mut value);
                    push_text(&mut parts, value, token.text_range());
                }
                SyntaxElement::Node(node) => {
                    stripper.interpolation();
                    parts.extend(Interpolation::cast(node).map(StringPart::Interpolation));
                }
            }
        }
        parts
    }

    /// Returns the value, if nothing is interpolated and the string is whole.
    pub fn static_value(&self) -> Option<String> {
        static_value(self.syntax(), self.parts())
    }
}

/// A path: relative, absolute or below `~`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathNode(SyntaxNode);

impl AstNode for PathNode {
    const KINDS: &'static [SyntaxKind] = &[K::PathNode];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::PathNode).then_some(PathNode(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl PathNode {
    /// Returns the parts.
    pub fn parts(&self) -> Vec<StringPart> {
        let mut parts = Vec::new();
        for element in self.0.children_with_tokens() {
            match element {
                SyntaxElement::Token(token) => {
                    let value = token.text().as_bytes().to_vec();
                    push_text(&mut parts, value, token.text_range());
                }
                SyntaxElement::Node(node) => {
                    parts.extend(Interpolation::cast(node).map(StringPart::Interpolation));
                }
            }
        }
        parts
    }

    /// Returns whether it begins with `~`.
    pub fn is_home(&self) -> bool {
        self.0.token(K::HomePath).is_some()
    }

    /// Returns whether it begins with `/`.
    pub fn is_absolute(&self) -> bool {
        self.0.token(K::Path).is_some_and(|token| token.text().starts_with('/'))
    }
}

/// `<…>`, which is looked up in the search path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPathNode(SyntaxNode);

impl AstNode for SearchPathNode {
    const KINDS: &'static [SyntaxKind] = &[K::SearchPathNode];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::SearchPathNode).then_some(SearchPathNode(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl SearchPathNode {
    /// Returns the only token.
    pub fn token(&self) -> Option<SyntaxToken> {
        self.0.token(K::SearchPath)
    }

    /// Returns what stands between `<` and `>`.
    pub fn name(&self) -> Option<String> {
        let token = self.token()?;
        let name = token.text().strip_prefix('<')?.strip_suffix('>')?;
        Some(name.to_owned())
    }
}

/// `${…}` in a string or path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interpolation(SyntaxNode);

impl AstNode for Interpolation {
    const KINDS: &'static [SyntaxKind] = &[K::Interpolation];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Interpolation).then_some(Interpolation(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Interpolation {
    /// Returns the expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }
}

/// Appends text, joined to the part before if that is text as well.
fn push_text(parts: &mut Vec<StringPart>, text: Vec<u8>, range: TextRange) {
    if text.is_empty() {
        return;
    }
    // What an escape stands for is whole characters, so nothing is replaced here.
    let text = String::from_utf8_lossy(&text);
    if let Some(StringPart::Text { value, range: before }) = parts.last_mut() {
        value.push_str(&text);
        before.end = range.end;
    } else {
        parts.push(StringPart::Text { value: text.into_owned(), range });
    }
}

fn static_value(node: &SyntaxNode, mut parts: Vec<StringPart>) -> Option<String> {
    let whole = |element: SyntaxElement| {
        !matches!(element.kind(), K::Interpolation | K::ErrorNode | K::Error)
    };
    if !node.children_with_tokens().all(whole) {
        return None;
    }
    match parts.pop() {
        None => Some(String::new()),
        Some(StringPart::Text { value, .. }) => Some(value),
        Some(StringPart::Interpolation(_)) => None,
    }
}
