//! Settings by name, as the Nix C API and `nixlang_config` know them: the reference's names and defaults, and nix.conf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names and defaults of the reference (2.34), whether or not they mean something here; `extra-NAME` appends to those that are lists (`*`).
const KNOWN: &[(&str, &str)] = &[
    ("abort-on-warn", "false"),
    ("accept-flake-config", "false"),
    ("*access-tokens", ""),
    ("allow-dirty", "true"),
    ("allow-dirty-locks", "false"),
    ("allow-import-from-derivation", "true"),
    ("allow-new-privileges", "false"),
    ("allow-symlinked-store", "false"),
    ("allow-unsafe-native-code-during-evaluation", "false"),
    ("*allowed-impure-host-deps", ""),
    ("*allowed-uris", ""),
    ("*allowed-users", "*"),
    ("always-allow-substitutes", "false"),
    ("auto-allocate-uids", "false"),
    ("auto-optimise-store", "false"),
    ("bash-prompt", ""),
    ("bash-prompt-prefix", ""),
    ("bash-prompt-suffix", ""),
    ("build-dir", ""),
    ("*build-hook", ""),
    ("build-poll-interval", "5"),
    ("build-users-group", ""),
    ("builders", "@/etc/nix/machines"),
    ("builders-use-substitutes", "false"),
    ("commit-lock-file-summary", ""),
    ("compress-build-log", "true"),
    ("connect-timeout", "15"),
    ("cores", "0"),
    ("debugger-on-trace", "false"),
    ("debugger-on-warn", "false"),
    ("diff-hook", ""),
    ("download-attempts", "5"),
    ("download-buffer-size", "1048576"),
    ("download-speed", "0"),
    ("eval-attrset-update-layer-rhs-threshold", "16"),
    ("eval-cache", "true"),
    ("eval-profile-file", "nix.profile"),
    ("eval-profiler", "disabled"),
    ("eval-profiler-frequency", "99"),
    ("eval-system", ""),
    ("*experimental-features", ""),
    ("external-builders", ""),
    ("*extra-platforms", ""),
    ("fallback", "false"),
    ("filter-syscalls", "true"),
    ("*fixed-output-hosts", "*"),
    ("flake-registry", "https://channels.nixos.org/flake-registry.json"),
    ("fsync-metadata", "true"),
    ("fsync-store-paths", "false"),
    ("gc-reserved-space", "8388608"),
    ("*hashed-mirrors", ""),
    ("http-connections", "25"),
    ("http2", "true"),
    ("id-count", "8388608"),
    ("ignore-try", "false"),
    ("*ignored-acls", "security.csm security.selinux system.nfs4_acl"),
    ("impersonate-linux-26", "false"),
    ("*impure-env", ""),
    ("json-log-path", ""),
    ("keep-build-log", "true"),
    ("keep-derivations", "true"),
    ("keep-env-derivations", "false"),
    ("keep-failed", "false"),
    ("keep-going", "false"),
    ("keep-outputs", "false"),
    ("lint-absolute-path-literals", "ignore"),
    ("lint-short-path-literals", "ignore"),
    ("lint-url-literals", "ignore"),
    ("log-lines", "25"),
    ("max-build-cpu-percent", "0"),
    ("max-build-log-size", "0"),
    ("max-build-memory", "0"),
    ("max-build-processes", "0"),
    ("max-call-depth", "10000"),
    ("max-free", "9223372036854775807"),
    ("max-jobs", "1"),
    ("max-silent-time", "0"),
    ("max-substitution-jobs", "16"),
    ("min-free", "0"),
    ("min-free-check-interval", "5"),
    ("nar-buffer-size", "33554432"),
    ("narinfo-cache-meta-ttl", "604800"),
    ("narinfo-cache-negative-ttl", "3600"),
    ("narinfo-cache-positive-ttl", "2592000"),
    ("netrc-file", "/etc/nix/netrc"),
    ("*nix-path", ""),
    ("nix-shell-always-looks-for-shell-nix", "true"),
    ("nix-shell-shebang-arguments-relative-to-script", "true"),
    ("*plugin-files", ""),
    ("post-build-hook", ""),
    ("pre-build-hook", ""),
    ("preallocate-contents", "false"),
    ("print-missing", "true"),
    ("pure-eval", "false"),
    ("require-drop-supplementary-groups", "true"),
    ("require-sigs", "true"),
    ("restrict-eval", "false"),
    ("run-diff-hook", "false"),
    ("sandbox", "true"),
    ("sandbox-build-dir", "/build"),
    ("sandbox-dev-shm-size", "50%"),
    ("sandbox-fallback", "false"),
    ("*sandbox-paths", ""),
    ("sandbox-shell", ""),
    ("*secret-key-files", ""),
    ("show-trace", "false"),
    ("ssl-cert-file", ""),
    ("stalled-download-timeout", "300"),
    ("start-id", "872415232"),
    ("store", "auto"),
    ("substitute", "true"),
    ("*substituters", "https://cache.nixos.org/"),
    ("sync-before-registering", "false"),
    ("system", ""),
    ("*system-features", ""),
    ("tarball-ttl", "3600"),
    ("timeout", "0"),
    ("trace-function-calls", "false"),
    ("trace-import-from-derivation", "false"),
    ("trace-verbose", "false"),
    ("trust-tarballs-from-git-forges", "true"),
    ("*trusted-public-keys", "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="),
    ("*trusted-substituters", ""),
    ("*trusted-users", "root"),
    ("upgrade-nix-store-path-url", ""),
    ("use-case-hack", "false"),
    ("use-cgroups", "false"),
    ("use-registries", "true"),
    ("use-sqlite-wal", "true"),
    ("use-xdg-base-directories", "false"),
    ("user-agent-suffix", ""),
    ("warn-dirty", "true"),
    ("warn-large-path-threshold", "0"),
    ("warn-short-path-literals", "false"),
];

