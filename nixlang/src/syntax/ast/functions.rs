//! Functions, their parameters, and calls.

use super::nodes::Expr;
use super::tokens::{AstToken, DocComment, Ident};
use super::{AstNode, child, child_after, children, doc_comment};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

use SyntaxKind as K;

/// A function and its arguments: `f a b` is one node with two arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Apply(SyntaxNode);

impl AstNode for Apply {
    const KINDS: &'static [SyntaxKind] = &[K::Apply];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Apply).then_some(Apply(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Apply {
    /// Returns what is called.
    pub fn function(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// Returns the arguments.
    pub fn arguments(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0).skip(1)
    }
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lambda(SyntaxNode);

impl AstNode for Lambda {
    const KINDS: &'static [SyntaxKind] = &[K::Lambda];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Lambda).then_some(Lambda(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Lambda {
    /// Returns the parameter.
    pub fn param(&self) -> Option<Param> {
        child(&self.0)
    }

    /// Returns the doc comment directly before it.
    pub fn doc_comment(&self) -> Option<DocComment> {
        doc_comment(&self.0)
    }

    /// Returns the `:`.
    pub fn colon_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Colon)
    }

    /// Returns the body.
    pub fn body(&self) -> Option<Expr> {
        child_after(&self.0, K::Colon)
    }
}

/// The parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Param {
    /// `a:`
    Ident(IdentParam),
    /// `{ a, b ? c, ... }@d:`
    Pattern(Pattern),
}

impl AstNode for Param {
    const KINDS: &'static [SyntaxKind] = &[K::IdentParam, K::Pattern];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        Some(match syntax.kind() {
            K::IdentParam => Param::Ident(IdentParam::cast(syntax)?),
            K::Pattern => Param::Pattern(Pattern::cast(syntax)?),
            _ => return None,
        })
    }

    fn syntax(&self) -> &SyntaxNode {
        match self {
            Param::Ident(node) => node.syntax(),
            Param::Pattern(node) => node.syntax(),
        }
    }
}

/// A parameter that is a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentParam(SyntaxNode);

impl AstNode for IdentParam {
    const KINDS: &'static [SyntaxKind] = &[K::IdentParam];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::IdentParam).then_some(IdentParam(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl IdentParam {
    /// Returns the name.
    pub fn ident(&self) -> Option<Ident> {
        self.0.tokens().find_map(Ident::cast)
    }
}

/// A parameter that takes an attribute set apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(SyntaxNode);

impl AstNode for Pattern {
    const KINDS: &'static [SyntaxKind] = &[K::Pattern];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Pattern).then_some(Pattern(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Pattern {
    /// Returns the formals.
    pub fn entries(&self) -> impl Iterator<Item = PatternEntry> + use<> {
        children(&self.0)
    }

    /// Returns the `...`.
    pub fn ellipsis(&self) -> Option<SyntaxToken> {
        self.0.token(K::Ellipsis)
    }

    /// Returns the name for the whole argument.
    pub fn bind(&self) -> Option<PatternBind> {
        child(&self.0)
    }

    /// Returns the `{`.
    pub fn l_brace(&self) -> Option<SyntaxToken> {
        self.0.token(K::LeftBrace)
    }

    /// Returns the `}`.
    pub fn r_brace(&self) -> Option<SyntaxToken> {
        self.0.token(K::RightBrace)
    }
}

/// One formal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatternEntry(SyntaxNode);

impl AstNode for PatternEntry {
    const KINDS: &'static [SyntaxKind] = &[K::PatternEntry];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::PatternEntry).then_some(PatternEntry(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl PatternEntry {
    /// Returns the name.
    pub fn ident(&self) -> Option<Ident> {
        self.0.tokens().find_map(Ident::cast)
    }

    /// Returns the `?`.
    pub fn question_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Question)
    }

    /// Returns what it is if the argument lacks it.
    pub fn default(&self) -> Option<Expr> {
        child_after(&self.0, K::Question)
    }
}

/// The name for the whole argument, before or after the formals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatternBind(SyntaxNode);

impl AstNode for PatternBind {
    const KINDS: &'static [SyntaxKind] = &[K::PatternBind];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::PatternBind).then_some(PatternBind(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl PatternBind {
    /// Returns the name.
    pub fn ident(&self) -> Option<Ident> {
        self.0.tokens().find_map(Ident::cast)
    }

    /// Returns the `@`.
    pub fn at_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::At)
    }
}
