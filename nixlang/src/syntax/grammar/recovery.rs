//! How the grammar goes on after an error, for sinks that recover.
//!
//! Nothing here is reached without an error, so it can't change what right text means. What is
//! skipped is taken with its brackets, and what ends something around is never skipped.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

impl<S: Sink> Parser<'_, S> {
    /// Returns whether the current token ends something around.
    pub(super) fn at_stopper(&self) -> bool {
        matches!(
            self.current,
            K::Eof
                | K::RightParen
                | K::RightBrace
                | K::RightBracket
                | K::Semicolon
                | K::Comma
                | K::Then
                | K::Else
                | K::In
                | K::Quote
                | K::IndStringClose
                | K::StringContent
                | K::IndStringContent
                | K::IndStringEscape
                | K::PathContent
                | K::PathEnd
                | K::DollarBrace
        )
    }

    /// Returns whether the current token is a keyword.
    pub(super) fn at_keyword(&self) -> bool {
        matches!(
            self.current,
            K::If | K::Then | K::Else | K::Assert | K::With | K::Let | K::In | K::Rec | K::Inherit
        )
    }

    /// Takes the token that ends the current node, or reports that it is missing and looks for it
    /// up to what ends something around.
    pub(super) fn close(&mut self, end: SyntaxKind, expected: &'static [SyntaxKind]) -> Step {
        if !self.at(end) {
            self.unexpected(expected)?;
            self.skip_to(end)?;
            if !self.at(end) {
                return Ok(());
            }
        }
        self.bump();
        Ok(())
    }

    /// Skips the rest of a binding.
    pub(super) fn skip_to_semicolon(&mut self) -> Step {
        self.skip_to(K::Semicolon)
    }

    /// Skips tokens up to one of kind `end`, or one that ends something around.
    fn skip_to(&mut self, end: SyntaxKind) -> Step {
        if self.at(end) || self.ends_skipping() {
            return Ok(());
        }
        self.start(K::ErrorNode);
        let mut depth = 0_u32;
        while !self.at(K::Eof) && (depth > 0 || !(self.at(end) || self.ends_skipping())) {
            match self.current {
                K::LeftParen | K::LeftBracket | K::LeftBrace | K::DollarBrace => depth += 1,
                K::RightParen | K::RightBracket | K::RightBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.bump();
        }
        self.finish(K::ErrorNode)
    }

    /// Returns whether the current token ends something around what is skipped.
    fn ends_skipping(&self) -> bool {
        match self.current {
            // Where a comma ends something, nothing is skipped.
            K::Comma => false,
            // Strings in what is skipped are skipped as well.
            K::Quote | K::StringContent | K::IndStringContent | K::IndStringEscape => false,
            K::IndStringClose | K::PathContent | K::PathEnd | K::DollarBrace => false,
            _ => self.at_stopper(),
        }
    }
}
