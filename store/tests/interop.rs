//! One store, two implementations: what we write a real Nix must accept, and the other way round.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools, such as `env` where one is installed. It must see the system's
//! directory for temporary files (`TMPDIR`) under the same path. Without it nothing here is tested, and says so.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nixlang_store::derivation::{Derivation, DerivationOutput, HashModulo};
use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::hash::HashFormat;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StorePath;
use nixlang_store::store::{Addressing, Contents, Store, VerifyOptions};

/// Runs a command of the real Nix; returns what it printed, or `None` if there is none.
fn real_nix(dir: &Path, command: &[&str]) -> Option<String> {
    let output = spawn(dir, command)?.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    assert!(!stderr.contains("error"), "{command:?}: {stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn spawn(dir: &Path, command: &[&str]) -> Option<std::process::Child> {
    let Some(real_nix) = std::env::var_os("REAL_NIX") else {
        eprintln!("skipped: REAL_NIX names no command that runs a real Nix");
        return None;
    };
    let child = Command::new(real_nix)
        .args(command)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Some(child)
}

struct Shared {
    dir: tempfile::TempDir,
    root: String,
}

impl Shared {
    fn new() -> Shared {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root").to_str().unwrap().to_owned();
        Shared { dir, root }
    }

    fn open(&self) -> LocalStore {
        LocalStore::open(LocalStoreOptions::rooted(&self.root)).unwrap()
    }

    fn real_nix(&self, command: &[&str]) -> Option<String> {
        let mut all = vec![command[0], "--store", &self.root];
        all.extend(&command[1..]);
        real_nix(self.dir.path(), &all)
    }

    fn tree(&self) -> std::path::PathBuf {
        let top = self.dir.path().join("tree");
        std::fs::create_dir_all(top.join("b/empty")).unwrap();
        std::fs::write(top.join("a"), "plain").unwrap();
        std::fs::write(top.join("b/large"), vec![7; 200_000]).unwrap();
        symlink("a", top.join("c")).unwrap();
        top
    }
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

#[test]
fn real_nix_accepts_what_we_write() {
    let shared = Shared::new();
    let store = shared.open();
    let tree = shared.tree();
    let source = store.add_contents(&Addressing::source("tree"), Contents::Tree { path: &tree, filter: None }).unwrap();
    let text = store.add_text("text", b"contents", &BTreeSet::from([source.path.clone()])).unwrap();
    let drv = store.write_derivation(&instantiated(&store, "x".into(), text.clone())).unwrap();
    let output = store.derivation_outputs(&drv).unwrap()["out"].clone().unwrap();

    let full = |path: &StorePath| store.store_dir().display(path);
    let Some(closure) = shared.real_nix(&["nix-store", "-qR", &full(&drv)]) else { return };
    let expected = [full(&source.path), full(&text), full(&drv)];
    assert_eq!(lines(&closure), expected.iter().map(String::as_str).collect());
    shared.real_nix(&["nix-store", "--verify", "--check-contents"]).unwrap();
    let references = shared.real_nix(&["nix-store", "-q", "--references", &full(&drv)]).unwrap();
    assert_eq!(references.trim_end(), full(&text));
    assert_eq!(shared.real_nix(&["nix-store", "-q", "--outputs", &full(&drv)]).unwrap().trim_end(), full(&output));
    let hash = shared.real_nix(&["nix-store", "-q", "--hash", &full(&source.path)]).unwrap();
    assert_eq!(hash.trim_end(), source.nar_hash.format(HashFormat::Nix32, true));
    // The real Nix adds the same things and finds them there.
    let added = shared.real_nix(&["nix-store", "--add", tree.to_str().unwrap()]).unwrap();
    assert_eq!(added.trim_end(), full(&source.path));
}

#[test]
fn we_read_what_real_nix_writes() {
    let shared = Shared::new();
    let tree = shared.tree();
    let Some(added) = shared.real_nix(&["nix-store", "--add", tree.to_str().unwrap()]) else { return };
    let expression = r#"derivation { name = "x"; system = "s"; builder = "/bin/sh"; src = builtins.toFile "f" "1"; }"#;
    let drv = shared.real_nix(&["nix-instantiate", "-E", expression]).unwrap();

    let store = shared.open();
    let tree_path = store.store_dir().parse(added.trim_end()).unwrap();
    let drv_path = store.store_dir().parse(drv.trim_end()).unwrap();
    assert_eq!(store.all_valid_paths().unwrap().len(), 3);
    let again =
        store.add_contents(&Addressing::source("tree"), Contents::Tree { path: &tree, filter: None }).unwrap();
    let known = store.path_info(&tree_path).unwrap();
    assert_eq!((again.path, again.info.nar_hash), (known.path, known.info.nar_hash));
    let derivation = store.read_derivation(&drv_path).unwrap();
    assert_eq!(store.write_derivation(&derivation).unwrap(), drv_path);
    let output = store.derivation_outputs(&drv_path).unwrap()["out"].clone().unwrap();
    assert_eq!(store.valid_derivers(&output).unwrap(), BTreeSet::from([drv_path]));
}

/// A collection of the real Nix, stopped after it has read the roots, is told of what we add meanwhile.
#[test]
fn what_we_add_survives_a_running_collection() {
    let shared = Shared::new();
    let store = shared.open();
    let garbage = store.add_text("garbage", b"1", &BTreeSet::new()).unwrap();
    let kept = store.add_text("kept", b"2", &BTreeSet::new()).unwrap();
    drop(store);
    let fifo = shared.dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let variable = format!("_NIX_TEST_GC_SYNC_2={}", fifo.to_str().unwrap());
    let command = ["env", &variable, "nix-store", "--store", &shared.root, "--gc"];
    let Some(child) = spawn(shared.dir.path(), &command) else { return };
    // Opening for writing waits until the collection has come so far that it reads.
    let go_on = std::fs::File::options().write(true).open(&fifo).unwrap();
    let store = shared.open();
    assert_eq!(store.add_text("kept", b"2", &BTreeSet::new()).unwrap(), kept);
    let new = store.add_text("new", b"3", &BTreeSet::new()).unwrap();
    drop(go_on);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(store.are_valid(&[garbage, kept.clone(), new]).unwrap(), [false, true, true]);
    assert!(store.real_path(&kept).unwrap().exists());
    shared.real_nix(&["nix-store", "--verify", "--check-contents"]).unwrap();
}

/// Both find the same roots, the same live and the same dead paths.
#[test]
fn collections_agree() {
    let shared = Shared::new();
    let store = shared.open();
    let base = store.add_text("base", b"1", &BTreeSet::new()).unwrap();
    let user = store.add_text("user", b"2", &BTreeSet::from([base])).unwrap();
    store.add_text("dead", b"3", &BTreeSet::new()).unwrap();
    let roots = shared.dir.path().join("root/nix/var/nix/gcroots");
    symlink(store.store_dir().display(&user), roots.join("direct")).unwrap();
    drop(store);
    for (action, option) in [(GcAction::ReturnLive, "--print-live"), (GcAction::ReturnDead, "--print-dead")] {
        let ours = shared.open().collect_garbage(&GcOptions::new(action), &mut |_| {}).unwrap().paths;
        let Some(theirs) = shared.real_nix(&["nix-store", "--gc", option]) else { return };
        assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), lines(&theirs));
    }
    let store = shared.open();
    let ours: BTreeSet<String> = store
        .find_roots(&mut |_| {})
        .unwrap()
        .iter()
        .flat_map(|(path, places)| places.iter().map(|place| format!("{place} -> {}", store.store_dir().display(path))))
        .collect();
    drop(store);
    // 2.34 prints the places in quotes.
    let theirs = shared.real_nix(&["nix-store", "--gc", "--print-roots"]).unwrap().replace('"', "");
    assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), lines(&theirs));
}

