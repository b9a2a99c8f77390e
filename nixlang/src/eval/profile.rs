//! A profiler: samples of the stack of calls in the folded form that flame graph tools read, and counts and allocations of every function.
//!
//! The surprising part is in the reference's format: a frame is named by the place of the call rather than by that of the function, and only where that
//! is unknown (calls by builtins) by the latter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::observe::{Call, Callee, Observer};
use super::{EvalError, EvalResult, Evaluator};
use crate::heap::Kind;
use crate::source::Pos;

/// A frame of a stack: what was called, and where from. Of `derivationStrict`, with the derivation's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Frame {
    callee: Callee,
    pos: Pos,
    derivation: Option<String>,
}

/// What is known of one function.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct FunctionProfile {
    /// How often it was called.
    pub calls: u64,
    /// Heap bytes allocated while it ran, without those of the calls within.
    pub own_bytes: u64,
    /// Heap bytes allocated while it ran. Calls of itself within count once.
    pub total_bytes: u64,
}

/// See the file's comment. Give it to [`Evaluator::set_observer`] and keep a reference.
///
/// ```
/// use std::rc::Rc;
/// use nixlang::eval::{EvalOptions, Profiler, session};
/// use nixlang::host::MemoryHost;
/// use nixlang::source::Origin;
///
/// let folded = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
///     let profiler = Rc::new(Profiler::every_call());
///     eval.set_observer(Some(profiler.clone()));
///     eval.eval_text(b"let f = x: builtins.head x; in f [ 1 ]", Origin::String, b"/").expect("it evaluates");
///     profiler.folded(eval)
/// })?;
/// assert_eq!(folded, "«string»:1:32:f 1\n«string»:1:32:f;«string»:1:12:primop head 1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Profiler {
    /// Time between samples; zero for one at every call.
    period: Duration,
    state: RefCell<State>,
}

struct State {
    stack: Vec<Frame>,
    /// Per frame of the stack: heap bytes when it began, and bytes that calls within it took.
    bytes: Vec<(usize, usize)>,
    samples: BTreeMap<Vec<Frame>, u64>,
    functions: BTreeMap<Callee, FunctionProfile>,
    last: Option<Instant>,
}

impl Profiler {
    /// Returns a profiler that takes a sample at every call.
    pub fn every_call() -> Profiler {
        Profiler::every(Duration::ZERO)
    }

    /// Returns a profiler that takes a sample at the first call after every `period`, by the host's clock.
    pub fn every(period: Duration) -> Profiler {
        let state = State { stack: Vec::new(), bytes: Vec::new(), samples: BTreeMap::new(), functions: BTreeMap::new(), last: None };
        Profiler { period, state: RefCell::new(state) }
    }

    /// Returns the samples: a line per stack, outermost frame first, with how often it was seen.
    pub fn folded(&self, eval: &Evaluator<'_>) -> String {
        let state = self.state.borrow();
        let mut text = String::new();
        for (stack, count) in &state.samples {
            let frames: Vec<String> = stack.iter().map(|frame| show_frame(eval, frame)).collect();
            text.push_str(&format!("{} {count}\n", frames.join(";")));
        }
        text
    }

    /// Returns every function that was called, in no particular order but always the same.
    pub fn functions(&self) -> Vec<(Callee, FunctionProfile)> {
        self.state.borrow().functions.iter().map(|(callee, profile)| (*callee, *profile)).collect()
    }

    /// Returns a table of the functions that allocated most, for people: calls, own bytes, total bytes, name and place.
    pub fn table(&self, eval: &Evaluator<'_>, most: usize) -> String {
        let mut functions = self.functions();
        functions.sort_by_key(|(callee, profile)| (std::cmp::Reverse(profile.own_bytes), *callee));
        let mut text = format!("{:>12} {:>14} {:>14}  function\n", "calls", "own bytes", "total bytes");
        for (callee, profile) in functions.iter().take(most) {
            let name = show_callee(eval, *callee);
            text.push_str(&format!("{:>12} {:>14} {:>14}  {name}\n", profile.calls, profile.own_bytes, profile.total_bytes));
        }
        text
    }
}

