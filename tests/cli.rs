//! Bad input to the command line: a clear error and exit status 1, however large or odd the input is.
//!
//! The messages are those of the real Nix 2.34.8, which passes the first test too (`NIXLANG=COMMAND`). The inputs of the
//! second are made here; on some of them the real one runs for minutes, so it is not asked.

use std::fs;
use std::time::Duration;

use nixlang_tests::{Answer, command, scratch};

/// A command line, what is in the directory it runs in, and the message it must end with.
struct Bad {
    arguments: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    error: &'static [&'static str],
}

const BAD: &[Bad] = &[
    // Syntax, with the excerpt checked apart below.
    Bad {
        arguments: &["nix-instantiate", "--eval", "bad.nix"],
        files: &[("bad.nix", "{\n  a = 1;\n  b = ;\n}\n")],
        error: &["syntax error, unexpected ';'"],
    },
    Bad {
        arguments: &["nix-instantiate", "--parse", "bad.nix"],
        files: &[("bad.nix", "let a = 1;\n")],
        error: &["syntax error, unexpected end of file, expecting 'in' or 'inherit'"],
    },
    // Files.
    Bad {
        arguments: &["nix-instantiate", "--eval", "missing.nix"],
        files: &[],
        error: &["path 'SCRATCH/missing.nix' does not exist"],
    },
    Bad {
        arguments: &["nix-instantiate", "--eval", "imports.nix"],
        files: &[("imports.nix", "import ./missing.nix\n")],
        error: &["path 'SCRATCH/missing.nix' does not exist"],
    },
    // Attributes.
    Bad {
        arguments: &["nix-instantiate", "--eval", "set.nix"],
        files: &[("set.nix", "{ version = 1; }.verson\n")],
        error: &["attribute 'verson' missing", "Did you mean version?"],
    },
    Bad {
        arguments: &["nix-instantiate", "--eval", "set.nix", "-A", "versions"],
        files: &[("set.nix", "{ version = 1; name = 2; }\n")],
        error: &["attribute 'versions' in selection path 'versions' not found", "Did you mean version?"],
    },
    Bad {
        arguments: &["nix-instantiate", "set.nix"],
        files: &[("set.nix", "1\n")],
        error: &["expression does not evaluate to a derivation (or a set or list of those)"],
    },
    // Evaluation without end.
    Bad {
        arguments: &["nix-instantiate", "--eval", "loop.nix"],
        files: &[("loop.nix", "let a = b; b = a; in a\n")],
        error: &["infinite recursion encountered"],
    },
    Bad {
        arguments: &["nix-instantiate", "--eval", "deep.nix"],
        files: &[("deep.nix", "let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 10001\n")],
        error: &["stack overflow; max-call-depth exceeded"],
    },
    Bad {
        arguments: &["nix-instantiate", "bad.nix"],
        files: &[(
            "bad.nix",
            "{ type = \"derivation\"; name = \"a\"; system = \"x\"; drvPath = \"${builtins.storeDir}/2chwzswhhmpxbgc981i2vcz7xj4d1in9-a\"; }\n",
        )],
        error: &["store path '2chwzswhhmpxbgc981i2vcz7xj4d1in9-a' is not a valid derivation path"],
    },
    // The command line itself.
    Bad {
        arguments: &["nix-instantiate", "--bogus"],
        files: &[],
        error: &["unrecognised flag '--bogus'", "Try 'nix-instantiate --help' for more information."],
    },
    Bad { arguments: &["nix-instantiate", "-A"], files: &[], error: &["'-A' requires an argument", "Try 'nix-instantiate --help' for more information."] },
];

