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

    /// Returns the type as error messages name it, with its article.
    pub fn described_type(self) -> Cow<'static, str> {
        Cow::Borrowed(match self.kind() {
            Kind::Thunk(_) => "a thunk",
            Kind::Null => "null",
            Kind::Bool(_) => "a Boolean",
            Kind::Int(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::String(string) if string.context().is_some() => "a string with context",
            Kind::String(_) => "a string",
            Kind::Path(_) => "a path",
            Kind::Attrs(_) => "a set",
            Kind::List(_) => "a list",
            Kind::Lambda(_) => "a function",
            Kind::External(external) => return Cow::Owned(external.described_type()),
            Kind::Builtin(builtin) => return Cow::Owned(format!("the built-in function '{}'", builtin.name)),
            Kind::Partial(partial) => match partial.function.kind() {
                Kind::Builtin(builtin) => return Cow::Owned(format!("the partially applied built-in function '{}'", builtin.name)),
                _ => "a function",
            },
        })
    }
}
