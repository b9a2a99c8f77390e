//! Scripts in `scripts/` that use the commands as people do, each with the output that it must have.
//!
//! A script runs in a directory of its own, with a store of its own in it and the commands under test in `PATH` under all their names.
//! What it writes to standard output must be what stands in the file `NAME.out`, in which `SCRATCH` is the directory.
//!
//! The expectations are the answers of the real Nix 2.34.8, but for scripts whose first line says otherwise: with `REAL_NIX` (a command
//! that runs its arguments where that Nix is, and sees the target folder) every script is run with it as well and must say the same;
//! `UPDATE_EXPECT=1` writes down what it says. `ONLY` is a part of the name of the scripts to run.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nixlang_tests::{Answer, files, nixlang, repository, scratch};

const NAMES: &[&str] = &[
    "nix", "nix-build", "nix-channel", "nix-collect-garbage", "nix-env", "nix-hash", "nix-instantiate", "nix-shell", "nix-store",
];

/// What every script starts with; `$1` is the directory to run in.
const PROLOGUE: &str = r#"
set -eu
cd "$1"
[ ! -d bin ] || PATH=$PWD/bin:$PATH
export HOME=$PWD/home TMPDIR=$PWD/tmp NIX_STORE_DIR=$PWD/store NIX_STATE_DIR=$PWD/var NIX_LOG_DIR=$PWD/var/log NIX_CONF_DIR=$PWD/etc
export XDG_CACHE_HOME=$PWD/cache LC_ALL=C.UTF-8 TOOLS=$PATH SHELL_PROGRAM=$(type -P bash)
unset NIX_PATH NIX_REMOTE NIX_PROFILE XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME
export NIX_CONFIG="
sandbox = false
substitute = false
build-users-group =
experimental-features = nix-command ca-derivations git-hashing
"
mkdir -p "$HOME" "$TMPDIR"
. ./script.sh
"#;

/// Runs a script with the commands of a Nix. Returns what is wrong with what it said.
fn check(script: &Path, real: Option<&str>) -> Option<String> {
    // What a real Nix runs in sees the system's temporary directory.
    let scratch = if real.is_some() { tempfile::tempdir().expect("a directory can be made") } else { scratch() };
    let directory = scratch.path();
    fs::copy(script, directory.join("script.sh")).expect("copied");
    let mut command = match real {
        Some(real) => {
            let mut command = Command::new(real);
            command.arg("bash").current_dir("/");
            command
        }
        None => {
            let links = directory.join("bin");
            fs::create_dir(&links).expect("made");
            NAMES.iter().for_each(|name| symlink(&nixlang()[0], links.join(name)).expect("made"));
            Command::new("bash")
        }
    };
    let output = command.args(["-c", PROLOGUE, "bash"]).arg(directory).stdin(Stdio::null()).output().expect("it runs");
    let answer = Answer::from(output);
    // Stores are read-only; their owner may change that.
    let _ = Command::new("chmod").args(["-R", "u+w"]).arg(directory).status();
    let said = answer.stdout.replace(directory.to_str().expect("UTF-8"), "SCRATCH");
    let expectation = script.with_extension("out");
    if real.is_some() && env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&expectation, &said).expect("the repository is writable");
    }
    let expected = fs::read_to_string(&expectation).unwrap_or_default();
    let who = if real.is_some() { "the real one" } else { "ours" };
    (answer.status != Some(0) || said != expected).then(|| {
        format!("{}, {who}: status {:?}\n{said}\nexpected:\n{expected}\nstandard error:\n{}", script.display(), answer.status, answer.stderr)
    })
}

#[test]
fn scripts_say_what_they_say_with_the_real_one() {
    let (real, only) = (env::var("REAL_NIX").ok(), env::var("ONLY").unwrap_or_default());
    let scripts = files(&repository().join("tests/scripts"), ".sh");
    assert!(!scripts.is_empty());
    let mut wrong = Vec::new();
    for script in scripts.iter().filter(|script| script.to_string_lossy().contains(&only)) {
        let is_only_ours = fs::read_to_string(script).expect("there").starts_with("# Not with the real one:");
        if let Some(real) = real.as_deref().filter(|_| !is_only_ours) {
            wrong.extend(check(script, Some(real)));
        }
        wrong.extend(check(script, None));
    }
    if real.is_none() {
        eprintln!("REAL_NIX is not set: what scripts must say was not compared with the real one");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
