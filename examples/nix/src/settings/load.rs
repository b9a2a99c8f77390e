//! Where settings come from, weakest first: the system's nix.conf, the user's, `NIX_CONFIG`, the command line.

use std::path::{Path, PathBuf};

use super::{SettingError, Settings, file};

/// Returns an environment variable that is set and not empty.
fn env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the user's home directory.
pub(crate) fn home() -> PathBuf {
    env("HOME").unwrap_or_else(|| PathBuf::from("/"))
}

/// Returns where the user's data is.
pub(crate) fn data_home() -> PathBuf {
    env("XDG_DATA_HOME").unwrap_or_else(|| home().join(".local/share"))
}

/// Returns where the user's state is.
pub(crate) fn state_home() -> PathBuf {
    env("XDG_STATE_HOME").unwrap_or_else(|| home().join(".local/state"))
}

/// Returns the system's directory of settings.
fn config_dir() -> PathBuf {
    env("NIX_CONF_DIR").unwrap_or_else(|| PathBuf::from("/etc/nix"))
}

/// Returns the system's file of settings.
pub(crate) fn system_file() -> PathBuf {
    config_dir().join("nix.conf")
}

/// Returns the user's directory of settings.
pub(crate) fn config_home() -> PathBuf {
    env("NIX_CONFIG_HOME").unwrap_or_else(|| env("XDG_CONFIG_HOME").unwrap_or_else(|| home().join(".config")).join("nix"))
}

/// Returns the user's files, strongest first.
pub(crate) fn user_files() -> Vec<PathBuf> {
    if let Some(files) = std::env::var_os("NIX_USER_CONF_FILES") {
        return std::env::split_paths(&files).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    let own = config_home();
    let others = std::env::var_os("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    std::iter::once(own).chain(std::env::split_paths(&others).map(|dir| dir.join("nix"))).map(|dir| dir.join("nix.conf")).collect()
}

/// Returns the settings of the environment that this process runs in.
pub(crate) fn load() -> Result<Settings, SettingError> {
    let mut settings = Settings::default();
    settings.set("system", &host_system())?;
    let mut files = user_files();
    files.push(system_file());
    for path in files.iter().rev() {
        if let Ok(text) = std::fs::read_to_string(path) {
            file::apply(&mut settings, &text, path)?;
        }
    }
    if let Ok(text) = std::env::var("NIX_CONFIG") {
        file::apply(&mut settings, &text, Path::new("NIX_CONFIG"))?;
    }
    if let Ok(path) = std::env::var("NIX_REMOTE") {
        settings.set("store", &path)?;
    }
    if std::env::var("NIX_ABORT_ON_WARN").is_ok_and(|value| matches!(value.as_str(), "1" | "true" | "yes")) {
        settings.set("abort-on-warn", "true")?;
    }
    Ok(settings)
}

/// Returns the name of this machine's kind.
fn host_system() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = match std::env::consts::ARCH {
        "x86" => "i686",
        other => other,
    };
    format!("{arch}-{os}")
}
