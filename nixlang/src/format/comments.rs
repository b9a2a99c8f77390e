//! Which token a comment or empty line belongs to: what stands behind a token on its line is its own, everything else belongs to the next one.

use std::collections::HashMap;

use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxElement, SyntaxNode, SyntaxToken};

/// Something between two tokens that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trivia {
    EmptyLine,
    /// The text behind `#`.
    Line(String),
    /// `/* bash */` before a string.
    Annotation(String),
    /// The lines of a comment with several; whether it documents something.
    Block(bool, Vec<String>),
    /// Here a region begins that is not to be formatted.
    Disable,
    /// Here it ends; its text, lines as a whole. None if there was none.
    Enable(Option<String>),
    /// It goes on to the end of the text.
    DisabledToEnd(String),
}

/// What is known of a token besides its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Attached {
    /// What stands before it.
    pub(super) before: Vec<Trivia>,
    /// The comment behind it on its line.
    pub(super) after: Option<String>,
    /// What stands before it where that is a member of its own: in sets, lists and `let`s.
    pub(super) detached: Vec<Trivia>,
    /// Its line in the source; 0 if that is not to matter.
    pub(super) line: u32,
}

/// What belongs to the tokens of a text, by the offset where each begins. Strings, paths and `${…}` in attribute paths are one token here.
pub(super) type Comments = HashMap<u32, Attached>;

/// A token in the sense of the style, with where it begins.
struct Lexeme {
    start: u32,
    line: u32,
    column: usize,
}

enum Raw {
    LineEnds(usize),
    Line { text: String, column: usize },
    /// Its lines, and whether it documents something.
    Block(bool, Vec<String>),
    Annotation(String),
    /// `/*nixfmt:disable*/` or `/*nixfmt:enable*/` as the last of a line: whether it is the former, and where it begins and the line ends.
    Directive { disable: bool, start: usize, end: usize },
}

/// Attaches everything between tokens.
pub(super) fn attach(root: &SyntaxNode, text: &str, pure: bool) -> Comments {
    let mut walk = Walk { text, line: 1, line_start: 0, at: 0, pure, comments: Comments::new(), current: None, pending: Vec::new(), leading_only: true, n_interpolations: 0, disabled_from: None };
    walk.node(root);
    let end = text.len() as u32;
    walk.lexeme(end);
    if let Some(start) = walk.disabled_from {
        walk.comments.entry(end).or_default().before.push(Trivia::DisabledToEnd(text[start..].to_owned()));
    }
    walk.comments
}

struct Walk<'t> {
    text: &'t str,
    line: u32,
    line_start: usize,
    at: usize,
    pure: bool,
    comments: Comments,
    /// The token that was last, none after `${`.
    current: Option<u32>,
    pending: Vec<Raw>,
    /// Whether nothing of what comes may belong to the token before.
    leading_only: bool,
    /// Interpolations around. In them lines always matter, as in `nixfmt`.
    n_interpolations: usize,
    /// Where the region begins that is not to be formatted, if this is one.
    disabled_from: Option<usize>,
}

