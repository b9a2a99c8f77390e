//! The grammar of TOML 1.0.0: lines, keys, strings, arrays, inline tables.

use super::error::{Reporter, TomlError};
use super::tables::{Item, Key, Node, Table, TableKind};
use super::{NEST_LIMIT, TomlValue, datetime, number};

pub(super) struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    report: Reporter<'t>,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t [u8]) -> Parser<'t> {
        let at = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Parser {
            text,
            at,
            report: Reporter { text },
        }
    }

    /// Reads the whole text.
    pub(super) fn file(mut self) -> Result<Table, TomlError> {
        let mut root = Table::new(TableKind::Header);
        self.section(&mut root, 0)?;
        while self.peek() == Some(b'[') {
            let (key, is_array) = self.header()?;
            let depth = key.names.len() + 1;
            let table = root.open(key, is_array, self.report)?;
            self.section(table, depth)?;
        }
        Ok(root)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let is_there = self.text[self.at..].starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn error<T>(&self, title: &str, remark: &'static str) -> Result<T, TomlError> {
        Err(self.report.at(title, self.at, remark))
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) {
        if self.peek() == Some(b'#') {
            self.at += 1;
            self.skip_characters(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7F);
        }
    }

    /// Skips characters that are allowed; stops at what isn't UTF-8, too.
    fn skip_characters(&mut self, is_allowed: impl Fn(u8) -> bool) {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| !is_allowed(byte)).unwrap_or(rest.len());
        self.at += match std::str::from_utf8(&rest[..length]) {
            Ok(_) => length,
            Err(error) => error.valid_up_to(),
        };
    }

    fn eat_newline(&mut self) -> bool {
        self.eat(b"\n") || self.eat(b"\r\n")
    }

    /// Skips blanks, line ends and comments.
    fn skip_trivia(&mut self) {
        loop {
            let start = self.at;
            self.skip_blanks();
            self.eat_newline();
            self.skip_comment();
            if self.at == start {
                return;
            }
        }
    }

    /// The rest of a line behind something.
    fn line_end(&mut self, title: &str, remark: &'static str) -> Result<(), TomlError> {
        self.skip_blanks();
        self.skip_comment();
        if self.at == self.text.len() || self.eat_newline() {
            return Ok(());
        }
        self.error(title, remark)
    }

    /// The pairs up to the next header or the end.
    fn section(&mut self, table: &mut Table, depth: usize) -> Result<(), TomlError> {
        loop {
            self.skip_trivia();
            if matches!(self.peek(), None | Some(b'[')) {
                return Ok(());
            }
            self.pair(table, depth)?;
            self.line_end("toml::parse_table: newline (LF / CRLF) or EOF is expected", "here")?;
        }
    }

    fn pair(&mut self, table: &mut Table, depth: usize) -> Result<(), TomlError> {
        let key = self.key()?;
        let depth = depth + key.names.len();
        self.skip_blanks();
        if !self.eat(b"=") {
            return self.error("toml::parse_key_value_pair: invalid key value separator `=`", "expected =");
        }
        self.skip_blanks();
        let value = self.value(depth)?;
        table.insert(key, value, self.report)
    }

    fn header(&mut self) -> Result<(Key, bool), TomlError> {
        let start = self.at;
        let is_array = self.eat(b"[[");
        if !is_array {
            self.at += 1;
        }
        let (title, end, remark) = if is_array {
            ("toml::parse_file: invalid array-table key", &b"]]"[..], "expected ]]")
        } else {
            ("toml::parse_file: invalid table key", &b"]"[..], "expected ]")
        };
        self.skip_blanks();
        if !matches!(self.peek(), Some(b'"' | b'\'')) && !self.peek().is_some_and(is_bare) {
            return self.error(title, "expected basic key([a-zA-Z0-9_-]) or quoted key(\" or ')");
        }
        let mut key = self.key()?;
        self.skip_blanks();
        if !self.eat(end) {
            return self.error(title, remark);
        }
        key.span = (start, self.at);
        self.line_end("toml::parse_file: newline (or EOF) expected", "expected 0x0a(LINE FEED) or \r\n")?;
        Ok((key, is_array))
    }

    fn key(&mut self) -> Result<Key, TomlError> {
        let start = self.at;
        let mut names = vec![self.simple_key()?];
        loop {
            let end = self.at;
            self.skip_blanks();
            if !self.eat(b".") {
                self.at = end;
                return Ok(Key {
                    names,
                    span: (start, end),
                });
            }
            self.skip_blanks();
            names.push(self.simple_key()?);
            if names.len() > NEST_LIMIT {
                return self.error("nesting is too deep", "here");
            }
        }
    }

    fn simple_key(&mut self) -> Result<Vec<u8>, TomlError> {
        match self.peek() {
            Some(b'"') => self.basic_string(),
            Some(b'\'') => self.literal_string(),
            Some(byte) if is_bare(byte) => {
                let rest = &self.text[self.at..];
                let length = rest.iter().position(|&byte| !is_bare(byte)).unwrap_or(rest.len());
                self.at += length;
                Ok(rest[..length].to_vec())
            }
            _ => Err(self.report.error(
                "toml::parse_simple_key: invalid key: key must be \"quoted\", 'quoted-literal', or bare key.",
                &[((self.at, self.at), "expected alpha [a-zA-Z], digit [0-9], -, or _")],
                &["non-ASCII scripts are allowed in toml v1.1.0, but not in v1.0.0."],
            )),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Item, TomlError> {
        if depth > NEST_LIMIT {
            return self.error("nesting is too deep", "here");
        }
        let start = self.at;
        let rest = &self.text[start..];
        let node = match self.peek() {
            Some(b'"') if rest.starts_with(b"\"\"\"") => self.long_basic_string().map(string)?,
            Some(b'"') => self.basic_string().map(string)?,
            Some(b'\'') if rest.starts_with(b"'''") => self.long_literal_string().map(string)?,
            Some(b'\'') => self.literal_string().map(string)?,
            Some(b'[') => self.array(depth)?,
            Some(b'{') => self.inline_table(depth)?,
            Some(b't' | b'f') => Node::Scalar(TomlValue::Boolean(self.boolean()?)),
            Some(letter @ (b'T' | b'F' | b'I' | b'N')) => {
                let (word, expected) = match letter {
                    b'T' => ("true", "expected true or false"),
                    b'F' => ("false", "expected true or false"),
                    b'I' => ("inf", NUMBER_EXPECTED),
                    _ => ("nan", NUMBER_EXPECTED),
                };
                return self.error(&must_be_lowercase(word), expected);
            }
            Some(b'i') if !rest.starts_with(b"inf") => return self.error(&must_be_lowercase("inf"), NUMBER_EXPECTED),
            Some(b'n') if !rest.starts_with(b"nan") => return self.error(&must_be_lowercase("nan"), NUMBER_EXPECTED),
            _ => {
                let (value, end) = match datetime::parse(self.text, start, self.report)? {
                    Some(found) => found,
                    None => number::parse(self.text, start, self.report)?,
                };
                self.at = end;
                Node::Scalar(value)
            }
        };
        Ok(Item {
            node,
            span: (start, self.at),
        })
    }

    fn boolean(&mut self) -> Result<bool, TomlError> {
        if self.eat(b"true") {
            Ok(true)
        } else if self.eat(b"false") {
            Ok(false)
        } else {
            self.error(
                "toml::parse_boolean: invalid boolean: boolean must be `true` or `false`, in lowercase. \
                 string must be surrounded by `\"`",
                "expected true or false",
            )
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node, TomlError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_trivia();
            if self.eat(b"]") {
                return Ok(Node::Array(items));
            }
            if self.at == self.text.len() {
                return self.error("toml::parse_array: missing closing bracket `]`", "expected `]`, reached EOF");
            }
            items.push(self.value(depth + 1)?);
            self.skip_trivia();
            if self.at == self.text.len() {
                return self.error("toml::parse_array: missing closing bracket `]`", "expected `]`, reached EOF");
            }
            if !self.eat(b",") && self.peek() != Some(b']') {
                return self.error("toml::parse_array: expected value-separator `,` or closing `]`", "here");
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Result<Node, TomlError> {
        self.at += 1;
        let mut table = Table::new(TableKind::Inline);
        self.skip_blanks();
        if self.eat(b"}") {
            return Ok(Node::Table(table));
        }
        loop {
            self.pair(&mut table, depth + 1)?;
            self.skip_blanks();
            if self.eat(b"}") {
                return Ok(Node::Table(table));
            }
            if !self.eat(b",") {
                return self.error("toml::parse_inline_table: expected value-separator `,` or closing `}`", "here");
            }
            self.skip_blanks();
            if self.peek() == Some(b'}') {
                return self.error("toml::parse_inline_table: trailing comma is not allowed in TOML-v1.0.0)", "here");
            }
        }
    }

    fn literal_string(&mut self) -> Result<Vec<u8>, TomlError> {
        self.at += 1;
        let start = self.at;
        self.skip_characters(|byte| byte == b'\t' || byte >= b' ' && byte != b'\'' && byte != 0x7F);
        let end = self.at;
        if !self.eat(b"'") {
            return self.error("toml::parse_literal_string: invalid string format", "expected '");
        }
        Ok(self.text[start..end].to_vec())
    }

    fn basic_string(&mut self) -> Result<Vec<u8>, TomlError> {
        self.at += 1;
        let mut content = Vec::new();
        loop {
            let start = self.at;
            self.skip_characters(|byte| byte == b'\t' || byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7F));
            content.extend_from_slice(&self.text[start..self.at]);
            if self.eat(b"\"") {
                return Ok(content);
            }
            if !self.escape(&mut content)? {
                return self.error("toml::parse_basic_string: invalid string format", "expected \"");
            }
        }
    }

    fn long_literal_string(&mut self) -> Result<Vec<u8>, TomlError> {
        self.at += 3;
        self.eat_newline();
        let mut content = Vec::new();
        loop {
            let start = self.at;
            self.skip_characters(|byte| matches!(byte, b'\t' | b'\n') || byte >= b' ' && byte != b'\'' && byte != 0x7F);
            content.extend_from_slice(&self.text[start..self.at]);
            if self.eat(b"\r\n") {
                content.extend_from_slice(b"\r\n");
            } else if self.peek() != Some(b'\'') {
                return self.error("toml::parse_ml_literal_string: invalid string format", "expected '''");
            } else if self.closing_quotes(b'\'', &mut content) {
                return Ok(content);
            }
        }
    }

    fn long_basic_string(&mut self) -> Result<Vec<u8>, TomlError> {
        self.at += 3;
        self.eat_newline();
        let mut content = Vec::new();
        loop {
            let start = self.at;
            self.skip_characters(|byte| {
                matches!(byte, b'\t' | b'\n') || byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7F)
            });
            content.extend_from_slice(&self.text[start..self.at]);
            if self.eat(b"\r\n") {
                content.extend_from_slice(b"\r\n");
            } else if self.peek() == Some(b'"') {
                if self.closing_quotes(b'"', &mut content) {
                    return Ok(content);
                }
            } else if !self.escaped_newline() && !self.escape(&mut content)? {
                return self.error("toml::parse_ml_basic_string: invalid string format", "expected \"\"\"");
            }
        }
    }

    /// Takes a run of quotes: up to two belong to the content, three end the string, and two more may stand before.
    fn closing_quotes(&mut self, quote: u8, content: &mut Vec<u8>) -> bool {
        let rest = &self.text[self.at..];
        let n_quotes = rest.iter().take(5).take_while(|&&byte| byte == quote).count();
        self.at += n_quotes;
        let n_content = if n_quotes >= 3 { n_quotes - 3 } else { n_quotes };
        content.resize(content.len() + n_content, quote);
        n_quotes >= 3
    }

    /// A backslash at the end of a line, with the white space that follows.
    fn escaped_newline(&mut self) -> bool {
        let start = self.at;
        if self.eat(b"\\") {
            self.skip_blanks();
            if self.eat_newline() {
                loop {
                    self.skip_blanks();
                    if !self.eat_newline() {
                        return true;
                    }
                }
            }
        }
        self.at = start;
        false
    }

    /// Takes an escape sequence; `false` if there is none that TOML 1.0.0 knows.
    fn escape(&mut self, content: &mut Vec<u8>) -> Result<bool, TomlError> {
        let rest = &self.text[self.at..];
        let [b'\\', letter, digits @ ..] = rest else { return Ok(false) };
        let n_digits = match letter {
            b'u' => 4,
            b'U' => 8,
            _ => {
                let byte = match letter {
                    b'"' | b'\\' => *letter,
                    b'b' => 0x08,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'f' => 0x0C,
                    b'r' => b'\r',
                    _ => return Ok(false),
                };
                content.push(byte);
                self.at += 2;
                return Ok(true);
            }
        };
        let Some(digits) = digits.get(..n_digits).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)) else {
            return Ok(false);
        };
        let code = digits.iter().fold(0u32, |code, &digit| {
            code << 4 | char::from(digit).to_digit(16).expect("only hexadecimal digits pass the filter")
        });
        let Some(character) = char::from_u32(code) else {
            let (title, remark) = if code > 0x10FFFF {
                ("toml::parse_utf8_codepoint: input codepoint is too large.", "must be in range [0x00, 0x10FFFF]")
            } else {
                ("toml::parse_utf8_codepoint: [0xD800, 0xDFFF] is not a valid UTF-8", "here")
            };
            return self.error(title, remark);
        };
        content.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += 2 + n_digits;
        Ok(true)
    }
}

const NUMBER_EXPECTED: &str = "expected from `1` to `9` or digit [0-9] or inf or nan";

fn must_be_lowercase(word: &str) -> String {
    format!("toml::parse_value: `{word}` must be in lowercase. A string must be surrounded by quotes.")
}

fn string(content: Vec<u8>) -> Node {
    Node::Scalar(TomlValue::String(content))
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
