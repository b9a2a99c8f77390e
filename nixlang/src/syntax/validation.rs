//! Errors that the grammar can't say: names bound twice, and computed names where none may be.
//!
//! (Numbers that are out of range and the like are the lexer's; variables that nothing defines are
//! the resolver's.)
//!
//! The surprising thing: sets that are written in pieces are merged, so `{ a.b = 1; a = { c = 2; }; }`
//! is right and `{ a.b = 1; a = { b = 2; }; }` is wrong; parentheses around a set don't matter.
//! Inner sets come before outer ones, as in the reference.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use super::ast::{
    AstNode, AstToken, Attr, AttrPath, AttrSet, Entry, Expr, Lambda, LegacyLet, LetIn, Param, Root,
};
use super::kind::SyntaxKind;
use super::lexer::{LexOptions, Token, lex};
use super::tree::{SyntaxNode, TextRange, WalkEvent};

/// An error that the grammar can't say, and the text that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ValidationError {
    /// What is wrong.
    pub kind: ValidationErrorKind,
    /// Where.
    pub range: TextRange,
}

/// What the grammar can't say. The words are the reference's, without the positions that it
/// mentions within them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationErrorKind {
    /// A name that is bound twice in one set or `let`.
    #[error("attribute '{path}' already defined")]
    DuplicateAttribute {
        /// The attribute path.
        path: String,
        /// Where it was defined before.
        previous: TextRange,
    },
    /// A name that occurs twice in a pattern.
    #[error("duplicate formal function argument '{name}'")]
    DuplicateFormal {
        /// The name.
        name: String,
        /// Where it occurs first.
        previous: TextRange,
    },
    /// `let ${e} = …`.
    #[error("dynamic attributes not allowed in let")]
    DynamicInLet,
    /// `inherit ${e}`.
    #[error("dynamic attributes not allowed in inherit")]
    DynamicInInherit,
}

/// Returns what is wrong in a tree beside what the parser has said, in the order of the text as
/// far as inner sets allow.
pub fn validate(root: &SyntaxNode) -> Vec<ValidationError> {
    let mut validator = Validator::default();
    for event in root.preorder() {
        let WalkEvent::Leave(element) = event else {
            continue;
        };
        let Some(node) = element.into_node() else {
            continue;
        };
        // Names first: a node has one kind, so at most one of these holds.
        if let Some(set) = AttrSet::cast(node.clone()) {
            let id = validator.entries(set.entries(), false);
            validator.literals.insert(node.text_range().start, id);
        } else if let Some(set) = LegacyLet::cast(node.clone()) {
            validator.entries(set.entries(), false);
        } else if let Some(bindings) = LetIn::cast(node.clone()) {
            validator.entries(bindings.entries(), true);
        } else if let Some(root) = Root::cast(node.clone()) {
            validator.entries(root.entries(), false);
        } else if let Some(lambda) = Lambda::cast(node) {
            validator.formals(&lambda);
        }
    }
    validator.errors
}

/// An attribute: where it was bound, and its set if it is a literal one.
#[derive(Clone, Copy)]
struct Attribute {
    range: TextRange,
    set: Option<usize>,
}

#[derive(Default)]
struct Validator {
    sets: Vec<BTreeMap<String, Attribute>>,
    /// The sets of literals, by where those start.
    literals: BTreeMap<u32, usize>,
    errors: Vec<ValidationError>,
}

impl Validator {
    fn new_set(&mut self) -> usize {
        self.sets.push(BTreeMap::new());
        self.sets.len() - 1
    }

    fn report(&mut self, kind: ValidationErrorKind, range: TextRange) {
        self.errors.push(ValidationError { kind, range });
    }

