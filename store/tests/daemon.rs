//! The daemon protocol between our client and our server, and against peers that behave badly.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::content_rules::ContentRules;
use nixlang_store::daemon::{
    Connector, DaemonService, DaemonStore, DaemonStoreOptions, ServerOptions, Transport, serve, unix_transport,
};
use nixlang_store::derivation::{Derivation, DerivationOutput};
use nixlang_store::error::{Result, StoreError};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::memory::MemoryStore;
use nixlang_store::path::StorePath;
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::realisation::{DerivationOutputId, Realisation};
use nixlang_store::store::{AddOptions, GcAction, GcOptions, Store, Text, VerifyOptions};
use nixlang_store::wire::build_result::{BuildMode, BuildResult, BuildStatus, KeyedBuildResult};
use nixlang_store::wire::derived_path::DerivedPath;
use nixlang_store::wire::log::{LogMessage, LogSink};
use nixlang_store::wire::operations::{ClientOptions, Missing, Operation};
use nixlang_store::wire::{WireRead, WireWrite};

/// Says much while it builds, and remembers what it was asked.
#[derive(Default)]
struct Builds {
    asked: Mutex<Vec<String>>,
}

impl DaemonService for Builds {
    fn build_paths(&self, wanted: &[DerivedPath], mode: BuildMode, log: &dyn LogSink) -> Result<Vec<KeyedBuildResult>> {
        self.asked.lock().unwrap().push(format!("{mode:?}"));
        // Far more than a socket holds.
        for line in 0..20_000 {
            log.log(&LogMessage::Text(format!("line {line}\n").into_bytes()));
        }
        let result = |path: &DerivedPath| KeyedBuildResult {
            path: path.clone(),
            result: BuildResult::new(BuildStatus::PermanentFailure, "it broke"),
        };
        Ok(wanted.iter().map(result).collect())
    }

    fn build_derivation(&self, path: &StorePath, _: &Derivation, _: BuildMode, _: &dyn LogSink) -> Result<BuildResult> {
        self.asked.lock().unwrap().push(path.name().to_owned());
        Ok(BuildResult::new(BuildStatus::Built, ""))
    }

    fn query_missing(&self, _: &[DerivedPath], _: &dyn LogSink) -> Result<Missing> {
        Ok(Missing { nar_size: 7, ..Missing::default() })
    }

    fn set_options(&self, options: &ClientOptions, is_trusted: bool, _: &dyn LogSink) -> Result<()> {
        self.asked.lock().unwrap().push(format!("cores {} {is_trusted}", options.cores));
        Ok(())
    }
}

struct Server {
    store: Arc<dyn Store>,
    builds: Arc<Builds>,
    is_trusted: bool,
}

impl Connector for Server {
    fn connect(&self) -> Result<Transport> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (store, builds, is_trusted) = (Arc::clone(&self.store), Arc::clone(&self.builds), self.is_trusted);
        let Transport { source, sink, .. } = unix_transport(theirs).unwrap();
        std::thread::spawn(move || {
            let options = ServerOptions { version: "test".into(), is_trusted, is_recursive: false };
            serve(&*store, &*builds, &options, source, sink)
        });
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "test".into()
    }
}

fn client(store: Arc<dyn Store>, is_trusted: bool) -> (DaemonStore, Arc<Builds>) {
    let builds = Arc::new(Builds::default());
    let mut options = DaemonStoreOptions::new(store.store_dir().clone());
    options.settings = Some(ClientOptions { cores: 3, ..ClientOptions::default() });
    (DaemonStore::new(Server { store, builds: Arc::clone(&builds), is_trusted }, options), builds)
}

fn local() -> (tempfile::TempDir, Arc<LocalStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(LocalStoreOptions::rooted(dir.path())).unwrap();
    (dir, Arc::new(store))
}

/// A path that nothing but a signature could vouch for, and its archive.
fn unsigned() -> (PathInfo, Vec<u8>) {
    let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
    nar.file(false, b"contents").unwrap();
    let nar = nar.finish().unwrap();
    let info = UnkeyedPathInfo::new(Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64);
    (PathInfo { path: StorePath::new([3; 20], "input-addressed").unwrap(), info }, nar)
}

