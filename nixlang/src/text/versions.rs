//! Version strings and derivation names: what `compareVersions`, `splitVersion` and `parseDrvName` do.
//!
//! Components are runs of digits or runs of other bytes, separated by dots, dashes or nothing at all.
//! A number that doesn't fit an `int` is compared as text, as the reference does.

use std::cmp::Ordering;

/// Iterates over the components of a version, which are never empty.
pub(crate) struct Components<'v> {
    rest: &'v [u8],
}

/// Returns the components of `version`.
pub(crate) fn components(version: &[u8]) -> Components<'_> {
    Components { rest: version }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'-')
}

impl<'v> Iterator for Components<'v> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        let start = self.rest.iter().position(|&byte| !is_separator(byte))?;
        let rest = &self.rest[start..];
        let is_number = rest[0].is_ascii_digit();
        let length = rest
            .iter()
            .position(|&byte| byte.is_ascii_digit() != is_number || is_separator(byte))
            .unwrap_or(rest.len());
        let (component, rest) = rest.split_at(length);
        self.rest = rest;
        Some(component)
    }
}

/// Orders two versions.
pub(crate) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let (mut left, mut right) = (components(left), components(right));
    loop {
        let (a, b) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => (a.unwrap_or_default(), b.unwrap_or_default()),
        };
        if is_less(a, b) {
            return Ordering::Less;
        }
        if is_less(b, a) {
            return Ordering::Greater;
        }
    }
}

/// A component as a number, if it is one that fits 32 bits.
fn number(component: &[u8]) -> Option<i32> {
    if !component.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(component).ok()?.parse().ok()
}

fn is_less(a: &[u8], b: &[u8]) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a < b,
        (_, Some(_)) if a.is_empty() => true,
        _ if a == b"pre" && b != b"pre" => true,
        _ if b == b"pre" => false,
        (_, Some(_)) => true,
        (Some(_), _) => false,
        _ => a < b,
    }
}

/// Splits a derivation name into name and version: at the first dash that isn't followed by a letter.
pub(crate) fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    let dash = name
        .windows(2)
        .position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic());
    match dash {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_versions() {
        let ascending = [
            ("1.0", "2.3"),
            ("2.1", "2.3"),
            ("2.3", "2.5"),
            ("2.3", "2.3.1"),
            ("2.3a", "2.3.1"),
            ("2.3pre1", "2.3"),
            ("2.3pre3", "2.3pre12"),
            ("2.3pre1", "2.3a"),
            ("2.3pre1", "2.3c"),
            ("2.3a", "2.3c"),
            ("pre", ""),
        ];
        for (left, right) in ascending {
            assert_eq!(compare(left.as_bytes(), right.as_bytes()), Ordering::Less, "{left} {right}");
            assert_eq!(compare(right.as_bytes(), left.as_bytes()), Ordering::Greater, "{right} {left}");
        }
        assert_eq!(compare(b"2.3", b"2.3"), Ordering::Equal);
        assert_eq!(compare(b"1..2-", b"1-2"), Ordering::Equal);
        // Neither fits an int, so this is the order of texts.
        assert_eq!(compare(b"99999999999", b"111111111111"), Ordering::Greater);
    }

    #[test]
    fn components_of_versions() {
        let split = |version: &'static str| {
            components(version.as_bytes()).map(|it| String::from_utf8_lossy(it).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(split("1.2.3-4pre5"), ["1", "2", "3", "4", "pre", "5"]);
        assert_eq!(split("--"), [""; 0]);
    }

    #[test]
    fn derivation_names() {
        assert_eq!(split_name(b"apache-httpd-2.0.48"), (&b"apache-httpd"[..], &b"2.0.48"[..]));
        assert_eq!(split_name(b"hello"), (&b"hello"[..], &b""[..]));
        assert_eq!(split_name(b"hello-"), (&b"hello-"[..], &b""[..]));
        assert_eq!(split_name(b"a--b"), (&b"a"[..], &b"-b"[..]));
    }
}
