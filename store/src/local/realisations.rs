//! Realisations in the database: which path an output of a content-addressed derivation turned out to be.
//!
//! The surprising thing: the column `drvPath` holds no path but the derivation's masked hash (`sha256:` and base 16),
//! as the reference has it until 2.34. Rows go with the path that they name.

use rusqlite::{OptionalExtension, params};

use crate::error::{Result, StoreError};
use crate::hash::HashFormat;
use crate::local::LocalStore;
use crate::local::index::{Index, WriteError};
use crate::local::rows::parse_path;
use crate::local::schema::{REALISATIONS_MIGRATION, REALISATIONS_TABLES};
use crate::path::StoreDir;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::{Store, check_same_realisation};

const SELECT: &str = "select Realisations.id, ValidPaths.path, signatures from Realisations \
    join ValidPaths on ValidPaths.id = Realisations.outputPath where drvPath = ? and outputName = ?";

/// What stands in the database about one output: its row, the full path, signatures separated by blanks.
type Found = Option<(i64, String, Option<String>)>;

fn key(id: &DerivationOutputId) -> String {
    id.derivation_hash.format(HashFormat::Base16, true)
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
            if !has_tables(connection)? {
                return Ok(vec![None; ids.len()]);
            }
            let mut select = connection.prepare_cached(SELECT)?;
            let one = |id: &DerivationOutputId| {
                let found = select.query_row(params![key(id), id.output.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                });
                found.optional()
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
            if !has_tables(transaction)? {
                transaction.execute_batch(REALISATIONS_TABLES)?;
                let insert = "insert or ignore into SchemaMigrations (migration) values (?)";
                transaction.execute(insert, [REALISATIONS_MIGRATION])?;
            }
            for new in realisations {
                let full = dir.display(&new.path);
                let known: Found = transaction
                    .prepare_cached(SELECT)?
                    .query_row(params![key(&new.id), new.id.output.as_str()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()?;
                let join = |all: &Realisation| {
                    let texts: Vec<&str> = all.signatures.iter().map(String::as_str).collect();
                    texts.join(" ")
                };
                if let Some((row, path, signatures)) = known {
                    let mut known =
                        from_row(dir, &new.id, &path, signatures.as_deref()).map_err(WriteError::Store)?;
                    check_same_realisation(dir, &known, new).map_err(WriteError::Store)?;
                    known.signatures.extend(new.signatures.iter().cloned());
                    let update = "update Realisations set signatures = ? where id = ?";
                    transaction.prepare_cached(update)?.execute(params![join(&known), row])?;
                    continue;
                }
                let insert = "insert into Realisations (drvPath, outputName, outputPath, signatures) \
                    select ?, ?, id, ? from ValidPaths where path = ?";
                let n_inserted = transaction.prepare_cached(insert)?.execute(params![
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

fn has_tables(connection: &rusqlite::Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("select 1 from sqlite_master where type = 'table' and name = 'Realisations'")?
        .exists([])
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
