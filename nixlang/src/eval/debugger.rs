//! A debugger as library calls: it stops at `builtins.break`, at places, at failures and after steps, and shows the calls that are going on with
//! what is in scope where they stand; text can be evaluated there.
//!
//! The surprising part: frames at run time have slots and no names. When somebody asks, the source around the call is resolved once more, and says
//! which name is which slot; an evaluation that is not stopped pays nothing for it.

use std::cell::{Cell, RefCell};

use super::observe::{Call, Observer};
use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Env, Kind, Value};
use crate::lower::{FrameNames, StaticScope};
use crate::source::{Origin, Pos};
use crate::symbol::Symbol;

/// Why an evaluation stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// `builtins.break` was called.
    Break,
    /// A call begins at a place that was asked for.
    Breakpoint,
    /// A call begins, after a step.
    Step,
    /// A call failed; reported once for each failure, at the innermost call.
    Failure,
}

/// How to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// Until the next reason to stop.
    Continue,
    /// To the next call.
    StepInto,
    /// To the next call that is not within this one.
    StepOver,
    /// To the next call of the caller.
    StepOut,
    /// Not at all: the evaluation fails with [`ErrorKind::Interrupted`].
    Quit,
}

/// A call that is going on.
struct Frame<'h> {
    function: Value<'h>,
    arguments: Vec<Value<'h>>,
    pos: Pos,
    env: Option<Env<'h>>,
}

/// What one frame of variables brings into scope.
pub struct ScopeLevel<'h> {
    /// What functions, `let` and `rec` bind.
    pub bindings: Vec<(Symbol, Value<'h>)>,
    /// The sets that `with` brought into scope, innermost first.
    pub withs: Vec<Value<'h>>,
}

/// Where an evaluation stands while it is stopped.
pub struct Stopped<'a, 'h> {
    /// The evaluator. What it evaluates now is not reported.
    pub eval: &'a Evaluator<'h>,
    /// Why it stopped.
    pub reason: StopReason,
    /// What `builtins.break` was called on.
    pub value: Option<Value<'h>>,
    /// What failed.
    pub error: Option<&'a EvalError>,
    frames: &'a [Frame<'h>],
}

