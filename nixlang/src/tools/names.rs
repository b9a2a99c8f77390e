//! What the names of a text mean: where each variable is defined, where a definition is used, and renaming that changes no meaning.
//!
//! Scopes are lexical, so this needs no evaluation. The surprising thing: a `with` gives only names that nothing else defines, not even a builtin;
//! which of several `with`s it is, evaluation alone can tell.

mod collect;
mod rename;

use crate::syntax::tree::{Parse, TextRange};

pub use rename::{Edit, RenameError, apply, rename};

/// What made a name known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefinitionKind {
    /// A binding of a `let`.
    Let,
    /// An attribute of a `rec { }`, which others may select too.
    Attribute,
    /// A function's parameter.
    Parameter,
    /// A name in a function's pattern, which callers use too.
    Formal,
    /// The name for the whole of a pattern: `@ args`.
    Whole,
}

impl DefinitionKind {
    /// Returns what to call it.
    pub fn word(self) -> &'static str {
        match self {
            DefinitionKind::Let => "let binding",
            DefinitionKind::Attribute => "attribute",
            DefinitionKind::Parameter => "parameter",
            DefinitionKind::Formal => "formal",
            DefinitionKind::Whole => "whole argument",
        }
    }
}

/// Something that a name can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// What defines it.
    pub kind: DefinitionKind,
    /// Where it is defined, in order. Several for `a.b = 1; a.c = 2;`.
    pub sites: Vec<TextRange>,
    /// Whether some site is a name after `inherit`.
    pub is_inherited: bool,
}

/// What a variable means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The definition of this index in [`Names::definitions`].
    Definition(usize),
    /// A builtin or another global variable.
    Global,
    /// Something that one of these `with`s gives (their whole expressions, innermost first).
    With(Vec<TextRange>),
    /// Nothing: an error when the text is evaluated.
    Undefined,
}

/// A place where a variable is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub range: TextRange,
    /// Whether it stands after `inherit`.
    pub is_inherited: bool,
    /// What it means.
    pub meaning: Meaning,
}

/// All definitions and uses of a text, in the order in which they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What is defined.
    pub definitions: Vec<Definition>,
    /// What is used.
    pub uses: Vec<Use>,
}

impl Names {
    /// Returns the names of a text. Broken parts are passed over.
    ///
    /// ```
    /// use nixlang::syntax::tree::{ParseOptions, parse};
    /// use nixlang::tools::names::{Meaning, Names};
    ///
    /// let text = "let a = 1; f = a: a; in f a + lib.x";
    /// let names = Names::of(&parse(text, ParseOptions::default())?);
    /// let definition = names.definition_at(26).expect("the a behind f");
    /// assert_eq!(definition.sites[0].start, 4);
    /// assert_eq!(names.references(definition).map(|place| place.start).collect::<Vec<_>>(), [26]);
    /// assert_eq!(names.uses.last().map(|last| &last.meaning), Some(&Meaning::Undefined));
    /// # Ok::<(), nixlang::syntax::tree::ParseError>(())
    /// ```
    pub fn of(parsed: &Parse) -> Names {
        collect::collect(&parsed.root())
    }

    /// Returns the use at an offset: in it, or at its end.
    pub fn use_at(&self, offset: u32) -> Option<&Use> {
        self.uses.iter().find(|it| touches(it.range, offset))
    }

    /// Returns the definition that is made or used at an offset.
    pub fn definition_at(&self, offset: u32) -> Option<&Definition> {
        self.definition_index_at(offset).map(|index| &self.definitions[index])
    }

    /// Returns where a definition is used, in order.
    pub fn references<'n>(&'n self, definition: &Definition) -> impl Iterator<Item = TextRange> + 'n {
        let index = self.definitions.iter().position(|other| other.sites == definition.sites && other.name == definition.name);
        self.uses.iter().filter(move |it| index.is_some_and(|index| it.meaning == Meaning::Definition(index))).map(|it| it.range)
    }

    fn definition_index_at(&self, offset: u32) -> Option<usize> {
        // A name after `inherit` is both; what it refers to is of more interest.
        match self.use_at(offset).map(|it| &it.meaning) {
            Some(Meaning::Definition(index)) => Some(*index),
            _ => self.definitions.iter().position(|definition| definition.sites.iter().any(|site| touches(*site, offset))),
        }
    }
}

fn touches(range: TextRange, offset: u32) -> bool {
    range.start <= offset && offset <= range.end
}

#[cfg(test)]
mod tests;
