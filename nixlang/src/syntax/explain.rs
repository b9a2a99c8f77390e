//! Syntax errors in words for people, as data: what is missing or wrong, where, and why.
//!
//! The reference says where its parser noticed something (`syntax error, unexpected '}', expecting
//! ';'`, at the brace). Here the same errors are told from what was open at that moment: a missing
//! `;` is missing *after the value*, so that is where the message points.
//!
//! The surprising thing: the commonest slip is a forgotten `;` with another binding on the next
//! line, whose name has become an argument of the value before the parser notices. So a missing
//! `;` before a `=` is looked for at the end of an earlier line.

use super::ast::{AstNode, Binding};
use super::error::{SyntaxError, SyntaxErrorKind};
use super::kind::SyntaxKind;
use super::tree::{ErrorContext, Parse, SyntaxElement, SyntaxNode, SyntaxToken, TextRange};
use super::validation::{ValidationError, ValidationErrorKind, validate};

use SyntaxKind as K;

/// A place that matters for an error, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The place.
    pub range: TextRange,
    /// What it is.
    pub message: String,
}

/// An error in words for people. Lower case, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong.
    pub message: String,
    /// Where: the text that is wrong, or nothing at the place where something is missing.
    pub range: TextRange,
    /// Other places that matter.
    pub notes: Vec<Note>,
    /// What may help.
    pub hint: Option<String>,
}

impl Explanation {
    fn new(message: impl Into<String>, range: TextRange) -> Explanation {
        Explanation { message: message.into(), range, notes: Vec::new(), hint: None }
    }

    fn note(mut self, range: TextRange, message: impl Into<String>) -> Explanation {
        self.notes.push(Note { range, message: message.into() });
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Explanation {
        self.hint = Some(hint.into());
        self
    }
}

impl Parse {
    /// Returns everything that is wrong in words for people, in the order of the text: what the
    /// parser found, and what only a look at the whole tree can find.
    ///
    /// ```
    /// use nixlang::syntax::tree::{parse, ParseOptions, TextRange};
    ///
    /// let parsed = parse("{ a = 1\n}", ParseOptions::default())?;
    /// let explanation = &parsed.explain()[0];
    /// assert_eq!(explanation.message, "missing `;` after the value of `a`");
    /// assert_eq!(explanation.range, TextRange::empty(7));
    /// # Ok::<(), nixlang::syntax::tree::ParseError>(())
    /// ```
    pub fn explain(&self) -> Vec<Explanation> {
        let root = self.root();
        let errors = self.errors().iter().zip(&self.contexts);
        let mut all: Vec<_> =
            errors.map(|(error, context)| explain(&root, error, *context)).collect();
        all.extend(validate(&root).into_iter().map(explain_validation));
        all.sort_by_key(|explanation| explanation.range);
        all
    }
}

fn explain_validation(error: ValidationError) -> Explanation {
    let message = error.kind.to_string().replace('\'', "`");
    let it = Explanation::new(message, error.range);
    match error.kind {
        ValidationErrorKind::DuplicateAttribute { previous, .. } => {
            it.note(previous, "it is defined here")
        }
        ValidationErrorKind::DuplicateFormal { previous, .. } => it.note(previous, "it is here"),
        ValidationErrorKind::DynamicInLet => {
            it.hint("names after `let` must be known before anything is evaluated")
        }
        ValidationErrorKind::DynamicInInherit => {
            it.hint("write `${name} = source.${name};` instead")
        }
    }
}

fn explain(root: &SyntaxNode, error: &SyntaxError, context: ErrorContext) -> Explanation {
    let site = Site::new(root, error, context);
    match &error.kind {
        SyntaxErrorKind::Unexpected { found, expected } => site.unexpected(*found, expected),
        SyntaxErrorKind::InvalidInteger { text } => {
            let message = format!("the integer `{text}` is too large");
            Explanation::new(message, site.token).hint("the largest is 9223372036854775807")
        }
        SyntaxErrorKind::InvalidFloat { text } => {
            let message = format!("the number `{text}` is too large or too small");
            Explanation::new(message, site.token)
        }
        SyntaxErrorKind::PipeOperatorsDisabled => {
            Explanation::new("the pipe operators are experimental", site.token)
                .hint("they need the experimental feature `pipe-operators`")
        }
        SyntaxErrorKind::PathTrailingSlash => {
            Explanation::new("a path can't end with `/`", site.whole())
        }
        SyntaxErrorKind::NulInString { .. } => {
            Explanation::new("a string can't contain a NUL byte", site.token)
        }
        SyntaxErrorKind::TooDeep => {
            Explanation::new("expressions are nested too deeply", TextRange::empty(error.position))
        }
    }
}

/// Where an error is.
struct Site<'t> {
    root: &'t SyntaxNode,
    context: ErrorContext,
    /// The token that the error is about; empty at the end of the text.
    token: TextRange,
    text: String,
}

