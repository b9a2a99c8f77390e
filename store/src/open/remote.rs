//! Stores behind a connection: `daemon`, `unix://`, `ssh-ng://`, `mounted-ssh-ng://`, `ssh://`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::place::{StorePlace, percent_decoded};
use super::{OpenError, OpenedStore, Opener};
use crate::configuration::Configuration;
use crate::daemon::{DaemonStore, DaemonStoreOptions, UnixConnector};
use crate::serve::ServeStore;
use crate::ssh::{SshConnector, SshHost, split_shell_words};
use crate::wire::operations::ClientOptions;
use crate::wire::serve::ServeBuildOptions;

/// How a store is reached.
#[derive(Debug, Clone)]
pub struct RemotePlace(Way);

#[derive(Debug, Clone)]
enum Way {
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
struct Ssh {
    host: SshHost,
    program: Vec<String>,
    remote_store: Option<String>,
    address: String,
}

/// Returns the socket that daemons listen at: `NIX_DAEMON_SOCKET_PATH`, or the usual one below the state directory.
pub fn daemon_socket(configuration: &dyn Configuration, state_dir: Option<&PathBuf>) -> PathBuf {
    let usual = || state_dir.cloned().unwrap_or_else(|| "/nix/var/nix".into()).join("daemon-socket/socket");
    configuration.variable_path("NIX_DAEMON_SOCKET_PATH").unwrap_or_else(usual)
}

impl RemotePlace {
    /// Reads the part of an address before its parameters.
    pub(super) fn parse(configuration: &dyn Configuration, base: &str, address: &str, state_dir: Option<&PathBuf>) -> Result<Option<RemotePlace>, OpenError> {
        let (scheme, rest) = match base {
            "daemon" | "unix" => ("unix", ""),
            _ => match base.split_once("://") {
                Some(parts) => parts,
                None => return Ok(None),
            },
        };
        let ssh = |program: &str| Ssh::new(configuration, rest, address, program);
        Ok(Some(RemotePlace(match scheme {
            "unix" => {
                let default = daemon_socket(configuration, state_dir);
                let socket = if rest.is_empty() { default.clone() } else { PathBuf::from(percent_decoded(rest)?) };
                let parameters = address.split_once('?').map_or(String::new(), |(_, parameters)| format!("?{parameters}"));
                let name = if socket == default { "daemon".to_owned() } else { format!("unix://{}", socket.display()) };
                Way::Unix { socket, address: format!("{name}{parameters}") }
            }
            "ssh-ng" => Way::SshNg(ssh("nix-daemon")?),
            "mounted-ssh-ng" => Way::MountedSshNg(ssh("nix-daemon")?),
            "ssh" => Way::Ssh(ssh("nix-store")?),
            _ => return Ok(None),
        })))
    }

    /// Takes a parameter.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        let Some(ssh) = self.ssh_mut() else { return Ok(()) };
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

    fn ssh_mut(&mut self) -> Option<&mut Ssh> {
        match &mut self.0 {
            Way::SshNg(ssh) | Way::MountedSshNg(ssh) | Way::Ssh(ssh) => Some(ssh),
            Way::Unix { .. } => None,
        }
    }

    /// Sends what commands on other machines write to standard error somewhere else.
    pub fn set_stderr(&mut self, stderr: OwnedFd) {
        if let Some(ssh) = self.ssh_mut() {
            ssh.host.stderr = Some(Arc::new(stderr));
        }
    }

    /// Returns the store's address with its parameters.
    pub fn address(&self) -> &str {
        match &self.0 {
            Way::Unix { address, .. } => address,
            Way::SshNg(ssh) | Way::MountedSshNg(ssh) | Way::Ssh(ssh) => &ssh.address,
        }
    }

    /// Makes the store. Nothing is connected to yet.
    pub(super) fn open(&self, opener: &Opener, place: &StorePlace) -> OpenedStore {
        let configuration = opener.configuration();
        let store_dir = place.options.store_dir.clone();
        let real = place.real_store_dir().unwrap_or_else(|| store_dir.as_str().into());
        let mut options = DaemonStoreOptions::new(store_dir.clone());
        options.log = Arc::clone(&opener.log);
        options.content_rules = place.options.content_rules;
        let daemon = |store: DaemonStore| {
            let store = Arc::new(store);
            OpenedStore { store: store.clone(), local: None, service: Some(store) }
        };
        match &self.0 {
            Way::Unix { socket, address } => {
                options.real_store_dir = Some(real);
                options.log_dir = Some(place.log_dir());
                options.settings = Some(client_options(configuration, opener.verbosity));
                let connector = UnixConnector { socket: socket.clone(), address: address.clone() };
                daemon(DaemonStore::new(connector, options))
            }
            Way::SshNg(ssh) => daemon(DaemonStore::new(ssh.connector(&["--stdio"]), options)),
            Way::MountedSshNg(ssh) => {
                options.real_store_dir = Some(real);
                options.log_dir = Some(place.log_dir());
                options.daemon_makes_links = true;
                daemon(DaemonStore::new(ssh.connector(&["--stdio", "--process-ops"]), options))
            }
            Way::Ssh(ssh) => {
                let build = ServeBuildOptions {
                    max_silent_time: configuration.integer("max-silent-time"),
                    timeout: configuration.integer("timeout"),
                    max_log_size: configuration.integer("max-build-log-size"),
                    keep_failed: configuration.is_on("keep-failed"),
                    ..ServeBuildOptions::default()
                };
                let connector = ssh.connector(&["--serve", "--write"]);
                let store = Arc::new(ServeStore::new(connector, store_dir, ssh.host.host.clone(), build));
                OpenedStore { store: store.clone(), local: None, service: Some(store) }
            }
        }
    }
}

impl Ssh {
    fn new(configuration: &dyn Configuration, authority: &str, address: &str, program: &str) -> Result<Ssh, OpenError> {
        let mut host = SshHost::parse(&percent_decoded(authority)?)?;
        if let Some(arguments) = configuration.variable("NIX_SSHOPTS").and_then(|arguments| arguments.into_string().ok()) {
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
    "nix-shell-always-looks-for-shell-nix", "nix-shell-shebang-arguments-relative-to-script", "warn-short-path-literals", "content-address-rules", "upgrade-nix-store-path-url",
];

/// Returns what a daemon is told of the settings: those that somebody has set.
pub fn client_options(configuration: &dyn Configuration, verbosity: u64) -> ClientOptions {
    let own_system = host_system();
    let is_sent = |name: &&str| configuration.is_set(name) && !NOT_SENT.contains(name) && (*name != "system" || configuration.text(name) != own_system);
    let overrides = configuration.names().into_iter().filter(is_sent).map(|name| (name.to_owned(), configuration.text(name).into_owned()));
    ClientOptions {
        keep_failed: configuration.is_on("keep-failed"),
        keep_going: configuration.is_on("keep-going"),
        fallback: configuration.is_on("fallback"),
        verbosity,
        max_jobs: match &*configuration.text("max-jobs") {
            "auto" => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            number => number.parse().unwrap_or(1),
        },
        max_silent_time: configuration.integer("max-silent-time"),
        verbose_build: true,
        cores: configuration.integer("cores"),
        use_substitutes: configuration.is_on("substitute"),
        overrides: overrides.collect(),
    }
}

/// Returns the name of this machine's kind.
fn host_system() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    format!("{}-{os}", if std::env::consts::ARCH == "x86" { "i686" } else { std::env::consts::ARCH })
}
