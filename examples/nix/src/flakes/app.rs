//! What `run` runs of a flake: an app's program, or the main program of a derivation.

use std::path::PathBuf;

use nixlang::eval::{ErrorKind, EvalError};
use nixlang::flake::LockOptions;
use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;
use nixlang::value::ContextKind;
use nixlang_build::{DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::derivation::Placeholder;

use super::{FlakeWord, find};
use crate::building::{BuildFlags, build};
use crate::commands::Context;
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::{Failure, Outcome};

/// A program whose dependencies are still to be built.
struct Unbuilt {
    program: String,
    needs: Vec<DerivedPath>,
}

/// Builds what a program needs and returns it.
pub(crate) fn program(context: &std::sync::Arc<Context>, word: &FlakeWord, options: &LockOptions) -> Outcome<PathBuf> {
    let unbuilt = evaluate(context, true, |evaluation| {
        let unbuilt = of_output(evaluation, word, options)?;
        evaluation.flush()?;
        Ok(unbuilt)
    })?;
    let outcome = build(context, &unbuilt.needs, BuildFlags::default())?;
    let mut program = unbuilt.program;
    for (wanted, realised) in unbuilt.needs.iter().zip(&outcome.realised) {
        let DerivedPath::Built { derivation: SingleDerivedPath::Opaque(derivation), .. } = wanted else { continue };
        for (name, path) in &realised.outputs {
            let placeholder = Placeholder::content_addressed_output(derivation, name.as_str()).to_string();
            program = program.replace(&placeholder, &context.store.store_dir().display(path));
        }
    }
    if !program.starts_with(&format!("{}/", context.store.store_dir().as_str())) {
        return Err(Failure::new(format!("app program '{program}' is not in the Nix store")));
    }
    Ok(program.into())
}

fn of_output(evaluation: &Evaluation<'_, '_>, word: &FlakeWord, options: &LockOptions) -> Step<Unbuilt> {
    let eval = evaluation.eval;
    let found = find(evaluation, word, options)?;
    let shown = found.shown();
    let kind = text(evaluation, member(evaluation, found.value, &shown, "type")?)?.0;
    let is_app = matches!(found.path.first().map(String::as_str), Some("apps" | "defaultApp"));
    let expected = if is_app { "app" } else { "derivation" };
    if kind != expected {
        return Err(Failure::new(format!("attribute '{shown}' should have type '{expected}'")).into());
    }
    if is_app {
        let (program, needs) = text(evaluation, member(evaluation, found.value, &shown, "program")?)?;
        return Ok(Unbuilt { program, needs });
    }
    let get = |name: &str| -> Step<String> { Ok(text(evaluation, member(evaluation, found.value, &shown, name)?)?.0) };
    let derivation = eval.host.store_dir().parse(get("drvPath")?.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    let (out_path, output, name) = (get("outPath")?, get("outputName")?, get("name")?);
    let maybe = |path: &[&str]| -> Step<Option<String>> {
        let mut value = found.value;
        for name in path {
            match eval.force(value)?.kind() {
                Kind::Attrs(attrs) => match attrs.get(eval.symbols.intern(name.as_bytes())) {
                    Some(slot) => value = slot.get(),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            }
        }
        Ok(Some(text(evaluation, value)?.0))
    };
    let main = match maybe(&["meta", "mainProgram"])? {
        Some(program) => program,
        None => maybe(&["pname"])?.unwrap_or_else(|| name_without_version(&name).to_owned()),
    };
    Ok(Unbuilt { program: format!("{out_path}/bin/{main}"), needs: vec![crate::building::output(&derivation, [output])] })
}

/// Returns a name up to the first dash that no letter follows.
fn name_without_version(name: &str) -> &str {
    let is_version = |i: usize| !name[i + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
    name.match_indices('-').find(|(i, _)| *i + 1 < name.len() && is_version(*i)).map_or(name, |(i, _)| &name[..i])
}

fn member<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>, shown: &str, name: &str) -> Step<Value<'h>> {
    let eval = evaluation.eval;
    let attrs = match value.kind() {
        Kind::Attrs(attrs) => attrs,
        _ => return Err(EvalError::new(ErrorKind::Type, format!("'{shown}' is not an attribute set")).into()),
    };
    match attrs.get(eval.symbols.intern(name.as_bytes())) {
        Some(slot) => Ok(slot.get()),
        None => Err(EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{shown}.{name}' does not exist")).into()),
    }
}

/// Returns a string, and what its context says has to be there.
fn text<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>) -> Step<(String, Vec<DerivedPath>)> {
    let eval = evaluation.eval;
    let text = eval.force_string(value, Pos::NONE, "while evaluating an attribute of a flake output")?;
    let mut needs = Vec::new();
    for element in text.context().map_or(&[][..], |context| context.elements) {
        let path = eval.contexts.path_text(element);
        let parse = |path: &str| eval.host.store_dir().parse(path.as_bytes()).map_err(|error| Failure::new(error.to_string()));
        let mut names = path.split('^');
        let root = parse(names.next().unwrap_or_default())?;
        let maker = names.fold(SingleDerivedPath::Opaque(root.clone()), SingleDerivedPath::output);
        needs.push(match element.kind {
            ContextKind::Opaque => DerivedPath::Opaque(root),
            ContextKind::DeepDerivation => DerivedPath::built(maker, OutputsSpec::All),
            ContextKind::Output => DerivedPath::built(maker, OutputsSpec::Names([eval.contexts.output_text(element).into()].into())),
        });
    }
    Ok((String::from_utf8_lossy(text.bytes()).into_owned(), needs))
}
