//! The programs that fetchers run: git and hg, with nothing in their settings that would run something else.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::{FetchError, FetchResult};

/// Settings of a repository that would run programs, or reach for addresses that do.
const SAFE: &[&str] = &["core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.ext.allow=never", "core.attributesFile=/dev/null"];

/// Variables that would make git look at another repository than the one that is meant.
const ELSEWHERE: &[&str] = &[
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE",
];

/// git, for one repository.
#[derive(Clone, Debug)]
pub(super) struct Git {
    dir: PathBuf,
    is_bare: bool,
}

/// What a program that ended said.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Output {
    /// Returns stdout as text without the line's end.
    pub(super) fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

impl Git {
    /// Returns git for a repository with a working tree.
    pub(super) fn worktree(dir: &Path) -> Git {
        Git { dir: dir.to_owned(), is_bare: false }
    }

    /// Returns git for a repository without one.
    pub(super) fn bare(dir: &Path) -> Git {
        Git { dir: dir.to_owned(), is_bare: true }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Returns git without a repository.
    pub(super) fn nowhere() -> Command {
        let mut command = Command::new("git");
        for setting in SAFE {
            command.args(["-c", setting]);
        }
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        // Messages are read; indexes aren't ours to refresh; what isn't there isn't fetched behind our back.
        command.envs([("LC_ALL", "C"), ("GIT_OPTIONAL_LOCKS", "0"), ("GIT_NO_LAZY_FETCH", "1"), ("GIT_ATTR_NOSYSTEM", "1"), ("GIT_NO_REPLACE_OBJECTS", "1")]);
        command
    }

    /// Returns git with its first argument. The repository is exactly this directory, not one around it.
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let mut command = Git::nowhere();
        command.arg("-C").arg(&self.dir);
        if self.is_bare {
            command.args(["--git-dir", "."]);
        } else if let Some(parent) = self.dir.parent() {
            command.env("GIT_CEILING_DIRECTORIES", parent);
        }
        command.arg(subcommand);
        command
    }

    /// Runs git and returns what it said, whatever its status.
    pub(super) fn output<S: AsRef<OsStr>>(&self, subcommand: &str, arguments: impl IntoIterator<Item = S>) -> FetchResult<Output> {
        output(self.command(subcommand).args(arguments), None)
    }

    /// Runs git, which must succeed, and returns its stdout.
    pub(super) fn run<S: AsRef<OsStr>>(&self, subcommand: &str, arguments: impl IntoIterator<Item = S>) -> FetchResult<Output> {
        let output = self.output(subcommand, arguments)?;
        if output.status.success() { Ok(output) } else { Err(failure("git", Some(subcommand), &output)) }
    }
}

/// Returns the error of a program that failed.
pub(super) fn failure(program: &str, subcommand: Option<&str>, output: &Output) -> FetchError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let how = match output.status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => "was killed by a signal".to_owned(),
    };
    let subcommand = subcommand.map_or_else(String::new, |word| format!(" {word}"));
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    FetchError::Program { message: format!("program '{program}{subcommand}' {how}{said}") }
}

/// Runs a program with `input` on its stdin (nothing without it).
pub(super) fn output(command: &mut Command, input: Option<&[u8]>) -> FetchResult<Output> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let stdin = child.stdin.take();
    let waited = std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that doesn't read to the end says why by its status.
            scope.spawn(move || drop(stdin.write_all(input)));
        }
        child.wait_with_output()
    });
    let program = command.get_program().to_string_lossy().into_owned();
    let output = waited.map_err(|error| FetchError::Program { message: format!("running program '{program}': {error}") })?;
    Ok(Output { status: output.status, stdout: output.stdout, stderr: output.stderr })
}

/// Starts a program.
pub(super) fn spawn(command: &mut Command) -> FetchResult<std::process::Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("executing '{program}': No such file or directory"),
            _ => format!("executing '{program}': {error}"),
        };
        FetchError::Program { message }
    })
}
