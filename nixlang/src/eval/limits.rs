//! Limits of an evaluation: nested calls, the machine stack, and the budgets that a host gives: steps, heap, time, and a token that cancels.
//!
//! The surprising part is where the hot loop looks: at one counter in the heap, the fuel. Everything else is compared when it runs dry, every
//! [`INTERVAL`] steps or after a large allocation, so an evaluation without budgets pays one decrement per step.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::source::Pos;

/// What stays free of a stack, for code that checks nothing (builtins, the host).
const STACK_RESERVE: usize = 256 * 1024;
/// Steps from one look at time, heap and token to the next.
const INTERVAL: u64 = 1024;
/// What is allocated at once is checked beforehand from this size on.
const LARGE_BYTES: usize = 1 << 20;
/// From this size on it is tried whether the system would give it, since running out in the middle would end the process.
const HUGE_BYTES: usize = 1 << 28;

/// What an evaluation may use up. Each has its [`ErrorKind`]; no thunk remembers such an error, so with new budgets
/// ([`Evaluator::set_budgets`]) the same evaluator goes on where it was stopped.
///
/// ```
/// use nixlang::eval::{Budgets, ErrorKind, EvalOptions, session};
/// use nixlang::host::MemoryHost;
/// use nixlang::source::Origin;
///
/// let options = EvalOptions { budgets: Budgets { steps: Some(1000), ..Budgets::default() }, ..EvalOptions::default() };
/// session(|| Box::new(MemoryHost::default()), options, |eval| {
///     let error = eval.eval_text(b"let f = x: f (x + 1); in f 0", Origin::String, b"/").expect_err("it never ends");
///     assert_eq!(error.kind(), ErrorKind::StepLimit);
///     eval.set_budgets(Budgets::default());
///     assert!(eval.eval_text(b"1 + 1", Origin::String, b"/").is_ok());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// Function calls and evaluated thunks. The same expression takes the same number of steps every time.
    pub steps: Option<u64>,
    /// Bytes on the heap, counted from its beginning.
    pub heap_bytes: Option<usize>,
    /// Wall time, counted from the moment the budgets are given.
    pub time: Option<Duration>,
    /// Ends the evaluation from another thread.
    pub cancel: Option<CancelToken>,
}

/// Tells an evaluation, from any thread, to stop. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Returns a token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Makes evaluations that have this token fail with [`ErrorKind::Cancelled`], soon.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The budgets in force, and what of them is left.
#[derive(Default)]
pub(crate) struct Meter {
    budgets: RefCell<Budgets>,
    end: Cell<Option<Instant>>,
    /// Steps that may still be put into the tank.
    steps_left: Cell<u64>,
    /// Steps that were put into it since the evaluator was made.
    granted: Cell<u64>,
}

/// One level of nesting, counted while it is alive.
pub struct CallDepth<'a>(&'a Cell<u32>);

impl Drop for CallDepth<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[inline(always)]
fn stack_pointer() -> usize {
    let marker = 0u8;
    std::ptr::from_ref(&marker).addr()
}

impl<'h> Evaluator<'h> {
    /// Tells the evaluator that it runs on a stack of which `size` bytes are left below this call. Returns what was set before.
    pub fn set_stack(&self, size: usize) -> usize {
        self.stack_limit.replace(stack_pointer().saturating_sub(size.saturating_sub(STACK_RESERVE)))
    }

    /// Makes everything that needs more than a little of the stack fail. Returns what was set before.
    pub(crate) fn forbid_stack(&self) -> usize {
        self.stack_limit.replace(usize::MAX)
    }

    /// Puts back what [`set_stack`](Self::set_stack) returned.
    pub fn restore_stack(&self, limit: usize) {
        self.stack_limit.set(limit);
    }

    /// Returns how many bytes of the machine stack may still be used, if anybody said how large it is.
    pub(crate) fn stack_left(&self) -> Option<usize> {
        match self.stack_limit.get() {
            0 => None,
            limit => Some(stack_pointer().saturating_sub(limit)),
        }
    }

