//! What may reach a terminal or a log file of a text that others wrote: tabs become blanks, control characters go,
//! escape sequences go unless they are colours and colours are wanted.

/// Returns `text` fit to be shown. Colours (`ESC [ … m`) stay if `keep_colour`, every other escape sequence goes. Columns for tabs count from the start of the text.
///
/// This is what the reference does with everything that it logs (`filterANSIEscapes`).
pub fn filter_escapes(text: &str, keep_colour: bool) -> String {
    let mut output = String::with_capacity(text.len());
    let mut width = 0usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '\x1b' => {
                let len = escape_len(rest.as_bytes());
                let (sequence, after) = rest.split_at(len);
                if keep_colour && sequence.starts_with("\x1b[") && sequence.ends_with('m') {
                    output.push_str(sequence);
                }
                rest = after;
                continue;
            }
            '\t' => loop {
                width += 1;
                output.push(' ');
                if width.is_multiple_of(8) {
                    break;
                }
            },
            '\r' | '\x07' => {}
            c => {
                width += 1;
                output.push(c);
            }
        }
        rest = &rest[c.len_utf8()..];
    }
    output
}

/// Returns the length of the escape sequence that `bytes` begin with. It ends at a character boundary, as sequences are ASCII.
fn escape_len(bytes: &[u8]) -> usize {
    let run = |from: usize, wanted: std::ops::RangeInclusive<u8>| {
        from + bytes[from..].iter().take_while(|byte| wanted.contains(byte)).count()
    };
    match bytes.get(1) {
        Some(b'[') => {
            let end = run(run(2, 0x30..=0x3f), 0x20..=0x2f);
            end + usize::from(bytes.get(end).is_some_and(|byte| (0x40..=0x7e).contains(byte)))
        }
        Some(b']') => {
            let end = 2 + bytes[2..].iter().take_while(|byte| !matches!(byte, 0x1b | 0x07)).count();
            match &bytes[end..] {
                [0x1b, b'\\', ..] => end + 2,
                [_, ..] => end + 1,
                [] => end,
            }
        }
        Some(0x40..=0x5f) => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let check = |text: &str, plain: &str, coloured: &str| {
            assert_eq!(filter_escapes(text, false), plain, "{text:?}");
            assert_eq!(filter_escapes(text, true), coloured, "{text:?}");
        };
        check("a\tb", "a       b", "a       b");
        check("\x1b[31;1mred\x1b[0m", "red", "\x1b[31;1mred\x1b[0m");
        check("\x1b[2Jx\ry\x07", "xy", "xy");
        check("\x1b]8;;file:///x\x1b\\link\x1b]8;;\x07.", "link.", "link.");
        check("\x1b", "", "");
        check("\x1bé", "é", "é");
        check("\x1b[é", "é", "é");
        check("\x1b]", "", "");
    }
}
