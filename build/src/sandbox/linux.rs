//! Namespaces and mounts from a [`SandboxSpec`], in the order of the reference's Linux sandbox.
//!
//! Runs in the helper process. [`prepare_root`] and [`write_id_maps`] run outside the new namespaces, [`enter`] runs
//! inside. The surprising part: to the machine, everything that a build writes belongs to the calling user; the ids
//! 1000 and 100 exist only inside. That is why inputs are mounted read-only: their owner may be the builder.

pub(crate) mod cgroup;
pub(crate) mod seccomp;
pub(crate) mod syscall;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatVfsMountFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};

use super::{Entry, EntryKind, Mount, Network, SandboxSpec};

/// A step of the set-up that failed.
#[derive(Debug)]
pub(crate) struct StepError {
    /// What was tried, as a phrase ("mounting /proc").
    pub(crate) step: String,
    /// Why it failed.
    pub(crate) error: io::Error,
}

pub(crate) trait Step<T> {
    /// Names what was tried.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|error| StepError { step: step(), error: error.into() })
    }
}

/// Returns the namespaces that `spec` asks for.
pub(crate) fn namespaces(spec: &SandboxSpec) -> u64 {
    let network = match spec.network {
        Network::Private | Network::Proxied => syscall::NEW_NET,
        Network::Host => 0,
    };
    syscall::NEW_USER | syscall::NEW_PID | syscall::NEW_MOUNT | syscall::NEW_IPC | syscall::NEW_UTS | network
}

/// Where `path`, absolute in the sandbox, is on the machine.
fn in_root(spec: &SandboxSpec, path: &Path) -> PathBuf {
    let mut real = spec.root.clone();
    for component in path.components() {
        if let std::path::Component::Normal(name) = component {
            real.push(name);
        }
    }
    real
}

fn create_dir_all(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Makes the root directory where that can't be left to the sandbox's first process. Runs outside.
///
/// Where builds have users of their own the calling user, to whom the root directory belongs, is unknown inside; so one
/// in memory is mounted here, in a mount namespace of the calling process.
pub(crate) fn prepare_root(spec: &SandboxSpec) -> Result<(), StepError> {
    if spec.root_size.is_none() {
        return make_entries(spec);
    }
    let Some(ids) = spec.ids else { return Ok(()) };
    syscall::unshare(rustix::thread::UnshareFlags::NEWNS).step(|| "making a mount namespace".to_owned())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making '/' private".to_owned())?;
    mount_root(spec)?;
    make_entries(spec)?;
    std::os::unix::fs::chown(&spec.root, None, Some(ids.gid)).step(|| "changing the group of '/'".to_owned())
}

/// Mounts the root directory in memory.
fn mount_root(spec: &SandboxSpec) -> Result<(), StepError> {
    let size = spec.root_size.as_deref().unwrap_or_default();
    let phrase = || "mounting a root directory in memory".to_owned();
    let data = std::ffi::CString::new(format!("mode=0750,size={size}")).map_err(io::Error::from).step(phrase)?;
    mount("none", &spec.root, "tmpfs", MountFlags::NODEV, data.as_c_str()).step(phrase)
}

/// Makes the entries of the root directory.
fn make_entries(spec: &SandboxSpec) -> Result<(), StepError> {
    for Entry { path, kind } in &spec.entries {
        let real = in_root(spec, path);
        let made = match kind {
            EntryKind::Directory(mode) => create_dir_all(&real)
                .and_then(|()| fs::set_permissions(&real, fs::Permissions::from_mode(*mode))),
            EntryKind::File(text) => parent(&real).and_then(|()| fs::write(&real, text)),
            EntryKind::Symlink(target) => parent(&real).and_then(|()| std::os::unix::fs::symlink(target, &real)),
        };
        made.step(|| format!("creating '{}'", real.display()))?;
        if let (Some(ids), EntryKind::Directory(mode)) = (spec.ids, kind)
            && mode & 0o020 != 0
        {
            // The store: the builder's group may make outputs there.
            std::os::unix::fs::chown(&real, None, Some(ids.gid)).step(|| format!("changing the group of '{}'", real.display()))?;
        }
    }
    Ok(())
}

fn parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), create_dir_all)
}

/// Returns whether a process in the sandbox may map its ids itself: it may only to those that it has outside.
pub(crate) fn maps_itself(spec: &SandboxSpec) -> bool {
    spec.ids.is_none()
}

