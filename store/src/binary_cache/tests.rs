//! Caches on disk and behind a transport that can be made to fail.

use std::sync::Mutex;
use std::collections::BTreeMap;

use super::*;
use crate::copy::copy_closure;
use crate::hash::HashFormat;
use crate::memory::MemoryStore;
use crate::transfer::file::FileTransport;
use crate::transfer::{
    Body, Request, Response, SendMethod, TransferError, TransferErrorKind, TransferResult,
};

/// A server in memory that counts what it is asked.
#[derive(Default)]
struct Server {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    log: Mutex<Vec<String>>,
    is_dead: std::sync::atomic::AtomicBool,
}

impl Server {
    fn answer(&self, method: &str, request: &Request) -> TransferResult<Response> {
        self.log.lock().unwrap().push(format!("{method} {}", request.url));
        if self.is_dead.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(TransferError::new(TransferErrorKind::Transient, &request.url, "dead"));
        }
        let files = self.files.lock().unwrap();
        let Some(bytes) = files.get(&request.url) else {
            return Err(TransferError::new(TransferErrorKind::NotFound, &request.url, "HTTP error 404"));
        };
        let range = request.range.clone().unwrap_or(0..bytes.len() as u64);
        let bytes = bytes[range.start as usize..(range.end as usize).min(bytes.len())].to_vec();
        Ok(Response {
            url: request.url.clone(),
            status: 200,
            headers: Vec::new(),
            size: Some(bytes.len() as u64),
            is_unmodified: false,
            body: Box::new(std::io::Cursor::new(bytes)),
        })
    }

    fn set(&self, url: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(url.to_owned(), bytes.into());
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Transport for Server {
    fn get(&self, request: &Request) -> TransferResult<Response> {
        self.answer("GET", request)
    }

    fn head(&self, request: &Request) -> TransferResult<Response> {
        self.answer("HEAD", request)
    }

    fn send(&self, _: SendMethod, request: &Request, body: Body<'_>) -> TransferResult<Response> {
        let mut bytes = Vec::new();
        body.open().unwrap().read_to_end(&mut bytes).unwrap();
        self.set(&request.url, bytes);
        self.answer("PUT", request)
    }
}

const URL: &str = "http://cache.example/c";

fn zstd() -> BinaryCacheOptions {
    BinaryCacheOptions { compression: Compression::Zstd, ..BinaryCacheOptions::default() }
}

/// A store with a path that refers to another and to itself.
fn source() -> (MemoryStore, StorePath, StorePath) {
    let store = MemoryStore::default();
    let one = store.add_text("one", b"text", &Default::default()).unwrap();
    let two = store.add_text("two", b"another text", &[one.clone()].into()).unwrap();
    (store, one, two)
}

fn nar_of(store: &dyn Store, path: &StorePath) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.write_nar(path, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_copied_comes_back_with_every_compression() {
    let (store, one, two) = source();
    let all = [
        Compression::None,
        Compression::Xz,
        Compression::Bzip2,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Brotli,
        Compression::Lz4,
        Compression::Lzip,
    ];
    for compression in all {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}/new cache", directory.path().display()).replace(' ', "%20");
        let options = || BinaryCacheOptions { compression, write_listing: true, ..BinaryCacheOptions::default() };
        let cache = BinaryCache::open(&url, Arc::new(FileTransport), options()).unwrap();
        copy_closure(&store, &cache, &[two.clone()]).unwrap();

        let cache = BinaryCache::open(&url, Arc::new(FileTransport), options()).unwrap();
        for path in [&one, &two] {
            assert_eq!(nar_of(&cache, path), nar_of(&store, path), "{compression:?}");
            assert_eq!(cache.path_info(path).unwrap().info.references, store.path_info(path).unwrap().info.references);
            assert_eq!(cache.path_from_hash_part(&path.hash_part()).unwrap().as_ref(), Some(path));
            assert_eq!(cache.read_file(path).unwrap(), store.read_file(path).unwrap());
            assert!(matches!(cache.listing(path).unwrap(), Listing::Regular { .. }));
        }
        assert_eq!(cache.all_valid_paths().unwrap().len(), 2);
        let other_name = StorePath::new(one.hash_part(), "other").unwrap();
        assert!(!cache.is_valid(&other_name).unwrap());
        let back = MemoryStore::default();
        copy_closure(&cache, &back, &[two.clone()]).unwrap();
        assert_eq!(nar_of(&back, &two), nar_of(&store, &two));
    }
}

#[test]
fn a_file_of_an_archive_that_is_not_compressed_is_fetched_alone() {
    let server = Arc::new(Server::default());
    let options =
        BinaryCacheOptions { compression: Compression::None, write_listing: true, ..BinaryCacheOptions::default() };
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), options).unwrap();
    let (store, one, _) = source();
    copy_closure(&store, &cache, &[one.clone()]).unwrap();
    let narinfo = cache.narinfo(&one).unwrap();
    // Whoever reads more than the file's own bytes sees this.
    let url = format!("{URL}/{}", narinfo.url);
    let mut archive = server.files.lock().unwrap()[&url].clone();
    archive[..50].fill(b'x');
    server.set(&url, archive);
    assert_eq!(cache.read_file(&one).unwrap(), b"text");
}

