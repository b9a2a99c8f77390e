//! [`Want`]: what is wanted of a derivation. A small tree, since outputs may be derivations of which something is wanted.

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::derivation::{InputOutputs, OutputName};
use nixlang_store::wire::derived_path::OutputsSpec;

/// What is wanted of a derivation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    /// All outputs, besides those named.
    pub(crate) all: bool,
    /// Outputs.
    pub(crate) outputs: BTreeSet<OutputName>,
    /// Outputs that are derivations, and what is wanted of those.
    pub(crate) dynamic: BTreeMap<OutputName, Want>,
}

impl Want {
    pub(crate) fn of_outputs(outputs: &OutputsSpec) -> Want {
        match outputs {
            OutputsSpec::All => Want { all: true, ..Want::default() },
            OutputsSpec::Names(names) => Want { outputs: names.clone(), ..Want::default() },
        }
    }

    /// What an input derivation is needed for. Nesting is bounded by the parser of derivations.
    pub(crate) fn of_input(input: &InputOutputs) -> Want {
        let dynamic = input.dynamic.iter().map(|(name, input)| (name.clone(), Want::of_input(input))).collect();
        Want { all: false, outputs: input.outputs.clone(), dynamic }
    }

    /// Also wants what `other` wants.
    pub(crate) fn merge(&mut self, other: Want) {
        self.all |= other.all;
        self.outputs.extend(other.outputs);
        for (name, want) in other.dynamic {
            self.dynamic.entry(name).or_default().merge(want);
        }
    }

    /// Wraps it once per name: what is wanted of the outermost derivation.
    pub(crate) fn behind(self, names: &[&OutputName]) -> Want {
        names.iter().rev().fold(self, |want, name| Want {
            dynamic: [((*name).clone(), want)].into(),
            ..Want::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use nixlang_store::path::{StoreDir, StorePath};
    use nixlang_store::wire::derived_path::SingleDerivedPath;

    use super::*;

    #[test]
    fn nested_paths_become_a_tree() {
        let root = StorePath::new([1; 20], "x.drv").unwrap();
        let path = SingleDerivedPath::Opaque(root.clone()).output("out").output("dev");
        assert_eq!(path.root(), &root);
        assert_eq!(path.names(), ["out", "dev"]);
        assert!(path.display(&StoreDir::default()).ends_with("-x.drv^out^dev"));
        let want = Want::of_outputs(&OutputsSpec::All).behind(&path.names());
        assert!(want.dynamic["out"].dynamic["dev"].all);
    }
}
