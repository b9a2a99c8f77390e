//! Generated expressions, asked of us and of the real Nix.

use std::process::{Command, Stdio};

use nixlang::eval::ErrorKind;

use super::language::outcome;
use super::{Bytes, expression};

/// An expression on which we and the reference don't agree.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The expression.
    pub expression: String,
    /// What we say.
    pub ours: String,
    /// What the real Nix says.
    pub theirs: String,
}

/// Compares what an input's expression gives here and with the command `real_nix nix-instantiate …`. Nothing is compared where one of the two gave
/// up: out of budget, or too deep.
pub fn compare_with_reference(real_nix: &str, data: &[u8]) -> Option<Disagreement> {
    let text = expression(&mut Bytes::new(data));
    let ours = match outcome(text.as_bytes()) {
        Ok(printed) => printed,
        Err((ErrorKind::StackOverflow | ErrorKind::Interrupted, _)) => return None,
        Err((_, message)) => format!("error: {message}"),
    };
    if ours.contains("budget") || ours.contains("evaluation took") {
        return None;
    }
    let mut words = real_nix.split_whitespace();
    let output = Command::new(words.next()?)
        .args(words)
        .args(["nix-instantiate", "--eval", "--strict", "--option", "max-call-depth", "500", "-E", &text])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let theirs = if output.status.success() {
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let start = stderr.rfind("error: ").unwrap_or(0);
        stderr[start..].trim_end().to_owned()
    };
    if theirs.contains("stack overflow") || theirs.contains("out of memory") && ours.contains(" of memory") {
        return None;
    }
    // The reference shows places and hints behind the message.
    let agrees = if ours.starts_with("error: ") { comparable(&theirs).starts_with(&comparable(&ours)) } else { ours == theirs };
    if agrees { None } else { Some(Disagreement { expression: text, ours, theirs }) }
}

/// Returns a message on one line, without what differs by design.
fn comparable(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
