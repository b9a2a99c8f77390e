//! From a reference to a [`Flake`]: registries, fetching, and fetching again where the `flake.nix` says how its own tree is to be fetched.

use nixlang_store::input::{Attrs, FlakeRef};

use super::read::read;
use super::{FetchedFlake, Flake, UseRegistries};
use crate::builtins::fetch::tree::fetch_unchecked;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::FetchedInput;

fn wrong(message: String) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}

/// Fetches the tree of a reference. Returns what the registries made of it too, and what they say of the flake.
pub(super) fn fetch(eval: &Evaluator<'_>, reference: &FlakeRef, registries: UseRegistries) -> EvalResult<(FetchedInput, FlakeRef, Attrs)> {
    let mut input = reference.input.clone();
    let mut extra = Attrs::new();
    if !input.is_direct() {
        let only_fixed = match registries {
            UseRegistries::No => return Err(wrong(format!("'{input}' is an indirect flake reference, but registry lookups are not allowed"))),
            UseRegistries::Limited => true,
            UseRegistries::All => false,
        };
        (input, extra) = eval.host.resolve_input(&input, only_fixed).map_err(|error| eval.host_error(error))?;
    }
    let fetched = fetch_unchecked(eval, &input)?;
    let subdir = extra.get("dir").map_or_else(|| reference.subdir.clone(), ToString::to_string);
    Ok((fetched, FlakeRef::new(input, subdir), extra))
}

/// Fetches a flake and reads its `flake.nix`. `prefix` is where it is in the lock file that is made; empty for the flake itself.
///
/// # Errors
/// When it can't be had, or is no flake.
pub fn get_flake(eval: &Evaluator<'_>, reference: &FlakeRef, registries: UseRegistries, prefix: &[String]) -> EvalResult<Flake> {
    let (fetched, resolved, _) = fetch(eval, reference, registries)?;
    let flake = read(eval, of_tree(eval, reference, &resolved, fetched.clone()), prefix)?;
    let mut wanted = fetched.input.clone();
    for (name, attr) in &flake.self_attrs {
        if !matches!(name.as_str(), "submodules" | "lfs") {
            return Err(wrong(format!("flake 'self' attribute '{name}' is not supported")));
        }
        wanted.set(name, attr.clone());
    }
    if wanted == fetched.input {
        return Ok(flake);
    }
    eval.host.debug(&format!("refetching input '{wanted}' due to self attribute"));
    // Another tree has another hash.
    wanted.remove("narHash");
    let fetched = fetch_unchecked(eval, &wanted)?;
    read(eval, of_tree(eval, reference, &resolved, fetched), prefix)
}

/// Reads the `flake.nix` in a directory of another flake.
pub(super) fn read_relative(eval: &Evaluator<'_>, reference: &FlakeRef, parent: &[u8], directory: &[u8], prefix: &[String]) -> EvalResult<Flake> {
    check_relative(eval, parent, directory)?;
    let directory = [directory, b"/", reference.subdir.as_bytes()].concat();
    let (original, resolved, locked) = (reference.clone(), reference.clone(), reference.clone());
    read(eval, FetchedFlake { original, resolved, locked, tree: None, directory, fingerprint: None }, prefix)
}

/// Fails if a relative path leads out of the tree that it is in. It may lead to another store path where everything may be read.
fn check_relative(eval: &Evaluator<'_>, parent: &[u8], directory: &[u8]) -> EvalResult<()> {
    let store_dir = eval.host.store_dir();
    let tree = |path: &[u8]| store_dir.split_store_path(path).map(|(tree, _)| tree);
    match (tree(parent), tree(directory)) {
        (Ok(parent), Ok(directory)) if parent == directory => Ok(()),
        (Err(_), _) => Ok(()),
        _ if eval.options.pure => {
            let path = String::from_utf8_lossy(directory);
            let message = format!("access to absolute path '{path}' is forbidden in pure evaluation mode (use '--impure' to override)");
            Err(EvalError::new(ErrorKind::Restricted, message))
        }
        (_, Err(error)) => Err(wrong(error.to_string())),
        _ => Ok(()),
    }
}

fn of_tree(eval: &Evaluator<'_>, original: &FlakeRef, resolved: &FlakeRef, fetched: FetchedInput) -> FetchedFlake {
    let root = eval.host.store_dir().display(&fetched.store_path);
    FetchedFlake {
        original: original.clone(),
        resolved: resolved.clone(),
        directory: format!("{root}/{}", resolved.subdir).into_bytes(),
        fingerprint: fetched.fingerprint,
        locked: FlakeRef::new(fetched.input, resolved.subdir.clone()),
        tree: Some(fetched.store_path),
    }
}
