//! Text engines behind the builtins: regular expressions, JSON, TOML, XML, number printing, version strings.
//!
//! Nothing here knows of values or of the evaluator: bytes in, bytes or events out.
//! The builtins in `builtins/` tie these to values, so each engine can be tested against recorded answers by itself.

pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod regex;
pub(crate) mod suggestions;
pub(crate) mod toml;
pub(crate) mod versions;
pub(crate) mod xml;

/// The recorded answers of the reference in `file`, if this machine has them: the directory is `NIXLANG_EXPECTED` or
/// `../shared/expected/builtins` beside the workspace.
#[cfg(test)]
fn recorded_answers(file: &str) -> Option<Vec<Vec<String>>> {
    let directory = std::env::var_os("NIXLANG_EXPECTED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/expected/builtins"),
        std::path::PathBuf::from,
    );
    let path = directory.join(file);
    let Ok(text) = std::fs::read(&path) else {
        println!("skipped: {} does not exist", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the recorded answers are lists of strings"))
}
