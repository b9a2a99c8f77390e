//! `log`: the log of a build.

use std::io::Write;

use nixlang_store::path::StorePath;

use super::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Target};

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let (installables, context) = Installables::parse(invocation, |_, _| Ok(false))?;
    for target in installables.targets(&context, true)? {
        match target {
            Target::Built { derivation, .. } => print(&context, &derivation)?,
            Target::Path(path) => print(&context, &path)?,
            Target::Nested { derivation, .. } => print(&context, derivation.root())?,
        }
    }
    Ok(0)
}

/// Prints the log of a derivation, or of what a path was built from: the store's, or a substituter's.
pub(crate) fn print(context: &Context, path: &StorePath) -> Outcome<()> {
    let store = context.store.any()?;
    let missing = || Failure::new(format!("build log of '{}' is not available", store.store_dir().display(path)));
    let mut log = store.build_log(path)?;
    if log.is_none() && path.is_derivation() && context.store.service()?.is_none() && store.is_valid(path)? {
        // What was really built has another name where inputs are content-addressed.
        let options = crate::building::options(context)?;
        let builder = crate::building::builder(context, &context.settings, options)?;
        if let Some(resolved) = builder.resolved(path).map_err(|error| Failure::from_error(&error))? {
            log = store.build_log(&resolved)?;
        }
    }
    if log.is_none()
        && let Some(substituters) = crate::fetch::substituters(context, &context.settings)
    {
        let derivation = if path.is_derivation() { Some(path.clone()) } else { store.query_path_info(path)?.and_then(|info| info.info.deriver) };
        let asked = derivation.as_ref().unwrap_or(path);
        log = substituters.all().find_map(|substituter| substituter.store().build_log(asked).ok().flatten());
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&log.ok_or_else(missing)?)?;
    Ok(stdout.flush()?)
}