impl<'h> Stopped<'_, 'h> {
    /// Returns how many calls are going on. Number 0 is the innermost.
    pub fn n_frames(&self) -> usize {
        self.frames.len()
    }

    fn frame(&self, number: usize) -> Option<&Frame<'h>> {
        self.frames.iter().rev().nth(number)
    }

    /// Returns where a call stands.
    pub fn place(&self, number: usize) -> Pos {
        self.frame(number).map_or(Pos::NONE, |frame| frame.pos)
    }

    /// Returns the calls, innermost first, a line for each.
    pub fn backtrace(&self) -> String {
        let line = |(number, frame): (usize, &Frame<'h>)| {
            format!("{number}: {} at {}\n", super::profile::show_callee(self.eval, self.eval.callee(frame.function)), self.eval.show_pos(frame.pos))
        };
        self.frames.iter().rev().enumerate().map(line).collect()
    }

    /// Returns the parameters of the function that a call calls, with their values as far as they are known; nothing is evaluated.
    pub fn arguments(&self, number: usize) -> Vec<(Symbol, Value<'h>)> {
        let Some(frame) = self.frame(number) else { return Vec::new() };
        let Kind::Lambda(closure) = known(frame.function).kind() else { return Vec::new() };
        let Some(formals) = closure.lambda.formals else {
            return closure.lambda.params.iter().copied().zip(frame.arguments.iter().copied()).collect();
        };
        let mut variables = Vec::new();
        let Some(argument) = frame.arguments.first() else { return variables };
        if formals.whole.is_some() {
            variables.extend(closure.lambda.params.first().map(|name| (*name, *argument)));
        }
        if let Kind::Attrs(attrs) = known(*argument).kind() {
            variables.extend(formals.entries.iter().filter_map(|formal| Some((formal.symbol, attrs.get(formal.symbol)?.get()))));
        }
        variables
    }

    /// Returns what is in scope where a call stands, innermost frame first, without global variables; nothing is evaluated. Calls that builtins
    /// make stand nowhere, and have nothing in scope.
    pub fn scope(&self, number: usize) -> Vec<ScopeLevel<'h>> {
        let Some(&Frame { pos, env: Some(env), .. }) = self.frame(number) else { return Vec::new() };
        let names = self.eval.sources.source(pos).and_then(|source| crate::lower::names_at(self.eval, &source, pos));
        let level = |(depth, names): (usize, FrameNames)| {
            let slots = env.up(depth as u16).slots();
            // What is not bound yet has an empty slot.
            let value = |slot: u32| slots.get(slot as usize).and_then(|slot| slot.try_get()).map(known);
            ScopeLevel {
                bindings: names.names.into_iter().filter_map(|(name, slot)| Some((name, value(slot)?))).collect(),
                withs: names.withs.into_iter().filter_map(value).collect(),
            }
        };
        let mut levels: Vec<_> = names.unwrap_or_default().into_iter().enumerate().map(level).collect();
        levels.retain(|level| !level.bindings.is_empty() || !level.withs.is_empty());
        levels
    }

    /// Evaluates a text with what is in scope where a call stands. Sets of `with` that are not evaluated yet are not searched.
    pub fn evaluate(&self, number: usize, text: &[u8]) -> EvalResult<Value<'h>> {
        let levels = self.scope(number);
        // What comes later hides what came before, and bindings hide what any `with` has.
        let mut variables = Vec::new();
        for with in levels.iter().rev().flat_map(|level| level.withs.iter().rev()) {
            if let Kind::Attrs(attrs) = with.kind() {
                variables.extend(attrs.flat(self.eval.heap).iter().map(|entry| (entry.symbol, entry.slot.get())));
            }
        }
        variables.extend(levels.iter().rev().flat_map(|level| level.bindings.iter().copied()));
        let env = self.eval.heap.env(self.eval.root(), variables.len());
        for (slot, (_, value)) in variables.iter().enumerate() {
            env.slot(slot as u32).set(*value);
        }
        let scope = StaticScope { names: variables.iter().map(|it| it.0).collect() };
        self.eval.eval_text_in(text, Origin::String, b"/", &scope, env)
    }
}

/// Returns what a thunk has become, itself if it is not evaluated.
fn known(value: Value<'_>) -> Value<'_> {
    match value.kind() {
        Kind::Thunk(thunk) => thunk.value().unwrap_or(value),
        _ => value,
    }
}

/// When to stop of one's own accord.
#[derive(Clone, Copy)]
enum Mode {
    Run,
    /// At the next call with at most so many calls around it.
    Within(usize),
}

/// See the file's comment. Give it to [`Evaluator::set_observer`].
///
/// ```
/// use std::rc::Rc;
/// use nixlang::eval::{Debugger, EvalOptions, Resume, session};
/// use nixlang::host::MemoryHost;
/// use nixlang::source::Origin;
///
/// let seen = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
///     let seen = Rc::new(std::cell::RefCell::new(Vec::new()));
///     let notes = Rc::clone(&seen);
///     eval.set_observer(Some(Rc::new(Debugger::new(move |stopped| {
///         let value = stopped.evaluate(0, b"x + 1").and_then(|value| stopped.eval.print_plain(value));
///         notes.borrow_mut().push(value.expect("x is in scope"));
///         Resume::Continue
///     }))));
///     eval.eval_text(b"(x: builtins.break x) 41", Origin::String, b"/").expect("it goes on");
///     seen.take()
/// })?;
/// assert_eq!(seen, [b"42"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Debugger<'h, F> {
    on_stop: RefCell<F>,
    frames: RefCell<Vec<Frame<'h>>>,
    mode: Cell<Mode>,
    /// Files and lines to stop at.
    breakpoints: RefCell<Vec<(Vec<u8>, u32)>>,
    stops_at_failures: Cell<bool>,
    last_failure: RefCell<Option<EvalError>>,
}

