//! Which operands are as good as values, so that building them at once costs no more than a thunk.
//!
//! The surprising thing: a variable is not as good as a value while the `let` or `rec` that binds
//! it fills its slots. The reference then makes a thunk for it, and since equality looks at the
//! identity of cells first, that can be seen.

use super::expr::{Binding, Expr};

/// Where an expression stands, as far as laziness is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is evaluated at most once per frame, in it, so it may use slots of the frame.
    Spine,
    /// An argument of a call: when it is delayed, all variables in scope have values.
    Argument,
    /// The value of a binding, an element of a list and so on.
    Other,
}

/// Literals with more elements than this are always delayed.
const FEW: usize = 4;

fn is_value(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Constant(_) | Expr::Local { .. } | Expr::Outer { .. } | Expr::Lambda(_))
}

/// Returns whether a list literal of these elements is cheap to build.
pub(super) fn is_cheap_list(elements: &[Expr<'_>], place: Place) -> bool {
    elements.is_empty()
        || place == Place::Argument && elements.len() <= FEW && elements.iter().all(is_value)
}

/// Returns whether a plain set literal of these bindings, without others, is cheap to build.
pub(super) fn is_cheap_set(bindings: &[Binding<'_>], place: Place) -> bool {
    let is_value = |binding: &Binding<'_>| is_value(&binding.value);
    bindings.is_empty()
        || place == Place::Argument && bindings.len() <= FEW && bindings.iter().all(is_value)
}