/// Drops the supplementary groups of the calling process, which a user namespace would keep. Ordinary users may not, nor
/// in a user namespace of one id, which is an error only where the specification says so.
pub(crate) fn drop_groups(spec: &SandboxSpec) -> Result<(), StepError> {
    match rustix::thread::set_thread_groups(&[]) {
        Err(rustix::io::Errno::PERM) if !spec.require_drop_groups => Ok(()),
        Err(rustix::io::Errno::PERM) => Err(rustix::io::Errno::PERM).step(|| "setgroups failed. Set the require-drop-supplementary-groups option to false to skip this step".to_owned()),
        dropped => dropped.step(|| "setgroups failed".to_owned()),
    }
}

/// Maps the sandbox's user and group to those of the specification, or `caller`'s. Runs outside for the process that is
/// named, which waits, or inside for itself.
pub(crate) fn write_id_maps(process: &str, spec: &SandboxSpec, caller: (u32, u32)) -> Result<(), StepError> {
    let process = Path::new("/proc").join(process);
    let write = |name: &str, text: String| {
        fs::write(process.join(name), text).step(|| format!("writing {name} of the build's user namespace"))
    };
    let (uid, gid, n_ids) = match spec.ids {
        Some(ids) => (ids.uid, ids.gid, ids.n_ids),
        None => (caller.0, caller.1, 1),
    };
    write("uid_map", format!("{} {uid} {n_ids}", spec.uid))?;
    if n_ids == 1 {
        write("setgroups", "deny".to_owned())?;
    }
    write("gid_map", format!("{} {gid} {n_ids}", spec.gid))
}

/// Turns the calling process, the first of its namespaces, into one that sees only the sandbox.
///
/// Returns whether abstract Unix sockets of the machine are out of reach too (they are with a private network; with the
/// machine's it depends on the kernel).
pub(crate) fn enter(spec: &SandboxSpec, has_cgroup: bool) -> Result<bool, StepError> {
    if spec.network != Network::Host {
        syscall::loopback_up().step(|| "bringing the loopback interface up".to_owned())?;
    }
    rustix::system::sethostname(b"localhost").step(|| "setting the host name".to_owned())?;
    rustix::system::setdomainname(b"(none)").step(|| "setting the domain name".to_owned())?;

    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making '/' private".to_owned())?;
    if spec.root_size.is_some() && spec.ids.is_none() {
        mount_root(spec)?;
        make_entries(spec)?;
    } else {
        // pivot_root needs a mount point.
        mount_bind(&spec.root, &spec.root).step(|| format!("bind mounting '{}'", spec.root.display()))?;
    }
    for mount in spec.scratch.iter().chain(&spec.mounts) {
        bind(spec, mount)?;
    }
    mount_kernel_filesystems(spec)?;

    let etc = in_root(spec, Path::new("/etc"));
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o555)).step(|| "making /etc read-only".to_owned())?;
    if has_cgroup {
        syscall::unshare(rustix::thread::UnshareFlags::NEWCGROUP).step(|| "making a control group namespace".to_owned())?;
    }
    change_root(&spec.root)?;

    if !spec.allow_new_privileges {
        rustix::thread::set_no_new_privs(true).step(|| "setting no-new-privileges".to_owned())?;
    }
    // Unlike the reference, after no-new-privileges and before the filter; the effect is the same.
    let scoped = syscall::scope_abstract_sockets().step(|| "restricting abstract Unix sockets".to_owned())?;
    if spec.filter_syscalls {
        let filter = seccomp::filter()
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
            .step(|| "making a system call filter for this architecture".to_owned())?;
        syscall::install_filter(&filter).step(|| "installing the system call filter".to_owned())?;
    }
    if spec.ids.is_some() {
        // The files made so far belong to nobody inside; what the builder makes belongs to its user.
        let become_user = rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(spec.gid))
            .and_then(|()| rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(spec.uid)));
        become_user.step(|| "becoming the user of the build".to_owned())?;
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    Ok(scoped || spec.network != Network::Host)
}

/// Whether the user that this process really is, whatever it is called here, is the machine's root.
fn is_root_outside() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().nth(1).is_none_or(|outside| outside == "0")
}

