//! From wanted outputs to valid store paths: plan, prepare, execute in a sandbox, collect.
//!
//! ```text
//! DerivedPath ─ plan ─▶ Plan ─ scheduler ─▶ one step: lock ─ prepare ─▶ BuildRequest ─ executor ─▶ log, end
//!                                                                                        │
//!                      valid paths ◀─ register ◀─ check ◀─ hash and scan ◀─ outputs ◀────┘
//! ```
//!
//! [`Builder`] is where to start, [`job`] has an example that builds, in the background. A *step* is a derivation to build; its *request* is what an
//! [`Executor`] runs, plain data with no decision left; the *helper* is the small process that every build runs under.
//!
//! The surprising part: a host program must call [`helper_main`] first thing in its `main`, because the helper is this
//! program executed anew (or another one that the host names). Nothing here forks the host.
//!
//! # Where this differs from the reference on purpose
//!
//! - Inputs are mounted read-only: without build users their owner is the builder. For the same reason `/proc/sys` and
//!   its like are read-only in builds of root.
//! - A build never falls back to no sandbox; [`BuildResult::isolation`] says what it had.
//! - A builder that closes its output is not killed for it, and a process that it leaves behind is.
//! - A fixed output that refers to the store is refused before it is registered.
//! - Build directories are called `nix-nixlang-…`, are locked while in use and are removed after a crash.
//! - Ready steps are run longest chain first, not by name.
#![deny(unsafe_code)]

mod builder;
mod bytes;
pub mod error;
pub mod event;
pub mod executor;
mod hooks;
pub mod job;
mod known;
mod lock_wait;
pub mod log;
pub mod options;
mod outputs;
pub mod plan;
mod prepare;
mod recursive;
pub mod remote;
pub mod result;
pub mod sandbox;
mod scheduler;
mod users;

pub use builder::Builder;
pub use builder::hook::{HookStreams, hook_message, read_hook_settings};
pub use bytes::Bytes;
pub use event::{BuildEvent, CancelToken, Observer, building};
pub use error::BuildError;
pub use executor::{BuildRequest, Executor, Limits};
pub use job::{Job, JobProgress, Scheduler};
pub use options::{BuildMode, BuildOptions};
pub use plan::{DerivedPath, OutputsSpec, Plan, SingleDerivedPath};
pub use prepare::external::ExternalBuilder;
pub use prepare::resolve::resolve;
pub use prepare::shell::{ShellEnvironment, shell_environment};
pub use result::{BuildOutcome, BuildResult, BuildStatus, Realised};
pub use sandbox::helper::{Helper, helper_main};
