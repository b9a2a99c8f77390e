//! The layout: from a document to text. A group goes on one line if it fits together with what must stand behind it; if not, it is tried to lay out
//! only one of its parts on several lines, and then all of it.
//!
//! The surprising thing: several levels of nesting that begin on one line count as one for the lines below.

use super::FormatOptions;
use super::document::{Doc, Docs, Kind, Role, Space, on_one_line, width};

/// Returns the text of a document, which ends with one line feed.
pub(super) fn render(docs: &[Doc], options: FormatOptions) -> String {
    let mut layout = Layout {
        width: options.width as isize,
        indent: options.indent,
        out: String::new(),
        state: State { column: 0, indents: vec![(0, 0)], is_hidden: false },
        n_tries: 0,
    };
    layout.one(&Doc::Group(Kind::Plain, docs.into()), None);
    if ends_verbatim(docs) {
        return layout.out.trim_start().to_owned();
    }
    let mut text = layout.out.trim().to_owned();
    text.push('\n');
    text
}

/// Returns whether a region that is not to be formatted goes to the end of the source, whatever that is.
fn ends_verbatim(docs: &[Doc]) -> bool {
    match docs.iter().rev().find(|doc| !matches!(doc, Doc::Space(_))) {
        Some(Doc::Text { role, .. }) => *role == Role::Verbatim(true),
        Some(Doc::Group(_, inner)) => ends_verbatim(inner),
        _ => false,
    }
}

/// What comes behind the document that is laid out.
#[derive(Clone, Copy)]
struct Tail<'a> {
    docs: &'a [Doc],
    next: Option<&'a Tail<'a>>,
}

/// Goes through the documents of a tail, into groups where told to.
struct Cursor<'a> {
    stack: Vec<&'a [Doc]>,
}

impl<'a> Cursor<'a> {
    fn new(docs: &'a [Doc], mut tail: Option<&Tail<'a>>) -> Self {
        let mut stack = Vec::new();
        while let Some(it) = tail {
            stack.push(it.docs);
            tail = it.next;
        }
        stack.reverse();
        stack.push(docs);
        Cursor { stack }
    }

    fn next(&mut self) -> Option<&'a Doc> {
        loop {
            let last = self.stack.last_mut()?;
            match last.split_first() {
                Some((first, rest)) => {
                    *last = rest;
                    return Some(first);
                }
                None => drop(self.stack.pop()),
            }
        }
    }

    /// Returns a space with those that follow it at once.
    fn merged(&mut self, mut space: Space) -> Space {
        loop {
            while self.stack.last().is_some_and(|docs| docs.is_empty()) {
                self.stack.pop();
            }
            let Some(last) = self.stack.last_mut() else { return space };
            match last.split_first() {
                Some((Doc::Space(next), rest)) => {
                    space = space.and(*next);
                    *last = rest;
                }
                _ => return space,
            }
        }
    }
}

#[derive(Clone)]
struct State {
    /// Columns of this line so far, without its indentation.
    column: usize,
    /// Indentation and nesting, innermost last; never empty.
    indents: Vec<(usize, u32)>,
    /// Whether this is in a region that is not to be formatted: it is laid out all the same, but not written.
    is_hidden: bool,
}

struct Layout {
    width: isize,
    indent: usize,
    out: String,
    state: State,
    /// Parts that were laid out to see whether the rest fits.
    n_tries: usize,
}

/// Beyond this many tries a group that doesn't fit is laid out on several lines at once: deep nesting would try again and again.
const MAX_TRIES: usize = 1_000_000;

/// Returns nesting and offset of the first text.
fn first_nesting(cursor: &mut Cursor<'_>) -> (u32, usize) {
    while let Some(doc) = cursor.next() {
        match doc {
            Doc::Text { nest, offset, .. } => return (*nest, *offset),
            Doc::Group(_, inner) => return first_nesting(&mut Cursor::new(inner, None)),
            Doc::Space(_) => {}
        }
    }
    (0, 0)
}

/// Returns the columns up to the first place where a line may end.
fn first_line_width(cursor: &mut Cursor<'_>) -> isize {
    let mut columns = 0;
    while let Some(doc) = cursor.next() {
        match doc {
            Doc::Text { role: Role::Comment | Role::TrailingComment, .. } => {}
            Doc::Text { text, .. } => columns += width(text) as isize,
            Doc::Space(space) => match cursor.merged(*space) {
                Space::Hard => columns += 1,
                _ => return columns,
            },
            Doc::Group(_, inner) => cursor.stack.push(inner),
        }
    }
    columns
}

