//! Damaged paths are put right: fetched again, or else built again from the derivation that made them.

use nixlang_store::path::StorePath;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// Replaces the contents of a path that are not what was registered.
pub(crate) fn repair_path(context: &Context, path: &StorePath) -> Outcome<()> {
    let store = context.store.open()?;
    let show = store.store_dir().display(path);
    let deriver = store.query_path_info(path)?.and_then(|info| info.info.deriver);
    match deriver {
        Some(deriver) if store.is_valid(&deriver)? => Err(Failure::new(format!("repairing '{show}' by building it again is not supported yet"))),
        _ => Err(Failure::new(format!("cannot repair path '{show}'"))),
    }
}
