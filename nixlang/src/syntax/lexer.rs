//! Bytes to tokens.
//!
//! logos knows the tokens of code; a stack of modes tells code, strings, indented strings and paths
//! apart, and the bodies of strings and comments are searched with memchr. Any bytes are accepted:
//! what starts no token becomes an `Error` token, and the text of all tokens in order is the input.
//!
//! The surprising thing: paths and URLs are found by hand, after logos has found a shorter token at
//! the same place (`lexer/paths.rs`).

mod paths;
mod strings;

use logos::Logos;
use memchr::{memchr, memchr2, memmem};

use super::error::{SyntaxError, SyntaxErrorKind};
use super::kind::SyntaxKind;
use paths::{Run, is_path_byte};

/// One token: its kind and where its text is, in bytes from the beginning of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The offset of the first byte.
    pub start: u32,
    /// The offset after the last byte.
    pub end: u32,
    /// The kind.
    pub kind: SyntaxKind,
}

/// What the lexer should do beyond the stable language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LexOptions {
    /// Whether `|>` and `<|` are allowed (experimental feature `pipe-operators`).
    pub pipe_operators: bool,
    /// Whether whitespace and comments become tokens (a lossless tree needs them).
    pub keep_trivia: bool,
}

/// A doc comment and the token it stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocComment {
    /// Where the documented token starts.
    pub target: u32,
    /// Where the comment starts.
    pub start: u32,
    /// Where the comment ends.
    pub end: u32,
}

/// The tokens of one source.
#[derive(Debug, Default)]
pub struct Lexed {
    /// The tokens in order, without trivia unless asked for. One `Eof` is always there; only
    /// `AfterEnd` may follow it.
    pub tokens: Vec<Token>,
    /// What was wrong with `Error` tokens, in order; an `Error` token without an entry is a byte
    /// that starts no token.
    pub errors: Vec<LexError>,
    /// Doc comments that stand directly before a token, in order.
    pub docs: Vec<DocComment>,
    /// Where the reference says that the input ends. This is the end, except that an input that
    /// ends within a path "ends" where the path begins.
    pub end_position: u32,
}

/// Why a token was rejected.
#[derive(Debug)]
pub struct LexError {
    /// The index of the `Error` token.
    pub token: usize,
    /// What to report.
    pub error: SyntaxError,
}

#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(utf8 = false)]
enum Code {
    #[regex(b"[ \t\r\n]+")]
    Whitespace,
    #[token(b"#")]
    Hash,
    #[token(b"/*")]
    BlockComment,
    #[regex(b"[a-zA-Z_][a-zA-Z0-9_'\\-]*")]
    Ident,
    #[regex(b"[0-9]+")]
    Integer,
    #[regex(b"(([1-9][0-9]*\\.[0-9]*)|(0?\\.[0-9]+))([Ee][+\\-]?[0-9]+)?")]
    Float,
    #[regex(b"~(/[a-zA-Z0-9._\\-+]+)+/?")]
    HomePath,
    #[token(b"~/${")]
    HomePathStart,
    #[regex(b"<[a-zA-Z0-9._\\-+]+(/[a-zA-Z0-9._\\-+]+)*>")]
    SearchPath,
    #[token(b"\"")]
    Quote,
    #[regex(b"''( *\n)?")]
    IndStringOpen,
    #[token(b"{")]
    LeftBrace,
    #[token(b"${")]
    DollarBrace,
    #[token(b"}")]
    RightBrace,
    #[token(b"\0")]
    Nul,
    #[token(b"/")]
    Slash,
    #[token(b"//")]
    Update,
    #[token(b".")]
    Dot,
    #[token(b"...")]
    Ellipsis,
    #[token(b"-")]
    Minus,
    #[token(b"+")]
    Plus,
    #[token(b"++")]
    Concat,
    #[token(b"<|")]
    PipeFrom,
    #[token(b"|>")]
    PipeInto,
    #[token(b"==")]
    EqEq,
    #[token(b"!=")]
    NotEq,
    #[token(b"<=")]
    LessEq,
    #[token(b">=")]
    GreaterEq,
    #[token(b"&&")]
    AndAnd,
    #[token(b"||")]
    OrOr,
    #[token(b"->")]
    Implies,
    #[token(b"<")]
    Less,
    #[token(b">")]
    Greater,
    #[token(b"*")]
    Star,
    #[token(b"?")]
    Question,
    #[token(b":")]
    Colon,
    #[token(b"@")]
    At,
    #[token(b";")]
    Semicolon,
    #[token(b"!")]
    Not,
    #[token(b"(")]
    LeftParen,
    #[token(b")")]
    RightParen,
    #[token(b"[")]
    LeftBracket,
    #[token(b"]")]
    RightBracket,
    #[token(b"=")]
    Assign,
    #[token(b",")]
    Comma,
}

