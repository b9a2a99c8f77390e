//! The sandbox of macOS as the text of a profile, which its `sandbox_init` takes.
//!
//! Everything is forbidden that no rule allows; later rules win. Paths are those of the machine, since that sandbox can't
//! show a file under another name. The surprising part: a rule with too many paths is refused by the interpreter, so long
//! lists are split; and readers of inputs need the right to write, without which `access` fails, although the files'
//! permissions forbid it.
//!
//! This text is made on any system and tested as text. It has not been in force on a real machine yet.
//!
//! Facts: `darwin-derivation-builder.cc` of the reference, 2.34.8, and Apple's documentation of profiles.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What a profile says. Paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MacProfile {
    /// Directories that may be used with all below them.
    pub directories: Vec<PathBuf>,
    /// Files that may be used.
    pub files: Vec<PathBuf>,
    /// What the build makes.
    pub outputs: Vec<PathBuf>,
    /// The build directory.
    pub build_dir: PathBuf,
    /// The machine's directory for temporary files, which some programs insist on.
    pub temporary_dir: PathBuf,
    /// The store directory.
    pub store_dir: PathBuf,
    /// Whether the build may use the network.
    pub network: bool,
    /// Whether it may use the network of this machine alone (`__darwinAllowLocalNetworking`).
    pub local_networking: bool,
    /// Whether violations are logged.
    pub log_violations: bool,
    /// More rules, of the derivation (`__sandboxProfile`).
    pub additional: String,
}

/// Longest list of one rule, in bytes; the interpreter's limit is four times that.
const MAX_RULE: usize = 1 << 14;

/// Things of the machine that no program does without: what is allowed, and on what.
const MACHINE: &[(&str, &[&str])] = &[
    ("file-read*", &["(literal \"/\")", "(subpath \"/System/Library\")", "(subpath \"/usr/lib\")", "(subpath \"/usr/share/zoneinfo\")", "(subpath \"/usr/share/locale\")", "(literal \"/etc\")", "(literal \"/private\")", "(literal \"/var\")", "(literal \"/tmp\")", "(subpath \"/private/var/db/timezone\")", "(literal \"/private/etc/nix/nix.conf\")", "(literal \"/private/etc/protocols\")", "(literal \"/private/etc/services\")", "(subpath \"/Library/Apple/usr/libexec/oah\")", "(literal \"/dev/random\")", "(literal \"/dev/urandom\")"]),
    ("file-read* file-write*", &["(literal \"/dev/null\")", "(literal \"/dev/zero\")", "(literal \"/dev/tty\")", "(literal \"/dev/ptmx\")", "(literal \"/dev/stdin\")", "(literal \"/dev/stdout\")", "(literal \"/dev/stderr\")", "(subpath \"/dev/fd\")", "(regex #\"^/dev/ttys[0-9]*$\")", "(regex #\"^/dev/pty[a-z]+\")"]),
    ("file-read* process-exec", &["(literal \"/bin/sh\")", "(literal \"/bin/bash\")", "(literal \"/usr/bin/env\")", "(literal \"/private/var/select/sh\")"]),
    ("file-ioctl", &["(literal \"/dev/tty\")", "(regex #\"^/dev/ttys[0-9]*$\")"]),
    ("mach-lookup", &["(global-name \"com.apple.system.notification_center\")", "(global-name \"com.apple.system.opendirectoryd.libinfo\")", "(global-name \"com.apple.system.logger\")"]),
    ("ipc-posix-shm-read*", &["(ipc-posix-name \"apple.shm.notification_center\")"]),
];

/// Rights that need no object.
const GENERAL: &str = "process-fork process-info* signal sysctl-read ipc-posix-sem ipc-posix-shm* ipc-sysv* file-read-metadata iokit-get-properties system-fsctl";

/// Returns the profile of a build in a sandbox.
pub fn profile(spec: &MacProfile) -> String {
    let mut text = String::from("(version 1)\n");
    text.push_str(if spec.log_violations { "(deny default)\n" } else { "(deny default (with no-log))\n" });
    for right in GENERAL.split(' ') {
        // Signals only among the build's own processes.
        let object = if right == "signal" { " (target same-sandbox)" } else { "" };
        line(&mut text, &format!("(allow {right}{object})"));
    }
    for (rights, objects) in MACHINE {
        rule(&mut text, rights, objects.iter().map(|object| (*object).to_owned()));
    }
    let whole = "file-read* file-write* process-exec";
    let own = [&spec.build_dir, &spec.temporary_dir];
    rule(&mut text, whole, own.into_iter().filter(|path| !path.as_os_str().is_empty()).map(|path| subpath(path)));
    rule(&mut text, whole, spec.outputs.iter().map(|path| subpath(path)));
    let inputs = spec.directories.iter().map(|path| subpath(path)).chain(spec.files.iter().map(|path| literal(path)));
    rule(&mut text, whole, inputs);
    rule(&mut text, "file-read*", ancestors(spec).into_iter().map(literal));
    if spec.network {
        line(&mut text, "(allow network*)");
        let files = ["/private/etc/resolv.conf", "/private/var/run/resolv.conf", "/private/etc/hosts", "/private/etc/ssl/cert.pem"];
        rule(&mut text, "file-read*", files.iter().map(|file| literal(Path::new(file))));
        rule(&mut text, "mach-lookup", ["com.apple.SystemConfiguration.configd", "com.apple.trustd.agent"].iter().map(|name| format!("(global-name \"{name}\")")));
    } else if spec.local_networking {
        line(&mut text, "(allow network* (local ip \"localhost:*\") (remote ip \"localhost:*\") (local unix) (remote unix))");
    }
    // Whatever was allowed above.
    line(&mut text, MINIMAL_RULE);
    text.push_str(&spec.additional);
    text
}

