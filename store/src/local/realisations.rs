//! Realisations in the database: which path an output of a content-addressed derivation turned out to be.
//!
//! Each form has its table, as in the reference: `Realisations` until 2.34, whose rows go with the path that they name, and
//! `BuildTraceV3` since 2.35, whose rows outlive it, so that what was built once can be known without being there. The surprising
//! thing: the column `drvPath` of the first holds no path but the derivation's masked hash (`sha256:` and base 16), that of the second
//! only the path's last part.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Result, StoreError};
use crate::hash::HashFormat;
use crate::local::LocalStore;
use crate::local::index::{Index, WriteError};
use crate::local::rows::parse_path;
use crate::local::schema::{BUILD_TRACE_MIGRATION, BUILD_TRACE_TABLES, REALISATIONS_MIGRATION, REALISATIONS_TABLES};
use crate::path::StoreDir;
use crate::realisation::{DerivationKey, DerivationOutputId, Realisation};
use crate::store::{Store, check_same_realisation};

/// How the realisations of one form stand in the database.
struct Form {
    table: &'static str,
    migration: &'static str,
    make_tables: &'static str,
    select: &'static str,
    update: &'static str,
    /// Inserts nothing if the path must be valid and is not.
    insert: &'static str,
}

const BY_HASH: Form = Form {
    table: "Realisations",
    migration: REALISATIONS_MIGRATION,
    make_tables: REALISATIONS_TABLES,
    select: "select Realisations.id, ValidPaths.path, signatures from Realisations \
        join ValidPaths on ValidPaths.id = Realisations.outputPath where drvPath = ? and outputName = ?",
    update: "update Realisations set signatures = ? where id = ?",
    insert: "insert into Realisations (drvPath, outputName, outputPath, signatures) \
        select ?, ?, id, ? from ValidPaths where path = ?",
};

const BY_PATH: Form = Form {
    table: "BuildTraceV3",
    migration: BUILD_TRACE_MIGRATION,
    make_tables: BUILD_TRACE_TABLES,
    select: "select id, outputPath, signatures from BuildTraceV3 where drvPath = ? and outputName = ?",
    update: "update BuildTraceV3 set signatures = ? where id = ?",
    insert: "insert into BuildTraceV3 (drvPath, outputName, signatures, outputPath) values (?, ?, ?, ?)",
};

impl Form {
    fn of(id: &DerivationOutputId) -> &'static Form {
        match id.derivation {
            DerivationKey::Hash(_) => &BY_HASH,
            DerivationKey::Path(_) => &BY_PATH,
        }
    }

    fn is_there(&self, connection: &Connection) -> rusqlite::Result<bool> {
        connection.prepare_cached("select 1 from sqlite_master where type = 'table' and name = ?")?.exists([self.table])
    }

    fn find(&self, connection: &Connection, id: &DerivationOutputId) -> rusqlite::Result<Found> {
        let mut select = connection.prepare_cached(self.select)?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        select.query_row(params![key(id), id.output.as_str()], row).optional()
    }
}

/// What stands in the database about one output: its row, the full path, signatures separated by blanks.
type Found = Option<(i64, String, Option<String>)>;

fn key(id: &DerivationOutputId) -> String {
    match &id.derivation {
        DerivationKey::Hash(hash) => hash.format(HashFormat::Base16, true),
        DerivationKey::Path(path) => path.base_name(),
    }
}

fn from_row(dir: &StoreDir, id: &DerivationOutputId, path: &str, signatures: Option<&str>) -> Result<Realisation> {
    Ok(Realisation {
        id: id.clone(),
        path: parse_path(dir, path)?,
        signatures: signatures.unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect(),
    })
}

impl Index {
    /// Returns what is known about these outputs, in the same places.
    fn realisations(&self, dir: &StoreDir, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        let rows: Vec<Found> = self.read(|connection| {
            let (by_hash, by_path) = (BY_HASH.is_there(connection)?, BY_PATH.is_there(connection)?);
            let one = |id: &DerivationOutputId| {
                let is_there = if matches!(id.derivation, DerivationKey::Hash(_)) { by_hash } else { by_path };
                if is_there { Form::of(id).find(connection, id) } else { Ok(None) }
            };
            ids.iter().map(one).collect()
        })?;
        let parse = |(id, row): (&DerivationOutputId, Found)| {
            row.map(|(_, path, signatures)| from_row(dir, id, &path, signatures.as_deref())).transpose()
        };
        ids.iter().zip(rows).map(parse).collect()
    }

    /// Adds realisations, all or none; those that are known get the new signatures.
    fn add_realisations(&self, dir: &StoreDir, realisations: &[Realisation]) -> Result<()> {
        self.write(|transaction| {
            for new in realisations {
                let form = Form::of(&new.id);
                if !form.is_there(transaction)? {
                    transaction.execute_batch(form.make_tables)?;
                    let insert = "insert or ignore into SchemaMigrations (migration) values (?)";
                    transaction.execute(insert, [form.migration])?;
                }
                let full = dir.display(&new.path);
                let join = |all: &Realisation| {
                    let texts: Vec<&str> = all.signatures.iter().map(String::as_str).collect();
                    texts.join(" ")
                };
                if let Some((row, path, signatures)) = form.find(transaction, &new.id)? {
                    let mut known =
                        from_row(dir, &new.id, &path, signatures.as_deref()).map_err(WriteError::Store)?;
                    check_same_realisation(dir, &known, new).map_err(WriteError::Store)?;
                    known.signatures.extend(new.signatures.iter().cloned());
                    transaction.prepare_cached(form.update)?.execute(params![join(&known), row])?;
                    continue;
                }
                let n_inserted = transaction.prepare_cached(form.insert)?.execute(params![
                    key(&new.id),
                    new.id.output.as_str(),
                    join(new),
                    full
                ])?;
                if n_inserted == 0 {
                    return Err(WriteError::Store(StoreError::InvalidPath { path: full }));
                }
            }
            Ok(())
        })
    }
}

impl LocalStore {
    /// See [`Store::query_realisations`](crate::store::Store::query_realisations).
    pub(super) fn realisations(&self, ids: &[DerivationOutputId]) -> Result<Vec<Option<Realisation>>> {
        let mut found = self.index.realisations(&self.layout.store_dir, ids)?;
        if let Some(lower) = self.lower() {
            for (known, id) in found.iter_mut().zip(ids).filter(|(known, _)| known.is_none()) {
                *known = lower.query_realisation(id)?;
            }
        }
        Ok(found)
    }

    /// See [`Store::register_realisations`](crate::store::Store::register_realisations).
    pub(super) fn add_realisations(&self, realisations: &[Realisation], check_signatures: bool) -> Result<()> {
        self.writable("registering realisations")?;
        if check_signatures && self.options.require_signatures {
            let keys = &self.options.trusted_keys;
            if let Some(unsigned) = realisations.iter().find(|new| new.n_good_signatures(keys) == 0) {
                return Err(StoreError::UnsignedRealisation { id: unsigned.id.to_string() });
            }
        }
        if let Some(lower) = self.lower() {
            // What is known below comes first: the two have to agree.
            let ids: Vec<DerivationOutputId> = realisations.iter().map(|new| new.id.clone()).collect();
            let known: Vec<Realisation> = lower.query_realisations(&ids)?.into_iter().flatten().collect();
            self.are_valid(&realisations.iter().chain(&known).map(|one| one.path.clone()).collect::<Vec<_>>())?;
            self.index.add_realisations(&self.layout.store_dir, &known)?;
        }
        self.index.add_realisations(&self.layout.store_dir, realisations)
    }
}
