//! The bodies of strings and indented strings.

use memchr::{memchr, memchr2, memchr3};

use super::{Lexer, Mode, character_end};
use crate::syntax::error::SyntaxErrorKind;
use crate::syntax::kind::SyntaxKind;
use crate::syntax::text::unescape;

impl Lexer<'_> {
    /// Lexes text of `"…"` and what ends it. Returns whether there is more.
    pub(super) fn string(&mut self) -> bool {
        let source = self.source;
        let start = self.at;
        let mut end = start;
        let mut escapes = false;
        loop {
            let Some(found) = memchr3(b'"', b'$', b'\\', &source[end..]) else {
                end = source.len();
                break;
            };
            end += found;
            match source[end] {
                b'"' => break,
                b'$' => match self.byte(end + 1) {
                    Some(b'{') | None => break,
                    Some(b'"') => end += 1,
                    Some(b'\\') if end + 2 >= source.len() => break,
                    Some(b'\\') => {
                        escapes = true;
                        end += 3;
                    }
                    Some(_) => end += 2,
                },
                _ if end + 1 >= source.len() => break,
                _ => {
                    escapes = true;
                    end += 2;
                }
            }
        }
        if end > start {
            if self.has_nul
                && let Some(text) = string_with_nul(&source[start..end], escapes)
            {
                self.push_error(SyntaxErrorKind::NulInString { text }, end);
            } else {
                self.push(SyntaxKind::StringContent, end);
            }
        }
        match self.byte(end) {
            Some(b'"') => {
                self.push(SyntaxKind::Quote, end + 1);
                self.modes.pop();
                true
            }
            Some(b'$') if self.byte(end + 1) == Some(b'{') => {
                self.push(SyntaxKind::DollarBrace, end + 2);
                self.modes.push(Mode::Code);
                true
            }
            None => self.end_of_input(),
            // A lone `$`, `\` or `$\` at the end of the input.
            Some(_) => {
                self.out.end_position = source.len() as u32;
                self.push(SyntaxKind::Eof, self.at);
                self.push_trivia(SyntaxKind::AfterEnd, source.len());
                false
            }
        }
    }

    /// Lexes text of `''…''` and what ends it. Returns whether there is more.
    pub(super) fn ind_string(&mut self) -> bool {
        let source = self.source;
        let start = self.at;
        let mut end = start;
        loop {
            let Some(found) = memchr2(b'$', b'\'', &source[end..]) else {
                end = source.len();
                break;
            };
            end += found;
            match (source[end], self.byte(end + 1)) {
                (_, None) => break,
                (b'$', Some(b'{' | b'\'')) => break,
                (b'\'', Some(b'$' | b'\'')) => break,
                (_, Some(_)) => end += 2,
            }
        }
        if end > start {
            if self.has_nul && memchr(0, &source[start..end]).is_some() {
                let text = visible_nul(&source[start..end]);
                self.push_error(SyntaxErrorKind::NulInString { text }, end);
            } else {
                self.push(SyntaxKind::IndStringContent, end);
            }
        }
        match (self.byte(end), self.byte(end + 1), self.byte(end + 2)) {
            (None, ..) => return self.end_of_input(),
            (Some(b'$'), Some(b'{'), _) => {
                self.push(SyntaxKind::DollarBrace, end + 2);
                self.modes.push(Mode::Code);
            }
            (Some(b'\''), Some(b'\''), Some(b'$' | b'\'')) => {
                self.push(SyntaxKind::IndStringEscape, end + 3);
            }
            (Some(b'\''), Some(b'\''), Some(b'\\')) if end + 3 < source.len() => {
                self.push(SyntaxKind::IndStringEscape, character_end(source, end + 3));
            }
            (Some(b'\''), Some(b'\''), _) => {
                self.push(SyntaxKind::IndStringClose, end + 2);
                self.modes.pop();
            }
            _ => self.push(SyntaxKind::IndStringEscape, end + 1),
        }
        true
    }
}

/// Returns the value of a string part for an error message, if it contains a NUL byte that isn't
/// escaped.
fn string_with_nul(text: &[u8], escapes: bool) -> Option<Vec<u8>> {
    memchr(0, text)?;
    if escapes {
        let mut bytes = text.iter();
        let mut found = false;
        while let Some(&byte) = bytes.next() {
            match byte {
                b'\\' => {
                    bytes.next();
                }
                0 => found = true,
                _ => {}
            }
        }
        if !found {
            return None;
        }
    }
    let mut value = Vec::new();
    unescape(text, &mut value);
    Some(visible_nul(&value))
}

fn visible_nul(text: &[u8]) -> Vec<u8> {
    let mut visible = Vec::with_capacity(text.len() + 2);
    for &byte in text {
        match byte {
            0 => visible.extend_from_slice("␀".as_bytes()),
            _ => visible.push(byte),
        }
    }
    visible
}
