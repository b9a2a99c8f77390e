//! Sets, lists and what stands in them.

use super::super::document::{Docs, Kind, docs, group, group_of};
use super::application::is_plain_path;
use super::{Item, K, Rules, hard_space, key, line, line_end, maybe, token};
use crate::syntax::tree::SyntaxNode;

/// More names than this behind `inherit` have a line each.
const FEW_NAMES: usize = 3;
/// Attribute paths up to this length leave the value on their line.
const SHORT_PATH: usize = 4;

impl Rules {
    /// A set; with `wide` one with anything in it is expanded.
    pub(super) fn set(&self, node: &SyntaxNode, wide: bool) -> Docs {
        let keyword = [K::Rec, K::Let].into_iter().find_map(|kind| token(node, kind));
        let keyword = keyword.map(|token| docs![self.token(&token), hard_space()]).unwrap_or_default();
        let (open, close) = self.brackets(node);
        let items = self.items(node, close);
        let is_spread = self.line_of(open) != self.line_of(close);
        if items.is_empty() && self.is_lone(open) {
            let between = if is_spread { line_end() } else { hard_space() };
            return docs![keyword, self.own(node, K::LeftBrace), between, self.own(node, K::RightBrace)];
        }
        let around = if is_spread || (wide && !items.is_empty()) { line_end() } else { line() };
        self.enclosed(node, keyword, (K::LeftBrace, K::RightBrace), &items, around, &line_end())
    }

    pub(super) fn list(&self, node: &SyntaxNode, items: &[Item], between: &Docs) -> Docs {
        let (open, close) = self.brackets(node);
        let is_spread = self.line_of(open) != self.line_of(close);
        let only_comments = !items.is_empty() && items.iter().all(|item| matches!(item, Item::Comments(_)));
        let around = if is_spread || only_comments || (self.has_trivia(open) && items.is_empty()) {
            line_end()
        } else if items.is_empty() {
            hard_space()
        } else {
            line()
        };
        self.enclosed(node, Docs::new(), (K::LeftBracket, K::RightBracket), items, around, between)
    }

    fn enclosed(&self, node: &SyntaxNode, keyword: Docs, (open, close): (K, K), items: &[Item], around: Docs, between: &Docs) -> Docs {
        // The comment behind the opening bracket goes in.
        let after = self.take_after(self.own_key(node, open));
        let content = self.nest(|| docs![self.trailing(after), self.render_items(between, items)]);
        docs![keyword, self.own(node, open), around.clone(), content, around, self.own(node, close)]
    }

    pub(super) fn binding(&self, node: &SyntaxNode) -> Docs {
        let children: Vec<_> = node.children().collect();
        let [path, value, ..] = &children[..] else { return Docs::new() };
        let is_short = path.children().count() <= SHORT_PATH && is_plain_path(path);
        let left = self.attr_path(path);
        let right = self.nest(|| {
            let assign = docs![hard_space(), self.own(node, K::Assign)];
            let value = self.right_hand_side(value);
            docs![assign, if is_short { value } else { docs![maybe(), group_of(Kind::First, value)] }]
        });
        group(docs![left, right, self.own(node, K::Semicolon)])
    }

    pub(super) fn inherit(&self, node: &SyntaxNode) -> Docs {
        let source = node.children().find(|child| child.kind() == K::InheritFrom);
        let names: Vec<_> = node.children().filter(|child| child.kind() != K::InheritFrom).collect();
        let (begin, end) = (self.own_key(node, K::Inherit), self.own_key(node, K::Semicolon));
        let is_flat = self.line_of(begin) == self.line_of(end) && names.len() <= FEW_NAMES;
        let (between, last) = if is_flat { (line(), maybe()) } else { (line_end(), line_end()) };
        let list = || {
            let mut out = Docs::new();
            for (i, name) in names.iter().enumerate() {
                if i > 0 {
                    out.extend(between.iter().cloned());
                }
                out.extend(self.attr(name));
            }
            docs![out, last.clone(), self.own(node, K::Semicolon)]
        };
        let keyword = self.own(node, K::Inherit);
        group(match &source {
            None => docs![keyword, between.clone(), self.nest(list)],
            Some(source) => docs![keyword, self.nest(|| docs![group(docs![line(), self.term(source)]), between.clone(), list()])],
        })
    }

    pub(super) fn attr_path(&self, path: &SyntaxNode) -> Docs {
        path.children_with_tokens()
            .flat_map(|element| match element.kind() {
                K::Dot => element.into_token().map(|dot| self.token(&dot)).unwrap_or_default(),
                _ => element.into_node().map(|attr| self.attr(&attr)).unwrap_or_default(),
            })
            .collect()
    }

    pub(super) fn attr(&self, attr: &SyntaxNode) -> Docs {
        match attr.kind() {
            K::StringNode => self.with_comments(key(attr), self.simple_string(&self.string_lines(attr))),
            K::DynamicAttr => self.with_comments(key(attr), self.interpolation(attr)),
            _ => attr.tokens().filter(|token| !token.kind().is_trivia()).flat_map(|token| self.token(&token)).collect(),
        }
    }
}
