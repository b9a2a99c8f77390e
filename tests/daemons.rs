//! Daemons and other machines, seen from the command line: our client and our daemon; with a real Nix (`REAL_NIX`) its
//! client and our daemon, and builds sent from ours to its and from its to ours.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools, such as `env` where one is installed. It must see the system's
//! directory for temporary files (`TMPDIR`) under the same path. Without it those tests say that they are skipped.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nixlang_store::daemon::{DaemonService, DaemonStore, DaemonStoreOptions, UnixConnector};
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::Store;
use nixlang_store::wire::operations::ClientOptions;
use nixlang_tests::{Answer, command, nixlang};

/// A derivation per name, without a sandbox: nothing here is about that.
const EXPRESSION: &str = r#"
{ n ? "a", feature ? null, script ? "" }: derivation ({
  name = "made-${n}";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [ "-c" "echo building ${n}; echo made ${n} > $out; ${script}" ];
} // (if feature == null then { } else { requiredSystemFeatures = [ feature ]; }))
"#;

/// A store with a daemon, and a copy of the program under test that others can run.
struct World {
    scratch: tempfile::TempDir,
}

struct Daemon {
    child: Child,
    address: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    fn new() -> World {
        // Below TMPDIR, where the real one sees it.
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("made.nix"), EXPRESSION).unwrap();
        fs::write(scratch.path().join("file"), "some text").unwrap();
        World { scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs our command line.
    fn ours(&self, arguments: &[&str]) -> Answer {
        Answer::from(self.command(arguments).output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut ours = command(self.scratch.path(), arguments);
        ours.env("HOME", self.path("home")).env("NIX_CONFIG", "sandbox = false\nsubstituters =\n");
        ours
    }

    /// Runs a command of the real Nix, if there is one.
    fn real(&self, arguments: &[&str]) -> Option<Answer> {
        let Some(real_nix) = std::env::var_os("REAL_NIX") else {
            println!("skipped: REAL_NIX names no command that runs a real Nix");
            return None;
        };
        let mut real = Command::new(real_nix);
        real.args(arguments).current_dir(self.scratch.path()).stdin(Stdio::null()).env("HOME", self.path("home"));
        let config = "sandbox = false\nsubstituters =\nbuild-users-group =\nexperimental-features = nix-command\n";
        real.env("NIX_CONFIG", config).env_remove("NIX_STORE_DIR");
        Some(Answer::from(real.output().unwrap()))
    }

    /// Starts our daemon.
    fn daemon(&self, trust: &str) -> Daemon {
        let (root, socket) = (self.path("root"), self.path("socket"));
        let mut daemon = self.command(&["nix-daemon", "--store", text(&root), trust]);
        daemon.env("NIX_DAEMON_SOCKET_PATH", &socket);
        let child = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let daemon = Daemon { child, address: format!("unix://{}?root={}", text(&socket), text(&root)) };
        for _ in 0..1000 {
            if socket.exists() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not come up");
    }

    /// Returns a name under which others can run our program, whatever they see of the file system.
    fn program(&self) -> String {
        let copy = self.path("nixlang");
        if !copy.exists() {
            fs::copy(&nixlang()[0], &copy).unwrap();
        }
        text(&copy).to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn good(answer: Answer) -> String {
    assert_eq!(answer.status, Some(0), "{}", answer.stderr);
    answer.stdout.trim().to_owned()
}

#[test]
fn our_client_and_our_daemon() {
    let world = World::new();
    let daemon = world.daemon("--default-trust");
    let address = daemon.address.clone();
    let at = ["--store", address.as_str()];
    let info = good(world.ours(&["store", "info", "--json", at[0], at[1]]));
    assert!(info.contains("\"trusted\":true"), "{info}");
    let made = world.ours(&["nix-build", "made.nix", at[0], at[1], "-o", "result"]);
    assert!(made.stderr.contains("building a\n"), "the log comes over: {}", made.stderr);
    let made = good(made);
    assert_eq!(fs::read_to_string(world.path("root").join(made.trim_start_matches('/'))).unwrap(), "made a\n");
    assert_eq!(text(&fs::read_link(world.path("result")).unwrap()), made);
    let added = good(world.ours(&["store", "add", "file", at[0], at[1]]));
    let dead = || good(world.ours(&["nix-store", "--gc", "--print-dead", at[0], at[1]]));
    // The process that added it keeps it from being collected, and is still there for a moment.
    wait_until("what was added is dead", || dead().contains(&added));
    assert!(!dead().contains(&made));
    good(world.ours(&["nix-store", "--gc", at[0], at[1]]));
    assert!(world.path("root").join(made.trim_start_matches('/')).exists());
    assert!(!world.path("root").join(added.trim_start_matches('/')).exists());
    let failed = world.ours(&["nix-build", "made.nix", at[0], at[1], "--argstr", "n", "b", "--argstr", "script", "exit 7", "--no-out-link"]);
    assert_eq!(failed.status, Some(100), "{}", failed.stderr);
    assert!(failed.stderr.contains("with exit code 7"), "{}", failed.stderr);
    drop(daemon);
    let gone = world.ours(&["store", "info", at[0], at[1]]);
    assert!(gone.stderr.contains("cannot connect to socket"), "{}", gone.stderr);
}

/// Builds go to other machines; one that is down is left out.
/// Waits until something is so; it always takes a moment, and never long.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("still not so: {what}");
}

#[test]
fn a_build_ends_when_its_client_hangs_up() {
    let world = World::new();
    let daemon = world.daemon("--default-trust");
    // The builder is known by its command line, in which the world's directory stands.
    let mark = text(&world.path("")).to_owned();
    let script = format!(": {mark}; while :; do :; done");
    let builders = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
        processes.filter(|words| String::from_utf8_lossy(words).contains(&format!("> $out; : {mark}"))).count()
    };
    let arguments = ["nix-build", "made.nix", "--store", &daemon.address, "--argstr", "script", &script, "--no-out-link"];
    let mut client = world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the build has begun", || builders() > 0);
    client.kill().unwrap();
    client.wait().unwrap();
    wait_until("nobody builds", || builders() == 0);
    // Nothing is left that another client would wait for.
    good(world.ours(&["nix-build", "made.nix", "--store", &daemon.address, "--no-out-link"]));
}

#[test]
fn a_download_ends_when_its_client_hangs_up() {
    let world = World::new();
    let daemon = world.daemon("--force-trusted");
    // A cache that says what it is and then nothing more.
    let cache = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", cache.local_addr().unwrap());
    let (asked, is_asked) = mpsc::channel();
    let (left, has_left) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in cache.incoming() {
            let (mut stream, asked, left) = (stream.unwrap(), asked.clone(), left.clone());
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(n_read @ 1..) = stream.read(&mut request) {
                    if request[..n_read].starts_with(b"GET /nix-cache-info") {
                        let info = "StoreDir: /nix/store\nWantMassQuery: 1\n";
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{info}", info.len());
                        stream.write_all(answer.as_bytes()).unwrap();
                    } else {
                        asked.send(()).unwrap();
                    }
                }
                let _ = left.send(());
            });
        }
    });
    let wanted = "/nix/store/00000000000000000000000000000001-wanted";
    let arguments = ["nix-store", "--realise", wanted, "--store", &daemon.address, "--option", "substituters", &address];
    let mut client = world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let soon = Duration::from_secs(60);
    is_asked.recv_timeout(soon).expect("the daemon asks the cache");
    client.kill().unwrap();
    client.wait().unwrap();
    has_left.recv_timeout(soon).expect("the daemon gives up");
}

