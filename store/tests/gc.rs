//! What a collection takes and what it leaves.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nixlang_store::derivation::{Derivation, DerivationOutput};
use nixlang_store::error::StoreError;
use nixlang_store::gc::{GcAction, GcOptions, GcResults};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StorePath;
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::store::{Store, VerifyOptions};
use nixlang_store::transfer::Interrupt;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> LocalStore {
        LocalStore::open(LocalStoreOptions::rooted(self.dir.path())).unwrap()
    }

    /// Adds a chain of texts `<name>0` ← `<name>1` ← …; what this handle added is no root any more.
    fn chain(&self, name: &str, length: usize) -> Vec<StorePath> {
        let store = self.open();
        let mut paths: Vec<StorePath> = Vec::new();
        for idx in 0..length {
            let references = paths.last().cloned().into_iter().collect();
            paths.push(store.add_text(&format!("{name}{idx}"), b"", &references).unwrap());
        }
        paths
    }

    fn root(&self, name: &str, path: &StorePath) {
        self.open().add_permanent_root(path, &self.dir.path().join(name)).unwrap();
    }

    fn collect(&self, action: GcAction) -> Result<GcResults, StoreError> {
        self.open().collect_garbage(&GcOptions::new(action), &mut |_| {})
    }

    fn real(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("nix/store").join(name)
    }
}

fn full(paths: &[StorePath]) -> BTreeSet<String> {
    paths.iter().map(|path| format!("/nix/store/{path}")).collect()
}

#[test]
fn what_roots_lead_to_stays_and_the_rest_goes() {
    let fixture = Fixture::new();
    let kept = fixture.chain("kept", 3);
    let dead = fixture.chain("dead", 250);
    fixture.root("result", &kept[2]);
    assert_eq!(fixture.collect(GcAction::ReturnLive).unwrap().paths, full(&kept));
    assert_eq!(fixture.collect(GcAction::ReturnDead).unwrap().paths, full(&dead));
    let results = fixture.collect(GcAction::DeleteDead).unwrap();
    assert_eq!(results.paths, full(&dead));
    let store = fixture.open();
    assert_eq!(store.all_valid_paths().unwrap().len(), 3);
    assert!(kept.iter().all(|path| fixture.real(&path.to_string()).exists()));
    assert!(!dead.iter().any(|path| fixture.real(&path.to_string()).exists()));

    // The user removes the link.
    std::fs::remove_file(fixture.dir.path().join("result")).unwrap();
    drop(store);
    assert_eq!(fixture.collect(GcAction::DeleteDead).unwrap().paths, full(&kept));
    assert_eq!(std::fs::read_dir(fixture.dir.path().join("nix/var/nix/gcroots/auto")).unwrap().count(), 0);
}

#[test]
fn long_operations_end_between_two_paths() {
    let fixture = Fixture::new();
    let paths = fixture.chain("dead", 250);
    let asked = Arc::new(AtomicUsize::new(0));
    let open = || {
        asked.store(0, Ordering::SeqCst);
        let asked = Arc::clone(&asked);
        fixture.open().interrupted_by(Interrupt::new(move || asked.fetch_add(1, Ordering::SeqCst) >= 2))
    };
    let interrupted = |error: StoreError| assert!(matches!(error, StoreError::Interrupted), "{error:?}");
    let mut thorough = VerifyOptions::default();
    thorough.check_contents = true;
    interrupted(open().verify(&thorough, &mut |_| {}).unwrap_err());
    interrupted(open().optimise(&mut |_| {}).unwrap_err());
    interrupted(open().collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap_err());
    // What was begun is complete, and the rest is as it was.
    let store = fixture.open();
    let valid = store.all_valid_paths().unwrap().len();
    assert!(0 < valid && valid < paths.len(), "{valid}");
    assert!(paths.iter().all(|path| fixture.real(&path.to_string()).exists() == store.is_valid(path).unwrap()));
    assert!(store.verify(&VerifyOptions::default(), &mut |event| panic!("{event:?}")).unwrap());
}

#[test]
fn links_below_gcroots_and_profiles_are_roots() {
    let fixture = Fixture::new();
    let paths = [fixture.chain("a", 1), fixture.chain("b", 1), fixture.chain("c", 1), fixture.chain("d", 1)].concat();
    let state = fixture.dir.path().join("nix/var/nix");
    std::fs::create_dir_all(state.join("gcroots/some/where")).unwrap();
    symlink(format!("/nix/store/{}", paths[0]), state.join("gcroots/some/where/logical")).unwrap();
    symlink(fixture.real(&paths[1].to_string()), state.join("profiles/real-1-link")).unwrap();
    std::fs::write(state.join("gcroots").join(paths[2].to_string()), "").unwrap();
    symlink("/nonexistent", state.join("gcroots/dangling")).unwrap();
    assert_eq!(fixture.collect(GcAction::DeleteDead).unwrap().paths, full(&paths[3..]));
    let roots = fixture.open().find_roots(&mut |_| {}).unwrap();
    assert_eq!(roots.len(), 3);
    let link = state.join("profiles/real-1-link").to_str().unwrap().to_owned();
    assert!(roots[&paths[1]].contains(&link));
}

