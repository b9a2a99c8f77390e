//! What the words of the new command line work on: attributes of `--file` or `--expr`, or store paths, each with `^OUTPUTS` behind if need be.

use std::path::PathBuf;
use std::sync::Arc;

use nixlang_build::{DerivedPath, WantedOutputs};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::args::Args;
use crate::building::{BuildFlags, build, output, output_path};
use crate::commands::Context;
use crate::derivations::find_derivations;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};

/// `--file`, `--expr` and the words behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Installables {
    /// `-f`
    pub(crate) file: Option<String>,
    /// `--expr`
    pub(crate) expression: Option<String>,
    /// Attribute paths or store paths.
    pub(crate) words: Vec<String>,
    /// Work on derivations themselves (`--derivation`).
    pub(crate) derivations: bool,
}

/// Which outputs of a derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// What is usually installed.
    Default,
    /// `^*`
    All,
    /// `^out,dev`
    Named(Vec<String>),
}

/// Something to build or to look at.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Outputs of a derivation.
    Built {
        derivation: StorePath,
        /// None for all.
        outputs: Option<Vec<String>>,
    },
    /// A store path.
    Path(StorePath),
}

impl Installables {
    /// Handles `-f`, `--expr` and `--derivation`. Returns false for other flags.
    pub(crate) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "-f" | "--file" => self.file = Some(args.value(flag)?),
            "-E" | "--expr" => self.expression = Some(args.value(flag)?),
            "--derivation" => self.derivations = true,
            "--all-systems" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns whether attributes are meant rather than flakes.
    pub(crate) fn has_source(&self) -> bool {
        self.file.is_some() || self.expression.is_some()
    }

    /// Returns the words, or the empty attribute path if there is none.
    pub(crate) fn words(&self) -> Vec<String> {
        if self.words.is_empty() { vec![String::new()] } else { self.words.clone() }
    }

    /// Sets what follows for evaluation: files are not read purely.
    pub(crate) fn check(&self, context: &mut crate::common::Common) -> Outcome<()> {
        if self.file.is_some() && self.expression.is_some() {
            return Err(Failure::Usage("'--file' and '--expr' are exclusive".into()));
        }
        if self.file.is_some() {
            if context.pure {
                return Err(Failure::Usage("'--file' is not compatible with '--pure-eval'".into()));
            }
            context.settings.set("pure-eval", "false")?;
        }
        Ok(())
    }

    /// Evaluates what is to be evaluated and returns what all words stand for.
    pub(crate) fn targets(&self, context: &Arc<Context>, read_write: bool) -> Outcome<Vec<Target>> {
        if !self.has_source() {
            return self.words().iter().map(|word| store_target(context, word, self.derivations)).collect();
        }
        evaluate(context, read_write, |evaluation| {
            let root = match (&self.file, &self.expression) {
                (Some(file), _) if file == "-" => evaluation.stdin()?,
                (Some(file), _) => evaluation.file(file)?,
                (None, Some(text)) => evaluation.text(text.as_bytes())?,
                (None, None) => unreachable!("there is a source"),
            };
            let mut targets = Vec::new();
            for word in self.words() {
                if word.starts_with(context.store.store_dir().as_str()) {
                    targets.push(store_target(context, &word, self.derivations)?);
                    continue;
                }
                let (attribute, outputs) = split_outputs(&word);
                let value = evaluation.select(root, attribute)?;
                for found in find_derivations(evaluation, value)? {
                    let outputs = match &outputs {
                        Outputs::Default => Some(found.outputs_to_install),
                        Outputs::All => None,
                        Outputs::Named(names) => Some(names.clone()),
                    };
                    targets.push(if self.derivations { Target::Path(found.path) } else { Target::Built { derivation: found.path, outputs } });
                }
            }
            Ok(targets)
        })
    }
}

