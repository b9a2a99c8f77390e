//! `nix-daemon`: answers clients at a socket, each by a process of its own, or one client on standard input and output.
//!
//! A process per client, because temporary roots belong to a process: they go when their client goes. It is this program
//! executed anew with the connection as its standard input and output. The surprising thing: who is trusted is decided by
//! the process that accepts, which sees the credentials; the other one is told.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nixlang_store::daemon::{DaemonService, ServerOptions, serve};
use rustix::event::{PollFd, PollFlags};

use super::{Context, Invocation, VERSION};
use crate::daemon_service::LocalService;
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;
use nixlang_store::open::daemon_socket;
use crate::ui::Verbosity;

/// What the process for one client is called with; nobody else uses these.
const ANSWER_TRUSTED: &str = "--answer-trusted";
const ANSWER_UNTRUSTED: &str = "--answer-untrusted";

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut stdio = false;
    let mut is_child = false;
    let mut trust: Option<bool> = None;
    let mut socket = None;
    invocation.parse(
        |flag, args| {
            match flag {
                "--daemon" | "--process-ops" => {}
                "--stdio" => stdio = true,
                "--force-trusted" => trust = Some(true),
                "--force-untrusted" => trust = Some(false),
                "--default-trust" => trust = None,
                "--socket-path" => socket = Some(args.value(flag)?.into()),
                ANSWER_TRUSTED => (stdio, is_child, trust) = (true, true, Some(true)),
                ANSWER_UNTRUSTED => (stdio, is_child, trust) = (true, true, Some(false)),
                _ => return Ok(false),
            }
            Ok(true)
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    let context = invocation.context()?;
    if stdio {
        if is_child {
            // A session of its own: signals for the daemon are not for this.
            let _ = rustix::process::setsid();
        }
        // Whoever can run this could use the store as well.
        return answer(&context, trust.unwrap_or(true));
    }
    let socket = socket.unwrap_or_else(|| daemon_socket(&context.settings, context.store.state_dir().as_ref()));
    listen(&context, &socket, trust)
}

/// Answers the client on standard input and output.
fn answer(context: &Arc<Context>, is_trusted: bool) -> Outcome<u8> {
    let store = context.store.any()?;
    let own;
    let service: &dyn DaemonService = match context.store.service()? {
        Some(service) => &**service,
        None => {
            own = LocalService::new(Arc::clone(context));
            &own
        }
    };
    let options = ServerOptions { version: VERSION.to_owned(), is_trusted, is_recursive: false };
    cancel_when_the_client_leaves(context, std::io::stdin());
    serve(&*store, service, &options, Box::new(std::io::stdin()), Box::new(std::io::stdout()))?;
    Ok(0)
}

/// Stops builds when nobody waits for them any more.
pub(crate) fn cancel_when_the_client_leaves(context: &Arc<Context>, connection: impl AsFd + Send + 'static) {
    let cancel = context.cancel.clone();
    std::thread::spawn(move || {
        let mut poll = [PollFd::new(&connection, PollFlags::empty())];
        // Nothing is asked for, so it wakes up only when the other side has hung up.
        if rustix::event::poll(&mut poll, None).is_ok() {
            cancel.cancel();
        }
    });
}

/// Accepts clients until a signal comes.
fn listen(context: &Arc<Context>, socket: &std::path::Path, trust: Option<bool>) -> Outcome<u8> {
    let listener = match listenfd::ListenFd::from_env().take_unix_listener(0) {
        Ok(Some(listener)) => listener,
        _ => bind(socket)?,
    };
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::spawn(move || {
        // Clients that are being answered are not disturbed.
        if let Some(signal) = signals.forever().next() {
            std::process::exit(if signal == signal_hook::consts::SIGTERM { 0 } else { 128 + signal });
        }
    });
    // Opens the store now, so that what is wrong with it is said now.
    context.store.open()?;
    let program = std::env::current_exe()?;
    let arguments: Vec<OsString> = std::env::args_os().collect();
    std::env::set_current_dir("/")?;
    for stream in listener.incoming() {
        let accepted = stream.map_err(Failure::from).and_then(|stream| accept(context, &program, &arguments, stream, trust));
        match accepted {
            Ok(()) => {}
            Err(Failure::Shown(diagnostic)) => context.ui.show(&diagnostic),
            Err(failure) => return Err(failure),
        }
    }
    Ok(0)
}

fn bind(socket: &std::path::Path) -> Outcome<UnixListener> {
    let failed = |action: &str, error: std::io::Error| Failure::new(format!("{action} socket '{}': {}", socket.display(), crate::failure::plain(&error)));
    if let Some(parent) = socket.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|error| failed("making a directory for", error))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("removing", error)),
        _ => {}
    }
    // The address has room for 108 bytes only; a longer path is entered by its directory.
    let listener = if socket.as_os_str().len() < 100 {
        UnixListener::bind(socket)
    } else {
        let parent = socket.parent().unwrap_or(std::path::Path::new("."));
        std::fs::File::open(parent).and_then(|directory| {
            use std::os::fd::AsRawFd;
            let through = std::path::PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
            UnixListener::bind(through.join(socket.file_name().unwrap_or_default()))
        })
    };
    let listener = listener.map_err(|error| failed("cannot bind to", error))?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o666)).map_err(|error| failed("changing the mode of", error))?;
    Ok(listener)
}

