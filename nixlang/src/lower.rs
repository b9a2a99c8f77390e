//! From text to the IR.

pub mod expr;

use crate::eval::{EvalResult, Evaluator};
use crate::source::Pos;
use crate::symbol::Symbol;
use expr::Expr;

/// Variables that are in scope beside the globals: name `i` is in slot `i` of the environment that the text is evaluated in.
#[derive(Clone, Debug, Default)]
pub struct StaticScope {
    /// The names, one per slot.
    pub names: Vec<Symbol>,
}

/// Parses a source and resolves its variables. `start` is the position of its first byte, `base` the directory that relative paths start from.
pub fn parse<'h>(eval: &Evaluator<'h>, _text: &[u8], start: Pos, _base: &[u8], _scope: &StaticScope) -> EvalResult<&'h Expr<'h>> {
    Err(crate::eval::EvalError::new(crate::eval::ErrorKind::Unsupported, "the parser has not landed").at(start)).inspect(|_: &&Expr<'h>| drop(eval.heap))
}
