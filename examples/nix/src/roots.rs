//! Links that keep results from being collected: `--add-root`, `result`, and the warning where there is none.

use std::path::{Path, PathBuf};

use nixlang_store::path::StorePath;

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
    if points_into_a_store(link) && std::fs::remove_file(link).is_err() {
        return Err(Failure::new(format!("cannot replace the link '{}'", link.display())));
    }
    store.add_permanent_root(path, link).map_err(|error| Failure::from_error(&error))
}

/// Returns whether there is a link to a store path here, if only of another rooted store: nothing of the user's is lost with it.
fn points_into_a_store(link: &Path) -> bool {
    let Ok(target) = std::fs::read_link(link) else { return false };
    let is_store_path = target.file_name().is_some_and(|name| StorePath::from_base_name(name.as_encoded_bytes()).is_ok());
    is_store_path && target.parent().is_some_and(|parent| parent.ends_with("nix/store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_store_paths_are_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let check = |target: &str, expected: bool| {
            let link = directory.path().join("link");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).expect("made");
            assert_eq!(points_into_a_store(&link), expected, "{target}");
        };
        check("/home/me/root/nix/store/25ljy4qshxc2g007bwsni6mclawkivpf-tiny", true);
        check("/home/me/25ljy4qshxc2g007bwsni6mclawkivpf-tiny", false);
        check("/home/me/root/nix/store/notes", false);
        assert!(!points_into_a_store(Path::new("/")));
    }
}
