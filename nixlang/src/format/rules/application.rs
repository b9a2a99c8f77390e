//! Calls. As many arguments as possible stay on the first line, the last one may go on below, and if others than the last don't fit, each gets a line.

use super::super::comments::Trivia;
use super::super::document::{Docs, Kind, docs, group, group_of};
use super::{K, Rules, hard_space, inner, is_term, key, line, line_end, maybe, token};
use crate::syntax::tree::SyntaxNode;

/// A function and its arguments but the last. `assert` counts as a function.
enum Part {
    Node(SyntaxNode),
    /// The token at this place of this node.
    Keyword(SyntaxNode),
}

impl Part {
    fn key(&self) -> u32 {
        match self {
            Part::Node(node) | Part::Keyword(node) => key(node),
        }
    }

    fn is(&self, kind: K) -> bool {
        matches!(self, Part::Node(node) if node.kind() == kind)
    }
}

/// Lists of up to so many simple items stay on one line as arguments.
const FEW_ITEMS: usize = 6;

impl Rules {
    /// Returns a call. `before` is put into its group where it begins, and a possible line end where it ends if `open_end`.
    pub(super) fn application(&self, node: &SyntaxNode, indent_function: bool, before: Docs, open_end: bool) -> Docs {
        let mut parts: Vec<Part> = node.children().map(Part::Node).collect();
        let Some(Part::Node(last)) = parts.pop() else { return Docs::new() };
        self.call(parts, &last, indent_function, before, open_end)
    }

    /// `assert condition`.
    pub(super) fn assert_head(&self, node: &SyntaxNode, condition: &SyntaxNode) -> Docs {
        let keyword = Part::Keyword(node.clone());
        if condition.kind() != K::Apply {
            return self.call(vec![keyword], condition, false, Docs::new(), false);
        }
        let mut parts: Vec<Part> = std::iter::once(keyword).chain(condition.children().map(Part::Node)).collect();
        let Some(Part::Node(last)) = parts.pop() else { return Docs::new() };
        self.call(parts, &last, false, Docs::new(), false)
    }

    fn call(&self, parts: Vec<Part>, last: &SyntaxNode, indent_function: bool, before: Docs, open_end: bool) -> Docs {
        let is_simple = parts.len() < 3 && self.is_simple(last) && parts.iter().all(|part| matches!(part, Part::Node(node) if self.is_simple(node)));
        // A comment before the function would make all of it take several lines.
        let first = parts.first().map_or(u32::MAX, Part::key);
        self.move_after_up(first);
        let (kept, moved): (Vec<_>, Vec<_>) = self.take_before(first).into_iter().partition(|it| matches!(it, Trivia::Annotation(_)));
        self.prepend(first, kept);
        let comments = self.trivia(&moved);
        let indent_function = indent_function && moved.is_empty();
        let end = if open_end { maybe() } else { Docs::new() };
        let call = match parts.split_last() {
            Some((second, others)) if !others.is_empty() && second.is(K::List) && last.kind() == K::List => {
                let Part::Node(second) = second else { return Docs::new() };
                group(docs![
                    before,
                    group_of(Kind::Through, self.chain(others, indent_function)),
                    line(),
                    self.nest(|| group(self.argument(second))),
                    line(),
                    self.nest(|| group(self.argument(last))),
                    end,
                ])
            }
            _ => {
                let function = docs![before, group_of(Kind::Through, self.chain(&parts, indent_function))];
                match self.flat(&function).filter(|_| is_simple) {
                    Some(function) => group(docs![function, hard_space(), self.last_argument(last)]),
                    None => group(docs![function, line(), self.last_argument(last), end]),
                }
            }
        };
        docs![comments, call, if open_end && !moved.is_empty() { line_end() } else { Docs::new() }]
    }

