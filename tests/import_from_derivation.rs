//! Import from derivation on the command line: builds that an evaluation needs go on at once where one does not need the other.

use nixlang_tests::{Answer, command, scratch};

/// Each builder waits for a file that the other makes, so neither ends unless both go on at the same time.
const EXPRESSION: &str = r#"
let
  build = own: other: derivation {
    name = own; system = builtins.currentSystem; builder = "/bin/sh"; PATH = "/usr/bin:/bin";
    args = [ "-c" ": > $MEETING/${own}; n=0; until [ -e $MEETING/${other} ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done; echo $name > $out" ];
    MEETING = builtins.getEnv "MEETING";
  };
  user = read: derivation { name = "user"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ${read} > $out" ]; };
  line = name: builtins.trace "reads ${name}" (builtins.replaceStrings [ "\n" ] [ "" ] (builtins.readFile (build name (if name == "one" then "two" else "one"))));
in {
  one = user (line "one");
  two = user (line "two");
  three = builtins.trace "three" (user "three");
}
"#;

fn run(arguments: &[&str]) -> (Answer, tempfile::TempDir) {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    std::fs::write(at("default.nix"), EXPRESSION).expect("written");
    std::fs::create_dir(at("meeting")).expect("made");
    let output = command(scratch.path(), arguments)
        .env("NIX_STORE_DIR", at("store"))
        .env("NIX_STATE_DIR", at("var"))
        .env("NIX_LOG_DIR", at("log"))
        .env("NIX_CONFIG", "sandbox = false\nsubstitute = false\nmax-jobs = 2\nbuild-dir = ")
        .env("MEETING", at("meeting"))
        .env("TMPDIR", scratch.path())
        .output()
        .expect("it runs");
    (output.into(), scratch)
}

#[test]
fn members_of_a_set_are_built_for_side_by_side() {
    let (answer, scratch) = run(&["nix-build", "--no-out-link"]);
    assert_eq!(answer.status, Some(0), "{}", answer.stderr);
    let built: Vec<_> = answer.stdout.lines().map(|path| std::fs::read_to_string(path).expect("it was built")).collect();
    assert_eq!(built, ["one\n", "three\n", "two\n"], "{}", scratch.path().display());
    // Nothing is said twice, though it was looked at twice.
    let mut said: Vec<_> = answer.stderr.lines().filter(|line| line.starts_with("trace: ")).collect();
    said.sort_unstable();
    assert_eq!(said, ["trace: reads one", "trace: reads two", "trace: three"]);
}

#[test]
fn attributes_and_installables_are_built_for_side_by_side() {
    for arguments in [&["nix-build", "--no-out-link", "-A", "two", "-A", "one"][..], &["build", "--no-link", "--print-out-paths", "-f", ".", "two", "one"]] {
        let (answer, scratch) = run(arguments);
        assert_eq!(answer.status, Some(0), "{}", answer.stderr);
        let built: Vec<_> = answer.stdout.lines().map(|path| std::fs::read_to_string(path).expect("it was built")).collect();
        assert_eq!(built, ["two\n", "one\n"], "{arguments:?} {}", scratch.path().display());
    }
}
