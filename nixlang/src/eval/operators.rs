//! Operators, string interpolation and failed assertions.

use super::statistics::count;
use super::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Env, Kind, List, Value};
use crate::lower::expr::{Assert, Binary, BinaryOperator, Expr, Join};
use crate::source::Pos;

impl<'h> Evaluator<'h> {
    pub(super) fn eval_binary(&self, binary: &'h Binary<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let pos = binary.pos;
        if self.observing.get() {
            let builtin = match binary.operator {
                BinaryOperator::Less => Some("lessThan"),
                BinaryOperator::Subtract => Some("sub"),
                BinaryOperator::Multiply => Some("mul"),
                BinaryOperator::Divide => Some("div"),
                _ => None,
            };
            if let Some(name) = builtin {
                return self.observed_operator(name, pos, env, || self.eval_binary_operator(binary, env));
            }
        }
        self.eval_binary_operator(binary, env)
    }

    #[inline]
    fn eval_binary_operator(&self, binary: &'h Binary<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let Binary { left, right, pos, operator } = binary;
        let pos = *pos;
        Ok(Value::bool(match operator {
            BinaryOperator::Equal => self.equal_operands(left, right, env, Pos::NONE)?,
            BinaryOperator::NotEqual => !self.equal_operands(left, right, env, Pos::NONE)?,
            BinaryOperator::And => {
                self.eval_bool(left, env, pos, "in the left operand of the AND (&&) operator")?
                    && self.eval_bool(right, env, pos, "in the right operand of the AND (&&) operator")?
            }
            BinaryOperator::Or => {
                self.eval_bool(left, env, pos, "in the left operand of the OR (||) operator")?
                    || self.eval_bool(right, env, pos, "in the right operand of the OR (||) operator")?
            }
            BinaryOperator::Implies => {
                !self.eval_bool(left, env, pos, "in the left operand of the IMPL (->) operator")?
                    || self.eval_bool(right, env, pos, "in the right operand of the IMPL (->) operator")?
            }
            BinaryOperator::Update => return self.eval_update(left, right, env),
            BinaryOperator::Concat => return self.eval_concat(left, right, env, pos),
            BinaryOperator::Less => {
                let _depth = self.enter_call(pos)?;
                // The reference calls a builtin here as well, and its operands are evaluated within the call.
                let operands = self.eval(left, env).and_then(|a| Ok((a, self.eval(right, env)?)));
                let less = operands.and_then(|(a, b)| self.less_than(self.in_cell(a, left, env), self.in_cell(b, right, env), Pos::NONE, ""));
                less.map_err(|e| e.while_(pos, "while calling the 'lessThan' builtin"))?
            }
            BinaryOperator::Subtract | BinaryOperator::Multiply | BinaryOperator::Divide => {
                // The reference calls a builtin here, which counts as a call.
                let _depth = self.enter_call(pos)?;
                let left = self.eval_argument(left, env);
                let right = self.delay(right, env);
                let (name, run): (_, fn(&Self, Value<'h>, Value<'h>, Pos) -> EvalResult<Value<'h>>) = match operator {
                    BinaryOperator::Subtract => ("sub", Self::subtract),
                    BinaryOperator::Multiply => ("mul", Self::multiply),
                    _ => ("div", Self::divide),
                };
                return run(self, left, right, Pos::NONE).map_err(|e| e.while_(pos, format!("while calling the '{name}' builtin")));
            }
        }))
    }

    fn equal_operands(&self, left: &'h Expr<'h>, right: &'h Expr<'h>, env: Env<'h>, pos: Pos) -> EvalResult<bool> {
        let left = self.eval(left, env)?;
        let right = self.eval(right, env)?;
        self.equal(left, right, pos, "while testing two values for equality")
    }

