//! `--debugger`: what a stopped evaluation says on stderr, and the commands that it takes from stdin.

use std::io::{BufRead, Write};

use nixlang::diagnostics::{Diagnostic, RenderOptions, render};
use nixlang::eval::{PrintOptions, Resume, StopReason, Stopped};

/// Lists the commands.
const HELP: &str = "\
:c  go on          :s  step into the next call    :n  step over this call    :o  step out of this call
:bt the calls      :st N  look at call N          :env  its parameters       :q  end
Everything else is evaluated, with the parameters of the call that is looked at.";

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
    // Of a call of `builtins.break`, who calls it is of interest.
    let mut number = usize::from(stopped.reason == StopReason::Break && stopped.n_frames() > 1);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return Resume::Continue };
        let (command, argument) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match command {
            "" => {}
            ":?" | ":help" => say(HELP),
            ":c" | ":continue" => return Resume::Continue,
            ":s" | ":step" => return Resume::StepInto,
            ":n" | ":next" => return Resume::StepOver,
            ":o" | ":out" => return Resume::StepOut,
            ":q" | ":quit" => return Resume::Quit,
            ":bt" | ":backtrace" => say(&stopped.backtrace()),
            ":st" => match argument.trim().parse() {
                Ok(wanted) if wanted < stopped.n_frames() => number = wanted,
                _ => say(&format!("there are {} calls, from 0", stopped.n_frames())),
            },
            ":env" => {
                for (name, value) in stopped.variables(number) {
                    let options = PrintOptions { force: false, ..PrintOptions::ALL };
                    let shown = stopped.eval.print(value, options).unwrap_or_else(|error| error.to_string().into_bytes());
                    say(&format!("{} = {}", stopped.eval.text(name), String::from_utf8_lossy(&shown)));
                }
            }
            _ if command.starts_with(':') => say(&format!("unknown command '{command}'; :? lists them")),
            _ => match stopped.evaluate(number, line.as_bytes()).and_then(|value| stopped.eval.print(value, PrintOptions::ALL)) {
                Ok(text) => say(&String::from_utf8_lossy(&text)),
                Err(error) => say(&render(&Diagnostic::from_error(&error, &stopped.eval.sources), &RenderOptions::default())),
            },
        }
    }
    Resume::Continue
}
