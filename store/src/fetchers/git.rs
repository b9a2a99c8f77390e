//! Git repositories: a commit of one, or a local working tree as it is.
//!
//! Repositories elsewhere are cloned without a working tree below the cache directory, one per address, and kept. All reading and all
//! network is the `git` program's. The surprising thing: a local repository that is asked for neither a branch nor a commit gives its
//! working tree, with the changes that nobody committed, but only of files that git knows.

mod attributes;
mod clone;
mod submodules;
mod tree;
mod verify;
mod worktree;

use std::path::{Path, PathBuf};

pub(super) use self::worktree::Worktree;
use super::cache::texts;
use super::command::{Git, failure};
use super::{FetchError, FetchResult, Fetchers, Found, Importance, Source, quoted};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::url::Url;
use crate::input::{Attr, Input};
use crate::store::Store;

/// Where a repository is.
pub(super) enum Location {
    /// Here, with a working tree.
    Local(PathBuf),
    /// Somewhere that has to be cloned.
    Remote(Url),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Local(path) => write!(f, "{}", path.display()),
            Location::Remote(url) => write!(f, "{url}"),
        }
    }
}

/// What an input says of how to read a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) export_ignore: bool,
    pub(super) submodules: bool,
    pub(super) lfs: bool,
}

impl Reading {
    pub(super) fn of(input: &Input) -> FetchResult<Reading> {
        let (export_ignore, submodules, lfs) = (input.is_on("exportIgnore")?, input.is_on("submodules")?, input.is_on("lfs")?);
        if export_ignore && submodules {
            return Err(FetchError::refused("exportIgnore and submodules are not supported together yet"));
        }
        Ok(Reading { export_ignore, submodules, lfs })
    }

    /// What a commit's tree read like this is remembered by.
    pub(super) fn fingerprint(self, revision: &str) -> String {
        let flag = |is_on, flag| if is_on { flag } else { "" };
        format!("{revision}{}{}{}", flag(self.submodules, ";s"), flag(self.export_ignore, ";e"), flag(self.lfs, ";l"))
    }
}