#[test]
fn a_daemon_asks_substituters_for_its_clients() {
    let world = World::new();
    let daemon = world.daemon("--force-trusted");
    let cache = format!("file://{}", text(&world.path("cache")));
    let source = world.path("source");
    let source = text(&source);
    let path = good(world.ours(&["store", "add", "file", "--store", source]));
    good(world.ours(&["copy", "--store", source, "--to", &cache, &path]));
    let query = |is_mass_queried: bool| {
        let info = format!("StoreDir: /nix/store\nWantMassQuery: {}\n", u8::from(is_mass_queried));
        fs::write(world.path("cache/nix-cache-info"), info).unwrap();
        let connector = UnixConnector { socket: world.path("socket"), address: daemon.address.clone() };
        let store = DaemonStore::new(connector, DaemonStoreOptions::new(StoreDir::default()));
        let mut options = ClientOptions::default();
        options.overrides.insert("substituters".into(), cache.clone());
        DaemonService::set_options(&store, &options, true, &()).unwrap();
        let wanted = StorePath::from_base_name(path.trim_start_matches("/nix/store/").as_bytes()).unwrap();
        let infos = store.substitutable_infos(&[(wanted.clone(), None)].into(), &()).unwrap();
        assert!(infos[&wanted].nar_size > 0);
        store.substitutable_paths(&[wanted]).unwrap().len()
    };
    assert_eq!((query(false), query(true)), (0, 1));
}

