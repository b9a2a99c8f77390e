//! The export format: paths with their NARs and what the reference knows of them, one after the other.
//!
//! Per path: the number 1, the NAR, a magic number, the full path, its references, its deriver (or nothing), and 0 where
//! there once was a signature; a 0 ends it all. The surprising thing: hash and size are not in it, and the path comes
//! behind the contents, so a reader keeps those until it knows whose they are.
//!
//! Format source: `export-import.cc` of 2.34; the daemon and `nix-store --serve` speak it as well.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Seek, Write};

use crate::addressed::{NarHasher, Tee, parse_nar};
use crate::closure::topologically_sorted;
use crate::error::{Result, StoreError};
use crate::hash::HashFormat;
use crate::path::StorePath;
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::store::{AddOptions, Store};
use crate::wire::{WireError, WireRead, WireWrite};

/// Stands behind the NAR.
const MAGIC: u64 = 0x4558_494e;
/// Most references that one path may have.
const MAX_REFERENCES: u64 = 1 << 20;
/// Longest store path, with its directory, in bytes.
const MAX_PATH: usize = 4096;
/// A NAR up to this size is kept in memory, a larger one in an unnamed file, in bytes.
const MEMORY_LIMIT: usize = 4 * 1024 * 1024;

/// Writes these paths, each after those that it refers to.
///
/// # Errors
/// [`StoreError::InvalidPath`]; [`StoreError::HashMismatch`] when the contents of a path are not what was registered;
/// what reading the store and writing give.
pub fn export_paths(store: &dyn Store, paths: &BTreeSet<StorePath>, sink: &mut dyn Write) -> Result<()> {
    for path in topologically_sorted(store, paths)? {
        sink.write_number(1).map_err(write_error)?;
        export_path(store, &path, sink)?;
    }
    sink.write_number(0).map_err(write_error)
}

/// Writes one path, without the number before it.
///
/// # Errors
/// As [`export_paths`].
pub fn export_path(store: &dyn Store, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
    let dir = store.store_dir();
    let info = store.path_info(path)?;
    let mut hasher = NarHasher::new();
    store.write_nar(path, &mut Both { first: &mut hasher, second: sink })?;
    let (got, _) = hasher.finish();
    if got != info.info.nar_hash {
        return Err(StoreError::HashMismatch {
            path: dir.display(path),
            specified: info.info.nar_hash.format(HashFormat::Nix32, true),
            got: got.format(HashFormat::Nix32, true),
        });
    }
    let mut facts = || -> io::Result<()> {
        sink.write_number(MAGIC)?;
        sink.write_bytes(dir.display(path).as_bytes())?;
        sink.write_number(info.info.references.len() as u64)?;
        for reference in &info.info.references {
            sink.write_bytes(dir.display(reference).as_bytes())?;
        }
        let deriver = info.info.deriver.as_ref().map(|deriver| dir.display(deriver));
        sink.write_bytes(deriver.unwrap_or_default().as_bytes())?;
        sink.write_number(0)
    };
    facts().map_err(write_error)
}

/// Reads paths and adds them, until the 0 behind the last. Returns them in their order.
///
/// # Errors
/// When what comes is no export, and as [`Store::add_nar`]. What was added until then stays.
pub fn import_paths(store: &dyn Store, source: &mut dyn BufRead, options: &AddOptions) -> Result<Vec<StorePath>> {
    let mut imported = Vec::new();
    loop {
        match source.read_number().map_err(wire_error)? {
            0 => return Ok(imported),
            1 => imported.push(import_path(store, source, options)?),
            _ => return Err(malformed("input doesn't look like something created by 'nix-store --export'")),
        }
    }
}

