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
//!
//! The surprising part: for a text that does not parse, everything that is wrong with it is shown, in words for people; only the first line
//! is what the reference says.

use std::fmt::Write;

use super::excerpt::{Excerpt, show_place};
use super::render::{Palette, RenderOptions};
use super::span::Trees;
use super::{Diagnostic, TraceFrame};
use crate::source::Location;

/// Steps that are shown without `--show-trace`.
const SHORT_TRACE: usize = 6;
/// Syntax errors of one text that are shown.
const MAX_SYNTAX_ERRORS: usize = 10;

pub(super) fn render(diagnostic: &Diagnostic, options: &RenderOptions) -> String {
    let palette = Palette::new(options.colour);
    let (colour, word) = palette.severity(diagnostic.severity);
    let mut text = format!("{colour}{word}:{} ", palette.normal);
    let indent = " ".repeat(word.len() + 2);
    text.push_str(&diagnostic.message.trim_end().replace('\n', &format!("\n{indent}")));
    text.push('\n');
    let mut trees = Trees::default();
    if let Some(place) = &diagnostic.place {
        let explanations = if diagnostic.code == Some("syntax") { trees.explanations(place) } else { Vec::new() };
        if explanations.is_empty() {
            let width = trees.length(place, diagnostic.code == Some("undefined-variable"));
            excerpt(&mut text, "", place, palette, &Mark { colour, width, label: None });
        }
        for (place, explanation) in explanations.iter().take(MAX_SYNTAX_ERRORS) {
            let mark = Mark { colour, width: Some(explanation.range.len() as usize), label: Some(&explanation.message) };
            excerpt(&mut text, "", place, palette, &mark);
            if let Some(hint) = &explanation.hint {
                let _ = writeln!(text, "   {}╰{} {hint}", palette.blue, palette.normal);
            }
        }
        if explanations.len() > MAX_SYNTAX_ERRORS {
            let _ = writeln!(text, "   and {} more", explanations.len() - MAX_SYNTAX_ERRORS);
        }
    }
    if let Some(hint) = diagnostic.hint() {
        let Palette { blue, normal, .. } = palette;
        let _ = writeln!(text, "   {blue}╰{normal} {hint}");
    }
    if !diagnostic.cycle.is_empty() {
        let _ = writeln!(text, "  {}…{} each of these needs the one above it, and the first needs the last:", palette.blue, palette.normal);
    }
    for place in &diagnostic.cycle {
        let mark = Mark { colour: palette.blue, width: trees.length(place, false), label: None };
        excerpt(&mut text, "  ", place, palette, &mark);
    }
    trace(&mut text, diagnostic, options, palette, &mut trees);
    text.truncate(text.trim_end().len());
    text
}

fn trace(text: &mut String, diagnostic: &Diagnostic, options: &RenderOptions, palette: Palette, trees: &mut Trees) {
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
            let mark = Mark { colour: blue, width: trees.length(place, false), label: None };
            excerpt(text, "  ", place, palette, &mark);
        }
    }
    if n_hidden > 0 {
        let _ = writeln!(text, "  {warning}({n_hidden} more steps; use '--show-trace' to show them all){normal}");
    }
}

fn key(frame: &TraceFrame) -> Option<(u32, u32, u32)> {
    frame.place.as_ref().map(|place| (place.source.start.0, place.line, place.column))
}

/// What stands below a line of source.
struct Mark<'m> {
    colour: &'m str,
    /// Bytes that are marked, as far as they are on the line.
    width: Option<usize>,
    label: Option<&'m str>,
}

fn excerpt(text: &mut String, indent: &str, place: &Location, palette: Palette, mark: &Mark<'_>) {
    let Palette { blue, normal, .. } = palette;
    let lines = Excerpt::of(place);
    let width = (place.line + 1).to_string().len().max(2);
    let _ = writeln!(text, "{indent}{:width$} {blue}╭─{normal} {}", "", show_place(place));
    if let Some(before) = lines.before.as_ref().filter(|before| indent.is_empty() && !before.trim().is_empty()) {
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {}", place.line - 1, before.trim_end());
    }
    if let Some(line) = &lines.line {
        let line = line.trim_end();
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {line}", place.line);
        let start = line.floor_char_boundary((place.column as usize - 1).min(line.len()));
        let (before, after) = line.split_at(start);
        // Tabs stay tabs, so that the mark stands where the text does.
        let gap: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let marked = &after[..after.floor_char_boundary(mark.width.unwrap_or(1).min(after.len()))];
        let marks = "^".repeat(marked.chars().count().max(1));
        let label = mark.label.map(|label| format!(" {label}")).unwrap_or_default();
        let _ = writeln!(text, "{indent}{blue}{:width$} │{normal} {gap}{}{marks}{label}{normal}", "", mark.colour);
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
        let code = Some("undefined-variable");
        let diagnostic = Diagnostic { code, place, suggestions: vec!["length".into()], ..Diagnostic::error("undefined variable 'lenght'") };
        let text = render(&diagnostic, &RenderOptions::default());
        let expected = "error: undefined variable 'lenght'\n   ╭─ «string»:2:6\n 1 │ let\n 2 │ \tn = lenght xs; in n\n   │ \t    ^^^^^^\n   ╰ Did you mean length?";
        assert_eq!(text, expected);
    }
    #[test]
    fn everything_wrong_with_a_text_is_shown() {
        let map = SourceMap::default();
        let start = map.add(Origin::String, Arc::from(&b"{ x = ; y = 2 +; }"[..])).expect("small");
        let diagnostic = Diagnostic { code: Some("syntax"), place: map.locate(Pos(start.0 + 6)), ..Diagnostic::error("syntax error, unexpected ';'") };
        let text = render(&diagnostic, &RenderOptions::default());
        assert!(text.starts_with("error: syntax error, unexpected ';'\n"), "{text}");
        assert!(text.contains("^ missing value of `x`"), "{text}");
        assert!(text.contains("^ missing expression after `+`"), "{text}");
    }
}
