//! Stores on top of others, on a real OverlayFS in a mount namespace of the test's own.
//!
//! Where no such namespace or file system can be had nothing is tested, and the test says so.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nixlang_store::error::StoreError;
use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::local::{LocalStore, LocalStoreOptions, OverlayOptions};
use nixlang_store::store::{Addressing, Contents, Store, VerifyOptions};

const VARIABLE: &str = "NIXLANG_TEST_OVERLAY";

fn lower(root: &Path) -> Arc<LocalStore> {
    Arc::new(LocalStore::open(LocalStoreOptions::rooted(root.join("lower"))).unwrap())
}

fn overlay(root: &Path, remounted: &Arc<AtomicU32>) -> Result<LocalStore, StoreError> {
    let lower = lower(root);
    let counter = Arc::clone(remounted);
    let options = OverlayOptions {
        lower_dir: lower.layout().real_store_dir.clone(),
        lower,
        upper_layer: root.join("upper"),
        check_mount: true,
        remount: Box::new(move |dir| {
            counter.fetch_add(1, Ordering::Relaxed);
            let status = Command::new("mount").args(["-o", "remount"]).arg(dir).status();
            assert!(status.unwrap().success());
            Ok(())
        }),
    };
    LocalStore::open_overlay(LocalStoreOptions::rooted(root.join("merged")), options)
}

/// Not a test of its own: what the other one runs where everything is mounted.
#[test]
fn process() {
    let Some(root) = std::env::var_os(VARIABLE) else { return };
    let root = Path::new(&root);
    let remounted = Arc::new(AtomicU32::new(0));
    let below = lower(root);
    let base = below.add_text("base", b"1", &Default::default()).unwrap();
    let user = below.add_text("user", b"2", &[base.clone()].into()).unwrap();

    // What is below is valid, also for what is added, and is not written again.
    let store = overlay(root, &remounted).unwrap();
    assert_eq!(store.path_info(&user).unwrap().references, [base.clone()].into());
    assert_eq!(store.closure(std::slice::from_ref(&user)).unwrap(), [base.clone(), user.clone()].into());
    assert_eq!(store.referrers(&base).unwrap(), [user.clone()].into());
    assert_eq!(store.path_from_hash_part(&base.hash_part()).unwrap(), Some(base.clone()));
    assert_eq!(store.read_file(&user).unwrap(), b"2");
    let top = store.add_text("top", b"3", &[user.clone()].into()).unwrap();
    assert_eq!(store.add_text("user", b"2", &[base.clone()].into()).unwrap(), user);
    let upper = |path: &nixlang_store::path::StorePath| root.join("upper").join(path.base_name()).exists();
    assert!(upper(&top) && !upper(&user) && !upper(&base));
    assert!(!below.is_valid(&top).unwrap());

    // What comes to be below as well is there twice until that is put right.
    let directory = root.join("tree");
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("sub/file"), "text").unwrap();
    let add = |store: &LocalStore| {
        let contents = Contents::Tree { path: &directory, filter: None };
        store.add_contents(&Addressing::source("tree"), contents).unwrap().path
    };
    let twice = add(&store);
    add(&below);
    assert!(upper(&twice));
    let stats = store.optimise(&mut |_| {}).unwrap();
    assert!(!upper(&twice) && stats.bytes_freed > 0 && remounted.load(Ordering::Relaxed) == 1);
    assert_eq!(std::fs::read(store.to_real_path(&twice).join("sub/file")).unwrap(), b"text");
    assert!(store.verify(&VerifyOptions::new(true), &mut |event| panic!("{event:?}")).unwrap());

    // A collection leaves alone what is below.
    drop(store);
    let store = overlay(root, &remounted).unwrap();
    let collected = store.collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
    assert!(collected.paths.contains(&store.store_dir().display(&top)));
    assert!(!store.is_valid(&top).unwrap() && !store.to_real_path(&top).exists());
    drop(store);
    let left: Vec<_> = std::fs::read_dir(root.join("upper")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
    for path in [&base, &user, &twice] {
        assert!(below.is_valid(path).unwrap() && below.to_real_path(path).exists());
        assert!(overlay(root, &remounted).unwrap().is_valid(path).unwrap());
    }

    // Another directory is not taken for the mount.
    let wrong = OverlayOptions {
        lower_dir: root.to_owned(),
        lower: below,
        upper_layer: root.join("upper"),
        check_mount: true,
        remount: Box::new(|_| Ok(())),
    };
    let error = LocalStore::open_overlay(LocalStoreOptions::rooted(root.join("merged")), wrong).unwrap_err();
    assert!(matches!(error, StoreError::BadOverlay { .. }), "{error}");
}

#[test]
fn a_store_on_top_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {} && mount -t tmpfs tmpfs . && cd {0} && mkdir -p lower/nix/store upper work merged/nix/store && \
         mount -t overlay overlay -o lowerdir={0}/lower/nix/store,upperdir={0}/upper,workdir={0}/work,userxattr merged/nix/store && exec \"$@\"",
        dir.path().display()
    );
    let program = std::env::current_exe().unwrap();
    let started = Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script, "sh"])
        .arg(program)
        .args(["--exact", "process", "--nocapture"])
        .env(VARIABLE, dir.path())
        .env("LIBMOUNT_FORCE_MOUNT2", "always")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let Ok(output) = started else {
        eprintln!("skipped: there is no unshare(1) to mount file systems with");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !said.contains("test process") {
        eprintln!("skipped: no overlay could be mounted: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
}
