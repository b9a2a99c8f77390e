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
                self.bump_as_error()?;
            }
            expected = expected_later;
        }
    }

    fn binding(&mut self) -> Step<u32> {
        self.start(K::Binding);
        let (path, names) = self.attr_path()?;
        self.expect(K::Assign, &[K::Dot, K::Assign])?;
        let value = self.expression()?;
        self.expect(K::Semicolon, &[K::Semicolon])?;
        self.finish(K::Binding)?;
        // Every name but the last stands for a nested set.
        self.height(path.max(value.saturating_add(names)))
    }

    fn inherit(&mut self) -> Step<u32> {
        let mut below = 0;
        self.start(K::InheritBinding);
        self.bump();
        if self.at(K::LeftParen) {
            self.start(K::InheritFrom);
            self.bump();
            below = self.expression()?;
            self.expect(K::RightParen, &[K::RightParen])?;
            self.finish(K::InheritFrom)?;
        }
        while self.at_attribute() {
            below = below.max(self.attribute()?);
        }
        self.expect(K::Semicolon, &[])?;
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
                self.expect(K::RightBrace, &[K::RightBrace])?;
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
