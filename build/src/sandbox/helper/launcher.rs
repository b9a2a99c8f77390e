//! The host's side: the helper that was started, and the processes for builds that it forked.
//!
//! The surprising part: such a process is no child of this one and can't be waited for, nor need it be. That its last
//! reply has come is all that there is to know of a build, and where nothing of the build was changed about the process
//! itself the next build gets it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::{Helper, MARKER_ARGUMENT, MARKER_VARIABLE, Request, START, STOP, send_with};

/// Starts builds under one helper process, which is started with the first of them and ends with this.
#[derive(Debug)]
pub(crate) struct Launcher {
    helper: Helper,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// Processes without a build, by whether they have set up sandboxes: those have given up groups.
    idle: [Vec<UnixStream>; 2],
}

/// A helper process.
#[derive(Debug)]
struct Process {
    child: Child,
    /// None only while it is being ended.
    socket: Option<UnixStream>,
}

/// A build that was started.
pub(crate) struct Running {
    /// Replies come here.
    pub(crate) channel: UnixStream,
    /// What the builder writes.
    pub(crate) log: OwnedFd,
    is_stopped: bool,
    /// Which of the idle ones its process is afterwards, if any.
    kind: Option<usize>,
}

impl Launcher {
    /// Returns a launcher that has not started its helper yet.
    pub(crate) fn new(helper: Helper) -> Launcher {
        Launcher { helper, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a build with a terminal of its own.
    pub(crate) fn start(&self, request: &Request) -> io::Result<Running> {
        let (log, terminal) = open_terminal()?;
        let json = serde_json::to_vec(request)?;
        let length = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut message = vec![START];
        message.extend(length.to_le_bytes());
        message.extend(json);
        let has_users = request.user.is_some() || request.sandbox.as_ref().is_some_and(|spec| spec.ids.is_some());
        let kind = (!has_users).then(|| usize::from(request.sandbox.is_some()));
        loop {
            let idle = kind.and_then(|kind| self.state().idle[kind].pop());
            let is_new = idle.is_none();
            let channel = match idle {
                Some(channel) => channel,
                None => self.fork()?,
            };
            match send_with(&channel, &message, terminal.as_fd()) {
                Ok(n_sent) => {
                    // A process that dies early shows that by having no replies.
                    let _ = send_all(&channel, &message[n_sent..]);
                }
                // Somebody has killed it. What ends at once is no helper, and there will be no replies either.
                Err(Errno::PIPE | Errno::CONNRESET) if !is_new => continue,
                Err(Errno::PIPE | Errno::CONNRESET) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(Running { channel, log, is_stopped: false, kind });
        }
    }

    /// Takes back the process of a build that has ended by itself or was stopped, and has said so.
    pub(crate) fn keep(&self, running: Running) {
        if let Some(kind) = running.kind {
            self.state().idle[kind].push(running.channel);
        }
    }

    /// Has a process for builds forked by the helper, which is started if there is none, or none any more. Returns the
    /// channel to it.
    fn fork(&self) -> io::Result<UnixStream> {
        let (channel, theirs) = UnixStream::pair()?;
        let mut state = self.state();
        if let Some(process) = &state.process {
            match process.pass(theirs.as_fd()) {
                Ok(()) => return Ok(channel),
                // Somebody has killed it.
                Err(Errno::PIPE | Errno::CONNRESET) => *state = State::default(),
                Err(error) => return Err(error.into()),
            }
        }
        let process = state.process.insert(Process::start(&self.helper)?);
        match process.pass(theirs.as_fd()) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(channel),
            Err(error) => Err(error.into()),
        }
    }
}

impl Process {
    fn start(helper: &Helper) -> io::Result<Process> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new(helper.path())
            .arg(MARKER_ARGUMENT)
            .env_clear()
            .env(MARKER_VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Process { child, socket: Some(socket) })
    }

    fn pass(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::PIPE) };
        send_with(socket, b"f", descriptor).map(drop)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // Processes without a build end with their channels, and so the helper need not wait for them.
        self.state().idle = Default::default();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without its socket it ends, and with it what still runs.
        self.socket = None;
        let _ = self.child.wait();
    }
}

impl Running {
    /// Ends the builder and all its descendants; the helper still reports.
    pub(crate) fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            let _ = send_all(&self.channel, &[STOP]);
        }
    }
}

/// Writes all to a socket. Unlike with a pipe, a peer that is gone is an error and not a signal: the host program may not
/// have decided to ignore that signal.
fn send_all(socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n_bytes) => bytes = &bytes[n_bytes..],
            Err(Errno::INTR) => {}
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
