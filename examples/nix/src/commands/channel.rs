//! `nix-channel`: archives of expressions that are fetched anew now and then.
//!
//! Channels are lines `URL NAME` in a file of the user. What was fetched is installed into a profile of its own, so that generations and
//! rollback come with it; all that is done with that profile is done by `nix-env`, which this program is as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nixlang_store::fetchers::Fetchers;
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::fetch::{failed, fetchers};
use crate::failure::{Failure, Outcome};
use crate::profiles::{default_expression_path, profiles_dir, uses_xdg};
use crate::settings::{home, state_home};

/// What makes a derivation that unpacks an archive.
const UNPACK: &str = "{ name, channelName, src }: derivation { builder = \"builtin:unpack-channel\"; system = \"builtin\"; \
                      inherit name channelName src; preferLocalBuild = true; }\n";

struct Channels {
    context: Arc<Context>,
    file: PathBuf,
    profile: PathBuf,
    /// Addresses by name.
    channels: BTreeMap<String, String>,
}

/// `nix-channel {--add URL [NAME] | --remove NAME | --list | --update [NAME…] | --list-generations | --rollback [GENERATION]}`
pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    const OPERATIONS: &[&str] = &["--add", "--remove", "--list", "--update", "--list-generations", "--rollback"];
    let mut operation = None;
    let words = invocation.words(|flag, _| {
        let found = OPERATIONS.iter().find(|known| **known == flag);
        operation = found.or(operation);
        Ok(found.is_some())
    })?;
    let operation = *operation.ok_or_else(|| Failure::Usage("no command specified".into()))?;
    let context = invocation.context()?;
    let file = if uses_xdg(&context) { state_home().join("nix/channels") } else { home().join(".nix-channels") };
    let profile = profiles_dir(&context)?.join("channels");
    let mut channels = Channels { channels: read(&file)?, context, file, profile };
    let usage = |message: &str| Err(Failure::Usage(message.into()));
    match (operation, words.as_slice()) {
        ("--add", [url]) => {
            let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let name = name.strip_suffix("-unstable").unwrap_or(name);
            channels.add(url, name.strip_suffix("-stable").unwrap_or(name))
        }
        ("--add", [url, name]) => channels.add(url, name),
        ("--add", _) => usage("'--add' requires one or two arguments"),
        ("--remove", [name]) => channels.remove(name),
        ("--remove", _) => usage("'--remove' requires one argument"),
        ("--list", []) => {
            channels.channels.iter().for_each(|(name, url)| println!("{name} {url}"));
            Ok(0)
        }
        ("--update", names) => channels.update(names),
        ("--list-generations", []) => channels.nix_env(["--list-generations"]),
        ("--list" | "--list-generations", _) => usage(&format!("'{operation}' expects no arguments")),
        (_, []) => channels.nix_env(["--rollback"]),
        (_, [generation]) => channels.nix_env(["--switch-generation", generation]),
        _ => usage("'--rollback' has at most one argument"),
    }
}

/// Reads the file of channels.
fn read(file: &Path) -> Outcome<BTreeMap<String, String>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::new(format!("opening file \"{}\": {}", file.display(), crate::failure::plain(&error)))),
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let channel = |line: &str| {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let url = words.next()?.trim_end_matches('/').to_owned();
        let name = words.next().unwrap_or_else(|| url.rsplit('/').next().unwrap_or_default()).to_owned();
        Some((name, url))
    };
    Ok(lines.filter_map(channel).collect())
}

impl Channels {
    fn write(&self) -> Outcome<()> {
        if let Some(parent) = self.file.parent() {
            fs::create_dir_all(parent)?;
        }
        let text: String = self.channels.iter().map(|(name, url)| format!("{url} {name}\n")).collect();
        Ok(fs::write(&self.file, text)?)
    }

