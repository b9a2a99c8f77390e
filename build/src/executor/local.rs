//! Runs a build on this machine: start the helper, read log and replies, watch the clock, stop the process tree.

mod proxy;

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::proxy::Proxy;
use super::{BuildRequest, End, ExecuteError, Execution, Executor};
use crate::event::CancelToken;
use crate::sandbox::helper::launcher::{Launcher, Running};
use crate::sandbox::helper::{Helper, Reply, Request, parse_replies, receive_with};

/// How long a builder may live that has closed its output, before it is killed. One that ends closes it an instant earlier.
const LIFE_WITHOUT_LOG: Duration = Duration::from_secs(1);

/// How long a build that is cancelled may go on. Of builds that fail in the same instant the first to start is told of,
/// which has to be known to have failed by itself.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// Runs builds on this machine. Copies share one helper process, which starts with the first build and ends with the last
/// copy.
#[derive(Clone, Debug)]
pub struct LocalExecutor {
    launcher: Arc<Launcher>,
}

impl LocalExecutor {
    /// Returns an executor that uses this helper.
    pub fn new(helper: Helper) -> LocalExecutor {
        LocalExecutor { launcher: Arc::new(Launcher::new(helper)) }
    }
}

impl Executor for LocalExecutor {
    fn execute(
        &self,
        request: &BuildRequest,
        log: &mut dyn FnMut(&[u8]),
        cancel: &CancelToken,
    ) -> Result<Execution, ExecuteError> {
        let message = Request {
            sandbox: request.sandbox.clone(),
            directory: request.directory.clone(),
            program: request.program.clone(),
            user: request.user.clone(),
            cgroup: request.cgroup.clone(),
        };
        let running = self.launcher.start(&message).map_err(|source| ExecuteError::Helper { source })?;
        let mut watch = Watch {
            running,
            request,
            cancel,
            started: Instant::now(),
            last_word: Instant::now(),
            log_ended: None,
            cancelled: None,
            n_log_bytes: 0,
            forced: None,
            replies: Vec::new(),
            finished: None,
            setup_failure: None,
            proxy: None,
        };
        let result = watch.run(log);
        let Watch { running, forced, finished, setup_failure, .. } = watch;
        result?;
        if finished.is_some() {
            self.launcher.keep(running);
        }

        if let Some(error) = setup_failure {
            return Err(error);
        }
        let (end, cpu_us) = match (forced, finished) {
            (Some(end), finished) => (end, finished.map_or((0, 0), |(_, cpu)| cpu)),
            (None, Some((end, cpu))) => (end, cpu),
            (None, None) => return Err(ExecuteError::HelperDied),
        };
        let cpu = (Duration::from_micros(cpu_us.0), Duration::from_micros(cpu_us.1));
        Ok(Execution { end, cpu })
    }
}

struct Watch<'w> {
    running: Running,
    request: &'w BuildRequest,
    cancel: &'w CancelToken,
    started: Instant,
    last_word: Instant,
    /// When nobody could write to the log any more.
    log_ended: Option<Instant>,
    /// When it was seen that nobody wants the build any more.
    cancelled: Option<Instant>,
    n_log_bytes: u64,
    /// Why the build was stopped by force, if it was.
    forced: Option<End>,
    /// Part of a reply.
    replies: Vec<u8>,
    finished: Option<(End, (u64, u64))>,
    setup_failure: Option<ExecuteError>,
    /// Serves the build's network, if that is limited.
    proxy: Option<Proxy>,
}

