//! The heap of one engine: bump regions that are freed together, and the objects in them. All `unsafe` of this crate is
//! below this module; what it exports is safe.
//!
//! `'h` names a heap, it does not mean "how long": every value, expression, shape and environment carries the `'h` of the heap it lives in, the types are
//! invariant in it, and a heap's `'h` can be entered only through [`session`](crate::eval::session), which hands it to a closure
//! `for<'h>`. So values of two heaps cannot be mixed, and none outlives its heap:
//!
//! ```compile_fail
//! use nixlang::heap::Value;
//! fn mix<'a, 'b>(a: Value<'a>, b: Value<'b>) -> [Value<'a>; 2] { [a, b] } // two heaps
//! ```
//! ```compile_fail
//! use nixlang::{eval::{session, EvalOptions}, host::MemoryHost};
//! let escaped = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| eval.heap.int(1)); // outlives its heap
//! ```
//! ```compile_fail
//! fn send<T: Send>() {}
//! send::<nixlang::heap::Value<'static>>(); // a value stays with the thread that evaluates
//! ```
//!
//! # Invariants that the modules below keep
//! 1. A word with a pointer tag points to an object of that tag, made by a constructor in `object.rs` or `thunk_cell.rs`, in a
//!    region of this heap; regions are freed only with the heap.
//! 2. An object's length word and shape never change after its constructor, and its slots are initialised (zero = empty).
//! 3. Nothing that needs `Drop` is put into a region.

mod arena;
mod attrs_object;
mod engine;
mod object;
mod shape;
mod stack;
mod thunk_cell;
mod word;

pub use arena::{Allocable, Heap};
pub use attrs_object::{Attrs, Entry, FlatAttrs};
pub use engine::{Engine, OwnedEvaluator, OwnedValue};
pub use object::{Env, List, Slot, Str};
pub use shape::{Shape, Transition};
pub use stack::on_host_stack;
pub use thunk_cell::{Claim, Mapping, Thunk, Work};
pub use word::{Boxed, Builtin, BuiltinBody, Closure, Kind, Partial, Path, Value};
