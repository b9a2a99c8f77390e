//! Inside the helper: it forks itself for each build that runs at the same time; the new process looks after one build,
//! and then the next.
//!
//! The surprising part: such a process is never left to itself. It goes when the host closes its socket, when the host is
//! no more, whoever else may hold a copy of that socket, and when the helper is no more.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, wait, waitpid};

use super::builder::build;
use super::{Program, Reply, Request, RunAs, START, STOP, receive_with, send};
use crate::executor::builtin;
use crate::sandbox::linux::cgroup::Cgroup;
use crate::sandbox::linux::syscall::{self, Fork};
use crate::sandbox::linux::{self, StepError};

/// Longest request that is read: far above what `execve` accepts.
const MAX_REQUEST: u32 = 1 << 30;

pub(super) const NAMESPACES: &str = "making namespaces for the build";

/// The helper's `main`. Returns its exit status, or that of a process for builds.
pub(super) fn serve() -> i32 {
    // In a session of its own the helper doesn't get the signals of the host's terminal.
    let _ = rustix::process::setsid();
    if syscall::close_from(3).is_err() {
        return 1;
    }
    // As builders expect them; what a process handles or ignores, those that it forks do as well.
    syscall::reset_signals();
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let Ok(socket) = syscall::take_standard(0) else { return 1 };
    if replace_standards().is_err() {
        return 1;
    }
    // Where a kernel has no such descriptors the end of the socket has to do.
    let host = rustix::process::getppid().and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let own = rustix::process::getpid();
    while let Some((_, Some(channel))) = receive(&socket, host.as_ref()) {
        // Processes that have ended.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        // One that can't be forked shows that by the end of its channel.
        if let Ok(Fork::Child) = syscall::fork_with(0) {
            drop(socket);
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(own) {
                return 1;
            }
            return serve_builds(channel.into(), host);
        }
    }
    // Nobody needs what still runs; each process sees that by itself and cleans up. This waits for all of them.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return 0,
        }
    }
}

fn replace_standards() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    (0..=2).try_for_each(|standard| syscall::replace_standard(null.as_fd(), standard))
}

