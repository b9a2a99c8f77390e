//! The collection's side of the socket: hears of new roots while paths are being deleted.
//!
//! Roots are compared by hash part alone, so that `<path>.lock` and the like are kept with their path. A client that
//! names a path which is being deleted gets its answer when the path is gone, and then makes it anew.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{IoContext, Result};
use crate::gc::temp_roots::connect;
use crate::local::{Layout, make_dirs};
use crate::path::{StoreDir, StorePath};

/// Longest line of a client, in bytes: store paths are shorter.
const MAX_LINE: u64 = 4096;

/// Roots that came since the collection began, and what is being deleted.
#[derive(Debug, Default)]
pub(crate) struct RootsServer {
    shared: Mutex<Shared>,
    deleted: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    roots: HashSet<[u8; 20]>,
    pending: HashSet<[u8; 20]>,
}

/// Paths that are being deleted, until it is dropped.
pub(crate) struct Deletion<'s> {
    server: &'s RootsServer,
    paths: Vec<[u8; 20]>,
}

impl RootsServer {
    /// Serves while `body` runs.
    pub(crate) fn run<T>(layout: &Layout, body: impl FnOnce(&RootsServer) -> Result<T>) -> Result<T> {
        let server = RootsServer::default();
        let dir = layout.state_dir.join("gc-socket");
        make_dirs(&dir)?;
        let path = dir.join("socket");
        let listener = listen(&dir, &path)?;
        let stopping = AtomicBool::new(false);
        let connections = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                for stream in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    if let Ok(clone) = stream.try_clone() {
                        connections.lock().unwrap_or_else(PoisonError::into_inner).push(clone);
                        scope.spawn(|| server.serve(stream, &layout.store_dir));
                    }
                }
            });
            let stop = Stop { stopping: &stopping, path: &path, connections: &connections };
            let result = body(&server);
            drop(stop);
            let _ = accepting.join();
            for connection in connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = connection.shutdown(std::net::Shutdown::Both);
            }
            result
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: UnixStream, store_dir: &StoreDir) {
        let Ok(reader) = stream.try_clone() else { return };
        let mut reader = BufReader::new(reader);
        let mut stream = stream;
        let mut line = Vec::new();
        loop {
            line.clear();
            let n_read = std::io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line);
            if !matches!(n_read, Ok(1..)) || line.pop() != Some(b'\n') {
                return;
            }
            // What is no store path can't be deleted either.
            if let Ok(path) = store_dir.parse(&line) {
                let hash_part = path.hash_part();
                let mut shared = self.shared();
                shared.roots.insert(hash_part);
                while shared.pending.contains(&hash_part) {
                    shared = self.deleted.wait(shared).unwrap_or_else(PoisonError::into_inner);
                }
            }
            if stream.write_all(b"1").is_err() {
                return;
            }
        }
    }

    /// Adds roots that were there before.
    pub(crate) fn add_all<'p>(&self, paths: impl IntoIterator<Item = &'p StorePath>) {
        self.shared().roots.extend(paths.into_iter().map(StorePath::hash_part));
    }

    /// Whether a path with the same hash part is a root.
    pub(crate) fn is_root(&self, path: &StorePath) -> bool {
        self.shared().roots.contains(&path.hash_part())
    }

    /// Says that paths are going to be deleted; returns those that became roots and must not be.
    pub(crate) fn begin_deletion(&self, paths: &[&StorePath]) -> (Deletion<'_>, Vec<StorePath>) {
        let mut shared = self.shared();
        let (rooted, pending): (Vec<&StorePath>, Vec<&StorePath>) =
            paths.iter().copied().partition(|path| shared.roots.contains(&path.hash_part()));
        let pending: Vec<[u8; 20]> = pending.into_iter().map(StorePath::hash_part).collect();
        shared.pending.extend(&pending);
        (Deletion { server: self, paths: pending }, rooted.into_iter().cloned().collect())
    }
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        let mut shared = self.server.shared();
        for path in &self.paths {
            shared.pending.remove(path);
        }
        self.server.deleted.notify_all();
    }
}

/// Ends the accepting thread when dropped, also if the collection panics.
struct Stop<'s> {
    stopping: &'s AtomicBool,
    path: &'s Path,
    connections: &'s Mutex<Vec<UnixStream>>,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Accepting waits for a connection: this is it.
        let _ = connect(self.path);
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Listens at a path that may be longer than a socket address holds.
fn listen(dir: &Path, path: &Path) -> Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            let dir_file = std::fs::File::open(dir).at("opening", dir)?;
            let short = Path::new("/proc/self/fd").join(dir_file.as_raw_fd().to_string()).join("socket");
            UnixListener::bind(short)
        }
        result => result,
    }
    .at("listening at", path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).at("changing the mode of", path)?;
    Ok(listener)
}
