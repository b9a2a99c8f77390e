//! The commands of a session: their words, and the help text.

use super::failed;
use crate::eval::EvalResult;

/// What a line that begins with a colon asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `:?`
    Help,
    /// `:a`: add the attributes of a set.
    Add,
    /// `:b`: build.
    Build,
    /// `:bl`: build and link.
    BuildAndLink,
    /// `:e`: edit.
    Edit,
    /// `:i`: install.
    Install,
    /// `:l`: load a file.
    Load,
    /// `:lf`: load a flake.
    LoadFlake,
    /// `:ll`: what was loaded last.
    LastLoaded,
    /// `:p`: print all of a value.
    Print,
    /// `:q`: leave.
    Quit,
    /// `:r`: load everything again.
    Reload,
    /// `:sh`: a shell for building.
    Shell,
    /// `:t`: the type of a value.
    Type,
    /// `:u`: a shell with something in it.
    Use,
    /// `:doc`: documentation.
    Doc,
    /// `:log`: the log of a build.
    Log,
    /// `:te`: traces on or off.
    TraceEnable,
}

/// What each command is called; `HELP` says the same to people.
const COMMANDS: &[(&[&str], Command)] = &[
    (&[":a", ":add"], Command::Add),
    (&[":b"], Command::Build),
    (&[":bl"], Command::BuildAndLink),
    (&[":e", ":edit"], Command::Edit),
    (&[":i"], Command::Install),
    (&[":l", ":load"], Command::Load),
    (&[":lf", ":load-flake"], Command::LoadFlake),
    (&[":ll", ":last-loaded"], Command::LastLoaded),
    (&[":p", ":print"], Command::Print),
    (&[":q", ":quit"], Command::Quit),
    (&[":r", ":reload"], Command::Reload),
    (&[":sh"], Command::Shell),
    (&[":t"], Command::Type),
    (&[":u"], Command::Use),
    (&[":doc"], Command::Doc),
    (&[":log"], Command::Log),
    (&[":te", ":trace-enable"], Command::TraceEnable),
    (&[":?", ":help"], Command::Help),
];

/// What `:?` shows.
pub const HELP: &str = "The following commands are available:

  <expr>                       Evaluate an expression and print its value
  <x> = <expr>                 Bind a variable; also inherit (<expr>) <x>
  :a, :add <expr>              Add the attributes of a set as variables
  :b <expr>                    Build a derivation
  :bl <expr>                   Build a derivation and keep it: link to its
                               outputs from the working directory
  :e, :edit <expr>             Open a package, function or file in $EDITOR
  :i <expr>                    Build a derivation and install it into the
                               current profile
  :l, :load <path>             Load a file and add its attributes as variables
  :lf, :load-flake <ref>       Load a flake and add its outputs as variables
  :ll, :last-loaded            Show the variables that were added last
  :p, :print <expr>            Print all of a value, and strings as they are
  :q, :quit                    Leave
  :r, :reload                  Load all files again
  :sh <expr>                   Build what a derivation needs, then open a shell
                               for building it
  :t <expr>                    Say what a value is
  :u <expr>                    Build a derivation, then open a shell that has it
  :doc <expr>                  Show the documentation of a function or attribute
  :log <expr>                  Show the log of a derivation's build
  :te, :trace-enable [bool]    Show full traces of errors, or no longer
  :?, :help                    Show this
";

impl Command {
    /// Returns a line's command with what follows it; nothing if the line is none.
    pub(super) fn parse(line: &[u8]) -> EvalResult<Option<(Command, &[u8])>> {
        if line.first() != Some(&b':') {
            return Ok(None);
        }
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, argument) = line.split_at(end);
        let row = COMMANDS.iter().find(|(words, _)| words.iter().any(|known| known.as_bytes() == word));
        match row {
            Some((_, command)) => Ok(Some((*command, argument.trim_ascii()))),
            None => Err(failed(format!("unknown command '{}'", String::from_utf8_lossy(word)))),
        }
    }

    /// Returns all words that commands begin with, for completion.
    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        COMMANDS.iter().flat_map(|(words, _)| words.iter().copied())
    }
}
