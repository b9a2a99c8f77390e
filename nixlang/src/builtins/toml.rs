//! `fromTOML`.

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::Value;
use crate::source::Pos;
use crate::text::toml::{self, TomlValue};

pub(super) const BUILTINS: &[Definition] = &[Definition::new("fromTOML", &["e"], from_toml)
    .strict(1)
    .global()
    .doc("Reads TOML 1.0.0. Dates and times are an error unless the experimental feature `parse-toml-timestamps` is on.")];

fn from_toml<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let text = eval.force_string_no_context(args[0], pos, "while evaluating the argument passed to builtins.fromTOML")?;
    match toml::parse(text.bytes(), eval.options.has_feature("parse-toml-timestamps")) {
        Ok(parsed) => Ok(value(eval, &parsed)),
        Err(error) => {
            Err(EvalError::new(ErrorKind::Evaluation, format!("while parsing TOML: {error}")).at(pos))
        }
    }
}

/// Recurses; the parser limits the depth.
fn value<'h>(eval: &Evaluator<'h>, parsed: &TomlValue) -> Value<'h> {
    match parsed {
        TomlValue::Boolean(bool) => Value::bool(*bool),
        TomlValue::Integer(int) => eval.heap.int(*int),
        TomlValue::Float(float) => eval.heap.float(*float),
        TomlValue::String(text) => eval.heap.string(text),
        TomlValue::Timestamp(text) => eval.attrs_of([
            (eval.symbols.intern(b"_type"), eval.heap.string(b"timestamp")),
            (eval.names.value, eval.heap.string(text.as_bytes())),
        ]),
        TomlValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| value(eval, item)).collect();
            Value::list(eval.heap.list(items))
        }
        TomlValue::Table(members) => {
            let members: Vec<_> = members.iter().map(|(name, member)| (eval.symbols.intern(name), value(eval, member))).collect();
            eval.attrs_of(members)
        }
    }
}
