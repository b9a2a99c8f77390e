//! `eval`: evaluates an installable and prints its value.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nixlang::eval::{Coercion, ErrorKind, EvalError, PrintOptions};
use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;

use super::Invocation;
use crate::evaluation::{Evaluation, Step, Stop, evaluate};
use crate::failure::{Failure, Outcome};
use crate::installables::Installables;

#[derive(Clone, Debug, Default)]
struct Flags {
    raw: bool,
    json: bool,
    /// None for what suits where the output goes.
    pretty: Option<bool>,
    read_only: bool,
    apply: Option<String>,
    write_to: Option<PathBuf>,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables::default();
    let mut flags = Flags::default();
    let words = invocation.words(|flag, args| {
        match flag {
            "--raw" => flags.raw = true,
            "--json" => flags.json = true,
            "--pretty" => flags.pretty = Some(true),
            "--no-pretty" => flags.pretty = Some(false),
            "--read-only" => flags.read_only = true,
            "--apply" => flags.apply = Some(args.value(flag)?),
            "--write-to" => flags.write_to = Some(args.value(flag)?.into()),
            _ => return installables.flag(flag, args),
        }
        Ok(true)
    })?;
    if words.len() > 1 {
        return Err(Failure::Usage("'eval' takes one installable".into()));
    }
    if flags.raw && flags.json {
        return Err(Failure::Usage("--raw and --json are mutually exclusive".into()));
    }
    installables.words = words;
    let context = installables.context(invocation)?;
    evaluate(&context, !flags.read_only, |evaluation| {
        let (mut value, _) = installables.value(evaluation, &installables.words().remove(0))?;
        if let Some(function) = &flags.apply {
            let function = evaluation.text(function.as_bytes())?;
            value = evaluation.eval.call(function, &[value], Pos::NONE)?;
        }
        match &flags.write_to {
            Some(path) if path.symlink_metadata().is_ok() => Err(Failure::new(format!("path '{}' already exists", path.display())).into()),
            Some(path) => write(evaluation, value, Pos::NONE, path),
            None => print(evaluation, &flags, value),
        }
    })?;
    Ok(0)
}

fn print<'h>(evaluation: &Evaluation<'_, 'h>, flags: &Flags, value: Value<'h>) -> Step<()> {
    let eval = evaluation.eval;
    let text = if flags.raw {
        eval.coerce_to_string(value, Pos::NONE, Coercion::INTERPOLATION, "while generating the eval command output")?.bytes().to_vec()
    } else if flags.json {
        let mut text = eval.to_json(value, Pos::NONE, false)?.0;
        if flags.pretty.unwrap_or_else(|| std::io::IsTerminal::is_terminal(&std::io::stdout())) {
            let parsed: serde_json::Value = serde_json::from_slice(&text).map_err(|error| Failure::new(error.to_string()))?;
            text = nixlang_store::json::to_string_pretty(&parsed).into_bytes();
        }
        text.push(b'\n');
        text
    } else {
        let mut text = eval.print(value, PrintOptions { derivation_paths: true, ..PrintOptions::ALL })?;
        text.push(b'\n');
        text
    };
    evaluation.flush()?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&text)?;
    Ok(stdout.flush()?)
}

/// Writes a string as a file, a set as a directory. Nothing is written outside of it, whatever names the set has.
fn write<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>, pos: Pos, path: &Path) -> Step<()> {
    let eval = evaluation.eval;
    let _depth = eval.enter_call(pos)?;
    let failed = |error: std::io::Error| Failure::new(format!("writing '{}': {}", path.display(), crate::failure::plain(&error)));
    match eval.force_at(value, pos)?.kind() {
        Kind::String(text) => Ok(std::fs::write(path, text.bytes()).map_err(failed)?),
        Kind::Attrs(attrs) => {
            std::fs::create_dir(path).map_err(failed)?;
            for entry in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols) {
                let name = eval.symbols.text(entry.symbol);
                let written = if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
                    let message = format!("invalid file name '{}'", String::from_utf8_lossy(name));
                    Err(EvalError::new(ErrorKind::Evaluation, message).into())
                } else {
                    write(evaluation, entry.slot.get(), entry.pos, &path.join(std::ffi::OsStr::from_bytes(name)))
                };
                written.map_err(|stop| match stop {
                    Stop::Error(error) => {
                        error.while_(entry.pos, format!("while evaluating the attribute '{}'", String::from_utf8_lossy(name))).into()
                    }
                    other => other,
                })?;
            }
            Ok(())
        }
        _ => Err(EvalError::new(ErrorKind::Type, "the value to be written is not a string or an attribute set").at(pos).into()),
    }
}