#[test]
fn references_must_be_there_first() {
    let (store, _, two) = source();
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, server, zstd()).unwrap();
    let info = store.path_info(&two).unwrap();
    let error = cache.add_nar(&info, &mut nar_of(&store, &two).as_slice(), &AddOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::MissingReference { .. }), "{error}");
    assert!(!cache.is_valid(&two).unwrap());
}

#[test]
fn a_narinfo_is_written_after_those_it_refers_to() {
    let store = MemoryStore::default();
    let mut last = store.add_text("n", b"0", &Default::default()).unwrap();
    for idx in 1..20 {
        last = store.add_text("n", format!("{idx}").as_bytes(), &[last.clone()].into()).unwrap();
    }
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
    copy_closure(&store, &cache, &[last.clone()]).unwrap();
    let log = server.take_log();
    let place = |path: &StorePath| {
        let name = format!("PUT {URL}/{}.narinfo", path.hash_text());
        log.iter().position(|line| *line == name).expect("it was written")
    };
    let mut path = last;
    while let Some(reference) = store.path_info(&path).unwrap().info.references.first().cloned() {
        assert!(place(&reference) < place(&path));
        path = reference;
    }
}

#[test]
fn spoilt_contents_are_not_believed() {
    let (store, one, _) = source();
    let info = store.path_info(&one).unwrap();
    let archive = nar_of(&store, &one);
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
    let mut wrong = archive.clone();
    wrong[97] ^= 1;
    assert!(cache.add_nar(&info, &mut wrong.as_slice(), &AddOptions::default()).is_err());
    assert!(!cache.is_valid(&one).unwrap());
    copy_closure(&store, &cache, &[one.clone()]).unwrap();
    let url = format!("{URL}/{}", cache.narinfo(&one).unwrap().url);

    let compress = |bytes: &[u8]| crate::compression::compress(Compression::Zstd, &EncoderOptions::default(), bytes).unwrap();
    let mut bomb = archive.clone();
    bomb.resize(100 << 20, 0);
    let multi_frame: Vec<u8> = archive.chunks(10).flat_map(compress).collect();
    for (what, bytes, expected) in [
        ("a bomb", compress(&bomb), "longer than the announced"),
        ("cut short", compress(&archive[..archive.len() - 1]), "hash mismatch"),
        ("rubbish", b"rubbish".to_vec(), "file 'nar/"),
        ("many frames", multi_frame, ""),
    ] {
        server.set(&url, bytes);
        let mut sink = Vec::new();
        match cache.write_nar(&one, &mut sink) {
            Ok(()) => assert!(expected.is_empty() && sink == archive, "{what}"),
            Err(error) => assert!(error.to_string().contains(expected) && !expected.is_empty(), "{what}: {error}"),
        }
        assert!(sink.len() <= archive.len());
    }
    server.files.lock().unwrap().remove(&url);
    assert!(matches!(cache.write_nar(&one, &mut Vec::new()), Err(StoreError::Gone { .. })));
}

#[test]
fn a_spoilt_narinfo_is_an_error_and_not_a_missing_path() {
    let (store, one, two) = source();
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
    copy_closure(&store, &cache, &[two.clone()]).unwrap();
    let url = |path: &StorePath| format!("{URL}/{}.narinfo", path.hash_text());
    let other = server.files.lock().unwrap()[&url(&one)].clone();
    for text in [&b"rubbish"[..], b"", b"\xff", &other, &[b'a'; 5 << 20]] {
        server.set(&url(&two), text);
        let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
        assert!(cache.is_valid(&two).is_err(), "{}", text.len());
    }
}

