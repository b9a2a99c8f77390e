//! Limits of an evaluation: nested calls, and the machine stack.

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::source::Pos;

/// What stays free of a stack, for code that checks nothing (builtins, the host).
const STACK_RESERVE: usize = 256 * 1024;

/// One level of nesting, counted while it is alive.
pub struct CallDepth<'a>(&'a std::cell::Cell<u32>);

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

    /// Counts one more nested call.
    #[inline]
    pub fn enter_call(&self, pos: Pos) -> EvalResult<CallDepth<'_>> {
        let depth = self.call_depth.get();
        if depth > self.options.max_call_depth {
            return Err(EvalError::new(ErrorKind::StackOverflow, "stack overflow; max-call-depth exceeded").at(pos));
        }
        self.check_stack(pos)?;
        self.call_depth.set(depth + 1);
        Ok(CallDepth(&self.call_depth))
    }

    /// Fails when the machine stack is nearly used up.
    #[inline]
    pub fn check_stack(&self, pos: Pos) -> EvalResult<()> {
        if stack_pointer() < self.stack_limit.get() {
            return Err(EvalError::new(ErrorKind::StackOverflow, "stack overflow (possible infinite recursion)").at(pos));
        }
        Ok(())
    }
}