/// Reads one path and adds it.
fn import_path(store: &dyn Store, source: &mut dyn BufRead, options: &AddOptions) -> Result<StorePath> {
    let mut hasher = NarHasher::new();
    let mut kept = Kept { memory: Some(Vec::new()), file: None };
    {
        let mut both = Both { first: &mut hasher, second: &mut kept };
        parse_nar(&mut Tee::new(source, &mut both))?;
    }
    let (nar_hash, nar_size) = hasher.finish();
    if source.read_number().map_err(wire_error)? != MAGIC {
        return Err(malformed("Nix archive cannot be imported; wrong format"));
    }
    let dir = store.store_dir();
    let path = |source: &mut dyn BufRead| -> Result<Option<StorePath>> {
        let bytes = source.read_bytes(MAX_PATH).map_err(wire_error)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        dir.parse(&bytes).map(Some).map_err(|error| StoreError::BadStorePath {
            path: String::from_utf8_lossy(&bytes).into_owned(),
            reason: error.to_string(),
        })
    };
    let missing = || malformed("Nix archive cannot be imported; a path is missing");
    let own = path(source)?.ok_or_else(missing)?;
    let n_references = source.read_number().map_err(wire_error)?;
    if n_references > MAX_REFERENCES {
        return Err(malformed("Nix archive cannot be imported; too many references"));
    }
    let mut info = UnkeyedPathInfo::new(nar_hash, nar_size);
    for _ in 0..n_references {
        info.references.insert(path(source)?.ok_or_else(missing)?);
    }
    info.deriver = path(source)?;
    if source.read_number().map_err(wire_error)? == 1 {
        // A signature of old times, which nobody reads.
        source.read_bytes(MAX_PATH).map_err(wire_error)?;
    }
    let info = PathInfo { path: own, info };
    match (kept.memory, kept.file) {
        (Some(bytes), _) => store.add_nar(&info, &mut bytes.as_slice(), options)?,
        (None, Some(mut file)) => {
            file.rewind().map_err(|error| StoreError::format("keeping a NAR", error))?;
            store.add_nar(&info, &mut io::BufReader::with_capacity(64 * 1024, file), options)?;
        }
        (None, None) => unreachable!("what leaves memory is in the file"),
    }
    Ok(info.path)
}

fn wire_error(error: WireError) -> StoreError {
    StoreError::format("importing paths", error)
}

fn write_error(error: io::Error) -> StoreError {
    StoreError::format("exporting paths", error)
}

fn malformed(message: &'static str) -> StoreError {
    StoreError::format("importing paths", message)
}

/// Writes everything to two sinks.
struct Both<'s> {
    first: &'s mut dyn Write,
    second: &'s mut dyn Write,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.first.write_all(bytes)?;
        self.second.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.second.flush()
    }
}

/// Keeps what is written: a little in memory, much in a file.
struct Kept {
    memory: Option<Vec<u8>>,
    file: Option<std::fs::File>,
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(memory) = &mut self.memory {
            if memory.len() + bytes.len() <= MEMORY_LIMIT {
                memory.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            let mut file = tempfile::tempfile()?;
            file.write_all(memory)?;
            self.file = Some(file);
            self.memory = None;
        }
        self.file.as_mut().expect("memory is full").write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[test]
    fn what_is_exported_is_imported_and_exported_again_as_the_same_bytes() {
        let store = MemoryStore::default();
        let first = store.add_text("first", b"1", &BTreeSet::new()).unwrap();
        let second = store.add_text("second", &[7; 5 << 20], &BTreeSet::from([first.clone()])).unwrap();
        let paths = BTreeSet::from([first.clone(), second.clone()]);
        let mut bytes = Vec::new();
        export_paths(&store, &paths, &mut bytes).unwrap();
        let other = MemoryStore::default();
        let mut imported = import_paths(&other, &mut bytes.as_slice(), &AddOptions::trusted()).unwrap();
        imported.sort();
        assert_eq!(imported, paths.iter().cloned().collect::<Vec<_>>());
        let mut again = Vec::new();
        export_paths(&other, &paths, &mut again).unwrap();
        // The NARs and facts are the same, content addresses are not part of the format.
        assert!(again == bytes);
    }

    #[test]
    fn hostile_exports_are_refused() {
        let store = MemoryStore::default();
        let path = store.add_text("x", b"1", &BTreeSet::new()).unwrap();
        let mut good = Vec::new();
        export_paths(&store, &BTreeSet::from([path]), &mut good).unwrap();
        for length in 0..good.len() {
            let other = MemoryStore::default();
            assert!(import_paths(&other, &mut &good[..length], &AddOptions::trusted()).is_err(), "cut at {length}");
        }
        for place in (0..good.len()).step_by(8) {
            let mut bad = good.clone();
            bad[place..place + 8].fill(0xff);
            let _ = import_paths(&MemoryStore::default(), &mut bad.as_slice(), &AddOptions::trusted());
        }
    }
}
