//! `nix-shell`, `develop`, `print-dev-env` and `shell`, on a derivation whose builder is the machine's bash.
//!
//! Builds run without a sandbox here, since that bash is nothing that a sandbox shows. The same cases pass with the real Nix 2.34.8
//! (`NIXLANG=nix`-like commands), but for the message of the last one.

use std::fs;
use std::path::Path;

use nixlang_tests::{Answer, command, scratch};

const EXPRESSION: &str = r#"
{ inNixShell ? false }:
let
  path = builtins.getEnv "TOOLS";
  mk = attrs: derivation ({ system = builtins.currentSystem; builder = builtins.getEnv "BASH_PROGRAM"; args = [ "-c" attrs.script ]; PATH = path; } // attrs);
  stdenv = mk { name = "stdenv"; script = "mkdir $out; echo 'export FROM_SETUP=1; greet() { echo hello \"$1\"; }; list=(1 \"2 3\"); runHook() { eval \"\${!1}\"; }' > $out/setup"; };
in {
  env = mk {
    name = "env"; script = "exit 7"; inherit stdenv;
    VARIABLE = "it's"; shell = toString inNixShell; outputs = [ "dev" "out" ]; passAsFile = [ "text" ]; text = "in a file"; shellHook = "HOOK=ran"; somePhase = "echo phase";
  };
  structured = mk { name = "structured"; script = "exit 7"; inherit stdenv; __structuredAttrs = true; my.list = [ "a" "b" ]; outputs = [ "out" ]; };
  tool = mk { name = "tool"; script = "mkdir -p $out/bin; printf '#!%s\\necho tool \"$@\"\\n' \"$BASH\" > $out/bin/tool; chmod +x $out/bin/tool"; };
}
"#;

/// What a case runs, and its whole standard output.
const CASES: &[(&[&str], &str)] = &[
    (&["nix-shell", "-A", "env", "--run", "echo $VARIABLE $FROM_SETUP $IN_NIX_SHELL $shell $HOOK; greet you; cat $textPath"], "it's 1 impure 1 ran\nhello you\nin a file"),
    (&["nix-shell", "-A", "env", "--pure", "--keep", "KEPT", "--run", "echo $KEPT-$LOST-$IN_NIX_SHELL"], "kept--pure\n"),
    (&["nix-shell", "-A", "structured", "--run", "echo ${my[list]-} $name; [[ $(< $NIX_ATTRS_JSON_FILE) == *'\"list\":[\"a\",\"b\"]'* ]] && echo yes"], "structured\nyes\n"),
    (&["nix-shell", "-p", "1 +", "--run", "echo no"], ""),
    (&["./script", "a b", "c"], "script a b c it's\n"),
    (&["develop", "-f", ".", "env", "-c", "bash", "-c", "echo $VARIABLE $FROM_SETUP $IN_NIX_SHELL ${out#$PWD}"], "it's 1 impure /outputs/out\n"),
    (&["develop", "-f", ".", "env", "--phase", "some"], "phase\n"),
    (&["shell", "-f", ".", "tool", "-c", "tool", "x"], "tool x\n"),
    (&["shell", "-f", ".", "tool", "-i", "-s", "ONE", "1", "-c", "/usr/bin/env"], "ONE=1\n"),
];

fn run(directory: &Path, arguments: &[&str]) -> Answer {
    let in_directory = |name: &str| directory.join(name);
    let mut command = match arguments[0] {
        "./script" => {
            let mut all = vec!["nix-shell"];
            all.extend(arguments);
            command(directory, all)
        }
        _ => command(directory, arguments),
    };
    command.env("NIX_STORE_DIR", in_directory("store")).env("NIX_STATE_DIR", in_directory("var")).env("NIX_LOG_DIR", in_directory("log"));
    command.env("NIX_CONFIG", "sandbox = false\nsubstitute = false\nbuild-dir = ").env("TOOLS", tools()).env("BASH_PROGRAM", bash());
    command.env("NIX_BUILD_SHELL", bash()).env("KEPT", "kept").env("LOST", "lost").env("TMPDIR", directory);
    command.output().expect("it runs").into()
}

fn bash() -> String {
    ["/bin/bash", "/usr/bin/bash"].into_iter().find(|path| Path::new(path).exists()).expect("these tests need bash").to_owned()
}

fn tools() -> &'static str {
    "/usr/bin:/bin"
}

