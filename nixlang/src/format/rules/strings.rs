//! Strings and paths. Their text stays as it is; indented strings get the indentation of where they stand, and one without a line end, quote or
//! backslash becomes a plain one.

use super::super::document::{Docs, Space, docs, group, on_one_line, space, width};
use super::{K, Rules, maybe};
use crate::syntax::tree::{SyntaxElement, SyntaxNode};

/// A piece of a line of a string.
#[derive(Clone)]
pub(super) enum Piece {
    Text(String),
    Interpolation(SyntaxNode),
}

pub(super) type Line = Vec<Piece>;

/// Interpolations up to this width stay on one line.
const SHORT_INTERPOLATION: usize = 30;

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ')
}

fn is_empty_line(line: &Line) -> bool {
    line.iter().all(|piece| matches!(piece, Piece::Text(text) if is_blank(text)))
}

/// Merges texts that follow each other and drops empty ones.
fn tidy(line: Line) -> Line {
    let mut tidied = Line::new();
    for piece in line {
        match (piece, tidied.last_mut()) {
            (Piece::Text(text), _) if text.is_empty() => {}
            (Piece::Text(text), Some(Piece::Text(last))) => last.push_str(&text),
            (piece, _) => tidied.push(piece),
        }
    }
    tidied
}

fn push_text(lines: &mut Vec<Line>, text: &str) {
    for (i, part) in text.split('\n').enumerate() {
        if i > 0 {
            lines.push(Line::new());
        }
        lines.last_mut().expect("there is a line").push(Piece::Text(part.to_owned()));
    }
}

fn raw_lines(node: &SyntaxNode) -> Vec<Line> {
    let mut lines = vec![Line::new()];
    for element in node.children_with_tokens() {
        match element {
            SyntaxElement::Node(inner) => lines.last_mut().expect("there is a line").push(Piece::Interpolation(inner)),
            SyntaxElement::Token(token) => match token.kind() {
                K::Quote | K::IndStringClose => {}
                K::IndStringOpen => push_text(&mut lines, &token.text()[2..]),
                _ => push_text(&mut lines, token.text()),
            },
        }
    }
    lines.into_iter().map(tidy).collect()
}

/// Returns the lines of an indented string without the indentation that all of them have.
fn without_indentation(mut lines: Vec<Line>) -> Vec<Line> {
    if lines.len() > 1 && is_empty_line(&lines[0]) {
        lines.remove(0);
    }
    if let Some(last) = lines.last_mut().filter(|last| is_empty_line(last)) {
        last.clear();
    }
    let leading = |line: &Line| match line.first() {
        Some(Piece::Text(text)) => text.len() - text.trim_start_matches(' ').len(),
        _ => 0,
    };
    let Some(shared) = lines.iter().filter(|line| !is_empty_line(line)).map(leading).min() else {
        return lines.iter().map(|_| Line::new()).collect();
    };
    for line in &mut lines {
        if let Some(Piece::Text(text)) = line.first_mut() {
            *text = if leading_spaces(text) >= shared { text[shared..].to_owned() } else { String::new() };
        }
    }
    lines.into_iter().map(tidy).collect()
}

fn leading_spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

impl Rules {
    /// Returns the lines of a string as they are to be written.
    pub(super) fn string_lines(&self, node: &SyntaxNode) -> Vec<Line> {
        let lines = raw_lines(node);
        if node.kind() == K::IndStringNode { without_indentation(lines) } else { lines }
    }

    /// Returns whether an indented string stays one.
    pub(super) fn is_indented(&self, node: &SyntaxNode) -> bool {
        let lines = self.string_lines(node);
        lines.len() > 1 || lines.iter().flatten().any(|piece| matches!(piece, Piece::Text(text) if text.contains(['"', '\\'])))
    }