impl<'h, F: FnMut(&Stopped<'_, 'h>) -> Resume> Debugger<'h, F> {
    /// Returns a debugger that stops at `builtins.break` and at failures. `on_stop` is called while the evaluation stands still.
    pub fn new(on_stop: F) -> Self {
        Debugger {
            on_stop: RefCell::new(on_stop),
            frames: RefCell::default(),
            mode: Cell::new(Mode::Run),
            breakpoints: RefCell::default(),
            stops_at_failures: Cell::new(true),
            last_failure: RefCell::new(None),
        }
    }

    /// Stops at calls that stand on this line of this file.
    pub fn break_at(&self, file: &[u8], line: u32) {
        self.breakpoints.borrow_mut().push((file.to_vec(), line));
    }

    /// Stops at the very first call.
    pub fn step(&self) {
        self.mode.set(Mode::Within(usize::MAX));
    }

    /// Chooses whether failures are a reason to stop.
    pub fn stop_at_failures(&self, stops: bool) {
        self.stops_at_failures.set(stops);
    }

    fn stop(&self, eval: &Evaluator<'h>, reason: StopReason, value: Option<Value<'h>>, error: Option<&EvalError>) -> EvalResult<()> {
        let frames = self.frames.borrow();
        let resume = (self.on_stop.borrow_mut())(&Stopped { eval, reason, value, error, frames: &frames });
        let n = frames.len();
        self.mode.set(match resume {
            Resume::Continue => Mode::Run,
            Resume::StepInto => Mode::Within(usize::MAX),
            Resume::StepOver => Mode::Within(n),
            Resume::StepOut => Mode::Within(n.saturating_sub(1)),
            Resume::Quit => return Err(EvalError::new(ErrorKind::Interrupted, "the evaluation was ended by the debugger")),
        });
        Ok(())
    }

    fn is_breakpoint(&self, eval: &Evaluator<'h>, pos: Pos) -> bool {
        let breakpoints = self.breakpoints.borrow();
        if breakpoints.is_empty() {
            return false;
        }
        let Some(place) = eval.sources.locate(pos) else { return false };
        matches!(&place.source.origin, Origin::File(path) if breakpoints.iter().any(|(file, line)| file[..] == path[..] && *line == place.line))
    }
}