/// Builders shall not make programs with other users' rights.
const MINIMAL_RULE: &str = "(deny file-write-setugid)";

/// Returns the profile of a build without a sandbox.
pub fn minimal_profile() -> String {
    format!("(version 1)\n(allow default)\n{MINIMAL_RULE}\n")
}

fn line(text: &mut String, rule: &str) {
    text.push_str(rule);
    text.push('\n');
}

/// Adds a rule, or several if there are too many objects for one, or none if there is no object.
fn rule(text: &mut String, rights: &str, objects: impl Iterator<Item = String>) {
    let mut open: Option<usize> = None;
    for object in objects {
        if open.is_some_and(|start| text.len() - start + object.len() > MAX_RULE) {
            text.push_str(")\n");
            open = None;
        }
        if open.is_none() {
            open = Some(text.len());
            let _ = writeln!(text, "(allow {rights}");
        }
        let _ = writeln!(text, "  {object}");
    }
    if open.is_some() {
        text.push_str(")\n");
    }
}

fn subpath(path: &Path) -> String {
    format!("(subpath {})", quoted(path))
}

fn literal(path: &Path) -> String {
    format!("(literal {})", quoted(path))
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let trimmed = if text.len() > 1 { text.trim_end_matches('/') } else { &text };
    format!("\"{}\"", trimmed.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The directories above everything, which many functions want to look at.
fn ancestors(spec: &MacProfile) -> BTreeSet<&Path> {
    let paths = spec.directories.iter().chain(&spec.files).chain([&spec.build_dir, &spec.temporary_dir]);
    let above = paths.flat_map(|path| path.ancestors().skip(1));
    above.chain(spec.store_dir.ancestors()).filter(|path| !path.as_os_str().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> MacProfile {
        MacProfile {
            directories: vec!["/nix/store/a-input".into()],
            files: vec!["/nix/store/b \"odd\"".into()],
            outputs: vec!["/nix/store/c-out".into()],
            build_dir: "/nix/var/nix/builds/x/build".into(),
            temporary_dir: "/private/tmp/".into(),
            store_dir: "/nix/store".into(),
            ..MacProfile::default()
        }
    }

    #[test]
    fn everything_else_is_forbidden() {
        let text = profile(&spec());
        assert!(text.starts_with("(version 1)\n(deny default (with no-log))\n"), "{text}");
        for expected in [
            "(allow file-read* file-write* process-exec\n  (subpath \"/nix/var/nix/builds/x/build\")\n  (subpath \"/private/tmp\")\n)\n",
            "(allow file-read* file-write* process-exec\n  (subpath \"/nix/store/c-out\")\n)\n",
            "  (subpath \"/nix/store/a-input\")\n  (literal \"/nix/store/b \\\"odd\\\"\")\n)\n",
            "(allow file-read*\n  (literal \"/\")\n  (literal \"/nix\")\n  (literal \"/nix/store\")\n",
            "(deny file-write-setugid)\n",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        assert!(!text.contains("network"), "{text}");
        // All brackets outside of strings are closed.
        let depth = text.chars().fold((0_i32, false, false), |(depth, quoted, escaped), c| match c {
            '"' if !escaped => (depth, !quoted, false),
            '\\' if quoted => (depth, quoted, !escaped),
            '(' if !quoted => (depth + 1, quoted, false),
            ')' if !quoted => (depth - 1, quoted, false),
            _ => (depth, quoted, false),
        });
        assert_eq!((depth.0, depth.1), (0, false));
    }

    #[test]
    fn network_and_more_rules_come_as_asked_for() {
        let open = profile(&MacProfile { network: true, log_violations: true, additional: "(allow x)\n".into(), ..spec() });
        assert!(open.contains("(deny default)\n") && open.contains("(allow network*)\n") && open.ends_with("(allow x)\n"));
        let local = profile(&MacProfile { local_networking: true, ..spec() });
        assert!(local.contains("(remote ip \"localhost:*\")") && !local.contains("(allow network*)\n"));
        assert_eq!(minimal_profile(), "(version 1)\n(allow default)\n(deny file-write-setugid)\n");
    }

    #[test]
    fn long_lists_are_split() {
        let directories: Vec<PathBuf> = (0..2000).map(|number| format!("/nix/store/{number:032}-input").into()).collect();
        let text = profile(&MacProfile { directories: directories.clone(), ..spec() });
        assert!(directories.iter().all(|path| text.contains(path.to_str().unwrap())));
        let longest = text.split("\n(").map(str::len).max().unwrap();
        assert!(longest <= MAX_RULE + 100, "{longest}");
    }
}
