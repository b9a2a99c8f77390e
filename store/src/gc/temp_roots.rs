//! Temporary roots: what this process works on and a garbage collection must not take away.
//!
//! They are lines in `temproots/<pid>`, a file that its owner keeps locked for life. A process has one such file per
//! store whatever number of handles it opens, because an opener takes a file of its own pid for a dead namesake's and
//! deletes it: the reason for the process-wide table here.
//!
//! While a collection runs (its `gc.lock` is held exclusively) it has read those files already, so a new root is also
//! told to it through a socket; the answer comes when the path is not being deleted.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::error::{IoContext, Result, StoreError};
use crate::local::locks::{LockMode, lock, open_lock_file, try_lock, unlock};

/// The temporary roots of this process in one store.
#[derive(Debug)]
pub(crate) struct TempRoots {
    state_dir: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` until the first root; made anew in a forked child.
    file: Option<OwnFile>,
    gc_lock: Option<File>,
    collector: Option<UnixStream>,
}

#[derive(Debug)]
struct OwnFile {
    file: File,
    path: PathBuf,
    pid: u32,
    written: HashSet<Box<str>>,
}

type Table = Mutex<HashMap<PathBuf, Weak<TempRoots>>>;

fn table() -> MutexGuard<'static, HashMap<PathBuf, Weak<TempRoots>>> {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::default);
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TempRoots {
    /// Returns the registry of this process for the store with this state directory, which must exist.
    pub(crate) fn of(state_dir: &Path) -> Result<Arc<TempRoots>> {
        let state_dir = state_dir.canonicalize().at("resolving", state_dir)?;
        let mut table = table();
        if let Some(found) = table.get(&state_dir).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let made = Arc::new(TempRoots { state_dir: state_dir.clone(), inner: Mutex::default() });
        table.insert(state_dir, Arc::downgrade(&made));
        Ok(made)
    }

    /// Makes these full logical store paths roots until the process's last handle on the store is gone.
    ///
    /// When it returns, no collection, running or future, deletes them. Paths that are roots already cost nothing.
    pub(crate) fn add<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Result<()> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        self.ensure_file(inner)?;
        let Inner { file: Some(own), gc_lock, collector } = inner else { unreachable!("ensure_file made it") };

        let new: Vec<&str> = paths.into_iter().filter(|path| !own.written.contains(*path)).collect();
        if new.is_empty() {
            return Ok(());
        }

        let gc_lock_path = self.state_dir.join("gc.lock");
        let gc_lock = match gc_lock {
            Some(file) => &*file,
            None => gc_lock.insert(open_lock_file(&gc_lock_path)?),
        };
        let shared = loop {
            if try_lock(gc_lock, LockMode::Shared, &gc_lock_path)? {
                break true;
            }
            if tell_collector(&self.state_dir, collector, &new)? {
                break false;
            }
            // The collector has just ended, or has its lock but not yet its socket.
        };
        let mut lines = Vec::with_capacity(new.len() * 96);
        for path in &new {
            lines.extend_from_slice(path.as_bytes());
            lines.push(0);
        }
        let written = (&own.file).write_all(&lines).at("writing to", &own.path);
        if shared {
            unlock(gc_lock, &gc_lock_path)?;
        }
        written?;
        own.written.extend(new.into_iter().map(Box::from));
        Ok(())
    }

    fn ensure_file(&self, inner: &mut Inner) -> Result<()> {
        let pid = std::process::id();
        if inner.file.as_ref().is_some_and(|own| own.pid == pid) {
            return Ok(());
        }
        // In a forked child the file is the parent's: forget it without unlinking, and the connection with it.
        *inner = Inner::default();
        let path = self.state_dir.join("temproots").join(pid.to_string());
        let file = loop {
            // Of our own pid, and not ours: left behind by a process that is no more.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io("removing stale temporary roots file", &path, error));
                }
                _ => {}
            }
            let file = open_lock_file(&path)?;
            lock(&file, LockMode::Exclusive, &path)?;
            // A collector that was quicker has unlinked the file and written into it.
            if file.metadata().at("reading the size of", &path)?.len() == 0 {
                break file;
            }
        };
        inner.file = Some(OwnFile { file, path, pid, written: HashSet::new() });
        Ok(())
    }
}

impl Drop for TempRoots {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = &inner.file else { return };
        if own.pid != std::process::id() {
            return;
        }
        // A successor may have been made since the last handle went; then the file in the directory is its own.
        let mut table = table();
        if table.get(&self.state_dir).is_some_and(|successor| successor.strong_count() > 0) {
            return;
        }
        table.remove(&self.state_dir);
        let _ = std::fs::remove_file(&own.path);
    }
}

/// Tells a running collector of these paths. Returns false if there is none to talk to (any more).
fn tell_collector(state_dir: &Path, connection: &mut Option<UnixStream>, paths: &[&str]) -> Result<bool> {
    let socket_path = state_dir.join("gc-socket").join("socket");
    let stream = match connection {
        Some(stream) => stream,
        None => match connect(&socket_path) {
            Ok(stream) => connection.insert(stream),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                std::thread::sleep(Duration::from_millis(100));
                return Ok(false);
            }
            Err(error) => return Err(StoreError::io("connecting to the garbage collector at", &socket_path, error)),
        },
    };
    for path in paths {
        let answer = stream.write_all(format!("{path}\n").as_bytes()).and_then(|()| {
            let mut byte = [0];
            stream.read_exact(&mut byte).map(|()| byte[0])
        });
        match answer {
            Ok(b'1') => {}
            Ok(_) => {
                *connection = None;
                let error = std::io::Error::new(ErrorKind::InvalidData, "the answer is not an acknowledgement");
                return Err(StoreError::io("talking to the garbage collector at", &socket_path, error));
            }
            Err(error) => {
                *connection = None;
                return match error.kind() {
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Ok(false),
                    _ => Err(StoreError::io("talking to the garbage collector at", &socket_path, error)),
                };
            }
        }
    }
    Ok(true)
}

/// Connects to a socket whose path may be longer than a socket address holds (108 bytes).
pub(crate) fn connect(path: &Path) -> std::io::Result<UnixStream> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let (dir, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
            let dir = File::open(dir)?;
            use std::os::fd::AsRawFd;
            UnixStream::connect(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("temproots")).unwrap();
        dir
    }

    fn own_file(dir: &Path) -> PathBuf {
        dir.join("temproots").join(std::process::id().to_string())
    }

    #[test]
    fn roots_are_written_once_and_the_file_goes_with_the_last_handle() {
        let dir = state_dir();
        let first = TempRoots::of(dir.path()).unwrap();
        let second = TempRoots::of(dir.path()).unwrap();
        first.add(["/nix/store/a", "/nix/store/b"]).unwrap();
        second.add(["/nix/store/b", "/nix/store/c"]).unwrap();
        let file = own_file(dir.path());
        assert_eq!(std::fs::read(&file).unwrap(), b"/nix/store/a\0/nix/store/b\0/nix/store/c\0");
        let other = File::open(&file).unwrap();
        assert!(!try_lock(&other, LockMode::Exclusive, &file).unwrap(), "its owner keeps it locked");
        drop(first);
        assert!(file.exists());
        drop(second);
        assert!(!file.exists());
    }

    #[test]
    fn a_running_collector_is_told_and_waited_for() {
        let dir = state_dir();
        let gc_lock_path = dir.path().join("gc.lock");
        let gc_lock = open_lock_file(&gc_lock_path).unwrap();
        lock(&gc_lock, LockMode::Exclusive, &gc_lock_path).unwrap();
        std::fs::create_dir(dir.path().join("gc-socket")).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("gc-socket/socket")).unwrap();
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 13];
            stream.read_exact(&mut line).unwrap();
            stream.write_all(b"1").unwrap();
            line
        });
        let roots = TempRoots::of(dir.path()).unwrap();
        roots.add(["/nix/store/a"]).unwrap();
        assert_eq!(&collector.join().unwrap(), b"/nix/store/a\n");
        assert_eq!(std::fs::read(own_file(dir.path())).unwrap(), b"/nix/store/a\0");
    }
}
