//! What the opaque pointers of values, states, stores and paths are; and the engine that all states share.
//!
//! A value is a cell that is initialised once, perhaps after it was put into a list: then a thunk stands for it there, which is filled later. In the
//! reference values live longer than the state that made them, and those of several states mix, so there is one engine per process; it goes
//! when nothing refers to it any more.
#![expect(unsafe_code, reason = "handles are C's pointers")]

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nixlang::eval::{EvalResult, Evaluator};
use nixlang::heap::{Engine, Heap, Kind, OwnedEvaluator, OwnedValue, Value};
use parking_lot::Mutex;

use super::context::{Failure, Outcome};
use super::external::ExternalObject;
use super::primop::PrimOpObject;
use crate::pool::{self, Slot};
use crate::stores::OpenStore;

/// What `nix_gc_incref` and `nix_gc_decref` take.
pub enum Object {
    /// `nix_value`
    Value(Cell),
    /// `PrimOp`
    PrimOp(Arc<PrimOpObject>),
    /// `ExternalValue`
    External(Arc<ExternalObject>),
}

/// `EvalState`
pub struct State {
    pub(super) evaluator: Arc<OwnedEvaluator>,
}

/// `Store`
pub struct StoreHandle(pub(super) Arc<OpenStore>);

/// `StorePath`
pub struct PathHandle(pub(super) nixlang_store::path::StorePath);

/// `nix_derivation`
pub struct DerivationHandle(pub(super) nixlang_store::derivation::Derivation);

crate::pool::pooled!(Object, State, StoreHandle, PathHandle, DerivationHandle);

/// A value's place. Zero words are "nothing yet".
pub struct Cell {
    engine: Engine,
    word: AtomicU64,
    /// The thunk that stands for the value where it was used before it was there.
    later: AtomicU64,
    finalizer: Mutex<Option<Finalizer>>,
}

/// What `nix_gc_register_finalizer` was given: the function, its data, the object.
pub(super) struct Finalizer(pub(super) unsafe extern "C-unwind" fn(*mut std::ffi::c_void, *mut std::ffi::c_void), pub(super) usize, pub(super) usize);

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some(Finalizer(run, object, data)) = self.finalizer.get_mut().take() {
            // SAFETY: by the header's contract the function takes these two and does not throw.
            unsafe { run(std::ptr::with_exposed_provenance_mut(object), std::ptr::with_exposed_provenance_mut(data)) };
        }
    }
}

/// The engine of all states.
static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

/// Returns the engine of all states: the one that is in use, or a new one.
pub(super) fn engine() -> Outcome<Engine> {
    let mut engine = ENGINE.lock();
    match &*engine {
        Some(known) => Ok(known.clone()),
        None => {
            let new = Engine::new().map_err(|error| Failure::nix(format!("no memory for the evaluator's stack: {error}")))?;
            Ok(engine.insert(new).clone())
        }
    }
}

/// Frees the engine if nobody uses it any more.
pub(super) fn collect() {
    let unused = match ENGINE.try_lock() {
        Some(mut engine) if engine.as_ref().is_some_and(|engine| engine.n_owners() == 1) => engine.take(),
        _ => None,
    };
    drop(unused);
}

impl Cell {
    /// Returns a cell without a value.
    pub(super) fn new(engine: &Engine) -> Cell {
        Cell { engine: engine.clone(), word: AtomicU64::new(0), later: AtomicU64::new(0), finalizer: Mutex::default() }
    }

    /// Returns a cell with a value.
    pub(super) fn with(value: &OwnedValue) -> Cell {
        let cell = Cell::new(value.engine());
        cell.word.store(value.word().get(), Ordering::Release);
        cell
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn word(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.word.load(Ordering::Acquire))
    }

    /// Returns whether there is no value yet.
    pub(super) fn is_empty(&self) -> bool {
        self.word().is_none()
    }

    /// Returns the value.
    pub(super) fn value(&self) -> Outcome<OwnedValue> {
        let word = self.word().ok_or_else(uninitialised)?;
        // SAFETY: words in a cell are those of values of its engine.
        Ok(unsafe { self.engine.value_of_word(word) })
    }

