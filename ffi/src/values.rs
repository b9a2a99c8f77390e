//! What both APIs ask of values.

use nixlang::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;
use nixlang::value::{Context, ContextKind};
use nixlang_store::path::StorePath;

/// Returns the path of the `.drv` file of a derivation.
pub(crate) fn derivation_path<'h>(eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<StorePath> {
    let value = eval.force(value)?;
    let attribute = match value.kind() {
        Kind::Attrs(attrs) => attrs.get(eval.names.drv_path),
        _ => None,
    };
    let Some(slot) = attribute else { return Err(EvalError::new(ErrorKind::Type, "the value is not a derivation: it has no 'drvPath'")) };
    let text = eval.coerce_to_string(slot.get(), Pos::NONE, Coercion::PATH_SEGMENT, "while evaluating the 'drvPath' attribute of a derivation")?;
    eval.host.store_dir().parse(text.bytes()).map_err(|error| EvalError::new(ErrorKind::Evaluation, error.to_string()))
}

/// A string with what it refers to made true: derivations built, placeholders replaced.
pub(crate) struct Realised {
    pub(crate) bytes: Vec<u8>,
    pub(crate) paths: Vec<StorePath>,
}

/// Builds what a string refers to, and returns it with the paths that it refers to then.
pub(crate) fn realise<'h>(eval: &Evaluator<'h>, bytes: &[u8], context: Option<&'h Context<'h>>) -> EvalResult<Realised> {
    let parse = |text: &str| eval.host.store_dir().parse(text).map_err(|error| EvalError::new(ErrorKind::Evaluation, error.to_string()));
    let mut bytes = bytes.to_vec();
    let (mut paths, mut wanted) = (Vec::new(), Vec::new());
    for element in context.map_or(&[][..], |context| context.elements) {
        let path = parse(eval.contexts.path_text(element))?;
        match element.kind {
            ContextKind::Opaque | ContextKind::DeepDerivation => {
                eval.host.ensure_path(&path).map_err(|error| eval.host_error(error))?;
                paths.push(path);
            }
            ContextKind::Output => wanted.push(nixlang::host::WantedOutput { derivation: path, output: eval.contexts.output_text(element).to_owned() }),
        }
    }
    if !wanted.is_empty() {
        let built = eval.host.realise(&wanted).map_err(|error| eval.host_error(error))?;
        for (output, path) in wanted.iter().zip(&built) {
            let placeholder = nixlang_store::derivation::Placeholder::content_addressed_output(&output.derivation, &output.output).to_string();
            bytes = replace(&bytes, placeholder.as_bytes(), eval.host.store_dir().display(path).as_bytes());
        }
        paths.extend(built);
    }
    Ok(Realised { bytes, paths })
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len().max(1)).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
