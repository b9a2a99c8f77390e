//! What fuzzing starts from: the cases of this package, and small examples of each format.

use std::path::Path;

use super::Random;
use crate::{cases, files, repository};

/// Returns inputs for a target. There is at least one.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let own = repository().join("tests/fuzz/corpus").join(target);
    let own = if own.is_dir() { files(&own, "") } else { Vec::new() };
    let mut inputs: Vec<Vec<u8>> = own.iter().map(|path| read(path)).collect();
    match target {
        "parser" | "formatter" => {
            for path in files(&repository().join("tests/language"), ".nix") {
                let text = String::from_utf8_lossy(&read(&path)).into_owned();
                inputs.extend(cases::parse(&text).into_iter().map(|case| case.body.into_bytes()));
            }
            for directory in ["tests/syntax/ok", "tests/syntax/err"] {
                inputs.extend(files(&repository().join(directory), ".nix").iter().map(|path| read(path)));
            }
        }
        "evaluator" | "printer" => {
            let mut random = Random::new(1);
            inputs.extend((0..200).map(|_| (0..40 + random.below(200)).map(|_| random.number() as u8).collect()));
        }
        _ => {}
    }
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    inputs
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
