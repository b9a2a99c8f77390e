//! The interactive session as a program: lines on stdin, and what comes back. The expectations were written by the real Nix 2.34.8 and hold for it
//! too (`NIXLANG=COMMAND`), once its colours are removed, which it prints into pipes as well.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nixlang_tests::{Answer, command, scratch};

/// Returns a text without ANSI escape sequences for colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

fn start(directory: &Path, arguments: &[&str]) -> Child {
    let mut command = command(directory, arguments);
    command.env("HOME", directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

#[track_caller]
fn check(arguments: &[&str], lines: &str, stdout: &str, stderr: &str) {
    let scratch = scratch();
    std::fs::write(scratch.path().join("set.nix"), "{ x ? 1 }: { a = x; \"b c\" = 2; }\n").expect("writable");
    let mut child = start(scratch.path(), &[&["repl"], arguments].concat());
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    let answer = Answer::from(child.wait_with_output().expect("it ends"));
    let place = scratch.path().display().to_string();
    assert_eq!(without_colours(&answer.stdout).replace(&place, "SCRATCH"), stdout, "stdout of {lines}; stderr: {}", answer.stderr);
    let expected = format!("Nix 2.34.8\nType :? for help.\n{stderr}");
    assert_eq!(without_colours(&answer.stderr).replace(&place, "SCRATCH"), expected, "stderr of {lines}");
    assert_eq!(answer.status, Some(0), "{lines}");
}

#[test]
fn a_session_answers_line_by_line() {
    check(
        &[],
        "1 + 1\nx = 5\n(x\n+ 1)\nfoo\n:t map\n:q\n",
        "nix-repl> 1 + 1\n2\n\nnix-repl> x = 5\n\nnix-repl> (x\n        > + 1)\n6\n\nnix-repl> foo\n\nnix-repl> :t map\nthe built-in function 'map'\n\nnix-repl> :q\n",
        "error: undefined variable 'foo'\n       at «string»:1:1:\n            1| foo\n             | ^\n",
    );
}

#[test]
fn values_are_laid_out_on_lines() {
    check(
        &[],
        "{ a = 1; b = \"x\"; c = null; d = [ 1 ]; e = { }; f = builtins.add 1; g = throw \"no\"; \"h i\" = 1.5; }",
        concat!(
            "nix-repl> { a = 1; b = \"x\"; c = null; d = [ 1 ]; e = { }; f = builtins.add 1; g = throw \"no\"; \"h i\" = 1.5; }\n",
            "{\n  a = 1;\n  b = \"x\";\n  c = null;\n  d = [ ... ];\n  e = { ... };\n  f = «partially applied primop add»;\n  g = «error: no»;\n  \"h i\" = 1.5;\n}\n",
            "\nnix-repl> \n"
        ),
        "",
    );
}

#[test]
fn files_and_installables_are_loaded_again() {
    check(
        &["--expr", "{ q = 1; }"],
        ":l ./set.nix\n:r\n:ll\n",
        "nix-repl> :l ./set.nix\n\nnix-repl> :r\n\nnix-repl> :ll\nq\n\nnix-repl> \n",
        concat!(
            "Loading installable ''...\nAdded 1 variables.\nq\nAdded 2 variables.\na, \"b c\"\n",
            "Loading \"./set.nix\"...\nAdded 2 variables.\na, \"b c\"\nLoading installable ''...\nAdded 1 variables.\nq\n"
        ),
    );
    check(&["--file", "set.nix", "--argstr", "x", "5"], "a", "nix-repl> a\n\"5\"\n\nnix-repl> \n", "Loading installable ''...\nAdded 2 variables.\na, \"b c\"\n");
    check(
        &["--expr", "{ a.b = 1; b.a = 2; }", "a", "b"],
        "a + b",
        "nix-repl> a + b\n3\n\nnix-repl> \n",
        "Loading installable 'a'...\nAdded 1 variables.\nb\nLoading installable 'b'...\nAdded 1 variables.\na\n",
    );
}

#[test]
fn what_goes_wrong_does_not_end_a_session() {
    check(
        &[],
        ":zz\n:te foo\n:a [ ]\n:b 1\n:e 1\n1",
        "nix-repl> :zz\n\nnix-repl> :te foo\n\nnix-repl> :a [ ]\n\nnix-repl> :b 1\n\nnix-repl> :e 1\n\nnix-repl> 1\n1\n\nnix-repl> \n",
        concat!(
            "error: unknown command ':zz'\nerror: unexpected argument 'foo' to :te\n",
            "error:\n       … while evaluating an attribute set to be merged in the global scope\n\n       error: expected a set but found a list: [ ]\n",
            "error: expression does not evaluate to a derivation, so I can't build it\nerror: package '1' has no source location information\n"
        ),
    );
}

#[test]
fn ctrl_c_ends_a_line_and_not_the_session() {
    let scratch = scratch();
    let mut child = start(scratch.path(), &["repl"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let long = "let all = builtins.genList (x: x) 100000; in builtins.all (x: builtins.all (y: y >= 0) all) all";
    for round in ["one", "two"] {
        writeln!(stdin, "builtins.trace \"{round} begins\" ({long})").expect("it reads");
        let begun = stderr.by_ref().lines().any(|line| line.is_ok_and(|line| line.ends_with(&format!("trace: {round} begins"))));
        assert!(begun, "the line is evaluated");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there").success());
    }
    writeln!(stdin, "20 + 22").expect("it reads");
    drop(stdin);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("it ends");
    let output = child.wait_with_output().expect("it ends");
    assert!(rest.contains("error: interrupted by the user"), "{rest}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\n42\n"), "{output:?}");
    assert!(output.status.success());
}

#[test]
fn a_stopped_evaluation_shows_what_is_in_scope() {
    let scratch = scratch();
    let text = "let x.a = 1; y = 2; in with x; (b: builtins.seq x.a (throw \"oh snap\")) x.a";
    let mut child = start(scratch.path(), &["eval", "--debugger", "--expr", text]);
    child.stdin.take().expect("a pipe").write_all(b":env\nx\na + b + y\n:st 2\n:args\nb\n").expect("it reads");
    let answer = Answer::from(child.wait_with_output().expect("it ends"));
    let globals = answer.stdout.find("Env level 2\n").expect("the global variables are shown");
    let after = answer.stdout[globals..].lines().skip(2).collect::<Vec<_>>();
    assert_eq!(&answer.stdout[..globals], "Env level 0\nstatic: b\n\nEnv level 1\nstatic: x y\nwith: a\n\n");
    assert_eq!(after, ["{ a = 1; }", "4", "b = 1"], "{}", answer.stderr);
    assert!(answer.stderr.contains("undefined variable 'b'"), "{}", answer.stderr);
    assert_eq!(answer.status, Some(1));
}
