//! Watching an evaluation: what profilers, tracers and debuggers are made of. They get every call as it begins and ends.
//!
//! The surprising part: an observed evaluation takes the general way into every call, so its arguments are put off where they would be evaluated in
//! place otherwise. Results and errors are the same. Without an observer a call pays one look at a flag.

use std::rc::Rc;

use super::{EvalError, EvalResult, Evaluator};
use crate::heap::{Env, Kind, Value};
use crate::source::Pos;
use crate::symbol::Symbol;

/// A call: what is called, with what, and where.
pub struct Call<'a, 'h> {
    /// What is called. May be no function at all, or not be evaluated yet.
    pub function: Value<'h>,
    /// The arguments, possibly thunks. One call may have more or fewer of them than the function takes.
    pub arguments: &'a [Value<'h>],
    /// Where the call stands; nowhere for calls that builtins make.
    pub pos: Pos,
    /// The variables where the call stands.
    pub(super) env: Option<Env<'h>>,
}

/// Who is told of calls. Methods may evaluate; what they call is not reported.
pub trait Observer<'h> {
    /// A call begins. An error ends it at once.
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()>;

    /// The call that was entered last has ended; with this error if it failed.
    fn leave(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>, error: Option<&EvalError>);

    /// `builtins.break` was called on this value, which it will return. An error ends it instead.
    fn pause(&self, _eval: &Evaluator<'h>, _value: Value<'h>) -> EvalResult<()> {
        Ok(())
    }
}

/// What kind of thing is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Callee {
    /// A function of the language: its name if it was bound to one, and where it begins.
    Lambda(Option<Symbol>, Pos),
    /// A builtin.
    Builtin(Symbol),
    /// A set with `__functor`, and where that attribute is.
    Functor(Pos),
    /// Something that can't be called, or isn't evaluated.
    Other,
}

impl<'h> Evaluator<'h> {
    /// Tells `observer` of every call from now on, or nobody.
    pub fn set_observer(&self, observer: Option<Rc<dyn Observer<'h> + 'h>>) {
        self.observing.set(observer.is_some());
        self.observer.replace(observer);
    }

    /// Returns what is called by a call of this value. Forces nothing.
    pub fn callee(&self, function: Value<'h>) -> Callee {
        match function.kind() {
            Kind::Lambda(closure) => Callee::Lambda(closure.lambda.name, closure.lambda.positions.first().copied().unwrap_or_default()),
            Kind::Builtin(builtin) => Callee::Builtin(self.symbols.intern(builtin.name.as_bytes())),
            Kind::Partial(partial) => self.callee(partial.function),
            Kind::Attrs(attrs) => attrs.find(self.names.functor).map_or(Callee::Other, |entry| Callee::Functor(entry.pos)),
            Kind::Thunk(thunk) => thunk.value().map_or(Callee::Other, |value| self.callee(value)),
            _ => Callee::Other,
        }
    }

    /// Runs `body` with the observer told before and after.
    #[cold]
    pub(super) fn observed<T>(&self, call: &Call<'_, 'h>, body: impl FnOnce() -> EvalResult<T>) -> EvalResult<T> {
        let Some(observer) = self.observer.borrow().clone() else { return body() };
        self.unobserved(|| observer.enter(self, call))?;
        let result = body();
        self.unobserved(|| observer.leave(self, call, result.as_ref().err()));
        result
    }

    /// Tells the observer of a call of `builtins.break`.
    pub(crate) fn pause(&self, value: Value<'h>) -> EvalResult<()> {
        let observer = self.observer.borrow().clone();
        match observer {
            Some(observer) if self.observing.get() => self.unobserved(|| observer.pause(self, value)),
            _ => Ok(()),
        }
    }

    fn unobserved<T>(&self, body: impl FnOnce() -> T) -> T {
        let before = self.observing.replace(false);
        let result = body();
        self.observing.set(before);
        result
    }

    /// The builtin that an operator stands for, as a call.
    #[cold]
    pub(super) fn observed_operator<T>(&self, name: &str, pos: Pos, env: Env<'h>, body: impl FnOnce() -> EvalResult<T>) -> EvalResult<T> {
        let function = self.global(self.symbols.intern(format!("__{name}").as_bytes())).unwrap_or(Value::NULL);
        self.observed(&Call { function, arguments: &[], pos, env: Some(env) }, body)
    }
}

#[cfg(test)]
mod tests;
