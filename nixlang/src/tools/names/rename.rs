//! Renaming. Whether it is safe is not argued but looked up: the names of the changed text must mean what they meant.

use super::{DefinitionKind, Meaning, Names, Use};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{ParseError, ParseOptions, SyntaxNode, TextRange, parse};

/// A piece of text to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty to insert.
    pub range: TextRange,
    /// By what.
    pub text: String,
}

/// Why a name cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenameError {
    /// There is no variable that this text defines.
    #[error("there is no name here that this file defines")]
    NoName,
    /// The text is no identifier.
    #[error("'{name}' is not an identifier")]
    NotAnIdentifier {
        /// The new name.
        name: String,
    },
    /// Others may know it by its name.
    #[error("code elsewhere may use the {kind} '{name}' by its name")]
    VisibleOutside {
        /// The old name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// The definition takes its name from somewhere else.
    #[error("'{name}' is inherited: its name is that of what it is taken from")]
    Inherited {
        /// The old name.
        name: String,
    },
    /// Something would mean something else.
    #[error("'{name}' would change its meaning at byte {position}")]
    Captured {
        /// The name that would.
        name: String,
        /// Where it stands now.
        position: u32,
    },
    /// The text cannot be parsed, or has errors.
    #[error("the file has syntax errors")]
    Broken,
}

impl From<ParseError> for RenameError {
    fn from(_: ParseError) -> RenameError {
        RenameError::Broken
    }
}

/// Returns the edits that rename what is defined or used at an offset, in the order of the text; they don't overlap.
///
/// # Errors
/// When it cannot be done without changing what the text means.
///
/// ```
/// use nixlang::tools::names::{apply, rename};
///
/// let text = "let a = 1; in { inherit a; b = a; }";
/// assert_eq!(apply(text, &rename(text, 4, "one")?), "let one = 1; in { a = one; b = one; }");
/// assert!(rename("let a = 1; in b: a", 4, "b").is_err());
/// # Ok::<(), nixlang::tools::names::RenameError>(())
/// ```
pub fn rename(text: &str, offset: u32, new_name: &str) -> Result<Vec<Edit>, RenameError> {
    if !is_identifier(new_name) {
        return Err(RenameError::NotAnIdentifier { name: new_name.to_owned() });
    }
    let parsed = parse(text, ParseOptions::default())?;
    if !parsed.errors().is_empty() {
        return Err(RenameError::Broken);
    }
    let names = Names::of(&parsed);
    let index = names.definition_index_at(offset).ok_or(RenameError::NoName)?;
    let definition = &names.definitions[index];
    let name = definition.name.clone();
    if definition.is_inherited {
        return Err(RenameError::Inherited { name });
    }
    if matches!(definition.kind, DefinitionKind::Attribute | DefinitionKind::Formal) {
        return Err(RenameError::VisibleOutside { name, kind: definition.kind.word() });
    }
    let mut edits: Vec<Edit> = definition.sites.iter().map(|site| Edit { range: *site, text: new_name.to_owned() }).collect();
    for it in names.uses.iter().filter(|it| it.meaning == Meaning::Definition(index)) {
        if it.is_inherited {
            edits.extend(uninherit(&parsed.root(), it.range, &it.name, new_name));
        } else {
            edits.push(Edit { range: it.range, text: new_name.to_owned() });
        }
    }
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let after = Names::of(&parse(&apply(text, &edits), ParseOptions::default())?);
    check(&names, &after, index, new_name)?;
    Ok(edits)
}

/// Returns a text with edits made, which are in order and don't overlap.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        changed.push_str(&text[at..edit.range.start as usize]);
        changed.push_str(&edit.text);
        at = edit.range.end as usize;
    }
    changed.push_str(&text[at..]);
    changed
}

/// Returns edits that turn one name of an `inherit` into a binding of its own.
fn uninherit(root: &SyntaxNode, name: TextRange, old: &str, new: &str) -> Vec<Edit> {
    let token = root.token_at(name.start);
    let Some(inherit) = token.and_then(|token| token.parent()?.ancestors().find(|node| node.kind() == SyntaxKind::InheritBinding)) else {
        return Vec::new();
    };
    let range = inherit.text_range();
    let binding = format!("{old} = {new};");
    if inherit.children().count() == 1 {
        return vec![Edit { range, text: binding }];
    }
    // With the space before it.
    let before = root.token_at(name.start.saturating_sub(1)).filter(|token| token.kind() == SyntaxKind::Whitespace);
    let start = before.map_or(name.start, |token| token.text_range().start);
    let end = TextRange { start: range.end, end: range.end };
    vec![Edit { range: TextRange { start, end: name.end }, text: String::new() }, Edit { range: end, text: format!(" {binding}") }]
}

/// Compares what names meant and mean. What was inherited has moved, so it is counted how often each thing is used by each name.
fn check(before: &Names, after: &Names, index: usize, new_name: &str) -> Result<(), RenameError> {
    if before.uses.len() != after.uses.len() || before.definitions.len() != after.definitions.len() {
        return Err(RenameError::Captured { name: new_name.to_owned(), position: before.definitions[index].sites[0].start });
    }
    let key = |it: &Use| match &it.meaning {
        Meaning::Definition(definition) if *definition == index => (String::new(), Some(*definition), 0),
        Meaning::Definition(definition) => (it.name.clone(), Some(*definition), 0),
        Meaning::Global => (it.name.clone(), None, 0),
        Meaning::Undefined => (it.name.clone(), None, 1),
        Meaning::With(withs) => (it.name.clone(), None, withs.len() + 2),
    };
    let sorted = |names: &Names| {
        let mut keys: Vec<_> = names.uses.iter().enumerate().map(|(i, it)| (key(it), i)).collect();
        keys.sort();
        keys
    };
    for ((was, i), (is, _)) in sorted(before).iter().zip(&sorted(after)) {
        if was != is {
            return Err(RenameError::Captured { name: before.uses[*i].name.clone(), position: before.uses[*i].range.start });
        }
    }
    Ok(())
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|rest| rest.is_ascii_alphanumeric() || matches!(rest, '_' | '-' | '\''))
        && SyntaxKind::keyword(name.as_bytes()).is_none()
}
