//! The host's side: the helper that was started, and the builds that it runs.
//!
//! The surprising part: the helper is no child of one build but of the [`Launcher`], so it is not waited for when a
//! build ends. That its replies have come is all that there is to know.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};

use super::{Helper, MARKER_ARGUMENT, MARKER_VARIABLE, Request};

/// Starts builds under one helper process, which is started with the first of them and ends with this.
#[derive(Debug)]
pub(crate) struct Launcher {
    helper: Helper,
    process: Mutex<Option<Process>>,
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
    /// Closed to stop it.
    control: Option<UnixStream>,
    /// What the builder writes.
    pub(crate) log: OwnedFd,
    /// Replies, not yet read.
    pub(crate) replies: File,
}

impl Launcher {
    /// Returns a launcher that has not started its helper yet.
    pub(crate) fn new(helper: Helper) -> Launcher {
        Launcher { helper, process: Mutex::new(None) }
    }

    /// Starts a build with a terminal of its own.
    pub(crate) fn start(&self, request: &Request) -> io::Result<Running> {
        let (log, terminal) = open_terminal()?;
        let (control, theirs) = UnixStream::pair()?;
        let (replies, reply) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let json = serde_json::to_vec(request)?;
        let length = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut message = length.to_le_bytes().to_vec();
        message.extend(json);
        // As much as there is room for goes first, so that it needs to wait for nothing.
        let n_sent = send(&control, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).unwrap_or(0);
        self.pass([theirs.into(), reply, terminal])?;
        // A helper that dies early shows that by having no replies.
        let _ = send_all(&control, &message[n_sent..]);
        Ok(Running { control: Some(control), log, replies: File::from(replies) })
    }

    /// Gives a build's descriptors to the helper, which is started if there is none, or none any more.
    fn pass(&self, descriptors: [OwnedFd; 3]) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*process {
            match running.pass(&descriptors) {
                Ok(()) => return Ok(()),
                // Somebody has killed it.
                Err(Errno::PIPE | Errno::CONNRESET) => *process = None,
                Err(error) => return Err(error.into()),
            }
        }
        let started = process.insert(Process::start(&self.helper)?);
        match started.pass(&descriptors) {
            // What ends at once is no helper; there will be no replies either.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
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

    fn pass(&self, descriptors: &[OwnedFd; 3]) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::PIPE) };
        let borrowed = descriptors.each_ref().map(|descriptor| descriptor.as_fd());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
        loop {
            match sendmsg(socket, &[IoSlice::new(b"b")], &mut ancillary, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
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
        self.control = None;
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
