//! `typeOf` and the `is…` functions.

use super::Definition;
use crate::eval::{EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("typeOf", &["e"], type_of).strict(1).doc("Returns the type of *e*: `\"int\"`, `\"bool\"`, `\"string\"`, `\"path\"`, `\"null\"`, `\"set\"`, `\"list\"`, `\"lambda\"` or `\"float\"`."),
    Definition::new("isNull", &["e"], is_null).strict(1).global().doc("Returns whether *e* is `null`."),
    Definition::new("isFunction", &["e"], is_function).strict(1).doc("Returns whether *e* is a function (a set with `__functor` is not)."),
    Definition::new("isInt", &["e"], is_int).strict(1).doc("Returns whether *e* is an integer."),
    Definition::new("isFloat", &["e"], is_float).strict(1).doc("Returns whether *e* is a floating-point number."),
    Definition::new("isString", &["e"], is_string).strict(1).doc("Returns whether *e* is a string."),
    Definition::new("isBool", &["e"], is_bool).strict(1).doc("Returns whether *e* is a truth value."),
    Definition::new("isPath", &["e"], is_path).strict(1).doc("Returns whether *e* is a path."),
    Definition::new("isAttrs", &["e"], is_attrs).strict(1).doc("Returns whether *e* is a set."),
    Definition::new("isList", &["e"], is_list).strict(1).doc("Returns whether *e* is a list."),
];

fn type_of<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let value = eval.force_at(args[0], pos)?;
    if let Kind::External(external) = value.kind() {
        return Ok(eval.heap.string(external.type_name().as_bytes()));
    }
    let name = value.type_name();
    Ok(Value::string(eval.symbols.str(eval.symbols.intern(name.as_bytes()))))
}

fn is_null<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Null)))
}

fn is_function<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_))))
}

fn is_int<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Int(_))))
}

fn is_float<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Float(_))))
}

fn is_string<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::String(_))))
}

fn is_bool<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Bool(_))))
}

fn is_path<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Path(_))))
}

fn is_attrs<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::Attrs(_))))
}

fn is_list<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(Value::bool(matches!(eval.force_at(args[0], pos)?.kind(), Kind::List(_))))
}
