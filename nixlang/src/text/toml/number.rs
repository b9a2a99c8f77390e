//! Numbers of TOML.

use super::TomlValue;
use super::error::{Reporter, TomlError};

const INTEGER_HINTS: &[&str] = &[
    "valid  : -42, 1_000, 1_2_3_4_5, 0xC0FFEE, 0b0010, 0o755",
    "invalid: _42, 1__000, 0123",
];
const FLOAT_HINTS: &[&str] = &[
    "valid  : +1.0, -2e-2, 3.141_592_653_589, inf, nan",
    "invalid: .0, 1., _1.0, 1.0_, 1_.0, 1.0__0",
];

/// Reads the number at `at`; returns it with its end.
pub(super) fn parse(text: &[u8], at: usize, report: Reporter<'_>) -> Result<(TomlValue, usize), TomlError> {
    let rest = &text[at..];
    let n_sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let is_negative = rest.first() == Some(&b'-');
    let body = &rest[n_sign..];
    let start = at + n_sign;
    let special = match body.get(..3) {
        Some(b"inf") => Some(f64::INFINITY),
        Some(b"nan") => Some(f64::NAN),
        _ => None,
    };
    if let Some(value) = special {
        let value = if is_negative { -value } else { value };
        return Ok((TomlValue::Float(value), start + 3));
    }
    let radix = match body.get(..2) {
        Some(b"0x") => Some(HEX),
        Some(b"0o") => Some(OCTAL),
        Some(b"0b") => Some(BINARY),
        _ => None,
    };
    if let Some(radix) = radix {
        return radix.parse(text, at, n_sign > 0, report);
    }
    match body.first() {
        Some(b'0'..=b'9') => decimal(text, at, start, report),
        Some(b'_') if n_sign == 0 => Err(report.error(
            "bad number: `_` must be surrounded by digits",
            &[((at, at), "invalid underscore")],
            INTEGER_HINTS,
        )),
        Some(b'.') if n_sign == 0 => Err(report.error(
            "bad float: integer part is required before decimal point",
            &[((at, at), "missing integer part")],
            FLOAT_HINTS,
        )),
        _ => Err(report.at("bad format: unknown value appeared", at, "here")),
    }
}

/// End of a run of digits that single underscores may separate.
fn digits_end(text: &[u8], mut at: usize, is_digit: impl Fn(&u8) -> bool) -> usize {
    loop {
        while text.get(at).is_some_and(&is_digit) {
            at += 1;
        }
        if text.get(at) == Some(&b'_') && text.get(at + 1).is_some_and(&is_digit) {
            at += 1;
        } else {
            return at;
        }
    }
}