#[test]
fn a_talkative_daemon_blocks_nobody() {
    let (store, builds) = client(Arc::new(MemoryStore::default()), true);
    let wanted = [DerivedPath::from_path(StorePath::new([1; 20], "x.drv").unwrap())];
    let n_lines = std::sync::atomic::AtomicUsize::new(0);
    let count = |message: &LogMessage| {
        assert!(matches!(message, LogMessage::Text(line) if line.starts_with(b"line ")));
        n_lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let results = store.build_paths(&wanted, BuildMode::Check, &count).unwrap();
    assert_eq!(n_lines.into_inner(), 20_000);
    assert_eq!(results[0].path, wanted[0]);
    assert_eq!(results[0].result.error, "it broke");
    assert_eq!(*builds.asked.lock().unwrap(), ["cores 3 true", "Check"]);
    assert_eq!(store.query_missing(&wanted, &()).unwrap().nar_size, 7);
}

/// Questions and answers are much larger than what a socket holds; so are the uploads.
#[test]
fn batches_and_uploads_block_nobody() {
    let (_dir, local) = local();
    let (store, _) = client(local, true);
    let names: Vec<String> = (0..3000).map(|idx| format!("text-{idx}")).collect();
    let texts: Vec<Text<'_>> = names
        .iter()
        .map(|name| Text { name, contents: name.as_bytes(), references: BTreeSet::new() })
        .collect();
    let paths = store.add_texts(&texts).unwrap();
    let infos = store.query_path_infos(&paths).unwrap();
    assert!(infos.iter().zip(&paths).all(|(info, path)| info.as_ref().is_some_and(|info| info.path == *path)));
    store.add_temp_roots(&paths).unwrap();

    let big = vec![7; 3 << 20];
    let addressing = nixlang_store::store::Addressing {
        name: "big",
        method: ContentAddressMethod::Flat,
        algorithm: Algorithm::Sha256,
        references: BTreeSet::new(),
    };
    let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
    nar.file(false, &big).unwrap();
    let nar = nar.finish().unwrap();
    let info = store.add_contents(&addressing, nixlang_store::store::Contents::Nar(&mut nar.as_slice())).unwrap();
    let mut back = Vec::new();
    store.write_nar(&info.path, &mut back).unwrap();
    assert!(back == nar);
    assert_eq!(store.read_file(&info.path).unwrap(), big);
}

#[test]
fn errors_leave_the_connection_usable() {
    let (store, _) = client(Arc::new(MemoryStore::default()), true);
    let missing = StorePath::new([9; 20], "missing").unwrap();
    for _ in 0..3 {
        assert!(matches!(store.referrers(&missing), Ok(paths) if paths.is_empty()));
        assert!(matches!(store.read_file(&missing), Err(StoreError::InvalidPath { .. })));
        assert!(matches!(store.derivation_outputs(&missing), Err(StoreError::InvalidPath { .. })));
        let error = store.verify(&VerifyOptions::new(false), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "this store does not support verification");
        // An upload that is refused early, with megabytes still to come.
        let (mut info, _) = unsigned();
        info.info.nar_hash = Hash::sha256([1; 32]);
        let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
        nar.file(false, &vec![0; 1 << 20]).unwrap();
        let nar = nar.finish().unwrap();
        info.info.references = [missing.clone()].into();
        info.info.nar_size = nar.len() as u64;
        assert!(store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).is_err());
        // A source that breaks off.
        let error = store.add_nar(&info, &mut &nar[..1 << 19], &AddOptions::trusted()).unwrap_err();
        assert!(error.to_string().contains("NAR"), "{error}");
        assert!(!store.is_valid(&info.path).unwrap());
    }
}

