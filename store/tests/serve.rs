//! The older protocol between our client and our server, and against peers that behave badly.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nixlang_store::copy::copy_closure;
use nixlang_store::daemon::{Connector, DaemonService, Transport, unix_transport};
use nixlang_store::derivation::Derivation;
use nixlang_store::error::{Result, StoreError};
use nixlang_store::memory::MemoryStore;
use nixlang_store::path::StorePath;
use nixlang_store::serve::{ServeServerOptions, ServeStore, serve_commands};
use nixlang_store::store::{Addressing, Contents, Store};
use nixlang_store::wire::WireWrite;
use nixlang_store::wire::build_result::{BuildMode, BuildResult, BuildStatus, KeyedBuildResult};
use nixlang_store::wire::derived_path::DerivedPath;
use nixlang_store::wire::log::LogSink;
use nixlang_store::wire::serve::ServeBuildOptions;

struct Builds;

impl DaemonService for Builds {
    fn build_paths(&self, wanted: &[DerivedPath], _: BuildMode, _: &dyn LogSink) -> Result<Vec<KeyedBuildResult>> {
        let result = |path: &DerivedPath| KeyedBuildResult {
            path: path.clone(),
            result: match path {
                DerivedPath::Opaque(_) => BuildResult::new(BuildStatus::AlreadyValid, ""),
                DerivedPath::Built { .. } => BuildResult::new(BuildStatus::TimedOut, "it took too long"),
            },
        };
        Ok(wanted.iter().map(result).collect())
    }

    fn build_derivation(&self, _: &StorePath, derivation: &Derivation, _: BuildMode, _: &dyn LogSink) -> Result<BuildResult> {
        Ok(BuildResult { times_built: 1, ..BuildResult::new(BuildStatus::Built, derivation.name.as_str()) })
    }
}

struct Server {
    store: Arc<MemoryStore>,
    may_write: bool,
}

impl Connector for Server {
    fn connect(&self) -> Result<Transport> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (store, may_write) = (Arc::clone(&self.store), self.may_write);
        std::thread::spawn(move || {
            let mut sink = theirs.try_clone().unwrap();
            let options = ServeServerOptions {
                may_write,
                set_build_options: &|options| assert_eq!((options.timeout, options.keep_failed), (7, true)),
                log: &(),
            };
            let result = serve_commands(&*store, &Builds, &options, &mut theirs, &mut sink);
            theirs.shutdown(std::net::Shutdown::Both).unwrap();
            result
        });
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "ssh://test".into()
    }
}

fn client(store: &Arc<MemoryStore>, may_write: bool) -> ServeStore {
    let options = ServeBuildOptions { timeout: 7, keep_failed: true, ..ServeBuildOptions::default() };
    let server = Server { store: Arc::clone(store), may_write };
    ServeStore::new(server, store.store_dir().clone(), "test", options)
}

#[test]
fn paths_go_both_ways() {
    let behind = Arc::new(MemoryStore::default());
    let store = client(&behind, true);
    assert_eq!(store.version().unwrap().to_string(), "2.8");
    let base = store.add_text("base", b"1", &BTreeSet::new()).unwrap();
    let top = store.add_text("top", b"2", &[base.clone()].into()).unwrap();
    let file = store.add_contents(&Addressing::source("file"), Contents::Bytes(b"3")).unwrap();
    assert_eq!(store.query_path_info(&file.path).unwrap().unwrap().info, file.info);
    assert!(behind.is_valid(&top).unwrap());
    assert_eq!(store.closure(std::slice::from_ref(&top)).unwrap(), [base.clone(), top.clone()].into());
    let missing = StorePath::new([9; 20], "missing").unwrap();
    assert_eq!(store.are_valid(&[missing.clone(), base.clone()]).unwrap(), [false, true]);
    assert!(matches!(store.closure(std::slice::from_ref(&missing)), Err(StoreError::InvalidPath { .. })));
    assert!(matches!(store.read_file(&missing), Err(StoreError::InvalidPath { .. })));
    assert_eq!(store.read_file(&top).unwrap(), b"2");

    let elsewhere = MemoryStore::default();
    assert_eq!(copy_closure(&store, &elsewhere, std::slice::from_ref(&top)).unwrap(), [base, top.clone()]);
    let third = Arc::new(MemoryStore::default());
    copy_closure(&elsewhere, &client(&third, true), std::slice::from_ref(&top)).unwrap();
    assert!(third.is_valid(&top).unwrap());
}

