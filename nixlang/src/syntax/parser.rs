//! The token cursor that the grammar works with, and the [`Sink`] that takes what it finds.
//!
//! There is one grammar (`grammar.rs`) and two sinks. The one for evaluation builds a compact tree
//! in an arena and stops at the first error; the one for tools builds a lossless tree and goes on.
//!
//! The surprising thing: a checkpoint stands *before* the trivia-free position of the next token,
//! so `start_at` wraps what has been sent since without taking in the whitespace before it.

use super::error::{SyntaxError, SyntaxErrorKind};
use super::kind::SyntaxKind;
use super::lexer::{Lexed, Token};

/// The parser has been told to stop; the reason is in the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// What a step of the parser returns.
pub type Step<T = ()> = Result<T, Stop>;

/// Takes tokens and nodes in source order.
///
/// Calls nest: every `start` or `start_at` is matched by one `finish` with the same kind, unless a
/// step returned [`Stop`], after which nothing more is called.
///
/// **Trivia** (see [`SyntaxKind::is_trivia`]) arrive through `token` like all others, if the source
/// was lexed with `keep_trivia`; they are sent as late as possible, that is just before the next
/// token, `start` or `checkpoint`, so nodes neither begin nor end with trivia (but `Root` does
/// hold the last ones). Tokens without text are never sent.
///
/// **Errors** arrive when the offending token is looked at, before it is sent. With `RECOVER` at
/// most one error is sent per token; tokens that fit nowhere then come within an
/// [`SyntaxKind::ErrorNode`], and a missing operand is an empty one.
pub trait Sink {
    /// Marks a place where a node may begin later.
    type Checkpoint: Copy;

    /// Whether to go on after an error. If not, the parser stops at the first.
    const RECOVER: bool;

    /// Takes a token.
    fn token(&mut self, token: Token);

    /// Returns a mark for the place before the next token, which starts at `position`.
    fn checkpoint(&mut self, position: u32) -> Self::Checkpoint;

    /// Begins a node whose first token starts at `position`.
    fn start(&mut self, kind: SyntaxKind, position: u32);

    /// Begins a node at an earlier checkpoint; complete nodes and tokens sent since are its first
    /// children.
    fn start_at(&mut self, checkpoint: Self::Checkpoint, kind: SyntaxKind);

    /// Ends the innermost node.
    ///
    /// # Errors
    /// [`Stop`] if the node is wrong in a way that only the sink can see, and parsing should end.
    fn finish(&mut self, kind: SyntaxKind) -> Step;

    /// Takes an error.
    fn error(&mut self, error: SyntaxError);
}

/// A cursor over tokens that feeds a sink.
#[derive(Debug)]
pub struct Parser<'s, S: Sink> {
    lexed: &'s Lexed,
    /// The index of the current token, which is never trivia.
    index: usize,
    /// The index of the first token that hasn't been sent.
    unsent: usize,
    pub(super) current: SyntaxKind,
    pub(super) sink: S,
    depth: u32,
    limit: u32,
    /// One more than the index of the token that the last error was about.
    last_error: usize,
}