impl Walk<'_> {
    fn node(&mut self, node: &SyntaxNode) {
        match node.kind() {
            SyntaxKind::StringNode | SyntaxKind::IndStringNode | SyntaxKind::PathNode | SyntaxKind::DynamicAttr => {
                let start = node.text_range().start;
                self.lexeme(start);
                let is_dynamic = node.kind() == SyntaxKind::DynamicAttr;
                if is_dynamic {
                    self.interpolation(node);
                } else {
                    for element in node.children_with_tokens() {
                        match element {
                            SyntaxElement::Node(inner) => self.interpolation(&inner),
                            SyntaxElement::Token(token) => self.advance(token.text_range().end),
                        }
                    }
                }
                self.current = Some(start);
                self.leading_only = false;
            }
            _ => {
                for element in node.children_with_tokens() {
                    match element {
                        SyntaxElement::Node(inner) => self.node(&inner),
                        SyntaxElement::Token(token) => self.token(&token),
                    }
                }
            }
        }
    }

    /// `${ … }`: nothing inside belongs to the outside.
    fn interpolation(&mut self, node: &SyntaxNode) {
        self.n_interpolations += 1;
        for element in node.children_with_tokens() {
            match element {
                SyntaxElement::Token(token) if token.kind() == SyntaxKind::DollarBrace => {
                    self.advance(token.text_range().end);
                    self.current = None;
                    self.leading_only = true;
                }
                SyntaxElement::Token(token) if token.kind() == SyntaxKind::RightBrace => {
                    self.lexeme(token.text_range().start);
                    self.advance(token.text_range().end);
                }
                SyntaxElement::Token(token) => self.token(&token),
                SyntaxElement::Node(inner) => self.node(&inner),
            }
        }
        self.n_interpolations -= 1;
    }

    fn token(&mut self, token: &SyntaxToken) {
        let range = token.text_range();
        let text = token.text();
        match token.kind() {
            SyntaxKind::Whitespace => {
                let n_ends = text.matches('\n').count() + text.matches('\r').count() - text.matches("\r\n").count();
                if n_ends > 0 {
                    self.pending.push(Raw::LineEnds(n_ends));
                }
            }
            SyntaxKind::LineComment => {
                let column = self.column(range.start);
                self.pending.push(Raw::Line { text: text[1..].trim_end().to_owned(), column });
            }
            SyntaxKind::BlockComment | SyntaxKind::DocComment => {
                let column = self.column(range.start);
                let comment = block(text, column);
                let behind = self.text[range.end as usize..].split(['\n', '\r']).next().unwrap_or_default();
                let directive = [("/*nixfmt:disable*/", true), ("/*nixfmt:enable*/", false)].into_iter().find(|(word, _)| *word == text);
                self.pending.push(match comment {
                    _ if directive.is_some() && behind.trim().is_empty() => {
                        let disable = directive.is_some_and(|(_, disable)| disable);
                        Raw::Directive { disable, start: range.start as usize, end: range.end as usize + behind.len() }
                    }
                    Raw::Block(false, lines) if is_annotation(&lines, &self.text[range.end as usize..]) => Raw::Annotation(lines[0].trim().to_owned()),
                    other => other,
                });
            }
            // Nothing after a NUL byte is part of the text.
            SyntaxKind::AfterEnd => {}
            _ => {
                self.lexeme(range.start);
                self.current = Some(range.start);
                self.leading_only = false;
            }
        }
        self.advance(range.end);
    }

    fn column(&mut self, offset: u32) -> usize {
        self.advance(offset);
        self.text[self.line_start..offset as usize].chars().count()
    }

    fn advance(&mut self, to: u32) {
        let passed = &self.text[self.at..to as usize];
        self.line += passed.matches('\n').count() as u32;
        if let Some(last) = passed.rfind('\n') {
            self.line_start = self.at + last + 1;
        }
        self.at = to as usize;
    }

    /// A token begins: divides what stands before it between it and the last one.
    fn lexeme(&mut self, start: u32) {
        let column = self.column(start);
        let lexeme = Lexeme { start, line: if self.pure && self.n_interpolations == 0 { 0 } else { self.line }, column };
        let pending = std::mem::take(&mut self.pending);
        let n_trailing = if self.leading_only { 0 } else { n_trailing(&pending, lexeme.column) };
        let trailing: Vec<String> = pending[..n_trailing].iter().map(trailing_text).filter(|text| !text.is_empty()).collect();
        if let Some(current) = self.current
            && !trailing.is_empty()
        {
            self.comments.entry(current).or_default().after = Some(trailing.join(" "));
        }
        let before = pending.into_iter().skip(n_trailing).filter_map(|raw| self.leading(raw)).collect();
        self.comments.insert(lexeme.start, Attached { before, line: lexeme.line, ..Attached::default() });
    }

    fn leading(&mut self, raw: Raw) -> Option<Trivia> {
        match raw {
            Raw::LineEnds(1) => None,
            Raw::LineEnds(_) => Some(Trivia::EmptyLine),
            Raw::Line { text, .. } => Some(Trivia::Line(text)),
            Raw::Block(_, lines) if lines.is_empty() => None,
            Raw::Block(false, lines) if lines.len() == 1 => Some(Trivia::Line(format!(" {}", lines[0].trim()))),
            Raw::Block(documents, lines) => Some(Trivia::Block(documents, lines)),
            Raw::Annotation(name) => Some(Trivia::Annotation(name)),
            Raw::Directive { disable, start, end } => Some(self.directive(disable, start, end)),
        }
    }

    /// One that shares its line with something is a comment like others.
    fn directive(&mut self, disable: bool, start: usize, end: usize) -> Trivia {
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        if !self.text[line_start..start].trim().is_empty() {
            return Trivia::Line(format!(" {}", directive_text(disable)));
        }
        if disable {
            self.disabled_from.get_or_insert(line_start);
            return Trivia::Disable;
        }
        Trivia::Enable(self.disabled_from.take().map(|from| self.text[from..end].to_owned()))
    }
}

