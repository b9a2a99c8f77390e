//! What a local store keeps besides paths: realisations and logs; and how it makes room: by age, by wish, when space is low.

use std::collections::BTreeSet;

use nixlang_store::error::StoreError;
use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::{LocalStore, LocalStoreOptions, SpaceGuard};
use nixlang_store::path::StorePath;
use nixlang_store::content_rules::ContentRules;
use nixlang_store::realisation::{DerivationOutputId, Realisation};
use nixlang_store::signature::{SecretKey, TrustedKeys};
use nixlang_store::store::{AddOptions, Store, VerifyEvent};

fn open(directory: &tempfile::TempDir, change: impl FnOnce(&mut LocalStoreOptions)) -> LocalStore {
    let mut options = LocalStoreOptions::rooted(directory.path());
    change(&mut options);
    LocalStore::open(options).unwrap()
}

fn text(store: &dyn Store, name: &str, references: &[&StorePath]) -> StorePath {
    store.add_text(name, name.as_bytes(), &references.iter().copied().cloned().collect()).unwrap()
}

fn realisation(path: &StorePath, output: &str) -> Realisation {
    let id = DerivationOutputId::by_hash(Hash::digest(Algorithm::Sha256, b"drv"), output);
    Realisation { id, path: path.clone(), signatures: BTreeSet::new() }
}

#[test]
fn realisations_live_as_long_as_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let (a, b) = (text(&store, "a", &[]), text(&store, "b", &[]));
    let (out, dev) = (realisation(&a, "out"), realisation(&b, "dev"));
    assert_eq!(store.query_realisation(&out.id).unwrap(), None, "the tables are not there yet");
    store.register_realisations(&[out.clone(), dev.clone()], false).unwrap();
    let found = store.query_realisations(&[dev.id.clone(), out.id.clone()]).unwrap();
    assert_eq!(found, [Some(dev.clone()), Some(out.clone())]);

    let conflict = store.register_realisations(&[realisation(&b, "out")], false).unwrap_err();
    assert!(matches!(conflict, StoreError::RealisationConflict { .. }), "{conflict}");
    // Without the temporary roots.
    drop(store);
    let store = open(&directory, |_| {});
    store.collect_garbage(&GcOptions::new(GcAction::DeletePaths { paths: [a].into(), ignore_liveness: true, skip_live: false, also_referrers: false }), &mut |_| {}).unwrap();
    assert_eq!(store.query_realisations(&[out.id, dev.id.clone()]).unwrap(), [None, Some(dev)]);
}

/// Those of 2.35 stand in a table of their own, next to those of 2.34, and outlive what they name.
#[test]
fn build_traces_outlive_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |options| options.content_rules = ContentRules::Since2_35);
    const DERIVATION: &[u8] = br#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("name","ca"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","recursive")])"#;
    let derivation = store.add_text("ca.drv", DERIVATION, &BTreeSet::new()).unwrap();
    let a = text(&store, "a", &[]);
    let old = realisation(&a, "out");
    let id = DerivationOutputId::by_path(derivation.clone(), "out");
    let new = Realisation { id, ..old.clone() };
    assert_eq!(store.query_realisation(&new.id).unwrap(), None, "the tables are not there yet");
    store.register_realisations(&[old.clone(), new.clone()], false).unwrap();
    let mut signed = new.clone();
    signed.sign(&SecretKey::from_seed("key", &[1; 32]));
    store.register_realisations(std::slice::from_ref(&signed), false).unwrap();
    let ids = [new.id.clone(), old.id.clone()];
    assert_eq!(store.query_realisations(&ids).unwrap(), [Some(signed.clone()), Some(old)]);
    assert_eq!(store.derivation_outputs(&derivation).unwrap(), [("out".to_owned(), Some(a.clone()))].into());

    let database = rusqlite::Connection::open(directory.path().join("nix/var/nix/db/db.sqlite")).unwrap();
    let row = database.query_row("select drvPath, outputName, outputPath from BuildTraceV3", [], |row| {
        Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?])
    });
    let expected = [derivation.base_name(), "out".to_owned(), format!("/nix/store/{}", a.base_name())];
    assert_eq!(row.unwrap(), expected, "as the reference's master writes it");
    let n_migrations: i64 = database
        .query_row("select count(*) from SchemaMigrations where migration in ('20220326-ca-derivations', '20251017-ca-derivations')", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_migrations, 2);

    drop(store);
    let store = open(&directory, |_| {});
    let options = GcOptions::new(GcAction::DeletePaths { paths: [a].into(), ignore_liveness: true, skip_live: false, also_referrers: false });
    store.collect_garbage(&options, &mut |_| {}).unwrap();
    assert_eq!(store.query_realisations(&ids).unwrap(), [Some(signed), None]);
}

