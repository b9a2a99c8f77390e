//! The stack that an engine evaluates on: large, reserved once, and entered on the caller's own thread, so that thread-local state, debuggers
//! and the host's callbacks see the thread that they expect.
//!
//! Invariants: at most one thread is on a stack at a time (the engine's lock), and all that it holds there lies above `next`, where entering it again
//! goes on.
//!
//! The surprising part: callbacks of the host go back to the host's stack ([`on_host_stack`]), since scripting languages measure their own depth by
//! addresses. What was said about the current stacks is thread-local, which is the only honest place for it.
#![expect(unsafe_code, reason = "stacks are memory that is mapped and switched to")]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// Address space of a stack. Only what is used takes memory.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 4 << 30 } else { 1 << 30 };
/// At the low end; touching it ends the process instead of corrupting memory.
const GUARD_BYTES: usize = 1 << 20;
/// What may stay resident between two evaluations.
const KEPT_BYTES: usize = 1 << 20;
/// Below a frame that is left for another stack: more than the red zone and the frames of the functions that switch, which are not generic.
const GAP_BYTES: usize = 8 * 1024;
/// What nested calls may use of a host's stack whose size nobody knows.
const UNKNOWN_STACK_BYTES: usize = 32 * 1024;
/// What a callback must find on the host's stack, or else it stays on ours.
const HOST_STACK_BYTES: usize = 256 * 1024;

/// A mapped stack.
pub(super) struct Stack {
    low: *mut c_void,
    next: Cell<usize>,
}

/// Which stacks the current thread uses.
#[derive(Clone, Copy)]
struct Place {
    /// The engine's stack. Whoever made this place is still in `Stack::enter`, so it is alive.
    stack: NonNull<Stack>,
    /// Where the host's stack goes on for a callback.
    host: usize,
    /// The lowest usable address of the host's stack.
    host_low: usize,
    /// Whether the thread is on the engine's stack right now.
    is_inside: bool,
}

thread_local! {
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
    /// The lowest and the highest address of the thread's own stack; zeros if it was not asked for, ones if the system doesn't say.
    static OWN_STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

#[inline(always)]
fn stack_pointer() -> usize {
    psm::stack_pointer().addr()
}

/// Puts the thread's previous place back.
struct Restore(Option<Place>);

impl Drop for Restore {
    fn drop(&mut self) {
        PLACE.set(self.0);
    }
}

/// Puts back where a stack goes on.
struct RestoreNext<'s>(&'s Cell<usize>, usize);

impl Drop for RestoreNext<'_> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Runs `body` on the stack whose usable addresses are `low..high`.
///
/// # Safety
/// The addresses are writable, nobody else uses them, and nothing that the current thread still needs lies in them.
unsafe fn run_on<R>(low: usize, high: usize, body: impl FnOnce() -> R) -> R {
    let (mut body, mut result) = (Some(body), None);
    let mut run = || result = body.take().map(|body| catch_unwind(AssertUnwindSafe(body)));
    // SAFETY: the contract; panics are caught.
    unsafe { switch(low, high & !15, &mut run) };
    match result.expect("it ran") {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    }
}

/// # Safety
/// As of `run_on`; and `run` does not unwind.
#[inline(never)]
unsafe fn switch(low: usize, high: usize, run: &mut dyn FnMut()) {
    // SAFETY: the contract. Foreign exceptions don't pass: entries of a C ABI that could see one stop it.
    unsafe { psm::on_stack(std::ptr::with_exposed_provenance_mut(low), high - low, run) }
}

impl Stack {
    pub(super) fn new() -> std::io::Result<Stack> {
        // SAFETY: a new private mapping at an address of the system's choice, and protection of a part of it.
        unsafe {
            let low = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                STACK_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?;
            let stack = Stack { low, next: Cell::new(low.addr() + STACK_BYTES) };
            rustix::mm::mprotect(low, GUARD_BYTES, MprotectFlags::empty())?;
            stack.low.expose_provenance();
            Ok(stack)
        }
    }

