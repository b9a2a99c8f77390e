//! Adding to a cache: compress, hash and store the archive, then all that hangs on it, and the narinfo last.
//!
//! Of several paths the archives are made and sent in any order and at the same time; a narinfo waits for those of the
//! paths that it refers to. So the cache has whole closures at any moment.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::addressed::{NarHasher, Tee, parse_nar};
use crate::compression::{Compression, Encoder};
use crate::error::{Result, StoreError};
use crate::hash::{Algorithm, Hash, HashFormat, Hasher};
use crate::nar::Listing;
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::realisation::Realisation;
use crate::store::{AddOptions, Store, WriteNarOf, check_info, with_nar};

use super::files::NewFile;
use super::{BinaryCache, lookup};

/// Writes everything to two sinks.
pub(super) struct Both<'a>(pub(super) &'a mut dyn Write, pub(super) &'a mut dyn Write);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}

/// See [`Store::add_nar`]; the path is not valid yet.
pub(super) fn nar(cache: &BinaryCache, info: &PathInfo, nar: &mut dyn Read, options: &AddOptions) -> Result<()> {
    let made = archive(cache, info, &mut BufReader::with_capacity(128 * 1024, nar), options)?;
    check_references(cache, info)?;
    narinfo(cache, made)
}

/// See [`Store::add_nars`].
pub(super) fn nars(
    cache: &BinaryCache,
    infos: &[PathInfo],
    write_nar: &WriteNarOf<'_>,
    options: &AddOptions,
) -> Result<()> {
    let paths: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
    let valid = if options.repair { vec![false; paths.len()] } else { cache.are_valid(&paths)? };
    let missing: Vec<&PathInfo> = infos.iter().zip(valid).filter(|(_, valid)| !valid).map(|(info, _)| info).collect();
    let order = Order::new(&missing);
    let indices: Vec<usize> = (0..missing.len()).collect();
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Sending waits more than it works.
    let n_threads = if cache.files.directory().is_some() { n_threads } else { n_threads.max(4) };
    crate::parallel::map(&indices, n_threads, &|&idx| {
        let info = missing[idx];
        let mut made = None;
        let result = with_nar(&mut |sink| write_nar(info, sink), &mut |nar| {
            made = Some(archive(cache, info, nar, options)?);
            Ok(())
        });
        let made = result.map(|()| made.expect("made if nothing went wrong"));
        order.complete(idx, made, &|narinfo_of| {
            check_references(cache, &narinfo_of.path_info)?;
            narinfo(cache, narinfo_of)
        })
    })?;
    Ok(())
}

/// Which narinfo has to wait for which.
struct Order(Mutex<Vec<Node>>);

struct Node {
    dependents: Vec<usize>,
    n_waiting_for: usize,
    /// Ready but for others.
    made: Option<NarInfo>,
}

impl Order {
    fn new(infos: &[&PathInfo]) -> Order {
        let index: HashMap<&StorePath, usize> = infos.iter().map(|info| &info.path).zip(0..).collect();
        let mut nodes: Vec<Node> =
            infos.iter().map(|_| Node { dependents: Vec::new(), n_waiting_for: 0, made: None }).collect();
        for (idx, info) in infos.iter().enumerate() {
            for reference in info.references.iter().filter(|reference| **reference != info.path) {
                if let Some(&other) = index.get(reference) {
                    nodes[other].dependents.push(idx);
                    nodes[idx].n_waiting_for += 1;
                }
            }
        }
        Order(Mutex::new(nodes))
    }

