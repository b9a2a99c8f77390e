//! Documentation comments (`/** … */`, RFC 145): which one belongs to a function or an attribute, and its text.
//!
//! The surprising thing: the innermost comment wins. One before `f = x: …` documents the function unless the function has a comment of its own,
//! and an outer function's comment holds for the functions that are its body.

use crate::syntax::ast::{AstNode, AstToken, Binding, DocComment, Lambda};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{ParseOptions, SyntaxNode, SyntaxToken, parse};

/// Returns the documentation of the function that begins at a byte of a text; none if there is no function or no comment.
///
/// ```
/// use nixlang::tools::documentation::of_function;
///
/// let text = "{ /** Adds one. */ next = n: n + 1; }";
/// let offset = text.find("n: n").expect("it is there");
/// assert_eq!(of_function(text, offset as u32).as_deref().map(str::trim), Some("Adds one."));
/// ```
pub fn of_function(text: &str, offset: u32) -> Option<String> {
    let parsed = parse(text, ParseOptions::default()).ok()?;
    let lambda = lambda_at(&parsed.root(), offset)?;
    of_lambda(&lambda).map(|comment| text_of(&comment))
}

/// Returns the documentation of the attribute whose path begins at a byte of a text.
///
/// ```
/// use nixlang::tools::documentation::of_attribute;
///
/// let text = "{ /** How many. */ n.max = 3; }";
/// assert_eq!(of_attribute(text, 19).as_deref().map(str::trim), Some("How many."));
/// ```
pub fn of_attribute(text: &str, offset: u32) -> Option<String> {
    let parsed = parse(text, ParseOptions::default()).ok()?;
    let token = parsed.root().token_at(offset).filter(|token| token.text_range().start == offset)?;
    let binding = token.parent()?.ancestors().find_map(Binding::cast);
    // A value stands for its attribute where the value's place is all that is known.
    let of_binding = || {
        let binding = binding?;
        let is_value = binding.value()?.syntax().text_range().start == offset;
        binding.doc_comment().filter(|_| is_value)
    };
    before(&token).or_else(of_binding).map(|comment| text_of(&comment))
}

/// Returns the comment that documents a function: its own, or that of the function or attribute whose body or value it is.
pub fn of_lambda(lambda: &Lambda) -> Option<DocComment> {
    let mut lambda = lambda.clone();
    loop {
        if let Some(comment) = lambda.syntax().first_token().and_then(|token| before(&token)) {
            return Some(comment);
        }
        // Parentheses are no expression of their own.
        let mut node = lambda.syntax().parent()?;
        while node.kind() == SyntaxKind::Paren {
            node = node.parent()?;
        }
        match node.kind() {
            SyntaxKind::Lambda => lambda = Lambda::cast(node)?,
            _ => return Binding::cast(node)?.doc_comment(),
        }
    }
}

/// Returns what a comment says: without its marks, and without the indentation that all of its lines have. What the first line lacks of the
/// indentation is counted as if the mark before it were spaces.
pub fn text_of(comment: &DocComment) -> String {
    let text = comment.text();
    let inner = text.strip_prefix("/**").unwrap_or(text);
    let inner = inner.strip_suffix("*/").unwrap_or(inner);
    if inner.is_empty() { String::new() } else { strip_indentation(&format!("   {inner}")) }
}

/// Removes the indentation that all lines have that aren't blank; every line of the result ends with a line feed.
///
/// ```
/// assert_eq!(nixlang::tools::documentation::strip_indentation("    a\n\n      b"), "a\n\n  b\n");
/// ```
pub fn strip_indentation(text: &str) -> String {
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let filled = text.lines().filter(|line| indentation(line) < line.len());
    let shared = filled.map(indentation).min().unwrap_or(usize::MAX);
    let mut stripped = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        stripped.push_str(line.get(shared..).unwrap_or_default());
        stripped.push('\n');
    }
    stripped
}

fn lambda_at(root: &SyntaxNode, offset: u32) -> Option<Lambda> {
    let token = root.token_at(offset)?;
    token.parent()?.ancestors().filter_map(Lambda::cast).find(|lambda| lambda.syntax().text_range().start == offset)
}

/// Returns the last documentation comment between a token and the one before it.
fn before(token: &SyntaxToken) -> Option<DocComment> {
    let trivia = std::iter::successors(token.prev_token(), SyntaxToken::prev_token).take_while(|token| token.kind().is_trivia());
    trivia.into_iter().find_map(DocComment::cast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let offset = text.find('§').expect("the place is marked");
        let text = text.replacen('§', "", 1);
        assert_eq!(of_function(&text, offset as u32).as_deref().map(str::trim), expected, "{text}");
    }

    #[test]
    fn functions() {
        check("/** a */ §x: x", Some("a"));
        check("{ /** a */ f = §x: x; }", Some("a"));
        check("{ /** a */ f = /** b */ §x: x; }", Some("b"));
        check("{ /** a */ f = /** b */ x: §y: x; }", Some("b"));
        check("{ /** a */ f = x: (§y: x); }", Some("a"));
        check("{ /** a */ f = /* b */ §{ ... }@x: x; }", Some("a"));
        check("{ /** a */ f = [ (§x: x) ]; }", None);
        check("{ /** a */ f = 1; g = §x: x; }", None);
        check("/**/ §x: x", None);
    }

    #[test]
    fn attributes() {
        let check = |text: &str, at: &str, expected: Option<&str>| {
            let offset = text.find(at).expect("it is there") as u32;
            assert_eq!(of_attribute(text, offset).as_deref().map(str::trim), expected, "{text}");
        };
        check("{ /** a */ b.c = 1; }", "b.c", Some("a"));
        check("{ /** a */ b = 1; d = 2; }", "d", None);
        check("{ /** a */ b = 17; }", "17", Some("a"));
    }

    #[test]
    fn indentation() {
        assert_eq!(strip_indentation("   \n  A doc\n"), " \nA doc\n");
        assert_eq!(strip_indentation("   \n    wide\n  "), "\nwide\n\n");
        assert_eq!(strip_indentation("   ü"), "ü\n");
        assert_eq!(strip_indentation("   "), "\n");
    }
}
