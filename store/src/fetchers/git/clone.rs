//! Clones of repositories elsewhere: one directory per address, in the reference's place and form, under a lock.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use super::super::command::{Git, output, spawn};
use super::super::{FetchError, FetchResult, Fetchers, Importance};
use super::{Location, has_object, program_failed, resolve};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::Input;
use crate::input::url::Url;
use crate::local::locks::PathLocks;

/// The first branch of a clone. It says nothing, since a certain branch or commit is always fetched.
const NO_BRANCH: &str = "__nix_dummy_branch";

impl Fetchers {
    /// Brings a clone up to date as far as the input needs it. Sets the input's commit, and returns the branch.
    pub(super) fn clone_remote(&self, input: &mut Input, url: &Url, is_shallow: bool, location: &Location) -> FetchResult<(Git, String)> {
        let address = url.to_string();
        let dir = self.clone_dir(&address, is_shallow);
        let has_name = input.text("ref").is_some();
        let name = self.branch(input, || self.remote_head(&address, &dir), location)?;
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent).map_err(|error| FetchError::io("making directory", parent, error))?;
        }
        let _lock = PathLocks::lock(&[dir.clone()].into())?;
        make(&dir)?;
        let git = Git::bare(&dir);
        if git.output("config", ["--get", "remote.origin.url"])?.line() != address {
            // Where relative addresses of submodules start from.
            git.run("config", ["remote.origin.url", &address])?;
        }
        let local = if name.starts_with("refs/") { dir.join(&name) } else { dir.join("refs/heads").join(&name) };
        let revision = input.revision_text()?;
        let all = input.is_on("allRefs")?;
        let is_needed = match &revision {
            Some(revision) => !has_object(&git, revision)?,
            None => all || !self.is_fresh(&local),
        };
        if is_needed {
            let what = match &revision {
                _ if all => "refs/*:refs/*".to_owned(),
                Some(revision) => revision.clone(),
                None if name.starts_with("refs/") => format!("{name}:{name}"),
                None if name == "HEAD" => "HEAD:HEAD".to_owned(),
                None => format!("refs/heads/{name}:refs/heads/{name}"),
            };
            if let Err(error) = self.pull(&git, &address, &what, is_shallow) {
                if !local.exists() {
                    return Err(error);
                }
                self.observer.error(&error.to_string());
                self.observer
                    .warn(&format!("could not update local clone of Git repository '{location}'; continuing with the most recent version"));
            }
            if revision.is_none()
                && let Ok(file) = std::fs::File::options().append(true).open(&local)
            {
                // Its age says when the branch was last asked for. A branch that is packed is asked for again.
                let _ = file.set_modified(SystemTime::now());
            }
            if !has_name && !git.output("symbolic-ref", ["--", "HEAD", &name])?.status.success() {
                self.observer.warn(&format!("could not update cached head '{name}' for '{location}'"));
            }
        }
        match revision {
            None => input.set("rev", resolve(&git, &name)?),
            Some(revision) if !has_object(&git, &revision)? => {
                return Err(FetchError::refused(format!(
                    "Cannot find Git revision '{revision}' in ref '{name}' of repository '{location}'! \
                     Please make sure that the \x1b[1mrev\x1b[0m exists on the \x1b[1mref\x1b[0m you've specified or add \
                     \x1b[1mallRefs = true;\x1b[0m to \x1b[1mfetchGit\x1b[0m."
                )));
            }
            Some(_) => {}
        }
        Ok((git, name))
    }

    fn clone_dir(&self, address: &str, is_shallow: bool) -> PathBuf {
        let name = Hash::digest(Algorithm::Sha256, address.as_bytes()).format(HashFormat::Nix32, false);
        self.options.cache_dir.join("gitv3").join(if is_shallow { format!("{name}-shallow") } else { name })
    }

    /// Whether a file is younger than answers may be that can change.
    fn is_fresh(&self, file: &Path) -> bool {
        let modified = std::fs::metadata(file).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| modified + Duration::from_secs(self.options.ttl) > SystemTime::now())
    }

    /// Returns the branch that HEAD is elsewhere; asked for again when the last answer is too old.
    fn remote_head(&self, address: &str, dir: &Path) -> FetchResult<Option<String>> {
        let mut known = None;
        if dir.join("HEAD").exists() {
            known = read_head(&dir.to_string_lossy())?;
            if known.as_deref().is_some_and(|known| known != NO_BRANCH) && self.is_fresh(&dir.join("HEAD")) {
                return Ok(known);
            }
        }
        let head = read_head(address)?;
        if head.is_none()
            && let Some(known) = &known
        {
            self.observer.warn(&format!("could not get HEAD ref for repository '{address}'; using expired cached ref '{known}'"));
            return Ok(Some(known.clone()));
        }
        Ok(head)
    }

    fn pull(&self, git: &Git, address: &str, what: &str, is_shallow: bool) -> FetchResult<()> {
        self.observer.message(Importance::Talkative, &format!("fetching Git repository '{address}'"));
        let mut command = git.command("fetch");
        command.env_remove("GIT_NO_LAZY_FETCH").args(["--progress", "--force"]);
        if is_shallow {
            command.args(["--depth", "1"]);
        }
        // What it says, and asks, is for the user.
        command.args(["--", address, what]).stdout(Stdio::null()).stdin(Stdio::inherit());
        let status = spawn(&mut command)?.wait().map_err(|error| FetchError::io("waiting for", Path::new("git"), error))?;
        if status.success() { Ok(()) } else { Err(FetchError::Program { message: format!("Failed to fetch git repository '{address}'") }) }
    }
}

fn read_head(address: &str) -> FetchResult<Option<String>> {
    let mut command = Git::nowhere();
    command.args(["ls-remote", "--symref", "--", address]);
    // What it says, and asks, is for the user.
    command.stdin(Stdio::inherit()).stdout(Stdio::piped());
    let child = spawn(&mut command)?;
    let output = child.wait_with_output().map_err(|error| FetchError::io("waiting for", Path::new("git"), error))?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    Ok(line.split_once('\t').filter(|(_, name)| *name == "HEAD").map(|(target, _)| target.strip_prefix("ref: ").unwrap_or(target).trim().to_owned()))
}

/// Makes an empty clone, unless there is one.
fn make(dir: &Path) -> FetchResult<()> {
    if dir.exists() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let made = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(|error| FetchError::io("making a directory in", parent, error))?;
    let mut command = Git::nowhere();
    command.args(["-c", &format!("init.defaultBranch={NO_BRANCH}"), "init", "--quiet", "--bare", "--template=", "--"]).arg(made.path());
    let output = output(&mut command, None)?;
    if !output.status.success() {
        return program_failed("init", &output);
    }
    match std::fs::rename(made.path(), dir) {
        Ok(()) => {
            let _ = made.keep();
            Ok(())
        }
        // Somebody was faster.
        Err(_) if dir.exists() => Ok(()),
        Err(error) => Err(FetchError::io("making", dir, error)),
    }
}
