//! Evaluation errors: one word wide; a kind, a message, a position, and the frames that the error came through.

use std::sync::Arc;

use crate::source::Pos;

/// What an evaluation returns.
pub type EvalResult<T> = Result<T, EvalError>;

/// What went wrong, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `throw`
    Throw,
    /// `abort`
    Abort,
    /// A failed `assert`, or a file that the search path does not have.
    Assertion,
    /// A value of the wrong type.
    Type,
    /// A variable that is not defined.
    UndefinedVariable,
    /// An attribute that a set lacks.
    MissingAttribute,
    /// A value that needs itself.
    InfiniteRecursion,
    /// More nested calls than `max_call_depth` allows. Never remembered by thunks.
    CallDepth,
    /// No machine stack left. Never remembered by thunks.
    StackOverflow,
    /// Text that cannot be parsed.
    Syntax,
    /// Access that this mode of evaluation forbids.
    Restricted,
    /// Something that is not supported (yet).
    Unsupported,
    /// The host failed.
    Host,
    /// The budget of steps is used up. Never remembered by thunks.
    StepLimit,
    /// The budget of heap bytes is used up, or the machine has no more. Never remembered by thunks.
    HeapLimit,
    /// The budget of wall time is used up. Never remembered by thunks.
    TimeLimit,
    /// The evaluation was cancelled. Never remembered by thunks.
    Cancelled,
    /// The host was interrupted. Never remembered by thunks.
    Interrupted,
    /// The host failed in a way that may pass. Never remembered by thunks.
    Recoverable,
    /// An output is being built in the background ([`Evaluator::interleaved`](super::Evaluator::interleaved)). Never remembered by thunks.
    Waiting,
    /// Everything else.
    Evaluation,
}

/// Expressions of a cycle that are kept.
const MAX_CYCLE: usize = 50;

/// A frame of a trace.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where.
    pub pos: Pos,
    /// What was being done there, e.g. `while calling the 'map' builtin`.
    pub message: Arc<str>,
    /// Whether it is shown without `--show-trace` too (`addErrorContext`).
    pub always: bool,
}

/// The error itself, without its trace.
#[derive(Clone, Debug)]
pub struct ErrorData {
    /// What went wrong, for programs.
    pub kind: ErrorKind,
    /// What went wrong, for people. May have several lines.
    pub message: String,
    /// Where.
    pub pos: Pos,
    /// Names that may have been meant, best first.
    pub suggestions: Vec<String>,
    /// Of an infinite recursion: where the expressions stand that need each other.
    pub cycle: Vec<Pos>,
    /// The value that needs itself, until the way is back at it.
    pub(crate) needs_itself: Option<usize>,
    /// Exit status that a command should end with, if not 1.
    pub exit_status: u8,
}

/// An evaluation error. Cheap to clone; adding a frame does not copy the others.
#[derive(Clone, Debug)]
pub struct EvalError(Arc<Node>);

const _: () = assert!(size_of::<EvalError>() == size_of::<usize>());

#[derive(Debug)]
struct Node {
    data: Arc<ErrorData>,
    frame: Option<Frame>,
    inner: Option<EvalError>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // A trace may have a hundred thousand frames: not by recursion.
        let mut next = self.inner.take();
        while let Some(EvalError(node)) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.inner.take());
        }
    }
}

impl EvalError {
    /// Returns an error without a position.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let data = ErrorData { kind, message: message.into(), pos: Pos::NONE, suggestions: Vec::new(), cycle: Vec::new(), needs_itself: None, exit_status: 1 };
        Self::from_data(data)
    }

    /// Returns an error of these data.
    #[cold]
    pub fn from_data(data: ErrorData) -> Self {
        EvalError(Arc::new(Node { data: Arc::new(data), frame: None, inner: None }))
    }

    fn map_data(self, change: impl FnOnce(&mut ErrorData)) -> Self {
        let mut data = (*self.0.data).clone();
        change(&mut data);
        let data = Arc::new(data);
        let mut frames: Vec<Frame> = self.frames().cloned().collect();
        let mut error = EvalError(Arc::new(Node { data, frame: None, inner: None }));
        while let Some(frame) = frames.pop() {
            error = error.push(frame);
        }
        error
    }

    /// Returns the error with a position, unless it has one.
    #[cold]
    pub fn at(self, pos: Pos) -> Self {
        if self.data().pos.is_some() || !pos.is_some() { self } else { self.map_data(|data| data.pos = pos) }
    }

    /// Returns the error with names that may have been meant.
    #[cold]
    pub fn suggest(self, suggestions: Vec<String>) -> Self {
        self.map_data(|data| data.suggestions = suggestions)
    }

    /// Returns the error of a value that needs itself; `identity` tells it from others.
    #[cold]
    pub(crate) fn infinite_recursion(identity: usize) -> Self {
        let error = Self::new(ErrorKind::InfiniteRecursion, "infinite recursion encountered");
        error.map_data(|data| data.needs_itself = Some(identity))
    }

    /// Returns the error with one more expression of the cycle, unless that is complete.
    #[cold]
    pub(crate) fn in_cycle(self, identity: usize, place: Pos) -> Self {
        let Some(wanted) = self.data().needs_itself else { return self };
        self.map_data(|data| {
            if place.is_some() && data.cycle.len() < MAX_CYCLE {
                data.cycle.push(place);
            }
            if identity == wanted || data.cycle.len() >= MAX_CYCLE {
                data.needs_itself = None;
            }
        })
    }

    fn push(self, frame: Frame) -> Self {
        EvalError(Arc::new(Node { data: self.0.data.clone(), frame: Some(frame), inner: Some(self) }))
    }

    /// Returns the error with one more frame around it.
    #[cold]
    pub fn while_(self, pos: Pos, message: impl Into<Arc<str>>) -> Self {
        self.push(Frame { pos, message: message.into(), always: false })
    }

    /// Returns the error with one more frame around it, which is always shown.
    #[cold]
    pub fn while_always(self, pos: Pos, message: impl Into<Arc<str>>) -> Self {
        self.push(Frame { pos, message: message.into(), always: true })
    }

    /// Returns whether both are the same failure, whatever frames they have.
    pub(crate) fn is_same(&self, other: &EvalError) -> bool {
        Arc::ptr_eq(&self.0.data, &other.0.data)
    }

    /// Returns what the error is.
    pub fn data(&self) -> &ErrorData {
        &self.0.data
    }

    /// Returns what went wrong, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.data().kind
    }

    /// Returns the frames, outermost first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let node = next?;
            next = node.0.inner.as_ref();
            Some(node.0.frame.as_ref())
        })
        .flatten()
    }

    /// Returns whether `builtins.tryEval` catches it.
    pub fn is_catchable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Throw | ErrorKind::Assertion)
    }

    /// Returns whether a thunk may remember it.
    pub fn is_permanent(&self) -> bool {
        use ErrorKind::*;
        !matches!(self.kind(), CallDepth | StackOverflow | StepLimit | HeapLimit | TimeLimit | Cancelled | Interrupted | Recoverable | Waiting)
    }
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.data().message)
    }
}

impl std::error::Error for EvalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_trace_is_dropped_without_recursion() {
        let mut error = EvalError::new(ErrorKind::Throw, "x");
        for _ in 0..1_000_000 {
            error = error.while_(Pos(1), "y");
        }
        let (first, second) = (error.clone(), error.at(Pos(7)));
        assert_eq!(second.frames().count(), 1_000_000);
        drop(first);
        assert_eq!(second.data().pos, Pos(7));
    }
}
