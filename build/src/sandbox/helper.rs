//! The helper process that every build runs under, and the protocol with it.
//!
//! The host program starts the helper (itself, executed anew, or a program that it names), sends one `Request` through
//! its standard input and reads `Reply` lines from its standard output; its standard error is the build's terminal.
//! The helper makes the sandbox, runs the builder in it and reports how that ended. It ends everything as soon as its
//! standard input is closed, so no build outlives the host, whatever ends that.
//!
//! The surprising part: a host program must call [`helper_main`] first thing in its `main` and keep the [`Helper`] that
//! it gets; only such a program may be executed anew.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use serde::{Deserialize, Serialize};

use super::{SandboxSpec, view};
use super::linux::syscall::{self, Fork};
use super::linux::cgroup::{Cgroup, ResourceLimits};
use super::linux::{self, StepError};
use crate::bytes::Bytes;
use crate::executor::builtin::{self, BuiltinRequest};

const MARKER_ARGUMENT: &str = "__nixlang-build-helper";
const MARKER_VARIABLE: &str = "NIXLANG_BUILD_HELPER";
/// Longest request that the helper reads: far above what `execve` accepts.
const MAX_REQUEST: u32 = 1 << 30;

/// The program to start as helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    program: PathBuf,
}

impl Helper {
    /// Returns a helper that is a program of its own, for instance the `nixlang-build-helper` of this package.
    ///
    /// The program must call [`helper_main`] first thing.
    pub fn program(path: impl Into<PathBuf>) -> Helper {
        Helper { program: path.into() }
    }

    /// The program's path.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.program
    }
}

/// Acts as the helper, if that is what this process was started for, and then never returns; returns at once otherwise.
///
/// Call it first thing in `main`, while the process has one thread and no open files of its own. What it returns is
/// this executable as the [`Helper`].
pub fn helper_main() -> Helper {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref().is_some_and(|first| first == MARKER_ARGUMENT) && std::env::var_os(MARKER_VARIABLE).is_some() {
        syscall::exit_now(run());
    }
    if first.as_deref().is_some_and(|first| first == view::MARKER) {
        syscall::exit_now(view::run(arguments));
    }
    Helper::program("/proc/self/exe")
}

/// What the helper shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The sandbox; none without isolation.
    pub(crate) sandbox: Option<SandboxSpec>,
    /// Working directory of the builder, as the builder sees it.
    pub(crate) directory: PathBuf,
    /// What runs.
    pub(crate) program: Program,
    /// Who it runs as without a sandbox; the calling user if absent.
    pub(crate) user: Option<RunAs>,
    /// Its control group, by name.
    pub(crate) cgroup: Option<(String, ResourceLimits)>,
}

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// The builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A program of the file system.
    Execute {
        /// Path, as the builder sees it.
        path: Bytes,
        /// Arguments, with the program's name first.
        arguments: Vec<Bytes>,
        /// `NAME=value` strings.
        environment: Vec<Bytes>,
        /// Whether the machine claims to be a 32-bit one.
        linux32: bool,
    },
    /// A builder that is part of this crate.
    Builtin(BuiltinRequest),
}

/// What the helper reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The sandbox could not be made.
    SetupFailed {
        /// What was tried.
        step: String,
        /// Why it failed.
        reason: String,
        /// What to do about it, if known.
        hint: String,
    },
    /// The sandbox is ready; the builder starts.
    Started,
    /// The builder ended, and every process that it left behind.
    Finished {
        /// Exit status, if it exited.
        status: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
        /// Processor time in microseconds: user, system.
        cpu_us: (u64, u64),
    },
}

/// A helper at work.
pub(crate) struct Running {
    /// The helper process.
    child: Child,
    /// Its standard input; closed to stop it.
    control: Option<UnixStream>,
    /// What the builder writes.
    pub(crate) log: OwnedFd,
    /// Replies, not yet read.
    pub(crate) replies: File,
}

