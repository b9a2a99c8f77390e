//! The thunk cell: a delayed value, its evaluation in progress, its result, or its failure.
//!
//! ```text
//! [ head ][ payload ][ arguments … ]
//!   head & 7   rest of head           payload
//!   0          &Expr                  env               suspended expression
//!   2          n_arguments << 3       function          suspended call; the arguments follow (bit 63: errors are not to name the function's place)
//!   2, bit 62  &Mapping               index             suspended call of `mapAttrs` for one attribute
//!   6          &Lazy                  –                 suspended work of a builtin
//!   4          –                      value             forced
//!   5          –                      number of error   failed, for good
//! ```
//! Bit 0 on top of 0, 2 and 6 (1, 3, 7) means pending: somebody evaluates it. The rest of the head and the payload stay, so that a
//! pending thunk can be suspended again (a cancelled evaluation, an exhausted budget).
//!
//! Memory ordering: one thread uses a heap, so a head is claimed by a plain store. A result is published by storing the payload first and
//! then the head with release; a reader loads the head with acquire and only then the payload. So whoever sees "forced" sees the value and all that it
//! points to.
#![expect(unsafe_code, reason = "cells of variable length are laid out by hand")]

use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::object::{handle, pointer_of, word_of};
use super::word::Brand;
use super::{Env, FlatAttrs, Heap, Kind, Slot, Value};
use crate::eval::EvalError;
use crate::eval::statistics::count;
use crate::lower::expr::Expr;
use crate::value::Lazy;

const EXPR: u64 = 0;
const CALL: u64 = 2;
const LAZY: u64 = 6;
const FORCED: u64 = 4;
const FAILED: u64 = 5;
const PENDING: u64 = 1;
/// A suspended call whose function was no value yet when it was put off, as far as the reference is concerned.
const PLACELESS: u64 = 1 << 63;
/// A suspended call of a [`Mapping`].
const MAPPED: u64 = 1 << 62;

handle! {
    /// A thunk.
    Thunk
}

/// What a suspended thunk has to do.
#[derive(Clone, Copy)]
pub enum Work<'h> {
    /// Evaluate an expression.
    Expr(&'h Expr<'h>, Env<'h>),
    /// Call a function.
    Call(Value<'h>, &'h [Slot<'h>]),
    /// Call a mapping's function for the attribute of this index.
    Mapped(&'h Mapping<'h>, usize),
    /// Something that a builtin put off.
    Lazy(&'h Lazy<'h>),
}

/// What the thunks of one `mapAttrs` have in common.
pub struct Mapping<'h> {
    /// What is called with a name and a value.
    pub function: Value<'h>,
    /// The set that it is called for.
    pub attrs: FlatAttrs<'h>,
}

/// What somebody who wants a thunk's value finds.
pub enum Claim<'h> {
    /// It is there.
    Value(Value<'h>),
    /// It failed before.
    Failed(u32),
    /// It is being evaluated.
    Pending,
    /// It was suspended and is pending now: the caller must end with `fulfil`, `fail` or `release`.
    Work(Work<'h>),
}

impl<'h> Thunk<'h> {
    #[inline]
    fn head(self) -> &'h AtomicU64 {
        // SAFETY: every cell begins with these two words (see `cell`); they are only accessed atomically.
        unsafe { self.pointer().cast().as_ref() }
    }

    #[inline]
    fn payload(self) -> &'h AtomicU64 {
        // SAFETY: as above.
        unsafe { self.pointer().add(1).cast().as_ref() }
    }

    /// Returns the value if it is there already.
    #[inline]
    pub fn value(self) -> Option<Value<'h>> {
        if self.head().load(Ordering::Acquire) & 7 != FORCED {
            return None;
        }
        // SAFETY: a forced cell's payload was stored by `fulfil` from a value of this heap.
        NonZeroU64::new(self.payload().load(Ordering::Relaxed)).map(|word| unsafe { Value::from_word(word) })
    }

    /// Returns whether somebody evaluates the thunk right now.
    pub fn is_pending(self) -> bool {
        let state = self.head().load(Ordering::Acquire) & 7;
        state & PENDING != 0 && state != FAILED
    }

    /// Returns the function that a suspended call calls, if its place is known to the call.
    pub fn delayed_function(self) -> Option<Value<'h>> {
        if self.head().load(Ordering::Acquire) & (7 | PLACELESS) != CALL {
            return None;
        }
        // SAFETY: a suspended call's payload was written by `thunk_call` from a value of this heap.
        NonZeroU64::new(self.payload().load(Ordering::Relaxed)).map(|word| unsafe { Value::from_word(word) })
    }

    /// Returns the expression that is all that a suspended thunk has to evaluate.
    pub fn suspended_expression(self) -> Option<&'h Expr<'h>> {
        let head = self.head().load(Ordering::Acquire);
        if head & 7 != EXPR {
            return None;
        }
        // SAFETY: the head of a suspended expression was written by `Heap::thunk` from a `&'h Expr<'h>`.
        Some(unsafe { pointer_of(head & !(7 | PLACELESS)).cast().as_ref() })
    }

    /// Returns whether the thunk failed, for good.
    pub fn has_failed(self) -> bool {
        self.head().load(Ordering::Acquire) & 7 == FAILED
    }

    /// Takes a suspended thunk to be evaluated by the caller, or tells what became of it.
    #[inline]
    pub fn claim(self) -> Claim<'h> {
        let head = self.head().load(Ordering::Acquire);
        match head & 7 {
            FORCED => match self.value() {
                Some(value) => return Claim::Value(value),
                None => unreachable!("a forced cell has a value"),
            },
            FAILED => return Claim::Failed(self.payload().load(Ordering::Relaxed) as u32),
            EXPR | CALL | LAZY => {}
            _ => return Claim::Pending,
        }
        // Nobody else can have claimed it since: a heap is used by one thread.
        self.head().store(head | PENDING, Ordering::Relaxed);
        let rest = head & !(7 | PLACELESS | MAPPED);
        let payload = self.payload().load(Ordering::Relaxed);
        // SAFETY: the constructors below wrote head and payload as the table on top says, from references and values of this `'h`;
        // a call's arguments are as many initialised slots as its head says.
        Claim::Work(unsafe {
            match head & 7 {
                CALL if head & MAPPED != 0 => Work::Mapped(pointer_of(rest).cast().as_ref(), payload as usize),
                EXPR => Work::Expr(pointer_of(rest).cast().as_ref(), Env::from_pointer(pointer_of(payload))),
                CALL => {
                    let function = Value::from_word(NonZeroU64::new(payload).expect("written from a value"));
                    Work::Call(function, std::slice::from_raw_parts(self.pointer().add(2).cast().as_ptr(), (rest >> 3) as usize))
                }
                _ => Work::Lazy(pointer_of(rest).cast().as_ref()),
            }
        })
    }

    /// Stores the result of a claimed thunk. `value` is evaluated (not itself a thunk).
    #[inline]
    pub fn fulfil(self, value: Value<'h>) {
        debug_assert!(!value.is_thunk());
        self.payload().store(value.word(), Ordering::Relaxed);
        self.head().store(FORCED, Ordering::Release);
    }

    /// Stores that a claimed thunk failed, for good.
    pub fn fail(self, heap: &'h Heap, error: EvalError) {
        self.payload().store(heap.remember(error) as u64, Ordering::Relaxed);
        self.head().store(FAILED, Ordering::Release);
    }

    /// Suspends a claimed thunk again.
    pub fn release(self) {
        self.head().store(self.head().load(Ordering::Relaxed) & !PENDING, Ordering::Release);
    }

    /// Returns the error of a failed thunk.
    pub fn error(heap: &'h Heap, number: u32) -> EvalError {
        heap.remembered(number)
    }
}

