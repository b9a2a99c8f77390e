//! The helper process that every build runs under, and the protocol with it.
//!
//! The host program starts the helper once (itself, executed anew, or a program that it names) and keeps a socket to it
//! ([`launcher`]). For each build that shall run at the same time it sends another socket through that, a *channel*, and
//! the helper forks itself ([`serve`]). Through the channel the new process gets a byte with the build's terminal and one
//! `Request`; it makes the sandbox, runs the builder in it ([`builder`]) and reports with `Reply` lines how that ended.
//! Then it is there for the next build. It ends everything as soon as its channel is closed, and so does the helper with
//! its own socket, so no build outlives the host, whatever ends that.
//!
//! The surprising part: a host program must call [`helper_main`] first thing in its `main` and keep the [`Helper`] that
//! it gets; only such a program may be executed anew. The fork is cheap because the helper never does anything else:
//! it is a small process even where the program is a large one.

mod builder;
pub(crate) mod launcher;
mod serve;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::linux::cgroup::ResourceLimits;
use super::linux::syscall;
use super::{SandboxSpec, join, view};
use crate::bytes::Bytes;
use crate::executor::builtin::BuiltinRequest;

const MARKER_ARGUMENT: &str = "__nixlang-build-helper";
const MARKER_VARIABLE: &str = "NIXLANG_BUILD_HELPER";
/// Begins a request, and comes with the terminal.
const START: u8 = b'b';
/// Ends a build.
const STOP: u8 = b's';

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
        syscall::exit_now(serve::serve());
    }
    if first.as_deref().is_some_and(|first| first == view::MARKER) {
        syscall::exit_now(view::run(arguments));
    }
    if first.as_deref().is_some_and(|first| first == join::MARKER) {
        syscall::exit_now(join::run(arguments));
    }
    Helper::program("/proc/self/exe")
}

/// What one process of the helper shall do.
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
    /// The build has a socket for its proxy, which comes with this.
    Listening,
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

/// Sends bytes together with a descriptor. Returns how many of them are sent.
fn send_with(socket: impl AsFd, bytes: &[u8], descriptor: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let descriptors = [descriptor];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Receives bytes, and a descriptor if one comes with them. Returns how many bytes; none at the end.
pub(crate) fn receive_with(socket: impl AsFd, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message {
            descriptor = rights.next();
        }
    }
    Ok((received.bytes, descriptor))
}

fn send(channel: &mut File, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        // Nobody reads replies of a host that is gone. They are short enough to be sent at once.
        let _ = rustix::net::send(channel, &line, SendFlags::NOSIGNAL);
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