fn mount_kernel_filesystems(spec: &SandboxSpec) -> Result<(), StepError> {
    let none = MountFlags::empty();
    let proc = in_root(spec, Path::new("/proc"));
    mount("none", &proc, "proc", none, None).step(|| "mounting /proc".to_owned())?;
    if spec.ids.is_none() && is_root_outside() {
        // To the kernel the builder is root, and such files are root's whatever namespace it looks from.
        for name in ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"] {
            let file = proc.join(name);
            if file.exists() {
                let phrase = || format!("protecting /proc/{name}");
                mount_bind(&file, &file).step(phrase)?;
                remount_read_only(&file).step(phrase)?;
            }
        }
    }

    if spec.ids.is_some_and(|ids| ids.n_ids > 1) {
        let sys = in_root(spec, Path::new("/sys"));
        mount("none", &sys, "sysfs", none, None).step(|| "mounting /sys".to_owned())?;
    }
    if Path::new("/dev/shm").exists() {
        let size = std::ffi::CString::new(format!("size={}", spec.dev_shm_size))
            .map_err(io::Error::from)
            .step(|| "reading the size of /dev/shm".to_owned())?;
        let shm = in_root(spec, Path::new("/dev/shm"));
        mount("none", &shm, "tmpfs", none, size.as_c_str()).step(|| "mounting /dev/shm".to_owned())?;
    }
    let ptmx = in_root(spec, Path::new("/dev/ptmx"));
    if Path::new("/dev/pts/ptmx").exists() && ptmx.symlink_metadata().is_err() {
        let pts = in_root(spec, Path::new("/dev/pts"));
        mount("none", &pts, "devpts", none, c"newinstance,mode=0620").step(|| "mounting /dev/pts".to_owned())?;
        std::os::unix::fs::symlink("/dev/pts/ptmx", &ptmx).step(|| "linking /dev/ptmx".to_owned())?;
        // Some kernels make it with no permissions at all.
        fs::set_permissions(pts.join("ptmx"), fs::Permissions::from_mode(0o666))
            .step(|| "opening /dev/pts/ptmx for all".to_owned())?;
    }
    Ok(())
}

/// Mounts one thing of the machine. A symbolic link can't be mounted; it is made again.
fn bind(spec: &SandboxSpec, Mount { source, target, optional, read_only }: &Mount) -> Result<(), StepError> {
    let phrase = || format!("bind mounting '{}' on '{}'", source.display(), target.display());
    let kind = match fs::symlink_metadata(source) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if *optional && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).step(phrase),
    };
    let real = in_root(spec, target);
    if kind.is_symlink() {
        parent(&real).step(phrase)?;
        let link = fs::read_link(source).step(phrase)?;
        return std::os::unix::fs::symlink(link, &real).step(phrase);
    }
    if kind.is_dir() {
        create_dir_all(&real).step(phrase)?;
    } else {
        parent(&real).step(phrase)?;
        fs::File::create(&real).step(phrase)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(CWD, source, flags).step(phrase)?;
    let mut remount = false;
    if *read_only && !kind.is_char_device() {
        match syscall::make_mount_read_only(tree.as_fd()) {
            // Kernels before 5.12.
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => remount = true,
            result => result.step(phrase)?,
        }
    }
    move_mount(tree.as_fd(), "", CWD, &real, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(phrase)?;
    if remount {
        remount_read_only(&real).step(phrase)?;
    }
    Ok(())
}

/// The old way to make a bind mount read-only; in a user namespace the flags that it had must be repeated.
fn remount_read_only(target: &Path) -> io::Result<()> {
    let had = rustix::fs::statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (was, keep) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if had.contains(was) {
            flags |= keep;
        }
    }
    Ok(mount_remount(target, flags, c"")?)
}

fn change_root(root: &Path) -> Result<(), StepError> {
    let phrase = || format!("changing the root directory to '{}'", root.display());
    rustix::process::chdir(root).step(phrase)?;
    fs::DirBuilder::new().mode(0o500).create("real-root").step(phrase)?;
    rustix::process::pivot_root(".", "real-root").step(phrase)?;
    rustix::process::chroot(".").step(phrase)?;
    unmount("real-root", UnmountFlags::DETACH).step(phrase)?;
    rustix::fs::unlinkat(CWD, "real-root", AtFlags::REMOVEDIR).step(phrase)
}

/// Says in a sentence why namespaces could not be made, as far as the machine tells.
pub(crate) fn why_no_namespaces(error: &io::Error) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if read("/proc/sys/user/max_user_namespaces") == "0" {
        return "user namespaces are switched off: /proc/sys/user/max_user_namespaces is 0".to_owned();
    }
    let privileged = rustix::process::geteuid().is_root();
    if !privileged && read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return "user namespaces are reserved to root: /proc/sys/kernel/unprivileged_userns_clone is 0".to_owned();
    }
    if !privileged && read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "AppArmor denies user namespaces to ordinary programs: \
                /proc/sys/kernel/apparmor_restrict_unprivileged_userns is 1"
            .to_owned();
    }
    match error.raw_os_error() {
        Some(libc::EPERM) => "the kernel does not permit user namespaces to this process; that is so inside a chroot, \
                              in most containers, and under some security modules"
            .to_owned(),
        Some(libc::ENOSPC) => "the limit on namespaces is reached; see /proc/sys/user".to_owned(),
        Some(libc::EINVAL | libc::ENOSYS) => "this kernel lacks one of the namespaces".to_owned(),
        _ => String::new(),
    }
}
