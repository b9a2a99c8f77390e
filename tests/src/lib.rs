//! Support for the suites in this folder: where the command line is, how to run it, how cases are written in files.
//!
//! The suites look at the command line from outside, so the same cases can be put to the real Nix: `NIXLANG` names the
//! command under test, and with `UPDATE_EXPECT=1` its answers are written into the case files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub mod cases;
pub mod fuzz;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder of the repository")
}

/// Returns the folder of the profile that this test was built in: the test itself is `PROFILE/deps/NAME-HASH`.
fn profile() -> PathBuf {
    let executable = env::current_exe().expect("a running test has a path");
    executable.ancestors().nth(2).expect("a test lies two folders below its profile's").to_owned()
}

/// Returns the target folder.
fn target() -> PathBuf {
    profile().parent().expect("a profile's folder lies in the target folder").to_owned()
}

/// Returns the words that start the command under test: `NIXLANG` split at spaces, or the `nixlang` built in this
/// profile, which is brought up to date first.
///
/// # Panics
///
/// When it does not build.
pub fn nixlang() -> &'static [String] {
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        if let Ok(words) = env::var("NIXLANG") {
            return words.split_whitespace().map(str::to_owned).collect();
        }
        let profile = profile();
        let mut build = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--quiet", "--workspace", "--bin", "nixlang"]).current_dir(repository());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", target());
        without_cargo_variables(&mut build);
        assert!(build.status().expect("cargo runs").success(), "the command line does not build");
        vec![profile.join("nixlang").to_str().expect("the path of the repository is UTF-8").to_owned()]
    })
}

/// Takes from a command's environment what cargo tells a test about its own package. A cargo that finds it builds again all packages
/// that look at such variables, `ring` and with it the command line among them.
pub fn without_cargo_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let is_of_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| is_of_package.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
}

/// Returns a command that runs the one under test with these arguments, in this directory, with no standard input and
/// with nothing of the user's configuration.
pub fn command<I, S>(directory: &Path, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let words = nixlang();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(arguments).current_dir(directory).stdin(Stdio::null());
    // A home of its own, since there must be none at the place that the sandbox promises.
    let home = target().join("scratch/home");
    let _ = fs::create_dir_all(&home);
    command.env("HOME", home).env("NIX_PATH", "").env("LC_ALL", "C.UTF-8");
    // Where there is no /nix that it may write to, ours keeps a store here.
    command.env("XDG_DATA_HOME", target().join("scratch/data"));
    command.env_remove("NIX_CONFIG").env_remove("NIX_STORE_DIR").env_remove("XDG_CONFIG_HOME");
    command
}

/// What a command said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    /// Returns the message of the last `error:` on standard error: its own lines and hints, without the places and
    /// source excerpts between them, one line each. Empty if there is none.
    pub fn error(&self) -> Vec<String> {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let Some(start) = lines.iter().rposition(|line| line.trim_start().starts_with("error:")) else {
            return Vec::new();
        };
        let mut message = Vec::new();
        for (line_idx, line) in lines[start..].iter().enumerate() {
            let text = line.trim();
            let text = if line_idx == 0 { text.strip_prefix("error:").unwrap_or(text).trim() } else { text };
            if !text.is_empty() && !is_place(text) {
                message.push(text.to_owned());
            }
        }
        message
    }
}

/// Whether a line of an error is `at FILE:LINE:COLUMN:` or part of a source excerpt (`12| text`, `| ^`).
fn is_place(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.starts_with('|') || (text.starts_with("at ") && text.ends_with(':'))
}

/// Makes a scratch directory that is removed when dropped.
///
/// It lies in the target folder, since a directory that every user may write to is refused for builds by some, and so
/// that a real Nix in a root of its own can be shown it once and for all.
///
/// # Panics
///
/// When it can't be made.
pub fn scratch() -> tempfile::TempDir {
    let below = target().join("scratch");
    fs::create_dir_all(&below).expect("the target folder is writable");
    tempfile::Builder::new().prefix("test").tempdir_in(below).expect("the target folder is writable")
}

/// Returns all files below a directory whose names end in `suffix`, sorted; folders named `target` and those that
/// start with a dot are left out.
///
/// # Panics
///
/// When a directory can't be read.
pub fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
            let entry = entry.expect("a directory that opens can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("a directory entry has a type").is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(entry.path());
                }
            } else if name.ends_with(suffix) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_keeps_message_and_hints_and_drops_places() {
        let stderr = "error:\n       … while calling the 'seq' builtin\n         at «string»:1:1:\n            1| x\n             | ^\n\n       \
                      error: attribute 'nam' missing\n       at «string»:1:1:\n            1| x\n             | ^\n       Did you mean name?\n";
        let answer = Answer { status: Some(1), stdout: String::new(), stderr: stderr.to_owned() };
        assert_eq!(answer.error(), ["attribute 'nam' missing", "Did you mean name?"]);
    }
}
