//! Structured attributes: a JSON object that a derivation carries in the variable `__json`.
//!
//! The text is kept as it is hashed. The reference parses and prints it again on every read, which
//! sorts keys and rewrites numbers; [`StructuredAttrs::parse`] does the same, so that foreign text
//! gives the same store path.

use std::fmt::Write as _;

use serde_json::Value;

/// The environment variable that stands for structured attributes in the ATerm form.
#[expect(dead_code, reason = "its users follow")]
pub(super) const ENV_NAME: &[u8] = b"__json";

/// Structured attributes as canonical JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructuredAttrs {
    json: String,
}

/// The text of structured attributes is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StructuredAttrsError {
    /// Not UTF-8.
    #[error("cannot process __json attribute: text is not UTF-8")]
    NotUtf8,
    /// Not JSON, or nested too deeply.
    #[error("cannot process __json attribute: {source}")]
    Syntax {
        /// The parser's message.
        source: serde_json::Error,
    },
    /// JSON, but no object.
    #[error("cannot process __json attribute: expected a JSON object")]
    NotAnObject,
    /// Objects and arrays nested deeper than [`MAX_DEPTH`].
    #[error("cannot process __json attribute: nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Deepest nesting of JSON that is read.
pub(super) const MAX_DEPTH: usize = 512;

impl StructuredAttrs {
    /// Reads JSON text and brings it into canonical form: keys sorted, no white space, numbers as
    /// the reference prints them.
    pub fn parse(text: &[u8]) -> Result<Self, StructuredAttrsError> {
        Self::from_value(&parse_json(text)?)
    }

    /// Prints a JSON object in canonical form.
    pub fn from_value(value: &Value) -> Result<Self, StructuredAttrsError> {
        if !value.is_object() {
            return Err(StructuredAttrsError::NotAnObject);
        }
        let mut json = String::new();
        write_canonical_json(value, &mut json);
        Ok(Self { json })
    }

    /// Wraps text that is canonical already; for a caller that printed it just now. Nothing is
    /// checked: other text changes the derivation's path when it is read back.
    pub fn from_canonical_text(json: String) -> Self {
        Self { json }
    }

    /// Returns the canonical text.
    pub fn as_text(&self) -> &str {
        &self.json
    }

    /// Returns the object as a JSON value.
    ///
    /// # Errors
    /// When unchecked text was given that is not a JSON object.
    pub fn to_value(&self) -> Result<serde_json::Map<String, Value>, StructuredAttrsError> {
        match parse_json(self.json.as_bytes())? {
            Value::Object(object) => Ok(object),
            _ => Err(StructuredAttrsError::NotAnObject),
        }
    }
}

/// Parses JSON after a look at its nesting, because the parser's own limit is off.
fn parse_json(text: &[u8]) -> Result<Value, StructuredAttrsError> {
    let text = std::str::from_utf8(text).map_err(|_| StructuredAttrsError::NotUtf8)?;
    if nesting(text.as_bytes()) > MAX_DEPTH {
        return Err(StructuredAttrsError::TooDeep);
    }
    let syntax = |source| StructuredAttrsError::Syntax { source };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = serde::Deserialize::deserialize(&mut deserializer).map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    Ok(value)
}

/// Returns an upper bound of the nesting of brackets outside of strings.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Appends JSON as the reference's library prints it without indentation: sorted keys, floats in
/// their shortest form with an exponent below 1e-5 and from 1e16 on.
pub(crate) fn write_canonical_json(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(float, text),
            _ => write!(text, "{number}").expect("writing to a string does not fail"),
        },
        Value::String(string) => write_json_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                write_canonical_json(item, text);
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
                write_json_string(key, text);
                text.push(':');
                write_canonical_json(item, text);
            }
            text.push('}');
        }
    }
}

fn write_json_string(string: &str, text: &mut String) {
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
pub(crate) fn write_float(float: f64, text: &mut String) {
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

    #[test]
    fn canonical_text() {
        let attrs = StructuredAttrs::parse(b"{ \"b\": [1, true, null], \"a\": {\"y\":\"\\u0001\\/\\u00e9\", \"x\": -3} }").unwrap();
        assert_eq!(attrs.as_text(), "{\"a\":{\"x\":-3,\"y\":\"\\u0001/\u{e9}\"},\"b\":[1,true,null]}");
        assert_eq!(StructuredAttrs::parse(attrs.as_text().as_bytes()).unwrap(), attrs);
    }

    #[test]
    fn hostile_text_is_refused() {
        for text in [&b""[..], b"[]", b"{", b"{\"a\":\"\xff\"}", b"nul"] {
            assert!(StructuredAttrs::parse(text).is_err());
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(StructuredAttrs::parse(deep.as_bytes()), Err(StructuredAttrsError::TooDeep)));
    }
}
