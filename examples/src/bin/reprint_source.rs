//! Reads a Nix file into the lossless tree, lists what it defines, and prints it again byte for byte.
//!
//! Run it with `cargo run -p nixlang-examples --bin reprint_source -- FILE`; without a file it takes a small text of its
//! own, which has an error: the tree is there nevertheless, and so is every byte.

use std::error::Error;
use std::io::Write;

use nixlang::syntax::ast::{AstNode, Binding, Expr};
use nixlang::syntax::tree::{ParseOptions, parse_bytes};

const SAMPLE: &str = "\
# Comments and odd   spaces stay.
{ pkgs }:
{
  /** Says hello. */
  greet = name: \"hello, ${name}\";
  tools = [ pkgs.hello, pkgs.jq ]
}
";

fn main() -> Result<(), Box<dyn Error>> {
    let source = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => SAMPLE.as_bytes().to_vec(),
    };
    let parsed = parse_bytes(&source, ParseOptions::default())?;

    // Errors are data: words for people, a place, and what else matters.
    for it in parsed.explain() {
        let line = 1 + source[..it.range.start as usize].iter().filter(|byte| **byte == b'\n').count();
        eprintln!("line {line}: {}", it.message);
        if let Some(hint) = it.hint {
            eprintln!("  hint: {hint}");
        }
    }

    // Nodes have types, and parts that may be missing.
    for binding in parsed.root().descendants().filter_map(Binding::cast) {
        let Some(path) = binding.attr_path() else {
            continue;
        };
        let what = match binding.value() {
            Some(Expr::Lambda(_)) => "a function",
            Some(Expr::List(_)) => "a list",
            Some(_) => "an expression",
            None => "nothing yet",
        };
        let doc = binding.doc_comment().map(|doc| format!(": {}", doc.content()));
        eprintln!("{} is {what}{}", path.syntax(), doc.unwrap_or_default());
    }

    let text = parsed.root().to_string();
    assert_eq!(text.as_bytes(), source, "the tree holds every byte");
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
