//! The interactive session: what a line means, with commands, bindings that stay, and completion. It reads and writes nothing itself: a host
//! submits lines and shows what comes back, be it on a terminal, in a notebook or over a socket.
//!
//! ```
//! use nixlang::eval::{EvalOptions, session};
//! use nixlang::host::MemoryHost;
//! use nixlang::repl::{Output, Repl, ReplOptions, Step};
//!
//! session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
//!     let mut repl = Repl::new(eval, ReplOptions::default());
//!     let mut shown = String::new();
//!     let mut show = |output: Output<'_>| match output {
//!         Output::Text(text) => shown.push_str(&String::from_utf8_lossy(text)),
//!         Output::Notice(_) => {}
//!     };
//!     assert_eq!(repl.submit(b"double = x: 2 * x", &mut show)?, Step::Done);
//!     assert_eq!(repl.submit(b"double (", &mut show)?, Step::NeedMore);
//!     assert_eq!(repl.submit(b"double (\n21)", &mut show)?, Step::Done);
//!     assert_eq!(shown, "42\n");
//!     assert_eq!(repl.complete("dou"), ["double"]);
//!     Ok::<_, nixlang::eval::EvalError>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What needs more than an evaluator (building, an editor, a shell) comes back as a [`Request`], which the host carries out or refuses.
//!
//! The surprising thing: a line is tried as bindings first (`a = 1; inherit (b) c`), and what then fails is the error of the line as an expression.

mod command;
mod complete;
mod describe;
mod load;
mod scope;

pub use describe::place_to_edit;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator, PrintOptions};
use crate::heap::{Kind, Value};
use crate::lower::expr::Expr;
use crate::source::{Origin, Pos};

pub use command::{Command, HELP};
pub use describe::of_value as documentation_of_value;
use scope::Scope;

/// What a session starts with.
pub struct ReplOptions<'h> {
    /// The directory that relative paths start from: absolute, in canonical form.
    pub directory: Vec<u8>,
    /// The set that a loaded file is called with if it is a function, `None` for the empty one.
    pub auto_arguments: Option<Value<'h>>,
    /// Whether values are printed in colours (ANSI escape sequences).
    pub colour: bool,
}

impl Default for ReplOptions<'_> {
    fn default() -> Self {
        ReplOptions { directory: b"/".to_vec(), auto_arguments: None, colour: false }
    }
}

/// Something to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'t> {
    /// An answer, with its line ends: bytes, since strings of the language are.
    Text(&'t [u8]),
    /// A remark such as how many variables were added; the host adds the line's end.
    Notice(&'t str),
}

/// Where output goes while a line is worked on.
pub type Show<'s> = &'s mut dyn FnMut(Output<'_>);

/// What is to be done after a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The line was done.
    Done,
    /// The line ends in the middle of an expression: submit it again with the next line behind.
    NeedMore,
    /// The user wants to leave.
    Quit,
    /// The host has something to do.
    Request(Request),
}

/// What a session cannot do on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Build all outputs of a derivation (a logical store path) and say what they are; if wanted, link to them from the working directory.
    Build {
        /// The derivation's path.
        derivation: String,
        /// Whether links are wanted that keep the outputs alive.
        link: bool,
    },
    /// Install what a derivation builds.
    Install {
        /// The derivation's path.
        derivation: String,
    },
    /// Open a shell with what a derivation needs for building.
    Shell {
        /// The derivation's path.
        derivation: String,
    },
    /// Show the log of a derivation's build.
    Log {
        /// The derivation's path.
        derivation: String,
    },
    /// Open an editor, and call [`Repl::reload`] when it is closed.
    Edit {
        /// The file.
        path: Vec<u8>,
        /// The line, counted from 1; 0 if unknown.
        line: u32,
    },
    /// Load a flake and [add](Repl::add) its outputs.
    LoadFlake {
        /// What the user said.
        reference: String,
    },
    /// Show errors' full traces, or no longer. The session has said so.
    ShowTrace(bool),
    /// Show documentation, which is Markdown.
    Documentation(String),
    /// Show names, one a line; there may be many.
    Names(Vec<String>),
}

