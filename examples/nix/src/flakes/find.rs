//! Outputs of a flake by their attribute path. Unlike the paths of `--file` these know no lists and call no functions.

use nixlang::diagnostics::near_names;
use nixlang::eval::{ErrorKind, EvalError};
use nixlang::flake::LockOptions;
use nixlang::heap::{Kind, Value};

use super::FlakeWord;
use crate::evaluation::{Evaluation, Step, split_attr_path};

/// An output.
pub(crate) struct Found<'h> {
    /// Its value, evaluated.
    pub(crate) value: Value<'h>,
    /// Where it is.
    pub(crate) path: Vec<String>,
}

impl Found<'_> {
    /// Returns the path as messages show it.
    pub(crate) fn shown(&self) -> String {
        self.path.join(".")
    }
}

/// Returns the first of the outputs that a word may mean.
pub(crate) fn find<'h>(evaluation: &Evaluation<'_, 'h>, word: &FlakeWord, options: &LockOptions) -> Step<Found<'h>> {
    let root = super::outputs(evaluation, &word.reference, options)?;
    let mut wrong = Vec::new();
    for path in &word.paths {
        match along(evaluation, root, path)? {
            Ok(found) => return Ok(found),
            Err(names) => wrong.push(names),
        }
    }
    Err(not_provided(word, wrong).into())
}

/// Returns all outputs that a word may mean; at least one.
pub(crate) fn find_all<'h>(evaluation: &Evaluation<'_, 'h>, word: &FlakeWord, options: &LockOptions) -> Step<Vec<Found<'h>>> {
    let root = super::outputs(evaluation, &word.reference, options)?;
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for path in &word.paths {
        match along(evaluation, root, path)? {
            Ok(found) => all.push(found),
            Err(names) => wrong.push(names),
        }
    }
    if all.is_empty() { Err(not_provided(word, wrong).into()) } else { Ok(all) }
}

fn not_provided(word: &FlakeWord, wrong: Vec<(String, Vec<String>)>) -> EvalError {
    let paths: Vec<String> = word.paths.iter().map(|path| format!("'{path}'")).collect();
    let shown = match paths.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => paths.concat(),
    };
    let mut suggestions: Vec<String> = Vec::new();
    for (wanted, names) in &wrong {
        for near in near_names(wanted.as_bytes(), names.iter().map(|name| name.as_bytes())) {
            if !suggestions.contains(&near) {
                suggestions.push(near);
            }
        }
    }
    EvalError::new(ErrorKind::Evaluation, format!("flake '{}' does not provide attribute {shown}", word.reference)).suggest(suggestions)
}

/// Follows a path. Where it ends early: the name that is missing, and those that are there.
fn along<'h>(evaluation: &Evaluation<'_, 'h>, root: Value<'h>, path: &str) -> Step<Result<Found<'h>, (String, Vec<String>)>> {
    let eval = evaluation.eval;
    let path = split_attr_path(path)?;
    let mut value = eval.force(root)?;
    let mut shown: Vec<&str> = Vec::new();
    for name in &path {
        let Kind::Attrs(attrs) = value.kind() else {
            return Err(EvalError::new(ErrorKind::Type, format!("'{}' is not an attribute set", shown.join("."))).into());
        };
        shown.push(name.as_str());
        match attrs.find(eval.symbols.intern(name.as_bytes())) {
            Some(entry) => value = eval.force_at(entry.slot.get(), entry.pos)?,
            None => {
                let names = attrs.flat(eval.heap).iter().map(|entry| String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned());
                return Ok(Err((name.clone(), names.collect())));
            }
        }
    }
    Ok(Ok(Found { value, path }))
}