fn directive_text(disable: bool) -> &'static str {
    if disable { "nixfmt:disable" } else { "nixfmt:enable" }
}

/// Returns how many of these belong to the token before: comments on its line, unless they form a block with what is on the next line.
fn n_trailing(pending: &[Raw], next_column: usize) -> usize {
    let n = pending.iter().take_while(|raw| matches!(raw, Raw::Line { .. } | Raw::Directive { .. }) || matches!(raw, Raw::Block(false, lines) if lines.len() < 2)).count();
    match (&pending[..n], &pending[n..]) {
        ([Raw::Line { column, .. }], [Raw::LineEnds(1), Raw::Line { column: next, .. }, ..]) if column == next => 0,
        ([Raw::Line { column, .. }], [Raw::LineEnds(1)]) if *column == next_column => 0,
        _ => n,
    }
}

fn trailing_text(raw: &Raw) -> String {
    match raw {
        Raw::Line { text, .. } => text.trim().to_owned(),
        Raw::Block(_, lines) => lines.first().map_or("", |line| line.trim()).to_owned(),
        Raw::Directive { disable, .. } => directive_text(*disable).to_owned(),
        _ => String::new(),
    }
}

/// Returns whether a comment names the language of the string behind it.
fn is_annotation(lines: &[String], behind: &str) -> bool {
    let [line] = lines else { return false };
    let name = line.trim();
    let is_name = !name.is_empty() && name.chars().count() <= 30 && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'));
    let rest = behind.trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest).trim_start_matches([' ', '\t']);
    is_name && (rest.starts_with('"') || rest.starts_with("''"))
}

/// Returns the lines of a comment, without its marks, without the indentation that all lines have, and without stars at their left if all have one.
fn block(text: &str, column: usize) -> Raw {
    let documents = text.starts_with("/**") && !text.starts_with("/**/");
    let inner = if documents { &text[3..] } else { &text[2..] };
    let inner = inner.strip_suffix("*/").unwrap_or(inner).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<String> = inner.split('\n').map(|line| line.trim_end().to_owned()).collect();
    drop_empty_end(&mut lines);
    if let Some((_, rest)) = lines.split_first_mut() {
        let star = format!("{} *", " ".repeat(column));
        if rest.iter().all(|line| line.starts_with(&star)) {
            for line in rest {
                *line = format!("{}{}", " ".repeat(column), &line[star.len()..]).trim_end().to_owned();
            }
        }
    }
    drop_empty_end(&mut lines);
    if let Some((first, rest)) = lines.split_first_mut() {
        let most = if first.starts_with(' ') { column + 3 } else { column + 2 };
        let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let shared = rest.iter().filter(|line| !line.is_empty()).map(|line| indentation(line)).min().unwrap_or(most).min(most);
        *first = first.trim().to_owned();
        for line in rest {
            *line = match line.get(..shared) {
                Some(start) if start.bytes().all(|byte| byte == b' ') => line[shared..].to_owned(),
                _ => line.trim_start().to_owned(),
            };
        }
    }
    let n_empty = lines.iter().take_while(|line| line.is_empty()).count();
    lines.drain(..n_empty);
    Raw::Block(documents, lines)
}

fn drop_empty_end(lines: &mut Vec<String>) {
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
}
