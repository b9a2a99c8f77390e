//! Documents: texts with their nesting, spaces that may become line ends, and groups that are laid out on one line or not.

use std::collections::VecDeque;
use std::rc::Rc;

/// A space between two texts. Of two that meet the greater counts, apart from a few mixtures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    /// A line end if what follows doesn't fit, otherwise nothing; whether the group fits doesn't matter.
    SoftBreak,
    /// Nothing, or a line end if the group is on several lines.
    Break,
    /// A space always.
    Hard,
    /// As [`Space::SoftBreak`], but a space.
    SoftLine,
    /// As [`Space::Break`], but a space.
    Line,
    /// A line end always.
    LineEnd,
    /// A line end and an empty line.
    EmptyLine,
    /// This many line ends, in strings.
    Ends(usize),
}

impl Space {
    fn is_hard(self) -> bool {
        matches!(self, Space::Hard | Space::LineEnd | Space::EmptyLine | Space::Ends(_))
    }

    /// Returns what two spaces that follow each other are.
    pub(super) fn and(self, other: Space) -> Space {
        let (less, more) = if self <= other { (self, other) } else { (other, self) };
        match (less, more) {
            (Space::Break, Space::SoftLine | Space::Hard) => Space::Line,
            (Space::SoftBreak, Space::Hard) => Space::SoftLine,
            (Space::Ends(a), Space::Ends(b)) => Space::Ends(a + b),
            (Space::EmptyLine, Space::Ends(n)) => Space::Ends(n + 2),
            (Space::Hard, Space::Ends(n)) => Space::Ends(n),
            (_, Space::Ends(n)) => Space::Ends(n + 1),
            (_, more) => more,
        }
    }
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// A comment: its width doesn't count.
    Comment,
    /// `# …` at the end of a line.
    TrailingComment,
    /// Something that stands only where its group is on several lines: the comma behind the last formal.
    OnlyExpanded,
    /// What follows is not shown, up to the next verbatim text.
    Disable,
    /// Text of the source, as it is; whether it goes to the end of the source.
    Verbatim(bool),
}

/// What happens to a group that doesn't fit on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// It is tried first to lay out only this part of the surrounding group on several lines.
    First,
    /// As if its members stood in the surrounding group, where that looks for parts to lay out first.
    Through,
}

/// A piece of a document. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    Text { nest: u32, offset: usize, role: Role, text: Rc<str> },
    Space(Space),
    Group(Kind, Rc<[Doc]>),
}

/// Documents one after another.
pub(super) type Docs = Vec<Doc>;

/// Returns documents, one after another.
macro_rules! docs {
    ($($part:expr),* $(,)?) => {{
        let mut all: $crate::format::document::Docs = Vec::new();
        $( all.extend($part); )*
        all
    }};
}
pub(super) use docs;

pub(super) fn group(docs: Docs) -> Docs {
    group_of(Kind::Plain, docs)
}

pub(super) fn group_of(kind: Kind, docs: Docs) -> Docs {
    vec![Doc::Group(kind, docs.into())]
}

pub(super) fn space(space: Space) -> Docs {
    vec![Doc::Space(space)]
}

/// Returns how many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

fn is_comment(doc: &Doc) -> bool {
    match doc {
        Doc::Text { role, .. } => matches!(role, Role::Comment | Role::TrailingComment),
        Doc::Group(_, inner) => inner.iter().all(|doc| is_comment(doc) || is_hard(doc)),
        Doc::Space(_) => false,
    }
}

fn is_verbatim(doc: &Doc) -> bool {
    matches!(doc, Doc::Text { role: Role::Verbatim(_), .. })
}

fn is_hard(doc: &Doc) -> bool {
    matches!(doc, Doc::Space(space) if space.is_hard())
}

/// Merges spaces and texts that follow each other, takes line ends and comments out of the ends of groups (where they would make the group appear
/// not to fit), and removes empty groups.
pub(super) fn normalise(docs: Docs) -> Docs {
    let mut queue: VecDeque<Doc> = docs.into();
    let mut out = Docs::new();
    while let Some(first) = queue.pop_front() {
        match (first, queue.front()) {
            (Doc::Space(a), Some(Doc::Space(b))) => {
                let merged = a.and(*b);
                queue[0] = Doc::Space(merged);
            }
            (Doc::Text { nest, offset, role, text }, Some(Doc::Text { role: next_role, text: next, .. })) if role == *next_role => {
                let text = format!("{text}{next}").into();
                queue[0] = Doc::Text { nest, offset, role, text };
            }
            (Doc::Space(Space::Hard), Some(Doc::Group(kind, inner))) => {
                let inner = std::iter::once(Doc::Space(Space::Hard)).chain(inner.iter().cloned()).collect();
                queue[0] = Doc::Group(*kind, inner);
            }
            (Doc::Space(before), Some(Doc::Group(..))) => {
                if let Some(Doc::Group(kind, inner)) = queue.pop_front() {
                    take_apart(Some(before), kind, &inner, &mut queue, &mut out);
                }
            }
            (Doc::Group(kind, inner), _) => take_apart(None, kind, &inner, &mut queue, &mut out),
            (first, _) => out.push(first),
        }
    }
    out
}

fn take_apart(before: Option<Space>, kind: Kind, inner: &[Doc], queue: &mut VecDeque<Doc>, out: &mut Docs) {
    let inner = normalise(inner.to_vec());
    let n_before = inner.iter().take_while(|doc| is_hard(doc) || is_comment(doc) || is_verbatim(doc)).count();
    let n_after = inner[n_before..].iter().rev().take_while(|doc| is_hard(doc)).count();
    let body = &inner[n_before..inner.len() - n_after];
    let leading = before.map(Doc::Space).into_iter().chain(inner[..n_before].iter().cloned());
    for doc in inner[inner.len() - n_after..].iter().rev() {
        queue.push_front(doc.clone());
    }
    if body.is_empty() {
        for doc in leading.collect::<Vec<_>>().into_iter().rev() {
            queue.push_front(doc);
        }
        return;
    }
    out.extend(normalise(leading.collect()));
    out.push(match body {
        [Doc::Group(only, inner)] if *only == kind => Doc::Group(kind, inner.clone()),
        body => Doc::Group(kind, body.into()),
    });
}

/// Returns a document on one line, groups dissolved; nothing if it has line ends or is wider than the limit.
pub(super) fn on_one_line(docs: &[Doc], limit: Option<usize>) -> Option<Docs> {
    let mut out = Docs::new();
    let mut left = limit;
    flatten(docs, &mut left, &mut out)?;
    Some(out)
}

fn flatten(docs: &[Doc], left: &mut Option<usize>, out: &mut Docs) -> Option<()> {
    for doc in docs {
        let taken = match doc {
            Doc::Text { role: Role::Disable | Role::Verbatim(_), .. } => return None,
            Doc::Text { text, .. } => {
                out.push(doc.clone());
                width(text)
            }
            Doc::Space(Space::Hard | Space::Line | Space::SoftLine) => {
                out.push(Doc::Space(Space::Hard));
                1
            }
            Doc::Space(Space::Break | Space::SoftBreak) => 0,
            Doc::Space(_) => return None,
            Doc::Group(_, inner) => {
                flatten(inner, left, out)?;
                0
            }
        };
        if let Some(left) = left {
            *left = left.checked_sub(taken)?;
        }
    }
    Some(())
}
