//! (being written)

use super::Definition;

pub(super) const BUILTINS: &[Definition] = &[];

/// What builtins remember of derivations.
#[derive(Default)]
pub(crate) struct DerivationCache;
