//! Messages and activities as JSON, one object a line: `--log-format internal-json` on stderr (with `@nix ` in front), and
//! `--json-log-path` in a file.
//!
//! Other programs read this, so names, numbers and the order of keys are the reference's (`logging.cc`, 2.34.8). The
//! surprising part: activities are written whatever the verbosity is, messages only as far as they would be shown.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nixlang::diagnostics::Diagnostic;
use serde_json::{Value, json};

/// Where JSON goes.
#[derive(Debug)]
pub(crate) struct JsonSink {
    /// None for stderr.
    file: Option<Mutex<File>>,
}

/// Kinds of activities, by the reference's numbers.
pub(crate) mod activity {
    pub(crate) const REALISE: u32 = 102;
    pub(crate) const COPY_PATHS: u32 = 103;
    pub(crate) const BUILDS: u32 = 104;
    pub(crate) const BUILD: u32 = 105;
    pub(crate) const POST_BUILD_HOOK: u32 = 110;
    pub(crate) const BUILD_WAITING: u32 = 111;
}

/// Kinds of results, by the reference's numbers.
pub(crate) mod result {
    pub(crate) const BUILD_LOG_LINE: u32 = 101;
    pub(crate) const SET_PHASE: u32 = 104;
    pub(crate) const PROGRESS: u32 = 105;
    pub(crate) const POST_BUILD_LOG_LINE: u32 = 107;
}

impl JsonSink {
    /// Returns the one to stderr. It lives as long as the process, as what it is part of is copied everywhere.
    pub(crate) fn stderr() -> &'static JsonSink {
        static SINK: JsonSink = JsonSink { file: None };
        &SINK
    }

    /// Returns one to a file, or to standard error for the path `/dev/stderr`.
    pub(crate) fn file(path: &Path) -> std::io::Result<&'static JsonSink> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Box::leak(Box::new(JsonSink { file: Some(Mutex::new(file)) })))
    }

    /// Writes an object.
    pub(crate) fn write(&self, object: &Value) {
        let text = nixlang_store::json::to_string(object);
        // Where nobody reads there is nothing to do about it.
        let _ = match &self.file {
            None => std::io::stderr().lock().write_all(format!("@nix {text}\n").as_bytes()),
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(format!("{text}\n").as_bytes()),
        };
    }
}

/// A message.
pub(crate) fn message(level: i8, text: &str) -> Value {
    json!({ "action": "msg", "level": level, "msg": text })
}

/// An error or a warning, as it is shown and by itself.
pub(crate) fn diagnostic(level: i8, rendered: &str, diagnostic: &Diagnostic) -> Value {
    json!({
        "action": "msg", "level": level, "msg": rendered, "raw_msg": diagnostic.message,
        "line": null, "column": null, "file": null,
    })
}

/// The start of an activity.
pub(crate) fn start(id: u64, level: i8, kind: u32, text: &str, fields: &[Value]) -> Value {
    let mut object = json!({ "action": "start", "id": id, "level": level, "type": kind, "text": text, "parent": 0 });
    if !fields.is_empty() {
        object["fields"] = Value::Array(fields.to_vec());
    }
    object
}

/// The end of an activity.
pub(crate) fn stop(id: u64) -> Value {
    json!({ "action": "stop", "id": id })
}

/// Something that an activity came to.
pub(crate) fn outcome(id: u64, kind: u32, fields: &[Value]) -> Value {
    json!({ "action": "result", "id": id, "type": kind, "fields": fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_as_the_reference_does() {
        let text = |value: &Value| nixlang_store::json::to_string(value);
        // Captured from Nix 2.34.8, with another id.
        assert_eq!(
            text(&start(7, 3, activity::BUILD, "building '/nix/store/x.drv'", &["/nix/store/x.drv".into(), "".into(), 1.into(), 1.into()])),
            r#"{"action":"start","fields":["/nix/store/x.drv","",1,1],"id":7,"level":3,"parent":0,"text":"building '/nix/store/x.drv'","type":105}"#
        );
        assert_eq!(text(&stop(7)), r#"{"action":"stop","id":7}"#);
        assert_eq!(text(&outcome(7, result::BUILD_LOG_LINE, &["a".into()])), r#"{"action":"result","fields":["a"],"id":7,"type":101}"#);
        assert_eq!(text(&message(3, "x")), r#"{"action":"msg","level":3,"msg":"x"}"#);
    }
}
