//! Expressions, as types over nodes.
//!
//! Each type is a node known to have one kind, each method looks for one child. Broken text lacks
//! children, so all of them return `Option` or an iterator. Sets and bindings are in `bindings.rs`,
//! functions in `functions.rs`, strings and paths in `strings.rs`, operators in `operators.rs`.

use super::bindings::{AttrPath, AttrSet, Entry, LegacyLet, LetIn};
use super::functions::{Apply, Lambda};
use super::operators::{BinaryOp, UnaryOp};
use super::strings::{IndStringNode, PathNode, SearchPathNode, StringNode};
use super::tokens::{AstToken, Float, Ident, Integer, Uri};
use super::{AstNode, child, child_after, children};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

use SyntaxKind as K;

/// Any expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// `1`, `1.5`, `http://x`
    Literal(Literal),
    /// `"…"`
    String(StringNode),
    /// `''…''`
    IndString(IndStringNode),
    /// `./a`, `~/a`
    Path(PathNode),
    /// `<a>`
    SearchPath(SearchPathNode),
    /// `a`
    Variable(Variable),
    /// `(a)`
    Paren(Paren),
    /// `[ a ]`
    List(List),
    /// `{ a = 1; }`
    AttrSet(AttrSet),
    /// `let { body = 1; }`
    LegacyLet(LegacyLet),
    /// `a.b or c`
    Select(Select),
    /// `a ? b`
    HasAttr(HasAttr),
    /// `f a`
    Apply(Apply),
    /// `!a`
    UnaryOp(UnaryOp),
    /// `a + b`
    BinaryOp(BinaryOp),
    /// `a: b`
    Lambda(Lambda),
    /// `let a = 1; in b`
    LetIn(LetIn),
    /// `with a; b`
    With(WithExpr),
    /// `assert a; b`
    Assert(AssertExpr),
    /// `if a then b else c`
    If(IfElse),
}

impl AstNode for Expr {
    const KINDS: &'static [SyntaxKind] = &[
        K::Literal,
        K::StringNode,
        K::IndStringNode,
        K::PathNode,
        K::SearchPathNode,
        K::Variable,
        K::Paren,
        K::List,
        K::AttrSet,
        K::LegacyLet,
        K::Select,
        K::HasAttr,
        K::Apply,
        K::UnaryOp,
        K::BinaryOp,
        K::Lambda,
        K::LetIn,
        K::WithExpr,
        K::AssertExpr,
        K::IfElse,
    ];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        Some(match syntax.kind() {
            K::Literal => Expr::Literal(Literal::cast(syntax)?),
            K::StringNode => Expr::String(StringNode::cast(syntax)?),
            K::IndStringNode => Expr::IndString(IndStringNode::cast(syntax)?),
            K::PathNode => Expr::Path(PathNode::cast(syntax)?),
            K::SearchPathNode => Expr::SearchPath(SearchPathNode::cast(syntax)?),
            K::Variable => Expr::Variable(Variable::cast(syntax)?),
            K::Paren => Expr::Paren(Paren::cast(syntax)?),
            K::List => Expr::List(List::cast(syntax)?),
            K::AttrSet => Expr::AttrSet(AttrSet::cast(syntax)?),
            K::LegacyLet => Expr::LegacyLet(LegacyLet::cast(syntax)?),
            K::Select => Expr::Select(Select::cast(syntax)?),
            K::HasAttr => Expr::HasAttr(HasAttr::cast(syntax)?),
            K::Apply => Expr::Apply(Apply::cast(syntax)?),
            K::UnaryOp => Expr::UnaryOp(UnaryOp::cast(syntax)?),
            K::BinaryOp => Expr::BinaryOp(BinaryOp::cast(syntax)?),
            K::Lambda => Expr::Lambda(Lambda::cast(syntax)?),
            K::LetIn => Expr::LetIn(LetIn::cast(syntax)?),
            K::WithExpr => Expr::With(WithExpr::cast(syntax)?),
            K::AssertExpr => Expr::Assert(AssertExpr::cast(syntax)?),
            K::IfElse => Expr::If(IfElse::cast(syntax)?),
            _ => return None,
        })
    }

    fn syntax(&self) -> &SyntaxNode {
        match self {
            Expr::Literal(node) => node.syntax(),
            Expr::String(node) => node.syntax(),
            Expr::IndString(node) => node.syntax(),
            Expr::Path(node) => node.syntax(),
            Expr::SearchPath(node) => node.syntax(),
            Expr::Variable(node) => node.syntax(),
            Expr::Paren(node) => node.syntax(),
            Expr::List(node) => node.syntax(),
            Expr::AttrSet(node) => node.syntax(),
            Expr::LegacyLet(node) => node.syntax(),
            Expr::Select(node) => node.syntax(),
            Expr::HasAttr(node) => node.syntax(),
            Expr::Apply(node) => node.syntax(),
            Expr::UnaryOp(node) => node.syntax(),
            Expr::BinaryOp(node) => node.syntax(),
            Expr::Lambda(node) => node.syntax(),
            Expr::LetIn(node) => node.syntax(),
            Expr::With(node) => node.syntax(),
            Expr::Assert(node) => node.syntax(),
            Expr::If(node) => node.syntax(),
        }
    }
}

impl Expr {
    /// Returns the expression within any parentheses around it; nothing if they are empty.
    pub fn without_parens(&self) -> Option<Expr> {
        let mut it = self.clone();
        while let Expr::Paren(paren) = it {
            it = paren.expr()?;
        }
        Some(it)
    }
}

/// The whole text: an expression, or bindings for the line editor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Root(SyntaxNode);

impl AstNode for Root {
    const KINDS: &'static [SyntaxKind] = &[K::Root];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Root).then_some(Root(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Root {
    /// Returns the expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// Returns the bindings, if the text was parsed as bindings.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        children(&self.0)
    }
}