#[test]
fn work_in_progress_is_left_alone() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let path = store.add_text("text", b"", &BTreeSet::new()).unwrap();
    // Nothing of it is registered, the way a build leaves it for most of its time.
    let building = StorePath::new([5; 20], "building").unwrap();
    store.add_temp_roots(std::slice::from_ref(&building)).unwrap();
    std::fs::create_dir(fixture.real(&building.to_string())).unwrap();
    std::fs::write(fixture.real(&format!("{building}.lock")), "").unwrap();
    let results = fixture.collect(GcAction::DeleteDead).unwrap();
    assert_eq!(results.paths, BTreeSet::new());
    assert!(store.is_valid(&path).unwrap());
    drop(store);
    let results = fixture.collect(GcAction::DeleteDead).unwrap();
    let expected = [path.to_string(), building.to_string(), format!("{building}.lock")];
    assert_eq!(results.paths, expected.iter().map(|name| format!("/nix/store/{name}")).collect());
}

#[test]
fn left_overs_go_unless_they_are_locked() {
    let fixture = Fixture::new();
    drop(fixture.open());
    for name in ["tmp-1-0", "tmp-1-1", "strange name"] {
        std::fs::create_dir_all(fixture.real(name).join("x")).unwrap();
    }
    let held = std::fs::File::open(fixture.real("tmp-1-1")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    fixture.collect(GcAction::DeleteDead).unwrap();
    let left: Vec<_> = std::fs::read_dir(fixture.real(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".links")
        .collect();
    assert_eq!(left, ["tmp-1-1"]);
}

#[test]
fn chosen_paths_are_deleted_if_nothing_needs_them() {
    let fixture = Fixture::new();
    let chain = fixture.chain("a", 3);
    let delete = |paths: &[StorePath], ignore_liveness| {
        fixture.collect(GcAction::DeletePaths { paths: paths.iter().cloned().collect(), ignore_liveness, skip_live: false, also_referrers: false })
    };
    assert!(matches!(delete(&chain[..1], false), Err(StoreError::StillAlive { .. })), "another refers to it");
    assert!(matches!(delete(&chain[..1], true), Err(StoreError::StillAlive { .. })), "another refers to it");
    fixture.root("result", &chain[2]);
    assert!(matches!(delete(&chain[2..], false), Err(StoreError::StillAlive { .. })), "it is a root");
    assert_eq!(delete(&chain[2..], true).unwrap().paths, full(&chain[2..]));
    assert_eq!(delete(&chain[..2], false).unwrap().paths, full(&chain[..2]));
}

/// Registers an output of a derivation, and returns both.
fn built(store: &LocalStore) -> (StorePath, StorePath) {
    let output = StorePath::new([3; 20], "x").unwrap();
    let derivation = Derivation {
        name: "x".into(),
        outputs: [("out".into(), DerivationOutput::InputAddressed(output.clone()))].into(),
        system: b"x86_64-linux".to_vec(),
        builder: b"/bin/sh".to_vec(),
        env: [(b"out".to_vec(), format!("/nix/store/{output}").into_bytes())].into(),
        ..Derivation::default()
    };
    let derivation = store.write_derivation(&derivation).unwrap();
    std::fs::write(store.real_path(&output).unwrap(), "").unwrap();
    let mut info = PathInfo { path: output.clone(), info: UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, b""), 0) };
    info.info.deriver = Some(derivation.clone());
    store.register_paths(&[info]).unwrap();
    (derivation, output)
}

#[test]
fn derivations_and_outputs_keep_each_other_as_the_options_say() {
    let check = |root_output: bool, keep_derivations, keep_outputs, expected: [bool; 2]| {
        let fixture = Fixture::new();
        let (derivation, output) = built(&fixture.open());
        fixture.root("result", if root_output { &output } else { &derivation });
        let mut options = GcOptions::new(GcAction::DeleteDead);
        (options.keep_derivations, options.keep_outputs) = (keep_derivations, keep_outputs);
        let store = fixture.open();
        store.collect_garbage(&options, &mut |_| {}).unwrap();
        assert_eq!(store.are_valid(&[derivation, output]).unwrap(), expected);
    };
    check(true, true, false, [true, true]);
    check(true, false, false, [false, true]);
    check(false, true, false, [true, false]);
    check(false, true, true, [true, true]);
}

#[test]
fn a_limit_stops_the_collection() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for idx in 0..300u32 {
        store.add_text("big", &idx.to_le_bytes().repeat(4096), &BTreeSet::new()).unwrap();
    }
    drop(store);
    let mut options = GcOptions::new(GcAction::DeleteDead);
    options.max_freed = 1;
    let results = fixture.open().collect_garbage(&options, &mut |_| {}).unwrap();
    assert!((1..300).contains(&results.paths.len()), "{}", results.paths.len());
    assert!(results.bytes_freed >= 16384);
    let state = fixture.dir.path().join("nix/var/nix");
    assert!(!Path::new(&state.join("db/reserved")).exists());
    drop(fixture.open());
    assert!(state.join("db/reserved").exists(), "made again by the next one");
}

#[test]
fn collections_and_additions_run_at_the_same_time() {
    let fixture = Fixture::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fixture.collect(GcAction::DeleteDead).unwrap();
            }
        });
        for _ in 0..60 {
            // Temporary roots are the process's: a handle of its own would keep them alive for the collector.
            let store = fixture.open();
            let base = store.add_text("base", b"", &BTreeSet::new()).unwrap();
            let user = store.add_text("user", b"", &BTreeSet::from([base.clone()])).unwrap();
            assert_eq!(store.are_valid(&[base.clone(), user]).unwrap(), [true, true]);
            assert!(store.real_path(&base).unwrap().exists());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        collector.join().unwrap();
    });
}
