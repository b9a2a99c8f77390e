//! The reference's layout (facts from `error.cc` of 2.34, checked against the golden files of its language tests):
//!
//! ```text
//! error:
//!        … while calling 'f'
//!          at /x.nix:1:4:
//!             1| f = x: throw "oh";
//!              |     ^
//!
//!        error: oh
//! ```
//!
//! The surprising parts: without `--show-trace` a place counts as a frame of its own towards the four after which a trace is cut; a run of more
//! than five frames that were all seen before is elided, and what was seen is never forgotten.

use std::collections::HashSet;
use std::fmt::Write;

use super::excerpt::{Excerpt, show_place};
use super::render::{Palette, RenderOptions};
use super::{Diagnostic, TraceFrame};
use crate::source::Location;

/// Frames and places after which a trace is cut without `--show-trace`.
const SHORT_TRACE: usize = 3;
/// Frames in a row, all seen before, that are still shown.
const SHORT_REPETITION: usize = 5;

pub(super) fn render(diagnostic: &Diagnostic, options: &RenderOptions) -> String {
    let palette = Palette::new(options.colour);
    let (colour, word) = palette.severity(diagnostic.severity);
    let prefix = format!("{colour}{word}:{} ", palette.normal);
    let mut body = Body { text: String::new(), palette, n_shown: 0 };
    if !diagnostic.trace.is_empty() {
        body.trace(&diagnostic.trace, options.show_trace);
        body.text.push('\n');
        body.text.push_str(&prefix);
    }
    body.text.push_str(&diagnostic.message);
    body.text.push('\n');
    if let Some(place) = &diagnostic.place {
        body.place("", place);
    }
    // The reference has none for variables.
    let hint = diagnostic.hint().filter(|_| diagnostic.code != Some("undefined-variable"));
    if let Some(hint) = hint {
        body.text.push_str(&hint);
        body.text.push('\n');
    }
    let end = body.text.trim_end().len();
    // The reference trims what it shows, but does not see a line end behind its own colours. Only `throw` has none.
    let keeps_end = diagnostic.code != Some("throw") && diagnostic.message.ends_with('\n') && diagnostic.place.is_none() && diagnostic.hint().is_none();
    body.text.truncate(end);
    let width = word.len() + 2;
    let text = indent(&prefix, width, &body.text);
    if keeps_end { format!("{text}\n{:width$}", "") } else { text }
}

struct Body {
    text: String,
    palette: Palette,
    n_shown: usize,
}

impl Body {
    fn trace(&mut self, trace: &[TraceFrame], show_all: bool) {
        let mut seen = HashSet::new();
        let mut repeated: Vec<&TraceFrame> = Vec::new();
        let mut truncated = false;
        for frame in trace.iter().filter(|frame| !frame.message.is_empty()) {
            truncated |= !show_all && self.n_shown > SHORT_TRACE;
            if truncated && !frame.always {
                continue;
            }
            if !seen.insert((frame.place.as_ref().map(key), &frame.message)) {
                repeated.push(frame);
                continue;
            }
            self.repeated(&mut repeated);
            self.n_shown += 1;
            self.frame(frame);
        }
        self.repeated(&mut repeated);
        if truncated {
            let Palette { warning, normal, .. } = self.palette;
            let _ = write!(self.text, "\n{warning}(stack trace truncated; use '--show-trace' to show the full, detailed trace){normal}\n");
        }
    }

    fn repeated(&mut self, frames: &mut Vec<&TraceFrame>) {
        if frames.len() <= SHORT_REPETITION {
            for frame in frames.iter() {
                self.frame(frame);
            }
        } else {
            let Palette { warning, normal, .. } = self.palette;
            let _ = write!(self.text, "\n{warning}({} duplicate frames omitted){normal}\n", frames.len());
        }
        frames.clear();
    }