    fn chain(&self, parts: &[Part], indent_function: bool) -> Docs {
        let Some((last, others)) = parts.split_last() else { return Docs::new() };
        if others.is_empty() {
            let write = || match last {
                Part::Node(node) => self.expression(node),
                Part::Keyword(node) => self.own(node, K::Assert),
            };
            return if indent_function { self.nest(|| group(docs![maybe(), write()])) } else { write() };
        }
        let Part::Node(argument) = last else { return Docs::new() };
        let through = |parts: &[Part]| group_of(Kind::Through, self.chain(parts, indent_function));
        match others.split_last() {
            // Otherwise only what is behind the dot would go to the next line.
            _ if argument.kind() == K::Select => docs![through(others), line(), self.nest(|| group(self.argument(argument)))],
            Some((Part::Node(before), rest)) if !rest.is_empty() && before.kind() == K::List && argument.kind() == K::List => {
                let function = through(rest);
                let lists = self.nest(|| group(docs![line(), group(self.argument(before)), line(), group(self.argument(argument))]));
                group_of(Kind::Through, docs![function, lists])
            }
            _ => docs![through(others), line(), self.nest(|| group_of(Kind::First, self.argument(argument)))],
        }
    }

    /// An argument that isn't the last.
    fn argument(&self, node: &SyntaxNode) -> Docs {
        if node.kind() == K::List {
            let items = self.items(node, self.brackets(node).1);
            let are_simple = items.iter().all(|item| matches!(item, super::Item::Comments(_)) || matches!(item, super::Item::Node(node) if self.is_simple(node)));
            if items.len() <= FEW_ITEMS && are_simple {
                return self.list(node, &items, &line());
            }
        }
        self.expression(node)
    }

    fn last_argument(&self, node: &SyntaxNode) -> Docs {
        if is_term(node) && self.is_absorbable(node) {
            return group_of(Kind::First, self.nest(|| self.term(node)));
        }
        if node.kind() != K::Paren {
            return group(self.nest(|| self.expression(node)));
        }
        if let Some(content) = inner(node) {
            let children: Vec<_> = content.children().collect();
            let (open, close) = (self.own_key(node, K::LeftParen), self.own_key(node, K::RightParen));
            match (content.kind(), &children[..]) {
                // `(x: { … })`
                (K::Lambda, [param, body]) if param.kind() == K::IdentParam && self.is_absorbable_term(body) => {
                    let colon = self.own_key(&content, K::Colon);
                    if [open, key(param), colon].iter().all(|key| self.is_lone(*key)) {
                        let write = || {
                            let head = docs![self.own(node, K::LeftParen), self.own(param, K::Ident), self.own(&content, K::Colon)];
                            docs![head, hard_space(), self.term_wide(body), self.own(node, K::RightParen)]
                        };
                        return group_of(Kind::First, self.nest(write));
                    }
                }
                // `(f { … })`
                (K::Apply, [function, body]) if function.kind() == K::Variable && self.is_absorbable_term(body) => {
                    if [open, key(function), close].iter().all(|key| self.is_lone(*key)) {
                        let write = || {
                            let head = docs![self.own(node, K::LeftParen), self.expression(function)];
                            docs![head, hard_space(), self.term_wide(body), self.own(node, K::RightParen)]
                        };
                        return group_of(Kind::First, self.nest(write));
                    }
                }
                _ => {}
            }
        }
        self.absorb_parentheses(node)
    }

    /// Returns whether something is so short that it is not worth a line of its own: a name, a number, a string, a selection, a call of such with up to
    /// two arguments.
    pub(super) fn is_simple(&self, node: &SyntaxNode) -> bool {
        match node.kind() {
            K::StringNode | K::IndStringNode | K::PathNode | K::SearchPathNode | K::Variable | K::Literal => self.is_lone(key(node)),
            K::Select => {
                let children: Vec<_> = node.children().collect();
                let [base, path] = &children[..] else { return false };
                token(node, K::Or).is_none() && self.is_simple(base) && is_plain_path(path)
            }
            K::Paren => self.is_lone(self.own_key(node, K::LeftParen)) && self.is_lone(self.own_key(node, K::RightParen)) && inner(node).is_some_and(|it| self.is_simple(&it)),
            K::Apply => node.children().count() <= 3 && node.children().all(|child| self.is_simple(&child)),
            _ => false,
        }
    }
}

/// Returns whether all names of an attribute path are identifiers.
pub(super) fn is_plain_path(path: &SyntaxNode) -> bool {
    path.children().all(|attr| attr.kind() == K::Name)
}