/// Waits for a byte, which may come with a descriptor. Returns none when the host has gone, or wants no more.
fn receive(socket: impl AsFd, host: Option<&OwnedFd>) -> Option<(u8, Option<OwnedFd>)> {
    loop {
        let mut events = vec![PollFd::new(&socket, PollFlags::IN)];
        events.extend(host.map(|host| PollFd::new(host, PollFlags::IN)));
        match poll(&mut events, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        if events[0].revents().is_empty() {
            return None;
        }
        let mut byte = [0];
        let descriptor = match receive_with(&socket, &mut byte) {
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Ok((1, descriptor)) => descriptor,
            _ => return None,
        };
        return Some((byte[0], descriptor));
    }
}

/// The `main` of a process for builds. Returns its exit status.
fn serve_builds(mut channel: File, host: Option<OwnedFd>) -> i32 {
    loop {
        let terminal = match receive(&channel, host.as_ref()) {
            Some((START, Some(terminal))) => terminal,
            // Too late, that build has ended.
            Some((STOP, _)) => continue,
            Some(_) => return 1,
            None => return 0,
        };
        if syscall::replace_standard(terminal.as_fd(), 2).is_err() {
            return 1;
        }
        drop(terminal);
        let Ok(request) = read_request(&mut channel) else { return 1 };
        if let Err(StepError { step, error }) = supervise(&request, &mut channel, host.as_ref()) {
            let hint = if step == NAMESPACES { linux::why_no_namespaces(&error) } else { String::new() };
            send(&mut channel, &Reply::SetupFailed { step, reason: error.to_string(), hint });
            return 1;
        }
    }
}

fn read_request(channel: &mut File) -> io::Result<Request> {
    let mut length = [0; 4];
    channel.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_REQUEST {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut json = Vec::with_capacity(length.min(1 << 20) as usize);
    channel.take(length.into()).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

pub(super) fn step_error(step: &str) -> impl FnOnce(io::Error) -> StepError + '_ {
    move |error| StepError { step: step.to_owned(), error }
}

/// Starts the builder, waits for it or for a word or the end of the host, and reports.
fn supervise(request: &Request, channel: &mut File, host: Option<&OwnedFd>) -> Result<(), StepError> {
    if let Some(spec) = &request.sandbox {
        linux::prepare_root(spec)?;
        linux::drop_groups(spec)?;
    }
    if let Program::Builtin(builtin) = &request.program {
        builtin::prepare(builtin);
    }
    let owner = match (&request.sandbox, &request.user) {
        (Some(spec), _) => spec.ids.map(|ids| ids.uid),
        (None, user) => user.as_ref().map(|user| user.uid),
    };
    if let Some(uid) = owner {
        // So that the builder can open its terminal by name.
        let _ = rustix::fs::fchown(rustix::stdio::stderr(), Some(rustix::fs::Uid::from_raw(uid)), None);
    }
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let (go, ready) = UnixStream::pair().map_err(step_error("making a socket"))?;
    let cgroup = match &request.cgroup {
        Some((name, limits)) => Some(Cgroup::make(name, limits).map_err(step_error("making a control group"))?),
        None => None,
    };
    let cpu_before = syscall::cpu_time_of_children();
    let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let namespaces = request.sandbox.as_ref().map_or(0, linux::namespaces);
    let (pid, pidfd) = match syscall::fork_with(namespaces).map_err(step_error(NAMESPACES))? {
        Fork::Child => {
            drop(ready);
            let status = build(request, &go.into(), caller, channel);
            syscall::exit_now(status);
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(go);
    let placed = match &request.sandbox {
        Some(spec) if !linux::maps_itself(spec) => linux::write_id_maps(&pid.to_string(), spec, caller),
        _ => Ok(()),
    };
    let placed = placed.and_then(|()| match &cgroup {
        Some(cgroup) => cgroup.add(pid).map_err(step_error("entering a control group")),
        None => Ok(()),
    });
    if let Err(error) = placed {
        // The child sees its pipe closed without a word, and ends.
        drop(ready);
        end_descendants(pid);
        return Err(error);
    }
    if super::builder::waits(request) {
        let _ = rustix::net::send(&ready, b"1", rustix::net::SendFlags::NOSIGNAL);
    }
    // From now on only the builder holds the terminal, so its end shows there.
    let _ = syscall::replace_standard(rustix::stdio::stdin(), 2);

    wait_for_end(channel.as_fd(), host, &pidfd);
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
    if let Some(cgroup) = &cgroup {
        cgroup.kill();
    }
    if let Some(user) = &request.user {
        end_user(user);
    }
    let (status, signal) = end_descendants(pid);
    let cpu_us = cgroup.as_ref().and_then(Cgroup::cpu_us).unwrap_or_else(|| {
        let (user, system) = syscall::cpu_time_of_children();
        (user.saturating_sub(cpu_before.0), system.saturating_sub(cpu_before.1))
    });
    send(channel, &Reply::Finished { status, signal, cpu_us });
    drop(ready);
    Ok(())
}

/// Kills everything that runs as a user of builds, whoever its parent is.
fn end_user(user: &RunAs) {
    match syscall::fork_with(0) {
        Ok(Fork::Child) => {
            let is_other = rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(user.uid)).is_ok();
            if is_other && user.uid != 0 {
                syscall::kill_everything_permitted();
            }
            syscall::exit_now(0);
        }
        Ok(Fork::Parent { pid, .. }) => {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        }
        Err(_) => {}
    }
}

/// Returns when the builder has ended, or the host wants it to or is no more. While a build runs the host has only one
/// thing to say, so what it says can be left for later.
fn wait_for_end(channel: BorrowedFd<'_>, host: Option<&OwnedFd>, builder: &OwnedFd) {
    loop {
        let mut events = vec![PollFd::from_borrowed_fd(channel, PollFlags::IN), PollFd::new(builder, PollFlags::IN)];
        events.extend(host.map(|host| PollFd::new(host, PollFlags::IN)));
        match poll(&mut events, None) {
            Err(Errno::INTR) => continue,
            _ => return,
        }
    }
}

/// Kills and reaps every descendant; as a subreaper this process inherits them all. Returns how `builder` ended.
///
/// With a pid namespace the kernel has already done that when its first process ended.
fn end_descendants(builder: i32) -> (Option<i32>, Option<i32>) {
    let mut end = (None, None);
    let mut options = WaitOptions::NOHANG;
    loop {
        match wait(options) {
            Ok(Some((pid, status))) => {
                if pid.as_raw_nonzero().get() == builder {
                    end = (status.exit_status(), status.terminating_signal());
                }
                options = WaitOptions::NOHANG;
            }
            Ok(None) => {
                let own = rustix::thread::gettid().as_raw_nonzero();
                let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
                for child in children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                    let _ = kill_process(child, Signal::KILL);
                }
                // One that was killed ends; then there may be new ones.
                options = if children.is_empty() { WaitOptions::NOHANG } else { WaitOptions::empty() };
            }
            Err(Errno::INTR) => {}
            Err(_) => return end,
        }
    }
}
