//! The rules of the style: from the tree to a document. One function per form; what may begin on the line of what it belongs to ("absorbed") is
//! decided in `rules/absorb.rs`.
//!
//! A rule that moves a comment changes the table of comments before it writes the token, so every comment is written once.

mod absorb;
mod application;
mod functions;
mod operators;
mod sets;
mod strings;
mod terms;

use std::cell::{Cell, RefCell};

use super::comments::{Attached, Comments, Trivia};
use super::document::{Doc, Docs, Kind, Role, Space, docs, group, group_of, space};
use super::layout::flat;
use crate::syntax::kind::SyntaxKind as K;
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

/// Returns the document of a tree without errors.
pub(super) fn document(root: &SyntaxNode, comments: Comments) -> Docs {
    let rules = Rules { comments: RefCell::new(comments), nest: Cell::new(0), offset: Cell::new(0) };
    rules.detach(root);
    let end = root.text_range().end;
    // Empty lines at the beginning are dropped in the end; until then they must not matter.
    if let Some(first) = root.children().next() {
        rules.change(first.text_range().start, |it| {
            let n_empty = it.before.iter().take_while(|trivia| **trivia == Trivia::EmptyLine).count();
            it.before.drain(..n_empty);
        });
    }
    let expression = root.children().next().map(|node| rules.expression(&node)).unwrap_or_default();
    group(docs![expression, rules.trivia(&rules.before(end))])
}

struct Rules {
    comments: RefCell<Comments>,
    nest: Cell<u32>,
    offset: Cell<usize>,
}

/// A member of a set, list or `let`, or what stands between two.
enum Item {
    Comments(Vec<Trivia>),
    Node(SyntaxNode),
}

fn line() -> Docs {
    space(Space::Line)
}

fn soft_line() -> Docs {
    space(Space::SoftLine)
}

fn soft_break() -> Docs {
    space(Space::SoftBreak)
}

/// A line end, or nothing.
fn maybe() -> Docs {
    space(Space::Break)
}

fn hard_space() -> Docs {
    space(Space::Hard)
}

fn line_end() -> Docs {
    space(Space::LineEnd)
}

/// Returns where a node begins, by which its comments are found.
fn key(node: &SyntaxNode) -> u32 {
    node.text_range().start
}

/// Returns the first token of a kind that is the node's own.
fn token(node: &SyntaxNode, kind: K) -> Option<SyntaxToken> {
    node.token(kind)
}

/// Returns a node's own tokens that mean something.
fn tokens(node: &SyntaxNode) -> Vec<SyntaxToken> {
    node.tokens().filter(|token| !token.kind().is_trivia()).collect()
}

fn is_term(node: &SyntaxNode) -> bool {
    matches!(
        node.kind(),
        K::Literal | K::StringNode | K::IndStringNode | K::PathNode | K::SearchPathNode | K::Variable | K::Paren | K::InheritFrom | K::List | K::AttrSet | K::LegacyLet | K::Select
    )
}

/// Returns the expression in parentheses.
fn inner(node: &SyntaxNode) -> Option<SyntaxNode> {
    node.children().next()
}

impl Rules {
    fn text(&self, text: &str) -> Docs {
        self.text_as(Role::Plain, text)
    }

    fn text_as(&self, role: Role, text: &str) -> Docs {
        if text.is_empty() {
            return Docs::new();
        }
        vec![Doc::Text { nest: self.nest.get(), offset: self.offset.get(), role, text: text.into() }]
    }

    /// Returns what `write` writes, one level further in.
    fn nest(&self, write: impl FnOnce() -> Docs) -> Docs {
        self.nest.set(self.nest.get() + 1);
        let docs = write();
        self.nest.set(self.nest.get() - 1);
        docs
    }

    /// Returns what `write` writes, so many columns further in.
    fn offset(&self, by: usize, write: impl FnOnce() -> Docs) -> Docs {
        self.offset.set(self.offset.get() + by);
        let docs = write();
        self.offset.set(self.offset.get() - by);
        docs
    }

    fn attached<R>(&self, key: u32, read: impl FnOnce(&Attached) -> R) -> R {
        match self.comments.borrow().get(&key) {
            Some(attached) => read(attached),
            None => read(&Attached::default()),
        }
    }

    fn change(&self, key: u32, change: impl FnOnce(&mut Attached)) {
        change(self.comments.borrow_mut().entry(key).or_default());
    }

    fn before(&self, key: u32) -> Vec<Trivia> {
        self.attached(key, |it| it.before.clone())
    }

    fn after(&self, key: u32) -> Option<String> {
        self.attached(key, |it| it.after.clone())
    }

    fn line_of(&self, key: u32) -> u32 {
        self.attached(key, |it| it.line)
    }

    /// Returns whether comments or empty lines belong to a token.
    fn has_trivia(&self, key: u32) -> bool {
        self.attached(key, |it| !it.before.is_empty() || it.after.is_some())
    }

    fn is_lone(&self, key: u32) -> bool {
        !self.has_trivia(key)
    }

