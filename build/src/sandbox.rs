//! What a build may see and do, as plain data: [`SandboxSpec`] says everything, `linux` carries it out.
//!
//! The surprising part: nothing here forks the calling process. A build runs under a small helper process (see
//! [`helper`]) that gets the specification through a pipe, because the cost of a fork grows with the host's memory and
//! a fork of a process with threads is not safe.

pub mod helper;
pub(crate) mod join;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
pub mod macos;
pub mod none;
pub mod shell;
pub mod view;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use helper::Helper;
pub use shell::{Shell, ShellChoice, ShellKind};
pub use view::view_command;

/// How much a build was kept apart from the rest of the machine. Part of every build's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// All namespaces: user, mount, pid, IPC, host name and network.
    Full,
    /// As [`Isolation::Full`], but with the machine's network, for fixed-output derivations.
    HostNetwork,
    /// As [`Isolation::Full`], and a proxy that leads to some hosts, for fixed-output derivations.
    ProxiedNetwork,
    /// What a server for remote execution gives its builds.
    Remote,
    /// None at all, because the host program asked for that.
    None,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isolation::Full => "sandbox (user, mount, pid, ipc, uts and net namespaces)",
            Isolation::HostNetwork => "sandbox (user, mount, pid, ipc and uts namespaces; host network)",
            Isolation::ProxiedNetwork => "sandbox (user, mount, pid, ipc, uts and net namespaces; a proxy to some hosts)",
            Isolation::Remote => "remote execution (the server's own sandbox)",
            Isolation::None => "no sandbox",
        })
    }
}

/// What a host program wants: builds in a sandbox, or none.
///
/// There is no third value that falls back: where namespaces are not permitted, a build in
/// [`SandboxMode::Required`] fails with the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// Every build runs in a sandbox or fails (`sandbox = true`).
    #[default]
    Required,
    /// As [`SandboxMode::Required`], but derivations may opt out with `__noChroot` (`sandbox = relaxed`).
    Relaxed,
    /// No sandbox (`sandbox = false`). Only possible in a store whose real directory is the logical one.
    Off,
}

/// One thing of the machine that a build sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// Absolute path in the sandbox.
    pub target: PathBuf,
    /// Whether a missing source is no error.
    pub optional: bool,
    /// Whether writing through this mount is refused.
    pub read_only: bool,
}

/// A file, directory or link that is made in the sandbox's root before anything is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path in the sandbox.
    pub path: PathBuf,
    /// What to make there.
    pub kind: EntryKind,
}

/// The kinds of [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A directory with these permission bits; parents are made as needed.
    Directory(u32),
    /// A file with this text.
    File(String),
    /// A symbolic link to this target.
    Symlink(PathBuf),
}

/// Which network a build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Only a loopback interface of its own.
    Private,
    /// The machine's.
    Host,
    /// As [`Network::Private`], with a proxy at [`PROXY_ADDRESS`] that leads to [`SandboxSpec::hosts`].
    Proxied,
}

/// Where a build finds its proxy.
pub const PROXY_ADDRESS: &str = "127.0.0.1:3128";

/// A sandbox, complete and printable: no decision is left to the code that sets it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Empty directory on the machine that becomes `/`.
    pub root: PathBuf,
    /// Size of a directory in memory that becomes `/` instead, as tmpfs takes it; it is mounted on `root`, and nobody
    /// outside sees it.
    pub root_size: Option<String>,
    /// Made first, in this order.
    pub entries: Vec<Entry>,
    /// Empty directories on the machine, mounted before all else where the builder may write.
    pub scratch: Vec<Mount>,
    /// Mounted next, in this order.
    pub mounts: Vec<Mount>,
    /// The network.
    pub network: Network,
    /// With [`Network::Proxied`]: names of hosts, `*.` and a name for all below it; with `:` and a number for one port.
    pub hosts: Vec<String>,
    /// User id inside; outside it is the calling user's.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Users of the machine that the build has; without them the calling one.
    pub ids: Option<HostIds>,
    /// Size limit of `/dev/shm`, as tmpfs takes it.
    pub dev_shm_size: String,
    /// Whether the system call filter is installed.
    pub filter_syscalls: bool,
    /// Whether programs may gain privileges by executing a file.
    pub allow_new_privileges: bool,
    /// Whether a build fails if it would keep the caller's supplementary groups.
    pub require_drop_groups: bool,
}

/// Users of the machine that a build runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIds {
    /// The first user, which is [`SandboxSpec::uid`] inside.
    pub uid: u32,
    /// The first group, which is [`SandboxSpec::gid`] inside.
    pub gid: u32,
    /// How many of both, from there on.
    pub n_ids: u32,
}

