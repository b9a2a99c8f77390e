//! The arena IR that the evaluator runs: one variant per semantic form, variables already resolved.
//! An `Expr` is two words and `Copy`; bigger forms point into the heap. Children are stored inline in their parent, and a
//! thunk holds a reference to the child that it suspends.

use std::sync::atomic::AtomicU64;

use crate::heap::{Shape, Value};
use crate::source::Pos;
use crate::symbol::Symbol;

/// One expression.
#[derive(Clone, Copy)]
pub enum Expr<'h> {
    /// A value that needs no evaluation: a literal, a global, a path.
    Constant(Value<'h>),
    /// `builtins.name`, looked up already. It is a selection all the same, so it is delayed where a literal is not.
    Builtin {
        /// What it is.
        value: Value<'h>,
        /// Where it stands.
        pos: Pos,
    },
    /// A variable of the innermost frame.
    Local {
        /// Slot in the frame.
        slot: u32,
        /// Where the name stands.
        pos: Pos,
    },
    /// A variable of an enclosing frame.
    Outer {
        /// How many frames up; at least 1.
        depth: u16,
        /// Slot in that frame.
        slot: u32,
        /// Where the name stands.
        pos: Pos,
    },
    /// A name that only the enclosing `with`s can provide.
    Dynamic(&'h DynamicVariable<'h>),
    /// A function.
    Lambda(&'h Lambda<'h>),
    /// A call with all its arguments: `f a b`.
    Apply(&'h Apply<'h>),
    /// `e.a.b` and `e.a.b or d`.
    Select(&'h Select<'h>),
    /// `e ? a.b`.
    HasAttr(&'h HasAttr<'h>),
    /// `{ … }` and `rec { … }`.
    Attrs(&'h AttrsLiteral<'h>),
    /// `[ … ]`.
    List(&'h ListLiteral<'h>),
    /// `let … in e`.
    Let(&'h Let<'h>),
    /// `with e; e`.
    With(&'h With<'h>),
    /// `if c then a else b`.
    If(&'h If<'h>),
    /// `assert c; e`.
    Assert(&'h Assert<'h>),
    /// `!e`.
    Not(&'h Expr<'h>),
    /// A binary operator other than `+`.
    Binary(&'h Binary<'h>),
    /// `"a${e}b"`, interpolated paths, and `a + b`.
    Join(&'h Join<'h>),
    /// `__curPos`.
    CurrentPosition(Pos),
}

impl Expr<'_> {
    /// Returns whether this is a variable whose slot is known.
    pub fn is_variable(&self) -> bool {
        matches!(self, Expr::Local { .. } | Expr::Outer { .. })
    }
}

const _: () = assert!(size_of::<Expr<'static>>() == 16);

/// A variable that is looked up in `with` scopes at run time.
pub struct DynamicVariable<'h> {
    /// The name.
    pub symbol: Symbol,
    /// Where it stands.
    pub pos: Pos,
    /// The scopes that may provide it, innermost first.
    pub scopes: &'h [FrameSlot],
}

/// The slot of some enclosing frame that holds the scope of a `with`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSlot {
    /// Frames up from the current one; 0 is the current one.
    pub depth: u16,
    /// Slot in that frame.
    pub slot: u32,
    /// Where the `with` stands.
    pub pos: Pos,
}

/// A function. `a: b: c: e` is one lambda of three parameters; a lambda with formals always has exactly one.
///
/// Calling it makes one frame of `frame_len` slots. Without formals: slots `0..n_params` hold the arguments. With formals:
/// slot `i` holds formal `i` (in the order of `Formals::entries`), and the whole argument, if it is named (`args@{…}`), is in slot
/// `Formals::whole`. The slots after those are for `let` and `with` of the body that use the lambda's frame (see [`Let::frame`]).
pub struct Lambda<'h> {
    /// Number of parameters, at least 1.
    pub n_params: u32,
    /// Slots of the frame.
    pub frame_len: u32,
    /// Names of the parameters (of the whole argument with formals, if it is named).
    pub params: &'h [Symbol],
    /// Where each (fused) lambda begins; as many as parameters. The last one is that of the lambda whose body this is.
    pub positions: &'h [Pos],
    /// The pattern `{ a, b ? d, ... }`.
    pub formals: Option<&'h Formals<'h>>,
    /// The body.
    pub body: Expr<'h>,
    /// The name that it was bound to, for messages.
    pub name: Option<Symbol>,
}

/// The pattern of a function that takes an attribute set.
pub struct Formals<'h> {
    /// The formals, sorted by symbol number.
    pub entries: &'h [Formal<'h>],
    /// Whether `...` was given.
    pub ellipsis: bool,
    /// Slot of the whole argument, if it is named.
    pub whole: Option<u32>,
}

/// One formal.
pub struct Formal<'h> {
    /// Its name.
    pub symbol: Symbol,
    /// Where it stands.
    pub pos: Pos,
    /// What it is when the argument lacks it; evaluated in the lambda's frame.
    pub default: Option<Expr<'h>>,
}

/// A call. Nested calls (`(f a) b`) are flattened.
pub struct Apply<'h> {
    /// What is called.
    pub function: Expr<'h>,
    /// The arguments, at least one.
    pub arguments: &'h [Expr<'h>],
    /// Where the call stands.
    pub pos: Pos,
}

/// One step of an attribute path.
#[derive(Clone, Copy)]
pub enum AttrName<'h> {
    /// A name that is known.
    Static(Symbol, Pos),
    /// `${e}`.
    Dynamic(Expr<'h>, Pos),
}

