//! `nix-store --dump`, `--restore`, `--export`, `--import`: NARs, alone or in the reference's export format.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nixlang_store::export::{export_paths, import_paths};
use nixlang_store::fs::{Metadata, dump_into_file, restore_from_file};
use nixlang_store::store::AddOptions;

use super::Call;
use crate::failure::{Failure, Outcome};

pub(super) fn dump(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("only one argument allowed".into())) };
    let stdout = descriptor(std::io::stdout().as_fd())?;
    dump_into_file(Path::new(word), call.context.settings.is_on("use-case-hack"), &stdout)?;
    Ok(0)
}

pub(super) fn restore(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("only one argument allowed".into())) };
    let stdin = descriptor(std::io::stdin().as_fd())?;
    restore_from_file(&stdin, Path::new(word), Metadata::Ordinary, call.context.settings.is_on("use-case-hack"))?;
    Ok(0)
}

/// Returns a standard stream without what Rust keeps in between; nothing was read or written yet.
fn descriptor(stream: BorrowedFd<'_>) -> Outcome<File> {
    Ok(File::from(stream.try_clone_to_owned()?))
}

pub(super) fn export(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let paths: BTreeSet<_> = call.paths()?.into_iter().collect();
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    export_paths(&**call.store()?, &paths, &mut stdout)?;
    stdout.flush()?;
    Ok(0)
}

pub(super) fn import(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let mut stdin = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
    for path in import_paths(&**call.store()?, &mut stdin, &AddOptions::trusted())? {
        println!("{}", call.show(&path));
    }
    Ok(0)
}