/// Returns documents on one line, if they fit into `room`. `next_indent` is by how much the next line is indented further than this one.
fn fits(next_indent: isize, room: isize, docs: &[Doc]) -> Option<String> {
    let (mut next_indent, mut room) = (next_indent, room);
    let mut line = String::new();
    let mut cursor = Cursor::new(docs, None);
    loop {
        if room < 0 {
            return None;
        }
        let Some(doc) = cursor.next() else { return Some(line) };
        let taken = match doc {
            Doc::Text { role: Role::Plain, text, .. } => {
                line.push_str(text);
                width(text) as isize
            }
            Doc::Text { role: Role::Comment, text, .. } => {
                line.push_str(text);
                0
            }
            Doc::Text { role: Role::TrailingComment, text, .. } => {
                if next_indent == 0 {
                    line.push(' ');
                }
                line.push_str(text);
                0
            }
            Doc::Text { role: Role::OnlyExpanded, .. } => 0,
            Doc::Text { role: Role::Disable | Role::Verbatim(_), .. } => return None,
            Doc::Space(space) => match cursor.merged(*space) {
                Space::SoftBreak | Space::Break => 0,
                Space::SoftLine | Space::Line | Space::Hard => {
                    line.push(' ');
                    1
                }
                Space::LineEnd | Space::EmptyLine | Space::Ends(_) => return None,
            },
            Doc::Group(_, inner) => {
                cursor.stack.push(inner);
                0
            }
        };
        next_indent -= taken;
        room -= taken;
    }
}

impl Layout {
    fn all(&mut self, docs: &[Doc], tail: Option<&Tail<'_>>) {
        for (i, doc) in docs.iter().enumerate() {
            self.one(doc, Some(&Tail { docs: &docs[i + 1..], next: tail }));
        }
    }

    fn nesting(&self) -> u32 {
        self.state.indents.last().expect("there is the outermost").1
    }

    fn one(&mut self, doc: &Doc, tail: Option<&Tail<'_>>) {
        match doc {
            // Behind a bracket the comment would be taken for that of what follows, the next time: one more space tells them apart.
            Doc::Text { role: Role::TrailingComment, text, .. } if self.state.column == 2 && first_nesting(&mut Cursor::new(&[], tail)).0 > self.nesting() => {
                self.raw(" ");
                self.raw(text);
            }
            Doc::Text { role: Role::Disable, .. } => self.state.is_hidden = true,
            Doc::Text { role: Role::Verbatim(_), text, .. } => {
                if self.state.column != 0 && !self.state.is_hidden {
                    self.out.push('\n');
                }
                self.out.push_str(text);
                self.state.is_hidden = false;
                self.state.column = width(text.rsplit('\n').next().unwrap_or_default());
            }
            Doc::Text { nest, offset, text, .. } => self.text(*nest, *offset, text),
            Doc::Space(_) if self.state.column == 0 => {}
            Doc::Space(space) => match space {
                Space::Break | Space::Line | Space::LineEnd => self.end_line(1),
                Space::Hard => self.raw(" "),
                Space::EmptyLine => self.end_line(2),
                Space::Ends(n) => self.end_line(*n),
                Space::SoftBreak => {
                    if !self.first_line_fits(0, tail) {
                        self.end_line(1);
                    }
                }
                Space::SoftLine => {
                    if self.first_line_fits(1, tail) {
                        self.raw(" ");
                    } else {
                        self.end_line(1);
                    }
                }
            },
            Doc::Group(kind, inner) => {
                if self.try_group(inner, tail) || (*kind != Kind::Through && self.try_parts(inner, tail)) {
                    return;
                }
                self.all(inner, tail);
            }
        }
    }

    fn end_line(&mut self, n: usize) {
        if !self.state.is_hidden {
            self.out.extend(std::iter::repeat_n('\n', n));
        }
        self.state.column = 0;
    }

    fn raw(&mut self, text: &str) {
        if !self.state.is_hidden {
            self.out.push_str(text);
        }
        self.state.column += width(text);
    }

    fn text(&mut self, nest: u32, offset: usize, text: &str) {
        while nest < self.nesting() {
            self.state.indents.pop();
        }
        let (mut current, nesting) = *self.state.indents.last().expect("there is the outermost");
        if nest > nesting {
            if self.state.column == 0 {
                current += self.indent;
            }
            self.state.indents.push((current, nest));
        }
        if self.state.column == 0 && !self.state.is_hidden {
            self.out.extend(std::iter::repeat_n(' ', current + offset));
        }
        self.raw(text);
    }

