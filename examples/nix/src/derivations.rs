//! Which derivations a value has, as commands that build or print them see it: packages with a `drvPath`.

use nixlang::eval::{ErrorKind, EvalError, EvalResult};
use nixlang::heap::Value;
use nixlang::packages::{FindOptions, Package, find};
use nixlang_store::path::StorePath;

use crate::evaluation::{Evaluation, Step};

/// A derivation that an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundDerivation {
    /// Where it is.
    pub(crate) path: StorePath,
    /// The output that the value stands for.
    pub(crate) output: String,
}

/// Returns what `ask` says of the packages of a value, in the reference's order.
pub(crate) fn ask_packages<'h, R>(
    evaluation: &Evaluation<'_, 'h>,
    value: Value<'h>,
    ask: impl Fn(&Package<'_, 'h>) -> EvalResult<R>,
) -> Step<Vec<R>> {
    let eval = evaluation.eval;
    let options = FindOptions { arguments: Some(evaluation.auto_arguments()), ..FindOptions::default() };
    let packages = find(eval, value, &options)?;
    // One may have to wait for what it imports from, while others go on.
    let answers = eval.interleaved(packages.len(), |i| ask(&packages[i]), |error| error.kind() == ErrorKind::Waiting)?;
    evaluation.flush()?;
    Ok(answers)
}

/// Returns the derivations of a value, each with the output that is wanted of it.
pub(crate) fn find_derivations<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>) -> Step<Vec<FoundDerivation>> {
    let store_dir = evaluation.eval.host.store_dir();
    ask_packages(evaluation, value, |package| {
        let (path, output) = (package.require_derivation_path()?, package.output_name()?);
        if output.is_empty() {
            let message = format!("derivation '{}' lacks an 'outputName' attribute", store_dir.display(&path));
            return Err(EvalError::new(ErrorKind::MissingAttribute, message));
        }
        Ok(FoundDerivation { path, output })
    })
}
