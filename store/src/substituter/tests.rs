//! What is fetched from whom, and what happens when somebody has not what they said.

use super::*;
use crate::content_address::ContentAddressWithReferences;
use crate::path::StoreDir;
use crate::binary_cache::BinaryCacheOptions;
use crate::compression::Compression;
use crate::copy::copy_closure;
use crate::local::LocalStoreOptions;
use crate::memory::MemoryStore;
use crate::path_info::UnkeyedPathInfo;
use crate::hash::{Algorithm, Hash};
use crate::signature::{SecretKey, TrustedKeys};
use crate::store::{AddOptions, Addressing, Contents};
use crate::transfer::file::FileTransport;

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl SubstituterObserver for Log {
    fn failed(&self, address: &str, _: &StoreError, pause: Option<Duration>) {
        self.0.lock().unwrap().push(format!("{address} failed, pause {}", pause.is_some()));
    }

    fn unsigned(&self, _: &str, path: &StorePath) {
        self.0.lock().unwrap().push(format!("{} unsigned", path.name()));
    }

    fn fetching(&self, _: &str, info: &PathInfo) {
        self.0.lock().unwrap().push(info.path.name().to_owned());
    }
}

/// A store with input-addressed paths of these names, each referring to the one before.
fn chain(names: &[&str]) -> (MemoryStore, Vec<StorePath>) {
    let store = MemoryStore::default();
    let mut paths: Vec<StorePath> = Vec::new();
    for (idx, name) in names.iter().enumerate() {
        let mut nar = Vec::new();
        crate::addressed::write_file_nar(&mut nar, name.as_bytes()).unwrap();
        let mut info = UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64);
        info.references = paths.last().cloned().into_iter().collect();
        let path = StorePath::new([idx as u8 + 1; 20], name).unwrap();
        let info = PathInfo { path: path.clone(), info };
        store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
        paths.push(path);
    }
    (store, paths)
}

struct Scene {
    directory: tempfile::TempDir,
    log: Arc<Log>,
    key: SecretKey,
}

impl Scene {
    fn new() -> Scene {
        let key = SecretKey::from_seed("k", &[1; 32]);
        Scene { directory: tempfile::tempdir().unwrap(), log: Arc::default(), key }
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.directory.path().join(name).display())
    }

    fn cache(&self, name: &str, is_signed: bool) -> BinaryCache {
        let secret_keys = if is_signed { vec![self.key.clone()] } else { Vec::new() };
        let options = BinaryCacheOptions { compression: Compression::Zstd, secret_keys, ..BinaryCacheOptions::default() };
        BinaryCache::open(&self.url(name), Arc::new(FileTransport), options).unwrap()
    }

    fn store(&self) -> LocalStore {
        let trusted_keys = TrustedKeys::new([self.key.public_key()]);
        let root = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        LocalStore::open(LocalStoreOptions { trusted_keys, ..LocalStoreOptions::rooted(root) }).unwrap()
    }

    fn substituters(&self, names: &[&str]) -> Substituters {
        let open = names
            .iter()
            .map(|name| {
                let url = self.url(name);
                let is_broken = *name == "broken";
                let open: OpenSubstituter = Box::new(move || {
                    if is_broken {
                        return Err(StoreError::Unsupported { operation: "this" });
                    }
                    let cache = BinaryCache::open(&url, Arc::new(FileTransport), BinaryCacheOptions::default())?;
                    Ok(Substituter::cache(Arc::new(cache)))
                });
                ((*name).to_owned(), open)
            })
            .collect();
        Substituters::new(open, Arc::<Log>::clone(&self.log), Interrupt::default())
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.0.lock().unwrap())
    }
}

#[test]
fn closures_are_fetched_references_first() {
    let scene = Scene::new();
    let (source, paths) = chain(&["a", "b", "c"]);
    copy_closure(&source, &scene.cache("one", true), &paths).unwrap();
    let (store, substituters) = (scene.store(), scene.substituters(&["broken", "one"]));
    let plan = substituters.plan(&store, &paths[2..]).unwrap();
    assert_eq!((plan.offers.len(), plan.unavailable.len()), (3, 0));
    assert!(plan.offers.values().all(|offer| offer.download_size > 0));
    assert!(substituters.fetch(&store, &plan, &*scene.log).unwrap().is_empty());
    assert_eq!(scene.take_log(), ["broken failed, pause false", "a", "b", "c"]);
    assert!(store.is_valid(&paths[2]).unwrap());
}

#[test]
fn what_nobody_trusted_has_signed_is_passed_over() {
    let scene = Scene::new();
    let (source, paths) = chain(&["a"]);
    copy_closure(&source, &scene.cache("unsigned", false), &paths).unwrap();
    let store = scene.store();
    assert!(scene.substituters(&["unsigned"]).plan(&store, &paths).unwrap().offers.is_empty());
    assert_eq!(scene.take_log(), ["a unsigned"]);
    copy_closure(&source, &scene.cache("signed", true), &paths).unwrap();
    let substituters = scene.substituters(&["unsigned", "signed"]);
    let plan = substituters.plan(&store, &paths).unwrap();
    assert!(substituters.fetch(&store, &plan, &*scene.log).unwrap().is_empty());
    assert_eq!(scene.take_log(), ["a unsigned", "a"]);
}

