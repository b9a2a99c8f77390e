//! [`Needed`]: which derivations one needs, as far as that is known before they are built.

use std::collections::{BTreeSet, HashMap};

use nixlang_store::derivation::{Derivation, InputOutputs};
use nixlang_store::path::StorePath;

use super::{Node, SingleDerivedPath};

/// Collects which derivations one needs: those named, and those that are outputs made already.
pub(super) struct Needed<'n> {
    pub(super) nodes: &'n HashMap<StorePath, Node>,
    pub(super) derivations: BTreeSet<StorePath>,
    /// Outputs that are derivations still to be made.
    pub(super) dynamic: BTreeSet<SingleDerivedPath>,
}

impl Needed<'_> {
    pub(super) fn by(&mut self, derivation: &Derivation) {
        for (input, wanted) in &derivation.input_derivations {
            self.input(input, wanted);
        }
    }

    /// Nesting is bounded by the parser of derivations.
    fn input(&mut self, path: &StorePath, wanted: &InputOutputs) {
        self.derivations.insert(path.clone());
        let Some(node) = self.nodes.get(path) else {
            // A derivation that is fetched, perhaps.
            self.dynamic.insert(SingleDerivedPath::Opaque(path.clone()));
            return;
        };
        for (name, wanted) in &wanted.dynamic {
            match node.outputs.get(name).cloned().flatten().filter(|_| !node.must_build) {
                Some(made) => self.input(&made, wanted),
                None => {
                    self.dynamic.insert(SingleDerivedPath::Opaque(path.clone()).output(name.clone()));
                }
            }
        }
    }
}
