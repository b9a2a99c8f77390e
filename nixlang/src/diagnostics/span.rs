//! How much of the text a place stands for. Positions of the evaluator are single bytes; the lossless tree says what begins there, and what is
//! wrong with a text that does not parse.

use std::collections::HashMap;

use crate::source::{Location, Pos, SourceMap};
use crate::syntax::explain::Explanation;
use crate::syntax::tree::{Parse, ParseOptions, parse_bytes};

/// Texts beyond this are not parsed again only to be shown.
const MAX_TEXT: usize = 16 << 20;

/// The trees of the sources that one diagnostic mentions.
#[derive(Default)]
pub(super) struct Trees(HashMap<u32, Option<Parse>>);

impl Trees {
    fn tree(&mut self, place: &Location) -> Option<&Parse> {
        let source = &place.source;
        let made = self.0.entry(source.start.0).or_insert_with(|| {
            if source.text.len() > MAX_TEXT {
                return None;
            }
            parse_bytes(&source.text, ParseOptions::default()).ok()
        });
        made.as_ref()
    }

    /// Returns the length in bytes of what begins at a place: the name alone if `only_token`, else the whole expression or binding.
    pub(super) fn length(&mut self, place: &Location, only_token: bool) -> Option<usize> {
        let offset = u32::try_from(offset(place)).ok()?;
        let root = self.tree(place)?.root();
        let token = root.token_at(offset)?;
        if token.text_range().start != offset || token.kind().is_trivia() {
            return None;
        }
        let mut end = token.text_range().end;
        if !only_token {
            let mut node = token.parent();
            while let Some(outer) = node.filter(|node| node.text_range().start == offset && node.parent().is_some()) {
                end = outer.text_range().end;
                node = outer.parent();
            }
        }
        usize::try_from(end - offset).ok()
    }

    /// Returns all that is wrong with the text of a place, in words for people, with the place of each.
    pub(super) fn explanations(&mut self, place: &Location) -> Vec<(Location, Explanation)> {
        let Some(parsed) = self.tree(place) else { return Vec::new() };
        let explanations = parsed.explain();
        explanations.into_iter().map(|it| (locate(place, it.range.start as usize), it)).collect()
    }
}

/// Returns the text of the whole expression that begins at a position.
pub(crate) fn source_text(sources: &SourceMap, pos: Pos) -> Option<String> {
    let place = sources.locate(pos)?;
    let length = Trees::default().length(&place, false)?;
    let start = offset(&place);
    Some(String::from_utf8_lossy(place.source.text.get(start..start + length)?).into_owned())
}

/// Returns the offset of a place in its text.
pub(super) fn offset(place: &Location) -> usize {
    let text = &place.source.text;
    let (mut line, mut i) = (1, 0);
    while line < place.line && i < text.len() {
        match text[i] {
            b'\r' if text.get(i + 1) == Some(&b'\n') => {}
            b'\n' | b'\r' => line += 1,
            _ => {}
        }
        i += 1;
    }
    i + place.column as usize - 1
}

/// Returns another place in the source of `place`.
fn locate(place: &Location, offset: usize) -> Location {
    let text = &place.source.text[..offset.min(place.source.text.len())];
    let (mut line, mut line_start) = (1, 0);
    for (i, byte) in text.iter().enumerate() {
        let is_end = match byte {
            b'\n' => true,
            b'\r' => place.source.text.get(i + 1) != Some(&b'\n'),
            _ => false,
        };
        if is_end {
            (line, line_start) = (line + 1, i + 1);
        }
    }
    Location { source: place.source.clone(), line, column: (text.len() - line_start) as u32 + 1 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::Origin;

    #[test]
    fn what_begins_at_a_place() {
        let check = |text: &str, at: &str, only_token: bool, expected: &str| {
            let map = SourceMap::default();
            let start = map.add(Origin::String, Arc::from(text.as_bytes())).expect("small");
            let at = text.find(at).expect("is there");
            let place = map.locate(Pos(start.0 + at as u32)).expect("in the source");
            assert_eq!(offset(&place), at);
            let length = Trees::default().length(&place, only_token).expect("something");
            assert_eq!(&text[at..at + length], expected, "{text}");
        };
        check("let\n x = f y z; in x", "f y", false, "f y z");
        check("let\n x = f y z; in x", "f y", true, "f");
        check("let\r\n x = f y z; in x", "x =", false, "x = f y z;");
        check("1 + (2 * 3)", "+", false, "+");
    }
}
