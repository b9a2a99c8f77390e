//! From the text of a token to what it stands for: escapes, and the indentation of `''…''`.

use memchr::memchr2;

/// Appends the value of a part of `"…"` to `value`: escapes resolved, CR and CR LF made LF.
///
/// The text must not end within an escape; a last lone backslash is dropped.
pub fn unescape(text: &[u8], value: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(found) = memchr2(b'\\', b'\r', rest) {
        value.extend_from_slice(&rest[..found]);
        let special = rest[found];
        rest = &rest[found + 1..];
        let next = rest.first().copied();
        if special == b'\r' {
            value.push(b'\n');
            if next == Some(b'\n') {
                rest = &rest[1..];
            }
        } else if let Some(byte) = next {
            value.push(match byte {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            });
            rest = &rest[1..];
        }
    }
    value.extend_from_slice(rest);
}

/// Appends the value of an escape of an indented string (`''$`, `'''`, `''\x`, `$`, `'`).
pub fn unescape_indented(text: &[u8], value: &mut Vec<u8>) {
    match text {
        [b'\'', b'\'', b'$'] => value.push(b'$'),
        [b'\'', b'\'', b'\''] => value.extend_from_slice(b"''"),
        [b'\'', b'\'', escape @ ..] => unescape(escape, value),
        lone => value.extend_from_slice(lone),
    }
}

/// Finds how much indentation all lines of an indented string share.
///
/// Fed with the parts in order. Escapes and interpolations end a line's leading spaces; the last
/// line, if it has only spaces, doesn't count, since nothing ends it.
#[derive(Clone, Debug)]
pub struct IndentationFinder {
    at_line_start: bool,
    current: usize,
    minimum: usize,
}

impl Default for IndentationFinder {
    fn default() -> IndentationFinder {
        // The reference's bound: longer indentation isn't removed.
        IndentationFinder {
            at_line_start: true,
            current: 0,
            minimum: 1_000_000,
        }
    }
}

impl IndentationFinder {
    /// Takes text whose leading spaces count.
    pub fn text(&mut self, text: &[u8]) {
        for &byte in text {
            if self.at_line_start {
                match byte {
                    b' ' => self.current += 1,
                    b'\n' => self.current = 0,
                    _ => self.other(),
                }
            } else if byte == b'\n' {
                self.at_line_start = true;
                self.current = 0;
            }
        }
    }

    /// Takes an escape or an interpolation.
    pub fn other(&mut self) {
        if self.at_line_start {
            self.at_line_start = false;
            self.minimum = self.minimum.min(self.current);
        }
    }

    /// Returns what removes this indentation.
    pub fn stripper(&self) -> IndentationStripper {
        IndentationStripper {
            at_line_start: true,
            dropped: 0,
            minimum: self.minimum,
        }
    }
}

/// Removes indentation; fed with the same parts in the same order as [`IndentationFinder`].
#[derive(Clone, Debug)]
pub struct IndentationStripper {
    at_line_start: bool,
    dropped: usize,
    minimum: usize,
}

impl IndentationStripper {
    /// Appends what is left of one text part, escape or not, to `value`.
    ///
    /// `is_last` says that no part follows: then a last line of only spaces is removed.
    pub fn text(&mut self, text: &[u8], is_last: bool, value: &mut Vec<u8>) {
        let start = value.len();
        let mut rest = text;
        while !rest.is_empty() {
            if self.at_line_start {
                let byte = rest[0];
                rest = &rest[1..];
                if byte == b' ' {
                    if self.dropped >= self.minimum {
                        value.push(byte);
                    }
                    self.dropped += 1;
                } else {
                    self.at_line_start = byte == b'\n';
                    self.dropped = 0;
                    value.push(byte);
                }
            } else {
                let length = match memchr::memchr(b'\n', rest) {
                    Some(found) => {
                        self.at_line_start = true;
                        found + 1
                    }
                    None => rest.len(),
                };
                value.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
        }
        if is_last {
            let part = &value[start..];
            if let Some(line_end) = memchr::memrchr(b'\n', part)
                && part[line_end + 1..].iter().all(|&byte| byte == b' ')
            {
                value.truncate(start + line_end + 1);
            }
        }
    }

    /// Takes an interpolation.
    pub fn interpolation(&mut self) {
        self.at_line_start = false;
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_line_ends() {
        for (text, expected) in [
            ("plain", "plain"),
            (r"a\nb\rc\td", "a\nb\rc\td"),
            (r"\q\\\$\{", r"q\${"),
            ("a\r\nb\rc", "a\nb\nc"),
        ] {
            let mut value = Vec::new();
            unescape(text.as_bytes(), &mut value);
            assert_eq!(str::from_utf8(&value), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn indentation_is_stripped() {
        for (text, expected) in [
            ("  a\n    b\n  c\n", "a\n  b\nc\n"),
            ("  a\n  ", "a\n"),
            ("\n\n   x\n", "\n\nx\n"),
            ("x\n  y", "x\n  y"),
            ("   ", ""),
            ("\tx\n \ty", "\tx\n \ty"),
        ] {
            let mut finder = IndentationFinder::default();
            finder.text(text.as_bytes());
            let mut value = Vec::new();
            finder.stripper().text(text.as_bytes(), true, &mut value);
            assert_eq!(str::from_utf8(&value), Ok(expected), "{text:?}");
        }
    }
}
