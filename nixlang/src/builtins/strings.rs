//! Strings: `toString`, `substring`, `stringLength`, `concatStringsSep`, `replaceStrings`.

use super::Definition;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Str, Value};
use crate::source::Pos;
use crate::value::ContextSum;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("toString", &["e"], to_string).strict(1).global().doc(
        "Returns *e* as a string: numbers in decimal notation, `true` as `\"1\"`, `false` and `null` as `\"\"`, lists with blanks between \
         their elements, sets by their `__toString` or `outPath`, paths as their own text.",
    ),
    Definition::new("substring", &["start", "len", "s"], substring)
        .strict(0b001)
        .doc("Returns the *len* bytes of *s* from byte *start* on; all that follow if *len* is negative."),
    Definition::new("stringLength", &["e"], string_length).strict(1).doc("Returns the number of bytes of the string *e*."),
    Definition::new("concatStringsSep", &["separator", "list"], concat_strings_sep)
        .strict(1)
        .doc("Joins strings with a separator between each two."),
    Definition::new("replaceStrings", &["from", "to", "s"], replace_strings).strict(1).doc(
        "Replaces every occurrence in *s* of a string of *from* by the string of *to* at the same place. Earlier strings of *from* win. \
         Strings of *to* are evaluated only when they are used.",
    ),
];

fn to_string<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the first argument passed to builtins.toString";
    eval.coerce_to_string(args[0], pos, Coercion::TO_STRING, context).map(Value::string)
}

fn substring<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let start = eval.force_int(args[0], pos, "while evaluating the first argument (the start offset) passed to builtins.substring")?;
    let Ok(start) = usize::try_from(start) else {
        return Err(EvalError::new(ErrorKind::Evaluation, "negative start position in 'substring'").at(pos));
    };
    let length = eval.force_int(args[1], pos, "while evaluating the second argument (the substring length) passed to builtins.substring")?;
    let context = "while evaluating the third argument (the string) passed to builtins.substring";
    let string = eval.coerce_to_string(args[2], pos, Coercion::INTERPOLATION, context)?;
    let text = string.bytes();
    let rest = text.get(start..).unwrap_or_default();
    let part = match usize::try_from(length) {
        Ok(length) if length < rest.len() => &rest[..length],
        _ => rest,
    };
    if part.len() == text.len() {
        return Ok(Value::string(string));
    }
    Ok(Value::string(eval.heap.str_from_parts(&[part], string.context())))
}

fn string_length<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the argument passed to builtins.stringLength";
    let string = eval.coerce_to_string(args[0], pos, Coercion::INTERPOLATION, context)?;
    Ok(eval.heap.int(string.bytes().len() as i64))
}

fn concat_strings_sep<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the first argument (the separator string) passed to builtins.concatStringsSep";
    let separator = eval.force_string(args[0], pos, context)?;
    let context = "while evaluating the second argument (the list of strings to concat) passed to builtins.concatStringsSep";
    let list = eval.force_list(args[1], pos, context)?;
    let context = "while evaluating one element of the list of strings to concat passed to builtins.concatStringsSep";
    let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * list.len());
    let mut references = ContextSum::default();
    references.add(separator.context());
    for (i, slot) in list.slots().iter().enumerate() {
        if i > 0 {
            parts.push(separator.bytes());
        }
        let part = eval.coerce_to_string(slot.get(), pos, Coercion::INTERPOLATION, context)?;
        references.add(part.context());
        parts.push(part.bytes());
    }
    eval.string_of_parts(&parts, eval.contexts.sum(references))
}

fn replace_strings<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let from = eval.force_list(args[0], pos, "while evaluating the first argument passed to builtins.replaceStrings")?;
    let to = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.replaceStrings")?;
    if from.len() != to.len() {
        let message = "'from' and 'to' arguments passed to builtins.replaceStrings have different lengths";
        return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
    }
    let context = "while evaluating one of the strings to replace passed to builtins.replaceStrings";
    let mut patterns: Vec<&'h [u8]> = Vec::with_capacity(from.len());
    for pattern in from.iter() {
        patterns.push(eval.force_string(pattern, pos, context)?.bytes());
    }
    let string = eval.force_string(args[2], pos, "while evaluating the third argument passed to builtins.replaceStrings")?;
    let text = string.bytes();

    // Bytes that some pattern begins with: most places of most texts need no closer look.
    let mut begins = [false; 256];
    patterns.iter().filter_map(|pattern| pattern.first()).for_each(|byte| begins[usize::from(*byte)] = true);
    let has_empty = patterns.iter().any(|pattern| pattern.is_empty());

    let mut replacements: Vec<Option<Str<'h>>> = vec![None; patterns.len()];
    let mut references = string.context();
    let mut parts: Vec<&'h [u8]> = Vec::new();
    // What stands before `copied` is in `parts`.
    let (mut at, mut copied) = (0, 0);
    while at <= text.len() {
        if !has_empty {
            match text[at..].iter().position(|byte| begins[usize::from(*byte)]) {
                Some(offset) => at += offset,
                None => break,
            }
        }
        let Some(index) = patterns.iter().position(|pattern| text[at..].starts_with(pattern)) else {
            at += 1;
            continue;
        };
        let replacement = match replacements[index] {
            Some(known) => known,
            None => {
                let context = "while evaluating one of the replacement strings passed to builtins.replaceStrings";
                let replacement = eval.force_string(to.slots()[index].get(), pos, context)?;
                references = eval.contexts.union(references, replacement.context());
                *replacements[index].insert(replacement)
            }
        };
        parts.push(&text[copied..at]);
        parts.push(replacement.bytes());
        copied = at;
        if patterns[index].is_empty() {
            // The byte here is copied, and can't begin another occurrence.
            at += 1;
        } else {
            at += patterns[index].len();
            copied = at;
        }
    }
    if parts.is_empty() {
        return Ok(Value::string(string));
    }
    parts.push(&text[copied..]);
    eval.string_of_parts(&parts, references)
}
