//! What a value is, its documentation, where it was written, and which derivation it is.

use std::sync::atomic::AtomicU64;

use super::{Attempt, Repl, failed};
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Kind, Value};
use crate::lower::expr::{AttrName, Expr, Lambda, Select};
use crate::source::{Origin, Pos};
use crate::tools::documentation;

/// Returns the logical path of the derivation that a value is.
pub(super) fn derivation_path<'h>(eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<String> {
    let Kind::Attrs(attrs) = value.kind() else { return Err(no_derivation()) };
    if !eval.is_derivation(value)? {
        return Err(no_derivation());
    }
    let Some(entry) = attrs.find(eval.names.drv_path) else {
        return Err(failed("expression did not evaluate to a valid derivation (no 'drvPath' attribute)"));
    };
    let path = eval.coerce_to_string(entry.slot.get(), entry.pos, Coercion::PATH_SEGMENT, "while evaluating the 'drvPath' attribute of a derivation")?;
    Ok(String::from_utf8_lossy(path.bytes()).into_owned())
}

fn no_derivation() -> EvalError {
    failed("expression does not evaluate to a derivation, so I can't build it")
}

/// Returns file and line to open in an editor for a value. `expression` is how the user called it.
///
/// # Errors
/// When nothing says where it is.
pub fn place_to_edit<'h>(eval: &Evaluator<'h>, value: Value<'h>, expression: &[u8]) -> EvalResult<(Vec<u8>, u32)> {
    match value.kind() {
        Kind::Path(path) => Ok((path.text.bytes().to_vec(), 0)),
        Kind::String(text) if text.bytes().first() == Some(&b'/') => Ok((crate::path::canonicalise(text.bytes()), 0)),
        Kind::String(text) => {
            let message = format!("string '{}' doesn't represent an absolute path", String::from_utf8_lossy(text.bytes()));
            Err(EvalError::new(ErrorKind::Evaluation, message).while_(Pos::NONE, "while evaluating the filename to edit"))
        }
        Kind::Lambda(_) | Kind::Partial(_) => match function(value).map(|(_, pos)| pos) {
            Some(pos) => {
                let location = eval.sources.locate(pos);
                match location.as_ref().map(|location| (&location.source.origin, location.line)) {
                    Some((Origin::File(path), line)) => Ok((path.to_vec(), line)),
                    _ => Err(failed(format!("'{}' cannot be shown in an editor", eval.show_pos(pos)))),
                }
            }
            None => Err(failed("a built-in function cannot be shown in an editor")),
        },
        _ => package_place(eval, value, &String::from_utf8_lossy(expression)),
    }
}

/// Returns what a package says about its own place: `meta.position`, which is `FILE:LINE`.
fn package_place<'h>(eval: &Evaluator<'h>, value: Value<'h>, what: &str) -> EvalResult<(Vec<u8>, u32)> {
    let none = || failed(format!("package '{what}' has no source location information"));
    let attribute = |attrs: Attrs<'h>, name: &[u8]| attrs.find(eval.symbols.intern(name));
    let Kind::Attrs(attrs) = value.kind() else { return Err(none()) };
    let Some(meta) = attribute(attrs, b"meta") else { return Err(none()) };
    let meta = eval.force_attrs(meta.slot.get(), meta.pos, "while evaluating the 'meta' attribute of a package")?;
    let Some(position) = attribute(meta, b"position") else { return Err(none()) };
    let position = eval.coerce_to_string(position.slot.get(), position.pos, Coercion::PATH_SEGMENT, "while evaluating the 'meta.position' attribute of a package")?;
    let text = String::from_utf8_lossy(position.bytes()).into_owned();
    match text.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => Ok((file.as_bytes().to_vec(), line)),
        None => Err(failed(format!("cannot parse 'meta.position' attribute '{text}'"))),
    }
}

/// Returns a function's IR and where the part of it begins that takes the next argument.
fn function<'h>(value: Value<'h>) -> Option<(&'h Lambda<'h>, Pos)> {
    let (lambda, n_applied) = match value.kind() {
        Kind::Lambda(closure) => (closure.lambda, 0),
        Kind::Partial(partial) => match partial.function.kind() {
            Kind::Lambda(closure) => (closure.lambda, partial.arguments.len()),
            _ => return None,
        },
        _ => return None,
    };
    Some((lambda, lambda.positions.get(n_applied).or(lambda.positions.last()).copied().unwrap_or_default()))
}

