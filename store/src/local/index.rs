//! The index of valid paths: rows of the database in and out, as the texts that stand there.
//!
//! Paths are full logical paths (`/nix/store/<hash>-<name>`), hashes `sha256:` and base 16. Every write is one
//! immediate transaction: a deferred one, as the reference uses, has to be tried again when somebody else wrote since
//! it began to read.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use rustc_hash::FxHashMap;

use crate::error::{Result, StoreError};

/// One valid path, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) hash: String,
    /// Seconds since the epoch.
    pub(crate) registration_time: i64,
    pub(crate) deriver: Option<String>,
    /// In bytes; 0 if unknown.
    pub(crate) nar_size: u64,
    pub(crate) ultimate: bool,
    /// Separated by spaces.
    pub(crate) sigs: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) references: Vec<String>,
}

/// A path to be registered.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) row: Row,
    /// Names and paths of the outputs, if it is a derivation.
    pub(crate) outputs: Vec<(String, String)>,
}

/// A path of a closure.
#[derive(Debug)]
pub(crate) struct ClosureRow {
    /// Without references.
    pub(crate) row: Row,
    /// Places in the list of the closure.
    pub(crate) references: Vec<usize>,
}

/// The whole reference graph, for garbage collection: node `i` is `paths[i]`.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) paths: Vec<String>,
    /// In seconds since 1970.
    pub(crate) registration_times: Vec<i64>,
    /// (referrer, reference)
    pub(crate) references: Vec<(u32, u32)>,
    /// (path, its deriver) where the deriver is valid.
    pub(crate) derivers: Vec<(u32, u32)>,
    /// (derivation, output) where the output is valid.
    pub(crate) outputs: Vec<(u32, u32)>,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: Mutex<Connection>,
}

const SELECT: &str =
    "select id, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths where path = ?";
const SELECT_BY_ID: &str =
    "select path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths where id = ?";
const SELECT_REFERENCES: &str = "select path from Refs join ValidPaths on reference = id where referrer = ?";

