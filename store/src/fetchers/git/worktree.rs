//! A local working tree as it is: the files that git knows, with their contents of now.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::super::command::Git;
use super::super::{FetchError, FetchResult, Fetchers, Found, Source};
use super::submodules::{self, Submodule};
use super::tree::Listed;
use super::{Location, Reading, attributes, head, no_revision, open};
use crate::hash::{Algorithm, HashFormat, Hasher};
use crate::input::{Attr, Input};
use crate::store::{FileKind, Store};

/// What a working tree has.
#[derive(Debug)]
pub(in super::super) struct Worktree {
    git: Git,
    /// The commit that was checked out; none if there is none yet.
    revision: Option<String>,
    /// Files that git knows and that are there.
    files: BTreeSet<Vec<u8>>,
    /// Those of them that differ from the commit.
    changed: BTreeSet<Vec<u8>>,
    deleted: BTreeSet<Vec<u8>>,
    submodules: Vec<Submodule>,
}

impl Worktree {
    /// Looks at a working tree.
    pub(super) fn look(path: &Path) -> FetchResult<Worktree> {
        let git = open(path)?;
        let listed = git.run("ls-files", ["-z", "--stage"])?.stdout;
        let mut files = BTreeSet::new();
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            if let Some(tab) = entry.iter().position(|byte| *byte == b'\t')
                && !entry.starts_with(b"160000")
            {
                files.insert(entry[tab + 1..].to_vec());
            }
        }
        let arguments = ["--porcelain=v2", "-z", "--branch", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"];
        let status = git.run("status", arguments)?.stdout;
        let (mut changed, mut deleted, mut revision) = (BTreeSet::new(), BTreeSet::new(), None);
        for entry in status.split(|byte| *byte == 0) {
            let fields = |n: usize| entry.splitn(n, |byte| *byte == b' ').collect::<Vec<_>>();
            match entry.first() {
                Some(b'#') => {
                    if let Some(id) = entry.strip_prefix(b"# branch.oid ").filter(|id| *id != b"(initial)") {
                        revision = Some(String::from_utf8_lossy(id).into_owned());
                    }
                }
                // 1 XY sub mH mI mW hH hI path
                Some(b'1') => {
                    if let [_, state, _, _, _, _, _, _, path] = fields(9)[..] {
                        let is_deleted = state.contains(&b'D');
                        if is_deleted {
                            files.remove(path);
                        }
                        (if is_deleted { &mut deleted } else { &mut changed }).insert(path.to_vec());
                    }
                }
                // u XY sub m1 m2 m3 mW h1 h2 h3 path
                Some(b'u') => {
                    if let [_, _, _, _, _, _, _, _, _, _, path] = fields(11)[..] {
                        changed.insert(path.to_vec());
                    }
                }
                _ => {}
            }
        }
        let submodules = if path.join(".gitmodules").exists() { submodules::of_file(&git, &path.join(".gitmodules"))? } else { Vec::new() };
        Ok(Worktree { git, revision, files, changed, deleted, submodules })
    }

    fn is_dirty(&self) -> bool {
        !self.changed.is_empty() || !self.deleted.is_empty()
    }

    /// What the tree is remembered by: the commit and everything that differs.
    fn fingerprint(&self, path: &Path, reading: Reading) -> FetchResult<String> {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        let text = |hasher: &mut Hasher, text: &[u8]| {
            let padding = [0; 8];
            let n_padding = text.len().next_multiple_of(8) - text.len();
            let parts = [&(text.len() as u64).to_le_bytes()[..], text, &padding[..n_padding]];
            parts.into_iter().try_for_each(|part| hasher.write_all(part)).map_err(FetchError::spool)
        };
        let absolute = |file: &[u8]| [b"/", file].concat();
        for file in &self.changed {
            text(&mut hasher, b"modified:")?;
            text(&mut hasher, &absolute(file))?;
            crate::fs::dump(&path.join(std::ffi::OsStr::from_bytes(file)), None, &mut hasher)?;
        }
        for file in &self.deleted {
            text(&mut hasher, b"deleted:")?;
            text(&mut hasher, &absolute(file))?;
        }
        let revision = self.revision.clone().unwrap_or_else(no_revision);
        Ok(format!("{};d={}", reading.fingerprint(&revision), hasher.finish().format(HashFormat::Base16, false)))
    }

