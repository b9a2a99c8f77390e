//! Packages as `nix-env` knows them: found in expressions or in an installed environment, as plain data.
//!
//! An expression written in the language (`packages.nix`) does the searching; names come first, and only the packages that were chosen by
//! them are asked for more, since that means to instantiate them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang::heap::{Kind, Value as NixValue};
use nixlang::source::Pos;
use nixlang_store::path::StorePath;
use serde_json::{Map, Value};

use super::super::Context;
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::{Failure, Outcome};

/// What is known of every package.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) attribute: String,
    pub(super) system: String,
}

/// A package.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) attribute: String,
    pub(super) system: String,
    pub(super) output_name: String,
    pub(super) derivation: Option<StorePath>,
    pub(super) out_path: Option<StorePath>,
    /// Names and, if asked for, paths.
    pub(super) outputs: Vec<(String, Option<StorePath>)>,
    pub(super) to_install: Option<Vec<String>>,
    pub(super) meta: Map<String, Value>,
}

/// What more is wanted to know of packages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) derivation: bool,
    pub(super) out_path: bool,
    pub(super) output_paths: bool,
    pub(super) meta: bool,
}

impl Wanted {
    /// Everything that installing needs.
    pub(super) const ALL: Wanted = Wanted { derivation: true, out_path: true, output_paths: true, meta: true };
}

/// Where packages come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file of the search path or disk, or a directory of files; below it an attribute path, empty for the whole.
    File { file: String, attribute: String },
    /// A function that gets the value of the file.
    Function { file: String, function: String },
    /// An installed environment.
    Installed(PathBuf),
}

/// Chooses among packages by what is known of all. The function returns the priority of one, which costs something.
pub(super) type Choose<'c> = dyn Fn(&[Summary], &mut dyn FnMut(usize) -> Outcome<i64>) -> Outcome<Vec<usize>> + Send + Sync + 'c;

/// Finds packages. With `writes` their derivations are written to the store.
pub(super) fn find(context: &Arc<Context>, source: &Source, wanted: Wanted, writes: bool, choose: &Choose<'_>) -> Outcome<Vec<Package>> {
    if let Source::Installed(environment) = source {
        if environment.join("manifest.json").exists() {
            let message = format!("profile {} is incompatible with 'nix-env'; please use 'nix profile' instead", environment.display());
            return Err(Failure::new(message));
        }
        if !environment.join("manifest.nix").exists() {
            return Ok(Vec::new());
        }
    }
    evaluate(context, writes, |evaluation| {
        let root = root(evaluation, source)?;
        let arguments = if matches!(source, Source::Installed(_)) { evaluation.text(b"{ }")? } else { evaluation.auto_arguments() };
        let library = evaluation.text(include_bytes!("packages.nix"))?;
        let bind = evaluation.text(b"library: root: arguments: library { inherit root arguments; }")?;
        let found = evaluation.eval.call(bind, &[library, root, arguments], Pos::NONE)?;
        let summaries: Vec<Summary> = json(evaluation, evaluation.select(found, "summaries")?)?
            .as_array()
            .into_iter()
            .flatten()
            .map(|summary| Summary { name: text(summary, "name"), attribute: text(summary, "attrPath"), system: text(summary, "system") })
            .collect();
        let priority_of = evaluation.select(found, "priority")?;
        let mut failed = None;
        let mut priority = |i: usize| {
            let asked = || -> Step<i64> {
                let value = evaluation.eval.call(priority_of, &[evaluation.text(i.to_string().as_bytes())?], Pos::NONE)?;
                Ok(priority_number(&json(evaluation, value)?))
            };
            asked().map_err(|stop| {
                failed = Some(stop);
                Failure::Status(1)
            })
        };
        let chosen = choose(&summaries, &mut priority);
        if let Some(stop) = failed {
            return Err(stop);
        }
        let details = evaluation.select(found, "details")?;
        let mut packages = Vec::new();
        for i in chosen? {
            let question = format!(
                "{{ i = {i}; drvPath = {}; outPath = {}; outputPaths = {}; meta = {}; }}",
                wanted.derivation, wanted.out_path, wanted.output_paths, wanted.meta
            );
            let value = evaluation.eval.call(details, &[evaluation.text(question.as_bytes())?], Pos::NONE)?;
            packages.push(package(evaluation.context(), &summaries[i], &json(evaluation, value)?)?);
        }
        evaluation.flush()?;
        Ok(packages)
    })
}