    fn update_operand(&self, operand: &'h Expr<'h>, env: Env<'h>, context: &'static str) -> EvalResult<Attrs<'h>> {
        let value = match operand {
            // A chain of updates is one operation, whose operands say what is wrong.
            Expr::Binary(Binary { operator: BinaryOperator::Update, .. }) => self.eval(operand, env)?,
            _ => self.eval(operand, env).map_err(|e| e.while_(self.pos_of(operand), context))?,
        };
        self.expect_attrs(value, self.pos_of(operand), context)
    }

    fn eval_update(&self, left: &'h Expr<'h>, right: &'h Expr<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        // The right operand first: so it is in the reference, and it decides which error is seen.
        let r = self.update_operand(right, env, "in the right operand of the update (//) operator")?;
        let l = self.update_operand(left, env, "in the left operand of the update (//) operator")?;
        Ok(Value::attrs(crate::value::update(self.heap, l, r)))
    }

    fn eval_concat(&self, left: &'h Expr<'h>, right: &'h Expr<'h>, env: Env<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        let left = self.eval(left, env)?;
        let right = self.eval(right, env)?;
        let context = "while evaluating one of the elements to concatenate";
        let lists = [self.force_list(left, pos, context)?, self.force_list(right, pos, context)?];
        self.concat_lists(&lists)
    }

    /// Returns one list of all elements; the only list that is not empty is returned as it is.
    pub fn concat_lists(&self, lists: &[List<'h>]) -> EvalResult<Value<'h>> {
        let total: usize = lists.iter().map(|list| list.len()).sum();
        if let Some(list) = lists.iter().find(|list| list.len() == total) {
            return Ok(Value::list(*list));
        }
        self.charge(total.saturating_mul(2 * size_of::<Value<'h>>()))?;
        count(&self.heap.counters().concats, 1);
        let elements: Vec<Value<'h>> = lists.iter().flat_map(|list| list.iter()).collect();
        Ok(Value::list(self.heap.list(elements)))
    }

    /// Returns one string of these parts.
    pub(crate) fn string_of_parts(&self, parts: &[&[u8]], context: Option<&'h crate::value::Context<'h>>) -> EvalResult<Value<'h>> {
        self.charge(parts.iter().map(|part| part.len()).sum())?;
        Ok(Value::string(self.heap.str_from_parts(parts, context)))
    }

    /// Returns both operands as numbers of one kind. `contexts` are what is said of operands of another type.
    fn arithmetic(&self, a: Value<'h>, b: Value<'h>, pos: Pos, contexts: [&'static str; 2]) -> EvalResult<Numbers> {
        let (left, right) = (self.force_at(a, pos)?, self.force_at(b, pos)?);
        if matches!(left.kind(), Kind::Float(_)) || matches!(right.kind(), Kind::Float(_)) {
            Ok(Numbers::Floats(self.force_float(a, pos, contexts[0])?, self.force_float(b, pos, contexts[1])?))
        } else {
            Ok(Numbers::Ints(self.force_int(a, pos, contexts[0])?, self.force_int(b, pos, contexts[1])?))
        }
    }

    fn checked(&self, result: Option<i64>, pos: Pos, message: impl FnOnce() -> String) -> EvalResult<Value<'h>> {
        match result {
            Some(result) => Ok(self.heap.int(result)),
            None => Err(EvalError::new(ErrorKind::Evaluation, message()).at(pos)),
        }
    }

    /// `builtins.add`
    pub fn add(&self, a: Value<'h>, b: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        match self.arithmetic(a, b, pos, ["while evaluating the first argument of the addition", "while evaluating the second argument of the addition"])? {
            Numbers::Floats(a, b) => Ok(self.heap.float(a + b)),
            Numbers::Ints(a, b) => self.checked(a.checked_add(b), pos, || format!("integer overflow in adding {a} + {b}")),
        }
    }

    /// `builtins.sub`
    pub fn subtract(&self, a: Value<'h>, b: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        match self.arithmetic(a, b, pos, ["while evaluating the first argument of the subtraction", "while evaluating the second argument of the subtraction"])? {
            Numbers::Floats(a, b) => Ok(self.heap.float(a - b)),
            Numbers::Ints(a, b) => self.checked(a.checked_sub(b), pos, || format!("integer overflow in subtracting {a} - {b}")),
        }
    }

    /// `builtins.mul`
    pub fn multiply(&self, a: Value<'h>, b: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        let (left, right) = (self.force_at(a, pos)?, self.force_at(b, pos)?);
        // The reference has two texts here.
        let is_float = matches!(left.kind(), Kind::Float(_)) || matches!(right.kind(), Kind::Float(_));
        let first = if is_float { "while evaluating the first of the multiplication" } else { "while evaluating the first argument of the multiplication" };
        match self.arithmetic(a, b, pos, [first, "while evaluating the second argument of the multiplication"])? {
            Numbers::Floats(a, b) => Ok(self.heap.float(a * b)),
            Numbers::Ints(a, b) => self.checked(a.checked_mul(b), pos, || format!("integer overflow in multiplying {a} * {b}")),
        }
    }

    /// `builtins.div`
    pub fn divide(&self, a: Value<'h>, b: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        let contexts = ["while evaluating the first operand of the division", "while evaluating the second operand of the division"];
        self.force_at(a, pos)?;
        if self.force_float(b, pos, contexts[1])? == 0.0 {
            return Err(EvalError::new(ErrorKind::Evaluation, "division by zero").at(pos));
        }
        match self.arithmetic(a, b, pos, contexts)? {
            Numbers::Floats(a, b) => Ok(self.heap.float(a / b)),
            Numbers::Ints(a, b) => self.checked(a.checked_div(b), pos, || format!("integer overflow in dividing {a} / {b}")),
        }
    }

    pub(super) fn eval_join(&self, join: &'h Join<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let [(first, first_pos), rest @ ..] = join.parts else { return Ok(self.heap.string(b"")) };
        let value = self.eval(first, env)?;
        if !join.interpolation {
            match value.kind() {
                Kind::Int(int) => return self.join_numbers(Number::Int(int), rest, env),
                Kind::Float(float) => return self.join_numbers(Number::Float(float), rest, env),
                Kind::Path(path) => {
                    let mut text = path.text.bytes().to_vec();
                    let mut has_context = false;
                    for (part, pos) in rest {
                        let part = self.eval(part, env)?;
                        let part = self.coerce_to_string(part, *pos, Coercion::PATH_SEGMENT, "while evaluating a path segment")?;
                        has_context |= part.context().is_some();
                        text.extend_from_slice(part.bytes());
                    }
                    if has_context {
                        let message = "a string that refers to a store path cannot be appended to a path";
                        return Err(EvalError::new(ErrorKind::Evaluation, message).at(join.pos));
                    }
                    return Ok(self.heap.path(&crate::path::canonicalise(&text)));
                }
                _ => {}
            }
        }
        let mut strings = Vec::with_capacity(join.parts.len());
        strings.push(self.coerce_to_string(value, *first_pos, Coercion::INTERPOLATION, "while evaluating a path segment")?);
        for (part, pos) in rest {
            let part = self.eval(part, env)?;
            strings.push(self.coerce_to_string(part, *pos, Coercion::INTERPOLATION, "while evaluating a path segment")?);
        }
        let context = strings.iter().fold(None, |context, string| self.contexts.union(context, string.context()));
        let parts: Vec<&[u8]> = strings.iter().map(|string| string.bytes()).collect();
        self.string_of_parts(&parts, context)
    }

    fn join_numbers(&self, mut sum: Number, rest: &'h [(Expr<'h>, Pos)], env: Env<'h>) -> EvalResult<Value<'h>> {
        for (part, pos) in rest {
            let value = self.eval(part, env)?;
            sum = match (sum, value.kind()) {
                (Number::Int(a), Kind::Int(b)) => match a.checked_add(b) {
                    Some(sum) => Number::Int(sum),
                    None => return Err(EvalError::new(ErrorKind::Evaluation, format!("integer overflow in adding {a} + {b}")).at(*pos)),
                },
                (Number::Int(a), Kind::Float(b)) => Number::Float(a as f64 + b),
                (Number::Float(a), Kind::Int(b)) => Number::Float(a + b as f64),
                (Number::Float(a), Kind::Float(b)) => Number::Float(a + b),
                (number, _) => {
                    let to = if matches!(number, Number::Int(_)) { "an integer" } else { "a float" };
                    let message = format!("cannot add {} to {to}", value.described_type());
                    return Err(EvalError::new(ErrorKind::Type, message).at(*pos));
                }
            };
        }
        Ok(match sum {
            Number::Int(int) => self.heap.int(int),
            Number::Float(float) => self.heap.float(float),
        })
    }

    /// Returns the error of an assertion that is false. Of `assert a == b` it says where the two differ.
    #[cold]
    pub(super) fn assertion_failed(&self, assert: &'h Assert<'h>, env: Env<'h>) -> EvalError {
        let text = String::from_utf8_lossy(assert.text);
        if let Expr::Binary(Binary { operator: BinaryOperator::Equal, left, right, .. }) = &assert.condition
            && let Err(error) = self.explain_difference(left, right, env)
        {
            return error.while_(assert.pos, format!("while evaluating the condition of the assertion '{text}'"));
        }
        EvalError::new(ErrorKind::Assertion, format!("assertion '{text}' failed")).at(assert.pos)
    }

    fn explain_difference(&self, left: &'h Expr<'h>, right: &'h Expr<'h>, env: Env<'h>) -> EvalResult<()> {
        let left = self.eval(left, env)?;
        let right = self.eval(right, env)?;
        self.assert_equal(left, right, Pos::NONE, "in an equality assertion")
    }
}

enum Numbers {
    Ints(i64, i64),
    Floats(f64, f64),
}

enum Number {
    Int(i64),
    Float(f64),
}
