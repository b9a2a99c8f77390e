//! What the words of the new command line work on: attributes of `--file` or `--expr`, outputs of flakes, or store paths, each with `^OUTPUTS`
//! behind if need be.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang::eval::{ErrorKind, EvalError};
use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;
use nixlang::value::ContextKind;
use nixlang_build::{BuildOutcome, DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::path::StorePath;

use crate::args::Args;
use crate::building::{BuildFlags, build, output, output_path};
use crate::commands::{Context, Invocation};
use crate::derivations::ask_packages;
use crate::evaluation::{Evaluation, Step, Stop, evaluate};
use crate::failure::{Failure, Outcome};
use crate::flakes::{Defaults, FlakeFlags, FlakeWord, find, flake_target};

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
    /// Everything is meant, so that no word is needed.
    pub(crate) all: bool,
    /// Words come from standard input as well (`--stdin`).
    pub(crate) stdin: bool,
    /// What is to be done with lock files.
    pub(crate) flakes: FlakeFlags,
    /// Where outputs of flakes are looked for.
    pub(crate) defaults: Defaults,
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
    /// Outputs of a derivation that is itself built first.
    Nested {
        derivation: SingleDerivedPath,
        /// None for all.
        outputs: Option<Vec<String>>,
    },
    /// A store path.
    Path(StorePath),
}

impl Installables {
    /// Reads a command line: flags that `own` knows, those of installables, and words. Returns what the words mean and
    /// the context for it.
    pub(crate) fn parse(
        invocation: Invocation,
        own: impl FnMut(&str, &mut Args) -> Outcome<bool>,
    ) -> Outcome<(Installables, Arc<Context>)> {
        Installables::parse_for(Defaults::Packages, invocation, own)
    }

    /// As [`Installables::parse`]; if `own` sets `all`, no word stands for something else than the flake around this directory.
    pub(crate) fn parse_or_all(
        invocation: Invocation,
        all: &Cell<bool>,
        own: impl FnMut(&str, &mut Args) -> Outcome<bool>,
    ) -> Outcome<(Installables, Arc<Context>)> {
        Installables::parse_with(Defaults::Packages, invocation, all, own)
    }

    /// As [`Installables::parse`], for a command that looks for outputs of flakes elsewhere.
    pub(crate) fn parse_for(
        defaults: Defaults,
        invocation: Invocation,
        own: impl FnMut(&str, &mut Args) -> Outcome<bool>,
    ) -> Outcome<(Installables, Arc<Context>)> {
        Installables::parse_with(defaults, invocation, &Cell::new(false), own)
    }

