//! Forcing: turning thunks into values, once; deep forcing; and forcing to a wanted type.

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Claim, Env, Kind, List, Slot, Str, Thunk, Value, Work};
use crate::lower::expr::Expr;
use crate::source::Pos;
use crate::value::Lazy;

impl<'h> Evaluator<'h> {
    /// Evaluates a value until its outermost form is known.
    #[inline]
    pub fn force(&self, value: Value<'h>) -> EvalResult<Value<'h>> {
        match value.kind() {
            Kind::Thunk(thunk) => self.force_thunk(thunk, Pos::NONE),
            _ => Ok(value),
        }
    }

    /// As [`force`](Self::force); an error that knows no position gets this one.
    #[inline]
    pub fn force_at(&self, value: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        match value.kind() {
            Kind::Thunk(thunk) => self.force_thunk(thunk, pos),
            _ => Ok(value),
        }
    }

    /// Forces what a slot holds, and puts the result there instead of the thunk where nobody could tell the difference.
    #[inline]
    pub fn force_slot_at(&self, slot: &'h Slot<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        let value = slot.get();
        let Kind::Thunk(thunk) = value.kind() else { return Ok(value) };
        let forced = self.force_thunk(thunk, pos)?;
        // Functions and floats are compared by the identity of their cell (`[f] == [f]`, NaN), so their thunk must stay.
        // Printing marks a list as repeated by its cell.
        if !forced.is_known_by_its_cell() {
            slot.set(forced);
        }
        Ok(forced)
    }

    #[inline]
    fn force_thunk(&self, thunk: Thunk<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        match thunk.value() {
            Some(value) => Ok(value),
            None => self.run_thunk(thunk, pos),
        }
    }

    fn run_thunk(&self, thunk: Thunk<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        self.check_stack(pos)?;
        self.step()?;
        let work = match thunk.claim() {
            Claim::Value(value) => return Ok(value),
            Claim::Failed(number) => return Err(Thunk::error(self.heap, number)),
            Claim::Pending => return Err(EvalError::infinite_recursion(thunk.identity()).at(pos)),
            Claim::Work(work) => work,
        };
        let mut result = match work {
            Work::Expr(expr, env) => self.eval(expr, env),
            Work::Call(function, arguments) => self.call_slots(function, arguments, pos),
            Work::Mapped(mapping, index) => {
                let entry = mapping.attrs.entry(index);
                self.call(mapping.function, &[Value::string(self.symbols.str(entry.symbol)), entry.slot.get()], pos)
            }
            Work::Lazy(lazy) => self.run_lazy(lazy),
        };
        if let Err(error) = &result
            && error.kind() == ErrorKind::InfiniteRecursion
        {
            result = Err(error.clone().in_cycle(thunk.identity(), self.place_of_work(work)));
        }
        match &result {
            Ok(value) => thunk.fulfil(*value),
            Err(error) if error.is_permanent() => thunk.fail(self.heap, error.clone()),
            Err(_) => thunk.release(),
        }
        result
    }

    #[cold]
    fn place_of_work(&self, work: Work<'h>) -> Pos {
        match work {
            Work::Expr(expr, _) => self.pos_of(expr),
            Work::Call(function, _) => self.place_of(function),
            Work::Mapped(mapping, _) => self.place_of(mapping.function),
            Work::Lazy(_) => Pos::NONE,
        }
    }

    fn call_slots(&self, function: Value<'h>, arguments: &'h [Slot<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        match arguments {
            [a] => self.call(function, &[a.get()], pos),
            [a, b] => self.call(function, &[a.get(), b.get()], pos),
            _ => self.call(function, &arguments.iter().map(Slot::get).collect::<Vec<_>>(), pos),
        }
    }

    fn run_lazy(&self, lazy: &'h Lazy<'h>) -> EvalResult<Value<'h>> {
        match lazy {
            Lazy::Line(pos) => Ok(self.sources.locate(*pos).map_or(Value::NULL, |it| self.heap.int(it.line.into()))),
            Lazy::Column(pos) => Ok(self.sources.locate(*pos).map_or(Value::NULL, |it| self.heap.int(it.column.into()))),
            Lazy::Import(file) => self.eval_file(file.bytes()),
            Lazy::Builtins => Ok(self.global(self.symbols.intern(b"builtins")).unwrap_or(Value::NULL)),
            // Not remembered: it may be there the next time.
            Lazy::Later(slot) => match slot.try_get() {
                Some(value) => self.force(value),
                None => Err(EvalError::new(ErrorKind::Recoverable, "a value of the host was needed before it was initialised")),
            },
            Lazy::FileType(path) => crate::builtins::file_type_value(self, path.bytes()),
        }
    }

    /// Forces a value and everything in it. Sets and lists that were visited before are not visited again.
    pub fn force_deep(&self, value: Value<'h>) -> EvalResult<Value<'h>> {
        let mut seen = rustc_hash::FxHashSet::default();
        let _depth = self.enter_call(self.place_of(value))?;
        let value = self.force_at(value, self.place_of(value))?;
        self.force_members(value, &mut seen)?;
        Ok(value)
    }

    fn force_members(&self, value: Value<'h>, seen: &mut rustc_hash::FxHashSet<u64>) -> EvalResult<()> {
        match value.kind() {
            Kind::Attrs(attrs) if seen.insert(value.word()) => {
                for entry in attrs.flat(self.heap).iter() {
                    self.force_member(entry.slot, seen)
                        .map_err(|e| e.while_(entry.pos, format!("while evaluating the attribute '{}'", self.text(entry.symbol))))?;
                }
            }
            Kind::List(list) if seen.insert(value.word()) => {
                for (i, slot) in list.slots().iter().enumerate() {
                    self.force_member(slot, seen).map_err(|e| e.while_(Pos::NONE, format!("while evaluating list element at index {i}")))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn force_member(&self, slot: &'h Slot<'h>, seen: &mut rustc_hash::FxHashSet<u64>) -> EvalResult<()> {
        let pos = self.place_of(slot.get());
        let _depth = self.enter_call(pos)?;
        let value = self.force_slot_at(slot, pos)?;
        self.force_members(value, seen)
    }

    /// Returns the place that a value itself knows: that of a function, of a set that a literal gave, and of a delayed call that of its function.
    pub fn place_of(&self, value: Value<'h>) -> Pos {
        match value.kind() {
            Kind::Lambda(closure) => closure.lambda.positions.first().copied().unwrap_or_default(),
            Kind::Attrs(attrs) => attrs.as_flat().map_or(Pos::NONE, |flat| flat.shape.place()),
            Kind::Thunk(thunk) if let Some(value) = thunk.value() => self.place_of(value),
            Kind::Thunk(thunk) => match thunk.delayed_function() {
                Some(function) if matches!(function.kind(), Kind::Lambda(_)) => self.place_of(function),
                _ => Pos::NONE,
            },
            _ => Pos::NONE,
        }
    }

    /// Returns the error for an evaluated value of the wrong type. Given as the thunk that it came from, a list is shown with what in it is
    /// that list again.
    #[cold]
    pub fn type_error(&self, expected: &str, found: Value<'h>) -> EvalError {
        let kind = self.force(found).unwrap_or(found).described_type();
        let message = format!("expected {expected} but found {kind}: {}", self.show_for_error(found));
        EvalError::new(ErrorKind::Type, message)
    }

    /// Evaluates an expression to a truth value.
    #[inline]
    pub fn eval_bool(&self, expr: &'h Expr<'h>, env: Env<'h>, pos: Pos, context: &'static str) -> EvalResult<bool> {
        match self.eval(expr, env) {
            Ok(value) => match value.kind() {
                Kind::Bool(value) => Ok(value),
                _ => Err(self.type_error("a Boolean", value).at(pos).while_(pos, context)),
            },
            Err(error) => Err(error.while_(pos, context)),
        }
    }

    /// Returns the set that an evaluated value is.
    #[inline]
    pub fn expect_attrs(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Attrs<'h>> {
        match value.kind() {
            Kind::Attrs(attrs) => Ok(attrs),
            _ => Err(self.type_error("a set", value).while_(pos, context)),
        }
    }

    /// Forces a value to a set. `context` says what for, e.g. "while evaluating the first argument passed to builtins.attrNames".
    pub fn force_attrs(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Attrs<'h>> {
        match self.force_at(value, pos)?.kind() {
            Kind::Attrs(attrs) => Ok(attrs),
            _ => Err(self.type_error("a set", value).while_(pos, context)),
        }
    }

    /// Forces what a slot holds to a set.
    pub fn force_slot_attrs(&self, slot: &'h Slot<'h>, pos: Pos, context: &'static str) -> EvalResult<Attrs<'h>> {
        self.force_slot_at(slot, pos)?;
        self.force_attrs(slot.get(), pos, context)
    }

    /// Forces a value to a list.
    pub fn force_list(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<List<'h>> {
        match self.force_at(value, pos)?.kind() {
            Kind::List(list) => Ok(list),
            _ => Err(self.type_error("a list", value).while_(pos, context)),
        }
    }

    /// Forces a value to a string (no coercion).
    pub fn force_string(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Str<'h>> {
        match self.force_at(value, pos).map_err(|e| e.while_(pos, context))?.kind() {
            Kind::String(string) => Ok(string),
            _ => Err(self.type_error("a string", value).at(pos).while_(pos, context)),
        }
    }

    /// Forces a value to a string that refers to no store path.
    pub fn force_string_no_context(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Str<'h>> {
        let string = self.force_string(value, pos, context)?;
        if let Some(references) = string.context() {
            let shown = self.show_context_element(&references.elements[0]);
            let text = String::from_utf8_lossy(string.bytes());
            let message = format!("the string '{text}' is not allowed to refer to a store path (such as '{shown}')");
            return Err(EvalError::new(ErrorKind::Evaluation, message).while_(pos, context));
        }
        Ok(string)
    }

    /// Forces a value to a truth value.
    pub fn force_bool(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<bool> {
        match self.force_at(value, pos).map_err(|e| e.while_(pos, context))?.kind() {
            Kind::Bool(bool) => Ok(bool),
            _ => Err(self.type_error("a Boolean", value).at(pos).while_(pos, context)),
        }
    }

    /// Forces a value to an integer.
    pub fn force_int(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<i64> {
        match self.force_at(value, pos).map_err(|e| e.while_(pos, context))?.kind() {
            Kind::Int(int) => Ok(int),
            _ => Err(self.type_error("an integer", value).at(pos).while_(pos, context)),
        }
    }

    /// Forces a value to a float; integers are converted.
    pub fn force_float(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<f64> {
        match self.force_at(value, pos).map_err(|e| e.while_(pos, context))?.kind() {
            Kind::Int(int) => Ok(int as f64),
            Kind::Float(float) => Ok(float),
            _ => Err(self.type_error("a float", value).at(pos).while_(pos, context)),
        }
    }

    /// Forces a value to something that can be called, and returns it.
    pub fn force_function(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Value<'h>> {
        let forced = self.force_at(value, pos).map_err(|e| e.while_(pos, context))?;
        match forced.kind() {
            Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_) => Ok(forced),
            Kind::Attrs(attrs) if attrs.get(self.names.functor).is_some() => Ok(forced),
            _ => Err(self.type_error("a function", value).at(pos).while_(pos, context)),
        }
    }

    /// Returns whether an evaluated value is a derivation: a set whose `type` is `"derivation"`.
    pub fn is_derivation(&self, value: Value<'h>) -> EvalResult<bool> {
        let Kind::Attrs(attrs) = value.kind() else { return Ok(false) };
        let Some(entry) = attrs.find(self.names.type_) else { return Ok(false) };
        Ok(matches!(self.force_slot_at(entry.slot, entry.pos)?.kind(), Kind::String(s) if s.bytes() == b"derivation"))
    }
}
