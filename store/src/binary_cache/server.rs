//! Any store as a binary cache: what to answer to which request. Listening is the host's business, with any HTTP
//! library.
//!
//! Archives are made while they are sent, so nothing is kept and `FileHash` is not known. An archive's name has both the
//! path's and the archive's hash in it: what was announced once is what comes, or nothing.
//!
//! ```
//! use std::sync::Arc;
//! use nixlang_store::binary_cache::server::{CacheServer, ServerOptions};
//! use nixlang_store::memory::MemoryStore;
//! use nixlang_store::store::Store;
//!
//! let store = Arc::new(MemoryStore::default());
//! let path = store.add_text("greeting", b"hello", &Default::default())?;
//! let server = CacheServer::new(store, ServerOptions::default());
//!
//! let narinfo = server.answer(&format!("/{}.narinfo", path.hash_text()), None);
//! assert_eq!(narinfo.status, 200);
//! let mut text = Vec::new();
//! narinfo.body.write_to(&mut text)?;
//! assert!(text.starts_with(b"StorePath: /nix/store/"));
//! # Ok::<(), nixlang_store::error::StoreError>(())
//! ```

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::store::realisation_in_either_form;
use crate::compression::{Compression, Encoder, EncoderOptions};
use crate::error::{Result, StoreError};
use crate::hash::{Hash, HashFormat, nix32};
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::signature::SecretKey;
use crate::store::Store;

use super::info::CacheInfo;

/// How a store is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Lower is asked first.
    pub priority: i64,
    /// Whether clients may ask about many paths at once.
    pub want_mass_query: bool,
    /// How archives are compressed on the way. Without compression, parts of them can be asked for.
    pub compression: Compression,
    /// Level and parallelism.
    pub encoder: EncoderOptions,
    /// Keys that sign what is served, besides the signatures that paths have.
    pub secret_keys: Vec<SecretKey>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            priority: 30,
            want_mass_query: true,
            compression: Compression::None,
            encoder: EncoderOptions::default(),
            secret_keys: Vec::new(),
        }
    }
}

/// See the module.
pub struct CacheServer {
    store: Arc<dyn Store>,
    options: ServerOptions,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What kind of file it is.
    pub content_type: &'static str,
    /// Number of bytes that the body has, if it is known.
    pub size: Option<u64>,
    /// For a part of a file: which part it is, and the file's size.
    pub part: Option<(Range<u64>, u64)>,
    /// Whether parts can be asked for.
    pub accepts_ranges: bool,
    /// The bytes.
    pub body: AnswerBody,
}

/// The bytes of an answer.
pub enum AnswerBody {
    /// These.
    Bytes(Vec<u8>),
    /// An archive, made while it is written.
    Archive(Box<Archive>),
}

/// An archive that is made while it is written.
pub struct Archive {
    store: Arc<dyn Store>,
    path: StorePath,
    range: Range<u64>,
    compression: Compression,
    encoder: EncoderOptions,
}

impl CacheServer {
    /// Returns a server of this store.
    pub fn new(store: Arc<dyn Store>, options: ServerOptions) -> CacheServer {
        CacheServer { store, options }
    }

    /// Returns the answer to a `GET` or `HEAD` for this address, which begins with a slash. `range` is the value of the
    /// header of that name. Something that is not there, or makes no sense, is an answer as well.
    pub fn answer(&self, address: &str, range: Option<&str>) -> Answer {
        let name = address.split('?').next().unwrap_or_default().trim_start_matches('/');
        match self.try_answer(name, range) {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::text(404, "text/plain", "not found\n"),
            Err(error) => Answer::text(500, "text/plain", format!("{error}\n")),
        }
    }

    fn try_answer(&self, name: &str, range: Option<&str>) -> Result<Option<Answer>> {
        if name == super::info::FILE {
            let info = CacheInfo {
                store_dir: self.store.store_dir().as_str().to_owned(),
                want_mass_query: self.options.want_mass_query,
                priority: self.options.priority,
            };
            return Ok(Some(Answer::text(200, "text/x-nix-cache-info", info.to_text())));
        }
        if let Some(digits) = name.strip_suffix(".narinfo") {
            let Some(info) = self.info(digits)? else { return Ok(None) };
            return Ok(Some(Answer::text(200, "text/x-nix-narinfo", self.narinfo(info)?)));
        }
        if let Some(digits) = name.strip_suffix(".ls") {
            let Some(info) = self.info(digits)? else { return Ok(None) };
            let listing = self.store.listing(&info.path)?;
            let document = listing.to_json_document().map_err(|error| StoreError::format("making a listing", error))?;
            return Ok(Some(Answer::text(200, "application/json", crate::json::to_string(&document))));
        }
        if let Some(name) = name.strip_prefix("nar/") {
            return self.archive(name, range);
        }
        if let Some(base_name) = name.strip_prefix("log/") {
            let Ok(path) = StorePath::from_base_name(base_name) else { return Ok(None) };
            return Ok(self.store.build_log(&path)?.map(|log| Answer::text(200, "text/plain; charset=utf-8", log)));
        }
        let by_hash = name.strip_prefix("realisations/").map(|id| id.replace("%21", "!").replace("%3A", ":").replace("%3a", ":"));
        let by_path = name.strip_prefix("build-trace-v2/").map(|id| id.replacen('/', "^", 1));
        if let Some(id) = by_hash.or(by_path).as_deref().and_then(|id| id.strip_suffix(".doi")) {
            let Ok(id) = id.parse() else { return Ok(None) };
            let Some(mut realisation) = realisation_in_either_form(&*self.store, &id)? else { return Ok(None) };
            for key in &self.options.secret_keys {
                realisation.sign(key);
            }
            return Ok(Some(Answer::text(200, "application/json", realisation.to_cache_text())));
        }
        Ok(None)
    }