/// Choices for [`SandboxSpec::for_build`].
#[derive(Clone, Debug)]
pub struct SpecOptions {
    /// Empty directory that becomes `/`.
    pub root: PathBuf,
    /// Logical store directory.
    pub store_dir: PathBuf,
    /// Build directory on the machine.
    pub build_dir: PathBuf,
    /// Build directory in the sandbox, `/build` by default.
    pub build_dir_inside: PathBuf,
    /// Whether the build may use the machine's network.
    pub network: Network,
    /// Whether `/dev/kvm` is passed in if there is one.
    pub kvm: bool,
    /// Certificates for builds with network.
    pub ca_file: Option<PathBuf>,
    /// Size limit of `/dev/shm`.
    pub dev_shm_size: String,
    /// Whether the system call filter is installed.
    pub filter_syscalls: bool,
    /// Whether programs may gain privileges.
    pub allow_new_privileges: bool,
    /// Whether a build fails if it would keep the caller's supplementary groups.
    pub require_drop_groups: bool,
    /// Users of the machine for the build.
    pub ids: Option<HostIds>,
}

/// User id of a build, in the sandbox (`sandboxUid` of the reference).
pub const SANDBOX_UID: u32 = 1000;
/// Group id of a build, in the sandbox.
pub const SANDBOX_GID: u32 = 100;

impl SandboxSpec {
    /// Returns the sandbox of an ordinary build, without inputs: add those to `mounts`.
    ///
    /// Directories, files and devices are those of the reference's Linux sandbox.
    pub fn for_build(options: SpecOptions) -> SandboxSpec {
        let directory = |path: &str, mode| Entry { path: path.into(), kind: EntryKind::Directory(mode) };
        let file = |path: &str, text: String| Entry { path: path.into(), kind: EntryKind::File(text) };
        let link = |path: &str, to: &str| Entry { path: path.into(), kind: EntryKind::Symlink(to.into()) };
        let home = options.build_dir_inside.display();
        // With a range of users the builder is root inside.
        let has_range = options.ids.is_some_and(|ids| ids.n_ids > 1);
        let (uid, gid) = if has_range { (0, 0) } else { (SANDBOX_UID, SANDBOX_GID) };

        let mut entries = vec![
            directory("/tmp", 0o1777),
            directory("/etc", 0o755),
            Entry { path: options.store_dir.clone(), kind: EntryKind::Directory(0o1775) },
            file(
                "/etc/passwd",
                format!(
                    "root:x:0:0:Nix build user:{home}:/noshell\n\
                     nixbld:x:{uid}:{gid}:Nix build user:{home}:/noshell\n\
                     nobody:x:65534:65534:Nobody:/:/noshell\n"
                ),
            ),
            file("/etc/group", format!("root:x:0:\nnixbld:!:{gid}:\nnogroup:x:65534:\n")),
            directory("/dev/shm", 0o755),
            directory("/dev/pts", 0o755),
            link("/dev/fd", "/proc/self/fd"),
            link("/dev/stdin", "/proc/self/fd/0"),
            link("/dev/stdout", "/proc/self/fd/1"),
            link("/dev/stderr", "/proc/self/fd/2"),
            directory("/proc", 0o555),
        ];
        if has_range {
            entries.push(directory("/sys", 0o555));
        }
        let mut mounts: Vec<Mount> = ["full", "null", "random", "tty", "urandom", "zero"]
            .iter()
            .map(|name| Mount::device(format!("/dev/{name}")))
            .collect();
        if options.kvm {
            mounts.push(Mount { optional: true, ..Mount::device("/dev/kvm".to_owned()) });
        }
        if options.network == Network::Host {
            entries.push(file("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n".to_owned()));
            for path in ["/etc/resolv.conf", "/etc/services", "/etc/hosts"] {
                let source = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
                mounts.push(Mount { source, target: path.into(), optional: true, read_only: true });
            }
        } else {
            entries.push(file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()));
        }
        if options.network != Network::Private
            && let Some(source) = options.ca_file.and_then(|path| std::fs::canonicalize(path).ok())
        {
            let target = "/etc/ssl/certs/ca-certificates.crt".into();
            mounts.push(Mount { source, target, optional: true, read_only: true });
        }
        mounts.push(Mount {
            source: options.build_dir,
            target: options.build_dir_inside,
            optional: false,
            read_only: false,
        });
        SandboxSpec {
            root: options.root,
            root_size: None,
            entries,
            scratch: Vec::new(),
            mounts,
            network: options.network,
            hosts: Vec::new(),
            uid,
            gid,
            ids: options.ids,
            dev_shm_size: options.dev_shm_size,
            filter_syscalls: options.filter_syscalls,
            allow_new_privileges: options.allow_new_privileges,
            require_drop_groups: options.require_drop_groups,
        }
    }

    /// Returns how much isolation this sandbox gives.
    pub fn isolation(&self) -> Isolation {
        match self.network {
            Network::Private => Isolation::Full,
            Network::Host => Isolation::HostNetwork,
            Network::Proxied => Isolation::ProxiedNetwork,
        }
    }
}

impl Mount {
    fn device(path: String) -> Mount {
        let path = PathBuf::from(path);
        Mount { source: path.clone(), target: path, optional: false, read_only: false }
    }

    /// Returns a read-only mount of `source` at `target`.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Mount {
        Mount { source: source.into(), target: target.into(), optional: false, read_only: true }
    }
}