    fn frame(&mut self, frame: &TraceFrame) {
        let _ = write!(self.text, "\n… {}\n", frame.message);
        if let Some(place) = &frame.place {
            self.place("  ", place);
            self.n_shown += 1;
        }
    }

    fn place(&mut self, indent: &str, place: &Location) {
        let Palette { red, blue, warning, normal } = self.palette;
        let excerpt = Excerpt::of(place);
        let _ = write!(self.text, "{indent}{blue}at {warning}{}{normal}:", show_place(place));
        let mut line = |number: u32, text: &str| {
            let _ = write!(self.text, "\n {number:5}| {text}");
        };
        if let Some(before) = &excerpt.before {
            line(place.line - 1, before);
        }
        if let Some(text) = &excerpt.line {
            line(place.line, text);
            let _ = write!(self.text, "\n      |{:column$}{red}^{normal}", "", column = excerpt.column);
        }
        if let Some(after) = &excerpt.after {
            let number = place.line + 1;
            let _ = write!(self.text, "\n {number:5}| {after}");
        }
        self.text.push('\n');
    }
}

/// What makes two places the same.
fn key(place: &Location) -> (u32, u32, u32) {
    (place.source.start.0, place.line, place.column)
}

/// Puts `first` before the first line and blanks before the others; no line ends in blanks.
fn indent(first: &str, width: usize, text: &str) -> String {
    let mut output = String::with_capacity(text.len() * 5 / 4);
    for (i, line) in text.split('\n').enumerate() {
        if i == 0 {
            output.push_str(format!("{first}{line}").trim_end());
        } else {
            output.push('\n');
            output.push_str(format!("{:width$}{line}", "").trim_end());
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{Origin, Pos, SourceMap};

    fn frame(message: &str, place: Option<Location>) -> TraceFrame {
        TraceFrame { message: message.into(), place, always: false }
    }

    fn locate(text: &str, offset: u32) -> Option<Location> {
        let map = SourceMap::default();
        let start = map.add(Origin::File(Arc::from(&b"/x.nix"[..])), Arc::from(text.as_bytes())).expect("small");
        map.locate(Pos(start.0 + offset))
    }

    fn check(diagnostic: &Diagnostic, show_trace: bool, expected: &str) {
        assert_eq!(render(diagnostic, &RenderOptions { show_trace, ..RenderOptions::default() }), expected);
    }

    #[test]
    fn a_place_has_its_neighbours() {
        let place = locate("a\nbcd\n", 3);
        let diagnostic = Diagnostic { place, suggestions: vec!["x".into(), "y".into()], ..Diagnostic::error("two\nlines") };
        let expected = "error: two\n       lines\n       at /x.nix:2:2:\n            1| a\n            2| bcd\n             |  ^\n            3|\n       Did you mean one of x or y?";
        check(&diagnostic, true, expected);
        check(&Diagnostic::warning("w"), true, "warning: w");
    }

    #[test]
    fn frames_come_first() {
        let trace = vec![frame("while one", locate("x", 0)), frame("while two", None)];
        let diagnostic = Diagnostic { trace, ..Diagnostic::error("m") };
        let expected = "error:\n       … while one\n         at /x.nix:1:1:\n            1| x\n             | ^\n\n       … while two\n\n       error: m";
        check(&diagnostic, false, expected);
    }

    #[test]
    fn long_traces_are_cut_and_repetitions_counted() {
        let trace: Vec<_> = (0..9).map(|i| frame(&format!("f{i}"), None)).collect();
        let diagnostic = Diagnostic { trace, ..Diagnostic::error("m") };
        let short = "error:\n       … f0\n\n       … f1\n\n       … f2\n\n       … f3\n\n       \
                     (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n       error: m";
        check(&diagnostic, false, short);
        let trace = vec![frame("f", None); 8];
        let diagnostic = Diagnostic { trace, ..Diagnostic::error("m") };
        check(&diagnostic, true, "error:\n       … f\n\n       (7 duplicate frames omitted)\n\n       error: m");
    }
}