    fn info(&self, digits: &str) -> Result<Option<PathInfo>> {
        let Some(hash_part) = hash_part(digits) else { return Ok(None) };
        match self.store.path_from_hash_part(&hash_part)? {
            Some(path) => self.store.query_path_info(&path),
            None => Ok(None),
        }
    }

    fn narinfo(&self, mut path_info: PathInfo) -> Result<String> {
        let dir = self.store.store_dir();
        for key in &self.options.secret_keys {
            path_info.sign(dir, key).map_err(|error| StoreError::format("signing a path", error))?;
        }
        let compression = self.options.compression;
        let hash = path_info.nar_hash.format(HashFormat::Nix32, false);
        let url = format!("nar/{}-{hash}.nar{}", path_info.path.hash_text(), compression.extension());
        let file_size = if compression == Compression::None { path_info.nar_size } else { 0 };
        let file_hash = (compression == Compression::None).then_some(path_info.nar_hash);
        let narinfo = NarInfo { path_info, url, compression: compression.name().to_owned(), file_hash, file_size };
        Ok(narinfo.to_text(dir))
    }

    fn archive(&self, name: &str, range: Option<&str>) -> Result<Option<Answer>> {
        let compression = self.options.compression;
        let Some((digits, hash)) = name
            .strip_suffix(compression.extension())
            .and_then(|name| name.strip_suffix(".nar"))
            .and_then(|name| name.split_once('-'))
        else {
            return Ok(None);
        };
        let Some(info) = self.info(digits)? else { return Ok(None) };
        let expected = Hash::parse_prefixed(&format!("sha256:{hash}"));
        if expected.as_ref() != Ok(&info.nar_hash) {
            return Ok(None);
        }
        let size = info.nar_size;
        let is_plain = compression == Compression::None && size > 0;
        let wanted = range.filter(|_| is_plain).and_then(|range| parse_range(range, size));
        if wanted.as_ref().is_some_and(|range| range.start >= size) {
            let mut answer = Answer::text(416, "text/plain", "there is no such range\n");
            answer.part = Some((0..0, size));
            return Ok(Some(answer));
        }
        let range = wanted.clone().unwrap_or(0..if size == 0 { u64::MAX } else { size });
        Ok(Some(Answer {
            status: if wanted.is_some() { 206 } else { 200 },
            content_type: "application/x-nix-nar",
            size: is_plain.then_some(range.end - range.start),
            part: wanted.map(|range| (range, size)),
            accepts_ranges: is_plain,
            body: AnswerBody::Archive(Box::new(Archive {
                store: Arc::clone(&self.store),
                path: info.path,
                range,
                compression,
                encoder: self.options.encoder,
            })),
        }))
    }
}

impl Answer {
    fn text(status: u16, content_type: &'static str, bytes: impl Into<Vec<u8>>) -> Answer {
        let bytes = bytes.into();
        Answer {
            status,
            content_type,
            size: Some(bytes.len() as u64),
            part: None,
            accepts_ranges: false,
            body: AnswerBody::Bytes(bytes),
        }
    }
}

impl AnswerBody {
    /// Writes the bytes.
    ///
    /// # Errors
    /// What the store or the sink gave. The client must see then that the answer is not complete.
    pub fn write_to(self, sink: &mut dyn Write) -> Result<()> {
        let failed = |error| StoreError::format("sending an answer", error);
        match self {
            AnswerBody::Bytes(bytes) => sink.write_all(&bytes).map_err(failed),
            AnswerBody::Archive(archive) => {
                let Archive { store, path, range, compression, encoder } = *archive;
                if compression == Compression::None {
                    let mut window = Window { sink, position: 0, range, is_over: false };
                    return match store.write_nar(&path, &mut window) {
                        // Nothing behind the window is of interest.
                        Err(_) if window.is_over => Ok(()),
                        other => other,
                    };
                }
                let mut encoder = Encoder::new(compression, &encoder, sink).map_err(failed)?;
                store.write_nar(&path, &mut encoder)?;
                encoder.finish().map(drop).map_err(failed)
            }
        }
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnswerBody::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            AnswerBody::Archive(archive) => f.debug_tuple("Archive").field(&archive.path).finish(),
        }
    }
}