/// Why a setting was not set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingError {
    /// There is none of that name.
    #[error("unknown setting '{name}'")]
    Unknown { name: String },
    /// The text is not of its kind.
    #[error("{kind} setting '{name}' has invalid value '{value}'")]
    Value { kind: &'static str, name: String, value: String },
    /// A file can't be read, or a line of it isn't `name = value`.
    #[error("{file}: {reason}")]
    File { file: String, reason: String },
}

/// A set of settings: what was set, over the defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// Settings that a test suite registered, with their defaults.
    registered: BTreeMap<String, String>,
    /// Whether nobody has named files of configuration: then nobody elsewhere is asked for anything.
    is_embedded: bool,
}

/// Settings whose default asks others, which a program that embeds the library must have wanted first.
const ASKING_OTHERS: &[&str] = &["builders", "substituters"];

impl nixlang_store::configuration::Configuration for Settings {
    fn text(&self, name: &str) -> std::borrow::Cow<'_, str> {
        self.get(name).unwrap_or_default().into()
    }

    fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn names(&self) -> Vec<&str> {
        KNOWN.iter().map(|(name, _)| name.trim_start_matches('*')).collect()
    }
}

fn is_list(name: &str) -> bool {
    KNOWN.iter().any(|(known, _)| known.strip_prefix('*') == Some(name))
}

impl Settings {
    /// Returns the defaults for a program that embeds the library: as Nix's, but that there are no substituters and no other machines before it loads the
    /// configuration or sets them.
    pub(crate) fn embedded() -> Settings {
        Settings { is_embedded: true, ..Settings::default() }
    }

    fn default_of(&self, name: &str) -> Option<String> {
        let known = KNOWN.iter().find(|(known, _)| known.trim_start_matches('*') == name).map(|(_, default)| (*default).to_owned());
        match known {
            Some(_) if name == "system" => Some(machine_system()),
            Some(_) if self.is_embedded && ASKING_OTHERS.contains(&name) => Some(String::new()),
            Some(default) => Some(default),
            None => self.registered.get(name).cloned(),
        }
    }

