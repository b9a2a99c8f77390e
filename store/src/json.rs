//! JSON text, byte for byte as the reference prints it.
//!
//! The reference's JSON ends up in hashes (structured attributes), so its layout is part of the
//! format: keys sorted, no white space, characters beyond ASCII unescaped. The surprising thing is
//! floats: shortest digits, but `1e+20` and `1e-05` where most libraries write `1e20` and `1e-5`.
//!
//! Pinned by the answers of `builtins.toJSON` of Nix 2.34.8 in the tests.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns `value` on one line.
///
/// ```
/// use nixlang_store::json;
///
/// let value = serde_json::json!({ "b": [1, 1.5], "a": null });
/// assert_eq!(json::to_string(&value), r#"{"a":null,"b":[1,1.5]}"#);
/// ```
pub fn to_string(value: &Value) -> String {
    let mut text = String::new();
    append(value, &mut text);
    text
}

/// Returns `value` on several lines, each level indented by two more spaces.
pub fn to_string_pretty(value: &Value) -> String {
    let mut text = String::new();
    append_pretty(value, 0, &mut text);
    text
}

fn append_pretty(value: &Value, indent: usize, text: &mut String) {
    fn line(indent: usize, text: &mut String) {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                line(indent + 2, text);
                append_pretty(item, indent + 2, text);
            }
            line(indent, text);
            text.push(']');
        }
        Value::Object(object) if !object.is_empty() => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (idx, (key, item)) in entries.into_iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                line(indent + 2, text);
                append_string(key, text);
                text.push_str(": ");
                append_pretty(item, indent + 2, text);
            }
            line(indent, text);
            text.push('}');
        }
        scalar => append(scalar, text),
    }
}

/// Appends JSON as the reference's library prints it without indentation: sorted keys, floats in
/// their shortest form, with an exponent below 1e-4 and from 1e15 on.
pub fn append(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => append_float(float, text),
            _ => write!(text, "{number}").expect("writing to a string does not fail"),
        },
        Value::String(string) => append_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                append(item, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (idx, (key, item)) in entries.into_iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                append_string(key, text);
                text.push(':');
                append(item, text);
            }
            text.push('}');
        }
    }
}

/// Appends a JSON string literal; only control characters, quotes and backslashes are escaped.
pub fn append_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if u32::from(control) < 0x20 => {
                write!(text, "\\u{:04x}", u32::from(control)).expect("writing to a string does not fail");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Writes the shortest digits that give the float back, laid out as the reference's JSON library
/// does: `1.0`, `0.0001`, `1e-05`, `1e+20`.
pub fn append_float(float: f64, text: &mut String) {
    if !float.is_finite() {
        text.push_str("null");
        return;
    }
    // `{:e}` gives the shortest digits as `d.ddde<exponent>`.
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let n_digits = digits.len() as i32;
    text.push_str(sign);
    if digits == "0" {
        text.push_str("0.0");
    } else if (0..15).contains(&exponent) {
        // The point stands within or after the digits.
        let point = exponent + 1;
        if n_digits <= point {
            text.push_str(&digits);
            text.extend(std::iter::repeat_n('0', (point - n_digits) as usize));
            text.push_str(".0");
        } else {
            text.push_str(&digits[..point as usize]);
            text.push('.');
            text.push_str(&digits[point as usize..]);
        }
    } else if (-4..0).contains(&exponent) {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        text.push_str(&digits);
    } else {
        text.push_str(&digits[..1]);
        if n_digits > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(text, "e{sign}{:02}", exponent.abs()).expect("writing to a string does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `builtins.toJSON` of Nix 2.34.8 for these literals.
    #[test]
    fn floats() {
        let check = |float: f64, expected: &str| {
            let mut text = String::new();
            append_float(float, &mut text);
            assert_eq!(text, expected);
        };
        for (float, expected) in FLOATS {
            check(*float, expected);
        }
    }

    const FLOATS: &[(f64, &str)] = &[
        (0.0, "0.0"),
        (1.0, "1.0"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (100.0, "100.0"),
        (123456.789, "123456.789"),
        (1.0e14, "100000000000000.0"),
        (1.0e15, "1e+15"),
        (1.0e16, "1e+16"),
        (123456789012345.0, "123456789012345.0"),
        (1234567890123456.0, "1.234567890123456e+15"),
        (12345678901234567.0, "1.2345678901234568e+16"),
        (0.001, "0.001"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (0.00012345, "0.00012345"),
        (0.000012345, "1.2345e-05"),
        (1.0e20, "1e+20"),
        (1.5e300, "1.5e+300"),
        (2.5e-10, "2.5e-10"),
        (1.0e100, "1e+100"),
        (999999999999999.9, "999999999999999.9"),
        (0.3333333333333333, "0.3333333333333333"),
        (-1.5, "-1.5"),
    ];

    #[test]
    fn pretty_text() {
        let value = serde_json::json!({ "b": [], "a": { "x": [1, {}] } });
        let expected = "{\n  \"a\": {\n    \"x\": [\n      1,\n      {}\n    ]\n  },\n  \"b\": []\n}";
        assert_eq!(to_string_pretty(&value), expected);
    }
}
