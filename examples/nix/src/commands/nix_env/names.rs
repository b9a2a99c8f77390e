//! Names of packages: `hello-2.12` is a name and a version; selectors, which are regular expressions, choose by them.

use std::cmp::Ordering;

use regex::Regex;

use super::super::diff_closures::split_name;
use crate::failure::{Failure, Outcome};

/// Chooses packages by name, and by version if it has one.
pub(super) struct Selector {
    /// What the user wrote.
    pub(super) text: String,
    /// Its name part.
    pub(super) name: String,
    version: String,
    /// `None` for `*`.
    pattern: Option<Regex>,
}

impl Selector {
    pub(super) fn new(text: &str) -> Outcome<Selector> {
        let (name, version) = split_name(text);
        let pattern = match name {
            "*" => None,
            name => Some(Regex::new(&format!("^(?:{name})$")).map_err(|_| Failure::new(format!("invalid regular expression '{name}'")))?),
        };
        Ok(Selector { text: text.to_owned(), name: name.to_owned(), version: version.to_owned(), pattern })
    }

    /// Returns the selectors of these words, `*` if there is none.
    pub(super) fn all(words: &[String]) -> Outcome<Vec<Selector>> {
        if words.is_empty() { Ok(vec![Selector::new("*")?]) } else { words.iter().map(|word| Selector::new(word)).collect() }
    }

    pub(super) fn matches(&self, full_name: &str) -> bool {
        let (name, version) = split_name(full_name);
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)) && (self.version.is_empty() || self.version == version)
    }
}

/// Returns the parts of a version: runs of digits and runs of letters, with `.` and `-` between them.
fn parts(version: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = version;
    loop {
        rest = rest.trim_start_matches(['.', '-']);
        let Some(first) = rest.chars().next() else { return parts };
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit || c == '.' || c == '-').unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
}

/// Compares versions part by part: numbers by value, `pre` before anything, nothing before letters and after `pre`.
pub(super) fn compare_versions(left: &str, right: &str) -> Ordering {
    let (left, right) = (parts(left), parts(right));
    let less = |a: &str, b: &str| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        (_, Ok(_)) if a.is_empty() => true,
        _ if a == "pre" && b != "pre" => true,
        _ if b == "pre" => false,
        (Err(_), Ok(_)) => true,
        (Ok(_), Err(_)) => false,
        _ => a < b,
    };
    for i in 0..left.len().max(right.len()) {
        let (a, b) = (left.get(i).copied().unwrap_or(""), right.get(i).copied().unwrap_or(""));
        if a == b {
            continue;
        }
        if less(a, b) {
            return Ordering::Less;
        }
        if less(b, a) {
            return Ordering::Greater;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_in_the_language() {
        let sorted = ["2.3pre1", "2.3", "2.3a", "2.3.1", "2.3.10", "2.4"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn selectors() {
        let check = |selector: &str, name: &str, expected: bool| {
            assert_eq!(Selector::new(selector).expect("valid").matches(name), expected, "{selector} {name}");
        };
        check("*", "foo-1.0", true);
        check("foo", "foo-1.0", true);
        check("foo-1.0", "foo-1.0", true);
        check("foo-1.0", "foo-2.0", false);
        check("fo", "foo-1.0", false);
        check(".*oo", "foo-1.0", true);
        assert!(Selector::new("(").is_err());
    }
}
