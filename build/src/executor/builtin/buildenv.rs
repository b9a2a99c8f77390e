//! `builtin:buildenv`: a tree of symbolic links to several packages, as profiles and channels use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One package of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its store path.
    pub path: PathBuf,
    /// Whether it takes part.
    pub active: bool,
    /// Lower wins.
    pub priority: i64,
}

/// Reads the attribute `derivations`: for each package "active priority number-of-outputs path…".
pub(crate) fn parse_packages(text: &str) -> Option<Vec<Package>> {
    let mut words = text.split_ascii_whitespace();
    let mut packages = Vec::new();
    while let Some(active) = words.next() {
        let priority = words.next()?.parse().ok()?;
        let n_outputs: usize = words.next()?.parse().ok()?;
        for _ in 0..n_outputs {
            packages.push(Package { path: words.next()?.into(), active: active != "false", priority });
        }
    }
    Some(packages)
}

/// Files that are useless in a profile or would only collide.
const SKIPPED: &[&str] = &[
    "/propagated-build-inputs",
    "/nix-support",
    "/perllocal.pod",
    "/info/dir",
    "/log",
    "/manifest.nix",
    "/manifest.json",
];

/// Why a tree can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Two packages of the same priority have a file of the same name.
    #[error("Unable to build profile. There is a conflict for the following files:\n\n  {}\n  {}", first.display(), second.display())]
    Conflict {
        /// The file that was linked to first.
        first: PathBuf,
        /// The file that would take its place.
        second: PathBuf,
        /// The priority of both.
        priority: i64,
    },
    /// The disk refuses, or a directory and a file have the same name.
    #[error("{0}")]
    Other(String),
}

impl From<String> for LinkError {
    fn from(message: String) -> LinkError {
        LinkError::Other(message)
    }
}

/// Makes the tree. The error is one for the build's log.
pub(crate) fn run(out: &Path, manifest: &Path, packages: &[Package]) -> Result<(), String> {
    link_packages(out, packages).map_err(|error| error.to_string())?;
    let link = out.join("manifest.nix");
    symlink(manifest, &link).map_err(|error| format!("creating '{}': {error}", link.display()))
}

/// Makes a tree of links to all files of packages at `out`.
///
/// # Errors
///
/// Two packages of the same priority have a file of the same name, or the disk refuses.
pub fn link_packages(out: &Path, packages: &[Package]) -> Result<(), LinkError> {
    fs::create_dir_all(out).map_err(|error| format!("creating '{}': {error}", out.display()))?;
    let mut tree = Tree { priorities: BTreeMap::new() };
    let mut packages: Vec<&Package> = packages.iter().filter(|package| package.active).collect();
    packages.sort_by(|a, b| (a.priority, &a.path).cmp(&(b.priority, &b.path)));

    let mut done = BTreeSet::new();
    let mut postponed: BTreeSet<PathBuf> = BTreeSet::new();
    for package in packages {
        tree.add_package(out, &package.path, package.priority, &mut done, &mut postponed)?;
    }
    // What packages propagate comes after everything that was asked for.
    let mut priority = 1000;
    while !postponed.is_empty() {
        for path in std::mem::take(&mut postponed) {
            tree.add_package(out, &path, priority, &mut done, &mut postponed)?;
            priority += 1;
        }
    }
    Ok(())
}

struct Tree {
    /// Link made → priority of the package that it leads to.
    priorities: BTreeMap<PathBuf, i64>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> String + '_ {
    move |error| format!("'{}': {error}", path.display())
}

