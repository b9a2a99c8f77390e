//! `nix-store --add`, `--add-fixed`, `--print-fixed-path`.

use std::collections::BTreeSet;
use std::path::Path;

use nixlang_store::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::store::{Addressing, Contents, compute_info};

use super::Call;
use crate::failure::{Failure, Outcome};

pub(super) fn sources(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    add(call, &call.words, ContentAddressMethod::Nar, Algorithm::Sha256)
}

pub(super) fn fixed(call: &Call) -> Outcome<u8> {
    call.only(&["--recursive"])?;
    let Some((algorithm, words)) = call.words.split_first() else { return Err(Failure::Usage("first argument must be hash algorithm".into())) };
    add(call, words, method(call), parse_algorithm(algorithm)?)
}

fn method(call: &Call) -> ContentAddressMethod {
    if call.has(&["--recursive"]) { ContentAddressMethod::Nar } else { ContentAddressMethod::Flat }
}

fn parse_algorithm(name: &str) -> Outcome<Algorithm> {
    name.parse().map_err(|error: nixlang_store::hash::HashError| Failure::Usage(error.to_string()))
}

fn add(call: &Call, words: &[String], method: ContentAddressMethod, algorithm: Algorithm) -> Outcome<u8> {
    for word in words {
        let path = std::path::absolute(word)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        println!("{}", call.show(&add_path(&call.context, &name, &path, method, algorithm, false)?));
    }
    Ok(0)
}

/// Adds a file or directory to the store, or only computes its path with `dry_run`.
pub(crate) fn add_path(
    context: &crate::commands::Context,
    name: &str,
    path: &Path,
    method: ContentAddressMethod,
    algorithm: Algorithm,
    dry_run: bool,
) -> Outcome<nixlang_store::path::StorePath> {
    let addressing = Addressing { name, method, algorithm, references: BTreeSet::new() };
    let bytes;
    let contents = if matches!(method, ContentAddressMethod::Flat | ContentAddressMethod::Text) {
        bytes = std::fs::read(path).map_err(|error| Failure::new(format!("reading file '{}': {}", path.display(), crate::failure::plain(&error))))?;
        Contents::Bytes(&bytes)
    } else {
        Contents::Tree { path, filter: None }
    };
    let info = if dry_run { compute_info(context.store.store_dir(), &addressing, contents)? } else { context.store.any()?.add_contents(&addressing, contents)? };
    Ok(info.path)
}

pub(super) fn print_fixed_path(call: &Call) -> Outcome<u8> {
    call.only(&["--recursive"])?;
    let [algorithm, hash, name] = &call.words[..] else { return Err(Failure::Usage("'--print-fixed-path' requires three arguments".into())) };
    let hash = Hash::parse(hash, Some(parse_algorithm(algorithm)?)).map_err(|error| Failure::new(error.to_string()))?;
    let content = ContentAddressWithReferences::without_references(method(call), hash);
    let path = call.context.store.store_dir().fixed_output_path(name, &content).map_err(|error| Failure::new(error.to_string()))?;
    println!("{}", call.show(&path));
    Ok(0)
}