/// What the bytes at the current position are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Code,
    String,
    IndString,
    /// In a path; the bool says whether the last part ended in a slash.
    Path {
        slash: bool,
    },
}

struct Lexer<'s> {
    source: &'s [u8],
    at: usize,
    modes: Vec<Mode>,
    options: LexOptions,
    path_run: Run,
    scheme_run: Run,
    /// Whether `*/` is known not to occur from here on.
    no_comment_end: bool,
    has_nul: bool,
    doc: Option<(u32, u32)>,
    out: Lexed,
}

/// Returns the tokens of `source`.
///
/// Never fails; the cost is linear in the length of the source. Sources are at most 4 GiB, which
/// the caller has checked.
pub fn lex(source: &[u8], options: LexOptions) -> Lexed {
    let mut lexed = Lexed::default();
    lex_into(source, options, &mut lexed);
    lexed
}

/// As [`lex`], into what may have been used before; its room is used again.
pub fn lex_into(source: &[u8], options: LexOptions, lexed: &mut Lexed) {
    lexed.tokens.clear();
    lexed.errors.clear();
    lexed.docs.clear();
    let mut lexer = Lexer {
        source,
        at: 0,
        modes: Vec::new(),
        options,
        path_run: Run::default(),
        scheme_run: Run::default(),
        no_comment_end: false,
        has_nul: memchr(0, source).is_some(),
        doc: None,
        out: std::mem::take(lexed),
    };
    let per_token = if options.keep_trivia { 3 } else { 4 };
    lexer.out.tokens.reserve(source.len() / per_token + 8);
    lexer.run();
    *lexed = lexer.out;
}