/// Returns a callee's name, and place if it has one.
pub(super) fn show_callee(eval: &Evaluator<'_>, callee: Callee) -> String {
    match callee {
        Callee::Lambda(Some(name), pos) => format!("{} at {}", eval.text(name), eval.show_pos(pos)),
        Callee::Lambda(None, pos) => format!("anonymous lambda at {}", eval.show_pos(pos)),
        Callee::Builtin(name) => format!("builtin {}", eval.text(name)),
        Callee::Functor(pos) => format!("functor at {}", eval.show_pos(pos)),
        Callee::Other => "not a function".into(),
    }
}

fn show_frame(eval: &Evaluator<'_>, frame: &Frame) -> String {
    let place = |own: Pos| eval.show_pos(frame.pos.or(own));
    match frame.callee {
        Callee::Lambda(name, own) => {
            let place = place(own);
            // As it is written, not quoted.
            name.map_or(place.clone(), |name| format!("{place}:{}", String::from_utf8_lossy(eval.symbols.text(name))))
        }
        Callee::Builtin(name) => {
            let name = String::from_utf8_lossy(eval.symbols.text(name));
            let place = if frame.pos.is_some() { format!("{}:", eval.show_pos(frame.pos)) } else { String::new() };
            match &frame.derivation {
                Some(derivation) => format!("{place}primop {name}:{derivation}"),
                None => format!("{place}primop {name}"),
            }
        }
        Callee::Functor(own) => format!("{}:functor", place(own)),
        Callee::Other => place(Pos::NONE),
    }
}

/// Returns the name of the derivation that a call of `derivationStrict` makes.
fn derivation_name<'h>(eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> Option<String> {
    let attrs = eval.force(*call.arguments.first()?).ok()?;
    let Kind::Attrs(attrs) = attrs.kind() else { return None };
    let name = eval.force_string_no_context(attrs.get(eval.symbols.intern(b"name"))?.get(), Pos::NONE, "").ok()?;
    Some(String::from_utf8_lossy(name.bytes()).into_owned())
}

impl<'h> Observer<'h> for Profiler {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        let callee = eval.callee(call.function);
        // Whatever is wrong with the name, the evaluation itself will say.
        let is_derivation = matches!(callee, Callee::Builtin(name) if eval.symbols.text(name) == b"derivationStrict");
        let derivation = if is_derivation { derivation_name(eval, call) } else { None };
        let now = (!self.period.is_zero()).then(|| eval.host.now());
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.stack.push(Frame { callee, pos: call.pos, derivation });
        state.bytes.push((eval.heap.used_bytes(), 0));
        let is_due = match (now, state.last) {
            (Some(now), Some(last)) => now.duration_since(last) > self.period,
            (Some(_), None) | (None, _) => true,
        };
        if is_due {
            *state.samples.entry(state.stack.clone()).or_default() += 1;
            state.last = now;
        }
        Ok(())
    }

    fn leave(&self, eval: &Evaluator<'h>, _call: &Call<'_, 'h>, _error: Option<&EvalError>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let (Some(frame), Some((start, within))) = (state.stack.pop(), state.bytes.pop()) else { return };
        let total = eval.heap.used_bytes().saturating_sub(start);
        if let Some((_, outer)) = state.bytes.last_mut() {
            *outer += total;
        }
        let is_outermost = !state.stack.iter().any(|other| other.callee == frame.callee);
        let profile = state.functions.entry(frame.callee).or_default();
        profile.calls += 1;
        profile.own_bytes += total.saturating_sub(within) as u64;
        if is_outermost {
            profile.total_bytes += total as u64;
        }
    }
}