impl Heap {
    #[inline]
    fn cell<'h>(&'h self, head: u64, payload: u64, n_arguments: usize) -> NonNull<u64> {
        count(&self.counters.thunks, 1);
        let pointer = self.words(2 + n_arguments);
        // SAFETY: there is room for two words.
        unsafe {
            pointer.write(head);
            pointer.add(1).write(payload);
        }
        pointer
    }

    /// Returns a thunk of an expression.
    #[inline]
    pub fn thunk<'h>(&'h self, expr: &'h Expr<'h>, env: Env<'h>) -> Value<'h> {
        let head = word_of(NonNull::from(expr)) | EXPR;
        Value::thunk(Thunk(self.cell(head, word_of(env.pointer()), 0), PhantomData))
    }

    /// Returns a thunk of a call.
    pub fn thunk_call<'h>(&'h self, function: Value<'h>, arguments: &[Value<'h>]) -> Value<'h> {
        self.call_cell(CALL, function, arguments)
    }

    /// As [`thunk_call`](Self::thunk_call), for a function that nobody has evaluated yet.
    pub fn thunk_call_placeless<'h>(&'h self, function: Value<'h>, arguments: &[Value<'h>]) -> Value<'h> {
        self.call_cell(CALL | PLACELESS, function, arguments)
    }

    #[inline]
    fn call_cell<'h>(&'h self, state: u64, function: Value<'h>, arguments: &[Value<'h>]) -> Value<'h> {
        let pointer = self.cell((arguments.len() as u64) << 3 | state, function.word(), arguments.len());
        for (i, argument) in arguments.iter().enumerate() {
            // SAFETY: `cell` made room for as many arguments.
            unsafe { pointer.add(2 + i).write(argument.word()) };
        }
        Value::thunk(Thunk(pointer, PhantomData))
    }

    /// Returns a thunk of a mapping's call for the attribute of this index. As in the reference the call knows no place of the function.
    #[inline]
    pub fn thunk_mapped<'h>(&'h self, mapping: &'h Mapping<'h>, index: usize) -> Value<'h> {
        let head = word_of(NonNull::from(mapping)) | CALL | PLACELESS | MAPPED;
        Value::thunk(Thunk(self.cell(head, index as u64, 0), PhantomData))
    }

    /// Returns a thunk of work that a builtin puts off.
    pub fn thunk_lazy<'h>(&'h self, lazy: Lazy<'h>) -> Value<'h> {
        let lazy = self.alloc(lazy);
        Value::thunk(Thunk(self.cell(word_of(NonNull::from(lazy)) | LAZY, 0, 0), PhantomData))
    }

    /// Returns a thunk whose value is given later, by [`fill`](Self::fill).
    pub fn later<'h>(&'h self) -> Value<'h> {
        self.thunk_lazy(Lazy::Later(self.slot()))
    }

    /// Gives the value of what [`later`](Self::later) returned; once. Returns whether it did.
    pub fn fill<'h>(&'h self, later: Value<'h>, value: Value<'h>) -> bool {
        let Kind::Thunk(thunk) = later.kind() else { return false };
        let Claim::Work(work) = thunk.claim() else { return false };
        let filled = match work {
            Work::Lazy(Lazy::Later(slot)) if slot.try_get().is_none() => {
                slot.set(value);
                true
            }
            _ => false,
        };
        thunk.release();
        filled
    }

    /// Returns a thunk that has failed already.
    pub fn thunk_failed<'h>(&'h self, error: EvalError) -> Value<'h> {
        let number = self.remember(error);
        Value::thunk(Thunk(self.cell(FAILED, number as u64, 0), PhantomData))
    }
}