/// The real Nix instantiates again and again while we collect: nothing that it works on goes.
#[test]
fn real_nix_works_while_we_collect() {
    let shared = Shared::new();
    let expression = r#"
        let make = name: src: derivation { inherit name src; system = "s"; builder = "/bin/sh"; };
        in builtins.foldl' (src: idx: make "x${toString idx}" "${src}") (builtins.toFile "f" "1") (builtins.genList (x: x) 30)
    "#;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..8).all(|_| shared.real_nix(&["nix-instantiate", "-E", expression]).is_some())))
            .collect();
        let collector = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                shared.open().collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
            }
        });
        workers.into_iter().for_each(|worker| assert!(worker.join().unwrap() || std::env::var_os("REAL_NIX").is_none()));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        collector.join().unwrap();
    });
    shared.real_nix(&["nix-store", "--verify", "--check-contents"]);
}

/// Both add the same texts at the same time, and link equal files.
#[test]
fn both_write_the_same_paths() {
    let shared = Shared::new();
    let expression = r#"builtins.concatStringsSep " " (builtins.genList (x: builtins.toFile "t" "${toString x}\n") 150)"#;
    let command = ["nix-instantiate", "--eval", "--read-write-mode", "-E", expression];
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| shared.real_nix(&command));
        for idx in (0..150).rev() {
            shared.open().add_text("t", format!("{idx}\n").as_bytes(), &BTreeSet::new()).unwrap();
        }
        theirs.join().unwrap();
    });
    assert_eq!(shared.open().all_valid_paths().unwrap().len(), 150);
    let tree = shared.tree();
    for name in ["x", "y"] {
        let contents = Contents::Tree { path: &tree, filter: None };
        shared.open().add_contents(&Addressing::source(name), contents).unwrap();
    }
    assert_eq!(shared.open().optimise(&mut |_| {}).unwrap().files_linked, 3);
    if shared.real_nix(&["nix-store", "--verify", "--check-contents"]).is_some() {
        shared.real_nix(&["nix-store", "--optimise"]).unwrap();
        assert_eq!(shared.open().optimise(&mut |_| {}).unwrap().files_linked, 0);
    }
}

