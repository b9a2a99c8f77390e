//! Trees that are here to be changed: local directories and working trees of git. Where they are, writing a file of them, and getting one of a
//! tree that is elsewhere.
//!
//! Unlike all other fetching this is the user's own work in the user's own repository, so hooks run and a commit may ask for a passphrase.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use super::command::{Output, failure, output};
use super::{FetchError, FetchResult, Fetchers, Importance, quoted};
use crate::input::Input;
use crate::store::Store;

impl Fetchers {
    /// Returns where the files of an input are that somebody may change; none if they are nowhere here.
    ///
    /// # Errors
    /// When the input is of no known form.
    pub fn working_copy(&self, input: &Input) -> FetchResult<Option<PathBuf>> {
        match input.kind() {
            "path" => match input.text("path").unwrap_or_default() {
                path if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
                _ => Err(FetchError::refused(format!("cannot fetch input '{input}' because it uses a relative path"))),
            },
            "git" => self.local_repository(input),
            "hg" if input.text("ref").is_none() && input.text("rev").is_none() => {
                Ok(input.text("url").and_then(|url| url.strip_prefix("file://")).map(PathBuf::from))
            }
            _ => Ok(None),
        }
    }

    /// Writes a file, by its path within the tree, and commits it if there is a message. git hears of a new file; one that it ignores is not
    /// committed.
    ///
    /// # Errors
    /// When the tree is nowhere here, the file can't be written, or git fails.
    pub fn put_file(&self, input: &Input, path: &str, contents: &[u8], commit_message: Option<&str>) -> FetchResult<()> {
        let Some(root) = self.working_copy(input)? else {
            return Err(FetchError::refused(format!("cannot commit '/{path}' to Git repository '{input}' because it's not a working tree")));
        };
        let file = root.join(path);
        std::fs::write(&file, contents).map_err(|error| FetchError::io("writing", &file, error))?;
        self.worktrees.lock().unwrap_or_else(PoisonError::into_inner).remove(&root);
        if input.kind() != "git" || git(&root, &["check-ignore", "--quiet", path], None)?.status.success() {
            return Ok(());
        }
        succeed("add", git(&root, &["add", "--intent-to-add", "--", path], None)?)?;
        match commit_message {
            Some(message) => succeed("commit", git(&root, &["commit", path, "-F", "-"], Some(message.as_bytes()))?),
            None => Ok(()),
        }
    }

    /// Copies a tree to a directory that isn't there yet; of a git repository with its history.
    ///
    /// # Errors
    /// When it can't be had or written.
    pub fn clone_to(&self, store: &dyn Store, input: &Input, destination: &Path) -> FetchResult<()> {
        let url = match input.kind() {
            "git" if input.text("rev").is_some() => return Err(FetchError::refused("cloning a specific revision is not implemented")),
            "git" => match self.local_repository(input)? {
                Some(path) => path.display().to_string(),
                None => input.text("url").unwrap_or_default().to_owned(),
            },
            "github" | "gitlab" | "sourcehut" => forge_address(input),
            _ => return self.copy_to(store, input, destination),
        };
        let mut command = Command::new("git");
        command.arg("clone").arg(&url);
        if let Some(name) = input.text("ref") {
            command.args(["--branch", name]);
        }
        let status = command.arg(destination).status().map_err(|error| FetchError::Program { message: format!("executing 'git': {error}") })?;
        if status.success() {
            return Ok(());
        }
        let how = status.code().map_or_else(|| "was killed by a signal".to_owned(), |code| format!("failed with exit code {code}"));
        Err(FetchError::Program { message: format!("program 'git' {how}") })
    }

    fn copy_to(&self, store: &dyn Store, input: &Input, destination: &Path) -> FetchResult<()> {
        if destination.symlink_metadata().is_ok() {
            return Err(FetchError::refused(format!("cannot clone into existing path {}", quoted(destination))));
        }
        let fetched = self.fetch(store, input)?;
        self.observer.message(Importance::Talkative, &format!("copying '{}' to {}...", fetched.input, quoted(destination)));
        let mut nar = super::spool_to_read(&mut |sink| Ok(store.write_nar(&fetched.path, sink)?))?;
        Ok(crate::fs::restore(&mut nar, destination, crate::fs::Metadata::Ordinary)?)
    }
}

fn forge_address(input: &Input) -> String {
    let host = match input.kind() {
        "github" => "github.com",
        "gitlab" => "gitlab.com",
        _ => "git.sr.ht",
    };
    let text = |name| input.text(name).unwrap_or_default();
    let suffix = if input.kind() == "sourcehut" { "" } else { ".git" };
    format!("https://{}/{}/{}{suffix}", input.text("host").unwrap_or(host), text("owner"), text("repo"))
}

fn git(root: &Path, arguments: &[&str], stdin: Option<&[u8]>) -> FetchResult<Output> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(arguments);
    if stdin.is_none() {
        command.stdin(Stdio::null());
    }
    output(&mut command, stdin)
}

fn succeed(subcommand: &str, output: Output) -> FetchResult<()> {
    if output.status.success() { Ok(()) } else { Err(failure("git", Some(subcommand), &output)) }
}
