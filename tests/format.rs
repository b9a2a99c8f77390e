//! The formatter: on nixfmt's own fixtures (`NIXFMT_SRC`, a checkout of it), and as properties over Nixpkgs (`NIXPKGS`) and the samples of this
//! repository: formatting twice changes nothing, and a formatted text means what it meant.

use std::path::{Path, PathBuf};

use nixlang::eval::{EvalOptions, session};
use nixlang::format::{FormatOptions, format};
use nixlang::host::MemoryHost;
use nixlang::source::Origin;
use nixlang_tests::{cases, files, repository};

/// Fixtures that must match byte for byte; raised when more do.
const MATCHES: usize = 131;
/// Of Nixpkgs every so many files, unless `NIXPKGS_ALL` is set.
const EVERY: usize = 40;

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

/// Returns what a text is after parsing, or the message of its error.
fn meaning(text: &str) -> Result<Vec<u8>, String> {
    let options = EvalOptions { experimental_features: vec!["pipe-operators".into()], home: Some("/home".into()), ..EvalOptions::default() };
    session(|| Box::new(MemoryHost::default()), options, |eval| {
        let start = eval.sources.add(Origin::String, text.as_bytes().into()).map_err(|error| error.to_string())?;
        nixlang::lower::show(eval, text.as_bytes(), start, b"/").map_err(|error| error.data().message.clone())
    })
    .expect("a thread is to be had")
}

/// Returns what is wrong with the formatter on a text, if anything is.
fn problem(text: &str, options: FormatOptions) -> Option<String> {
    let formatted = match format(text, options) {
        Ok(formatted) => formatted,
        Err(_) => return meaning(text).is_ok().then(|| "it is refused but right".into()),
    };
    let again = match format(&formatted, options) {
        Ok(again) => again,
        Err(error) => return Some(format!("afterwards it is refused: {error}")),
    };
    if again != formatted {
        let (before, after) = formatted.lines().zip(again.lines()).find(|(a, b)| a != b).unwrap_or_default();
        return Some(format!("twice is not once: {before:?} becomes {after:?}"));
    }
    let (before, after) = (meaning(text), meaning(&formatted));
    if before.is_ok() && before != after {
        return Some("it means something else".into());
    }
    if comments(text) != comments(&formatted) {
        return Some("comments differ".into());
    }
    None
}

/// Returns the words of all comments, sorted: stars and marks may go, and a comment may move by a token.
fn comments(text: &str) -> Vec<String> {
    use nixlang::syntax::kind::SyntaxKind;
    use nixlang::syntax::tree::{ParseOptions, parse};
    let parsed = parse(text, ParseOptions { pipe_operators: true, ..ParseOptions::default() }).expect("it is short");
    let tokens = parsed.root().descendants_with_tokens().filter_map(|element| element.into_token());
    let comments = tokens.filter(|token| matches!(token.kind(), SyntaxKind::LineComment | SyntaxKind::BlockComment | SyntaxKind::DocComment));
    let mut words: Vec<String> = comments
        .flat_map(|token| token.text().split(|character: char| character.is_whitespace() || matches!(character, '#' | '*' | '/')).map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| !word.is_empty())
        .collect();
    words.sort();
    words
}

#[test]
fn formatting_keeps_the_meaning_of_our_samples() {
    let mut texts: Vec<String> = Vec::new();
    for path in files(&repository().join("tests/language"), ".nix") {
        texts.extend(cases::parse(&read(&path)).into_iter().map(|case| case.body));
    }
    texts.extend(files(&repository().join("tests/syntax/ok"), ".nix").iter().map(|path| read(path)));
    let mut wrong = Vec::new();
    for text in &texts {
        for options in [FormatOptions::default(), FormatOptions { width: 20, indent: 4, pure: true }] {
            wrong.extend(problem(text, options).map(|problem| format!("{problem}:\n{text}")));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), texts.len(), wrong.join("\n---\n"));
}

#[test]
fn formatting_keeps_the_meaning_of_nixpkgs() {
    let Ok(nixpkgs) = std::env::var("NIXPKGS") else {
        eprintln!("skipped: NIXPKGS is not set");
        return;
    };
    let mut paths = Vec::new();
    all_files(Path::new(&nixpkgs), &mut paths);
    let every = if std::env::var_os("NIXPKGS_ALL").is_some() { 1 } else { EVERY };
    let (mut n_files, mut n_unchanged, mut wrong) = (0, 0, Vec::new());
    for path in paths.iter().step_by(every) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        n_files += 1;
        n_unchanged += usize::from(format(&text, FormatOptions::default()).is_ok_and(|formatted| formatted == text));
        wrong.extend(problem(&text, FormatOptions::default()).map(|problem| format!("{}: {problem}", path.display())));
    }
    eprintln!("{n_files} files, {n_unchanged} are in the style already, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
