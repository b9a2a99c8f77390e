//! The tree between text and IR: what the reference's parser actions would have made.
//!
//! It lives in a bump arena and in vectors of the builder for the time of one parse. Parentheses
//! are gone, sets are merged, strings are unescaped and stripped; variables are names still.
//!
//! The surprising thing: sets are numbers, not references. They go on changing after their
//! expression was made, since a later binding may be merged into them.

use std::cell::Cell;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use rustc_hash::FxHashMap;

use crate::lower::expr::BinaryOperator;
use crate::source::Pos;
use crate::symbol::Symbol;

/// An expression with names.
pub(super) enum Raw<'a> {
    Int(i64),
    Float(f64),
    String(&'a [u8]),
    /// The text of a path value; ends in a slash only as the first part of a join.
    Path(&'a [u8]),
    Variable(Symbol, Pos),
    CurrentPosition(Pos),
    Lambda(RawLambda<'a>),
    Apply { function: &'a Raw<'a>, arguments: &'a [&'a Raw<'a>], pos: Pos },
    Select { base: &'a Raw<'a>, path: &'a [RawName<'a>], default: Option<&'a Raw<'a>>, pos: Pos },
    HasAttr { base: &'a Raw<'a>, path: &'a [RawName<'a>], pos: Pos },
    Set(SetId),
    List(&'a [&'a Raw<'a>]),
    Let { set: SetId, body: &'a Raw<'a> },
    With { scope: &'a Raw<'a>, body: &'a Raw<'a>, pos: Pos },
    If { condition: &'a Raw<'a>, then: &'a Raw<'a>, otherwise: &'a Raw<'a>, pos: Pos },
    Assert { condition: &'a Raw<'a>, body: &'a Raw<'a>, pos: Pos },
    Not(&'a Raw<'a>),
    /// `Less` with `swapped` is `>`, and `Not` around one is `<=` or `>=`. Subtraction from the
    /// integer 0 is unary minus.
    Binary { operator: BinaryOperator, left: &'a Raw<'a>, right: &'a Raw<'a>, pos: Pos },
    Join { parts: &'a [(&'a Raw<'a>, Pos)], interpolation: bool, pos: Pos },
    SearchPath(&'a [u8], Pos),
}

/// The number of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetId(pub(super) u32);

/// An attribute's name.
#[derive(Clone, Copy)]
pub(super) enum RawName<'a> {
    Static(Symbol, Pos),
    Dynamic(&'a Raw<'a>, Pos),
}

/// A function of one argument.
pub(super) struct RawLambda<'a> {
    /// The name of the whole argument.
    pub(super) argument: Option<Symbol>,
    pub(super) formals: Option<RawFormals<'a>>,
    pub(super) body: &'a Raw<'a>,
    pub(super) pos: Pos,
    /// What it was bound to first.
    pub(super) name: Cell<Option<Symbol>>,
}

pub(super) struct RawFormals<'a> {
    /// Sorted by symbol.
    pub(super) entries: &'a [RawFormal<'a>],
    pub(super) ellipsis: bool,
}

#[derive(Clone, Copy)]
pub(super) struct RawFormal<'a> {
    pub(super) symbol: Symbol,
    pub(super) pos: Pos,
    pub(super) default: Option<&'a Raw<'a>>,
}

/// The bindings of a set or `let`.
pub(super) struct Set<'a> {
    pub(super) recursive: bool,
    pub(super) pos: Pos,
    /// In source order until [`Set::sort`].
    pub(super) attrs: BumpVec<'a, RawAttr<'a>>,
    /// Where each name is in `attrs`, once they are many.
    index: FxHashMap<Symbol, u32>,
    pub(super) dynamic: Vec<RawDynamic<'a>>,
    /// The expressions of `inherit (e)`.
    pub(super) sources: Vec<&'a Raw<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct RawAttr<'a> {
    pub(super) symbol: Symbol,
    pub(super) pos: Pos,
    pub(super) value: RawValue<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum RawValue<'a> {
    Plain(&'a Raw<'a>),
    /// `inherit x;`
    Inherited,
    /// `inherit (e) x;`, with the index of the source.
    InheritedFrom(u32),
}

#[derive(Clone, Copy)]
pub(super) struct RawDynamic<'a> {
    pub(super) name: &'a Raw<'a>,
    pub(super) value: &'a Raw<'a>,
    pub(super) pos: Pos,
}

/// Up to this many names are searched one by one.
const FEW: usize = 12;

impl<'a> Set<'a> {
    /// Returns an empty set that stands at `pos`.
    pub(super) fn at(pos: Pos, bump: &'a Bump) -> Set<'a> {
        Set {
            recursive: false,
            pos,
            attrs: BumpVec::new_in(bump),
            index: FxHashMap::default(),
            dynamic: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Returns the attribute with this name. Not to be used after [`Set::sort`].
    pub(super) fn find(&self, symbol: Symbol) -> Option<RawAttr<'a>> {
        if self.attrs.len() <= FEW {
            return self.attrs.iter().find(|attr| attr.symbol == symbol).copied();
        }
        self.index.get(&symbol).map(|&index| self.attrs[index as usize])
    }

    /// Adds an attribute whose name is new.
    pub(super) fn push(&mut self, attr: RawAttr<'a>) {
        let index = self.attrs.len() as u32;
        self.attrs.push(attr);
        if self.attrs.len() == FEW + 1 {
            let all = self.attrs.iter().enumerate();
            self.index = all.map(|(index, attr)| (attr.symbol, index as u32)).collect();
        } else if self.attrs.len() > FEW {
            self.index.insert(attr.symbol, index);
        }
    }

    /// Puts the attributes into the order of their symbols.
    pub(super) fn sort(&mut self) {
        self.attrs.sort_unstable_by_key(|attr| attr.symbol);
    }
}
