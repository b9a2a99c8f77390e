//! Facts about a path as the database writes them, and back.
//!
//! The surprising thing: the hash is written in base 16 with its algorithm, while the content address of the same path
//! has it in Nix's base 32; and a fact that is not known is null, never an empty text.

use std::collections::BTreeSet;

use crate::content_address::ContentAddress;
use crate::error::{Result, StoreError};
use crate::hash::{Hash, HashFormat};
use crate::local::index::{ClosureRow, Row};
use crate::path::{StoreDir, StorePath};
use crate::path_info::{PathInfo, UnkeyedPathInfo};

/// Writes a row.
pub(crate) fn to_row(dir: &StoreDir, info: &PathInfo) -> Row {
    let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
    Row {
        path: dir.display(&info.path),
        hash: info.nar_hash.format(HashFormat::Base16, true),
        registration_time: info.registration_time,
        deriver: info.deriver.as_ref().map(|deriver| dir.display(deriver)),
        nar_size: info.nar_size,
        ultimate: info.ultimate,
        sigs: (!signatures.is_empty()).then(|| signatures.join(" ")),
        ca: info.content_address.as_ref().map(ContentAddress::to_string),
        references: info.references.iter().map(|reference| dir.display(reference)).collect(),
    }
}

/// Reads a row.
pub(crate) fn from_row(dir: &StoreDir, row: Row) -> Result<PathInfo> {
    let references = row.references.iter().map(|path| parse_path(dir, path)).collect::<Result<_>>()?;
    Ok(PathInfo { path: parse_path(dir, &row.path)?, info: facts(dir, row, references)? })
}

/// Reads the rows of a closure. They are in order of their paths.
pub(crate) fn from_closure(dir: &StoreDir, rows: Vec<ClosureRow>) -> Result<Vec<PathInfo>> {
    let paths: Vec<StorePath> = rows.iter().map(|row| parse_path(dir, &row.row.path)).collect::<Result<_>>()?;
    let mut infos = Vec::with_capacity(rows.len());
    for (ClosureRow { row, references }, path) in rows.into_iter().zip(&paths) {
        let references = references.into_iter().map(|place| paths[place].clone()).collect();
        infos.push(PathInfo { path: path.clone(), info: facts(dir, row, references)? });
    }
    infos.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(infos)
}

fn facts(dir: &StoreDir, row: Row, references: BTreeSet<StorePath>) -> Result<UnkeyedPathInfo> {
    let corrupt = |reason: String| StoreError::CorruptEntry { path: row.path.clone(), reason };
    let content_address = match row.ca.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<ContentAddress>().map_err(|error| corrupt(error.to_string()))?),
    };
    Ok(UnkeyedPathInfo {
        nar_hash: Hash::parse_prefixed(&row.hash).map_err(|error| corrupt(error.to_string()))?,
        nar_size: row.nar_size,
        references,
        deriver: row.deriver.as_deref().map(|path| parse_path(dir, path)).transpose()?,
        registration_time: row.registration_time,
        ultimate: row.ultimate,
        signatures: row.sigs.iter().flat_map(|sigs| sigs.split_ascii_whitespace()).map(String::from).collect(),
        content_address,
    })
}

/// Reads a full path as it stands in a row.
pub(crate) fn parse_path(dir: &StoreDir, path: &str) -> Result<StorePath> {
    dir.parse(path)
        .map_err(|error| StoreError::CorruptEntry { path: path.to_owned(), reason: error.to_string() })
}