impl<'t> Site<'t> {
    fn new(root: &'t SyntaxNode, error: &SyntaxError, context: ErrorContext) -> Site<'t> {
        let token = root.token_at(error.position);
        let range = token.as_ref().map(SyntaxToken::text_range);
        Site {
            root,
            context,
            token: range.unwrap_or(TextRange::empty(error.position)),
            text: token.map(|token| token.text().to_owned()).unwrap_or_default(),
        }
    }

    /// Returns the place after the last token before the error.
    fn before(&self) -> TextRange {
        TextRange::empty(self.context.previous_end)
    }

    fn missing(&self, what: impl std::fmt::Display) -> Explanation {
        Explanation::new(format!("missing {what}"), self.before())
    }

    /// Returns the node that was open, which has ended since.
    fn node(&self) -> Option<SyntaxNode> {
        let end = self.context.previous_end.max(self.context.start);
        let range = TextRange { start: self.context.start, end };
        let mut node = match self.root.covering_element(range)? {
            SyntaxElement::Node(node) => Some(node),
            SyntaxElement::Token(token) => token.parent(),
        };
        while let Some(it) = node {
            if it.kind() == self.context.node && it.text_range().start == self.context.start {
                return Some(it);
            }
            node = it.parent();
        }
        None
    }

    /// Returns the range from the beginning of the open node to the token.
    fn whole(&self) -> TextRange {
        TextRange {
            start: self.context.start,
            end: self.token.start.max(self.context.previous_end),
        }
    }

    /// Returns the first token of the open node.
    fn opening(&self) -> TextRange {
        let token = self.root.token_at(self.context.start);
        token.map_or(TextRange::empty(self.context.start), |token| token.text_range())
    }

    /// Returns the range of the first token of this kind in the open node.
    fn token_of(&self, kind: SyntaxKind) -> TextRange {
        let token = self.node().and_then(|node| node.token(kind));
        token.map_or(self.opening(), |token| token.text_range())
    }

    /// Returns the last token before the error that isn't trivia.
    fn previous(&self) -> Option<SyntaxToken> {
        self.root.token_before(self.context.previous_end)
    }

    fn unexpected(&self, found: SyntaxKind, expected: &[SyntaxKind]) -> Explanation {
        match (self.context.node, expected) {
            (K::Binding, [K::Semicolon]) => self.semicolon_after_value(found),
            (K::Binding, [K::Dot, K::Assign]) => self.assign_after_name(found),
            (K::InheritBinding, []) => self.after_inherit(found),
            (K::WithExpr, [K::Semicolon]) => {
                self.missing("`;` after the scope of `with`").note(self.opening(), "this `with`")
            }
            (K::AssertExpr, [K::Semicolon]) => self
                .missing("`;` after the condition of `assert`")
                .note(self.opening(), "this `assert`"),
            (K::IfElse, [K::Then]) => {
                self.missing("`then` after the condition").note(self.opening(), "this `if`")
            }
            (K::IfElse, [K::Else]) => self
                .missing("`else`")
                .note(self.opening(), "this `if`")
                .hint("an `if` is an expression and always has both branches"),
            (K::LetIn, [K::In, ..]) => self.in_after_let(found),
            (K::Lambda, [K::Colon, ..]) => self.missing("`:` after the parameter of a function"),
            (K::Pattern, [K::LeftBrace]) => self
                .missing("`{` after `@`")
                .hint("`@` gives a name to a whole argument: `args@{ a, b }: …`"),
            (K::PatternBind, _) => self.missing("name after `@`"),
            (K::Pattern, _) => self.in_pattern(found),
            (K::Paren | K::InheritFrom, [K::RightParen]) => self.unclosed(found, "`)`"),
            (K::Interpolation | K::DynamicAttr, [K::RightBrace]) => self.unclosed(found, "`}`"),
            (K::StringNode, [K::Quote]) => self.unclosed(found, "`\"`"),
            (K::IndStringNode, [_, _, K::IndStringClose]) => self.unclosed(found, "`''`"),
            (K::List, []) => self.in_list(found),
            (K::AttrSet | K::LegacyLet, [K::LeftBrace]) => {
                self.missing(format_args!("`{{` after `{}`", self.previous_text()))
            }
            (K::AttrSet | K::LegacyLet, [K::Inherit, ..]) => self.in_set(found),
            (K::AttrPath, _) => self.in_attr_path(found),
            (K::PathNode, [K::DollarBrace]) => {
                Explanation::new("a path can't contain `//`", self.whole())
            }
            (K::Root, [K::Eof]) => self.after_the_end(found),
            _ if found == K::Error => self.unknown_character(),
            _ => self.no_expression(found),
        }
    }

    fn previous_text(&self) -> String {
        self.previous().map(|token| token.text().to_owned()).unwrap_or_default()
    }

    /// Returns how to call the token.
    fn found(&self, found: SyntaxKind) -> String {
        match found {
            K::Eof => "the end of the file".to_owned(),
            K::IndStringOpen => "`''`".to_owned(),
            _ if self.text.contains('\n') => found.name().replace('\'', "`"),
            _ => format!("`{}`", self.text),
        }
    }

    /// Returns whether the token after this one is a `=`.
    fn is_before_assign(&self) -> bool {
        let mut next = self.root.token_at(self.token.end);
        while let Some(token) = next.take_if(|token| token.kind().is_trivia()) {
            next = token.next_token();
        }
        next.is_some_and(|token| token.kind() == K::Assign)
    }

    fn unknown_character(&self) -> Explanation {
        if self.text == "\u{feff}" {
            return Explanation::new("a source can't begin with a byte order mark", self.token);
        }
        let shown = self.text.escape_debug();
        Explanation::new(format!("`{shown}` can't stand in an expression"), self.token)
    }

    /// Returns the binding that is open, and what to call it.
    fn binding(&self) -> (Option<Binding>, String) {
        let binding = self.node().and_then(Binding::cast);
        let path = binding.as_ref().and_then(Binding::attr_path);
        let name = path.map(|path| path.syntax().to_string()).filter(|name| !name.contains('\n'));
        (binding, name.map_or("an attribute".to_owned(), |name| format!("`{name}`")))
    }

    fn semicolon_after_value(&self, found: SyntaxKind) -> Explanation {
        let (binding, name) = self.binding();
        let mut it = self.missing(format_args!("`;` after the value of {name}"));
        if found == K::Assign
            && let Some(end) = binding.and_then(|binding| self.end_of_earlier_line(&binding))
        {
            it.range = TextRange::empty(end);
        }
        match found {
            K::Comma => it.hint("bindings end with `;`, not with `,`"),
            K::Error => self.unknown_character(),
            _ => it,
        }
    }

    /// Returns where the last line of a value ends, if the name of the next binding has been taken
    /// for the end of the value.
    fn end_of_earlier_line(&self, binding: &Binding) -> Option<u32> {
        let assign = binding.assign_token()?.text_range().end;
        let mut token = self.previous()?;
        loop {
            // Only what may be a part of a name is skipped.
            let is_name =
                matches!(token.kind(), K::Ident | K::Dot | K::Or | K::Quote | K::StringContent);
            if !is_name {
                return None;
            }
            let mut line_ends = false;
            let mut before = token.prev_token()?;
            while before.kind().is_trivia() {
                line_ends |= before.text().contains('\n');
                before = before.prev_token()?;
            }
            if before.text_range().end <= assign {
                return None;
            }
            if line_ends {
                return Some(before.text_range().end);
            }
            token = before;
        }
    }

    fn assign_after_name(&self, found: SyntaxKind) -> Explanation {
        let (_, name) = self.binding();
        match found {
            K::Colon => Explanation::new(format!("`:` after the attribute {name}"), self.token)
                .hint("attributes are written `name = value;`"),
            K::Error => self.unknown_character(),
            _ => {
                let it = self.missing(format_args!("`=` after the attribute {name}"));
                let around = self.node().and_then(|node| node.parent());
                if around.is_some_and(|node| node.kind() == K::LetIn) {
                    it.hint("or `in` is missing before it")
                } else {
                    it
                }
            }
        }
    }

    fn after_inherit(&self, found: SyntaxKind) -> Explanation {
        match found {
            K::Comma => Explanation::new("`,` between names after `inherit`", self.token)
                .hint("names after `inherit` are separated by spaces"),
            K::Dot => Explanation::new("`.` in a name after `inherit`", self.token)
                .hint("write `inherit (a) b;` for `b = a.b;`"),
            K::Error => self.unknown_character(),
            _ => self
                .missing("`;` after the names of `inherit`")
                .note(self.opening(), "this `inherit`"),
        }
    }

    fn in_after_let(&self, found: SyntaxKind) -> Explanation {
        match found {
            K::Error => self.unknown_character(),
            K::Comma => Explanation::new("`,` after `let`", self.token)
                .hint("bindings end with `;`, not with `,`"),
            K::Semicolon => Explanation::new("`;` after `let` without a binding", self.token),
            _ => {
                self.missing("`in` after the bindings of `let`").note(self.opening(), "this `let`")
            }
        }
    }

    fn in_pattern(&self, found: SyntaxKind) -> Explanation {
        match found {
            K::Eof => self.unclosed(found, "`}`"),
            K::Ident | K::Ellipsis => self.missing("`,` between the parameters of a function"),
            K::Comma => Explanation::new("`,` without a parameter before it", self.token),
            K::Semicolon | K::Assign => {
                let message = format!("{} in the parameters of a function", self.found(found));
                Explanation::new(message, self.token)
                    .hint("parameters are separated by `,`; a default is written `name ? value`")
            }
            K::Error => self.unknown_character(),
            _ => {
                let message = format!("{} in the parameters of a function", self.found(found));
                Explanation::new(message, self.token)
            }
        }
    }

    fn unclosed(&self, found: SyntaxKind, closing: &str) -> Explanation {
        if found == K::Error && self.token.len() > 0 {
            return self.unknown_character();
        }
        // A pattern may begin with the name of the whole argument.
        let opening = match self.context.node {
            K::Pattern => self.token_of(K::LeftBrace),
            _ => self.opening(),
        };
        let text = self.root.token_at(opening.start).map(|token| token.text().trim().to_owned());
        let note = format!("this `{}` is open", text.unwrap_or_default());
        let it = self.missing(closing).note(opening, note);
        if found == K::Colon {
            it.hint("the parameters of a function are written `name:` or `{ a, b }:`")
        } else {
            it
        }
    }

    fn in_list(&self, found: SyntaxKind) -> Explanation {
        let opening = self.opening();
        match found {
            K::Comma => Explanation::new("`,` in a list", self.token)
                .hint("elements are separated by spaces"),
            K::Error => self.unknown_character(),
            K::Eof | K::RightParen | K::RightBrace | K::Semicolon | K::Then | K::Else | K::In => {
                self.missing("`]`").note(opening, "this `[` is open")
            }
            _ => {
                let message = format!("{} in a list", self.found(found));
                Explanation::new(message, self.token)
                    .note(opening, "this is the list")
                    .hint("put an element that isn't a simple expression in parentheses")
            }
        }
    }

    fn in_set(&self, found: SyntaxKind) -> Explanation {
        let opening = self.token_of(K::LeftBrace);
        match found {
            K::Then | K::Else | K::In if self.is_before_assign() => {
                let it = Explanation::new(format!("`{}` as a name", self.text), self.token);
                self.hint_at_keyword(it)
            }
            K::Eof | K::RightParen | K::RightBracket | K::Then | K::Else | K::In => {
                self.missing("`}`").note(opening, "this `{` is open")
            }
            K::Semicolon => Explanation::new("`;` without a binding before it", self.token),
            K::Comma => Explanation::new("`,` in a set", self.token)
                .hint("bindings end with `;`, not with `,`"),
            K::Error => self.unknown_character(),
            _ => {
                let message = format!("{} where a name or `inherit` should be", self.found(found));
                let it = Explanation::new(message, self.token).note(opening, "in this set");
                self.hint_at_keyword(it)
            }
        }
    }

    fn in_attr_path(&self, found: SyntaxKind) -> Explanation {
        let it = match self.previous() {
            _ if found == K::Error => return self.unknown_character(),
            Some(token) => self.missing(format_args!("attribute name after `{}`", token.text())),
            None => self.missing("attribute name"),
        };
        self.hint_at_keyword(it)
    }

    fn hint_at_keyword(&self, it: Explanation) -> Explanation {
        if SyntaxKind::keyword(self.text.as_bytes()).is_some() {
            it.hint(format!("`{0}` is a keyword; write `\"{0}\"` for the name", self.text))
        } else {
            it
        }
    }

    fn after_the_end(&self, found: SyntaxKind) -> Explanation {
        let it = Explanation::new(
            format!("{} after the end of the expression", self.found(found)),
            self.token,
        );
        match found {
            K::Assign => it.hint("bindings stand in `{ … }` or between `let` and `in`"),
            K::Semicolon => it.hint("a file is one expression, without `;` at its end"),
            K::RightParen | K::RightBrace | K::RightBracket => {
                it.hint(format!("nothing is open that `{}` could close", self.text))
            }
            K::Colon => it.hint("a function with several parameters is written `a: b: …`"),
            K::Error => self.unknown_character(),
            _ => it,
        }
    }

    /// Tells of an expression that should be here and isn't.
    fn no_expression(&self, found: SyntaxKind) -> Explanation {
        let previous = self.previous();
        let after = previous.as_ref().map(SyntaxToken::kind);
        let is_comparison = |kind: SyntaxKind| {
            let equal = matches!(kind, K::EqEq | K::NotEq);
            equal || matches!(kind, K::Less | K::LessEq | K::Greater | K::GreaterEq)
        };
        let ends_operand = after.is_some_and(|kind| {
            matches!(kind, K::Ident | K::Integer | K::Float | K::Quote | K::IndStringClose)
                || matches!(kind, K::RightParen | K::RightBrace | K::RightBracket | K::Path)
        });
        if is_comparison(found) && ends_operand {
            return Explanation::new(
                format!("{} after another comparison", self.found(found)),
                self.token,
            )
            .hint("comparisons can't be chained: put one of them in parentheses");
        }
        let what = match after {
            None => "expression".to_owned(),
            Some(K::Assign) => {
                let (_, name) = self.binding();
                format!("value of {name}")
            }
            Some(K::LeftParen) => "expression in the parentheses".to_owned(),
            Some(K::DollarBrace) => "expression in `${…}`".to_owned(),
            Some(K::Colon) => "body of the function".to_owned(),
            Some(K::In) => "expression after `in`".to_owned(),
            Some(_) => format!("expression after `{}`", self.previous_text()),
        };
        let stops = matches!(
            found,
            K::Eof | K::RightParen | K::RightBrace | K::RightBracket | K::Semicolon | K::Comma
        ) || matches!(found, K::Then | K::Else | K::In | K::Quote | K::IndStringClose);
        if stops {
            return self.missing(what);
        }
        let message = format!("{} where an expression should be", self.found(found));
        Explanation::new(message, self.token)
    }
}
