//! Runs the cases in `language/` on the command line.
//!
//! `UPDATE_EXPECT=1` rewrites the expectations from what the command under test answers. Those in the repository were
//! written by the real Nix 2.34.8 (`NIXLANG=COMMAND UPDATE_EXPECT=1 cargo test -p nixlang-tests --test language`). Cases
//! that are changed or new are to be put to it, not to ours, unless they say why we differ.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;

use nixlang_tests::cases::{self, Case, Expectation};
use nixlang_tests::{command, files, nixlang, repository};

/// Evaluates an expression, strictly, as `nix-instantiate` prints it.
fn evaluate(directory: &Path, body: &str) -> Result<Expectation, String> {
    let output = command(directory, ["nix-instantiate", "--eval", "--strict", "-E", body])
        .output()
        .map_err(|e| format!("{}: {e}", nixlang().join(" ")))?;
    let mut answer = nixlang_tests::Answer::from(output);
    for text in [&mut answer.stdout, &mut answer.stderr] {
        *text = text.replace(directory.to_str().expect("the path of the repository is UTF-8"), "DIRECTORY");
    }
    match answer.status {
        Some(0) => {
            let value = answer.stdout.strip_suffix('\n').unwrap_or(&answer.stdout);
            if value.contains('\n') {
                return Err(format!("the printed value has several lines:\n{value}"));
            }
            Ok(Expectation { stderr: answer.stderr.lines().map(str::to_owned).collect(), outcome: Ok(value.to_owned()) })
        }
        Some(1) if !answer.error().is_empty() => {
            let mut error = answer.error();
            // The reference counts an unknown hash algorithm as a wrong use of the program, and adds this.
            error.retain(|line| !line.starts_with("Try 'nix-instantiate --help'"));
            Ok(Expectation { stderr: Vec::new(), outcome: Err(error) })
        }
        status => Err(format!("exit status {status:?}, standard error:\n{}", answer.stderr)),
    }
}

#[test]
fn language_cases_give_what_they_say() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let directory = repository().join("tests/language");
    let mut all: Vec<(std::path::PathBuf, Vec<Case>)> = Vec::new();
    for path in files(&directory, ".nix") {
        let text = fs::read_to_string(&path).expect("a case file is readable UTF-8");
        all.push((path, cases::parse(&text)));
    }
    let mut names = BTreeSet::new();
    for case in all.iter().flat_map(|(_, cases)| cases) {
        assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
    }

    // Each case is a process of its own; as many at a time as there are processors.
    let places: Vec<(usize, usize)> =
        all.iter().enumerate().flat_map(|(file_idx, (_, cases))| (0..cases.len()).map(move |case_idx| (file_idx, case_idx))).collect();
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    nixlang();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&(file_idx, case_idx)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = evaluate(&directory, &all[file_idx].1[case_idx].body);
                    answers.lock().expect("no thread panics while it holds this").push((file_idx, case_idx, answer));
                }
            });
        }
    });

    let mut failures = Vec::new();
    for (file_idx, case_idx, answer) in answers.into_inner().expect("no thread panics while it holds this") {
        let case = &mut all[file_idx].1[case_idx];
        match answer {
            Err(message) => failures.push(format!("{}: {message}", case.name)),
            Ok(got) if update => case.expected = Some(got),
            Ok(got) => match &case.expected {
                Some(expected) if *expected == got => {}
                expected => failures.push(format!("{}:\n  expected {expected:?}\n  got      {got:?}", case.name)),
            },
        }
    }
    if update {
        for (path, cases) in &all {
            let text: String = cases.iter().map(cases::print).collect();
            fs::write(path, format!("{}\n", text.trim_end())).expect("a case file is writable");
        }
    }
    failures.sort();
    println!("{} of {} cases as expected", places.len() - failures.len(), places.len());
    assert!(failures.is_empty(), "{} of {} cases differ:\n{}", failures.len(), places.len(), failures.join("\n"));
}
