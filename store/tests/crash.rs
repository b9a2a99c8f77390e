//! A writer is killed at any moment: what is valid afterwards is whole, and the next writer is not disturbed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::{Addressing, Contents, Store, Text, VerifyOptions};

const VARIABLE: &str = "NIXLANG_TEST_CRASHING_WRITER";

fn open(root: &Path) -> LocalStore {
    LocalStore::open(LocalStoreOptions::rooted(root)).unwrap()
}

/// Adds a tree and some texts that refer to it, different ones for each round. Returns how many paths it adds.
fn write(root: &Path, round: u32) -> usize {
    let tree = root.join(format!("source-{round}"));
    for dir in ["a", "b", "c"] {
        std::fs::create_dir_all(tree.join(dir)).unwrap();
        for file in 0..20 {
            std::fs::write(tree.join(dir).join(file.to_string()), format!("{round} {file}")).unwrap();
        }
    }
    let store = open(&root.join("store"));
    let contents = Contents::Tree { path: &tree, filter: None };
    let source = store.add_contents(&Addressing::source("tree"), contents).unwrap().path;
    let names: Vec<String> = (0..40).map(|idx| format!("text-{round}-{idx}")).collect();
    let texts: Vec<Text<'_>> = names
        .iter()
        .map(|name| Text { name, contents: name.as_bytes(), references: BTreeSet::from([source.clone()]) })
        .collect();
    store.add_texts(&texts).unwrap();
    texts.len() + 1
}

/// Not a test of its own: the process that the others kill. Its variable says what to do and where.
#[test]
fn writer() {
    let Some(task) = std::env::var(VARIABLE).ok() else { return };
    let (role, root) = task.split_once(':').unwrap();
    let root = Path::new(root);
    for round in std::process::id().. {
        match role {
            "add" => drop(write(root, round)),
            "copy" => {
                let from = open(&root.join("from"));
                let to = open(&root.join("store"));
                nixlang_store::copy::copy_closure(&from, &to, &from.all_valid_paths().unwrap()).unwrap();
                drop(to);
                collect(&root.join("store"));
            }
            "gc" => {
                write(root, round);
                collect(&root.join("store"));
            }
            "optimise" => {
                write(root, round);
                open(&root.join("store")).optimise(&mut |_| {}).unwrap();
            }
            other => panic!("unknown role {other}"),
        }
    }
}

fn collect(store: &Path) {
    open(store).collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
}

/// How many processes each test kills: twelve, or what NIXLANG_KILLS says. The full run is 200.
fn n_kills() -> u64 {
    std::env::var("NIXLANG_KILLS").map_or(12, |number| number.parse().expect("NIXLANG_KILLS is a number"))
}

/// After so many killed processes the store begins anew, but for what is kept.
const COLLECTED_EVERY: u64 = 10;

/// Removes the trees that writers made to add.
fn remove_sources(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("source-") {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

/// Lets processes do something and kills each a little later than the one before.
fn kill_again_and_again(role: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    if role == "copy" {
        write(dir.path(), 0);
        std::fs::rename(&root, dir.path().join("from")).unwrap();
    }
    // A root that must survive whatever is collected.
    let kept = open(&root).add_text("kept", b"kept", &BTreeSet::new()).unwrap();
    open(&root).add_permanent_root(&kept, &dir.path().join("root")).unwrap();
    // Each process gets a little further than the one before; the first ones die while the store is being opened.
    let n_kills = n_kills();
    for attempt in 0..n_kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer"])
            .env(VARIABLE, format!("{role}:{}", dir.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(attempt * 400 / n_kills));
        child.kill().unwrap();
        assert!(child.wait().unwrap().code().is_none(), "killed, and not failed before");
        let mut problems = Vec::new();
        let is_right = open(&root).verify(&VerifyOptions::new(true), &mut |event| problems.push(event));
        assert!(is_right.unwrap(), "{problems:?}");
        assert_eq!(problems, [], "after attempt {attempt} to {role}");
        assert!(open(&root).is_valid(&kept).unwrap());
        // Each look is at the whole store, so one that only grew would make 200 rounds take ten times as long.
        if attempt % COLLECTED_EVERY == COLLECTED_EVERY - 1 {
            collect(&root);
            remove_sources(dir.path());
        }
    }
    let n_added = write(dir.path(), 0);
    let store = open(&root);
    assert!(store.all_valid_paths().unwrap().len() > n_added);
    drop(store);
    collect(&root);
    let store = open(&root);
    assert_eq!(store.all_valid_paths().unwrap(), [kept.clone()]);
    let left: BTreeSet<_> = std::fs::read_dir(root.join("nix/store")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, BTreeSet::from([".links".into(), kept.base_name().into()]));
}

#[test]
fn killed_writers_leave_only_whole_paths_and_garbage() {
    kill_again_and_again("add");
}

#[test]
fn killed_copies_leave_only_whole_paths_and_garbage() {
    kill_again_and_again("copy");
}

#[test]
fn killed_collections_leave_only_whole_paths_and_garbage() {
    kill_again_and_again("gc");
}

#[test]
fn killed_optimisations_change_no_contents() {
    kill_again_and_again("optimise");
}