impl<'h> Repl<'_, 'h> {
    /// Returns the documentation of what an expression means, as Markdown.
    pub(super) fn documentation(&self, argument: &[u8]) -> Attempt<String> {
        let eval = self.eval;
        let expr = self.parse(argument)?;
        let attribute = match expr {
            Expr::Select(select) => self.selected(select)?,
            _ => None,
        };
        let value = eval.eval(expr, self.scope.env())?;
        let value = eval.force(value)?;
        if let Some(text) = of_value(eval, value)? {
            return Ok(documentation::strip_indentation(&text).trim().to_owned());
        }
        match attribute {
            Some((name, pos)) if pos.is_some() => {
                let text = source_text(eval, pos).and_then(|(text, offset)| documentation::of_attribute(&text, offset));
                let text = text.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "No documentation found.\n\n".into());
                Ok(format!("Attribute `{name}`\n\n  … defined at {}\n\n{text}", eval.show_pos(pos)).trim().to_owned())
            }
            _ => Err(failed("value does not have documentation").into()),
        }
    }

    /// Returns the name of the last attribute of a selection and where it was defined; nothing if there is none.
    fn selected(&self, select: &'h Select<'h>) -> EvalResult<Option<(String, Pos)>> {
        let eval = self.eval;
        let Some((&AttrName::Static(name, _), path)) = select.path.split_last() else { return Ok(None) };
        let set = match path {
            [] => eval.eval(&select.base, self.scope.env())?,
            _ => {
                let before = Select { base: select.base, path, default: None, pos: select.pos, cache: AtomicU64::new(u64::MAX) };
                eval.eval(eval.heap.alloc(Expr::Select(eval.heap.alloc(before))), self.scope.env())?
            }
        };
        let attrs = eval.force_attrs(set, Pos::NONE, "while evaluating an attribute set to look for documentation")?;
        Ok(attrs.find(name).map(|entry| (eval.text(name), entry.pos)))
    }
}

/// Returns the documentation of a function, or of a set that can be called, as Markdown; `None` for everything else.
///
/// # Errors
/// When calling such a set fails.
pub fn of_value<'h>(eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<Option<String>> {
    match value.kind() {
        Kind::Builtin(builtin) if !builtin.documentation.is_empty() => Ok(Some(builtin.documentation.to_owned())),
        Kind::Builtin(builtin) => {
            let Some(definition) = crate::builtins::definitions().find(|definition| definition.name == builtin.name) else { return Ok(None) };
            let arguments: String = definition.arguments.iter().map(|name| format!(" *{name}*")).collect();
            Ok(Some(format!("**Synopsis:** `builtins.{}`{arguments}\n\n{}", definition.name, definition.doc)))
        }
        Kind::Lambda(_) | Kind::Partial(_) => {
            let Some((lambda, pos)) = function(value) else { return Ok(None) };
            let mut text = String::from("Function ");
            if let Some(name) = lambda.name {
                text.push_str(&format!("`{}`\\\n  … ", String::from_utf8_lossy(eval.symbols.text(name))));
            }
            text.push_str(&format!("defined at {}", eval.show_pos(pos)));
            if let Some(comment) = source_text(eval, pos).and_then(|(source, offset)| documentation::of_function(&source, offset)) {
                text.push_str("\n\n");
                text.push_str(&comment);
            }
            Ok(Some(text))
        }
        Kind::Attrs(attrs) => {
            let Some(functor) = attrs.find(eval.names.functor) else { return Ok(None) };
            // The first argument is not the user's: what is left after it is what the user calls.
            let inner = || {
                let applied = eval.call(functor.slot.get(), &[value], Pos::NONE)?;
                let _depth = eval.enter_call(Pos::NONE)?;
                of_value(eval, eval.force(applied)?)
            };
            inner().map_err(|error| error.while_(Pos::NONE, "while partially calling '__functor' to retrieve documentation"))
        }
        _ => Ok(None),
    }
}

/// Returns the text of the source that a position lies in, and the offset in it.
fn source_text(eval: &Evaluator<'_>, pos: Pos) -> Option<(String, u32)> {
    let source = eval.sources.source(pos)?;
    Some((String::from_utf8(source.text.to_vec()).ok()?, pos.0 - source.start.0))
}