impl Helper {
    /// Starts a helper with a terminal of its own and sends `request`.
    pub(crate) fn start(&self, request: &Request) -> io::Result<Running> {
        let (log, terminal) = open_terminal()?;
        let (control, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.program)
            .arg(MARKER_ARGUMENT)
            .env_clear()
            .env(MARKER_VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(terminal))
            .spawn()?;
        let replies = child.stdout.take().expect("it was asked for above");
        let json = serde_json::to_vec(request)?;
        let length = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut message = length.to_le_bytes().to_vec();
        message.extend(json);
        // A helper that dies early shows that by having no replies.
        let _ = send_all(&control, &message);
        Ok(Running { child, control: Some(control), log, replies: File::from(OwnedFd::from(replies)) })
    }
}

impl Running {
    /// Ends the builder and all its descendants; the helper still reports.
    pub(crate) fn stop(&mut self) {
        self.control = None;
    }

    /// Waits for the helper itself, which ends right after its last reply.
    pub(crate) fn wait(mut self) -> io::Result<()> {
        self.stop();
        self.child.wait().map(drop)
    }
}

/// Writes all to a socket. Unlike with a pipe, a peer that is gone is an error and not a signal: the host program may not
/// have decided to ignore that signal.
fn send_all(socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL) {
            Ok(n_bytes) => bytes = &bytes[n_bytes..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens a pseudo terminal that passes bytes as they are. Returns our side and the builder's.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let builders = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    let mut settings = tcgetattr(&builders)?;
    settings.make_raw();
    tcsetattr(&builders, OptionalActions::Now, &settings)?;
    Ok((ours, builders))
}

// From here on: inside the helper process.

/// The helper's `main`. Returns its exit status.
fn run() -> i32 {
    // In a session of its own the helper doesn't get the signals of the host's terminal.
    let _ = rustix::process::setsid();
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if syscall::close_from(3).is_err() {
        return 1;
    }
    let (Ok(control), Ok(replies)) = (syscall::take_standard(0), syscall::take_standard(1)) else { return 1 };
    let (mut control, mut replies) = (File::from(control), File::from(replies));
    let Ok(request) = read_request(&mut control) else { return 1 };
    match supervise(&request, &control, &mut replies) {
        Ok(()) => 0,
        Err(StepError { step, error }) => {
            let hint = if step == NAMESPACES { linux::why_no_namespaces(&error) } else { String::new() };
            send(&mut replies, &Reply::SetupFailed { step, reason: error.to_string(), hint });
            1
        }
    }
}

const NAMESPACES: &str = "making namespaces for the build";

fn read_request(control: &mut File) -> io::Result<Request> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_REQUEST {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut json = Vec::new();
    control.take(length.into()).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn send(replies: &mut File, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        // Nobody reads replies of a host that is gone.
        let _ = replies.write_all(&line);
    }
}

fn step_error(step: &str) -> impl FnOnce(io::Error) -> StepError + '_ {
    move |error| StepError { step: step.to_owned(), error }
}

/// Starts the builder, waits for it or for the host's end, and reports.
fn supervise(request: &Request, control: &File, replies: &mut File) -> Result<(), StepError> {
    if let Some(spec) = &request.sandbox {
        linux::prepare_root(spec)?;
        // Not permitted to ordinary users, who can't drop groups in a user namespace of one id either.
        let _ = rustix::thread::set_thread_groups(&[]);
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
    let (wait_for_maps, maps_written) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(step_error("making a pipe"))?;
    let cgroup = match &request.cgroup {
        Some((name, limits)) => Some(Cgroup::make(name, limits).map_err(step_error("making a control group"))?),
        None => None,
    };
    let namespaces = request.sandbox.as_ref().map_or(0, linux::namespaces);
    let (pid, pidfd) = match syscall::fork_with(namespaces).map_err(step_error(NAMESPACES))? {
        Fork::Child => {
            drop(maps_written);
            let status = build(request, wait_for_maps, replies);
            syscall::exit_now(status);
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(wait_for_maps);
    let placed = match &request.sandbox {
        Some(spec) => linux::write_id_maps(pid, spec),
        None => Ok(()),
    };
    let placed = placed.and_then(|()| match &cgroup {
        Some(cgroup) => cgroup.add(pid).map_err(step_error("entering a control group")),
        None => Ok(()),
    });
    if let Err(error) = placed {
        // The child sees its pipe closed without a word, and ends.
        drop(maps_written);
        end_descendants(pid);
        return Err(error);
    }
    let _ = rustix::io::write(&maps_written, b"1");
    drop(maps_written);
    // From now on only the builder holds the terminal, so its end shows there.
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in 0..=2 {
            let _ = syscall::replace_standard(null.as_fd(), standard);
        }
    }

    wait_for_end(control, &pidfd);
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
    let cpu_us = cgroup.as_ref().and_then(Cgroup::cpu_us).unwrap_or_else(syscall::cpu_time_of_children);
    send(replies, &Reply::Finished { status, signal, cpu_us });
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
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            }
        }
        Err(_) => {}
    }
}

