//! Operators. A chain of one operator is one group with an operand per line; operands of another operator are indented.

use super::super::document::{Docs, Kind, docs, group, group_of};
use super::{K, Rules, hard_space, is_term, key, line, line_end, soft_line, tokens};
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

/// Pipes of more steps than this have a line for each.
const MAX_PIPE: usize = 3;

fn operator(node: &SyntaxNode) -> Option<SyntaxToken> {
    tokens(node).into_iter().next()
}

fn operator_kind(node: &SyntaxNode) -> Option<K> {
    if node.kind() == K::BinaryOp { operator(node).map(|token| token.kind()) } else { None }
}

/// Collects the operands of a chain, each with the operator before it.
fn operands(node: &SyntaxNode, kind: K, before: Option<SyntaxToken>, out: &mut Vec<(Option<SyntaxToken>, SyntaxNode)>) {
    let children: Vec<_> = node.children().collect();
    match &children[..] {
        [left, right] if operator_kind(node) == Some(kind) => {
            operands(left, kind, before, out);
            operands(right, kind, operator(node), out);
        }
        _ => out.push((before, node.clone())),
    }
}

fn chain(node: &SyntaxNode) -> Vec<(Option<SyntaxToken>, SyntaxNode)> {
    let mut out = Vec::new();
    if let Some(kind) = operator_kind(node) {
        operands(node, kind, None, &mut out);
    }
    out
}

/// Returns the left operand as if `+` associated to the right, like the other operators of concatenation, and whether the right one is a single
/// operand then.
fn sides(node: &SyntaxNode) -> Option<(SyntaxNode, K, Option<SyntaxNode>)> {
    let kind = operator_kind(node)?;
    let children: Vec<_> = node.children().collect();
    let [left, right] = &children[..] else { return None };
    if kind == K::Plus && operator_kind(left) == Some(K::Plus) {
        let first = chain(left).into_iter().next()?.1;
        return Some((first, kind, None));
    }
    Some((left.clone(), kind, Some(right.clone())))
}

impl Rules {
    pub(super) fn operation(&self, node: &SyntaxNode) -> Docs {
        let children: Vec<_> = node.children().collect();
        let ([left, right], Some(operator)) = (&children[..], operator(node)) else { return Docs::new() };
        match operator.kind() {
            K::Less | K::Greater | K::LessEq | K::GreaterEq | K::EqEq | K::NotEq => {
                docs![self.expression(left), soft_line(), self.token(&operator), hard_space(), self.expression(right)]
            }
            _ => self.operators(node, false),
        }
    }

    /// A chain of one operator; its first operand is expanded if `wide`.
    fn operators(&self, node: &SyntaxNode, wide: bool) -> Docs {
        let operands = chain(node);
        let is_pipe = matches!(operator_kind(node), Some(K::PipeFrom | K::PipeInto));
        let between = if is_pipe && operands.len() > MAX_PIPE { line_end() } else { line() };
        let mut out = Docs::new();
        for (operator, operand) in &operands {
            match operator {
                None if wide && self.is_absorbable_term(operand) => out.extend(self.term_wide(operand)),
                None => out.extend(self.expression(operand)),
                Some(operator) => {
                    out.extend(between.iter().cloned());
                    self.move_after_up(operator.text_range().start);
                    out.extend(self.token(operator));
                    out.extend(self.nest(|| self.operand(operand)));
                }
            }
        }
        group(out)
    }

    /// An operand behind its operator.
    fn operand(&self, node: &SyntaxNode) -> Docs {
        match node.kind() {
            _ if self.is_absorbable_term(node) => docs![hard_space(), self.expression(node)],
            K::BinaryOp => group(docs![line(), self.expression(node)]),
            K::Apply => group(docs![hard_space(), self.application(node, false, line(), false)]),
            _ => docs![hard_space(), self.expression(node)],
        }
    }

    /// An operation behind `=`.
    pub(super) fn operation_at_right(&self, node: &SyntaxNode) -> Docs {
        if let Some((left, K::Update | K::Concat | K::Plus, right)) = sides(node) {
            if self.is_absorbable_term(&left) && self.before(key(&left)).is_empty() {
                return docs![hard_space(), self.operators(node, true)];
            }
            if let (Some(right), Some(operator)) = (right.filter(is_term), operator(node))
                && self.is_lone(operator.text_range().start)
                && self.is_absorbable(&right)
            {
                return self.nest(|| {
                    let left = docs![line(), self.expression(&left), line()];
                    let right = docs![self.token(&operator), hard_space(), group_of(Kind::First, self.term_wide(&right))];
                    group(docs![left, group_of(Kind::Through, right)])
                });
            }
        }
        self.nest(|| docs![line(), group(self.expression(node))])
    }
}