impl Tree {
    fn add_package(
        &mut self,
        out: &Path,
        package: &Path,
        priority: i64,
        done: &mut BTreeSet<PathBuf>,
        postponed: &mut BTreeSet<PathBuf>,
    ) -> Result<(), LinkError> {
        if !done.insert(package.to_owned()) {
            return Ok(());
        }
        self.link_all(package, out, priority, 0)?;
        let list = package.join("nix-support/propagated-user-env-packages");
        match fs::read_to_string(&list) {
            Ok(text) => {
                postponed.extend(text.split([' ', '\n']).filter(|word| !word.is_empty()).map(PathBuf::from));
                postponed.retain(|path| !done.contains(path));
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            Err(error) => Err(failed(&list)(error).into()),
        }
    }

    /// Links everything in `from` into the directory `to`; directories that several packages have are merged.
    fn link_all(&mut self, from: &Path, to: &Path, priority: i64, depth: usize) -> Result<(), LinkError> {
        // No file system has paths this deep; a loop of links would.
        if depth > 2048 {
            return Err(format!("'{}' is nested too deeply", from.display()).into());
        }
        let entries = match fs::read_dir(from) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                eprintln!("warning: not including '{}' in the user environment because it's not a directory", from.display());
                return Ok(());
            }
            Err(error) => return Err(failed(from)(error).into()),
        };
        let mut names: Vec<_> = entries.collect::<Result<Vec<_>, _>>().map_err(failed(from))?;
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (source, target) = (from.join(&name), to.join(&name));
            let Ok(metadata) = fs::metadata(&source) else {
                eprintln!("warning: skipping dangling symlink '{}'", target.display());
                continue;
            };
            if SKIPPED.iter().any(|suffix| source.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes())) {
                continue;
            }
            let existing = fs::symlink_metadata(&target).ok().map(|metadata| metadata.file_type());
            if metadata.is_dir() {
                match existing {
                    Some(kind) if kind.is_dir() => {
                        self.link_all(&source, &target, priority, depth + 1)?;
                        continue;
                    }
                    Some(kind) if kind.is_symlink() => {
                        let other = fs::canonicalize(&target).map_err(failed(&target))?;
                        if !other.is_dir() {
                            return Err(format!(
                                "collision between '{}' and non-directory '{}'",
                                source.display(),
                                other.display()
                            ).into());
                        }
                        fs::remove_file(&target).map_err(failed(&target))?;
                        fs::create_dir(&target).map_err(failed(&target))?;
                        let other_priority = self.priorities.get(&target).copied().unwrap_or(0);
                        self.link_all(&other, &target, other_priority, depth + 1)?;
                        self.link_all(&source, &target, priority, depth + 1)?;
                        continue;
                    }
                    _ => {}
                }
            } else if let Some(kind) = existing {
                if kind.is_dir() {
                    return Err(format!(
                        "collision between non-directory '{}' and directory '{}'",
                        source.display(),
                        target.display()
                    ).into());
                }
                debug_assert!(!kind.is_socket());
                let other_priority = self.priorities.get(&target).copied().unwrap_or(0);
                if other_priority == priority {
                    let other = fs::read_link(&target).map_err(failed(&target))?;
                    return Err(LinkError::Conflict { first: other, second: source, priority });
                }
                if other_priority < priority {
                    continue;
                }
                fs::remove_file(&target).map_err(failed(&target))?;
            }
            symlink(&source, &target).map_err(failed(&target))?;
            self.priorities.insert(target, priority);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_merge_and_the_lower_priority_number_wins() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for (package, file, text) in
            [("a", "bin/x", "a"), ("b", "bin/x", "b"), ("b", "bin/y", "b"), ("b", "nix-support/z", "")]
        {
            let file = path(package).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let text = format!("true 6 1 {} true 5 1 {}", path("a").display(), path("b").display());
        run(&path("out"), Path::new("/manifest"), &parse_packages(&text).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(path("out/bin/x")).unwrap(), "b");
        assert_eq!(fs::read_to_string(path("out/bin/y")).unwrap(), "b");
        assert!(!path("out/nix-support").exists());
        assert_eq!(fs::read_link(path("out/manifest.nix")).unwrap(), Path::new("/manifest"));
    }

    #[test]
    fn equal_priorities_conflict() {
        let scratch = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for package in ["a", "b"] {
            fs::create_dir(scratch.path().join(package)).unwrap();
            fs::write(scratch.path().join(package).join("x"), package).unwrap();
            text += &format!("true 5 1 {} ", scratch.path().join(package).display());
        }
        let out = scratch.path().join("out");
        let error = run(&out, Path::new("/manifest"), &parse_packages(&text).unwrap()).unwrap_err();
        assert!(error.contains("conflict"), "{error}");
        assert_eq!(parse_packages("true 5"), None);
    }
}
