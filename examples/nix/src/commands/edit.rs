//! `edit`: opens what a package is written in.

use std::path::PathBuf;

use super::Invocation;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::installables::Installables;

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let (installables, context) = Installables::parse(invocation, |_, _| Ok(false))?;
    if let Some(word) = installables.words.get(1) {
        return Err(Failure::Usage(format!("unexpected argument '{word}'")));
    }
    let word = installables.words().remove(0);
    let (path, line) = evaluate(&context, true, |evaluation| {
        let (value, _) = installables.value(evaluation, &word)?;
        Ok(nixlang::repl::place_to_edit(evaluation.eval, value, word.as_bytes())?)
    })?;
    let mut file = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
    if let Some(real) = context.store.real_store_dir()
        && let Ok(below) = file.strip_prefix(context.store.store_dir().as_str())
        && real.join(below).exists()
    {
        file = real.join(below);
    }
    super::repl::edit(&file.display().to_string(), line)?;
    Ok(0)
}
