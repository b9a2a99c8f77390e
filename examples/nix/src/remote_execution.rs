//! The setting `remote-execution`: builds on a server rather than on this machine. Only there with the feature of that name.

use std::sync::Arc;

use nixlang_build::{BuildOptions, Builder};
use nixlang_store::local::LocalStore;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// Returns what builds: this machine, or the server of the setting `remote-execution`.
pub(crate) fn builder(context: &Context, store: Arc<LocalStore>, options: BuildOptions) -> Outcome<Builder> {
    match context.settings.text("remote-execution") {
        "" => Ok(Builder::new(store, options)),
        address => on_server(address, store, options),
    }
}

#[cfg(not(feature = "remote-execution"))]
fn on_server(_: &str, _: Arc<LocalStore>, _: BuildOptions) -> Outcome<Builder> {
    Err(Failure::new("the setting 'remote-execution' needs a command line that was built with the feature 'remote-execution'"))
}

#[cfg(feature = "remote-execution")]
fn on_server(address: &str, store: Arc<LocalStore>, options: BuildOptions) -> Outcome<Builder> {
    use nixlang_build::executor::local::LocalExecutor;
    use nixlang_build::executor::remote_execution::{RemoteExecutor, RemoteOptions};

    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    let mut remote = RemoteOptions::new(base);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let wrong = || Failure::Usage(format!("setting 'remote-execution': '{parameter}' makes no sense"));
        match parameter.split_once('=').ok_or_else(wrong)? {
            ("instance", name) => remote.instance = name.to_owned(),
            ("cores", number) => remote.cores = number.parse().map_err(|_| wrong())?,
            ("token-file", path) => remote.token = Some(std::fs::read_to_string(path)?.trim().to_owned()),
            _ => return Err(wrong()),
        }
    }
    let local = Arc::new(LocalExecutor::new(options.helper.clone()));
    let executor = RemoteExecutor::new(remote, local).map_err(|error| Failure::from_error(&error))?;
    Ok(Builder::with_executor(store, options, Arc::new(executor)))
}
