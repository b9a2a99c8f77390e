//! Equality and ordering.
//!
//! Elements of lists and sets are equal when they are the same cell, whatever they are: so `[ f ] == [ f ]` for a function `f`, while
//! `f == f` is false. A cell's identity is the word in its slot; a slot whose thunk was replaced by its value holds neither function nor float.

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{FlatAttrs, Kind, Slot, Value};
use crate::source::Pos;

impl<'h> Evaluator<'h> {
    /// Returns whether two values are equal.
    pub fn equal(&self, a: Value<'h>, b: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<bool> {
        let _depth = self.enter_call(pos)?;
        let (a, b) = (self.force_at(a, pos)?, self.force_at(b, pos)?);
        Ok(match (a.kind(), b.kind()) {
            (Kind::Int(a), Kind::Int(b)) => a == b,
            (Kind::Int(a), Kind::Float(b)) => a as f64 == b,
            (Kind::Float(a), Kind::Int(b)) => a == b as f64,
            (Kind::Float(a), Kind::Float(b)) => a == b,
            (Kind::External(a), Kind::External(b)) => a.equals(b),
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(a), Kind::Bool(b)) => a == b,
            (Kind::String(a), Kind::String(b)) => a.bytes() == b.bytes(),
            (Kind::Path(a), Kind::Path(b)) => a.text.bytes() == b.text.bytes(),
            (Kind::List(a), Kind::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.slots().iter().zip(b.slots()) {
                    if !self.equal_cells(a, b, pos, context)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Kind::Attrs(x), Kind::Attrs(y)) => {
                if self.is_derivation(a)? && self.is_derivation(b)? {
                    let (x, y) = (x.get(self.names.out_path), y.get(self.names.out_path));
                    if let (Some(x), Some(y)) = (x, y) {
                        return self.equal_cells(x, y, pos, context);
                    }
                }
                let (x, y) = (x.flat(self.heap), y.flat(self.heap));
                if x.slots.len() != y.slots.len() {
                    return Ok(false);
                }
                for (x, y) in x.iter().zip(y.iter()) {
                    if x.symbol != y.symbol || !self.equal_cells(x.slot, y.slot, pos, context)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => false,
        })
    }

    fn equal_cells(&self, a: &'h Slot<'h>, b: &'h Slot<'h>, pos: Pos, context: &'static str) -> EvalResult<bool> {
        let same = a.get() == b.get();
        if same {
            // Both are forced all the same: an error in there is seen.
            let _depth = self.enter_call(pos)?;
            self.force_at(a.get(), pos)?;
            return Ok(true);
        }
        self.equal(a.get(), b.get(), pos, context)
    }

    /// Returns whether `a` comes before `b`.
    pub fn less_than(&self, a: Value<'h>, b: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<bool> {
        let given = (a, b);
        let (a, b) = (self.force_at(a, pos)?, self.force_at(b, pos)?);
        let with_context = |e: EvalError| if context.is_empty() { e } else { e.while_(Pos::NONE, context) };
        Ok(match (a.kind(), b.kind()) {
            (Kind::Int(a), Kind::Int(b)) => a < b,
            (Kind::Int(a), Kind::Float(b)) => (a as f64) < b,
            (Kind::Float(a), Kind::Int(b)) => a < b as f64,
            (Kind::Float(a), Kind::Float(b)) => a < b,
            (Kind::String(a), Kind::String(b)) => a.bytes() < b.bytes(),
            (Kind::Path(a), Kind::Path(b)) => a.text.bytes() < b.text.bytes(),
            (Kind::List(x), Kind::List(y)) => {
                for i in 0.. {
                    let (Some(y), Some(x)) = (y.slots().get(i), x.slots().get(i)) else { return Ok(i < y.len()) };
                    if !self.equal_cells(x, y, pos, context)? {
                        let _depth = self.enter_call(pos)?;
                        return self.less_than(x.get(), y.get(), pos, "while comparing two list elements").map_err(with_context);
                    }
                }
                false
            }
            _ => {
                let (ta, tb) = (a.described_type(), b.described_type());
                let (sa, sb) = (self.show_for_error(given.0), self.show_for_error(given.1));
                let message = if same_type(a, b) {
                    format!("cannot compare {ta} with {tb}; values of that type are incomparable (values are {sa} and {sb})")
                } else {
                    format!("cannot compare {ta} with {tb}; values are {sa} and {sb}")
                };
                return Err(with_context(EvalError::new(ErrorKind::Type, message)));
            }
        })
    }

    /// Fails with what differs between two values that are not equal.
    pub(super) fn assert_equal(&self, a: Value<'h>, b: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<()> {
        let _depth = self.enter_call(pos)?;
        let (a, b) = (self.force_at(a, pos)?, self.force_at(b, pos)?);
        let show = |value| self.show_for_error(value);
        let differ = |message: String| Err(EvalError::new(ErrorKind::Assertion, message));
        let number = |value: Value<'h>| matches!(value.kind(), Kind::Int(_) | Kind::Float(_));
        if number(a) && number(b) && !(matches!((a.kind(), b.kind()), (Kind::Int(_), Kind::Int(_)) | (Kind::Float(_), Kind::Float(_)))) {
            if self.equal(a, b, pos, context)? {
                return Ok(());
            }
            return differ(format!("{} with value '{}' is not equal to {} with value '{}'", a.described_type(), show(a), b.described_type(), show(b)));
        }
        if !same_type(a, b) {
            return differ(format!("{} of value '{}' is not equal to {} of value '{}'", a.described_type(), show(a), b.described_type(), show(b)));
        }
        match (a.kind(), b.kind()) {
            (Kind::Int(x), Kind::Int(y)) if x != y => differ(format!("an integer with value '{x}' is not equal to an integer with value '{y}'")),
            (Kind::Float(x), Kind::Float(y)) if x != y => {
                differ(format!("a float with value '{}' is not equal to a float with value '{}'", show(a), show(b)))
            }
            (Kind::Bool(x), Kind::Bool(y)) if x != y => differ(format!("boolean '{}' is not equal to boolean '{}'", show(a), show(b))),
            (Kind::String(x), Kind::String(y)) if x.bytes() != y.bytes() => differ(format!("string '{}' is not equal to string '{}'", show(a), show(b))),
            (Kind::Path(x), Kind::Path(y)) if x.text.bytes() != y.text.bytes() => {
                differ(format!("path '{}' is not equal to path '{}'", show(a), show(b)))
            }
            (Kind::List(x), Kind::List(y)) => {
                if x.len() != y.len() {
                    return differ(format!(
                        "list of size '{}' is not equal to list of size '{}', left hand side is '{}', right hand side is '{}'",
                        x.len(),
                        y.len(),
                        show(a),
                        show(b)
                    ));
                }
                for (i, (x, y)) in x.slots().iter().zip(y.slots()).enumerate() {
                    self.assert_equal_cells(x, y, pos, context).map_err(|e| e.while_(pos, format!("while comparing list element {i}")))?;
                }
                Ok(())
            }
            (Kind::Attrs(x), Kind::Attrs(y)) => {
                if self.is_derivation(a)? && self.is_derivation(b)? {
                    let (x, y) = (x.get(self.names.out_path), y.get(self.names.out_path));
                    if let (Some(x), Some(y)) = (x, y) {
                        return self
                            .assert_equal_cells(x, y, pos, context)
                            .map_err(|e| e.while_(pos, "while comparing a derivation by its 'outPath' attribute"));
                    }
                }
                self.assert_equal_attrs([a, b], x.flat(self.heap), y.flat(self.heap), pos, context)
            }
            (Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_), _) => {
                differ("distinct functions and immediate comparisons of identical functions compare as unequal".into())
            }
            _ => Ok(()),
        }
    }

    fn assert_equal_cells(&self, a: &'h Slot<'h>, b: &'h Slot<'h>, pos: Pos, context: &'static str) -> EvalResult<()> {
        if a.get() == b.get() { self.force_at(a.get(), pos).map(drop) } else { self.assert_equal(a.get(), b.get(), pos, context) }
    }

    fn assert_equal_attrs(&self, [a, b]: [Value<'h>; 2], x: FlatAttrs<'h>, y: FlatAttrs<'h>, pos: Pos, context: &'static str) -> EvalResult<()> {
        let differ = |message: String| Err(EvalError::new(ErrorKind::Assertion, message));
        let (sa, sb) = (|| self.show_for_error(a), || self.show_for_error(b));
        if x.slots.len() != y.slots.len() {
            return differ(format!("attribute names of attribute set '{}' differs from attribute set '{}'", sa(), sb()));
        }
        for (i, j) in x.iter().zip(y.iter()) {
            if i.symbol != j.symbol {
                return differ(if y.find(i.symbol).is_none() {
                    format!("attribute name '{}' is contained in '{}', but not in '{}'", self.text(i.symbol), sa(), sb())
                } else {
                    format!("attribute name '{}' is missing in '{}', but is contained in '{}'", self.text(j.symbol), sa(), sb())
                });
            }
            self.assert_equal_cells(i.slot, j.slot, pos, context).map_err(|mut e| {
                if j.pos.is_some() {
                    e = e.while_(j.pos, "where right hand side is");
                }
                if i.pos.is_some() {
                    e = e.while_(i.pos, "where left hand side is");
                }
                e.while_(pos, format!("while comparing attribute '{}'", self.text(i.symbol)))
            })?;
        }
        Ok(())
    }
}

fn same_type(a: Value<'_>, b: Value<'_>) -> bool {
    a.type_name() == b.type_name()
}
