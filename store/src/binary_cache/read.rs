//! Contents of what is in a cache: archives, single files, listings, logs.

use std::io::{BufReader, Read, Write};
use std::ops::Range;

use crate::compression::{self, Compression};
use crate::error::{IoContext, Result, StoreError};
use crate::hash::HashFormat;
use crate::nar::Listing;
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::store::Store;
use crate::transfer::TransferError;

use super::BinaryCache;

/// Size of a listing in bytes, at most.
const LISTING_LIMIT: u64 = 256 << 20;

/// Size of a log in bytes, at most.
const LOG_LIMIT: u64 = 1 << 30;

/// See [`Store::write_nar`].
pub(super) fn nar(cache: &BinaryCache, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
    let narinfo = cache.narinfo(path)?;
    let mut archive = open(cache, &narinfo, None)?;
    let mut left = narinfo.path_info.nar_size;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let n = match archive.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(cache, &narinfo, error)),
        };
        // Who says 100 bytes and sends a million may go on for ever.
        left = left.checked_sub(n as u64).ok_or_else(|| {
            let reason = format!("it is longer than the announced {} bytes", narinfo.path_info.nar_size);
            StoreError::format(cache.files.describe(&narinfo.url), reason)
        })?;
        sink.write_all(&buffer[..n]).map_err(|error| StoreError::format("writing a NAR", error))?;
    }
    if left > 0 {
        let n_announced = narinfo.path_info.nar_size;
        return Err(StoreError::HashMismatch {
            path: cache.store_dir().display(path),
            specified: narinfo.path_info.nar_hash.format(HashFormat::Nix32, true),
            got: format!("an archive of {} bytes instead of {n_announced}", n_announced - left),
        });
    }
    Ok(())
}

/// Opens an archive, or a part of one that is not compressed. What was remembered of it may be of long ago: where nothing
/// is any more, the cache is asked again.
fn open(cache: &BinaryCache, narinfo: &NarInfo, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
    if let Some(archive) = open_file(cache, narinfo, range.clone())? {
        return Ok(archive);
    }
    let path = &narinfo.path_info.path;
    cache.forget(path);
    let known = cache.query_narinfos(std::slice::from_ref(path))?.pop().flatten();
    let is_same = |now: &NarInfo| {
        now.path_info.nar_hash == narinfo.path_info.nar_hash && (range.is_none() || now.compression == narinfo.compression)
    };
    if let Some(now) = known.filter(|now| now.url != narinfo.url && is_same(now))
        && let Some(archive) = open_file(cache, &now, range)?
    {
        return Ok(archive);
    }
    // Whoever comes next shall not be told that it is there.
    cache.forget(path);
    Err(StoreError::Gone { file: narinfo.url.clone(), cache: cache.address() })
}

fn open_file(cache: &BinaryCache, narinfo: &NarInfo, range: Option<Range<u64>>) -> Result<Option<Box<dyn Read + Send>>> {
    let compression = Compression::from_name(&narinfo.compression).ok_or_else(|| {
        let reason = format!("unknown compression method '{}'", narinfo.compression);
        StoreError::format(cache.files.describe(&narinfo.url), reason)
    })?;
    let Some(response) = cache.files.get(&narinfo.url, range)? else { return Ok(None) };
    let archive = compression::decoder(compression, BufReader::with_capacity(128 * 1024, response.body));
    archive.map(Some).map_err(|error| read_error(cache, narinfo, error))
}

/// Makes an error of one that a body's reader gave.
fn read_error(cache: &BinaryCache, narinfo: &NarInfo, error: std::io::Error) -> StoreError {
    if cache.files.interrupt().is_interrupted() {
        return StoreError::Interrupted;
    }
    match error.downcast::<TransferError>() {
        Ok(error) => error.into(),
        Err(error) => StoreError::format(cache.files.describe(&narinfo.url), error),
    }
}

/// See [`Store::listing`].
pub(super) fn listing(cache: &BinaryCache, path: &StorePath) -> Result<Listing> {
    let narinfo = cache.narinfo(path)?;
    if let Some(listing) = stored_listing(cache, path)? {
        return Ok(listing);
    }
    let archive = Limited::new(open(cache, &narinfo, None)?, narinfo.path_info.nar_size);
    Listing::read(BufReader::with_capacity(64 * 1024, archive))
        .map_err(|error| StoreError::format(cache.files.describe(&narinfo.url), error))
}

