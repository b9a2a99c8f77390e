//! The lossless tree: every byte of a source text, broken or not, and a list of what is wrong.
//!
//! [`parse`] takes any text and always gives a tree whose text equals it. A [`Tree`] is plain,
//! shared, immutable data that may go to other threads; [`Tree::root`] makes a cursor over it, and
//! `ast` gives the cursor's nodes types. The library underneath is rowan, which nobody outside of
//! `syntax` sees.
//!
//! The surprising thing: dropping a tree and many ways of walking it recurse, so the height of a
//! tree is bounded ([`MAX_DEPTH`]). Text that nests deeper is kept too, as one flat error node.

mod builder;
mod node;
mod sink;

use rowan::GreenNode;

use self::sink::TreeSink;
use super::error::{SyntaxError, SyntaxErrorKind};
use super::grammar;
use super::kind::SyntaxKind;
use super::lexer::{LexOptions, lex};
use super::parser::Parser;

pub use self::node::{SyntaxElement, SyntaxNode, SyntaxText, SyntaxToken, TextRange, WalkEvent};

/// How deeply expressions may nest in a tree, chains of operators included.
///
/// A tree of this height is dropped within a megabyte of stack.
pub const MAX_DEPTH: u32 = 1000;

/// Nesting that is parsed on the caller's own stack; deeper text gets a thread with a larger one.
const SHALLOW_DEPTH: u32 = 64;

/// The stack for text that nests up to [`MAX_DEPTH`], with much to spare.
const DEEP_STACK_BYTES: usize = 64 << 20;

/// What the source may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Whether `|>` and `<|` are allowed (experimental feature `pipe-operators`).
    pub pipe_operators: bool,
    /// Whether the text is bindings, as the line editor takes them, instead of one expression.
    pub bindings: bool,
}

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A tree holds text, and these bytes are none. (The evaluator takes them.)
    #[error("source is not UTF-8: byte {position} does not belong to a character")]
    NotUtf8 {
        /// The offset of the first byte that doesn't fit.
        position: usize,
    },
    /// Positions have 32 bits.
    #[error("source of {length} bytes is too long: at most 4294967294 are possible")]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
}

/// A lossless syntax tree. Cheap to clone, and may be shared between threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(GreenNode);

impl Tree {
    /// Returns the root node, of kind [`SyntaxKind::Root`].
    pub fn root(&self) -> SyntaxNode {
        SyntaxNode::new_root(self.0.clone())
    }

    /// Returns the length of the text in bytes.
    pub fn text_len(&self) -> u32 {
        self.0.text_len().into()
    }
}

/// What was open when an error was found; the words of an explanation depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorContext {
    /// The kind of the innermost node that had begun and not ended.
    pub(super) node: SyntaxKind,
    /// Where that node starts.
    pub(super) start: u32,
    /// Where the last token before the error ends that is neither space nor comment.
    pub(super) previous_end: u32,
}

/// The result of parsing: a tree, and what is wrong with the text.
#[derive(Clone, Debug)]
pub struct Parse {
    tree: Tree,
    errors: Vec<SyntaxError>,
    /// One per error.
    pub(super) contexts: Vec<ErrorContext>,
}

impl Parse {
    /// Returns the tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the root node.
    pub fn root(&self) -> SyntaxNode {
        self.tree.root()
    }

    /// Returns what is wrong as far as the grammar can tell, in the reference's words and at the
    /// reference's positions, in the order of the text. See `explain` for better words.
    pub fn errors(&self) -> &[SyntaxError] {
        &self.errors
    }
}

/// Parses a text.
///
/// # Errors
/// Only if the text is too long for 32-bit positions; what is wrong with it otherwise is in the
/// result.
///
/// ```
/// use nixlang::syntax::tree::{parse, ParseOptions};
///
/// let source = "{ a = 1 # no semicolon\n}";
/// let parsed = parse(source, ParseOptions::default())?;
/// assert_eq!(parsed.root().to_string(), source);
/// assert_eq!(parsed.errors()[0].to_string(), "syntax error, unexpected '}', expecting ';'");
/// # Ok::<(), nixlang::syntax::tree::ParseError>(())
/// ```
pub fn parse(text: &str, options: ParseOptions) -> Result<Parse, ParseError> {
    if text.len() >= u32::MAX as usize {
        return Err(ParseError::TooLong { length: text.len() });
    }
    let shallow = parse_to_depth(text, options, SHALLOW_DEPTH);
    let is_deep = |error: &SyntaxError| error.kind == SyntaxErrorKind::TooDeep;
    if !shallow.errors.iter().any(is_deep) {
        return Ok(shallow);
    }
    let deep = std::thread::scope(|scope| {
        let run = || parse_to_depth(text, options, MAX_DEPTH);
        let thread = std::thread::Builder::new()
            .name("parser".into())
            .stack_size(DEEP_STACK_BYTES)
            .spawn_scoped(scope, run);
        thread.ok()?.join().ok()
    });
    // Without a thread the tree is right as well, but flat where it could be deep.
    Ok(deep.unwrap_or(shallow))
}

/// Parses bytes, which must be UTF-8.
///
/// # Errors
/// As [`parse`], and [`ParseError::NotUtf8`].
pub fn parse_bytes(bytes: &[u8], options: ParseOptions) -> Result<Parse, ParseError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ParseError::NotUtf8 { position: error.valid_up_to() })?;
    parse(text, options)
}

fn parse_to_depth(text: &str, options: ParseOptions, depth: u32) -> Parse {
    let lex_options = LexOptions { pipe_operators: options.pipe_operators, keep_trivia: true };
    let lexed = lex(text.as_bytes(), lex_options);
    let mut parser = Parser::new(&lexed, TreeSink::new(text), depth);
    let entry = if options.bindings { grammar::repl_bindings } else { grammar::source };
    entry(&mut parser).expect("a sink that recovers never stops the parser");
    let (green, errors, contexts) = parser.into_sink().finish();
    Parse { tree: Tree(green), errors, contexts }
}

#[cfg(test)]
mod tests;
