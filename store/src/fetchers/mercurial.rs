//! Mercurial repositories, where the program `hg` is.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{Entry, texts};
use super::command::{Output, failure, output};
use super::{FetchError, FetchResult, Fetchers, Found, Importance, Source, add_nar, quoted};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::url::Url;
use crate::input::{Attr, Input};
use crate::path::StorePath;
use crate::store::{FileKind, Store};

fn hg_output<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> FetchResult<Output> {
    let mut command = Command::new("hg");
    // No extensions, no aliases, no colours.
    command.env("HGPLAIN", "").args(arguments);
    output(&mut command, None)
}

fn hg<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> FetchResult<Vec<u8>> {
    let output = hg_output(arguments)?;
    if output.status.success() { Ok(output.stdout) } else { Err(failure("hg", None, &output)) }
}

fn words<'a>(words: &'a [&'a str], dir: &'a Path, more: &'a [&'a OsStr]) -> Vec<&'a OsStr> {
    let mut all: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    all.extend([OsStr::new("-R"), dir.as_os_str()]);
    all.extend(more.iter().copied());
    all
}

fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned()
}

impl Fetchers {
    pub(super) fn find_mercurial<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let path = self.mercurial(store, &mut input)?;
        let fingerprint = input.revision_text()?;
        let shown = format!("«{input}»");
        Ok((Found { source: Source::Stored(path), fingerprint, shown }, input))
    }

    fn mercurial(&self, store: &dyn Store, input: &mut Input) -> FetchResult<StorePath> {
        let name = input.name().to_owned();
        let url = Url::parse(input.text("url").unwrap_or_default(), &mut |_| {})?;
        let local = if url.scheme == "file" { Some(PathBuf::from(url.file_path()?)) } else { None };
        if let Some(path) = &local
            && input.text("ref").is_none()
            && input.text("rev").is_none()
            && path.join(".hg").exists()
            && !hg(words(&["status"], path, &["--modified", "--added", "--removed"].map(OsStr::new)))?.is_empty()
        {
            return self.mercurial_worktree(store, input, path);
        }
        let address = local.as_ref().map_or_else(|| url.to_string(), |path| path.display().to_string());
        if input.text("ref").is_none() {
            input.set("ref", "default");
        }
        let branch = input.text("ref").unwrap_or_default().to_owned();
        let had_revision = input.text("rev").is_some();
        let branch_key = texts([("url", &address), ("ref", &branch)]);
        if !had_revision
            && let Some(known) = self.cache.lookup("hgRefToRev", &branch_key).filter(|known| !known.is_expired)
            && let Some(revision) = known.text("rev")
        {
            input.set("rev", revision);
        }
        let known = |revision: &str| self.cache.lookup_path("hgRev", &texts([("name", &name), ("rev", revision)]), store);
        let use_known = |input: &mut Input, (entry, path): (Entry, StorePath)| {
            input.set("revCount", Attr::Number(entry.number("revCount").unwrap_or(0)));
            path
        };
        if let Some(revision) = checked_revision(input)?
            && let Some(known) = known(&revision)?
        {
            return Ok(use_known(input, known));
        }
        let dir_name = Hash::digest(Algorithm::Sha256, address.as_bytes()).format(HashFormat::Nix32, false);
        let clone = self.options.cache_dir.join("hg").join(dir_name);
        let revision = checked_revision(input)?;
        let is_there = match &revision {
            Some(revision) if clone.exists() => {
                hg_output(words(&["log"], &clone, &["-r", revision, "--template", "1"].map(OsStr::new)))?.stdout == b"1"
            }
            _ => false,
        };
        if !is_there {
            self.pull_mercurial(&address, &clone)?;
        }
        let wanted = revision.unwrap_or(branch);
        // As one word it can't be an option.
        let wanted = format!("--rev={wanted}");
        let found = line(&hg(words(&["log"], &clone, &[&wanted, "--template", "{node} {rev} {branch}"].map(OsStr::new)))?);
        let fields: Vec<&str> = found.splitn(3, ' ').collect();
        let [node, count, branch] = fields[..] else {
            return Err(FetchError::Program { message: format!("hg says '{found}' of a revision") });
        };
        let count: u64 = count.parse().map_err(|_| FetchError::Program { message: format!("hg counts '{count}' revisions") })?;
        input.set("rev", node);
        input.set("ref", branch);
        if let Some(known) = known(node)? {
            return Ok(use_known(input, known));
        }
        let made = tempfile::tempdir().map_err(FetchError::spool)?;
        let tree = made.path().join("tree");
        hg(words(&["archive"], &clone, &[OsStr::new("-r"), OsStr::new(node), tree.as_os_str()]))?;
        let _ = std::fs::remove_file(tree.join(".hg_archival.txt"));
        let (path, _) = add_nar(store, &name, &mut |sink: &mut dyn Write| Ok(crate::fs::dump(&tree, None, sink)?))?;
        if !had_revision {
            self.cache.upsert("hgRefToRev", &branch_key, &texts([("rev", node)]));
        }
        let value = [("revCount".to_owned(), Attr::Number(count))].into();
        self.cache.upsert_path("hgRev", &texts([("name", &name), ("rev", node)]), &value, &path, store);
        input.set("revCount", Attr::Number(count));
        Ok(path)
    }

    fn pull_mercurial(&self, address: &str, clone: &Path) -> FetchResult<()> {
        self.observer.message(Importance::Talkative, &format!("fetching Mercurial repository '{address}'"));
        let end = [OsStr::new("--"), OsStr::new(address)];
        if !clone.exists() {
            let parent = clone.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(parent).map_err(|error| FetchError::io("making directory", parent, error))?;
            let arguments = [OsStr::new("clone"), OsStr::new("--noupdate"), end[0], end[1], clone.as_os_str()];
            return hg(arguments).map(drop);
        }
        let answer = hg_output(words(&["pull"], clone, &end))?;
        if answer.status.success() {
            return Ok(());
        }
        // A pull that was killed left its journal.
        if clone.join(".hg/store/journal").exists() {
            hg(words(&["recover"], clone, &[]))?;
            return hg(words(&["pull"], clone, &end)).map(drop);
        }
        Err(failure("hg", Some("pull"), &answer))
    }

    /// Takes the files that Mercurial knows as they are now.
    fn mercurial_worktree(&self, store: &dyn Store, input: &mut Input, path: &Path) -> FetchResult<StorePath> {
        let shown = quoted(path);
        if !self.options.allow_dirty {
            return Err(FetchError::refused(format!("Mercurial tree '{shown}' is unclean")));
        }
        if self.options.warn_dirty {
            self.observer.warn(&format!("Mercurial tree '{shown}' is unclean"));
        }
        input.set("ref", line(&hg(words(&["branch"], path, &[]))?));
        let flags = ["--clean", "--modified", "--added", "--no-status", "--print0"].map(OsStr::new);
        let listed = hg(words(&["status"], path, &flags))?;
        let files: BTreeSet<&[u8]> = listed.split(|byte| *byte == 0).filter(|file| !file.is_empty()).collect();
        let directories: BTreeSet<&[u8]> =
            files.iter().flat_map(|file| file.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &file[..at])).collect();
        let name = input.name().to_owned();
        let (stored, _) = add_nar(store, &name, &mut |sink: &mut dyn Write| {
            let mut filter = |file: &Path, kind: FileKind| {
                let Ok(below) = file.strip_prefix(path) else { return false };
                let known = if kind == FileKind::Directory { &directories } else { &files };
                known.contains(below.as_os_str().as_bytes())
            };
            Ok(crate::fs::dump(path, Some(&mut filter), sink)?)
        })?;
        Ok(stored)
    }
}

fn checked_revision(input: &Input) -> FetchResult<Option<String>> {
    match input.revision()? {
        Some(hash) if hash.algorithm() != Algorithm::Sha1 => {
            let hash = hash.format(HashFormat::Base16, true);
            Err(FetchError::refused(format!("Hash '{hash}' is not supported by Mercurial. Only sha1 is supported.")))
        }
        hash => Ok(hash.map(|hash| hash.format(HashFormat::Base16, false))),
    }
}
