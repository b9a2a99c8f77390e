//! Builds `examples/tiny` and, next to a real Nix (`REAL_NIX`), `examples/hello` with both, and with each on the other over
//! ssh-ng: the same store paths, NAR hashes and references.

use std::fs;
use std::process::Command;

use nixlang_tests::{Answer, command, nixlang, repository, scratch};

#[test]
fn tiny_is_built_into_a_rooted_store() {
    let scratch = scratch();
    let link = scratch.path().join("result");
    let mut build = command(&repository().join("examples"), ["nix-build", "tiny", "-o"]);
    build.arg(&link).env("XDG_DATA_HOME", scratch.path().join("data"));
    let answer = Answer::from(build.output().expect("the command under test runs"));
    assert_eq!(answer.status, Some(0), "{}", answer.stderr);
    // Nix 2.34.8 on x86_64-linux.
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        assert_eq!(answer.stdout, "/nix/store/8i0irbzyy0z6ij1i871dgfcyydnc0flw-tiny\n");
    }
    // The link leads to the real place, where the store keeps it.
    let text = fs::read_to_string(&link).expect("the link leads to the output");
    assert_eq!(text, "Hello from a build, which was built in the sandbox of another.\n");
}

#[test]
fn hello_is_the_same_as_the_real_nix_makes() {
    let Some(real_nix) = std::env::var_os("REAL_NIX") else {
        println!("skipped: REAL_NIX is not set, so there is nothing to compare examples/hello with");
        return;
    };
    for script in ["compare", "elsewhere"] {
        let script = repository().join("examples/hello").join(script);
        let output = Command::new(&script).env("REAL_NIX", &real_nix).env("NIXLANG", nixlang().join(" ")).output().expect("the script runs");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
}
