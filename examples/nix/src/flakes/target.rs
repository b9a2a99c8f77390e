//! What an output of a flake stands for: outputs of a derivation, or a path.

use nixlang::eval::{ErrorKind, EvalError};
use nixlang::flake::LockOptions;
use nixlang::heap::Kind;
use nixlang::source::Pos;

use super::{FlakeWord, find};
use crate::evaluation::{Evaluation, Step};
use crate::failure::Failure;
use crate::installables::{Outputs, Target, single_path};

/// Returns what an output of a flake stands for.
pub(crate) fn flake_target(evaluation: &Evaluation<'_, '_>, flake: &FlakeWord, outputs: &Outputs, options: &LockOptions, derivations: bool) -> Step<Target> {
    Ok(flake_output(evaluation, flake, outputs, options, derivations)?.target)
}

/// An output of a flake.
#[derive(Clone, Debug)]
pub(crate) struct FlakeOutput {
    /// What it stands for.
    pub(crate) target: Target,
    /// Its attribute path if it is a derivation, and none if it is only a path.
    pub(crate) attribute: Option<String>,
    /// `meta.priority`
    pub(crate) priority: Option<i64>,
}

/// Returns what an output of a flake stands for, and what there is to know of it.
pub(crate) fn flake_output(
    evaluation: &Evaluation<'_, '_>,
    flake: &FlakeWord,
    outputs: &Outputs,
    options: &LockOptions,
    derivations: bool,
) -> Step<FlakeOutput> {
    let eval = evaluation.eval;
    let found = find(evaluation, flake, options)?;
    let shown = found.shown();
    if !eval.is_derivation(found.value)? {
        let what = format!("while evaluating the flake output attribute '{shown}'");
        return match single_path(evaluation, found.value, &what)? {
            Some(target) => Ok(FlakeOutput { target, attribute: None, priority: None }),
            None => {
                let (kind, value) = (found.value.described_type(), eval.show_for_error(found.value));
                let message = format!("expected flake output attribute '{shown}' to be a derivation or path but found {kind}: {value}");
                Err(EvalError::new(ErrorKind::Evaluation, message).into())
            }
        };
    }
    let Kind::Attrs(attrs) = found.value.kind() else { unreachable!("a derivation is a set") };
    let member = |name: &str| attrs.find(eval.symbols.intern(name.as_bytes()));
    let text = |value| -> Step<String> {
        let text = eval.force_string(value, Pos::NONE, "while evaluating an attribute of a flake output")?;
        Ok(String::from_utf8_lossy(text.bytes()).into_owned())
    };
    let Some(path) = member("drvPath") else {
        return Err(EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{shown}.drvPath' does not exist")).into());
    };
    let path = eval.host.store_dir().parse(text(path.slot.get())?.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    if !path.is_derivation() {
        return Err(Failure::new(format!("store path '{path}' is not a valid derivation path")).into());
    }
    evaluation.flush()?;
    let mut priority = None;
    if member("outputSpecified").is_none()
        && let Some(meta) = member("meta")
        && let Kind::Attrs(meta) = eval.force_at(meta.slot.get(), meta.pos)?.kind()
        && let Some(given) = meta.find(eval.symbols.intern(b"priority"))
    {
        match eval.force_at(given.slot.get(), given.pos)?.kind() {
            Kind::Int(number) => priority = Some(number),
            _ => return Err(EvalError::new(ErrorKind::Type, format!("'{shown}.meta.priority' is not an integer")).into()),
        }
    }
    if derivations {
        return Ok(FlakeOutput { target: Target::Path(path), attribute: Some(shown), priority });
    }
    let outputs = match outputs {
        Outputs::All => None,
        Outputs::Named(names) => Some(names.clone()),
        Outputs::Default => {
            let mut names = Vec::new();
            if let Some(specified) = member("outputSpecified") {
                if eval.force_bool(specified.slot.get(), specified.pos, "while evaluating the attribute 'outputSpecified'")?
                    && let Some(name) = member("outputName")
                {
                    names.push(text(name.slot.get())?);
                }
            } else if let Some(meta) = member("meta")
                && let Kind::Attrs(meta) = eval.force_at(meta.slot.get(), meta.pos)?.kind()
                && let Some(wanted) = meta.find(eval.symbols.intern(b"outputsToInstall"))
            {
                for name in eval.force_list(wanted.slot.get(), wanted.pos, "while evaluating the attribute 'outputsToInstall'")?.iter() {
                    names.push(text(name)?);
                }
            }
            if names.is_empty() {
                names.push("out".into());
            }
            names.sort();
            names.dedup();
            Some(names)
        }
    };
    Ok(FlakeOutput { target: Target::Built { derivation: path, outputs }, attribute: Some(shown), priority })
}
