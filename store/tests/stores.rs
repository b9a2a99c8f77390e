//! What holds for every store: each case runs on the store in memory, on the one on disk, and on a daemon before each.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::copy::copy_closure;
use nixlang_store::daemon::{
    Connector, DaemonStore, DaemonStoreOptions, ServerOptions, Transport, serve, unix_transport,
};
use nixlang_store::derivation::{Derivation, DerivationOutput};
use nixlang_store::error::StoreError;
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::memory::MemoryStore;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::store::{AddOptions, Addressing, Contents, FileKind, Filter, Store, Text, VerifyOptions};

/// Runs a case on every kind of store.
#[track_caller]
fn on_every_store(case: impl Fn(&dyn Store)) {
    case(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    case(&open(dir.path()));
    case(&daemon(Arc::new(MemoryStore::default())));
    let dir = tempfile::tempdir().unwrap();
    case(&daemon(Arc::new(open(dir.path()))));
}

/// A daemon on a thread of this process for each connection.
struct InProcess(Arc<dyn Store>);

impl Connector for InProcess {
    fn connect(&self) -> nixlang_store::error::Result<Transport> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let store = Arc::clone(&self.0);
        let Transport { source, sink, .. } = unix_transport(theirs).unwrap();
        std::thread::spawn(move || {
            let options = ServerOptions { version: "test".into(), is_trusted: true, is_recursive: false };
            serve(&*store, &(), &options, source, sink)
        });
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "in-process".into()
    }
}

fn daemon(store: Arc<dyn Store>) -> DaemonStore {
    let options = DaemonStoreOptions::new(store.store_dir().clone());
    DaemonStore::new(InProcess(store), options)
}

fn open(root: &Path) -> LocalStore {
    LocalStore::open(LocalStoreOptions::rooted(root)).unwrap()
}

fn nar_of(store: &dyn Store, path: &StorePath) -> Vec<u8> {
    let mut nar = Vec::new();
    store.write_nar(path, &mut nar).unwrap();
    nar
}

