//! Waiting for locks that others hold, without asking again and again: whoever lets a lock go closes its file, and the
//! kernel tells that to those who watch the file.
//!
//! The surprising part: while it waits this keeps the files open and never closes one, because it would wake itself.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, flock};

use crate::event::CancelToken;

/// How long to wait at most where the kernel tells everything; a lock may be let go without closing the file.
const LONG: Duration = Duration::from_secs(2);
/// As [`LONG`], where it does not (no room for more watches, no descriptor to wake up on).
const SHORT: Duration = Duration::from_millis(50);

/// Returns when one of the files at `paths` that somebody has locked is locked no more, or `cancel` is cancelled; at once
/// if none is locked. Whether it is still so afterwards has to be tried.
pub(crate) fn wait_for_one(paths: &[PathBuf], cancel: &CancelToken) {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
    let mut is_watched = true;
    let mut held = Vec::new();
    for path in paths {
        // The watch comes first, so that nothing is missed between the look and the wait.
        is_watched &= watch.as_ref().is_some_and(|watch| add_watch(watch, path));
        let Ok(file) = File::options().read(true).write(true).open(path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            held.push(file);
        }
    }
    while !held.is_empty() && !cancel.is_cancelled() {
        wait(watch.as_ref(), is_watched, cancel);
        if held.iter().any(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            return;
        }
    }
}

fn add_watch(watch: &OwnedFd, path: &Path) -> bool {
    inotify::add_watch(watch, path, WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE).is_ok()
}

/// Returns when a file was closed, `cancel` cancelled, or enough time has passed.
fn wait(watch: Option<&OwnedFd>, is_watched: bool, cancel: &CancelToken) {
    let wakes = cancel.wakes();
    let limit = if is_watched && wakes.iter().all(Option::is_some) { LONG } else { SHORT };
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let descriptors = wakes.into_iter().chain([watch]).flatten();
    let mut events: Vec<PollFd<'_>> = descriptors.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let _ = poll(&mut events, Some(&limit));
    // What is known now must not wake the next wait.
    let mut buffer = [0_u8; 1024];
    while watch.is_some_and(|watch| rustix::io::read(watch, &mut buffer).is_ok_and(|n_bytes| n_bytes > 0)) {}
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits in a thread; returns what hears when that is over.
    fn waiter(paths: Vec<PathBuf>, cancel: &CancelToken) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            wait_for_one(&paths, &cancel);
            let _ = sender.send(());
        });
        receiver
    }

    #[test]
    fn the_end_of_any_lock_wakes_and_so_does_cancellation() {
        let scratch = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = ["a", "b"].iter().map(|name| scratch.path().join(name)).collect();
        let lock = |path: &PathBuf| {
            let file = File::create(path).unwrap();
            flock(&file, FlockOperation::LockExclusive).unwrap();
            file
        };
        let cancel = CancelToken::new();
        wait_for_one(&paths, &cancel);
        let (first, second) = (lock(&paths[0]), lock(&paths[1]));
        let waiting = waiter(paths.clone(), &cancel);
        assert!(waiting.recv_timeout(Duration::from_millis(20)).is_err());
        drop(second);
        waiting.recv().unwrap();

        let waiting = waiter(paths[..1].to_vec(), &cancel);
        cancel.cancel();
        waiting.recv().unwrap();
        drop(first);
    }
}
