//! `match` and `split`.

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Str, Value};
use crate::source::Pos;
use crate::text::regex::{Captures, Piece, RegexError};

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("match", &["regex", "str"], match_).strict(1).doc(
        "Matches all of *str* against the POSIX extended regular expression *regex*. Returns the list of its groups, `null` where a group \
         took no part; `null` if there is no match.",
    ),
    Definition::new("split", &["regex", "str"], split).strict(1).doc(
        "Cuts *str* at every match of the POSIX extended regular expression *regex*. Returns the pieces between the matches, with the list \
         of a match's groups between each two.",
    ),
];

#[cold]
fn regex_error(error: RegexError, pattern: Str<'_>, pos: Pos) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, format!("{error} '{}'", String::from_utf8_lossy(pattern.bytes()))).at(pos)
}

fn groups<'h>(eval: &Evaluator<'h>, text: &[u8], captures: Captures) -> Value<'h> {
    let groups = captures.into_iter().map(|group| group.map_or(Value::NULL, |range| eval.heap.string(&text[range])));
    Value::list(eval.heap.list(groups))
}

fn match_<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let pattern = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.match")?;
    let regex = eval.caches.regexes.get(pattern.bytes()).map_err(|e| regex_error(e, pattern, pos))?;
    let text = eval.force_string(args[1], pos, "while evaluating the second argument passed to builtins.match")?.bytes();
    let found = regex.full_match(text).map_err(|e| regex_error(e, pattern, pos))?;
    Ok(found.map_or(Value::NULL, |captures| groups(eval, text, captures)))
}

fn split<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let pattern = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.split")?;
    let regex = eval.caches.regexes.get(pattern.bytes()).map_err(|e| regex_error(e, pattern, pos))?;
    let string = eval.force_string(args[1], pos, "while evaluating the second argument passed to builtins.split")?;
    let text = string.bytes();
    let pieces = regex.split(text).map_err(|e| regex_error(e, pattern, pos))?;
    if pieces.len() == 1 {
        // Nothing was cut off, so the context stays too.
        return Ok(Value::list(eval.heap.list([Value::string(string)])));
    }
    let values = pieces.into_iter().map(|piece| match piece {
        Piece::Text(range) => eval.heap.string(&text[range]),
        Piece::Match(captures) => groups(eval, text, captures),
    });
    Ok(Value::list(eval.heap.list(values)))
}
