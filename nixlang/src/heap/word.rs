//! The one-word value: a tag in the low three bits, and a pointer or an immediate in the rest.
//!
//! | tag | meaning of the rest |
//! |---|---|
//! | 0 | pointer to a thunk cell |
//! | 1 | signed 61-bit integer |
//! | 2 | pointer to a string |
//! | 3 | pointer to an attribute set |
//! | 4 | pointer to a list |
//! | 5 | pointer to a [`Closure`] |
//! | 6 | pointer to a [`Boxed`] |
//! | 7 | null, false, true |
#![expect(unsafe_code, reason = "tagged words hold pointers into the heap")]

use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;

use super::object::word_of;
use super::{Attrs, Env, Heap, List, Str, Thunk};
use crate::eval::{EvalResult, Evaluator};
use crate::lower::expr::Lambda;
use crate::value::External;
use crate::source::Pos;

/// Makes a type invariant in `'h`, and neither `Send` nor `Sync`.
pub(super) type Brand<'h> = PhantomData<(fn(&'h ()) -> &'h (), *const ())>;

/// A value, possibly not evaluated yet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value<'h>(NonZeroU64, Brand<'h>);

const _: () = assert!(size_of::<Value<'static>>() == 8 && size_of::<Option<Value<'static>>>() == 8 && size_of::<usize>() == 8);

const THUNK: u64 = 0;
const INT: u64 = 1;
const STRING: u64 = 2;
const ATTRS: u64 = 3;
const LIST: u64 = 4;
const CLOSURE: u64 = 5;
const BOXED: u64 = 6;
const SPECIAL: u64 = 7;
const TAG: u64 = 7;

/// A function with the environment that it was made in.
pub struct Closure<'h> {
    /// The code.
    pub lambda: &'h Lambda<'h>,
    /// Where its outer variables are.
    pub env: Env<'h>,
}

/// Values that don't fit a word and have no tag of their own.
pub enum Boxed<'h> {
    /// A floating-point number.
    Float(f64),
    /// An integer of more than 61 bits.
    Int(i64),
    /// A path.
    Path(Path<'h>),
    /// A builtin function.
    Builtin(&'h Builtin<'h>),
    /// A function that got some of its arguments.
    Partial(Partial<'h>),
    /// A value of the host.
    External(&'h dyn External),
}

/// A path: absolute, canonical.
#[derive(Clone, Copy)]
pub struct Path<'h> {
    /// Its text.
    pub text: Str<'h>,
}

/// A builtin function as the evaluator calls it.
pub struct Builtin<'h> {
    /// Its name, without underscores.
    pub name: &'h str,
    /// How many arguments it takes; at least 1.
    pub arity: u8,
    /// Bit `i` is set when the first thing it does to argument `i` is to force it, in the order of the bits:
    /// a call may then evaluate the argument in place.
    pub strict: u8,
    /// What it does.
    pub body: BuiltinBody<'h>,
    /// What the host says of it, as Markdown; empty for ours, which are described where they are defined.
    pub documentation: &'h str,
}

/// What a builtin does. Gets exactly `arity` arguments.
#[derive(Clone, Copy)]
pub enum BuiltinBody<'h> {
    /// One of ours.
    Native(fn(&Evaluator<'h>, &[Value<'h>], Pos) -> EvalResult<Value<'h>>),
    /// One that the host added.
    Host(&'h crate::builtins::HostBuiltin),
}

/// A function applied to fewer arguments than it takes.
#[derive(Clone, Copy)]
pub struct Partial<'h> {
    /// A closure or a builtin.
    pub function: Value<'h>,
    /// What it got so far; fewer than it takes.
    pub arguments: &'h [Value<'h>],
}

