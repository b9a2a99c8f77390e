//! A full disk, permissions that are gone, several processes at once: nothing is registered that is not whole.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::{Addressing, Contents, Store, Text, VerifyOptions};

const VARIABLE: &str = "NIXLANG_TEST_FAULTY_WRITER";

fn open(root: &Path) -> LocalStore {
    LocalStore::open(LocalStoreOptions { reserved_space: 1 << 20, ..LocalStoreOptions::rooted(root) }).unwrap()
}

fn is_whole(root: &Path) {
    let mut problems = Vec::new();
    assert!(open(root).verify(&VerifyOptions::new(true), &mut |event| problems.push(event)).unwrap(), "{problems:?}");
    assert_eq!(problems, []);
}

/// Not a test of its own: what the others run in processes of their own. The variable says what and where.
#[test]
fn process() {
    let Some(task) = std::env::var(VARIABLE).ok() else { return };
    let (role, root) = task.split_once(':').unwrap();
    match role {
        "full" => fill(Path::new(root)),
        "busy" => (0..10).for_each(|round| work(Path::new(root), round)),
        other => panic!("unknown role {other}"),
    }
}

/// Runs [`process`] by these words in front.
fn spawn(before: &[&str], role: &str, root: &Path) -> std::io::Result<std::process::Child> {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = before.iter().map(std::ffi::OsStr::new).collect();
    words.push(program.as_os_str());
    Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", "process", "--nocapture"])
        .env(VARIABLE, format!("{role}:{}", root.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Adds to a store on a file system of 12 MiB until it is full, then makes room and goes on.
fn fill(root: &Path) {
    assert!(rustix::fs::statvfs(root).unwrap().f_blocks < 4000, "this is not the small file system");
    let store = root.join("s");
    let mut n_added = 0u32;
    let error = loop {
        let contents: Vec<u8> = (0..300_000u32).flat_map(|i| (i ^ n_added).to_le_bytes()).collect();
        match open(&store).add_contents(&Addressing::source("large"), Contents::Bytes(&contents)) {
            Ok(_) => n_added += 1,
            Err(error) => break error,
        }
    };
    assert!((3..12).contains(&n_added), "{n_added}");
    assert!(error.to_string().contains("No space left") || error.to_string().contains("full"), "{error}");
    // Many small ones, so that the database is what does not fit.
    let texts: Vec<String> = (0..20_000).map(|i| format!("text-{i}")).collect();
    let texts: Vec<Text<'_>> = texts.iter().map(|name| Text { name, contents: b"", references: BTreeSet::new() }).collect();
    open(&store).add_texts(&texts).unwrap_err();
    is_whole(&store);
    // A collection works on the full disk, and then there is room.
    let results = open(&store).collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
    assert!(results.bytes_freed > 3_000_000, "{}", results.bytes_freed);
    open(&store).add_text("more", &[1; 1_000_000], &BTreeSet::new()).unwrap();
    is_whole(&store);
}

#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=12m tmpfs {0} && exec \"$@\"", dir.path().display());
    let started = spawn(&["unshare", "-Urm", "sh", "-c", &script, "sh"], "full", dir.path());
    let Ok(child) = started else {
        eprintln!("skipped: there is no unshare(1) to make a small file system with");
        return;
    };
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !said.contains("test process") {
        eprintln!("skipped: no small file system could be mounted: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn directories_of_users_are_writable_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let per_user = ["profiles", "gcroots"].map(|name| dir.path().join("nix/var/nix").join(name).join("per-user"));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    drop(open(dir.path()));
    assert_eq!(per_user.each_ref().map(|path| mode(path)), [0o755; 2]);
    // What older versions made is put right.
    per_user.iter().for_each(|path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o1777)).unwrap());
    drop(open(dir.path()));
    assert_eq!(per_user.each_ref().map(|path| mode(path) & 0o022), [0; 2]);
}

#[test]
fn permissions_that_are_gone() {
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root; the same is asked in a namespace where it is.
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let store = dir.path().join("s");
        open(&store).add_text("kept", b"1", &BTreeSet::new()).unwrap();
        // A file in the place of a directory can't be written to by root either.
        let staged = store.join("nix/store/.links");
        std::fs::remove_dir(&staged).unwrap();
        std::fs::write(&staged, "").unwrap();
        let unlinkable = LocalStore::open(LocalStoreOptions::rooted(&store)).map(drop);
        assert!(unlinkable.is_err());
        std::fs::remove_file(&staged).unwrap();
        is_whole(&store);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("s");
    let store = open(&root);
    let kept = store.add_text("kept", b"1", &BTreeSet::new()).unwrap();
    let store_dir = root.join("nix/store");
    std::fs::set_permissions(&store_dir, PermissionsExt::from_mode(0o555)).unwrap();
    let error = store.add_text("lost", b"2", &BTreeSet::new()).unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    assert_eq!(store.all_valid_paths().unwrap(), [kept.clone()]);
    // A collection that can't delete files leaves garbage, and nothing that is valid without being there.
    drop(store);
    open(&root).collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap_err();
    std::fs::set_permissions(&store_dir, PermissionsExt::from_mode(0o755)).unwrap();
    is_whole(&root);
    open(&root).add_text("lost", b"2", &BTreeSet::new()).unwrap();
    is_whole(&root);
}

/// One round of a busy process: additions that others make too, a collection, linking.
fn work(root: &Path, round: u32) {
    let store = open(root);
    let names: Vec<String> = (0..30).map(|i| format!("text-{}", (i + round) % 40)).collect();
    let texts: Vec<Text<'_>> =
        names.iter().map(|name| Text { name, contents: name.as_bytes(), references: BTreeSet::new() }).collect();
    let paths = store.add_texts(&texts).unwrap();
    let user = store.add_text("user", &round.to_le_bytes(), &paths.iter().cloned().collect()).unwrap();
    match round % 3 {
        0 => drop(store.collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap()),
        1 => drop(store.optimise(&mut |_| {}).unwrap()),
        _ => {}
    }
    // What this process works with is there whatever the others collect.
    assert!(store.are_valid(&paths).unwrap().iter().all(|valid| *valid));
    assert!(paths.iter().chain([&user]).all(|path| store.to_real_path(path).exists()));
}

#[test]
fn several_processes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let processes: Vec<_> = (0..4).map(|_| spawn(&["env"], "busy", dir.path()).unwrap()).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    is_whole(dir.path());
}