    fn parse_with(
        defaults: Defaults,
        mut invocation: Invocation,
        all: &Cell<bool>,
        mut own: impl FnMut(&str, &mut Args) -> Outcome<bool>,
    ) -> Outcome<(Installables, Arc<Context>)> {
        let mut installables = Installables { defaults, ..Installables::default() };
        let words = invocation.words(|flag, args| Ok(own(flag, args)? || installables.flag(flag, args)?))?;
        installables.words = words;
        installables.all = all.get();
        if installables.stdin {
            let text = crate::common::read_stdin()?;
            installables.words.extend(String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned));
        }
        let context = installables.context(invocation)?;
        Ok((installables, context))
    }

    /// Ends the reading of flags: returns the context, with the settings that flakes among the words want.
    pub(crate) fn context(&self, mut invocation: Invocation) -> Outcome<Arc<Context>> {
        self.check(&mut invocation.common)?;
        let context = invocation.context()?;
        self.flakes.begin(&context)?;
        if self.has_source() {
            return Ok(context);
        }
        let mut references = Vec::new();
        for word in self.words() {
            if let Word::Flake { flake, .. } = self.word(&context, &word)? {
                references.push(flake.reference);
            }
        }
        crate::flakes::configured(context, &references, &self.flakes)
    }

    /// Returns what a word is where there is no source.
    pub(crate) fn word(&self, context: &Context, word: &str) -> Outcome<Word> {
        let (plain, outputs) = split_outputs(word);
        let root = plain.split('^').next().unwrap_or(plain);
        if root.contains('/') && store_path(context, root).is_some() {
            return Ok(Word::Store);
        }
        if !context.common.auto_arguments.is_empty() {
            return Err(Failure::Usage("'--arg' and '--argstr' are incompatible with flakes".into()));
        }
        Ok(Word::Flake { flake: FlakeWord::parse(context, plain, self.defaults)?, outputs })
    }

    /// Returns the value of a word, and the path of attributes that led to it.
    pub(crate) fn value<'h>(&self, evaluation: &Evaluation<'_, 'h>, word: &str) -> Step<(Value<'h>, Vec<String>)> {
        if self.has_source() {
            let path = split_outputs(word).0;
            let value = evaluation.select(self.root(evaluation)?, path)?;
            return Ok((evaluation.auto_call(value)?, crate::evaluation::split_attr_path(path)?));
        }
        let context = evaluation.context();
        match self.word(context, word)? {
            Word::Store => Err(Failure::new(format!("installable '{word}' does not correspond to a Nix language value")).into()),
            Word::Flake { flake, .. } => {
                let found = find(evaluation, &flake, &self.flakes.options(context)?)?;
                Ok((found.value, found.path))
            }
        }
    }

    /// Returns the value of `--file` or `--expr`.
    pub(crate) fn root<'h>(&self, evaluation: &Evaluation<'_, 'h>) -> Step<Value<'h>> {
        match (&self.file, &self.expression) {
            (Some(file), _) if file == "-" => evaluation.stdin(),
            (Some(file), _) => evaluation.file(file),
            (None, text) => evaluation.text(text.as_deref().unwrap_or_default().as_bytes()),
        }
    }

    /// Handles `-f`, `--expr` and `--derivation`. Returns false for other flags.
    pub(crate) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "-f" | "--file" => self.file = Some(args.value(flag)?),
            "-E" | "--expr" => self.expression = Some(args.value(flag)?),
            "--derivation" => self.derivations = true,
            "--stdin" => self.stdin = true,
            _ => return self.flakes.flag(flag, args),
        }
        Ok(true)
    }

    /// Returns whether attributes are meant rather than flakes.
    pub(crate) fn has_source(&self) -> bool {
        self.file.is_some() || self.expression.is_some()
    }

    /// Returns the words; the empty attribute path, or the flake around this directory, if there is none.
    pub(crate) fn words(&self) -> Vec<String> {
        match self.words.is_empty() && !self.stdin && !self.all {
            true => vec![if self.has_source() { String::new() } else { ".".to_owned() }],
            false => self.words.clone(),
        }
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
            return self.targets_of_words(context, read_write);
        }
        evaluate(context, read_write, |evaluation| {
            let root = self.root(evaluation)?;
            let words = self.words();
            let find = |i: usize| self.targets_of_word(evaluation, root, &words[i]);
            Ok(evaluation.eval.interleaved(words.len(), find, Stop::is_waiting)?.into_iter().flatten().collect())
        })
    }

    /// Returns what a word names in an expression or the store.
    fn targets_of_word<'h>(&self, evaluation: &Evaluation<'_, 'h>, root: Value<'h>, word: &str) -> Step<Vec<Target>> {
        let context = evaluation.context();
        if word.starts_with(context.store.store_dir().as_str()) {
            return Ok(vec![store_target(context, word, self.derivations)?]);
        }
        let (attribute, outputs) = split_outputs(word);
        let value = evaluation.select(root, if attribute == "." { "" } else { attribute })?;
        if let Some(path) = single_path(evaluation, value, &format!("while evaluating the attribute '{attribute}'"))? {
            return Ok(vec![path]);
        }
        let mut found_here: Vec<(StorePath, Option<Vec<String>>)> = Vec::new();
        let derivations = ask_packages(evaluation, value, |package| {
            let path = package.require_derivation_path()?;
            let outputs = match &outputs {
                Outputs::Default => {
                    let names: Vec<String> = package.outputs_to_install(false)?.into_keys().collect();
                    Some(if names.is_empty() { vec!["out".to_owned()] } else { names })
                }
                Outputs::All => None,
                Outputs::Named(names) => Some(names.clone()),
            };
            Ok((path, outputs))
        })?;
        for (derivation, outputs) in derivations {
            // Outputs of one derivation belong together.
            match found_here.iter_mut().find(|(path, _)| *path == derivation) {
                Some((_, Some(known))) => match outputs {
                    Some(outputs) => {
                        known.extend(outputs);
                        known.sort();
                        known.dedup();
                    }
                    None => *known = Vec::new(),
                },
                Some((_, None)) => {}
                None => found_here.push((derivation, outputs)),
            }
        }
        found_here.sort();
        let target = |(path, outputs)| if self.derivations { Target::Path(path) } else { Target::Built { derivation: path, outputs } };
        Ok(found_here.into_iter().map(target).collect())
    }
}

/// A word where there is no source.
pub(crate) enum Word {
    /// A store path or something that leads to one.
    Store,
    /// An output of a flake.
    Flake {
        /// The flake, and where to look.
        flake: FlakeWord,
        /// What stands behind the caret.
        outputs: Outputs,
    },
}