/// Text that fits nowhere; empty where an operand is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorNode(SyntaxNode);

impl AstNode for ErrorNode {
    const KINDS: &'static [SyntaxKind] = &[K::ErrorNode];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::ErrorNode).then_some(ErrorNode(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

/// A number or an unquoted URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(SyntaxNode);

impl AstNode for Literal {
    const KINDS: &'static [SyntaxKind] = &[K::Literal];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Literal).then_some(Literal(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Literal {
    /// Returns the only token.
    pub fn token(&self) -> Option<SyntaxToken> {
        self.0.tokens().find(|token| !token.kind().is_trivia())
    }

    /// Returns the integer, if it is one.
    pub fn integer(&self) -> Option<Integer> {
        self.token().and_then(Integer::cast)
    }

    /// Returns the float, if it is one.
    pub fn float(&self) -> Option<Float> {
        self.token().and_then(Float::cast)
    }

    /// Returns the URL, if it is one.
    pub fn uri(&self) -> Option<Uri> {
        self.token().and_then(Uri::cast)
    }
}

/// The use of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variable(SyntaxNode);

impl AstNode for Variable {
    const KINDS: &'static [SyntaxKind] = &[K::Variable];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Variable).then_some(Variable(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Variable {
    /// Returns the name; also `or`, which is a variable in `f or`.
    pub fn ident(&self) -> Option<Ident> {
        self.0.tokens().find_map(Ident::cast)
    }
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Paren(SyntaxNode);

impl AstNode for Paren {
    const KINDS: &'static [SyntaxKind] = &[K::Paren];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Paren).then_some(Paren(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Paren {
    /// Returns the expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// Returns the `(`.
    pub fn l_paren(&self) -> Option<SyntaxToken> {
        self.0.token(K::LeftParen)
    }

    /// Returns the `)`.
    pub fn r_paren(&self) -> Option<SyntaxToken> {
        self.0.token(K::RightParen)
    }
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct List(SyntaxNode);

impl AstNode for List {
    const KINDS: &'static [SyntaxKind] = &[K::List];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::List).then_some(List(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl List {
    /// Returns the elements.
    pub fn items(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }

    /// Returns the `[`.
    pub fn l_bracket(&self) -> Option<SyntaxToken> {
        self.0.token(K::LeftBracket)
    }

    /// Returns the `]`.
    pub fn r_bracket(&self) -> Option<SyntaxToken> {
        self.0.token(K::RightBracket)
    }
}

/// Selection of an attribute, with or without a default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Select(SyntaxNode);

impl AstNode for Select {
    const KINDS: &'static [SyntaxKind] = &[K::Select];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Select).then_some(Select(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Select {
    /// Returns what is selected from.
    pub fn base(&self) -> Option<Expr> {
        super::child_before(&self.0, K::Dot)
    }

    /// Returns the path.
    pub fn attr_path(&self) -> Option<AttrPath> {
        child(&self.0)
    }

    /// Returns the `or`.
    pub fn or_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Or)
    }

    /// Returns what it is if an attribute is missing.
    pub fn default(&self) -> Option<Expr> {
        child_after(&self.0, K::Or)
    }
}

/// The test for an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HasAttr(SyntaxNode);

impl AstNode for HasAttr {
    const KINDS: &'static [SyntaxKind] = &[K::HasAttr];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::HasAttr).then_some(HasAttr(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl HasAttr {
    /// Returns what is looked into.
    pub fn base(&self) -> Option<Expr> {
        super::child_before(&self.0, K::Question)
    }

    /// Returns the `?`.
    pub fn question_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Question)
    }

    /// Returns the path.
    pub fn attr_path(&self) -> Option<AttrPath> {
        child(&self.0)
    }
}

/// An expression with the attributes of a set as variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WithExpr(SyntaxNode);

impl AstNode for WithExpr {
    const KINDS: &'static [SyntaxKind] = &[K::WithExpr];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::WithExpr).then_some(WithExpr(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl WithExpr {
    /// Returns the `with`.
    pub fn with_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::With)
    }

    /// Returns the set.
    pub fn scope(&self) -> Option<Expr> {
        super::child_before(&self.0, K::Semicolon)
    }

    /// Returns the expression.
    pub fn body(&self) -> Option<Expr> {
        child_after(&self.0, K::Semicolon)
    }
}

/// An expression with a condition before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssertExpr(SyntaxNode);

impl AstNode for AssertExpr {
    const KINDS: &'static [SyntaxKind] = &[K::AssertExpr];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::AssertExpr).then_some(AssertExpr(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl AssertExpr {
    /// Returns the `assert`.
    pub fn assert_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Assert)
    }

    /// Returns the condition.
    pub fn condition(&self) -> Option<Expr> {
        super::child_before(&self.0, K::Semicolon)
    }

    /// Returns the expression.
    pub fn body(&self) -> Option<Expr> {
        child_after(&self.0, K::Semicolon)
    }
}

/// One of two expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IfElse(SyntaxNode);

impl AstNode for IfElse {
    const KINDS: &'static [SyntaxKind] = &[K::IfElse];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::IfElse).then_some(IfElse(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl IfElse {
    /// Returns the `if`.
    pub fn if_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::If)
    }

    /// Returns the condition.
    pub fn condition(&self) -> Option<Expr> {
        super::child_between(&self.0, K::If, K::Then)
    }

    /// Returns the value if the condition is true.
    pub fn then_branch(&self) -> Option<Expr> {
        super::child_between(&self.0, K::Then, K::Else)
    }

    /// Returns the value if the condition is false.
    pub fn else_branch(&self) -> Option<Expr> {
        child_after(&self.0, K::Else)
    }
}
