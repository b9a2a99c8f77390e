//! `--debugger`: what a stopped evaluation says on stderr, the commands that it takes from stdin, and their answers on stdout.

use std::fmt::Write as _;
use std::io::{BufRead, Write};

use nixlang::diagnostics::{Diagnostic, RenderOptions, render};
use nixlang::eval::{PrintOptions, Resume, StopReason, Stopped};
use nixlang::heap::Kind;

/// Lists the commands.
const HELP: &str = "\
:c  go on         :s  step into the next call     :n  step over this call       :o  step out of this call
:bt  the calls    :st N  look at call N           :env  what is in scope there  :args  what it passes    :q  end
Everything else is evaluated, with what is in scope where the call stands that is looked at.";

/// Tells where an evaluation stands, and asks how to go on. At the end of the input it goes on.
pub(crate) fn ask(stopped: &Stopped<'_, '_>) -> Resume {
    let mut stderr = std::io::stderr().lock();
    let mut say = |text: &str| {
        // Where nobody reads there is nothing to do about it.
        let _ = writeln!(stderr, "{}", text.trim_end());
    };
    let why = match stopped.reason {
        StopReason::Break => "stopped at builtins.break",
        StopReason::Breakpoint => "stopped at a breakpoint",
        StopReason::Step => "stopped at a call",
        _ => "stopped at a failure",
    };
    say(&format!("{why}, {}", stopped.eval.show_pos(stopped.place(0))));
    if let Some(error) = stopped.error {
        say(&render(&Diagnostic::from_error(error, &stopped.eval.sources), &RenderOptions::default()));
    }
    say("(:? lists the commands)");
    let mut stdout = std::io::stdout().lock();
    let mut answer = |text: &str| {
        let _ = writeln!(stdout, "{}", text.trim_end());
    };
    let mut number = 0;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return Resume::Continue };
        let (command, argument) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match command {
            "" => {}
            ":?" | ":help" => answer(HELP),
            ":c" | ":continue" => return Resume::Continue,
            ":s" | ":step" => return Resume::StepInto,
            ":n" | ":next" => return Resume::StepOver,
            ":o" | ":out" => return Resume::StepOut,
            ":q" | ":quit" => return Resume::Quit,
            ":bt" | ":backtrace" => answer(&stopped.backtrace()),
            ":st" => match argument.trim().parse() {
                Ok(wanted) if wanted < stopped.n_frames() => number = wanted,
                _ => say(&format!("there are {} calls, from 0", stopped.n_frames())),
            },
            ":env" => answer(&scope(stopped, number)),
            ":args" => {
                for (name, value) in stopped.arguments(number) {
                    let options = PrintOptions { force: false, ..PrintOptions::ALL };
                    let shown = stopped.eval.print(value, options).unwrap_or_else(|error| error.to_string().into_bytes());
                    answer(&format!("{} = {}", stopped.eval.text(name), String::from_utf8_lossy(&shown)));
                }
            }
            _ if command.starts_with(':') => say(&format!("unknown command '{command}'; :? lists them")),
            _ => match stopped.evaluate(number, line.as_bytes()).and_then(|value| stopped.eval.print(value, PrintOptions::ALL)) {
                Ok(text) => answer(&String::from_utf8_lossy(&text)),
                Err(error) => say(&render(&Diagnostic::from_error(&error, &stopped.eval.sources), &RenderOptions::default())),
            },
        }
    }
    Resume::Continue
}

/// Returns the names in scope in the reference's form: a block for each frame, innermost first, the globals last.
fn scope(stopped: &Stopped<'_, '_>, number: usize) -> String {
    let eval = stopped.eval;
    let mut text = String::new();
    let levels = stopped.scope(number);
    for (index, level) in levels.iter().enumerate() {
        let _ = write!(text, "Env level {index}\nstatic:");
        for (name, _) in &level.bindings {
            let _ = write!(text, " {}", eval.text(*name));
        }
        text.push('\n');
        for with in &level.withs {
            text.push_str("with:");
            if let Kind::Attrs(attrs) = with.kind() {
                for entry in attrs.flat(eval.heap).iter() {
                    let _ = write!(text, " {}", eval.text(entry.symbol));
                }
            }
            text.push('\n');
        }
        text.push('\n');
    }
    let mut globals: Vec<_> = eval.global_names().into_iter().map(|name| eval.text(name).to_string()).filter(|name| !name.starts_with("__")).collect();
    globals.sort_unstable();
    let _ = write!(text, "Env level {}\n{}", levels.len(), globals.join(" "));
    text
}
