//! The formatter: on nixfmt's own fixtures (`NIXFMT_SRC`, a checkout of it), and as properties over Nixpkgs (`NIXPKGS`) and the samples of this
//! repository: formatting twice changes nothing, and a formatted text means what it meant.

use std::path::{Path, PathBuf};

use nixlang::format::{FormatOptions, format};
use nixlang_tests::{cases, files, repository};

/// Fixtures that must match byte for byte; raised when more do.
const MATCHES: usize = 0;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn all_files(directory: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            all_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            out.push(path);
        }
    }
}

#[test]
fn fixtures_of_nixfmt() {
    let Ok(source) = std::env::var("NIXFMT_SRC") else {
        eprintln!("skipped: NIXFMT_SRC is not set");
        return;
    };
    let tests = Path::new(&source).join("test");
    let mut fixtures: Vec<(PathBuf, PathBuf, FormatOptions)> = Vec::new();
    let options = FormatOptions { width: 80, ..FormatOptions::default() };
    let strict = FormatOptions { pure: true, ..options };
    for path in files(&tests.join("correct"), ".nix") {
        fixtures.push((path.clone(), path, strict));
    }
    let four = tests.join("correct-indent-4.nix");
    fixtures.push((four.clone(), four, FormatOptions { indent: 4, ..strict }));
    let mut inputs = Vec::new();
    all_files(&tests.join("diff"), &mut inputs);
    for input in inputs.iter().filter(|path| path.file_name().is_some_and(|name| name == "in.nix")) {
        fixtures.push((input.clone(), input.with_file_name("out.nix"), options));
        fixtures.push((input.clone(), input.with_file_name("out-pure.nix"), strict));
    }
    let mut wrong = Vec::new();
    for (input, expected, options) in &fixtures {
        match format(&read(input), *options) {
            Ok(formatted) if formatted == read(expected) => {}
            Ok(formatted) => {
                if let Ok(directory) = std::env::var("FORMAT_OUT") {
                    let name = expected.strip_prefix(&tests).expect("below").to_string_lossy().replace('/', "_");
                    std::fs::write(Path::new(&directory).join(name), formatted).expect("writable");
                }
                wrong.push(expected);
            }
            Err(error) => {
                eprintln!("{}: {error}", input.display());
                wrong.push(expected);
            }
        }
    }
    let n_right = fixtures.len() - wrong.len();
    eprintln!("{n_right} of {} fixtures match", fixtures.len());
    for path in &wrong {
        eprintln!("  differs: {}", path.display());
    }
    assert!(n_right >= MATCHES, "{n_right} of {} fixtures match", fixtures.len());
    for path in files(&tests.join("invalid"), ".nix") {
        if format(&read(&path), options).is_ok() {
            eprintln!("  not refused: {}", path.display());
        }
    }
}
