//! What was fetched before: the reference's table `fetcher-cache-v4.sqlite`, so that both know what either fetched.
//!
//! A cache that can't be opened or read is an empty one. Keys and values are attributes as JSON, in domains; a value that is a store path
//! has the store's directory in its key, and counts only while the path is valid.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::input::{Attr, Attrs, to_json};
use crate::path::StorePath;
use crate::store::Store;

const SCHEMA: &str = "create table if not exists Cache (
    domain text not null, key text not null, value text not null, timestamp integer not null, primary key (domain, key))";

/// The table.
pub struct Cache {
    path: PathBuf,
    ttl: u64,
    connection: Mutex<State>,
}

enum State {
    Closed,
    Open(Connection),
    /// It could not be opened; there is no use in trying again.
    Absent,
}

/// An entry of the table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is remembered.
    pub attrs: Attrs,
    /// Whether it is older than answers may be that can change.
    pub is_expired: bool,
}

impl Entry {
    /// Returns a text of the value.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attrs.get(name) {
            Some(Attr::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns a number of the value.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.attrs.get(name) {
            Some(Attr::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Cache {
    /// Returns the table in a file, which is opened when it is needed. Entries expire after `ttl` seconds.
    pub fn new(path: PathBuf, ttl: u64) -> Cache {
        Cache { path, ttl, connection: Mutex::new(State::Closed) }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        if let Some(parent) = self.path.parent() {
            // What goes wrong shows in the next step.
            let _ = std::fs::create_dir_all(parent);
        }
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        // Losing a cache's last entries in a crash is no loss.
        connection.execute_batch("pragma synchronous = off; pragma main.journal_mode = truncate;")?;
        connection.execute(SCHEMA, [])?;
        Ok(connection)
    }

    fn with<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let mut state = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Closed) {
            *state = self.open().map_or(State::Absent, State::Open);
        }
        match &*state {
            State::Open(connection) => run(connection).ok(),
            _ => None,
        }
    }

    /// Returns an entry, however old it is.
    pub fn lookup(&self, domain: &str, key: &Attrs) -> Option<Entry> {
        let query = "select value, timestamp from Cache where domain = ? and key = ?";
        let row = self.with(|connection| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
            connection.prepare_cached(query)?.query_row(params![domain, to_json(key)], row).optional()
        })??;
        let attrs = serde_json::from_str(&row.0).ok()?;
        let age = now().saturating_sub(u64::try_from(row.1).unwrap_or(0));
        Some(Entry { attrs, is_expired: self.ttl == 0 || age > self.ttl })
    }

    /// Remembers something.
    pub fn upsert(&self, domain: &str, key: &Attrs, value: &Attrs) {
        let statement = "insert or replace into Cache(domain, key, value, timestamp) values (?, ?, ?, ?)";
        let now = i64::try_from(now()).unwrap_or(i64::MAX);
        self.with(|connection| connection.prepare_cached(statement)?.execute(params![domain, to_json(key), to_json(value), now]));
    }

    /// As [`Cache::lookup`], for an entry that is a store path; the path is a temporary root then. An entry whose path is gone is none.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub fn lookup_path(&self, domain: &str, key: &Attrs, store: &dyn Store) -> Result<Option<(Entry, StorePath)>> {
        let Some(mut entry) = self.lookup(domain, &with_store(key, store)) else { return Ok(None) };
        let path = entry.text("storePath").and_then(|base| store.store_dir().parse(format!("{}/{base}", store.store_dir().as_str())).ok());
        let Some(path) = path else { return Ok(None) };
        entry.attrs.remove("storePath");
        store.add_temp_roots(std::slice::from_ref(&path))?;
        Ok(store.is_valid(&path)?.then_some((entry, path)))
    }

    /// As [`Cache::upsert`], for a store path.
    pub fn upsert_path(&self, domain: &str, key: &Attrs, value: &Attrs, path: &StorePath, store: &dyn Store) {
        let mut value = value.clone();
        value.insert("storePath".to_owned(), Attr::Text(path.to_string()));
        self.upsert(domain, &with_store(key, store), &value);
    }
}

fn with_store(key: &Attrs, store: &dyn Store) -> Attrs {
    let mut key = key.clone();
    key.insert("store".to_owned(), Attr::from(store.store_dir().as_str()));
    key
}

/// Makes attributes of texts.
pub(super) fn texts<const N: usize>(texts: [(&str, &str); N]) -> Attrs {
    texts.into_iter().map(|(name, text)| (name.to_owned(), Attr::from(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_references_rows_and_expire() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("nix/fetcher-cache-v4.sqlite");
        let cache = Cache::new(path.clone(), 3600);
        let key = texts([("url", "https://h/x"), ("name", "source")]);
        assert!(cache.lookup("file", &key).is_none());
        let mut value = texts([("etag", "\"1\"")]);
        value.insert("lastModified".into(), Attr::Number(7));
        cache.upsert("file", &key, &value);
        let entry = cache.lookup("file", &key).unwrap();
        assert_eq!((entry.text("etag"), entry.number("lastModified"), entry.is_expired), (Some("\"1\""), Some(7), false));
        let connection = Connection::open(&path).unwrap();
        let row: (String, String) =
            connection.query_row("select key, value from Cache where domain = 'file'", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row.0, r#"{"name":"source","url":"https://h/x"}"#);
        assert_eq!(row.1, r#"{"etag":"\"1\"","lastModified":7}"#);
        connection.execute("update Cache set timestamp = 1", []).unwrap();
        assert!(cache.lookup("file", &key).unwrap().is_expired);
        assert!(Cache::new(path, 0).lookup("file", &key).unwrap().is_expired);
        assert!(Cache::new("/dev/null/x".into(), 0).lookup("file", &key).is_none());
    }
}
