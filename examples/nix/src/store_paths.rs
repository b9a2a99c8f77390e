//! The words of commands that work on paths of a store, with the flags that all of these have: `--all`, `--recursive`, `--stdin`, `--derivation`.

use std::sync::Arc;

use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::args::Args;
use crate::building::BuildFlags;
use crate::commands::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, realise_targets};

/// Which paths a command works on.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorePaths {
    installables: Installables,
    all: bool,
    recursive: bool,
}

impl StorePaths {
    /// Reads a command line whose own flags `flag` handles. Returns what the command works with.
    pub(crate) fn parse(invocation: Invocation, mut flag: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<(Arc<Context>, StorePaths)> {
        let (mut all, mut recursive) = (false, false);
        let (installables, context) = Installables::parse(invocation, |name, args| {
            if flag(name, args)? {
                return Ok(true);
            }
            match name {
                "--all" => all = true,
                "-r" | "--recursive" => recursive = true,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok((context, StorePaths { installables, all, recursive }))
    }

    /// Returns the paths, references before those that refer to them if there are more than the words name. With `build` they are made first.
    pub(crate) fn of(&self, context: &Arc<Context>, store: &dyn Store, build: bool) -> Outcome<Vec<StorePath>> {
        let mut paths = Vec::new();
        if self.all {
            if !self.installables.words.is_empty() {
                return Err(Failure::Usage("'--all' does not expect arguments".into()));
            }
            paths = store.all_valid_paths()?;
            paths.sort();
            return Ok(paths);
        }
        let targets = self.installables.targets(context, true)?;
        if build {
            realise_targets(context, &targets, BuildFlags::default())?;
        }
        for target in targets {
            paths.extend(target.outputs(context)?.into_iter().map(|(_, path)| path));
        }
        if self.recursive {
            let closure = store.closure(&paths)?;
            paths = nixlang_store::closure::topologically_sorted(store, &closure)?;
        }
        Ok(paths)
    }
}
