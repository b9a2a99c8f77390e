//! What two command lines hand to each other: databases as text, exports, signatures, and one store that both verify and
//! collect in. Each thing is done both ways: written by ours and read by a real Nix, and the other way round.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools, such as `env` where one is installed. It must see the system's
//! directory for temporary files (`TMPDIR`) under the same path. Without it these tests say that they are skipped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixlang_tests::{Answer, command};

const EXPRESSION: &str = r#"
let make = name: src: derivation {
      inherit name src;
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ "-c" "echo ${src} > $out" ];
    };
in make "top" "${make "middle" (builtins.toFile "base" "text")}"
"#;

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Ours,
    Theirs,
}

use Side::{Ours, Theirs};

/// Writer and reader, both ways.
const BOTH_WAYS: [(Side, Side); 2] = [(Ours, Theirs), (Theirs, Ours)];

struct World {
    scratch: tempfile::TempDir,
}

impl World {
    /// `None`, and a word about it, if there is no real Nix.
    fn new() -> Option<World> {
        if std::env::var_os("REAL_NIX").is_none() {
            println!("skipped: REAL_NIX names no command that runs a real Nix");
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("made.nix"), EXPRESSION).unwrap();
        fs::write(scratch.path().join("file"), "some text").unwrap();
        Some(World { scratch })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs a command of one of the two in the store called `store`, with a file as standard input.
    fn run(&self, side: Side, store: &str, words: &[&str], input: Option<&Path>) -> Answer {
        let mut run = match side {
            Ours => command(self.scratch.path(), words.strip_prefix(&["nix"]).unwrap_or(words)),
            Theirs => {
                let mut real = Command::new(std::env::var_os("REAL_NIX").expect("looked for at the start"));
                real.args(words).current_dir(self.scratch.path());
                real
            }
        };
        run.args(["--store", self.path(store).to_str().unwrap()]).env("HOME", self.path("home")).env_remove("NIX_STORE_DIR");
        run.env("NIX_CONFIG", "sandbox = false\nsubstituters =\nbuild-users-group =\nexperimental-features = nix-command\n");
        run.stdin(input.map_or(Stdio::null(), |path| File::open(path).unwrap().into()));
        Answer::from(run.output().unwrap())
    }

    #[track_caller]
    fn works(&self, side: Side, store: &str, words: &[&str]) -> String {
        self.works_on(side, store, words, None)
    }

    #[track_caller]
    fn works_on(&self, side: Side, store: &str, words: &[&str], input: Option<&Path>) -> String {
        let answer = self.run(side, store, words, input);
        assert_eq!(answer.status, Some(0), "{side:?} {words:?}: {}", answer.stderr);
        answer.stdout.trim_end().to_owned()
    }

    /// Builds the expression in a store. Returns the output, and all that it was made from and of.
    fn build(&self, side: Side, store: &str) -> (String, Vec<String>) {
        let derivation = self.works(side, store, &["nix-instantiate", "made.nix"]);
        let output = self.works(side, store, &["nix-store", "-r", &derivation]);
        let closure = self.works(side, store, &["nix-store", "-qR", "--include-outputs", &derivation]);
        (output, closure.lines().map(str::to_owned).collect())
    }

    /// The database as text, without the order of paths.
    fn dump(&self, side: Side, store: &str) -> Vec<String> {
        let text = self.works(side, store, &["nix-store", "--dump-db"]);
        let mut lines = text.lines();
        let mut entries = Vec::new();
        while let Some(path) = lines.next() {
            let mut entry: Vec<&str> = vec![path];
            entry.extend(lines.by_ref().take(4));
            let n_references = entry[4].parse().unwrap();
            let mut references: Vec<&str> = lines.by_ref().take(n_references).collect();
            references.sort_unstable();
            entry.extend(references);
            entries.push(entry.join("\n"));
        }
        entries.sort_unstable();
        entries
    }
}

/// What one dumps the other loads, and then both dump the same.
#[test]
fn databases_as_text() {
    let Some(world) = World::new() else { return };
    for (writer, reader) in BOTH_WAYS {
        let (from, to) = (format!("db-{writer:?}"), format!("db-{writer:?}-{reader:?}"));
        let (_, paths) = world.build(writer, &from);
        let text = world.works(writer, &from, &["nix-store", "--dump-db"]);
        let file = world.path("dump");
        fs::write(&file, format!("{text}\n")).unwrap();
        // The files come another way.
        fs::create_dir_all(world.path(&to).join("nix")).unwrap();
        let copied = Command::new("cp").arg("-a").arg(world.path(&from).join("nix/store")).arg(world.path(&to).join("nix/store")).status();
        assert!(copied.unwrap().success());
        world.works_on(reader, &to, &["nix-store", "--load-db"], Some(&file));
        let expected = world.dump(writer, &from);
        assert_eq!(expected.len(), paths.len());
        for side in [Ours, Theirs] {
            assert_eq!(world.dump(side, &to), expected, "loaded by {reader:?}, dumped by {side:?}");
            world.works(side, &to, &["nix-store", "--verify", "--check-contents"]);
            let outputs = world.works(side, &to, &["nix-store", "-q", "--outputs", paths.iter().find(|path| path.ends_with("top.drv")).unwrap()]);
            assert!(paths.contains(&outputs));
        }
    }
}

/// What one exports the other imports.
#[test]
fn exports_are_imported() {
    let Some(world) = World::new() else { return };
    for (writer, reader) in BOTH_WAYS {
        let (from, to) = (format!("export-{writer:?}"), format!("import-{reader:?}"));
        let (_, paths) = world.build(writer, &from);
        let mut words = vec!["nix-store", "--export"];
        words.extend(paths.iter().map(String::as_str));
        let mut bytes = Vec::new();
        // Both write the same bytes.
        for side in [Ours, Theirs] {
            let store = world.path(&from);
            let mut run = match side {
                Ours => command(world.scratch.path(), &words),
                Theirs => {
                    let mut real = Command::new(std::env::var_os("REAL_NIX").unwrap());
                    real.args(&words).current_dir(world.scratch.path());
                    real
                }
            };
            let output = run.args(["--store", store.to_str().unwrap()]).env("HOME", world.path("home")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            bytes.push(output.stdout);
        }
        assert!(bytes[0] == bytes[1], "{} and {} bytes", bytes[0].len(), bytes[1].len());
        let file = world.path("export");
        fs::write(&file, &bytes[usize::from(writer == Theirs)]).unwrap();
        let imported = world.works_on(reader, &to, &["nix-store", "--import", "--option", "require-sigs", "false"], Some(&file));
        assert_eq!(imported.lines().count(), paths.len());
        for side in [Ours, Theirs] {
            world.works(side, &to, &["nix-store", "--verify", "--check-contents"]);
        }
    }
}

/// What one signs the other accepts, and not with another key.
#[test]
fn signatures_are_accepted() {
    let Some(world) = World::new() else { return };
    for (signer, judge) in BOTH_WAYS {
        let store = format!("signed-by-{signer:?}");
        let (output, _) = world.build(signer, &store);
        let (secret, public) = (format!("secret-{signer:?}"), format!("public-{signer:?}"));
        world.works(signer, &store, &["nix-store", "--generate-binary-cache-key", "exchange-1", &secret, &public]);
        world.works(signer, &store, &["nix", "store", "sign", "-r", "-k", &secret, &output]);
        let key = fs::read_to_string(world.path(&public)).unwrap();
        let verify = |key: &str| {
            world.run(judge, &store, &["nix", "store", "verify", "-r", "--sigs-needed", "1", &output, "--option", "trusted-public-keys", key], None)
        };
        let answer = verify(key.trim());
        assert_eq!(answer.status, Some(0), "{judge:?}: {}", answer.stderr);
        let other = "exchange-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_ne!(verify(other).status, Some(0), "{judge:?}");
        // The public half, made from the secret one by the other.
        let converted = world.run(judge, &store, &["nix", "key", "convert-secret-to-public"], Some(&world.path(&secret)));
        assert_eq!(converted.stdout.trim(), key.trim(), "{}", converted.stderr);
    }
}

/// One writes a store; the other verifies it, reads it, and collects what nothing keeps.
#[test]
fn one_writes_and_the_other_keeps_order() {
    let Some(world) = World::new() else { return };
    for (writer, keeper) in BOTH_WAYS {
        let store = format!("written-by-{writer:?}");
        let (output, paths) = world.build(writer, &store);
        let added = world.works(writer, &store, &["nix-store", "--add", "file"]);
        world.works(keeper, &store, &["nix-store", "--verify", "--check-contents"]);
        world.works(writer, &store, &["nix-store", "--optimise"]);
        world.works(keeper, &store, &["nix-store", "--optimise"]);
        for query in ["--references", "--referrers", "--deriver", "--hash", "--size"] {
            let [one, other] = [writer, keeper].map(|side| world.works(side, &store, &["nix-store", "-q", query, &output]));
            assert_eq!(one, other, "{query}");
        }
        for words in [&["-r", "-s", "-S"][..], &["-s", "-h"], &["--all", "-s"], &["-r", "--sigs"], &["-r", "--json", "--json-format", "2", "-S"]] {
            let words = [&["nix", "path-info", &output, &added][..], words].concat();
            let words: Vec<&str> = words.iter().filter(|word| !words.contains(&"--all") || !word.starts_with("/nix")).copied().collect();
            let [one, other] = [Ours, Theirs].map(|side| world.works(side, &store, &words));
            assert_eq!(one, other, "{words:?}");
        }
        let read = world.works(keeper, &store, &["nix", "store", "cat", &output]);
        assert!(read.ends_with("-middle"), "{read}");
        // What the writer roots the keeper keeps.
        let link = world.path(&format!("root-{writer:?}"));
        world.works(writer, &store, &["nix-store", "-r", &output, "--add-root", link.to_str().unwrap()]);
        let live = world.works(keeper, &store, &["nix-store", "--gc", "--print-live"]);
        assert!(live.lines().any(|line| line == output) && !live.contains(&added), "{live}");
        world.works(keeper, &store, &["nix-store", "--gc"]);
        let real = |path: &str| world.path(&store).join(path.trim_start_matches('/'));
        assert!(real(&output).exists() && !real(&added).exists());
        assert!(paths.iter().filter(|path| path.ends_with(".drv")).all(|path| !real(path).exists() || live.contains(path.as_str())));
        for side in [writer, keeper] {
            world.works(side, &store, &["nix-store", "--verify", "--check-contents"]);
        }
        // And after the root is gone everything goes.
        fs::remove_file(&link).unwrap();
        world.works(keeper, &store, &["nix-store", "--gc"]);
        assert_eq!(world.works(writer, &store, &["nix-store", "--dump-db"]), "");
    }
}