#[test]
fn what_is_not_complete_is_not_offered() {
    let scene = Scene::new();
    let (source, paths) = chain(&["a", "b", "c"]);
    let cache = scene.cache("one", true);
    copy_closure(&source, &cache, &paths).unwrap();
    let directory = scene.directory.path().join("one");
    std::fs::remove_file(directory.join(format!("{}.narinfo", paths[0].hash_text()))).unwrap();
    let plan = scene.substituters(&["one"]).plan(&scene.store(), &paths[2..]).unwrap();
    assert!(plan.offers.is_empty());
    assert_eq!(plan.unavailable, [paths[0].clone()].into());
}

#[test]
fn the_next_one_is_asked_when_contents_are_gone_or_spoilt() {
    for spoil in [true, false] {
        let scene = Scene::new();
        let (source, paths) = chain(&["a", "b"]);
        copy_closure(&source, &scene.cache("bad", true), &paths).unwrap();
        let archives = scene.directory.path().join("bad/nar");
        for file in std::fs::read_dir(&archives).unwrap() {
            let file = file.unwrap().path();
            if spoil { std::fs::write(file, "rubbish").unwrap() } else { std::fs::remove_file(file).unwrap() }
        }
        let store = scene.store();
        let substituters = scene.substituters(&["bad"]);
        let plan = substituters.plan(&store, &paths[1..]).unwrap();
        let failures = substituters.fetch(&store, &plan, &*scene.log).unwrap();
        assert_eq!(failures.len(), 2);
        assert!(failures.values().all(|failure| failure.is_gone != spoil));
        assert!(matches!(failures[&paths[1]].error, StoreError::BrokenReferences { .. }));

        copy_closure(&source, &scene.cache("good", true), &paths).unwrap();
        let substituters = scene.substituters(&["bad", "good"]);
        let plan = substituters.plan(&store, &paths[1..]).unwrap();
        assert!(substituters.fetch(&store, &plan, &*scene.log).unwrap().is_empty());
        assert!(store.is_valid(&paths[1]).unwrap());
    }
}

#[test]
fn contents_with_a_known_address_come_from_another_directory_too() {
    let scene = Scene::new();
    let elsewhere = StoreDir::new("/elsewhere").unwrap();
    let options = BinaryCacheOptions { store_dir: elsewhere, ..BinaryCacheOptions::default() };
    let cache = Arc::new(BinaryCache::open(&scene.url("other"), Arc::new(FileTransport), options).unwrap());
    let there = cache.add_contents(&Addressing::source("s"), Contents::Bytes(b"text")).unwrap();
    let address = there.content_address.unwrap();
    let store = scene.store();
    let content = ContentAddressWithReferences::without_references(address.method, address.hash);
    let here = store.store_dir().fixed_output_path("s", &content).unwrap();
    assert_ne!(here, there.path);

    let open: OpenSubstituter = Box::new(move || Ok(Substituter::cache(cache.clone())));
    let substituters = Substituters::new(vec![("other".into(), open)], scene.log.clone(), Interrupt::default());
    let wanted = [here.clone()];
    assert!(substituters.plan(&store, &wanted).unwrap().offers.is_empty(), "nobody knows what it is called there");
    let plan = substituters.plan_addressed(&store, &wanted, &[(here.clone(), address)].into()).unwrap();
    assert!(substituters.fetch(&store, &plan, &*scene.log).unwrap().is_empty());
    assert_eq!(store.read_file(&here).unwrap(), b"text");
    assert_eq!(scene.take_log(), ["s"]);
    let known = substituters.infos(store.store_dir(), &[(here.clone(), Some(address))].into());
    assert!(known[&here].download_size > 0 && known[&here].nar_size > 0);
    assert!(substituters.infos(store.store_dir(), &[(here, None)].into()).is_empty());
}

#[test]
fn what_is_known_is_told_whoever_signed_it() {
    let scene = Scene::new();
    let (source, paths) = chain(&["a", "b"]);
    copy_closure(&source, &scene.cache("unsigned", false), &paths[..1]).unwrap();
    copy_closure(&source, &scene.cache("signed", true), &paths).unwrap();
    let infos = scene.substituters(&["broken", "unsigned", "signed"]).infos(&StoreDir::default(), &paths.iter().map(|path| (path.clone(), None)).collect());
    assert_eq!(infos.keys().collect::<Vec<_>>(), [&paths[0], &paths[1]]);
    assert_eq!(infos[&paths[1]].references, [paths[0].clone()].into());
    assert_eq!(scene.take_log(), ["broken failed, pause false"]);
}

#[test]
fn only_who_wants_it_is_asked_about_many() {
    let scene = Scene::new();
    let (source, paths) = chain(&["a", "b"]);
    copy_closure(&source, &scene.cache("one", true), &paths).unwrap();
    let available = || scene.substituters(&["one"]).available(scene.store().store_dir(), &paths);
    assert!(available().is_empty());
    std::fs::write(scene.directory.path().join("one/nix-cache-info"), "StoreDir: /nix/store\nWantMassQuery: 1\n").unwrap();
    assert_eq!(available(), paths.iter().cloned().collect());
}
