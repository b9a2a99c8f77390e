//! What can be wrong with a source text: what the grammar says, and what it can't say.

use super::lint::Lint;
use crate::source::Pos;
use crate::syntax::error::SyntaxErrorKind;

/// An error of a source text, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct LowerError {
    /// What is wrong.
    pub kind: LowerErrorKind,
    /// Where.
    pub pos: Pos,
}

/// What is wrong with a source text. The words are the reference's; positions that it mentions
/// within a message are put where `Display` leaves them out ([`LowerErrorKind::previous`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerErrorKind {
    /// The grammar's objection.
    #[error("{0}")]
    Syntax(SyntaxErrorKind),
    /// A name that is bound twice in one set or `let`.
    #[error("attribute '{path}' already defined at ")]
    DuplicateAttribute {
        /// The attribute path.
        path: String,
        /// Where it was defined before.
        previous: Pos,
    },
    /// A name that occurs twice in a pattern.
    #[error("duplicate formal function argument '{name}'")]
    DuplicateFormal {
        /// The name.
        name: String,
    },
    /// `let ${e} = …`.
    #[error("dynamic attributes not allowed in let")]
    DynamicInLet,
    /// `inherit ${e}`.
    #[error("dynamic attributes not allowed in inherit")]
    DynamicInInherit,
    /// A variable that nothing defines.
    #[error("undefined variable '{name}'")]
    UndefinedVariable {
        /// The name.
        name: String,
        /// Names in scope that may have been meant, best first.
        suggestions: Vec<String>,
    },
    /// A lint that refuses what it speaks of.
    #[error("{0}")]
    Lint(Lint),
    /// A path under `~` in pure evaluation.
    #[error("the path '{path}' can not be resolved in pure mode")]
    HomeInPureMode {
        /// The path as written.
        path: String,
    },
    /// A path under `~`, and no home directory.
    #[error("the path '{path}' can not be resolved without a home directory")]
    NoHome {
        /// The path as written.
        path: String,
    },
}

impl LowerErrorKind {
    /// Returns the position that belongs at the end of the message.
    pub fn previous(&self) -> Option<Pos> {
        match self {
            LowerErrorKind::DuplicateAttribute { previous, .. } => Some(*previous),
            _ => None,
        }
    }
}
