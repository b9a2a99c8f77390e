//! (being written)

use super::Definition;

pub(super) const BUILTINS: &[Definition] = &[];
