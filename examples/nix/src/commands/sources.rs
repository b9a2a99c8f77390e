//! What `nix-instantiate`, `nix-build` and `nix-shell` evaluate: files, expressions or standard input, and which attributes of them.

use crate::args::Args;
use crate::failure::Outcome;

#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Files, or with `expressions` text.
    pub(super) words: Vec<String>,
    /// Attribute paths; an empty one is the value itself.
    pub(super) attributes: Vec<String>,
    pub(super) stdin: bool,
    pub(super) expressions: bool,
}

impl Sources {
    /// Takes a flag, if it is one of these.
    pub(super) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "-" => self.stdin = true,
            "-E" | "--expr" => self.expressions = true,
            "-A" | "--attr" => self.attributes.push(args.value(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the words that are no flags.
    pub(super) fn complete(&mut self, words: Vec<String>) {
        self.words = words;
        if self.attributes.is_empty() {
            self.attributes.push(String::new());
        }
    }

    /// Returns whether nothing is named.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty() && !self.stdin && !self.expressions
    }
}