#[test]
fn builds_on_other_machines_of_ours() {
    let world = World::new();
    let program = world.program();
    let machine = |scheme: &str, word: &str, name: &str, feature: &str| {
        let store = world.path(name);
        format!("{scheme}://localhost?remote-program={program}%20{word}&remote-store={}%3Fsystem-features={feature} - - 2 1 {feature}", text(&store))
    };
    let builders = [
        "ssh-ng://localhost?remote-program=/nonexistent - - 4 9 one,two".to_owned(),
        machine("ssh-ng", "nix-daemon", "machine1", "one"),
        machine("ssh", "nix-store", "machine2", "two"),
    ];
    let root = world.path("root");
    for (feature, name) in [("one", "machine1"), ("two", "machine2")] {
        let answer = world.ours(&[
            "nix-build", "made.nix", "--store", text(&root), "--builders", &builders.join(";"), "-j0", "--no-out-link", "--argstr", "n", feature, "--argstr",
            "feature", feature,
        ]);
        let stderr = answer.stderr.clone();
        let made = good(answer);
        assert!(stderr.contains("cannot build on 'ssh-ng://localhost?remote-program=/nonexistent'"), "{stderr}");
        assert!(stderr.contains(&format!("building {feature}")), "{stderr}");
        for place in [&root, &world.path(name)] {
            assert!(place.join(made.trim_start_matches('/')).exists(), "{feature}");
        }
    }
    let nowhere = world.ours(&["nix-build", "made.nix", "--store", text(&root), "--builders", &builders.join(";"), "-j0", "--argstr", "feature", "three", "--no-out-link"]);
    assert!(nowhere.stderr.contains("local builds are disabled"), "{}", nowhere.stderr);
}

/// Whoever waits for a daemon's build, or for another machine's, and does so no longer, stops it.
#[test]
fn builds_elsewhere_end_with_the_wish_for_them() {
    let world = World::new();
    let program = world.program();
    let daemon = world.daemon("--default-trust");
    let machine = |scheme: &str, word: &str| format!("{scheme}://localhost?remote-program={program}%20{word}&remote-store={} - - 1 1", text(&world.path(scheme)));
    let root = world.path("sending");
    let ways: [Vec<&str>; 3] = [
        vec!["--store", &daemon.address],
        vec!["--store", text(&root), "-j0", "--builders", &machine("ssh-ng", "nix-daemon").leak()[..]],
        vec!["--store", text(&root), "-j0", "--builders", &machine("ssh", "nix-store").leak()[..]],
    ];
    for way in ways {
        // The name of this directory is in the command line of the builder, and of no other process for long.
        let endless = format!("echo running; while :; do : {}; done", text(world.scratch.path()));
        let mut arguments = vec!["nix-build", "made.nix", "--no-out-link", "--argstr", "script", &endless];
        arguments.extend(&way);
        let mut client = world.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(client.stderr.take().unwrap()).lines();
        said.find(|line| line.as_ref().unwrap().ends_with("running")).expect("it runs").unwrap();
        assert_eq!(processes(&endless).len(), 2, "{way:?}: the client and the builder");
        let asked = Instant::now();
        assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", client.id())]).status().unwrap().success());
        let rest: Vec<String> = said.map(|line| line.unwrap()).collect();
        assert_eq!(client.wait().unwrap().code(), Some(1), "{way:?}");
        assert!(rest.iter().any(|line| line == "error: interrupted by the user"), "{way:?}: {rest:?}");
        let client_left = asked.elapsed();
        while !processes(&endless).is_empty() {
            assert!(asked.elapsed() < Duration::from_secs(20), "{way:?}: the build goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{}: the client left after {client_left:?}, the builder after {:?}", way[1], asked.elapsed());
    }
}

/// Returns the processes that have this in their command line.
fn processes(text: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    all.filter(|path| fs::read(path).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))).collect()
}