    /// Returns whether what comes up to the next line end fits on this line, groups as wide as they must be.
    fn first_line_fits(&self, used: usize, tail: Option<&Tail<'_>>) -> bool {
        let target = self.width - (self.state.column + used) as isize;
        let mut room = self.width;
        let mut cursor = Cursor::new(&[], tail);
        loop {
            if room < 0 {
                return false;
            }
            match cursor.next() {
                None => return self.width - room <= target,
                Some(Doc::Text { role: Role::Plain, text, .. }) => room -= width(text) as isize,
                Some(Doc::Text { role: Role::Verbatim(_), .. }) => return self.width - room <= target,
                Some(Doc::Text { .. }) => {}
                Some(Doc::Space(space)) => match cursor.merged(*space) {
                    Space::Hard => room -= 1,
                    _ => return self.width - room <= target,
                },
                Some(Doc::Group(_, inner)) => {
                    let behind = first_line_width(&mut Cursor { stack: cursor.stack.clone() });
                    match fits(0, room - behind, inner) {
                        Some(line) => room -= width(&line) as isize,
                        None => cursor.stack.push(inner),
                    }
                }
            }
        }
    }

    /// Puts documents on this line if they fit, with what must stand behind them.
    fn try_group(&mut self, docs: &[Doc], tail: Option<&Tail<'_>>) -> bool {
        if docs.is_empty() {
            return true;
        }
        let behind = first_line_width(&mut Cursor::new(&[], tail));
        let next_nesting = first_nesting(&mut Cursor::new(&[], tail)).0;
        if self.state.column > 0 {
            let column = self.state.column as isize;
            let further = if next_nesting > self.nesting() { self.indent as isize } else { 0 };
            return match fits(further - column, self.width - column - behind, docs) {
                Some(line) => {
                    self.raw(&line);
                    true
                }
                None => false,
            };
        }
        // At the beginning of a line its spaces are nothing.
        let without: Docs;
        let docs = match docs {
            [Doc::Space(_), rest @ ..] => rest,
            [Doc::Group(kind, inner), rest @ ..] if matches!(inner.first(), Some(Doc::Space(_))) => {
                without = std::iter::once(Doc::Group(*kind, inner[1..].into())).chain(rest.iter().cloned()).collect();
                &without
            }
            docs => docs,
        };
        let (nest, offset) = first_nesting(&mut Cursor::new(docs, None));
        let line_nesting = self.nesting() + if nest > self.nesting() { self.indent as u32 } else { 0 };
        let further = if next_nesting > line_nesting { self.indent as isize } else { 0 };
        match fits(further, self.width - behind, docs) {
            Some(line) => {
                self.text(nest, offset, &line);
                true
            }
            None => false,
        }
    }

    /// Tries to lay out one part on several lines and all else of the group on one, the last part first.
    fn try_parts(&mut self, docs: &[Doc], tail: Option<&Tail<'_>>) -> bool {
        let mut segments = Vec::new();
        divide(docs, &mut segments);
        for i in (0..segments.len()).rev() {
            if !segments[i].0 || self.n_tries > MAX_TRIES {
                continue;
            }
            self.n_tries += 1;
            let before: Docs = segments[..i].iter().flat_map(|(_, docs)| docs.iter().cloned()).collect();
            let after: Docs = segments[i + 1..].iter().flat_map(|(_, docs)| docs.iter().cloned()).collect();
            if self.try_part(&before, &segments[i].1, &after, tail) {
                return true;
            }
        }
        false
    }

    fn try_part(&mut self, before: &[Doc], part: &[Doc], after: &[Doc], tail: Option<&Tail<'_>>) -> bool {
        let (length, state) = (self.out.len(), self.state.clone());
        let rest = Tail { docs: after, next: tail };
        let fits = self.try_group(before, Some(&Tail { docs: part, next: Some(&rest) })) && {
            let compact = without_breaks(after);
            self.all(part, Some(&Tail { docs: &compact, next: tail }));
            self.try_group(after, tail)
        };
        if !fits {
            self.out.truncate(length);
            self.state = state;
        }
        fits
    }
}

/// Divides a group's members into parts that may be laid out first (true) and what is between.
fn divide(docs: &[Doc], segments: &mut Vec<(bool, Docs)>) {
    for doc in docs {
        match doc {
            Doc::Group(Kind::First, inner) => segments.push((true, inner.to_vec())),
            Doc::Group(Kind::Through, inner) => divide(inner, segments),
            other => match segments.last_mut() {
                Some((false, last)) => last.push(other.clone()),
                _ => segments.push((false, vec![other.clone()])),
            },
        }
    }
}

/// Returns documents whose own spaces don't end lines; those of groups inside stay.
fn without_breaks(docs: &[Doc]) -> Docs {
    let convert = |doc: &Doc| match doc {
        Doc::Space(Space::Line | Space::SoftLine) => Some(Doc::Space(Space::Hard)),
        Doc::Space(Space::Break | Space::SoftBreak) => None,
        other => Some(other.clone()),
    };
    docs.iter().filter_map(convert).collect()
}

/// Returns a document on one line whatever its width, if it can be.
pub(super) fn flat(docs: &[Doc]) -> Option<Docs> {
    on_one_line(docs, None)
}
