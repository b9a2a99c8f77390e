//! Running a program of a rooted store: the same machine, but with the store where its paths say it is.
//!
//! A program from `/nix/store` of a store that really is somewhere else needs `/nix/store` to exist. [`view_command`]
//! makes a command that starts the helper, which puts the real directory there for itself and becomes the program. Only
//! that process and its children see it; no rights are needed beyond user namespaces. This is no sandbox.
//!
//! The surprising part is the root directory: where there is no `/nix` and nobody may make one, a new root is made in
//! memory that has everything of the old one, and `/nix` besides.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::thread::UnshareFlags;

use super::helper::Helper;
use super::linux::{Step, StepError, syscall, why_no_namespaces};

pub(super) const MARKER: &str = "__nixlang-store-view";

/// Returns a command that runs `program` where `real` is seen at `store_dir`.
///
/// Arguments, environment, directory and the standard streams are the caller's to set. If that can't be done, the
/// command prints why and ends with status 1.
pub fn view_command(helper: &Helper, store_dir: &Path, real: &Path, program: &OsStr) -> Command {
    let mut command = Command::new(helper.path());
    command.arg(MARKER).arg(store_dir).arg(real).arg(program);
    command
}

/// Becomes the program. Returns only if that fails, with the exit status.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let (Some(store_dir), Some(real), Some(program)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return 1;
    };
    if let Err(StepError { step, error }) = enter(Path::new(&store_dir), Path::new(&real)) {
        eprintln!("error: cannot show the store at '{}': {step}: {error}", Path::new(&store_dir).display());
        let hint = why_no_namespaces(&error);
        if step == UNSHARE && !hint.is_empty() {
            eprintln!("hint: {hint}");
        }
        return 1;
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("error: unable to execute '{}': {error}", Path::new(&program).display());
    1
}

const UNSHARE: &str = "making namespaces";

fn enter(store_dir: &Path, real: &Path) -> Result<(), StepError> {
    if store_dir == real {
        return Ok(());
    }
    let directory = std::env::current_dir().ok();
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    // Somebody with the right to mount keeps all others as well.
    if syscall::unshare(UnshareFlags::NEWNS).is_err() {
        syscall::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUSER).step(|| UNSHARE.to_owned())?;
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{user} {user} 1")),
            ("gid_map", format!("{group} {group} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text).step(|| format!("writing {file}"))?;
        }
    }
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .step(|| "keeping mounts private".to_owned())?;
    let store = clone_mount(real)?;
    if store_dir.is_dir() {
        attach(&store, store_dir)?;
    } else {
        new_root(store_dir, &store)?;
    }
    if let Some(directory) = directory {
        rustix::process::chdir(&directory).step(|| format!("changing into '{}'", directory.display()))?;
    }
    Ok(())
}

/// Makes a root directory that has everything of the old one, and the store.
fn new_root(store_dir: &Path, store: &OwnedFd) -> Result<(), StepError> {
    let names: Vec<&OsStr> = store_dir
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    // Copies of all mounts are taken before anything is covered.
    let mut entries = Vec::new();
    collect(Path::new("/"), Path::new(""), &names, &mut entries)?;

    let phrase = || "making a root directory in memory".to_owned();
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).step(phrase)?;
    fsconfig_create(context.as_fd()).step(phrase)?;
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).step(phrase)?;
    // Any directory will do to attach it to; the old root disappears anyway.
    let place = ["/tmp", "/mnt", "/usr", "/proc"].iter().map(Path::new).find(|path| path.is_dir());
    let place = place.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).step(phrase)?;
    attach(&root, place)?;

    for Entry { path, kind } in entries {
        let target = place.join(&path);
        match kind {
            EntryKind::Directory => fs::create_dir_all(&target).step(|| format!("creating '{}'", target.display()))?,
            EntryKind::Link(to) => {
                std::os::unix::fs::symlink(to, &target).step(|| format!("creating '{}'", target.display()))?;
            }
            EntryKind::Mount { tree, is_directory } => {
                let made = if is_directory { fs::create_dir(&target) } else { fs::File::create(&target).map(drop) };
                made.step(|| format!("creating '{}'", target.display()))?;
                attach(&tree, &target)?;
            }
        }
    }
    let target = place.join(names.iter().collect::<PathBuf>());
    fs::create_dir_all(&target).step(|| format!("creating '{}'", target.display()))?;
    attach(store, &target)?;

    let phrase = || "changing the root directory".to_owned();
    rustix::process::chdir(place).step(phrase)?;
    // The old root ends up on top of the new one, where it is taken away.
    rustix::process::pivot_root(".", ".").step(phrase)?;
    unmount(".", UnmountFlags::DETACH).step(phrase)?;
    rustix::process::chdir("/").step(phrase)
}

struct Entry {
    /// Relative to the root.
    path: PathBuf,
    kind: EntryKind,
}

enum EntryKind {
    Directory,
    Link(PathBuf),
    Mount { tree: OwnedFd, is_directory: bool },
}

/// Collects what is in `old`, without the first of `names`; where that exists, what is in it without the next, and so on.
fn collect(old: &Path, path: &Path, names: &[&OsStr], entries: &mut Vec<Entry>) -> Result<(), StepError> {
    let phrase = || format!("reading '{}'", old.display());
    for entry in fs::read_dir(old).step(phrase)? {
        let entry = entry.step(phrase)?;
        let (name, kind) = (entry.file_name(), entry.file_type().step(phrase)?);
        let (old, path) = (entry.path(), path.join(&name));
        if names.first() == Some(&name.as_os_str()) {
            if names.len() > 1 && kind.is_dir() {
                entries.push(Entry { path: path.clone(), kind: EntryKind::Directory });
                collect(&old, &path, &names[1..], entries)?;
            }
            continue;
        }
        let kind = if kind.is_symlink() {
            EntryKind::Link(fs::read_link(&old).step(phrase)?)
        } else {
            match clone_mount(&old) {
                Ok(tree) => EntryKind::Mount { tree, is_directory: kind.is_dir() },
                // What this user can't even look at, a program doesn't miss.
                Err(StepError { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(error),
            }
        };
        entries.push(Entry { path, kind });
    }
    Ok(())
}

fn clone_mount(path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).step(|| format!("looking at '{}'", path.display()))
}

fn attach(tree: &OwnedFd, path: &Path) -> Result<(), StepError> {
    move_mount(tree.as_fd(), "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(|| format!("mounting on '{}'", path.display()))
}
