//! Settings: a name and a text each, with the reference's names, defaults and order of sources. Nothing is global: a [`Settings`] is made once
//! in `main` and handed down.

mod file;
mod load;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use load::{config_home, data_home, home, load, state_home, system_file, user_files};

/// What a setting's text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true`, `yes`, `1` or `false`, `no`, `0`.
    Bool,
    /// A number, possibly with one of the suffixes K, M, G, T.
    Integer,
    /// Words between blanks. `extra-NAME` appends.
    List,
    /// As a list, but sorted and without repetitions.
    Set,
    /// Anything.
    Text,
}

/// A setting that there is.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) aliases: &'static [&'static str],
}

/// Why a setting was not set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingError {
    /// There is none of that name.
    #[error("unknown setting '{name}'")]
    Unknown { name: String },
    /// The text is not of its kind.
    #[error("{what} setting '{name}' has invalid value '{value}'")]
    Value { what: &'static str, name: &'static str, value: String },
    /// A line of a file is not `name = value`.
    #[error("syntax error in configuration line '{line}' in \"{file}\"")]
    Syntax { line: String, file: String },
    /// An included file is not there.
    #[error("file \"{file}\" included from \"{from}\" not found")]
    Include { file: String, from: String },
}

impl Setting {
    const fn new(name: &'static str, kind: Kind, default: &'static str, aliases: &'static [&'static str]) -> Self {
        Setting { name, kind, default, aliases }
    }

    /// Returns `value` in the form in which it is kept.
    fn check(&self, value: &str) -> Result<String, SettingError> {
        let invalid = |what| SettingError::Value { what, name: self.name, value: value.to_owned() };
        match self.kind {
            Kind::Bool => parse_bool(value).map(|value| value.to_string()).ok_or_else(|| invalid("Boolean")),
            Kind::Integer => parse_integer(value).map(|value| value.to_string()).ok_or_else(|| invalid("Integer")),
            Kind::List => Ok(value.split_whitespace().collect::<Vec<_>>().join(" ")),
            Kind::Set => Ok(self.sorted(value)),
            Kind::Text => Ok(value.to_owned()),
        }
    }

    /// Returns the words of a set in order, with those that others imply.
    fn sorted(&self, value: &str) -> String {
        let mut words: BTreeSet<&str> = value.split_whitespace().collect();
        if self.name == "experimental-features" && words.contains("flakes") {
            words.insert("fetch-tree");
        }
        words.into_iter().collect::<Vec<_>>().join(" ")
    }
}

fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Returns a number that may have a binary suffix.
pub(crate) fn parse_integer(value: &str) -> Option<u64> {
    let shift = match value.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        b'T' => 40,
        _ => return value.parse().ok(),
    };
    value[..value.len() - 1].parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// All settings with their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Names that were set and are none.
    pub(crate) unknown: BTreeSet<String>,
}

impl Settings {
    /// Returns a setting and whether `name` means "append" (`extra-…`).
    pub(crate) fn find(name: &str) -> Option<(&'static Setting, bool)> {
        let plain = |name: &str| table::SETTINGS.iter().find(|setting| setting.name == name || setting.aliases.contains(&name));
        match plain(name) {
            Some(setting) => Some((setting, false)),
            None => plain(name.strip_prefix("extra-")?).filter(|setting| matches!(setting.kind, Kind::List | Kind::Set)).map(|setting| (setting, true)),
        }
    }

    /// Sets a value, or appends to it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let (setting, append) = Settings::find(name).ok_or_else(|| SettingError::Unknown { name: name.to_owned() })?;
        let mut value = setting.check(value)?;
        if append {
            let old = self.text(setting.name);
            value = setting.check(&format!("{old} {value}"))?;
        }
        self.values.insert(setting.name, value);
        Ok(())
    }

    /// Sets a value; remembers the name if there is no such setting.
    pub(crate) fn set_or_remember(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        match self.set(name, value) {
            Err(SettingError::Unknown { name }) => {
                self.unknown.insert(name);
                Ok(())
            }
            other => other,
        }
    }

    /// Returns a value as text. `name` must be one of the table.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(value) => value,
            None => {
                let found = table::SETTINGS.iter().find(|setting| setting.name == name);
                found.unwrap_or_else(|| unreachable!("'{name}' is asked for and not in the table of settings")).default
            }
        }
    }

    /// Returns the experimental feature that a setting belongs to.
    pub(crate) fn feature(name: &str) -> Option<&'static str> {
        matches!(name, "accept-flake-config" | "commit-lock-file-summary" | "flake-registry" | "use-registries").then_some("flakes")
    }

    /// Returns whether a setting counts: what belongs to an experimental feature does only with that.
    pub(crate) fn is_available(&self, name: &str) -> bool {
        Settings::feature(name).is_none_or(|feature| self.list("experimental-features").any(|enabled| enabled == feature))
    }

    /// Forgets the settings that don't count. Returns which.
    pub(crate) fn drop_unavailable(&mut self) -> Vec<(&'static str, &'static str)> {
        let dropped: Vec<_> = self.values.keys().filter(|name| !self.is_available(name)).filter_map(|name| Some((*name, Settings::feature(name)?))).collect();
        for (name, _) in &dropped {
            self.values.remove(name);
        }
        dropped
    }

    /// Returns whether a setting was set by anybody.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns a boolean setting.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        parse_bool(self.text(name)) == Some(true)
    }

    /// Returns a number.
    pub(crate) fn integer(&self, name: &str) -> u64 {
        parse_integer(self.text(name)).unwrap_or(0)
    }

    /// Returns the words of a list.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.text(name).split_whitespace()
    }

    /// Returns all settings, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static Setting, &str)> {
        table::SETTINGS.iter().map(|setting| (setting, self.text(setting.name)))
    }

    /// Returns the system that builds are for.
    pub(crate) fn system(&self) -> &str {
        self.text("system")
    }

    /// Returns what `builtins.currentSystem` is.
    pub(crate) fn eval_system(&self) -> &str {
        match self.text("eval-system") {
            "" => self.system(),
            system => system,
        }
    }
}

impl nixlang_store::configuration::Configuration for Settings {
    fn text(&self, name: &str) -> std::borrow::Cow<'_, str> {
        match Settings::find(name) {
            Some((setting, _)) => Settings::text(self, setting.name).into(),
            None => "".into(),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        Settings::is_set(self, name)
    }

    fn names(&self) -> Vec<&str> {
        table::SETTINGS.iter().map(|setting| setting.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("show-trace", "yes"), Ok(()));
        assert!(settings.is_on("show-trace"));
        let error = settings.set("show-trace", "perhaps").expect_err("no boolean");
        assert_eq!(error.to_string(), "Boolean setting 'show-trace' has invalid value 'perhaps'");
        assert_eq!(settings.set("gc-reserved-space", "2M"), Ok(()));
        assert_eq!(settings.integer("gc-reserved-space"), 2 << 20);
        assert!(settings.set("nonsense", "1").is_err());
    }

    #[test]
    fn aliases_and_lists() {
        let mut settings = Settings::default();
        settings.set("build-cores", "3").expect("an alias");
        assert_eq!(settings.integer("cores"), 3);
        settings.set("experimental-features", "flakes").expect("a list");
        settings.set("extra-experimental-features", "nix-command  ca-derivations").expect("a list");
        assert_eq!(settings.text("experimental-features"), "ca-derivations fetch-tree flakes nix-command");
        assert!(settings.set("extra-cores", "3").is_err());
    }
}