impl<'s, S: Sink> Parser<'s, S> {
    /// Returns a parser at the first token.
    ///
    /// `limit` bounds both the depth of recursion and the height of the tree.
    pub fn new(lexed: &'s Lexed, sink: S, limit: u32) -> Parser<'s, S> {
        let mut parser = Parser {
            lexed,
            index: 0,
            unsent: 0,
            current: SyntaxKind::Eof,
            sink,
            depth: 0,
            limit,
            last_error: 0,
        };
        parser.settle();
        parser
    }

    /// Returns the sink.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// Moves to the next token that isn't trivia.
    fn settle(&mut self) {
        loop {
            let kind = self.lexed.tokens[self.index].kind;
            if !kind.is_trivia() {
                self.current = kind;
                return;
            }
            self.index += 1;
        }
    }

    /// Returns the kind of the token that is `ahead` tokens after the current one.
    pub(super) fn peek(&self, ahead: usize) -> SyntaxKind {
        let mut left = ahead;
        for token in &self.lexed.tokens[self.index..] {
            if token.kind == SyntaxKind::Eof {
                break;
            }
            if token.kind.is_trivia() {
                continue;
            }
            if left == 0 {
                return token.kind;
            }
            left -= 1;
        }
        SyntaxKind::Eof
    }

    pub(super) fn at(&self, kind: SyntaxKind) -> bool {
        self.current == kind
    }

    /// Returns whether nothing stands between the current token and the one before.
    pub(super) fn is_glued(&self) -> bool {
        self.unsent == self.index
    }

    fn position(&self) -> u32 {
        self.lexed.tokens[self.index].start
    }

    fn send_trivia(&mut self) {
        while self.unsent < self.index {
            self.sink.token(self.lexed.tokens[self.unsent]);
            self.unsent += 1;
        }
    }

    /// Sends the current token and moves on. Must not be called at the end.
    pub(super) fn bump(&mut self) {
        self.send_trivia();
        let token = self.lexed.tokens[self.index];
        if token.end > token.start {
            self.sink.token(token);
        }
        self.index += 1;
        self.unsent = self.index;
        self.settle();
    }

    pub(super) fn checkpoint(&mut self) -> S::Checkpoint {
        self.send_trivia();
        self.sink.checkpoint(self.position())
    }

    pub(super) fn start(&mut self, kind: SyntaxKind) {
        self.send_trivia();
        self.sink.start(kind, self.position());
    }

    /// Begins the root, which holds the first trivia too.
    pub(super) fn start_root(&mut self) {
        self.sink.start(SyntaxKind::Root, 0);
    }

    pub(super) fn start_at(&mut self, checkpoint: S::Checkpoint, kind: SyntaxKind) {
        self.sink.start_at(checkpoint, kind);
    }

    pub(super) fn finish(&mut self, kind: SyntaxKind) -> Step {
        self.sink.finish(kind)
    }

    /// Sends all that is left, so that the tree covers the whole text.
    pub(super) fn finish_root(&mut self) -> Step {
        while let Some(&token) = self.lexed.tokens.get(self.unsent) {
            if token.end > token.start {
                self.sink.token(token);
            }
            self.unsent += 1;
        }
        self.sink.finish(SyntaxKind::Root)
    }

    /// Reports that the current token is none of `expected` (empty if there are too many to list).
    pub(super) fn unexpected(&mut self, expected: &'static [SyntaxKind]) -> Step {
        if self.last_error == self.index + 1 {
            return Ok(());
        }
        self.last_error = self.index + 1;
        let rejected = match self.current {
            SyntaxKind::Error => self
                .lexed
                .errors
                .iter()
                .find(|error| error.token == self.index),
            _ => None,
        };
        let error = match rejected {
            Some(rejected) => rejected.error.clone(),
            None => SyntaxError {
                kind: SyntaxErrorKind::Unexpected {
                    found: self.current,
                    expected,
                },
                position: match self.current {
                    SyntaxKind::Eof => self.lexed.end_position,
                    SyntaxKind::PathEnd => self.path_end_position(),
                    _ => self.position(),
                },
            },
        };
        self.report(error)
    }

    /// Returns where the reference says that the end of a path is: at the path's last part, or,
    /// where the input ends too, at the one before.
    fn path_end_position(&self) -> u32 {
        let ends_input = self.lexed.tokens.get(self.index + 1).is_some_and(|next| {
            next.kind == SyntaxKind::Eof && next.start == self.position()
        });
        let back = if ends_input { 2 } else { 1 };
        self.lexed.tokens[self.index.saturating_sub(back)].start
    }

    fn report(&mut self, error: SyntaxError) -> Step {
        self.sink.error(error);
        if S::RECOVER { Ok(()) } else { Err(Stop) }
    }

    /// Takes a token of this kind or reports that it is missing.
    pub(super) fn expect(&mut self, kind: SyntaxKind, expected: &'static [SyntaxKind]) -> Step {
        if self.current == kind {
            self.bump();
            return Ok(());
        }
        self.unexpected(expected)
    }

    /// Sends the current token within an error node.
    pub(super) fn bump_as_error(&mut self) -> Step {
        self.start(SyntaxKind::ErrorNode);
        self.bump();
        self.finish(SyntaxKind::ErrorNode)
    }

    /// Counts one level of recursion; [`Parser::leave`] is its end. Returns false if there is no
    /// room for it, which has been reported then.
    pub(super) fn enter(&mut self) -> Step<bool> {
        if self.depth >= self.limit {
            self.too_deep()?;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Returns the height of a node above children of height `below`, if that is allowed.
    pub(super) fn height(&mut self, below: u32) -> Step<u32> {
        if below >= self.limit {
            self.too_deep()?;
        }
        Ok(below + 1)
    }

    /// Reports that the nesting is too deep. A recovering sink gets the rest as one error node.
    fn too_deep(&mut self) -> Step {
        let position = self.position();
        if self.last_error <= self.index || self.current != SyntaxKind::Eof {
            self.report(SyntaxError {
                kind: SyntaxErrorKind::TooDeep,
                position,
            })?;
        }
        self.start(SyntaxKind::ErrorNode);
        while self.current != SyntaxKind::Eof {
            self.bump();
        }
        self.last_error = self.index + 1;
        self.finish(SyntaxKind::ErrorNode)
    }
}
