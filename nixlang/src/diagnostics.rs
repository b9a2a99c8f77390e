//! Errors and warnings as plain data: what happened, where, on which way, and what may have been meant. They outlive the evaluation that they
//! come from. How they look is chosen by who shows them, see [`render`](render()).

mod excerpt;
mod filter;
mod json;
mod reference;
mod render;
mod rich;
mod span;

pub use filter::filter_escapes;
pub use render::{RenderOptions, Style, render, render_bytes};
pub(crate) use span::source_text;

use crate::eval::{ErrorKind, EvalError};
use crate::source::{Location, SourceMap};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The result is there, but something about it is doubtful.
    Warning,
    /// As [`Severity::Warning`], but the expression itself says so (`builtins.warn`).
    EvaluationWarning,
    /// There is no result.
    Error,
}

/// A step on the way to an error.
#[derive(Clone, Debug)]
pub struct TraceFrame {
    /// What was being done, e.g. `while calling the 'map' builtin`.
    pub message: String,
    /// Where, if that is known.
    pub place: Option<Location>,
    /// Whether it is shown in short traces too.
    pub always: bool,
}

/// An error or a warning.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What went wrong, for programs; stable words such as `undefined-variable`. None for what does not come from an evaluation.
    pub code: Option<&'static str>,
    /// What went wrong, for people. May have several lines.
    pub message: String,
    /// Where, if that is known.
    pub place: Option<Location>,
    /// The way to the error, outermost step first.
    pub trace: Vec<TraceFrame>,
    /// Names that may have been meant, best first.
    pub suggestions: Vec<String>,
    /// Of an infinite recursion: the expressions that need each other, each needed by the one after it, and the first needed by the last. As far as they
    /// have places.
    pub cycle: Vec<Location>,
    /// What a command that ends with this should have as its exit status.
    pub exit_status: u8,
}

impl Diagnostic {
    /// Returns an error with nothing but a message.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: None,
            message: message.into(),
            place: None,
            trace: Vec::new(),
            suggestions: Vec::new(),
            cycle: Vec::new(),
            exit_status: 1,
        }
    }

    /// Returns a warning with nothing but a message.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, exit_status: 0, ..Diagnostic::error(message) }
    }

    /// Returns an evaluation's error with its places worked out. `sources` must be those of the same evaluator.
    ///
    /// ```
    /// use nixlang::diagnostics::{Diagnostic, RenderOptions, render};
    /// use nixlang::eval::{EvalOptions, session};
    /// use nixlang::host::MemoryHost;
    /// use nixlang::source::Origin;
    ///
    /// let diagnostic = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
    ///     let error = eval.eval_text(b"x: y", Origin::String, b"/").expect_err("y is not defined");
    ///     Diagnostic::from_error(&error, &eval.sources)
    /// })?;
    /// assert_eq!(diagnostic.message, "undefined variable 'y'");
    /// let text = render(&diagnostic, &RenderOptions::default());
    /// assert!(text.starts_with("error: undefined variable 'y'\n       at «string»:1:4:\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_error(error: &EvalError, sources: &SourceMap) -> Diagnostic {
        let data = error.data();
        let frames = error.frames().map(|frame| TraceFrame {
            message: frame.message.to_string(),
            place: sources.locate_shown(frame.pos),
            always: frame.always,
        });
        Diagnostic {
            code: Some(code(data.kind)),
            message: data.message.clone(),
            place: sources.locate_shown(data.pos),
            trace: frames.collect(),
            suggestions: data.suggestions.clone(),
            cycle: data.cycle.iter().filter_map(|pos| sources.locate_shown(*pos)).collect(),
            exit_status: data.exit_status,
            ..Diagnostic::error("")
        }
    }

    /// Returns everything about it as JSON, for tools: `severity`, `code`, `message`, `place` (`origin`, `path`, `line`, `column`, `length`), `suggestions`,
    /// `syntaxErrors`, `cycle`, `trace` and `exitStatus`.
    pub fn to_json(&self) -> serde_json::Value {
        json::render(self)
    }

    /// Returns `Did you mean a?` or `Did you mean one of a, b or c?`; nothing if there is no name.
    pub fn hint(&self) -> Option<String> {
        let (last, others) = self.suggestions.split_last()?;
        if others.is_empty() {
            return Some(format!("Did you mean {last}?"));
        }
        Some(format!("Did you mean one of {} or {last}?", others.join(", ")))
    }
}

/// Returns those of `names` that `wanted` may have been meant to be, best first.
pub fn near_names<'n>(wanted: &[u8], names: impl IntoIterator<Item = &'n [u8]>) -> Vec<String> {
    let near = crate::text::suggestions::nearest(wanted, names);
    near.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Returns the stable word for a kind of error.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Throw => "throw",
        ErrorKind::Abort => "abort",
        ErrorKind::Assertion => "assertion",
        ErrorKind::Type => "type",
        ErrorKind::UndefinedVariable => "undefined-variable",
        ErrorKind::MissingAttribute => "missing-attribute",
        ErrorKind::InfiniteRecursion => "infinite-recursion",
        ErrorKind::CallDepth => "call-depth",
        ErrorKind::StackOverflow => "stack-overflow",
        ErrorKind::Syntax => "syntax",
        ErrorKind::Restricted => "restricted",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Host => "host",
        ErrorKind::StepLimit => "step-limit",
        ErrorKind::HeapLimit => "heap-limit",
        ErrorKind::TimeLimit => "time-limit",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Recoverable => "recoverable",
        ErrorKind::Waiting => "waiting",
        ErrorKind::Evaluation => "evaluation",
    }
}

impl std::fmt::Display for Diagnostic {
    /// Writes the message alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}
