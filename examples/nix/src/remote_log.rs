//! What a daemon says, shown as if it happened here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nixlang_store::wire::log::{Field, LogMessage, LogSink, activity, result};

use crate::ui::{Ui, Verbosity};

/// Shows what a daemon says on stderr.
pub(crate) struct RemoteLog {
    ui: Ui,
    prints_logs: bool,
    is_classic: bool,
    /// Names of builds that run, by activity.
    builds: Mutex<BTreeMap<u64, String>>,
}

impl RemoteLog {
    pub(crate) fn new(ui: Ui, prints_logs: bool, is_classic: bool) -> RemoteLog {
        RemoteLog { ui, prints_logs, is_classic, builds: Mutex::default() }
    }

    fn builds(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogSink for RemoteLog {
    fn log(&self, message: &LogMessage) {
        match message {
            LogMessage::Text(text) => {
                let text = String::from_utf8_lossy(text);
                self.ui.line(Verbosity::ERROR, text.trim_end_matches('\n'));
            }
            LogMessage::StartActivity { id, level, kind, text, fields, .. } => {
                if let (&activity::BUILD, Some(Field::Text(path))) = (kind, fields.first()) {
                    self.builds().insert(*id, name(&String::from_utf8_lossy(path)));
                }
                let level = Verbosity(i8::try_from(*level).unwrap_or(i8::MAX));
                if !text.is_empty() && level <= self.ui.verbosity {
                    self.ui.line(level, &format!("{}...", String::from_utf8_lossy(text)));
                }
            }
            LogMessage::StopActivity { id } => {
                self.builds().remove(id);
            }
            LogMessage::Result { id, kind: result::BUILD_LOG_LINE | result::POST_BUILD_LOG_LINE, fields } if self.prints_logs => {
                let Some(Field::Text(line)) = fields.first() else { return };
                let line = String::from_utf8_lossy(line);
                let name = if self.is_classic { None } else { self.builds().get(id).cloned() };
                self.ui.line(Verbosity::ERROR, &name.map_or_else(|| line.to_string(), |name| format!("{name}> {line}")));
            }
            LogMessage::Result { .. } => {}
        }
    }
}

/// Returns the name of what a derivation makes.
fn name(path: &str) -> String {
    let base_name = path.rsplit('/').next().unwrap_or(path);
    let name = base_name.get(33..).unwrap_or(base_name);
    name.strip_suffix(".drv").unwrap_or(name).to_owned()
}
