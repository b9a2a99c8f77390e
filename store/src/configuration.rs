//! [`Configuration`]: settings by their names, as whatever has them offers them to what opens stores, fetches and builds.
//!
//! It exists so that a command line, a daemon and a library in somebody's program read one meaning out of `nix.conf`, each keeping its settings as it
//! likes. The surprising thing: variables of the environment are part of it, because half of the settings have one that goes before them.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;

/// Settings with the reference's names, and the environment that completes them.
pub trait Configuration: Send + Sync {
    /// Returns the text of a setting: its default if nobody set it, empty if there is no such setting.
    fn text(&self, name: &str) -> Cow<'_, str>;

    /// Returns whether somebody has set it, be it to its default.
    fn is_set(&self, name: &str) -> bool;

    /// Returns the names of all settings that there are.
    fn names(&self) -> Vec<&str>;

    /// Returns a variable of the environment, if it is set and not empty; of this process unless implemented otherwise.
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name).filter(|value| !value.is_empty())
    }

    /// Returns whether a switch is on.
    fn is_on(&self, name: &str) -> bool {
        matches!(&*self.text(name), "true" | "yes" | "1")
    }

    /// Returns a number, which may have one of the suffixes K, M, G, T; 0 if it is none.
    fn integer(&self, name: &str) -> u64 {
        let text = self.text(name);
        let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            Some(b'T') => (&text[..text.len() - 1], 40),
            _ => (&*text, 0),
        };
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).unwrap_or(0)
    }

    /// Returns the words of a list.
    fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split_whitespace().map(str::to_owned).collect()
    }

    /// Returns a setting's text as a path, if it is not empty.
    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(|text| PathBuf::from(&*text))
    }

    /// Returns a variable of the environment as a path.
    fn variable_path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }

    /// Returns the user's home directory.
    fn home(&self) -> PathBuf {
        self.variable_path("HOME").unwrap_or_else(|| PathBuf::from("/"))
    }

    /// Returns where caches are: `~/.cache/nix`, or what the environment says instead.
    fn cache_dir(&self) -> PathBuf {
        let xdg = || self.variable_path("XDG_CACHE_HOME").unwrap_or_else(|| self.home().join(".cache")).join("nix");
        self.variable_path("NIX_CACHE_HOME").unwrap_or_else(xdg)
    }

    /// Returns the user's directory of configuration: `~/.config/nix`, or what the environment says instead.
    fn user_config_dir(&self) -> PathBuf {
        let xdg = || self.variable_path("XDG_CONFIG_HOME").unwrap_or_else(|| self.home().join(".config")).join("nix");
        self.variable_path("NIX_CONFIG_HOME").unwrap_or_else(xdg)
    }

    /// Returns the system's directory of configuration, `/etc/nix`.
    fn config_dir(&self) -> PathBuf {
        self.variable_path("NIX_CONF_DIR").unwrap_or_else(|| PathBuf::from("/etc/nix"))
    }
}
