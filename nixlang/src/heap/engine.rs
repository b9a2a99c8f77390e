//! A heap that outlives a closure: for hosts that hold values in their own objects, such as the C ABI.
//!
//! An [`Engine`] is a heap with its symbols, sources and contexts, shared by counting. [`OwnedEvaluator`]s are contexts of evaluation on it, each with a host
//! and options of its own; an [`OwnedValue`] is a value that anybody may hold, send and share, and that any evaluator of the same engine understands.
//!
//! Invariants:
//! 1. `'static` below stands for "this engine's heap". It never leaves: closures get the heap's lifetime as `for<'h>`.
//! 2. Everything but reading a value through [`OwnedValue::peek`] happens under the engine's lock, by one thread at a time; that thread may enter again.
//! 3. Whoever refers to the heap holds the engine, and evaluators and tables are dropped before it.
#![expect(unsafe_code, reason = "an engine owns both a heap and what refers to it")]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::ReentrantMutex;

use super::stack::Stack;
use super::{Heap, Value};
use crate::eval::{EvalOptions, Evaluator, Tables};
use crate::host::Host;

/// A heap shared by evaluators and values. Copies are the same engine; the last one frees it.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    lock: ReentrantMutex<()>,
    /// Address of the evaluator that runs now.
    active: Cell<usize>,
    stack: Stack,
    tables: ManuallyDrop<Tables<'static>>,
    heap: Box<Heap>,
}

// SAFETY: what is not made for several threads (heap, tables, stack) is only used under `lock` (invariant 2); reading values is through atomics and
// memory that doesn't change. What hosts put into the heap, functions and external values, is `Send + Sync` by their types.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: not used again; the heap that the tables refer to is dropped after this.
        unsafe { ManuallyDrop::drop(&mut self.tables) };
    }
}

impl Engine {
    /// Returns an engine with an empty heap.
    ///
    /// # Errors
    /// When the system gives no address space for its stack.
    pub fn new() -> std::io::Result<Engine> {
        let heap = Box::new(Heap::new());
        // SAFETY: invariants 1 and 3: the box is neither moved out of nor dropped before what refers to its contents.
        let pinned: &'static Heap = unsafe { std::ptr::NonNull::from(&*heap).as_ref() };
        let tables = ManuallyDrop::new(Tables::new(pinned));
        Ok(Engine(Arc::new(Shared { lock: ReentrantMutex::new(()), active: Cell::new(0), stack: Stack::new()?, tables, heap })))
    }

    /// Returns a new evaluator.
    pub fn evaluator(&self, host: Box<dyn Host + Send>, options: EvalOptions) -> OwnedEvaluator {
        let _locked = self.0.lock.lock();
        // SAFETY: as in `new`; an evaluator holds the engine.
        let heap: &'static Heap = unsafe { std::ptr::NonNull::from(&*self.0.heap).as_ref() };
        let evaluator = Evaluator::with_tables(heap, &self.0.tables, host, options);
        OwnedEvaluator { evaluator: ManuallyDrop::new(Box::new(evaluator)), engine: self.clone() }
    }

    /// Runs `body` with the heap, for what needs no evaluation.
    pub fn with_heap<R>(&self, body: impl for<'h> FnOnce(&'h Heap) -> R) -> R {
        let _locked = self.0.lock.lock();
        body(&self.0.heap)
    }

    /// Looks at a value by its word; see [`OwnedValue::peek`].
    ///
    /// # Safety
    /// The word came from an [`OwnedValue`] of this engine.
    #[inline]
    pub unsafe fn peek_word<R>(&self, word: NonZeroU64, look: impl for<'h> FnOnce(Value<'h>) -> R) -> R {
        // SAFETY: the contract; and as in `OwnedValue::peek`.
        look(unsafe { Value::from_word(word) })
    }

    /// Returns a value by its word.
    ///
    /// # Safety
    /// The word came from an [`OwnedValue`] of this engine.
    #[inline]
    pub unsafe fn value_of_word(&self, word: NonZeroU64) -> OwnedValue {
        OwnedValue { word, engine: self.clone() }
    }

    /// Returns how many bytes the heap takes.
    pub fn allocated_bytes(&self) -> usize {
        let _locked = self.0.lock.lock();
        self.0.heap.allocated_bytes()
    }

    /// Returns whether both are the same engine.
    pub fn is_same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns how many engines, evaluators and values share this.
    pub fn n_owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// An evaluator that owns its share of an engine.
pub struct OwnedEvaluator {
    evaluator: ManuallyDrop<Box<Evaluator<'static>>>,
    engine: Engine,
}

// SAFETY: the evaluator is only used under the engine's lock; its host is `Send` by the constructor's type.
unsafe impl Send for OwnedEvaluator {}
// SAFETY: as above; a shared reference gives nothing without the lock.
unsafe impl Sync for OwnedEvaluator {}