impl<'s> Lexer<'s> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.source.get(at).copied()
    }

    fn push(&mut self, kind: SyntaxKind, end: usize) {
        let start = self.at as u32;
        let end_position = end as u32;
        if let Some((doc_start, doc_end)) = self.doc.take() {
            self.out.docs.push(DocComment {
                target: start,
                start: doc_start,
                end: doc_end,
            });
        }
        self.out.tokens.push(Token {
            start,
            end: end_position,
            kind,
        });
        self.at = end;
    }

    fn push_trivia(&mut self, kind: SyntaxKind, end: usize) {
        if self.options.keep_trivia {
            self.out.tokens.push(Token {
                start: self.at as u32,
                end: end as u32,
                kind,
            });
        }
        self.at = end;
    }

    fn push_error(&mut self, kind: SyntaxErrorKind, end: usize) {
        let position = self.at as u32;
        self.out.errors.push(LexError {
            token: self.out.tokens.len(),
            error: SyntaxError { kind, position },
        });
        self.push(SyntaxKind::Error, end);
    }

    fn run(&mut self) {
        loop {
            let more = match self.modes.last().copied().unwrap_or(Mode::Code) {
                Mode::Code => self.code(),
                Mode::String => self.string(),
                Mode::IndString => self.ind_string(),
                Mode::Path { slash } => self.path(slash),
            };
            if !more {
                break;
            }
        }
    }

    fn end_of_input(&mut self) -> bool {
        self.out.end_position = self.source.len() as u32;
        self.push(SyntaxKind::Eof, self.at);
        false
    }

    /// Lexes code until the mode changes. Returns whether there is more.
    fn code(&mut self) -> bool {
        let source = self.source;
        'restart: loop {
            let mut tokens = Code::lexer(&source[self.at..]);
            let base = self.at;
            loop {
                let Some(token) = tokens.next() else {
                    return self.end_of_input();
                };
                let end = base + tokens.span().end;
                let simple = match token {
                    Ok(Code::Whitespace) => {
                        self.push_trivia(SyntaxKind::Whitespace, end);
                        continue;
                    }
                    Ok(Code::Ident) => {
                        if let Some(b'.' | b'+' | b'/' | b':') = self.byte(end)
                            && self.path_or_uri()
                        {
                            if matches!(self.modes.last(), Some(Mode::Path { .. })) {
                                return true;
                            }
                            tokens.bump(self.at - end);
                            continue;
                        }
                        let text = &source[self.at..end];
                        let keyword = match text.len() {
                            2..=7 => SyntaxKind::keyword(text),
                            _ => None,
                        };
                        keyword.unwrap_or(SyntaxKind::Ident)
                    }
                    Ok(kind @ (Code::Integer | Code::Float)) => {
                        if self
                            .byte(end)
                            .is_some_and(|byte| is_path_byte(byte) || byte == b'/')
                            && self.path_or_uri()
                        {
                            return true;
                        }
                        let text = str::from_utf8(&source[self.at..end]).expect("digits are ASCII");
                        if kind == Code::Integer {
                            if text.parse::<i64>().is_err() {
                                let text = text.to_owned();
                                self.push_error(SyntaxErrorKind::InvalidInteger { text }, end);
                                continue;
                            }
                            SyntaxKind::Integer
                        } else {
                            if float_out_of_range(text) {
                                let text = text.to_owned();
                                self.push_error(SyntaxErrorKind::InvalidFloat { text }, end);
                                continue;
                            }
                            SyntaxKind::Float
                        }
                    }
                    Ok(
                        kind @ (Code::Dot
                        | Code::Ellipsis
                        | Code::Minus
                        | Code::Plus
                        | Code::Concat
                        | Code::Slash
                        | Code::Update),
                    ) => {
                        let next = self.byte(end);
                        if kind != Code::Update
                            && next.is_some_and(|byte| {
                                is_path_byte(byte) || matches!(byte, b'/' | b'$')
                            })
                            && self.path_or_uri()
                        {
                            return true;
                        }
                        match kind {
                            Code::Dot => SyntaxKind::Dot,
                            Code::Ellipsis => SyntaxKind::Ellipsis,
                            Code::Minus => SyntaxKind::Minus,
                            Code::Plus => SyntaxKind::Plus,
                            Code::Concat => SyntaxKind::Concat,
                            Code::Slash => SyntaxKind::Slash,
                            _ => SyntaxKind::Update,
                        }
                    }
                    Ok(Code::Hash) => {
                        let rest = &source[end..];
                        let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                        tokens.bump(length);
                        self.push_trivia(SyntaxKind::LineComment, end + length);
                        continue;
                    }
                    Ok(Code::BlockComment) => {
                        let Some(comment_end) = self.comment_end(end) else {
                            self.push(SyntaxKind::Slash, self.at + 1);
                            self.push(SyntaxKind::Star, self.at + 1);
                            continue;
                        };
                        tokens.bump(comment_end - end);
                        let is_doc = source[end] == b'*' && !matches!(source[end + 1], b'*' | b'/');
                        if is_doc {
                            self.doc = Some((self.at as u32, comment_end as u32));
                            self.push_trivia(SyntaxKind::DocComment, comment_end);
                        } else {
                            self.push_trivia(SyntaxKind::BlockComment, comment_end);
                        }
                        continue;
                    }
                    Ok(Code::Quote) => {
                        self.push(SyntaxKind::Quote, end);
                        self.modes.push(Mode::String);
                        return true;
                    }
                    Ok(Code::IndStringOpen) => {
                        self.push(SyntaxKind::IndStringOpen, end);
                        self.modes.push(Mode::IndString);
                        return true;
                    }
                    Ok(Code::LeftBrace) => {
                        self.modes.push(Mode::Code);
                        SyntaxKind::LeftBrace
                    }
                    Ok(Code::DollarBrace) => {
                        self.modes.push(Mode::Code);
                        SyntaxKind::DollarBrace
                    }
                    Ok(Code::RightBrace) => {
                        self.push(SyntaxKind::RightBrace, end);
                        self.modes.pop();
                        if matches!(self.modes.last(), None | Some(Mode::Code)) {
                            continue;
                        }
                        return true;
                    }
                    Ok(Code::HomePath) => {
                        let slash = source[end - 1] == b'/';
                        self.push(SyntaxKind::HomePath, end);
                        self.modes.push(Mode::Path { slash });
                        return true;
                    }
                    Ok(Code::HomePathStart) => {
                        self.push(SyntaxKind::HomePath, end - 2);
                        self.modes.push(Mode::Path { slash: true });
                        return true;
                    }
                    Ok(kind @ (Code::PipeFrom | Code::PipeInto)) => {
                        if !self.options.pipe_operators {
                            self.push_error(SyntaxErrorKind::PipeOperatorsDisabled, end);
                            continue;
                        }
                        match kind {
                            Code::PipeFrom => SyntaxKind::PipeFrom,
                            _ => SyntaxKind::PipeInto,
                        }
                    }
                    Ok(Code::Nul) => {
                        self.out.end_position = end as u32;
                        self.push(SyntaxKind::Eof, self.at);
                        self.push_trivia(SyntaxKind::AfterEnd, source.len());
                        return false;
                    }
                    Err(()) => {
                        let end = character_end(source, self.at);
                        self.push(SyntaxKind::Error, end);
                        continue 'restart;
                    }
                    Ok(Code::SearchPath) => SyntaxKind::SearchPath,
                    Ok(Code::EqEq) => SyntaxKind::EqEq,
                    Ok(Code::NotEq) => SyntaxKind::NotEq,
                    Ok(Code::LessEq) => SyntaxKind::LessEq,
                    Ok(Code::GreaterEq) => SyntaxKind::GreaterEq,
                    Ok(Code::AndAnd) => SyntaxKind::AndAnd,
                    Ok(Code::OrOr) => SyntaxKind::OrOr,
                    Ok(Code::Implies) => SyntaxKind::Implies,
                    Ok(Code::Less) => SyntaxKind::Less,
                    Ok(Code::Greater) => SyntaxKind::Greater,
                    Ok(Code::Star) => SyntaxKind::Star,
                    Ok(Code::Question) => SyntaxKind::Question,
                    Ok(Code::Colon) => SyntaxKind::Colon,
                    Ok(Code::At) => SyntaxKind::At,
                    Ok(Code::Semicolon) => SyntaxKind::Semicolon,
                    Ok(Code::Not) => SyntaxKind::Not,
                    Ok(Code::LeftParen) => SyntaxKind::LeftParen,
                    Ok(Code::RightParen) => SyntaxKind::RightParen,
                    Ok(Code::LeftBracket) => SyntaxKind::LeftBracket,
                    Ok(Code::RightBracket) => SyntaxKind::RightBracket,
                    Ok(Code::Assign) => SyntaxKind::Assign,
                    Ok(Code::Comma) => SyntaxKind::Comma,
                };
                self.push(simple, end);
            }
        }
    }

    /// Returns where the comment whose body starts at `from` ends.
    fn comment_end(&mut self, from: usize) -> Option<usize> {
        if self.no_comment_end {
            return None;
        }
        let found = memmem::find(&self.source[from..], b"*/");
        self.no_comment_end = found.is_none();
        found.map(|length| from + length + 2)
    }
}

/// Returns whether C's `strtod` sets `ERANGE`: too large, or too small to be exact.
fn float_out_of_range(text: &str) -> bool {
    let Ok(number) = text.parse::<f64>() else {
        return true;
    };
    if number.is_infinite() {
        return true;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let is_zero = mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    !is_zero && !number.is_normal()
}

/// Returns where the character at `at` ends, or the byte if it isn't UTF-8.
fn character_end(source: &[u8], at: usize) -> usize {
    let more = match source[at] {
        0xc0..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf7 => 3,
        _ => 0,
    };
    let is_continuation = |byte: &&u8| (0x80..=0xbf).contains(*byte);
    at + 1 + source[at + 1..].iter().take(more).take_while(is_continuation).count()
}
