//! The older of the two protocols: `nix-store --serve`, and the store that speaks to it, `ssh://`.
//!
//! It can ask for validity, facts, closures and archives, add paths and build; nothing else. Both ends speak on plain
//! streams. The surprising thing: it has no errors. A server that can't answer writes why to its standard error and ends.

mod client;
mod server;

pub use client::ServeStore;
pub use server::{ServeServerOptions, serve_commands};