#[test]
fn realisations_need_signatures_and_gather_them() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<SecretKey> = [1, 2].map(|n| SecretKey::from_seed(&format!("key-{n}"), &[n; 32])).into();
    let store = open(&directory, |options| options.trusted_keys = TrustedKeys::new([keys[0].public_key()]));
    let path = text(&store, "a", &[]);
    let mut unsigned = realisation(&path, "out");
    let error = store.register_realisations(std::slice::from_ref(&unsigned), true).unwrap_err();
    assert!(matches!(error, StoreError::UnsignedRealisation { .. }), "{error}");
    unsigned.sign(&keys[0]);
    store.register_realisations(std::slice::from_ref(&unsigned), true).unwrap();
    let mut other = realisation(&path, "out");
    other.sign(&keys[1]);
    store.register_realisations(&[other], false).unwrap();
    assert_eq!(store.query_realisation(&unsigned.id).unwrap().unwrap().signatures.len(), 2);
}

#[test]
fn paths_of_others_need_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let key = SecretKey::from_seed("key", &[1; 32]);
    let store = open(&directory, |options| options.trusted_keys = TrustedKeys::new([key.public_key()]));
    let path = text(&store, "a", &[]);
    let mut nar = Vec::new();
    store.write_nar(&path, &mut nar).unwrap();
    let mut info = store.path_info(&path).unwrap();
    info.path = StorePath::from_base_name("vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo").unwrap();
    info.info.content_address = None;
    let error = store.add_nar(&info, &mut nar.as_slice(), &AddOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::MissingSignature { .. }), "{error}");
    assert!(!store.is_valid(&info.path).unwrap());
    info.sign(store.store_dir(), &key).unwrap();
    store.add_nar(&info, &mut nar.as_slice(), &AddOptions::default()).unwrap();
    assert!(store.is_valid(&info.path).unwrap());
}

#[test]
fn logs_are_found_by_derivation_and_output() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let path = text(&store, "a", &[]);
    assert_eq!(store.build_log(&path).unwrap(), None);
    let derivation = StorePath::from_base_name("vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo.drv").unwrap();
    store.add_build_log(&derivation, b"one\n").unwrap();
    store.add_build_log(&derivation, b"two\n").unwrap();
    assert_eq!(store.build_log(&derivation).unwrap().unwrap(), b"two\n");
    assert!(directory.path().join("nix/var/log/nix/drvs/vx/jiwkjkn7x4079qvh1jkl5pn05j2aw0-foo.drv.bz2").exists());

    let mut info = store.path_info(&path).unwrap();
    info.info.deriver = Some(derivation);
    let mut nar = Vec::new();
    store.write_nar(&path, &mut nar).unwrap();
    info.path = StorePath::from_base_name("vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo").unwrap();
    info.info.content_address = None;
    store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
    assert_eq!(store.build_log(&info.path).unwrap().unwrap(), b"two\n");
}