    /// Moves the comment behind a token before it.
    fn move_after_up(&self, key: u32) {
        self.change(key, |it| {
            if let Some(after) = it.after.take() {
                it.before.push(Trivia::Line(format!(" {after}")));
            }
        });
    }

    /// Takes the comments away from a token.
    fn take_before(&self, key: u32) -> Vec<Trivia> {
        let mut before = Vec::new();
        self.change(key, |it| before = std::mem::take(&mut it.before));
        before
    }

    fn take_after(&self, key: u32) -> Option<String> {
        let mut after = None;
        self.change(key, |it| after = it.after.take());
        after
    }

    fn prepend(&self, key: u32, trivia: Vec<Trivia>) {
        self.change(key, |it| {
            it.before.splice(0..0, trivia);
        });
    }

    /// Comments before members of sets, lists and `let`s are members themselves.
    fn detach(&self, root: &SyntaxNode) {
        for node in root.descendants() {
            let end = match node.kind() {
                K::List => token(&node, K::RightBracket),
                K::AttrSet | K::LegacyLet => token(&node, K::RightBrace),
                K::LetIn => token(&node, K::In),
                _ => continue,
            };
            for member in node.children().filter(|child| node.kind() == K::List || matches!(child.kind(), K::Binding | K::InheritBinding)) {
                self.change(key(&member), |it| it.detached = std::mem::take(&mut it.before));
            }
            if let Some(end) = end {
                self.change(end.text_range().start, |it| it.detached = std::mem::take(&mut it.before));
            }
        }
    }

    /// Returns the members of a set, list or `let` whose end is the token at `end`.
    fn items(&self, node: &SyntaxNode, end: u32) -> Vec<Item> {
        let mut items = Vec::new();
        let comments = |key: u32, items: &mut Vec<Item>| {
            let detached = self.attached(key, |it| it.detached.clone());
            if !detached.is_empty() {
                items.push(Item::Comments(detached));
            }
        };
        for member in node.children().filter(|child| node.kind() == K::List || matches!(child.kind(), K::Binding | K::InheritBinding)) {
            comments(key(&member), &mut items);
            items.push(Item::Node(member));
        }
        comments(end, &mut items);
        items
    }

    fn render_items(&self, between: &Docs, items: &[Item]) -> Docs {
        let mut out = Docs::new();
        let mut i = 0;
        while i < items.len() {
            if i > 0 {
                out.extend(between.iter().cloned());
            }
            match (&items[i], items.get(i + 1)) {
                // The name of a string's language stays with the string.
                (Item::Comments(trivia), Some(Item::Node(node))) if matches!(trivia.last(), Some(Trivia::Annotation(_))) => {
                    let (last, others) = trivia.split_last().expect("there is the annotation");
                    out.extend(self.trivia(others));
                    out.extend(self.one_trivia(last));
                    out.extend(group(self.member(node)));
                    i += 1;
                }
                (Item::Comments(trivia), _) => out.extend(self.trivia(trivia)),
                (Item::Node(node), _) => out.extend(group(self.member(node))),
            }
            i += 1;
        }
        out
    }

