//! `toJSON`, `fromJSON`, `toXML`. The work is done in `value/json.rs` and `value/xml.rs`, which the command line uses too.

use super::Definition;
use crate::eval::{EvalResult, Evaluator};
use crate::heap::Value;
use crate::source::Pos;
use crate::value::XmlOptions;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("toJSON", &["e"], to_json).doc(
        "Returns *e* as JSON text. Sets with `__toString` become that string, sets with `outPath` that path, paths their copies in the store.",
    ),
    Definition::new("fromJSON", &["e"], from_json).strict(1).doc("Reads JSON text."),
    Definition::new("toXML", &["e"], to_xml).doc("Returns *e* as an XML document. Functions are shown by their arguments' names."),
];

fn to_json<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let (text, references) = eval.to_json(args[0], pos, true)?;
    Ok(Value::string(eval.heap.str_from_parts(&[&text], references)))
}

fn from_json<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let text = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.fromJSON")?;
    eval.from_json(text.bytes(), pos)
}

fn to_xml<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let (text, references) = eval.to_xml(args[0], pos, XmlOptions { force: true, locations: false })?;
    Ok(Value::string(eval.heap.str_from_parts(&[&text], references)))
}
