//! Where lines come from: a line editor on a terminal, otherwise plain stdin.
//!
//! The history is the reference's file, one line of text per line, so that both may use it in turn.

use std::cell::RefCell;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use nixlang::repl::Repl;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Editor, Helper};

use crate::failure::{Failure, Outcome};

const PROMPT: &str = "nix-repl> ";
const CONTINUATION: &str = "        > ";
/// Lines of history that are kept.
const MAX_HISTORY: usize = 10_000;

/// What the user did.
pub(super) enum Line {
    /// Typed this, without the line's end.
    Text(String),
    /// Gave up what was typed (Ctrl-C).
    Dropped,
    /// Ended the session (Ctrl-D), or there is no more input.
    End,
}

/// Where lines come from.
pub(super) enum Input<'r, 'e, 'h> {
    Terminal(Box<Terminal<'r, 'e, 'h>>),
    Plain,
}

/// The line editor and its history.
pub(super) struct Terminal<'r, 'e, 'h> {
    editor: Editor<Completions<'r, 'e, 'h>, MemHistory>,
    history: Option<PathBuf>,
}

/// What the line editor asks of the session.
pub(super) struct Completions<'r, 'e, 'h>(&'r RefCell<Repl<'e, 'h>>);

impl<'r, 'e, 'h> Input<'r, 'e, 'h> {
    /// Returns what suits stdin. Without a working terminal lines are read plainly.
    pub(super) fn new(repl: &'r RefCell<Repl<'e, 'h>>) -> Self {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Input::Plain;
        }
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).max_history_size(MAX_HISTORY);
        let Ok(mut editor) = config.and_then(|config| Editor::with_history(config.build(), MemHistory::default())) else { return Input::Plain };
        editor.set_helper(Some(Completions(repl)));
        let directory = std::env::var_os("NIX_DATA_HOME").map_or_else(|| crate::settings::data_home().join("nix"), PathBuf::from);
        let history = std::fs::create_dir_all(&directory).ok().map(|()| directory.join("repl-history"));
        let known = history.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        for line in String::from_utf8_lossy(&known).lines() {
            let _ = editor.add_history_entry(line);
        }
        Input::Terminal(Box::new(Terminal { editor, history }))
    }

    /// Reads a line.
    pub(super) fn read(&mut self, is_first: bool) -> Outcome<Line> {
        let prompt = if is_first { PROMPT } else { CONTINUATION };
        match self {
            Input::Terminal(terminal) => terminal.read(prompt),
            Input::Plain => read_plainly(prompt),
        }
    }
}

impl Terminal<'_, '_, '_> {
    fn read(&mut self, prompt: &str) -> Outcome<Line> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() && self.editor.add_history_entry(&line).unwrap_or(false) {
                    self.remember(&line);
                }
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) => Err(error.into()),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    /// Adds a line to the file at once, so that it isn't lost with the session. A history that cannot be written is no reason to stop.
    fn remember(&self, line: &str) {
        let Some(path) = &self.history else { return };
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn read_plainly(prompt: &str) -> Outcome<Line> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(prompt.as_bytes())?;
    stdout.flush()?;
    let mut line = Vec::new();
    if std::io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(Line::End);
    }
    let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(Line::Text(line))
}

impl Completer for Completions<'_, '_, '_> {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        let start = Repl::completion_start(before);
        // Evaluating may be under way already when this is asked.
        let found = self.0.try_borrow().map(|repl| repl.complete(before)).unwrap_or_default();
        Ok((start, found.into_iter().map(|line| line[start..].to_owned()).collect()))
    }
}

impl Hinter for Completions<'_, '_, '_> {
    type Hint = String;
}

impl Highlighter for Completions<'_, '_, '_> {}

impl Validator for Completions<'_, '_, '_> {}

impl Helper for Completions<'_, '_, '_> {}
