//! Builds.

use nixlang::host::WantedOutput;
use nixlang_store::path::StorePath;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};

pub(crate) fn realise(_context: &Context, _outputs: &[WantedOutput]) -> Outcome<Vec<StorePath>> {
    Err(Failure::new("builds are not supported yet"))
}
