//! Why a command ended without doing what it should: something to show, and an exit status.

use nixlang::diagnostics::Diagnostic;

/// What the functions of commands return.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With an error to show.
    Shown(Box<Diagnostic>),
    /// The command line makes no sense.
    Usage(String),
    /// Everything was said already.
    Status(u8),
    /// Nobody reads the output any more.
    BrokenPipe,
}

impl Failure {
    /// Returns the message; nothing if nothing is to be shown.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Shown(diagnostic) => diagnostic.message.clone(),
            Failure::Usage(message) => message.clone(),
            Failure::Status(_) | Failure::BrokenPipe => String::new(),
        }
    }

    /// Returns a failure with a message.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Shown(Box::new(Diagnostic::error(message)))
    }

    /// Returns a failure with a message and an exit status.
    pub(crate) fn with_status(message: impl Into<String>, exit_status: u8) -> Failure {
        Failure::Shown(Box::new(Diagnostic { exit_status, ..Diagnostic::error(message) }))
    }

    /// Returns a failure from an error and its causes.
    pub(crate) fn from_error(error: &dyn std::error::Error) -> Failure {
        Failure::new(message(error))
    }
}

/// Returns an error's message with those of its causes.
pub(crate) fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = plain(cause);
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Returns an error's own text, without Rust's "(os error N)".
pub(crate) fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Failure {
        Failure::Shown(Box::new(diagnostic))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Failure::BrokenPipe } else { Failure::new(plain(&error)) }
    }
}

impl From<nixlang_store::error::StoreError> for Failure {
    fn from(error: nixlang_store::error::StoreError) -> Failure {
        Failure::from_error(&error)
    }
}

impl From<nixlang_store::open::OpenError> for Failure {
    fn from(error: nixlang_store::open::OpenError) -> Failure {
        Failure::from_error(&error)
    }
}

impl From<crate::settings::SettingError> for Failure {
    fn from(error: crate::settings::SettingError) -> Failure {
        Failure::Usage(error.to_string())
    }
}
