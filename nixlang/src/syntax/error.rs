//! What can be wrong with a source text as far as the grammar can tell.
//!
//! The words are those of the reference, including bison's `syntax error, unexpected …,
//! expecting …`: tools and tests know them.

use std::fmt;

use super::kind::SyntaxKind;

/// A syntax error and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SyntaxError {
    /// What is wrong.
    pub kind: SyntaxErrorKind,
    /// The byte offset that the error points at.
    pub position: u32,
}

/// What is wrong with a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// A token that can't stand here.
    Unexpected {
        /// The token's kind.
        found: SyntaxKind,
        /// What could stand here, if that is at most four kinds of token; otherwise empty.
        expected: &'static [SyntaxKind],
    },
    /// An integer that is larger than 2^63 - 1.
    InvalidInteger {
        /// The digits.
        text: String,
    },
    /// A float that is too large or too small.
    InvalidFloat {
        /// The number as written.
        text: String,
    },
    /// `|>` or `<|` without the experimental feature.
    PipeOperatorsDisabled,
    /// A path that ends in a slash.
    PathTrailingSlash,
    /// A string with a NUL byte.
    NulInString {
        /// The string, NUL shown as `␀`.
        text: Vec<u8>,
    },
    /// Expressions nested deeper than the limit.
    TooDeep,
}

impl fmt::Display for SyntaxErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxErrorKind::Unexpected { found, expected } => {
                write!(f, "syntax error, unexpected {}", found.name())?;
                for (index, kind) in expected.iter().enumerate() {
                    let separator = if index == 0 { ", expecting" } else { " or" };
                    write!(f, "{separator} {}", kind.name())?;
                }
                Ok(())
            }
            SyntaxErrorKind::InvalidInteger { text } => write!(f, "invalid integer '{text}'"),
            SyntaxErrorKind::InvalidFloat { text } => write!(f, "invalid float '{text}'"),
            SyntaxErrorKind::PipeOperatorsDisabled => f.write_str(
                "experimental Nix feature 'pipe-operators' is disabled; \
                 add '--extra-experimental-features pipe-operators' to enable it",
            ),
            SyntaxErrorKind::PathTrailingSlash => f.write_str("path has a trailing slash"),
            SyntaxErrorKind::NulInString { text } => write!(
                f,
                "input string '{}' cannot be represented as Nix string because it contains null bytes",
                String::from_utf8_lossy(text)
            ),
            SyntaxErrorKind::TooDeep => {
                f.write_str("stack overflow: expressions are nested too deeply")
            }
        }
    }
}
