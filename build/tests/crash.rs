//! Kills a process that builds, with -9, at 50 different moments, and builds again: nothing may be half-registered
//! afterwards, and nothing left over.
//!
//! This program is also the process that is killed, and its own helper process; hence no test harness.

mod support;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nixlang_build::{BuildOptions, Builder, CancelToken, DerivedPath};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash, Hasher};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use support::{World, sh};

const CHILD: &str = "NIXLANG_TEST_CRASH_ROOT";
const N_KILLS: u32 = 50;

fn main() {
    let helper = nixlang_build::helper_main();
    if let Some(root) = std::env::var_os(CHILD) {
        let store = support::open(Path::new(&root));
        let derivation = std::env::args().nth(1).expect("the parent names a derivation");
        let derivation = store.store_dir().parse(derivation).expect("the parent names a store path");
        let options = BuildOptions { max_jobs: 2, ..BuildOptions::new(helper) };
        let builder = Builder::new(Arc::clone(&store), options);
        let plan = builder.plan(&[DerivedPath::from_path(derivation)]).unwrap();
        let outcome = builder.run(&plan, &(), &CancelToken::new());
        for (path, result) in outcome.failures() {
            eprintln!("{}: {}: {}", store.store_dir().display(path), result.status, result.message);
        }
        std::process::exit(outcome.exit_status().into());
    }

    let world = World::new();
    // How long is a whole run? The kills are spread over that.
    let runs = (0..3).map(|run| {
        let (first, _) = graph(&world, &format!("whole{run}"));
        let start = Instant::now();
        assert!(child(&world, &first).wait().unwrap().success());
        start.elapsed()
    });
    let whole = runs.min().expect("there are three");

    let mut n_killed = 0;
    for round in 0..N_KILLS {
        let (top, outputs) = graph(&world, &format!("round{round}"));
        let mut process = child(&world, &top);
        std::thread::sleep(whole * round / (N_KILLS - 1));
        process.kill().unwrap();
        n_killed += u32::from(process.wait().unwrap().signal() == Some(9));

        verify(&world);
        let start = Instant::now();
        let status = child(&world, &top).wait().unwrap();
        assert!(status.success(), "round {round}: the second run ended with {status}");
        assert!(start.elapsed() < Duration::from_secs(60), "round {round}");
        verify(&world);
        for output in outputs {
            assert!(world.store.is_valid(&output).unwrap(), "round {round}: {output:?}");
        }
    }
    let leftovers: Vec<String> =
        world.leftovers().into_iter().filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(leftovers, Vec::<String>::new());
    // Neither helpers nor builders outlive the processes that were killed; they may take a moment to see it.
    let is_left = || std::fs::read_dir("/proc").unwrap().flatten().any(|entry| is_helper(&entry.path()));
    let start = Instant::now();
    while is_left() {
        assert!(start.elapsed() < Duration::from_secs(60), "a helper outlives its host");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(n_killed > 0, "only {n_killed} processes were still running when they were killed");
    println!("killed {n_killed} of {N_KILLS} builds in the middle; all finished the second time");
}

/// Whether this process is a helper of this program, which is executed anew.
fn is_helper(process: &Path) -> bool {
    let is_same = std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == std::env::current_exe().unwrap());
    is_same && std::fs::read_to_string(process.join("cmdline")).is_ok_and(|line| line.contains("build-helper"))
}

fn child(world: &World, derivation: &StorePath) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg(world.store.store_dir().display(derivation))
        .env(CHILD, world.scratch.path())
        .spawn()
        .unwrap()
}

/// A fixed output, two outputs of one derivation, a directory, and something on top of them all.
fn graph(world: &World, salt: &str) -> (StorePath, Vec<StorePath>) {
    let dir = world.store.store_dir().clone();
    let text = format!("{salt}\n");
    let hash = Hash::digest(Algorithm::Sha256, text.as_bytes());
    let (fetched, fetched_out) =
        world.add_one(sh(&format!("{salt}-fetched"), &format!("echo {salt} > $out")).fixed(ContentAddressMethod::Flat, hash));
    let (split, split_outs) = world.add(
        sh(&format!("{salt}-split"), "echo $out > $lib; i=0; while test $i -lt 2000; do i=$((i+1)); done; echo $i $dep > $out")
            .outputs(&["lib", "out"])
            .env("dep", &dir.display(&fetched_out))
            .input(&fetched),
    );
    let (other, other_out) = world.add_one(sh(&format!("{salt}-other"), "echo $name > $out"));
    let (top, top_out) = world.add_one(
        sh(&format!("{salt}-top"), "read a < $one; read b < $two; echo $a $b > $out")
            .env("one", &dir.display(&split_outs["out"]))
            .env("two", &dir.display(&other_out))
            .input(&split)
            .input(&other),
    );
    (top, vec![fetched_out, split_outs["lib"].clone(), split_outs["out"].clone(), other_out, top_out])
}

/// Every registered path has the files that its row describes, and valid references.
fn verify(world: &World) {
    let paths = world.store.all_valid_paths().unwrap();
    let infos = world.store.query_path_infos(&paths).unwrap();
    let infos: BTreeMap<_, _> = infos.into_iter().flatten().map(|info| (info.path.clone(), info)).collect();
    assert_eq!(infos.len(), paths.len());
    for (path, info) in &infos {
        let mut sink = HashSink(Hasher::new(Algorithm::Sha256), 0);
        nixlang_store::fs::dump(&world.real(path), None, &mut sink).unwrap();
        assert_eq!((sink.0.finish(), sink.1), (info.nar_hash, info.nar_size), "{path:?}");
        assert!(info.references.iter().all(|reference| infos.contains_key(reference)), "{path:?}");
    }
}

struct HashSink(Hasher, u64);

impl std::io::Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
