//! What a session asks of its host: builds, logs, shells, an editor, documentation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;

use nixlang::eval::Evaluator;
use nixlang::flake::LockOptions;
use nixlang::repl::{Repl, Request};
use nixlang_build::{DerivedPath, OutputsSpec};
use nixlang_store::path::StorePath;

use super::show;
use crate::building::{BuildFlags, build};
use crate::commands::Context;
use crate::evaluation::{Evaluation, Step};
use crate::failure::{Failure, Outcome};
use crate::ui::Ui;

pub(super) fn carry_out<'e, 'h>(evaluation: &'e Evaluation<'e, 'h>, ui: Ui, repl: &RefCell<Repl<'e, 'h>>, request: Request) -> Step<()> {
    let context = evaluation.context();
    let valid = |derivation: &str| -> Outcome<StorePath> {
        evaluation.flush()?;
        let path = context.store.store_dir().parse(derivation.as_bytes()).map_err(|error| Failure::from_error(&error))?;
        if !context.store.open()?.is_valid(&path)? {
            return Err(Failure::new(format!("expression evaluated to invalid derivation '{derivation}'")));
        }
        Ok(path)
    };
    match request {
        Request::Build { derivation, link } => build_all(context, &valid(&derivation)?, link)?,
        Request::Install { derivation } => run_self(context, &["nix-env", "-i", &context.store.store_dir().display(&valid(&derivation)?)])?,
        Request::Shell { derivation } => run_self(context, &["nix-shell", &context.store.store_dir().display(&valid(&derivation)?)])?,
        Request::Log { derivation } => crate::commands::log::print(context, &valid(&derivation)?)?,
        Request::Edit { path, line } => {
            edit(&String::from_utf8_lossy(&path), line)?;
            repl.borrow_mut().reload(&mut |output| show(evaluation, ui, output))?;
        }
        Request::LoadFlake { reference } => load_flake(evaluation, ui, repl, reference)?,
        Request::Documentation(text) => {
            println!("{}", super::markdown(&text));
        }
        Request::Names(names) => {
            for name in names {
                println!("{name}");
            }
        }
        // Of the loop that called this, or newer than this program.
        other => return Err(Failure::new(format!("this is not supported yet: {other:?}")).into()),
    }
    Ok(())
}

/// Adds the outputs of a flake to the session. Its lock file is not changed.
fn load_flake<'e, 'h>(evaluation: &'e Evaluation<'e, 'h>, ui: Ui, repl: &RefCell<Repl<'e, 'h>>, text: String) -> Step<()> {
    let context = evaluation.context();
    let is_pure = evaluation.eval.options.pure;
    let reference = crate::flakes::plain_reference(context, &text, true)?;
    if is_pure && !reference.input.is_locked(evaluation.eval.options.trust_forge_archives).map_err(|error| Failure::new(error.to_string()))? {
        return Err(Failure::new(format!("cannot use ':load-flake' on locked flake reference '{text}' (use --impure to override)")).into());
    }
    let options = LockOptions { update: false, use_registries: Some(!is_pure), allow_unlocked: !is_pure, ..LockOptions::default() };
    let load = move |eval: &Evaluator<'h>| nixlang::flake::call(eval, &nixlang::flake::lock(eval, &reference, &options)?);
    repl.borrow_mut().load_flake(text, Box::new(load), &mut |output| show(evaluation, ui, output))?;
    Ok(())
}

fn build_all(context: &Context, derivation: &StorePath, link: bool) -> Outcome<()> {
    let wanted = DerivedPath::built(derivation.clone(), OutputsSpec::All);
    build(context, &[wanted], BuildFlags::default())?;
    println!("\nThis derivation produced the following outputs:");
    let outputs: BTreeMap<String, Option<StorePath>> = context.store.open()?.derivation_outputs(derivation)?.into_iter().collect();
    for (name, path) in outputs {
        let Some(path) = path else { continue };
        let shown = context.store.store_dir().display(&path);
        if link {
            let link = format!("repl-result-{name}");
            crate::roots::make(context, &path, &std::path::absolute(&link)?)?;
            println!("  ./{link} -> {shown}");
        } else {
            println!("  {name} -> {shown}");
        }
    }
    Ok(())
}

/// Runs another command of this program, with the settings of this one, on the same terminal.
fn run_self(context: &Context, arguments: &[&str]) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let set = context.settings.all().filter(|(setting, value)| *value != setting.default);
    let settings: String = set.map(|(setting, value)| format!("{} = {value}\n", setting.name)).collect();
    let status = Command::new(program).args(arguments).env("NIX_CONFIG", settings).status()?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("'{}' failed: {status}", arguments.join(" ")))) }
}

/// Opens `$EDITOR`; those that are known to understand it are told the line.
pub(in crate::commands) fn edit(path: &str, line: u32) -> Outcome<()> {
    let editor = std::env::var("EDITOR").unwrap_or_else(|_| "cat".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("cat");
    let mut command = Command::new(program);
    command.args(words);
    if line > 0 && ["emacs", "nano", "vim", "kak", "hx"].iter().any(|known| editor.contains(known)) {
        command.arg(format!("+{line}"));
    }
    let status = command.arg(path).status().map_err(|error| Failure::new(format!("cannot run '{program}': {}", crate::failure::plain(&error))))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("program '{program}' failed: {status}"))) }
}