#[test]
fn the_client_of_a_real_nix_and_our_daemon() {
    let world = World::new();
    let daemon = world.daemon("--default-trust");
    let at = ["--store", daemon.address.as_str()];
    let real = |arguments: &[&str]| world.real(&[arguments, &at].concat());
    let Some(info) = real(&["nix", "store", "info", "--json"]) else { return };
    assert!(good(info).contains("\"trusted\":true"));
    let made = good(real(&["nix-build", "made.nix", "--no-out-link"]).unwrap());
    assert_eq!(fs::read_to_string(world.path("root").join(made.trim_start_matches('/'))).unwrap(), "made a\n");
    let logged = real(&["nix", "build", "-f", "made.nix", "--argstr", "n", "b", "--no-link", "--print-out-paths", "-L"]).unwrap();
    assert!(logged.stderr.contains("made-b> building b"), "{}", logged.stderr);
    let second = good(logged);
    let failed = real(&["nix-build", "made.nix", "--argstr", "n", "c", "--argstr", "script", "exit 7", "--no-out-link"]).unwrap();
    assert!(failed.stderr.contains("builder failed with exit code 7"), "{}", failed.stderr);

    // Everything that its clients ask for.
    let added = good(real(&["nix-store", "--add", "file"]).unwrap());
    let flat = good(real(&["nix-store", "--add-fixed", "sha256", "file"]).unwrap());
    assert_ne!(added, flat);
    good(real(&["nix", "path-info", "--json", &added, &flat, &made]).unwrap());
    good(real(&["nix-store", "-q", "--referrers", &added]).unwrap());
    good(real(&["nix-store", "-q", "--valid-derivers", &made]).unwrap());
    good(real(&["nix-store", "--gc", "--print-roots"]).unwrap());
    good(real(&["nix-store", "--verify", "--check-contents"]).unwrap());
    good(real(&["nix", "store", "verify", "--all", "--no-trust"]).unwrap());
    good(real(&["nix-store", "--optimise"]).unwrap());
    good(real(&["nix-store", "--generate-binary-cache-key", "test", "secret", "public"]).unwrap());
    good(real(&["nix", "store", "sign", "-k", "secret", &made]).unwrap());
    good(real(&["nix-store", "-r", &second, "--add-root", text(&world.path("kept"))]).unwrap());

    // Copies in both directions.
    let other = world.path("other");
    good(world.real(&["nix", "copy", "--from", at[1], "--to", text(&other), "--no-check-sigs", &made]).unwrap());
    fs::write(world.path("file"), "more text").unwrap();
    let more = good(world.real(&["nix-store", "--store", text(&other), "--add", "file"]).unwrap());
    good(world.real(&["nix", "copy", "--from", text(&other), "--to", at[1], &more]).unwrap());
    assert!(world.path("root").join(more.trim_start_matches('/')).exists());

    good(real(&["nix-store", "--gc"]).unwrap());
    let is_there = |path: &str| world.path("root").join(path.trim_start_matches('/')).exists();
    assert!(is_there(&second) && !is_there(&made) && !is_there(&added) && !is_there(&more));
    good(real(&["nix", "store", "delete", "--ignore-liveness", &added]).unwrap_or_else(|| unreachable!()).unless_refused());
}

/// A request that our daemon must refuse, as the real one does.
trait Refused {
    fn unless_refused(self) -> Answer;
}

impl Refused for Answer {
    fn unless_refused(self) -> Answer {
        assert!(self.stderr.contains("you are not allowed to ignore liveness"), "{}", self.stderr);
        Answer { status: Some(0), ..self }
    }
}