    fn add(&mut self, url: &str, name: &str) -> Outcome<u8> {
        if !["file://", "http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Failure::new(format!("invalid channel URL '{url}'")));
        }
        let is_first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c == '.' || c == '-') {
            return Err(Failure::new(format!("invalid channel identifier '{name}'")));
        }
        self.channels.insert(name.to_owned(), url.to_owned());
        self.write()?;
        Ok(0)
    }

    fn remove(&mut self, name: &str) -> Outcome<u8> {
        self.channels.remove(name);
        self.write()?;
        self.nix_env(["--uninstall", name])
    }

    /// Works on the profile of channels.
    fn nix_env<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Outcome<u8> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("nix-env").arg("--profile").arg(&self.profile).args(arguments);
        let status = command.status()?;
        match status.code() {
            Some(0) => Ok(0),
            _ => Err(Failure::new(format!("program 'nix-env' failed with {}", describe(status)))),
        }
    }

    fn update(&self, names: &[String]) -> Outcome<u8> {
        let store = self.context.store.any()?;
        let fetchers = fetchers(&self.context);
        let mut expressions = Vec::new();
        for (name, url) in &self.channels {
            let full_name = format!("{name}{}", version(url));
            expressions.push(if names.is_empty() || names.contains(name) {
                let src = self.fetch(&fetchers, &*store, url)?;
                format!("f: f {{ name = \"{full_name}\"; channelName = \"{name}\"; src = builtins.storePath \"{src}\"; }}")
            } else {
                // What is there stays.
                let there = fs::read_link(self.profile.join(name))
                    .map_err(|error| Failure::new(format!("reading symbolic link \"{}\": {}", self.profile.join(name).display(), crate::failure::plain(&error))))?;
                let path = there.parent().unwrap_or(&there).display().to_string();
                format!(
                    "f: rec {{ name = \"{full_name}\"; type = \"derivation\"; outputs = [\"out\"]; system = \"builtin\"; \
                     outPath = builtins.storePath \"{path}\"; out = {{ inherit outPath; }}; }}"
                )
            });
        }
        eprintln!("unpacking {} channels...", expressions.len());
        let unpack = tempfile::Builder::new().prefix("nix-").suffix(".nix").tempfile()?;
        fs::write(unpack.path(), UNPACK)?;
        let file = unpack.path().to_string_lossy().into_owned();
        let arguments = ["--file", &file, "--install", "--remove-all", "--from-expression"].into_iter();
        self.nix_env(arguments.chain(expressions.iter().map(String::as_str)).chain(["--quiet"]))?;
        self.link()
    }

    /// Fetches the archive of a channel. Returns its path.
    fn fetch(&self, fetchers: &Fetchers, store: &dyn Store, url: &str) -> Outcome<String> {
        let base_name = |url: &str| url.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let get = |url: &str, name: &str| fetchers.download(store, url, name, &[]);
        let is_archive = |name: &str| [".tar.gz", ".tar.bz2", ".tar.xz"].iter().any(|end| name.ends_with(end));
        let name = base_name(url);
        if is_archive(&name) {
            return Ok(store.store_dir().display(&get(url, &name).map_err(failed)?.path));
        }
        // Where the address leads to now; all of the channel comes from there, whatever happens to the address meanwhile. That of a
        // directory on this disk leads nowhere.
        let url = match url.strip_prefix("file://") {
            Some(_) => url.to_owned(),
            None => get(url, &name).map_err(failed)?.url.trim_end_matches('/').to_owned(),
        };
        let first = get(&format!("{url}/nixexprs.tar.xz"), "nixexprs.tar.xz");
        let found = match first {
            Err(_) => get(&format!("{url}/nixexprs.tar.bz2"), "nixexprs.tar.bz2"),
            first => first,
        };
        Ok(store.store_dir().display(&found.map_err(failed)?.path))
    }

    /// Makes the channels appear among the expressions that packages are installed from.
    fn link(&self) -> Outcome<u8> {
        let expressions = default_expression_path(&self.context);
        if expressions.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            fs::remove_file(&expressions)?;
        }
        fs::create_dir_all(&expressions)?;
        nixlang_store::gc::roots::replace_symlink(&self.profile, &expressions.join("channels"))?;
        Ok(0)
    }
}

/// Returns the version in the last part of an address, with the dash before it.
fn version(url: &str) -> &str {
    let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let bytes = name.as_bytes();
    let found = (0..bytes.len()).find(|i| bytes[*i] == b'-' && bytes.get(i + 1).is_some_and(u8::is_ascii_digit));
    found.map_or("", |start| &name[start..])
}

fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_from_addresses() {
        for (url, expected) in [("https://x/nixos-26.05", "-26.05"), ("https://x/nixpkgs-unstable", ""), ("file:///a/foo-1pre/", "-1pre"), ("x-1/y", "")] {
            assert_eq!(version(url), expected, "{url}");
        }
    }

    #[test]
    fn lines_without_a_name_have_the_last_part_of_their_address() {
        let file = tempfile::NamedTempFile::new().expect("made");
        fs::write(file.path(), "https://x/a/  \n  # https://y c\nhttps://z b\n").expect("written");
        let channels: Vec<_> = read(file.path()).expect("read").into_iter().collect();
        assert_eq!(channels, [("a".to_owned(), "https://x/a".to_owned()), ("b".to_owned(), "https://z".to_owned())]);
    }
}
