//! What is wrong with a TOML text, with the places shown as toml11 shows them.

use std::fmt;

use crate::text::json::null_byte_message;

/// Bytes `start..end` of the text.
pub(super) type Span = (usize, usize);

/// Why a text isn't TOML that the language can hold. Displays as the text that follows `while parsing TOML: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TomlError {
    /// The text isn't TOML 1.0.0.
    #[error("{0}")]
    Syntax(Box<Excerpts>),
    /// There is a date and nobody asked for dates.
    #[error("Dates and times are not supported")]
    Timestamp,
    /// A string has a NUL in it.
    #[error("error: {}", null_byte_message(text))]
    NullByte {
        /// The string.
        text: Vec<u8>,
    },
}

/// A message with one or two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpts {
    title: String,
    places: Vec<Place>,
    hints: &'static [&'static str],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line_number: usize,
    line: String,
    column: usize,
    width: usize,
    remark: &'static str,
}

/// Makes errors about one text.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'t> {
    pub(super) text: &'t [u8],
}

impl Reporter<'_> {
    /// An error at one place.
    pub(super) fn at(self, title: &str, at: usize, remark: &'static str) -> TomlError {
        self.error(title, &[((at, at), remark)], &[])
    }

    /// An error with any number of places and hints.
    pub(super) fn error(
        self,
        title: &str,
        places: &[(Span, &'static str)],
        hints: &'static [&'static str],
    ) -> TomlError {
        TomlError::Syntax(Box::new(Excerpts {
            title: title.to_owned(),
            places: places.iter().map(|&(span, remark)| self.place(span, remark)).collect(),
            hints,
        }))
    }

    fn place(self, (start, end): Span, remark: &'static str) -> Place {
        let start = start.min(self.text.len());
        let before = &self.text[..start];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line_end = memchr::memchr(b'\n', &self.text[start..]).map_or(self.text.len(), |length| start + length);
        Place {
            line_number: 1 + memchr::memchr_iter(b'\n', before).count(),
            line: String::from_utf8_lossy(&self.text[line_start..line_end]).into_owned(),
            column: start - line_start,
            width: end.min(line_end).saturating_sub(start).max(1),
            remark,
        }
    }
}

impl fmt::Display for Excerpts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[error] {}", self.title)?;
        let margin = self.places.iter().map(|place| place.line_number.to_string().len()).max().unwrap_or(1);
        for (index, place) in self.places.iter().enumerate() {
            if index == 0 {
                writeln!(f, "{:margin$}--> fromTOML", " ")?;
            } else {
                writeln!(f, "{:margin$}  | ...", " ")?;
            }
            writeln!(f, "{:margin$}  |", " ")?;
            writeln!(f, " {:>margin$} | {}", place.line_number, place.line)?;
            let carets = "^".repeat(place.width);
            writeln!(f, "{:margin$}  | {:column$}{carets}-- {}", " ", "", place.remark, column = place.column)?;
        }
        self.hints.iter().try_for_each(|hint| writeln!(f, "Hint: {hint}"))
    }
}