/// A tree with one of everything.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("t");
    std::fs::create_dir_all(top.join("b/empty")).unwrap();
    std::fs::write(top.join("b/large"), vec![7; 200_000]).unwrap();
    std::fs::write(top.join("a"), "plain").unwrap();
    std::fs::write(top.join("program"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(top.join("program"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("../elsewhere", top.join("c")).unwrap();
    dir
}

#[test]
fn text_is_found_again() {
    on_every_store(|store| {
        // `builtins.toFile "foo" "bar"`, Nix 2.34.8.
        let path = store.add_text("foo", b"bar", &BTreeSet::new()).unwrap();
        assert_eq!(path.to_string(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
        assert!(store.is_valid(&path).unwrap());
        assert_eq!(store.read_file(&path).unwrap(), b"bar");
        let info = store.path_info(&path).unwrap();
        let nar = nar_of(store, &path);
        assert_eq!(info.nar_hash, Hash::digest(Algorithm::Sha256, &nar));
        assert_eq!(info.nar_size, nar.len() as u64);
        assert_eq!(
            info.content_address.unwrap().to_string(),
            format!("text:{}", Hash::digest(Algorithm::Sha256, b"bar").format(nixlang_store::hash::HashFormat::Nix32, true)),
        );
        assert_eq!(store.path_from_hash_part(&path.hash_part()).unwrap(), Some(path.clone()));
        assert_eq!(store.path_from_hash_part(&[0; 20]).unwrap(), None);
        assert_eq!(store.all_valid_paths().unwrap(), [path]);
    });
}

#[test]
fn references_must_be_valid_and_lead_back() {
    on_every_store(|store| {
        let base = store.add_text("base", b"1", &BTreeSet::new()).unwrap();
        let user = store.add_text("user", b"2", &BTreeSet::from([base.clone()])).unwrap();
        let top = store.add_text("top", b"3", &BTreeSet::from([user.clone()])).unwrap();
        assert_eq!(store.referrers(&base).unwrap(), BTreeSet::from([user.clone()]));
        assert_eq!(store.closure(std::slice::from_ref(&top)).unwrap(), BTreeSet::from([base, user, top.clone()]));

        let missing = StorePath::new([9; 20], "missing").unwrap();
        let error = store.add_text("dangling", b"4", &BTreeSet::from([missing.clone()])).unwrap_err();
        assert!(matches!(error, StoreError::InvalidPath { .. }), "{error}");
        assert_eq!(error.to_string(), format!("path '/nix/store/{missing}' is not valid"));
        assert_eq!(store.all_valid_paths().unwrap().len(), 3);
        let closure = store.closure(&[missing]);
        assert!(matches!(closure, Err(StoreError::InvalidPath { .. })));
        let again = store.add_text("top", b"3", &BTreeSet::from([StorePath::new([9; 20], "missing").unwrap()]));
        assert!(again.is_err(), "other references make another path");
        assert!(store.is_valid(&top).unwrap());
    });
}

#[test]
fn many_texts_at_once() {
    on_every_store(|store| {
        let names: Vec<String> = (0..700).map(|idx| format!("t{idx}")).collect();
        let texts: Vec<Text<'_>> = names
            .iter()
            .map(|name| Text { name, contents: name.as_bytes(), references: BTreeSet::new() })
            .collect();
        let paths = store.add_texts(&texts).unwrap();
        assert!(store.are_valid(&paths).unwrap().into_iter().all(|valid| valid));
        assert_eq!(store.add_texts(&texts).unwrap(), paths);
        let twice = [texts[0].clone(), texts[0].clone()];
        assert_eq!(store.add_texts(&twice).unwrap(), [paths[0].clone(), paths[0].clone()]);
        // Each refers to the one before it in the same call.
        let mut references = BTreeSet::new();
        let mut chain = Vec::new();
        for name in &names[..300] {
            let text = Text { name, contents: b"chain", references: references.clone() };
            let hash = Hash::digest(Algorithm::Sha256, b"chain");
            references = BTreeSet::from([store.store_dir().text_path(name, &hash, &references).unwrap()]);
            chain.push(text);
        }
        let paths = store.add_texts(&chain).unwrap();
        assert_eq!(store.closure(&paths[299..]).unwrap().len(), 300);
    });
}

#[test]
fn trees_files_and_archives_give_the_same_paths() {
    let tree = tree();
    let top = tree.path().join("t");
    on_every_store(|store| {
        let from_tree =
            store.add_contents(&Addressing::source("t"), Contents::Tree { path: &top, filter: None }).unwrap();
        let nar = nar_of(store, &from_tree.path);
        assert_eq!(from_tree.nar_hash, Hash::digest(Algorithm::Sha256, &nar));
        let other = MemoryStore::default();
        let from_nar = other.add_contents(&Addressing::source("t"), Contents::Nar(&mut nar.as_slice())).unwrap();
        assert_eq!(from_nar, from_tree);
        assert_eq!(nar_of(&other, &from_nar.path), nar);

        let large = top.join("b/large");
        for method in [ContentAddressMethod::Flat, ContentAddressMethod::Nar, ContentAddressMethod::Text] {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha1] {
                let addressing = Addressing { method, algorithm, ..Addressing::source("f") };
                let from_tree = store.add_contents(&addressing, Contents::Tree { path: &large, filter: None });
                let bytes = vec![7; 200_000];
                let from_bytes = store.add_contents(&addressing, Contents::Bytes(&bytes));
                if method == ContentAddressMethod::Text && algorithm == Algorithm::Sha1 {
                    assert!(from_tree.is_err() && from_bytes.is_err(), "texts are hashed with sha256");
                    continue;
                }
                assert_eq!(from_tree.unwrap(), from_bytes.unwrap());
            }
        }
        let flat = Addressing { method: ContentAddressMethod::Flat, ..Addressing::source("t") };
        let error = store.add_contents(&flat, Contents::Tree { path: &top, filter: None }).unwrap_err();
        assert!(matches!(error, StoreError::UnsupportedFileType { .. }), "a directory has no flat hash: {error}");
    });
}

#[test]
fn a_filter_sees_paths_below_the_root_and_is_asked_once() {
    let tree = tree();
    let top = tree.path().join("t");
    on_every_store(|store| {
        let mut asked = Vec::new();
        let mut filter = |path: &Path, kind: FileKind| {
            asked.push((path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned(), kind));
            kind != FileKind::Directory
        };
        let filter: &mut Filter<'_> = &mut filter;
        let contents = Contents::Tree { path: &top, filter: Some(filter) };
        let path = store.add_contents(&Addressing::source("t"), contents).unwrap().path;
        let expected = [
            ("a".to_owned(), FileKind::Regular),
            ("b".to_owned(), FileKind::Directory),
            ("c".to_owned(), FileKind::Symlink),
            ("program".to_owned(), FileKind::Regular),
        ];
        assert_eq!(asked, expected);
        assert!(!nar_of(store, &path).windows(5).any(|window| window == b"large"));
    });
}

fn input_addressed(nar: &[u8], name: &str) -> PathInfo {
    let path = StorePath::new(*b"01234567890123456789", name).unwrap();
    PathInfo { path, info: UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, nar), nar.len() as u64) }
}

#[test]
fn archives_are_checked_before_they_are_valid() {
    let source = MemoryStore::default();
    let top = tree();
    let contents = Contents::Tree { path: &top.path().join("t"), filter: None };
    let nar = nar_of(&source, &source.add_contents(&Addressing::source("t"), contents).unwrap().path);
    on_every_store(|store| {
        let refused = |change: &dyn Fn(&mut PathInfo), nar: &[u8]| {
            let mut info = input_addressed(nar, "x");
            change(&mut info);
            let error = store.add_nar(&info, &mut &*nar, &AddOptions::trusted()).unwrap_err();
            assert!(!store.is_valid(&info.path).unwrap());
            error
        };
        let error = refused(&|info| info.info.nar_hash = Hash::digest(Algorithm::Sha256, b""), &nar);
        assert!(error.to_string().starts_with("hash mismatch importing path '/nix/store/"), "{error}");
        refused(&|info| info.info.nar_size -= 8, &nar);
        let error = refused(&|info| info.info.nar_size += 8, &nar);
        assert!(error.to_string().starts_with("size mismatch importing path '/nix/store/"), "{error}");
        refused(&|_| {}, &nar[..nar.len() - 1]);
        refused(&|_| {}, b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f");
        let address = "fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73".parse().unwrap();
        let error = refused(&|info| info.info.content_address = Some(address), &nar);
        assert!(error.to_string().ends_with("claims to be content-addressed but isn't"), "{error}");
        let missing = StorePath::new([9; 20], "missing").unwrap();
        refused(&|info| info.info.references = BTreeSet::from([missing.clone()]), &nar);

        let mut info = input_addressed(&nar, "x");
        info.info.references = BTreeSet::from([info.path.clone()]);
        info.info.registration_time = 12345;
        info.info.signatures = BTreeSet::from(["key-1:AAAA".to_owned()]);
        store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
        assert_eq!(store.path_info(&info.path).unwrap(), info);
        assert_eq!(nar_of(store, &info.path), nar);
        store.add_signatures(&info.path, &["key-2:BBBB".to_owned(), "key-1:AAAA".to_owned()]).unwrap();
        assert_eq!(store.path_info(&info.path).unwrap().info.signatures.len(), 2);
        // Valid already: nothing is read.
        struct Untouchable;
        impl Read for Untouchable {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                panic!("there is nothing to read for")
            }
        }
        store.add_nar(&info, &mut Untouchable, &AddOptions::trusted()).unwrap();
    });
}

/// Returns a derivation, and its output.
fn derivation(name: &str) -> (Derivation, StorePath) {
    let mut derivation = Derivation {
        name: name.into(),
        outputs: [("out".into(), DerivationOutput::Deferred)].into(),
        system: b"x86_64-linux".to_vec(),
        builder: b"/bin/sh".to_vec(),
        env: [(b"out".to_vec(), Vec::new())].into(),
        ..Derivation::default()
    };
    let dir = MemoryStore::default().store_dir().clone();
    derivation.instantiate(&dir, &mut HashMap::new(), &mut |_| Err("it has no inputs".into())).unwrap();
    let Some(DerivationOutput::InputAddressed(output)) = derivation.outputs.get("out").cloned() else { panic!("filled in") };
    (derivation, output)
}

#[test]
fn derivations_know_their_outputs() {
    on_every_store(|store| {
        let (derivation, output) = derivation("x");
        let path = store.write_derivation(&derivation).unwrap();
        assert_eq!(path.name(), "x.drv");
        assert_eq!(store.read_derivation(&path).unwrap(), derivation);
        assert_eq!(store.derivation_outputs(&path).unwrap(), [("out".to_owned(), Some(output.clone()))].into());
        assert_eq!(store.valid_derivers(&output).unwrap(), BTreeSet::from([path]));
        let error = store.add_text("broken.drv", b"Derive(", &BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("error parsing derivation '/nix/store/"), "{error}");
        assert_eq!(store.all_valid_paths().unwrap().len(), 1);
    });
}

#[test]
fn closures_are_copied_between_all_kinds() {
    let tree = tree();
    let top = tree.path().join("t");
    on_every_store(|from| {
        let source = from.add_contents(&Addressing::source("t"), Contents::Tree { path: &top, filter: None }).unwrap();
        let user = from.add_text("user", b"2", &BTreeSet::from([source.path.clone()])).unwrap();
        on_every_store(|to| {
            let copied = copy_closure(from, to, std::slice::from_ref(&user)).unwrap();
            assert_eq!(copied, [source.path.clone(), user.clone()]);
            assert_eq!(copy_closure(from, to, std::slice::from_ref(&user)).unwrap(), []);
            assert_eq!(nar_of(to, &source.path), nar_of(from, &source.path));
        });
    });
}

#[test]
fn files_on_disk_are_canonical() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree();
    let store = open(dir.path());
    let contents = Contents::Tree { path: &tree.path().join("t"), filter: None };
    let path = store.add_contents(&Addressing::source("t"), contents).unwrap().path;
    let real = store.real_path(&path).unwrap();
    assert_eq!(real, dir.path().join("nix/store").join(path.to_string()));
    for (name, mode) in [("", 0o555), ("a", 0o444), ("b", 0o555), ("b/large", 0o444), ("program", 0o555), ("c", 0o777)] {
        let metadata = real.join(name).symlink_metadata().unwrap();
        assert_eq!((name, metadata.mode() & 0o7777, metadata.mtime()), (name, mode, 1));
    }
    assert_eq!(std::fs::read_link(real.join("c")).unwrap(), Path::new("../elsewhere"));
    // Neither locks nor work in progress stay.
    drop(store);
    let mut names: Vec<_> = std::fs::read_dir(dir.path().join("nix/store"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".links".to_owned(), path.to_string()]);
    assert_eq!(std::fs::read_dir(dir.path().join("nix/var/nix/temproots")).unwrap().count(), 0);
    assert_eq!(std::fs::read(dir.path().join("nix/var/nix/db/schema")).unwrap(), b"10");
}

#[test]
fn left_overs_in_the_way_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let path = MemoryStore::default().add_text("foo", b"bar", &BTreeSet::new()).unwrap();
    let real = store.real_path(&path).unwrap();
    std::fs::create_dir_all(real.join("half/written")).unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o555)).unwrap();
    assert_eq!(store.add_text("foo", b"bar", &BTreeSet::new()).unwrap(), path);
    assert_eq!(std::fs::read(&real).unwrap(), b"bar");
}

