//! Reading, copying and moving what a builder made.
//!
//! The surprising part: copying goes through the NAR, so that hashing and scanning see exactly what is registered.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nixlang_store::derivation::OutputName;
use nixlang_store::error::StoreError;
use nixlang_store::fs::{dump, remove_tree};
use nixlang_store::git_hash::hash_nar;
use nixlang_store::hash::{Algorithm, Hash, Hasher};
use nixlang_store::path::StorePath;
use nixlang_store::references::ReferenceScanner;
use nixlang_store::store::with_nar;

use crate::error::BuildError;
use crate::prepare::Prepared;

/// Hashes and counts.
pub(super) struct HashSink(pub(super) Hasher, pub(super) u64);

impl Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes a file tree as git does.
pub(super) fn git_hash(at: &Path, algorithm: Algorithm) -> Result<Hash, BuildError> {
    let mut hash = None;
    with_nar(&mut |sink| dump(at, None, sink), &mut |nar| {
        let hashed = hash_nar(algorithm, BufReader::new(nar));
        hash = Some(hashed.map_err(|error| StoreError::format("hashing an output as git does", error))?);
        Ok(())
    })?;
    Ok(hash.expect("it was read without an error"))
}

/// Takes a NAR: hashes it, counts it, looks for references.
pub(super) struct Pass {
    hash: Hasher,
    /// In another algorithm, if a fixed output needs that.
    pub(super) other_hash: Option<Hasher>,
    size: u64,
    scanner: Option<ReferenceScanner>,
}

impl Pass {
    pub(super) fn new(prepared: &Prepared, name: &OutputName, other: Algorithm) -> Pass {
        let scanner = (!prepared.options.discard_references.contains(name.as_str())).then(|| {
            let own = prepared.outputs.values().map(|place| place.scratch.clone());
            ReferenceScanner::new(prepared.inputs.iter().cloned().chain(own))
        });
        let other_hash = (other != Algorithm::Sha256).then(|| Hasher::new(other));
        Pass { hash: Hasher::new(Algorithm::Sha256), other_hash, size: 0, scanner }
    }

    pub(super) fn finish(self) -> (Hash, u64, BTreeSet<StorePath>) {
        let references = self.scanner.map(ReferenceScanner::into_found).unwrap_or_default();
        (self.hash.finish(), self.size, references)
    }
}

impl Write for Pass {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        if let Some(hash) = &mut self.other_hash {
            hash.update(bytes);
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.update(bytes);
        }
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a file tree as its NAR, which `pass` sees as well.
pub(super) fn copy_through<W: Write>(from: &Path, to: &Path, pass: &mut W) -> Result<(), BuildError> {
    struct Tee<'t, W>(&'t mut W, io::PipeWriter);
    impl<W: Write> Write for Tee<'_, W> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n_bytes = self.1.write(bytes)?;
            self.0.write_all(&bytes[..n_bytes])?;
            Ok(n_bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.flush()
        }
    }
    super::rewrite::pipe_through(from, to, |pipe| Tee(pass, pipe), |_| Ok(()))
}

pub(super) fn hash_file(path: &Path, algorithm: Algorithm) -> Result<Hash, BuildError> {
    let failed = |error| BuildError::io("reading", path)(error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let mut hash = Hasher::new(algorithm);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.finish()),
            Ok(n_bytes) => hash.update(&buffer[..n_bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BuildError::io("reading", path)(error)),
        }
    }
}

/// Renames a file tree. An ordinary user may only move directories that are writable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), BuildError> {
    let metadata = fs::symlink_metadata(from).map_err(BuildError::io("reading the status of", from))?;
    let mode = metadata.permissions().mode();
    let unlock = metadata.is_dir() && mode & 0o200 == 0 && !rustix::process::geteuid().is_root();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(BuildError::io("changing permissions of", path))
    };
    if unlock {
        set_mode(from, mode | 0o200)?;
    }
    fs::rename(from, to).map_err(BuildError::io("moving into place", to))?;
    if unlock {
        set_mode(to, mode)?;
    }
    Ok(())
}

/// Puts `new` in the place of the damaged `old`, which is there at every moment but one.
pub(super) fn replace(new: &Path, old: &Path) -> Result<(), BuildError> {
    let aside = old.with_added_extension(format!("old-{}", std::process::id()));
    remove_tree(&aside)?;
    if old.symlink_metadata().is_ok() {
        rename(old, &aside)?;
    }
    rename(new, old)?;
    remove_tree(&aside)?;
    Ok(())
}
