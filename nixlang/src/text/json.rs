//! JSON as `fromJSON` reads it and strings as `toJSON` writes them: nlohmann/json's rules and messages.
//!
//! Own code, not a library, because the rules differ in what counts (a BOM is allowed, `-0` is an integer, numbers
//! beyond 64 bits become floats, no depth limit) and because the messages, with their columns, are what users of the
//! reference see. Nesting is kept in a bit stack, so a million `[` cost a million bits and no call stack.

use super::number;

/// Takes what the parser finds, in order. An error of the receiver ends the parse.
pub(crate) trait JsonSink {
    /// What the receiver fails with.
    type Error: From<JsonError>;
    /// `null`.
    fn null(&mut self) -> Result<(), Self::Error>;
    /// `true` or `false`.
    fn boolean(&mut self, value: bool) -> Result<(), Self::Error>;
    /// A number without fraction or exponent that fits.
    fn integer(&mut self, value: i64) -> Result<(), Self::Error>;
    /// Any other number; it is finite.
    fn float(&mut self, value: f64) -> Result<(), Self::Error>;
    /// A string: UTF-8 without NUL.
    fn string(&mut self, value: &[u8]) -> Result<(), Self::Error>;
    /// `[`.
    fn begin_array(&mut self) -> Result<(), Self::Error>;
    /// `]`.
    fn end_array(&mut self) -> Result<(), Self::Error>;
    /// `{`.
    fn begin_object(&mut self) -> Result<(), Self::Error>;
    /// The name of the value that follows. A name may come twice: the last value counts.
    fn key(&mut self, name: &[u8]) -> Result<(), Self::Error>;
    /// `}`.
    fn end_object(&mut self) -> Result<(), Self::Error>;
}

/// Why a text isn't JSON that the language can hold. The texts are nlohmann/json's and the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// The text isn't JSON.
    #[error("[json.exception.parse_error.101] parse error at line {line}, column {column}: {message}")]
    Syntax { line: usize, column: usize, message: String },
    /// A number is larger than any float.
    #[error("[json.exception.out_of_range.406] number overflow parsing '{text}'")]
    FloatOverflow { text: String },
    /// An integer fits 64 bits, but not with a sign.
    #[error("unsigned json number {number} outside of Nix integer range")]
    IntegerOverflow { number: u64 },
    /// A string has a NUL in it.
    #[error("{}", null_byte_message(text))]
    NullByte { text: Vec<u8> },
}

/// What the reference says of a text with NUL bytes in it that should become a string.
pub(crate) fn null_byte_message(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(text).replace('\0', "␀");
    format!("input string '{shown}' cannot be represented as Nix string because it contains null bytes")
}

/// Parses all of `text` into `sink`.
pub(crate) fn parse<S: JsonSink>(text: &[u8], sink: &mut S) -> Result<(), S::Error> {
    let mut lexer = Lexer::new(text);
    let mut nesting = BitStack::default();
    let mut token = lexer.next()?;
    loop {
        // One value.
        match token {
            Token::Null => sink.null()?,
            Token::True => sink.boolean(true)?,
            Token::False => sink.boolean(false)?,
            Token::Integer(value) => sink.integer(value)?,
            Token::Unsigned(number) => return Err(JsonError::IntegerOverflow { number }.into()),
            Token::Float(value) if value.is_finite() => sink.float(value)?,
            Token::Float(_) => {
                let text = lexer.token_text();
                return Err(JsonError::FloatOverflow { text }.into());
            }
            Token::String => sink.string(lexer.string()?)?,
            Token::BeginArray => {
                sink.begin_array()?;
                token = lexer.next()?;
                if !matches!(token, Token::EndArray) {
                    nesting.push(false);
                    continue;
                }
                sink.end_array()?;
            }
            Token::BeginObject => {
                sink.begin_object()?;
                token = lexer.next()?;
                if !matches!(token, Token::EndObject) {
                    key(&mut lexer, &token, sink)?;
                    nesting.push(true);
                    token = lexer.next()?;
                    continue;
                }
                sink.end_object()?;
            }
            Token::Error(message) => return Err(lexer.lexical_error("value", message).into()),
            Token::End if lexer.position == 1 => {
                let message = "attempting to parse an empty input; check that your input string or stream contains \
                               the expected JSON";
                return Err(lexer.error(message.to_owned()).into());
            }
            ref other => return Err(lexer.unexpected("value", other, "'[', '{', or a literal").into()),
        }
        // What follows it.
        loop {
            token = lexer.next()?;
            match (nesting.top(), &token) {
                (None, Token::End) => return Ok(()),
                (None, other) => return Err(lexer.unexpected("value", other, "end of input").into()),
                (Some(is_object), Token::Comma) => {
                    token = lexer.next()?;
                    if is_object {
                        key(&mut lexer, &token, sink)?;
                        token = lexer.next()?;
                    }
                    break;
                }
                (Some(false), Token::EndArray) => {
                    sink.end_array()?;
                    nesting.pop();
                }
                (Some(true), Token::EndObject) => {
                    sink.end_object()?;
                    nesting.pop();
                }
                (Some(false), other) => return Err(lexer.unexpected("array", other, "']'").into()),
                (Some(true), other) => return Err(lexer.unexpected("object", other, "'}'").into()),
            }
        }
    }
}

