//! Builds `examples/tiny` and, next to a real Nix (`REAL_NIX`), `examples/hello` with both: the same store paths, NAR
//! hashes and references.

use std::process::Command;

use nixlang_tests::{nixlang, repository};

#[test]
fn hello_is_the_same_as_the_real_nix_makes() {
    let Some(real_nix) = std::env::var_os("REAL_NIX") else {
        println!("skipped: REAL_NIX is not set, so there is nothing to compare examples/hello with");
        return;
    };
    let compare = repository().join("examples/hello/compare");
    let output = Command::new(&compare).env("REAL_NIX", real_nix).env("NIXLANG", nixlang().join(" ")).output().expect("compare runs");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