#[test]
fn repair_replaces_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let path = store.add_text("foo", b"bar", &BTreeSet::new()).unwrap();
    let nar = nar_of(&store, &path);
    let real = store.real_path(&path).unwrap();
    std::fs::remove_file(&real).unwrap();
    std::fs::write(&real, "changed").unwrap();
    let info = store.path_info(&path).unwrap();
    store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"changed");
    let mut options = AddOptions::trusted();
    options.repair = true;
    store.add_nar(&info, &mut nar.as_slice(), &options).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"bar");
}

#[test]
fn large_sources_are_copied_without_being_held_in_memory() {
    let tree = tempfile::tempdir().unwrap();
    for idx in 0..5u8 {
        std::fs::write(tree.path().join(idx.to_string()), vec![idx; 3 << 20]).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let contents = Contents::Tree { path: tree.path(), filter: None };
    let info = store.add_contents(&Addressing::source("big"), contents).unwrap();
    let nar = nar_of(&store, &info.path);
    assert_eq!(Hash::digest(Algorithm::Sha256, &nar), info.nar_hash);
    let other = tempfile::tempdir().unwrap();
    let other = open(other.path());
    let again = other.add_contents(&Addressing::source("big"), Contents::Nar(&mut nar.as_slice())).unwrap();
    assert_eq!(again, info);
    assert_eq!(nar_of(&other, &info.path), nar);
}

#[test]
fn threads_and_handles_add_the_same_things() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree();
    let top = tree.path().join("t");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = open(dir.path());
                for idx in 0..20 {
                    let contents = format!("{idx}");
                    store.add_text("t", contents.as_bytes(), &BTreeSet::new()).unwrap();
                    let contents = Contents::Tree { path: &top, filter: None };
                    store.add_contents(&Addressing::source("t"), contents).unwrap();
                }
            });
        }
    });
    assert_eq!(open(dir.path()).all_valid_paths().unwrap().len(), 21);
}

