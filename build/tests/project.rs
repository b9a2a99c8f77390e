//! A project of 300 derivations, shaped like a C program with its libraries: killed with -9 ten times at different
//! moments and resumed. Nothing that was valid is built again, and nothing is lost.
//!
//! This program is also the process that is killed, and its own helper process; hence no test harness.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nixlang_build::{BuildEvent, BuildOptions, Builder, CancelToken, DerivedPath, Observer};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::{DerivationOutput, InputOutputs, Placeholder, placeholder};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use support::{World, sh};

const CHILD: &str = "NIXLANG_TEST_PROJECT_ROOT";
const N_LIBRARIES: usize = 10;
const N_OBJECTS: usize = 27;
const N_CHAIN: usize = 9;
const N_KILLS: u32 = 10;

/// Writes the names of derivations whose builders start.
struct Started(Mutex<std::fs::File>);

impl Observer for Started {
    fn event(&self, event: &BuildEvent<'_>) {
        if let BuildEvent::Started { derivation, .. } = event {
            writeln!(self.0.lock().unwrap(), "{}", derivation.base_name()).unwrap();
        }
    }
}

fn main() {
    let helper = nixlang_build::helper_main();
    if let Some(root) = std::env::var_os(CHILD) {
        let root = Path::new(&root);
        let store = support::open(root);
        let derivation = std::env::args().nth(1).expect("the parent names a derivation");
        let derivation = store.store_dir().parse(derivation).expect("the parent names a store path");
        let features = ["ca-derivations".to_owned()].into();
        let options = BuildOptions { max_jobs: 2, experimental_features: features, ..BuildOptions::new(helper) };
        let builder = Builder::new(Arc::clone(&store), options);
        let plan = builder.plan(&[DerivedPath::from_path(derivation)]).unwrap();
        let started = Started(Mutex::new(std::fs::File::options().append(true).create(true).open(root.join("started")).unwrap()));
        let outcome = builder.run(&plan, &started, &CancelToken::new());
        for (path, result) in outcome.failures() {
            eprintln!("{}: {}: {}", store.store_dir().display(path), result.status, result.message);
        }
        std::process::exit(outcome.exit_status().into());
    }

    let world = World::new();
    // How long does a part take? The kills come after so much more or less.
    let warm_up = project(&world, "warm-up", 1, 20);
    let start = Instant::now();
    assert!(child(&world, &warm_up).wait().unwrap().success());
    let whole = start.elapsed() * 10;
    take_started(&world);

    let program = project(&world, "project", N_LIBRARIES, N_OBJECTS);
    let derivations: Vec<StorePath> =
        world.store.closure(std::slice::from_ref(&program)).unwrap().into_iter().filter(StorePath::is_derivation).collect();
    assert_eq!(derivations.len(), 300);

    let (mut n_killed, mut n_built) = (0, 0);
    let mut random: u32 = 7;
    for round in 0..=N_KILLS {
        let valid: BTreeSet<String> = derivations.iter().filter(|path| is_built(&world, path)).map(StorePath::base_name).collect();
        let mut process = child(&world, &program);
        if round < N_KILLS {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // A twelfth of the whole on average.
            std::thread::sleep(whole / 6 * (random >> 16) / 65536);
            process.kill().unwrap();
        }
        let status = process.wait().unwrap();
        if status.signal() == Some(9) {
            n_killed += 1;
        } else {
            assert!(status.success(), "round {round}: {status}");
        }
        let started = take_started(&world);
        n_built += started.len();
        let again: Vec<&String> = started.iter().filter(|name| valid.contains(*name)).collect();
        assert!(again.is_empty(), "round {round}: built although valid: {again:?}");
        let mut unique = started.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), started.len(), "round {round}: built twice in one run");
        let still: BTreeSet<String> = derivations.iter().filter(|path| is_built(&world, path)).map(StorePath::base_name).collect();
        assert!(still.is_superset(&valid), "round {round}: lost {:?}", valid.difference(&still));
    }
    assert!(derivations.iter().all(|path| is_built(&world, path)));
    let out = world.store.derivation_outputs(&program).unwrap()["out"].clone().unwrap();
    let text = std::fs::read_to_string(world.real(&out)).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("object")).count(), N_LIBRARIES * N_OBJECTS);
    assert!(text.contains("configured 0 1 2 3 4 5 6 7 8"), "{text}");
    let leftovers: Vec<String> = world.leftovers().into_iter().filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(leftovers, Vec::<String>::new());
    assert!(n_killed > 0, "no process was still running when it was killed");
    println!("killed {n_killed} of {N_KILLS} runs; {n_built} builders started for 300 derivations");
}

