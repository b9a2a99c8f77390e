//! What single outputs have to be for `flake check`.

use nixlang::diagnostics::Diagnostic;
use nixlang::eval::{ErrorKind, EvalError};
use nixlang::heap::{Attrs, Kind, Value};
use nixlang::source::Pos;
use nixlang_store::path::StorePath;

use super::check::Check;
use crate::evaluation::Step;
use crate::failure::Failure;
use crate::ui::Verbosity;

fn wrong<T>(message: String) -> Step<T> {
    Err(EvalError::new(ErrorKind::Evaluation, message).into())
}

fn member<'h>(check: &Check<'_, 'h>, attrs: Attrs<'h>, name: &str) -> Option<nixlang::heap::Entry<'h>> {
    attrs.find(check.evaluation.eval.symbols.intern(name.as_bytes()))
}

fn names<'h>(check: &Check<'_, 'h>, attrs: Attrs<'h>) -> Vec<String> {
    let eval = check.evaluation.eval;
    attrs.flat(eval.heap).iter().map(|entry| String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned()).collect()
}

/// Checks a derivation, and returns its path if it is one.
pub(super) fn derivation<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<Option<StorePath>> {
    check.part(pos, format!("while checking the derivation '{path}'"), || {
        check.activity(&format!("checking derivation {path}"));
        let eval = check.evaluation.eval;
        let value = eval.force_at(value, pos)?;
        let Kind::Attrs(attrs) = value.kind() else { return wrong(format!("flake attribute '{path}' is not a derivation")) };
        if !eval.is_derivation(value)? {
            return wrong(format!("flake attribute '{path}' is not a derivation"));
        }
        let Some(found) = member(check, attrs, "drvPath") else { return wrong("derivation does not contain a 'drvPath' attribute".into()) };
        let text = eval.force_string(found.slot.get(), found.pos, "while evaluating the 'drvPath' attribute of a derivation")?;
        let found = eval.host.store_dir().parse(text.bytes()).map_err(|error| Failure::new(error.to_string()))?;
        check.evaluation.flush()?;
        let ui = check.evaluation.context().ui;
        ui.line(Verbosity::INFO, &format!("derivation evaluated to {}", eval.host.store_dir().display(&found)));
        Ok(found)
    })
}

pub(super) fn apps<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking app '{path}'"));
        let eval = check.evaluation.eval;
        let warn = |text: String| check.evaluation.context().ui.show(&Diagnostic::warning(text));
        let attrs = eval.force_attrs(value, pos, "")?;
        match member(check, attrs, "type") {
            Some(kind) => drop(eval.force_string_no_context(kind.slot.get(), kind.pos, "")?),
            None => return wrong(format!("app '{path}' lacks attribute 'type'")),
        }
        match member(check, attrs, "program") {
            Some(program) => drop(eval.force_string(program.slot.get(), program.pos, "")?),
            None => return wrong(format!("app '{path}' lacks attribute 'program'")),
        }
        match member(check, attrs, "meta") {
            None => warn(format!("app '{path}' lacks attribute 'meta'")),
            Some(meta) => match member(check, eval.force_attrs(meta.slot.get(), meta.pos, "")?, "description") {
                Some(description) => drop(eval.force_string_no_context(description.slot.get(), description.pos, "")?),
                None => warn(format!("app '{path}' lacks attribute 'meta.description'")),
            },
        }
        match names(check, attrs).into_iter().find(|name| !matches!(name.as_str(), "type" | "program" | "meta")) {
            Some(name) => wrong(format!("app '{path}' has unsupported attribute '{name}'")),
            None => Ok(()),
        }
    };
    check.part(pos, format!("while checking the app definition '{path}'"), run).map(drop)
}

