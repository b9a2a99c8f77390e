//! The words of a command line, taken one by one with the reference's conventions: `-vL` is `-v -L`, `-j4` is `-j 4`, `--` ends the flags,
//! and there is no `--flag=value`.

use std::collections::VecDeque;
use std::ffi::OsString;

use crate::failure::{Failure, Outcome};

/// A word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Begins with a dash.
    Flag(String),
    /// Does not, or stands behind `--`.
    Plain(String),
}

/// What is left of a command line.
#[derive(Debug)]
pub(crate) struct Args {
    rest: VecDeque<String>,
    only_plain: bool,
}

impl Args {
    pub(crate) fn new(arguments: impl Iterator<Item = OsString>) -> Outcome<Args> {
        let utf8 = |argument: OsString| {
            argument.into_string().map_err(|argument| Failure::Usage(format!("argument '{}' is not valid UTF-8", argument.to_string_lossy())))
        };
        Ok(Args { rest: arguments.map(utf8).collect::<Outcome<_>>()?, only_plain: false })
    }

    /// Takes the next word.
    pub(crate) fn next(&mut self) -> Option<Word> {
        let mut word = self.rest.pop_front()?;
        if self.only_plain {
            return Some(Word::Plain(word));
        }
        if word == "--" {
            self.only_plain = true;
            return self.next();
        }
        let mut chars = word.char_indices().skip(2).peekable();
        if word.starts_with('-') && word[1..].starts_with(|c: char| c.is_ascii_alphabetic()) && chars.peek().is_some() {
            let mut parts = Vec::new();
            for (i, c) in chars {
                if c.is_ascii_alphabetic() {
                    parts.push(format!("-{c}"));
                } else {
                    parts.push(word[i..].to_owned());
                    break;
                }
            }
            for part in parts.into_iter().rev() {
                self.rest.push_front(part);
            }
            word.truncate(2);
        }
        Some(if word.starts_with('-') { Word::Flag(word) } else { Word::Plain(word) })
    }

    /// Takes the next word if it is a flag.
    pub(crate) fn next_if_flag(&mut self) -> Option<String> {
        if !self.rest.front()?.starts_with('-') || self.rest.front()? == "--" {
            return None;
        }
        match self.next()? {
            Word::Flag(flag) => Some(flag),
            Word::Plain(word) => {
                self.rest.push_front(word);
                None
            }
        }
    }

    /// Puts words in place of the next one.
    pub(crate) fn replace_next(&mut self, words: Vec<String>) {
        self.rest.pop_front();
        words.into_iter().rev().for_each(|word| self.rest.push_front(word));
    }

    /// Returns all words that are left.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.rest.iter()
    }

    /// Gives a word back.
    pub(crate) fn put_back(&mut self, word: String) {
        self.rest.push_front(word);
    }

    /// Takes the value of a flag.
    pub(crate) fn value(&mut self, flag: &str) -> Outcome<String> {
        self.rest.pop_front().ok_or_else(|| Failure::Usage(format!("'{flag}' requires an argument")))
    }

    /// Takes the two values of a flag.
    pub(crate) fn two_values(&mut self, flag: &str) -> Outcome<(String, String)> {
        let n_given = self.rest.len();
        match (self.rest.pop_front(), self.rest.pop_front()) {
            (Some(first), Some(second)) => Ok((first, second)),
            _ => Err(Failure::Usage(format!("flag '{flag}' requires 2 argument(s), but only {n_given} were given"))),
        }
    }

    /// Takes the next word if it is not a flag.
    pub(crate) fn plain(&mut self) -> Option<String> {
        if self.rest.front()?.starts_with('-') { None } else { self.rest.pop_front() }
    }

    /// Returns whether flags are over (`--` was seen).
    pub(crate) fn flags_are_over(&self) -> bool {
        self.only_plain
    }

    /// Takes everything that is left, as it is.
    pub(crate) fn take_rest(&mut self) -> Vec<String> {
        self.rest.drain(..).collect()
    }
}

/// Returns the failure for a flag that a command does not have.
pub(crate) fn unknown_flag(flag: &str) -> Failure {
    Failure::Usage(format!("unrecognised flag '{flag}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &[&str]) -> Vec<String> {
        let mut args = Args::new(arguments.iter().map(OsString::from)).expect("UTF-8");
        let mut words = Vec::new();
        while let Some(word) = args.next() {
            words.push(match word {
                Word::Flag(flag) => flag,
                Word::Plain(plain) => format!("[{plain}]"),
            });
        }
        words
    }

    #[test]
    fn compound_flags() {
        assert_eq!(words(&["-vL", "-j4", "--strict", "x", "-"]), ["-v", "-L", "-j", "[4]", "--strict", "[x]", "-"]);
        assert_eq!(words(&["-qR", "--", "-vv", "--"]), ["-q", "-R", "[-vv]", "[--]"]);
    }

    #[test]
    fn values_are_taken_as_they_are() {
        let mut args = Args::new(["-A", "-vv", "--arg", "x"].iter().map(OsString::from)).expect("UTF-8");
        assert_eq!(args.next(), Some(Word::Flag("-A".into())));
        assert_eq!(args.value("-A").expect("there is one"), "-vv");
        assert_eq!(args.next(), Some(Word::Flag("--arg".into())));
        assert!(matches!(args.two_values("--arg"), Err(Failure::Usage(_))));
    }
}
