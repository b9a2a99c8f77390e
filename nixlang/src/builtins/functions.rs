//! `functionArgs`.

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] =
    &[Definition::new("functionArgs", &["f"], function_args).strict(1).doc("Returns a set with the formals of *f*; `true` for those that have a default.")];

fn function_args<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let value = eval.force_at(args[0], pos)?;
    match value.kind() {
        Kind::Lambda(closure) => match closure.lambda.formals {
            Some(formals) => {
                let entries = formals.entries.iter().map(|formal| (formal.symbol, formal.pos, Value::bool(formal.default.is_some())));
                Ok(Value::attrs(eval.heap.attrs_from_entries(entries)))
            }
            None => Ok(eval.attrs_of([])),
        },
        Kind::Builtin(_) | Kind::Partial(_) => Ok(eval.attrs_of([])),
        _ => Err(EvalError::new(ErrorKind::Type, "'functionArgs' requires a function").at(pos)),
    }
}