impl<'h, F: FnMut(&Stopped<'_, 'h>) -> Resume> Observer<'h> for Debugger<'h, F> {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        self.frames.borrow_mut().push(Frame { function: call.function, arguments: call.arguments.to_vec(), pos: call.pos, env: call.env });
        let reason = match self.mode.get() {
            _ if self.is_breakpoint(eval, call.pos) => Some(StopReason::Breakpoint),
            Mode::Within(most) if self.frames.borrow().len() <= most => Some(StopReason::Step),
            _ => None,
        };
        let result = reason.map_or(Ok(()), |reason| self.stop(eval, reason, None, None));
        if result.is_err() {
            // Who refuses a call is not told of its end.
            self.frames.borrow_mut().pop();
        }
        result
    }

    fn leave(&self, eval: &Evaluator<'h>, _call: &Call<'_, 'h>, error: Option<&EvalError>) {
        if let Some(error) = error
            && self.stops_at_failures.get()
            && !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Waiting)
            && !self.last_failure.borrow().as_ref().is_some_and(|last| last.is_same(error))
        {
            self.last_failure.replace(Some(error.clone()));
            // It has failed already, so there is nothing left to end.
            let _ = self.stop(eval, StopReason::Failure, None, Some(error));
        }
        self.frames.borrow_mut().pop();
    }

    fn pause(&self, eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<()> {
        self.stop(eval, StopReason::Break, Some(value), None)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::eval::{EvalOptions, session};
    use crate::host::MemoryHost;

    /// Evaluates a text; at each stop notes reason, place and variables, and goes on as told.
    fn debug(text: &str, answers: &[Resume], begin_with_step: bool) -> (Vec<String>, Result<String, String>) {
        session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
            let notes = Rc::new(RefCell::new(Vec::new()));
            let (noted, mut answers) = (Rc::clone(&notes), answers.to_vec().into_iter());
            let debugger = Debugger::new(move |stopped: &Stopped<'_, '_>| {
                let variables = stopped.arguments(0).into_iter().map(|(name, value)| {
                    let value = stopped.eval.force(value).and_then(|value| stopped.eval.print_plain(value)).expect("arguments are fine here");
                    format!(" {}={}", stopped.eval.text(name), String::from_utf8_lossy(&value))
                });
                let variables: String = variables.collect();
                let what = stopped.error.map(|error| format!(" {error}")).unwrap_or_default();
                noted.borrow_mut().push(format!("{:?} {}{variables}{what}", stopped.reason, stopped.eval.show_pos(stopped.place(0))));
                answers.next().unwrap_or(Resume::Continue)
            });
            if begin_with_step {
                debugger.step();
            }
            eval.set_observer(Some(Rc::new(debugger)));
            let result = eval.eval_text(text.as_bytes(), Origin::String, b"/").and_then(|value| eval.print_plain(value));
            eval.set_observer(None);
            let result = result.map(|text| String::from_utf8_lossy(&text).into_owned()).map_err(|error| error.to_string());
            (notes.take(), result)
        })
        .expect("a thread is there")
    }

    #[test]
    fn steps_go_into_over_and_out_of_calls() {
        let text = "let f = x: x + 1; g = y: f y + f 2; in g 1 + f 3";
        let [g, f1, f2, f3] = ["Step «string»:1:40 y=1", "Step «string»:1:26 x=1", "Step «string»:1:32 x=2", "Step «string»:1:46 x=3"].map(str::to_owned);
        let into = [Resume::StepInto; 4];
        assert_eq!(debug(text, &into, true), (vec![g.clone(), f1.clone(), f2, f3.clone()], Ok("9".into())));
        assert_eq!(debug(text, &[Resume::StepOver, Resume::StepOver], true).0, [g.clone(), f3.clone()]);
        assert_eq!(debug(text, &[Resume::StepInto, Resume::StepOut], true).0, [g.clone(), f1, f3]);
        assert_eq!(debug(text, &[Resume::Quit], true), (vec![g], Err("the evaluation was ended by the debugger".into())));
    }

    #[test]
    fn what_let_with_and_functions_bind_is_in_scope() {
        let text = "let x.a = 1; y = a: a; in with x; (({ b, c ? y }: rec { d = 3; e = builtins.seq x (f b); f = throw; }) { b = d: d; }).e";
        let seen = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
            let seen = Rc::new(RefCell::new(Vec::new()));
            let notes = Rc::clone(&seen);
            let debugger = Debugger::new(move |stopped: &Stopped<'_, '_>| {
                let names = |level: &ScopeLevel<'_>| level.bindings.iter().map(|it| stopped.eval.text(it.0)).collect::<Vec<_>>().join(" ");
                let mut notes = notes.borrow_mut();
                notes.extend(stopped.scope(0).iter().map(|level| format!("{} with {}", names(level), level.withs.len())));
                for text in ["x.a + a + d", "c 4", "b 5", "missing"] {
                    let value = stopped.evaluate(0, text.as_bytes()).and_then(|value| stopped.eval.print_plain(value));
                    notes.push(value.map_or_else(|error| error.to_string(), |value| String::from_utf8_lossy(&value).into_owned()));
                }
                Resume::Quit
            });
            eval.set_observer(Some(Rc::new(debugger)));
            let result = eval.eval_text(text.as_bytes(), Origin::String, b"/");
            assert!(result.is_err(), "what is thrown is no string");
            seen.take()
        });
        let seen = seen.expect("a thread is there");
        assert_eq!(seen, ["d e f with 0", "b c with 0", "x y with 1", "5", "4", "5", "undefined variable 'missing'"]);
    }

    #[test]
    fn failures_stop_once() {
        let (notes, result) = debug("let f = { a, b ? 1 }@c: throw \"no\"; in f { a = 5; }", &[], false);
        assert_eq!(notes, ["Failure «string»:1:25 no"]);
        assert_eq!(result, Err("no".into()));
    }
}
