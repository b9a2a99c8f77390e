//! Questions about source texts, asked of the program: definitions, references, renaming, documentation.

use nixlang_tests::{Answer, command, scratch};

const TEXT: &str = "let\n  /** Adds one. */\n  next = n: n + 1;\n  two = next 1;\nin\n{ inherit two; three = next two; }\n";

#[track_caller]
fn check(arguments: &[&str], status: i32, stdout: &str, error: &str, file: &str) {
    let scratch = scratch();
    let path = scratch.path().join("x.nix");
    std::fs::write(&path, TEXT).expect("writable");
    let answer = Answer::from(command(scratch.path(), arguments).output().expect("it runs"));
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(status), stdout), "{arguments:?}: {}", answer.stderr);
    assert!(answer.stderr.contains(error), "{arguments:?}: {}", answer.stderr);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), file, "{arguments:?}");
}

#[test]
fn places_in_a_file() {
    check(&["definition", "x.nix:6:11"], 0, "x.nix:4:3: let binding 'two'\n", "", TEXT);
    check(&["definition", "x.nix:3:13"], 0, "x.nix:3:10: parameter 'n'\n", "", TEXT);
    check(&["references", "x.nix:4:3"], 0, "x.nix:6:11\nx.nix:6:29\n", "", TEXT);
    check(&["doc", "x.nix:6:24"], 0, "Adds one.\n", "", TEXT);
    check(&["doc", "x.nix:4:3"], 1, "", "there is no documentation comment for this", TEXT);
    check(&["definition", "x.nix:1:1"], 1, "", "there is no variable here", TEXT);
    check(&["definition", "x.nix:60:1"], 1, "", "'x.nix' has no line 60", TEXT);
    check(&["definition", "x.nix"], 1, "", "'x.nix' is not a place: expected FILE:LINE:COLUMN", TEXT);
}

#[test]
fn a_variable_is_renamed_in_its_file() {
    let renamed = TEXT.replace("  two = next 1", "  deux = next 1").replace("inherit two;", "two = deux;").replace("next two", "next deux");
    check(&["rename", "x.nix:4:3", "deux"], 0, "x.nix:4:3\nx.nix:6:3\nx.nix:6:29\n", "", &renamed);
    check(&["rename", "x.nix:4:3", "next"], 1, "", "would change its meaning", TEXT);
}

#[test]
fn files_are_formatted() {
    let text = "let\n  /**\n    Adds one.\n  */\n  next = n: n + 1;\n  two = next 1;\nin\n{\n  inherit two;\n  three = next two;\n}\n";
    check(&["format", "--check", "x.nix"], 1, "x.nix: not formatted\n", "", TEXT);
    check(&["format", "x.nix"], 0, "", "", text);
    check(&["format", "."], 0, "", "", text);
    check(&["format", "y.nix"], 1, "", "reading 'y.nix': No such file or directory", TEXT);
}
