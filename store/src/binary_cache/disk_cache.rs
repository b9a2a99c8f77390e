//! What servers answered, remembered on disk from process to process, also that they have nothing.
//!
//! The same file, tables and rules as the reference's `binary-cache-v7.sqlite`, so both profit from each other's
//! questions. It is no more than a convenience: whatever goes wrong with it, the server is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::info::CacheInfo;
use crate::hash::nix32;
use crate::hash::{Hash, HashFormat};
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::realisation::{DerivationOutputId, Realisation};
use crate::signature::in_reference_order;

/// How often entries that are too old are deleted.
const PURGE_INTERVAL: i64 = 24 * 3600;

/// The tables, with the names that other implementations know.
const TABLES: &str = "
create table if not exists BinaryCaches (
    id integer primary key autoincrement not null, url text unique not null, timestamp integer not null,
    storeDir text not null, wantMassQuery integer not null, priority integer not null);
create table if not exists NARs (
    cache integer not null, hashPart text not null, namePart text, url text, compression text,
    fileHash text, fileSize integer, narHash text, narSize integer, refs text, deriver text, sigs text, ca text,
    timestamp integer not null, present integer not null, primary key (cache, hashPart),
    foreign key (cache) references BinaryCaches(id) on delete cascade);
create table if not exists Realisations (
    cache integer not null, outputId text not null, content blob, timestamp integer not null,
    primary key (cache, outputId), foreign key (cache) references BinaryCaches(id) on delete cascade);
create table if not exists LastPurge (dummy text primary key, value integer);
";

