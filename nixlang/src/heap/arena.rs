//! Bump regions. Nothing is freed before the heap itself; nothing in it has a destructor.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use bumpalo::Bump;

use super::attrs_object::Layered;
use super::shape::ShapeTable;
use super::{Boxed, Builtin, Closure, Partial, Shape, Transition, Value};
use crate::value::{Context, ContextElement, Lazy};
use crate::eval::EvalError;
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
    Shape, Transition, Value, Boxed, Closure, Builtin, Partial, Lazy, Context, Layered,
    Expr, DynamicVariable, Lambda, Formals, Formal, Apply, AttrName, Select, HasAttr, AttrsLiteral, Binding, DynamicBinding, ListLiteral, Let, With, If,
    Assert, Binary, Join,
}
impl<'h> Allocable for (Expr<'h>, crate::source::Pos) {}

/// The heap of one engine. See the module's page.
pub struct Heap {
    bump: Bump,
    /// Errors of thunks that failed; a failed thunk holds an index into it.
    failures: RefCell<Vec<EvalError>>,
    next_shape: Cell<u32>,
    pub(super) shapes: ShapeTable,
}

impl Heap {
    /// Returns an empty heap.
    pub(crate) fn new() -> Self {
        Heap { bump: Bump::new(), failures: RefCell::default(), next_shape: Cell::new(1), shapes: ShapeTable::default() }
    }

    /// Moves a value into the heap.
    pub fn alloc<T: Allocable>(&self, value: T) -> &T {
        self.bump.alloc(value)
    }

    /// Moves values into the heap, side by side.
    pub fn alloc_slice<T: Allocable>(&self, values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> &[T] {
        self.bump.alloc_slice_fill_iter(values)
    }

    /// Returns how many bytes the regions take.
    pub fn allocated_bytes(&self) -> usize {
        self.bump.allocated_bytes()
    }

    /// Returns room for `n_words` words, uninitialised, aligned to a word.
    #[inline]
    pub(super) fn words(&self, n_words: usize) -> NonNull<u64> {
        let layout = Layout::array::<u64>(n_words).expect("a length that comes from a slice in memory fits");
        self.bump.alloc_layout(layout).cast()
    }

    /// Keeps an error for a failed thunk and returns its number.
    pub(super) fn remember(&self, error: EvalError) -> u32 {
        let mut failures = self.failures.borrow_mut();
        failures.push(error);
        failures.len() as u32 - 1
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