#[test]
fn a_read_only_store_reads_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let options = LocalStoreOptions { read_only: true, ..LocalStoreOptions::rooted(dir.path()) };
    assert!(LocalStore::open(options.clone()).is_err(), "there is none");
    let path = open(dir.path()).add_text("foo", b"bar", &BTreeSet::new()).unwrap();
    let store = LocalStore::open(options.clone()).unwrap();
    assert_eq!(store.read_file(&path).unwrap(), b"bar");
    let error = store.add_text("foo", b"other", &BTreeSet::new()).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    drop(store);

    // An image of a store: no log is there and none can be made. (Root may do that anyway.)
    let db = dir.path().join("nix/var/nix/db");
    for log in ["db.sqlite-wal", "db.sqlite-shm"] {
        std::fs::remove_file(db.join(log)).unwrap();
    }
    let set_mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    for entry in std::fs::read_dir(&db).unwrap() {
        set_mode(&entry.unwrap().path(), 0o444);
    }
    set_mode(&db, 0o555);
    let read = LocalStore::open(options).and_then(|store| store.read_file(&path));
    set_mode(&db, 0o755);
    assert_eq!(read.unwrap(), b"bar");
}

#[test]
fn registration_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let make = |name: &str, references: &[&str]| {
        let path = |name: &str| StorePath::new([name.as_bytes()[0]; 20], name).unwrap();
        let mut info = input_addressed(b"", name);
        info.path = path(name);
        info.info.references = references.iter().map(|name| path(name)).collect();
        info
    };
    // Outputs of one build may refer to each other in any order.
    store.register_paths(&[make("a", &["b", "a"]), make("b", &[])]).unwrap();
    assert_eq!(store.all_valid_paths().unwrap().len(), 2);
    let error = store.register_paths(&[make("c", &["d"]), make("d", &["c"])]).unwrap_err();
    assert!(matches!(error, StoreError::Cycle { .. }), "{error}");
    let error = store.register_paths(&[make("e", &[]), make("f", &["g"])]).unwrap_err();
    assert!(matches!(error, StoreError::InvalidPath { .. }), "{error}");
    assert_eq!(store.all_valid_paths().unwrap().len(), 2);
}