#[test]
fn builds_and_their_failures() {
    let store = client(&Arc::new(MemoryStore::default()), true);
    let path = StorePath::new([1; 20], "x").unwrap();
    let drv = StorePath::new([1; 20], "x.drv").unwrap();
    store.ensure_path(&path, &()).unwrap();
    let results = store.build_paths(&[DerivedPath::from_path(drv.clone())], BuildMode::Normal, &()).unwrap();
    assert_eq!(results[0].result.status, BuildStatus::TimedOut);
    assert_eq!(results[0].result.error, "it took too long");
    let derivation = Derivation { name: "x".into(), ..Derivation::default() };
    let result = store.build_derivation(&drv, &derivation, BuildMode::Normal, &()).unwrap();
    assert_eq!((result.status, result.times_built), (BuildStatus::Built, 1));
}

#[test]
fn without_permission_nothing_is_written() {
    let behind = Arc::new(MemoryStore::default());
    let store = client(&behind, false);
    assert!(store.add_text("x", b"1", &BTreeSet::new()).is_err());
    assert!(store.build_paths(&[], BuildMode::Normal, &()).is_err());
    assert_eq!(behind.all_valid_paths().unwrap(), []);
    let path = behind.add_text("x", b"1", &BTreeSet::new()).unwrap();
    assert!(store.is_valid(&path).unwrap(), "reading goes on, on another connection");
}

#[test]
fn servers_survive_hostile_clients() {
    for command in 0..12 {
        for tail in [vec![0xff; 64], vec![0; 256], vec![1; 3], [&[0, 0, 0, 0, 0, 0, 0, 0x80][..], &[1; 64]].concat()] {
            let mut bytes = Vec::new();
            for number in [0x390c_9deb, 2 << 8 | 7, command] {
                bytes.write_number(number).unwrap();
            }
            bytes.extend(tail);
            let options = ServeServerOptions { may_write: true, set_build_options: &|_| {}, log: &() };
            let _ = serve_commands(&MemoryStore::default(), &(), &options, &mut bytes.as_slice(), &mut Vec::new());
        }
    }
}

/// Says `bytes` to everybody and hangs up.
struct Rude(Vec<u8>);

impl Connector for Rude {
    fn connect(&self) -> Result<Transport> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = self.0.clone();
        std::thread::spawn(move || {
            let _ = theirs.write_all(&bytes);
            let _ = theirs.shutdown(std::net::Shutdown::Write);
            let _ = theirs.read_to_end(&mut Vec::new());
        });
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "ssh://rude".into()
    }
}

#[test]
fn clients_survive_hostile_servers() {
    let mut good = Vec::new();
    for number in [0x5452_eecb_u64, 2 << 8 | 7] {
        good.write_number(number).unwrap();
    }
    let ask = |bytes: Vec<u8>| {
        let store = ServeStore::new(Rude(bytes), Default::default(), "rude", ServeBuildOptions::default());
        let path = StorePath::new([1; 20], "x").unwrap();
        assert!(store.query_path_info(&path).is_err());
        store.is_valid(&path).unwrap_err().to_string()
    };
    assert_eq!(ask(Vec::new()), "cannot connect to 'rude'");
    assert_eq!(ask(b"Welcome to this machine!".to_vec()), "'nix-store --serve' protocol mismatch from 'rude'");
    for tail in [vec![], vec![0xff; 64], vec![1; 64], vec![0, 0, 0, 0, 0, 0, 0, 0x80]] {
        ask([good.clone(), tail].concat());
    }
}
