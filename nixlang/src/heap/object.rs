//! Objects of variable length: strings, lists, environments. Each is a pointer to a header of one or two words, followed by its contents.
//!
//! ```text
//! string  [ length ][ context pointer or 0 ][ bytes … ][ 0 … ]    at least one zero byte, for C
//! list    [ length ][ slot ] …
//! env     [ length:16 | parent pointer:48 ][ slot ] …     length 0xffff: the true one is in the word before
//! ```
#![expect(unsafe_code, reason = "objects of variable length are laid out by hand")]

use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::word::Brand;
use super::{Heap, Value};
use crate::eval::statistics::count;
use crate::value::Context;

/// Returns a pointer as a number, exposing its provenance.
#[inline]
pub(super) fn word_of<T>(pointer: NonNull<T>) -> u64 {
    pointer.as_ptr().expose_provenance() as u64
}

/// Returns the pointer that [`word_of`] made a number.
#[inline]
pub(super) fn pointer_of(word: u64) -> NonNull<u64> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(word as usize)).expect("heap objects are not at address 0")
}

/// A place for a value in a list, set or environment. May be overwritten by what its thunk became, hence atomic.
#[repr(transparent)]
pub struct Slot<'h>(AtomicU64, Brand<'h>);

impl<'h> Slot<'h> {
    /// Returns the value, `None` when nothing was put there yet.
    #[inline]
    pub fn try_get(&self) -> Option<Value<'h>> {
        // SAFETY: only `set` stores, and it stores words of values of this `'h`; zero is "empty" (invariant 2).
        NonZeroU64::new(self.0.load(Ordering::Acquire)).map(|word| unsafe { Value::from_word(word) })
    }

    /// Returns the value.
    ///
    /// Slots of lists and sets are always filled; an environment's slot is filled before code that uses it unguarded runs.
    #[inline]
    pub fn get(&self) -> Value<'h> {
        self.try_get().expect("the slot was filled")
    }

    /// Stores a value.
    #[inline]
    pub fn set(&self, value: Value<'h>) {
        self.0.store(value.word(), Ordering::Release);
    }
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'h>(NonNull<u64>, Brand<'h>);
        impl<'h> $name<'h> {
            #[inline]
            pub(super) fn pointer(self) -> NonNull<u64> {
                self.0
            }
            /// # Safety
            /// The pointer is to an object of this type in the heap that `'h` names.
            #[inline]
            pub(super) unsafe fn from_pointer(pointer: NonNull<u64>) -> Self {
                $name(pointer, PhantomData)
            }
            /// Returns a number that tells this object from every other one of its heap.
            pub fn identity(self) -> usize {
                self.0.as_ptr().addr()
            }
        }
    };
}
pub(super) use handle;

handle! {
    /// A string: bytes, and a context.
    Str
}
handle! {
    /// A list.
    List
}
handle! {
    /// A frame of variables, and the frames around it.
    Env
}

impl<'h> Str<'h> {
    /// Returns the bytes.
    #[inline]
    pub fn bytes(self) -> &'h [u8] {
        // SAFETY: the object was laid out by `str_from_parts`: a length, a context, and as many bytes; none changes afterwards.
        unsafe { std::slice::from_raw_parts(self.0.add(2).cast().as_ptr(), self.0.read() as usize) }
    }

    /// Returns the bytes and a zero byte after them.
    pub fn bytes_with_nul(self) -> &'h [u8] {
        // SAFETY: as above, and a zero byte follows.
        unsafe { std::slice::from_raw_parts(self.0.add(2).cast().as_ptr(), self.0.read() as usize + 1) }
    }

    /// Returns the context, `None` if it is empty.
    #[inline]
    pub fn context(self) -> Option<&'h Context<'h>> {
        // SAFETY: as above; the second word is 0 or was made from a `&'h Context<'h>`.
        match unsafe { self.0.add(1).read() } {
            0 => None,
            word => Some(unsafe { pointer_of(word).cast().as_ref() }),
        }
    }
}

impl<'h> List<'h> {
    /// Returns the elements' slots.
    #[inline]
    pub fn slots(self) -> &'h [Slot<'h>] {
        // SAFETY: the object was laid out by `list`: a length and as many initialised slots.
        unsafe { std::slice::from_raw_parts(self.0.add(1).cast().as_ptr(), self.0.read() as usize) }
    }

    /// Returns the number of elements.
    #[inline]
    pub fn len(self) -> usize {
        self.slots().len()
    }

    /// Returns whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the elements.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Value<'h>> + DoubleEndedIterator {
        self.slots().iter().map(Slot::get)
    }
}

