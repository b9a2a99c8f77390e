//! Entries of tar archives: old, ustar, GNU and pax.
//!
//! The headers that carry long names are read here and not by the library, which would take as much memory as they ask for.

use std::collections::BTreeMap;
use std::io::{self, Read};

use ::tar::{Archive, EntryType, PaxExtensions};

use super::{Builder, ExtractError, Result};

/// Longest extended header, in bytes.
const MAX_EXTENSIONS: u64 = 1 << 20;

/// What headers before an entry say of it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    modified: Option<u64>,
}

pub(super) fn read(source: impl Read, builder: &mut Builder) -> Result<()> {
    let mut archive = Archive::new(source);
    let mut extended = Extended::default();
    let mut is_first = true;
    for entry in archive.entries().map_err(ExtractError::Read)?.raw(true) {
        let mut entry = entry.map_err(|error| match is_first {
            // Nothing was understood yet.
            true => ExtractError::NotAnArchive { reason: "Unrecognized archive format".into() },
            false => ExtractError::Read(error),
        })?;
        is_first = false;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::XGlobalHeader => continue,
            EntryType::GNULongName => {
                extended.path = Some(long_name(&mut entry, builder)?);
                continue;
            }
            EntryType::GNULongLink => {
                extended.link = Some(long_name(&mut entry, builder)?);
                continue;
            }
            EntryType::XHeader => {
                pax(&bounded(&mut entry, MAX_EXTENSIONS)?, &mut extended)?;
                continue;
            }
            _ => {}
        }
        let Extended { path, link, modified } = std::mem::take(&mut extended);
        let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
        builder.entry(modified.unwrap_or_else(|| entry.header().mtime().unwrap_or(0)))?;
        let target = link.unwrap_or_else(|| entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default());
        match kind {
            EntryType::Directory => builder.directory(&path)?,
            EntryType::Symlink => builder.symlink(&path, &target)?,
            EntryType::Link => builder.hard_link(&path, &target)?,
            // Very old archives mark a directory by a slash alone.
            EntryType::Regular if path.ends_with(b"/") => builder.directory(&path)?,
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().unwrap_or(0) & 0o100 != 0;
                let size = entry.size();
                builder.file(&path, executable, Some(size), &mut entry)?;
            }
            other => {
                let path = String::from_utf8_lossy(&path).into_owned();
                return Err(ExtractError::UnsupportedType { path, found: other.as_byte() });
            }
        }
    }
    Ok(())
}

fn bounded(entry: &mut impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes).map_err(ExtractError::Read)?;
    if bytes.len() as u64 > limit { Err(ExtractError::TooMuch { limit, what: "bytes in a header" }) } else { Ok(bytes) }
}

fn long_name(entry: &mut impl Read, builder: &Builder) -> Result<Vec<u8>> {
    let mut name = bounded(entry, builder.limits.path_len as u64)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

fn pax(bytes: &[u8], extended: &mut Extended) -> Result<()> {
    let mut found: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for extension in PaxExtensions::new(bytes) {
        let extension = extension.map_err(ExtractError::Read)?;
        found.insert(extension.key_bytes(), extension.value_bytes());
    }
    let text = |name: &str| found.get(name.as_bytes()).map(|value| value.to_vec());
    extended.path = text("path").or(extended.path.take());
    extended.link = text("linkpath").or(extended.link.take());
    if let Some(time) = found.get(&b"mtime"[..]) {
        // Parts of a second don't count.
        extended.modified = std::str::from_utf8(time).ok().and_then(|time| time.split('.').next()?.parse().ok());
    }
    if found.contains_key(&b"size"[..]) || found.keys().any(|name| name.starts_with(b"GNU.sparse.")) {
        return Err(ExtractError::Read(io::Error::other("sparse files and files of more than 8 GiB in pax form are not supported")));
    }
    Ok(())
}
