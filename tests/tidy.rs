//! Rules about the text of this repository that a compiler does not check. Each failure says which rule and where.

use std::fs;
use std::path::Path;

use nixlang_tests::{files, repository};

/// Files of more than 600 lines that are one flat table or one flat match.
const LONG_FILES: &[&str] = &[];

/// Where `unsafe` may stand.
const UNSAFE_PLACES: &[&str] = &["nixlang/src/heap/", "ffi/src/", "build/src/sandbox/linux/syscall.rs"];

/// Calls `check` with the path below the repository and the text of every Rust file.
fn for_rust_files(mut check: impl FnMut(&str, &str)) {
    let found = files(repository(), ".rs");
    assert!(found.len() > 20, "the repository has more Rust files than the {} found", found.len());
    for path in found {
        let relative = path.strip_prefix(repository()).expect("found below the repository");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        check(relative.to_str().expect("names of files here are UTF-8"), &text);
    }
}

fn report(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// A line without its comment and without what stands in string literals that end on the line.
fn code(line: &str) -> String {
    let mut code = String::new();
    for (part_idx, part) in line.split('"').enumerate() {
        if part_idx % 2 == 0 {
            if let Some((before, _)) = part.split_once("//") {
                code.push_str(before);
                break;
            }
            code.push_str(part);
        }
    }
    code
}

/// Whether a word stands in a line of code, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].chars().next_back().is_some_and(is_word) && !line[start + word.len()..].chars().next().is_some_and(is_word)
    })
}

/// The lines of Rust code outside `allowed` in which a word stands.
fn uses(word: &str, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for_rust_files(|path, text| {
        if allowed.iter().any(|place| path.starts_with(place)) || path == "tests/tidy.rs" {
            return;
        }
        for (line_idx, line) in text.lines().enumerate() {
            if has_word(&code(line), word) {
                found.push(format!("{path}:{}: {}", line_idx + 1, line.trim()));
            }
        }
    });
    found
}

#[test]
fn every_file_says_what_it_is() {
    let mut found = Vec::new();
    for_rust_files(|path, text| {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.contains("(skeleton)") {
            found.push(format!("{path}: {first}"));
        }
    });
    report("the first line of a Rust file is its documentation, `//! …`", &found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for_rust_files(|path, text| {
        let n_lines = text.lines().count();
        let is_test = path.contains("tests/") || path.ends_with("tests.rs");
        if n_lines > 600 && !is_test && !LONG_FILES.contains(&path) {
            found.push(format!("{path}: {n_lines} lines"));
        }
    });
    for path in LONG_FILES {
        let n_lines = fs::read_to_string(repository().join(path)).map_or(0, |text| text.lines().count());
        assert!(n_lines > 600, "{path} has {n_lines} lines and need not be on the list of long files");
    }
    report("files are split before 600 lines, unless they are one flat table", &found);
}

#[test]
fn unsafe_code_has_its_places_and_reasons() {
    report("`unsafe` stands nowhere else", &uses("unsafe", UNSAFE_PLACES));
    let mut found = Vec::new();
    for_rust_files(|path, text| {
        if !UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
            return;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (line_idx, line) in lines.iter().enumerate() {
            let code = code(line);
            let opens = code.contains("unsafe {") || code.contains("unsafe impl");
            let reason = lines[line_idx.saturating_sub(12)..=line_idx].iter().any(|line| line.contains("SAFETY:"));
            if opens && !reason {
                found.push(format!("{path}:{}: {}", line_idx + 1, line.trim()));
            }
        }
    });
    report("an unsafe block has a `// SAFETY:` reason right above", &found);
}

#[test]
fn libraries_are_named_in_one_module() {
    report("only nixlang::syntax names rowan", &uses("rowan", &["nixlang/src/syntax"]));
    report("only nixlang::syntax names logos", &uses("logos", &["nixlang/src/syntax"]));
    report("only nixlang::heap and nixlang::lower name bumpalo", &uses("bumpalo", &["nixlang/src/heap", "nixlang/src/lower"]));
}

#[test]
fn nothing_is_left_for_later_or_ignored() {
    for word in ["todo!", "unimplemented!", "#[ignore", "#[should_panic"] {
        let mut found = Vec::new();
        for_rust_files(|path, text| {
            if path != "tests/tidy.rs" {
                found.extend(text.lines().enumerate().filter(|(_, line)| code(line).contains(word)).map(|(line_idx, line)| {
                    format!("{path}:{}: {}", line_idx + 1, line.trim())
                }));
            }
        });
        report(&format!("`{word}` is not used"), &found);
    }
}

#[test]
fn text_is_clean_and_names_no_machine() {
    // Put together here, or this file would break its own rule.
    let homes = [["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let mut found = Vec::new();
    for suffix in [".rs", ".md", ".toml", ".nix", ".sh", "/run", "/lock", "/compare"] {
        for path in files(repository(), suffix.trim_start_matches('/')) {
            // Inputs of the parser are odd on purpose.
            if path.starts_with(repository().join("tests/syntax")) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let relative = path.strip_prefix(repository()).expect("found below the repository").display();
            for (line_idx, line) in text.lines().enumerate() {
                let begins = |(start, _): (usize, &str)| !line[..start].ends_with(|c: char| c.is_alphanumeric() || "-_}".contains(c));
                let machine = homes.iter().any(|home| line.match_indices(home.as_str()).any(begins));
                let trailing = line.ends_with([' ', '\t']) && !Path::new(&path).starts_with(repository().join("tests/language"));
                if machine || trailing || line.contains('\r') {
                    found.push(format!("{relative}:{}: {line}", line_idx + 1));
                }
            }
            if !text.is_empty() && !text.ends_with('\n') {
                found.push(format!("{relative}: no newline at the end"));
            }
        }
    }
    report("no path of somebody's machine, no space at the end of a line, a newline at the end of a file", &found);
}

#[test]
fn compatibility_names_tests_that_exist() {
    let text = fs::read_to_string(repository().join("COMPATIBILITY.md")).expect("COMPATIBILITY.md is there");
    let mut code = String::new();
    for suffix in [".rs", ".nix"] {
        for path in files(repository(), suffix) {
            code.push_str(&fs::read_to_string(path).expect("sources are UTF-8"));
        }
    }
    let mut found = Vec::new();
    let mut n_names = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let evidence = line.rsplit('|').nth(1).unwrap_or_default();
        for name in evidence.split('`').skip(1).step_by(2) {
            n_names += 1;
            let exists = match name.rsplit_once('.') {
                Some(_) => files(repository(), name.rsplit('/').next().unwrap_or(name)).iter().any(|path| path.ends_with(name)),
                None if name.contains('_') => code.contains(&format!("fn {name}(")),
                None => name.starts_with("builtin:") || code.contains(&format!("--- {name} ---")),
            };
            if !exists {
                found.push(format!("{name}, in: {line}"));
            }
        }
    }
    assert!(n_names > 100, "only {n_names} names of tests were found");
    report("a test that COMPATIBILITY.md names exists", &found);
}
