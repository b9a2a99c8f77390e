//! [`Builder`]: plan, then run the plan. The run is in `builder/run.rs`, what happens to one derivation in
//! `builder/building.rs`.
//!
//! The surprising part: a builder keeps nothing between runs but what `/bin/sh` is.

mod building;
mod elsewhere;
mod failures;
pub(crate) mod hook;
mod run;
mod substitution;
mod tasks;

use std::sync::{Arc, OnceLock};

use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use self::run::Run;
use crate::error::BuildError;
use crate::event::{CancelToken, Observer};
use crate::executor::Executor;
use crate::executor::local::LocalExecutor;
use crate::options::BuildOptions;
use crate::plan::{DerivedPath, Plan, plan, plan_one};
use crate::known::Known;
use crate::prepare::resolve::{is_resolved_first, resolve};
use crate::result::BuildOutcome;
use crate::sandbox::Shell;

/// Builds derivations in a local store.
///
/// ```no_run
/// use std::sync::Arc;
/// use nixlang_build::{BuildOptions, Builder, CancelToken, DerivedPath};
/// use nixlang_store::local::{LocalStore, LocalStoreOptions};
///
/// // First thing in `main`: builds run under this executable, started anew.
/// let helper = nixlang_build::helper_main();
/// let store = Arc::new(LocalStore::open(LocalStoreOptions::rooted("/home/me/store"))?);
/// let derivation = store.to_store_path("/nix/store/…-hello.drv".as_ref()).expect("a store path").0;
///
/// let builder = Builder::new(store, BuildOptions::new(helper));
/// let plan = builder.plan(&[DerivedPath::from_path(derivation)])?;
/// let outcome = builder.run(&plan, &(), &CancelToken::new());
/// for (path, result) in outcome.failures() {
///     eprintln!("{path:?}: {}", result.message);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder {
    store: Arc<LocalStore>,
    options: BuildOptions,
    executor: Arc<dyn Executor>,
    /// Looked for once, by the first build that needs it.
    shell: OnceLock<Result<Option<Shell>, String>>,
}

impl Builder {
    /// Returns a builder for `store` that runs builds on this machine.
    pub fn new(store: Arc<LocalStore>, options: BuildOptions) -> Builder {
        let executor = Arc::new(LocalExecutor::new(options.helper.clone()));
        Builder::with_executor(store, options, executor)
    }

    /// As [`Builder::new`], with another way to run builds.
    pub fn with_executor(store: Arc<LocalStore>, mut options: BuildOptions, executor: Arc<dyn Executor>) -> Builder {
        // Counting processors means reading files; once is enough.
        options.cores = options.n_cores();
        Builder { store, options, executor, shell: OnceLock::new() }
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<LocalStore> {
        &self.store
    }

    /// Returns what runs builds.
    pub(crate) fn executor(&self) -> &Arc<dyn Executor> {
        &self.executor
    }

    /// Returns the settings.
    pub fn options(&self) -> &BuildOptions {
        &self.options
    }

    /// Finds out what has to happen so that `wanted` is valid. All that it meets becomes a temporary root.
    ///
    /// # Errors
    ///
    /// The store can't be read, or a derivation makes no sense. A missing path is no error, see [`Plan::unknown`].
    pub fn plan(&self, wanted: &[DerivedPath]) -> Result<Plan, BuildError> {
        plan(&self.store, &self.options, wanted)
    }

    /// Returns a plan for one derivation that need not be in the store. Its inputs must be valid when it is run; it has
    /// no input derivations.
    ///
    /// # Errors
    ///
    /// The derivation makes no sense.
    pub fn plan_derivation(&self, path: &StorePath, derivation: &Derivation) -> Result<Plan, BuildError> {
        plan_one(&self.store, &self.options, path, derivation)
    }

    /// Returns the derivation that was built in place of a valid one, once what it needs was known; none if there is no
    /// other, or it is not known any more.
    ///
    /// # Errors
    ///
    /// The store can't be read, or the derivation makes no sense.
    pub fn resolved(&self, path: &StorePath) -> Result<Option<StorePath>, BuildError> {
        let derivation = self.store.read_derivation(path)?;
        let known = Known::new(&self.store, self.options.has_feature("ca-derivations"));
        if !is_resolved_first(&derivation, known.has_realisations()) {
            return Ok(None);
        }
        let output = |input: &StorePath, name: &OutputName| {
            let reason = "an output is not known".to_owned();
            known.output(input, name)?.ok_or_else(|| BuildError::Missing { message: reason })
        };
        match resolve(self.store.store_dir(), path, &derivation, &output) {
            Ok((resolved, _)) => Ok(Some(resolved)),
            Err(BuildError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carries a plan out. Returns when everything is done, or stopped.
    pub fn run(&self, plan: &Plan, observer: &dyn Observer, cancel: &CancelToken) -> BuildOutcome {
        Run::new(self, plan.clone(), observer, cancel.child()).all()
    }

    /// Returns what `/bin/sh` is in the sandbox of this builder's builds.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn shell(&self) -> Result<Option<&Shell>, BuildError> {
        let found = self.shell.get_or_init(|| {
            Shell::find(&self.options.shell).map_err(|source| BuildError::Shell { source }.to_string())
        });
        match found {
            Ok(shell) => Ok(shell.as_ref()),
            Err(message) => Err(BuildError::NoShell { message: message.clone() }),
        }
    }
}