/// Passes on the bytes of a range, and stops what writes after them.
struct Window<'w> {
    sink: &'w mut dyn Write,
    position: u64,
    range: Range<u64>,
    is_over: bool,
}

impl Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.position >= self.range.end {
            self.is_over = true;
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let end = self.position + bytes.len() as u64;
        let within = |at: u64| (at.clamp(self.position, end) - self.position) as usize;
        let part = &bytes[within(self.range.start)..within(self.range.end)];
        self.sink.write_all(part)?;
        self.position = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

fn hash_part(digits: &str) -> Option<[u8; 20]> {
    if digits.len() != 32 {
        return None;
    }
    nix32::decode(digits.as_bytes()).ok()?.try_into().ok()
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`. What is no single range is no range at all.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        return Some(size.saturating_sub(length)..size);
    }
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
    (first < end || first >= size).then_some(first..end.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::signature::TrustedKeys;

    fn bytes(answer: Answer) -> Vec<u8> {
        let mut bytes = Vec::new();
        let size = answer.size;
        answer.body.write_to(&mut bytes).unwrap();
        assert!(size.is_none_or(|size| size == bytes.len() as u64));
        bytes
    }

    #[test]
    fn every_file_of_a_cache_is_there() {
        let store = Arc::new(MemoryStore::default());
        let path = store.add_text("name", b"some text", &Default::default()).unwrap();
        let key = SecretKey::from_seed("k", &[1; 32]);
        let mut nar = Vec::new();
        store.write_nar(&path, &mut nar).unwrap();
        for compression in [Compression::None, Compression::Zstd, Compression::Xz] {
            let options = ServerOptions { compression, secret_keys: vec![key.clone()], ..ServerOptions::default() };
            let server = CacheServer::new(Arc::<MemoryStore>::clone(&store), options);
            let text = String::from_utf8(bytes(server.answer(&format!("/{}.narinfo", path.hash_text()), None))).unwrap();
            let narinfo = NarInfo::parse(store.store_dir(), &text).unwrap();
            assert_eq!(narinfo.path_info.path, path);
            let keys = TrustedKeys::new([key.public_key()]);
            assert_eq!(narinfo.path_info.n_good_signatures(store.store_dir(), &keys), 1);
            let archive = bytes(server.answer(&format!("/{}?x=y", narinfo.url), None));
            assert_eq!(crate::compression::decompress(compression, &archive, 1 << 20).unwrap(), nar);
            let listing = bytes(server.answer(&format!("/{}.ls", path.hash_text()), None));
            assert!(listing.starts_with(b"{\"root\":{"));
            assert_eq!(server.answer("/nix-cache-info", None).status, 200);
            for name in ["/", "/x.narinfo", "/nar/x.nar", "/nar/../x", "/log/x", "/realisations/x.doi", "/..", "/\u{e9}.ls"] {
                assert_eq!(server.answer(name, None).status, 404, "{name}");
            }
            let other = narinfo.url.replace(&narinfo.path_info.nar_hash.format(HashFormat::Nix32, false), &"0".repeat(52));
            assert_eq!(server.answer(&format!("/{other}"), None).status, 404);
        }
    }

    #[test]
    fn parts_of_archives() {
        let store = Arc::new(MemoryStore::default());
        let path = store.add_text("name", &[b'x'; 1000], &Default::default()).unwrap();
        let mut nar = Vec::new();
        store.write_nar(&path, &mut nar).unwrap();
        let server = CacheServer::new(Arc::<MemoryStore>::clone(&store), ServerOptions::default());
        let hash = store.path_info(&path).unwrap().nar_hash.format(HashFormat::Nix32, false);
        let name = format!("/nar/{}-{hash}.nar", path.hash_text());
        let size = nar.len();
        for (range, expected) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=5-", Some(5..size)),
            ("bytes=-7", Some(size - 7..size)),
            ("bytes=90-99999", Some(90..size)),
            ("bytes=9-5", None),
            ("bytes=1-2,4-5", None),
            ("lines=1-2", None),
            ("bytes=99999999999999999999-", None),
        ] {
            let answer = server.answer(&name, Some(range));
            assert_eq!(answer.status, if expected.is_some() { 206 } else { 200 }, "{range}");
            assert_eq!(bytes(answer), &nar[expected.unwrap_or(0..size)], "{range}");
        }
        assert_eq!(server.answer(&name, Some("bytes=5000-")).status, 416);
    }
}