/// Returns when the builder has ended or the host wants it to.
fn wait_for_end(control: &File, builder: &OwnedFd) {
    loop {
        let mut events = [PollFd::new(control, PollFlags::IN), PollFd::new(builder, PollFlags::IN)];
        match poll(&mut events, None) {
            Err(rustix::io::Errno::INTR) => continue,
            // The host sends nothing more: whatever happens to this pipe is its end.
            _ => return,
        }
    }
}

/// Kills and reaps every descendant; as a subreaper this process inherits them all. Returns how `builder` ended.
///
/// With a pid namespace the kernel has already done that when its first process ended.
fn end_descendants(builder: i32) -> (Option<i32>, Option<i32>) {
    let mut end = (None, None);
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if pid.as_raw_nonzero().get() == builder {
                    end = (status.exit_status(), status.terminating_signal());
                }
            }
            Ok(None) => {
                let own = rustix::thread::gettid().as_raw_nonzero();
                let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
                for child in children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                    let _ = kill_process(child, Signal::KILL);
                }
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return end,
        }
    }
}

// From here on: in the child that becomes the builder.

/// Enters the sandbox and becomes the builder. Returns only if that fails, with the exit status.
fn build(request: &Request, wait_for_maps: OwnedFd, replies: &mut File) -> i32 {
    match enter(request, wait_for_maps) {
        Ok(()) => send(replies, &Reply::Started),
        Err(StepError { step, error }) => {
            send(replies, &Reply::SetupFailed { step, reason: error.to_string(), hint: String::new() });
            return 1;
        }
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

fn enter(request: &Request, wait_for_maps: OwnedFd) -> Result<(), StepError> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let mut go = String::new();
    if request.sandbox.is_some() || request.cgroup.is_some() {
        let result = BufReader::new(File::from(wait_for_maps)).read_line(&mut go);
        result.map_err(step_error("waiting for the id maps"))?;
        if go.trim_end() != "1" {
            return Err(step_error("waiting for the id maps")(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    let _ = rustix::process::setsid();
    let null = File::options().read(true).write(true).open("/dev/null").map_err(step_error("opening /dev/null"))?;
    syscall::replace_standard(null.as_fd(), 0).map_err(step_error("redirecting standard input"))?;
    syscall::replace_standard(rustix::stdio::stderr(), 1).map_err(step_error("redirecting standard output"))?;
    drop(null);

    match (&request.sandbox, &request.user) {
        (Some(spec), _) => drop(linux::enter(spec, request.cgroup.is_some())?),
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
    syscall::reset_signals();
    let _ = syscall::close_on_exec_from(3);
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

/// Splits what has arrived of the replies into complete ones; the rest stays in `buffer`.
pub(crate) fn parse_replies(buffer: &mut Vec<u8>) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', buffer) {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        replies.extend(serde_json::from_slice(&line));
    }
    replies
}

/// The last part of a path, as the reference's `baseNameOf` finds it; the builder's first argument.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..end]
}