/// Builds that go wrong: the file, the exit status (the real one has a bit for each way to fail), the last log line that
/// must be shown, and the message.
const BAD_BUILDS: &[(&str, i32, &str, &[&str])] = &[
    (
        r#"derivation { name = "fixed"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo hello >$out" ]; outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; }"#,
        102,
        "",
        &[
            "hash mismatch in fixed-output derivation '/nix/store/mcm9pf7ghdn7c0f2bcl64gzc3fxfxgz8-fixed.drv':",
            "specified: sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "got:    sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=",
        ],
    ),
    (
        r#"derivation { name = "fails"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; exit 3" ]; }"#,
        100,
        "line 30",
        &[
            "Cannot build '/nix/store/flkihyx8lcrqp9mq4ny7kgsja08fslgp-fails.drv'.",
            "Reason: builder failed with exit code 3.",
            "Output paths:",
            "/nix/store/11d35ykjliz47lp4s96avnn6ahnx5bgk-fails",
        ],
    ),
    (
        r#"derivation { name = "closeslog"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "exec >/dev/null 2>&1; while :; do :; done" ]; }"#,
        100,
        "",
        &[
            "Cannot build '/nix/store/5yi743dsm8gmw1261ci5yrfj98iz310k-closeslog.drv'.",
            "Reason: builder failed due to signal 9 (Killed).",
            "Output paths:",
            "/nix/store/df9aa3kgs72r2bd3v4y9lql2z9j1zmpi-closeslog",
        ],
    ),
    (
        r#"derivation { name = "refers"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo ${builtins.toFile "x" ""} >$out" ]; outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; }"#,
        1,
        "",
        &[
            "fixed output derivation 'refers' is not allowed to refer to other store paths.",
            "You may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details.",
        ],
    ),
    (
        r#"derivation { name = "othersystem"; system = "riscv128-dos"; builder = "/bin/sh"; }"#,
        100,
        "",
        &[
            "Cannot build '/nix/store/7y7a3mqr2zrriqrb4vfjyg5j8wb0finv-othersystem.drv'.",
            "Reason: platform mismatch",
            "Required system: 'riscv128-dos'",
            "Current system: 'x86_64-linux'",
        ],
    ),
    (
        r#"derivation { name = "nobuilder"; system = "x86_64-linux"; builder = "/no/such/program"; }"#,
        100,
        "error: executing '/no/such/program': No such file or directory",
        &[
            "Cannot build '/nix/store/zqyfb5yfdaz02d8qf16k16jyq6x6cmvg-nobuilder.drv'.",
            "Reason: builder failed with exit code 1.",
            "Output paths:",
            "/nix/store/zzxhy8gy4lcikd5shr7ap6vq0ckprlpm-nobuilder",
        ],
    ),
];

fn run(bad: &Bad) -> Answer {
    let scratch = scratch();
    for (name, text) in bad.files {
        fs::write(scratch.path().join(name), text).expect("a scratch directory is writable");
    }
    let mut answer = Answer::from(command(scratch.path(), bad.arguments).output().expect("the command under test runs"));
    answer.stderr = answer.stderr.replace(scratch.path().to_str().expect("scratch paths are UTF-8"), "SCRATCH");
    answer
}