#[test]
fn permanent_roots_are_links_known_in_gcroots_auto() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let path = store.add_text("foo", b"bar", &BTreeSet::new()).unwrap();
    let link = dir.path().join("result");
    store.add_permanent_root(&path, &link).unwrap();
    store.add_permanent_root(&path, &link).unwrap();
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "bar", "the link leads to the real file");
    let auto: Vec<_> = std::fs::read_dir(dir.path().join("nix/var/nix/gcroots/auto")).unwrap().collect();
    assert_eq!(auto.len(), 1);
    assert_eq!(std::fs::read_link(auto[0].as_ref().unwrap().path()).unwrap(), link);
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(store.add_permanent_root(&path, &dir.path().join("file")).is_err(), "there is something else");
    assert_eq!(store.to_store_path(&store.real_path(&path).unwrap().join("x")).unwrap(), (path, Path::new("x")));
}

#[test]
fn verification_finds_what_is_gone_and_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let whole = store.add_text("whole", b"1", &BTreeSet::new()).unwrap();
    let changed = store.add_text("changed", b"2", &BTreeSet::new()).unwrap();
    let gone = store.add_text("gone", b"3", &BTreeSet::new()).unwrap();
    let gone_user = store.add_text("gone-user", b"3", &BTreeSet::from([gone.clone()])).unwrap();
    let needed = store.add_text("needed", b"4", &BTreeSet::new()).unwrap();
    let user = store.add_text("user", b"5", &BTreeSet::from([needed.clone()])).unwrap();
    let real = |path| store.real_path(path).unwrap();
    std::fs::remove_file(real(&changed)).unwrap();
    std::fs::write(real(&changed), "other").unwrap();
    for path in [&gone, &gone_user, &needed] {
        std::fs::remove_file(real(path)).unwrap();
    }
    let mut events = Vec::new();
    assert!(!store.verify(&VerifyOptions::new(true), &mut |event| events.push(event)).unwrap());
    let mut texts: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    texts.sort();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[0].contains("Disappeared {") && texts[1].contains("Disappeared {"));
    assert!(texts[2].contains("DisappearedInUse") && texts[2].contains("needed"));
    assert!(texts[3].contains("Modified") && texts[3].contains("changed"));
    assert_eq!(
        store.are_valid(&[whole, changed, gone, gone_user, needed, user]).unwrap(),
        [true, true, false, false, true, true],
    );
}

