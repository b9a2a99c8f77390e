//! Builds that run as users of their own, which takes a host program that is root.

mod support;

use std::os::unix::fs::MetadataExt;

use nixlang_build::{BuildOptions, BuildStatus};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use support::{World, sh};

/// A store where no directory above is writable for everybody; none if this is not root.
fn world() -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can build as other users");
        return None;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = LocalStore::open(LocalStoreOptions::rooted(scratch.path())).unwrap();
    Some(World::at(scratch, store))
}

fn options(features: &[&str]) -> BuildOptions {
    let mut options = BuildOptions { auto_allocate_uids: true, ..support::options() };
    options.experimental_features = features.iter().map(|feature| (*feature).to_owned()).collect();
    options.system_features.insert("uid-range".to_owned());
    options
}

#[test]
fn builders_are_nobody_outside() {
    let Some(world) = world() else { return };
    let script = "while read -r a b c; do echo $a $b $c; done < /proc/self/uid_map > $out; echo text > file; echo $HOME >> $out";
    let (path, out) = world.add_one(sh("ids", script).env("passAsFile", "big").env("big", "x"));
    let (outcome, recorder) = world.build_with(options(&["auto-allocate-uids"]), std::slice::from_ref(&path));
    assert!(outcome.is_success(), "{:?}\n{:?}", outcome.results[&path].message, recorder.lines());
    let text = std::fs::read_to_string(world.real(&out)).unwrap();
    let fields: Vec<u32> = text.lines().next().unwrap().split(' ').map(|field| field.parse().unwrap()).collect();
    assert_eq!((fields[0], fields[2]), (1000, 1));
    assert!(fields[1] >= 872_415_232 && fields[1] % 65536 == 0, "{text}");
    // What it made belongs to the store's owner.
    assert_eq!(std::fs::metadata(world.real(&out)).unwrap().uid(), 0);
}

#[test]
fn files_of_others_are_refused() {
    let Some(world) = world() else { return };
    let foreign = world.scratch.path().join("foreign");
    std::fs::write(&foreign, "secret").unwrap();
    // Somebody else's file, moved to where the output is expected.
    let (path, _) = world.add_one(sh("steal", "read x < /foreign; echo $x > $out"));
    let mut options = options(&["auto-allocate-uids"]);
    options.sandbox_paths = vec![nixlang_build::sandbox::Mount::read_only(&foreign, "/foreign")];
    let (outcome, _) = world.build_with(options.clone(), std::slice::from_ref(&path));
    assert!(outcome.is_success(), "reading is permitted: {:?}", outcome.results);
    // Writing where the machine's files are is not, although the mount is not read-only.
    options.sandbox_paths = vec![nixlang_build::sandbox::Mount { read_only: false, ..nixlang_build::sandbox::Mount::read_only(&foreign, "/foreign") }];
    let (path, _) = world.add_one(sh("write", "echo changed > /foreign && echo > $out"));
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
    assert_eq!(outcome.results[&path].status, BuildStatus::PermanentFailure);
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "secret");
}

#[test]
fn a_range_of_users_makes_the_builder_root_inside() {
    let Some(world) = world() else { return };
    if !std::fs::read_to_string("/proc/self/mounts").unwrap().lines().any(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        println!("skipped: no cgroup2 file system is mounted");
        return;
    }
    let script = "while read -r a b c; do echo $a $c; done < /proc/self/uid_map > $out; while read -r x; do echo $x; done < /proc/self/cgroup >> $out; [ -d /sys/kernel ]";
    let (path, out) = world.add_one(sh("range", script).env("requiredSystemFeatures", "uid-range"));
    let features = ["auto-allocate-uids", "cgroups"];
    let (outcome, recorder) = world.build_with(options(&features), std::slice::from_ref(&path));
    assert!(outcome.is_success(), "{:?}\n{:?}", outcome.results[&path].message, recorder.lines());
    let text = std::fs::read_to_string(world.real(&out)).unwrap();
    assert!(text.starts_with("0 65536\n") && text.contains("0::/\n"), "{text}");

    let (outcome, _) = world.build_with(BuildOptions { auto_allocate_uids: false, ..options(&features) }, std::slice::from_ref(&path));
    assert!(outcome.is_success(), "it is built already");
}

#[test]
fn a_build_directory_that_others_can_write_is_refused() {
    let Some(world) = world() else { return };
    let place = world.scratch.path().join("shared");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let (path, _) = world.add_one(sh("x", "echo > $out"));
    let options = BuildOptions { build_dir: Some(place), ..options(&["auto-allocate-uids"]) };
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
    assert!(outcome.results[&path].message.contains("is world-writable"), "{:?}", outcome.results[&path]);
}
