//! `nix-copy-closure`: paths and all they refer to, from or to the store of another machine.

use nixlang_store::copy::{CopyOptions, copy};

use super::Invocation;
use crate::failure::{Failure, Outcome};
use crate::installables::store_path;
use crate::store_choice::StoreChoice;

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let (mut is_from, mut gzip, mut substitute) = (false, false, false);
    let mut notes = Vec::new();
    let words = invocation.words(|flag, _| {
        match flag {
            "--from" => is_from = true,
            "--to" => is_from = false,
            "--gzip" => gzip = true,
            "--bzip2" | "--xz" => {
                notes.push(format!("'{flag}' is not implemented, falling back to gzip"));
                gzip = true;
            }
            "--show-progress" => notes.push("'--show-progress' is not implemented".to_owned()),
            "--use-substitutes" | "-s" => substitute = true,
            // As in the reference these two change nothing.
            "--include-outputs" | "--dry-run" => {}
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = invocation.context()?;
    for note in notes {
        context.ui.warn(note);
    }
    let Some((host, words)) = words.split_first() else { return Err(Failure::Usage("no host name specified".into())) };
    let address = format!("ssh://{host}{}", if gzip { "?compress=true" } else { "" });
    let there = StoreChoice::at(&context.settings, &address)?.any()?;
    let here = context.store.open()?;
    let (from, to) = if is_from { (&there, here) } else { (here, &there) };
    let paths = words.iter().map(|word| store_path(&context, word).ok_or_else(|| Failure::new(format!("path '{word}' is not in the Nix store"))));
    let closure = from.closure(&paths.collect::<Outcome<Vec<_>>>()?)?;
    let mut options = CopyOptions::default();
    options.check_signatures = false;
    options.substitute = substitute;
    copy(&**from, &**to, &closure, &options, &())?;
    Ok(0)
}