impl Fetchers {
    pub(super) fn find_git<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let location = self.location(input)?;
        let has_version = input.text("ref").is_some() || input.text("rev").is_some();
        let worktree = match &location {
            Location::Local(path) if !has_version => Some(self.worktree(path, || Worktree::look(path))?),
            _ => None,
        };
        let reading = Reading::of(input)?;
        match (location, worktree) {
            (Location::Local(path), Some(worktree)) => self.find_worktree(store, input, &path, &worktree, reading),
            (location, _) => self.find_commit(store, input, location, reading),
        }
    }

    /// Returns the repository of an input that is one with a working tree, here.
    pub(super) fn local_repository(&self, input: &Input) -> FetchResult<Option<PathBuf>> {
        match self.location(input)? {
            Location::Local(path) => Ok(Some(path)),
            Location::Remote(_) => Ok(None),
        }
    }

    /// Finds out whether a repository is one with a working tree, here.
    fn location(&self, input: &Input) -> FetchResult<Location> {
        if let Some(revision) = input.revision()?
            && !matches!(revision.algorithm(), Algorithm::Sha1 | Algorithm::Sha256)
        {
            let hash = revision.format(HashFormat::Base16, true);
            return Err(FetchError::refused(format!("Hash '{hash}' is not supported by Git. Supported types are sha1 and sha256.")));
        }
        let mut url = Url::parse(input.text("url").unwrap_or_default(), &mut |_| {})?;
        let path = if url.scheme == "file" { Some(PathBuf::from(url.file_path()?)) } else { None };
        if let Some(path) = &path {
            let is_bare = path.exists() && !path.join(".git").exists();
            if !self.options.clone_local && !is_bare {
                if !path.is_absolute() {
                    self.observer.warn(&format!(
                        "Fetching Git repository '{url}', which uses a path relative to the current directory. \
                         This is not supported and will stop working in a future release. \
                         See https://github.com/NixOS/nix/issues/12281 for details."
                    ));
                }
                let path = std::path::absolute(path).map_err(|error| FetchError::io("resolving", path, error))?;
                return Ok(Location::Local(path));
            }
            // git would take them for a part of the file's name.
            url.query.clear();
        }
        // Old lock files have it here, where it means nothing to a server.
        url.query.remove("dir");
        Ok(Location::Remote(url))
    }

    fn find_commit<'a>(&'a self, store: &'a dyn Store, input: &Input, location: Location, reading: Reading) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let is_shallow_wanted = input.is_on("shallow")?;
        let (git, name) = match &location {
            Location::Local(path) => {
                let git = open(path)?;
                let name = self.branch(&input, || Ok(head(&git)), &location)?;
                if input.text("rev").is_none() {
                    input.set("rev", resolve(&git, &name)?);
                }
                (git, name)
            }
            Location::Remote(url) => self.clone_remote(&mut input, url, is_shallow_wanted, &location)?,
        };
        input.set("ref", name.as_str());
        let is_shallow = git.run("rev-parse", ["--is-shallow-repository"])?.line() == "true";
        if is_shallow && !is_shallow_wanted {
            let message = format!(
                "'{location}' is a shallow Git repository, but shallow repositories are only allowed when `shallow = true;` is specified"
            );
            return Err(FetchError::refused(message));
        }
        let revision = input.revision_text()?.unwrap_or_default();
        input.set("lastModified", self.last_modified(&git, &revision)?);
        if !is_shallow_wanted {
            input.set("revCount", self.revision_count(&git, &revision, &location)?);
        }
        self.observer.message(Importance::Talkative, &format!("using revision {revision} of repo '{location}'"));
        self.verify(&input, Some(&git))?;
        let shown = format!("«{input}»");
        let fingerprint = reading.fingerprint(&revision);
        let mounts_of = input.clone();
        let write = move |sink: &mut dyn std::io::Write| {
            if !reading.submodules {
                return self.write_commit(&git, &revision, reading, sink);
            }
            let submodules = submodules::of_commit(&git, &revision)?;
            self.write_with_submodules(store, &git, &mounts_of, submodules, sink, &mut |sink| self.write_commit(&git, &revision, reading, sink))
        };
        Ok((Found { source: Source::Nar(Box::new(write)), fingerprint: Some(fingerprint), shown }, input))
    }

    /// Returns the branch that is meant: the one that was asked for, or the repository's own.
    fn branch(&self, input: &Input, own: impl FnOnce() -> FetchResult<Option<String>>, location: &Location) -> FetchResult<String> {
        if let Some(name) = input.text("ref") {
            return Ok(name.to_owned());
        }
        Ok(own()?.unwrap_or_else(|| {
            self.observer.warn(&format!("could not read HEAD ref from repo at '{location}', using 'master'"));
            "master".to_owned()
        }))
    }

    /// Returns when a commit was made, in seconds since 1970.
    fn last_modified(&self, git: &Git, revision: &str) -> FetchResult<Attr> {
        let key = texts([("rev", revision)]);
        if let Some(known) = self.cache.lookup("gitLastModified", &key).and_then(|entry| entry.number("lastModified")) {
            return Ok(Attr::Number(known));
        }
        let commit = match git.output("cat-file", ["commit", revision])? {
            found if found.status.success() => found.stdout,
            _ if !has_object(git, revision)? => return Err(no_object(revision)),
            output => return program_failed("cat-file", &output),
        };
        let committer = commit.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(b"committer "));
        let seconds = committer.and_then(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            line.rsplit(' ').nth(1)?.parse::<i64>().ok()
        });
        let seconds = seconds.ok_or_else(|| FetchError::refused(format!("commit '{revision}' has no time")))?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        self.cache.upsert("gitLastModified", &key, &[("lastModified".to_owned(), Attr::Number(seconds))].into());
        Ok(Attr::Number(seconds))
    }

    /// Returns how many commits lead to this one, itself among them.
    fn revision_count(&self, git: &Git, revision: &str, location: &Location) -> FetchResult<Attr> {
        let key = texts([("rev", revision)]);
        if let Some(known) = self.cache.lookup("gitRevCount", &key).and_then(|entry| entry.number("revCount")) {
            return Ok(Attr::Number(known));
        }
        if git.run("rev-parse", ["--is-shallow-repository"])?.line() == "true" {
            return Err(FetchError::refused(format!(
                "Failed to retrieve the parent of Git commit '{revision}': object not found. \
                 This may be due to an incomplete repository history. \
                 To resolve this, either enable the shallow parameter in your flake URL (?shallow=1) \
                 or add set the shallow parameter to true in builtins.fetchGit, \
                 or fetch the complete history for this branch."
            )));
        }
        self.observer.message(Importance::Chatty, &format!("getting Git revision count of '{location}'"));
        let count = git.run("rev-list", ["--count", revision, "--"])?.line();
        let count = count.parse().map_err(|_| FetchError::refused(format!("git counts '{count}' commits")))?;
        self.cache.upsert("gitRevCount", &key, &[("revCount".to_owned(), Attr::Number(count))].into());
        Ok(Attr::Number(count))
    }
}

/// Opens a repository with a working tree.
fn open(path: &Path) -> FetchResult<Git> {
    if !path.exists() {
        return Err(FetchError::refused(format!("Git repository {} does not exist.", quoted(path))));
    }
    let git = Git::worktree(path);
    let output = git.output("rev-parse", ["--git-dir"])?;
    match output.status.success() {
        true => Ok(git),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = if said.contains("not a git repository") {
                format!("could not find repository at '{}'", path.display())
            } else {
                said.strip_prefix("fatal: ").unwrap_or(&said).to_owned()
            };
            Err(FetchError::refused(format!("opening Git repository {}: {why}", quoted(path))))
        }
    }
}

/// Returns what HEAD points at, `refs/heads/…`; none if it is a commit.
fn head(git: &Git) -> Option<String> {
    let output = git.output("symbolic-ref", ["--quiet", "HEAD"]).ok()?;
    output.status.success().then(|| output.line())
}

/// Returns the commit that a name stands for.
fn resolve(git: &Git, name: &str) -> FetchResult<String> {
    let output = git.output("rev-parse", ["--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])?;
    match output.status.success() {
        true => Ok(output.line()),
        false => Err(FetchError::refused(format!("resolving Git reference '{name}': revspec '{name}' not found"))),
    }
}

/// Returns whether an object is there.
fn has_object(git: &Git, revision: &str) -> FetchResult<bool> {
    Ok(git.output("cat-file", ["-e", revision])?.status.success())
}

fn no_object(revision: &str) -> FetchError {
    FetchError::refused(format!("getting Git object '{revision}': object not found - no match for id ({revision})"))
}

/// The commit of a repository without any.
fn no_revision() -> String {
    Hash::zero(Algorithm::Sha1).format(HashFormat::Base16, false)
}

/// Fails as the program did.
fn program_failed<T>(subcommand: &str, output: &super::command::Output) -> FetchResult<T> {
    Err(failure("git", Some(subcommand), output))
}