impl Index {
    pub(crate) fn new(path: PathBuf, connection: Connection) -> Index {
        Index { path, connection: Mutex::new(connection) }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a read. The database may be busy for longer than SQLite is ready to wait.
    pub(crate) fn read<T>(&self, mut body: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.connection();
        loop {
            match body(&connection) {
                Err(error) if is_busy(&error) => std::thread::sleep(std::time::Duration::from_millis(20)),
                result => return result.map_err(|source| StoreError::Database { path: self.path.clone(), source }),
            }
        }
    }

    /// Runs a write in a transaction; an error rolls it back.
    pub(crate) fn write<T>(&self, mut body: impl FnMut(&Transaction<'_>) -> std::result::Result<T, WriteError>) -> Result<T> {
        let mut connection = self.connection();
        loop {
            let attempt = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(WriteError::Sql)
                .and_then(|transaction| {
                    let value = body(&transaction)?;
                    transaction.commit()?;
                    Ok(value)
                });
            return match attempt {
                Ok(value) => Ok(value),
                Err(WriteError::Sql(error)) if is_busy(&error) => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    continue;
                }
                Err(WriteError::Sql(source)) => Err(StoreError::Database { path: self.path.clone(), source }),
                Err(WriteError::Store(error)) => Err(error),
            };
        }
    }

    /// Returns the rows of those of these paths that are valid, in the same places.
    pub(crate) fn rows(&self, paths: &[&str]) -> Result<Vec<Option<Row>>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(SELECT)?;
            let mut select_references = connection.prepare_cached(SELECT_REFERENCES)?;
            let mut found = Vec::with_capacity(paths.len());
            for path in paths {
                let row = select
                    .query_row([path], |row| {
                        let id: i64 = row.get(0)?;
                        Ok((id, read_row(row, (*path).to_owned())?))
                    })
                    .optional()?;
                let Some((id, mut row)) = row else {
                    found.push(None);
                    continue;
                };
                row.references = select_references.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
                found.push(Some(row));
            }
            Ok(found)
        })
    }

    /// Returns the rows of these paths and of all that they refer to, or the first of them that is not valid.
    ///
    /// The graph is followed by the numbers of its rows: each path is read once, as often as it is referred to.
    pub(crate) fn closure(&self, paths: &[&str]) -> Result<std::result::Result<Vec<ClosureRow>, String>> {
        self.read(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut select_id = connection.prepare_cached("select id from ValidPaths where path = ?")?;
            let mut select = connection.prepare_cached(SELECT_BY_ID)?;
            // The primary key has both numbers; the other index over referrers would lead to the table for each.
            let mut select_references = connection
                .prepare_cached("select reference from Refs indexed by sqlite_autoindex_Refs_1 where referrer = ?")?;
            let mut places: FxHashMap<i64, usize> = FxHashMap::default();
            let mut ids: Vec<i64> = Vec::new();
            for path in paths {
                let Some(id) = select_id.query_row([path], |row| row.get(0)).optional()? else {
                    return Ok(Err((*path).to_owned()));
                };
                if let Entry::Vacant(place) = places.entry(id) {
                    place.insert(ids.len());
                    ids.push(id);
                }
            }
            let mut found = Vec::with_capacity(ids.len());
            while let Some(id) = ids.get(found.len()).copied() {
                let row = select.query_row([id], |row| read_row(row, row.get(0)?))?;
                let mut references = Vec::new();
                let mut rows = select_references.query([id])?;
                while let Some(row) = rows.next()? {
                    let reference: i64 = row.get(0)?;
                    references.push(*places.entry(reference).or_insert_with(|| {
                        ids.push(reference);
                        ids.len() - 1
                    }));
                }
                found.push(ClosureRow { row, references });
            }
            drop(snapshot);
            Ok(Ok(found))
        })
    }

    /// Returns for each of these paths whether it is valid.
    pub(crate) fn are_valid(&self, paths: &[&str]) -> Result<Vec<bool>> {
        self.read(|connection| {
            // Locks once, not for each path.
            let _snapshot = connection.unchecked_transaction()?;
            let mut select = connection.prepare_cached("select 1 from ValidPaths where path = ?")?;
            paths.iter().map(|path| select.exists([path])).collect()
        })
    }

    /// Returns all valid paths.
    pub(crate) fn all_paths(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached("select path from ValidPaths")?;
            select.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Returns the valid paths that refer to this one, itself perhaps among them.
    pub(crate) fn referrers(&self, path: &str) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "select path from Refs join ValidPaths on referrer = id \
                 where reference = (select id from ValidPaths where path = ?)",
            )?;
            select.query_map([path], |row| row.get(0))?.collect()
        })
    }

    /// Returns the valid derivations that have this path as an output.
    pub(crate) fn derivers(&self, path: &str) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "select v.path from DerivationOutputs d join ValidPaths v on d.drv = v.id where d.path = ?",
            )?;
            select.query_map([path], |row| row.get(0))?.collect()
        })
    }

    /// Returns names and paths of a derivation's outputs as far as they are known; nothing if it isn't valid.
    pub(crate) fn outputs(&self, derivation: &str) -> Result<Vec<(String, String)>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "select d.id, d.path from DerivationOutputs d join ValidPaths v on d.drv = v.id where v.path = ?",
            )?;
            select.query_map([derivation], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// Returns the first valid path that begins with these bytes.
    pub(crate) fn first_with_prefix(&self, prefix: &str) -> Result<Option<String>> {
        // `like` would not use the index.
        let first: Option<String> = self.read(|connection| {
            let mut select = connection.prepare_cached("select path from ValidPaths where path >= ? limit 1")?;
            select.query_row([prefix], |row| row.get(0)).optional()
        })?;
        Ok(first.filter(|path| path.starts_with(prefix)))
    }

    /// Returns whether some valid path has this name. Reads the index of all paths, some ten million a second.
    pub(crate) fn has_name(&self, name: &str) -> Result<bool> {
        let end = format!("-{name}");
        self.read(|connection| {
            let mut select = connection.prepare_cached("select 1 from ValidPaths where substr(path, ?) = ? limit 1")?;
            select.exists(params![-(end.len() as i64), end])
        })
    }

    /// Registers paths, all or none. References may be among them or valid already.
    ///
    /// What was valid before gets hash, size, signatures and content address of the new row, as in the reference.
    pub(crate) fn register(&self, registrations: &[Registration], now: i64) -> Result<()> {
        self.write(|transaction| {
            let mut select = transaction.prepare_cached("select id from ValidPaths where path = ?")?;
            let mut insert = transaction.prepare_cached(
                "insert into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
                 values (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut update = transaction.prepare_cached(
                "update ValidPaths set narSize = ?, hash = ?, ultimate = ?, sigs = ?, ca = ? where id = ?",
            )?;
            let mut insert_output = transaction
                .prepare_cached("insert or replace into DerivationOutputs (drv, id, path) values (?, ?, ?)")?;
            let mut insert_reference = transaction.prepare_cached(
                "insert or replace into Refs (referrer, reference) select ?, id from ValidPaths where path = ?",
            )?;

            let mut ids = Vec::with_capacity(registrations.len());
            for Registration { row, outputs } in registrations {
                let nar_size = (row.nar_size != 0).then(|| i64::try_from(row.nar_size).unwrap_or(i64::MAX));
                let ultimate = row.ultimate.then_some(1);
                let id: Option<i64> = select.query_row([&row.path], |row| row.get(0)).optional()?;
                let id = match id {
                    Some(id) => {
                        update.execute(params![nar_size, row.hash, ultimate, row.sigs, row.ca, id])?;
                        id
                    }
                    None => {
                        let time = if row.registration_time == 0 { now } else { row.registration_time };
                        insert.insert(params![
                            row.path, row.hash, time, row.deriver, nar_size, ultimate, row.sigs, row.ca
                        ])?
                    }
                };
                for (name, path) in outputs {
                    insert_output.execute(params![id, name, path])?;
                }
                ids.push(id);
            }
            for (Registration { row, .. }, id) in registrations.iter().zip(ids) {
                for reference in &row.references {
                    if insert_reference.execute(params![id, reference])? == 0 {
                        return Err(WriteError::Store(StoreError::InvalidPath { path: reference.clone() }));
                    }
                }
            }
            Ok(())
        })
    }

    /// Adds signatures to a path, keeping those it has.
    pub(crate) fn add_signatures(&self, path: &str, signatures: &[String]) -> Result<()> {
        self.write(|transaction| {
            let known: Option<Option<String>> = transaction
                .query_row("select sigs from ValidPaths where path = ?", [path], |row| row.get(0))
                .optional()?;
            let Some(known) = known else {
                return Err(WriteError::Store(StoreError::InvalidPath { path: path.to_owned() }));
            };
            let mut all: std::collections::BTreeSet<&str> = signatures.iter().map(String::as_str).collect();
            all.extend(known.as_deref().unwrap_or("").split(' ').filter(|signature| !signature.is_empty()));
            let all: Vec<&str> = all.into_iter().collect();
            transaction.execute("update ValidPaths set sigs = ? where path = ?", params![all.join(" "), path])?;
            Ok(())
        })
    }

    /// Makes a path invalid. Nothing happens if it was not valid.
    ///
    /// # Errors
    /// [`StoreError::PathInUse`] when other valid paths refer to it.
    pub(crate) fn invalidate(&self, path: &str) -> Result<()> {
        self.write(|transaction| {
            let mut select = transaction.prepare_cached(
                "select path from Refs join ValidPaths on referrer = id \
                 where reference = (select id from ValidPaths where path = ?)",
            )?;
            let referrers: Vec<String> = select.query_map([path], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let users: Vec<String> = referrers
                .iter()
                .filter(|referrer| *referrer != path)
                .map(|referrer| format!("'{referrer}'"))
                .collect();
            if !users.is_empty() {
                let users = users.join(", ");
                return Err(WriteError::Store(StoreError::PathInUse { path: path.to_owned(), users }));
            }
            transaction.prepare_cached("delete from ValidPaths where path = ?")?.execute([path])?;
            Ok(())
        })
    }

    /// Makes paths invalid, all or none; they may refer to each other.
    ///
    /// # Errors
    /// [`StoreError::PathInUse`] when a valid path that stays refers to one of them.
    pub(crate) fn invalidate_all(&self, paths: &HashSet<&str>) -> Result<()> {
        self.write(|transaction| {
            // References go first, so that the order of deletion does not matter.
            let mut referrers = transaction.prepare_cached(
                "select path from Refs join ValidPaths on referrer = id \
                 where reference = (select id from ValidPaths where path = ?)",
            )?;
            let mut unlink = transaction.prepare_cached(
                "delete from Refs where referrer = (select id from ValidPaths where path = ?)",
            )?;
            let mut delete = transaction.prepare_cached("delete from ValidPaths where path = ?")?;
            let mut sorted: Vec<&str> = paths.iter().copied().collect();
            sorted.sort_unstable();
            for path in &sorted {
                let users: Vec<String> = referrers.query_map([path], |row| row.get(0))?.collect::<Result<_, _>>()?;
                if let Some(user) = users.iter().find(|user| !paths.contains(user.as_str())) {
                    let users = format!("'{user}'");
                    return Err(WriteError::Store(StoreError::PathInUse { path: (*path).to_owned(), users }));
                }
            }
            for path in &sorted {
                unlink.execute([path])?;
            }
            for path in &sorted {
                delete.execute([path])?;
            }
            Ok(())
        })
    }

    /// Reads the whole graph.
    pub(crate) fn graph(&self) -> Result<Graph> {
        self.read(|connection| {
            let mut graph = Graph::default();
            let mut node_of_id = std::collections::HashMap::new();
            let mut node_of_path = std::collections::HashMap::new();
            let mut with_deriver = Vec::new();
            let snapshot = connection.unchecked_transaction()?;
            let mut select = connection.prepare_cached("select id, path, deriver, registrationTime from ValidPaths")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (id, path): (i64, String) = (row.get(0)?, row.get(1)?);
                let node = u32::try_from(graph.paths.len()).expect("fewer than 2^32 paths fit a database in memory");
                node_of_id.insert(id, node);
                node_of_path.insert(path.clone(), node);
                if let Some(deriver) = row.get::<_, Option<String>>(2)? {
                    with_deriver.push((node, deriver));
                }
                graph.paths.push(path);
                graph.registration_times.push(row.get(3)?);
            }
            let mut select = connection.prepare_cached("select referrer, reference from Refs")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (from, to): (i64, i64) = (row.get(0)?, row.get(1)?);
                if let (Some(from), Some(to)) = (node_of_id.get(&from), node_of_id.get(&to)) {
                    graph.references.push((*from, *to));
                }
            }
            let mut select = connection.prepare_cached("select drv, path from DerivationOutputs")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (drv, path): (i64, String) = (row.get(0)?, row.get(1)?);
                if let (Some(drv), Some(path)) = (node_of_id.get(&drv), node_of_path.get(&path)) {
                    graph.outputs.push((*drv, *path));
                }
            }
            for (node, deriver) in with_deriver {
                if let Some(deriver) = node_of_path.get(&deriver) {
                    graph.derivers.push((node, *deriver));
                }
            }
            drop(snapshot);
            Ok(graph)
        })
    }
}

/// Reads what [`SELECT`] and [`SELECT_BY_ID`] give, but for the first column.
fn read_row(row: &rusqlite::Row<'_>, path: String) -> rusqlite::Result<Row> {
    let nar_size: Option<i64> = row.get(4)?;
    let ultimate: Option<i64> = row.get(5)?;
    Ok(Row {
        path,
        hash: row.get(1)?,
        registration_time: row.get(2)?,
        deriver: row.get(3)?,
        nar_size: nar_size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        ultimate: ultimate == Some(1),
        sigs: row.get(6)?,
        ca: row.get(7)?,
        references: Vec::new(),
    })
}

pub(crate) enum WriteError {
    Sql(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> WriteError {
        WriteError::Sql(error)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed)
    )
}