#[test]
fn bad_input_gets_a_clear_error() {
    let mut failures = Vec::new();
    for bad in BAD {
        let answer = run(bad);
        if answer.status != Some(1) || answer.error() != bad.error {
            failures.push(format!(
                "{}\n  expected status 1, {:?}\n  got {:?}, {:?}\n{}",
                bad.arguments.join(" "),
                bad.error,
                answer.status,
                answer.error(),
                answer.stderr
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn files_are_named_from_here_or_from_the_root() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("folder")).expect("a scratch directory is writable");
    fs::write(scratch.path().join("folder/default.nix"), "{ a = 41 + 1; }\n").expect("a scratch directory is writable");
    let absolute = scratch.path().join("folder");
    for file in ["folder", "./folder/default.nix", "folder/../folder", absolute.to_str().expect("scratch paths are UTF-8")] {
        let answer = Answer::from(
            command(scratch.path(), ["nix-instantiate", "--eval", file, "-A", "a"]).output().expect("the command under test runs"),
        );
        assert_eq!((answer.status, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "42\n", ""), "{file}");
    }
}

#[test]
fn search_paths_of_the_command_line_come_before_the_environment() {
    let scratch = scratch();
    for directory in ["environment", "flag"] {
        fs::create_dir(scratch.path().join(directory)).expect("a scratch directory is writable");
        fs::write(scratch.path().join(directory).join(directory), "").expect("a scratch directory is writable");
    }
    for (flag, file, found) in [
        ("--nix-path", "t/flag", true),
        ("--nix-path", "t/environment", false),
        ("--extra-nix-path", "t/flag", true),
        ("--extra-nix-path", "t/environment", true),
    ] {
        let value = format!("t={}/flag", scratch.path().display());
        let mut find = command(scratch.path(), ["nix-instantiate", flag, &value, "--find-file", file]);
        find.env("NIX_PATH", format!("t={}/environment", scratch.path().display()));
        let answer = Answer::from(find.output().expect("the command under test runs"));
        assert_eq!(answer.status == Some(0), found, "{flag} {file}: {answer:?}");
    }
}

#[test]
fn files_are_not_evaluated_purely() {
    let scratch = scratch();
    fs::write(scratch.path().join("x.nix"), "1\n").expect("a scratch directory is writable");
    let eval = |arguments: &[&str]| Answer::from(command(scratch.path(), arguments).output().expect("the command under test runs"));
    assert_eq!(eval(&["eval", "--file", "x.nix"]).stdout, "1\n");
    let answer = eval(&["eval", "--pure-eval", "--file", "x.nix"]);
    assert_eq!((answer.status, answer.error()[0].as_str()), (Some(1), "'--file' is not compatible with '--pure-eval'"));
}

#[test]
fn values_are_written_to_a_directory() {
    let scratch = scratch();
    let write = |to: &str, expression: &str| {
        let arguments = ["eval", "--write-to", to, "--expr", expression];
        Answer::from(command(scratch.path(), arguments).output().expect("the command under test runs"))
    };
    let answer = write("out", "{ x = \"foo\" + \"bar\"; y = { z = \"bla\"; }; }");
    assert_eq!(answer.status, Some(0), "{answer:?}");
    let read = |path: &str| fs::read_to_string(scratch.path().join(path)).expect("it was written");
    assert_eq!((read("out/x").as_str(), read("out/y/z").as_str()), ("foobar", "bla"));
    for (to, expression, error) in [
        ("out", "\"x\"", "already exists"),
        ("other", "{ \".\" = \"bla\"; }", "invalid file name '.'"),
        ("number", "1", "is not a string or an attribute set"),
    ] {
        let answer = write(to, expression);
        assert!(answer.status == Some(1) && answer.stderr.contains(error), "{expression}: {answer:?}");
    }
}

#[test]
fn files_and_archives_are_fetched_during_evaluation() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("source")).expect("a scratch directory is writable");
    fs::write(scratch.path().join("source/x.txt"), "hello\n").expect("a scratch directory is writable");
    let tar = std::process::Command::new("tar").args(["czf", "source.tar.gz", "source"]).current_dir(scratch.path()).status();
    assert!(tar.expect("tar runs").success());
    let url = format!("file://{}", scratch.path().to_str().expect("scratch paths are UTF-8"));
    let wrong = "0000000000000000000000000000000000000000000000000000";
    for (expression, status, expected) in [
        (format!("builtins.readFile (builtins.fetchurl \"{url}/source/x.txt\")"), 0, "\"hello\\n\""),
        (format!("builtins.readDir (builtins.fetchTarball \"{url}/source.tar.gz\")"), 0, "{ \"x.txt\" = \"regular\"; }"),
        (format!("builtins.fetchurl {{ url = \"{url}/source/x.txt\"; sha256 = \"{wrong}\"; }}"), 102, "hash mismatch in file downloaded from"),
        (format!("builtins.fetchurl \"{url}/missing\""), 1, "missing"),
    ] {
        let mut evaluate = command(scratch.path(), ["nix-instantiate", "--eval", "--strict", "-E", &expression]);
        evaluate.env("XDG_DATA_HOME", scratch.path().join("data")).env("XDG_CACHE_HOME", scratch.path().join("cache"));
        let answer = Answer::from(evaluate.output().expect("the command under test runs"));
        let text = if status == 0 { &answer.stdout } else { &answer.stderr };
        assert!(answer.status == Some(status) && text.contains(expected), "{expression}: {answer:?}");
    }
}

#[test]
fn bad_builds_say_why() {
    let mut failures = Vec::new();
    for (text, status, log, error) in BAD_BUILDS {
        let scratch = scratch();
        fs::write(scratch.path().join("default.nix"), text).expect("a scratch directory is writable");
        let mut build = command(scratch.path(), ["nix-build", "--no-out-link"]);
        build.env("XDG_DATA_HOME", scratch.path().join("data"));
        let answer = Answer::from(build.output().expect("the command under test runs"));
        if answer.status != Some(*status) || answer.error() != *error || !answer.stderr.contains(log) {
            failures.push(format!(
                "{text}\n  expected {status}, {log:?}, {error:?}\n  got {:?}, {:?}\n{}",
                answer.status,
                answer.error(),
                answer.stderr
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs a command on a store of the test's own and returns what it answers.
fn scripted(directory: &std::path::Path, arguments: &[&str], input: &[u8]) -> Answer {
    let mut command = command(directory, arguments);
    fs::write(directory.join("stdin"), input).expect("a scratch directory is writable");
    command.stdin(fs::File::open(directory.join("stdin")).expect("it was just written"));
    command.env("XDG_DATA_HOME", directory.join("data"));
    Answer::from(command.output().expect("the command under test runs"))
}

/// A word of the new command line: `words("store add")` is what a script writes behind `nix`.
fn words<'w>(word: &'w str, arguments: &[&'w str]) -> Vec<&'w str> {
    let real = std::env::var("NIXLANG").is_ok().then_some(["nix", "--extra-experimental-features", "nix-command"]);
    real.into_iter().flatten().chain(word.split(' ')).chain(arguments.iter().copied()).collect()
}

const TWO_OUTPUTS: &str = r#"derivation { name = "two"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ]; args = [ "-c" "echo 1 >$out; echo 2 >$dev" ]; }"#;
const TWO_DRV: &str = "/nix/store/zdy3kjjb276mvjsfh8y7i6prgb0ydj2q-two.drv";

#[test]
fn one_output_of_a_derivation_that_was_made_before() {
    let scratch = scratch();
    let run = |arguments: &[&str]| scripted(scratch.path(), arguments, b"");
    assert_eq!(run(&["nix-instantiate", "-E", TWO_OUTPUTS]).stdout.trim_end(), TWO_DRV);
    for (output, end) in [("", "-two\n"), ("!out", "-two\n"), ("!dev", "-two-dev\n")] {
        let answer = run(&["nix-build", "--no-out-link", &format!("{TWO_DRV}{output}")]);
        assert!(answer.status == Some(0) && answer.stdout.ends_with(end), "{output}: {answer:?}");
    }
    let answer = run(&["nix-build", "--no-out-link", &format!("{TWO_DRV}!dev,out")]);
    assert_eq!(answer.status, Some(1));
    assert_eq!(answer.error(), [format!("building more than one derivation output is not supported, in '{TWO_DRV}!dev,out'")]);
}

#[test]
fn derivations_come_back_from_json() {
    let scratch = scratch();
    let run = |arguments: &[&str], input: &[u8]| scripted(scratch.path(), arguments, input);
    run(&["nix-instantiate", "-E", TWO_OUTPUTS], b"");
    let shown = run(&words("derivation show", &[TWO_DRV]), b"");
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    let name = TWO_DRV.rsplit('/').next().expect("there is a slash");
    let mut json = shown["derivations"][name].clone();
    let add = |json: &serde_json::Value| run(&words("derivation add", &[]), json.to_string().as_bytes());
    assert_eq!(add(&json).stdout.trim_end(), TWO_DRV);
    // Paths of outputs are filled in if they are left out, and are not believed if they are wrong.
    for output in ["out", "dev"] {
        json["outputs"][output] = serde_json::json!({});
    }
    assert_eq!(add(&json).stdout.trim_end(), TWO_DRV);
    let mut renamed = shown["derivations"][name].clone();
    renamed["name"] = "three".into();
    let answer = add(&renamed);
    assert!(answer.status == Some(1) && answer.stderr.contains("has incorrect output"), "{answer:?}");
    assert_eq!(add(&serde_json::json!([])).status, Some(1));
}

#[test]
fn what_the_store_knows_is_shown_to_scripts() {
    let scratch = scratch();
    let run = |arguments: &[&str]| scripted(scratch.path(), arguments, b"");
    fs::write(scratch.path().join("words"), "some words\n").expect("a scratch directory is writable");
    let added = run(&words("store add", &["--mode", "text", "words"]));
    let path = added.stdout.trim_end();
    assert_eq!(path, "/nix/store/8rkazfjvr4a48x0jin4kym1wn2fjvv4d-words", "{added:?}");
    let made = run(&["nix-instantiate", "--eval", "-E", r#"builtins.toFile "words" "some words\n""#]);
    assert_eq!(made.stdout.trim_end(), format!("\"{path}\""));
    let info = run(&words("path-info", &["--json", "--json-format", "2", path]));
    let info: serde_json::Value = serde_json::from_str(&info.stdout).expect("it is JSON");
    assert_eq!((&info["version"], &info["storeDir"]), (&2.into(), &"/nix/store".into()));
    let base = path.rsplit('/').next().expect("there is a slash");
    assert_eq!(info["info"][base]["ca"]["method"], "text");
    let graph = run(&["nix-store", "-q", "--graphml", path]);
    let node = format!("<node id=\"{base}\">\n    <data key=\"narSize\">128</data>\n    <data key=\"name\"></data>\n    <data key=\"type\">output-path</data>");
    assert!(graph.stdout.contains(&node), "{graph:?}");
}

#[test]
fn nothing_is_restored_over_what_is_there() {
    let scratch = scratch();
    let directory = scratch.path();
    fs::create_dir(directory.join("tree")).expect("a scratch directory is writable");
    fs::write(directory.join("file"), "").expect("a scratch directory is writable");
    std::os::unix::fs::symlink("nowhere", directory.join("link")).expect("a scratch directory is writable");
    let dump = |name: &str| {
        let output = command(directory, ["nix-store", "--dump", name]).output().expect("the command under test runs");
        output.stdout
    };
    for (from, to, error) in [
        ("tree", "tree", "tree' already exists"),
        ("tree", "file", "File exists"),
        ("tree", "link", "File exists"),
        ("file", "file", "File exists"),
        ("file", "tree", "File exists"),
        ("file", "link", "File exists"),
        ("link", "tree", "File exists"),
    ] {
        let answer = scripted(directory, &["nix-store", "--restore", to], &dump(from));
        assert!(answer.status == Some(1) && answer.stderr.contains(error), "{from} to {to}: {answer:?}");
    }
}

#[test]
fn syntax_errors_show_the_line() {
    let answer = run(&BAD[0]);
    for text in ["SCRATCH/bad.nix:3:7", "b = ;", "^"] {
        assert!(answer.stderr.contains(text), "no {text:?} in\n{}", answer.stderr);
    }
}

/// Runs an evaluation of a large file and returns the answer; panics when it takes minutes.
fn evaluate_large(name: &str, text: &str) -> Answer {
    let scratch = scratch();
    fs::write(scratch.path().join("large.nix"), text).expect("a scratch directory is writable");
    let log = |end: &str| scratch.path().join(end);
    let mut child = command(scratch.path(), ["nix-instantiate", "--eval", "large.nix"])
        .stdout(fs::File::create(log("out")).expect("a scratch directory is writable"))
        .stderr(fs::File::create(log("err")).expect("a scratch directory is writable"))
        .spawn()
        .expect("the command under test runs");
    // Polled, so that a run that never ends fails here rather than hanging the suite.
    let mut status = None;
    for _ in 0..1200 {
        status = child.try_wait().expect("a child can be waited for");
        if status.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let Some(status) = status else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{name}: still running after two minutes");
    };
    let read = |end: &str| String::from_utf8_lossy(&fs::read(log(end)).expect("the log was made above")).into_owned();
    Answer { status: status.code(), stdout: read("out"), stderr: read("err") }
}

#[test]
fn a_million_of_anything_nested_does_not_crash() {
    const N: usize = 1_000_000;
    let nested = |open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(N), close.repeat(N));
    // Each may be computed or refused; what it may not do is crash, run for ever or end without a word.
    let inputs: [(&str, String, Option<&str>); 16] = [
        ("parentheses", nested("(", "1", ")"), Some("1")),
        ("parentheses never closed", nested("(", "", ""), None),
        ("lists", nested("[", "", "]"), None),
        ("lists never closed", nested("[", "", ""), None),
        ("attribute sets", nested("{a=", "1", ";}"), None),
        ("nots", nested("!", "true", ""), Some("true")),
        ("minuses", nested("-", "1", ""), Some("1")),
        ("lets", nested("let a=1; in ", "1", ""), Some("1")),
        ("ifs", nested("if true then ", "1", " else 0"), Some("1")),
        ("lambdas", nested("x: ", "1", ""), None),
        ("asserts", nested("assert true; ", "1", ""), Some("1")),
        ("withs", nested("with {}; ", "1", ""), Some("1")),
        ("additions", format!("1{}", "+1".repeat(N)), Some("1000001")),
        ("interpolations", nested("\"${", "\"a\"", "}\""), Some("\"a\"")),
        ("selections", format!("{{}}{} or 1", ".a".repeat(N)), Some("1")),
        (
            "forces",
            format!("let s = builtins.foldl' (acc: _: {{ v = acc.v; }}) {{ v = 1; }} (builtins.genList (x: x) {N}); in s.v"),
            Some("1"),
        ),
    ];
    let mut failures = Vec::new();
    for (name, text, value) in &inputs {
        let answer = evaluate_large(name, text);
        let refused = answer.status == Some(1) && answer.error().iter().any(|line| !line.is_empty());
        let computed = answer.status == Some(0) && value.is_none_or(|value| answer.stdout.trim_end() == value);
        let start = |text: &str| text.chars().take(300).collect::<String>();
        println!("{name}: {:?} {} {}", answer.status, start(answer.stdout.trim_end()), start(&answer.error().join(" / ")));
        if !refused && !computed {
            failures.push(format!("{name}: {:?}\n{}\n{}", answer.status, start(&answer.stdout), start(&answer.stderr)));
        }
        if answer.stderr.len() > 100_000 {
            failures.push(format!("{name}: {} bytes on standard error", answer.stderr.len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Something that refers to itself has another path by the rules of 2.35, and what it became is known in another way.
#[test]
fn content_address_rules_are_a_setting() {
    const EXPRESSION: &str = r#"derivation { name = "self"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo $out > $out" ];
        __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }"#;
    let scratch = scratch();
    let run = |rules: &str, arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--extra-experimental-features", "ca-derivations", "--option", "content-address-rules", rules]);
        scripted(scratch.path(), &all, b"")
    };
    // By 2.34.8.
    let expected = "/nix/store/iyizplfp7jsd6kkx4g501qrmqyyx89q1-self\n";
    let mut made = Vec::new();
    for (rules, directory) in [("2.34", "realisations"), ("2.35", "build-trace-v2")] {
        let store = scratch.path().join(rules).to_str().expect("the path is UTF-8").to_owned();
        let answer = run(rules, &["nix-build", "--no-out-link", "--store", &store, "-E", EXPRESSION]);
        assert_eq!(answer.status, Some(0), "{answer:?}");
        let cache = format!("file://{store}/cache?compression=none");
        let copied = run(rules, &["copy", "--store", &store, "--to", &cache, "--impure", "--expr", EXPRESSION]);
        assert_eq!(copied.status, Some(0), "{copied:?}");
        let kept = fs::read_dir(scratch.path().join(rules).join("cache").join(directory)).expect("there are realisations").count();
        assert_eq!(kept, 1, "{directory}");
        // And back, where nothing needs to be built.
        let again = run(rules, &["nix-build", "--no-out-link", "--store", &format!("{store}-again"), "--substituters", &cache, "--option", "require-sigs", "false", "--max-jobs", "0", "-E", EXPRESSION]);
        assert_eq!((again.status, &again.stdout), (Some(0), &answer.stdout), "{again:?}");
        made.push(answer.stdout);
    }
    assert_eq!(made[0], expected);
    assert_ne!(made[0], made[1]);
    let answer = run("2.33", &["nix-build", "--no-out-link", "-E", EXPRESSION]);
    assert_eq!(answer.error(), ["setting 'content-address-rules': '2.33' is neither '2.34' nor '2.35'"]);
}

#[test]
fn build_hooks_of_others_are_not_asked() {
    let directory = scratch();
    fs::write(directory.path().join("x.nix"), "derivation { name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; }").expect("written");
    let build = |hook: &str| {
        let machine = "ssh-ng://localhost?remote-program=/nonexistent x86_64-linux";
        let words = ["nix-build", "x.nix", "--store", "./store", "-j0", "--system", "x86_64-linux", "--option", "substitute", "false", "--builders", machine, "--option", "build-hook", hook];
        Answer::from(command(directory.path(), words).output().expect("the command starts"))
    };
    let other = build("/opt/hook --fast");
    assert!(other.stderr.contains("warning: the program '/opt/hook --fast' of the setting 'build-hook' is not asked"), "{}", other.stderr);
    assert!(other.stderr.contains("Failed to find a machine for remote build!"), "{}", other.stderr);
    let none = build("");
    assert!(none.stderr.contains("local builds are disabled (max-jobs = 0)") && !none.stderr.contains("a machine"), "{}", none.stderr);
}