#[test]
fn who_is_not_trusted_may_not() {
    let (_dir, local) = local();
    let (trusted, _) = client(Arc::<LocalStore>::clone(&local), true);
    let (other, builds) = client(local, false);
    assert_eq!(trusted.trusts_this_client().unwrap(), Some(true));
    assert_eq!(other.trusts_this_client().unwrap(), Some(false));

    // What is content-addressed may come from anybody, and anybody may collect garbage.
    let text = other.add_text("text", b"1", &BTreeSet::new()).unwrap();
    assert!(other.is_valid(&text).unwrap());
    other.collect_garbage(&GcOptions::new(GcAction::ReturnDead), &mut |_| {}).unwrap();

    let (info, nar) = unsigned();
    let refused = |result: Result<()>, message: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    for options in [AddOptions::default(), AddOptions::trusted()] {
        refused(other.add_nar(&info, &mut nar.as_slice(), &options), "lacks a signature");
        let write = |_: &PathInfo, sink: &mut dyn Write| {
            sink.write_all(&nar).map_err(|error| StoreError::format("writing", error))
        };
        refused(other.add_nars(std::slice::from_ref(&info), &write, &options), "lacks a signature");
    }
    refused(trusted.add_nar(&info, &mut nar.as_slice(), &AddOptions::default()), "lacks a signature");
    let mut repair = AddOptions::trusted();
    repair.repair = true;
    refused(other.add_nar(&info, &mut nar.as_slice(), &repair), "repairing is not allowed");
    refused(other.add_build_log(&StorePath::new([4; 20], "x.drv").unwrap(), b"log"), "not privileged to add logs");
    let mut verify = VerifyOptions::new(false);
    verify.repair = true;
    refused(other.verify(&verify, &mut |_| {}).map(drop), "not privileged to repair");
    let drv = StorePath::new([5; 20], "x.drv").unwrap();
    let wanted = [DerivedPath::from_path(drv.clone())];
    refused(other.build_paths(&wanted, BuildMode::Repair, &()).map(drop), "repairing is not allowed");
    let collect = GcAction::DeletePaths { paths: [text].into(), ignore_liveness: true, skip_live: false, also_referrers: false };
    refused(trusted.collect_garbage(&GcOptions::new(collect), &mut |_| {}).map(drop), "ignore liveness");

    // A derivation that is sent along: only one whose outputs are named by their contents.
    let mut derivation = Derivation { name: "x".into(), builder: b"/b".to_vec(), ..Derivation::default() };
    derivation.outputs.insert("out".into(), DerivationOutput::InputAddressed(info.path.clone()));
    let build = |store: &DaemonStore, derivation: &Derivation| {
        store.build_derivation(&drv, derivation, BuildMode::Normal, &()).map(drop)
    };
    refused(build(&other, &derivation), "not privileged to build input-addressed derivations");
    build(&trusted, &derivation).unwrap();
    let floating = DerivationOutput::Floating { method: ContentAddressMethod::Nar, algorithm: Algorithm::Sha256 };
    derivation.outputs.insert("out".into(), floating);
    build(&other, &derivation).unwrap();
    assert!(other.all_valid_paths().unwrap().iter().any(|path| path.name() == "x.drv"), "it is written here first");
    assert!(builds.asked.lock().unwrap().contains(&"cores 3 false".to_owned()));

    trusted.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
    assert!(other.is_valid(&info.path).unwrap());

    let realisation = Realisation {
        id: DerivationOutputId::by_hash(Hash::sha256([7; 32]), "out"),
        path: info.path,
        signatures: BTreeSet::new(),
    };
    assert!(other.register_realisations(std::slice::from_ref(&realisation), false).is_err());
}