fn prepare() -> tempfile::TempDir {
    let directory = scratch();
    fs::write(directory.path().join("default.nix"), EXPRESSION).expect("written");
    fs::write(
        directory.path().join("script"),
        "#! /usr/bin/env nix-shell\n#! nix-shell -A env -i bash default.nix\necho script \"$@\" \"$VARIABLE\"\n",
    )
    .expect("written");
    directory
}

#[test]
fn shells_have_the_environment_of_derivations() {
    let directory = prepare();
    for (arguments, expected) in CASES {
        let answer = run(directory.path(), arguments);
        // The variables of a shell that was told to forget all others.
        let stdout: String = answer.stdout.lines().filter(|line| !line.starts_with("PATH=")).map(|line| format!("{line}\n")).collect();
        assert_eq!(stdout.trim_end(), expected.trim_end(), "{arguments:?}: {}", answer.stderr);
    }
    let left: Vec<_> = fs::read_dir(directory.path()).expect("there").filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(left.iter().all(|name| !name.starts_with("nix-shell.") || name.len() == "nix-shell.".len() + 6), "{left:?}");
}

#[test]
fn a_build_environment_is_json_or_a_script() {
    let directory = prepare();
    let answer = run(directory.path(), &["print-dev-env", "-f", ".", "env", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {}", answer.stderr));
    assert_eq!(json["variables"]["VARIABLE"], serde_json::json!({ "type": "exported", "value": "it's" }));
    assert_eq!(json["variables"]["list"], serde_json::json!({ "type": "array", "value": ["1", "2 3"] }));
    assert_eq!(json["bashFunctions"]["greet"].as_str().map(str::trim), Some("echo hello \"$1\""));
    let script = run(directory.path(), &["print-dev-env", "-f", ".", "env"]);
    fs::write(directory.path().join("env.sh"), &script.stdout).expect("written");
    let check = "set -e; source ./env.sh; greet x; echo \"${list[1]} $VARIABLE\"";
    let sourced = std::process::Command::new(bash()).args(["-c", check]).current_dir(directory.path()).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&sourced.stdout), "hello x\n2 3 it's\n", "{}", String::from_utf8_lossy(&sourced.stderr));

    let structured = run(directory.path(), &["print-dev-env", "-f", ".", "structured", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&structured.stdout).unwrap_or_else(|error| panic!("{error}: {}", structured.stderr));
    assert_eq!(json["variables"]["outputs"]["type"], "associative");
    assert!(json["structuredAttrs"][".attrs.json"].as_str().is_some_and(|text| text.contains("\"list\":[\"a\",\"b\"]")), "{json}");
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let directory = prepare();
    let check = |arguments: &[&str], expected: &str| {
        let answer = run(directory.path(), arguments);
        assert_eq!((answer.status, answer.error().first().map(String::as_str)), (Some(1), Some(expected)), "{arguments:?}: {}", answer.stderr);
    };
    check(&["nix-shell"], "nix-shell requires a single derivation");
    check(&["nix-shell", "-p", "a", "-E", "b"], "'-p' and '-E' are mutually exclusive");
    check(&["nix-shell", "/missing"], "path '/missing' does not exist");
    check(&["develop", "-f", ".", "env", "--phase", "x", "-c", "y"], "you cannot use both '--command' and '--phase'");
    check(&["shell", "-f", ".", "tool", "-c"], "--command requires at least one argument");
    check(&["shell", "-f", ".", "tool", "-k", "A", "-c", "tool"], "--keep-env-var does not make sense without --ignore-env");
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let answer = run(&empty, &["nix-shell"]);
    assert_eq!(answer.error(), ["no argument specified and no 'shell.nix' or 'default.nix' file found in the working directory"]);
}
