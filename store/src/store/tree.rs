//! Looking into an object through its NAR, for stores that have no shorter way.

use std::io::{BufReader, Write};

use crate::error::{Result, StoreError};
use crate::nar::{Event, Listing, NarReader};
use crate::path::StorePath;
use crate::store::{Store, with_nar};

/// See [`Store::listing`].
pub(super) fn listing_from_nar<S: Store + ?Sized>(store: &S, path: &StorePath) -> Result<Listing> {
    let mut listing = None;
    with_nar(&mut |sink| store.write_nar(path, sink), &mut |nar| {
        listing = Some(Listing::read(BufReader::new(nar)).map_err(|error| StoreError::format("reading a NAR", error))?);
        Ok(())
    })?;
    Ok(listing.expect("it was read"))
}

/// See [`Store::write_file`].
pub(crate) fn file_from_nar<S: Store + ?Sized>(
    store: &S,
    path: &StorePath,
    below: &[&[u8]],
    sink: &mut dyn Write,
) -> Result<()> {
    let mut found = false;
    with_nar(&mut |nar| store.write_nar(path, nar), &mut |nar| {
        let mut reader = NarReader::new(BufReader::new(nar));
        // The names on the way to the current node, and whether its contents are wanted.
        let (mut names, mut wanted): (Vec<Vec<u8>>, bool) = (Vec::new(), false);
        while let Some(event) = reader.next_event().map_err(|error| StoreError::format("reading a NAR", error))? {
            match event {
                Event::Entry(name) => names.push(name.to_owned()),
                Event::File { .. } => {
                    wanted = names.iter().map(Vec::as_slice).eq(below.iter().copied());
                    found |= wanted;
                }
                Event::Contents(bytes) if wanted => {
                    sink.write_all(bytes).map_err(|error| StoreError::format("writing a file", error))?;
                }
                Event::EndFile if wanted => return Ok(()),
                Event::EndFile | Event::Symlink(_) | Event::EndDirectory => drop(names.pop()),
                Event::Contents(_) | Event::Directory => {}
            }
        }
        Ok(())
    })?;
    if found {
        return Ok(());
    }
    let mut full = std::path::PathBuf::from(store.store_dir().display(path));
    full.extend(below.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
    Err(StoreError::UnsupportedFileType { path: full })
}
