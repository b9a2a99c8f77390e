//! `nix-cache-info`: which store directory a cache is for, and how willingly it is asked.
//!
//! `Key: value` lines; unknown keys are ignored, and a key that is missing has a default.

use crate::compression::Compression;
use crate::error::{Result, StoreError};
use crate::path::StoreDir;
use crate::transfer::TransferErrorKind;

use super::files::Files;
use super::BinaryCacheOptions;

/// The file's name.
pub const FILE: &str = "nix-cache-info";

/// Its size in bytes, at most.
const LIMIT: u64 = 64 << 10;

/// What `nix-cache-info` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheInfo {
    /// The directory that the cache's paths name.
    pub store_dir: String,
    /// Whether it may be asked about many paths at once.
    pub want_mass_query: bool,
    /// Lower is asked first.
    pub priority: i64,
}

impl CacheInfo {
    /// Reads the file's text.
    pub fn parse(text: &str) -> CacheInfo {
        let mut info = CacheInfo::new(StoreDir::default().as_str());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "StoreDir" => value.clone_into(&mut info.store_dir),
                "WantMassQuery" => info.want_mass_query = value == "1",
                "Priority" => info.priority = value.parse().unwrap_or(info.priority),
                _ => {}
            }
        }
        info
    }

    /// Returns the defaults for a directory.
    pub fn new(store_dir: &str) -> CacheInfo {
        CacheInfo { store_dir: store_dir.to_owned(), want_mass_query: false, priority: 50 }
    }

    /// Returns the file's text, with everything in it.
    pub fn to_text(&self) -> String {
        let mass = u8::from(self.want_mass_query);
        format!("StoreDir: {}\nWantMassQuery: {mass}\nPriority: {}\n", self.store_dir, self.priority)
    }
}

/// Finds out what a cache says, and its number in the disk cache. A cache that is new is made one.
pub(super) fn obtain(files: &Files, options: &BinaryCacheOptions) -> Result<(CacheInfo, Option<i64>)> {
    let store_dir = options.store_dir.as_str();
    let disk_cache = options.disk_cache.as_ref().filter(|_| files.directory().is_none());
    if let Some((id, info)) = disk_cache.and_then(|cache| cache.cache(files.url()))
        && info.store_dir == store_dir
    {
        return Ok((info, Some(id)));
    }
    let info = match files.get_text(FILE, LIMIT)? {
        Some(text) => {
            let info = CacheInfo::parse(&text);
            if info.store_dir != store_dir {
                return Err(StoreError::ForeignCache {
                    cache: files.url().to_owned(),
                    found: info.store_dir,
                    expected: store_dir.to_owned(),
                });
            }
            info
        }
        None => {
            let text = format!("StoreDir: {store_dir}\n");
            match files.put_bytes(FILE, text.as_bytes(), "text/x-nix-cache-info", Compression::None) {
                Err(StoreError::Transfer(error)) if error.kind != TransferErrorKind::Interrupted => {
                    return Err(StoreError::NoCache { url: files.url().to_owned(), source: error });
                }
                other => other?,
            }
            CacheInfo::new(store_dir)
        }
    };
    let id = disk_cache.and_then(|cache| cache.remember_cache(files.url(), &info));
    Ok((info, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let info = CacheInfo::parse("StoreDir: /nix/store\nWantMassQuery: 1\nPriority:40\nUnknown: x\nrubbish\n");
        assert_eq!(info, CacheInfo { store_dir: "/nix/store".into(), want_mass_query: true, priority: 40 });
        assert_eq!(CacheInfo::parse(&info.to_text()), info);
        assert_eq!(CacheInfo::parse("Priority: x\n"), CacheInfo::new("/nix/store"));
    }
}
