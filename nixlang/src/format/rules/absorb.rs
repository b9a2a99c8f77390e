//! What may begin at the end of a line instead of on a line of its own.

use super::super::comments::Trivia;
use super::super::document::{Docs, Kind, Space, docs, group, group_of, space};
use super::{Item, K, Rules, hard_space, inner, is_term, key, line, maybe, token};
use crate::syntax::tree::SyntaxNode;

impl Rules {
    /// Returns whether a term has several lines of its own: sets, lists and strings of several lines, also in parentheses.
    pub(super) fn is_absorbable(&self, node: &SyntaxNode) -> bool {
        match node.kind() {
            K::IndStringNode => self.is_indented(node) && self.string_lines(node).len() > 1,
            K::List | K::AttrSet | K::LegacyLet => {
                let (open, close) = self.brackets(node);
                !self.items(node, close).is_empty() || self.line_of(open) != self.line_of(close) || self.has_trivia(open)
            }
            K::Paren => {
                let Some(term) = inner(node).filter(is_term) else { return false };
                let only_annotations = self.before(key(&term)).iter().all(|it| matches!(it, Trivia::Annotation(_)));
                self.is_lone(key(node)) && only_annotations && self.is_absorbable(&term)
            }
            _ => false,
        }
    }

    /// Returns where the brackets or braces of a list or set stand.
    pub(super) fn brackets(&self, node: &SyntaxNode) -> (u32, u32) {
        match node.kind() {
            K::List => (self.own_key(node, K::LeftBracket), self.own_key(node, K::RightBracket)),
            _ => (self.own_key(node, K::LeftBrace), self.own_key(node, K::RightBrace)),
        }
    }

    pub(super) fn is_absorbable_term(&self, node: &SyntaxNode) -> bool {
        is_term(node) && self.is_absorbable(node)
    }

    pub(super) fn is_absorbable_expression(&self, node: &SyntaxNode) -> bool {
        match node.kind() {
            K::WithExpr => node.children().nth(1).is_some_and(|body| self.is_absorbable_term(&body)),
            K::Lambda => {
                let children: Vec<_> = node.children().collect();
                let [param, body, ..] = &children[..] else { return false };
                if param.kind() == K::IdentParam {
                    return self.is_absorbable_term(body) || (body.kind() == K::Lambda && self.is_absorbable_expression(body));
                }
                if self.is_named_pattern(param) {
                    return false;
                }
                let open = self.own_key(param, K::LeftBrace);
                self.can_flatten(param) && self.is_lone(open) && self.line_of(self.own_key(node, K::Colon)) == self.line_of(key(body)) && self.is_absorbable_expression(body)
            }
            _ => self.is_absorbable_term(node),
        }
    }

    /// Returns an absorbable expression; sets in it are expanded if `wide`.
    pub(super) fn absorb(&self, node: &SyntaxNode, wide: bool) -> Docs {
        match node.kind() {
            _ if self.is_absorbable_term(node) => {
                if wide {
                    self.term_wide(node)
                } else {
                    self.term(node)
                }
            }
            K::WithExpr if self.is_absorbable_expression(node) => self.with(node, true),
            _ => self.expression(node),
        }
    }

    /// `( … )` whose parentheses stay on the lines of what is around them.
    pub(super) fn absorb_parentheses(&self, node: &SyntaxNode) -> Docs {
        let (open, close) = (self.own_key(node, K::LeftParen), self.own_key(node, K::RightParen));
        let Some(expression) = inner(node) else { return Docs::new() };
        // Comments at the insides of the parentheses go with what is inside.
        if let Some(after) = self.take_after(open) {
            self.prepend(key(&expression), vec![Trivia::Line(format!(" {after}"))]);
        }
        let at_end = self.take_before(close);
        group_of(
            Kind::First,
            self.nest(|| {
                let open = self.own(node, K::LeftParen);
                let content = group(self.nest(|| docs![self.expression(&expression), self.trivia(&at_end)]));
                docs![open, maybe(), content, maybe(), self.own(node, K::RightParen)]
            }),
        )
    }

    /// What stands behind `=` or behind the `?` of a formal, with the space between.
    pub(super) fn right_hand_side(&self, node: &SyntaxNode) -> Docs {
        let attached = |rules: &Rules, content: &dyn Fn() -> Docs| rules.nest(|| docs![hard_space(), content()]);
        match node.kind() {
            // A set that only inherits something stays as short as it is.
            K::AttrSet | K::LegacyLet if matches!(&self.items(node, self.brackets(node).1)[..], [Item::Node(only)] if only.kind() == K::InheritBinding) => {
                attached(self, &|| group(self.absorb(node, false)))
            }
            _ if self.is_absorbable_expression(node) => attached(self, &|| group(self.absorb(node, true))),
            K::Paren => attached(self, &|| self.absorb_parentheses(node)),
            // A line of their own would not make these shorter.
            K::StringNode | K::IndStringNode | K::PathNode => attached(self, &|| group(self.expression(node))),
            K::Literal if token(node, K::Uri).is_some() => attached(self, &|| group(self.expression(node))),
            K::Apply => self.nest(|| self.application(node, false, line(), false)),
            K::WithExpr => self.nest(|| group(docs![line(), self.expression(node)])),
            K::BinaryOp => self.operation_at_right(node),
            _ if is_term(node) => self.nest(|| group(docs![line(), self.expression(node)])),
            _ => self.nest(|| docs![space(Space::Line), group(self.expression(node))]),
        }
    }
}
