//! Functions, `let`, `with`, `if`, `assert`, and operators by precedence climbing.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Associativity {
    Left,
    Right,
    None,
}

/// How strongly `!` binds: above the comparisons, below arithmetic.
const NOT_LEVEL: u8 = 7;
/// How strongly unary `-` binds: more than every binary operator.
const NEGATE_LEVEL: u8 = 12;

/// Returns how strongly a binary operator binds; 0 for what is none.
fn level(kind: SyntaxKind) -> (u8, Associativity) {
    use Associativity::{Left, None, Right};
    match kind {
        K::Implies => (1, Right),
        K::OrOr => (2, Left),
        K::AndAnd => (3, Left),
        K::EqEq | K::NotEq => (4, None),
        K::Less | K::LessEq | K::Greater | K::GreaterEq => (5, None),
        K::Update => (6, Right),
        K::Plus | K::Minus => (8, Left),
        K::Star | K::Slash => (9, Left),
        K::Concat => (10, Right),
        K::Question => (11, Left),
        _ => (0, Left),
    }
}

impl<S: Sink> Parser<'_, S> {
    /// `expr`: anything.
    pub(super) fn expression(&mut self) -> Step<u32> {
        if !self.enter()? {
            return Ok(0);
        }
        let below = match self.current {
            K::Ident if matches!(self.peek(1), K::Colon | K::At) => self.lambda()?,
            K::LeftBrace if self.at_pattern() => self.lambda()?,
            K::Let if self.peek(1) != K::LeftBrace => self.let_in()?,
            K::With => self.guarded(K::WithExpr)?,
            K::Assert => self.guarded(K::AssertExpr)?,
            K::If => self.if_else()?,
            _ => self.pipes()?,
        };
        self.leave();
        Ok(below)
    }

    fn let_in(&mut self) -> Step<u32> {
        self.start(K::LetIn);
        self.bump();
        let bindings = self.bindings(K::In, &[K::In, K::Inherit], &[K::In, K::Inherit])?;
        self.expect(K::In, &[K::In, K::Inherit])?;
        let body = self.expression()?;
        self.finish(K::LetIn)?;
        self.height(bindings.max(body))
    }

    /// `with a; b` and `assert a; b`.
    fn guarded(&mut self, node: SyntaxKind) -> Step<u32> {
        self.start(node);
        self.bump();
        let first = self.expression()?;
        self.expect(K::Semicolon, &[K::Semicolon])?;
        let body = self.expression()?;
        self.finish(node)?;
        self.height(first.max(body))
    }

    fn if_else(&mut self) -> Step<u32> {
        self.start(K::IfElse);
        self.bump();
        let condition = self.expression()?;
        self.expect(K::Then, &[K::Then])?;
        let then = self.expression()?;
        self.expect(K::Else, &[K::Else])?;
        let otherwise = self.expression()?;
        self.finish(K::IfElse)?;
        self.height(condition.max(then).max(otherwise))
    }

    /// The pipe operators: below all others, and they don't mix.
    fn pipes(&mut self) -> Step<u32> {
        let checkpoint = self.checkpoint();
        let mut below = self.operators(1)?;
        if self.at(K::PipeFrom) {
            self.start_at(checkpoint, K::BinaryOp);
            self.bump();
            below = below.max(self.pipe_from()?);
            self.finish(K::BinaryOp)?;
            return self.height(below);
        }
        while self.at(K::PipeInto) {
            self.start_at(checkpoint, K::BinaryOp);
            self.bump();
            let right = self.operators(1)?;
            self.finish(K::BinaryOp)?;
            below = self.height(below.max(right))?;
        }
        Ok(below)
    }

    /// What follows `<|`, which associates to the right.
    fn pipe_from(&mut self) -> Step<u32> {
        if !self.enter()? {
            return Ok(0);
        }
        let checkpoint = self.checkpoint();
        let mut below = self.operators(1)?;
        if self.at(K::PipeFrom) {
            self.start_at(checkpoint, K::BinaryOp);
            self.bump();
            let right = self.pipe_from()?;
            self.finish(K::BinaryOp)?;
            below = self.height(below.max(right))?;
        }
        self.leave();
        Ok(below)
    }

    /// `expr_op`: operators that bind at least as strongly as `minimum`.
    fn operators(&mut self, minimum: u8) -> Step<u32> {
        let checkpoint = self.checkpoint();
        let mut below = match self.current {
            K::Not => self.unary(NOT_LEVEL)?,
            K::Minus => self.unary(NEGATE_LEVEL)?,
            _ => self.application()?,
        };
        loop {
            let operator = self.current;
            let (strength, associativity) = level(operator);
            if strength < minimum {
                return Ok(below);
            }
            if operator == K::Question {
                self.start_at(checkpoint, K::HasAttr);
                self.bump();
                below = below.max(self.attr_path()?.0);
                self.finish(K::HasAttr)?;
                below = self.height(below)?;
                continue;
            }
            self.start_at(checkpoint, K::BinaryOp);
            self.bump();
            let next = if associativity == Associativity::Right {
                strength
            } else {
                strength + 1
            };
            let right = self.operand(next)?;
            self.finish(K::BinaryOp)?;
            below = self.height(below.max(right))?;
            if associativity == Associativity::None && level(self.current).0 == strength {
                self.unexpected(&[])?;
            }
        }
    }

    /// The operand of an operator, one level deeper.
    fn operand(&mut self, minimum: u8) -> Step<u32> {
        if !self.enter()? {
            return Ok(0);
        }
        let below = self.operators(minimum)?;
        self.leave();
        Ok(below)
    }

    fn unary(&mut self, strength: u8) -> Step<u32> {
        self.start(K::UnaryOp);
        self.bump();
        let below = self.operand(strength)?;
        self.finish(K::UnaryOp)?;
        self.height(below)
    }

    /// `expr_app`: a function and its arguments, or just one operand.
    fn application(&mut self) -> Step<u32> {
        let checkpoint = self.checkpoint();
        let mut below = self.select()?;
        if !self.at_operand() {
            return Ok(below);
        }
        self.start_at(checkpoint, K::Apply);
        while self.at_operand() {
            below = below.max(self.select()?);
        }
        self.finish(K::Apply)?;
        self.height(below)
    }
}
