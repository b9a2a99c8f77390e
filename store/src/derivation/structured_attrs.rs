//! Structured attributes: a JSON object that a derivation carries in the variable `__json`.
//!
//! The text is kept as it is hashed. The reference parses and prints it again on every read, which
//! sorts keys and rewrites numbers; [`StructuredAttrs::parse`] does the same, so that foreign text
//! gives the same store path.

use serde_json::Value;

use crate::json;

/// The environment variable that stands for structured attributes in the ATerm form.
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
    /// Objects and arrays nested deeper than 512 levels.
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
        Ok(Self { json: json::to_string(value) })
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
