//! Builders that build (`recursive-nix`): a daemon for the builder alone, at a socket in its build directory.
//!
//! Behind the socket is the machine's store, but only what the builder may know of it: its inputs, and what it adds or
//! builds on the way ([`store::RestrictedStore`], [`service`]). Such a path becomes an input: it appears in the sandbox, and outputs
//! may refer to it.
//!
//! The surprising part: nobody tells us who the builder is. Whoever connects to the socket is in its sandbox, so the namespaces that a
//! new path has to appear in are those of the client.
//!
//! Rules: `restricted-store.cc` and `derivation-builder.cc` of the reference, 2.34.8.

mod service;
mod store;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use nixlang_store::daemon::{ServerOptions, serve};
use nixlang_store::error::StoreError;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use self::service::RestrictedService;
use self::store::RestrictedStore;
use crate::builder::Builder;
use crate::error::BuildError;
use crate::event::CancelToken;
use crate::options::BuildMode;
use crate::prepare::Prepared;
use crate::sandbox::Mount;
use crate::sandbox::join::{Namespaces, show};

/// The system feature that a derivation asks for.
pub(crate) const FEATURE: &str = "recursive-nix";
/// The socket, in the build directory.
pub(crate) const SOCKET: &str = ".nix-socket";

/// What one builder may know of the store.
pub(super) struct Guest<'g> {
    builder: &'g Builder,
    inputs: &'g BTreeSet<StorePath>,
    /// What is the store directory in the sandbox, on this machine, if there is one.
    store_inside: Option<&'g Path>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    added: BTreeSet<StorePath>,
    /// Those of the client that came last.
    namespaces: Option<Namespaces>,
    connections: Vec<UnixStream>,
    is_over: bool,
}

impl Guest<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the builder may know of a path.
    fn is_allowed(&self, path: &StorePath) -> bool {
        self.inputs.contains(path) || self.state().added.contains(path)
    }

    /// Returns all that the builder may know of.
    fn all(&self) -> Vec<StorePath> {
        self.inputs.iter().chain(&self.state().added).cloned().collect()
    }

    /// Makes a valid path an input of the running build.
    fn add(&self, path: &StorePath) -> Result<(), StoreError> {
        if self.inputs.contains(path) {
            return Ok(());
        }
        // Held until it is there: whoever finds the path among the added ones may look at it.
        let mut state = self.state();
        if state.added.contains(path) {
            return Ok(());
        }
        if let Some(store_inside) = self.store_inside {
            let store = self.builder.store();
            let namespaces = state.namespaces.as_ref().ok_or(StoreError::Unsupported { operation: "paths in the sandbox of nobody" })?;
            let logical = PathBuf::from(store.store_dir().display(path));
            let helper = &self.builder.options().helper;
            show(helper, namespaces, store_inside, &store.to_real_path(path), &logical)
                .map_err(|error| StoreError::format("showing a path to a running build", error))?;
        }
        state.added.insert(path.clone());
        Ok(())
    }
}

/// Runs `body`, a build, with a daemon for its builder if it asks for one. Returns what the builder added or had built as well.
pub(crate) fn with_daemon<T>(
    builder: &Builder,
    prepared: &Prepared,
    cancel: &CancelToken,
    body: impl FnOnce() -> T,
) -> Result<(T, BTreeSet<StorePath>), BuildError> {
    let Some(socket) = &prepared.daemon_socket else { return Ok((body(), BTreeSet::new())) };
    let failed = |source: io::Error| BuildError::Io { action: "making a socket at", path: socket.clone(), source };
    let listener = bind(socket).map_err(failed)?;
    if let Some(user) = &prepared.user {
        std::os::unix::fs::lchown(socket, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    // What is built for the builder is built as if nobody asked for anything special, and ends with it.
    let mut options = builder.options().clone();
    options.mode = BuildMode::Normal;
    let inner = Builder::with_executor(builder.store().clone(), options, builder.executor().clone());
    let guest = Guest {
        builder: &inner,
        inputs: &prepared.inputs,
        store_inside: prepared.request.sandbox.as_ref().and_then(|sandbox| {
            let is_store = |mount: &&Mount| mount.target.as_os_str() == builder.store().store_dir().as_str();
            sandbox.scratch.iter().find(is_store).map(|mount| &*mount.source)
        }),
        state: Mutex::default(),
    };
    let cancel = cancel.child();
    let result = std::thread::scope(|scope| {
        let (guest, listener, cancel) = (&guest, &listener, &cancel);
        scope.spawn(move || accept(scope, guest, listener, cancel));
        let result = body();
        guest.state().is_over = true;
        cancel.cancel();
        let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        for connection in &guest.state().connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        result
    });
    Ok((result, guest.state.into_inner().unwrap_or_else(PoisonError::into_inner).added))
}

/// Accepts clients until the build is over.
fn accept<'s, 'e>(scope: &'s Scope<'s, 'e>, guest: &'s Guest<'_>, listener: &UnixListener, cancel: &'s CancelToken) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { break };
        let Ok(other_end) = stream.try_clone() else { continue };
        {
            let mut state = guest.state();
            if state.is_over {
                break;
            }
            if guest.store_inside.is_some() {
                // A client that is gone already gets no answer either.
                let Ok(namespaces) = namespaces_of(&stream) else { continue };
                state.namespaces = Some(namespaces);
            }
            state.connections.push(other_end);
        }
        scope.spawn(move || answer(guest, stream, cancel));
    }
}

fn answer(guest: &Guest<'_>, stream: UnixStream, cancel: &CancelToken) {
    let Ok(writer) = stream.try_clone() else { return };
    let store = RestrictedStore::new(guest);
    let service = RestrictedService::new(guest, cancel);
    let options = ServerOptions { version: env!("CARGO_PKG_VERSION").to_owned(), is_trusted: false, is_recursive: true };
    // Whatever goes wrong, the client hears of it.
    let _ = serve(&store, &service, &options, Box::new(stream), Box::new(writer));
}

fn namespaces_of(stream: &UnixStream) -> io::Result<Namespaces> {
    let pid = rustix::net::sockopt::socket_peercred(stream)?.pid;
    Namespaces::of_process(pid.as_raw_nonzero().get())
}

/// Listens at a path, which may be longer than an address has room for.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    let parent = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    let listener = UnixListener::bind(through.join(SOCKET))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    drop(OwnedFd::from(parent));
    Ok(listener)
}
