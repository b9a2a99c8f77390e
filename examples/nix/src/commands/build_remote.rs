//! `__build-remote VERBOSITY`: what another Nix starts as its build hook. Nobody else calls it.
//!
//! The other Nix sends its settings, in which the machines are, and then derivations; see `Builder::serve_hook`. The output of a build goes
//! to descriptor 4, everything else to standard error.

use std::fs::File;
use std::io::BufReader;
use std::sync::Mutex;

use nixlang_build::{HookStreams, hook_message, read_hook_settings};

use super::Invocation;
use crate::building::{builder, options_of};
use crate::failure::{Failure, Outcome};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    invocation.parse(|_, _| Ok(false), |_, _| Ok(()))?;
    let mut offers = BufReader::new(std::io::stdin());
    let settings = read_hook_settings(&mut offers).map_err(|error| Failure::from_error(&error))?;
    for (name, value) in &settings {
        // Settings that are not there, or not for this.
        let _ = invocation.common.settings.set(name, value);
    }
    // What the other one does not do itself is no business of this one.
    invocation.common.settings.set("post-build-hook", "")?;
    let context = invocation.context()?;
    let log = File::options().append(true).open("/proc/self/fd/4");
    let log = log.or_else(|_| File::options().append(true).open("/dev/null"))?;
    let options = options_of(&context.settings, &context.helper)?;
    let builder = builder(&context, &context.settings, options)?;
    let streams = HookStreams { offers: &mut offers, answers: &mut std::io::stderr(), log: &Mutex::new(log) };
    match builder.serve_hook(streams, &context.cancel.token()) {
        Ok(()) => Ok(0),
        Err(error) => {
            let message = format!("error: {}", Failure::from_error(&error).message());
            eprint!("{}", hook_message(0, &message));
            Ok(1)
        }
    }
}