/// A name, which `token` should be, and the colon after it.
fn key<S: JsonSink>(lexer: &mut Lexer<'_>, token: &Token, sink: &mut S) -> Result<(), S::Error> {
    if !matches!(token, Token::String) {
        return Err(lexer.unexpected("object key", token, "string literal").into());
    }
    sink.key(lexer.string()?)?;
    match lexer.next()? {
        Token::Colon => Ok(()),
        other => Err(lexer.unexpected("object separator", &other, "':'").into()),
    }
}

/// Which of the open brackets are braces.
#[derive(Default)]
struct BitStack {
    words: Vec<u64>,
    length: usize,
}

impl BitStack {
    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(64) {
            self.words.push(0);
        }
        if bit {
            self.words[self.length / 64] |= 1 << (self.length % 64);
        } else {
            self.words[self.length / 64] &= !(1 << (self.length % 64));
        }
        self.length += 1;
    }

    fn top(&self) -> Option<bool> {
        let last = self.length.checked_sub(1)?;
        Some(self.words[last / 64] >> (last % 64) & 1 != 0)
    }

    fn pop(&mut self) {
        self.length -= 1;
        self.words.truncate(self.length.div_ceil(64));
    }
}

enum Token {
    Null,
    True,
    False,
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// Its content is in the lexer.
    String,
    BeginArray,
    EndArray,
    BeginObject,
    EndObject,
    Colon,
    Comma,
    End,
    Error(String),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Null => "null literal",
            Token::True => "true literal",
            Token::False => "false literal",
            Token::Integer(_) | Token::Unsigned(_) | Token::Float(_) => "number literal",
            Token::String => "string literal",
            Token::BeginArray => "'['",
            Token::EndArray => "']'",
            Token::BeginObject => "'{'",
            Token::EndObject => "'}'",
            Token::Colon => "':'",
            Token::Comma => "','",
            Token::End => "end of input",
            Token::Error(_) => "<parse error>",
        }
    }
}