    /// Writes the NAR of the files that are known; `places` of submodules are empty directories.
    fn write(&self, path: &Path, places: &BTreeSet<Vec<u8>>, reading: Reading, sink: &mut dyn Write) -> FetchResult<()> {
        let mut known: BTreeSet<Vec<u8>> = self.files.union(places).cloned().collect();
        let mut directories: BTreeSet<Vec<u8>> = places.clone();
        for file in &known {
            let slashes = file.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            directories.extend(slashes.map(|(at, _)| file[..at].to_vec()));
        }
        if reading.export_ignore {
            let entry = |path: &Vec<u8>, mode: &str| Listed { mode: mode.to_owned(), id: String::new(), path: path.clone() };
            let listed: Vec<_> = directories.iter().map(|path| entry(path, "040000")).chain(known.iter().map(|path| entry(path, "100644"))).collect();
            let ignored = attributes::having(&self.git, None, "export-ignore", b"set", &listed)?;
            known.retain(|path| !ignored.contains(path));
            directories.retain(|path| !ignored.contains(path));
        }
        let mut filter = |file: &Path, kind: FileKind| {
            let Ok(below) = file.strip_prefix(path) else { return false };
            let below = below.as_os_str().as_bytes();
            match kind {
                FileKind::Directory => directories.contains(below),
                _ => known.contains(below),
            }
        };
        Ok(crate::fs::dump(path, Some(&mut filter), sink)?)
    }
}

impl Fetchers {
    pub(super) fn find_worktree<'a>(
        &'a self,
        store: &'a dyn Store,
        input: &Input,
        path: &Path,
        worktree: &std::sync::Arc<Worktree>,
        reading: Reading,
    ) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let location = Location::Local(path.to_owned());
        let mut is_dirty = worktree.is_dirty();
        let mut mounted = Vec::new();
        if reading.submodules {
            for submodule in &worktree.submodules {
                let place = path.join(std::ffi::OsStr::from_bytes(&submodule.path));
                let inner = submodules::local_input(&place, reading)?;
                let (found, locked) = self.find(store, &inner)?;
                // A submodule with changes is a change.
                is_dirty |= locked.text("rev").is_none();
                mounted.push((submodule.path.clone(), found));
            }
        }
        if is_dirty {
            if !self.options.allow_dirty {
                return Err(FetchError::refused(format!("Git tree '{location}' is dirty")));
            }
            if self.options.warn_dirty {
                self.observer.warn(&format!("Git tree '{location}' is dirty"));
            }
            if let Some(revision) = &worktree.revision {
                input.set("dirtyRev", format!("{revision}-dirty"));
                input.set("dirtyShortRev", format!("{}-dirty", &revision[..7.min(revision.len())]));
            }
            self.verify(&input, None)?;
        } else {
            if let Some(name) = head(&worktree.git) {
                input.set("ref", name);
            }
            let revision = worktree.revision.clone().unwrap_or_else(no_revision);
            input.set("rev", revision.as_str());
            if !input.is_on("shallow")? {
                let count = match &worktree.revision {
                    Some(revision) => self.revision_count(&worktree.git, revision, &location)?,
                    None => Attr::Number(0),
                };
                input.set("revCount", count);
            }
            self.verify(&input, Some(&worktree.git))?;
        }
        let modified = match &worktree.revision {
            Some(revision) => self.last_modified(&worktree.git, revision)?,
            None => Attr::Number(0),
        };
        input.set("lastModified", modified);
        let fingerprint = match worktree.submodules.is_empty() {
            // A tree without changes is its commit, whose files are the same.
            _ if input.text("rev").is_some() => Some(reading.fingerprint(input.text("rev").unwrap_or_default())),
            true => Some(worktree.fingerprint(path, reading)?),
            false => None,
        };
        let shown = format!("{}/", path.display());
        let worktree = std::sync::Arc::clone(worktree);
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.as_os_str().as_bytes().to_vec()));
        let write = move |sink: &mut dyn Write| {
            let places: BTreeSet<Vec<u8>> = mounted.iter().map(|(place, _)| place.clone()).collect();
            if places.is_empty() {
                return worktree.write(&path, &places, reading, sink);
            }
            self.write_mounted(store, &mounted, sink, &mut |sink| worktree.write(&path, &places, reading, sink))
        };
        Ok((Found { source: Source::Nar(Box::new(write)), fingerprint, shown }, input))
    }
}