/// How long answers are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// That there is something (`narinfo-cache-positive-ttl`).
    pub positive: Duration,
    /// That there is nothing (`narinfo-cache-negative-ttl`).
    pub negative: Duration,
    /// What a cache says about itself (`narinfo-cache-meta-ttl`).
    pub meta: Duration,
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        Lifetimes {
            positive: Duration::from_secs(30 * 24 * 3600),
            negative: Duration::from_secs(3600),
            meta: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct DiskCache {
    connection: Mutex<Connection>,
    lifetimes: Lifetimes,
}

impl DiskCache {
    /// The name of the file in the user's cache directory.
    pub const FILE_NAME: &str = "binary-cache-v7.sqlite";

    /// Opens the file, making it and its directory if need be. `None` if that does not work, which is no misfortune.
    pub fn open(path: &Path, lifetimes: Lifetimes) -> Option<DiskCache> {
        let parent: PathBuf = path.parent()?.to_owned();
        std::fs::create_dir_all(parent).ok()?;
        let connection = Connection::open(path).ok()?;
        connection.busy_timeout(Duration::from_secs(10)).ok()?;
        connection.pragma_update(None, "synchronous", "off").ok()?;
        connection.pragma_update(None, "journal_mode", "wal").ok()?;
        connection.execute_batch(TABLES).ok()?;
        let cache = DiskCache { connection: Mutex::new(connection), lifetimes };
        cache.purge();
        Some(cache)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(lifetime: Duration) -> i64 {
        now().saturating_sub(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX))
    }

    /// Deletes what nobody will believe any more. Short lifetimes of this user don't count: others may have longer ones.
    fn purge(&self) {
        let connection = self.lock();
        let last: Option<i64> = connection.query_row("select value from LastPurge", [], |row| row.get(0)).ok();
        if last.is_some_and(|last| last >= now() - PURGE_INTERVAL) {
            return;
        }
        let usual = Lifetimes::default();
        let negative = Self::since(self.lifetimes.negative.max(usual.negative));
        let positive = Self::since(self.lifetimes.positive.max(usual.positive));
        let _ = connection.execute(
            "delete from NARs where (present = 0 and timestamp < ?1) or (present = 1 and timestamp < ?2)",
            params![negative, positive],
        );
        let _ = connection.execute("insert or replace into LastPurge(dummy, value) values ('', ?1)", [now()]);
    }

    /// Returns a cache's number and what it said about itself.
    pub(super) fn cache(&self, url: &str) -> Option<(i64, CacheInfo)> {
        self.lock()
            .query_row(
                "select id, storeDir, wantMassQuery, priority from BinaryCaches where url = ?1 and timestamp > ?2",
                params![url, Self::since(self.lifetimes.meta)],
                |row| {
                    let info =
                        CacheInfo { store_dir: row.get(1)?, want_mass_query: row.get(2)?, priority: row.get(3)? };
                    Ok((row.get(0)?, info))
                },
            )
            .optional()
            .ok()?
    }

    /// Remembers what a cache says about itself. Returns its number.
    pub(super) fn remember_cache(&self, url: &str, info: &CacheInfo) -> Option<i64> {
        self.lock()
            .query_row(
                "insert into BinaryCaches(url, timestamp, storeDir, wantMassQuery, priority) values (?1, ?2, ?3, ?4, ?5)
                 on conflict (url) do update set timestamp = ?2, storeDir = ?3, wantMassQuery = ?4, priority = ?5
                 returning id",
                params![url, now(), info.store_dir, info.want_mass_query, info.priority],
                |row| row.get(0),
            )
            .ok()
    }

    /// Returns what is known of these hash parts; those of which nothing is known are not in it.
    pub(super) fn narinfos(
        &self,
        cache: i64,
        hash_parts: &[[u8; 20]],
    ) -> HashMap<[u8; 20], Option<Arc<NarInfo>>> {
        let mut known = HashMap::new();
        let connection = self.lock();
        let Ok(mut statement) = connection.prepare_cached(
            "select present, namePart, url, compression, fileHash, fileSize, narHash, narSize, refs, deriver, sigs, ca
             from NARs where cache = ?1 and hashPart = ?2
             and ((present = 0 and timestamp > ?3) or (present = 1 and timestamp > ?4))",
        ) else {
            return known;
        };
        let (negative, positive) = (Self::since(self.lifetimes.negative), Self::since(self.lifetimes.positive));
        for hash_part in hash_parts {
            let key = params![cache, nix32::encode(hash_part), negative, positive];
            let answer = statement.query_row(key, |row| {
                if row.get::<_, i64>(0)? == 0 { Ok(Some(None)) } else { Ok(from_row(hash_part, row).map(Some)) }
            });
            // Otherwise it is not there, or not to be understood.
            if let Ok(Some(answer)) = answer {
                known.insert(*hash_part, answer.map(Arc::new));
            }
        }
        known
    }

    /// Remembers answers.
    pub(super) fn remember_narinfos<'a>(
        &self,
        cache: i64,
        answers: impl IntoIterator<Item = (&'a [u8; 20], Option<&'a NarInfo>)>,
    ) {
        let mut connection = self.lock();
        let Ok(transaction) = connection.transaction() else { return };
        for (hash_part, answer) in answers {
            let digits = nix32::encode(hash_part);
            let done = match answer {
                None => transaction
                    .prepare_cached("insert or replace into NARs(cache, hashPart, timestamp, present) values (?1, ?2, ?3, 0)")
                    .and_then(|mut statement| statement.execute(params![cache, digits, now()])),
                Some(narinfo) => insert(&transaction, cache, &digits, narinfo),
            };
            if done.is_err() {
                return;
            }
        }
        let _ = transaction.commit();
    }

    /// Forgets the answer about a hash part.
    pub(super) fn forget_narinfo(&self, cache: i64, hash_part: &[u8; 20]) {
        let _ = self.lock().execute("delete from NARs where cache = ?1 and hashPart = ?2", params![cache, nix32::encode(hash_part)]);
    }

    /// Returns what is known about an output.
    pub(super) fn realisation(&self, cache: i64, id: &DerivationOutputId) -> Option<Option<Realisation>> {
        let content: Option<String> = self
            .lock()
            .query_row(
                "select content from Realisations where cache = ?1 and outputId = ?2
                 and ((content is null and timestamp > ?3) or (content is not null and timestamp > ?4))",
                params![
                    cache,
                    id.to_string(),
                    Self::since(self.lifetimes.negative),
                    Self::since(self.lifetimes.positive)
                ],
                |row| row.get(0),
            )
            .optional()
            .ok()??;
        match content {
            None => Some(None),
            Some(text) => Realisation::from_cache_text(id, &text).ok().map(Some),
        }
    }

    /// Remembers which path an output is, or that nobody knows.
    pub(super) fn remember_realisation(&self, cache: i64, id: &DerivationOutputId, realisation: Option<&Realisation>) {
        let text = realisation.map(Realisation::to_cache_text);
        let _ = self.lock().execute(
            "insert or replace into Realisations(cache, outputId, content, timestamp) values (?1, ?2, ?3, ?4)",
            params![cache, id.to_string(), text, now()],
        );
    }
}

