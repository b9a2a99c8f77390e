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

/// Not a test of its own: the process that the other one kills.
#[test]
fn writer() {
    let Some(root) = std::env::var_os(VARIABLE) else { return };
    for round in 0.. {
        write(Path::new(&root), round);
    }
}

#[test]
fn killed_writers_leave_only_whole_paths_and_garbage() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    // Each process gets a little further than the one before; the first ones die while the store is being made.
    for attempt in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer"])
            .env(VARIABLE, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(attempt * 3));
        child.kill().unwrap();
        assert!(child.wait().unwrap().code().is_none(), "killed, and not failed before");
        let mut problems = Vec::new();
        assert!(open(&root).verify(&VerifyOptions::new(true), &mut |event| problems.push(event)).unwrap(), "{problems:?}");
        assert_eq!(problems, [], "after attempt {attempt}");
    }
    let n_added = write(dir.path(), 0);
    let store = open(&root);
    assert!(store.all_valid_paths().unwrap().len() >= n_added);
    store.collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
    assert_eq!(store.all_valid_paths().unwrap(), []);
    let left: Vec<_> = std::fs::read_dir(root.join("nix/store")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".links"]);
}
