//! Values beyond the word: string contexts, work that builtins put off, and the operations on values that need no evaluation.

mod attrs;
mod context;
mod external;
mod json;
mod xml;

pub(crate) use context::ContextSum;
pub use context::{Context, ContextElement, ContextKind, ContextTable};

pub use self::attrs::update;
pub use self::external::External;
pub use self::xml::XmlOptions;

use std::borrow::Cow;

use crate::heap::{Kind, Value};
use crate::source::Pos;

/// Work that a builtin puts off until somebody wants it.
pub enum Lazy<'h> {
    /// The line of a position.
    Line(Pos),
    /// The column of a position.
    Column(Pos),
    /// The value of a file, by its resolved path.
    Import(crate::heap::Str<'h>),
    /// The set of all builtins.
    Builtins,
    /// A value that the host fills in later.
    Later(&'h crate::heap::Slot<'h>),
    /// The type of a file of a directory whose listing doesn't say; the file's path.
    FileType(crate::heap::Str<'h>),
}

impl Value<'_> {
    /// Returns what `builtins.typeOf` says of an evaluated value, `"thunk"` of one that isn't.
    pub fn type_name(self) -> &'static str {
        match self.kind() {
            Kind::Thunk(_) => "thunk",
            Kind::Null => "null",
            Kind::Bool(_) => "bool",
            Kind::Int(_) => "int",
            Kind::Float(_) => "float",
            Kind::String(_) => "string",
            Kind::Path(_) => "path",
            Kind::Attrs(_) => "set",
            Kind::List(_) => "list",
            Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_) => "lambda",
            Kind::External(_) => "external",
        }
    }

    /// Returns the type with its article, where the kind of function and the context of a string don't matter.
    pub fn plain_type(self) -> &'static str {
        match self.kind() {
            Kind::Thunk(_) => "a thunk",
            Kind::Null => "null",
            Kind::Bool(_) => "a Boolean",
            Kind::Int(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::String(_) => "a string",
            Kind::Path(_) => "a path",
            Kind::Attrs(_) => "a set",
            Kind::List(_) => "a list",
            Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_) => "a function",
            Kind::External(_) => "an external value",
        }
    }

    /// Returns the type as error messages name it, with its article: what kind of function, which external value.
    pub fn described_type(self) -> Cow<'static, str> {
        let builtin = |kind: &str, name: &str| Cow::Owned(format!("the {kind}built-in function '{name}'"));
        match self.kind() {
            Kind::String(string) if string.context().is_some() => Cow::Borrowed("a string with context"),
            Kind::External(external) => Cow::Owned(external.described_type()),
            Kind::Builtin(it) => builtin("", it.name),
            Kind::Partial(partial) => match partial.function.kind() {
                Kind::Builtin(it) => builtin("partially applied ", it.name),
                _ => Cow::Borrowed(self.plain_type()),
            },
            _ => Cow::Borrowed(self.plain_type()),
        }
    }
}
