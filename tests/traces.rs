//! Compares all of what a failed evaluation says, with its way and its places, with what the real Nix says.
//!
//! `traces/NAME.nix` fails; `traces/NAME.stderr` is what 2.34.8 says of it with `--show-trace`, and after a line of dashes
//! without. Written by `NIXLANG=COMMAND UPDATE_EXPECT=1 cargo test -p nixlang-tests --test traces`.

use std::fs;

use nixlang_tests::{Answer, command, files, repository};

#[test]
fn traces_are_those_of_the_reference() {
    let directory = repository().join("tests/traces");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let cases = files(&directory, ".nix");
    assert!(cases.len() > 20, "there are more cases than the {} found", cases.len());
    let mut failures = Vec::new();
    for path in &cases {
        let name = path.file_name().expect("a found file has a name").to_str().expect("the names here are UTF-8");
        let said: Vec<String> = ["--show-trace", "--no-show-trace"]
            .into_iter()
            .map(|flag| {
                let output = command(&directory, ["nix-instantiate", "--eval", "--strict", flag, name]).output().expect("the command starts");
                let answer = Answer::from(output);
                assert_eq!(answer.status, Some(1), "{name} must fail: {answer:?}");
                answer.stderr.replace(directory.to_str().expect("the path of the repository is UTF-8"), "DIRECTORY")
            })
            .collect();
        let said: String = said.join("----\n").lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let expected = path.with_extension("stderr");
        if update {
            fs::write(&expected, said).expect("the expectation is writable");
        } else {
            let expected = fs::read_to_string(&expected).unwrap_or_default();
            if expected != said {
                failures.push(format!("{name}: expected\n{expected}got\n{said}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
