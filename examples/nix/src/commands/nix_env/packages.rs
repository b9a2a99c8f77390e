//! Packages as `nix-env` knows them: found in expressions or in an installed environment, and kept beyond the evaluation.
//!
//! The surprising thing: a [`Package`] holds errors too. What is wrong with one is said when that is needed, some of it only after a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang::diagnostics::Diagnostic;
use nixlang::heap::Value as NixValue;
use nixlang::packages::{FindOptions, find};
use nixlang::source::Pos;
use nixlang_store::path::StorePath;
use serde_json::{Map, Value};

use super::super::Context;
use crate::evaluation::{Evaluation, Step, Stop, evaluate};
use crate::failure::{Failure, Outcome};

/// A package as long as its evaluation lasts.
pub(super) type Found<'e, 'h> = nixlang::packages::Package<'e, 'h>;

/// Something, or what is wrong with it.
type Deferred<T> = Result<T, Box<Diagnostic>>;

/// A package.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    derivation: Deferred<Option<StorePath>>,
    out_path: Deferred<StorePath>,
    contents: Deferred<Contents>,
    /// What was set of `meta`.
    pub(super) flags: Map<String, Value>,
}

/// What of a package gets into an environment.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// Those that are installed.
    pub(super) outputs: Vec<(String, StorePath)>,
    /// Empty if nobody knows it.
    pub(super) system: String,
    meta: Map<String, Value>,
}

/// Where packages come from. Files are those of the search path or disk, or directories of files.
#[derive(Clone, Debug)]
pub(super) enum Source<'s> {
    /// Everything in a file below an attribute path, which is empty for the whole.
    File { file: &'s str, attribute: &'s str },
    /// What is at several attribute paths of a file.
    Attributes { file: &'s str, attributes: &'s [String] },
    /// What functions make of the value of a file.
    Functions { file: &'s str, functions: &'s [String] },
    /// An installed environment.
    Installed(PathBuf),
}

/// Finds packages and returns what `ask` makes of them. With `writes` their derivations are written to the store.
pub(super) fn with_packages<R: Send>(
    context: &Arc<Context>,
    source: &Source<'_>,
    writes: bool,
    ask: impl for<'h> FnOnce(&Evaluation<'_, 'h>, Vec<Found<'_, 'h>>) -> Step<R> + Send,
) -> Outcome<R> {
    evaluate(context, writes, |evaluation| {
        let mut options = FindOptions { arguments: Some(evaluation.auto_arguments()), skips_failed_assertions: true, ..FindOptions::default() };
        let mut values = Vec::new();
        match source {
            Source::File { file, attribute } => {
                options.prefix = (*attribute).to_owned();
                values.push(evaluation.select(load(evaluation, file)?, attribute)?);
            }
            Source::Attributes { file, attributes } => {
                let value = load(evaluation, file)?;
                for attribute in *attributes {
                    values.push(evaluation.select(value, attribute)?);
                }
            }
            Source::Functions { file, functions } => {
                let value = load(evaluation, file)?;
                for function in *functions {
                    values.push(evaluation.eval.call(evaluation.text(function.as_bytes())?, &[value], Pos::NONE)?);
                }
            }
            Source::Installed(environment) => {
                options = FindOptions::default();
                if let Some(manifest) = manifest(environment)? {
                    values.push(evaluation.file(&manifest.display().to_string())?);
                }
            }
        }
        let mut packages = Vec::new();
        for value in values {
            packages.extend(find(evaluation.eval, value, &options)?);
        }
        ask(evaluation, packages)
    })
}

/// Returns the manifest of an environment, none if it is empty.
fn manifest(environment: &Path) -> Outcome<Option<PathBuf>> {
    if environment.join("manifest.json").exists() {
        let message = format!("profile {} is incompatible with 'nix-env'; please use 'nix profile' instead", environment.display());
        return Err(Failure::new(message));
    }
    Ok(Some(environment.join("manifest.nix")).filter(|manifest| manifest.exists()))
}

/// Returns what is installed in an environment.
pub(super) fn installed(context: &Arc<Context>, environment: &Path) -> Outcome<Vec<Package>> {
    match manifest(environment)? {
        Some(_) => with_packages(context, &Source::Installed(environment.to_owned()), false, keep_all),
        None => Ok(Vec::new()),
    }
}

/// Returns packages that stay when the evaluation ends.
pub(super) fn keep_all(evaluation: &Evaluation<'_, '_>, packages: Vec<Found<'_, '_>>) -> Step<Vec<Package>> {
    packages.iter().map(|package| Package::keep(evaluation, package)).collect()
}

/// Returns an attribute of `meta` as data, `None` if it can't be kept.
pub(super) fn meta(package: &Found<'_, '_>, name: &str) -> Step<Option<Value>> {
    let Some(value) = package.meta(name)? else { return Ok(None) };
    let (text, _) = package.evaluator().to_json(value, Pos::NONE, true)?;
    Ok(Some(serde_json::from_slice(&text).map_err(|error| Failure::from_error(&error))?))
}

/// Loads a file, or the files of a directory that is no expression itself as a set by their names.
fn load<'h>(evaluation: &Evaluation<'_, 'h>, file: &str) -> Step<NixValue<'h>> {
    let path = Path::new(file);
    if !path.is_dir() || path.join("default.nix").exists() {
        return evaluation.file(file);
    }
    let mut files = Vec::new();
    collect(path, &mut files, 0)?;
    let mut expression = String::from("{ _combineChannels = [ ]; ");
    let mut seen = std::collections::BTreeSet::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".nix").unwrap_or(&name).to_owned();
        if seen.insert(name.clone()) {
            expression.push_str(&format!("{} = import {}; ", quote(&name), path_literal(&file)));
        } else {
            evaluation.context().ui.warn(format!("name collision in input Nix expressions, skipping '{}'", file.display()));
        }
    }
    expression.push('}');
    evaluation.text(expression.as_bytes())
}

