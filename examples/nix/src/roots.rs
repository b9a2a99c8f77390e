//! Links that keep results from being collected: `--add-root`, `result`, and the warning where there is none.

use std::path::{Path, PathBuf};

use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// Makes links of one name: `result`, `result-2`, …
pub(crate) struct Roots {
    link: Option<PathBuf>,
    n_made: u32,
    /// Whether to say that there is none.
    warn: bool,
}

impl Roots {
    /// Starts with the link that the user named, if any.
    pub(crate) fn new(context: &Context, link: Option<PathBuf>) -> Roots {
        Roots { link, n_made: 0, warn: context.common.gc_warning }
    }

    /// Makes the next link. Returns what to print: the link, or the path if there is none.
    pub(crate) fn add(&mut self, context: &Context, path: &StorePath) -> Outcome<String> {
        let Some(link) = &self.link else {
            if std::mem::take(&mut self.warn) {
                context.ui.warn("you did not specify '--add-root'; the result might be removed by the garbage collector");
            }
            return Ok(context.store.store_dir().display(path));
        };
        self.n_made += 1;
        let mut link = std::path::absolute(link)?;
        if self.n_made > 1 {
            link.as_mut_os_string().push(format!("-{}", self.n_made));
        }
        make(context, path, &link)?;
        Ok(link.display().to_string())
    }
}

/// Makes a link to where a store path really is, so that it works outside of the sandbox too, and registers it as a root.
pub(crate) fn make(context: &Context, path: &StorePath, link: &Path) -> Outcome<()> {
    let store = context.store.open()?;
    store.add_temp_roots(std::slice::from_ref(path))?;
    store.add_permanent_root(path, link).map_err(|error| Failure::from_error(&error))
}
