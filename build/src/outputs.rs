//! After a builder succeeded: find what it made, give it canonical metadata, hash it and look for references in the
//! same pass, check it against the derivation's rules, move it into place, register it.
//!
//! The surprising part: a fixed output with the wrong hash is registered too, under the path that its real hash gives,
//! so that a corrected derivation need not download it again.

mod checks;
mod files;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nixlang_store::content_address::{ContentAddress, ContentAddressMethod, ContentAddressWithReferences};
use nixlang_store::derivation::{Derivation, DerivationOutput, DerivationType, OutputName};
use nixlang_store::fs::{dump, remove_tree};
use nixlang_store::hash::{Algorithm, Hash, HashFormat, Hasher};
use nixlang_store::local::LocalStore;
use nixlang_store::local::canonicalise::{CanonicaliseOptions, InodesSeen, canonicalise};
use nixlang_store::path::{MakePathError, StorePath};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};

use nixlang_store::references::SelfReferenceHasher;
use nixlang_store::store::Store;

use self::files::{HashSink, Pass, copy_through, git_hash, hash_file, rename, replace};
use crate::error::BuildError;
use crate::known::{Known, OutputPaths};
use crate::options::{BuildMode, BuildOptions};
use crate::prepare::Prepared;

/// An output as the builder left it, with canonical metadata.
struct Found {
    metadata: fs::Metadata,
    /// Where its files are.
    at: PathBuf,
    /// Hash, size and references, which may be to scratch paths. None for a fixed output, which is read as it is copied.
    contents: Option<(Hash, u64, BTreeSet<StorePath>)>,
}

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
#[expect(clippy::too_many_arguments, reason = "one use, and all of it is context")]
pub(crate) fn register(
    store: &LocalStore,
    options: &BuildOptions,
    known: &Known<'_>,
    path: &StorePath,
    derivation: &Derivation,
    prepared: &Prepared,
    mode: BuildMode,
    show: &dyn Fn(&str),
) -> Result<OutputPaths, BuildError> {
    let outputs = Outputs { store, options, path, derivation, prepared, show };
    let mut valid = OutputPaths::new();
    let mut found = BTreeMap::new();
    let mut rewrites = Vec::new();
    let mut seen = InodesSeen::default();
    for (name, place) in &prepared.outputs {
        match &place.known {
            Some(path) if place.is_good && mode != BuildMode::Check => {
                if *path != place.scratch {
                    rewrites.push((place.scratch.clone(), path.clone()));
                }
                valid.insert(name.clone(), path.clone());
            }
            _ => {
                found.insert(name.clone(), outputs.find(name, &mut seen)?);
            }
        }
    }
    let mut made = BTreeMap::new();
    for name in outputs.order(&found)? {
        let output = found.remove(&name).expect("the order has each name once");
        let output = outputs.finish(&name, output, &mut rewrites)?;
        made.insert(name, output);
    }
    let infos: Vec<PathInfo> = made.values().map(|output: &Made| output.info.clone()).collect();
    let is_content_addressed = infos.iter().any(|info| info.content_address.is_some());
    if mode == BuildMode::Check {
        outputs.compare(&made)?;
    }
    let judge = || {
        made.values().try_for_each(|output| outputs.verify(output))?;
        checks::check(store, path, derivation, &prepared.options.output_checks, &infos_by_name(&made))
    };
    if mode == BuildMode::Check {
        let verdict = judge();
        for output in made.values() {
            remove_tree(&output.at)?;
        }
        verdict?;
    } else {
        if !is_content_addressed {
            judge()?;
        }
        // Others may be making the same path by other means.
        let dynamic: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).filter(|path| !outputs.is_expected(path)).collect();
        let locks = store.lock_paths(&dynamic)?;
        for output in made.values() {
            outputs.move_into_place(output, mode)?;
        }
        prepared.workspace.remove_chroot()?;
        store.register_paths(&infos)?;
        drop(locks);
        if is_content_addressed {
            // Only now, after what was made is safe.
            judge()?;
        }
    }
    valid.extend(made.into_iter().map(|(name, output)| (name, output.info.path)));
    if mode != BuildMode::Check && derivation.kind() != Ok(DerivationType::Impure) {
        known.register(path, derivation, &valid, &options.secret_keys)?;
    }
    Ok(valid)
}