    fn entries(&mut self, entries: impl Iterator<Item = Entry>, is_let: bool) -> usize {
        let set = self.new_set();
        for entry in entries {
            match entry {
                Entry::Binding(binding) => {
                    let value = binding.value().and_then(|value| value.without_parens());
                    let literal = match value {
                        Some(Expr::AttrSet(literal)) => {
                            let start = literal.syntax().text_range().start;
                            self.literals.get(&start).copied()
                        }
                        _ => None,
                    };
                    // Without a `=` this may be no binding at all.
                    if let Some(path) = binding.attr_path()
                        && binding.assign_token().is_some()
                    {
                        self.binding(set, &path, literal, is_let);
                    }
                }
                Entry::Inherit(inherit) => {
                    for attr in inherit.attrs() {
                        let range = attr.syntax().text_range();
                        match attr.static_name() {
                            Some(name) => {
                                self.add(set, vec![name], Attribute { range, set: None });
                            }
                            None if is_whole(&attr) => {
                                self.report(ValidationErrorKind::DynamicInInherit, range);
                            }
                            None => {}
                        }
                    }
                }
            }
        }
        set
    }

    fn binding(&mut self, set: usize, path: &AttrPath, literal: Option<usize>, is_let: bool) {
        let range = path.syntax().text_range();
        let mut set = set;
        let mut names = Vec::new();
        let mut attrs = path.attrs().enumerate().peekable();
        while let Some((index, attr)) = attrs.next() {
            let Some(name) = attr.static_name() else {
                if index == 0 && is_let && is_whole(&attr) {
                    let range = attr.syntax().text_range();
                    self.report(ValidationErrorKind::DynamicInLet, range);
                }
                // What a computed name holds is a set of its own, which nothing else meets.
                set = self.new_set();
                continue;
            };
            names.push(name.clone());
            if attrs.peek().is_none() {
                self.add(set, names, Attribute { range, set: literal });
                return;
            }
            match self.sets[set].get(&name) {
                Some(Attribute { set: Some(nested), .. }) => set = *nested,
                Some(&Attribute { range: previous, set: None }) => {
                    self.duplicate(&names, range, previous);
                    return;
                }
                None => {
                    let nested = self.new_set();
                    self.sets[set].insert(name, Attribute { range, set: Some(nested) });
                    set = nested;
                }
            }
        }
    }

    /// Adds the last name of a path to a set, merging sets without recursion.
    fn add(&mut self, set: usize, path: Vec<String>, attribute: Attribute) {
        let mut left = vec![(set, path, attribute)];
        while let Some((set, path, attribute)) = left.pop() {
            let Some(name) = path.last().cloned() else {
                continue;
            };
            let existing = match self.sets[set].entry(name) {
                Slot::Vacant(slot) => {
                    slot.insert(attribute);
                    continue;
                }
                Slot::Occupied(slot) => *slot.get(),
            };
            let (Some(into), Some(from)) = (existing.set, attribute.set) else {
                self.duplicate(&path, attribute.range, existing.range);
                continue;
            };
            for (name, attribute) in std::mem::take(&mut self.sets[from]).into_iter().rev() {
                let mut path = path.clone();
                path.push(name);
                left.push((into, path, attribute));
            }
        }
    }

    fn duplicate(&mut self, path: &[String], range: TextRange, previous: TextRange) {
        let names: Vec<_> = path.iter().map(|name| show_name(name)).collect();
        let path = names.join(".");
        self.report(ValidationErrorKind::DuplicateAttribute { path, previous }, range);
    }

    fn formals(&mut self, lambda: &Lambda) {
        let Some(Param::Pattern(pattern)) = lambda.param() else {
            return;
        };
        let mut seen: BTreeMap<String, TextRange> = BTreeMap::new();
        let names = pattern.entries().filter_map(|entry| entry.ident());
        for ident in names.chain(pattern.bind().and_then(|bind| bind.ident())) {
            let range = ident.syntax().text_range();
            match seen.entry(ident.text().to_owned()) {
                Slot::Vacant(slot) => {
                    slot.insert(range);
                }
                Slot::Occupied(slot) => {
                    let (name, previous) = (slot.key().clone(), *slot.get());
                    self.report(ValidationErrorKind::DuplicateFormal { name, previous }, range);
                }
            }
        }
    }
}