fn decimal(text: &[u8], at: usize, start: usize, report: Reporter<'_>) -> Result<(TomlValue, usize), TomlError> {
    let mut end = if text[start] == b'0' {
        start + 1
    } else {
        digits_end(text, start, u8::is_ascii_digit)
    };
    let bad_integer =
        |title, place: usize, remark| Err(report.error(title, &[((place, place), remark)], INTEGER_HINTS));
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    match text.get(end) {
        Some(b'_') if is_digit(end + 1) => {
            return bad_integer("bad integer: leading zero is not allowed in decimal int", end, "leading zero");
        }
        Some(b'_') => {
            return bad_integer("bad integer: `_` must be surrounded by digits", end, "invalid underscore");
        }
        Some(b'0') => return bad_integer("bad integer: leading zero", at, "leading zero is not allowed"),
        Some(b'1'..=b'9') => return bad_integer("bad integer: invalid digit after an integer", end, "here"),
        Some(b':' | b'-') => {
            return Err(report.error(
                "bad datetime: invalid format",
                &[((end, end), "here")],
                &[
                    "valid  : 1979-05-27T07:32:00-07:00, 1979-05-27 07:32:00.999999Z",
                    "invalid: 1979-05-27T7:32:00-7:00, 1979-05-27 7:32-00:30",
                ],
            ));
        }
        _ => {}
    }
    let integer_end = end;
    if text.get(end) == Some(&b'.') && is_digit(end + 1) {
        end = digits_end(text, end + 1, u8::is_ascii_digit);
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let n_sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        if is_digit(end + 1 + n_sign) {
            end = digits_end(text, end + 1 + n_sign, u8::is_ascii_digit);
        }
    }
    if end == integer_end {
        if let Some(b'.' | b'e' | b'E') = text.get(end) {
            return Err(report.error("bad float: invalid format", &[((end, end), "here")], FLOAT_HINTS));
        }
        let digits = without_underscores(&text[at..end]);
        return match digits.parse() {
            Ok(value) => Ok((TomlValue::Integer(value), end)),
            Err(_) => Err(report.at(
                "toml::parse_dec_integer: too large integer: current max digits = 2^63",
                end,
                "must be < 2^63",
            )),
        };
    }
    if text.get(end) == Some(&b'_') {
        return Err(report.error(
            "bad float: `_` must be surrounded by digits",
            &[((end, end), "invalid underscore")],
            FLOAT_HINTS,
        ));
    }
    match without_underscores(&text[at..end]).parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((TomlValue::Float(value), end)),
        _ => Err(report.error(
            "toml::parse_floating: failed to read floating point value from stream",
            &[((at, end), "here")],
            &[],
        )),
    }
}

fn without_underscores(text: &[u8]) -> String {
    text.iter().filter(|&&byte| byte != b'_').map(|&byte| char::from(byte)).collect()
}

/// A notation with a prefix.
struct Radix {
    radix: u32,
    prefix: &'static str,
    invalid: &'static str,
    too_large: &'static str,
    expected: &'static str,
}

const HEX: Radix = Radix {
    radix: 16,
    prefix: "expected 0x",
    invalid: "toml::parse_hex_integer: invalid integer: hex_int must be like: 0xC0FFEE, 0xdead_beef",
    too_large: "toml::parse_hex_integer: too large integer: current max value = 2^63",
    expected: "expected hex [0-9a-fA-F]",
};
const OCTAL: Radix = Radix {
    radix: 8,
    prefix: "expected 0o",
    invalid: "toml::parse_oct_integer: invalid integer: oct_int must be like: 0o775, 0o04_44",
    too_large: "toml::parse_oct_integer: too large integer: current max value = 2^63",
    expected: "expected from `0` to `7`",
};
const BINARY: Radix = Radix {
    radix: 2,
    prefix: "expected 0b",
    invalid: "toml::parse_bin_integer: invalid integer: bin_int must be like: 0b0101, 0b1111_0000",
    too_large: "toml::parse_bin_integer: too large integer: current max value = 2^63",
    expected: "expected 0 or 1",
};

impl Radix {
    fn parse(
        &self,
        text: &[u8],
        at: usize,
        has_sign: bool,
        report: Reporter<'_>,
    ) -> Result<(TomlValue, usize), TomlError> {
        if has_sign {
            return Err(report.at(self.invalid, at, self.prefix));
        }
        let is_digit = |byte: &u8| char::from(*byte).is_digit(self.radix);
        let start = at + 2;
        if !text.get(start).is_some_and(is_digit) {
            return Err(report.at(self.invalid, start, self.expected));
        }
        let end = digits_end(text, start, is_digit);
        if text.get(end) == Some(&b'_') {
            return Err(report.error(
                "bad integer: `_` must be surrounded by digits",
                &[((end, end), "invalid underscore")],
                INTEGER_HINTS,
            ));
        }
        match i64::from_str_radix(&without_underscores(&text[start..end]), self.radix) {
            Ok(value) => Ok((TomlValue::Integer(value), end)),
            Err(_) => Err(report.at(self.too_large, end, "must be < 2^63")),
        }
    }
}