/// Returns a derivation with this source, with its output's path filled in.
fn instantiated(store: &LocalStore, name: String, source: StorePath) -> Derivation {
    let mut derivation = Derivation {
        name: name.into(),
        outputs: [("out".into(), DerivationOutput::Deferred)].into(),
        input_sources: [source].into(),
        system: b"x86_64-linux".to_vec(),
        builder: b"/bin/sh".to_vec(),
        env: [(b"out".to_vec(), Vec::new())].into(),
        ..Derivation::default()
    };
    let mut cache: HashMap<StorePath, HashModulo> = HashMap::new();
    derivation.instantiate(store.store_dir(), &mut cache, &mut |_| unreachable!("no inputs")).unwrap();
    derivation
}

/// A hundred and fifty additions of ours, a third of them derivations, eight collections of both, and instantiations of the
/// real Nix, all at once: what each works with stays, and both find the store in order.
#[test]
fn both_write_and_collect_at_once() {
    let shared = Shared::new();
    let expression = r#"
        let make = name: src: derivation { inherit name src; system = "s"; builder = "/bin/sh"; };
        in builtins.foldl' (src: idx: make "y${toString idx}" "${src}") (builtins.toFile "f" "1") (builtins.genList (x: x) 10)
    "#;
    shared.open();
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            for round in 0..8 {
                shared.real_nix(&["nix-instantiate", "-E", expression]);
                if round % 2 == 0 {
                    shared.real_nix(&["nix-store", "--gc"]);
                }
            }
        });
        let collector = scope.spawn(|| {
            for _ in 0..4 {
                shared.open().collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        let store = shared.open();
        let mut written: Vec<StorePath> = Vec::new();
        for idx in 0..150 {
            let last = written.last().cloned();
            written.push(match last {
                Some(source) if idx % 3 == 2 => store.write_derivation(&instantiated(&store, format!("d{idx}"), source)).unwrap(),
                last => store.add_text("ours", format!("{idx}").as_bytes(), &last.into_iter().collect()).unwrap(),
            });
        }
        assert!(store.are_valid(&written).unwrap().iter().all(|valid| *valid));
        theirs.join().unwrap();
        collector.join().unwrap();
        // Its handle held them all the time.
        assert!(store.are_valid(&written).unwrap().iter().all(|valid| *valid));
        assert!(written.iter().all(|path| store.to_real_path(path).exists()));
    });
    assert!(shared.open().verify(&VerifyOptions::new(true), &mut |event| panic!("{event:?}")).unwrap());
    shared.real_nix(&["nix-store", "--verify", "--check-contents"]);
    let database = rusqlite::Connection::open(Path::new(&shared.root).join("nix/var/nix/db/db.sqlite")).unwrap();
    let integrity: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

/// What one exports the other imports, and the databases say the same.
#[test]
fn exports_and_databases_are_exchanged() {
    let shared = Shared::new();
    let store = shared.open();
    let base = store.add_text("base", b"1", &BTreeSet::new()).unwrap();
    let user = store.add_text("user", b"2", &BTreeSet::from([base.clone()])).unwrap();
    let paths = BTreeSet::from([base, user]);
    let mut ours = Vec::new();
    nixlang_store::export::export_paths(&store, &paths, &mut ours).unwrap();
    let full: Vec<String> = paths.iter().map(|path| store.store_dir().display(path)).collect();
    let mut command = vec!["nix-store", "--store", shared.root.as_str(), "--export"];
    command.extend(full.iter().map(String::as_str));
    let Some(child) = spawn(shared.dir.path(), &command) else { return };
    let theirs = child.wait_with_output().unwrap().stdout;
    // Both are sorted so that references come first.
    assert!(ours == theirs, "{} and {} bytes", ours.len(), theirs.len());
    let other = nixlang_store::memory::MemoryStore::default();
    let imported =
        nixlang_store::export::import_paths(&other, &mut theirs.as_slice(), &nixlang_store::store::AddOptions::trusted());
    assert_eq!(imported.unwrap().len(), 2);
}