/// Returns what a word without a source stands for: a store path, or a link to one.
fn store_target(context: &Context, word: &str, derivations: bool) -> Outcome<Target> {
    let (path, outputs) = split_outputs(word);
    let store_path = store_path(context, path).ok_or_else(|| {
        Failure::new(format!("'{word}' is not a store path; flakes are not supported yet, name a file with '--file' or an expression with '--expr'"))
    })?;
    if derivations {
        let info = context.store.open()?.path_info(&store_path)?;
        let path = if store_path.is_derivation() { store_path } else { info.info.deriver.clone().ok_or_else(|| Failure::new(format!("'{path}' does not have a known deriver")))? };
        return Ok(Target::Path(path));
    }
    match outputs {
        Outputs::Default => Ok(Target::Path(store_path)),
        Outputs::All => Ok(Target::Built { derivation: store_path, outputs: None }),
        Outputs::Named(names) => Ok(Target::Built { derivation: store_path, outputs: Some(names) }),
    }
}

/// Returns the store path that a word means: itself, or what it or a link there lies in.
pub(crate) fn store_path(context: &Context, word: &str) -> Option<StorePath> {
    let store_dir = context.store.store_dir();
    if word.is_empty() {
        return None;
    }
    if let Ok((path, _)) = store_dir.split_store_path(word.as_bytes()) {
        return Some(path);
    }
    let real = context.store.real_store_dir().unwrap_or_else(|| PathBuf::from(store_dir.as_str()));
    let mut path = std::path::absolute(word).ok()?;
    // Links are followed until one leads into the store; what is there may be a link itself.
    for _ in 0..32 {
        for base in [&real, std::path::Path::new(store_dir.as_str())] {
            if let Some(std::path::Component::Normal(name)) = path.strip_prefix(base).ok().and_then(|rest| rest.components().next()) {
                return StorePath::from_base_name(name.as_encoded_bytes()).ok();
            }
        }
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent()?.join(target),
            Err(_) => path = path.parent()?.canonicalize().ok()?.join(path.file_name()?),
        }
    }
    None
}

/// Splits `PATH^OUTPUTS`.
pub(crate) fn split_outputs(word: &str) -> (&str, Outputs) {
    match word.rsplit_once('^') {
        Some((path, "*")) => (path, Outputs::All),
        Some((path, names)) if !names.is_empty() && !names.contains('"') => (path, Outputs::Named(names.split(',').map(str::to_owned).collect())),
        _ => (word, Outputs::Default),
    }
}

impl Target {
    /// Returns what to build.
    pub(crate) fn to_derived(&self) -> DerivedPath {
        match self {
            Target::Built { derivation, outputs: Some(names) } => output(derivation, names),
            Target::Built { derivation, outputs: None } => DerivedPath::Built { derivation: derivation.clone(), outputs: WantedOutputs::All },
            Target::Path(path) => DerivedPath::Opaque(path.clone()),
        }
    }

    /// Returns names and paths of its outputs; a plain path has one without a name.
    pub(crate) fn outputs(&self, context: &Context) -> Outcome<Vec<(Option<String>, StorePath)>> {
        match self {
            Target::Path(path) => Ok(vec![(None, path.clone())]),
            Target::Built { derivation, outputs } => {
                let names = match outputs {
                    Some(names) => names.clone(),
                    None => context.store.open()?.derivation_outputs(derivation)?.into_keys().collect(),
                };
                names.into_iter().map(|name| Ok((Some(name.clone()), output_path(context, derivation, &name)?))).collect()
            }
        }
    }
}

/// Builds targets.
pub(crate) fn realise_targets(context: &Context, targets: &[Target], flags: BuildFlags) -> Outcome<()> {
    let wanted: Vec<DerivedPath> = targets.iter().map(Target::to_derived).collect();
    build(context, &wanted, flags).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_behind_a_caret() {
        assert_eq!(split_outputs("a.b"), ("a.b", Outputs::Default));
        assert_eq!(split_outputs("a^*"), ("a", Outputs::All));
        assert_eq!(split_outputs("a^out,dev"), ("a", Outputs::Named(vec!["out".into(), "dev".into()])));
    }
}
