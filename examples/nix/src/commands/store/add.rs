//! `store add…`: files into the store.

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::Algorithm;

use super::super::Invocation;
use super::super::nix_store::add_path;
use crate::failure::{Failure, Outcome};

/// `store add [--name NAME] [--mode flat|nar|text|git] [--hash-algo ALGORITHM] [--dry-run] PATH`
pub(in crate::commands) fn add(mut invocation: Invocation) -> Outcome<u8> {
    let (mut method, mut algorithm, mut name) = (ContentAddressMethod::Nar, Algorithm::Sha256, None);
    if invocation.name == "store add-file" {
        method = ContentAddressMethod::Flat;
    }
    let mut dry_run = false;
    let words = invocation.words(|flag, args| {
        match flag {
            "-n" | "--name" => name = Some(args.value(flag)?),
            "--mode" => {
                method = match args.value(flag)?.as_str() {
                    "flat" => ContentAddressMethod::Flat,
                    "nar" | "recursive" => ContentAddressMethod::Nar,
                    "text" => ContentAddressMethod::Text,
                    "git" => ContentAddressMethod::Git,
                    other => return Err(Failure::Usage(format!("unknown or unsupported file ingestion mode '{other}'"))),
                }
            }
            "--hash-algo" => algorithm = args.value(flag)?.parse().map_err(|error: nixlang_store::hash::HashError| Failure::Usage(error.to_string()))?,
            "--dry-run" => dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = invocation.context()?;
    if method == ContentAddressMethod::Git && !context.settings.list("experimental-features").any(|feature| feature == "git-hashing") {
        let message = "experimental Nix feature 'git-hashing' is disabled; add '--extra-experimental-features git-hashing' to enable it";
        return Err(Failure::new(message));
    }
    for word in words {
        let path = std::path::absolute(&word)?;
        let base = path.file_name().map(|base| base.to_string_lossy().into_owned()).unwrap_or_default();
        let added = add_path(&context, name.as_deref().unwrap_or(&base), &path, method, algorithm, dry_run)?;
        println!("{}", context.store.store_dir().display(&added));
    }
    Ok(0)
}
