//! Commands on other machines, over the `ssh` that is installed: its configuration, agents and proxies just work.
//!
//! The surprising thing: the host `localhost`, without a user or port, is no other machine; the command is run directly.
//! The reference does so for its tests, and so do we.
//!
//! Source: `ssh.cc` of the reference.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::daemon::{Connector, Transport};
use crate::error::{Result, StoreError};

/// How long a remote command may take to notice that nobody wants anything any more.
const GRACE: Duration = Duration::from_millis(500);

/// A machine to log in to.
#[derive(Debug, Clone, Default)]
pub struct SshHost {
    /// Whom to log in as.
    pub user: Option<String>,
    /// Its name.
    pub host: String,
    /// Its port, if not the usual one.
    pub port: Option<u16>,
    /// A file with the key to log in with.
    pub key: Option<String>,
    /// The machine's public key, as in `known_hosts`.
    pub public_host_key: Option<String>,
    /// Compress what goes over the wire.
    pub compress: bool,
    /// More arguments for `ssh` (`NIX_SSHOPTS`).
    pub arguments: Vec<OsString>,
    /// Where standard error of commands goes; to that of this process without it.
    pub stderr: Option<Arc<OwnedFd>>,
}

impl SshHost {
    /// Reads `[user@]host[:port]`; a host that is a number in IPv6 stands in brackets.
    ///
    /// # Errors
    /// When user or host are missing or would be taken for an option.
    pub fn parse(authority: &str) -> Result<SshHost> {
        let invalid = |reason: String| {
            StoreError::format("opening a store", format!("invalid SSH authority: '{authority}': {reason}"))
        };
        let (user, rest) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                // An address without brackets.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        match user {
            Some("") => return Err(invalid("user name must not be empty".into())),
            Some(user) if user.starts_with('-') => {
                return Err(invalid(format!("user name '{user}' must not start with '-'")));
            }
            _ => {}
        }
        if host.is_empty() {
            return Err(invalid("host name must not be empty".into()));
        }
        if host.starts_with('-') {
            return Err(invalid(format!("host name '{host}' must not start with '-'")));
        }
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().map_err(|_| invalid(format!("port '{port}' is not a number")))?),
        };
        Ok(SshHost { user: user.map(str::to_owned), host: host.to_owned(), port, ..SshHost::default() })
    }

    /// Takes the machine's public key in the form that addresses have it in: in base 64 once more. Empty text is none.
    ///
    /// # Errors
    /// When it is not base 64 of text.
    pub fn set_public_host_key(&mut self, base64: &str) -> Result<()> {
        let host = &self.host;
        let context = || format!("while decoding ssh public host key for host '{host}'");
        let bytes =
            crate::hash::decode_base64(base64).ok_or_else(|| StoreError::format(context(), "it is not base 64"))?;
        let text = String::from_utf8(bytes).map_err(|error| StoreError::format(context(), error))?;
        self.public_host_key = Some(text).filter(|text| !text.is_empty());
        Ok(())
    }

    /// Whether commands are run on this machine.
    pub fn is_fake(&self) -> bool {
        self.host == "localhost" && self.user.is_none() && self.port.is_none()
    }

    fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }

    fn common_arguments(&self, known_hosts: Option<&tempfile::NamedTempFile>) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        if let Some(key) = &self.key {
            arguments.extend(["-i".into(), key.into()]);
        }
        if let Some(file) = known_hosts {
            let mut option = OsString::from("-oUserKnownHostsFile=");
            option.push(file.path());
            arguments.push(option);
        }
        if self.compress {
            arguments.push("-C".into());
        }
        if let Some(port) = self.port {
            arguments.push(format!("-p{port}").into());
        }
        // How we learn that the login worked; it runs here, not there.
        arguments.extend(["-oPermitLocalCommand=yes".into(), "-oLocalCommand=echo started".into()]);
        arguments
    }

    /// Runs a command there.
    ///
    /// # Errors
    /// When `ssh` can't be run or could not log in; what it says about that is on standard error.
    pub fn run(&self, command: &[String]) -> Result<Transport> {
        let spawning = |error| StoreError::io("running a command over ssh on", self.host.clone(), error);
        let mut known_hosts = None;
        let mut run = if self.is_fake() {
            let (program, arguments) =
                command.split_first().ok_or_else(|| StoreError::format("running a command", "it is empty"))?;
            let mut run = Command::new(program);
            run.args(arguments);
            run
        } else {
            if let Some(key) = &self.public_host_key {
                let mut file = tempfile::NamedTempFile::new().map_err(spawning)?;
                writeln!(file, "{} {key}", self.host).and_then(|()| file.flush()).map_err(spawning)?;
                known_hosts = Some(file);
            }
            let mut run = Command::new("ssh");
            run.arg(self.destination()).arg("-x").args(self.common_arguments(known_hosts.as_ref())).arg("--");
            run.args(command).env("SHELL", "/bin/sh");
            run
        };
        if let Some(stderr) = &self.stderr {
            run.stderr(Stdio::from(stderr.try_clone().map_err(spawning)?));
        }
        let has_master = !self.is_fake() && self.has_master(known_hosts.as_ref());
        let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(spawning)?;
        let sink = child.stdin.take().expect("it is a pipe");
        let mut source = child.stdout.take().expect("it is a pipe");
        let child = Arc::new(Mutex::new(child));
        let guard = ChildGuard { child: Arc::clone(&child), _known_hosts: known_hosts };
        if !self.is_fake() && !has_master {
            let mut line = Vec::new();
            let mut byte = [0];
            while line.len() < 4096 && source.read(&mut byte).map_err(spawning)? == 1 && byte[0] != b'\n' {
                line.push(byte[0]);
            }
            if line != b"started" {
                let message = format!("failed to start SSH connection to '{}'", self.host);
                return Err(StoreError::Remote { source: crate::wire::log::RemoteError::new(message) });
            }
        }
        Ok(Transport {
            source: Box::new(source),
            sink: Box::new(sink),
            // A child may write for long before it looks for the end of its input.
            hang_up: Arc::new(move || drop(child.lock().unwrap_or_else(PoisonError::into_inner).kill())),
            guard: Some(Box::new(guard)),
        })
    }

    /// Whether a connection is open already that `ssh` would share: then it does not log in anew.
    fn has_master(&self, known_hosts: Option<&tempfile::NamedTempFile>) -> bool {
        let mut check = Command::new("ssh");
        check.args(["-O", "check"]).arg(self.destination()).args(self.common_arguments(known_hosts));
        let check = check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        check.status().is_ok_and(|status| status.success())
    }
}

