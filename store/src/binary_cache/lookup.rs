//! Finding out what a cache has: first what this handle knows, then the disk cache, then the cache itself, about as many
//! paths at once as the options allow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{IoContext, Result, StoreError};
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::realisation::{DerivationOutputId, Realisation};

use super::BinaryCache;

/// Size of a narinfo or realisation in bytes, at most. The largest in use have some thousand references.
const LIMIT: u64 = 4 << 20;

/// Answers that are kept, at most.
const REMEMBERED: usize = 65536;

/// Answers of this handle's life.
#[derive(Default)]
pub(super) struct Lookups(Mutex<HashMap<[u8; 20], Option<Arc<NarInfo>>>>);

impl Lookups {
    fn get(&self, hash_part: &[u8; 20]) -> Option<Option<Arc<NarInfo>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash_part).cloned()
    }

    pub(super) fn remember(&self, hash_part: [u8; 20], answer: Option<Arc<NarInfo>>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= REMEMBERED {
            answers.clear();
        }
        answers.insert(hash_part, answer);
    }

    pub(super) fn forget(&self, hash_part: &[u8; 20]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hash_part);
    }
}

/// See [`BinaryCache::query_narinfos`].
pub(super) fn narinfos(cache: &BinaryCache, paths: &[StorePath]) -> Result<Vec<Option<Arc<NarInfo>>>> {
    let hash_parts: Vec<[u8; 20]> = paths.iter().map(StorePath::hash_part).collect();
    let answers = by_hash_parts(cache, &hash_parts)?;
    // A cache is asked by hash part alone, and may have something else under it.
    Ok(paths
        .iter()
        .map(|path| {
            let answer = answers.get(&path.hash_part()).cloned().flatten();
            answer.filter(|narinfo| narinfo.path_info.path == *path)
        })
        .collect())
}

type Answers = HashMap<[u8; 20], Option<Arc<NarInfo>>>;

fn by_hash_parts(cache: &BinaryCache, hash_parts: &[[u8; 20]]) -> Result<Answers> {
    let mut answers = Answers::new();
    let mut missing: Vec<[u8; 20]> = Vec::new();
    for hash_part in hash_parts {
        answers.entry(*hash_part).or_insert_with(|| {
            let known = cache.lookups.get(hash_part);
            if known.is_none() {
                missing.push(*hash_part);
            }
            known.flatten()
        });
    }
    if let Some((disk_cache, id)) = cache.disk_cache() {
        let mut known = disk_cache.narinfos(id, &missing);
        missing.retain(|hash_part| {
            let Some(answer) = known.remove(hash_part) else { return true };
            cache.lookups.remember(*hash_part, answer.clone());
            answers.insert(*hash_part, answer);
            false
        });
    }
    let fetched = in_parallel(cache, &missing, &|hash_part| fetch(cache, hash_part))?;
    if let Some((disk_cache, id)) = cache.disk_cache() {
        disk_cache.remember_narinfos(id, missing.iter().zip(&fetched).map(|(key, answer)| (key, answer.as_deref())));
    }
    for (hash_part, answer) in missing.into_iter().zip(fetched) {
        // Somebody else may put it on the disk at any time.
        if answer.is_some() || cache.files.directory().is_none() {
            cache.lookups.remember(hash_part, answer.clone());
        }
        answers.insert(hash_part, answer);
    }
    Ok(answers)
}

/// Asks the cache itself.
fn fetch(cache: &BinaryCache, hash_part: &[u8; 20]) -> Result<Option<Arc<NarInfo>>> {
    let name = file_name(hash_part);
    let Some(text) = cache.files.get_text(&name, LIMIT)? else { return Ok(None) };
    let narinfo = NarInfo::parse(&cache.options.store_dir, &text).map_err(|error| {
        StoreError::format(format!("NAR info file '{name}' of '{}' is corrupt", cache.files.url()), error)
    })?;
    if narinfo.path_info.path.hash_part() != *hash_part {
        let found = cache.options.store_dir.display(&narinfo.path_info.path);
        let reason = format!("it is about '{found}'");
        return Err(StoreError::format(format!("NAR info file '{name}' of '{}' is corrupt", cache.files.url()), reason));
    }
    Ok(Some(Arc::new(narinfo)))
}

/// Returns the name of a narinfo file.
pub(super) fn file_name(hash_part: &[u8; 20]) -> String {
    format!("{}.narinfo", crate::hash::nix32::encode(hash_part))
}

/// See [`crate::store::Store::path_from_hash_part`].
pub(super) fn by_hash_part(cache: &BinaryCache, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
    let answer = by_hash_parts(cache, std::slice::from_ref(hash_part))?.remove(hash_part).flatten();
    Ok(answer.map(|narinfo| narinfo.path_info.path.clone()))
}

/// See [`crate::store::Store::all_valid_paths`].
pub(super) fn all(cache: &BinaryCache) -> Result<Vec<StorePath>> {
    let Some(directory) = cache.files.directory() else {
        return Err(StoreError::Unsupported { operation: "listing all valid paths" });
    };
    let mut hash_parts = Vec::new();
    for entry in std::fs::read_dir(directory).at("reading directory", directory)? {
        let name = entry.at("reading directory", directory)?.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_suffix(".narinfo")) else { continue };
        if let Ok(path) = StorePath::from_base_name(format!("{digits}-x")) {
            hash_parts.push(path.hash_part());
        }
    }
    let found = by_hash_parts(cache, &hash_parts)?.into_values().flatten();
    Ok(found.map(|narinfo| narinfo.path_info.path.clone()).collect())
}

/// See [`crate::store::Store::query_realisations`].
pub(super) fn realisations(cache: &BinaryCache, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
    in_parallel(cache, ids, &|id| {
        if let Some((disk_cache, cache_id)) = cache.disk_cache()
            && let Some(known) = disk_cache.realisation(cache_id, id)
        {
            return Ok(known);
        }
        let name = id.cache_file();
        let found = match cache.files.get_text(&name, LIMIT)? {
            None => None,
            Some(text) => {
                let realisation = Realisation::from_cache_text(id, &text);
                Some(realisation.map_err(|error| StoreError::format(cache.files.describe(&name), error))?)
            }
        };
        if let Some((disk_cache, cache_id)) = cache.disk_cache() {
            disk_cache.remember_realisation(cache_id, id, found.as_ref());
        }
        Ok(found)
    })
}

/// Asks the same about many things on some threads; the first error ends it.
fn in_parallel<K: Sync, T: Send>(cache: &BinaryCache, keys: &[K], ask: &(dyn Fn(&K) -> Result<T> + Sync)) -> Result<Vec<T>> {
    let ask = |key: &K| {
        if cache.files.interrupt().is_interrupted() {
            return Err(StoreError::Interrupted);
        }
        ask(key)
    };
    let Some((first, others)) = keys.split_first() else { return Ok(Vec::new()) };
    // With its answer it is known whether the server takes more at the same time than there may be connections.
    let mut answers = vec![ask(first)?];
    answers.extend(crate::parallel::map(others, cache.files.n_in_flight(cache.options.n_parallel), &ask)?);
    Ok(answers)
}
