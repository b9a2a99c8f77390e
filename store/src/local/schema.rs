//! The database file: its tables (schema 10 of the reference), its pragmas, and how it is opened.
//!
//! The names and constraints of tables, indexes and the trigger are what other implementations' statements rely on; see
//! `sqlite3 db.sqlite .schema` on a store made by the reference. Tables of others (content-addressed derivations,
//! vendors' columns) may be there as well and are left alone, which is why no statement here says `select *`.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, FileControl, OpenFlags};

use crate::error::{Result, StoreError};

/// The number in `db/schema`.
pub(crate) const SCHEMA_VERSION: u32 = 10;

const TABLES: &str = "
create table if not exists ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);
create table if not exists Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
create index if not exists IndexReferrer on Refs(referrer);
create index if not exists IndexReference on Refs(reference);
create trigger if not exists DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;
create table if not exists DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
create index if not exists IndexDerivationOutputs on DerivationOutputs(path);
create table if not exists SchemaMigrations (migration text primary key not null);
";

/// Tables for content-addressed derivations, and the name of the migration that makes them. They are made when the first
/// realisation is registered.
pub(crate) const REALISATIONS_MIGRATION: &str = "20220326-ca-derivations";
pub(crate) const REALISATIONS_TABLES: &str = "
create table if not exists Realisations (
    id         integer primary key autoincrement not null,
    drvPath    text not null,
    outputName text not null,
    outputPath integer not null,
    signatures text,
    foreign key (outputPath) references ValidPaths(id) on delete cascade
);
create index if not exists IndexRealisations on Realisations(drvPath, outputName);
create index if not exists IndexRealisationsRefsOnOutputPath on Realisations(outputPath);
create table if not exists RealisationsRefs (
    referrer             integer not null,
    realisationReference integer,
    foreign key (referrer) references Realisations(id) on delete cascade,
    foreign key (realisationReference) references Realisations(id) on delete restrict
);
create index if not exists IndexRealisationsRefs on RealisationsRefs(referrer);
create index if not exists IndexRealisationsRefsRealisationReference on RealisationsRefs(realisationReference);
create trigger if not exists DeleteSelfRefsViaRealisations before delete on ValidPaths
  begin
    delete from RealisationsRefs where realisationReference in (select id from Realisations where outputPath = old.id);
  end;
";

/// The same for the form of 2.35; the tables are those of `ca-specific-schema.sql` of the reference's master.
pub(crate) const BUILD_TRACE_MIGRATION: &str = "20251017-ca-derivations";
pub(crate) const BUILD_TRACE_TABLES: &str = "
create table if not exists BuildTraceV3 (
    id         integer primary key autoincrement not null,
    drvPath    text not null,
    outputName text not null,
    outputPath text not null,
    signatures text
);
create index if not exists IndexBuildTraceV3 on BuildTraceV3(drvPath, outputName);
";

/// How to open a database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenOptions {
    pub(crate) read_only: bool,
    /// Write-ahead log; otherwise a rollback journal with locks that work on network file systems.
    pub(crate) use_wal: bool,
    /// Whether SQLite syncs at all.
    pub(crate) sync: bool,
}

/// Opens the database, making its tables if `create`.
pub(crate) fn open(path: &Path, create: bool, options: OpenOptions) -> Result<Connection> {
    let database = |source| StoreError::Database { path: path.to_owned(), source };
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    flags |= if options.read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    // The file name is a URI only if it starts with "file:", which an absolute path does not.
    let connection = if options.use_wal || options.read_only {
        Connection::open_with_flags(path, flags)
    } else {
        Connection::open_with_flags_and_vfs(path, flags, c"unix-dotfile")
    }
    .map_err(database)?;
    let connection = if options.read_only { readable(connection, path, flags).map_err(database)? } else { connection };
    configure(&connection, options).map_err(database)?;
    if create {
        connection.execute_batch(&format!("begin immediate; {TABLES} commit;")).map_err(database)?;
    }
    Ok(connection)
}

/// Makes sure that a database opened for reading can be read.
///
/// With a write-ahead log readers need to write its index. Where they may not, or the file system can't be written at
/// all, the database is read as one that nobody changes; what stands in the log only is not seen then.
fn readable(connection: Connection, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    match connection.query_row("select count(*) from sqlite_master", [], |_| Ok(())) {
        Ok(()) => Ok(connection),
        Err(error) => {
            let fallback = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure)
            );
            if !fallback {
                return Err(error);
            }
            let mut uri = String::from("file:");
            for byte in path.as_os_str().as_encoded_bytes() {
                match byte {
                    b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
                    _ => uri.push_str(&format!("%{byte:02x}")),
                }
            }
            uri.push_str("?immutable=1");
            Connection::open_with_flags(uri, flags)
        }
    }
}

fn configure(connection: &Connection, options: OpenOptions) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(60 * 60))?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    if options.read_only {
        return Ok(());
    }
    connection.pragma_update(None, "synchronous", if options.sync { "normal" } else { "off" })?;
    let mode = if options.use_wal { "wal" } else { "truncate" };
    let now: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if now != mode {
        connection.pragma_update(None, "journal_mode", mode)?;
    }
    if options.use_wal {
        // Others may not be allowed to make these files anew: readers need them.
        let mut persist = 1;
        connection.file_control(DEFAULT_NAME, FileControl::PersistWal(&mut persist))?;
        connection.pragma_update(None, "journal_size_limit", 1i64 << 40)?;
        // In pages; the default of 1000 writes too often while many derivations are registered.
        connection.pragma_update(None, "wal_autocheckpoint", 40_000)?;
    }
    Ok(())
}
