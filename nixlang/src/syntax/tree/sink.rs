//! The parser's sink that builds a green tree.
//!
//! The surprising thing: tokens are cut at bytes and text at characters, so the end of a token is
//! moved to the end of its character if it lies within one. That keeps every byte whatever the
//! lexer does.

use rowan::GreenNode;

use super::ErrorContext;
use super::builder::Builder;
use crate::syntax::error::SyntaxError;
use crate::syntax::kind::SyntaxKind;
use crate::syntax::lexer::Token;
use crate::syntax::parser::{Sink, Step};

/// Builds a tree from what the parser finds.
pub(super) struct TreeSink<'s> {
    text: &'s str,
    builder: Builder<'s>,
    /// How much of the text is in the tree.
    sent: usize,
    /// Where the last token ends that isn't trivia.
    previous_end: u32,
    /// Kind and start of the nodes that have begun and not ended.
    open: Vec<(SyntaxKind, u32)>,
    errors: Vec<SyntaxError>,
    contexts: Vec<ErrorContext>,
}

impl<'s> TreeSink<'s> {
    pub(super) fn new(text: &'s str) -> TreeSink<'s> {
        TreeSink {
            text,
            builder: Builder::new(text.len()),
            sent: 0,
            previous_end: 0,
            open: Vec::new(),
            errors: Vec::new(),
            contexts: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (GreenNode, Vec<SyntaxError>, Vec<ErrorContext>) {
        (self.builder.build(), self.errors, self.contexts)
    }
}

impl Sink for TreeSink<'_> {
    type Checkpoint = (usize, u32);

    const RECOVER: bool = true;

    fn token(&mut self, token: Token) {
        let end = self.text.ceil_char_boundary(token.end as usize);
        if end <= self.sent {
            return;
        }
        self.builder.token(token.kind, &self.text[self.sent..end]);
        self.sent = end;
        if !token.kind.is_trivia() {
            self.previous_end = end as u32;
        }
    }

    fn checkpoint(&mut self, position: u32) -> (usize, u32) {
        (self.builder.checkpoint(), position)
    }

    fn start(&mut self, kind: SyntaxKind, position: u32) {
        self.open.push((kind, position));
        self.builder.start(kind);
    }

    fn start_at(&mut self, (checkpoint, position): (usize, u32), kind: SyntaxKind) {
        self.open.push((kind, position));
        self.builder.start_at(checkpoint, kind);
    }

    fn finish(&mut self, _: SyntaxKind) -> Step {
        self.open.pop();
        self.builder.finish();
        Ok(())
    }

    fn error(&mut self, error: SyntaxError) {
        let (node, start) = self.open.last().copied().unwrap_or((SyntaxKind::Root, 0));
        self.errors.push(error);
        self.contexts.push(ErrorContext { node, start, previous_end: self.previous_end });
    }
}