/// Returns whether all outputs of a derivation are valid.
fn is_built(world: &World, derivation: &StorePath) -> bool {
    let outputs = world.store.derivation_outputs(derivation).unwrap();
    outputs.values().all(|path| path.as_ref().is_some_and(|path| world.store.is_valid(path).unwrap()))
}

/// Returns what has been started since the last time.
fn take_started(world: &World) -> Vec<String> {
    let file = world.scratch.path().join("started");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(file);
    text.lines().map(str::to_owned).collect()
}

fn child(world: &World, derivation: &StorePath) -> Child {
    let started = Command::new(std::env::current_exe().unwrap())
        .arg(world.store.store_dir().display(derivation))
        .env(CHILD, world.scratch.path())
        .spawn();
    // The lock files of a killed process are gone before its builders are.
    std::thread::sleep(Duration::from_millis(1));
    started.unwrap()
}

/// Per library a fixed output (its header), objects, and an archive with two outputs; a content-addressed chain; and a
/// program with structured attributes. Returns the program.
fn project(world: &World, name: &str, n_libraries: usize, n_objects: usize) -> StorePath {
    let dir = world.store.store_dir().clone();
    let show = |path: &StorePath| dir.display(path);
    let mut inputs: Vec<StorePath> = Vec::new();
    let mut archives = Vec::new();
    for library in 0..n_libraries {
        let text = format!("header of {name} {library}\n");
        let hash = Hash::digest(Algorithm::Sha256, text.as_bytes());
        let (header, header_out) = world.add_one(
            sh(&format!("{name}-{library}.h"), &format!("echo header of {name} {library} > $out")).fixed(ContentAddressMethod::Flat, hash),
        );
        let mut objects = Vec::new();
        let mut archive = sh(&format!("{name}-lib{library}"), "for o in $objects; do read x < $o; echo $x; done > $out; echo $out > $dev")
            .outputs(&["dev", "out"]);
        for object in 0..n_objects {
            let script = "read x < $header; i=0; while test $i -lt 300; do i=$((i+1)); done; echo object $name $x > $out";
            let (path, out) = world
                .add_one(sh(&format!("{name}-{library}-{object}.o"), script).env("header", &show(&header_out)).input(&header));
            archive = archive.input(&path);
            objects.push(show(&out));
        }
        let (path, outputs) = world.add(archive.env("objects", &objects.join(" ")));
        archives.push(show(&outputs["out"]));
        inputs.push(path);
    }
    let mut previous: Option<StorePath> = None;
    for link in 0..N_CHAIN {
        let mut recipe = match &previous {
            None => sh(&format!("{name}-config"), "echo configured 0 > $out"),
            Some(previous) => {
                let made = Placeholder::content_addressed_output(previous, "out").to_string();
                sh(&format!("{name}-config"), &format!("read x < $previous; echo $x {link} > $out")).env("previous", &made).input(previous)
            }
        };
        let output = DerivationOutput::Floating { method: ContentAddressMethod::Nar, algorithm: Algorithm::Sha256 };
        recipe.derivation.outputs = [("out".into(), output)].into();
        previous = Some(world.add_path(recipe.env("out", &placeholder("out"))));
    }
    let config = previous.expect("the chain is not empty");
    let made = Placeholder::content_addressed_output(&config, "out").to_string();
    // The shell of the tests knows no `declare`, so the other file has to do.
    let script = r#"read -r json < $NIX_ATTRS_JSON_FILE; out=${json##*'"outputs":{"out":"'}; out=${out%%'"'*}
        read c < CONFIG; { echo $c; for a in ARCHIVES; do while read -r x; do echo $x; done < $a; done; } > $out"#;
    let mut recipe = sh(name, &script.replace("CONFIG", &made).replace("ARCHIVES", &archives.join(" ")));
    recipe = recipe.structured(&format!(r#"{{"name":"{name}","libraries":{}}}"#, serde_json::to_string(&archives).unwrap()));
    recipe.derivation.input_derivations.insert(config, InputOutputs::plain(["out"]));
    for input in inputs {
        recipe = recipe.input(&input);
    }
    world.add_path(recipe)
}