struct Lexer<'t> {
    text: &'t [u8],
    /// Bytes taken so far; the end of the text counts as one, as it does in the messages' columns.
    position: usize,
    /// Where the last token begins.
    start: usize,
    /// The last string's content, if it isn't a part of the text.
    unescaped: Vec<u8>,
    is_unescaped: bool,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t [u8]) -> Lexer<'t> {
        Lexer {
            text,
            position: 0,
            start: 0,
            unescaped: Vec::new(),
            is_unescaped: false,
        }
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.text.get(self.position).copied();
        self.position += 1;
        byte
    }

    fn next(&mut self) -> Result<Token, JsonError> {
        if self.position == 0 && self.text.first() == Some(&0xEF) {
            if !self.text.starts_with(b"\xEF\xBB\xBF") {
                self.position = 1 + self.text[1..].iter().zip(b"\xBB\xBF").take_while(|(a, b)| a == b).count() + 1;
                return Ok(Token::Error("invalid BOM; must be 0xEF 0xBB 0xBF if given".to_owned()));
            }
            self.position = 3;
        }
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.position) {
            self.position += 1;
        }
        let start = self.position;
        // What "last read" shows begins at the last string or number: the reference's lexer starts anew only there.
        if matches!(self.text.get(start), Some(b'"' | b'-' | b'0'..=b'9')) {
            self.start = start;
        }
        Ok(match self.take() {
            None => Token::End,
            Some(b'[') => Token::BeginArray,
            Some(b']') => Token::EndArray,
            Some(b'{') => Token::BeginObject,
            Some(b'}') => Token::EndObject,
            Some(b':') => Token::Colon,
            Some(b',') => Token::Comma,
            Some(b't') => self.word(b"true", Token::True),
            Some(b'f') => self.word(b"false", Token::False),
            Some(b'n') => self.word(b"null", Token::Null),
            Some(b'"') => self.scan_string(),
            Some(b'-' | b'0'..=b'9') => self.scan_number(),
            Some(_) => Token::Error("invalid literal".to_owned()),
        })
    }

    fn word(&mut self, word: &[u8], token: Token) -> Token {
        for &expected in &word[1..] {
            if self.take() != Some(expected) {
                return Token::Error("invalid literal".to_owned());
            }
        }
        token
    }

    fn scan_digits(&mut self) -> usize {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let n_digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.position += n_digits;
        n_digits
    }

    fn scan_number(&mut self) -> Token {
        self.position = self.start;
        let is_negative = self.text[self.start] == b'-';
        if is_negative {
            self.position += 1;
        }
        match self.take() {
            Some(b'0') => {}
            Some(b'1'..=b'9') => {
                self.scan_digits();
            }
            _ => return Token::Error("invalid number; expected digit after '-'".to_owned()),
        }
        let mut is_integer = true;
        if self.text.get(self.position) == Some(&b'.') {
            is_integer = false;
            self.position += 1;
            if self.scan_digits() == 0 {
                self.position += 1;
                return Token::Error("invalid number; expected digit after '.'".to_owned());
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.position) {
            is_integer = false;
            self.position += 1;
            let has_sign = matches!(self.text.get(self.position), Some(b'+' | b'-'));
            self.position += usize::from(has_sign);
            if self.scan_digits() == 0 {
                self.position += 1;
                let expected = if has_sign {
                    "invalid number; expected digit after exponent sign"
                } else {
                    "invalid number; expected '+', '-', or digit after exponent"
                };
                return Token::Error(expected.to_owned());
            }
        }
        let digits = &self.text[self.start..self.position];
        let text = std::str::from_utf8(digits).expect("only ASCII was taken");
        if is_integer {
            if let Ok(value) = text.parse::<i64>() {
                return Token::Integer(value);
            }
            if let Ok(value) = text.parse::<u64>() {
                return Token::Unsigned(value);
            }
        }
        Token::Float(number::parse_float(digits).unwrap_or(f64::INFINITY))
    }

    fn scan_string(&mut self) -> Token {
        self.unescaped.clear();
        self.is_unescaped = false;
        loop {
            let run_start = self.position;
            let rest = self.text.get(run_start..).unwrap_or_default();
            let n_plain = rest
                .iter()
                .position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\' || byte >= 0x80)
                .unwrap_or(rest.len());
            self.position += n_plain;
            if self.is_unescaped {
                self.unescaped.extend_from_slice(&rest[..n_plain]);
            }
            match self.take() {
                None => return Token::Error("invalid string: missing closing quote".to_owned()),
                Some(b'"') => return Token::String,
                Some(b'\\') => {
                    if !self.is_unescaped {
                        self.is_unescaped = true;
                        self.unescaped.extend_from_slice(&self.text[self.start + 1..self.position - 1]);
                    }
                    if let Err(message) = self.escape() {
                        return Token::Error(message.to_owned());
                    }
                }
                Some(byte) if byte < b' ' => return Token::Error(control_message(byte)),
                Some(_) => {
                    self.position -= 1;
                    match utf8_sequence(&self.text[self.position..]) {
                        Ok(length) => {
                            let sequence = &self.text[self.position..self.position + length];
                            if self.is_unescaped {
                                self.unescaped.extend_from_slice(sequence);
                            }
                            self.position += length;
                        }
                        Err(n_taken) => {
                            self.position += n_taken;
                            return Token::Error("invalid string: ill-formed UTF-8 byte".to_owned());
                        }
                    }
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        let byte = match self.take() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                const HIGH: &str =
                    "invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF";
                const LOW: &str = "invalid string: surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF";
                let mut code = self.four_digits()?;
                if (0xD800..0xDC00).contains(&code) {
                    if self.take() != Some(b'\\') || self.take() != Some(b'u') {
                        return Err(HIGH);
                    }
                    let low = self.four_digits()?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(HIGH);
                    }
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                let character = char::from_u32(code).ok_or(LOW)?;
                self.unescaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("invalid string: forbidden character after backslash"),
        };
        self.unescaped.push(byte);
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, &'static str> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.take().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or("invalid string: '\\u' must be followed by 4 hex digits")?;
        }
        Ok(code)
    }

    /// The content of the string token just read.
    fn string(&self) -> Result<&[u8], JsonError> {
        let content = if self.is_unescaped {
            self.unescaped.as_slice()
        } else {
            &self.text[self.start + 1..self.position - 1]
        };
        if memchr::memchr(0, content).is_some() {
            return Err(JsonError::NullByte { text: content.to_vec() });
        }
        Ok(content)
    }

    /// The text since the last string or number began, with control characters made visible.
    fn token_text(&self) -> String {
        let mut shown = Vec::new();
        for &byte in &self.text[self.start.min(self.text.len())..self.position.min(self.text.len())] {
            if byte < b' ' {
                shown.extend_from_slice(format!("<U+{byte:04X}>").as_bytes());
            } else {
                shown.push(byte);
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn error(&self, message: String) -> JsonError {
        let taken = &self.text[..self.position.min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', taken).map_or(0, |at| at + 1);
        JsonError::Syntax {
            line: 1 + memchr::memchr_iter(b'\n', taken).count(),
            column: self.position - line_start,
            message,
        }
    }

    fn lexical_error(&self, context: &str, message: String) -> JsonError {
        let last = self.token_text();
        self.error(format!("syntax error while parsing {context} - {message}; last read: '{last}'"))
    }

    fn unexpected(&self, context: &str, token: &Token, expected: &str) -> JsonError {
        let found = match token {
            Token::Error(message) => format!("{message}; last read: '{}'", self.token_text()),
            other => format!("unexpected {}", other.name()),
        };
        self.error(format!("syntax error while parsing {context} - {found}; expected {expected}"))
    }
}

/// Length of the UTF-8 sequence at the start of `text`, which isn't ASCII; or how many bytes show that there is none,
/// the end of the text counting as one.
fn utf8_sequence(text: &[u8]) -> Result<usize, usize> {
    let (length, second) = match text[0] {
        0xC2..=0xDF => (2, 0x80..=0xBF),
        0xE0 => (3, 0xA0..=0xBF),
        0xE1..=0xEC | 0xEE | 0xEF => (3, 0x80..=0xBF),
        0xED => (3, 0x80..=0x9F),
        0xF0 => (4, 0x90..=0xBF),
        0xF1..=0xF3 => (4, 0x80..=0xBF),
        0xF4 => (4, 0x80..=0x8F),
        _ => return Err(1),
    };
    for i in 1..length {
        let allowed = if i == 1 { second.clone() } else { 0x80..=0xBF };
        if !text.get(i).is_some_and(|byte| allowed.contains(byte)) {
            return Err(i + 1);
        }
    }
    Ok(length)
}

const CONTROL_NAMES: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI", "DLE",
    "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
];

fn control_message(byte: u8) -> String {
    let short = match byte {
        0x08 => " or \\b",
        0x09 => " or \\t",
        0x0A => " or \\n",
        0x0C => " or \\f",
        0x0D => " or \\r",
        _ => "",
    };
    let name = CONTROL_NAMES[usize::from(byte)];
    format!("invalid string: control character U+{byte:04X} ({name}) must be escaped to \\u{byte:04X}{short}")
}

/// Why a string can't be written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonStringError {
    /// A byte can't stand where it does.
    #[error("[json.exception.type_error.316] invalid UTF-8 byte at index {index}: 0x{byte:02X}")]
    InvalidByte { index: usize, byte: u8 },
    /// The text ends within a character.
    #[error("[json.exception.type_error.316] incomplete UTF-8 string; last byte: 0x{byte:02X}")]
    Incomplete { byte: u8 },
}

/// Returns how many bytes stand in JSON for themselves. Blocks of 16 are tested as a whole, which the compiler turns into vector instructions.
fn plain_prefix(bytes: &[u8]) -> usize {
    let needs_care = |byte: u8| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte >= 0x80);
    let is_plain = |block: &&[u8; 16]| block.iter().fold(0, |care, byte| care | needs_care(*byte)) == 0;
    let start = 16 * bytes.as_chunks().0.iter().take_while(is_plain).count();
    let rest = &bytes[start..];
    start + rest.iter().position(|byte| needs_care(*byte) != 0).unwrap_or(rest.len())
}

/// Appends `text` to `output` as a JSON string with its quotes.
pub(crate) fn write_string(output: &mut Vec<u8>, text: &[u8]) -> Result<(), JsonStringError> {
    output.push(b'"');
    let mut rest = text;
    loop {
        let n_plain = plain_prefix(rest);
        output.extend_from_slice(&rest[..n_plain]);
        rest = &rest[n_plain..];
        let Some(&byte) = rest.first() else { break };
        let mut length = 1;
        match byte {
            b'"' => output.extend_from_slice(b"\\\""),
            b'\\' => output.extend_from_slice(b"\\\\"),
            0x08 => output.extend_from_slice(b"\\b"),
            0x0C => output.extend_from_slice(b"\\f"),
            b'\n' => output.extend_from_slice(b"\\n"),
            b'\r' => output.extend_from_slice(b"\\r"),
            b'\t' => output.extend_from_slice(b"\\t"),
            byte if byte < b' ' => output.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => match utf8_sequence(rest) {
                Ok(n_bytes) => {
                    length = n_bytes;
                    output.extend_from_slice(&rest[..length]);
                }
                Err(n_taken) => {
                    let offset = n_taken - 1;
                    return Err(match rest.get(offset) {
                        Some(&byte) => JsonStringError::InvalidByte {
                            index: text.len() - rest.len() + offset,
                            byte,
                        },
                        None => JsonStringError::Incomplete {
                            byte: rest[rest.len() - 1],
                        },
                    });
                }
            },
        }
        rest = &rest[length..];
    }
    output.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests;
