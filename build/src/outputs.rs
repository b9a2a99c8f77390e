//! After a builder succeeded: find what it made, give it canonical metadata, hash it and look for references in the
//! same pass, check it against the derivation's rules, move it into place, register it.
//!
//! The surprising part: a fixed output with the wrong hash is registered too, under the path that its real hash gives,
//! so that a corrected derivation need not download it again.

mod checks;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nixlang_store::content_address::{ContentAddress, ContentAddressMethod, ContentAddressWithReferences};
use nixlang_store::derivation::{Derivation, DerivationOutput, OutputName};
use nixlang_store::fs::{dump, remove_tree};
use nixlang_store::hash::{Algorithm, Hash, HashFormat, Hasher};
use nixlang_store::local::LocalStore;
use nixlang_store::local::canonicalise::{CanonicaliseOptions, InodesSeen, canonicalise};
use nixlang_store::path::{MakePathError, StorePath};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};

use nixlang_store::references::ReferenceScanner;
use nixlang_store::store::Store;

use crate::error::BuildError;
use crate::options::{BuildMode, BuildOptions};
use crate::prepare::Prepared;

/// An output that the builder made.
struct Made {
    info: PathInfo,
    /// Where its files are now.
    at: PathBuf,
    /// For a fixed output: the address that it should have.
    specified: Option<ContentAddress>,
}

/// Registers the outputs of a successful build. The caller holds their locks. Returns all output paths.
///
/// With [`BuildMode::Check`] nothing is registered, only compared.
pub(crate) fn register(
    store: &LocalStore,
    options: &BuildOptions,
    path: &StorePath,
    derivation: &Derivation,
    prepared: &Prepared,
    mode: BuildMode,
) -> Result<BTreeMap<OutputName, StorePath>, BuildError> {
    let outputs = Outputs { store, options, path, derivation, prepared };
    let mut valid = BTreeMap::new();
    let mut made = BTreeMap::new();
    let mut seen = InodesSeen::default();
    for (name, place) in &prepared.outputs {
        if mode == BuildMode::Normal && store.is_valid(&place.path)? {
            valid.insert(name.clone(), place.path.clone());
            continue;
        }
        made.insert(name.clone(), outputs.collect(name, &mut seen)?);
    }
    outputs.refuse_cycles(&made)?;
    if mode == BuildMode::Check {
        outputs.compare(&made)?;
    }
    checks::check(store, path, derivation, &prepared.options.output_checks, &infos(&made))?;
    if mode == BuildMode::Normal {
        for output in made.values() {
            outputs.move_into_place(output)?;
        }
        prepared.workspace.remove_chroot()?;
        let infos: Vec<PathInfo> = made.values().map(|output| output.info.clone()).collect();
        // A mismatch is an error only now, after what was made is safe.
        store.register_paths(&infos)?;
    }
    for output in made.values() {
        outputs.verify(output)?;
        if mode == BuildMode::Check {
            remove_tree(&output.at)?;
        }
    }
    valid.extend(made.into_iter().map(|(name, output)| (name, output.info.path)));
    Ok(valid)
}

fn infos(made: &BTreeMap<OutputName, Made>) -> BTreeMap<OutputName, PathInfo> {
    made.iter().map(|(name, output)| (name.clone(), output.info.clone())).collect()
}

struct Outputs<'o> {
    store: &'o LocalStore,
    options: &'o BuildOptions,
    path: &'o StorePath,
    derivation: &'o Derivation,
    prepared: &'o Prepared,
}