#[test]
fn answers_are_asked_for_once() {
    let directory = tempfile::tempdir().unwrap();
    let disk_cache = || {
        let file = directory.path().join(DiskCache::FILE_NAME);
        Some(Arc::new(DiskCache::open(&file, disk_cache::Lifetimes::default()).unwrap()))
    };
    let (store, one, two) = source();
    let server = Arc::new(Server::default());
    copy_closure(&store, &BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap(), &[two.clone()]).unwrap();
    let none = StorePath::new([9; 20], "none").unwrap();
    let paths = [one, two, none];
    server.take_log();
    let options = || BinaryCacheOptions { disk_cache: disk_cache(), ..zstd() };
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), options()).unwrap();
    assert_eq!(cache.are_valid(&paths).unwrap(), [true, true, false]);
    assert_eq!(server.take_log().len(), 4);
    assert_eq!(cache.are_valid(&paths).unwrap(), [true, true, false]);
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), options()).unwrap();
    assert_eq!(cache.are_valid(&paths).unwrap(), [true, true, false]);
    assert_eq!(server.take_log(), [""; 0]);
}

#[test]
fn what_was_remembered_is_asked_again_where_nothing_is_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let (store, one, _) = source();
    let server = Arc::new(Server::default());
    let open = |compression| {
        let disk_cache = DiskCache::open(&directory.path().join(DiskCache::FILE_NAME), disk_cache::Lifetimes::default()).map(Arc::new);
        BinaryCache::open(URL, Arc::<Server>::clone(&server), BinaryCacheOptions { compression, disk_cache, ..zstd() }).unwrap()
    };
    copy_closure(&store, &open(Compression::Zstd), &[one.clone()]).unwrap();
    let old = open(Compression::Zstd).narinfo(&one).unwrap();
    // Somebody else compresses it in another way.
    let other = BinaryCache::open(URL, Arc::<Server>::clone(&server), BinaryCacheOptions { compression: Compression::Lz4, ..zstd() }).unwrap();
    other.add_nar(&store.path_info(&one).unwrap(), &mut nar_of(&store, &one).as_slice(), &AddOptions { repair: true, ..AddOptions::default() }).unwrap();
    server.files.lock().unwrap().remove(&format!("{URL}/{}", old.url));
    assert_eq!(nar_of(&open(Compression::Zstd), &one), nar_of(&store, &one));
    assert_eq!(open(Compression::Zstd).narinfo(&one).unwrap().compression, "lz4");
    // And somebody deletes it.
    server.files.lock().unwrap().retain(|url, _| !url.contains("/nar/"));
    assert!(matches!(open(Compression::Zstd).write_nar(&one, &mut Vec::new()), Err(StoreError::Gone { .. })));
    server.files.lock().unwrap().retain(|url, _| !url.ends_with(".narinfo"));
    assert!(!open(Compression::Zstd).is_valid(&one).unwrap());
}

#[test]
fn signatures_are_made_and_added() {
    let (store, one, _) = source();
    let server = Arc::new(Server::default());
    let keys = [SecretKey::from_seed("a", &[1; 32]), SecretKey::from_seed("b", &[2; 32])];
    let trusted = crate::signature::TrustedKeys::new(keys.iter().map(SecretKey::public_key));
    let options = BinaryCacheOptions { secret_keys: keys.to_vec(), ..zstd() };
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), options).unwrap();
    copy_closure(&store, &cache, &[one.clone()]).unwrap();
    assert_eq!(cache.path_info(&one).unwrap().n_good_signatures(cache.store_dir(), &trusted), 2);
    cache.add_signatures(&one, &["c:AAAA".to_owned()]).unwrap();
    let cache = BinaryCache::open(URL, server, zstd()).unwrap();
    assert_eq!(cache.path_info(&one).unwrap().info.signatures.len(), 3);
}