#[test]
fn live_paths_can_be_skipped_and_young_ones_spared() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let (a, b, c) = (text(&store, "a", &[]), text(&store, "b", &[]), text(&store, "c", &[]));
    let user = text(&store, "user", &[&a]);
    store.add_permanent_root(&c, &directory.path().join("link")).unwrap();
    drop(store);
    let store = open(&directory, |_| {});
    let all: BTreeSet<StorePath> = [&a, &b, &c].map(StorePath::clone).into();
    let mut options = GcOptions::new(GcAction::DeletePaths { paths: all.clone(), ignore_liveness: false, skip_live: false, also_referrers: false });
    assert!(store.collect_garbage(&options, &mut |_| {}).is_err());
    options.action = GcAction::DeletePaths { paths: all, ignore_liveness: false, skip_live: true, also_referrers: false };
    store.collect_garbage(&options, &mut |_| {}).unwrap();
    // What a dead path refers to that was not named stays, as a root's does.
    assert_eq!(store.are_valid(&[a.clone(), b, c.clone(), user.clone()]).unwrap(), [true, false, true, true]);

    let mut options = GcOptions::new(GcAction::DeleteDead);
    options.registered_before = Some(store.path_info(&user).unwrap().info.registration_time);
    store.collect_garbage(&options, &mut |_| {}).unwrap();
    assert!(store.is_valid(&a).unwrap(), "as young as its user");
    options.registered_before = None;
    options.unused_since = Some(i64::MAX);
    store.collect_garbage(&options, &mut |_| {}).unwrap();
    assert_eq!(store.are_valid(&[a, user, c]).unwrap(), [false, false, true]);
}

#[test]
fn garbage_goes_when_space_is_low() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = text(&open(&directory, |_| {}), "garbage", &[]);
    let store = open(&directory, |_| {});
    text(&store, "b", &[]);
    assert!(store.is_valid(&garbage).unwrap(), "off by default");
    drop(store);
    let store = open(&directory, |options| options.space_guard = SpaceGuard { min_free: u64::MAX - 1, ..SpaceGuard::default() });
    text(&store, "c", &[]);
    store.add_contents(&nixlang_store::store::Addressing::source("d"), nixlang_store::store::Contents::Bytes(b"d")).unwrap();
    assert!(!store.is_valid(&garbage).unwrap());
}

#[test]
fn what_was_changed_is_repaired_by_whoever_can() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let path = text(&store, "a", &[]);
    let info = store.path_info(&path).unwrap();
    let mut nar = Vec::new();
    store.write_nar(&path, &mut nar).unwrap();
    let change = || {
        let real = store.to_real_path(&path);
        std::fs::remove_file(&real).unwrap();
        std::fs::write(real, "other").unwrap();
    };
    change();
    assert!(!store.is_intact(&path).unwrap());
    let mut events = Vec::new();
    assert!(!store.verify_and_repair(true, Some(&mut |_| false), &mut |event| events.push(event)).unwrap());
    assert!(matches!(&events[..], [VerifyEvent::Modified { .. }]), "{events:?}");
    events.clear();
    let mut repair = |broken: &StorePath| {
        assert_eq!(*broken, path);
        let mut options = AddOptions::trusted();
        options.repair = true;
        store.add_nar(&info, &mut nar.as_slice(), &options).is_ok()
    };
    assert!(store.verify_and_repair(true, Some(&mut repair), &mut |event| events.push(event)).unwrap());
    assert!(matches!(&events[..], [VerifyEvent::Modified { .. }, VerifyEvent::Repaired { .. }]), "{events:?}");
    assert!(store.is_intact(&path).unwrap());
}

#[test]
fn the_insides_of_objects() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("d")).unwrap();
    std::fs::write(source.path().join("d/f"), "inside").unwrap();
    std::os::unix::fs::symlink("d/f", source.path().join("link")).unwrap();
    let contents = nixlang_store::store::Contents::Tree { path: source.path(), filter: None };
    let path = store.add_contents(&nixlang_store::store::Addressing::source("x"), contents).unwrap().path;
    let memory = nixlang_store::memory::MemoryStore::default();
    let mut nar = Vec::new();
    store.write_nar(&path, &mut nar).unwrap();
    memory.add_nar(&store.path_info(&path).unwrap(), &mut nar.as_slice(), &AddOptions::default()).unwrap();
    let mut listing = memory.listing(&path).unwrap();
    listing.forget_offsets();
    assert_eq!(store.listing(&path).unwrap(), listing);
    for store in [&store as &dyn Store, &memory] {
        let read = |below: &[&[u8]]| {
            let mut bytes = Vec::new();
            store.write_file(&path, below, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(&[b"d", b"f"]).unwrap(), b"inside");
        for refused in [&[b"link" as &[u8]][..], &[b"d"], &[b"d", b".."], &[b"gone"], &[]] {
            assert!(read(refused).is_err(), "{refused:?}");
        }
    }
}
