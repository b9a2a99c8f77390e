//! Errors, tracing, and control over what is evaluated when.

use super::Definition;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator, PrintOptions};
use crate::heap::{Kind, Value};
use crate::host::Message;
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("abort", &["s"], abort).global().doc("Ends the evaluation with the message *s*; `tryEval` does not catch it."),
    Definition::new("throw", &["s"], throw).global().doc("Fails with the message *s*; `tryEval` catches it."),
    Definition::new("addErrorContext", &["context", "e"], add_error_context).doc("Returns *e*; if that fails, adds *context* to the error's trace."),
    Definition::new("tryEval", &["e"], try_eval).doc("Returns `{ success = true; value = e; }`, or `{ success = false; value = false; }` if *e* throws or fails an assertion."),
    Definition::new("seq", &["e1", "e2"], seq).strict(1).doc("Evaluates *e1*, then returns *e2*."),
    Definition::new("deepSeq", &["e1", "e2"], deep_seq).doc("Evaluates *e1* with everything in it, then returns *e2*."),
    Definition::new("trace", &["e1", "e2"], trace).doc("Shows *e1* to the user and returns *e2*."),
    Definition::new("traceVerbose", &["e1", "e2"], trace_verbose).doc("As `trace`, if the option `trace-verbose` is on."),
    Definition::new("warn", &["e1", "e2"], warn).doc("Shows the message *e1* as a warning and returns *e2*."),
    Definition::new("break", &["v"], break_).global().doc("Stops in the debugger if there is one, and returns *v*."),
];

fn message<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<String> {
    let text = eval.coerce_to_string(value, pos, Coercion::INTERPOLATION, context)?;
    Ok(String::from_utf8_lossy(text.bytes()).into_owned())
}

fn abort<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let message = message(eval, args[0], pos, "while evaluating the error message passed to builtins.abort")?;
    Err(EvalError::new(ErrorKind::Abort, format!("evaluation aborted with the following error message: '{message}'")))
}

fn throw<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Err(EvalError::new(ErrorKind::Throw, message(eval, args[0], pos, "while evaluating the error message passed to builtin.throw")?))
}

fn add_error_context<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.force_at(args[1], pos).map_err(|error| {
        // What ends an evaluation from outside is no error of the expression's, to which it could add something.
        if matches!(error.kind(), ErrorKind::HeapLimit | ErrorKind::Interrupted | ErrorKind::Cancelled | ErrorKind::Waiting) {
            return error;
        }
        let context = "while evaluating the error message passed to builtins.addErrorContext";
        match eval.coerce_to_string(args[0], pos, Coercion::PATH_SEGMENT, context) {
            Ok(text) => error.while_always(Pos::NONE, String::from_utf8_lossy(text.bytes()).into_owned()),
            Err(worse) => worse,
        }
    })
}

fn try_eval<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let n_failures = eval.heap.n_failures();
    let (success, value) = match eval.force_at(args[0], pos) {
        Ok(_) => (true, args[0]),
        Err(error) if error.is_catchable() => {
            // What failed on the way here remembers all of the way.
            eval.heap.complete_failures(n_failures, &error);
            (false, Value::FALSE)
        }
        Err(error) => return Err(error),
    };
    Ok(eval.attrs_of([(eval.names.value, value), (eval.symbols.intern(b"success"), Value::bool(success))]))
}

fn seq<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.force_at(args[0], pos)?;
    eval.force_at(args[1], pos)
}

fn deep_seq<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.force_deep(args[0])?;
    eval.force_at(args[1], pos)
}

fn trace<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let shown = eval.force_at(args[0], pos)?;
    let text = match shown.kind() {
        Kind::String(string) => string.bytes().to_vec(),
        _ => eval.print(shown, PrintOptions { force: false, ..PrintOptions::ALL })?,
    };
    eval.say(Message::Trace, &String::from_utf8_lossy(&text));
    eval.force_at(args[1], pos)
}

fn trace_verbose<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    if eval.options.trace_verbose { trace(eval, args, pos) } else { eval.force_at(args[1], pos) }
}

fn warn<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let text = eval.force_string(args[0], pos, "while evaluating the first argument; the message passed to builtins.warn")?;
    eval.say(Message::EvaluationWarning, &String::from_utf8_lossy(text.bytes()));
    if eval.options.abort_on_warn {
        return Err(EvalError::new(ErrorKind::Abort, "aborting to reveal stack trace of warning, as abort-on-warn is set"));
    }
    eval.force_at(args[1], pos)
}

fn break_<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    eval.pause(args[0])?;
    eval.force_at(args[0], pos)
}
