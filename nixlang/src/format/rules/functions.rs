//! Functions and their patterns.

use super::super::comments::Trivia;
use super::super::document::{Docs, Kind, Role, docs, group, group_of};
use super::{K, Rules, hard_space, key, line, line_end, maybe, token};
use crate::syntax::tree::{SyntaxNode, SyntaxToken};

/// A formal of a pattern, with its comma, or `...`.
struct Formal {
    node: Option<SyntaxNode>,
    ellipsis: Option<SyntaxToken>,
    comma: Option<SyntaxToken>,
}

impl Formal {
    fn key(&self) -> u32 {
        match (&self.node, &self.ellipsis) {
            (Some(node), _) => key(node),
            (None, Some(token)) => token.text_range().start,
            (None, None) => u32::MAX,
        }
    }

    fn has_default(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.children().next().is_some())
    }

    fn comma_key(&self) -> Option<u32> {
        self.comma.as_ref().map(|comma| comma.text_range().start)
    }
}

fn formals(pattern: &SyntaxNode) -> Vec<Formal> {
    let mut formals: Vec<Formal> = Vec::new();
    for element in pattern.children_with_tokens() {
        match element.kind() {
            K::PatternEntry => formals.push(Formal { node: element.into_node(), ellipsis: None, comma: None }),
            K::Ellipsis => formals.push(Formal { node: None, ellipsis: element.into_token(), comma: None }),
            K::Comma => {
                if let Some(last) = formals.last_mut() {
                    last.comma = element.into_token();
                }
            }
            _ => {}
        }
    }
    formals
}

impl Rules {
    pub(super) fn is_named_pattern(&self, param: &SyntaxNode) -> bool {
        param.children().any(|child| child.kind() == K::PatternBind)
    }

    /// Returns whether a pattern may stand on one line: on one line in the source, without comments, up to two formals without defaults.
    pub(super) fn can_flatten(&self, pattern: &SyntaxNode) -> bool {
        let (open, close) = (self.own_key(pattern, K::LeftBrace), self.own_key(pattern, K::RightBrace));
        if self.line_of(open) != self.line_of(close) || self.has_trivia(close) {
            return false;
        }
        let formals = formals(pattern);
        if formals.iter().any(|it| self.has_trivia(it.key()) || it.comma_key().is_some_and(|comma| self.has_trivia(comma)) || self.formal_name_trivia(it)) {
            return false;
        }
        let n_names = formals.iter().filter(|it| it.node.is_some()).count();
        n_names <= 2 && !formals.iter().any(Formal::has_default)
    }

    fn formal_name_trivia(&self, formal: &Formal) -> bool {
        formal.node.as_ref().is_some_and(|node| self.has_trivia(key(node)))
    }

    pub(super) fn lambda(&self, node: &SyntaxNode) -> Docs {
        let children: Vec<_> = node.children().collect();
        let [param, body, ..] = &children[..] else { return Docs::new() };
        if param.kind() == K::IdentParam {
            let head = docs![self.own(param, K::Ident), self.own(node, K::Colon)];
            return group(docs![maybe(), head, self.lambda_body(1, body)]);
        }
        let colon_line = self.line_of(self.own_key(node, K::Colon));
        let is_same_line = colon_line == self.line_of(key(body));
        if !self.is_named_pattern(param) {
            if self.can_flatten(param) && is_same_line && self.is_absorbable_expression(body) {
                let head = docs![self.pattern(param), self.own(node, K::Colon)];
                return docs![head, hard_space(), group_of(Kind::First, self.expression(body))];
            }
            if !is_same_line {
                return docs![self.pattern(param), self.own(node, K::Colon), line_end(), self.expression(body)];
            }
        }
        let is_absorbable = self.is_absorbable_term(body);
        let head = docs![self.pattern(param), self.own(node, K::Colon)];
        docs![head, line(), if is_absorbable { group(self.term_wide(body)) } else { self.expression(body) }]
    }

