//! Lines of source around a place. LF, CR and CRLF end a line, as for positions.

use crate::source::{Location, Origin};

/// The line of a place and its neighbours.
pub(super) struct Excerpt {
    pub(super) before: Option<String>,
    pub(super) line: Option<String>,
    pub(super) after: Option<String>,
}

impl Excerpt {
    pub(super) fn of(place: &Location) -> Excerpt {
        let mut text: &[u8] = &place.source.text;
        if !matches!(place.source.origin, Origin::File(_)) {
            // The reference keeps such texts as C strings.
            text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        let line = place.line as usize;
        let mut lines = lines(text).skip(line.saturating_sub(2));
        let mut next = || lines.next().map(|line| String::from_utf8_lossy(line).into_owned());
        let before = if line > 1 { next() } else { None };
        Excerpt { before, line: next(), after: next() }
    }
}

/// Returns the lines of a text. A line end at the end of the text has an empty line behind it.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        rest = end.map(|end| match &text[end..] {
            [b'\r', b'\n', after @ ..] => after,
            after => &after[1..],
        });
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Returns `file:line:column`.
pub(super) fn show_place(place: &Location) -> String {
    let origin = match &place.source.origin {
        Origin::File(path) => String::from_utf8_lossy(path).into_owned(),
        Origin::String => "«string»".into(),
        Origin::Stdin => "«stdin»".into(),
        Origin::Repl => "«repl»".into(),
    };
    format!("{origin}:{}:{}", place.line, place.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_counts() {
        let found: Vec<&[u8]> = lines(b"a\nb\r\nc\rd\n").collect();
        assert_eq!(found, [&b"a"[..], b"b", b"c", b"d", b""]);
        assert_eq!(lines(b"").count(), 1);
    }
}