    /// Notes that an archive is stored, and writes every narinfo that can be written with that.
    fn complete(
        &self,
        idx: usize,
        made: Result<NarInfo>,
        write: &(dyn Fn(NarInfo) -> Result<()> + Sync),
    ) -> Result<()> {
        let made = made?;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nodes = lock();
        nodes[idx].made = Some(made);
        let mut ready = if nodes[idx].n_waiting_for == 0 { vec![idx] } else { Vec::new() };
        while let Some(idx) = ready.pop() {
            let made = nodes[idx].made.take().expect("ready means made, and is so once");
            drop(nodes);
            write(made)?;
            nodes = lock();
            for dependent in std::mem::take(&mut nodes[idx].dependents) {
                let node = &mut nodes[dependent];
                node.n_waiting_for -= 1;
                if node.n_waiting_for == 0 && node.made.is_some() {
                    ready.push(dependent);
                }
            }
        }
        Ok(())
    }
}

/// Stores the archive of a path, and what is made of it besides. Returns the narinfo, which is not stored yet.
fn archive(cache: &BinaryCache, info: &PathInfo, nar: &mut dyn BufRead, options: &AddOptions) -> Result<NarInfo> {
    check_info(cache.store_dir(), info)?;
    let compression = cache.options.compression;
    let mut file = cache.files.new_file("nar")?;
    let limit = if info.nar_size == 0 { u64::MAX } else { info.nar_size };
    let mut source = nar.take(limit);
    let (packed, listing) = pack(cache, info, &mut source, &mut file)?;
    let url = format!("nar/{}.nar{}", packed.file_hash.format(HashFormat::Nix32, false), compression.extension());
    if let Some(listing) = &listing {
        write_listing(cache, info, listing)?;
        if cache.options.index_debug_info {
            index_debug_info(cache, listing, &url)?;
        }
    }
    if options.repair || !cache.files.exists(&url)? {
        cache.files.put_file(&url, file, "application/x-nix-nar")?;
    }
    let mut path_info = info.clone();
    path_info.info.nar_size = packed.nar_size;
    Ok(NarInfo {
        path_info,
        url,
        compression: compression.name().to_owned(),
        file_hash: Some(packed.file_hash),
        file_size: packed.file_size,
    })
}

struct Packed {
    file_hash: Hash,
    file_size: u64,
    nar_size: u64,
}

/// Compresses an archive into a file, making sure that it is the right one.
fn pack(
    cache: &BinaryCache,
    info: &PathInfo,
    source: &mut dyn BufRead,
    file: &mut NewFile,
) -> Result<(Packed, Option<Listing>)> {
    let failed = |error| StoreError::format("compressing a NAR", error);
    let options = &cache.options;
    let wants_listing = options.write_listing || options.index_debug_info;
    let mut nar_hasher = NarHasher::new();
    let mut listing = None;
    let mut read = |sink: &mut dyn Write| {
        let mut tee = Tee::new(source, sink);
        if wants_listing {
            let read = Listing::read(&mut tee).map_err(|error| StoreError::format("reading a NAR", error))?;
            listing = Some(read);
            Ok(())
        } else {
            parse_nar(&mut tee)
        }
    };
    let packed = if options.compression == Compression::None {
        let mut out = BufWriter::with_capacity(128 * 1024, file.file());
        read(&mut Both(&mut out, &mut nar_hasher))?;
        out.flush().map_err(failed)?;
        drop(out);
        // File and archive are the same: one hash is enough.
        let nar_size = nar_hasher.check(cache.store_dir(), info)?;
        Packed { file_hash: info.nar_hash, file_size: nar_size, nar_size }
    } else {
        let mut out = HashingWriter {
            inner: BufWriter::with_capacity(128 * 1024, file.file()),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
        };
        let mut encoder = Encoder::new(options.compression, &options.encoder, &mut out).map_err(failed)?;
        read(&mut Both(&mut encoder, &mut nar_hasher))?;
        encoder.finish().map_err(failed)?;
        out.inner.flush().map_err(failed)?;
        let HashingWriter { hasher, size, inner } = out;
        drop(inner);
        Packed { file_hash: hasher.finish(), file_size: size, nar_size: nar_hasher.check(cache.store_dir(), info)? }
    };
    Ok((packed, listing))
}

struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn check_references(cache: &BinaryCache, info: &PathInfo) -> Result<()> {
    let references: Vec<StorePath> = info.references.iter().filter(|path| **path != info.path).cloned().collect();
    let valid = cache.are_valid(&references)?;
    match references.iter().zip(valid).find(|(_, valid)| !valid) {
        None => Ok(()),
        Some((reference, _)) => {
            let dir = cache.store_dir();
            Err(StoreError::MissingReference { path: dir.display(&info.path), reference: dir.display(reference) })
        }
    }
}

/// Signs and stores a narinfo, and remembers it.
pub(super) fn narinfo(cache: &BinaryCache, mut narinfo: NarInfo) -> Result<()> {
    let dir = cache.store_dir();
    // Facts about the store that it comes from.
    narinfo.path_info.info.registration_time = 0;
    narinfo.path_info.info.ultimate = false;
    for key in &cache.options.secret_keys {
        narinfo.path_info.sign(dir, key).map_err(|error| StoreError::format("signing a path", error))?;
    }
    let hash_part = narinfo.path_info.path.hash_part();
    let name = lookup::file_name(&hash_part);
    let text = narinfo.to_text(dir);
    cache.files.put_bytes(&name, text.as_bytes(), "text/x-nix-narinfo", cache.options.narinfo_compression)?;
    let narinfo = Arc::new(narinfo);
    if let Some((disk_cache, id)) = cache.disk_cache() {
        disk_cache.remember_narinfos(id, [(&hash_part, Some(&*narinfo))]);
    }
    cache.lookups.remember(hash_part, Some(narinfo));
    Ok(())
}

/// Stores which path an output is.
pub(super) fn realisation(cache: &BinaryCache, realisation: &Realisation) -> Result<()> {
    let mut realisation = realisation.clone();
    for key in &cache.options.secret_keys {
        realisation.sign(key);
    }
    let realisation = &realisation;
    let text = realisation.to_cache_text();
    let name = realisation.id.cache_file();
    cache.files.put_bytes(&name, text.as_bytes(), "application/json", Compression::None)?;
    if let Some((disk_cache, id)) = cache.disk_cache() {
        disk_cache.remember_realisation(id, &realisation.id, Some(realisation));
    }
    Ok(())
}

fn write_listing(cache: &BinaryCache, info: &PathInfo, listing: &Listing) -> Result<()> {
    if !cache.options.write_listing {
        return Ok(());
    }
    let document = listing.to_json_document().map_err(|error| StoreError::format("making a listing", error))?;
    let name = format!("{}.ls", info.path.hash_text());
    let text = crate::json::to_string(&document);
    cache.files.put_bytes(&name, text.as_bytes(), "application/json", cache.options.listing_compression)
}

/// Stores for each file with debug information where it is: `debuginfo/<build id>.debug`.
fn index_debug_info(cache: &BinaryCache, listing: &Listing, url: &str) -> Result<()> {
    let Some(Listing::Directory(groups)) = listing.find(b"lib/debug/.build-id") else { return Ok(()) };
    let is_hex = |name: &[u8], length| name.len() == length && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    for (group, files) in groups.iter().filter(|(name, _)| is_hex(name, 2)) {
        let Listing::Directory(files) = files else { continue };
        for (file, node) in files {
            let (Some(rest), Listing::Regular { .. }) = (file.strip_suffix(b".debug"), node) else { continue };
            if !is_hex(rest, 38) {
                continue;
            }
            let (group, rest) = (String::from_utf8_lossy(group), String::from_utf8_lossy(rest));
            let key = format!("debuginfo/{group}{rest}.debug");
            if cache.files.exists(&key)? {
                continue;
            }
            let json = serde_json::json!({
                "archive": format!("../{url}"),
                "member": format!("lib/debug/.build-id/{group}/{rest}.debug"),
            });
            let text = crate::json::to_string(&json);
            cache.files.put_bytes(&key, text.as_bytes(), "application/json", Compression::None)?;
        }
    }
    Ok(())
}