/// A client that follows the rules of 2.35 speaks of derivations by their paths, and is answered with what the daemon's store knows by
/// their hashes. One that follows those of 2.34 is served as ever.
#[test]
fn realisations_travel_in_the_form_that_was_agreed_on() {
    const DERIVATION: &[u8] = br#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("name","ca"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","recursive")])"#;
    let (_dir, local) = local();
    let derivation = local.add_text("ca.drv", DERIVATION, &BTreeSet::new()).unwrap();
    let made = local.add_text("made", b"1", &BTreeSet::new()).unwrap();
    let mut lookup = |_: &StorePath| Err("it has no inputs".into());
    let parsed = local.read_derivation(&derivation).unwrap();
    let hash = parsed.hash_modulo(local.store_dir(), true, &mut std::collections::HashMap::new(), &mut lookup).unwrap().hash;
    let by_hash = Realisation { id: DerivationOutputId::by_hash(hash, "out"), path: made.clone(), signatures: BTreeSet::new() };
    let by_path = Realisation { id: DerivationOutputId::by_path(derivation.clone(), "out"), ..by_hash.clone() };
    let nobody = DerivationOutputId::by_path(made.clone(), "out");
    let ids = [by_hash.id.clone(), nobody, by_path.id.clone()];

    let client = |content_rules| {
        let mut options = DaemonStoreOptions::new(local.store_dir().clone());
        options.content_rules = content_rules;
        DaemonStore::new(Server { store: local.clone(), builds: Arc::new(Builds::default()), is_trusted: true }, options)
    };
    let (older, newer) = (client(ContentRules::Until2_34), client(ContentRules::Since2_35));
    older.register_realisations(std::slice::from_ref(&by_hash), false).unwrap();
    assert_eq!(older.query_realisations(&ids).unwrap(), [Some(by_hash.clone()), None, None]);
    assert_eq!(newer.query_realisations(&ids).unwrap(), [None, None, Some(by_path.clone())]);
    newer.register_realisations(std::slice::from_ref(&by_path), false).unwrap();
    assert_eq!(local.query_realisations(&ids).unwrap(), [Some(by_hash.clone()), None, Some(by_path.clone())]);
    // Neither form can be said in the other.
    assert!(older.register_realisations(&[by_path], false).is_err());
    assert!(newer.register_realisations(&[by_hash], false).is_err());
    assert_eq!(newer.all_valid_paths().unwrap().len(), 2, "the connection was not left in the middle of something");
}

#[test]
fn dead_paths_are_collected_among_some() {
    let (dir, local) = local();
    let texts = |name: &str, references: &[&StorePath]| {
        local.add_text(name, name.as_bytes(), &references.iter().copied().cloned().collect()).unwrap()
    };
    let (base, alive) = (texts("base", &[]), texts("alive", &[]));
    let top = texts("top", &[&base]);
    local.add_permanent_root(&alive, &dir.path().join("result")).unwrap();
    // Without the temporary roots.
    drop(local);
    let local = Arc::new(LocalStore::open(LocalStoreOptions::rooted(dir.path())).unwrap());
    let (client, _) = client(local, false);
    let collect = |skip_live, also_referrers| {
        let paths = [base.clone(), alive.clone()].into();
        let action = GcAction::DeletePaths { paths, ignore_liveness: false, skip_live, also_referrers };
        client.collect_garbage(&GcOptions::new(action), &mut |_| {}).map(|results| results.paths.len())
    };
    assert!(collect(false, false).is_err());
    assert!(collect(false, true).is_err());
    assert_eq!(collect(true, false).unwrap(), 0, "something refers to what is dead");
    assert_eq!(collect(true, true).unwrap(), 2);
    assert_eq!(client.are_valid(&[base, alive, top]).unwrap(), [false, true, false]);
}

#[test]
fn roots_of_processes_are_hidden_from_strangers() {
    let (dir, local) = local();
    let (trusted, _) = client(Arc::<LocalStore>::clone(&local), true);
    let (other, _) = client(local, false);
    let path = trusted.add_text("text", b"1", &BTreeSet::new()).unwrap();
    let link = dir.path().join("result");
    trusted.add_permanent_root(&path, &link).unwrap();
    let roots = |store: &DaemonStore| store.find_roots(&mut |_| {}).unwrap().remove(&path).unwrap();
    let all = roots(&trusted);
    assert!(all.iter().any(|root| root.starts_with("{temp:")), "{all:?}");
    assert!(all.contains(link.to_str().unwrap()) || all.iter().any(|root| root.ends_with("result")), "{all:?}");
    let some = roots(&other);
    assert!(some.contains("{censored}") && !some.iter().any(|root| root.starts_with("{temp:")), "{some:?}");
}

/// Sends `bytes` to a server and returns all that it answers, once it has ended the connection.
fn tell_server(bytes: &[u8]) -> Vec<u8> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let Transport { source, sink, .. } = unix_transport(theirs).unwrap();
    let serving: JoinHandle<Result<()>> = std::thread::spawn(move || {
        let options = ServerOptions { version: "test".into(), is_trusted: true, is_recursive: false };
        serve(&MemoryStore::default(), &(), &options, source, sink)
    });
    // It may end the connection before it has heard everything.
    let _ = ours.write_all(bytes);
    let _ = ours.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = ours.read_to_end(&mut answer);
    let _ = serving.join().expect("it does not panic");
    answer
}