/// Something that is loaded at the beginning and by every reload.
pub type Loader<'e, 'h> = Box<dyn Fn(&Evaluator<'h>) -> EvalResult<Value<'h>> + 'e>;

/// An interactive session on an evaluator.
pub struct Repl<'e, 'h> {
    eval: &'e Evaluator<'h>,
    options: ReplOptions<'h>,
    scope: Scope<'h>,
    /// As the user named them.
    files: Vec<String>,
    installables: Vec<(String, Loader<'e, 'h>)>,
    flakes: Vec<(String, Loader<'e, 'h>)>,
    last_loaded: Option<Value<'h>>,
}

impl<'e, 'h> Repl<'e, 'h> {
    /// Returns a session that knows nothing but the global variables.
    pub fn new(eval: &'e Evaluator<'h>, options: ReplOptions<'h>) -> Repl<'e, 'h> {
        Repl { eval, options, scope: Scope::new(eval), files: Vec::new(), installables: Vec::new(), flakes: Vec::new(), last_loaded: None }
    }

    /// Returns the evaluator.
    pub fn evaluator(&self) -> &'e Evaluator<'h> {
        self.eval
    }

    /// Makes a value a variable; one of the same name is hidden.
    pub fn bind(&mut self, name: &[u8], value: Value<'h>) {
        self.scope.bind(self.eval, self.eval.symbols.intern(name), value);
    }

    /// Works on a line, or on several that belong together.
    ///
    /// # Errors
    /// What the line is wrong in, or what its evaluation fails with. The session goes on afterwards.
    pub fn submit(&mut self, line: &[u8], show: Show<'_>) -> EvalResult<Step> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(Step::Done);
        }
        let result = match Command::parse(line)? {
            Some((command, argument)) => self.command(command, argument, show),
            None => self.line(line, show),
        };
        match result {
            Err(Incomplete::Error(error)) => Err(error),
            Err(Incomplete::NeedMore) => Ok(Step::NeedMore),
            Ok(step) => Ok(step),
        }
    }

    fn command(&mut self, command: Command, argument: &[u8], show: Show<'_>) -> Attempt<Step> {
        let request = match command {
            Command::Help => {
                show(Output::Text(HELP.as_bytes()));
                return Ok(Step::Done);
            }
            Command::Quit => return Ok(Step::Quit),
            Command::Add => {
                let value = self.evaluate(argument)?;
                self.add(value, show)?;
                return Ok(Step::Done);
            }
            Command::Load => {
                self.eval.forget_files();
                self.load(&String::from_utf8_lossy(argument), show)?;
                return Ok(Step::Done);
            }
            Command::Reload => {
                self.reload(show)?;
                return Ok(Step::Done);
            }
            Command::Type => {
                let value = self.evaluate(argument)?;
                show(Output::Text(format!("{}\n", value.described_type()).as_bytes()));
                return Ok(Step::Done);
            }
            Command::Print => {
                let value = self.evaluate(argument)?;
                let mut text = match value.kind() {
                    Kind::String(string) => string.bytes().to_vec(),
                    _ => self.eval.print(value, self.printing(usize::MAX))?,
                };
                text.push(b'\n');
                show(Output::Text(&text));
                return Ok(Step::Done);
            }
            Command::TraceEnable => {
                let enable = match argument {
                    b"" => !self.eval.show_trace.get(),
                    b"true" => true,
                    b"false" => false,
                    other => return Err(failed(format!("unexpected argument '{}' to :te", String::from_utf8_lossy(other))).into()),
                };
                self.eval.show_trace.set(enable);
                let text: &[u8] = if enable { b"showing error traces\n" } else { b"not showing error traces\n" };
                show(Output::Text(text));
                Request::ShowTrace(enable)
            }
            Command::LoadFlake if argument.is_empty() => {
                let message = "cannot use ':load-flake' without a path specified. (Use '.' for the current working directory.)";
                return Err(failed(message).into());
            }
            Command::LoadFlake => Request::LoadFlake { reference: String::from_utf8_lossy(argument).into_owned() },
            Command::LastLoaded => Request::Names(self.last_loaded_names()?),
            Command::Edit => {
                let value = self.evaluate(argument)?;
                let (path, line) = describe::place_to_edit(self.eval, value, argument)?;
                Request::Edit { path, line }
            }
            Command::Doc => Request::Documentation(self.documentation(argument)?),
            Command::Build => Request::Build { derivation: self.derivation(argument)?, link: false },
            Command::BuildAndLink => Request::Build { derivation: self.derivation(argument)?, link: true },
            Command::Install => Request::Install { derivation: self.derivation(argument)? },
            Command::Shell => Request::Shell { derivation: self.derivation(argument)? },
            Command::Log => Request::Log { derivation: self.derivation(argument)? },
            Command::Use => {
                let value = self.evaluate(argument)?;
                let function = self.evaluate(b"drv: (import <nixpkgs> {}).runCommand \"shell\" { buildInputs = [ drv ]; } \"\"")?;
                let shell = self.eval.call(function, &[value], Pos::NONE)?;
                Request::Shell { derivation: describe::derivation_path(self.eval, shell)? }
            }
        };
        Ok(Step::Request(request))
    }

    fn line(&mut self, line: &[u8], show: Show<'_>) -> Attempt<Step> {
        if let Some(bindings) = self.parse_bindings(line)? {
            let set = self.eval.eval(bindings, self.scope.env())?;
            if let Kind::Attrs(attrs) = set.kind() {
                for entry in attrs.flat(self.eval.heap).iter() {
                    self.scope.bind(self.eval, entry.symbol, entry.slot.get());
                }
            }
            return Ok(Step::Done);
        }
        let value = self.evaluate(line)?;
        let mut text = self.eval.print(value, self.printing(1))?;
        text.push(b'\n');
        show(Output::Text(&text));
        Ok(Step::Done)
    }

    fn printing(&self, max_depth: usize) -> PrintOptions {
        PrintOptions { max_depth, derivation_paths: true, indent: 2, colour: self.options.colour, ..PrintOptions::ALL }
    }

    /// Returns the IR of a line of bindings, nothing if it isn't one.
    fn parse_bindings(&self, line: &[u8]) -> Attempt<Option<&'h Expr<'h>>> {
        let start = self.add_source(line)?;
        let parse = |text: &[u8]| crate::lower::parse_bindings(self.eval, text, start, &self.options.directory, self.scope.names());
        let syntax_only = |error: EvalError| if error.kind() == ErrorKind::Syntax { Ok(error) } else { Err(error) };
        match parse(line) {
            Ok(bindings) => return Ok(Some(bindings)),
            Err(error) => drop(syntax_only(error)?),
        }
        // The last semicolon may be missing.
        match parse(&[line, b";"].concat()) {
            Ok(bindings) => Ok(Some(bindings)),
            Err(error) if is_incomplete(&syntax_only(error.clone())?) => Err(Incomplete::NeedMore),
            Err(_) => Ok(None),
        }
    }

    fn parse(&self, text: &[u8]) -> Attempt<&'h Expr<'h>> {
        let start = self.add_source(text)?;
        crate::lower::parse(self.eval, text, start, &self.options.directory, self.scope.names()).map_err(|error| {
            // Only of what was typed: a file that ends too early is an error.
            if is_incomplete(&error) { Incomplete::NeedMore } else { error.into() }
        })
    }

    fn add_source(&self, text: &[u8]) -> EvalResult<Pos> {
        self.eval.sources.add(Origin::String, Arc::from(text)).map_err(|error| failed(error.to_string()))
    }

    fn evaluate(&self, text: &[u8]) -> Attempt<Value<'h>> {
        let expr = self.parse(text)?;
        let value = self.eval.eval(expr, self.scope.env())?;
        Ok(self.eval.force(value)?)
    }

    fn derivation(&self, argument: &[u8]) -> Attempt<String> {
        let value = self.evaluate(argument)?;
        Ok(describe::derivation_path(self.eval, value)?)
    }
}

/// Why a line was not done.
enum Incomplete {
    /// It is wrong.
    Error(EvalError),
    /// It may go on.
    NeedMore,
}

type Attempt<T> = Result<T, Incomplete>;

impl From<EvalError> for Incomplete {
    fn from(error: EvalError) -> Incomplete {
        Incomplete::Error(error)
    }
}

fn is_incomplete(error: &EvalError) -> bool {
    error.kind() == ErrorKind::Syntax && error.data().message.contains("unexpected end of file")
}

/// Returns an error that is about the session and no expression.
fn failed(message: impl Into<String>) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}
