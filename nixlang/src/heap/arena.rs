//! Bump regions. Nothing is freed before the heap itself; nothing in it has a destructor.

#![expect(unsafe_code, reason = "what is kept is referred to for as long as the heap lives")]

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use bumpalo::Bump;

use super::attrs_object::Layered;
use super::shape::ShapeTable;
use super::{Boxed, Builtin, Closure, Mapping, Partial, Shape, Slot, Transition, Value};
use crate::builtins::HostBuiltin;
use crate::value::{Context, ContextElement, External, Lazy};
use crate::eval::EvalError;
use crate::eval::statistics::Counters;
use crate::lower::expr::*;

/// Types that may live in a region: they own nothing, so that not dropping them loses nothing.
/// The constructors check it (`needs_drop` at compile time); the trait keeps the list of such types in one place.
pub trait Allocable {}

macro_rules! allocable {
    ($($name:path),* $(,)? ; $($with_heap:ident),* $(,)?) => {
        $( impl Allocable for $name {} const _: () = assert!(!std::mem::needs_drop::<$name>()); )*
        $( impl<'h> Allocable for $with_heap<'h> {} const _: () = assert!(!std::mem::needs_drop::<$with_heap<'static>>()); )*
    };
}
allocable! {
    u8, u32, crate::symbol::Symbol, crate::source::Pos, ContextElement, FrameSlot;
    Slot, Shape, Transition, Value, Boxed, Closure, Builtin, Partial, Lazy, Mapping, Context, Layered,
    Expr, DynamicVariable, Lambda, Formals, Formal, Apply, AttrName, Select, HasAttr, AttrsLiteral, Binding, DynamicBinding, ListLiteral, Let, With, If,
    Assert, Binary, Join,
}
impl<'h> Allocable for (Expr<'h>, crate::source::Pos) {}

/// After an allocation of more bytes the evaluator looks at its budgets.
const LARGE_BYTES: usize = 64 * 1024;
/// How many bytes of pages are asked for at once: one by one, as they are touched, they cost several times as much.
const AHEAD_BYTES: usize = 256 * 1024;
/// Of the page sizes that there are.
const LARGEST_PAGE: usize = 64 * 1024;
/// A heap that is smaller than this lets its pages come one by one.
const AHEAD_FROM_BYTES: usize = 4 * AHEAD_BYTES;
/// What an error that a thunk remembers takes, roughly.
const FAILURE_BYTES: usize = 256;

/// The heap of one engine. See the module's page.
pub struct Heap {
    bump: Bump,
    /// The lowest address of the pages that were asked for last.
    ahead: Cell<usize>,
    /// Errors of thunks that failed; a failed thunk holds an index into it.
    failures: RefCell<Vec<EvalError>>,
    next_shape: Cell<u32>,
    /// Steps until the evaluator looks at its budgets again (see `eval/limits.rs`).
    fuel: Cell<u32>,
    /// Fuel that a large allocation took out of the tank, so that the look comes at once.
    fuel_aside: Cell<u32>,
    pub(super) counters: Counters,
    pub(super) shapes: ShapeTable,
    /// What has a destructor and is referred to by values: dropped with the heap, and never moved or dropped before.
    kept: RefCell<Vec<Kept>>,
}

/// See `Heap::kept`. Boxed, so that the vector may grow.
enum Kept {
    Function(Box<HostBuiltin>),
    External(Box<dyn External>),
}

impl Heap {
    /// Returns an empty heap.
    pub(crate) fn new() -> Self {
        Heap {
            bump: Bump::new(),
            ahead: Cell::new(0),
            failures: RefCell::default(),
            next_shape: Cell::new(1),
            fuel: Cell::new(0),
            fuel_aside: Cell::new(0),
            counters: Counters::default(),
            shapes: ShapeTable::default(),
            kept: RefCell::default(),
        }
    }

    /// Moves a value into the heap.
    pub fn alloc<T: Allocable>(&self, value: T) -> &T {
        self.bump.alloc(value)
    }

    /// Moves values into the heap, side by side.
    pub fn alloc_slice<T: Allocable>(&self, values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> &[T] {
        let values = values.into_iter();
        if values.len() > LARGE_BYTES / size_of::<T>().max(1) {
            self.look_soon();
        }
        self.bump.alloc_slice_fill_iter(values)
    }

    /// Returns how many bytes the regions take.
    pub fn allocated_bytes(&self) -> usize {
        self.bump.allocated_bytes()
    }

    /// Returns how many bytes are in use, with an estimate of what remembered errors take.
    pub fn used_bytes(&self) -> usize {
        self.bump.allocated_bytes() - self.bump.chunk_capacity() + self.failures.borrow().len() * FAILURE_BYTES
    }

    /// Returns how much of everything was made so far.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a step's fuel out of the tank; false if it is empty.
    #[inline(always)]
    pub(crate) fn burn(&self) -> bool {
        let fuel = self.fuel.get();
        if fuel == 0 {
            return false;
        }
        self.fuel.set(fuel - 1);
        true
    }

    /// Returns the fuel that is left.
    pub(crate) fn fuel(&self) -> u32 {
        self.fuel.get() + self.fuel_aside.get()
    }

    /// Empties the tank and returns what was in it.
    pub(crate) fn take_fuel(&self) -> u32 {
        self.fuel.take() + self.fuel_aside.take()
    }

    /// Fills the empty tank.
    pub(crate) fn refuel(&self, fuel: u32) {
        self.fuel.set(fuel);
    }

    /// Makes the next step look at the budgets.
    #[cold]
    fn look_soon(&self) {
        self.fuel_aside.set(self.fuel_aside.get() + self.fuel.take());
    }

    /// Returns room for `n_words` words, uninitialised, aligned to a word.
    #[inline]
    pub(super) fn words(&self, n_words: usize) -> NonNull<u64> {
        if n_words > LARGE_BYTES / 8 {
            self.look_soon();
        }
        let layout = Layout::array::<u64>(n_words).expect("a length that comes from a slice in memory fits");
        let pointer = self.bump.alloc_layout(layout).cast::<u64>();
        let address = pointer.addr().get();
        if address.wrapping_sub(self.ahead.get()) > AHEAD_BYTES {
            self.ask_ahead(address);
        }
        pointer
    }

    /// Asks for the pages below an address that was allocated just now: regions are filled downwards.
    #[cold]
    fn ask_ahead(&self, address: usize) {
        let room = self.bump.chunk_capacity().min(AHEAD_BYTES);
        let before = self.ahead.replace((address - room).next_multiple_of(LARGEST_PAGE));
        if self.bump.allocated_bytes() < AHEAD_FROM_BYTES {
            return;
        }
        // Up to where the last pages began, or in a new chunk to the page of the address.
        let is_next = before > address && before - address <= AHEAD_BYTES;
        let to = if is_next { before } else { address / LARGEST_PAGE * LARGEST_PAGE };
        #[cfg(target_os = "linux")]
        if self.ahead.get() < to {
            let pages = std::ptr::with_exposed_provenance_mut(self.ahead.get());
            // SAFETY: populating changes no byte of what is mapped, and where nothing is mapped, or a kernel is older than Linux 5.14, it is an
            // error, after which pages come one by one.
            let _ = unsafe { rustix::mm::madvise(pages, to - self.ahead.get(), rustix::mm::Advice::LinuxPopulateWrite) };
        }
    }

    /// Keeps a function of the host until the heap is dropped.
    pub(crate) fn keep_function(&self, function: HostBuiltin) -> &HostBuiltin {
        let mut kept = self.kept.borrow_mut();
        kept.push(Kept::Function(Box::new(function)));
        let Some(Kept::Function(function)) = kept.last() else { unreachable!("pushed just now") };
        // SAFETY: nothing is taken out of `kept`, or changed in it, before the heap is dropped, and what a box holds does not move with it.
        unsafe { NonNull::from(&**function).as_ref() }
    }

    /// Returns a value of the host. It is dropped with the heap.
    pub fn external<'h>(&'h self, external: Box<dyn External>) -> Value<'h> {
        let mut kept = self.kept.borrow_mut();
        kept.push(Kept::External(external));
        let Some(Kept::External(external)) = kept.last() else { unreachable!("pushed just now") };
        // SAFETY: as above.
        let external: &'h dyn External = unsafe { NonNull::from(&**external).as_ref() };
        Value::boxed(self.alloc(Boxed::External(external)))
    }

    /// Keeps an error for a failed thunk and returns its number.
    pub(super) fn remember(&self, error: EvalError) -> u32 {
        let mut failures = self.failures.borrow_mut();
        failures.push(error);
        failures.len() as u32 - 1
    }

    /// Returns how many errors are kept.
    pub(crate) fn n_failures(&self) -> usize {
        self.failures.borrow().len()
    }

    /// Replaces the errors kept since there were `n` of them by `error`, where they are the same one with less of its trace.
    pub(crate) fn complete_failures(&self, n: usize, error: &EvalError) {
        let mut failures = self.failures.borrow_mut();
        failures[n..].iter_mut().filter(|kept| kept.is_same(error)).for_each(|kept| *kept = error.clone());
    }

    /// Returns the error with this number.
    pub(super) fn remembered(&self, number: u32) -> EvalError {
        self.failures.borrow()[number as usize].clone()
    }

    pub(super) fn next_shape_number(&self) -> u32 {
        let number = self.next_shape.get();
        // Numbers only serve caches: after 2^32 shapes they stop being given out, and number 0 is never cached.
        self.next_shape.set(if number == 0 { 0 } else { number.wrapping_add(1) });
        number
    }
}