pub(super) fn overlay<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking overlay '{path}'"));
        let eval = check.evaluation.eval;
        let value = eval.force_at(value, pos)?;
        let Kind::Lambda(closure) = value.kind() else {
            return wrong(format!("overlay is not a function, but {} instead", value.described_type()));
        };
        let first = closure.lambda.params.first().map(|symbol| String::from_utf8_lossy(eval.symbols.text(*symbol)).into_owned());
        let is_final = first.is_some_and(|name| matches!(name.as_str(), "final" | "_" | "_final"));
        match closure.lambda.formals.is_none() && is_final {
            true => Ok(()),
            false => wrong("overlay does not take an argument named 'final'".into()),
        }
    };
    check.part(pos, format!("while checking the overlay '{path}'"), run).map(drop)
}

pub(super) fn module<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking NixOS module '{path}'"));
        check.evaluation.eval.force_at(value, pos)?;
        Ok(())
    };
    check.part(pos, format!("while checking the NixOS module '{path}'"), run).map(drop)
}

pub(super) fn hydra_jobs<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking Hydra job '{path}'"));
        let eval = check.evaluation.eval;
        let _depth = eval.enter_call(pos)?;
        let attrs = eval.force_attrs(value, pos, "")?;
        if eval.is_derivation(eval.force(value)?)? {
            return wrong("jobset should not be a derivation at top-level".into());
        }
        for entry in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols) {
            let inner = format!("{path}.{}", String::from_utf8_lossy(eval.symbols.text(entry.symbol)));
            eval.force_attrs(entry.slot.get(), entry.pos, "")?;
            if eval.is_derivation(eval.force(entry.slot.get())?)? {
                check.activity(&format!("checking Hydra job '{inner}'"));
                derivation(check, &inner, entry.slot.get(), entry.pos)?;
            } else {
                hydra_jobs(check, &inner, entry.slot.get(), entry.pos)?;
            }
        }
        Ok(())
    };
    check.part(pos, format!("while checking the Hydra jobset '{path}'"), run).map(drop)
}

pub(super) fn nixos<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking NixOS configuration '{path}'"));
        let eval = check.evaluation.eval;
        let found = check.evaluation.select(eval.force_at(value, pos)?, "config.system.build.toplevel")?;
        match eval.is_derivation(eval.force_at(found, pos)?)? {
            true => Ok(()),
            false => wrong("attribute 'config.system.build.toplevel' is not a derivation".into()),
        }
    };
    check.part(pos, format!("while checking the NixOS configuration '{path}'"), run).map(drop)
}

pub(super) fn template<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking template '{path}'"));
        let eval = check.evaluation.eval;
        let attrs = eval.force_attrs(value, pos, "")?;
        let Some(directory) = member(check, attrs, "path") else { return wrong(format!("template '{path}' lacks attribute 'path'")) };
        let (directory, _) = eval.coerce_to_path(directory.slot.get(), directory.pos, "")?;
        if eval.file_type(&eval.resolve_parent(directory)?)?.is_none() {
            let directory = eval.sources.shown_path(directory);
            return wrong(format!("template '{path}' refers to a non-existent path '{directory}'"));
        }
        match member(check, attrs, "description") {
            Some(description) => drop(eval.force_string_no_context(description.slot.get(), description.pos, "")?),
            None => return wrong(format!("template '{path}' lacks attribute 'description'")),
        }
        match names(check, attrs).into_iter().find(|name| !matches!(name.as_str(), "path" | "description" | "welcomeText")) {
            Some(name) => wrong(format!("template '{path}' has unsupported attribute '{name}'")),
            None => Ok(()),
        }
    };
    check.part(pos, format!("while checking the template '{path}'"), run).map(drop)
}

pub(super) fn bundler<'h>(check: &Check<'_, 'h>, path: &str, value: Value<'h>, pos: Pos) -> Step<()> {
    let run = || {
        check.activity(&format!("checking bundler '{path}'"));
        match check.evaluation.eval.force_at(value, pos)?.kind() {
            Kind::Lambda(_) => Ok(()),
            _ => wrong("bundler must be a function".into()),
        }
    };
    // The reference calls it a template too.
    check.part(pos, format!("while checking the template '{path}'"), run).map(drop)
}