/// Returns the listing that the cache keeps, if it does.
fn stored_listing(cache: &BinaryCache, path: &StorePath) -> Result<Option<Listing>> {
    let name = format!("{}.ls", path.hash_text());
    let Some(bytes) = cache.files.get_bytes(&name, LISTING_LIMIT)? else { return Ok(None) };
    // Deep nesting is refused by the parser's own limit.
    let document = serde_json::from_slice(&bytes).map_err(|error| StoreError::format(cache.files.describe(&name), error))?;
    let listing =
        Listing::from_json_document(&document).map_err(|error| StoreError::format(cache.files.describe(&name), error))?;
    Ok(Some(listing))
}

/// See [`Store::write_file`].
pub(super) fn file(cache: &BinaryCache, path: &StorePath, below: &[&[u8]], sink: &mut dyn Write) -> Result<()> {
    let narinfo = cache.narinfo(path)?;
    let is_plain = narinfo.compression == "none";
    if is_plain
        && let Ok(Some(listing)) = stored_listing(cache, path)
        && let Some(Listing::Regular { size, nar_offset: Some(start), .. }) = listing.find(&below.join(&b'/'))
        && let Some(end) = start.checked_add(*size).filter(|end| *end <= narinfo.path_info.nar_size)
    {
        let mut part = open(cache, &narinfo, Some(*start..end))?.take(*size);
        std::io::copy(&mut part, sink).map_err(|error| read_error(cache, &narinfo, error))?;
        return Ok(());
    }
    let Some(directory) = &cache.options.nar_cache else { return crate::store::file_from_nar(cache, path, below, sink) };
    let archive = directory.join(format!("{}.nar", path.hash_text()));
    if !archive.exists() {
        std::fs::create_dir_all(directory).at("creating directory", directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory).at("creating a file in", directory)?;
        nar(cache, path, file.as_file_mut())?;
        file.persist(&archive).map_err(|error| StoreError::io("renaming to", &archive, error.error))?;
    }
    let read = |archive: &std::path::Path| std::fs::File::open(archive).at("opening", archive);
    let listing = Listing::read(BufReader::with_capacity(64 * 1024, read(&archive)?))
        .map_err(|error| StoreError::format(format!("archive {archive:?}"), error))?;
    let Some(Listing::Regular { size, nar_offset: Some(start), .. }) = listing.find(&below.join(&b'/')) else {
        let path = std::path::PathBuf::from(cache.store_dir().display(path));
        return Err(StoreError::UnsupportedFileType { path });
    };
    let mut file = read(&archive)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(*start)).at("reading", &archive)?;
    std::io::copy(&mut file.take(*size), sink).at("reading", &archive)?;
    Ok(())
}

/// See [`Store::build_log`].
pub(super) fn log(cache: &BinaryCache, path: &StorePath) -> Result<Option<Vec<u8>>> {
    let derivation = if path.is_derivation() {
        path.clone()
    } else {
        match cache.query_path_info(path)?.and_then(|info| info.info.deriver) {
            Some(deriver) => deriver,
            None => return Ok(None),
        }
    };
    cache.files.get_bytes(&format!("log/{}", derivation.base_name()), LOG_LIMIT)
}

/// See [`BinaryCache::debug_info`].
pub(super) fn debug_info(cache: &BinaryCache, build_id: &str) -> Result<Option<(String, String)>> {
    let name = format!("debuginfo/{build_id}.debug");
    let Some(bytes) = cache.files.get_bytes(&name, 64 << 10)? else { return Ok(None) };
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::format(cache.files.describe(&name), error);
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.into()))?;
    let field = |key: &str| json.get(key).and_then(serde_json::Value::as_str);
    let (Some(archive), Some(member)) = (field("archive"), field("member")) else {
        return Err(wrong("it has no 'archive' or no 'member'".into()));
    };
    Ok(Some((archive.strip_prefix("../").unwrap_or(archive).to_owned(), member.to_owned())))
}

/// Ends with an error where more comes than was announced.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Limited<R> {
    fn new(inner: R, limit: u64) -> Limited<R> {
        Limited { inner, left: limit }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| std::io::Error::other("it is longer than announced"))?;
        Ok(n)
    }
}
