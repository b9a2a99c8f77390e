//! Scripts that begin with `#! /usr/bin/env nix-shell`: their further lines `#! nix-shell FLAGS` are the command line. Those of the new command
//! line begin with `#! /usr/bin/env nix` and have lines `#! nix WORDS`, with a way of quoting of their own: two backticks.

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

/// Returns the words of a script of the new command line, if a file is one: those of its lines, and its own name.
pub(crate) fn words_of_script(word: &str) -> Outcome<Option<Vec<String>>> {
    let Ok(text) = std::fs::read(word) else { return Ok(None) };
    if !text.starts_with(b"#!") {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    let mut content = String::new();
    for line in text.lines().skip(1).take_while(|line| line.starts_with(|c| "#/\\%@*-(".contains(c))) {
        let Some(rest) = line.strip_prefix("#!").and_then(|rest| rest.trim_start().strip_prefix("nix")) else { continue };
        match rest.strip_prefix(": ").or_else(|| rest.strip_prefix(' ')) {
            Some(rest) => content.push_str(rest),
            None if rest.is_empty() => {}
            None => continue,
        }
        content.push('\n');
    }
    let mut words = split_backticked(&content)?;
    words.push(word.to_owned());
    Ok(Some(words))
}

/// Splits into words; what stands between two backticks and two backticks is taken as it is.
fn split_backticked(text: &str) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        match c {
            ' ' | '\t' | '\n' | '\r' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            '`' => {
                let Some(quoted) = tail.strip_prefix('`') else {
                    return Err(Failure::new("single backtick is not a supported syntax in the nix shebang."));
                };
                let (text, after) = until_backticks(quoted)?;
                words.push(text);
                word.clear();
                rest = after;
                continue;
            }
            '$' | '*' | '~' | '<' | '>' | '|' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '\'' | '"' | '\\' => {
                return Err(Failure::new(format!("unsupported unquoted character in nix shebang: {c}. Use double backticks to escape?")));
            }
            '#' if word.is_empty() => {
                return Err(Failure::new("unquoted nix shebang argument cannot start with #. Use double backticks to escape?"));
            }
            c => word.push(c),
        }
        rest = tail;
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Returns what stands before exactly two backticks (a blank before them is dropped), and what stands behind. Of three and more the first
/// stands for nothing, and the others for themselves.
fn until_backticks(text: &str) -> Outcome<(String, &str)> {
    let mut quoted = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let ticks = rest.strip_prefix(' ').unwrap_or(rest);
        let n_ticks = ticks.len() - ticks.trim_start_matches('`').len();
        if n_ticks == 2 {
            return Ok((quoted, &ticks[2..]));
        }
        if c == '`' && n_ticks > 2 {
            quoted.push_str(&ticks[1..n_ticks]);
            rest = &ticks[n_ticks..];
        } else {
            quoted.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Err(Failure::new("unterminated quoted string in nix shebang"))
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
    fn words_between_backticks() {
        let check = |text: &str, expected: &[&str]| assert_eq!(split_backticked(text).expect("well-formed"), expected, "{text}");
        check("a  b\n", &["a", "b"]);
        check("--expr `` let x = \"1\";\n in x `` c", &["--expr", " let x = \"1\";\n in x", "c"]);
        check("``a ```b``", &["a ``b"]);
        for text in ["a *", "`a", "#a", "``a"] {
            assert!(split_backticked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines() {
        assert_eq!(of_nix_shell("#!nix-shell -p a"), Some("-p a"));
        assert_eq!(of_nix_shell("#! nix-shell   -p a\r"), Some("-p a"));
        assert_eq!(of_nix_shell("#! nix-shellx -p a"), None);
        assert_eq!(of_nix_shell("# nix-shell -p a"), None);
    }
}