#[test]
fn a_real_client_that_our_daemon_does_not_trust() {
    let world = World::new();
    let daemon = world.daemon("--force-untrusted");
    let at = ["--store", daemon.address.as_str()];
    let real = |arguments: &[&str]| world.real(&[arguments, &at].concat());
    let Some(info) = real(&["nix", "store", "info", "--json"]) else { return };
    assert!(good(info).contains("\"trusted\":false"));
    let made = good(real(&["nix-build", "made.nix", "--no-out-link"]).unwrap());
    let other = world.path("other");
    let unsigned = good(world.real(&["nix-build", "--store", text(&other), "made.nix", "--argstr", "n", "z", "--no-out-link"]).unwrap());
    let refused = world.real(&["nix", "copy", "--from", text(&other), "--to", at[1], "--no-check-sigs", &unsigned]).unwrap();
    assert!(refused.stderr.contains("lacks a signature by a trusted key"), "{}", refused.stderr);
    let restricted = real(&["nix-build", "made.nix", "--no-out-link", "--option", "post-build-hook", "/bin/true"]).unwrap();
    assert!(restricted.stderr.contains("ignoring the client-specified setting 'post-build-hook'"), "{}", restricted.stderr);
    let refused = real(&["nix-store", "-r", &made, "--repair"]).unwrap();
    assert_ne!(refused.status, Some(0));
    good(real(&["nix-store", "--gc"]).unwrap());
}

/// Each drives the other, over both protocols.
#[test]
fn builds_sent_to_and_by_a_real_nix() {
    let world = World::new();
    let Some(real_nix) = std::env::var("REAL_NIX").ok() else {
        println!("skipped: REAL_NIX names no command that runs a real Nix");
        return;
    };
    let program = world.program();
    for (scheme, word) in [("ssh-ng", "nix-daemon"), ("ssh", "nix-store")] {
        let machine = |program: &str, name: &str| {
            format!("{scheme}://localhost?remote-program={}%20{word}&remote-store={} - - 1 1", program.replace(' ', "%20"), text(&world.path(name)))
        };
        // Ours sends to a real one.
        let (from, to) = (format!("from-ours-{scheme}"), format!("to-real-{scheme}"));
        let answer = world.ours(&["nix-build", "made.nix", "--store", text(&world.path(&from)), "--builders", &machine(&real_nix, &to), "-j0", "--no-out-link"]);
        let made = good(answer);
        for name in [&from, &to] {
            assert!(world.path(name).join(made.trim_start_matches('/')).exists(), "{name}");
        }
        // A real one sends to ours.
        let (from, to) = (format!("from-real-{scheme}"), format!("to-ours-{scheme}"));
        let answer = world.real(&["nix-build", "made.nix", "--store", text(&world.path(&from)), "--builders", &machine(&program, &to), "-j0", "--no-out-link"]);
        assert_eq!(good(answer.unwrap()), made);
        for name in [&from, &to] {
            assert!(world.path(name).join(made.trim_start_matches('/')).exists(), "{name}");
        }
    }
}

/// The real one asks our program where to build.
#[test]
fn a_real_nix_builds_through_our_hook() {
    let world = World::new();
    let program = world.program();
    let hook = format!("{program} __build-remote");
    let build = |n: &str, to: &str, more: &[&str]| {
        let from = world.path("from");
        let builders = format!("{to} x86_64-linux - 1 1 wanted");
        let arguments = ["nix-build", "made.nix", "--store", text(&from), "--builders", &builders, "-j0", "--no-out-link", "--argstr", "n", n];
        world.real(&[&arguments, more, &["--option", "build-hook", &hook]].concat())
    };
    let rooted = world.path("rooted");
    let Some(answer) = build("a", text(&rooted), &["--argstr", "feature", "wanted"]) else { return };
    assert!(answer.stderr.contains("building a\n"), "the output of the builder comes over: {}", answer.stderr);
    let made = good(answer);
    for root in [&rooted, &world.path("from")] {
        assert_eq!(fs::read_to_string(root.join(made.trim_start_matches('/'))).unwrap(), "made a\n");
    }
    let behind = format!("ssh-ng://localhost?remote-program={program}%20nix-daemon&remote-store={}", text(&world.path("behind")));
    let made = good(build("b", &behind, &[]).unwrap());
    assert!(world.path("behind").join(made.trim_start_matches('/')).exists());

    // What fails there fails here, and what nobody takes is said to be so.
    let failed = build("c", text(&rooted), &["--argstr", "script", "exit 7"]).unwrap();
    assert!(failed.status != Some(0) && failed.stderr.contains("builder failed with exit code 7"), "{}", failed.stderr);
    let declined = build("d", text(&rooted), &["--argstr", "feature", "unknown"]).unwrap();
    assert!(declined.status != Some(0) && declined.stderr.contains("unknown"), "{}", declined.stderr);
}