    /// Returns the lines of an indented string as those of a plain one, with its escapes.
    pub(super) fn simplified_lines(&self, node: &SyntaxNode) -> Vec<Line> {
        let convert = |text: &str| {
            let (mut out, mut rest) = (String::new(), text);
            while let Some(first) = rest.chars().next() {
                if let Some(behind) = rest.strip_prefix("''$") {
                    out.push_str("\\$");
                    rest = behind;
                } else if let Some(behind) = rest.strip_prefix("'''") {
                    out.push_str("''");
                    rest = behind;
                } else {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
            out
        };
        let piece = |piece: Piece| match piece {
            Piece::Text(text) => Piece::Text(convert(&text)),
            other => other,
        };
        self.string_lines(node).into_iter().map(|line| line.into_iter().map(piece).collect()).collect()
    }

    pub(super) fn simple_string(&self, lines: &[Line]) -> Docs {
        let mut content = Docs::new();
        for (i, line) in lines.iter().enumerate() {
            if i > 0 {
                content.extend(self.text("\n"));
            }
            content.extend(self.string_line(line));
        }
        group(docs![self.text("\""), content, self.text("\"")])
    }

    pub(super) fn indented_string(&self, lines: &[Line]) -> Docs {
        let content = self.nest(|| {
            let mut content = Docs::new();
            for (i, line) in lines.iter().enumerate() {
                if i > 0 {
                    content.extend(space(Space::Ends(1)));
                }
                content.extend(self.string_line(line));
            }
            content
        });
        let begin = if lines.len() > 1 { maybe() } else { Docs::new() };
        group(docs![self.text("''"), begin, content, self.text("''")])
    }

    pub(super) fn path(&self, node: &SyntaxNode) -> Docs {
        let lines = raw_lines(node);
        lines.iter().flat_map(|line| self.string_line(line)).collect()
    }

    fn string_line(&self, line: &Line) -> Docs {
        match line.as_slice() {
            // Alone on its line, what is inside may begin right behind the brace.
            [Piece::Interpolation(node)] => self.alone("", node),
            [Piece::Text(text), Piece::Interpolation(node)] if is_blank(text) => self.alone(text, node),
            [Piece::Text(text), rest @ ..] => {
                let indentation = text.chars().take_while(|character| character.is_whitespace()).count();
                docs![self.text(text), self.offset(indentation, || self.pieces(rest))]
            }
            pieces => self.pieces(pieces),
        }
    }

    fn alone(&self, indentation: &str, node: &SyntaxNode) -> Docs {
        let content = node.children().next().filter(|_| !self.ends_with_comments(node));
        let Some(content) = content else {
            if indentation.is_empty() {
                let content = self.nest(|| self.whole(node));
                return group(docs![self.text("${"), maybe(), content, maybe(), self.text("}")]);
            }
            return docs![self.text(indentation), self.offset(width(indentation), || self.interpolation(node))];
        };
        let inside = self.offset(width(indentation), || {
            let content = docs![self.text("${"), self.nest(|| self.enclosed_expression(&content)), self.text("}")];
            group(content)
        });
        docs![self.text(indentation), inside]
    }

    /// Returns whether comments stand before the closing brace.
    fn ends_with_comments(&self, node: &SyntaxNode) -> bool {
        !self.before(self.own_key(node, K::RightBrace)).is_empty()
    }

    /// What is in an interpolation, with the comments at its end.
    fn whole(&self, node: &SyntaxNode) -> Docs {
        let content = node.children().next().map(|content| self.expression(&content)).unwrap_or_default();
        let at_end = self.take_before(self.own_key(node, K::RightBrace));
        group(docs![content, self.trivia(&at_end)])
    }

    fn pieces(&self, pieces: &[Piece]) -> Docs {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => self.text(text),
            Piece::Interpolation(node) => self.interpolation(node),
        };
        pieces.iter().flat_map(piece).collect()
    }

    /// `${ … }` with other text around it.
    pub(super) fn interpolation(&self, node: &SyntaxNode) -> Docs {
        let Some(content) = node.children().next() else { return self.text("${}") };
        let has_comments = self.ends_with_comments(node);
        if !has_comments && super::is_term(&content) && self.is_absorbable(&content) {
            return group(docs![self.text("${"), self.term(&content), self.text("}")]);
        }
        if !has_comments && self.is_simple(&content) {
            let content = self.expression(&content);
            return docs![self.text("${"), self.flat(&content).unwrap_or(content), self.text("}")];
        }
        // How deep it is nested matters only where it has several lines.
        let content = self.nest(|| self.whole(node));
        match on_one_line(&content, Some(SHORT_INTERPOLATION)) {
            Some(flat) => group(docs![self.text("${"), flat, self.text("}")]),
            None => group(docs![self.text("${"), maybe(), content, maybe(), self.text("}")]),
        }
    }
}
