//! Showing a path to a sandbox that is in use already.
//!
//! [`show`] starts the helper, which enters the namespaces of the sandbox and mounts the path there. A mount can be made only of what a
//! namespace sees, and that of the sandbox sees nothing of the machine any more. So the helper enters the sandbox's user namespace
//! first, where it may do everything, makes a mount namespace of its own, which sees the machine, takes a copy of the mount there, and
//! brings that along.
//!
//! The surprising part: the two namespaces are handed over as standard input and output, which takes no code that could go wrong.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::helper::Helper;
use super::linux::{Step, StepError, syscall};

pub(super) const MARKER: &str = "__nixlang-show-path";

/// The namespaces of a process in a sandbox.
#[derive(Debug)]
pub(crate) struct Namespaces {
    user: OwnedFd,
    mount: OwnedFd,
}

impl Namespaces {
    /// Returns those of a process, which must be in another user namespace than this one.
    pub(crate) fn of_process(pid: i32) -> io::Result<Namespaces> {
        let user = File::open(format!("/proc/{pid}/ns/user"))?;
        let mount = File::open(format!("/proc/{pid}/ns/mnt"))?;
        let (theirs, ours) = (rustix::fs::fstat(&user)?, rustix::fs::stat("/proc/self/ns/user")?);
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(Namespaces { user: user.into(), mount: mount.into() })
    }
}

/// Makes `source` appear, read-only, at `target` in a sandbox. The directory of that is `inside` on this machine.
pub(crate) fn show(helper: &Helper, namespaces: &Namespaces, inside: &Path, source: &Path, target: &Path) -> io::Result<()> {
    let place = inside.join(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_symlink() {
        // Can't be mounted; made again.
        return std::os::unix::fs::symlink(fs::read_link(source)?, place);
    }
    if kind.is_dir() {
        fs::create_dir(&place)?;
    } else {
        File::options().write(true).create_new(true).open(&place)?;
    }
    let ended = Command::new(helper.path())
        .arg(MARKER)
        .args([source, target])
        .env_clear()
        .stdin(Stdio::from(namespaces.user.try_clone()?))
        .stdout(Stdio::from(namespaces.mount.try_clone()?))
        .stderr(Stdio::piped())
        .output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&ended.stderr).trim_end().to_owned()))
}

/// In the helper: does it. Returns the exit status.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let (Some(source), Some(target)) = (arguments.next(), arguments.next()) else { return 1 };
    match enter_and_mount(Path::new(&source), Path::new(&target)) {
        Ok(()) => 0,
        Err(StepError { step, error }) => {
            eprintln!("{step}: {error}");
            1
        }
    }
}

fn enter_and_mount(source: &Path, target: &Path) -> Result<(), StepError> {
    let (user, mount) = (io::stdin(), io::stdout());
    move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User)).step(|| "entering the build's user namespace".to_owned())?;
    syscall::unshare(UnshareFlags::NEWNS).step(|| "making a mount namespace".to_owned())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(CWD, source, flags).step(|| format!("taking '{}'", source.display()))?;
    syscall::make_mount_read_only(tree.as_fd()).step(|| format!("making '{}' read-only", source.display()))?;
    move_into_link_name_space(mount.as_fd(), Some(LinkNameSpaceType::Mount)).step(|| "entering the build's mount namespace".to_owned())?;
    move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(|| format!("mounting '{}'", target.display()))
}
