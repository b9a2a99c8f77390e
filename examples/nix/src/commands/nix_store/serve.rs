//! `nix-store --serve [--write]`: answers one client of `ssh://` on standard input and output.

use nixlang_store::daemon::DaemonService;
use nixlang_store::serve::{ServeServerOptions, serve_commands};

use super::Call;
use crate::daemon_service::LocalService;
use crate::failure::{Failure, Outcome};
use crate::remote_log::RemoteLog;
use crate::ui::Verbosity;

pub(super) fn run(call: &Call) -> Outcome<u8> {
    call.only(&["--write"])?;
    if !call.words.is_empty() {
        return Err(Failure::Usage("no arguments expected".into()));
    }
    let store = call.context.store.any()?;
    let own = LocalService::new(call.context.clone());
    let service: &dyn DaemonService = match call.context.store.service()? {
        Some(service) => &**service,
        None => &own,
    };
    let mut ui = call.context.ui;
    ui.verbosity = Verbosity::ERROR;
    let log = RemoteLog::new(ui, true, true);
    let options = ServeServerOptions {
        may_write: call.has(&["--write"]),
        set_build_options: &|options| {
            // For a build the client has sent what it needs, and keeps the log; only when it asks which paths are valid may
            // it have asked for substitutes.
            for (name, value) in [("keep-build-log", "false"), ("substitute", "false"), ("builders-use-substitutes", "false")] {
                own.set(name, value);
            }
            own.set("max-silent-time", &options.max_silent_time.to_string());
            own.set("timeout", &options.timeout.to_string());
            own.set("max-build-log-size", &options.max_log_size.to_string());
            own.set("keep-failed", if options.keep_failed { "true" } else { "false" });
        },
        log: &log,
    };
    crate::commands::daemon::cancel_when_the_client_leaves(&call.context, std::io::stdin());
    serve_commands(&*store, service, &options, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(0)
}