fn insert(connection: &Connection, cache: i64, digits: &str, narinfo: &NarInfo) -> rusqlite::Result<usize> {
    let NarInfo { path_info: PathInfo { path, info }, url, compression, file_hash, file_size } = narinfo;
    let references: Vec<String> = info.references.iter().map(StorePath::base_name).collect();
    let mut statement = connection.prepare_cached(
        "insert or replace into NARs(cache, hashPart, namePart, url, compression, fileHash, fileSize, narHash, narSize,
         refs, deriver, sigs, ca, timestamp, present)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1)",
    )?;
    statement.execute(params![
        cache,
        digits,
        path.name(),
        url,
        compression,
        file_hash.map(|hash| hash.format(HashFormat::Nix32, true)),
        (*file_size != 0).then(|| i64::try_from(*file_size).unwrap_or(i64::MAX)),
        info.nar_hash.format(HashFormat::Nix32, true),
        i64::try_from(info.nar_size).unwrap_or(i64::MAX),
        references.join(" "),
        info.deriver.as_ref().map(StorePath::base_name),
        in_reference_order(&info.signatures).join(" "),
        info.content_address.map(|address| address.to_string()).unwrap_or_default(),
        now(),
    ])
}

/// Reads a row; `None` if it makes no sense.
fn from_row(hash_part: &[u8; 20], row: &Row<'_>) -> Option<NarInfo> {
    let text = |idx: usize| row.get::<_, Option<String>>(idx).ok().map(Option::unwrap_or_default);
    let size = |idx: usize| row.get::<_, Option<i64>>(idx).ok().map(|size| size.unwrap_or(0).max(0).cast_unsigned());
    let hash = |text: &str| Hash::parse_prefixed(text).ok();
    let words = |text: String| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut info = UnkeyedPathInfo::new(hash(&text(6)?)?, size(7)?);
    for reference in words(text(8)?) {
        info.references.insert(StorePath::from_base_name(reference).ok()?);
    }
    let deriver = text(9)?;
    if !deriver.is_empty() {
        info.deriver = Some(StorePath::from_base_name(deriver).ok()?);
    }
    info.signatures = words(text(10)?).into_iter().collect();
    let address = text(11)?;
    if !address.is_empty() {
        info.content_address = Some(address.parse().ok()?);
    }
    let file_hash = text(4)?;
    Some(NarInfo {
        path_info: PathInfo { path: StorePath::new(*hash_part, &text(1)?).ok()?, info },
        url: text(2)?,
        compression: text(3)?,
        file_hash: if file_hash.is_empty() { None } else { Some(hash(&file_hash)?) },
        file_size: size(5)?,
    })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narinfo() -> NarInfo {
        let path = StorePath::new([3; 20], "name-1.0").unwrap();
        let mut info = UnkeyedPathInfo::new(Hash::digest(crate::hash::Algorithm::Sha256, b"x"), 120);
        info.references = [path.clone(), StorePath::new([4; 20], "other").unwrap()].into();
        info.deriver = Some(StorePath::new([5; 20], "name.drv").unwrap());
        info.signatures = ["key-1:AAAA".to_owned()].into();
        NarInfo {
            path_info: PathInfo { path, info },
            url: "nar/x.nar.xz".into(),
            compression: "xz".into(),
            file_hash: None,
            file_size: 0,
        }
    }

    #[test]
    fn answers_are_remembered_as_long_as_they_are_believed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sub").join(DiskCache::FILE_NAME);
        let cache = DiskCache::open(&file, Lifetimes::default()).unwrap();
        assert_eq!(cache.cache("http://h"), None);
        let info = CacheInfo { store_dir: "/nix/store".into(), want_mass_query: true, priority: 40 };
        let id = cache.remember_cache("http://h", &info).unwrap();
        assert_eq!(cache.remember_cache("http://h", &info), Some(id));
        let narinfo = narinfo();
        cache.remember_narinfos(id, [(&[3; 20], Some(&narinfo)), (&[9; 20], None)]);
        drop(cache);

        let cache = DiskCache::open(&file, Lifetimes::default()).unwrap();
        assert_eq!(cache.cache("http://h"), Some((id, info)));
        let known = cache.narinfos(id, &[[3; 20], [9; 20], [8; 20]]);
        assert_eq!(known.len(), 2);
        assert_eq!(known[&[3; 20]].as_deref(), Some(&narinfo));
        assert_eq!(known[&[9; 20]], None);
        assert!(cache.narinfos(id + 1, &[[3; 20]]).is_empty());

        let none = Lifetimes { positive: Duration::ZERO, negative: Duration::ZERO, meta: Duration::ZERO };
        let cache = DiskCache::open(&file, none).unwrap();
        assert_eq!(cache.cache("http://h"), None);
        assert!(cache.narinfos(id, &[[3; 20], [9; 20]]).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "this is no database, although it is long enough to be taken for one").unwrap();
        assert!(DiskCache::open(&file, Lifetimes::default()).is_none());
        assert!(DiskCache::open(&file.join("below"), Lifetimes::default()).is_none());
    }
}
