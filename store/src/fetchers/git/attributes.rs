//! What `.gitattributes` files say of a commit's files: which are left out, and which are elsewhere (LFS).

use std::collections::BTreeSet;

use super::super::command::{Git, output};
use super::super::{FetchError, FetchResult};
use super::tree::Listed;

/// How git ends when it doesn't know a flag.
const USAGE: i32 = 129;

/// Returns the paths that are `export-ignore`, files and directories.
pub(super) fn export_ignored(git: &Git, revision: &str, listed: &[Listed]) -> FetchResult<BTreeSet<Vec<u8>>> {
    having(git, Some(revision), "export-ignore", b"set", listed)
}

/// Returns whether a file's contents are somewhere else.
pub(super) fn uses_lfs(git: &Git, revision: &str, listed: &[Listed]) -> FetchResult<bool> {
    Ok(!having(git, Some(revision), "filter", b"lfs", listed)?.is_empty())
}

/// Returns the paths whose attribute has a value. Without a commit what the index has counts.
pub(super) fn having(git: &Git, revision: Option<&str>, attribute: &str, value: &[u8], listed: &[Listed]) -> FetchResult<BTreeSet<Vec<u8>>> {
    let is_attributes = |path: &[u8]| path == b".gitattributes" || path.ends_with(b"/.gitattributes");
    let info = git.output("rev-parse", ["--git-path", "info/attributes"])?.line();
    if !listed.iter().any(|entry| is_attributes(&entry.path)) && !git.dir().join(info).exists() {
        return Ok(BTreeSet::new());
    }
    let mut paths = Vec::new();
    for entry in listed {
        paths.extend_from_slice(&entry.path);
        // Patterns with a slash at the end are for directories. A clone has none for the reference to look at.
        if entry.mode == "040000" && !git.is_bare() {
            paths.push(b'/');
        }
        paths.push(0);
    }
    let ask = |source: Option<String>, index: Option<&std::path::Path>| {
        let mut command = git.command("check-attr");
        match source {
            Some(source) => command.arg(source),
            None => command.arg("--cached"),
        };
        if let Some(index) = index {
            command.env("GIT_INDEX_FILE", index);
        }
        command.args(["-z", "--stdin", attribute]);
        output(&mut command, Some(&paths))
    };
    let mut answer = ask(revision.map(|revision| format!("--source={revision}")), None)?;
    if let Some(revision) = revision
        && answer.status.code() == Some(USAGE)
    {
        // A git before 2.40, which asks an index.
        let made = tempfile::tempdir().map_err(FetchError::spool)?;
        let index = made.path().join("index");
        let mut command = git.command("read-tree");
        command.env("GIT_INDEX_FILE", &index).arg(revision);
        let read = output(&mut command, None)?;
        if !read.status.success() {
            return super::program_failed("read-tree", &read);
        }
        answer = ask(None, Some(&index))?;
    }
    if !answer.status.success() {
        return super::program_failed("check-attr", &answer);
    }
    let fields: Vec<&[u8]> = answer.stdout.split(|byte| *byte == 0).collect();
    let (answers, rest) = fields.as_chunks::<3>();
    if answers.len() != listed.len() || rest.iter().any(|field| !field.is_empty()) {
        return Err(FetchError::Program { message: "git answers with other attributes than it was asked for".into() });
    }
    let matching = answers.iter().filter(|[_, _, found]| *found == value);
    Ok(matching.map(|[path, _, _]| path.strip_suffix(b"/").unwrap_or(path).to_vec()).collect())
}
