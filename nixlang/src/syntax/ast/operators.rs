//! Operators: what they are, how strongly they bind, and the nodes that hold them.

use super::nodes::Expr;
use super::{AstNode, child, child_after, child_before};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

use SyntaxKind as K;

/// Which operand a chain of one operator nests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Associativity {
    /// `a + b + c` is `(a + b) + c`.
    Left,
    /// `a // b // c` is `a // (b // c)`.
    Right,
    /// `a == b == c` is an error.
    None,
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOperator {
    /// `!`
    Not,
    /// `-`
    Negate,
}

impl UnaryOperator {
    /// Returns the operator that a token of this kind is before an operand.
    pub fn from_kind(kind: SyntaxKind) -> Option<UnaryOperator> {
        match kind {
            K::Not => Some(UnaryOperator::Not),
            K::Minus => Some(UnaryOperator::Negate),
            _ => None,
        }
    }

    /// Returns how strongly it binds, on the scale of [`BinaryOperator::precedence`].
    pub fn precedence(self) -> u8 {
        match self {
            UnaryOperator::Not => 8,
            UnaryOperator::Negate => 13,
        }
    }
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// `<|`
    PipeFrom,
    /// `|>`
    PipeInto,
    /// `->`
    Implies,
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `//`
    Update,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `++`
    Concat,
}

impl BinaryOperator {
    /// Every operator, the weakest first.
    pub const ALL: &'static [BinaryOperator] = &[
        BinaryOperator::PipeFrom,
        BinaryOperator::PipeInto,
        BinaryOperator::Implies,
        BinaryOperator::Or,
        BinaryOperator::And,
        BinaryOperator::Equal,
        BinaryOperator::NotEqual,
        BinaryOperator::Less,
        BinaryOperator::LessOrEqual,
        BinaryOperator::Greater,
        BinaryOperator::GreaterOrEqual,
        BinaryOperator::Update,
        BinaryOperator::Add,
        BinaryOperator::Subtract,
        BinaryOperator::Multiply,
        BinaryOperator::Divide,
        BinaryOperator::Concat,
    ];

    /// Returns the operator that a token of this kind is between operands.
    pub fn from_kind(kind: SyntaxKind) -> Option<BinaryOperator> {
        BinaryOperator::ALL.iter().copied().find(|operator| operator.kind() == kind)
    }

    /// Returns the kind of its token.
    pub fn kind(self) -> SyntaxKind {
        match self {
            BinaryOperator::PipeFrom => K::PipeFrom,
            BinaryOperator::PipeInto => K::PipeInto,
            BinaryOperator::Implies => K::Implies,
            BinaryOperator::Or => K::OrOr,
            BinaryOperator::And => K::AndAnd,
            BinaryOperator::Equal => K::EqEq,
            BinaryOperator::NotEqual => K::NotEq,
            BinaryOperator::Less => K::Less,
            BinaryOperator::LessOrEqual => K::LessEq,
            BinaryOperator::Greater => K::Greater,
            BinaryOperator::GreaterOrEqual => K::GreaterEq,
            BinaryOperator::Update => K::Update,
            BinaryOperator::Add => K::Plus,
            BinaryOperator::Subtract => K::Minus,
            BinaryOperator::Multiply => K::Star,
            BinaryOperator::Divide => K::Slash,
            BinaryOperator::Concat => K::Concat,
        }
    }

    /// Returns its text.
    pub fn symbol(self) -> &'static str {
        self.kind().name().trim_matches('\'')
    }

    /// Returns how strongly it binds: 1 for the weakest. `?` is 12, application and selection are
    /// above all. The two pipe operators are equally weak and don't mix.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOperator::PipeFrom | BinaryOperator::PipeInto => 1,
            BinaryOperator::Implies => 2,
            BinaryOperator::Or => 3,
            BinaryOperator::And => 4,
            BinaryOperator::Equal | BinaryOperator::NotEqual => 5,
            BinaryOperator::Less
            | BinaryOperator::LessOrEqual
            | BinaryOperator::Greater
            | BinaryOperator::GreaterOrEqual => 6,
            BinaryOperator::Update => 7,
            BinaryOperator::Add | BinaryOperator::Subtract => 9,
            BinaryOperator::Multiply | BinaryOperator::Divide => 10,
            BinaryOperator::Concat => 11,
        }
    }

    /// Returns how chains of it nest.
    pub fn associativity(self) -> Associativity {
        match self {
            BinaryOperator::PipeFrom
            | BinaryOperator::Implies
            | BinaryOperator::Update
            | BinaryOperator::Concat => Associativity::Right,
            BinaryOperator::PipeInto
            | BinaryOperator::Or
            | BinaryOperator::And
            | BinaryOperator::Add
            | BinaryOperator::Subtract
            | BinaryOperator::Multiply
            | BinaryOperator::Divide => Associativity::Left,
            BinaryOperator::Equal
            | BinaryOperator::NotEqual
            | BinaryOperator::Less
            | BinaryOperator::LessOrEqual
            | BinaryOperator::Greater
            | BinaryOperator::GreaterOrEqual => Associativity::None,
        }
    }
}

