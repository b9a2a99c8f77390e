//! Adding by contents over a connection: what the daemon has already is not sent.
//!
//! The path follows from the contents, so it is worked out here first where that costs one reading at most, rooted and
//! asked for; only what is missing travels.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, Read, Write};
use std::path::Path;

use super::DaemonStore;
use crate::addressed::{Spool, Tee, address, parse_nar, write_file_nar};
use crate::content_address::ContentAddressMethod;
use crate::error::{Result, StoreError};
use crate::nar::{Event, NarReader};
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::store::{Addressing, Contents, FileKind, Filter, Store, Text, text_info};
use crate::wire::message::{Dialect, Message, MethodAndAlgorithm};
use crate::wire::operations::Operation;
use crate::wire::{FramedWriter, WireError, WireWrite};

use super::Write1;

/// A source's archive is kept in memory up to this size, in bytes, instead of being read again.
const SPOOL_LIMIT: usize = 8 * 1024 * 1024;

/// See [`Store::add_contents`].
pub(super) fn add(store: &DaemonStore, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
    let is_file = matches!(addressing.method, ContentAddressMethod::Flat | ContentAddressMethod::Text);
    match contents {
        Contents::Bytes(bytes) => {
            let info = address(store.store_dir(), addressing, &mut |sink| write_file_nar(sink, bytes))?;
            if is_there(store, &info.path)? {
                return Ok(info);
            }
            send(store, addressing, &mut |sink| {
                if is_file { Ok(sink.write_all(bytes).map_err(WireError::from)?) } else { write_file_nar(sink, bytes) }
            })
        }
        Contents::Nar(nar) => send(store, addressing, &mut |sink| {
            if is_file {
                copy_file_of_nar(nar, addressing.name, sink)
            } else {
                parse_nar(&mut Tee::new(&mut std::io::BufReader::new(&mut *nar), sink))
            }
        }),
        Contents::Tree { path, filter } => add_tree(store, addressing, path, filter, is_file),
    }
}

fn add_tree(
    store: &DaemonStore,
    addressing: &Addressing<'_>,
    path: &Path,
    mut filter: Option<&mut Filter<'_>>,
    is_file: bool,
) -> Result<PathInfo> {
    // The filter is asked once per file, whatever the number of passes: it may be slow, or answer differently.
    let mut taken = BTreeMap::new();
    let has_filter = filter.is_some();
    let mut spooled = Some(Vec::new());
    let info = address(store.store_dir(), addressing, &mut |sink| {
        let mut spool = Spool { bytes: &mut spooled, limit: SPOOL_LIMIT, sink, stop: None };
        match &mut filter {
            None => crate::fs::dump(path, None, &mut spool),
            Some(filter) => {
                let mut remember = |path: &Path, kind: FileKind| {
                    let take = filter(path, kind);
                    taken.insert(path.to_owned(), take);
                    take
                };
                crate::fs::dump(path, Some(&mut remember), &mut spool)
            }
        }
    })?;
    if is_there(store, &info.path)? {
        return Ok(info);
    }
    let added = send(store, addressing, &mut |sink| match (&spooled, is_file) {
        (Some(nar), true) => copy_file_of_nar(&mut nar.as_slice(), addressing.name, sink),
        (Some(nar), false) => Ok(sink.write_all(nar).map_err(WireError::from)?),
        (None, true) => {
            let mut file = std::fs::File::open(path).map_err(|error| StoreError::io("opening", path, error))?;
            std::io::copy(&mut file, sink).map(drop).map_err(|error| StoreError::io("reading", path, error))
        }
        (None, false) => {
            let mut replay = |path: &Path, _: FileKind| taken.get(path).copied().unwrap_or(false);
            let filter: Option<&mut Filter<'_>> = if has_filter { Some(&mut replay) } else { None };
            let mut buffered = std::io::BufWriter::with_capacity(64 * 1024, sink);
            let dumped = crate::fs::dump(path, filter, &mut buffered)
                .and_then(|()| Ok(buffered.flush().map_err(WireError::from)?));
            let _ = buffered.into_parts();
            dumped
        }
    })?;
    if added.path == info.path { Ok(added) } else { Err(StoreError::TreeChanged { path: path.to_owned() }) }
}

/// Roots a path and tells whether it is valid.
fn is_there(store: &DaemonStore, path: &StorePath) -> Result<bool> {
    store.add_temp_roots(std::slice::from_ref(path))?;
    store.is_valid(path)
}

/// Sends contents in the form that the method has on the wire: a file's bytes, or an archive.
fn send(
    store: &DaemonStore,
    addressing: &Addressing<'_>,
    contents: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
) -> Result<PathInfo> {
    let mut info: PathInfo = store.upload(
        Operation::AddToStore,
        &|sink, dialect| write_head(sink, dialect, addressing),
        contents,
        &Message::read,
    )?;
    // Facts about the daemon's store, not about the object.
    info.info.registration_time = 0;
    info.info.ultimate = false;
    Ok(info)
}

fn write_head(sink: &mut dyn Write, dialect: &Dialect<'_>, addressing: &Addressing<'_>) -> Result<(), WireError> {
    sink.write_bytes(addressing.name.as_bytes())?;
    let Addressing { method, algorithm, .. } = *addressing;
    MethodAndAlgorithm { method, algorithm }.write(sink, dialect)?;
    addressing.references.write(sink, dialect)?;
    // Nothing is repaired.
    false.write(sink, dialect)
}

/// See [`Store::add_texts`]. All that is missing is sent back to back.
pub(super) fn add_texts(store: &DaemonStore, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
    let dir = store.store_dir();
    let infos: Vec<PathInfo> = texts.iter().map(|text| text_info(dir, text)).collect::<Result<_>>()?;
    let paths: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
    store.add_temp_roots(&paths)?;
    let valid = store.are_valid(&paths)?;
    let mut seen = HashSet::new();
    let missing: Vec<_> = texts
        .iter()
        .zip(&paths)
        .zip(valid)
        .filter(|((_, path), valid)| !valid && seen.insert(*path))
        .map(|((text, _), _)| {
            move |sink: &mut dyn Write, dialect: &Dialect<'_>| {
                let addressing = Addressing {
                    name: text.name,
                    method: ContentAddressMethod::Text,
                    algorithm: crate::hash::Algorithm::Sha256,
                    references: text.references.clone(),
                };
                write_head(sink, dialect, &addressing)?;
                let mut frames = FramedWriter::new(sink);
                frames.write_all(text.contents)?;
                frames.finish()?;
                Ok(())
            }
        })
        .collect();
    let requests: Vec<&Write1<'_>> = missing.iter().map(|write| write as &Write1<'_>).collect();
    store.with(|connection| {
        let (dir, log) = (&store.options.store_dir, &*store.options.log);
        connection.batch(dir, log, Operation::AddToStore, &requests, &|source, dialect| PathInfo::read(source, dialect))
    })?;
    Ok(paths)
}

/// Returns the bytes of the one regular file in an archive, piece by piece.
pub(super) fn copy_file_of_nar(nar: &mut dyn Read, name: &str, sink: &mut dyn Write) -> Result<()> {
    let mut reader = NarReader::new(BufReader::new(nar));
    let mut is_file = false;
    while let Some(event) = reader.next_event().map_err(|error| StoreError::format("reading a NAR", error))? {
        match event {
            Event::File { .. } => is_file = true,
            Event::Contents(bytes) => sink.write_all(bytes).map_err(WireError::from)?,
            Event::EndFile => {}
            _ => break,
        }
    }
    if is_file { Ok(()) } else { Err(StoreError::UnsupportedFileType { path: name.into() }) }
}
