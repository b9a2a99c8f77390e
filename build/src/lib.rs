//! From wanted outputs to valid store paths: plan, prepare, execute in a sandbox, collect.
//!
//! The surprising part: a host program must call [`helper_main`] first thing in its `main`, because every build runs
//! under a small process that is this program executed anew (or another one that the host names).
#![deny(unsafe_code)]

mod builder;
mod bytes;
pub mod error;
pub mod event;
pub mod executor;
pub mod log;
pub mod options;
mod outputs;
pub mod plan;
mod prepare;
pub mod result;
pub mod sandbox;
mod scheduler;

pub use builder::Builder;
pub use bytes::Bytes;
pub use event::{BuildEvent, CancelToken, Observer};
pub use error::BuildError;
pub use executor::{BuildRequest, Executor, Limits};
pub use options::{BuildMode, BuildOptions};
pub use plan::{DerivedPath, Plan, WantedOutputs};
pub use result::{BuildOutcome, BuildResult, BuildStatus};
pub use sandbox::helper::{Helper, helper_main};