impl Installables {
    /// Returns what words stand for that are store paths and outputs of flakes.
    fn targets_of_words(&self, context: &Arc<Context>, read_write: bool) -> Outcome<Vec<Target>> {
        let words: Vec<(String, Word)> =
            self.words().into_iter().map(|word| Ok((word.clone(), self.word(context, &word)?))).collect::<Outcome<_>>()?;
        if words.iter().all(|(_, word)| matches!(word, Word::Store)) {
            return words.iter().map(|(word, _)| store_target(context, word, self.derivations)).collect();
        }
        crate::flakes::require(context, "flakes")?;
        let options = self.flakes.options(context)?;
        evaluate(context, read_write, |evaluation| {
            let target = |(word, kind): &(String, Word)| match kind {
                Word::Store => Ok(store_target(context, word, self.derivations)?),
                Word::Flake { flake, outputs } => flake_target(evaluation, flake, outputs, &options, self.derivations),
            };
            words.iter().map(target).collect()
        })
    }
}

/// Returns the one path that a value stands for if it is a path or a string.
pub(crate) fn single_path<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>, what: &str) -> Step<Option<Target>> {
    let eval = evaluation.eval;
    let value = eval.force(value)?;
    let wrong = |message: String| {
        EvalError::new(ErrorKind::Evaluation, message).while_(Pos::NONE, what)
    };
    let parse = |path: &str| eval.host.store_dir().parse(path).map_err(|error| Failure::new(error.to_string()));
    let (text, elements) = match value.kind() {
        Kind::Path(_) => {
            let (path, _) = eval.coerce_to_path(value, Pos::NONE, "while evaluating a path")?;
            let copied = eval.copy_to_store(path)?;
            (copied.bytes().to_vec(), copied.context().map(|context| context.elements).unwrap_or_default())
        }
        Kind::String(string) => (string.bytes().to_vec(), string.context().map(|context| context.elements).unwrap_or_default()),
        _ => return Ok(None),
    };
    evaluation.flush()?;
    let shown = String::from_utf8_lossy(&text);
    let [element] = elements else {
        return Err(wrong(format!("string '{shown}' has {} entries in its context. It should only have exactly one entry", elements.len())).into());
    };
    let path = eval.contexts.path_text(element);
    match element.kind {
        ContextKind::DeepDerivation => Err(wrong(format!(
            "string '{shown}' has a context which refers to a complete source and binary closure. This is not supported at this time"
        ))
        .into()),
        ContextKind::Opaque if shown != path => {
            Err(wrong(format!("path string '{shown}' has context with the different path '{path}'")).into())
        }
        ContextKind::Opaque => Ok(Some(Target::Path(parse(path)?))),
        ContextKind::Output => {
            let output = eval.contexts.output_text(element);
            if let Some((root, names)) = path.split_once('^') {
                let derivation = names.split('^').fold(SingleDerivedPath::Opaque(parse(root)?), SingleDerivedPath::output);
                return Ok(Some(Target::Nested { derivation, outputs: Some(vec![output.to_owned()]) }));
            }
            let derivation = parse(path)?;
            let known = eval.host.read_derivation(&derivation).map_err(|error| eval.host_error(error))?;
            let expected = known
                .outputs
                .get(output)
                .and_then(|found| found.path(eval.host.store_dir(), &known.name, output).ok().flatten())
                .map_or_else(
                    || nixlang_store::derivation::Placeholder::content_addressed_output(&derivation, output).to_string(),
                    |path| eval.host.store_dir().display(&path),
                );
            if shown != expected {
                return Err(wrong(format!(
                    "string '{shown}' has context with the output '{output}' from derivation '{path}', but the string is not \
                     the right placeholder for this derivation output. It should be '{expected}'"
                ))
                .into());
            }
            Ok(Some(Target::Built { derivation, outputs: Some(vec![output.to_owned()]) }))
        }
    }
}

