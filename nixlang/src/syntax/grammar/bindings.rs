//! Attribute paths, bindings and `inherit`.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

const ATTRIBUTE: &[SyntaxKind] = &[K::Ident, K::Or, K::DollarBrace, K::Quote];

impl<S: Sink> Parser<'_, S> {
    fn at_attribute(&self) -> bool {
        matches!(self.current, K::Ident | K::Or | K::DollarBrace | K::Quote)
    }

    /// `binds` up to `end`, which isn't taken. `expected_first` is what bison expects at something
    /// that begins no binding before the first one, `expected_later` after that.
    pub(super) fn bindings(
        &mut self,
        end: SyntaxKind,
        expected_first: &'static [SyntaxKind],
        expected_later: &'static [SyntaxKind],
    ) -> Step<u32> {
        let mut below = 0;
        let mut expected = expected_first;
        loop {
            if self.at_attribute() {
                below = below.max(self.binding()?);
            } else if self.at_keyword()
                && !self.at(K::Inherit)
                && !self.at(end)
                && self.peek(1) == K::Assign
            {
                self.unexpected(expected)?;
                below = below.max(self.binding()?);
            } else if self.at(K::Inherit) {
                below = below.max(self.inherit()?);
            } else if self.at(end) {
                return Ok(below);
            } else {
                self.unexpected(expected)?;
                let closes = matches!(
                    self.current,
                    K::Eof | K::RightBrace | K::RightParen | K::RightBracket
                );
                if closes || self.at(K::In) || self.at(K::Then) || self.at(K::Else) {
                    return Ok(below);
                }
                self.skip_to_semicolon()?;
                if self.at(K::Semicolon) {
                    self.bump_as_error()?;
                }
            }
            expected = expected_later;
        }
    }

    fn binding(&mut self) -> Step<u32> {
        self.start(K::Binding);
        let (path, names) = self.attr_path()?;
        let mut value = 0;
        if self.assign()? {
            value = self.expression()?;
            self.expect(K::Semicolon, &[K::Semicolon])?;
            if self.at(K::Comma) {
                self.bump_as_error()?;
            }
        } else if self.at(K::Semicolon) {
            self.bump();
        }
        self.finish(K::Binding)?;
        // Every name but the last stands for a nested set.
        self.height(path.max(value.saturating_add(names)))
    }

    /// Takes the `=` of a binding. Returns whether a value may follow.
    fn assign(&mut self) -> Step<bool> {
        if self.at(K::Assign) {
            self.bump();
            return Ok(true);
        }
        self.unexpected(&[K::Dot, K::Assign])?;
        if self.at(K::Colon) {
            self.bump_as_error()?;
        } else if !self.at_operand() {
            self.skip_to_semicolon()?;
            return Ok(false);
        }
        Ok(true)
    }

    fn inherit(&mut self) -> Step<u32> {
        let mut below = 0;
        self.start(K::InheritBinding);
        self.bump();
        if self.at(K::LeftParen) {
            self.start(K::InheritFrom);
            self.bump();
            below = self.expression()?;
            self.close(K::RightParen, &[K::RightParen])?;
            self.finish(K::InheritFrom)?;
        }
        while self.at_attribute() {
            below = below.max(self.attribute()?);
        }
        self.close(K::Semicolon, &[])?;
        self.finish(K::InheritBinding)?;
        self.height(below.saturating_add(1))
    }

    /// `attrpath`. Returns the height and the number of names.
    pub(super) fn attr_path(&mut self) -> Step<(u32, u32)> {
        let mut below = 0;
        let mut names = 0;
        self.start(K::AttrPath);
        loop {
            if self.at_attribute() {
                below = below.max(self.attribute()?);
                names += 1;
            } else {
                self.unexpected(ATTRIBUTE)?;
                if self.at_keyword() && (self.is_glued() || self.peek(1) == K::Assign) {
                    self.bump_as_error()?;
                }
            }
            if !self.at(K::Dot) {
                break;
            }
            self.bump();
        }
        self.finish(K::AttrPath)?;
        Ok((self.height(below)?, names))
    }

    fn attribute(&mut self) -> Step<u32> {
        match self.current {
            K::Quote => self.string(),
            K::DollarBrace => {
                self.start(K::DynamicAttr);
                self.bump();
                let below = self.expression()?;
                self.close(K::RightBrace, &[K::RightBrace])?;
                self.finish(K::DynamicAttr)?;
                self.height(below)
            }
            _ => {
                self.start(K::Name);
                self.bump();
                self.finish(K::Name)?;
                Ok(1)
            }
        }
    }
}
