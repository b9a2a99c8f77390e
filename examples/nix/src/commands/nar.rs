//! `nar …`: archives, made from and looked into as files.

use std::io::{BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nixlang_store::nar::{Event, Listing, NarReader};

use super::listing::{ListFlags, print_listing};
use super::Invocation;
use crate::failure::{Failure, Outcome, plain};

/// `nar pack PATH`, `nar dump-path PATH`
pub(super) fn pack(mut invocation: Invocation) -> Outcome<u8> {
    let words = invocation.words(|_, _| Ok(false))?;
    let is_alias = invocation.name == "nar dump-path";
    let context = invocation.context()?;
    if is_alias {
        context.ui.warn("'nar dump-path' is a deprecated alias for 'nar pack'");
    }
    let [word] = &words[..] else { return Err(Failure::Usage("'nar pack' requires one path".into())) };
    let stdout = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    nixlang_store::fs::dump_into_file(Path::new(word), false, &stdout)?;
    Ok(0)
}

fn open(file: &str) -> Outcome<BufReader<std::fs::File>> {
    let opened = std::fs::File::open(file).map_err(|error| Failure::new(format!("opening NAR file \"{file}\": {}", plain(&error))))?;
    Ok(BufReader::with_capacity(1 << 16, opened))
}

fn bad(error: nixlang_store::nar::NarError) -> Failure {
    Failure::from_error(&error)
}

/// `nar ls NAR PATH`
pub(super) fn ls(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = ListFlags::default();
    let words = invocation.words(|flag, _| Ok(flags.flag(flag)))?;
    invocation.context()?;
    let [file, path] = &words[..] else { return Err(Failure::Usage("'nar ls' requires an archive and a path in it".into())) };
    let listing = Listing::read(open(file)?).map_err(bad)?;
    print_listing(&listing, path, flags, true)
}

/// `nar cat NAR PATH`
pub(super) fn cat(mut invocation: Invocation) -> Outcome<u8> {
    let words = invocation.words(|_, _| Ok(false))?;
    invocation.context()?;
    let [file, path] = &words[..] else { return Err(Failure::Usage("'nar cat' requires an archive and a path in it".into())) };
    let wanted: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let mut reader = NarReader::new(open(file)?);
    let mut stdout = std::io::stdout().lock();
    let (mut names, mut is_wanted, mut found): (Vec<Vec<u8>>, bool, bool) = (Vec::new(), false, false);
    // The archive is read to its end, to be sure that it is one.
    while let Some(event) = reader.next_event().map_err(bad)? {
        match event {
            Event::Entry(name) => names.push(name.to_owned()),
            Event::File { .. } => {
                is_wanted = names.iter().map(Vec::as_slice).eq(wanted.iter().copied());
                found |= is_wanted;
            }
            Event::Contents(bytes) if is_wanted => stdout.write_all(bytes)?,
            Event::EndFile | Event::Symlink(_) | Event::EndDirectory => drop(names.pop()),
            Event::Contents(_) | Event::Directory => {}
        }
    }
    if found { Ok(0) } else { Err(Failure::new(format!("NAR does not contain regular file '{path}'"))) }
}