/// `!a` or `-a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnaryOp(SyntaxNode);

impl AstNode for UnaryOp {
    const KINDS: &'static [SyntaxKind] = &[K::UnaryOp];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::UnaryOp).then_some(UnaryOp(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl UnaryOp {
    /// Returns the operator's token.
    pub fn operator_token(&self) -> Option<SyntaxToken> {
        self.0.tokens().find(|token| UnaryOperator::from_kind(token.kind()).is_some())
    }

    /// Returns the operator.
    pub fn operator(&self) -> Option<UnaryOperator> {
        UnaryOperator::from_kind(self.operator_token()?.kind())
    }

    /// Returns the operand.
    pub fn operand(&self) -> Option<Expr> {
        child(&self.0)
    }
}

/// Two operands and an operator between them. (`a ? b` is a node of its own.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinaryOp(SyntaxNode);

impl AstNode for BinaryOp {
    const KINDS: &'static [SyntaxKind] = &[K::BinaryOp];

    fn cast(syntax: SyntaxNode) -> Option<Self> {
        (syntax.kind() == K::BinaryOp).then_some(BinaryOp(syntax))
    }

    fn syntax(&self) -> &SyntaxNode {
        &self.0
    }
}

impl BinaryOp {
    /// Returns the operator's token.
    pub fn operator_token(&self) -> Option<SyntaxToken> {
        self.0.tokens().find(|token| BinaryOperator::from_kind(token.kind()).is_some())
    }

    /// Returns the operator.
    pub fn operator(&self) -> Option<BinaryOperator> {
        BinaryOperator::from_kind(self.operator_token()?.kind())
    }

    /// Returns the left operand.
    pub fn left(&self) -> Option<Expr> {
        child_before(&self.0, self.operator_token()?.kind())
    }

    /// Returns the right operand.
    pub fn right(&self) -> Option<Expr> {
        child_after(&self.0, self.operator_token()?.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::ast::Root;
    use crate::syntax::tree::{ParseOptions, parse};

    /// Returns whether the left operand of the outermost operator of `source` is an operation, or
    /// nothing if `source` is wrong.
    fn nests_left(source: &str) -> Option<bool> {
        let options = ParseOptions { pipe_operators: true, bindings: false };
        let parsed = parse(source, options).expect("short enough");
        if !parsed.errors().is_empty() {
            return None;
        }
        let Some(Expr::BinaryOp(outer)) = Root::cast(parsed.root())?.expr() else {
            panic!("{source} is an operation");
        };
        let left = matches!(outer.left(), Some(Expr::BinaryOp(_)));
        assert_ne!(left, matches!(outer.right(), Some(Expr::BinaryOp(_))), "{source}");
        Some(left)
    }

    #[test]
    fn the_grammar_agrees_with_the_table() {
        for &first in BinaryOperator::ALL {
            for &second in BinaryOperator::ALL {
                let source = format!("a {} b {} c", first.symbol(), second.symbol());
                let expected = match first.precedence().cmp(&second.precedence()) {
                    std::cmp::Ordering::Greater => Some(true),
                    std::cmp::Ordering::Less => Some(false),
                    std::cmp::Ordering::Equal => {
                        match (first.associativity(), second.associativity()) {
                            (Associativity::Left, Associativity::Left) => Some(true),
                            (Associativity::Right, Associativity::Right) => Some(false),
                            _ => None,
                        }
                    }
                };
                assert_eq!(nests_left(&source), expected, "{source}");
            }
        }
    }

    #[test]
    fn unary_operators_bind_where_the_table_says() {
        for (source, unary) in [("!a", UnaryOperator::Not), ("-a", UnaryOperator::Negate)] {
            for &operator in BinaryOperator::ALL {
                let source = format!("{source} {} b", operator.symbol());
                let options = ParseOptions { pipe_operators: true, bindings: false };
                let parsed = parse(&source, options).expect("short enough");
                let expr = Root::cast(parsed.root()).and_then(|root| root.expr());
                let outer_is_unary = matches!(expr, Some(Expr::UnaryOp(_)));
                let expected = operator.precedence() > unary.precedence();
                assert_eq!(outer_is_unary, expected, "{source}");
            }
        }
    }
}
