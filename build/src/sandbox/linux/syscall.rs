//! The few system calls that no safe library offers, each behind a function with a checkable contract.
//!
//! Everything here runs in the helper process, which has exactly one thread; [`fork_with`] depends on that.
//! This is the only file of the crate with `unsafe`.
#![expect(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Flags for [`fork_with`]: a new user namespace.
pub(crate) const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
/// A new process id namespace.
pub(crate) const NEW_PID: u64 = libc::CLONE_NEWPID as u64;
/// A new mount namespace.
pub(crate) const NEW_MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// A new System V IPC namespace.
pub(crate) const NEW_IPC: u64 = libc::CLONE_NEWIPC as u64;
/// A new host name namespace.
pub(crate) const NEW_UTS: u64 = libc::CLONE_NEWUTS as u64;
/// A new network namespace.
pub(crate) const NEW_NET: u64 = libc::CLONE_NEWNET as u64;

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The original process, with the child's process id and a descriptor for it.
    Parent { pid: i32, pidfd: OwnedFd },
    /// The new process.
    Child,
}

fn check(result: c_long) -> io::Result<c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks into the namespaces in `namespaces` (a union of the `NEW_*` constants).
///
/// The caller must be single-threaded: the child is a copy of this process with only the calling thread, so a lock
/// that another thread held would stay locked for ever. With more than one thread this returns an error.
pub(crate) fn fork_with(namespaces: u64) -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").map(|tasks| tasks.count()).unwrap_or(1) != 1 {
        return Err(io::Error::other("the process that forks has more than one thread"));
    }
    let allowed = NEW_USER | NEW_PID | NEW_MOUNT | NEW_IPC | NEW_UTS | NEW_NET;
    let flags = (namespaces & allowed) | libc::CLONE_PIDFD as u64 | libc::SIGCHLD as u64;
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM and with a null stack `clone` behaves like `fork`: the child continues here on a copy of
    // this stack. The third argument is, on every architecture, the parent's tid pointer, where CLONE_PIDFD stores a
    // descriptor; it points to a live `c_int`. The process has one thread (checked above), so the copied memory is consistent.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, flags as c_long, std::ptr::null_mut::<c_void>(), &raw mut pidfd, 0_usize, 0_usize)
    };
    match check(pid)? {
        0 => Ok(Fork::Child),
        pid => {
            // SAFETY: on success with CLONE_PIDFD the kernel stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Fork::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// Moves the calling process, which must have one thread, into new namespaces of its own.
pub(crate) fn unshare(namespaces: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: the danger is in descriptor tables that are no longer shared; that flag is taken out.
    unsafe { rustix::thread::unshare_unsafe(namespaces - rustix::thread::UnshareFlags::FILES) }.map_err(io::Error::from)
}

/// Replaces the process image. Returns only on failure, with the reason.
pub(crate) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays are null-terminated and hold pointers to NUL-terminated strings that the caller's slices keep
    // alive during the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Kills every process that the calling one may send signals to, itself and process 1 excepted.
///
/// The caller must have become a user that has nothing but what is to be ended.
pub(crate) fn kill_everything_permitted() {
    // SAFETY: `kill` touches no memory.
    while unsafe { libc::kill(-1, libc::SIGKILL) } == -1 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
}

/// Ends the process at once, without running destructors or exit handlers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Gives every signal its default action and unblocks all of them, as a program expects at its start.
pub(crate) fn reset_signals() {
    // By the raw call, since the C library refuses to touch the two signals that it uses itself.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: all zeroes is the kernel's `sigaction` for the default action and `default` is as large; the mask size
        // is the kernel's. For signals that can't be changed the call fails harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<c_void>(), 8_usize) };
    }
    // SAFETY: an all-zero `sigset_t` is valid memory for `sigemptyset`, which initialises it; then it is only read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes every descriptor from `first` on.
///
/// The caller must not use an object that owns such a descriptor afterwards.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: closing descriptors touches no memory; the callers hold no owning object past `first` (they are about to
    // replace the process image or have only descriptors 0 to 2).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0_u32) };
    if result == 0 {
        return Ok(());
    }
    // Kernels before 5.9.
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd: &i32| fd >= first as i32)
        .collect();
    for fd in open {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Marks every descriptor from `first` on as closed on exec, leaving them usable until then.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: sets a flag on descriptors, touches no memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Makes descriptor `target` a copy of `source`, closing what `target` was.
///
/// Only for the standard descriptors 0, 1 and 2, which no object in the helper owns.
pub(crate) fn replace_standard(source: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    if !(0..=2).contains(&target) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: `source` is open for the duration of the borrow; `target` is a standard descriptor, owned by no object.
    check(unsafe { libc::dup2(source.as_raw_fd(), target) }.into()).map(drop)
}

/// Takes over a standard descriptor (0, 1 or 2) as an owned one with a number above 2, closed on exec.
pub(crate) fn take_standard(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: duplicating a descriptor touches no memory; on success the result is a new descriptor that nobody owns.
    unsafe {
        let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
        check(copy.into())?;
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: `socket` has no memory preconditions; the result is a new descriptor that nobody owns.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(fd.into())?;
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as _;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` with a NUL-terminated name; `request` lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) }.into()).map(drop)
}

/// Makes the mount behind `mount` (from `open_tree` with the clone flag), and all below it, read-only.
pub(crate) fn make_mount_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const READ_ONLY: u64 = 1;
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let attributes = MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is an empty NUL-terminated string, `attributes` has the layout of the kernel's `mount_attr` in its
    // first version and its size is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_EMPTY_PATH | AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    check(result).map(drop)
}

/// Returns the processor time of all children that ended, in microseconds: user, system.
pub(crate) fn cpu_time_of_children() -> (u64, u64) {
    // SAFETY: `rusage` is plain data; the call fills it or fails and leaves zeroes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (microseconds(usage.ru_utime), microseconds(usage.ru_stime))
}

/// Adds `flags` to the process's execution domain; returns the domain before.
pub(crate) fn add_personality(flags: u32) -> io::Result<u32> {
    const QUERY: libc::c_ulong = 0xffff_ffff;
    // SAFETY: `personality` takes and returns integers only.
    let current = check(unsafe { libc::personality(QUERY) }.into())?;
    // SAFETY: as above.
    check(unsafe { libc::personality((current as u32 | flags).into()) }.into())?;
    Ok(current as u32)
}

/// Address space randomisation off.
pub(crate) const ADDR_NO_RANDOMIZE: u32 = libc::ADDR_NO_RANDOMIZE as u32;
/// The machine name that 32-bit programs expect.
pub(crate) const PER_LINUX32: u32 = 0x0008;

/// One instruction of a classic BPF program (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BpfInstruction {
    /// Operation.
    pub(crate) code: u16,
    /// Instructions to skip if a comparison holds.
    pub(crate) jump_true: u8,
    /// Instructions to skip if it does not.
    pub(crate) jump_false: u8,
    /// Constant operand.
    pub(crate) operand: u32,
}

/// Installs a system call filter for this process and all its descendants.
///
/// Needs no-new-privileges or administration rights in the current user namespace.
pub(crate) fn install_filter(program: &[BpfInstruction]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const BpfInstruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: `Program` and `BpfInstruction` have the layout of `sock_fprog` and `sock_filter`; the slice outlives the
    // call; the kernel copies and checks the program before it uses it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    check(result.into()).map(drop)
}

/// Cuts the process off from abstract Unix sockets that were made outside it, where the kernel can (Landlock ABI 6).
///
/// Returns whether the restriction is in force.
pub(crate) fn scope_abstract_sockets() -> io::Result<bool> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const VERSION: u32 = 1;
    const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
    // SAFETY: with a null pointer, size 0 and the version flag the call only returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0_usize, VERSION)
    };
    if version < 6 {
        return Ok(false);
    }
    let ruleset = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    // SAFETY: `ruleset` has the layout of `landlock_ruleset_attr` as of ABI 6, its size is passed along, and the result is
    // a new descriptor that nobody owns.
    let ruleset = unsafe {
        let fd = check(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0_u32,
        ))?;
        OwnedFd::from_raw_fd(fd as c_int)
    };
    // SAFETY: takes a descriptor and flags only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
    Ok(true)
}
