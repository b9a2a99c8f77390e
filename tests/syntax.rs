//! The lossless parser on files: small ones with expectations, generated ones, and whole corpora.
//!
//! `syntax/ok/*.nix` have no errors and `syntax/err/*.nix` have some; next to each is its tree
//! (`.tree`), and its errors (`.errors`) in both the words for people and the reference's.
//! `UPDATE_EXPECT=1` writes them. The corpora are outside of the repository: `NIXPKGS` names a
//! checkout of Nixpkgs, `NIX_UPSTREAM_SRC` one of Nix.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nixlang::syntax::ast::{AstNode, Expr, Root};
use nixlang::syntax::kind::SyntaxKind;
use nixlang::syntax::tree::{Parse, ParseOptions, SyntaxElement, WalkEvent, parse, parse_bytes};

const OPTIONS: ParseOptions = ParseOptions { pipe_operators: true, bindings: false };

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("syntax").join(name)
}

/// Returns the `.nix` files below a directory, sorted.
fn nix_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("the directory can be read") {
            let entry = entry.expect("the directory can be read");
            let kind = entry.file_type().expect("the entry has a type");
            let path = entry.path();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|it| it == "nix") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Returns one line per node and token, with places.
fn show_tree(parsed: &Parse) -> String {
    let mut out = String::new();
    let mut level = 0;
    for event in parsed.root().preorder() {
        match event {
            WalkEvent::Enter(element) => {
                let range = element.text_range();
                let indent = 2 * level;
                let kind = element.kind();
                write!(out, "{:indent$}{kind:?}@{}..{}", "", range.start, range.end)
                    .expect("strings take everything");
                if let SyntaxElement::Token(token) = &element {
                    write!(out, " {:?}", token.text()).expect("strings take everything");
                }
                out.push('\n');
                level += 1;
            }
            WalkEvent::Leave(_) => level -= 1,
        }
    }
    out
}

/// Returns the errors: for people with places and the text at the place marked, then the
/// reference's.
fn show_errors(source: &str, parsed: &Parse) -> String {
    let place = |offset: u32| {
        let before = &source[..offset as usize];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column}")
    };
    let range = |start: u32, end: u32| match place(start) {
        start_place if start == end => start_place,
        start_place => format!("{start_place}-{}", place(end)),
    };
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for it in parsed.explain() {
        line(format!("{}: {}", range(it.range.start, it.range.end), it.message));
        for note in it.notes {
            line(format!("  {}: {}", range(note.range.start, note.range.end), note.message));
        }
        if let Some(hint) = it.hint {
            line(format!("  hint: {hint}"));
        }
    }
    line("reference:".to_owned());
    for error in parsed.errors() {
        line(format!("{}: {error}", place(error.position)));
    }
    out
}

/// Compares text with an expectation file, or writes it.
fn expect_file(path: &Path, actual: &str, failures: &mut Vec<String>) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, actual).expect("the expectation can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != actual {
        failures.push(format!("{}:\n{actual}", path.display()));
    }
}

fn check_folder(name: &str, has_errors: bool) {
    let mut failures = Vec::new();
    let files = nix_files(&folder(name));
    assert!(!files.is_empty());
    for file in &files {
        let bytes = std::fs::read(file).expect("the input can be read");
        let source = std::str::from_utf8(&bytes).expect("the input is UTF-8");
        let parsed = parse(source, OPTIONS).expect("the input is short");
        assert!(parsed.root().text() == source, "{}", file.display());
        let explanations = parsed.explain();
        assert_eq!(!explanations.is_empty(), has_errors, "{}: {explanations:?}", file.display());
        expect_file(&file.with_extension("tree"), &show_tree(&parsed), &mut failures);
        if has_errors {
            let errors = show_errors(source, &parsed);
            expect_file(&file.with_extension("errors"), &errors, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // An expectation without an input is one that nobody checks.
    for entry in std::fs::read_dir(folder(name)).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        assert!(path.with_extension("nix").exists(), "{} has no input", path.display());
    }
}

#[test]
fn right_sources_have_the_expected_trees() {
    check_folder("ok", false);
}

#[test]
fn wrong_sources_have_the_expected_trees_and_errors() {
    check_folder("err", true);
}

/// Walks a tree the way tools do.
fn walk(parsed: &Parse) {
    let root = Root::cast(parsed.root()).expect("the root is a root");
    for node in root.syntax().descendants() {
        let Some(expr) = Expr::cast(node) else {
            continue;
        };
        match expr {
            Expr::String(it) => drop((it.parts(), it.static_value())),
            Expr::IndString(it) => drop((it.parts(), it.static_value())),
            Expr::Path(it) => drop(it.parts()),
            Expr::Lambda(it) => drop((it.param(), it.body(), it.doc_comment())),
            Expr::BinaryOp(it) => drop((it.left(), it.operator(), it.right())),
            Expr::Select(it) => drop((it.base(), it.attr_path(), it.default())),
            Expr::If(it) => drop((it.condition(), it.then_branch(), it.else_branch())),
            _ => {}
        }
    }
}

/// Texts of which sources are put together.
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "''",
    "${",
    "./a",
    "/",
    "a",
    "b.c",
    "=",
    "=",
    ";",
    ";",
    ":",
    ",",
    "@",
    "?",
    "...",
    ".",
    "'",
    "$",
    "\\",
    "\n",
    " ",
    " ",
    "\t",
    "\r\n",
    "# c\n",
    "/* c */",
    "/** d */",
    "/*",
    "or",
    "let ",
    "in ",
    "if ",
    "then ",
    "else ",
    "with ",
    "assert ",
    "rec ",
    "inherit ",
    "1",
    "1.5",
    "9223372036854775808",
    "~/",
    "~/a",
    "<a/b>",
    "<",
    ">",
    "x:y",
    "==",
    "++",
    "//",
    "-",
    "!",
    "&&",
    "->",
    "|>",
    "<|",
    "é",
    "€",
    "𝄞",
    "\0",
    "\u{feff}",
    "''$",
    "'''",
    "''\\",
    "\\\"",
    "inherit (",
    "{ a = ",
    "; }",
    "let a = 1; in ",
];

/// A small generator of numbers (PCG), so that every run makes the same sources.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mixed = ((self.0 >> 18) ^ self.0) >> 27;
        (mixed as u32).rotate_right((self.0 >> 59) as u32) as usize % bound
    }
}

