//! `nixlang`: a full Nix command line on top of the crates `nixlang`, `nixlang-store` and `nixlang-build`, as an example of embedding them.
//!
//! One program, many names: `nixlang WORD …` has the words of the new command line, `nixlang nix-build …` (or a link named `nix-build`) those of
//! the classic ones. `commands.rs` has the table; each command is a file below `commands/`.
//!
//! The surprising part: builds run under this very program, executed anew, so `helper_main` comes before anything else.

mod args;
mod building;
mod cancel;
mod commands;
mod common;
mod debugging;
mod daemon_service;
mod derivations;
mod dev_env;
mod evaluation;
mod failure;
mod fetch;
mod flakes;
mod host;
mod installables;
mod observation;
mod json_log;
mod profiles;
mod progress;
mod remote_log;
mod repair;
mod realising;
mod remote_execution;
mod roots;
mod settings;
mod shebang;
mod start;
mod store_choice;
mod store_paths;
mod ui;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let helper = nixlang_build::helper_main();
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    ExitCode::from(commands::run(helper, &program, arguments))
}
