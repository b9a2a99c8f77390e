//! `store …`: work on the store, in the words of the new command line. What they do is below `store/`.

mod add;
mod collect;
mod content_address;
mod look;
mod sign;
mod verify;

use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::failure::{Failure, Outcome};

pub(super) use add::add;
pub(super) use collect::{delete, gc, optimise};
pub(super) use content_address::make_content_addressed;
pub(super) use look::{cat, dump_path, ls, path_from_hash_part};
pub(super) use sign::{copy_signatures, sign};
pub(super) use verify::{has_its_hash, repair, verify};

/// Splits a path in the store into the valid path and what is below.
fn split(context: &Context, store: &dyn Store, word: &str) -> Outcome<(StorePath, String)> {
    let (path, rest) = context.store.store_dir().split_store_path(word.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    if !store.is_valid(&path)? {
        return Err(store.invalid(&path).into());
    }
    Ok((path, String::from_utf8_lossy(&rest).into_owned()))
}

/// `store info`
pub(super) fn info(mut invocation: Invocation) -> Outcome<u8> {
    let mut json = false;
    invocation.words(|flag, _| {
        json |= flag == "--json";
        Ok(flag == "--json")
    })?;
    let context = invocation.context()?;
    let store = context.store.open()?;
    let url = store.address();
    let trusted = store.trusts_this_client()?;
    let version = match context.store.service()? {
        Some(service) => service.version()?,
        // One that is only files has no version.
        None => store.capabilities().local_files.then(|| super::VERSION.to_owned()),
    };
    if json {
        let mut info = serde_json::json!({ "url": url });
        if let Some(version) = version {
            info["version"] = version.into();
        }
        if let Some(trusted) = trusted {
            info["trusted"] = trusted.into();
        }
        println!("{info}");
    } else {
        let mut text = format!("Store URL: {url}");
        if let Some(version) = version {
            text.push_str(&format!("\nVersion: {version}"));
        }
        if let Some(trusted) = trusted {
            text.push_str(&format!("\nTrusted: {}", u8::from(trusted)));
        }
        context.ui.line(crate::ui::Verbosity::ERROR, &text);
    }
    Ok(0)
}
