//! Terms: what needs no parentheses as an item of a list.

use super::super::document::{Docs, docs, group};
use super::{Item, K, Rules, hard_space, inner, is_term, key, line_end, maybe, soft_break, soft_line, token};
use crate::syntax::tree::SyntaxNode;

impl Rules {
    /// As [`Rules::term`], with sets expanded.
    pub(super) fn term_wide(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            K::AttrSet | K::LegacyLet => self.set(node, true),
            _ => self.term(node),
        }
    }

    /// A term, without a group around it.
    pub(super) fn term(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            K::StringNode => self.with_comments(key(node), self.simple_string(&self.string_lines(node))),
            K::IndStringNode if !self.is_indented(node) => self.with_comments(key(node), self.simple_string(&self.simplified_lines(node))),
            K::IndStringNode => self.with_comments(key(node), self.indented_string(&self.string_lines(node))),
            K::PathNode => self.with_comments(key(node), self.path(node)),
            K::Select => self.select(node),
            K::AttrSet | K::LegacyLet => self.set(node, false),
            K::Paren | K::InheritFrom => self.parentheses(node),
            K::List => {
                let (open, close) = self.brackets(node);
                let items: Vec<Item> = self.items(node, close);
                if items.is_empty() && self.after(open).is_none() {
                    let between = if self.line_of(open) == self.line_of(close) { hard_space() } else { line_end() };
                    return docs![self.own(node, K::LeftBracket), between, self.own(node, K::RightBracket)];
                }
                self.list(node, &items, &line_end())
            }
            K::Literal if token(node, K::Uri).is_some() => {
                let text = token(node, K::Uri).map(|token| token.text().to_owned()).unwrap_or_default();
                self.with_comments(key(node), group(self.text(&format!("\"{text}\""))))
            }
            _ => node.tokens().filter(|token| !token.kind().is_trivia()).flat_map(|token| self.token(&token)).collect(),
        }
    }

    fn select(&self, node: &SyntaxNode) -> Docs {
        let children: Vec<_> = node.children().collect();
        let [base, path, rest @ ..] = &children[..] else { return Docs::new() };
        let between = match base.kind() {
            // `1 .a`, not `1.a`.
            K::Literal if token(base, K::Uri).is_none() => hard_space(),
            // A dot would belong to the path.
            K::PathNode => hard_space(),
            K::Variable | K::SearchPathNode => Docs::new(),
            K::Paren => soft_break(),
            _ => maybe(),
        };
        let base = self.expression(base);
        let dot = self.own(node, K::Dot);
        let path = self.attr_path(path);
        let default = rest.first().map(|default| docs![soft_line(), self.nest(|| docs![self.own(node, K::Or), hard_space(), self.expression(default)])]);
        docs![base, between, dot, path, default.unwrap_or_default()]
    }

    fn parentheses(&self, node: &SyntaxNode) -> Docs {
        let Some(content) = inner(node) else { return Docs::new() };
        self.move_after_up(self.own_key(node, K::LeftParen));
        let at_end = self.take_before(self.own_key(node, K::RightParen));
        let open = self.own(node, K::LeftParen);
        let content = self.nest(|| docs![self.enclosed_expression(&content), self.trivia(&at_end)]);
        group(docs![open, content, self.own(node, K::RightParen)])
    }

    /// An expression in parentheses or alone in an interpolation.
    pub(super) fn enclosed_expression(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            _ if self.is_absorbable_expression(node) => group(self.absorb(node, false)),
            K::Apply => self.application(node, true, Docs::new(), true),
            K::Select => {
                let base_is_absorbable = inner(node).is_some_and(|base| is_term(&base) && self.is_absorbable(&base));
                let selection = group(self.expression(node));
                if base_is_absorbable { docs![maybe(), selection, maybe()] } else { docs![selection, maybe()] }
            }
            _ => docs![maybe(), group(self.expression(node)), maybe()],
        }
    }
}