    /// Runs `body` on this stack and tells it how many bytes it has. The caller holds the engine's lock.
    pub(super) fn enter<R>(&self, body: impl FnOnce(usize) -> R) -> R {
        match PLACE.get() {
            // Already there, or on that of another engine, which serves as well.
            Some(place) if place.is_inside => {
                // SAFETY: see `Place`.
                let low = unsafe { place.stack.as_ref() }.usable_low();
                body(stack_pointer().saturating_sub(low))
            }
            outer => {
                let (low, high) = (self.usable_low(), self.next.get());
                let host_low = outer.map_or_else(host_stack_low, |place| place.host_low);
                let host = stack_pointer() - GAP_BYTES;
                let place = Place { stack: NonNull::from(self), host, host_low, is_inside: true };
                let restore = Restore(PLACE.replace(Some(place)));
                // SAFETY: `low..high` is mapped; by the module's invariants only this thread uses it, and what it holds there is above `high`.
                let result = unsafe { run_on(low, high, || body(stack_pointer() - low)) };
                drop(restore);
                if high == self.low.addr() + STACK_BYTES {
                    self.trim();
                }
                result
            }
        }
    }

    fn usable_low(&self) -> usize {
        self.low.addr() + GUARD_BYTES
    }

    /// Gives memory back that a deep evaluation used.
    fn trim(&self) {
        let below = self.low.addr() + STACK_BYTES - KEPT_BYTES;
        // Frames have holes, so a few words are looked at. Reading a page that was never written costs no memory.
        let is_used = (1..=64).any(|n| {
            let word: *const usize = std::ptr::with_exposed_provenance(below - n * 64);
            // SAFETY: within the mapping, aligned, and nobody is on the stack.
            unsafe { word.read_volatile() != 0 }
        });
        if is_used {
            // SAFETY: the range lies within the mapping, and nobody is on the stack. What fails only costs memory.
            let _ = unsafe { rustix::mm::madvise(self.low.byte_add(GUARD_BYTES), STACK_BYTES - GUARD_BYTES - KEPT_BYTES, Advice::LinuxDontNeed) };
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; whoever enters holds the engine alive, so nobody is on it.
        let _ = unsafe { rustix::mm::munmap(self.low, STACK_BYTES) };
    }
}

/// Runs a callback of the host: on the stack that the host called from, as long as there is room.
pub fn on_host_stack<R>(callback: impl FnOnce() -> R) -> R {
    let Some(place) = PLACE.get().filter(|place| place.is_inside) else { return callback() };
    if place.host.saturating_sub(place.host_low) < HOST_STACK_BYTES {
        return callback();
    }
    // SAFETY: see `Place`. Inside, the engine's lock is held by this thread.
    let next = unsafe { &place.stack.as_ref().next };
    let _next = RestoreNext(next, next.replace(stack_pointer() - GAP_BYTES));
    let _restore = Restore(PLACE.replace(Some(Place { is_inside: false, ..place })));
    // SAFETY: the addresses below `host` belong to this thread's own stack, whose frames all lie above: it left it in `enter` or in an outer call of
    // this function, and `host_low` is the end of that stack.
    unsafe { run_on(place.host_low, place.host, callback) }
}

/// Returns the lowest address of the stack that the host calls from.
fn host_stack_low() -> usize {
    if OWN_STACK.get() == (0, 0) {
        OWN_STACK.set(thread_stack().unwrap_or((1, 1)));
    }
    let (low, high) = OWN_STACK.get();
    let here = stack_pointer();
    // A host that is on a stack of its own making (a coroutine, a foreign function interface) doesn't say how large that is. Its callbacks run there as they
    // would with any library; only nesting them is given little room.
    if (low..high).contains(&here) { low } else { here.saturating_sub(HOST_STACK_BYTES + UNKNOWN_STACK_BYTES) }
}

#[cfg(target_os = "linux")]
fn thread_stack() -> Option<(usize, usize)> {
    // SAFETY: the attributes are initialised by the first call, read by the second and freed by the third.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        let result = libc::pthread_attr_getstack(&attributes, &mut low, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        (result == 0).then(|| (low.addr(), low.addr() + size))
    }
}

#[cfg(not(target_os = "linux"))]
fn thread_stack() -> Option<(usize, usize)> {
    None
}
