//! The format of nix.conf: lines `name = value`, comments, `include` and `!include` (facts from `configuration.cc` of 2.34).

use std::path::{Path, PathBuf};

use super::{SettingError, Settings};

/// Files within files.
const MAX_INCLUDES: u32 = 32;

/// A line of a file.
type Entry = (String, String);

/// Applies a text. `path` is for messages and for relative includes.
pub(crate) fn apply(settings: &mut Settings, text: &str, path: &Path) -> Result<(), SettingError> {
    let mut entries = Vec::new();
    parse(text, path, 0, &mut entries)?;
    // Which settings there are may depend on experimental features, so those come first.
    let is_feature = |entry: &&Entry| matches!(entry.0.as_str(), "experimental-features" | "extra-experimental-features");
    for (name, value) in entries.iter().filter(is_feature).chain(entries.iter().filter(|entry| !is_feature(entry))) {
        if matches!(name.as_str(), "nix-path" | "extra-nix-path") && std::env::var_os("NIX_PATH").is_some() {
            continue;
        }
        settings.set_or_remember(name, value)?;
    }
    Ok(())
}

fn parse(text: &str, path: &Path, depth: u32, entries: &mut Vec<Entry>) -> Result<(), SettingError> {
    for line in text.split('\n') {
        let line = line.split('#').next().unwrap_or_default();
        let syntax = || SettingError::Syntax { line: line.to_owned(), file: path.display().to_string() };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [] => {}
            ["include" | "!include", file] => {
                let file: PathBuf = path.parent().unwrap_or(Path::new("/")).join(file);
                if depth >= MAX_INCLUDES {
                    return Err(syntax());
                }
                match std::fs::read_to_string(&file) {
                    Ok(text) => parse(&text, &file, depth + 1, entries)?,
                    Err(_) if words[0] == "!include" || file.exists() => {}
                    Err(_) => {
                        let (file, from) = (file.display().to_string(), path.display().to_string());
                        return Err(SettingError::Include { file, from });
                    }
                }
            }
            [name, "=", ref value @ ..] => entries.push((name.to_owned(), value.join(" "))),
            _ => return Err(syntax()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_includes() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("other.conf"), "cores = 7\n").expect("written");
        let text = "# a comment\nmax-jobs = 4 # more\ninclude other.conf\n!include missing.conf\nextra-substituters = a  b\nnonsense = 1\n";
        let mut settings = Settings::default();
        apply(&mut settings, text, &directory.path().join("nix.conf")).expect("parses");
        assert_eq!(settings.text("max-jobs"), "4");
        assert_eq!(settings.integer("cores"), 7);
        assert!(settings.text("substituters").ends_with(" a b"));
        assert!(settings.unknown.contains("nonsense"));
    }

    #[test]
    fn what_is_not_a_setting() {
        let check = |text: &str, expected: &str| {
            let error = apply(&mut Settings::default(), text, Path::new("/c/nix.conf")).expect_err("an error");
            assert_eq!(error.to_string(), expected);
        };
        check("cores", "syntax error in configuration line 'cores' in \"/c/nix.conf\"");
        check("cores 3", "syntax error in configuration line 'cores 3' in \"/c/nix.conf\"");
        check("include gone", "file \"/c/gone\" included from \"/c/nix.conf\" not found");
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("nix.conf");
        std::fs::write(&path, "include nix.conf\n").expect("written");
        assert!(apply(&mut Settings::default(), "include nix.conf", &path).is_err());
    }
}
