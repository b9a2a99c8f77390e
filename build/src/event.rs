//! What a host can watch while builds run, and how it stops them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nixlang_store::path::StorePath;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::result::BuildResult;
use crate::sandbox::Isolation;

/// Returns what users are told of a build that begins: `building '…'`, on another `machine` unless that is empty.
pub fn building(path: &str, machine: &str) -> String {
    if machine.is_empty() { format!("building '{path}'") } else { format!("building '{path}' on '{machine}'") }
}

/// Everything that happens in [`Builder::run`](crate::Builder::run).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildEvent<'e> {
    /// A builder starts.
    Started {
        /// What is built.
        derivation: &'e StorePath,
        /// How it is isolated.
        isolation: Isolation,
    },
    /// A build starts on another machine, or in a daemon.
    StartedElsewhere {
        /// What is built.
        derivation: &'e StorePath,
        /// The address of the machine's store; empty for the machine that the daemon runs on.
        machine: &'e str,
    },
    /// Something is done for a build on another machine: a line for people who want to follow it.
    Note {
        /// What is built.
        derivation: &'e StorePath,
        /// The line.
        message: &'e str,
    },
    /// Another process builds the same; waiting for it.
    WaitingForLock {
        /// What is to be built.
        derivation: &'e StorePath,
    },
    /// All users for builds are taken; waiting for one.
    WaitingForUser {
        /// What is to be built.
        derivation: &'e StorePath,
    },
    /// A builder wrote a line.
    LogLine {
        /// What is built.
        derivation: &'e StorePath,
        /// The line, without its end.
        line: &'e [u8],
    },
    /// A builder says what it does now (`@nix {"action":"setPhase"}`).
    Phase {
        /// What is built.
        derivation: &'e StorePath,
        /// The phase, such as `buildPhase`.
        phase: &'e str,
    },
    /// A derivation turned out to be the same as another one, now that its inputs are known; that one is built.
    Resolved {
        /// What was to be built.
        derivation: &'e StorePath,
        /// What is built instead.
        resolved: &'e StorePath,
    },
    /// A path is fetched instead of built.
    Fetching {
        /// The path.
        path: &'e StorePath,
        /// The substituter's address.
        from: &'e str,
        /// Its size as NAR, in bytes.
        nar_size: u64,
    },
    /// How far the fetching of a path is.
    FetchProgress {
        /// The path.
        path: &'e StorePath,
        /// Bytes of the NAR that have come.
        n_bytes: u64,
        /// Its size in bytes.
        nar_size: u64,
    },
    /// A path was fetched, or not.
    Fetched {
        /// The path.
        path: &'e StorePath,
        /// Why not.
        error: Option<&'e nixlang_store::error::StoreError>,
    },
    /// The hook after builds starts.
    HookStarted {
        /// What was built.
        derivation: &'e StorePath,
        /// The hook.
        program: &'e std::path::Path,
    },
    /// A hook said something.
    HookLine {
        /// What was built.
        derivation: &'e StorePath,
        /// A line, without its end.
        line: &'e [u8],
    },
    /// The hook after builds has ended.
    HookFinished {
        /// What was built.
        derivation: &'e StorePath,
    },
    /// The builder of a derivation is executed.
    Executing {
        /// What is built.
        derivation: &'e StorePath,
        /// The builder, as the derivation has it.
        program: &'e [u8],
    },
    /// Something odd that is no error.
    Warning {
        /// What it is about.
        derivation: &'e StorePath,
        /// What is odd.
        message: &'e str,
    },
    /// A builder has ended, and its outputs have been looked at. (A derivation that was resolved is not finished by that.)
    Ended {
        /// What was built.
        derivation: &'e StorePath,
    },
    /// A derivation is done with, one way or the other.
    Finished {
        /// What was to be built.
        derivation: &'e StorePath,
        /// What became of it.
        result: &'e BuildResult,
    },
    /// How far everything is.
    Progress {
        /// Derivations done with.
        done: usize,
        /// Derivations of the plan.
        total: usize,
        /// Builders at work.
        running: usize,
        /// Derivations that failed.
        failed: usize,
    },
}

/// Gets told what happens. Called from several threads, never two calls for one derivation at once.
pub trait Observer: Sync {
    /// Something happened. Builds wait while this runs.
    fn event(&self, event: &BuildEvent<'_>) {
        let _ = event;
    }
}

/// Watches nothing.
impl Observer for () {}

/// Stops what runs with it. Copies share their state; once cancelled, always cancelled.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
    /// Tokens whose cancellation counts for this one as well.
    parent: Option<Box<CancelToken>>,
}

#[derive(Debug)]
struct Shared {
    cancelled: AtomicBool,
    /// Readable once cancelled. Never read, so it wakes everybody who waits. None where the system has no room for it.
    wake: Option<OwnedFd>,
}

impl Default for Shared {
    fn default() -> Shared {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Shared { cancelled: AtomicBool::new(false), wake }
    }
}

impl CancelToken {
    /// Returns a token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Returns a token that this one cancels too, but not the other way round.
    pub fn child(&self) -> CancelToken {
        CancelToken { shared: Arc::default(), parent: Some(Box::new(self.clone())) }
    }

    /// Stops everything that runs with this token. Safe to call from any thread, also several times.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Release);
        if let Some(wake) = &self.shared.wake {
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }

    /// Returns whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }

    /// Waits until one of some tokens is cancelled, or for this long.
    pub(crate) fn wait_for_any(tokens: &[&CancelToken], limit: Option<Duration>) {
        let wakes: Vec<Option<&OwnedFd>> = tokens.iter().flat_map(|token| token.wakes()).collect();
        let mut events: Vec<PollFd<'_>> = wakes.iter().flatten().map(|wake| PollFd::new(*wake, PollFlags::IN)).collect();
        // Without a descriptor to wake up on, look often.
        let often = wakes.iter().any(Option::is_none).then_some(Duration::from_millis(50));
        let deadline = limit.map(|limit| Instant::now() + limit);
        while !tokens.iter().any(|token| token.is_cancelled()) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let timeout = left.into_iter().chain(often).min().map(|left| Timespec {
                tv_sec: left.as_secs().min(i64::MAX as u64) as i64,
                tv_nsec: left.subsec_nanos().into(),
            });
            if !matches!(poll(&mut events, timeout.as_ref()), Ok(_) | Err(Errno::INTR)) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Returns what becomes readable on cancellation; one item per token of the chain, none where that is not possible.
    pub(crate) fn wakes(&self) -> Vec<Option<&OwnedFd>> {
        let mut wakes = self.parent.as_ref().map(|parent| parent.wakes()).unwrap_or_default();
        wakes.push(self.shared.wake.as_ref());
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancellation_goes_down_but_not_up() {
        let parent = CancelToken::new();
        let (one, two) = (parent.child(), parent.child());
        one.cancel();
        assert!(one.is_cancelled() && !two.is_cancelled() && !parent.is_cancelled());
        parent.clone().cancel();
        assert!(two.is_cancelled());
    }
}
