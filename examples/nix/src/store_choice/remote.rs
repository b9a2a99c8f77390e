//! Stores behind a connection: `daemon`, `unix://`, `ssh-ng://`, `ssh://`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::daemon::{DaemonService, DaemonStore, DaemonStoreOptions, UnixConnector};
use nixlang_store::path::StoreDir;
use nixlang_store::serve::ServeStore;
use nixlang_store::ssh::{SshConnector, SshHost, split_shell_words};
use nixlang_store::store::Store;
use nixlang_store::wire::log::LogSink;
use nixlang_store::wire::operations::ClientOptions;
use nixlang_store::wire::serve::ServeBuildOptions;

use super::percent_decoded;
use crate::failure::Outcome;
use crate::settings::Settings;
use crate::ui::Ui;

/// How a store is reached.
#[derive(Debug, Clone)]
pub(super) enum Remote {
    /// A socket of this machine, and the store's address.
    Unix { socket: PathBuf, address: String },
    /// A daemon's standard streams on another machine.
    SshNg(Ssh),
    /// The same, where that machine's files are seen at the same place here.
    MountedSshNg(Ssh),
    /// `nix-store --serve` on another machine.
    Ssh(Ssh),
}

/// A command on another machine.
#[derive(Debug, Clone)]
pub(super) struct Ssh {
    host: SshHost,
    program: Vec<String>,
    remote_store: Option<String>,
    address: String,
}

/// An opened store, and what builds on its side.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) service: Arc<dyn DaemonService>,
}

/// Returns the socket that daemons listen at.
pub(crate) fn daemon_socket(state_dir: Option<&PathBuf>) -> PathBuf {
    match super::env("NIX_DAEMON_SOCKET_PATH") {
        Some(socket) => socket,
        None => state_dir.cloned().unwrap_or_else(|| "/nix/var/nix".into()).join("daemon-socket/socket"),
    }
}

impl Remote {
    /// Reads the part of an address before its parameters.
    pub(super) fn parse(base: &str, address: &str, state_dir: Option<&PathBuf>) -> Outcome<Option<Remote>> {
        let (scheme, rest) = match base {
            "daemon" => ("unix", ""),
            "unix" => ("unix", ""),
            _ => match base.split_once("://") {
                Some(parts) => parts,
                None => return Ok(None),
            },
        };
        Ok(Some(match scheme {
            "unix" => {
                let default = daemon_socket(state_dir);
                let socket = if rest.is_empty() { default.clone() } else { PathBuf::from(percent_decoded(rest)?) };
                let parameters = address.split_once('?').map_or(String::new(), |(_, parameters)| format!("?{parameters}"));
                let name = if socket == default { "daemon".to_owned() } else { format!("unix://{}", socket.display()) };
                let address = format!("{name}{parameters}");
                Remote::Unix { socket, address }
            }
            "ssh-ng" => Remote::SshNg(Ssh::new(rest, address, "nix-daemon")?),
            "mounted-ssh-ng" => Remote::MountedSshNg(Ssh::new(rest, address, "nix-daemon")?),
            "ssh" => Remote::Ssh(Ssh::new(rest, address, "nix-store")?),
            _ => return Ok(None),
        }))
    }

