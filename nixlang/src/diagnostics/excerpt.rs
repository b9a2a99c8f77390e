//! Lines of source around a place. LF, CR and CRLF end a line, as for positions.
//!
//! A line that no person wrote, of kilobytes or megabytes, is shown only around the place.

use crate::source::{Location, Origin};

/// Lines of more bytes are cut.
const LONG_LINE: usize = 1000;

/// What is kept of a long line on either side of the place.
const KEPT: usize = 200;

/// Stands for what was cut off.
const CUT: &str = "...";

/// The line of a place and its neighbours.
pub(super) struct Excerpt {
    pub(super) before: Option<String>,
    pub(super) line: Option<String>,
    /// The place's column in `line`, from 1.
    pub(super) column: usize,
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
        let mut column = place.column as usize;
        let before = if line > 1 { lines.next() } else { None }.map(|line| cut(line, &mut 1));
        let line = lines.next().map(|line| cut(line, &mut column));
        Excerpt { before, line, column, after: lines.next().map(|line| cut(line, &mut 1)) }
    }
}

/// Returns a line, or what is around a column of it if it is long; `column` then counts in what is returned.
fn cut(line: &[u8], column: &mut usize) -> String {
    if line.len() <= LONG_LINE {
        return text_of(line);
    }
    let place = (*column - 1).min(line.len());
    let start = if place > KEPT + CUT.len() { place - KEPT } else { 0 };
    let end = (place + KEPT).min(line.len());
    *column = place - start + 1 + if start > 0 { CUT.len() } else { 0 };
    let kept = text_of(&line[start..end]);
    format!("{}{kept}{}", if start > 0 { CUT } else { "" }, if end < line.len() { CUT } else { "" })
}

/// Stands for byte 0 where text is no UTF-8; the other bytes follow. At the end of a private plane, so no text has reason to contain it.
const RAW_BYTE: u32 = 0x10_fe00;

/// Returns text, with characters for bytes that are no UTF-8, which [`to_bytes`] turns into these bytes again.
fn text_of(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let valid = match std::str::from_utf8(bytes) {
            Ok(valid) => valid.len(),
            Err(error) => error.valid_up_to(),
        };
        text.push_str(std::str::from_utf8(&bytes[..valid]).expect("it is valid so far"));
        if let Some(byte) = bytes.get(valid) {
            text.extend(char::from_u32(RAW_BYTE + u32::from(*byte)));
        }
        bytes = bytes.get(valid + 1..).unwrap_or_default();
    }
    text
}

fn raw_byte(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(RAW_BYTE)?).ok()
}

/// Returns rendered text as bytes, with excerpts of sources that are no UTF-8 as they are.
pub(super) fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match raw_byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Returns rendered text with the replacement character for what is no UTF-8.
pub(super) fn to_text(text: String) -> String {
    if text.chars().any(|c| raw_byte(c).is_some()) { text.chars().map(|c| if raw_byte(c).is_some() { char::REPLACEMENT_CHARACTER } else { c }).collect() } else { text }
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

    #[test]
    fn bytes_that_are_no_text_stay() {
        let bytes = b"a\xff\xc3\xa9\xc3";
        let text = text_of(bytes);
        assert_eq!(to_bytes(&text), bytes);
        assert_eq!(to_text(text), "a\u{fffd}\u{e9}\u{fffd}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = [b"a".repeat(70_000), b"b".to_vec(), b"c".repeat(70_000)].concat();
        let mut column = 70_001;
        let text = cut(&line, &mut column);
        assert_eq!(text, format!("...{}b{}...", "a".repeat(200), "c".repeat(199)));
        assert_eq!(text.as_bytes()[column - 1], b'b');
        for mut column in [1, 204, 205, 140_001, 140_002, 200_000] {
            let text = cut(&line, &mut column);
            assert!(column <= text.len() + 1 && text.len() < LONG_LINE, "{column} of {}", text.len());
        }
    }
}
