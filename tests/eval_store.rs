//! Evaluated in one store and built in another (`--eval-store`), and what addresses of stores say when they can't be opened.

use std::fs;
use std::path::Path;

use nixlang_tests::{Answer, command};

const EXPRESSION: &str = r#"
let
  make = name: args: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" "read -r line < $source; echo made of $line > $out" ];
  } // args);
in rec {
  base = make "base" { source = ./source; };
  top = make "top" { source = base; };
  # Built while it is evaluated.
  imported = import (make "imported" { source = ./number; args = [ "-c" "echo 41 + 1 > $out" ]; });
}
"#;

struct World(tempfile::TempDir);

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("made.nix", EXPRESSION), ("source", "a source\n"), ("number", "")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        World(dir)
    }

    fn run(&self, words: &[&str]) -> Answer {
        let mut run = command(self.0.path(), words);
        run.env("HOME", self.0.path().join("home")).env("NIX_CONFIG", "sandbox = false\nsubstituters =\n");
        Answer::from(run.output().unwrap())
    }

    #[track_caller]
    fn works(&self, words: &[&str]) -> String {
        let answer = self.run(words);
        assert_eq!(answer.status, Some(0), "{words:?}: {}", answer.stderr);
        answer.stdout.trim().to_owned()
    }

    /// Names, without their hashes, of what is in a store.
    fn names(&self, store: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path().join(store).join("nix/store"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.retain(|name| name.len() > 33);
        names.iter_mut().for_each(|name| *name = name[33..].to_owned());
        names.sort();
        names
    }
}

fn in_store<'w>(words: &[&'w str], build: &'w str, evaluation: &'w str) -> Vec<&'w str> {
    [words, &["--store", build, "--eval-store", evaluation]].concat()
}

#[test]
fn derivations_stay_in_the_store_of_evaluations() {
    let world = World::new();
    let derivation = world.works(&in_store(&["nix-instantiate", "made.nix", "-A", "top"], "./build", "./eval"));
    assert!(derivation.ends_with("-top.drv"));
    assert_eq!(world.names("eval"), ["base.drv", "source", "top.drv"]);
    assert_eq!(world.names("build"), [""; 0]);
    let made = world.works(&in_store(&["nix-build", "made.nix", "-A", "top", "-o", "result"], "./build", "./eval"));
    assert_eq!(world.names("build"), ["base", "source", "top"]);
    let file = Path::new(&made).strip_prefix("/").unwrap();
    assert_eq!(fs::read_to_string(world.0.path().join("build").join(file)).unwrap(), "made of made of a source\n");
    // A second time nothing is left to do, also for the new command line.
    let again = world.works(&in_store(&["build", "-f", "made.nix", "top", "--no-link", "--print-out-paths"], "./build", "./eval"));
    assert_eq!(again, made);
    world.works(&["nix-store", "--store", "./build", "--verify", "--check-contents"]);
}

#[test]
fn imports_are_built_in_the_other_store() {
    let world = World::new();
    let words = in_store(&["eval", "--impure", "-f", "made.nix", "imported"], "./build", "./eval?require-sigs=false");
    assert_eq!(world.works(&words), "42");
    assert_eq!(world.names("build"), ["imported", "number"]);
    assert_eq!(world.names("eval"), ["imported", "imported.drv", "number"]);
}

#[test]
fn dummy_stores_of_evaluations() {
    let world = World::new();
    let refused = world.run(&in_store(&["nix-instantiate", "made.nix", "-A", "top"], "./build", "dummy://"));
    assert!(refused.stderr.contains("not supported by store 'dummy://'"), "{}", refused.stderr);
    let derivation = world.works(&in_store(&["nix-instantiate", "made.nix", "-A", "top"], "./build", "dummy://?read-only=false"));
    assert_eq!(derivation, world.works(&in_store(&["nix-instantiate", "made.nix", "-A", "top"], "./build", "./eval")));
}

#[test]
fn overlays_need_the_feature_and_the_mount() {
    let world = World::new();
    let address = "local-overlay://?root=merged&lower-store=./lower&upper-layer=upper";
    let refused = world.run(&["store", "info", "--store", address]);
    assert!(refused.stderr.contains("experimental Nix feature 'local-overlay-store' is disabled"), "{}", refused.stderr);
    let refused = world.run(&["store", "--extra-experimental-features", "local-overlay-store", "info", "--store", address]);
    assert!(refused.stderr.contains("mounted incorrectly"), "{}", refused.stderr);
}