#[test]
fn any_text_has_a_tree_with_the_same_text() {
    let mut numbers = Numbers(1);
    for _ in 0..4000 {
        let length = 1 + numbers.below(24);
        let source: String = (0..length).map(|_| PIECES[numbers.below(PIECES.len())]).collect();
        let parsed = parse(&source, OPTIONS).expect("the source is short");
        assert!(parsed.root().text() == source.as_str(), "{source:?}");
        walk(&parsed);
        let n_errors = parsed.errors().len();
        assert!(parsed.explain().len() >= n_errors, "{source:?}");
        let has_error_node =
            parsed.root().descendants().any(|it| it.kind() == SyntaxKind::ErrorNode);
        assert!(!has_error_node || n_errors > 0, "{source:?}");
    }
}

#[test]
fn right_sources_with_a_piece_too_much_or_too_little_are_no_trouble() {
    let mut numbers = Numbers(2);
    for file in nix_files(&folder("ok")) {
        let source = std::fs::read_to_string(&file).expect("the input is UTF-8");
        for _ in 0..40 {
            let mut broken = source.clone();
            let mut at = || broken.floor_char_boundary(numbers.below(broken.len() + 1));
            let (start, end) = (at(), at());
            let end = end.clamp(start, broken.floor_char_boundary(broken.len().min(start + 8)));
            broken.replace_range(start..end, PIECES[numbers.below(PIECES.len())]);
            let parsed = parse(&broken, OPTIONS).expect("the source is short");
            assert!(parsed.root().text() == broken.as_str(), "{broken:?}");
            walk(&parsed);
            parsed.explain();
        }
    }
}

#[test]
fn every_file_of_nixpkgs_parses_and_is_kept() {
    let Some(nixpkgs) = std::env::var_os("NIXPKGS") else {
        eprintln!("skipped: NIXPKGS names no tree");
        return;
    };
    let files = nix_files(Path::new(&nixpkgs));
    assert!(!files.is_empty(), "there are .nix files in NIXPKGS");
    let mut wrong = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("the file can be read");
        let parsed = match parse_bytes(&bytes, ParseOptions::default()) {
            Ok(parsed) => parsed,
            Err(error) => {
                wrong.push(format!("{}: {error}", file.display()));
                continue;
            }
        };
        let source = std::str::from_utf8(&bytes).expect("it has a tree");
        if parsed.root().text() != source {
            wrong.push(format!("{}: the text differs", file.display()));
        }
        walk(&parsed);
        for it in parsed.explain() {
            wrong.push(format!("{}:{}: {}", file.display(), it.range.start, it.message));
        }
    }
    eprintln!("{} files, {} wrong", files.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Inputs whose error only the resolver of variables can see.
const RESOLVER_ERRORS: &[&str] = &["parse-fail-regression-20060610.nix", "parse-fail-undef-var.nix"];

#[test]
fn inputs_of_the_upstream_suite_are_right_or_wrong_as_their_names_say() {
    let Some(upstream) = std::env::var_os("NIX_UPSTREAM_SRC") else {
        eprintln!("skipped: NIX_UPSTREAM_SRC names no checkout of Nix");
        return;
    };
    let mut wrong = Vec::new();
    let mut n_checked = 0;
    for file in nix_files(&Path::new(&upstream).join("tests/functional/lang")) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let should_fail = match name.split('-').collect::<Vec<_>>()[..] {
            ["parse", "fail", ..] => !RESOLVER_ERRORS.contains(&name),
            ["parse", "okay", ..] | ["eval", "okay", ..] => false,
            _ => continue,
        };
        n_checked += 1;
        let bytes = std::fs::read(&file).expect("the input can be read");
        match parse_bytes(&bytes, OPTIONS) {
            // Bytes that are no text are for the evaluator only.
            Err(error) => eprintln!("skipped: {name}: {error}"),
            Ok(parsed) => {
                let errors = parsed.explain();
                if errors.is_empty() == should_fail {
                    wrong.push(format!("{name}: {errors:?}"));
                }
            }
        }
    }
    eprintln!("{n_checked} inputs, {} wrong", wrong.len());
    assert!(n_checked > 0, "there are inputs in NIX_UPSTREAM_SRC");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
