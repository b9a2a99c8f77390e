//! Tokens that have a value of their own: names, numbers, URLs, comments.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::SyntaxToken;

/// A type over tokens.
pub trait AstToken: Sized {
    /// Returns the token as this type, if it is one.
    fn cast(token: SyntaxToken) -> Option<Self>;

    /// Returns the token.
    fn syntax(&self) -> &SyntaxToken;

    /// Returns its text.
    fn text(&self) -> &str {
        self.syntax().text()
    }
}

/// A name. `or` is one where the grammar takes it for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident(SyntaxToken);

impl AstToken for Ident {
    fn cast(token: SyntaxToken) -> Option<Self> {
        matches!(token.kind(), SyntaxKind::Ident | SyntaxKind::Or).then_some(Ident(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

/// An integer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Integer(SyntaxToken);

impl AstToken for Integer {
    fn cast(token: SyntaxToken) -> Option<Self> {
        (token.kind() == SyntaxKind::Integer).then_some(Integer(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

impl Integer {
    /// Returns the value. (What is out of range is an error token and no integer.)
    pub fn value(&self) -> Option<i64> {
        self.text().parse().ok()
    }
}

/// A floating-point number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Float(SyntaxToken);

impl AstToken for Float {
    fn cast(token: SyntaxToken) -> Option<Self> {
        (token.kind() == SyntaxKind::Float).then_some(Float(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

impl Float {
    /// Returns the value.
    pub fn value(&self) -> Option<f64> {
        self.text().parse().ok()
    }
}

/// An unquoted URL, which is a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri(SyntaxToken);

impl AstToken for Uri {
    fn cast(token: SyntaxToken) -> Option<Self> {
        (token.kind() == SyntaxKind::Uri).then_some(Uri(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

/// A comment of any form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comment(SyntaxToken);

impl AstToken for Comment {
    fn cast(token: SyntaxToken) -> Option<Self> {
        let kinds = [SyntaxKind::LineComment, SyntaxKind::BlockComment, SyntaxKind::DocComment];
        kinds.contains(&token.kind()).then_some(Comment(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

impl Comment {
    /// Returns what stands between the signs that make it a comment, spaces and all.
    pub fn content(&self) -> &str {
        let text = self.text();
        match self.0.kind() {
            SyntaxKind::LineComment => text.strip_prefix('#').unwrap_or(text),
            SyntaxKind::DocComment => between(text, "/**"),
            _ => between(text, "/*"),
        }
    }
}

/// A doc comment (RFC 145): `/** … */`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocComment(SyntaxToken);

impl AstToken for DocComment {
    fn cast(token: SyntaxToken) -> Option<Self> {
        (token.kind() == SyntaxKind::DocComment).then_some(DocComment(token))
    }

    fn syntax(&self) -> &SyntaxToken {
        &self.0
    }
}

impl DocComment {
    /// Returns the Markdown that it holds: without the signs, without the indentation that all
    /// lines after the first share, and without empty lines around.
    pub fn content(&self) -> String {
        let mut lines = between(self.text(), "/**").lines().map(str::trim_end);
        let first = lines.next().unwrap_or_default().trim_start();
        let rest: Vec<&str> = lines.collect();
        let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let filled = rest.iter().filter(|line| !line.is_empty());
        let shared = filled.map(|line| indentation(line)).min().unwrap_or(0);
        let rest = rest.iter().map(|line| line.get(shared..).unwrap_or_default());
        let all: Vec<&str> = std::iter::once(first).chain(rest).collect();
        all.join("\n").trim_matches('\n').to_owned()
    }
}

fn between<'t>(text: &'t str, begin: &str) -> &'t str {
    let text = text.strip_prefix(begin).unwrap_or(text);
    text.strip_suffix("*/").unwrap_or(text)
}
