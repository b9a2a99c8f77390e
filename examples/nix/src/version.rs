//! What `--version` says: one line, and with `--verbose` also what this runs with and which files its settings come from.

use std::path::Path;

use nixlang_build::Helper;

use crate::commands::VERSION;
use crate::common::Common;
use crate::failure::Outcome;
use crate::settings::{system_file, user_files};
use crate::store_choice::StoreChoice;
use crate::ui::Verbosity;

/// Prints the version under the name that this was called as.
pub(crate) fn print(name: &str, common: Option<&Common>, helper: &Helper) -> Outcome<()> {
    println!("{name} (Nix) {VERSION}");
    let Some(common) = common.filter(|common| common.verbosity > Verbosity::INFO) else { return Ok(()) };
    let settings = &common.settings;
    let platforms: Vec<String> = crate::building::options_of(settings, helper)?.extra_platforms.into_iter().collect();
    println!("System type: {}", settings.system());
    println!("Additional system types: {}", platforms.join(", "));
    println!("Features: gc, signed-caches");
    println!("System configuration file: {:?}", system_file());
    let files: Vec<String> = user_files().iter().map(|file| file.display().to_string()).collect();
    println!("User configuration files: {}", files.join(":"));
    println!("Store directory: {}", StoreChoice::new(settings)?.store_dir().as_str());
    let state = std::env::var_os("NIX_STATE_DIR").filter(|dir| !dir.is_empty());
    println!("State directory: {:?}", state.as_deref().map_or(Path::new("/nix/var/nix"), Path::new));
    Ok(())
}