impl Drop for OwnedEvaluator {
    fn drop(&mut self) {
        let _locked = self.engine.0.lock.lock();
        // SAFETY: not used again; the engine is dropped after this.
        unsafe { ManuallyDrop::drop(&mut self.evaluator) };
    }
}

impl OwnedEvaluator {
    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs `body` with the evaluator, on the engine's stack and on this thread. Waits while another thread evaluates on the same engine; may be called
    /// from within, by a builtin of the host.
    ///
    /// ```
    /// use nixlang::eval::EvalOptions;
    /// use nixlang::heap::{Engine, Kind};
    /// use nixlang::host::MemoryHost;
    /// use nixlang::source::Origin;
    ///
    /// let engine = Engine::new()?;
    /// let evaluator = engine.evaluator(Box::new(MemoryHost::default()), EvalOptions::default());
    /// let double = evaluator.enter(|eval| eval.eval_text(b"x: 2 * x", Origin::String, b"/").map(|value| engine.own(eval.heap, value))).expect("it evaluates");
    /// // Any time later, also on another thread:
    /// let answer = evaluator.enter(|eval| {
    ///     let double = double.get(eval)?;
    ///     let answer = eval.call(double, &[eval.heap.int(21)], nixlang::source::Pos::NONE).ok()?;
    ///     Some(engine.own(eval.heap, answer))
    /// });
    /// assert!(matches!(answer.expect("it evaluates").peek(|value| matches!(value.kind(), Kind::Int(42))), true));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter<R>(&self, body: impl for<'h> FnOnce(&Evaluator<'h>) -> R) -> R {
        let _locked = self.engine.0.lock.lock();
        self.engine.0.stack.enter(|size| {
            let _leave = Leave::new(self, self.evaluator.set_stack(size));
            body(&self.evaluator)
        })
    }
}

impl OwnedEvaluator {
    /// As [`enter`](Self::enter), for what needs no evaluation, and cheaper. What recurses fails with a stack overflow.
    pub fn glance<R>(&self, body: impl for<'h> FnOnce(&Evaluator<'h>) -> R) -> R {
        let _locked = self.engine.0.lock.lock();
        let _leave = Leave::new(self, self.evaluator.forbid_stack());
        body(&self.evaluator)
    }
}

/// What holds while an evaluator runs: it is the active one, and the steps in the heap's tank are its own.
struct Leave<'e> {
    entered: &'e OwnedEvaluator,
    stack_before: usize,
    active_before: usize,
    fuel_before: u32,
}

impl<'e> Leave<'e> {
    fn new(entered: &'e OwnedEvaluator, stack_before: usize) -> Self {
        let evaluator: &Evaluator<'static> = &entered.evaluator;
        let active_before = entered.engine.0.active.replace(std::ptr::from_ref(evaluator).addr());
        let is_again = entered.engine.0.active.get() == active_before;
        let fuel_before = if is_again { 0 } else { evaluator.heap.take_fuel() };
        Leave { entered, stack_before, active_before, fuel_before }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let (evaluator, active) = (&self.entered.evaluator, &self.entered.engine.0.active);
        evaluator.restore_stack(self.stack_before);
        if active.replace(self.active_before) != self.active_before {
            evaluator.park_fuel();
            evaluator.heap.refuel(self.fuel_before);
        }
    }
}

/// A value that anybody may hold.
#[derive(Clone)]
pub struct OwnedValue {
    word: NonZeroU64,
    engine: Engine,
}

impl Engine {
    /// Returns a value for the host to hold. `heap` is this engine's.
    ///
    /// # Panics
    /// When it is of another one.
    pub fn own<'h>(&self, heap: &'h Heap, value: Value<'h>) -> OwnedValue {
        assert!(std::ptr::eq(heap, &*self.0.heap), "the heap is this engine's");
        let word = NonZeroU64::new(value.word()).expect("the word of a value is not zero");
        OwnedValue { word, engine: self.clone() }
    }
}