#[test]
fn a_root_may_be_a_link_but_what_is_in_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("there")).unwrap();
    symlink("there", dir.path().join("link")).unwrap();
    let store = open(&dir.path().join("link"));
    let path = store.add_text("foo", b"bar", &BTreeSet::new()).unwrap();
    assert!(open(&dir.path().join("there")).is_valid(&path).unwrap());
    std::fs::create_dir(dir.path().join("other")).unwrap();
    symlink("../there/nix", dir.path().join("other/nix")).unwrap();
    let error = LocalStore::open(LocalStoreOptions::rooted(dir.path().join("other"))).unwrap_err();
    assert!(matches!(error, StoreError::SymlinkedStore { .. }), "{error}");
}

#[test]
fn addresses_of_what_refers_to_itself_are_checked() {
    use nixlang_store::content_address::ContentAddressWithReferences;
    use nixlang_store::references::{SelfReferenceHasher, SelfReferenceRule};
    on_every_store(|store| {
        for rule in [SelfReferenceRule::Blanked, SelfReferenceRule::BlankedWithPlaces] {
            // With zeros in their place the digits don't matter, so that the path can be computed and then put in.
            let nar = |digits: &[u8]| {
                let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
                nar.file(false, &[&b"I am "[..], digits, b"!"].concat()).unwrap();
                nar.finish().unwrap()
            };
            let some = [b'1'; 32];
            let mut hasher = SelfReferenceHasher::new(Algorithm::Sha256, some, rule);
            std::io::Write::write_all(&mut hasher, &nar(&some)).unwrap();
            let content = ContentAddressWithReferences {
                method: ContentAddressMethod::Nar,
                hash: hasher.finish(),
                references: BTreeSet::new(),
                self_reference: true,
            };
            let path = store.store_dir().fixed_output_path("x", &content).unwrap();
            let nar = nar(&path.hash_digits());
            let mut info = PathInfo {
                path: path.clone(),
                info: UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64),
            };
            info.info.references = BTreeSet::from([path.clone()]);
            info.info.content_address = Some(content.content_address());
            let mut other = nar.clone();
            *other.iter_mut().find(|byte| **byte == b'!').unwrap() = b'?';
            let mut wrong = info.clone();
            wrong.info.nar_hash = Hash::digest(Algorithm::Sha256, &other);
            let error = store.add_nar(&wrong, &mut other.as_slice(), &AddOptions::trusted()).unwrap_err();
            assert!(error.to_string().starts_with("hash mismatch importing path '/nix/store/"), "{error}");
            store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
            assert_eq!(store.path_info(&path).unwrap().references, BTreeSet::from([path]));
        }
    });
}

