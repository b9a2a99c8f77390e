//! Files of language cases: many small expressions in one file, each with what it must give.
//!
//! ```nix
//! --- list-concat ---
//! # => [ 1 2 3 ]
//! [ 1 ] ++ [ 2 3 ]
//!
//! --- attribute-missing ---
//! # error: attribute 'nam' missing
//! #        Did you mean name?
//! { name = 1; }.nam
//! ```
//!
//! The first comment lines that start with `# =>`, `# error:` or `# stderr:` are the expectation: the value as
//! `nix-instantiate --eval --strict` prints it, or the last error with its hints; before either, what goes to standard
//! error by the way (traces and warnings). They are the part that `UPDATE_EXPECT=1` rewrites.

use std::fmt::Write as _;

/// One expression and its expectation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// Name, unique in all files.
    pub name: String,
    /// Expectation; `None` for a case newly written, which `UPDATE_EXPECT=1` completes.
    pub expected: Option<Expectation>,
    /// The expression, with comments of its own.
    pub body: String,
}

/// What an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Lines on standard error of a case that succeeds.
    pub stderr: Vec<String>,
    /// The printed value, or the lines of the error.
    pub outcome: Result<String, Vec<String>>,
}

impl Default for Expectation {
    fn default() -> Self {
        Self { stderr: Vec::new(), outcome: Err(Vec::new()) }
    }
}

/// Reads a file of cases.
///
/// # Panics
///
/// When there is text before the first `--- name ---`, a case is empty, or an expectation is malformed.
pub fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("--- ").and_then(|rest| rest.strip_suffix(" ---")) {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let case = match cases.last_mut() {
            Some(case) => case,
            None if line.is_empty() || line.starts_with('#') => continue,
            None => panic!("text before the first case: {line}"),
        };
        if !(case.body.is_empty() && expectation_line(&mut case.expected, line)) {
            case.body.push_str(line);
            case.body.push('\n');
        }
    }
    for case in &mut cases {
        case.body = case.body.trim_matches('\n').to_owned();
        assert!(!case.body.is_empty(), "case {} has no expression", case.name);
    }
    cases
}

/// Takes a line as part of the expectation if it is one.
fn expectation_line(expected: &mut Option<Expectation>, line: &str) -> bool {
    if let Some(value) = line.strip_prefix("# => ") {
        expected.get_or_insert_default().outcome = Ok(value.to_owned());
    } else if let Some(message) = line.strip_prefix("# error: ") {
        expected.get_or_insert_default().outcome = Err(vec![message.to_owned()]);
    } else if let Some(text) = line.strip_prefix("# stderr: ") {
        expected.get_or_insert_default().stderr.push(text.to_owned());
    } else if let (Some(more), Some(Expectation { outcome: Err(message), .. })) = (line.strip_prefix("#        "), &mut *expected) {
        message.push(more.to_owned());
    } else {
        return false;
    }
    true
}

/// Writes a case as [`parse`] reads it, with an empty line behind.
pub fn print(case: &Case) -> String {
    let mut text = format!("--- {} ---\n", case.name);
    if let Some(Expectation { stderr, outcome }) = &case.expected {
        for line in stderr {
            let _ = writeln!(text, "# stderr: {line}");
        }
        match outcome {
            Ok(value) => {
                let _ = writeln!(text, "# => {value}");
            }
            Err(message) => {
                for (line_idx, line) in message.iter().enumerate() {
                    let _ = writeln!(text, "{} {line}", if line_idx == 0 { "# error:" } else { "#       " });
                }
            }
        }
    }
    let _ = writeln!(text, "{}\n", case.body);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_print_as_they_were_read() {
        let text = "--- a ---\n# stderr: trace: x\n# => 1\n# A comment.\nbuiltins.trace \"x\" 1\n\n--- b ---\n# error: attribute 'a' missing\n\
                    #        Did you mean b?\n{ b = 1; }.a\n\n";
        let cases = parse(text);
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].body, "# A comment.\nbuiltins.trace \"x\" 1");
        assert_eq!(cases.iter().map(print).collect::<String>(), text);
    }
}
