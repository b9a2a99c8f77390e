//! What binds names: sets and `let`, their bindings, `inherit`, and attribute paths.

use super::nodes::Expr;
use super::strings::StringNode;
use super::tokens::{AstToken, DocComment, Ident};
use super::{AstNode, child, child_after, children, doc_comment};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

use SyntaxKind as K;

/// An attribute set, recursive or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrSet(SyntaxNode);

impl AstNode for AttrSet {
    const KINDS: &'static [SyntaxKind] = &[K::AttrSet];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::AttrSet).then_some(AttrSet(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl AttrSet {
    /// Returns the `rec`.
    pub fn rec_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Rec)
    }

    /// Returns the bindings.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        children(&self.0)
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

/// The old `let { … }`, which is the attribute `body` of a recursive set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyLet(SyntaxNode);

impl AstNode for LegacyLet {
    const KINDS: &'static [SyntaxKind] = &[K::LegacyLet];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::LegacyLet).then_some(LegacyLet(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl LegacyLet {
    /// Returns the `let`.
    pub fn let_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Let)
    }

    /// Returns the bindings.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        children(&self.0)
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

/// Bindings for one expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LetIn(SyntaxNode);

impl AstNode for LetIn {
    const KINDS: &'static [SyntaxKind] = &[K::LetIn];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::LetIn).then_some(LetIn(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl LetIn {
    /// Returns the `let`.
    pub fn let_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Let)
    }

    /// Returns the bindings.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        children(&self.0)
    }

    /// Returns the `in`.
    pub fn in_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::In)
    }

    /// Returns the expression that they are for.
    pub fn body(&self) -> Option<Expr> {
        child_after(&self.0, K::In)
    }
}

/// What stands in a set or after `let`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// `a = 1;`
    Binding(Binding),
    /// `inherit a;`
    Inherit(InheritBinding),
}

impl AstNode for Entry {
    const KINDS: &'static [SyntaxKind] = &[K::Binding, K::InheritBinding];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        Some(match syntax.kind() {
            K::Binding => Entry::Binding(Binding::cast(syntax)?),
            K::InheritBinding => Entry::Inherit(InheritBinding::cast(syntax)?),
            _ => return None,
        })
    }

    fn syntax(&self) -> &SyntaxNode {
        match self {
            Entry::Binding(node) => node.syntax(),
            Entry::Inherit(node) => node.syntax(),
        }
    }
}

/// An attribute path and a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding(SyntaxNode);

impl AstNode for Binding {
    const KINDS: &'static [SyntaxKind] = &[K::Binding];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Binding).then_some(Binding(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Binding {
    /// Returns the path.
    pub fn attr_path(&self) -> Option<AttrPath> {
        child(&self.0)
    }

    /// Returns the `=`.
    pub fn assign_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Assign)
    }

    /// Returns the value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, K::Assign)
    }

    /// Returns the `;`.
    pub fn semicolon_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Semicolon)
    }

    /// Returns the doc comment directly before it.
    pub fn doc_comment(&self) -> Option<DocComment> {
        doc_comment(&self.0)
    }
}

/// Bindings of names to what they are outside, or in another set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InheritBinding(SyntaxNode);

impl AstNode for InheritBinding {
    const KINDS: &'static [SyntaxKind] = &[K::InheritBinding];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::InheritBinding).then_some(InheritBinding(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl InheritBinding {
    /// Returns the `inherit`.
    pub fn inherit_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Inherit)
    }

    /// Returns the set that the attributes are taken from.
    pub fn from(&self) -> Option<InheritFrom> {
        child(&self.0)
    }

    /// Returns the names.
    pub fn attrs(&self) -> impl Iterator<Item = Attr> + use<> {
        children(&self.0)
    }

    /// Returns the `;`.
    pub fn semicolon_token(&self) -> Option<SyntaxToken> {
        self.0.token(K::Semicolon)
    }
}

/// The set in parentheses after `inherit`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InheritFrom(SyntaxNode);

impl AstNode for InheritFrom {
    const KINDS: &'static [SyntaxKind] = &[K::InheritFrom];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::InheritFrom).then_some(InheritFrom(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl InheritFrom {
    /// Returns the set.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }
}

/// Attribute names with dots between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrPath(SyntaxNode);

impl AstNode for AttrPath {
    const KINDS: &'static [SyntaxKind] = &[K::AttrPath];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::AttrPath).then_some(AttrPath(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl AttrPath {
    /// Returns the names.
    pub fn attrs(&self) -> impl Iterator<Item = Attr> + use<> {
        children(&self.0)
    }
}

/// An attribute's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attr {
    /// `a`
    Name(Name),
    /// `"a b"`
    String(StringNode),
    /// `${a}`
    Dynamic(DynamicAttr),
}

impl AstNode for Attr {
    const KINDS: &'static [SyntaxKind] = &[K::Name, K::StringNode, K::DynamicAttr];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        Some(match syntax.kind() {
            K::Name => Attr::Name(Name::cast(syntax)?),
            K::StringNode => Attr::String(StringNode::cast(syntax)?),
            K::DynamicAttr => Attr::Dynamic(DynamicAttr::cast(syntax)?),
            _ => return None,
        })
    }

    fn syntax(&self) -> &SyntaxNode {
        match self {
            Attr::Name(node) => node.syntax(),
            Attr::String(node) => node.syntax(),
            Attr::Dynamic(node) => node.syntax(),
        }
    }
}

impl Attr {
    /// Returns the name if it is known without evaluation: a name, a string without
    /// interpolations, or either form of string in `${…}`.
    pub fn static_name(&self) -> Option<String> {
        match self {
            Attr::Name(name) => Some(name.ident()?.text().to_owned()),
            Attr::String(string) => string.static_value(),
            Attr::Dynamic(dynamic) => match dynamic.expr()?.without_parens()? {
                Expr::String(string) => string.static_value(),
                Expr::IndString(string) => string.static_value(),
                _ => None,
            },
        }
    }
}

/// A plain attribute name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(SyntaxNode);

impl AstNode for Name {
    const KINDS: &'static [SyntaxKind] = &[K::Name];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::Name).then_some(Name(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl Name {
    /// Returns the name; also `or`.
    pub fn ident(&self) -> Option<Ident> {
        self.0.tokens().find_map(Ident::cast)
    }
}

/// An attribute name that is computed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DynamicAttr(SyntaxNode);

impl AstNode for DynamicAttr {
    const KINDS: &'static [SyntaxKind] = &[K::DynamicAttr];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::DynamicAttr).then_some(DynamicAttr(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl DynamicAttr {
    /// Returns the expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }
}
