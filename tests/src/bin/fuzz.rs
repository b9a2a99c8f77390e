//! Runs a fuzz target on changed inputs of its corpus: `fuzz TARGET [SECONDS [SEED]]`, or `fuzz reference [SECONDS [SEED]]` to compare
//! generated expressions with a real Nix (`REAL_NIX`). An input that is wrong is written to `fuzz-TARGET-…` in the working directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nixlang_tests::fuzz::{Mutator, TARGETS, compare_with_reference, corpus};

/// An input that takes longer than this is a hang.
const HANG: Duration = Duration::from_secs(60);

static N_DONE: AtomicU64 = AtomicU64::new(0);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (duration, seed) = (Duration::from_secs(number(1, 600)), number(2, 1));
    match arguments.first().map(String::as_str) {
        Some("reference") => against_reference(duration, seed),
        Some(name) => match TARGETS.iter().find(|target| target.name == name) {
            Some(target) => run(target.name, target.run, duration, seed),
            None => usage(),
        },
        None => usage(),
    }
}

fn usage() {
    eprintln!("usage: fuzz TARGET [SECONDS [SEED]]\n\n  {:<12} what the real Nix says (REAL_NIX) is what we say", "reference");
    for target in TARGETS {
        eprintln!("  {:<12} {}", target.name, target.checks);
    }
    std::process::exit(2);
}

/// The input that is being run.
static CURRENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn keep(name: &str) -> PathBuf {
    let path = PathBuf::from(format!("fuzz-{name}-{}", std::process::id()));
    let input = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::write(&path, &*input).expect("the working directory is writable");
    path
}

fn run(name: &'static str, target: fn(&[u8]), duration: Duration, seed: u64) {
    let corpus = corpus(name);
    let mut mutator = Mutator::new(&corpus, seed);
    std::thread::spawn(move || {
        let mut seen = u64::MAX;
        loop {
            std::thread::sleep(HANG);
            let now = N_DONE.load(Ordering::Relaxed);
            if now == seen {
                eprintln!("the input in {} takes longer than {} s", keep(name).display(), HANG.as_secs());
                std::process::exit(3);
            }
            seen = now;
        }
    });
    // What ends the process without a panic (an overflow of the stack) is found again with the same seed and this set.
    let keep_all = std::env::var_os("FUZZ_KEEP").is_some();
    let start = Instant::now();
    while start.elapsed() < duration {
        let input = mutator.next_input();
        CURRENT.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
        if keep_all {
            keep(name);
        }
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            eprintln!("the input is in {}", keep(name).display());
            std::process::exit(1);
        }
        N_DONE.fetch_add(1, Ordering::Relaxed);
    }
    println!("{name}: {} inputs in {} s, nothing found", N_DONE.load(Ordering::Relaxed), start.elapsed().as_secs());
}

fn against_reference(duration: Duration, seed: u64) {
    let Ok(real_nix) = std::env::var("REAL_NIX") else {
        eprintln!("REAL_NIX is not set: there is nothing to compare with");
        std::process::exit(2);
    };
    let corpus = corpus("evaluator");
    let mut mutator = Mutator::new(&corpus, seed);
    let (start, mut n_inputs, mut n_found) = (Instant::now(), 0, 0);
    while start.elapsed() < duration {
        n_inputs += 1;
        if let Some(found) = compare_with_reference(&real_nix, &mutator.next_input()) {
            n_found += 1;
            println!("{}\n  ours:   {}\n  theirs: {}", found.expression, found.ours, found.theirs);
        }
    }
    println!("reference: {n_inputs} expressions in {} s, {n_found} disagreements", start.elapsed().as_secs());
    std::process::exit(i32::from(n_found > 0));
}
