//! `fmt`: formats files in the standard style (RFC 166). Without files it reads stdin and writes stdout.
//!
//! The surprising part: directories are searched for `.nix` files, and what cannot be formatted doesn't keep the others from it.

use std::io::Write;
use std::path::{Path, PathBuf};

use nixlang::format::{FormatError, FormatOptions, format};

use super::Invocation;
use super::source::replace_file;
use crate::failure::{Failure, Outcome, plain};
use crate::ui::Ui;

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut options = FormatOptions::default();
    let mut check = false;
    let number = |flag: &str, text: &str| text.parse().map_err(|_| Failure::Usage(format!("'{flag}' takes a number, not '{text}'")));
    let words = invocation.words(|flag, args| {
        match flag {
            "-c" | "--check" => check = true,
            "-s" | "--strict" => options.pure = true,
            "-w" | "--width" => options.width = number(flag, &args.value(flag)?)?,
            "--indent" => options.indent = number(flag, &args.value(flag)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let ui = invocation.common.ui();
    if words.is_empty() || words == ["-"] {
        let text = text_of(&crate::common::read_stdin()?, Path::new("<stdin>"))?;
        let formatted = format_text(&text, Path::new("<stdin>"), options)?;
        if check {
            return Ok(u8::from(formatted != text));
        }
        std::io::stdout().lock().write_all(formatted.as_bytes())?;
        return Ok(0);
    }
    let mut files = Vec::new();
    for word in &words {
        find(Path::new(word), &mut files)?;
    }
    let mut status = 0;
    for file in files {
        if !one_file(&file, options, check, ui)? {
            status = 1;
        }
    }
    Ok(status)
}

/// Formats a file, or looks whether it is formatted. Returns whether all is well.
fn one_file(file: &Path, options: FormatOptions, check: bool, ui: Ui) -> Outcome<bool> {
    let formatted = std::fs::read(file)
        .map_err(|error| Failure::new(format!("reading '{}': {}", file.display(), plain(&error))))
        .and_then(|bytes| text_of(&bytes, file))
        .and_then(|text| Ok((format_text(&text, file, options)?, text)));
    match formatted {
        Ok((formatted, text)) if formatted == text => Ok(true),
        Ok(_) if check => {
            println!("{}: not formatted", file.display());
            Ok(false)
        }
        Ok((formatted, _)) => replace_file(file, formatted.as_bytes()).map(|()| true),
        Err(Failure::Shown(diagnostic)) => {
            ui.show(&diagnostic);
            Ok(false)
        }
        Err(other) => Err(other),
    }
}

fn text_of(bytes: &[u8], file: &Path) -> Outcome<String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| Failure::new(format!("'{}' is not UTF-8: byte {}", file.display(), error.utf8_error().valid_up_to())))
}

fn format_text(text: &str, file: &Path, options: FormatOptions) -> Outcome<String> {
    format(text, options).map_err(|error| {
        let place = match &error {
            FormatError::Syntax { position, .. } => {
                let before = &text[..(*position as usize).min(text.len())];
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                format!(":{}:{}", before.matches('\n').count() + 1, before.len() - line_start + 1)
            }
            _ => String::new(),
        };
        Failure::new(format!("{}{place}: {error}", file.display()))
    })
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::new(format!("reading '{}': {}", path.display(), plain(&error)));
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        // Links may lead out, or round in circles.
        if kind.is_dir() {
            find(&entry.path(), files)?;
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "nix") {
            files.push(entry.path());
        }
    }
    Ok(())
}