    fn member(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            K::Binding => self.binding(node),
            K::InheritBinding => self.inherit(node),
            _ => self.expression(node),
        }
    }

    fn trivia(&self, trivia: &[Trivia]) -> Docs {
        match trivia {
            [] => Docs::new(),
            [annotation @ Trivia::Annotation(_)] => self.one_trivia(annotation),
            trivia => docs![line_end(), trivia.iter().flat_map(|it| self.one_trivia(it))],
        }
    }

    fn one_trivia(&self, trivia: &Trivia) -> Docs {
        match trivia {
            Trivia::EmptyLine => space(Space::EmptyLine),
            Trivia::Line(text) => docs![self.text_as(Role::Comment, &format!("#{text}")), line_end()],
            Trivia::Annotation(name) => docs![self.text_as(Role::Comment, &format!("/* {name} */")), hard_space()],
            Trivia::Disable => vec![Doc::Text { nest: self.nest.get(), offset: self.offset.get(), role: Role::Disable, text: "".into() }],
            Trivia::DisabledToEnd(text) => self.text_as(Role::Verbatim(true), text),
            Trivia::Enable(Some(text)) => docs![self.text_as(Role::Verbatim(false), text), line_end()],
            Trivia::Enable(None) => docs![self.text_as(Role::Comment, "/*nixfmt:enable*/"), line_end()],
            Trivia::Block(documents, lines) => {
                let body = self.offset(2, || {
                    lines.iter().flat_map(|it| if it.is_empty() { space(Space::EmptyLine) } else { docs![self.text_as(Role::Comment, it), line_end()] }).collect()
                });
                let begin = if *documents { "/**" } else { "/*" };
                docs![self.text_as(Role::Comment, begin), line_end(), body, self.text_as(Role::Comment, "*/"), line_end()]
            }
        }
    }

    fn trailing(&self, after: Option<String>) -> Docs {
        match after {
            Some(after) => docs![hard_space(), self.text_as(Role::TrailingComment, &format!("# {after}")), line_end()],
            None => Docs::new(),
        }
    }

    /// Returns what is at a place with the comments that belong to it.
    fn with_comments(&self, key: u32, content: Docs) -> Docs {
        docs![self.trivia(&self.before(key)), content, self.trailing(self.after(key))]
    }

    fn token(&self, token: &SyntaxToken) -> Docs {
        self.with_comments(token.text_range().start, self.text(token.text()))
    }

    /// Returns a node's own token; nothing if it isn't there.
    fn own(&self, node: &SyntaxNode, kind: K) -> Docs {
        token(node, kind).map(|token| self.token(&token)).unwrap_or_default()
    }

    /// Returns the place of a node's own token.
    fn own_key(&self, node: &SyntaxNode, kind: K) -> u32 {
        token(node, kind).map_or(u32::MAX, |token| token.text_range().start)
    }

    /// Returns the place of the last token of a node.
    fn last_key(&self, node: &SyntaxNode) -> u32 {
        if matches!(node.kind(), K::StringNode | K::IndStringNode | K::PathNode | K::DynamicAttr) {
            return key(node);
        }
        let last = node.children_with_tokens().filter(|element| !element.kind().is_trivia()).last();
        match last {
            Some(crate::syntax::tree::SyntaxElement::Node(node)) => self.last_key(&node),
            Some(crate::syntax::tree::SyntaxElement::Token(token)) => token.text_range().start,
            None => key(node),
        }
    }

    fn expression(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            K::List => group(self.term(node)),
            _ if is_term(node) => self.term(node),
            K::WithExpr => self.with(node, false),
            K::LetIn => self.let_in(node),
            K::AssertExpr => self.assert(node),
            K::IfElse => {
                self.move_after_up(key(node));
                group(self.if_else(node, &line()))
            }
            K::Lambda => self.lambda(node),
            K::Apply => self.application(node, false, Docs::new(), false),
            K::BinaryOp => self.operation(node),
            K::HasAttr => {
                let children: Vec<_> = node.children().collect();
                let [base, path, ..] = &children[..] else { return Docs::new() };
                docs![self.expression(base), soft_line(), self.own(node, K::Question), hard_space(), self.attr_path(path)]
            }
            K::UnaryOp => {
                let operator: Docs = tokens(node).first().map(|token| self.token(token)).unwrap_or_default();
                // Together with a `-` before it a path would be another path.
                let is_path = node.children().next().is_some_and(|operand| operand.descendants().any(|it| it.kind() == K::PathNode && it.text_range().start == operand.text_range().start));
                docs![operator, if is_path { hard_space() } else { Docs::new() }, node.children().flat_map(|operand| self.expression(&operand))]
            }
            _ => Docs::new(),
        }
    }

    /// `with a; b`. Absorbed, the body begins on the line of the `with`.
    fn with(&self, node: &SyntaxNode, absorbed: bool) -> Docs {
        let children: Vec<_> = node.children().collect();
        let [scope, body, ..] = &children[..] else { return Docs::new() };
        let head = docs![self.own(node, K::With), hard_space(), self.nest(|| group(self.expression(scope))), self.own(node, K::Semicolon)];
        if absorbed {
            return group(docs![maybe(), head, hard_space(), group_of(Kind::First, self.term_wide(body))]);
        }
        docs![group(head), line(), self.expression(body)]
    }

    fn let_in(&self, node: &SyntaxNode) -> Docs {
        let in_key = self.own_key(node, K::In);
        let items = self.items(node, in_key);
        let bindings = group(docs![self.own(node, K::Let), line_end(), self.nest(|| self.render_items(&line_end(), &items))]);
        // What stands around the `in` is of the body.
        let mut moved = self.take_before(in_key);
        moved.extend(self.take_after(in_key).map(|after| Trivia::Line(format!(" {after}"))));
        let Some(body) = node.children().last() else { return bindings };
        self.prepend(key(&body), moved);
        docs![bindings, line_end(), group(docs![self.text("in"), line_end(), self.expression(&body)])]
    }

    fn assert(&self, node: &SyntaxNode) -> Docs {
        let children: Vec<_> = node.children().collect();
        let [condition, body, ..] = &children[..] else { return Docs::new() };
        // As if it were a function that is called.
        group(docs![self.assert_head(node, condition), self.own(node, K::Semicolon), line_end(), self.expression(body)])
    }

    fn if_else(&self, node: &SyntaxNode, around: &Docs) -> Docs {
        if node.kind() != K::IfElse {
            return docs![line(), self.nest(|| group(self.expression(node)))];
        }
        let children: Vec<_> = node.children().collect();
        let [condition, then, otherwise, ..] = &children[..] else { return Docs::new() };
        let head = group(docs![self.own(node, K::If), line(), self.nest(|| self.expression(condition)), line(), self.own(node, K::Then)]);
        let then = self.nest(|| group(self.expression(then)));
        self.move_after_up(self.own_key(node, K::Else));
        let next = docs![self.own(node, K::Else), hard_space(), self.if_else(otherwise, &line_end())];
        docs![head, around.iter().cloned(), then, around.iter().cloned(), next]
    }

    /// Returns a document on one line whatever its width; nothing if it cannot be.
    fn flat(&self, docs: &[Doc]) -> Option<Docs> {
        flat(docs)
    }
}
