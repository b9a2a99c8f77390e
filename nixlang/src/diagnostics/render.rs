//! From a diagnostic to text: the options, and the choice of the style.

use super::{Diagnostic, Severity};

/// Which of the two layouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// The reference's layout, byte for byte: the way first, the error last.
    #[default]
    Reference,
    /// The error first, with all of what it is about underlined; then the way to it, innermost step first.
    Rich,
    /// A line of JSON, see [`Diagnostic::to_json`].
    Json,
}

/// How a diagnostic is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenderOptions {
    /// Which layout.
    pub style: Style,
    /// Whether long traces are shown in full.
    pub show_trace: bool,
    /// Whether to use terminal colours.
    pub colour: bool,
}

/// Returns a diagnostic as text of one or more lines, without a line end after the last.
pub fn render(diagnostic: &Diagnostic, options: &RenderOptions) -> String {
    super::excerpt::to_text(render_raw(diagnostic, options))
}

/// As [`render`], but excerpts of sources that are no UTF-8 stay as they are. Escape sequences are filtered as by [`filter_escapes`](super::filter_escapes).
pub fn render_bytes(diagnostic: &Diagnostic, options: &RenderOptions) -> Vec<u8> {
    super::excerpt::to_bytes(&super::filter_escapes(&render_raw(diagnostic, options), options.colour))
}

fn render_raw(diagnostic: &Diagnostic, options: &RenderOptions) -> String {
    match options.style {
        Style::Reference => super::reference::render(diagnostic, options),
        Style::Rich => super::rich::render(diagnostic, options),
        Style::Json => diagnostic.to_json().to_string(),
    }
}

/// Terminal colours, or nothing.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    pub(super) red: &'static str,
    pub(super) blue: &'static str,
    pub(super) warning: &'static str,
    pub(super) normal: &'static str,
}

impl Palette {
    pub(super) fn new(colour: bool) -> Palette {
        if colour {
            Palette { red: "\x1b[31;1m", blue: "\x1b[34;1m", warning: "\x1b[35;1m", normal: "\x1b[0m" }
        } else {
            Palette { red: "", blue: "", warning: "", normal: "" }
        }
    }

    /// Returns colour and word of a severity.
    pub(super) fn severity(self, severity: Severity) -> (&'static str, &'static str) {
        match severity {
            Severity::Warning => (self.warning, "warning"),
            Severity::EvaluationWarning => (self.warning, "evaluation warning"),
            Severity::Error => (self.red, "error"),
        }
    }
}