#[test]
fn realisations_and_logs_are_files() {
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
    let hash = crate::hash::Hash::digest(crate::hash::Algorithm::Sha256, b"x");
    let derivation = StorePath::new([2; 20], "p.drv").unwrap();
    let by_hash = (DerivationOutputId::by_hash(hash, "out"), format!("realisations/{}!out.doi", hash.format(HashFormat::Base16, true)));
    let by_path = (DerivationOutputId::by_path(derivation.clone(), "out"), format!("build-trace-v2/{}/out.doi", derivation.base_name()));
    for (id, file) in [by_hash, by_path] {
        let realisation = Realisation { id, path: StorePath::new([1; 20], "p").unwrap(), signatures: Default::default() };
        assert_eq!(cache.query_realisation(&realisation.id).unwrap(), None);
        cache.register_realisations(std::slice::from_ref(&realisation), false).unwrap();
        assert_eq!(cache.query_realisation(&realisation.id).unwrap(), Some(realisation.clone()));
        assert!(server.files.lock().unwrap().contains_key(&format!("{URL}/{file}")), "{file}");
    }

    assert_eq!(cache.build_log(&derivation).unwrap(), None);
    cache.add_build_log(&derivation, b"lines").unwrap();
    assert_eq!(cache.build_log(&derivation).unwrap().as_deref(), Some(&b"lines"[..]));
}

#[test]
fn outputs_that_were_built_before_are_known_by_their_realisations() {
    const DERIVATION: &[u8] = br#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("name","ca"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","recursive")])"#;
    let server = Arc::new(Server::default());
    let cache = BinaryCache::open(URL, Arc::<Server>::clone(&server), zstd()).unwrap();
    let path = cache.add_text("ca.drv", DERIVATION, &Default::default()).unwrap();
    assert_eq!(cache.derivation_outputs(&path).unwrap(), [("out".to_owned(), None)].into());

    let mut lookup = |_: &StorePath| Err("it has no inputs".into());
    let derivation = cache.read_derivation(&path).unwrap();
    let hash = derivation.hash_modulo(cache.store_dir(), true, &mut std::collections::HashMap::new(), &mut lookup).unwrap().hash;
    let id = DerivationOutputId::by_hash(hash, "out");
    let made = StorePath::new([3; 20], "ca").unwrap();
    let realisation = Realisation { id, path: made.clone(), signatures: Default::default() };
    cache.register_realisations(&[realisation], false).unwrap();
    assert_eq!(cache.derivation_outputs(&path).unwrap(), [("out".to_owned(), Some(made.clone()))].into());

    // By the rules of 2.35 that is not what is looked for.
    let mut options = zstd();
    options.content_rules = crate::content_rules::ContentRules::Since2_35;
    let newer = BinaryCache::open(URL, server, options).unwrap();
    assert_eq!(newer.derivation_outputs(&path).unwrap(), [("out".to_owned(), None)].into());
    let id = DerivationOutputId::by_path(path.clone(), "out");
    newer.register_realisations(&[Realisation { id, path: made.clone(), signatures: Default::default() }], false).unwrap();
    assert_eq!(newer.derivation_outputs(&path).unwrap(), [("out".to_owned(), Some(made))].into());
}

#[test]
fn debug_information_is_indexed() {
    let directory = tempfile::tempdir().unwrap();
    let id = "c".repeat(38);
    let tree = directory.path().join("tree");
    std::fs::create_dir_all(tree.join("lib/debug/.build-id/ab")).unwrap();
    std::fs::write(tree.join(format!("lib/debug/.build-id/ab/{id}.debug")), "x").unwrap();
    std::fs::write(tree.join("lib/debug/.build-id/ab/short.debug"), "x").unwrap();
    let server = Arc::new(Server::default());
    let options = BinaryCacheOptions { index_debug_info: true, ..zstd() };
    let cache = BinaryCache::open(URL, server, options).unwrap();
    let contents = Contents::Tree { path: &tree, filter: None };
    let info = cache.add_contents(&Addressing::source("debug"), contents).unwrap();
    let url = cache.narinfo(&info.path).unwrap().url.clone();
    let member = format!("lib/debug/.build-id/ab/{id}.debug");
    assert_eq!(cache.debug_info(&format!("ab{id}")).unwrap(), Some((url, member)));
    assert_eq!(cache.debug_info("abshort").unwrap(), None);
}

#[test]
fn what_is_no_cache_or_another_ones_is_refused() {
    let server = Arc::new(Server::default());
    server.set(&format!("{URL}/nix-cache-info"), "StoreDir: /gnu/store\n");
    let open = |options| BinaryCache::open(URL, Arc::<Server>::clone(&server), options).map(drop).unwrap_err();
    assert!(matches!(open(zstd()), StoreError::ForeignCache { .. }));
    server.is_dead.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(open(zstd()), StoreError::Transfer(_)));
}
