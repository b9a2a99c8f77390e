//! Daemons: a store behind a connection, and the other end of it.
//!
//! [`DaemonStore`] is a [`Store`](crate::store::Store) over any pair of streams: a socket, the standard streams of a
//! child (`ssh host nix-daemon --stdio`). [`serve`] answers such connections from any store. What a daemon does besides
//! keeping objects, building above all, is the trait [`DaemonService`]; this crate can't build, so a host that can brings
//! it along, and the client has it as well.
//!
//! The surprising thing: neither side may stop reading while it writes. Some hundred unread log messages fill a socket,
//! and two peers that both wait for room wait for ever; so uploads and batches read on another thread.

mod client;
mod connection;
pub(crate) mod hang_up;
pub(crate) mod pool;
mod server;
mod service;
mod transport;
mod tunnel;

pub use client::{DaemonStore, DaemonStoreOptions};
pub use hang_up::HangUp;
pub(crate) use server::first_failure;
pub use server::{ServerOptions, serve};
pub use service::DaemonService;
pub use transport::{Connector, Transport, UnixConnector, unix_transport};

use crate::error::StoreError;
use crate::wire::WireError;
use crate::wire::log::RemoteError;

/// Returns an error's message with those of its causes that it does not contain already.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Turns an error into what travels.
pub(crate) fn to_remote(error: &StoreError) -> RemoteError {
    match error {
        StoreError::Remote { source } => source.clone(),
        other => RemoteError::new(error_text(other)),
    }
}

/// Turns an error that travelled into one of ours: whoever asks for a path that is not there must find that out from any
/// store.
pub(crate) fn from_remote(error: RemoteError) -> StoreError {
    let path = error.message.strip_prefix("path '").and_then(|rest| rest.strip_suffix("' is not valid"));
    match path.map(without_colours) {
        Some(path) if !path.contains('\'') => StoreError::InvalidPath { path },
        _ => StoreError::Remote { source: error },
    }
}

/// Returns text without the escape sequences in which the reference colours values.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = escape.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

impl From<WireError> for StoreError {
    fn from(error: WireError) -> StoreError {
        match error {
            WireError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                StoreError::format("the connection ended", "Nix daemon disconnected unexpectedly (maybe it crashed?)")
            }
            error => StoreError::format("on the connection to the daemon", error),
        }
    }
}