#[test]
fn equal_files_become_one_inode() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sources = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for name in ["one", "two"] {
        let top = sources.path().join(name);
        std::fs::create_dir_all(top.join("d")).unwrap();
        for file in ["d/a", "b"] {
            std::fs::write(top.join(file), "the same").unwrap();
        }
        std::fs::write(top.join("program"), "the same").unwrap();
        std::fs::set_permissions(top.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("b", top.join("link")).unwrap();
        std::fs::write(top.join("own"), name).unwrap();
        let contents = Contents::Tree { path: &top, filter: None };
        paths.push(store.add_contents(&Addressing::source(name), contents).unwrap().path);
    }
    let text = store.add_text("text", b"the same", &BTreeSet::new()).unwrap();
    let stats = store.optimise(&mut |event| panic!("{event:?}")).unwrap();
    // Of the five plain files (a and b twice, and the text), the two programs and the two links all but one each.
    assert_eq!(stats.files_linked, 4 + 1 + 1);
    let inode = |path: &Path| path.symlink_metadata().unwrap().ino();
    let real = |path: &StorePath, below: &str| store.real_path(path).unwrap().join(below);
    let first = inode(&real(&paths[0], "d/a"));
    for file in [real(&paths[0], "b"), real(&paths[1], "d/a"), real(&paths[1], "b"), store.real_path(&text).unwrap()] {
        assert_eq!(inode(&file), first, "{file:?}");
    }
    assert_eq!(inode(&real(&paths[0], "program")), inode(&real(&paths[1], "program")));
    assert_ne!(inode(&real(&paths[0], "program")), first);
    assert_ne!(inode(&real(&paths[0], "own")), inode(&real(&paths[1], "own")));
    for below in ["", "d"] {
        let metadata = real(&paths[1], below).metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o555, 1));
    }
    assert_eq!(store.optimise(&mut |_| {}).unwrap().files_linked, 0);
    assert!(store.verify(&VerifyOptions::new(true), &mut |event| panic!("{event:?}")).unwrap());

    // What nothing uses any more goes from `.links` as well.
    drop(store);
    let store = open(dir.path());
    let options = nixlang_store::gc::GcOptions::new(nixlang_store::gc::GcAction::DeleteDead);
    store.collect_garbage(&options, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("nix/store/.links")).unwrap().count(), 0);
}
