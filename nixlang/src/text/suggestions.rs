//! "Did you mean …?": which known names are close to an unknown one. How that is said is up to who shows the error.
//!
//! The reference's rule: Levenshtein distance on bytes of at most two, at most five names, nearest first and by
//! name among equals.

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
    fn nearest_first() {
        let check = |wanted: &str, names: &[&str], expected: &[&str]| {
            let near = nearest(wanted.as_bytes(), names.iter().map(|name| name.as_bytes()));
            assert_eq!(near, expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
        };
        check("fo", &["foo", "bar"], &["foo"]);
        check("nul", &["null", "nu", "all"], &["nu", "null", "all"]);
        check("x", &["abcdef"], &[]);
        check("a", &["b", "c", "d", "e", "f", "g"], &["b", "c", "d", "e", "f"]);
    }
}