/// Returns what a word without a source stands for: a store path, or a link to one.
fn store_target(context: &Context, word: &str, derivations: bool) -> Outcome<Target> {
    let (path, outputs) = split_outputs(word);
    let is_nested = path.contains('^');
    let root = path.split('^').next().unwrap_or(path);
    let store_path = store_path(context, root).ok_or_else(|| {
        Failure::new(format!("'{word}' is not a store path"))
    })?;
    let outputs = match outputs {
        Outputs::Default if is_nested => return Err(Failure::new(format!("invalid extended outputs specifier in '{word}'"))),
        Outputs::Default => None,
        Outputs::All => Some(None),
        Outputs::Named(names) => Some(Some(names)),
    };
    if is_nested {
        let names = path.split('^').skip(1);
        let derivation = names.fold(SingleDerivedPath::Opaque(store_path), SingleDerivedPath::output);
        return Ok(match outputs {
            _ if derivations => return Err(Failure::new(format!("the derivation of '{word}' is not known before it is built"))),
            outputs => Target::Nested { derivation, outputs: outputs.flatten() },
        });
    }
    if derivations {
        let info = context.store.any()?.path_info(&store_path)?;
        let path = if store_path.is_derivation() { store_path } else { info.info.deriver.clone().ok_or_else(|| Failure::new(format!("'{path}' does not have a known deriver")))? };
        return Ok(Target::Path(path));
    }
    match outputs {
        None => Ok(Target::Path(store_path)),
        Some(outputs) => {
            if !store_path.is_derivation() {
                let shown = context.store.store_dir().display(&store_path);
                return Err(Failure::new(format!("path '{shown}' is not a derivation")));
            }
            Ok(Target::Built { derivation: store_path, outputs })
        }
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

/// Splits `PATH^OUTPUTS`. What stands behind the last caret counts if it is `*` or a list of output names.
pub(crate) fn split_outputs(word: &str) -> (&str, Outputs) {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte));
    match word.rsplit_once('^') {
        Some((path, "*")) => (path, Outputs::All),
        Some((path, names)) if names.split(',').all(is_name) => {
            let mut names: Vec<String> = names.split(',').map(str::to_owned).collect();
            names.sort();
            names.dedup();
            (path, Outputs::Named(names))
        }
        _ => (word, Outputs::Default),
    }
}

impl Target {
    /// Returns what to build.
    pub(crate) fn to_derived(&self) -> DerivedPath {
        let wanted = |outputs: &Option<Vec<String>>| match outputs {
            Some(names) => OutputsSpec::Names(names.iter().map(|name| name.as_str().into()).collect()),
            None => OutputsSpec::All,
        };
        match self {
            Target::Built { derivation, outputs: Some(names) } => output(derivation, names),
            Target::Built { derivation, outputs } => DerivedPath::built(derivation.clone(), wanted(outputs)),
            Target::Nested { derivation, outputs } => DerivedPath::built(derivation.clone(), wanted(outputs)),
            Target::Path(path) => DerivedPath::Opaque(path.clone()),
        }
    }

    /// Returns names and paths of its outputs as far as they are known before a build; a plain path has one without a name.
    pub(crate) fn outputs(&self, context: &Context) -> Outcome<Vec<(Option<String>, StorePath)>> {
        match self {
            Target::Path(path) => Ok(vec![(None, path.clone())]),
            Target::Built { derivation, outputs } => {
                let names = match outputs {
                    Some(names) => names.clone(),
                    None => context.store.any()?.derivation_outputs(derivation)?.into_keys().collect(),
                };
                names.into_iter().map(|name| Ok((Some(name.clone()), output_path(context, derivation, &name)?))).collect()
            }
            Target::Nested { derivation, .. } => {
                let shown = derivation.display(context.store.store_dir());
                Err(Failure::new(format!("the outputs of '{shown}' are known only once it is built")))
            }
        }
    }
}

/// Something that was built: names and paths of outputs. A plain path has one without a name.
#[derive(Clone, Debug)]
pub(crate) struct BuiltTarget {
    /// The derivation that made them.
    pub(crate) derivation: Option<StorePath>,
    /// The outputs.
    pub(crate) outputs: Vec<(Option<String>, StorePath)>,
}

/// Builds targets. Returns what they became, in the same places, and the results.
pub(crate) fn build_targets(context: &Context, targets: &[Target], flags: BuildFlags) -> Outcome<(Vec<BuiltTarget>, BuildOutcome)> {
    let wanted: Vec<DerivedPath> = targets.iter().map(Target::to_derived).collect();
    let outcome = build(context, &wanted, flags)?;
    let built = targets.iter().zip(&outcome.realised).map(|(target, realised)| {
        let is_plain = matches!(target, Target::Path(_));
        let outputs = realised.outputs.iter().map(|(name, path)| ((!is_plain).then(|| name.to_string()), path.clone()));
        BuiltTarget { derivation: realised.derivation.clone(), outputs: outputs.collect() }
    });
    let built = built.collect();
    Ok((built, outcome))
}

/// Builds targets.
pub(crate) fn realise_targets(context: &Context, targets: &[Target], flags: BuildFlags) -> Outcome<()> {
    build_targets(context, targets, flags).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_behind_a_caret() {
        assert_eq!(split_outputs("a.b"), ("a.b", Outputs::Default));
        assert_eq!(split_outputs("a^*"), ("a", Outputs::All));
        assert_eq!(split_outputs("a^out,dev"), ("a", Outputs::Named(vec!["dev".into(), "out".into()])));
        assert_eq!(split_outputs("a^"), ("a^", Outputs::Default));
        assert_eq!(split_outputs("a^*x"), ("a^*x", Outputs::Default));
        assert_eq!(split_outputs("x.drv^out^*"), ("x.drv^out", Outputs::All));
    }
}
