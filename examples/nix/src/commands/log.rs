//! `log`: the log of a build.

use std::io::{Read, Write};

use nixlang_build::log::log_path;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

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

/// Prints the log of a derivation, or of what a path was built from.
pub(crate) fn print(context: &Context, path: &StorePath) -> Outcome<()> {
    let store = context.store.open()?;
    let missing = || Failure::new(format!("build log of '{}' is not available", store.store_dir().display(path)));
    let derivation = if path.is_derivation() { path.clone() } else { store.query_path_info(path)?.and_then(|info| info.info.deriver.clone()).ok_or_else(missing)? };
    let plain = log_path(&store.layout().log_dir, &derivation);
    let mut compressed = plain.clone();
    compressed.as_mut_os_string().push(".bz2");
    let mut stdout = std::io::stdout().lock();
    if let Ok(mut file) = std::fs::File::open(&plain) {
        std::io::copy(&mut file, &mut stdout)?;
    } else if let Ok(file) = std::fs::File::open(&compressed) {
        let mut text = Vec::new();
        // A build that was killed leaves a log without an end: what is there is shown.
        let result = bzip2::read::MultiBzDecoder::new(file).read_to_end(&mut text);
        stdout.write_all(&text)?;
        if let Err(error) = result {
            context.ui.warn(format!("the log ends too early: {}", crate::failure::plain(&error)));
        }
    } else {
        return Err(missing());
    }
    Ok(stdout.flush()?)
}
