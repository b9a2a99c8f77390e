//! The fuzz targets on their corpus and on a fixed number of changed inputs: they compile, and what was found once stays fixed.

use nixlang_tests::fuzz::{Mutator, TARGETS, compare_with_reference, corpus};

/// Changed inputs per target.
const N_CHANGED: usize = 300;

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is such a target");
    let corpus = corpus(name);
    for input in &corpus {
        (target.run)(input);
    }
    let mut mutator = Mutator::new(&corpus, 7);
    for _ in 0..N_CHANGED {
        let input = mutator.next_input();
        if let Err(panic) = std::panic::catch_unwind(|| (target.run)(&input)) {
            eprintln!("{name} with {}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn parser() {
    check("parser");
}

#[test]
fn evaluator() {
    check("evaluator");
}

#[test]
fn printer() {
    check("printer");
}

#[test]
fn formatter() {
    check("formatter");
}

#[test]
fn regex() {
    check("regex");
}

#[test]
fn json() {
    check("json");
}

#[test]
fn toml() {
    check("toml");
}

#[test]
fn nar() {
    check("nar");
}

#[test]
fn narinfo() {
    check("narinfo");
}

#[test]
fn derivation() {
    check("derivation");
}

#[test]
fn wire() {
    check("wire");
}

#[test]
fn generated_expressions_mean_what_the_reference_says() {
    let Ok(real_nix) = std::env::var("REAL_NIX") else {
        eprintln!("skipped: REAL_NIX is not set");
        return;
    };
    let corpus = corpus("evaluator");
    for input in &corpus {
        if let Some(found) = compare_with_reference(&real_nix, input) {
            panic!("{}\n  ours:   {}\n  theirs: {}", found.expression, found.ours, found.theirs);
        }
    }
}