    /// Looks at what is known of the value by now, without waiting for anybody.
    #[inline]
    pub(super) fn peek<R>(&self, look: impl for<'h> FnOnce(Value<'h>) -> Outcome<R>) -> Outcome<R> {
        let word = self.word().ok_or_else(uninitialised)?;
        // SAFETY: as above.
        unsafe { self.engine.peek_word(word, |value| look(known(value))) }
    }

    /// Returns the value, or what will stand for it.
    pub(super) fn argument(&self) -> OwnedValue {
        self.engine.with_heap(|heap| {
            let word = self.word().or_else(|| NonZeroU64::new(self.later.load(Ordering::Acquire))).unwrap_or_else(|| {
                let later = self.engine.own(heap, heap.later()).word();
                self.later.store(later.get(), Ordering::Release);
                later
            });
            // SAFETY: as above.
            unsafe { self.engine.value_of_word(word) }
        })
    }

    /// Stores a value, in place of an earlier one.
    pub(super) fn set<'h>(&self, heap: &'h Heap, value: Value<'h>) {
        self.word.store(self.engine.own(heap, value).word().get(), Ordering::Release);
        if let Some(later) = NonZeroU64::new(self.later.swap(0, Ordering::AcqRel)) {
            // SAFETY: as above.
            let later = unsafe { self.engine.value_of_word(later) };
            if let Some(later) = later.on(heap) {
                heap.fill(later, value);
            }
        }
    }

    /// Initialises the cell.
    pub(super) fn init(&self, make: impl for<'h> FnOnce(&'h Heap) -> Value<'h>) -> Outcome<()> {
        self.engine.with_heap(|heap| {
            self.check_empty()?;
            self.set(heap, make(heap));
            Ok(())
        })
    }

    /// Fails if there is a value already.
    pub(super) fn check_empty(&self) -> Outcome<()> {
        if self.is_empty() { Ok(()) } else { Err(Failure::unknown("nix_value already initialized. Variables are immutable")) }
    }

    pub(super) fn on_release(&self, finalizer: Finalizer) {
        *self.finalizer.lock() = Some(finalizer);
    }
}

fn uninitialised() -> Failure {
    Failure::unknown("Uninitialized nix_value")
}

/// Returns what a thunk has become, if it has.
#[inline]
pub(super) fn known(value: Value<'_>) -> Value<'_> {
    match value.kind() {
        Kind::Thunk(thunk) => thunk.value().unwrap_or(value),
        _ => value,
    }
}

/// Gives a value to C.
pub(super) fn give_value(value: &OwnedValue) -> *mut Slot<Object> {
    pool::give(Object::Value(Cell::with(value)))
}

/// Returns a value's cell.
///
/// # Safety
/// NULL or a handle of values, primops or external values.
pub(super) unsafe fn cell<'a>(value: *const Slot<Object>) -> Outcome<&'a Cell> {
    if value.is_null() {
        return Err(Failure::unknown("nix_value is null"));
    }
    // SAFETY: the contract.
    match unsafe { pool::look(value) } {
        Some(Object::Value(cell)) => Ok(cell),
        Some(_) => Err(Failure::unknown("this is not a nix_value")),
        None => Err(Failure::unknown("nix_value was released")),
    }
}

/// Returns a state.
///
/// # Safety
/// NULL or a handle of states.
pub(super) unsafe fn state<'a>(state: *const Slot<State>) -> Outcome<&'a State> {
    // SAFETY: the contract.
    unsafe { pool::look(state) }.ok_or_else(|| Failure::unknown("EvalState is null or was freed"))
}

/// Returns a store.
///
/// # Safety
/// NULL or a handle of stores.
pub(super) unsafe fn store<'a>(store: *const Slot<StoreHandle>) -> Outcome<&'a Arc<OpenStore>> {
    // SAFETY: the contract.
    unsafe { pool::look(store) }.map(|store| &store.0).ok_or_else(|| Failure::unknown("Store is null or was freed"))
}

/// Returns a store path.
///
/// # Safety
/// NULL or a handle of store paths.
pub(super) unsafe fn path<'a>(path: *const Slot<PathHandle>) -> Outcome<&'a nixlang_store::path::StorePath> {
    // SAFETY: the contract.
    unsafe { pool::look(path) }.map(|path| &path.0).ok_or_else(|| Failure::unknown("Store path is null or was freed"))
}

thread_local! {
    /// The states whose evaluations run on this thread, innermost last; what callbacks get.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
    }
}

/// Returns the state that evaluates on this thread, NULL if none does.
pub(super) fn running_state() -> *mut Slot<State> {
    RUNNING.with_borrow(|running| running.last().map_or(std::ptr::null_mut(), |address| std::ptr::with_exposed_provenance_mut(*address)))
}

/// Runs `body` with the evaluator of a state.
///
/// # Safety
/// NULL or a handle of states.
pub(super) unsafe fn evaluate<R>(handle: *mut Slot<State>, body: impl for<'h> FnOnce(&Evaluator<'h>, &Engine) -> Outcome<R>) -> Outcome<R> {
    // SAFETY: the contract.
    let evaluator = unsafe { state(handle) }?.evaluator.clone();
    RUNNING.with_borrow_mut(|running| running.push(handle.expose_provenance()));
    let _running = Running;
    let _no_collection = crate::guard::NoCollection::begin();
    evaluator.enter(|eval| body(eval, evaluator.engine()))
}

/// Returns what an evaluation gave, or its error as C sees it.
pub(super) fn checked<T>(eval: &Evaluator<'_>, result: EvalResult<T>) -> Outcome<T> {
    result.map_err(|error| Failure::eval(eval, &error))
}

/// Returns a value for an evaluator.
pub(super) fn on<'h>(eval: &Evaluator<'h>, value: &OwnedValue) -> Outcome<Value<'h>> {
    value.get(eval).ok_or_else(|| Failure::unknown("the value belongs to another engine"))
}