/// Returns whether the contents of a valid path are those that were registered.
pub(crate) fn is_intact(store: &LocalStore, path: &StorePath) -> Result<bool, BuildError> {
    let Some(info) = store.query_path_info(path)? else { return Ok(false) };
    let mut sink = HashSink(Hasher::new(info.nar_hash.algorithm()), 0);
    match dump(&store.to_real_path(path), None, &mut sink) {
        Ok(()) => Ok(sink.0.finish() == info.nar_hash),
        // Missing or unreadable files are damage as well.
        Err(_) => Ok(false),
    }
}

fn infos_by_name(made: &BTreeMap<OutputName, Made>) -> BTreeMap<OutputName, PathInfo> {
    made.iter().map(|(name, output)| (name.clone(), output.info.clone())).collect()
}

struct Outputs<'o> {
    store: &'o LocalStore,
    options: &'o BuildOptions,
    path: &'o StorePath,
    derivation: &'o Derivation,
    prepared: &'o Prepared,
    /// Gets what a hook says.
    show: &'o dyn Fn(&str),
}

impl Outputs<'_> {
    fn derivation_text(&self) -> String {
        self.store.store_dir().display(self.path)
    }

    fn is_expected(&self, path: &StorePath) -> bool {
        self.prepared.outputs.values().any(|place| place.known.as_ref() == Some(path))
    }

    /// Finds one output, makes it canonical, hashes and scans it.
    fn find(&self, name: &OutputName, seen: &mut InodesSeen) -> Result<Found, BuildError> {
        let at = self.prepared.outputs[name].made_at.clone();
        let Ok(metadata) = fs::symlink_metadata(&at) else {
            return Err(BuildError::MissingOutput {
                derivation: self.derivation_text(),
                output: name.to_string(),
                path: at,
            });
        };
        let is_writable_for_others = metadata.permissions().mode() & 0o022 != 0;
        let is_foreign = self.prepared.user.as_ref().is_some_and(|user| !user.range().contains(&metadata.uid()));
        if (!metadata.is_symlink() && is_writable_for_others) || is_foreign {
            return Err(BuildError::SuspiciousOutput { output: name.to_string(), path: at });
        }
        let ignored_acls = self.store.options().ignored_acls.clone();
        let owners = self.prepared.user.as_ref().map(|user| user.range());
        canonicalise(&at, &CanonicaliseOptions { owners, ignored_acls }, seen)?;
        if matches!(self.derivation.outputs.get(name), Some(DerivationOutput::Fixed(_))) {
            return Ok(Found { metadata, at, contents: None });
        }
        let mut pass = Pass::new(self.prepared, name, Algorithm::Sha256);
        dump(&at, None, &mut pass)?;
        Ok(Found { metadata, at, contents: Some(pass.finish()) })
    }

    /// Returns the outputs, each after those that it refers to. Refuses those that refer to each other in a circle.
    fn order(&self, found: &BTreeMap<OutputName, Found>) -> Result<Vec<OutputName>, BuildError> {
        let by_scratch: BTreeMap<&StorePath, &OutputName> =
            self.prepared.outputs.iter().map(|(name, place)| (&place.scratch, name)).collect();
        let next = |name: &OutputName| -> Vec<&OutputName> {
            let references = found[name].contents.iter().flat_map(|(_, _, references)| references);
            let names = references.filter_map(|reference| by_scratch.get(reference).copied());
            names.filter(|to| *to != name && found.contains_key(*to)).collect()
        };
        let mut order = Vec::new();
        for start in found.keys() {
            let mut stack = vec![(start, next(start).into_iter())];
            if order.contains(start) {
                continue;
            }
            while let Some((name, rest)) = stack.last_mut() {
                let name = *name;
                match rest.next() {
                    None => {
                        order.push(name.clone());
                        stack.pop();
                    }
                    Some(to) if stack.iter().any(|(on_stack, _)| *on_stack == to) => {
                        return Err(BuildError::OutputCycle {
                            derivation: self.derivation_text(),
                            output: to.to_string(),
                            from: name.to_string(),
                        });
                    }
                    Some(to) if !order.contains(to) => stack.push((to, next(to).into_iter())),
                    Some(_) => {}
                }
            }
        }
        Ok(order)
    }

    /// Gives an output its final path and contents. `rewrites` has the final paths of those it may refer to, and gets its
    /// own.
    fn finish(
        &self,
        name: &OutputName,
        found: Found,
        rewrites: &mut Vec<(StorePath, StorePath)>,
    ) -> Result<Made, BuildError> {
        let place = &self.prepared.outputs[name];
        let Found { metadata, at, contents } = found;
        let (nar_hash, nar_size, references) = match (contents, self.derivation.outputs.get(name)) {
            (None, Some(DerivationOutput::Fixed(address))) => return self.finish_fixed(name, at, *address, &metadata),
            (None, _) => unreachable!("only fixed outputs are not read at first"),
            (Some(contents), _) => contents,
        };
        let is_discarded = self.prepared.options.discard_references.contains(name.as_str());
        let mut pairs: Vec<_> = rewrites
            .iter()
            .filter(|(from, _)| is_discarded || references.contains(from))
            .map(|(from, to)| (from.hash_digits(), to.hash_digits()))
            .collect();
        let others: BTreeSet<StorePath> = references
            .iter()
            .filter(|reference| **reference != place.scratch)
            .map(|reference| {
                let rewritten = rewrites.iter().find(|(from, _)| from == reference);
                rewritten.map_or_else(|| reference.clone(), |(_, to)| to.clone())
            })
            .collect();
        let refers_to_itself = references.contains(&place.scratch);
        let mut address = None;
        let path = match self.derivation.outputs.get(name) {
            Some(DerivationOutput::Floating { method, algorithm } | DerivationOutput::Impure { method, algorithm }) => {
                let is_flat = matches!(method, ContentAddressMethod::Flat | ContentAddressMethod::Text);
                if is_flat && (!metadata.is_file() || metadata.permissions().mode() & 0o100 != 0) {
                    return Err(BuildError::NotFlat { path: at });
                }
                if !pairs.is_empty() {
                    rewrite::rewrite_tree(&at, &pairs)?;
                }
                let hash = self.hash_modulo_itself(&at, *method, *algorithm, &place.scratch)?;
                address = Some(ContentAddress { method: *method, hash });
                let with_references = ContentAddressWithReferences {
                    method: *method,
                    hash,
                    references: others.clone(),
                    self_reference: refers_to_itself,
                };
                let made = self.store.store_dir().fixed_output_path(place.scratch.name(), &with_references);
                let path = made.map_err(|error| BuildError::OutputCheck { message: error.to_string() })?;
                let itself = [(place.scratch.hash_digits(), path.hash_digits())];
                if path != place.scratch && (refers_to_itself || is_discarded) {
                    rewrite::rewrite_tree(&at, &itself)?;
                    pairs.extend(itself);
                }
                path
            }
            _ => {
                let path = place.known.clone().expect("input-addressed outputs are known");
                if path != place.scratch && (refers_to_itself || is_discarded) {
                    pairs.push((place.scratch.hash_digits(), path.hash_digits()));
                }
                if !pairs.is_empty() {
                    rewrite::rewrite_tree(&at, &pairs)?;
                }
                path
            }
        };
        let (nar_hash, nar_size) = if pairs.is_empty() {
            (nar_hash, nar_size)
        } else {
            let mut sink = HashSink(Hasher::new(Algorithm::Sha256), 0);
            dump(&at, None, &mut sink)?;
            (sink.0.finish(), sink.1)
        };
        if path != place.scratch {
            rewrites.push((place.scratch.clone(), path.clone()));
        }
        let mut references = others;
        if refers_to_itself {
            references.insert(path.clone());
        }
        let mut at = at;
        if matches!(self.derivation.outputs.get(name), Some(DerivationOutput::Impure { .. })) {
            // As fixed outputs: a builder with network could have given away a descriptor.
            let copy = at.with_added_extension("copy");
            remove_tree(&copy)?;
            copy_through(&at, &copy, &mut io::sink())?;
            remove_tree(&at)?;
            at = copy;
        }
        Ok(Made { info: self.info(path, nar_hash, nar_size, references, address), at, specified: None })
    }

    /// Hashes contents with their own path blanked.
    fn hash_modulo_itself(
        &self,
        at: &Path,
        method: ContentAddressMethod,
        algorithm: Algorithm,
        scratch: &StorePath,
    ) -> Result<Hash, BuildError> {
        let mut hasher = SelfReferenceHasher::new(algorithm, scratch.hash_digits(), self.store.content_rules().self_references());
        match method {
            ContentAddressMethod::Nar => dump(at, None, &mut hasher)?,
            ContentAddressMethod::Flat | ContentAddressMethod::Text => {
                let file = fs::File::open(at).and_then(|mut file| io::copy(&mut file, &mut hasher));
                file.map_err(BuildError::io("reading", at))?;
            }
            ContentAddressMethod::Git => return git_hash(at, algorithm),
        }
        Ok(hasher.finish())
    }

    /// As the rest of [`Outputs::finish`]. What was made is copied, because a builder with network could have given
    /// away a descriptor through which somebody changes it later.
    fn finish_fixed(
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
        let place = &self.prepared.outputs[name];
        if place.known.as_ref() != Some(&place.scratch) {
            // Without a sandbox, and valid already.
            let known = place.known.as_ref().expect("fixed outputs are known");
            rewrite::rewrite_tree(&made_at, &[(place.scratch.hash_digits(), known.hash_digits())])?;
        }
        let algorithm = specified.hash.algorithm();
        let at = made_at.with_added_extension("copy");
        remove_tree(&at)?;
        let mut pass = Pass::new(self.prepared, name, algorithm);
        copy_through(&made_at, &at, &mut pass)?;
        let of_nar = pass.other_hash.take().map(Hasher::finish);
        let (nar_hash, nar_size, references) = pass.finish();
        // Paths made from such hashes have no room for references; said before a wrong hash is, as the reference does.
        let has_room = specified.method == ContentAddressMethod::Text
            || (specified.method == ContentAddressMethod::Nar && algorithm == Algorithm::Sha256);
        if !references.is_empty() && !has_room {
            let name = place.scratch.name().to_owned();
            let message = MakePathError::ReferencesNotAllowed { name }.to_string();
            return Err(BuildError::OutputCheck { message });
        }
        let got = match specified.method {
            ContentAddressMethod::Flat | ContentAddressMethod::Text => hash_file(&at, algorithm)?,
            ContentAddressMethod::Nar => of_nar.unwrap_or(nar_hash),
            ContentAddressMethod::Git => git_hash(&at, algorithm)?,
        };
        let address = ContentAddress { method: specified.method, hash: got };
        let mut path = place.known.clone().expect("fixed outputs are known");
        if got != specified.hash {
            let dir = self.store.store_dir();
            let with_references = ContentAddressWithReferences::without_references(address.method, got);
            path = dir.fixed_output_path(path.name(), &with_references).map_err(|error| BuildError::Derivation {
                derivation: self.derivation_text(),
                reason: error.to_string(),
            })?;
        }
        let info = self.info(path, nar_hash, nar_size, references, Some(address));
        let output = Made { info, at, specified: Some(specified) };
        if !output.info.references.is_empty() {
            // Such a path would not be what its address says, so it is refused before it can be registered.
            self.verify(&output)?;
        }
        Ok(output)
    }

    fn info(
        &self,
        path: StorePath,
        nar_hash: Hash,
        nar_size: u64,
        references: BTreeSet<StorePath>,
        content_address: Option<ContentAddress>,
    ) -> PathInfo {
        let facts = UnkeyedPathInfo {
            references,
            deriver: Some(self.path.clone()),
            ultimate: true,
            content_address,
            ..UnkeyedPathInfo::new(nar_hash, nar_size)
        };
        let mut info = PathInfo { path, info: facts };
        for key in &self.options.secret_keys {
            info.sign(self.store.store_dir(), key).expect("the size is known");
        }
        info
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
            if self.options.keep_failed || self.options.diff_hook.is_some() {
                let place = real.with_added_extension("check");
                remove_tree(&place)?;
                rename(&output.at, &place)?;
                if let Some(hook) = &self.options.diff_hook {
                    let top = self.prepared.workspace.top();
                    let user = self.prepared.user.as_ref().map(|user| user.uid);
                    let said = crate::hooks::run_diff_hook(hook, &real, &place, &self.derivation_text(), top, user);
                    (self.show)(&said);
                }
                kept = Some(place);
            }
            return Err(BuildError::NotDeterministic { derivation: self.derivation_text(), path: real, kept });
        }
        Ok(())
    }

    fn move_into_place(&self, output: &Made, mode: BuildMode) -> Result<(), BuildError> {
        let real = self.store.to_real_path(&output.info.path);
        let is_valid = self.store.is_valid(&output.info.path)?;
        if is_valid && mode == BuildMode::Repair && !is_intact(self.store, &output.info.path)? {
            return replace(&output.at, &real);
        }
        if is_valid {
            remove_tree(&output.at)?;
            return Ok(());
        }
        if output.at != real {
            remove_tree(&real)?;
            rename(&output.at, &real)?;
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
