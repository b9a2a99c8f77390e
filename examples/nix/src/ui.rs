//! What goes to stderr: errors and warnings in the chosen style, messages of the chosen importance.

use std::io::{IsTerminal, Write};

use nixlang::diagnostics::{Diagnostic, RenderOptions, Severity, Style, filter_escapes, render, render_bytes};

use crate::json_log::{self, JsonSink};
use crate::settings::Settings;

/// How important a message is. `-v` shows one level more, `--quiet` one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Verbosity(pub(crate) i8);

impl Verbosity {
    pub(crate) const ERROR: Verbosity = Verbosity(0);
    pub(crate) const WARNING: Verbosity = Verbosity(1);
    pub(crate) const NOTICE: Verbosity = Verbosity(2);
    pub(crate) const INFO: Verbosity = Verbosity(3);
    pub(crate) const DEBUG: Verbosity = Verbosity(6);
    pub(crate) const MOST: Verbosity = Verbosity(7);

    /// Returns the level `steps` further.
    pub(crate) fn more(self, steps: i8) -> Verbosity {
        Verbosity(self.0.saturating_add(steps).clamp(Verbosity::ERROR.0, Verbosity::MOST.0))
    }
}

/// The way to stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// Messages up to this level are shown.
    pub(crate) verbosity: Verbosity,
    /// Whether stderr is a terminal.
    pub(crate) is_terminal: bool,
    /// Everything goes to stderr as JSON instead.
    pub(crate) json: Option<&'static JsonSink>,
    /// Everything goes to a file as JSON as well.
    pub(crate) json_copy: Option<&'static JsonSink>,
    render: RenderOptions,
}

impl Ui {
    /// Returns what suits the settings, the kind of command and where stderr goes.
    pub(crate) fn new(settings: &Settings, is_classic: bool, verbosity: Verbosity) -> Ui {
        let is_terminal = is_terminal();
        let style = match settings.text("error-style") {
            "nix" => Style::Reference,
            "rich" => Style::Rich,
            "json" => Style::Json,
            _ if is_classic || !is_terminal => Style::Reference,
            _ => Style::Rich,
        };
        Ui { verbosity, is_terminal, json: None, json_copy: None, render: RenderOptions { style, show_trace: settings.is_on("show-trace"), colour: is_terminal } }
    }

    /// Returns what is used before settings are known.
    pub(crate) fn plain() -> Ui {
        let is_terminal = is_terminal();
        Ui { verbosity: Verbosity::INFO, is_terminal, json: None, json_copy: None, render: RenderOptions { colour: is_terminal, ..RenderOptions::default() } }
    }

    /// Returns the same with full traces or without.
    pub(crate) fn with_trace(self, show_trace: bool) -> Ui {
        Ui { render: RenderOptions { show_trace, ..self.render }, ..self }
    }

    /// Shows an error or a warning.
    pub(crate) fn show(&self, diagnostic: &Diagnostic) {
        let level = if diagnostic.severity == Severity::Error { Verbosity::ERROR } else { Verbosity::WARNING };
        let text = render(diagnostic, &self.render);
        for sink in self.sinks().filter(|_| level <= self.verbosity) {
            sink.write(&json_log::diagnostic(level.0, &text, diagnostic));
        }
        if level <= self.verbosity && self.json.is_none() {
            let mut text = render_bytes(diagnostic, &self.render);
            text.push(b'\n');
            // Where nobody reads there is nothing to do about it.
            let _ = std::io::stderr().lock().write_all(&text);
        }
    }

    /// Shows a warning.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.show(&Diagnostic::warning(message));
    }

    /// Shows a warning whose further lines are laid out already.
    pub(crate) fn warn_as_is(&self, text: &str) {
        let (colour, normal) = if self.is_terminal { ("\x1b[35;1m", "\x1b[0m") } else { ("", "") };
        self.line(Verbosity::WARNING, &format!("{colour}warning:{normal} {text}"));
    }

    /// Shows a message if it is important enough.
    pub(crate) fn line(&self, level: Verbosity, text: &str) {
        for sink in self.sinks().filter(|_| level <= self.verbosity) {
            sink.write(&json_log::message(level.0, text));
        }
        self.text(level, text);
    }

    /// Writes an activity, where those are written.
    pub(crate) fn activity(&self, object: impl FnOnce() -> serde_json::Value) {
        if self.json.is_some() || self.json_copy.is_some() {
            let object = object();
            self.sinks().for_each(|sink| sink.write(&object));
        }
    }

    /// Shows a message as text only.
    pub(crate) fn text(&self, level: Verbosity, text: &str) {
        if level <= self.verbosity && self.json.is_none() {
            let mut text = filter_escapes(text, self.is_terminal);
            text.push('\n');
            // Where nobody reads there is nothing to do about it.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }

    fn sinks(&self) -> impl Iterator<Item = &'static JsonSink> {
        self.json.into_iter().chain(self.json_copy)
    }
}

/// Returns whether stderr shows colours.
fn is_terminal() -> bool {
    shows_colours(&std::io::stderr())
}

/// Returns whether a stream is a terminal that shows colours.
pub(crate) fn shows_colours(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") && !is_set("NO_COLOR") && !is_set("NOCOLOR")
}