fn greeting() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [0x6e69_7863, 1 << 8 | 38, 0, 0, 0] {
        bytes.write_number(number).unwrap();
    }
    bytes
}

#[test]
fn servers_survive_hostile_clients() {
    let answer = tell_server(&greeting());
    assert!(answer.ends_with(b"stla\0\0\0\0"), "a good greeting is answered");
    assert_eq!(tell_server(b"GET / HTTP/1.1\r\n\r\n"), b"");
    assert_eq!(tell_server(b""), b"");
    for &operation in Operation::ALL {
        // Lengths that nobody has room for, texts that are no paths, requests that break off.
        for tail in [vec![0xff; 64], [&[0, 0, 0, 0, 0, 0, 0, 0x80][..], &[1; 64]].concat(), vec![0; 512], vec![1; 3], b"".to_vec()] {
            let mut bytes = greeting();
            bytes.write_number(operation as u64).unwrap();
            bytes.extend(tail);
            tell_server(&bytes);
        }
    }
    let mut unknown = greeting();
    unknown.write_number(1 << 63).unwrap();
    let answer = tell_server(&unknown);
    assert!(answer.windows(17).any(|text| text == b"invalid operation"));
    // An archive whose size is a lie, and one that is too deep.
    for size in [u64::MAX, 1 << 63, 0] {
        let mut bytes = greeting();
        bytes.write_number(Operation::AddMultipleToStore as u64).unwrap();
        for number in [0, 0, 16, u64::MAX, size] {
            bytes.write_number(number).unwrap();
        }
        bytes.write_number(0).unwrap();
        tell_server(&bytes);
    }
}

/// A daemon that says `bytes` to everybody, and then nothing any more.
struct Silent(Vec<u8>, Mutex<Vec<UnixStream>>);

impl Connector for Silent {
    fn connect(&self) -> Result<Transport> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&self.0).unwrap();
        // It stays open.
        self.1.lock().unwrap().push(theirs);
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "silent".into()
    }
}

/// What a daemon says first: its greeting, and the answer to the client's settings.
fn good_beginning() -> Vec<u8> {
    let mut good = Vec::new();
    for number in [0x6478_696f, 1 << 8 | 38, 0] {
        good.write_number(number).unwrap();
    }
    good.write_bytes(b"test").unwrap();
    for number in [1, 0x616c_7473, 0x616c_7473] {
        good.write_number(number).unwrap();
    }
    good
}

#[test]
fn silent_daemons_can_be_left() {
    type Request = fn(&DaemonStore) -> Result<()>;
    let requests: [(&str, Request); 4] = [
        ("question", |store| store.is_valid(&StorePath::new([1; 20], "x").unwrap()).map(drop)),
        ("batch", |store| store.query_path_infos(&[StorePath::new([1; 20], "x").unwrap(), StorePath::new([2; 20], "x").unwrap()]).map(drop)),
        ("upload", |store| {
            let (info, nar) = unsigned();
            store.add_nar(&info, &mut nar.as_slice(), &AddOptions::default()).map(drop)
        }),
        ("download", |store| store.write_nar(&StorePath::new([1; 20], "x").unwrap(), &mut Vec::new()).map(drop)),
    ];
    for said in [Vec::new(), good_beginning()[..20].to_vec(), good_beginning()] {
        for (what, request) in requests {
            let mut options = DaemonStoreOptions::new(Default::default());
            options.settings = Some(ClientOptions::default());
            let store = DaemonStore::new(Silent(said.clone(), Mutex::default()), options);
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| request(&store));
                let thread = asking.thread().id();
                // It may not be waiting yet.
                while !asking.is_finished() {
                    store.hang_up(thread);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                assert!(asking.join().unwrap().is_err(), "{what} after {} bytes", said.len());
            });
        }
    }
}

/// A daemon that says `bytes` to everybody and hangs up.
struct Rude(Vec<u8>);

impl Connector for Rude {
    fn connect(&self) -> Result<Transport> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = self.0.clone();
        std::thread::spawn(move || {
            let _ = theirs.write_all(&bytes);
            let _ = theirs.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut theirs, &mut std::io::sink());
        });
        Ok(unix_transport(ours).unwrap())
    }

    fn address(&self) -> String {
        "rude".into()
    }
}