    /// What follows the colon of a named parameter: further ones stay on the line.
    fn lambda_body(&self, n_params: usize, body: &SyntaxNode) -> Docs {
        let children: Vec<_> = body.children().collect();
        match &children[..] {
            [param, next, ..] if body.kind() == K::Lambda && param.kind() == K::IdentParam => {
                let head = docs![hard_space(), self.own(param, K::Ident), self.own(body, K::Colon)];
                docs![head, self.lambda_body(n_params + 1, next)]
            }
            _ if self.is_absorbable_expression(body) => docs![hard_space(), group_of(Kind::First, self.absorb(body, false))],
            _ => docs![if n_params <= 2 { line() } else { line_end() }, self.expression(body)],
        }
    }

    fn pattern(&self, param: &SyntaxNode) -> Docs {
        let Some(bind) = param.children().find(|child| child.kind() == K::PatternBind) else { return self.braces(param) };
        let at = self.own_key(&bind, K::At);
        let name = self.own_key(&bind, K::Ident);
        if name < at {
            docs![self.own(&bind, K::Ident), self.own(&bind, K::At), self.braces(param)]
        } else {
            docs![self.braces(param), self.own(&bind, K::At), self.own(&bind, K::Ident)]
        }
    }

    fn braces(&self, pattern: &SyntaxNode) -> Docs {
        let (open, close) = (self.own_key(pattern, K::LeftBrace), self.own_key(pattern, K::RightBrace));
        let formals = formals(pattern);
        if formals.is_empty() {
            let between = if self.line_of(open) == self.line_of(close) { hard_space() } else { line_end() };
            self.move_after_up(open);
            return group(docs![self.own(pattern, K::LeftBrace), between, self.own(pattern, K::RightBrace)]);
        }
        let between = if self.can_flatten(pattern) { line() } else { line_end() };
        self.move_after_up(open);
        self.move_comments(&formals);
        let n_formals = formals.len();
        let content = self.nest(|| {
            let mut out = Docs::new();
            for (i, formal) in formals.iter().enumerate() {
                if i > 0 {
                    out.extend(between.iter().cloned());
                }
                out.extend(self.formal(formal, i + 1 == n_formals));
            }
            out
        });
        let at_end = self.take_before(close);
        let at_end = self.nest(|| self.trivia(&at_end));
        group(docs![self.own(pattern, K::LeftBrace), between.clone(), content, between, at_end, self.own(pattern, K::RightBrace)])
    }

    /// Moves comments to where they belong when commas stand behind formals and not before them.
    fn move_comments(&self, formals: &[Formal]) {
        for pair in formals.windows(2) {
            if let Some(comma) = pair[0].comma_key()
                && self.after(comma).is_none()
                && !self.before(comma).iter().any(|it| matches!(it, Trivia::Disable | Trivia::Enable(_)))
            {
                let moved = self.take_before(comma);
                self.prepend(pair[1].key(), moved);
            }
        }
        for formal in formals {
            let Some(node) = &formal.node else { continue };
            // The comma that a last formal lacks is written behind its comment, by `formal`.
            if let Some(comma) = formal.comma_key().filter(|comma| self.is_lone(*comma)) {
                let after = self.take_after(self.last_key(node));
                self.change(comma, |it| it.after = after);
            }
        }
    }

    fn formal(&self, formal: &Formal, is_last: bool) -> Docs {
        let Some(node) = &formal.node else {
            return formal.ellipsis.as_ref().map(|token| self.token(token)).unwrap_or_default();
        };
        let mut comma = match (&formal.comma, formal.comma_key()) {
            (Some(token), Some(comma)) if !is_last || self.has_trivia(comma) => self.token(token),
            (Some(_), _) => self.text_as(Role::OnlyExpanded, ","),
            (None, _) => match self.take_after(self.last_key(node)) {
                Some(after) => docs![self.text(","), self.trailing(Some(after))],
                None => self.text_as(Role::OnlyExpanded, ","),
            },
        };
        let name = token(node, K::Ident).map(|token| self.token(&token)).unwrap_or_default();
        let Some(default) = node.children().next() else { return docs![name, comma] };
        // A comma that is only there in expanded form stands outside of the group of the default.
        let outside = if matches!(comma.first(), Some(super::Doc::Text { role: Role::OnlyExpanded, .. })) { std::mem::take(&mut comma) } else { Docs::new() };
        let value = self.nest(|| docs![self.own(node, K::Question), self.right_hand_side(&default)]);
        docs![group(docs![name, hard_space(), value, comma]), outside]
    }
}
