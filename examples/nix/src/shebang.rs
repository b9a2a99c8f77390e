//! Scripts that begin with `#! /usr/bin/env nix-shell`: their further lines `#! nix-shell FLAGS` are the command line.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// A script that is to be run.
#[derive(Debug)]
pub(crate) struct Script {
    /// As it was named.
    pub(crate) path: PathBuf,
    /// What its lines say.
    pub(crate) flags: Vec<String>,
}

impl Script {
    /// Reads a file if it is a script; other words are none.
    pub(crate) fn read(word: &str) -> Outcome<Option<Script>> {
        let path = PathBuf::from(word);
        let Ok(text) = std::fs::read(&path) else { return Ok(None) };
        if !text.starts_with(b"#!") {
            return Ok(None);
        }
        let mut flags = Vec::new();
        for line in text.split(|byte| *byte == b'\n').skip(1) {
            if let Some(rest) = std::str::from_utf8(line).ok().and_then(of_nix_shell) {
                flags.append(&mut split_words(rest)?);
            }
        }
        Ok(Some(Script { path, flags }))
    }

    /// Returns the directory that it lies in.
    pub(crate) fn directory(&self) -> Outcome<PathBuf> {
        Ok(std::path::absolute(&self.path)?.parent().unwrap_or(Path::new("/")).to_owned())
    }
}

/// Returns what follows `#! nix-shell`.
fn of_nix_shell(line: &str) -> Option<&str> {
    let rest = line.trim_end_matches(['\r', '\n']).strip_prefix("#!")?.trim_start().strip_prefix("nix-shell")?;
    rest.starts_with(|c: char| c.is_ascii_whitespace()).then(|| rest.trim_start())
}

/// Splits into words as a shell does, with quotes and backslashes, but without anything that is expanded. Blanks at the end make an empty word,
/// as they do for the reference; there is none in an empty text.
fn split_words(text: &str) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.extend(chars.next()),
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if c.is_ascii_whitespace() => {
                words.push(std::mem::take(&mut word));
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if chars.peek().is_none() {
                    return Ok(words);
                }
            }
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err(Failure::new("unterminated quote in shebang line"));
    }
    words.push(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let check = |text: &str, expected: &[&str]| assert_eq!(split_words(text).expect("well-formed"), expected, "{text}");
        check("-i bash", &["-i", "bash"]);
        check("--expr  ", &["--expr"]);
        check(r#"--argstr s1 'foo "bar" \baz'"'"'qux'"#, &["--argstr", "s1", r#"foo "bar" \baz'qux"#]);
        check(r#""foo 'bar' \"\baz""#, &[r#"foo 'bar' "baz"#]);
        check(r"\foo\ bar\'baz", &["foo bar'baz"]);
        check("s4 ''", &["s4", ""]);
        assert!(split_words("'a").is_err());
    }

    #[test]
    fn lines() {
        assert_eq!(of_nix_shell("#!nix-shell -p a"), Some("-p a"));
        assert_eq!(of_nix_shell("#! nix-shell   -p a\r"), Some("-p a"));
        assert_eq!(of_nix_shell("#! nix-shellx -p a"), None);
        assert_eq!(of_nix_shell("# nix-shell -p a"), None);
    }
}