#[test]
fn clients_survive_hostile_daemons() {
    let good = good_beginning();
    let ask = |bytes: Vec<u8>| {
        let mut options = DaemonStoreOptions::new(Default::default());
        options.settings = Some(ClientOptions::default());
        let store = DaemonStore::new(Rude(bytes), options);
        let path = StorePath::new([1; 20], "x").unwrap();
        let many: Vec<StorePath> = (0..100).map(|idx| StorePath::new([idx; 20], "x").unwrap()).collect();
        assert!(store.query_path_infos(&many).is_err());
        assert!(store.all_valid_paths().is_err());
        assert!(store.write_nar(&path, &mut Vec::new()).is_err());
        let (info, nar) = unsigned();
        // Whoever says that all went well is believed.
        let _ = store.add_nar(&info, &mut nar.as_slice(), &AddOptions::default());
        assert!(store.find_roots(&mut |_| {}).is_err());
        // Any number but 0 is a yes.
        store.is_valid(&path).err().map(|error| error.to_string())
    };
    let error = ask(b"SSH-2.0-OpenSSH".to_vec());
    assert_eq!(error.unwrap(), "cannot open connection to remote store 'rude': protocol mismatch");
    ask(Vec::new());
    for end in (0..good.len()).step_by(4) {
        ask(good[..end].to_vec());
    }
    for tail in [vec![0xff; 64], vec![0; 64], b"gxlo\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()] {
        ask([good.clone(), tail].concat());
    }
    // It claims an endless list of paths, or an error with endless traces.
    for numbers in [&[0x616c_7473, u64::MAX >> 1][..], &[0x616c_7473, 1 << 26], &[0x6378_7470, 0, 0, 0, 0, 0, 1 << 62]] {
        let mut bytes = good.clone();
        for &number in numbers {
            bytes.write_number(number).unwrap();
        }
        ask(bytes);
    }
}

/// What the server says to a client of 1.18, the oldest: results without times, errors as text.
#[test]
fn old_clients_are_served() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let Transport { source, sink, .. } = unix_transport(theirs).unwrap();
    std::thread::spawn(move || {
        let options = ServerOptions { version: "test".into(), is_trusted: true, is_recursive: false };
        serve(&MemoryStore::default(), &Builds::default(), &options, source, sink)
    });
    let mut say = |numbers: &[u64], text: Option<&[u8]>| {
        let mut bytes = Vec::new();
        for &number in numbers {
            bytes.write_number(number).unwrap();
        }
        if let Some(text) = text {
            bytes.write_bytes(text).unwrap();
        }
        ours.write_all(&bytes).unwrap();
        ours.try_clone().unwrap()
    };
    let mut source = say(&[0x6e69_7863, 1 << 8 | 18, 0, 0], None);
    assert_eq!(source.read_number().unwrap(), 0x6478_696f);
    assert_eq!(source.read_number().unwrap(), 1 << 8 | 38);
    assert_eq!(source.read_number().unwrap(), 0x616c_7473);
    // A file the old way: flat, SHA-256, as an archive.
    let mut nar = nixlang_store::nar::NarWriter::new(Vec::new());
    nar.file(false, b"old").unwrap();
    let nar = nar.finish().unwrap();
    say(&[Operation::AddToStore as u64], Some(b"old"));
    say(&[1, 0], Some(b"sha256"));
    ours.write_all(&nar).unwrap();
    assert_eq!(source.read_number().unwrap(), 0x616c_7473);
    let path = String::from_utf8(source.read_bytes(1000).unwrap()).unwrap();
    assert!(path.starts_with("/nix/store/") && path.ends_with("-old"), "{path}");
    // Then an error: a message and a status.
    let mut bytes = Vec::new();
    bytes.write_number(Operation::VerifyStore as u64).unwrap();
    bytes.write_number(0).unwrap();
    bytes.write_number(0).unwrap();
    ours.write_all(&bytes).unwrap();
    assert_eq!(source.read_number().unwrap(), 0x6378_7470);
    assert_eq!(source.read_bytes(1000).unwrap(), b"this store does not support verification");
    assert_eq!(source.read_number().unwrap(), 1);
}
