//! Closures under new names that follow from their contents, so that nobody needs to vouch for them.
//!
//! References come first, so that what refers to them can be rewritten. A path that refers to itself is hashed with its
//! own hash part blanked and gets the new one put in. Archives stream: each is read three times (to name it, to hash
//! it, to add it) rather than held once.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::addressed::NarHasher;
use crate::closure::topologically_sorted;
use crate::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use crate::error::{Result, StoreError};
use crate::hash::Algorithm;
use crate::path::{HASH_LEN, StorePath};
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::references::{Rewriter, SelfReferenceHasher, SelfReferenceRule};
use crate::store::{AddOptions, Store, with_nar};

type Rewrites = Vec<([u8; HASH_LEN], [u8; HASH_LEN])>;

/// Rewrites these paths and all that they refer to, and adds them to `to`. Returns the new name of each old one.
///
/// # Errors
/// When a path is not valid in `from`; what reading and adding give. What was added until then stays.
pub fn make_content_addressed(
    from: &dyn Store,
    to: &dyn Store,
    paths: &[StorePath],
    rule: SelfReferenceRule,
) -> Result<BTreeMap<StorePath, StorePath>> {
    let closure = from.closure(paths)?;
    let mut remapped = BTreeMap::new();
    for path in topologically_sorted(from, &closure)? {
        let new = rewrite_one(from, to, &path, &remapped, rule)?;
        remapped.insert(path, new);
    }
    Ok(remapped)
}

fn rewrite_one(
    from: &dyn Store,
    to: &dyn Store,
    path: &StorePath,
    remapped: &BTreeMap<StorePath, StorePath>,
    rule: SelfReferenceRule,
) -> Result<StorePath> {
    let old = from.path_info(path)?;
    let mut content = ContentAddressWithReferences {
        method: ContentAddressMethod::Nar,
        hash: old.info.nar_hash,
        references: Default::default(),
        self_reference: old.info.references.contains(path),
    };
    let mut rewrites = Rewrites::new();
    for reference in old.info.references.iter().filter(|reference| *reference != path) {
        let new = remapped.get(reference).unwrap_or(reference);
        if new != reference {
            rewrites.push((reference.hash_digits(), new.hash_digits()));
        }
        content.references.insert(new.clone());
    }
    let failed = |error: io::Error| StoreError::format("rewriting a path", error);

    let hasher = SelfReferenceHasher::new(Algorithm::Sha256, path.hash_digits(), rule);
    let mut rewriter = Rewriter::new(hasher, rewrites.iter().copied());
    from.write_nar(path, &mut rewriter)?;
    content.hash = rewriter.finish().map_err(failed)?.0.finish();
    let new = to.store_dir().fixed_output_path(path.name(), &content);
    let new = new.map_err(|error| StoreError::BadStorePath { path: path.name().to_owned(), reason: error.to_string() })?;

    rewrites.push((path.hash_digits(), new.hash_digits()));
    let write = |sink: &mut dyn Write| -> Result<()> {
        let mut rewriter = Rewriter::new(sink, rewrites.iter().copied());
        from.write_nar(path, &mut rewriter)?;
        rewriter.finish().map_err(failed).map(drop)
    };
    let mut hasher = NarHasher::new();
    write(&mut hasher)?;
    let (nar_hash, nar_size) = hasher.finish();
    let mut info = UnkeyedPathInfo::new(nar_hash, nar_size);
    info.references.clone_from(&content.references);
    if content.self_reference {
        info.references.insert(new.clone());
    }
    info.content_address = Some(content.content_address());
    let info = PathInfo { path: new, info };
    with_nar(&mut |sink| write(sink), &mut |nar| to.add_nar(&info, nar, &AddOptions::default()))?;
    Ok(info.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::memory::MemoryStore;

    /// Adds an input-addressed path whose one file holds these bytes.
    fn add(store: &MemoryStore, name: &str, contents: &str, references: &[&StorePath]) -> StorePath {
        let mut nar = Vec::new();
        crate::addressed::write_file_nar(&mut nar, contents.as_bytes()).unwrap();
        let path = StorePath::from_base_name(name).unwrap();
        let mut info = UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64);
        info.references = references.iter().map(|path| (*path).clone()).collect();
        let info = PathInfo { path: path.clone(), info };
        store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
        path
    }

    #[test]
    fn references_and_self_references_are_rewritten() {
        let from = MemoryStore::default();
        let dir = from.store_dir().clone();
        let lib = "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-lib";
        let lib_path = StorePath::from_base_name(lib).unwrap();
        let lib = add(&from, lib, "I am vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-lib", &[&lib_path]);
        let program = add(&from, "98lhlx17rqm2r7hx5n57d5rw6g1ff2a5-program", &dir.display(&lib), &[&lib]);
        for rule in [SelfReferenceRule::Blanked, SelfReferenceRule::BlankedWithPlaces] {
            let to = MemoryStore::default();
            let remapped = make_content_addressed(&from, &to, std::slice::from_ref(&program), rule).unwrap();
            let new_lib = &remapped[&lib];
            assert_ne!(*new_lib, lib);
            assert_eq!(to.read_file(new_lib).unwrap(), format!("I am {}", new_lib.base_name()).as_bytes());
            let new_program = to.path_info(&remapped[&program]).unwrap();
            assert_eq!(to.read_file(&new_program.path).unwrap(), dir.display(new_lib).as_bytes());
            assert!(new_program.is_content_addressed(&dir) && new_program.info.references.contains(new_lib));
            // What is content-addressed already keeps its name.
            let again = make_content_addressed(&to, &MemoryStore::default(), &[new_program.path.clone()], rule).unwrap();
            assert!(again.iter().all(|(old, new)| old == new), "{again:?}");
        }
    }
}
