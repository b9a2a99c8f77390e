//! What somebody can want: store paths, and outputs of derivations.
//!
//! The surprising part: a derivation may itself be an output of another one (`dynamic-derivations`), and so on. What is
//! wanted of a derivation is therefore a small tree, [`Want`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nixlang_store::derivation::{InputOutputs, OutputName};
use nixlang_store::path::{StoreDir, StorePath};

/// Something wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivedPath {
    /// A path as such; it must be valid, or a substituter must have it.
    Opaque(StorePath),
    /// Outputs of a derivation.
    Built {
        /// The derivation.
        derivation: StorePath,
        /// Which of its outputs.
        outputs: WantedOutputs,
    },
    /// Outputs of a derivation that has to be built first (`dynamic-derivations`).
    Nested {
        /// What makes the derivation.
        derivation: SingleDerivedPath,
        /// Which of its outputs.
        outputs: WantedOutputs,
    },
}

/// One path: a given one, or an output of a derivation that is again one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SingleDerivedPath {
    /// A path as such.
    Opaque(StorePath),
    /// An output of a derivation.
    Built {
        /// The derivation.
        derivation: Box<SingleDerivedPath>,
        /// Its output.
        output: OutputName,
    },
}

/// Which outputs of a derivation are wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WantedOutputs {
    /// All of them.
    All,
    /// These.
    Named(BTreeSet<OutputName>),
}

impl DerivedPath {
    /// Returns all outputs of a derivation; of anything else the path itself.
    pub fn from_path(path: StorePath) -> DerivedPath {
        if path.is_derivation() {
            DerivedPath::Built { derivation: path, outputs: WantedOutputs::All }
        } else {
            DerivedPath::Opaque(path)
        }
    }

    /// Returns outputs of what `derivation` gives, in the simplest form.
    pub fn of(derivation: SingleDerivedPath, outputs: WantedOutputs) -> DerivedPath {
        match derivation {
            SingleDerivedPath::Opaque(derivation) => DerivedPath::Built { derivation, outputs },
            derivation => DerivedPath::Nested { derivation, outputs },
        }
    }

    /// Returns the store path where it begins.
    pub fn root(&self) -> &StorePath {
        match self {
            DerivedPath::Opaque(path) | DerivedPath::Built { derivation: path, .. } => path,
            DerivedPath::Nested { derivation, .. } => derivation.root(),
        }
    }
}

impl SingleDerivedPath {
    /// Returns an output of this.
    pub fn output(self, output: impl Into<OutputName>) -> SingleDerivedPath {
        SingleDerivedPath::Built { derivation: Box::new(self), output: output.into() }
    }

    /// Returns the store path where it begins.
    pub fn root(&self) -> &StorePath {
        let mut path = self;
        loop {
            match path {
                SingleDerivedPath::Opaque(root) => return root,
                SingleDerivedPath::Built { derivation, .. } => path = derivation,
            }
        }
    }

    /// Returns the names of outputs from the root on.
    pub(crate) fn names(&self) -> Vec<&OutputName> {
        let mut names = Vec::new();
        let mut path = self;
        while let SingleDerivedPath::Built { derivation, output } = path {
            names.push(output);
            path = derivation;
        }
        names.reverse();
        names
    }

    /// Returns it as the command line writes it: `/nix/store/…-x.drv^out^out`.
    pub fn display(&self, dir: &StoreDir) -> String {
        let mut text = dir.display(self.root());
        for name in self.names() {
            text.push('^');
            text.push_str(name);
        }
        text
    }
}

/// Writes `*` or the names with commas.
impl fmt::Display for WantedOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WantedOutputs::All => f.write_str("*"),
            WantedOutputs::Named(names) => {
                let names: Vec<&str> = names.iter().map(OutputName::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

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
    pub(crate) fn of_outputs(outputs: &WantedOutputs) -> Want {
        match outputs {
            WantedOutputs::All => Want { all: true, ..Want::default() },
            WantedOutputs::Named(names) => Want { outputs: names.clone(), ..Want::default() },
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
    use super::*;

    #[test]
    fn nested_paths_become_a_tree() {
        let root = StorePath::new([1; 20], "x.drv").unwrap();
        let path = SingleDerivedPath::Opaque(root.clone()).output("out").output("dev");
        assert_eq!(path.root(), &root);
        assert_eq!(path.names(), ["out", "dev"]);
        assert!(path.display(&StoreDir::default()).ends_with("-x.drv^out^dev"));
        let want = Want::of_outputs(&WantedOutputs::All).behind(&path.names());
        assert!(want.dynamic["out"].dynamic["dev"].all);
    }
}
