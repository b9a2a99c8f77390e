//! The layout for terminals: the error first, with what it is about underlined; then the way to it, innermost step first.
//!
//! ```text
//! error: undefined variable 'lenght'
//!    ╭─ /x.nix:3:5
//!  2 │ let n =
//!  3 │     lenght xs;
//!    │     ^^^^^^
//!    ╰ Did you mean length?
//! ```

use std::fmt::Write;

use super::excerpt::{Excerpt, show_place};
use super::render::{Palette, RenderOptions};
use super::{Diagnostic, TraceFrame};
use crate::source::Location;

/// Steps that are shown without `--show-trace`.
const SHORT_TRACE: usize = 6;

pub(super) fn render(diagnostic: &Diagnostic, options: &RenderOptions) -> String {
    let palette = Palette::new(options.colour);
    let (colour, word) = palette.severity(diagnostic.severity);
    let mut text = format!("{colour}{word}:{} ", palette.normal);
    let indent = " ".repeat(word.len() + 2);
    text.push_str(&diagnostic.message.trim_end().replace('\n', &format!("\n{indent}")));
    text.push('\n');
    if let Some(place) = &diagnostic.place {
        excerpt(&mut text, "", place, palette, colour);
    }
    if let Some(hint) = diagnostic.hint() {
        let Palette { blue, normal, .. } = palette;
        let _ = writeln!(text, "   {blue}╰{normal} {hint}");
    }
    trace(&mut text, diagnostic, options, palette);
    text.truncate(text.trim_end().len());
    text
}

fn trace(text: &mut String, diagnostic: &Diagnostic, options: &RenderOptions, palette: Palette) {
    let Palette { blue, normal, warning, .. } = palette;
    let mut steps: Vec<(&TraceFrame, usize)> = Vec::new();
    for frame in diagnostic.trace.iter().rev().filter(|frame| !frame.message.is_empty()) {
        match steps.last_mut() {
            Some((last, n)) if last.message == frame.message && key(last) == key(frame) => *n += 1,
            _ => steps.push((frame, 1)),
        }
    }
    let mut n_shown = 0;
    let mut n_hidden = 0;
    for (frame, n) in &steps {
        if !options.show_trace && n_shown >= SHORT_TRACE && !frame.always {
            n_hidden += n;
            continue;
        }
        n_shown += 1;
        let times = if *n > 1 { format!(" {warning}({n} times){normal}") } else { String::new() };
        let _ = writeln!(text, "  {blue}…{normal} {}{times}", frame.message.trim_end().replace('\n', "\n    "));
        if let Some(place) = &frame.place {
            excerpt(text, "  ", place, palette, blue);
        }
    }
    if n_hidden > 0 {
        let _ = writeln!(text, "  {warning}({n_hidden} more steps; use '--show-trace' to show them all){normal}");
    }
}

fn key(frame: &TraceFrame) -> Option<(u32, u32, u32)> {
    frame.place.as_ref().map(|place| (place.source.start.0, place.line, place.column))
}

fn excerpt(text: &mut String, indent: &str, place: &Location, palette: Palette, mark: &str) {
    let Palette { blue, normal, .. } = palette;
    let lines = Excerpt::of(place);
    let width = (place.line + 1).to_string().len().max(2);
    let _ = writeln!(text, "{indent}{:width$} {blue}╭─{normal} {}", "", show_place(place));
    if let Some(before) = lines.before.as_ref().filter(|before| indent.is_empty() && !before.trim().is_empty()) {
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {}", place.line - 1, before.trim_end());
    }
    if let Some(line) = &lines.line {
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {}", place.line, line.trim_end());
        let start = (lines.column - 1).min(line.len());
        let start = line.floor_char_boundary(start);
        let (before, after) = line.split_at(start);
        // Tabs stay tabs, so that the mark stands where the text does.
        let gap: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let marks = "^".repeat(span_width(place, after));
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {gap}{mark}{marks}{normal}", "");
    }
}

/// Returns how many characters of the rest of the line belong to what starts there.
fn span_width(_place: &Location, rest: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | '-');
    let mut chars = rest.chars();
    match chars.next() {
        Some(c) if is_name(c) => 1 + chars.take_while(|c| is_name(*c)).count(),
        Some('"') => match rest[1..].find('"') {
            Some(end) => rest[..end + 2].chars().count(),
            None => 1,
        },
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{Origin, Pos, SourceMap};

    #[test]
    fn the_name_is_underlined() {
        let map = SourceMap::default();
        let start = map.add(Origin::String, Arc::from(&b"let\n\tn = lenght xs; in n"[..])).expect("small");
        let place = map.locate(Pos(start.0 + 9));
        let diagnostic = Diagnostic { place, suggestions: vec!["length".into()], ..Diagnostic::error("undefined variable 'lenght'") };
        let text = render(&diagnostic, &RenderOptions::default());
        let expected = "error: undefined variable 'lenght'\n   ╭─ «string»:2:6\n 1 │ let\n 2 │ \tn = lenght xs; in n\n   │ \t    ^^^^^^\n   ╰ Did you mean length?";
        assert_eq!(text, expected);
    }
}