    /// Returns a setting's text, `None` if there is no such setting.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned().or_else(|| self.default_of(name))
    }

    /// Returns the text of a setting of the table.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// Returns whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        matches!(self.text(name).as_str(), "true" | "yes" | "1")
    }

    /// Returns a number, 0 if it is none.
    pub(crate) fn integer(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Returns the words of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split_whitespace().map(str::to_owned).collect()
    }

    /// Makes a name known.
    #[cfg_attr(not(feature = "test-hooks"), expect(dead_code, reason = "for test suites"))]
    pub(crate) fn register(&mut self, name: &str, default: &str) {
        self.registered.insert(name.to_owned(), default.to_owned());
    }

    /// Sets a setting; `extra-NAME` appends to a list.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        if let Some(plain) = name.strip_prefix("extra-").filter(|plain| is_list(plain)) {
            let joined = format!("{} {}", self.text(plain), value);
            self.values.insert(plain.to_owned(), joined.split_whitespace().collect::<Vec<_>>().join(" "));
            return Ok(());
        }
        let default = self.default_of(name).ok_or_else(|| SettingError::Unknown { name: name.to_owned() })?;
        let invalid = |kind| SettingError::Value { kind, name: name.to_owned(), value: value.to_owned() };
        let kept = match default.as_str() {
            "true" | "false" if name != "sandbox" => match value {
                "true" | "yes" | "1" => "true".to_owned(),
                "false" | "no" | "0" => "false".to_owned(),
                _ => return Err(invalid("Boolean")),
            },
            number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && name != "max-jobs" => {
                value.parse::<u64>().map_err(|_| invalid("Integer"))?.to_string()
            }
            _ if is_list(name) => value.split_whitespace().collect::<Vec<_>>().join(" "),
            _ => value.to_owned(),
        };
        self.values.insert(name.to_owned(), kept);
        Ok(())
    }

    /// Reads the configuration files and `NIX_CONFIG`, as the reference does: the system's, then the user's. Unknown names are skipped.
    pub(crate) fn load(&mut self) -> Result<(), SettingError> {
        self.is_embedded = false;
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let system = variable("NIX_CONF_DIR").unwrap_or_else(|| "/etc/nix".into()).join("nix.conf");
        self.load_file(&system, 0)?;
        match std::env::var("NIX_USER_CONF_FILES") {
            Ok(files) => {
                for file in files.split(':').rev().filter(|file| !file.is_empty()) {
                    self.load_file(Path::new(file), 0)?;
                }
            }
            Err(_) => {
                let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
                if let Some(config) = config {
                    self.load_file(&config.join("nix/nix.conf"), 0)?;
                }
            }
        }
        match std::env::var("NIX_CONFIG") {
            Ok(text) => self.apply(&text, Path::new("NIX_CONFIG"), 0),
            Err(_) => Ok(()),
        }
    }

    fn load_file(&mut self, file: &Path, depth: u32) -> Result<(), SettingError> {
        match std::fs::read_to_string(file) {
            Ok(text) => self.apply(&text, file, depth),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(SettingError::File { file: file.display().to_string(), reason: error.to_string() }),
        }
    }

    fn apply(&mut self, text: &str, file: &Path, depth: u32) -> Result<(), SettingError> {
        let wrong = |reason: String| SettingError::File { file: file.display().to_string(), reason };
        for line in text.lines() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            match words[..] {
                [] => {}
                ["include" | "!include", included] => {
                    let included = file.parent().unwrap_or(Path::new("/")).join(included);
                    if depth > 16 || (words[0] == "include" && !included.exists()) {
                        return Err(wrong(format!("cannot include '{}'", included.display())));
                    }
                    self.load_file(&included, depth + 1)?;
                }
                [name, "=", ref value @ ..] => match self.set(name, &value.join(" ")) {
                    Ok(()) | Err(SettingError::Unknown { .. }) => {}
                    Err(error) => return Err(error),
                },
                _ => return Err(wrong(format!("syntax error in configuration line '{line}'"))),
            }
        }
        Ok(())
    }
}

/// Returns the kind of this machine.
pub(crate) fn machine_system() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    format!("{}-{system}", if std::env::consts::ARCH == "x86" { "i686" } else { std::env::consts::ARCH })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_lists_grow_and_files_are_read() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("nonsense", "1"), Err(SettingError::Unknown { name: "nonsense".into() }));
        assert!(settings.set("cores", "many").is_err() && settings.set("pure-eval", "maybe").is_err());
        settings.set("extra-experimental-features", "flakes").expect("a list");
        settings.set("extra-experimental-features", " ca-derivations ").expect("a list");
        assert_eq!(settings.text("experimental-features"), "flakes ca-derivations");
        settings.apply("# a comment\npure-eval = yes # why not\nno-such = 1\n", Path::new("x"), 0).expect("it parses");
        assert!(settings.is_on("pure-eval"));
        assert!(settings.apply("pure-eval true", Path::new("x"), 0).is_err());
        assert_eq!(settings.get("system"), Some(machine_system()));
    }
}
