//! "Did you mean …?": which known names are close to an unknown one, and how that is said.
//!
//! The reference's rule: Levenshtein distance on bytes of at most two, at most five names, nearest first and by
//! name among equals. Its text carries colour codes, which are the host's business here.

/// Largest distance of a name that is offered.
const MAX_DISTANCE: usize = 2;
/// Most names that are offered.
const MAX_NAMES: usize = 5;

/// Returns the names near `wanted`, best first.
pub(crate) fn nearest<'n>(wanted: &[u8], names: impl IntoIterator<Item = &'n [u8]>) -> Vec<&'n [u8]> {
    let mut near: Vec<(usize, &[u8])> = names
        .into_iter()
        .filter(|name| name.len().abs_diff(wanted.len()) <= MAX_DISTANCE)
        .filter_map(|name| {
            let distance = distance(wanted, name);
            (distance <= MAX_DISTANCE).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(MAX_NAMES);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Returns `Did you mean a?` or `Did you mean one of a, b or c?`; nothing if there is no name.
pub(crate) fn sentence(names: &[&[u8]]) -> Option<String> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let (last, others) = names.split_last()?;
    if others.is_empty() {
        return Some(format!("Did you mean {}?", text(last)));
    }
    let others: Vec<String> = others.iter().map(|name| text(name)).collect();
    Some(format!("Did you mean one of {} or {}?", others.join(", "), text(last)))
}

/// Levenshtein distance, by two rows of the matrix.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
    }

    #[test]
    fn wording() {
        let check = |wanted: &str, names: &[&str], expected: Option<&str>| {
            let near = nearest(wanted.as_bytes(), names.iter().map(|name| name.as_bytes()));
            assert_eq!(sentence(&near).as_deref(), expected);
        };
        check("fo", &["foo", "bar"], Some("Did you mean foo?"));
        check("nul", &["null", "nu", "all"], Some("Did you mean one of nu, null or all?"));
        check("x", &["abcdef"], None);
        check("a", &["b", "c", "d", "e", "f", "g"], Some("Did you mean one of b, c, d, e or f?"));
    }
}
