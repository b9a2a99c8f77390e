//! `--override-input`, `--no-write-lock-file` and the other flags of lock files.

use std::collections::BTreeMap;

use nixlang::flake::{Edge, InputPath, LockFile, LockOptions, ReferenceLockFile, parse_input_path};
use nixlang_store::fetchers::registry::Entry;
use nixlang_store::input::{Attr, Attrs, FlakeRef};

use crate::args::Args;
use crate::commands::Context;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlakeFlags {
    /// `--recreate-lock-file`
    pub(crate) recreate: bool,
    no_update: bool,
    no_write: bool,
    no_registries: bool,
    commit: bool,
    overrides: Vec<(InputPath, String)>,
    /// `--update-input`
    pub(crate) updates: Vec<InputPath>,
    reference: Option<String>,
    output: Option<String>,
    inputs_from: Vec<String>,
    /// What is to be said of the flags.
    pub(crate) warnings: Vec<String>,
}

impl FlakeFlags {
    /// Handles a flag. Returns false if it is none of these.
    pub(crate) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        let mut deprecated = |text: &str| self.warnings.push(text.to_owned());
        match flag {
            "--recreate-lock-file" => {
                deprecated("'--recreate-lock-file' is deprecated and will be removed in a future version; use 'nix flake update' instead.");
                self.recreate = true;
            }
            "--no-update-lock-file" => self.no_update = true,
            "--no-write-lock-file" => self.no_write = true,
            "--no-registries" => {
                deprecated("'--no-registries' is deprecated; use '--no-use-registries'");
                self.no_registries = true;
            }
            "--commit-lock-file" => self.commit = true,
            "--update-input" => {
                deprecated("'--update-input' is a deprecated alias for 'flake update' and will be removed in a future version.");
                self.updates.push(input_path(flag, &args.value(flag)?)?);
            }
            "--override-input" => {
                let (path, reference) = args.two_values(flag)?;
                let path = input_path(flag, &path)?;
                self.overrides.retain(|(other, _)| *other != path);
                self.overrides.push((path, reference));
                self.no_write = true;
            }
            "--reference-lock-file" => self.reference = Some(args.value(flag)?),
            "--output-lock-file" => self.output = Some(args.value(flag)?),
            "--inputs-from" => self.inputs_from.push(args.value(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns what may be done to lock files.
    pub(crate) fn options(&self, context: &Context) -> Outcome<LockOptions> {
        let mut overrides = BTreeMap::new();
        for (path, text) in &self.overrides {
            overrides.insert(path.clone(), super::plain_reference(context, text, true)?);
        }
        let reference = self.reference.as_ref().map(|path| -> Outcome<ReferenceLockFile> {
            let path = std::path::absolute(path)?;
            Ok(ReferenceLockFile { file: path.display().to_string(), text: path.exists().then(|| std::fs::read(&path)).transpose()? })
        });
        Ok(LockOptions {
            recreate: self.recreate,
            update: !self.no_update,
            write: !self.no_write,
            use_registries: self.no_registries.then_some(false),
            commit: self.commit,
            reference: reference.transpose()?,
            output: self.output.clone(),
            overrides,
            updates: self.updates.iter().cloned().collect(),
            ..LockOptions::default()
        })
    }

    /// Says what is to be said of the flags, and takes the inputs of flakes of `--inputs-from` into the registry of this command.
    pub(crate) fn begin(&self, context: &std::sync::Arc<Context>) -> Outcome<()> {
        for warning in &self.warnings {
            context.ui.warn(warning.as_str());
        }
        for text in &self.inputs_from {
            let reference = super::plain_reference(context, text, false)?;
            let options = LockOptions { write: false, ..LockOptions::default() };
            let locked = evaluate(context, true, |evaluation| super::locked(evaluation, &reference, &options))?;
            let entries = inputs_as_entries(context, &locked.lock_file)?;
            context.flakes.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entries.extend(entries);
        }
        Ok(())
    }
}

fn input_path(flag: &str, text: &str) -> Outcome<InputPath> {
    match parse_input_path(text).map_err(Failure::Usage)? {
        path if path.is_empty() => {
            Err(Failure::Usage(format!("{flag} was passed a zero-length input path, which would refer to the flake itself, not an input")))
        }
        path => Ok(path),
    }
}

/// Returns a flake's inputs as entries of a registry.
fn inputs_as_entries(context: &Context, file: &LockFile) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, edge) in &file.node(LockFile::ROOT).inputs {
        let index = match edge {
            Edge::Node(index) => Some(*index),
            Edge::Follows(path) => file.find_input(path).map_err(Failure::new)?,
        };
        let Some(locked) = index.and_then(|index| file.node(index).locked.as_ref()) else { continue };
        let mut extra = Attrs::new();
        if !locked.locked.subdir.is_empty() {
            extra.insert("dir".into(), Attr::from(locked.locked.subdir.as_str()));
        }
        let from = super::with_reader(context, |reader| FlakeRef::indirect(name, reader))?.input;
        entries.push(Entry { from, to: locked.locked.input.clone(), extra, is_exact: false });
    }
    Ok(entries)
}