/// Ends with its streams; is ended if it does not.
struct ChildGuard {
    child: Arc<Mutex<Child>>,
    _known_hosts: Option<tempfile::NamedTempFile>,
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
            match ended {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Runs one command on a machine for each connection.
#[derive(Debug, Clone)]
pub struct SshConnector {
    /// The machine.
    pub host: SshHost,
    /// The command and its arguments, as `nix-daemon --stdio`.
    pub command: Vec<String>,
    /// The address that names the store to users.
    pub address: String,
}

impl Connector for SshConnector {
    fn connect(&self) -> Result<Transport> {
        self.host.run(&self.command)
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// Splits a command line as a shell does, without its expansions: blanks separate, quotes and backslashes protect.
///
/// # Errors
/// When a quote does not end.
pub fn split_shell_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(StoreError::format("splitting a command line", "unterminated quote in shell string"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_of_ssh() {
        let check = |text: &str, user: Option<&str>, host: &str, port: Option<u16>, is_fake: bool| {
            let parsed = SshHost::parse(text).unwrap();
            assert_eq!((parsed.user.as_deref(), parsed.host.as_str(), parsed.port), (user, host, port), "{text}");
            assert_eq!(parsed.is_fake(), is_fake, "{text}");
        };
        check("localhost", None, "localhost", None, true);
        check("me@localhost", Some("me"), "localhost", None, false);
        check("host:2222", None, "host", Some(2222), false);
        check("a@b@host", Some("a@b"), "host", None, false);
        check("[::1]:22", None, "::1", Some(22), false);
        check("[fe80::1]", None, "fe80::1", None, false);
        check("fe80::1", None, "fe80::1", None, false);
        for text in ["", "@host", "-oProxyCommand=x", "me@-oProxyCommand=x", "-me@host", "host:x", ":22"] {
            assert!(SshHost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shell_words() {
        let split = |text: &str| split_shell_words(text).unwrap();
        assert_eq!(split("  -p 2222\t-o 'a b' "), ["-p", "2222", "-o", "a b"]);
        assert_eq!(split(r#""a\"b" c\ d '' e'f'g"#), [r#"a"b"#, "c d", "", "efg"]);
        assert!(split_shell_words("'a").is_err());
    }
}
