//! `repl`: an interactive session. What a line means is `nixlang::repl`'s business; here are the terminal, the files, and the requests that need
//! a store.
//!
//! The surprising part: where stdin is no terminal, prompts and lines are printed as if somebody had typed them, as the reference does.

mod input;
mod markdown;
mod requests;

pub(super) use requests::edit;

use std::cell::RefCell;
use std::io::Write;

use nixlang::diagnostics::Diagnostic;
use nixlang::eval::{Budgets, ErrorKind, EvalError};
use nixlang::repl::{Output, Repl, ReplOptions, Request, Step as ReplStep};

use super::{Context, Invocation, VERSION};
use crate::evaluation::{Evaluation, Step, Stop, evaluate, working_directory};
use crate::failure::{Failure, Outcome};
use crate::flakes::Defaults;
use crate::installables::Installables;
use crate::ui::{Ui, Verbosity};
use input::{Input, Line};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    // Unlike the other new commands it isn't pure unless it is told so.
    invocation.common.settings.set("pure-eval", "false")?;
    let mut installables = Installables { defaults: Defaults::Everything, ..Installables::default() };
    let words = invocation.words(|flag, args| installables.flag(flag, args))?;
    installables.words = words;
    // Without words it is just a session.
    let context = if installables.has_source() || !installables.words.is_empty() { installables.context(invocation)? } else { invocation.context()? };
    evaluate(&context, true, |evaluation| session(evaluation, &context, &installables))?;
    Ok(0)
}

/// Returns Markdown as it is shown here.
pub(super) fn markdown(text: &str) -> String {
    let is_raw = std::env::var_os("_NIX_TEST_RAW_MARKDOWN").is_some_and(|value| value == "1");
    if is_raw { text.to_owned() } else { markdown::render(text, markdown::width(), crate::ui::shows_colours(&std::io::stdout())) }
}

fn session<'e, 'h>(evaluation: &'e Evaluation<'e, 'h>, context: &Context, installables: &Installables) -> Step<()> {
    let mut ui = context.ui;
    ui.line(Verbosity::NOTICE, &format!("Nix {VERSION}\nType :? for help."));
    let options = ReplOptions {
        directory: working_directory(),
        auto_arguments: Some(evaluation.auto_arguments),
        colour: crate::ui::shows_colours(&std::io::stdout()),
    };
    let repl = RefCell::new(Repl::new(evaluation.eval, options));
    if installables.has_source() || !installables.words.is_empty() {
        for word in installables.words() {
            let loader = {
                let word = word.clone();
                Box::new(move |_: &_| load(evaluation, installables, &word).map_err(as_error))
            };
            repl.borrow_mut().load_installable(word, loader, &mut |output| show(evaluation, ui, output))?;
        }
    }
    let mut input = Input::new(&repl);
    let mut text = String::new();
    loop {
        match input.read(text.is_empty())? {
            Line::Text(line) => {
                text.push_str(&line);
                text.push('\n');
            }
            Line::Dropped => {
                text.clear();
                continue;
            }
            Line::End => {
                println!();
                return Ok(());
            }
        }
        let step = repl.borrow_mut().submit(text.as_bytes(), &mut |output| show(evaluation, ui, output));
        let result = match step {
            Ok(ReplStep::NeedMore) => continue,
            Ok(ReplStep::Done) => Ok(()),
            Ok(ReplStep::Quit) => return Ok(()),
            Ok(ReplStep::Request(Request::ShowTrace(enable))) => {
                ui = ui.with_trace(enable);
                Ok(())
            }
            Ok(ReplStep::Request(request)) => requests::carry_out(evaluation, ui, &repl, request),
            Err(error) => Err(Stop::Error(error)),
        };
        match result {
            Ok(()) => {}
            Err(Stop::Error(error)) => ui.show(&Diagnostic::from_error(&error, &evaluation.eval.sources)),
            Err(Stop::Failure(Failure::Shown(diagnostic))) => ui.show(&diagnostic),
            Err(Stop::Failure(Failure::Usage(message))) => ui.show(&Diagnostic::error(message)),
            Err(Stop::Failure(Failure::Status(_))) => {}
            Err(Stop::Failure(Failure::BrokenPipe)) => return Err(Failure::BrokenPipe.into()),
        }
        text.clear();
        println!();
        if context.cancel.is_cancelled() {
            context.cancel.renew();
            evaluation.eval.set_budgets(Budgets { cancel: Some(context.cancel.evaluation()), ..Budgets::default() });
        }
    }
}

/// Returns the value of an attribute of `--file` or `--expr`.
fn load<'h>(evaluation: &Evaluation<'_, 'h>, installables: &Installables, word: &str) -> Step<nixlang::heap::Value<'h>> {
    if installables.file.as_deref() == Some("-") {
        return Err(Failure::new("a session reads its lines from stdin: '--file -' is not possible").into());
    }
    Ok(installables.value(evaluation, word)?.0)
}

/// Returns a failure as an evaluation's error, which is what loading may end with.
fn as_error(stop: Stop) -> EvalError {
    match stop {
        Stop::Error(error) => error,
        Stop::Failure(Failure::Shown(diagnostic)) => EvalError::new(ErrorKind::Host, diagnostic.message),
        Stop::Failure(Failure::Usage(message)) => EvalError::new(ErrorKind::Host, message),
        Stop::Failure(_) => EvalError::new(ErrorKind::Host, "it could not be loaded"),
    }
}

fn show(evaluation: &Evaluation<'_, '_>, ui: Ui, output: Output<'_>) {
    match output {
        Output::Text(text) => {
            // Paths that are shown should exist by then; if that fails, whoever uses them says so.
            let _ = evaluation.flush();
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(text).and_then(|()| stdout.flush());
        }
        Output::Notice(text) => ui.line(Verbosity::NOTICE, text),
    }
}
