//! JSON text, byte for byte as the reference prints it.
//!
//! The reference's JSON ends up in hashes (structured attributes), so its layout is part of the
//! format: keys sorted, no white space, characters beyond ASCII unescaped. The surprising thing is
//! floats: nearly always the shortest digits, but `1e+20` and `1e-05` where most libraries write `1e20` and `1e-5`.
//!
//! Pinned by the answers of `builtins.toJSON` of Nix 2.34.8 in the tests.

use std::fmt::Write as _;

use serde_json::Value;

mod float;

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

/// Appends digits that give the float back, laid out as the reference's JSON library does: `1.0`, `0.0001`, `1e-05`, `1e+20`.
pub fn append_float(float: f64, text: &mut String) {
    if !float.is_finite() {
        text.push_str("null");
        return;
    }
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let (digits, point) = match float.abs() {
        0.0 => (b"0".to_vec(), 1),
        positive => float::digits(positive),
    };
    let digits = String::from_utf8(digits).expect("digits are ASCII");
    let (n_digits, exponent) = (digits.len() as i32, point - 1);
    text.push_str(sign);
    if (0..15).contains(&exponent) {
        // The point stands within or after the digits.
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
        // Not the shortest digits, at the top; then some at random.
        (1.0395142415632117e+15, "1.0395142415632117e+15"),
        (3.1316709716158578e+78, "3.1316709716158578e+78"),
        (7.1135782437256335e-249, "7.1135782437256335e-249"),
        (2.0034855448587448e+16, "2.0034855448587448e+16"),
        (6.6522640872283444e+125, "6.6522640872283444e+125"),
        (787535751937607.3, "787535751937607.3"),
        (738103356911367.3, "738103356911367.3"),
        (2.5662912207536048e+16, "2.5662912207536048e+16"),
        (1.6140696359024697e+15, "1.6140696359024697e+15"),
        (2.6284216516261472e+16, "2.6284216516261472e+16"),
        (1.1200792942712179e+17, "1.1200792942712179e+17"),
        (4.8085510016273056e+16, "4.8085510016273056e+16"),
        (10928588.983213553, "10928588.983213553"),
        (1.4186613525849614e+134, "1.4186613525849614e+134"),
        (7.571968556055867e-74, "7.571968556055867e-74"),
        (1.4074705188261364e+113, "1.4074705188261364e+113"),
        (3.3339745473042614e-121, "3.3339745473042614e-121"),
        (1.2342180766211395e-271, "1.2342180766211395e-271"),
        (5.126864004244935e+111, "5.126864004244935e+111"),
        (2.1520217579844227e+32, "2.1520217579844227e+32"),
        (7.508902647133904e-05, "7.508902647133904e-05"),
        (82.70719262096745, "82.70719262096745"),
        (61578586956581.85, "61578586956581.85"),
        (536.2200211352564, "536.2200211352564"),
        (8.690531492169336e+16, "8.690531492169336e+16"),
        (90177061876.57278, "90177061876.57278"),
        (6.657588296975864e-07, "6.657588296975864e-07"),
        (0.0009471578463614844, "0.0009471578463614844"),
    ];

    #[test]
    fn floats_read_back() {
        let mut patterns = vec![1, 2, (1 << 52) - 1, 1 << 52, (1 << 52) + 1, f64::MAX.to_bits()];
        patterns.extend((1..0x7ff).flat_map(|exponent: u64| [exponent << 52, (exponent << 52) - 1]));
        for seed in 0u64..5000 {
            let hash = crate::hash::Hash::digest(crate::hash::Algorithm::Sha1, &seed.to_le_bytes());
            let bytes = hash.as_bytes()[..8].try_into().expect("eight bytes");
            patterns.push(u64::from_le_bytes(bytes));
        }
        for bits in patterns {
            let float = f64::from_bits(bits);
            if float.is_finite() {
                let mut text = String::new();
                append_float(float, &mut text);
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits, "{text}");
            }
        }
    }

    #[test]
    fn pretty_text() {
        let value = serde_json::json!({ "b": [], "a": { "x": [1, {}] } });
        let expected = "{\n  \"a\": {\n    \"x\": [\n      1,\n      {}\n    ]\n  },\n  \"b\": []\n}";
        assert_eq!(to_string_pretty(&value), expected);
    }
}