fn root<'h>(evaluation: &Evaluation<'_, 'h>, source: &Source) -> Step<NixValue<'h>> {
    match source {
        Source::File { file, attribute } => {
            let value = load(evaluation, file)?;
            Ok(if attribute.is_empty() { value } else { evaluation.select(value, attribute)? })
        }
        Source::Function { file, function } => {
            let value = load(evaluation, file)?;
            let function = evaluation.text(function.as_bytes())?;
            Ok(evaluation.eval.call(function, &[value], Pos::NONE)?)
        }
        Source::Installed(environment) => evaluation.file(&environment.join("manifest.nix").display().to_string()),
    }
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

/// Returns a value as data.
fn json<'h>(evaluation: &Evaluation<'_, 'h>, value: NixValue<'h>) -> Step<Value> {
    let to_json = evaluation.text(b"builtins.toJSON")?;
    let value = evaluation.eval.call(to_json, &[value], Pos::NONE)?;
    match evaluation.eval.force(value)?.kind() {
        Kind::String(text) => Ok(serde_json::from_slice(text.bytes()).map_err(|error| Failure::from_error(&error))?),
        _ => unreachable!("toJSON gives strings"),
    }
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns a priority, which may be written as a string.
pub(super) fn priority_number(json: &Value) -> i64 {
    json.as_i64().or_else(|| json.as_str()?.parse().ok()).unwrap_or(0)
}

fn package(context: &Context, summary: &Summary, json: &Value) -> Outcome<Package> {
    let path = |value: Option<&Value>| -> Outcome<Option<StorePath>> {
        let Some(text) = value.and_then(Value::as_str) else { return Ok(None) };
        context.store.store_dir().parse(text).map(Some).map_err(|error| Failure::new(error.to_string()))
    };
    let outputs = json["outputs"].as_array().into_iter().flatten();
    let to_install = json["toInstall"].as_array();
    Ok(Package {
        name: summary.name.clone(),
        attribute: summary.attribute.clone(),
        system: summary.system.clone(),
        output_name: text(json, "outputName"),
        derivation: path(json.get("derivation"))?,
        out_path: path(json.get("out"))?,
        outputs: outputs.map(|output| Ok((text(output, "name"), path(output.get("path"))?))).collect::<Outcome<_>>()?,
        to_install: to_install.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        meta: json["meta"].as_object().cloned().unwrap_or_default(),
    })
}

impl Package {
    /// A path that is installed as it is.
    pub(super) fn of_path(name: &str, derivation: Option<StorePath>, out_path: StorePath) -> Package {
        Package {
            name: name.to_owned(),
            attribute: String::new(),
            system: String::new(),
            output_name: String::new(),
            derivation,
            out_path: Some(out_path.clone()),
            outputs: vec![("out".to_owned(), Some(out_path))],
            to_install: None,
            meta: Map::new(),
        }
    }

    /// Returns the outputs that are installed.
    pub(super) fn installed_outputs(&self) -> Outcome<Vec<(String, StorePath)>> {
        let names = match &self.to_install {
            Some(names) => names.clone(),
            None => self.outputs.iter().map(|(name, _)| name.clone()).collect(),
        };
        let find = |name: String| {
            let path = self.outputs.iter().find(|(output, _)| *output == name).and_then(|(_, path)| path.clone());
            let missing = || Failure::new(format!("derivation '{}' does not have output '{name}'", self.name));
            Ok((name.clone(), path.ok_or_else(missing)?))
        };
        names.into_iter().map(find).collect()
    }

    /// Returns whether `meta.keep` says that nothing may replace it.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.meta.get("keep"), Some(Value::Bool(true))) || self.meta.get("keep").and_then(Value::as_str) == Some("true")
    }

    /// Returns `meta.priority`, 0 without one.
    pub(super) fn priority(&self) -> i64 {
        self.meta.get("priority").map_or(0, priority_number)
    }
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
