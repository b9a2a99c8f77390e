//! A diagnostic as JSON, for editors and other tools. Keys are added, never changed or removed; places count lines and columns from 1, columns in bytes.

use serde_json::{Value as Json, json};

use super::span::Trees;
use super::{Diagnostic, Severity, TraceFrame};
use crate::source::{Location, Origin};

pub(super) fn render(diagnostic: &Diagnostic) -> Json {
    let mut trees = Trees::default();
    let only_name = diagnostic.code == Some("undefined-variable");
    let syntax_errors = match &diagnostic.place {
        Some(place) if diagnostic.code == Some("syntax") => trees.explanations(place),
        _ => Vec::new(),
    };
    let syntax_errors: Vec<Json> = syntax_errors
        .iter()
        .map(|(location, it)| {
            let mut found = place(location, None);
            found["length"] = json!(it.range.len());
            json!({ "message": it.message, "hint": it.hint, "place": found })
        })
        .collect();
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::EvaluationWarning => "evaluation-warning",
    };
    let trace: Vec<Json> = diagnostic.trace.iter().filter(|frame| !frame.message.is_empty()).map(|frame| show_frame(frame, &mut trees)).collect();
    let cycle: Vec<Json> = diagnostic.cycle.iter().map(|location| place(location, trees.length(location, false))).collect();
    json!({
        "severity": severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "place": diagnostic.place.as_ref().map(|location| place(location, trees.length(location, only_name))),
        "suggestions": diagnostic.suggestions,
        "syntaxErrors": syntax_errors,
        "cycle": cycle,
        "trace": trace,
        "exitStatus": diagnostic.exit_status,
    })
}

fn show_frame(frame: &TraceFrame, trees: &mut Trees) -> Json {
    let found = frame.place.as_ref().map(|location| place(location, trees.length(location, false)));
    json!({ "message": frame.message, "place": found, "always": frame.always })
}

/// `length` is that of the text that is meant, in bytes.
fn place(location: &Location, length: Option<usize>) -> Json {
    let (origin, path) = match &location.source.origin {
        Origin::File(path) => ("file", Some(String::from_utf8_lossy(path))),
        Origin::String => ("string", None),
        Origin::Stdin => ("stdin", None),
        Origin::Repl => ("repl", None),
    };
    json!({ "origin": origin, "path": path, "line": location.line, "column": location.column, "length": length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{EvalOptions, session};
    use crate::host::MemoryHost;

    fn error(text: &str) -> Json {
        session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
            let error = eval.eval_text(text.as_bytes(), Origin::String, b"/").and_then(|value| eval.force_deep(value)).expect_err("it is wrong");
            render(&Diagnostic::from_error(&error, &eval.sources))
        })
        .expect("a thread is there")
    }

    #[test]
    fn tools_get_kind_place_and_hints() {
        let json = error("let length = 1;\nin lenght");
        assert_eq!(json["code"], "undefined-variable");
        assert_eq!(json["suggestions"], json!(["length"]));
        assert_eq!(json["place"], json!({ "origin": "string", "path": null, "line": 2, "column": 4, "length": 6 }));
        let json = error("{ a = { colour = 1; }.color; }");
        assert_eq!(json["suggestions"], json!(["colour"]));
        assert_eq!(json["trace"][0]["message"], "while evaluating the attribute 'a'");
        let json = error("{ x = ; y = 2 +; }");
        assert_eq!(json["syntaxErrors"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["syntaxErrors"][0]["message"], "missing value of `x`");
    }

    #[test]
    fn a_cycle_is_listed() {
        let json = error("let\n a = b;\n b = [ c ];\n c = 1 + d;\n d = 2 * c;\nin b");
        let lines: Vec<u64> = json["cycle"].as_array().expect("a list").iter().filter_map(|place| place["line"].as_u64()).collect();
        assert_eq!(lines, [5, 4]);
        let json = error("let x.y = x.z; x.z = x.y; in x");
        assert_eq!(json["cycle"].as_array().map(Vec::len), Some(2));
    }
}
