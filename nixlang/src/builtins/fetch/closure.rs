//! `fetchClosure`: a store path and all that it refers to, from another store.
//!
//! A path that follows from its contents can't be wrong, so it is taken from anywhere; another has to be asked for in so many words, or is
//! rewritten to one that does.

use nixlang_store::path::StorePath;

use super::super::paths::store_path_string;
use super::tree::lossy;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::source::Pos;

/// What the argument says.
#[derive(Default)]
struct Arguments {
    from_store: Option<String>,
    from_path: Option<StorePath>,
    /// `Some(None)` asks for the path that it would be.
    to_path: Option<Option<StorePath>>,
    input_addressed: Option<bool>,
}

const FROM_PATH: &str = "while evaluating the attribute 'fromPath' passed to builtins.fetchClosure";
const TO_PATH: &str = "while evaluating the attribute 'toPath' passed to builtins.fetchClosure";

pub(super) fn fetch_closure<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let wrong = |message: String| EvalError::new(ErrorKind::Evaluation, message).at(pos);
    let host = |error| eval.host_error(error);
    let Arguments { from_store, from_path, to_path, input_addressed } = arguments(eval, args[0], pos)?;
    let missing = |name: &str| wrong(format!("attribute '{name}' is missing in call to 'fetchClosure'"));
    let from_path = from_path.ok_or_else(|| missing("fromPath"))?;
    let input_addressed = input_addressed.unwrap_or(false);
    if input_addressed && to_path.is_some() {
        return Err(wrong("attribute 'inputAddressed' is set to true, but 'toPath' is also set. Please remove one of them".into()));
    }
    let from_store = from_store.ok_or_else(|| missing("fromStore"))?;
    eval.host.check_closure_store(&from_store).map_err(|error| host(error).at(pos))?;
    if from_store.contains('?') {
        return Err(wrong(format!("'fetchClosure' does not support URL query parameters (in '{from_store}')")));
    }
    let show = |path: &StorePath| eval.host.store_dir().display(path);
    let from = show(&from_path);
    let Some(to_path) = to_path else {
        if !eval.host.is_valid(&from_path) {
            eval.host.copy_closure(&from_store, &from_path).map_err(host)?;
        }
        return match (eval.host.is_content_addressed(&from_path).map_err(host)?, input_addressed) {
            (false, false) => Err(wrong(format!(
                "The 'fromPath' value '{from}' is input-addressed, but 'inputAddressed' is set to 'false' (default).\n\n\
                 If you do intend to fetch an input-addressed store path, add\n\n    inputAddressed = true;\n\nto the 'fetchClosure' arguments.\n\n\
                 Note that to ensure authenticity input-addressed store paths, users must configure a trusted binary cache public key on their \
                 systems. This is not needed for content-addressed paths."
            ))),
            (true, true) => Err(wrong(format!(
                "The store object referred to by 'fromPath' at '{from}' is not input-addressed, but 'inputAddressed' is set to 'true'.\n\n\
                 Remove the 'inputAddressed' attribute (it defaults to 'false') to expect 'fromPath' to be content-addressed"
            ))),
            _ => Ok(Value::string(store_path_string(eval, &from_path))),
        };
    };
    let to_path = match to_path {
        Some(path) if eval.host.is_valid(&path) => path,
        wanted => {
            let got = eval.host.rewrite_closure(&from_store, &from_path).map_err(host)?;
            let yielded = format!("rewriting '{from}' to content-addressed form yielded '{}'", show(&got));
            match wanted {
                None => return Err(wrong(format!("{yielded}\nUse this value for the 'toPath' attribute passed to 'fetchClosure'"))),
                Some(wanted) if wanted != got => return Err(wrong(format!("{yielded}, while '{}' was expected", show(&wanted)))),
                Some(wanted) => wanted,
            }
        }
    };
    if !eval.host.is_content_addressed(&to_path).map_err(host)? {
        return Err(wrong(format!(
            "The 'toPath' value '{}' is input-addressed, so it can't possibly be the result of rewriting to a content-addressed path.\n\n\
             Set 'toPath' to an empty string to make Nix report the correct content-addressed path.",
            show(&to_path)
        )));
    }
    Ok(Value::string(store_path_string(eval, &to_path)))
}

fn arguments<'h>(eval: &Evaluator<'h>, argument: Value<'h>, pos: Pos) -> EvalResult<Arguments> {
    let attrs = eval.force_attrs(argument, pos, "while evaluating the argument passed to builtins.fetchClosure")?;
    let mut found = Arguments::default();
    for entry in attrs.flat(eval.heap).iter() {
        let (value, at) = (entry.slot.get(), entry.pos);
        match eval.symbols.text(entry.symbol) {
            b"fromPath" => found.from_path = Some(store_path(eval, value, at, FROM_PATH)?),
            b"toPath" => {
                let value = eval.force_at(value, at)?;
                let is_empty = matches!(value.kind(), Kind::String(text) if text.bytes().is_empty());
                found.to_path = Some(if is_empty { None } else { Some(store_path(eval, value, at, TO_PATH)?) });
            }
            b"fromStore" => {
                let context = "while evaluating the attribute 'fromStore' passed to builtins.fetchClosure";
                found.from_store = Some(lossy(eval.force_string_no_context(value, at, context)?.bytes()));
            }
            b"inputAddressed" => {
                let context = "while evaluating the attribute 'inputAddressed' passed to builtins.fetchClosure";
                found.input_addressed = Some(eval.force_bool(value, at, context)?);
            }
            other => {
                let message = format!("attribute '{}' isn't supported in call to 'fetchClosure'", lossy(other));
                return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
            }
        }
    }
    Ok(found)
}

fn store_path<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<StorePath> {
    let text = eval.coerce_to_string(value, pos, Coercion::PATH_SEGMENT, context)?;
    eval.host.store_dir().parse(text.bytes()).map_err(|_| {
        let message = format!("path '{}' is not in the Nix store", lossy(text.bytes()));
        EvalError::new(ErrorKind::Evaluation, message).while_(pos, context)
    })
}
