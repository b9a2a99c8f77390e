//! From settings to the options of an evaluation: the search path, and what else the reference takes from its configuration.

use nixlang::eval::EvalOptions;
use nixlang::flake::FlakeOptions;

use crate::settings::Settings;

/// Returns the options that settings stand for. `lookup_path` comes before the search path of environment and settings.
pub(crate) fn options(settings: &Settings, lookup_path: &[String], read_write: bool) -> EvalOptions {
    let pure = settings.is_on("pure-eval");
    let mut entries = lookup_path.to_vec();
    if !pure {
        entries.extend(match std::env::var("NIX_PATH") {
            Ok(text) => split_search_path(&text),
            Err(_) => settings.list("nix-path"),
        });
    }
    let absolute = |path: &str| match path.contains("://") {
        true => path.to_owned(),
        false => std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned()),
    };
    let search_path = entries
        .iter()
        .map(|entry| match entry.split_once('=') {
            Some((prefix, path)) => (prefix.to_owned(), absolute(path)),
            None => (String::new(), absolute(entry)),
        })
        .collect();
    let system = match settings.text("eval-system") {
        system if system.is_empty() => settings.text("system"),
        system => system,
    };
    EvalOptions {
        pure,
        max_call_depth: u32::try_from(settings.integer("max-call-depth")).unwrap_or(u32::MAX),
        system,
        search_path,
        home: std::env::var("HOME").ok(),
        experimental_features: settings.list("experimental-features"),
        trace_verbose: settings.is_on("trace-verbose"),
        abort_on_warn: settings.is_on("abort-on-warn"),
        show_trace: settings.is_on("show-trace"),
        read_write,
        trust_forge_archives: settings.is_on("trust-tarballs-from-git-forges"),
        flakes: FlakeOptions {
            use_registries: settings.is_on("use-registries"),
            allow_dirty: settings.is_on("allow-dirty"),
            allow_dirty_locks: settings.is_on("allow-dirty-locks"),
            warn_dirty: settings.is_on("warn-dirty"),
            commit_lock_file_summary: settings.text("commit-lock-file-summary"),
        },
        ..EvalOptions::default()
    }
}

/// Splits at colons, but not in addresses.
fn split_search_path(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut is_address = false;
    for part in text.split(':') {
        let scheme = part.rsplit('=').next().unwrap_or_default();
        match entries.last_mut().filter(|_| is_address || part.starts_with("//")) {
            Some(last) => {
                last.push(':');
                last.push_str(part);
                is_address = false;
            }
            None => {
                entries.push(part.to_owned());
                is_address = matches!(scheme, "flake" | "channel");
            }
        }
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_paths_are_split_at_colons_that_are_not_in_addresses() {
        for (text, expected) in [("", &[][..]), ("a:b=/c", &["a", "b=/c"]), ("x=https://h/y:z", &["x=https://h/y", "z"]), ("n=flake:nixpkgs:o", &["n=flake:nixpkgs", "o"])] {
            assert_eq!(split_search_path(text), expected, "{text}");
        }
    }
}
