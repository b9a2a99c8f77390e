//! Our client and the daemons of a real Nix: `nix-daemon --stdio` and `nix-store --serve`, trusted and not.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools, such as `env` where one is installed. It must see the system's
//! directory for temporary files (`TMPDIR`) under the same path. Without it nothing here is tested, and says so.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use nixlang_store::copy::copy_closure;
use nixlang_store::daemon::{Connector, DaemonService, DaemonStore, DaemonStoreOptions, Transport};
use nixlang_store::derivation::Derivation;
use nixlang_store::error::{Result, StoreError};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::memory::MemoryStore;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::serve::ServeStore;
use nixlang_store::store::{AddOptions, Addressing, Contents, GcAction, GcOptions, Store, Text, VerifyOptions};
use nixlang_store::wire::build_result::{BuildMode, BuildStatus};
use nixlang_store::wire::derived_path::{DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::wire::log::{Field, LogMessage, result};
use nixlang_store::wire::operations::ClientOptions;
use nixlang_store::wire::serve::ServeBuildOptions;
use nixlang_store::wire::version::WORKER_LATEST;

/// Runs a command of the real Nix for each connection.
struct Real {
    program: std::ffi::OsString,
    arguments: Vec<String>,
    directory: std::path::PathBuf,
}

struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Connector for Real {
    fn connect(&self) -> Result<Transport> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).env("HOME", &self.directory);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Ok(Transport {
            source: Box::new(child.stdout.take().unwrap()),
            sink: Box::new(child.stdin.take().unwrap()),
            hang_up: std::sync::Arc::new(|| {}),
            guard: Some(Box::new(Guard(child))),
        })
    }

    fn address(&self) -> String {
        "real".into()
    }
}

/// Returns a connector to a command on a store in `directory`, or says why nothing is tested.
fn real(directory: &Path, command: &[&str]) -> Option<Real> {
    let Some(program) = std::env::var_os("REAL_NIX") else {
        eprintln!("skipped: REAL_NIX names no command that runs a real Nix");
        return None;
    };
    let root = directory.join("root");
    let mut arguments: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    arguments.extend(["--store".to_owned(), root.to_str().unwrap().to_owned()]);
    for option in [["sandbox", "false"], ["substituters", ""], ["build-users-group", ""]] {
        arguments.extend(["--option".to_owned(), option[0].to_owned(), option[1].to_owned()]);
    }
    Some(Real { program, arguments, directory: directory.to_owned() })
}

fn daemon(directory: &Path, trust: &str) -> Option<DaemonStore> {
    let feature = ["--extra-experimental-features", "daemon-trust-override ca-derivations"];
    let connector = real(directory, &["nix-daemon", feature[0], feature[1], "--stdio", trust])?;
    let mut options = DaemonStoreOptions::new(StoreDir::default());
    options.settings = Some(ClientOptions { cores: 1, ..ClientOptions::default() });
    Some(DaemonStore::new(connector, options))
}

/// Writes a derivation that runs a shell script.
fn derivation(store: &dyn Store, name: &str, script: &str) -> (StorePath, Derivation) {
    let mut derivation = Derivation {
        name: name.into(),
        system: b"x86_64-linux".to_vec(),
        builder: b"/bin/sh".to_vec(),
        args: vec![b"-c".to_vec(), script.as_bytes().to_vec()],
        ..Derivation::default()
    };
    derivation.outputs.insert("out".into(), nixlang_store::derivation::DerivationOutput::Deferred);
    derivation.env.insert(b"out".to_vec(), Vec::new());
    let mut lookup = |_: &StorePath| Err("it has no inputs".into());
    derivation.instantiate(store.store_dir(), &mut std::collections::HashMap::new(), &mut lookup).unwrap();
    (store.write_derivation(&derivation).unwrap(), derivation)
}

fn unsigned() -> (PathInfo, Vec<u8>) {
    let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
    nar.file(false, &[7; 500_000]).unwrap();
    let nar = nar.finish().unwrap();
    let info = UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64);
    (PathInfo { path: StorePath::new([3; 20], "input-addressed").unwrap(), info }, nar)
}

