//! `shell` (`env shell`): a program in an environment where installables are found.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nixlang_store::path::StorePath;

use super::{Context, Invocation};
use crate::building::BuildFlags;
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, realise_targets};
use crate::start::{EnvironmentFlags, command_of, start};

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let mut variables = EnvironmentFlags::default();
    let mut command: Vec<String> = Vec::new();
    let (installables, context) = Installables::parse(invocation, |flag, args| match flag {
        "-c" | "--command" => {
            command = command_of(args)?;
            Ok(true)
        }
        _ => variables.flag(flag, args),
    })?;
    let targets = installables.targets(&context, true)?;
    realise_targets(&context, &targets, BuildFlags::default())?;
    let mut variables = variables.variables()?;
    let mut todo = VecDeque::new();
    for target in &targets {
        todo.extend(target.outputs(&context)?.into_iter().map(|(_, path)| path));
    }
    let mut seen = HashSet::new();
    let mut directories: Vec<OsString> = Vec::new();
    while let Some(path) = todo.pop_front() {
        if seen.insert(path.clone()) {
            directories.push(program_directory(&context, &path)?.into());
            todo.extend(propagated(&context, &path)?);
        }
    }
    if let Some(path) = variables.get(OsStr::new("PATH")).filter(|path| !path.is_empty()) {
        directories.push(path.clone());
    }
    variables.insert("PATH".into(), directories.join(OsStr::new(":")));
    if command.is_empty() {
        command.push(std::env::var("SHELL").unwrap_or_else(|_| "bash".into()));
    }
    let arguments: Vec<OsString> = command[1..].iter().map(OsString::from).collect();
    Err(start(&context, command[0].as_ref(), &arguments, &variables))
}

/// Returns `bin` of a path, or where a link in the store leads from there.
fn program_directory(context: &Context, path: &StorePath) -> Outcome<String> {
    let store_dir = context.store.store_dir();
    let logical = format!("{}/bin", store_dir.display(path));
    let real_store = context.store.real_store_dir().unwrap_or_else(|| PathBuf::from(store_dir.as_str()));
    // Links inside of a rooted store say logical paths.
    let mut current = PathBuf::from(&logical);
    for _ in 0..40 {
        let Ok(inside) = current.strip_prefix(store_dir.as_str()) else {
            return Err(Failure::new(format!("path '{}' is not in the Nix store", current.display())));
        };
        let mut at = PathBuf::new();
        let mut next = None;
        for component in inside.components() {
            let parent = at.clone();
            at.push(component);
            if let Ok(target) = std::fs::read_link(real_store.join(&at)) {
                let rest = inside.strip_prefix(&at).unwrap_or(Path::new(""));
                let joined = Path::new(store_dir.as_str()).join(parent).join(target).join(rest);
                let text = joined.into_os_string().into_encoded_bytes();
                let text = String::from_utf8_lossy(&nixlang::path::canonicalise(&text)).into_owned();
                next = Some(PathBuf::from(text));
                break;
            }
        }
        match next {
            Some(next) => current = next,
            None => return Ok(current.display().to_string()),
        }
    }
    Err(Failure::new(format!("too many links in '{logical}'")))
}

/// Returns the paths that want to be in an environment together with this one.
fn propagated(context: &Context, path: &StorePath) -> Outcome<Vec<StorePath>> {
    let store_dir = context.store.store_dir();
    let real_store = context.store.real_store_dir().unwrap_or_else(|| PathBuf::from(store_dir.as_str()));
    let file = real_store.join(path.base_name()).join("nix-support/propagated-user-env-packages");
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(Vec::new()) };
    text.split_whitespace().map(|path| store_dir.parse(path).map_err(|error| Failure::from_error(&error))).collect()
}
