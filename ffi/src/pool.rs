//! Handles that C holds: counted, and in memory that is never given back, so that a handle which was released is seen to be one, instead of being
//! somebody else's memory.
//!
//! Invariants: a slot's memory lives as long as the process and always holds a `Slot<T>`; its contents are initialised exactly while its count is not zero,
//! and whoever takes the count from one to zero drops them. A stale handle may name a newer object of the same type; it never names anything else.
#![expect(unsafe_code, reason = "counted objects that C holds")]

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Slots that are made at once.
const CHUNK: usize = 64;
/// Slots that are released last are not used again before this many others were, so that a handle which is used once too often mostly names nothing.
const QUARANTINE: usize = 1024;

/// An object that C holds.
#[repr(C)]
pub(crate) struct Slot<T: 'static> {
    count: AtomicUsize,
    contents: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: contents are shared between threads only as `&T`, and dropped by one of them.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

/// The free slots of a type.
pub(crate) struct Pool<T: 'static> {
    free: Mutex<VecDeque<&'static Slot<T>>>,
    live: AtomicUsize,
}

/// Types whose objects C may hold.
pub(crate) trait Pooled: Send + Sync + Sized + 'static {
    /// The pool of the type.
    fn pool() -> &'static Pool<Self>;
}

impl<T> Pool<T> {
    /// Returns an empty pool.
    pub(crate) const fn new() -> Self {
        Pool { free: Mutex::new(VecDeque::new()), live: AtomicUsize::new(0) }
    }

    /// Returns how many objects there are.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

/// Gives an object to C, with a count of one.
pub(crate) fn give<T: Pooled>(contents: T) -> *mut Slot<T> {
    let pool = T::pool();
    let mut free = pool.free.lock();
    if free.len() <= QUARANTINE {
        let chunk: Vec<Slot<T>> = (0..CHUNK).map(|_| Slot { count: AtomicUsize::new(0), contents: UnsafeCell::new(MaybeUninit::uninit()) }).collect();
        for slot in Vec::leak(chunk).iter() {
            free.push_front(slot);
        }
    }
    let slot = free.pop_front().expect("filled just now");
    drop(free);
    pool.live.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the count is zero and nobody else got this slot, so nothing is initialised there and nobody looks.
    unsafe { (*slot.contents.get()).write(contents) };
    slot.count.store(1, Ordering::Release);
    NonNull::from(slot).as_ptr()
}

/// Returns what C holds, `None` for NULL and for what was released.
///
/// # Safety
/// The handle is NULL or came from [`give`] for the same type; and it is not released by another thread while the result is used.
#[inline]
pub(crate) unsafe fn look<'a, T: Pooled>(handle: *const Slot<T>) -> Option<&'a T> {
    // SAFETY: slots live for ever.
    let slot = unsafe { handle.as_ref() }?;
    if slot.count.load(Ordering::Acquire) == 0 {
        return None;
    }
    // SAFETY: the count is not zero, so the contents are initialised.
    Some(unsafe { (*slot.contents.get()).assume_init_ref() })
}

/// Adds one to the count. Returns whether the handle is one.
///
/// # Safety
/// As [`look`].
pub(crate) unsafe fn retain<T: Pooled>(handle: *const Slot<T>) -> bool {
    // SAFETY: slots live for ever.
    let Some(slot) = (unsafe { handle.as_ref() }) else { return false };
    slot.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count != 0).then(|| count + 1)).is_ok()
}

/// Takes one from the count, and drops the object with the last. Returns whether the handle was one.
///
/// # Safety
/// The handle is NULL or came from [`give`] for the same type.
pub(crate) unsafe fn release<T: Pooled>(handle: *const Slot<T>) -> bool {
    // SAFETY: slots live for ever.
    let Some(slot) = (unsafe { handle.as_ref() }) else { return false };
    match slot.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| count.checked_sub(1)) {
        Ok(1) => {
            // SAFETY: it was initialised while the count was not zero, and this thread alone saw it become zero.
            let contents = unsafe { (*slot.contents.get()).assume_init_read() };
            T::pool().live.fetch_sub(1, Ordering::Relaxed);
            T::pool().free.lock().push_back(slot);
            drop(contents);
            true
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Returns the count of a handle.
///
/// # Safety
/// As [`release`].
pub(crate) unsafe fn count<T: Pooled>(handle: *const Slot<T>) -> usize {
    // SAFETY: slots live for ever.
    unsafe { handle.as_ref() }.map_or(0, |slot| slot.count.load(Ordering::Acquire))
}

/// Declares the pool of a type.
macro_rules! pooled {
    ($($type:ty),* $(,)?) => {
        $(impl crate::pool::Pooled for $type {
            fn pool() -> &'static crate::pool::Pool<Self> {
                // Memory of handles, which outlives them on purpose; it holds no setting and no result.
                static POOL: crate::pool::Pool<$type> = crate::pool::Pool::new();
                &POOL
            }
        })*
    };
}
pub(crate) use pooled;

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(std::sync::Arc<()>);
    pooled!(Thing);

    #[test]
    fn released_handles_are_seen_to_be_released() {
        let counter = std::sync::Arc::new(());
        let handle = give(Thing(counter.clone()));
        // SAFETY: the handle came from `give`.
        unsafe {
            assert!(look(handle).is_some() && retain(handle) && release(handle) && look(handle).is_some());
            assert_eq!(std::sync::Arc::strong_count(&look(handle).expect("held").0), 2);
            assert!(release(handle));
            assert_eq!((std::sync::Arc::strong_count(&counter), Thing::pool().live()), (1, 0));
            assert!(!release(handle) && !retain(handle) && look(handle).is_none());
            assert!(!release(std::ptr::null::<Slot<Thing>>()));
        }
    }
}