    /// Takes a parameter.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Outcome<()> {
        let (Remote::SshNg(ssh) | Remote::MountedSshNg(ssh) | Remote::Ssh(ssh)) = self else { return Ok(()) };
        match name {
            "remote-program" => ssh.program = value.split_whitespace().map(str::to_owned).collect(),
            "remote-store" => ssh.remote_store = Some(value.to_owned()).filter(|store| !store.is_empty()),
            "ssh-key" => ssh.host.key = Some(value.to_owned()).filter(|key| !key.is_empty()),
            "compress" => ssh.host.compress = matches!(value, "true" | "1" | "yes"),
            "base64-ssh-public-host-key" => ssh.host.set_public_host_key(value)?,
            _ => {}
        }
        Ok(())
    }

    /// Sends what commands on other machines write to standard error somewhere else.
    pub(super) fn set_stderr(&mut self, stderr: OwnedFd) {
        if let Remote::SshNg(ssh) | Remote::MountedSshNg(ssh) | Remote::Ssh(ssh) = self {
            ssh.host.stderr = Some(Arc::new(stderr));
        }
    }

    /// Makes the store. Nothing is connected to yet.
    pub(super) fn open(&self, store_dir: StoreDir, real: Option<PathBuf>, log_dir: PathBuf, settings: &Settings, ui: Ui, log: Arc<dyn LogSink>) -> Opened {
        let mut options = DaemonStoreOptions::new(store_dir.clone());
        options.log = log;
        match self {
            Remote::Unix { socket, address } => {
                options.real_store_dir = real;
                options.log_dir = Some(log_dir);
                options.settings = Some(client_options(settings, ui));
                let connector = UnixConnector { socket: socket.clone(), address: address.clone() };
                let store = Arc::new(DaemonStore::new(connector, options));
                Opened { store: store.clone(), service: store }
            }
            Remote::SshNg(ssh) => {
                let store = Arc::new(DaemonStore::new(ssh.connector(&["--stdio"]), options));
                Opened { store: store.clone(), service: store }
            }
            Remote::MountedSshNg(ssh) => {
                options.real_store_dir = real;
                options.log_dir = Some(log_dir);
                options.daemon_makes_links = true;
                let store = Arc::new(DaemonStore::new(ssh.connector(&["--stdio", "--process-ops"]), options));
                Opened { store: store.clone(), service: store }
            }
            Remote::Ssh(ssh) => {
                let build = ServeBuildOptions {
                    max_silent_time: settings.integer("max-silent-time"),
                    timeout: settings.integer("timeout"),
                    max_log_size: settings.integer("max-build-log-size"),
                    keep_failed: settings.is_on("keep-failed"),
                    ..ServeBuildOptions::default()
                };
                let connector = ssh.connector(&["--serve", "--write"]);
                let store = Arc::new(ServeStore::new(connector, store_dir, ssh.host.host.clone(), build));
                Opened { store: store.clone(), service: store }
            }
        }
    }
}

impl Ssh {
    fn new(authority: &str, address: &str, program: &str) -> Outcome<Ssh> {
        let mut host = SshHost::parse(&percent_decoded(authority)?)?;
        if let Ok(arguments) = std::env::var("NIX_SSHOPTS") {
            host.arguments = split_shell_words(&arguments)?.into_iter().map(Into::into).collect();
        }
        Ok(Ssh { host, program: vec![program.to_owned()], remote_store: None, address: address.to_owned() })
    }

    fn connector(&self, arguments: &[&str]) -> SshConnector {
        let mut command = self.program.clone();
        command.extend(arguments.iter().map(|&argument| argument.to_owned()));
        if let Some(store) = &self.remote_store {
            command.extend(["--store".to_owned(), store.clone()]);
        }
        SshConnector { host: self.host.clone(), command, address: self.address.clone() }
    }
}

/// Settings that have a place of their own in what is sent, or that are no business of a daemon.
const NOT_SENT: &[&str] = &[
    "keep-failed", "keep-going", "fallback", "max-jobs", "max-silent-time", "cores", "substitute", "show-trace", "experimental-features", "plugin-files", "store",
    "trusted-users", "allowed-users", "nix-path", "pure-eval", "restrict-eval", "eval-system", "eval-cache", "allow-import-from-derivation", "allowed-uris",
    "error-style", "warn-dirty", "tarball-ttl", "flake-registry", "use-registries", "accept-flake-config", "access-tokens", "abort-on-warn", "max-call-depth",
    "trace-verbose", "trace-function-calls", "debugger-on-trace", "debugger-on-warn", "bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "commit-lock-file-summary",
    "nix-shell-always-looks-for-shell-nix", "nix-shell-shebang-arguments-relative-to-script", "warn-short-path-literals", "upgrade-nix-store-path-url",
];

/// Returns what a daemon is told of the settings: those that somebody has set.
pub(crate) fn client_options(settings: &Settings, ui: Ui) -> ClientOptions {
    let is_sent = |name: &str| settings.is_set(name) && !NOT_SENT.contains(&name);
    let own_system = crate::settings::host_system();
    let overrides = settings
        .all()
        .filter(|(setting, value)| is_sent(setting.name) && (setting.name != "system" || *value != own_system))
        .map(|(setting, value)| (setting.name.to_owned(), value.to_owned()));
    ClientOptions {
        keep_failed: settings.is_on("keep-failed"),
        keep_going: settings.is_on("keep-going"),
        fallback: settings.is_on("fallback"),
        verbosity: u64::try_from(ui.verbosity.0).unwrap_or(0),
        max_jobs: match settings.text("max-jobs") {
            "auto" => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            number => number.parse().unwrap_or(1),
        },
        max_silent_time: settings.integer("max-silent-time"),
        verbose_build: true,
        cores: settings.integer("cores"),
        use_substitutes: settings.is_on("substitute"),
        overrides: overrides.collect(),
    }
}