impl Outputs<'_> {
    fn derivation_text(&self) -> String {
        self.store.store_dir().display(self.path)
    }

    /// Finds one output, makes it canonical, hashes and scans it.
    fn collect(&self, name: &OutputName, seen: &mut InodesSeen) -> Result<Made, BuildError> {
        let place = &self.prepared.outputs[name];
        let at = place.made_at.clone();
        self.refuse_redirection(name, &at)?;
        let Ok(metadata) = fs::symlink_metadata(&at) else {
            return Err(BuildError::MissingOutput {
                derivation: self.derivation_text(),
                output: name.to_string(),
                path: at,
            });
        };
        let is_writable_for_others = metadata.permissions().mode() & 0o022 != 0;
        if !metadata.is_symlink() && is_writable_for_others {
            return Err(BuildError::SuspiciousOutput { output: name.to_string(), path: at });
        }
        let ignored_acls = self.store.options().ignored_acls.clone();
        canonicalise(&at, &CanonicaliseOptions { owners: None, ignored_acls }, seen)?;
        let redirected: Vec<_> = self
            .prepared
            .outputs
            .values()
            .filter(|place| place.scratch != place.path)
            .map(|place| (place.scratch.hash_digits(), place.path.hash_digits()))
            .collect();
        if !redirected.is_empty() {
            rewrite::rewrite_tree(&at, &redirected)?;
        }

        match self.derivation.outputs.get(name) {
            Some(DerivationOutput::Fixed(address)) => self.collect_fixed(name, at, *address, &metadata),
            _ => {
                let mut pass = Pass::new(self, name, Algorithm::Sha256);
                dump(&at, None, &mut pass)?;
                let (nar_hash, nar_size, references) = pass.finish();
                let info = self.info(place.path.clone(), nar_hash, nar_size, references);
                Ok(Made { info, at, specified: None })
            }
        }
    }

    /// Refuses a sandbox whose store directory the builder has replaced by a link to somewhere on this machine.
    fn refuse_redirection(&self, name: &OutputName, made_at: &Path) -> Result<(), BuildError> {
        let Some(sandbox) = &self.prepared.request.sandbox else { return Ok(()) };
        let inside = made_at.strip_prefix(&sandbox.root).ok().and_then(Path::parent);
        let mut directory = sandbox.root.clone();
        for component in inside.into_iter().flat_map(Path::components) {
            directory.push(component);
            if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(BuildError::SuspiciousOutput { output: name.to_string(), path: directory });
            }
        }
        Ok(())
    }

    /// As the rest of [`Outputs::collect`]. What was made is copied, because a builder with network could have given
    /// away a descriptor through which somebody changes it later.
    fn collect_fixed(
        &self,
        name: &OutputName,
        made_at: PathBuf,
        specified: ContentAddress,
        metadata: &fs::Metadata,
    ) -> Result<Made, BuildError> {
        let is_flat = matches!(specified.method, ContentAddressMethod::Flat | ContentAddressMethod::Text);
        if is_flat && (!metadata.is_file() || metadata.permissions().mode() & 0o100 != 0) {
            return Err(BuildError::NotFlat { path: made_at });
        }
        let algorithm = specified.hash.algorithm();
        let at = made_at.with_added_extension("copy");
        remove_tree(&at)?;
        let mut pass = Pass::new(self, name, algorithm);
        copy_through(&made_at, &at, &mut pass)?;
        let of_nar = pass.other_hash.take().map(Hasher::finish);
        let (nar_hash, nar_size, references) = pass.finish();
        // Paths made from such hashes have no room for references; said before a wrong hash is, as the reference does.
        let has_room = specified.method == ContentAddressMethod::Text
            || (specified.method == ContentAddressMethod::Nar && algorithm == Algorithm::Sha256);
        if !references.is_empty() && !has_room {
            let name = self.prepared.outputs[name].path.name().to_owned();
            let message = MakePathError::ReferencesNotAllowed { name }.to_string();
            return Err(BuildError::OutputCheck { message });
        }
        let got = match specified.method {
            ContentAddressMethod::Flat | ContentAddressMethod::Text => hash_file(&at, algorithm)?,
            ContentAddressMethod::Nar => of_nar.unwrap_or(nar_hash),
            ContentAddressMethod::Git => {
                return Err(BuildError::Unsupported {
                    derivation: self.derivation_text(),
                    feature: "outputs hashed as git trees",
                });
            }
        };
        let address = ContentAddress { method: specified.method, hash: got };
        let place = &self.prepared.outputs[name];
        let mut path = place.path.clone();
        if got != specified.hash {
            let dir = self.store.store_dir();
            let with_references = ContentAddressWithReferences::without_references(address.method, got);
            path = dir.fixed_output_path(place.path.name(), &with_references).map_err(|error| BuildError::Derivation {
                derivation: self.derivation_text(),
                reason: error.to_string(),
            })?;
        }
        let mut info = self.info(path, nar_hash, nar_size, references);
        info.info.content_address = Some(address);
        let output = Made { info, at, specified: Some(specified) };
        if !output.info.references.is_empty() {
            // Such a path would not be what its address says, so it is refused before it can be registered.
            self.verify(&output)?;
        }
        Ok(output)
    }

    fn info(&self, path: StorePath, nar_hash: Hash, nar_size: u64, references: BTreeSet<StorePath>) -> PathInfo {
        let facts = UnkeyedPathInfo {
            references,
            deriver: Some(self.path.clone()),
            ultimate: true,
            ..UnkeyedPathInfo::new(nar_hash, nar_size)
        };
        PathInfo { path, info: facts }
    }

    /// Refuses outputs that refer to each other in a circle; a collection could never order them.
    fn refuse_cycles(&self, made: &BTreeMap<OutputName, Made>) -> Result<(), BuildError> {
        let by_path: BTreeMap<&StorePath, &OutputName> =
            made.iter().map(|(name, output)| (&output.info.path, name)).collect();
        let next = |name: &OutputName| -> Vec<&OutputName> {
            let output = &made[name];
            output
                .info
                .references
                .iter()
                .filter(|reference| **reference != output.info.path)
                .filter_map(|reference| by_path.get(reference).copied())
                .collect()
        };
        let mut done: BTreeSet<&OutputName> = BTreeSet::new();
        for start in made.keys() {
            let mut stack = vec![(start, next(start).into_iter())];
            while let Some((name, rest)) = stack.last_mut() {
                let name = *name;
                match rest.next() {
                    None => {
                        done.insert(name);
                        stack.pop();
                    }
                    Some(to) if stack.iter().any(|(on_stack, _)| *on_stack == to) => {
                        return Err(BuildError::OutputCycle {
                            derivation: self.derivation_text(),
                            output: to.to_string(),
                            from: name.to_string(),
                        });
                    }
                    Some(to) if !done.contains(to) => stack.push((to, next(to).into_iter())),
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Compares with what is registered.
    fn compare(&self, made: &BTreeMap<OutputName, Made>) -> Result<(), BuildError> {
        for output in made.values() {
            let Some(known) = self.store.query_path_info(&output.info.path)? else { continue };
            if known.nar_hash == output.info.nar_hash {
                continue;
            }
            let real = self.store.to_real_path(&output.info.path);
            let mut kept = None;
            if self.options.keep_failed {
                let place = real.with_added_extension("check");
                remove_tree(&place)?;
                rename(&output.at, &place)?;
                kept = Some(place);
            }
            return Err(BuildError::NotDeterministic { derivation: self.derivation_text(), path: real, kept });
        }
        Ok(())
    }

    fn move_into_place(&self, output: &Made) -> Result<(), BuildError> {
        let real = self.store.to_real_path(&output.info.path);
        let is_expected = self.prepared.outputs.values().any(|place| place.path == output.info.path);
        // A path that only the contents gave: others may be making the same.
        let _lock =
            if is_expected { None } else { Some(self.store.lock_paths(std::slice::from_ref(&output.info.path))?) };
        if self.store.is_valid(&output.info.path)? {
            remove_tree(&output.at)?;
            return Ok(());
        }
        if output.at != real {
            remove_tree(&real)?;
            rename(&output.at, &real)?;
        }
        if !is_expected {
            // Registered before the lock goes.
            self.store.register_paths(std::slice::from_ref(&output.info))?;
        }
        Ok(())
    }

    /// Checks a fixed output against its derivation.
    fn verify(&self, output: &Made) -> Result<(), BuildError> {
        let (Some(specified), Some(got)) = (output.specified, output.info.content_address) else { return Ok(()) };
        if got.hash != specified.hash {
            return Err(BuildError::HashMismatch {
                derivation: self.derivation_text(),
                specified: specified.hash.format(HashFormat::Sri, true),
                got: got.hash.format(HashFormat::Sri, true),
            });
        }
        match output.info.references.first() {
            None => Ok(()),
            Some(example) => Err(BuildError::FixedOutputReferences {
                derivation: self.derivation_text(),
                n_references: output.info.references.len(),
                example: self.store.store_dir().display(example),
            }),
        }
    }
}

/// Takes a NAR: hashes it, counts it, looks for references.
struct Pass {
    hash: Hasher,
    /// In another algorithm, if a fixed output needs that.
    other_hash: Option<Hasher>,
    size: u64,
    scanner: Option<ReferenceScanner>,
}

impl Pass {
    fn new(outputs: &Outputs<'_>, name: &OutputName, other: Algorithm) -> Pass {
        let prepared = outputs.prepared;
        let scanner = (!prepared.options.discard_references.contains(name.as_str())).then(|| {
            let own = prepared.outputs.values().map(|place| place.path.clone());
            ReferenceScanner::new(prepared.inputs.iter().cloned().chain(own))
        });
        let other_hash = (other != Algorithm::Sha256).then(|| Hasher::new(other));
        Pass { hash: Hasher::new(Algorithm::Sha256), other_hash, size: 0, scanner }
    }

    fn finish(self) -> (Hash, u64, BTreeSet<StorePath>) {
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
fn copy_through(from: &Path, to: &Path, pass: &mut Pass) -> Result<(), BuildError> {
    struct Tee<'t>(&'t mut Pass, io::PipeWriter);
    impl Write for Tee<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n_bytes = self.1.write(bytes)?;
            self.0.write(&bytes[..n_bytes])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.flush()
        }
    }
    rewrite::pipe_through(from, to, |pipe| Tee(pass, pipe), |_| Ok(()))
}

fn hash_file(path: &Path, algorithm: Algorithm) -> Result<Hash, BuildError> {
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
fn rename(from: &Path, to: &Path) -> Result<(), BuildError> {
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
