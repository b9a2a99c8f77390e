//! The builders that are part of this crate: `builtin:fetchurl`, `builtin:buildenv` and `builtin:unpack-channel`.
//!
//! They run in the helper process, inside the sandbox like any builder: a `file://` address sees only what a program
//! would see there. Their failures are written to the build's log, like a program's.

pub(crate) mod buildenv;
pub(crate) mod fetchurl;
pub(crate) mod unpack_channel;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use buildenv::{LinkError, Package, link_packages};
pub use fetchurl::Fetch;
pub use unpack_channel::Channel;

/// What a built-in builder shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuiltinRequest {
    /// Download a file.
    Fetchurl(Fetch),
    /// Make a tree of links.
    Buildenv {
        /// The output.
        out: PathBuf,
        /// Target of the link `manifest.nix`.
        manifest: PathBuf,
        /// What to link to.
        packages: Vec<Package>,
    },
    /// Unpack the archive of a channel.
    UnpackChannel(Channel),
    /// Fail like a builder, as the reference does.
    Unknown {
        /// What was asked for.
        name: String,
    },
}

/// Does what must happen before the sandbox is entered.
pub(crate) fn prepare(request: &BuiltinRequest) {
    if let BuiltinRequest::Fetchurl(_) = request {
        fetchurl::prepare();
    }
}

/// Runs a built-in builder. The error is one for the build's log.
pub(crate) fn run(request: &BuiltinRequest) -> Result<(), String> {
    match request {
        BuiltinRequest::Fetchurl(fetch) => fetchurl::run(fetch),
        BuiltinRequest::Buildenv { out, manifest, packages } => buildenv::run(out, manifest, packages),
        BuiltinRequest::UnpackChannel(channel) => unpack_channel::run(channel),
        BuiltinRequest::Unknown { name } => Err(format!("unsupported builtin builder '{name}'")),
    }
}
