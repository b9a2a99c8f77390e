//! Evaluates an expression for a test.

use crate::eval::{EvalOptions, Evaluator, session};
use crate::host::MemoryHost;
use crate::source::Origin;

/// Returns the value as it is printed, or the first line of its error; with one experimental feature.
pub(super) fn answer(expression: &str, feature: &str) -> String {
    let options = EvalOptions { experimental_features: vec![feature.to_owned()], ..Default::default() };
    let evaluate = |eval: &Evaluator<'_>| {
        let value = eval.eval_text(expression.as_bytes(), Origin::String, b"/")?;
        eval.force_deep(value)?;
        eval.print_plain(value)
    };
    let result = session(|| Box::new(MemoryHost::default()), options, evaluate).expect("there is memory for a stack");
    match result {
        Ok(printed) => String::from_utf8_lossy(&printed).into_owned(),
        Err(error) => format!("error: {}", error.data().message.lines().next().unwrap_or_default()),
    }
}
