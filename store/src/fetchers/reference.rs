//! Flake references as people write them on a command line: relative to a directory, and a directory stands for the flake around it.
//!
//! The surprising thing: a path within a git repository means the repository, so that files that git doesn't know are no part of the flake.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Observer;
use super::{Importance, quoted};
use crate::input::reference::{WrittenPath, from_short_name, from_url};
use crate::input::url::{Authority, Url};
use crate::input::{FlakeRef, InputError, Reader};

/// What a reference is read by.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceOptions<'a> {
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// Whether there need not be a `flake.nix`.
    pub allow_missing: bool,
    /// Whether a flake is meant, rather than any tree.
    pub is_flake: bool,
}

/// Reads a flake reference and the fragment behind it.
///
/// # Errors
/// When it is none, or there is no flake where it says.
pub fn parse_reference(text: &str, options: ReferenceOptions<'_>, reader: &mut Reader<'_>, observer: &dyn Observer) -> Result<(FlakeRef, String), InputError> {
    if let Some(found) = from_short_name(text, options.is_flake, reader)? {
        return FlakeRef::of_parsed(found);
    }
    let as_url = Url::parse_lenient(text, reader.dubious).and_then(|mut url| {
        if matches!(url.scheme.as_str(), "path" | "git+file") {
            let path = url.file_path()?;
            if !path.starts_with('/') {
                url.path = segments(&without_dots(&options.directory.join(path)));
            }
        }
        from_url(url, options.is_flake, reader)
    });
    match as_url {
        Err(InputError::BadUrl(_)) => from_path(text, options, reader, observer),
        answer => FlakeRef::of_parsed(answer?),
    }
}

fn from_path(text: &str, options: ReferenceOptions<'_>, reader: &mut Reader<'_>, observer: &dyn Observer) -> Result<(FlakeRef, String), InputError> {
    let WrittenPath { path, mut query, fragment } = WrittenPath::parse(text, reader)?;
    let mut path = absolute(options.directory, path);
    if options.is_flake {
        path = flake_around(path, options.allow_missing, observer)?;
        let mut root = path.clone();
        let mut below: Vec<String> = Vec::new();
        while root != Path::new("/") {
            if root.join(".git").exists() {
                below.reverse();
                if !below.is_empty() && query.insert("dir".into(), below.join("/")).is_some() {
                    return Err(InputError::Other(format!("flake URL '{text}' has an inconsistent 'dir' parameter")));
                }
                if root.join(".git/shallow").exists() {
                    query.entry("shallow".into()).or_insert_with(|| "1".into());
                }
                let url = Url { scheme: "git+file".into(), authority: Some(Authority::default()), path: segments(&root), query, fragment };
                return FlakeRef::of_parsed(from_url(url, true, reader)?);
            }
            below.extend(root.file_name().map(|name| name.to_string_lossy().into_owned()));
            root.pop();
        }
    }
    let url = Url { scheme: "path".into(), authority: Some(Authority::default()), path: segments(&path), query, fragment };
    FlakeRef::of_parsed(from_url(url, options.is_flake, reader)?)
}

/// Returns the directory at or above a path that has a `flake.nix`.
fn flake_around(path: PathBuf, allow_missing: bool, observer: &dyn Observer) -> Result<PathBuf, InputError> {
    let bad = |message: String| Err(InputError::BadUrl(message));
    let status = |path: &Path| std::fs::symlink_metadata(path).map_err(|error| InputError::Other(format!("getting status of {}: {}", quoted(path), without_number(&error))));
    let mut path = path;
    if !status(&path)?.is_dir() {
        if path.file_name().is_some_and(|name| name == "flake.nix") {
            let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
            observer.warn(&format!(
                "Path {} should point at the directory containing the 'flake.nix' file, not the file itself. Pretending that you meant {}",
                quoted(&path),
                quoted(&parent)
            ));
            path = parent;
        } else {
            return bad(format!("path {} is not a flake (because it's not a directory)", quoted(&path)));
        }
    }
    let has_flake = |path: &Path| path.join("flake.nix").symlink_metadata().is_ok();
    if allow_missing || has_flake(&path) {
        return Ok(path);
    }
    observer.message(Importance::Notice, &format!("path {} does not contain a 'flake.nix', searching up", quoted(&path)));
    let device = status(&path)?.dev();
    while path != Path::new("/") {
        if has_flake(&path) {
            return Ok(path);
        }
        if path.join(".git").symlink_metadata().is_ok() {
            let message = format!("path {} is not part of a flake (neither it nor its parent directories contain a 'flake.nix' file)", quoted(&path));
            return Err(InputError::Other(message));
        }
        if status(&path)?.dev() != device {
            return Err(InputError::Other(format!("unable to find a flake before encountering filesystem boundary at {}", quoted(&path))));
        }
        path.pop();
    }
    bad("could not find a flake.nix file".into())
}

fn without_number(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Returns the absolute path with links followed, as far as there is anything.
fn absolute(directory: &Path, path: &str) -> PathBuf {
    let joined = directory.join(path);
    if let Ok(real) = joined.canonicalize() {
        return real;
    }
    let mut result = PathBuf::from("/");
    for component in joined.components() {
        match component {
            std::path::Component::Normal(name) => {
                result.push(name);
                if let Ok(real) = result.canonicalize() {
                    result = real;
                }
            }
            std::path::Component::ParentDir => drop(result.pop()),
            _ => {}
        }
    }
    result
}

/// Returns an absolute path without `.` and `..`; links are not looked at.
fn without_dots(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => result.push(name),
            std::path::Component::ParentDir => drop(result.pop()),
            _ => {}
        }
    }
    result
}

fn segments(path: &Path) -> Vec<String> {
    Url::segments_of_file(&path.to_string_lossy())
}
