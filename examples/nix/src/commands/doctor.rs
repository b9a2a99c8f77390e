//! `config check`, also called `doctor`: is there one Nix in the path, do client and store speak the same protocol, is this
//! user trusted.

use std::collections::BTreeSet;

use nixlang_store::wire::version::{SERVE_LATEST, WORKER_LATEST};

use super::Invocation;
use crate::failure::{Failure, Outcome};
use crate::ui::{Ui, Verbosity};

/// Shows what was found; returns whether it is right.
fn report(ui: &Ui, result: Result<String, String>) -> bool {
    let (mark, text) = match &result {
        Ok(text) => ("[PASS]", text),
        Err(text) => ("[FAIL]", text),
    };
    ui.line(Verbosity::ERROR, &format!("{mark} {text}"));
    result.is_ok()
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    invocation.parse(|_, _| Ok(false), |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))))?;
    let context = invocation.context()?;
    let store = context.store.open()?;
    let address = store.address();
    let ui = &context.ui;
    ui.line(Verbosity::ERROR, &format!("Running checks against store uri: {address}"));
    let mut is_right = true;
    if store.capabilities().local_files {
        is_right &= report(ui, programs_in_path());
    }
    let service = context.store.service()?;
    let spoken = service.map(|service| service.protocol()).transpose()?.flatten().unwrap_or(WORKER_LATEST);
    let ours = if spoken.major == SERVE_LATEST.major { SERVE_LATEST } else { WORKER_LATEST };
    is_right &= report(ui, if spoken == ours {
        Ok("Client protocol matches store protocol.".to_owned())
    } else {
        Err(format!(
            "Warning: protocol version of this client does not match the store.\nWhile this is not necessarily a problem it's recommended to keep the client in\nsync with the daemon.\n\n\
             Client protocol: {ours}\nStore protocol: {spoken}\n"
        ))
    });
    let trust = match store.trusts_this_client()? {
        Some(true) => format!("You are trusted by store uri: {address}"),
        Some(false) => format!("You are not trusted by store uri: {address}"),
        None => format!("Store uri: {address} doesn't have a notion of trusted user"),
    };
    ui.line(Verbosity::ERROR, &format!("[INFO] {trust}"));
    Ok(if is_right { 0 } else { 2 })
}

/// Looks for `nix-env` in the path, by where it really is.
fn programs_in_path() -> Result<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = |dir: std::path::PathBuf| dir.join("nix-env").canonicalize().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let dirs: BTreeSet<_> = std::env::split_paths(&path).filter_map(real).collect();
    match dirs.len() {
        0 => Err("No nix-env found in PATH.".to_owned()),
        1 => Ok("PATH contains only one nix version.".to_owned()),
        _ => {
            let lines: Vec<String> = dirs.iter().map(|dir| format!("  {}\n", dir.display())).collect();
            Err(format!("Multiple versions of nix found in PATH:\n{}", lines.concat()))
        }
    }
}