impl OwnedValue {
    /// Returns the value, or `None` if it is one of another engine.
    pub fn get<'h>(&self, eval: &Evaluator<'h>) -> Option<Value<'h>> {
        self.on(eval.heap)
    }

    /// Returns the word, which is the value's identity.
    pub fn word(&self) -> NonZeroU64 {
        self.word
    }

    /// Returns the value, or `None` if it is not on this heap.
    pub fn on<'h>(&self, heap: &'h Heap) -> Option<Value<'h>> {
        if !std::ptr::eq(heap, &*self.engine.0.heap) {
            return None;
        }
        // SAFETY: the word came from a value of this heap (`own`), which `'h` names as well.
        Some(unsafe { Value::from_word(self.word) })
    }

    /// Looks at the value, without waiting for anybody: what is known of it by now. Its surface can be read, its parts and what they have become.
    pub fn peek<R>(&self, look: impl for<'h> FnOnce(Value<'h>) -> R) -> R {
        // SAFETY: the word came from a value of this heap, which the engine keeps. Without the heap at hand, the functions of values only load atomics, and
        // memory that doesn't change.
        look(unsafe { Value::from_word(self.word) })
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::builtins::{add_builtin, host_function};
    use crate::heap::{Kind, on_host_stack};
    use crate::host::MemoryHost;
    use crate::source::{Origin, Pos};

    fn evaluator(engine: &Engine) -> OwnedEvaluator {
        engine.evaluator(Box::new(MemoryHost::default()), EvalOptions::default())
    }

    fn eval(evaluator: &OwnedEvaluator, text: &str) -> OwnedValue {
        evaluator.enter(|eval| eval.eval_text(text.as_bytes(), Origin::String, b"/").map(|value| evaluator.engine().own(eval.heap, value))).expect("it evaluates")
    }

    #[test]
    fn values_outlive_their_evaluator_and_mix_with_those_of_others() {
        let engine = Engine::new().expect("address space");
        let first = evaluator(&engine);
        let (function, set) = (eval(&first, "x: x.a + 1"), eval(&first, "{ a = 41; }"));
        drop(first);
        let second = evaluator(&engine);
        drop(engine);
        let answer = second.enter(|eval| {
            let answer = eval.call(function.get(eval)?, &[set.get(eval)?], Pos::NONE).ok()?;
            Some(second.engine().own(eval.heap, answer))
        });
        drop(second);
        assert!(answer.expect("it evaluates").peek(|value| matches!(value.kind(), Kind::Int(42))));
        let other = evaluator(&Engine::new().expect("address space"));
        assert!(other.enter(|eval| set.get(eval).is_none()));
    }

    #[test]
    fn values_are_read_on_other_threads_while_one_evaluates() {
        let evaluator = evaluator(&Engine::new().expect("address space"));
        let list = eval(&evaluator, "builtins.genList (n: n * n) 2000");
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| loop {
                        let sum = list.peek(|value| {
                            let Kind::List(list) = value.kind() else { return Some(0) };
                            list.iter().map(|value| match value.kind() {
                                Kind::Int(int) => Some(int),
                                Kind::Thunk(thunk) => match thunk.value().map(Value::kind) {
                                    Some(Kind::Int(int)) => Some(int),
                                    _ => None,
                                },
                                _ => None,
                            }).sum::<Option<i64>>()
                        });
                        if let Some(sum) = sum {
                            return sum;
                        }
                    })
                })
                .collect();
            evaluator.enter(|eval| list.get(eval).map(|list| eval.force_deep(list).map(drop))).expect("of this engine").expect("it evaluates");
            for reader in readers {
                assert_eq!(reader.join().expect("no panic"), (0..2000).map(|n: i64| n * n).sum::<i64>());
            }
        });
    }

    #[test]
    fn callbacks_nest_on_both_stacks_and_what_the_host_gave_is_dropped_with_the_engine() {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let guard = Dropped(dropped.clone());
        let engine = Engine::new().expect("address space");
        let (outer, inner) = (Arc::new(evaluator(&engine)), Arc::new(evaluator(&Engine::new().expect("address space"))));
        let (weak, other) = (Arc::downgrade(&outer), inner.clone());
        outer.enter(|eval| {
            let run = host_function(eval.heap, "again", 1, Arc::new(move |eval, arguments| {
                let _ = &guard;
                let n = eval.force_int(arguments[0], Pos::NONE, "")?;
                let evaluator = weak.upgrade().expect("alive while it evaluates");
                // Through another engine and back again.
                let result = on_host_stack(|| other.enter(|_| on_host_stack(|| evaluator.enter(|eval| {
                    eval.eval_text(format!("let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 100 + (if {n} == 0 then 0 else again {})", n - 1).as_bytes(), Origin::String, b"/")
                        .and_then(|value| eval.force_int(value, Pos::NONE, ""))
                }))));
                result.map(|int| eval.heap.int(int))
            }));
            add_builtin(eval, "again", run, true);
        });
        assert!(eval(&outer, "again 50").peek(|value| matches!(value.kind(), Kind::Int(5100))));
        assert!(eval(&outer, "builtins.again 0").peek(|value| matches!(value.kind(), Kind::Int(100))));
        drop((outer, inner));
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        drop(engine);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn deep_evaluations_and_panics_leave_the_stack_usable() {
        let small = std::thread::Builder::new().stack_size(128 * 1024).spawn(|| {
            let evaluator = evaluator(&Engine::new().expect("address space"));
            for _ in 0..3 {
                let deep = "let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 9000";
                assert!(eval(&evaluator, deep).peek(|value| matches!(value.kind(), Kind::Int(9000))));
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| evaluator.enter(|_| panic!("on purpose"))));
                assert!(panicked.is_err());
            }
        });
        small.expect("a thread").join().expect("no panic");
    }
}