impl Watch<'_> {
    /// Returns when the log has ended and the helper has said so, or says nothing more.
    fn run(&mut self, log: &mut dyn FnMut(&[u8])) -> Result<(), ExecuteError> {
        let mut buffer = vec![0; 64 << 10];
        let (mut log_open, mut replies_open) = (true, true);
        while log_open || (replies_open && self.finished.is_none()) {
            let timeout = self.check_limits();
            let timeout = timeout.map(|left| Timespec {
                tv_sec: left.as_secs().min(i64::MAX as u64) as i64,
                tv_nsec: left.subsec_nanos().into(),
            });
            let (log_ready, replies_ready) = {
                // A closed descriptor would be ready for ever; the other one stands in for it.
                let log_fd = if log_open { self.running.log.as_fd() } else { self.running.channel.as_fd() };
                let replies_fd = if replies_open { self.running.channel.as_fd() } else { self.running.log.as_fd() };
                let mut events = vec![PollFd::new(&log_fd, PollFlags::IN), PollFd::new(&replies_fd, PollFlags::IN)];
                let wakes = if self.forced.is_none() && self.cancelled.is_none() { self.cancel.wakes() } else { Vec::new() };
                events.extend(wakes.into_iter().flatten().map(|wake| PollFd::new(wake, PollFlags::IN)));
                match poll(&mut events, timeout.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(ExecuteError::Log { source: error.into() }),
                }
                (log_open && !events[0].revents().is_empty(), replies_open && !events[1].revents().is_empty())
            };
            if log_ready {
                match rustix::io::read(&self.running.log, &mut buffer) {
                    Ok(0) | Err(Errno::IO) => {
                        log_open = false;
                        self.log_ended = Some(Instant::now());
                    }
                    Ok(n_bytes) => {
                        self.last_word = Instant::now();
                        self.n_log_bytes += n_bytes as u64;
                        if self.forced.is_none() {
                            log(&buffer[..n_bytes]);
                        }
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(error) => return Err(ExecuteError::Log { source: error.into() }),
                }
            }
            if replies_ready {
                match receive_with(&self.running.channel, &mut buffer) {
                    Ok((0, _)) => replies_open = false,
                    Ok((n_bytes, descriptor)) => {
                        self.replies.extend_from_slice(&buffer[..n_bytes]);
                        self.take_replies(descriptor);
                    }
                    Err(Errno::INTR) => {}
                    // Its process was killed.
                    Err(Errno::CONNRESET) => replies_open = false,
                    Err(error) => return Err(ExecuteError::Log { source: error.into() }),
                }
            }
        }
        Ok(())
    }

    fn take_replies(&mut self, mut descriptor: Option<OwnedFd>) {
        for reply in parse_replies(&mut self.replies) {
            match reply {
                Reply::Listening => {
                    let hosts = self.request.sandbox.as_ref().map(|sandbox| sandbox.hosts.clone());
                    if let (Some(socket), Some(hosts)) = (descriptor.take(), hosts) {
                        self.proxy = Some(Proxy::start(TcpListener::from(socket), hosts));
                    }
                }
                Reply::SetupFailed { step, reason, hint } => {
                    self.setup_failure.get_or_insert(ExecuteError::Sandbox { step, reason, hint });
                }
                Reply::Finished { status, signal, cpu_us } => {
                    let end = match (status, signal) {
                        (Some(status), _) => End::Exited(status),
                        (None, Some(signal)) => End::Signalled(signal),
                        (None, None) => End::Signalled(0),
                    };
                    self.finished = Some((end, cpu_us));
                }
            }
        }
    }

    /// Stops the build if a limit is reached. Returns how long to wait at most before the next look.
    fn check_limits(&mut self) -> Option<Duration> {
        if self.forced.is_some() || self.finished.is_some() {
            return None;
        }
        let limits = &self.request.limits;
        let mut nearest: Option<Duration> = None;
        for (since, limit) in [(self.started, limits.timeout), (self.last_word, limits.max_silent)] {
            let Some(limit) = limit else { continue };
            match limit.checked_sub(since.elapsed()) {
                None | Some(Duration::ZERO) => {
                    self.stop(End::TimedOut(limit));
                    return None;
                }
                Some(left) => nearest = Some(nearest.map_or(left, |other| other.min(left))),
            }
        }
        // As in the reference, a build is over when its output is: the helper kills what is left, and says so.
        if let Some(ended) = self.log_ended {
            match LIFE_WITHOUT_LOG.checked_sub(ended.elapsed()) {
                None | Some(Duration::ZERO) => {
                    self.running.stop();
                    return None;
                }
                Some(left) => nearest = Some(nearest.map_or(left, |other| other.min(left))),
            }
        }
        if let Some(limit) = limits.max_log_bytes
            && self.n_log_bytes > limit
        {
            self.stop(End::LogTooLong(limit));
            return None;
        }
        if self.cancel.is_cancelled() {
            let since = *self.cancelled.get_or_insert_with(Instant::now);
            match LAST_MOMENT.checked_sub(since.elapsed()) {
                None | Some(Duration::ZERO) => {
                    self.stop(End::Cancelled);
                    return None;
                }
                Some(left) => nearest = Some(nearest.map_or(left, |other| other.min(left))),
            }
        }
        // Without a descriptor to wake up on, look often.
        if self.cancel.wakes().iter().any(Option::is_none) { Some(Duration::from_millis(50)) } else { nearest }
    }

    fn stop(&mut self, end: End) {
        self.forced = Some(end);
        self.running.stop();
    }
}
