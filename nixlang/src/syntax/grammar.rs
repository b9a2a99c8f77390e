//! The grammar: one function per production.
//!
//! Each function returns the height of the tree that it has sent, which is bounded, so that whoever
//! walks a tree recursively knows how deep that can be. `x` in `self.unexpected(x)` is what bison
//! would list as expected in the same state of the reference's parser: at most four kinds, in the
//! order in which its tokens are declared, and nothing if there are more.
//!
//! The surprising thing: with a sink that recovers, `unexpected` returns `Ok` and the production
//! goes on as if the missing thing were there. A loop must therefore take a token in every round
//! or end.

mod atoms;
mod bindings;
mod expressions;
mod patterns;
mod recovery;
mod strings;

use super::kind::SyntaxKind;
use super::parser::{Parser, Sink, Step};

/// Parses a whole source, one expression.
///
/// # Errors
/// [`Stop`](super::parser::Stop) if the sink doesn't recover and there was an error; it has it.
pub fn source<S: Sink>(parser: &mut Parser<'_, S>) -> Step {
    parser.start_root();
    parser.expression()?;
    end(parser)
}

/// Parses what the line editor takes besides expressions: one or more bindings.
///
/// # Errors
/// As [`source`].
pub fn repl_bindings<S: Sink>(parser: &mut Parser<'_, S>) -> Step {
    parser.start_root();
    if parser.at(SyntaxKind::Eof) {
        parser.unexpected(&[SyntaxKind::Inherit])?;
    }
    parser.bindings(SyntaxKind::Eof, &[SyntaxKind::Inherit], &[SyntaxKind::Eof])?;
    end(parser)
}

fn end<S: Sink>(parser: &mut Parser<'_, S>) -> Step {
    if !parser.at(SyntaxKind::Eof) {
        parser.unexpected(&[SyntaxKind::Eof])?;
        parser.start(SyntaxKind::ErrorNode);
        while !parser.at(SyntaxKind::Eof) {
            parser.bump();
        }
        parser.finish(SyntaxKind::ErrorNode)?;
    }
    parser.finish_root()
}

#[cfg(test)]
mod tests;