    /// Counts one more nested call, which is a step too.
    #[inline]
    pub fn enter_call(&self, pos: Pos) -> EvalResult<CallDepth<'_>> {
        let depth = self.call_depth.get();
        if depth > self.options.max_call_depth {
            return Err(EvalError::new(ErrorKind::CallDepth, "stack overflow; max-call-depth exceeded").at(pos));
        }
        self.check_stack(pos)?;
        self.step()?;
        self.call_depth.set(depth + 1);
        Ok(CallDepth(&self.call_depth))
    }

    /// Fails when the machine stack is nearly used up.
    #[inline]
    pub fn check_stack(&self, pos: Pos) -> EvalResult<()> {
        if stack_pointer() < self.stack_limit.get() { Err(stack_overflow(pos)) } else { Ok(()) }
    }

    /// Replaces the budgets. Steps and time are counted anew from here; the heap is what it is.
    pub fn set_budgets(&self, budgets: Budgets) {
        let meter = &self.meter;
        meter.granted.set(self.steps());
        self.heap.take_fuel();
        meter.end.set(budgets.time.and_then(|time| self.host.now().checked_add(time)));
        meter.steps_left.set(budgets.steps.unwrap_or(u64::MAX));
        meter.budgets.replace(budgets);
    }

    /// Returns the number of steps that were taken so far: calls and evaluated thunks.
    pub fn steps(&self) -> u64 {
        // Another evaluator of the same heap may have filled the tank.
        self.meter.granted.get().saturating_sub(u64::from(self.heap.fuel()))
    }

    /// Takes what is left in the tank back, for another evaluator on the same heap to come in between.
    pub(crate) fn park_fuel(&self) {
        let rest = u64::from(self.heap.take_fuel());
        self.meter.granted.set(self.meter.granted.get().saturating_sub(rest));
        self.meter.steps_left.set(self.meter.steps_left.get().saturating_add(rest));
    }

    /// Counts a step.
    #[inline(always)]
    pub(crate) fn step(&self) -> EvalResult<()> {
        if self.heap.burn() { Ok(()) } else { self.refuel() }
    }

    /// Compares what was used up with the budgets; if all is well, takes the step that found the tank empty.
    #[cold]
    #[inline(never)]
    fn refuel(&self) -> EvalResult<()> {
        let meter = &self.meter;
        // What a large allocation has set aside.
        self.park_fuel();
        self.check_budgets(0)?;
        let left = meter.steps_left.get();
        if left == 0 {
            let steps = meter.budgets.borrow().steps.unwrap_or_default();
            return Err(EvalError::new(ErrorKind::StepLimit, format!("evaluation takes more than {steps} steps")));
        }
        let grant = left.min(INTERVAL);
        meter.steps_left.set(if left == u64::MAX { left } else { left - grant });
        meter.granted.set(meter.granted.get() + grant);
        self.heap.refuel(grant as u32);
        self.step()
    }

    fn check_budgets(&self, more_bytes: usize) -> EvalResult<()> {
        let budgets = self.meter.budgets.borrow();
        if budgets.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(EvalError::new(ErrorKind::Cancelled, "interrupted by the user"));
        }
        if let Some(heap_bytes) = budgets.heap_bytes
            && self.heap.used_bytes().saturating_add(more_bytes) > heap_bytes
        {
            return Err(EvalError::new(ErrorKind::HeapLimit, format!("evaluation needs more than {heap_bytes} bytes of memory")));
        }
        if let (Some(end), Some(time)) = (self.meter.end.get(), budgets.time)
            && self.host.now() >= end
        {
            return Err(EvalError::new(ErrorKind::TimeLimit, format!("evaluation takes longer than {} s", time.as_secs_f64())));
        }
        Ok(())
    }

    /// Fails if `bytes` more would be too many for the heap's budget, or for the machine. Comes before allocations whose size is not bounded by
    /// what is there already.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) -> EvalResult<()> {
        if bytes < LARGE_BYTES { Ok(()) } else { self.charge_large(bytes) }
    }

    #[cold]
    fn charge_large(&self, bytes: usize) -> EvalResult<()> {
        self.check_budgets(bytes)?;
        if bytes >= HUGE_BYTES && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(EvalError::new(ErrorKind::HeapLimit, format!("out of memory: {bytes} bytes are needed at once")));
        }
        Ok(())
    }
}

#[cold]
fn stack_overflow(pos: Pos) -> EvalError {
    EvalError::new(ErrorKind::StackOverflow, "stack overflow (possible infinite recursion)").at(pos)
}

#[cfg(test)]
mod tests;
