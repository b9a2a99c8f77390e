//! Paths and URLs, found by hand after logos has found a shorter token at the same place.
//!
//! Longest match needs to look to the end of a run of path characters from every token in it
//! (`a.a.a.a` might still become `a.a.a.a/b`), which is quadratic unless the end of the run is
//! remembered.

use super::{LexError, Lexer, Mode};
use crate::syntax::error::{SyntaxError, SyntaxErrorKind};
use crate::syntax::kind::SyntaxKind;

/// A run of bytes of one class, remembered so that it is searched once.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    start: usize,
    end: usize,
}

impl Run {
    /// Returns where the run that contains `at` ends.
    fn end(&mut self, source: &[u8], at: usize, class: fn(u8) -> bool) -> usize {
        if !(self.start <= at && at < self.end) {
            let length = source[at..].iter().take_while(|&&byte| class(byte)).count();
            *self = Run {
                start: at,
                end: at + length,
            };
        }
        self.end
    }
}

impl Lexer<'_> {
    /// Lexes a path or URL at the current position, if one is there.
    pub(super) fn path_or_uri(&mut self) -> bool {
        let start = self.at;
        let source = self.source;
        let mut end = start;
        if is_path_byte(source[start]) {
            end = self.path_run.end(source, start, is_path_byte);
        }
        match self.byte(end) {
            Some(b'/') => {
                let path_end = path_segments(source, end);
                if path_end > end {
                    let slash = source[path_end - 1] == b'/';
                    self.push(SyntaxKind::Path, path_end);
                    self.modes.push(Mode::Path { slash });
                    return true;
                }
                if source[end + 1..].starts_with(b"${") {
                    self.push(SyntaxKind::Path, end + 1);
                    self.modes.push(Mode::Path { slash: true });
                    return true;
                }
                false
            }
            Some(b':') if source[start].is_ascii_alphabetic() => {
                let scheme_end = self.scheme_run.end(source, start, is_scheme_byte);
                if scheme_end != end {
                    return false;
                }
                let rest = &source[end + 1..];
                let length = rest.iter().take_while(|&&byte| is_uri_byte(byte)).count();
                if length == 0 {
                    return false;
                }
                self.push(SyntaxKind::Uri, end + 1 + length);
                true
            }
            _ => false,
        }
    }

    /// Lexes the next part of a path. Returns whether there is more.
    pub(super) fn path(&mut self, slash: bool) -> bool {
        let source = self.source;
        let start = self.at;
        if source[start..].starts_with(b"${") {
            self.push(SyntaxKind::DollarBrace, start + 2);
            self.modes.pop();
            self.modes.push(Mode::Path { slash: false });
            self.modes.push(Mode::Code);
            return true;
        }
        let mut end = start
            + source[start..]
                .iter()
                .take_while(|&&byte| is_path_byte(byte))
                .count();
        if self.byte(end) == Some(b'/') {
            let segments_end = path_segments(source, end);
            end = if segments_end > end {
                segments_end
            } else {
                end + 1
            };
        }
        if end > start {
            let slash = source[end - 1] == b'/';
            self.push(SyntaxKind::PathContent, end);
            self.modes.pop();
            self.modes.push(Mode::Path { slash });
            return true;
        }
        self.modes.pop();
        if slash {
            // At the end of the input the reference's position is still that of the last part.
            let position = if start < source.len() {
                start as u32
            } else {
                self.out.tokens.last().map_or(0, |token| token.start)
            };
            self.out.errors.push(LexError {
                token: self.out.tokens.len(),
                error: SyntaxError {
                    kind: SyntaxErrorKind::PathTrailingSlash,
                    position,
                },
            });
            self.push(SyntaxKind::Error, start);
        } else {
            self.push(SyntaxKind::PathEnd, start);
        }
        if start == source.len() {
            let last = self.out.tokens.iter().rev().nth(1);
            let position = last.map_or(0, |token| token.start);
            self.push(SyntaxKind::Eof, start);
            self.out.end_position = position;
            return false;
        }
        true
    }
}

/// Returns whether `byte` may occur in a path.
pub(super) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+')
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+')
}

fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'%' | b'/'
                | b'?'
                | b':'
                | b'@'
                | b'&'
                | b'='
                | b'+'
                | b'$'
                | b','
                | b'-'
                | b'_'
                | b'.'
                | b'!'
                | b'~'
                | b'*'
                | b'\''
        )
}

/// Returns where `(/[path bytes]+)+/?` ends that starts at `at`, or `at` if there is none.
fn path_segments(source: &[u8], at: usize) -> usize {
    let mut end = at;
    while source.get(end) == Some(&b'/') && source.get(end + 1).copied().is_some_and(is_path_byte) {
        end += 1;
        end += source[end..]
            .iter()
            .take_while(|&&byte| is_path_byte(byte))
            .count();
    }
    if end > at && source.get(end) == Some(&b'/') {
        end += 1;
    }
    end
}
