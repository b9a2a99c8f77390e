//! Inside the helper: the process that becomes the builder. Its standard input is `/dev/null` already, its standard error
//! the build's terminal.
//!
//! The surprising part: it need not wait for its parent unless that has to do what it can't do itself, which is to give it
//! users other than the calling one, or a control group.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::serve::step_error;
use super::{Program, Reply, Request, send, send_with};
use crate::bytes::Bytes;
use crate::executor::builtin;
use crate::sandbox::linux::{self, StepError, syscall};
use crate::sandbox::{Network, PROXY_ADDRESS};

/// Returns whether the builder waits for a word of its parent.
pub(super) fn waits(request: &Request) -> bool {
    request.cgroup.is_some() || request.sandbox.as_ref().is_some_and(|spec| !linux::maps_itself(spec))
}

/// Returns when the parent has given its word, if that is needed; fails if the parent is no more.
fn wait_for_parent(go: &OwnedFd, waits: bool) -> io::Result<()> {
    let mut byte = [0];
    if waits {
        return match rustix::io::read(go, &mut byte)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        };
    }
    // It may have ended before this process asked to end with it.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(go, PollFlags::IN)], Some(&now))? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Enters the sandbox and becomes the builder. Returns only if that fails, with the exit status.
/// `go` is the other end of a socket of the parent's; `caller` has user and group of the parent.
pub(super) fn build(request: &Request, go: &OwnedFd, caller: (u32, u32), channel: &mut File) -> i32 {
    if let Err(StepError { step, error }) = enter(request, go, caller, channel) {
        send(channel, &Reply::SetupFailed { step, reason: error.to_string(), hint: String::new() });
        return 1;
    }
    let message = match &request.program {
        Program::Builtin(builtin) => match builtin::run(builtin) {
            Ok(()) => return 0,
            Err(message) => message,
        },
        Program::Execute { path, arguments, environment, .. } => execute(path, arguments, environment),
    };
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("error: {message}\n").as_bytes());
    1
}

fn enter(request: &Request, go: &OwnedFd, caller: (u32, u32), channel: &File) -> Result<(), StepError> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    wait_for_parent(go, waits(request)).map_err(step_error("waiting for the id maps"))?;
    if let Some(spec) = request.sandbox.as_ref().filter(|spec| linux::maps_itself(spec)) {
        linux::write_id_maps("self", spec, caller)?;
    }
    let _ = rustix::process::setsid();
    syscall::replace_standard(rustix::stdio::stderr(), 1).map_err(step_error("redirecting standard output"))?;

    match (&request.sandbox, &request.user) {
        (Some(spec), _) => {
            linux::enter(spec, request.cgroup.is_some())?;
            if spec.network == Network::Proxied {
                give_proxy_socket(channel).map_err(step_error("making a socket for the proxy"))?;
            }
        }
        (None, Some(user)) => {
            let groups: Vec<_> = user.groups.iter().map(|&group| rustix::fs::Gid::from_raw(group)).collect();
            let become_user = rustix::thread::set_thread_groups(&groups)
                .and_then(|()| rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(user.gid)))
                .and_then(|()| rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(user.uid)));
            become_user.map_err(io::Error::from).map_err(step_error("becoming the user of the build"))?;
            // Becoming somebody else has cleared it.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        }
        (None, None) => {}
    }
    rustix::process::chdir(&request.directory)
        .map_err(|error| StepError { step: format!("changing into '{}'", request.directory.display()), error: error.into() })?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    let none = rustix::process::Rlimit { current: Some(0), maximum: core.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let linux32 = match &request.program {
        Program::Execute { linux32: true, .. } => syscall::PER_LINUX32,
        _ => 0,
    };
    // Not essential: some container run-times forbid it.
    let _ = syscall::add_personality(linux32 | syscall::ADDR_NO_RANDOMIZE);
    let _ = syscall::close_on_exec_from(3);
    Ok(())
}

/// Gives the host a socket of this network, at which it is the proxy.
fn give_proxy_socket(channel: &File) -> io::Result<()> {
    let listener = TcpListener::bind(PROXY_ADDRESS)?;
    let mut line = serde_json::to_vec(&Reply::Listening)?;
    line.push(b'\n');
    send_with(channel, &line, listener.as_fd())?;
    Ok(())
}

/// Becomes `path`. Returns only if that fails, with the reason.
fn execute(path: &Bytes, arguments: &[Bytes], environment: &[Bytes]) -> String {
    let c_strings = |list: &[Bytes]| list.iter().map(|bytes| CString::new(bytes.0.as_slice())).collect::<Result<Vec<_>, _>>();
    let (Ok(program), Ok(arguments), Ok(environment)) =
        (CString::new(path.0.as_slice()), c_strings(arguments), c_strings(environment))
    else {
        return format!("executing '{path}': a string contains a NUL byte");
    };
    let error = syscall::execve(&program, &arguments, &environment);
    format!("executing '{path}': {}", describe(&error))
}

/// The system's own words for an error, without the number that Rust appends.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
