//! Arithmetic, comparison and rounding.

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("add", &["e1", "e2"], add).strict(3).doc("Returns the sum of *e1* and *e2*."),
    Definition::new("sub", &["e1", "e2"], sub).strict(3).doc("Returns the difference of *e1* and *e2*."),
    Definition::new("mul", &["e1", "e2"], mul).strict(3).doc("Returns the product of *e1* and *e2*."),
    Definition::new("div", &["e1", "e2"], div).doc("Returns the quotient of *e1* and *e2*; of integers, rounded towards zero."),
    Definition::new("lessThan", &["e1", "e2"], less_than).strict(3).doc("Returns whether *e1* is less than *e2*."),
    Definition::new("bitAnd", &["e1", "e2"], bit_and).strict(1).doc("Returns the bitwise AND of two integers."),
    Definition::new("bitOr", &["e1", "e2"], bit_or).strict(1).doc("Returns the bitwise OR of two integers."),
    Definition::new("bitXor", &["e1", "e2"], bit_xor).strict(1).doc("Returns the bitwise XOR of two integers."),
    Definition::new("ceil", &["number"], ceil).strict(1).doc("Rounds up to an integer."),
    Definition::new("floor", &["number"], floor).strict(1).doc("Rounds down to an integer."),
];

fn add<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.add(args[0], args[1], pos)
}

fn sub<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.subtract(args[0], args[1], pos)
}

fn mul<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.multiply(args[0], args[1], pos)
}

fn div<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.divide(args[0], args[1], pos)
}

fn less_than<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let (a, b) = (eval.force_at(args[0], pos)?, eval.force_at(args[1], pos)?);
    eval.less_than(a, b, pos, "").map(Value::bool)
}

fn bits<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos, contexts: [&'static str; 2], combine: fn(i64, i64) -> i64) -> EvalResult<Value<'h>> {
    let (a, b) = (eval.force_int(args[0], pos, contexts[0])?, eval.force_int(args[1], pos, contexts[1])?);
    Ok(eval.heap.int(combine(a, b)))
}

fn bit_and<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let contexts = ["while evaluating the first argument passed to builtins.bitAnd", "while evaluating the second argument passed to builtins.bitAnd"];
    bits(eval, args, pos, contexts, |a, b| a & b)
}

fn bit_or<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let contexts = ["while evaluating the first argument passed to builtins.bitOr", "while evaluating the second argument passed to builtins.bitOr"];
    bits(eval, args, pos, contexts, |a, b| a | b)
}

fn bit_xor<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let contexts = ["while evaluating the first argument passed to builtins.bitXor", "while evaluating the second argument passed to builtins.bitXor"];
    bits(eval, args, pos, contexts, |a, b| a ^ b)
}

/// Rounds as the reference does, which takes integers through floating point and refuses those that this changes.
fn round<'h>(eval: &Evaluator<'h>, arg: Value<'h>, pos: Pos, context: &'static str, round: fn(f64) -> f64) -> EvalResult<Value<'h>> {
    let float = eval.force_float(arg, pos, context)?;
    let rounded = round(float);
    let exact = match eval.force(arg)?.kind() {
        Kind::Int(int) => Some(int),
        _ => None,
    };
    let fail = |message: String| Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
    let (min, max) = (i64::MIN as f64, -(i64::MIN as f64));
    if !(rounded >= min && rounded < max) {
        return match exact {
            Some(int) => fail(format!(
                "Due to a bug (see https://github.com/NixOS/nix/issues/12899) the NixInt argument {int} caused undefined behavior in previous Nix versions.\n\tFuture Nix versions might implement the correct behavior."
            )),
            None => fail(format!("NixFloat argument {} is not in the range of NixInt", crate::text::number::format_general(float))),
        };
    }
    let result = rounded as i64;
    match exact {
        Some(int) if int != result => fail(format!(
            "Due to a bug (see https://github.com/NixOS/nix/issues/12899) a loss of precision occurred in previous Nix versions because the NixInt argument {int} was rounded to {result}.\n\tFuture Nix versions might implement the correct behavior."
        )),
        _ => Ok(eval.heap.int(result)),
    }
}

fn ceil<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    round(eval, args[0], pos, "while evaluating the first argument passed to builtins.ceil", f64::ceil)
}

fn floor<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    round(eval, args[0], pos, "while evaluating the first argument passed to builtins.floor", f64::floor)
}