/// A value taken apart.
#[derive(Clone, Copy)]
pub enum Kind<'h> {
    /// Not (known to be) evaluated.
    Thunk(Thunk<'h>),
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    String(Str<'h>),
    /// A path.
    Path(Path<'h>),
    /// An attribute set.
    Attrs(Attrs<'h>),
    /// A list.
    List(List<'h>),
    /// A function written in the language.
    Lambda(&'h Closure<'h>),
    /// A builtin function.
    Builtin(&'h Builtin<'h>),
    /// A partially applied function.
    Partial(&'h Partial<'h>),
    /// A value of the host.
    External(&'h dyn External),
}

impl<'h> Value<'h> {
    /// `null`
    pub const NULL: Value<'h> = Value::special(0);
    /// `false`
    pub const FALSE: Value<'h> = Value::special(1);
    /// `true`
    pub const TRUE: Value<'h> = Value::special(2);

    const fn special(number: u64) -> Self {
        match NonZeroU64::new(number << 3 | SPECIAL) {
            Some(word) => Value(word, PhantomData),
            None => unreachable!(),
        }
    }

    fn tagged(pointer: NonNull<u64>, tag: u64) -> Self {
        Value(NonZeroU64::new(word_of(pointer) | tag).expect("a pointer is not null"), PhantomData)
    }

    /// Returns a truth value.
    #[inline]
    pub fn bool(value: bool) -> Self {
        if value { Self::TRUE } else { Self::FALSE }
    }

    /// Returns the value of a thunk's cell.
    #[inline]
    pub fn thunk(thunk: Thunk<'h>) -> Self {
        Self::tagged(thunk.pointer(), THUNK)
    }

    /// Returns the value of a string.
    #[inline]
    pub fn string(string: Str<'h>) -> Self {
        Self::tagged(string.pointer(), STRING)
    }

    /// Returns the value of an attribute set.
    #[inline]
    pub fn attrs(attrs: Attrs<'h>) -> Self {
        Self::tagged(attrs.pointer(), ATTRS)
    }

    /// Returns the value of a list.
    #[inline]
    pub fn list(list: List<'h>) -> Self {
        Self::tagged(list.pointer(), LIST)
    }

    /// Returns the value of a closure.
    #[inline]
    pub fn closure(closure: &'h Closure<'h>) -> Self {
        Self::tagged(NonNull::from(closure).cast(), CLOSURE)
    }

    /// Returns the value of a boxed object.
    #[inline]
    pub fn boxed(boxed: &'h Boxed<'h>) -> Self {
        Self::tagged(NonNull::from(boxed).cast(), BOXED)
    }

    /// Returns the word, which is the value's identity.
    #[inline]
    pub fn word(self) -> u64 {
        self.0.get()
    }

    /// Returns the value of a word that [`word`](Self::word) gave.
    ///
    /// # Safety
    /// The word came from a value of the heap that `'h` names.
    #[inline]
    pub(super) unsafe fn from_word(word: NonZeroU64) -> Self {
        Value(word, PhantomData)
    }

    /// Returns whether this is a thunk cell (forced or not).
    #[inline]
    pub fn is_thunk(self) -> bool {
        self.word() & TAG == THUNK
    }

    /// Returns whether something could tell this value from an equal one by the thunk that it came from, so that the thunk shall stay:
    /// always for functions, floats and lists, and for the other boxed values because telling them apart costs more than it gains.
    #[inline]
    pub fn is_known_by_its_cell(self) -> bool {
        matches!(self.word() & TAG, CLOSURE | LIST | BOXED)
    }

    #[inline]
    fn pointer(self) -> NonNull<u64> {
        super::object::pointer_of(self.word() & !TAG)
    }

    /// Takes the value apart.
    #[inline]
    pub fn kind(self) -> Kind<'h> {
        match self.word() & TAG {
            // SAFETY: by invariant 1 of the heap the tag says which constructor made the object, in a region that lives as long as `'h`.
            THUNK => Kind::Thunk(unsafe { Thunk::from_pointer(self.pointer()) }),
            INT => Kind::Int(self.word() as i64 >> 3),
            // SAFETY: as above.
            STRING => Kind::String(unsafe { Str::from_pointer(self.pointer()) }),
            // SAFETY: as above.
            ATTRS => Kind::Attrs(unsafe { Attrs::from_pointer(self.pointer()) }),
            // SAFETY: as above.
            LIST => Kind::List(unsafe { List::from_pointer(self.pointer()) }),
            // SAFETY: as above; the word was made from a `&'h Closure<'h>`.
            CLOSURE => Kind::Lambda(unsafe { self.pointer().cast().as_ref() }),
            BOXED => self.boxed_kind(),
            _ if self == Self::NULL => Kind::Null,
            _ => Kind::Bool(self == Self::TRUE),
        }
    }

    /// The rarer half of [`kind`](Self::kind), apart so that the other half is small where it is used.
    fn boxed_kind(self) -> Kind<'h> {
        // SAFETY: as in `kind`; the tag is BOXED, so the word was made from a `&'h Boxed<'h>`.
        match unsafe { self.pointer().cast::<Boxed<'h>>().as_ref() } {
            Boxed::Float(float) => Kind::Float(*float),
            Boxed::Int(int) => Kind::Int(*int),
            Boxed::Path(path) => Kind::Path(*path),
            Boxed::Builtin(builtin) => Kind::Builtin(builtin),
            Boxed::Partial(partial) => Kind::Partial(partial),
            Boxed::External(external) => Kind::External(*external),
        }
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({:#x})", self.word())
    }
}

impl Heap {
    /// Returns an integer.
    #[inline]
    pub fn int<'h>(&'h self, int: i64) -> Value<'h> {
        if int << 3 >> 3 == int {
            Value(NonZeroU64::new((int << 3) as u64 | INT).expect("the tag is not zero"), PhantomData)
        } else {
            Value::boxed(self.alloc(Boxed::Int(int)))
        }
    }

    /// Returns a floating-point number.
    pub fn float<'h>(&'h self, float: f64) -> Value<'h> {
        Value::boxed(self.alloc(Boxed::Float(float)))
    }

    /// Returns a string without context.
    pub fn string<'h>(&'h self, bytes: &[u8]) -> Value<'h> {
        Value::string(self.str(bytes))
    }

    /// Returns a path; `text` is absolute and canonical.
    pub fn path<'h>(&'h self, text: &[u8]) -> Value<'h> {
        Value::boxed(self.alloc(Boxed::Path(Path { text: self.str(text) })))
    }

    /// Returns a closure.
    #[inline]
    pub fn closure<'h>(&'h self, lambda: &'h Lambda<'h>, env: Env<'h>) -> Value<'h> {
        Value::closure(self.alloc(Closure { lambda, env }))
    }
}
