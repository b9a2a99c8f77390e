//! `run`: builds an installable and runs its program. In a rooted store `/nix/store` is put in place for that program alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nixlang::eval::Coercion;
use nixlang::heap::Kind;
use nixlang::source::Pos;

use super::{Context, Invocation};
use crate::building::BuildFlags;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::flakes::Defaults;
use crate::installables::{Installables, Word, realise_targets, store_path};
use crate::start::{EnvironmentFlags, start};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables { defaults: Defaults::Apps, ..Installables::default() };
    let has_source = std::cell::Cell::new(false);
    let mut words: Vec<String> = Vec::new();
    let mut arguments: Vec<String> = Vec::new();
    let mut program: Option<String> = None;
    let mut variables = EnvironmentFlags::default();
    invocation.parse(
        |flag, args| match flag {
            "--program" => {
                program = Some(args.value(flag)?);
                Ok(true)
            }
            _ => {
                has_source.set(has_source.get() || matches!(flag, "-f" | "--file" | "-E" | "--expr"));
                Ok(variables.flag(flag, args)? || installables.flag(flag, args)?)
            }
        },
        |word, args| {
            // The first word is the installable, unless it stands behind `--` and a source was named.
            if words.is_empty() && (!args.flags_are_over() || !has_source.get()) {
                words.push(word);
            } else {
                arguments.push(word);
                arguments.append(&mut args.take_rest());
            }
            Ok(())
        },
    )?;
    installables.words = words;
    let context = installables.context(invocation)?;
    let word = installables.words().remove(0);
    let flake = match installables.has_source() {
        true => None,
        false => Some(installables.word(&context, &word)?),
    };
    let program = match (direct_program(&context, &installables)?, flake) {
        (Some(path), _) => path,
        (None, Some(Word::Flake { flake, .. })) => crate::flakes::program(&context, &flake, &installables.flakes.options(&context)?)?,
        (None, _) => {
            let targets = installables.targets(&context, true)?;
            realise_targets(&context, &targets, BuildFlags::default())?;
            let target = targets.first().ok_or_else(|| Failure::new("there is nothing to run"))?;
            let outputs = target.outputs(&context)?;
            let (_, output) = outputs.first().ok_or_else(|| Failure::new("there is nothing to run"))?;
            let name = match program {
                Some(program) => program,
                None => main_program(&context, &installables)?.unwrap_or_else(|| guess(&context, output)),
            };
            format!("{}/bin/{name}", context.store.store_dir().display(output)).into()
        }
    };
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    Err(start(&context, program.as_os_str(), &arguments, &variables.variables()?))
}

/// Returns the program if the installable is a path of one: `/nix/store/…-hello/bin/hello`.
fn direct_program(context: &Context, installables: &Installables) -> Outcome<Option<PathBuf>> {
    let [word] = &installables.words[..] else { return Ok(None) };
    if installables.has_source() {
        return Ok(None);
    }
    let Some(path) = Some(word).filter(|word| word.contains('/')).and_then(|word| store_path(context, word)) else { return Ok(None) };
    let logical = |rest: &Path| PathBuf::from(context.store.store_dir().display(&path)).join(rest);
    let real_store = context.store.real_store_dir().unwrap_or_else(|| PathBuf::from(context.store.store_dir().as_str()));
    let real = real_store.join(path.base_name());
    // The word may be the logical path, or a real one, possibly through a link such as `result/bin/x`.
    let absolute = std::path::absolute(word)?;
    let rest = absolute.strip_prefix(logical(Path::new(""))).map(Path::to_owned).ok().or_else(|| {
        let resolved = absolute.parent()?.canonicalize().ok()?.join(absolute.file_name()?);
        resolved.strip_prefix(&real).map(Path::to_owned).ok()
    });
    Ok(match rest {
        Some(rest) if !rest.as_os_str().is_empty() => Some(logical(&rest)),
        _ if real.is_file() => Some(PathBuf::from(context.store.store_dir().display(&path))),
        _ => None,
    })
}

/// Returns `meta.mainProgram`, or `pname`.
fn main_program(context: &std::sync::Arc<Context>, installables: &Installables) -> Outcome<Option<String>> {
    if !installables.has_source() {
        return Ok(None);
    }
    evaluate(context, true, |evaluation| {
        let eval = evaluation.eval;
        let root = match (&installables.file, &installables.expression) {
            (Some(file), _) => evaluation.file(file)?,
            (None, text) => evaluation.text(text.as_deref().unwrap_or_default().as_bytes())?,
        };
        let word = installables.words.first().map_or("", String::as_str);
        let value = evaluation.select(root, crate::installables::split_outputs(word).0)?;
        let value = evaluation.auto_call(value)?;
        let get = |value: nixlang::heap::Value<'_>, _: &str| match value.kind() {
            Kind::Attrs(_) => Some(()),
            _ => None,
        };
        if get(value, "meta").is_none() {
            return Ok(None);
        }
        for path in [&["meta", "mainProgram"][..], &["pname"]] {
            let mut found = Some(value);
            for name in path {
                found = match found {
                    Some(value) => match eval.force(value)?.kind() {
                        Kind::Attrs(attrs) => attrs.get(eval.symbols.intern(name.as_bytes())).map(|slot| slot.get()),
                        _ => None,
                    },
                    None => None,
                };
            }
            if let Some(found) = found {
                let text = eval.coerce_to_string(found, Pos::NONE, Coercion::PATH_SEGMENT, "while evaluating the name of a program")?;
                return Ok(Some(String::from_utf8_lossy(text.bytes()).into_owned()));
            }
        }
        Ok(None)
    })
}

/// Guesses a program's name: the only file in `bin`, or the name of the path without its version.
fn guess(context: &Context, output: &nixlang_store::path::StorePath) -> String {
    let real_store = context.store.real_store_dir().unwrap_or_else(|| PathBuf::from(context.store.store_dir().as_str()));
    let bin = real_store.join(output.base_name()).join("bin");
    let names: Vec<_> = std::fs::read_dir(bin).map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()).unwrap_or_default();
    if let [name] = &names[..] {
        return name.clone();
    }
    let name = output.name();
    let end = name.match_indices('-').find(|(i, _)| !name[i + 1..].starts_with(|c: char| c.is_ascii_alphabetic())).map_or(name.len(), |(i, _)| i);
    name[..end].to_owned()
}