/// Returns a name as it is written in a path: in quotes unless it is an identifier.
fn show_name(name: &str) -> Cow<'_, str> {
    let lexed = lex(name.as_bytes(), LexOptions::default());
    match lexed.tokens[..] {
        [Token { kind: SyntaxKind::Ident, end, .. }, _] if end as usize == name.len() => {
            Cow::Borrowed(name)
        }
        _ => Cow::Owned(format!("{name:?}")),
    }
}

/// Returns whether a name without a static value is a computed one, and not a broken one.
fn is_whole(attr: &Attr) -> bool {
    match attr {
        Attr::Name(_) => false,
        Attr::String(string) => string
            .parts()
            .iter()
            .any(|part| matches!(part, super::ast::StringPart::Interpolation(_))),
        Attr::Dynamic(dynamic) => dynamic.expr().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::tree::{ParseOptions, parse};

    /// Whether these are wrong was asked of `nix-instantiate --parse` 2.34.8.
    #[test]
    fn what_the_grammar_cannot_say_is_found() {
        for (source, expected) in [
            ("{ a = 1; a = 2; }", "9..10 attribute 'a' already defined"),
            ("{ a.b = 1; a = { c = 2; }; }", ""),
            ("{ a = { c = 2; }; a.b = 1; }", ""),
            ("{ a.b = 1; a = ({ c = 2; }); }", ""),
            ("{ a.b = 1; a = { b = 2; }; }", "17..18 attribute 'a.b' already defined"),
            ("{ a.b.c = 1; a.b = { c = 2; }; }", "21..22 attribute 'a.b.c' already defined"),
            ("{ a = 1; a.b = 2; }", "9..12 attribute 'a' already defined"),
            ("{ a.b = 2; a = 1; }", "11..12 attribute 'a' already defined"),
            ("{ a = rec { b = 1; }; a = { c = 1; }; }", ""),
            ("{ a = x // { b = 1; }; a.c = 1; }", "23..26 attribute 'a' already defined"),
            ("{ inherit a; a = 1; }", "13..14 attribute 'a' already defined"),
            ("{ inherit a; inherit (x) \"a\"; }", "25..28 attribute 'a' already defined"),
            ("{ \"a b\" = 1; ${\"a b\"} = 1; }", "13..21 attribute '\"a b\"' already defined"),
            ("{ ${a} = 1; ${a} = 1; }", ""),
            ("{ ${a}.b = 1; ${a}.b = 1; }", ""),
            ("let a = 1; a = 2; in a", "11..12 attribute 'a' already defined"),
            ("let ${a} = 1; in a", "4..8 dynamic attributes not allowed in let"),
            ("let ${\"a\"} = 1; in a", ""),
            ("let a.${b} = 1; in a", ""),
            ("let { ${a} = 1; }", ""),
            ("{ inherit ${a}; }", "10..14 dynamic attributes not allowed in inherit"),
            ("{ inherit \"a${b}\"; }", "10..17 dynamic attributes not allowed in inherit"),
            ("{ inherit \"a\"; }", ""),
            ("{ a, b, a }: a", "8..9 duplicate formal function argument 'a'"),
            ("{ a }@a: a", "6..7 duplicate formal function argument 'a'"),
            ("a@{ a }: a", "0..1 duplicate formal function argument 'a'"),
        ] {
            let parsed = parse(source, ParseOptions::default()).expect("short enough");
            assert_eq!(parsed.errors(), [], "{source}");
            let show = |it: &ValidationError| format!("{}..{} {it}", it.range.start, it.range.end);
            let found: Vec<_> = validate(&parsed.root()).iter().map(show).collect();
            assert_eq!(found.join("\n"), expected, "{source}");
        }
    }

    #[test]
    fn long_paths_and_broken_text_are_no_trouble() {
        let path = "a.".repeat(50_000) + "a";
        let source = format!("{{ {path} = 1; {path} = 2; a = {{ {path} = 3; }}; }}");
        let parsed = parse(&source, ParseOptions::default()).expect("short enough");
        validate(&parsed.root());
        for source in ["{ ${} = 1; \"a${ = 1; inherit ${} \"; }", "{ , , a }@: a", "let = in"] {
            let parsed = parse(source, ParseOptions::default()).expect("short enough");
            validate(&parsed.root());
        }
    }
}
