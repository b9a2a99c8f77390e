//! The match over expressions. `eval` gives an evaluated value, `delay` a value that may be a thunk and that costs no evaluation.

use super::statistics::count;
use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Env, Kind, Value};
use crate::lower::expr::*;
use crate::source::Pos;
use crate::symbol::Symbol;

impl<'h> Evaluator<'h> {
    /// Evaluates an expression until its outermost form is known.
    pub fn eval(&self, mut expr: &'h Expr<'h>, mut env: Env<'h>) -> EvalResult<Value<'h>> {
        // Forms that end in another expression go on here, so that only operands nest.
        loop {
            match expr {
                Expr::Constant(value) if !value.is_thunk() => return Ok(*value),
                Expr::Constant(value) => return self.force(*value),
                Expr::Builtin { value, .. } => return Ok(*value),
                Expr::Local { slot, pos } => return self.force_variable(env, *slot, *pos),
                Expr::Outer { depth, slot, pos } => return self.force_variable(env.up(*depth), *slot, *pos),
                Expr::Dynamic(variable) => return self.eval_dynamic_variable(variable, env),
                Expr::Lambda(lambda) => return Ok(self.heap.closure(lambda, env)),
                Expr::Attrs(literal) => return self.eval_attrs(literal, env).map(Value::attrs),
                Expr::List(literal) => return Ok(self.eval_list(literal, env)),
                Expr::CurrentPosition(pos) => return Ok(self.position_value(*pos)),
                _ => {}
            }
            // A file's nesting is bounded when it is read, but not what is left of the stack when it is evaluated.
            self.check_stack(Pos::NONE)?;
            match expr {
                Expr::Apply(apply) => return self.eval_apply(apply, env),
                Expr::Select(select) => return self.eval_select(select, env),
                Expr::HasAttr(has_attr) => return self.eval_has_attr(has_attr, env),
                Expr::Let(it) => {
                    env = self.enter_let(it, env);
                    expr = &it.body;
                }
                Expr::With(with) => {
                    let (inner, slot) = match with.frame {
                        Frame::New(len) => (self.heap.env(env, len as usize), 0),
                        Frame::Current(slot) => (env, slot),
                    };
                    inner.slot(slot).set(self.delay(&with.scope, env));
                    env = inner;
                    expr = &with.body;
                }
                Expr::If(it) => {
                    let condition = self.eval_bool(&it.condition, env, it.pos, "while evaluating a branch condition")?;
                    expr = if condition { &it.then } else { &it.otherwise };
                }
                Expr::Assert(assert) => {
                    if !self.eval_bool(&assert.condition, env, assert.pos, "in the condition of the assert statement")? {
                        return Err(self.assertion_failed(assert, env));
                    }
                    expr = &assert.body;
                }
                Expr::Not(operand) => return self.eval_not(operand, env),
                Expr::Binary(binary) => return self.eval_binary(binary, env),
                Expr::Join(join) => return self.eval_join(join, env),
                _ => unreachable!("the forms without operands were answered above"),
            }
        }
    }

    /// Returns the value of an expression without evaluating anything: itself where it is a value already, otherwise a thunk.
    #[inline]
    pub fn delay(&self, expr: &'h Expr<'h>, env: Env<'h>) -> Value<'h> {
        match expr {
            Expr::Constant(value) => self.known(*value),
            Expr::Local { slot, .. } => env.slot(*slot).try_get().map_or_else(|| self.heap.thunk(expr, env), |value| self.known(value)),
            Expr::Outer { depth, slot, .. } => env.up(*depth).slot(*slot).try_get().map_or_else(|| self.heap.thunk(expr, env), |value| self.known(value)),
            Expr::Lambda(lambda) => self.heap.closure(lambda, env),
            _ => self.heap.thunk(expr, env),
        }
    }

    /// Counts a thunk that was not needed.
    #[inline]
    fn known(&self, value: Value<'h>) -> Value<'h> {
        count(&self.heap.counters().avoided, 1);
        value
    }

    fn eval_not(&self, mut operand: &'h Expr<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        // Many of them are one, or their places would take quadratic time.
        let mut n = 1;
        while let Expr::Not(inner) = operand {
            operand = inner;
            n += 1;
        }
        let value = match self.eval(operand, env) {
            Ok(value) => match value.kind() {
                Kind::Bool(value) => return Ok(Value::bool(value ^ (n % 2 == 1))),
                _ => Err(self.type_error("a Boolean", value).at(self.pos_of(operand))),
            },
            Err(error) => Err(error),
        };
        let pos = self.pos_of(operand);
        value.map_err(|error| (0..n).fold(error, |error, _| error.while_(pos, "in the argument of the not operator")))
    }

    #[inline]
    fn force_variable(&self, env: Env<'h>, slot: u32, pos: Pos) -> EvalResult<Value<'h>> {
        let slot = env.slot(slot);
        match slot.try_get() {
            Some(value) if !value.is_thunk() => Ok(value),
            Some(_) => self.force_slot_at(slot, pos),
            // Only a strict `with` scope or `inherit` source could look at a slot before it is filled; none is evaluated so early.
            None => Err(EvalError::new(ErrorKind::InfiniteRecursion, "infinite recursion encountered").at(pos)),
        }
    }

    fn eval_list(&self, literal: &'h ListLiteral<'h>, env: Env<'h>) -> Value<'h> {
        Value::list(self.heap.list(literal.elements.iter().map(|element| self.delay(element, env))))
    }

    /// Makes the frame of a `let` (or fills its part of the current one).
    fn enter_let(&self, it: &'h Let<'h>, env: Env<'h>) -> Env<'h> {
        let (inner, start) = match it.frame {
            Frame::New(len) => (self.heap.env(env, len as usize), 0),
            Frame::Current(start) => (env, start),
        };
        let first_source = start + it.bindings.len() as u32;
        for (i, source) in it.sources.iter().enumerate() {
            inner.slot(first_source + i as u32).set(self.delay(source, inner));
        }
        for (i, binding) in it.bindings.iter().enumerate() {
            let scope = if binding.scope == BindingScope::Outer { env } else { inner };
            inner.slot(start + i as u32).set(self.delay(&binding.value, scope));
        }
        inner
    }

    fn eval_attrs(&self, literal: &'h AttrsLiteral<'h>, env: Env<'h>) -> EvalResult<Attrs<'h>> {
        if !literal.recursive {
            let sources = if literal.sources.is_empty() {
                env
            } else {
                let sources = self.heap.env(env, literal.sources.len());
                for (i, source) in literal.sources.iter().enumerate() {
                    sources.slot(i as u32).set(self.delay(source, env));
                }
                sources
            };
            let values = literal.bindings.iter().map(|binding| {
                let scope = if binding.scope == BindingScope::Sources { sources } else { env };
                self.delay(&binding.value, scope)
            });
            let attrs = self.heap.attrs(literal.shape, values);
            return self.add_dynamic_attrs(attrs, literal, env);
        }
        let n_static = literal.bindings.len();
        let inner = self.heap.env(env, n_static + literal.sources.len());
        for (i, source) in literal.sources.iter().enumerate() {
            inner.slot((n_static + i) as u32).set(self.delay(source, inner));
        }
        for (i, binding) in literal.bindings.iter().enumerate() {
            // With `__overrides` every binding stays a thunk, so that what others see can still be replaced.
            let scope = if binding.scope == BindingScope::Outer { env } else { inner };
            let value = if literal.overrides.is_some() && binding.scope == BindingScope::Inner {
                self.heap.thunk(&binding.value, scope)
            } else {
                self.delay(&binding.value, scope)
            };
            inner.slot(i as u32).set(value);
        }
        let mut attrs = self.heap.attrs(literal.shape, inner.slots()[..n_static].iter().map(|slot| slot.get()));
        if let Some(index) = literal.overrides {
            let overrides = self.force_attrs(inner.slot(index).get(), Pos::NONE, "while evaluating the `__overrides` attribute")?;
            for entry in overrides.flat(self.heap).iter() {
                if let Some(slot) = literal.shape.find(entry.symbol) {
                    inner.slot(slot as u32).set(entry.slot.get());
                }
            }
            attrs = crate::value::update(self.heap, attrs, overrides);
        }
        self.add_dynamic_attrs(attrs, literal, inner)
    }

    fn add_dynamic_attrs(&self, attrs: Attrs<'h>, literal: &'h AttrsLiteral<'h>, env: Env<'h>) -> EvalResult<Attrs<'h>> {
        if literal.dynamic.is_empty() {
            return Ok(attrs);
        }
        let mut added: Vec<(Symbol, Pos, Value<'h>)> = Vec::with_capacity(literal.dynamic.len());
        let mut seen = rustc_hash::FxHashMap::default();
        for binding in literal.dynamic {
            let name = self.eval(&binding.name, env)?;
            if matches!(name.kind(), Kind::Null) {
                continue;
            }
            let name = self.force_string_no_context(name, binding.pos, "while evaluating the name of a dynamic attribute")?;
            let symbol = self.symbols.intern(name.bytes());
            let before = attrs.find(symbol).map(|entry| entry.pos).or_else(|| seen.get(&symbol).copied());
            if let Some(before) = before {
                let message = format!("dynamic attribute '{}' already defined at {}", self.text(symbol), self.show_pos(before));
                return Err(EvalError::new(ErrorKind::Evaluation, message).at(binding.pos));
            }
            seen.insert(symbol, binding.pos);
            added.push((symbol, binding.pos, self.delay(&binding.value, env)));
        }
        added.sort_by_key(|it| it.0);
        let flat = attrs.flat(self.heap);
        let mut all: Vec<_> = flat.iter().map(|entry| (entry.symbol, entry.pos, entry.slot.get())).chain(added).collect();
        all.sort_by_key(|it| it.0);
        Ok(self.heap.attrs_from_entries(all.into_iter()))
    }

    fn eval_dynamic_variable(&self, variable: &'h DynamicVariable<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        for scope in variable.scopes {
            let slot = env.up(scope.depth).slot(scope.slot);
            let attrs = match slot.try_get().map(Value::kind) {
                Some(Kind::Attrs(attrs)) => attrs,
                _ => {
                    self.force_slot_at(slot, variable.pos)?;
                    self.expect_attrs(slot.get(), scope.pos, "while evaluating the first subexpression of a with expression")?
                }
            };
            if let Some(found) = attrs.get(variable.symbol) {
                return self.force_slot_at(found, variable.pos);
            }
        }
        let message = format!("undefined variable '{}'", self.text(variable.symbol));
        Err(EvalError::new(ErrorKind::UndefinedVariable, message).at(variable.pos))
    }

    fn position_value(&self, pos: Pos) -> Value<'h> {
        let Some(location) = self.sources.locate(pos) else { return Value::NULL };
        let crate::source::Origin::File(path) = &location.source.origin else { return Value::NULL };
        self.attrs_of([
            (self.names.file, self.heap.string(path)),
            (self.names.line, self.heap.int(location.line.into())),
            (self.names.column, self.heap.int(location.column.into())),
        ])
    }

    /// Returns a new set of these attributes, without positions; of equal names the last stays.
    pub fn attrs_of(&self, attributes: impl IntoIterator<Item = (Symbol, Value<'h>)>) -> Value<'h> {
        let mut attributes: Vec<_> = attributes.into_iter().map(|(symbol, value)| (symbol, Pos::NONE, value)).collect();
        attributes.sort_by_key(|it| it.0);
        attributes.reverse();
        attributes.dedup_by_key(|it| it.0);
        attributes.reverse();
        Value::attrs(self.heap.attrs_from_entries(attributes.into_iter()))
    }

    /// Returns a symbol as messages show it: quoted unless it is an identifier.
    pub fn text(&self, symbol: Symbol) -> String {
        let mut shown = Vec::new();
        super::print_attr_name(&mut shown, self.symbols.text(symbol));
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Returns where an expression stands, as far as it knows.
    pub fn pos_of(&self, mut expr: &Expr<'h>) -> Pos {
        loop {
            expr = match expr {
                Expr::List(it) => match it.elements {
                    [first, ..] => first,
                    [] => return Pos::NONE,
                },
                Expr::HasAttr(it) => &it.base,
                Expr::Not(operand) => operand,
                _ => break,
            }
        }
        match expr {
            Expr::Constant(_) | Expr::Let(_) | Expr::List(_) | Expr::HasAttr(_) | Expr::Not(_) => Pos::NONE,
            Expr::Local { pos, .. } | Expr::Outer { pos, .. } | Expr::Builtin { pos, .. } | Expr::CurrentPosition(pos) => *pos,
            Expr::Dynamic(it) => it.pos,
            Expr::Lambda(it) => it.positions.first().copied().unwrap_or_default(),
            Expr::Apply(it) => it.pos,
            Expr::Select(it) => it.pos,
            Expr::Attrs(it) => it.pos,
            Expr::With(it) => it.pos,
            Expr::If(it) => it.pos,
            Expr::Assert(it) => it.pos,
            // In the reference, equality alone of all operators knows no place.
            Expr::Binary(it) if matches!(it.operator, BinaryOperator::Equal | BinaryOperator::NotEqual) => Pos::NONE,
            Expr::Binary(it) => it.pos,
            Expr::Join(it) => it.pos,
        }
    }
}
