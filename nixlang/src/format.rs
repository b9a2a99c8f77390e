//! The formatter: text in the standard style of the Nix world (RFC 166), checked against the fixtures of `nixfmt`.
//!
//! Three steps: comments are attached to the tokens that they belong to (`comments.rs`), rules turn the tree into a document of texts, spaces and
//! groups (`rules.rs`), and the layout decides which spaces become line ends (`layout.rs`).
//!
//! The surprising thing: the style looks at the source in a few places. A set whose braces stood on different lines keeps them there;
//! [`FormatOptions::pure`] turns that off.

mod comments;
mod document;
mod layout;
mod rules;
#[cfg(test)]
mod tests;

use crate::syntax::error::SyntaxError;
use crate::syntax::tree::{ParseError, ParseOptions, parse};

/// What can be chosen about the style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatOptions {
    /// Characters of a line, not counting its indentation.
    pub width: usize,
    /// Spaces per level of indentation.
    pub indent: usize,
    /// Whether the result depends on what the text says alone, and not on how it was laid out.
    pub pure: bool,
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions { width: 100, indent: 2, pure: false }
    }
}

/// Why a text was not formatted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It has a syntax error; this is the first.
    #[error("{error}")]
    Syntax {
        /// What is wrong.
        error: SyntaxError,
        /// Where, in bytes.
        position: u32,
    },
    /// It cannot be parsed at all.
    #[error(transparent)]
    Text(#[from] ParseError),
    /// There is no thread to do it on.
    #[error("cannot start a thread: {message}")]
    Thread {
        /// What the system says.
        message: String,
    },
}

/// The stack for the highest trees that there are.
const STACK_BYTES: usize = 512 << 20;

/// Returns a text in the standard style, which ends with a line feed.
///
/// # Errors
/// When the text has a syntax error. What it means when evaluated is not looked at.
///
/// ```
/// use nixlang::format::{FormatOptions, format};
///
/// let text = "{lib,...}:{ a=[1 2];\n\n\n# why\nb.c = if x then 1 else 2;}";
/// assert_eq!(
///     format(text, FormatOptions::default())?,
///     "{ lib, ... }: {\n  a = [\n    1\n    2\n  ];\n\n  # why\n  b.c = if x then 1 else 2;\n}\n",
/// );
/// # Ok::<(), nixlang::format::FormatError>(())
/// ```
pub fn format(text: &str, options: FormatOptions) -> Result<String, FormatError> {
    let parsed = parse(text, ParseOptions { pipe_operators: true, ..ParseOptions::default() })?;
    if let Some(error) = parsed.errors().first() {
        return Err(FormatError::Syntax { error: error.clone(), position: error.position });
    }
    let tree = parsed.tree();
    let run = || {
        let root = tree.root();
        let comments = comments::attach(&root, text, options.pure);
        let document = document::normalise(rules::document(&root, comments));
        layout::render(&document, options)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("format".into()).stack_size(STACK_BYTES).spawn_scoped(scope, run);
        match thread {
            Ok(thread) => Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            Err(error) => Err(FormatError::Thread { message: error.to_string() }),
        }
    })
}