/// Selection along a path.
pub struct Select<'h> {
    /// What is selected from.
    pub base: Expr<'h>,
    /// The path, at least one step.
    pub path: &'h [AttrName<'h>],
    /// After `or`.
    pub default: Option<Expr<'h>>,
    /// Where the selection stands.
    pub pos: Pos,
    /// Inline cache of the first step: shape number in the upper half, slot in the lower. Starts as `u64::MAX`.
    pub cache: AtomicU64,
}

/// The test `e ? path`.
pub struct HasAttr<'h> {
    /// What is looked into.
    pub base: Expr<'h>,
    /// The path, at least one step.
    pub path: &'h [AttrName<'h>],
    /// Where the test stands.
    pub pos: Pos,
}

/// Which environment the value of a binding is evaluated in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindingScope {
    /// The frame that the bindings themselves make (`let`, `rec`); for a plain set the surrounding one.
    Inner,
    /// The surrounding frame: `inherit x;` in a `let` or `rec`. (`let` in a lambda's own frame: names are resolved so that it is the same frame.)
    Outer,
    /// The frame of the `inherit (e)` sources (plain sets only): its slots are the sources, its parent the surrounding frame.
    Sources,
}

/// The value of one static binding.
pub struct Binding<'h> {
    /// The value.
    pub value: Expr<'h>,
    /// Where `value` is evaluated.
    pub scope: BindingScope,
}

/// An attribute set literal.
pub struct AttrsLiteral<'h> {
    /// Names and positions of the static attributes, sorted by symbol number.
    pub shape: &'h Shape<'h>,
    /// Their values, in the shape's order.
    pub bindings: &'h [Binding<'h>],
    /// The expressions of `inherit (e) …` clauses, one per clause. In a `rec` they fill the frame's slots after those of the
    /// static attributes and are evaluated in that frame; in a plain set they make a frame of their own ([`BindingScope::Sources`]).
    pub sources: &'h [Expr<'h>],
    /// `rec`: a new frame whose slot `i` is attribute `i` of the shape.
    pub recursive: bool,
    /// A `rec` that has an attribute `__overrides`, and its index in the shape.
    pub overrides: Option<u32>,
    /// `${e} = v;`, in source order; evaluated in the inner frame for `rec`.
    pub dynamic: &'h [DynamicBinding<'h>],
    /// Where it stands.
    pub pos: Pos,
}

/// `${name} = value;`
pub struct DynamicBinding<'h> {
    /// The name.
    pub name: Expr<'h>,
    /// The value.
    pub value: Expr<'h>,
    /// Where the name stands.
    pub pos: Pos,
}

/// A list literal.
pub struct ListLiteral<'h> {
    /// The elements; at least one.
    pub elements: &'h [Expr<'h>],
}

/// `let … in …`. Bindings are in symbol order; binding `i` fills slot `start + i`, the sources fill the slots after them.
pub struct Let<'h> {
    /// The bindings.
    pub bindings: &'h [Binding<'h>],
    /// The expressions of `inherit (e) …` clauses, one per clause.
    pub sources: &'h [Expr<'h>],
    /// The body.
    pub body: Expr<'h>,
    /// Where the slots are.
    pub frame: Frame,
}

/// Where the slots of a `let` or `with` are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// In a new frame of this many slots, from slot 0.
    New(u32),
    /// In the current frame (that of the enclosing lambda, whose body's spine of `let`, `with` and `assert` runs once per call), from this slot.
    Current(u32),
}

/// `with e; body`.
pub struct With<'h> {
    /// The scope; its slot is filled with it, delayed.
    pub scope: Expr<'h>,
    /// The body.
    pub body: Expr<'h>,
    /// Where the slot is.
    pub frame: Frame,
    /// Where the `with` stands.
    pub pos: Pos,
}

/// `if`.
pub struct If<'h> {
    /// The condition.
    pub condition: Expr<'h>,
    /// When true.
    pub then: Expr<'h>,
    /// When false.
    pub otherwise: Expr<'h>,
    /// Where it stands.
    pub pos: Pos,
}

/// `assert`.
pub struct Assert<'h> {
    /// The condition.
    pub condition: Expr<'h>,
    /// What follows.
    pub body: Expr<'h>,
    /// Where it stands.
    pub pos: Pos,
    /// The text of the condition as the reference prints it in the message.
    pub text: &'h [u8],
}

/// A binary operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinaryOperator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `->`
    Implies,
    /// `//`
    Update,
    /// `++`
    Concat,
    /// `-`, when `__sub` is the global one
    Subtract,
    /// `*`, when `__mul` is the global one
    Multiply,
    /// `/`, when `__div` is the global one
    Divide,
    /// `<`, when `__lessThan` is the global one (`>`, `<=`, `>=` are swapped and negated forms of it)
    Less,
}

/// A binary operation.
pub struct Binary<'h> {
    /// The operator.
    pub operator: BinaryOperator,
    /// Left operand.
    pub left: Expr<'h>,
    /// Right operand.
    pub right: Expr<'h>,
    /// Where the operator stands.
    pub pos: Pos,
}

/// Concatenation of parts.
pub struct Join<'h> {
    /// The parts with their positions.
    pub parts: &'h [(Expr<'h>, Pos)],
    /// Interpolation: the result is a string whatever the first part is. Otherwise (`+`, paths) the first part decides.
    pub interpolation: bool,
    /// Where it stands.
    pub pos: Pos,
}