#[test]
fn a_real_daemon_does_all_that_we_ask() {
    let dir = tempfile::tempdir().unwrap();
    let Some(store) = daemon(dir.path(), "--force-trusted") else { return };
    let (info, number) = store.daemon_info().unwrap();
    assert_eq!(number, WORKER_LATEST, "another version than the tests were written for");
    assert_eq!(store.trusts_this_client().unwrap(), Some(true));
    assert!(info.version.is_some());

    // Adding, in all ways.
    let names: Vec<String> = (0..500).map(|idx| format!("text-{idx}")).collect();
    let texts: Vec<Text<'_>> =
        names.iter().map(|name| Text { name, contents: name.as_bytes(), references: BTreeSet::new() }).collect();
    let paths = store.add_texts(&texts).unwrap();
    assert!(store.are_valid(&paths).unwrap().into_iter().all(|valid| valid));
    let infos = store.query_path_infos(&paths).unwrap();
    assert!(infos.iter().zip(&paths).all(|(info, path)| info.as_ref().unwrap().path == *path));
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("sub/large"), vec![1; 300_000]).unwrap();
    let source = Contents::Tree { path: &tree, filter: None };
    let tree = store.add_contents(&Addressing::source("tree"), source).unwrap();
    let user = store.add_text("user", b"refers", &[tree.path.clone()].into()).unwrap();
    let (unsigned, nar) = unsigned();
    let error = store.add_nar(&unsigned, &mut nar.as_slice(), &AddOptions::default()).unwrap_err();
    assert!(error.to_string().contains("lacks a signature"), "{error}");
    store.add_nar(&unsigned, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();

    // Asking.
    let mut back = Vec::new();
    store.write_nar(&unsigned.path, &mut back).unwrap();
    assert!(back == nar);
    assert_eq!(store.referrers(&tree.path).unwrap(), [user.clone()].into());
    assert_eq!(store.path_from_hash_part(&user.hash_part()).unwrap(), Some(user.clone()));
    assert_eq!(store.closure(std::slice::from_ref(&user)).unwrap(), [user.clone(), tree.path.clone()].into());
    let missing = StorePath::new([9; 20], "missing").unwrap();
    assert!(matches!(store.path_info(&missing), Err(StoreError::InvalidPath { .. })));
    assert!(matches!(store.derivation_outputs(&missing), Err(StoreError::InvalidPath { .. })));
    assert!(store.substitutable_paths(&paths[..2]).unwrap().is_empty());
    let key = nixlang_store::signature::SecretKey::from_seed("test", &[7; 32]);
    let mut signed = store.path_info(&user).unwrap();
    signed.sign(store.store_dir(), &key).unwrap();
    let signatures: Vec<String> = signed.signatures.iter().cloned().collect();
    store.add_signatures(&user, &signatures).unwrap();
    assert!(store.path_info(&user).unwrap().signatures.contains(&signatures[0]));

    // Copying, both ways and in one go.
    let elsewhere = MemoryStore::default();
    copy_closure(&store, &elsewhere, std::slice::from_ref(&user)).unwrap();
    let top = elsewhere.add_text("top", b"3", &[user.clone()].into()).unwrap();
    copy_closure(&elsewhere, &store, std::slice::from_ref(&top)).unwrap();
    assert!(store.is_valid(&top).unwrap());

    // Building.
    let (path, parsed) = derivation(&store, "good", "echo one; echo two > $out");
    let wanted = DerivedPath::Built {
        derivation: SingleDerivedPath::Opaque(path.clone()),
        outputs: OutputsSpec::Names(["out".into()].into()),
    };
    let lines = Mutex::new(Vec::new());
    let log = |message: &LogMessage| {
        if let LogMessage::Result { kind: result::BUILD_LOG_LINE, fields, .. } = message
            && let [Field::Text(line)] = fields.as_slice()
        {
            lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        }
    };
    let missing = store.query_missing(std::slice::from_ref(&wanted), &()).unwrap();
    assert_eq!(missing.will_build, [path.clone()].into());
    let results = store.build_paths(&[wanted], BuildMode::Normal, &log).unwrap();
    assert_eq!(results[0].result.status, BuildStatus::Built, "{}", results[0].result.error);
    let output = store.derivation_outputs(&path).unwrap()["out"].clone().unwrap();
    assert_eq!(results[0].result.outputs.values().next().unwrap().made.path, output);
    assert_eq!(store.read_file(&output).unwrap(), b"two\n");
    assert_eq!(*lines.lock().unwrap(), ["one"]);
    let rebuilt = store.build_derivation(&path, &parsed, BuildMode::Check, &()).unwrap();
    assert!(rebuilt.status.is_success(), "{}", rebuilt.error);
    let (bad, _) = derivation(&store, "bad", "exit 3");
    let results = store.build_paths(&[DerivedPath::from_path(bad)], BuildMode::Normal, &()).unwrap();
    assert_eq!(results[0].result.status, BuildStatus::PermanentFailure);
    assert!(results[0].result.error.contains("builder failed with exit code 3"), "{}", results[0].result.error);
    store.add_build_log(&path, b"a log").unwrap();

    // Keeping order.
    let link = dir.path().join("result");
    store.add_permanent_root(&user, &link).unwrap();
    let roots = store.find_roots(&mut |_| {}).unwrap();
    assert!(roots[&user].iter().any(|root| root == link.to_str().unwrap()), "{roots:?}");
    assert!(store.verify(&VerifyOptions::new(true), &mut |_| {}).unwrap());
    store.optimise(&mut |_| {}).unwrap();
    // This connection's temporary roots keep all of it; a new one has none.
    let dead = store.collect_garbage(&GcOptions::new(GcAction::ReturnDead), &mut |_| {}).unwrap();
    assert!(!dead.paths.contains(&store.store_dir().display(&paths[0])));
    drop(store);
    let store = daemon(dir.path(), "--force-trusted").unwrap();
    let collected = store.collect_garbage(&GcOptions::new(GcAction::DeleteDead), &mut |_| {}).unwrap();
    assert!(collected.paths.contains(&store.store_dir().display(&paths[0])) && collected.bytes_freed > 0);
    assert!(store.is_valid(&user).unwrap() && !store.is_valid(&paths[0]).unwrap());
}