const LONG: u64 = 0xffff;
const PARENT: u64 = (1 << 48) - 1;

impl<'h> Env<'h> {
    /// Returns the slots of this frame.
    #[inline]
    pub fn slots(self) -> &'h [Slot<'h>] {
        // SAFETY: the object was laid out by `env`: the header says how many initialised slots follow, and 0xffff that the word before it does.
        unsafe {
            let len = match self.0.read() >> 48 {
                LONG => self.0.sub(1).read(),
                len => len,
            };
            std::slice::from_raw_parts(self.0.add(1).cast().as_ptr(), len as usize)
        }
    }

    /// Returns a slot of this frame.
    #[inline]
    pub fn slot(self, slot: u32) -> &'h Slot<'h> {
        &self.slots()[slot as usize]
    }

    /// Returns the frame `depth` frames up (0: this one). The outermost frame is its own parent.
    #[inline]
    pub fn up(self, depth: u16) -> Env<'h> {
        let mut env = self;
        for _ in 0..depth {
            // SAFETY: the header's low 48 bits are the address of an env made by `env`, or 0 for the outermost.
            match unsafe { env.0.read() } & PARENT {
                0 => return env,
                word => env = Env(pointer_of(word), PhantomData),
            }
        }
        env
    }
}

impl Heap {
    /// Returns an empty slot of its own.
    pub fn slot<'h>(&'h self) -> &'h Slot<'h> {
        self.alloc(Slot(AtomicU64::new(0), PhantomData))
    }

    /// Returns a string without context.
    pub fn str<'h>(&'h self, bytes: &[u8]) -> Str<'h> {
        self.str_from_parts(&[bytes], None)
    }

    /// Returns a string made of several parts, sized once.
    pub fn str_from_parts<'h>(&'h self, parts: &[&[u8]], context: Option<&'h Context<'h>>) -> Str<'h> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let n_words = 2 + len / 8 + 1;
        let pointer = self.words(n_words);
        // SAFETY: there is room for two words, `len` bytes, and between one and eight more, which the last word has.
        unsafe {
            pointer.add(n_words - 1).write(0);
            pointer.write(len as u64);
            pointer.add(1).write(context.map_or(0, |context| word_of(NonNull::from(context))));
            let mut to: *mut u8 = pointer.add(2).cast().as_ptr();
            for part in parts {
                std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
                to = to.add(part.len());
            }
        }
        Str(pointer, PhantomData)
    }

    /// Returns a list of what `elements` yields. It must yield as many as it says; missing ones become `null`.
    pub fn list<'h>(&'h self, elements: impl IntoIterator<Item = Value<'h>, IntoIter: ExactSizeIterator>) -> List<'h> {
        let mut elements = elements.into_iter();
        let len = elements.len();
        count(&self.counters.lists, 1);
        count(&self.counters.list_elements, len);
        let pointer = self.words(1 + len);
        for i in 0..len {
            let value = elements.next().unwrap_or(Value::NULL);
            // SAFETY: there is room for a length and `len` slots, and `i < len`. (The iterator may allocate, in other places.)
            unsafe { pointer.add(1 + i).write(value.word()) };
        }
        // SAFETY: as above. The length is written last, when all slots are.
        unsafe { pointer.write(len as u64) };
        List(pointer, PhantomData)
    }

    /// Returns an outermost environment, which is its own parent.
    pub fn root_env<'h>(&'h self, len: usize) -> Env<'h> {
        self.env_with_header(0, len)
    }

    /// Returns a frame of `len` empty slots inside `parent`.
    #[inline]
    pub fn env<'h>(&'h self, parent: Env<'h>, len: usize) -> Env<'h> {
        self.env_with_header(word_of(parent.0), len)
    }

    #[inline]
    fn env_with_header<'h>(&'h self, parent: u64, len: usize) -> Env<'h> {
        debug_assert!(parent & !PARENT == 0, "user addresses have 48 bits");
        count(&self.counters.envs, 1);
        count(&self.counters.env_slots, len);
        let short = (len as u64) < LONG;
        let base = self.words(if short { 1 + len } else { 2 + len });
        // SAFETY: there is room for the header (two words when long) and `len` slots.
        unsafe {
            let pointer = if short {
                base
            } else {
                base.write(len as u64);
                base.add(1)
            };
            pointer.write(parent | (if short { len as u64 } else { LONG }) << 48);
            pointer.add(1).write_bytes(0, len);
            Env(pointer, PhantomData)
        }
    }
}
