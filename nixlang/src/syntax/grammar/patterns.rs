//! Functions and their parameters.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

impl<S: Sink> Parser<'_, S> {
    /// Returns whether the `{` here begins a pattern and not a set.
    pub(super) fn at_pattern(&self) -> bool {
        match self.peek(1) {
            K::Ellipsis => true,
            K::Ident => matches!(self.peek(2), K::Comma | K::Question | K::RightBrace),
            K::RightBrace => matches!(self.peek(2), K::Colon | K::At),
            _ => false,
        }
    }

    pub(super) fn lambda(&mut self) -> Step<u32> {
        let mut below = 1;
        self.start(K::Lambda);
        if self.at(K::Ident) && self.peek(1) == K::Colon {
            self.start(K::IdentParam);
            self.bump();
            self.finish(K::IdentParam)?;
            self.bump();
        } else {
            self.start(K::Pattern);
            if self.at(K::Ident) {
                self.start(K::PatternBind);
                self.bump();
                self.bump();
                self.finish(K::PatternBind)?;
                if self.at(K::LeftBrace) {
                    below = self.pattern()?;
                } else {
                    self.unexpected(&[K::LeftBrace])?;
                }
                self.finish(K::Pattern)?;
                self.expect(K::Colon, &[K::Colon])?;
            } else {
                below = self.pattern()?;
                let mut expected: &[SyntaxKind] = &[K::Colon, K::At];
                if self.at(K::At) {
                    self.start(K::PatternBind);
                    self.bump();
                    self.expect(K::Ident, &[K::Ident])?;
                    self.finish(K::PatternBind)?;
                    expected = &[K::Colon];
                }
                self.finish(K::Pattern)?;
                self.expect(K::Colon, expected)?;
            }
        }
        let body = self.expression()?;
        self.finish(K::Lambda)?;
        self.height(below.max(body))
    }

    /// `{ a, b ? c, ... }`, within a node that has been started.
    fn pattern(&mut self) -> Step<u32> {
        let mut below = 1;
        self.bump();
        loop {
            match self.current {
                K::RightBrace => {
                    self.bump();
                    return Ok(below);
                }
                K::Ellipsis => {
                    self.bump();
                    self.close(K::RightBrace, &[K::RightBrace])?;
                    return Ok(below);
                }
                K::Ident => {
                    self.start(K::PatternEntry);
                    self.bump();
                    if self.at(K::Question) {
                        self.bump();
                        below = below.max(self.expression()?.saturating_add(1));
                    }
                    self.finish(K::PatternEntry)?;
                    match self.current {
                        K::Comma => self.bump(),
                        K::RightBrace => {}
                        _ => {
                            self.unexpected(&[K::RightBrace, K::Comma])?;
                            if !matches!(self.current, K::Ident | K::Ellipsis) {
                                self.close(K::RightBrace, &[])?;
                                return Ok(below);
                            }
                        }
                    }
                }
                _ => {
                    self.unexpected(&[K::Ident, K::Ellipsis, K::RightBrace])?;
                    if self.at(K::Comma) {
                        self.bump_as_error()?;
                    } else {
                        self.close(K::RightBrace, &[])?;
                        return Ok(below);
                    }
                }
            }
        }
    }
}
