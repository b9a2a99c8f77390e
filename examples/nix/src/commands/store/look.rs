//! `store cat`, `store ls`, `store dump-path`, `store path-from-hash-part`: what is in the store.

use std::io::Write;


use super::super::Invocation;
use super::super::listing::{ListFlags, print_listing};
use super::split;
use crate::failure::{Failure, Outcome};
use crate::store_paths::StorePaths;

/// `store dump-path INSTALLABLE`
pub(in crate::commands) fn dump_path(invocation: Invocation) -> Outcome<u8> {
    let (context, paths) = StorePaths::parse(invocation, |_, _| Ok(false))?;
    let store = context.store.any()?;
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for path in paths.of(&context, &*store, false)? {
        store.write_nar(&path, &mut stdout)?;
    }
    stdout.flush()?;
    Ok(0)
}

/// `store cat PATH`
pub(in crate::commands) fn cat(mut invocation: Invocation) -> Outcome<u8> {
    let words = invocation.words(|_, _| Ok(false))?;
    let context = invocation.context()?;
    let store = context.store.any()?;
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for word in words {
        let (path, rest) = split(&context, &*store, &word)?;
        let below: Vec<&[u8]> = rest.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        store.write_file(&path, &below, &mut stdout).map_err(|error| match error {
            nixlang_store::error::StoreError::UnsupportedFileType { .. } => Failure::new(format!("path '{word}' is not a regular file")),
            other => other.into(),
        })?;
    }
    stdout.flush()?;
    Ok(0)
}

/// `store ls [-l] [-R] [-d] [--json] PATH`
pub(in crate::commands) fn ls(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = ListFlags::default();
    let words = invocation.words(|flag, _| Ok(flags.flag(flag)))?;
    let context = invocation.context()?;
    let store = context.store.any()?;
    for word in words {
        let (path, rest) = split(&context, &*store, &word)?;
        print_listing(&store.listing(&path)?, &rest, flags, true)?;
    }
    Ok(0)
}

/// `store path-from-hash-part HASH`
pub(in crate::commands) fn path_from_hash_part(mut invocation: Invocation) -> Outcome<u8> {
    let words = invocation.words(|_, _| Ok(false))?;
    let context = invocation.context()?;
    let [digits] = &words[..] else { return Err(Failure::Usage("'store path-from-hash-part' requires one hash part".into())) };
    let missing = || Failure::new(format!("there is no store path corresponding to '{digits}'"));
    let hash_part = nixlang_store::hash::nix32::decode(digits.as_bytes()).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok()).ok_or_else(missing)?;
    let path = context.store.any()?.path_from_hash_part(&hash_part)?.ok_or_else(missing)?;
    println!("{}", context.store.store_dir().display(&path));
    Ok(0)
}