#[test]
fn a_real_daemon_that_does_not_trust_us_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some(store) = daemon(dir.path(), "--force-untrusted") else { return };
    assert_eq!(store.trusts_this_client().unwrap(), Some(false));
    let text = store.add_text("text", b"1", &BTreeSet::new()).unwrap();
    assert!(store.is_valid(&text).unwrap());
    let (info, nar) = unsigned();
    let refused = |result: Result<()>, message: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        // The connection goes on, or another one is made.
        assert!(store.is_valid(&text).unwrap());
    };
    refused(store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()), "lacks a signature");
    let write = |_: &PathInfo, sink: &mut dyn Write| sink.write_all(&nar).map_err(|error| StoreError::format("writing", error));
    refused(store.add_nars(std::slice::from_ref(&info), &write, &AddOptions::trusted()), "lacks a signature");
    let (path, parsed) = derivation(&store, "x", "echo > $out");
    let build = store.build_derivation(&path, &parsed, BuildMode::Normal, &()).map(drop);
    refused(build, "not privileged to build input-addressed derivations");
    // What is in the store may be built by anybody.
    let results = store.build_paths(&[DerivedPath::from_path(path)], BuildMode::Normal, &()).unwrap();
    assert_eq!(results[0].result.status, BuildStatus::Built, "{}", results[0].result.error);
}

#[test]
fn a_real_serve_program_does_all_that_we_ask() {
    let dir = tempfile::tempdir().unwrap();
    let Some(connector) = real(dir.path(), &["nix-store", "--serve", "--write"]) else { return };
    let store = ServeStore::new(connector, StoreDir::default(), "real", ServeBuildOptions::default());
    assert_eq!(store.version().unwrap().to_string(), "2.7");
    let base = store.add_text("base", b"1", &BTreeSet::new()).unwrap();
    let top = store.add_text("top", b"2", &[base.clone()].into()).unwrap();
    assert_eq!(store.closure(std::slice::from_ref(&top)).unwrap(), [base.clone(), top.clone()].into());
    assert_eq!(store.path_info(&top).unwrap().references, [base.clone()].into());
    let missing = StorePath::new([9; 20], "missing").unwrap();
    assert_eq!(store.are_valid(&[missing, top.clone()]).unwrap(), [false, true]);
    let elsewhere = MemoryStore::default();
    copy_closure(&store, &elsewhere, std::slice::from_ref(&top)).unwrap();
    let more = elsewhere.add_text("more", b"3", &[top].into()).unwrap();
    copy_closure(&elsewhere, &store, std::slice::from_ref(&more)).unwrap();
    assert_eq!(store.read_file(&more).unwrap(), b"3");

    let (path, parsed) = derivation(&store, "good", "echo two > $out");
    let result = store.build_derivation(&path, &parsed, BuildMode::Normal, &()).unwrap();
    assert_eq!(result.status, BuildStatus::Built, "{}", result.error);
    let (bad, _) = derivation(&store, "bad", "exit 3");
    let results = store.build_paths(&[DerivedPath::from_path(bad)], BuildMode::Normal, &()).unwrap();
    assert!(!results[0].result.status.is_success());
    assert!(results[0].result.error.contains("exit code 3"), "{}", results[0].result.error);
}
