//! Why a derivation was not built: the reference's messages, each with its status.
//!
//! The surprising part: most of these are not errors of [`Builder::run`](crate::Builder::run) but end up as one
//! derivation's result, because other derivations go on.

use std::path::PathBuf;

use nixlang_store::error::StoreError;

use crate::executor::ExecuteError;
use crate::result::BuildStatus;
use crate::sandbox::shell::ShellError;

/// A failed build, or one that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The builder could not be started.
    #[error("{}", with_sources(.source))]
    Execute {
        /// Why.
        #[source]
        source: ExecuteError,
    },
    /// There is no `/bin/sh` for the sandbox.
    #[error("{}", with_sources(.source))]
    Shell {
        /// Why.
        #[source]
        source: ShellError,
    },
    /// As [`BuildError::Shell`], found out by an earlier build.
    #[error("{message}")]
    NoShell {
        /// Why.
        message: String,
    },
    /// A file operation in the build or store directory failed.
    #[error("{action} '{}': {source}", path.display())]
    Io {
        /// What was tried ("creating").
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Without a sandbox this store can't be built in.
    #[error("cannot build without a sandbox: {reason}")]
    NoSandbox {
        /// Why not.
        reason: String,
    },
    /// The derivation makes no sense, or asks for what is not allowed.
    #[error("derivation '{derivation}': {reason}")]
    Derivation {
        /// Full path of the derivation.
        derivation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An output that a derivation does not have.
    #[error("derivation '{derivation}' does not have wanted outputs '{output}'")]
    NoSuchOutput {
        /// Full path of the derivation.
        derivation: String,
        /// The output's name.
        output: String,
    },
    /// A path that is neither valid nor obtainable.
    #[error("{message}")]
    Missing {
        /// The message.
        message: String,
    },
    /// An experimental feature that is not switched on.
    #[error("experimental Nix feature '{feature}' is disabled; add '--extra-experimental-features {feature}' to enable it")]
    FeatureDisabled {
        /// Its name.
        feature: &'static str,
    },
    /// A derivation whose outputs are to be reproducible uses one whose outputs are not.
    #[error("pure derivation '{derivation}' depends on impure derivation '{input}'")]
    DependsOnImpure {
        /// Full path of the derivation.
        derivation: String,
        /// Full path of the impure one.
        input: String,
    },
    /// The derivation that a derivation resolves to failed.
    #[error("build of resolved derivation '{resolved}' failed")]
    ResolvedFailed {
        /// Full path of the resolved derivation.
        resolved: String,
    },
    /// A second build of what was not built before.
    #[error("some outputs of '{derivation}' are not valid, so checking is not possible\nHint: --rebuild and --check error if the derivation was not previously built and cannot be substituted.\n      Remove it to perform a fresh build, or use --repair to rewrite missing or corrupted builds in the store.")]
    NothingToCheck {
        /// Full path of the derivation.
        derivation: String,
    },
    /// A program that is run around builds failed.
    #[error("program '{program}' {reason}")]
    Hook {
        /// The program.
        program: String,
        /// How it failed.
        reason: String,
    },
    /// The hook before a build said something that nobody understands.
    #[error("unknown pre-build hook command '{line}'")]
    HookAnswer {
        /// What it said.
        line: String,
    },
    /// Others could exchange build directories there.
    #[error("Path '{}' is world-writable or a symlink. That's not allowed for security.", path.display())]
    WorldWritable {
        /// The directory.
        path: PathBuf,
    },
    /// There are no users for builds.
    #[error("{reason}")]
    Users {
        /// Why not.
        reason: String,
    },
    /// A kind of derivation that this version does not build.
    #[error("derivation '{derivation}' can't be built: {feature} are not supported yet")]
    Unsupported {
        /// Full path of the derivation.
        derivation: String,
        /// What it uses.
        feature: &'static str,
    },
    /// Another kind of machine, or missing features; the reference's text.
    #[error("{message}")]
    WrongMachine {
        /// The message.
        message: String,
    },
    /// An export of references of something that is no input.
    #[error("cannot export references of path '{path}' because it is not in the input closure of the derivation")]
    ExportOutsideInputs {
        /// The path.
        path: String,
    },
    /// The builder failed; the reference's text.
    #[error("{message}")]
    Builder {
        /// The message.
        message: String,
        /// Whether it may work another time.
        transient: bool,
    },
    /// A limit was reached.
    #[error("{message}")]
    Limit {
        /// The message.
        message: String,
        /// Which status that gives.
        status: BuildStatus,
    },
    /// No other machine takes this build. It moves to this one; nobody outside sees this.
    #[error("no other machine takes this build")]
    Declined,
    /// The caller cancelled.
    #[error("interrupted by the user")]
    Cancelled,
    /// The builder succeeded without making an output.
    #[error("builder for '{derivation}' failed to produce output path for output '{output}' at {path:?}")]
    MissingOutput {
        /// Full path of the derivation.
        derivation: String,
        /// The output's name.
        output: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// An output that others could have written to.
    #[error("suspicious ownership or permission on {path:?} for output '{output}'; rejecting this build output")]
    SuspiciousOutput {
        /// The output's name.
        output: String,
        /// Where it is.
        path: PathBuf,
    },
    /// A flat output that is no plain file.
    #[error("output path {path:?} should be a non-executable regular file since recursive hashing is not enabled (one of outputHashMode={{flat,text}} is true)")]
    NotFlat {
        /// Where it is.
        path: PathBuf,
    },
    /// Outputs refer to each other in a circle.
    #[error("cycle detected in build of '{derivation}' in the references of output '{output}' from output '{from}'")]
    OutputCycle {
        /// Full path of the derivation.
        derivation: String,
        /// An output of the circle.
        output: String,
        /// One that refers to it.
        from: String,
    },
    /// A fixed output has another hash than it should.
    #[error("hash mismatch in fixed-output derivation '{derivation}':\n  specified: {specified}\n     got:    {got}")]
    HashMismatch {
        /// Full path of the derivation.
        derivation: String,
        /// The hash in the derivation, in SRI form.
        specified: String,
        /// The hash of what was made.
        got: String,
    },
    /// A fixed output refers to the store.
    #[error("fixed-output derivations must not reference store paths: '{derivation}' references {n_references} distinct paths, e.g. '{example}'")]
    FixedOutputReferences {
        /// Full path of the derivation.
        derivation: String,
        /// How many.
        n_references: usize,
        /// One of them.
        example: String,
    },
    /// What was made breaks one of the derivation's own rules; the reference's text.
    #[error("{message}")]
    OutputCheck {
        /// The message.
        message: String,
    },
    /// A second build gave something else.
    #[error("derivation '{derivation}' may not be deterministic: output {path:?} differs{}", kept.as_ref().map(|kept| format!(" from {kept:?}")).unwrap_or_default())]
    NotDeterministic {
        /// Full path of the derivation.
        derivation: String,
        /// The output.
        path: PathBuf,
        /// Where the other result is, if it was kept.
        kept: Option<PathBuf>,
    },
}

impl BuildError {
    /// Returns the status that this error gives a derivation.
    pub fn status(&self) -> BuildStatus {
        match self {
            BuildError::Store(_)
            | BuildError::Execute { .. }
            | BuildError::Shell { .. }
            | BuildError::NoShell { .. }
            | BuildError::Io { .. }
            | BuildError::NoSandbox { .. } => BuildStatus::MiscFailure,
            BuildError::Missing { .. } | BuildError::ResolvedFailed { .. } => BuildStatus::DependencyFailed,
            BuildError::FeatureDisabled { .. }
            | BuildError::DependsOnImpure { .. }
            | BuildError::Hook { .. }
            | BuildError::Users { .. }
            | BuildError::WorldWritable { .. }
            | BuildError::HookAnswer { .. }
            | BuildError::NothingToCheck { .. } => BuildStatus::MiscFailure,
            BuildError::NoSuchOutput { .. }
            | BuildError::Derivation { .. }
            | BuildError::Unsupported { .. }
            | BuildError::WrongMachine { .. }
            | BuildError::ExportOutsideInputs { .. } => BuildStatus::InputRejected,
            BuildError::Builder { transient: true, .. } => BuildStatus::TransientFailure,
            BuildError::Builder { .. } => BuildStatus::PermanentFailure,
            BuildError::Limit { status, .. } => *status,
            BuildError::Cancelled | BuildError::Declined => BuildStatus::Cancelled,
            BuildError::HashMismatch { .. } | BuildError::FixedOutputReferences { .. } => BuildStatus::HashMismatch,
            BuildError::NotDeterministic { .. } => BuildStatus::NotDeterministic,
            BuildError::MissingOutput { .. }
            | BuildError::SuspiciousOutput { .. }
            | BuildError::NotFlat { .. }
            | BuildError::OutputCycle { .. }
            | BuildError::OutputCheck { .. } => BuildStatus::OutputRejected,
        }
    }

    /// Makes the error of a file operation.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> BuildError {
        let path = path.into();
        move |source| BuildError::Io { action, path, source }
    }
}

/// An error with all its causes on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
