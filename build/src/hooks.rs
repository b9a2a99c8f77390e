//! Programs of the host that are run around builds: before (more paths in the sandbox), after, and on differing outputs.
//!
//! The surprising part: only the hook after a build can make it fail. What a hook for differences says is shown, and
//! when it fails that is shown as well, nothing more.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use crate::error::BuildError;
use crate::options::BuildOptions;
use crate::sandbox::Mount;

/// Runs the hook after a build (`DRV_PATH`, `OUT_PATHS`, `NIX_CONFIG` in its environment); `line` gets what it says.
pub(crate) fn run_post_build_hook(
    hook: &Path,
    options: &BuildOptions,
    store: &LocalStore,
    derivation: &StorePath,
    outputs: &[&StorePath],
    line: &mut dyn FnMut(&[u8]),
) -> Result<(), BuildError> {
    let dir = store.store_dir();
    let outputs: Vec<String> = outputs.iter().map(|path| dir.display(path)).collect();
    let failed = |reason: String| BuildError::Hook { program: hook.display().to_string(), reason };
    let (reader, writer) = std::io::pipe().map_err(BuildError::io("making a pipe for", hook))?;
    let mut command = Command::new(hook);
    if let Some(environment) = &options.environment {
        command.env_clear().envs(environment);
    }
    let errors = writer.try_clone().map_err(BuildError::io("making a pipe for", hook))?;
    command
        .env("DRV_PATH", dir.display(derivation))
        .env("OUT_PATHS", outputs.join(" "))
        .env("NIX_CONFIG", &options.config_text)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors);
    let mut child = command.spawn().map_err(|error| failed(format!("could not be executed: {error}")))?;
    // The command holds the pipe's other end.
    drop(command);
    for read in BufReader::new(reader).split(b'\n') {
        match read {
            Ok(read) => line(&read),
            Err(_) => break,
        }
    }
    let status = child.wait().map_err(|error| failed(format!("could not be waited for: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(describe(status))) }
}

/// Runs the hook on an output and one that differs. Returns what is to be shown.
pub(crate) fn run_diff_hook(hook: &Path, known: &Path, other: &Path, derivation: &str, top: &Path, user: Option<u32>) -> String {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(hook);
    command.args([known, other, Path::new(derivation), top]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(user) = user {
        command.uid(user);
    }
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let status = describe(output.status);
            format!("{text}error: diff hook execution failed: diff-hook program \"{}\" {status}", hook.display())
        }
        Err(error) => format!("error: diff hook execution failed: {error}"),
    }
}

/// Asks the hook before a build which more paths the sandbox shows. It gets the derivation and the sandbox's root.
pub(crate) fn ask_pre_build_hook(hook: &Path, derivation: &Path, root: Option<&Path>) -> Result<Vec<Mount>, BuildError> {
    let failed = |reason: String| BuildError::Hook { program: hook.display().to_string(), reason };
    let mut command = Command::new(hook);
    command.arg(derivation).args(root).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(format!("could not be executed: {error}")))?;
    if !output.status.success() {
        return Err(failed(describe(output.status)));
    }
    parse_pre_build_answer(&String::from_utf8_lossy(&output.stdout)).map_err(|line| BuildError::HookAnswer { line })
}

/// Reads `extra-sandbox-paths`, paths, and an empty line. The error is a line that makes no sense.
fn parse_pre_build_answer(text: &str) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    let mut in_list = false;
    // A last line that does not end is not looked at, as in the reference.
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    for line in text[..end].lines() {
        match (in_list, line) {
            (false, "extra-sandbox-paths" | "extra-chroot-dirs") => in_list = true,
            (false, line) => return Err(line.to_owned()),
            (true, "") => in_list = false,
            (true, line) => {
                let (target, source) = line.split_once('=').unwrap_or((line, line));
                mounts.push(Mount { source: source.into(), target: target.into(), optional: false, read_only: false });
            }
        }
    }
    Ok(mounts)
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("failed due to signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_hook_before_builds() {
        let mounts = parse_pre_build_answer("extra-sandbox-paths\n/a\n/b=/c\n\nextra-chroot-dirs\n/d\n/unfinished").unwrap();
        let pairs: Vec<_> = mounts.iter().map(|mount| (mount.target.to_str().unwrap(), mount.source.to_str().unwrap())).collect();
        assert_eq!(pairs, [("/a", "/a"), ("/b", "/c"), ("/d", "/d")]);
        assert_eq!(parse_pre_build_answer("no\n").unwrap_err(), "no");
    }
}