/// Starts a process that answers a client, if the client may connect.
fn accept(context: &Context, program: &std::path::Path, arguments: &[OsString], stream: UnixStream, trust: Option<bool>) -> Outcome<()> {
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(std::io::Error::from)?;
    let (user, is_trusted) = match trust {
        Some(is_trusted) => ("<unknown>".to_owned(), is_trusted),
        None => authenticate(&context.settings, peer.uid.as_raw(), peer.gid.as_raw())?,
    };
    let note = if is_trusted { " (trusted)" } else { "" };
    context.ui.line(Verbosity::INFO, &format!("accepted connection from pid {}, user {user}{note}", peer.pid.as_raw_nonzero()));
    let [own_name, rest @ ..] = arguments else { return Err(Failure::new("this process has no name")) };
    let input = OwnedFd::from(stream.try_clone()?);
    let mut command = Command::new(program);
    command.arg0(own_name).args(rest).arg(if is_trusted { ANSWER_TRUSTED } else { ANSWER_UNTRUSTED });
    let mut child = command.stdin(Stdio::from(input)).stdout(Stdio::from(OwnedFd::from(stream))).spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Returns who a client is and whether it is trusted.
fn authenticate(settings: &Settings, uid: u32, gid: u32) -> Outcome<(String, bool)> {
    let user = uzers::get_user_by_uid(uid).map_or(uid.to_string(), |user| user.name().to_string_lossy().into_owned());
    let group = uzers::get_group_by_gid(gid).map_or(gid.to_string(), |group| group.name().to_string_lossy().into_owned());
    let matches = |setting: &str| settings.list(setting).any(|pattern| is_matched(pattern, &user, &group));
    let is_trusted = matches("trusted-users");
    let is_builder = !group.is_empty() && group == settings.text("build-users-group");
    if is_builder || !(is_trusted || matches("allowed-users")) {
        return Err(Failure::new(format!("user '{user}' is not allowed to connect to the Nix daemon")));
    }
    Ok((user, is_trusted))
}

/// Tells whether a name, a group behind `@`, or `*` means this user.
fn is_matched(pattern: &str, user: &str, primary_group: &str) -> bool {
    use uzers::os::unix::GroupExt;
    match pattern.strip_prefix('@') {
        None => pattern == "*" || pattern == user,
        Some(group) if group == primary_group => true,
        Some(group) => uzers::get_group_by_name(group).is_some_and(|group| group.members().iter().any(|member| member == user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_connect() {
        let check = |trusted: &str, allowed: &str, expected: Option<bool>| {
            let mut settings = Settings::default();
            settings.set("trusted-users", trusted).expect("a setting");
            settings.set("allowed-users", allowed).expect("a setting");
            // Nobody has these numbers, so they are their own names.
            let found = authenticate(&settings, 3_999_999_991, 3_999_999_992).ok();
            assert_eq!(found.map(|(_, is_trusted)| is_trusted), expected, "{trusted}; {allowed}");
        };
        check("root", "*", Some(false));
        check("root", "root", None);
        check("root 3999999991", "", Some(true));
        check("root", "3999999991", Some(false));
        check("@3999999992", "", Some(true));
        check("root", "@3999999992", Some(false));
        check("root", "@nosuchgroup", None);
    }
}
