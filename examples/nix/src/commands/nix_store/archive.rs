//! `nix-store --dump`, `--restore`, `--export`, `--import`: NARs, alone or in the reference's export format.
//!
//! An export is, per path: the number 1, the NAR, a magic number, the path, its references, its deriver, and a 0 where there once was a
//! signature; a 0 ends it all (`export-import.cc` of 2.34).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use nixlang_store::closure::topologically_sorted;
use nixlang_store::fs::{Metadata, dump as dump_tree, restore as restore_tree};
use nixlang_store::hash::{Algorithm, Hasher};
use nixlang_store::nar::NarReader;
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::store::Store;
use nixlang_store::wire::{DEFAULT_LIMIT, WireRead, WireWrite};

use super::Call;
use crate::failure::{Failure, Outcome};

/// Stands behind the NAR.
const MAGIC: u64 = 0x4558_494e;
/// References of one path.
const MAX_REFERENCES: usize = 1 << 20;

pub(super) fn dump(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("only one argument allowed".into())) };
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    dump_tree(Path::new(word), None, &mut stdout)?;
    stdout.flush()?;
    Ok(0)
}

pub(super) fn restore(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("only one argument allowed".into())) };
    restore_tree(&mut BufReader::with_capacity(1 << 16, std::io::stdin().lock()), Path::new(word), Metadata::Ordinary)?;
    Ok(0)
}

pub(super) fn export(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let store = call.store()?;
    let paths: BTreeSet<_> = call.paths()?.into_iter().collect();
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for path in topologically_sorted(&**store, &paths)? {
        let info = store.path_info(&path)?;
        stdout.write_number(1)?;
        store.write_nar(&path, &mut stdout)?;
        stdout.write_number(MAGIC)?;
        stdout.write_bytes(call.show(&path).as_bytes())?;
        stdout.write_number(info.info.references.len() as u64)?;
        for reference in &info.info.references {
            stdout.write_bytes(call.show(reference).as_bytes())?;
        }
        stdout.write_bytes(info.info.deriver.as_ref().map(|deriver| call.show(deriver)).unwrap_or_default().as_bytes())?;
        stdout.write_number(0)?;
    }
    stdout.write_number(0)?;
    stdout.flush()?;
    Ok(0)
}

pub(super) fn import(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let mut stdin = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
    let wire = |error: nixlang_store::wire::WireError| Failure::new(format!("input doesn't look like something created by 'nix-store --export': {error}"));
    loop {
        match stdin.read_number().map_err(wire)? {
            0 => return Ok(0),
            1 => {}
            _ => return Err(Failure::new("input doesn't look like something created by 'nix-store --export'")),
        }
        // The path comes behind the contents, so those are kept until it is known.
        let mut tee = Tee { source: &mut stdin, copy: std::io::BufWriter::new(tempfile::tempfile()?), hasher: Hasher::new(Algorithm::Sha256), size: 0, failed: None };
        let mut nar = NarReader::new(&mut tee);
        while nar.next_event().map_err(|error| Failure::from_error(&error))?.is_some() {}
        drop(nar);
        let Tee { copy, hasher, size, failed, .. } = tee;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let mut copy = copy.into_inner().map_err(|error| Failure::from(error.into_error()))?;
        copy.rewind()?;
        if stdin.read_number().map_err(wire)? != MAGIC {
            return Err(Failure::new("Nix archive cannot be imported; wrong format"));
        }
        let store_dir = call.context.store.store_dir();
        let parse = |bytes: &[u8]| store_dir.parse(bytes).map_err(|error| Failure::new(error.to_string()));
        let path = parse(&stdin.read_bytes(DEFAULT_LIMIT).map_err(wire)?)?;
        let n_references = stdin.read_number().map_err(wire)?;
        if n_references > MAX_REFERENCES as u64 {
            return Err(Failure::new("Nix archive cannot be imported; too many references"));
        }
        let mut info = UnkeyedPathInfo::new(hasher.finish(), size);
        for _ in 0..n_references {
            info.references.insert(parse(&stdin.read_bytes(DEFAULT_LIMIT).map_err(wire)?)?);
        }
        let deriver = stdin.read_bytes(DEFAULT_LIMIT).map_err(wire)?;
        info.deriver = if deriver.is_empty() { None } else { Some(parse(&deriver)?) };
        if stdin.read_number().map_err(wire)? == 1 {
            // A signature of old times, which nobody reads.
            stdin.read_bytes(DEFAULT_LIMIT).map_err(wire)?;
        }
        call.store()?.add_nar(&PathInfo { path: path.clone(), info }, &mut copy, &nixlang_store::store::AddOptions::trusted())?;
        println!("{}", call.show(&path));
    }
}

/// Reads, and keeps what was read.
struct Tee<'s, R> {
    source: &'s mut R,
    copy: std::io::BufWriter<std::fs::File>,
    hasher: Hasher,
    size: u64,
    /// Why keeping failed, for the next read.
    failed: Option<std::io::Error>,
}

impl<R: BufRead> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Tee<'_, R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.source.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        let kept = match self.source.fill_buf() {
            Ok(buffer) => {
                let read = &buffer[..n.min(buffer.len())];
                self.hasher.update(read);
                self.copy.write_all(read)
            }
            Err(error) => Err(error),
        };
        self.failed = kept.err();
        self.size += n as u64;
        self.source.consume(n);
    }
}
