//! Operands: literals, variables, parentheses, lists, attribute sets, and selection from them.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

impl<S: Sink> Parser<'_, S> {
    /// Returns whether an operand begins here.
    pub(super) fn at_operand(&self) -> bool {
        matches!(
            self.current,
            K::Ident
                | K::Integer
                | K::Float
                | K::Quote
                | K::IndStringOpen
                | K::Path
                | K::HomePath
                | K::SearchPath
                | K::Uri
                | K::LeftParen
                | K::Let
                | K::Rec
                | K::LeftBrace
                | K::LeftBracket
        )
    }

    /// `expr_select`: an operand with `.a.b`, `.a.b or c` or the old `or` after it.
    pub(super) fn select(&mut self) -> Step<u32> {
        let checkpoint = self.checkpoint();
        let below = self.simple()?;
        match self.current {
            K::Dot => {
                self.start_at(checkpoint, K::Select);
                self.bump();
                let mut below = below.max(self.attr_path()?.0);
                if self.at(K::Or) {
                    self.bump();
                    if self.enter()? {
                        below = below.max(self.select()?);
                        self.leave();
                    }
                }
                self.finish(K::Select)?;
                self.height(below)
            }
            K::Or => {
                self.start_at(checkpoint, K::Apply);
                self.start(K::Variable);
                self.bump();
                self.finish(K::Variable)?;
                self.finish(K::Apply)?;
                self.height(below)
            }
            _ => Ok(below),
        }
    }

    /// `expr_simple`: one operand.
    fn simple(&mut self) -> Step<u32> {
        match self.current {
            K::Ident => self.one_token(K::Variable),
            K::Integer | K::Float | K::Uri => self.one_token(K::Literal),
            K::SearchPath => self.one_token(K::SearchPathNode),
            K::Quote => self.string(),
            K::IndStringOpen => self.ind_string(),
            K::Path | K::HomePath => self.path(),
            K::LeftParen => {
                self.start(K::Paren);
                self.bump();
                let below = self.expression()?;
                self.close(K::RightParen, &[K::RightParen])?;
                self.finish(K::Paren)?;
                self.height(below)
            }
            K::LeftBracket => self.list(),
            K::LeftBrace => {
                self.start(K::AttrSet);
                self.braced(K::AttrSet, &[K::Inherit])
            }
            K::Rec => {
                self.start(K::AttrSet);
                self.bump();
                self.braced(K::AttrSet, &[K::Inherit, K::RightBrace])
            }
            K::Let => {
                self.start(K::LegacyLet);
                self.bump();
                self.braced(K::LegacyLet, &[K::Inherit, K::RightBrace])
            }
            _ => self.no_operand(),
        }
    }

    fn one_token(&mut self, node: SyntaxKind) -> Step<u32> {
        self.start(node);
        self.bump();
        self.finish(node)?;
        Ok(1)
    }

    fn list(&mut self) -> Step<u32> {
        if !self.enter()? {
            return Ok(0);
        }
        let mut below = 0;
        self.start(K::List);
        self.bump();
        loop {
            if self.at_operand() {
                below = below.max(self.select()?);
                continue;
            }
            if self.at(K::RightBracket) {
                break;
            }
            self.unexpected(&[])?;
            if self.at_stopper() && !self.at(K::Comma) {
                break;
            }
            self.bump_as_error()?;
        }
        if self.at(K::RightBracket) {
            self.bump();
        }
        self.finish(K::List)?;
        self.leave();
        self.height(below)
    }

    /// `{ bindings }`, within a node that has been started.
    fn braced(&mut self, node: SyntaxKind, expected: &'static [SyntaxKind]) -> Step<u32> {
        if self.at(K::LeftBrace) {
            self.bump();
        } else {
            self.unexpected(&[K::LeftBrace])?;
        }
        let below = self.bindings(K::RightBrace, expected, expected)?;
        if self.at(K::RightBrace) {
            self.bump();
        }
        self.finish(node)?;
        self.height(below)
    }

    /// Reports a missing operand. What can't belong to anything around is skipped.
    fn no_operand(&mut self) -> Step<u32> {
        self.unexpected(&[])?;
        self.start(K::ErrorNode);
        if !self.at_stopper() {
            self.bump();
        }
        self.finish(K::ErrorNode)?;
        Ok(1)
    }
}