fn path_literal(path: &Path) -> String {
    format!("(/. + {})", quote(&path.to_string_lossy()))
}

/// Collects the expressions below a directory, links followed.
fn collect(dir: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Outcome<()> {
    if depth > 16 {
        return Err(Failure::new(format!("directories of expressions are nested too deeply in '{}'", dir.display())));
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    names.sort();
    for path in names {
        // Links that lead nowhere are passed over.
        let Ok(metadata) = path.metadata() else { continue };
        let is_nix = path.extension().is_some_and(|extension| extension == "nix");
        if path.file_name().is_some_and(|name| name == "manifest.nix") {
            continue;
        }
        // A link is what it leads to; the name that counts is that of the link.
        let is_file_by_target = || path.canonicalize().is_ok_and(|target| target.extension().is_some_and(|extension| extension == "nix"));
        if metadata.is_file() && (is_nix || is_file_by_target()) || metadata.is_dir() && path.join("default.nix").exists() {
            files.push(path);
        } else if metadata.is_dir() {
            collect(&path, files, depth + 1)?;
        }
        if files.len() > 1024 {
            return Err(Failure::new(format!("too many Nix expressions in directory '{}'", dir.display())));
        }
    }
    Ok(())
}

impl Package {
    fn keep(evaluation: &Evaluation<'_, '_>, package: &Found<'_, '_>) -> Step<Package> {
        let contents = || -> Step<Contents> {
            let outputs = package.outputs_to_install(true)?;
            let system = package.system()?;
            let mut kept = Map::new();
            for name in package.meta_names()? {
                if let Some(value) = meta(package, &name)? {
                    kept.insert(name, value);
                }
            }
            Ok(Contents { outputs: outputs.into_iter().filter_map(|(name, path)| Some((name, path?))).collect(), system, meta: kept })
        };
        Ok(Package {
            name: package.name()?,
            derivation: deferred(evaluation, package.derivation_path().map_err(Stop::from))?,
            out_path: deferred(evaluation, package.out_path().map_err(Stop::from))?,
            contents: deferred(evaluation, contents())?,
            flags: Map::new(),
        })
    }

    /// A path that is installed as it is.
    pub(super) fn of_path(name: &str, derivation: Option<StorePath>, out_path: StorePath) -> Package {
        let contents = Contents { outputs: vec![("out".to_owned(), out_path.clone())], system: String::new(), meta: Map::new() };
        Package { name: name.to_owned(), derivation: Ok(derivation), out_path: Ok(out_path), contents: Ok(contents), flags: Map::new() }
    }

    /// Returns its derivation, if that is known.
    pub(super) fn derivation(&self) -> Outcome<Option<&StorePath>> {
        demand(&self.derivation).map(Option::as_ref)
    }

    /// Returns where its main output is.
    pub(super) fn out_path(&self) -> Outcome<&StorePath> {
        demand(&self.out_path)
    }

    /// Returns what gets into an environment.
    pub(super) fn contents(&self) -> Outcome<&Contents> {
        demand(&self.contents)
    }

    /// Returns `meta`.
    pub(super) fn meta(&self) -> Outcome<Map<String, Value>> {
        let mut meta = self.contents()?.meta.clone();
        meta.extend(self.flags.clone());
        Ok(meta)
    }

    /// Returns whether `meta.keep` says that nothing may replace it.
    pub(super) fn is_kept(&self) -> Outcome<bool> {
        let meta = self.meta()?;
        Ok(matches!(meta.get("keep"), Some(Value::Bool(true))) || meta.get("keep").and_then(Value::as_str) == Some("true"))
    }

    /// Returns `meta.priority`, 0 without one.
    pub(super) fn priority(&self) -> Outcome<i64> {
        Ok(self.meta()?.get("priority").and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0))
    }
}

/// Keeps an error of the evaluation for later.
fn deferred<T>(evaluation: &Evaluation<'_, '_>, step: Step<T>) -> Step<Deferred<T>> {
    match step {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Error(error)) if error.is_permanent() => Ok(Err(Box::new(Diagnostic::from_error(&error, &evaluation.eval.sources)))),
        Err(stop) => Err(stop),
    }
}

fn demand<T>(deferred: &Deferred<T>) -> Outcome<&T> {
    deferred.as_ref().map_err(|diagnostic| Failure::Shown(diagnostic.clone()))
}

/// Returns text as a string of the language.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' if chars.peek() == Some(&'{') => quoted.push_str("\\$"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns data as an expression of the language, on one line.
pub(super) fn expression(json: &Value) -> String {
    match json {
        Value::Null => "null".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(values) => {
            let values: String = values.iter().map(|value| format!("{} ", expression(value))).collect();
            format!("[ {values}]")
        }
        Value::Object(entries) => {
            let entries: String = entries.iter().map(|(name, value)| format!("{} = {}; ", attribute_name(name), expression(value))).collect();
            format!("{{ {entries}}}")
        }
        Value::Bool(_) | Value::Number(_) => json.to_string(),
    }
}

fn attribute_name(name: &str) -> String {
    const KEYWORDS: [&str; 10] = ["if", "then", "else", "assert", "with", "let", "in", "rec", "inherit", "or"];
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '\''))
        && !KEYWORDS.contains(&name);
    if is_plain { name.to_owned() } else { quote(name) }
}
