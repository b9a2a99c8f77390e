//! Values of the host: opaque to the language, which may compare, print and coerce them as far as they let it.

use std::any::Any;

use super::{ContextElement, XmlOptions};
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::Str;
use crate::source::Pos;

/// A value of the host. It belongs to the heap that it was put into with [`Heap::external`](crate::heap::Heap::external).
pub trait External: Any + Send + Sync {
    /// Returns what `builtins.typeOf` says of it.
    fn type_name(&self) -> String;

    /// Returns how messages name its type, with the article.
    fn described_type(&self) -> String;

    /// Returns how it is printed.
    fn print(&self) -> Vec<u8>;

    /// Returns it as a string, or `None` if it can't be one.
    fn coerce_to_string<'h>(&self, eval: &Evaluator<'h>, coercion: Coercion) -> EvalResult<Option<Str<'h>>> {
        let _ = (eval, coercion);
        Ok(None)
    }

    /// Returns whether it equals another such value, possibly of another type.
    fn equals(&self, other: &dyn External) -> bool {
        let _ = other;
        false
    }

    /// Returns what stands for it in XML, which goes there as it is, and what the text refers to; `None` to show it as not evaluated.
    fn write_xml(&self, eval: &Evaluator<'_>, options: XmlOptions, pos: Pos) -> EvalResult<Option<(Vec<u8>, Vec<ContextElement>)>> {
        let _ = (eval, options, pos);
        Ok(None)
    }

    /// Returns it as JSON text.
    fn to_json(&self, eval: &Evaluator<'_>, copy_to_store: bool) -> EvalResult<Vec<u8>> {
        let _ = (eval, copy_to_store);
        Err(EvalError::new(ErrorKind::Type, format!("cannot convert {} to JSON", self.described_type())))
    }
}
