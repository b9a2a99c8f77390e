//! The NAR of a file tree that a host shows, written while it is read. Directories are walked with a stack of our own, so no depth of
//! nesting is too deep for it.

use std::io;

use nixlang_store::nar::{NarError, NarWriter};

use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::FileType;

/// Writes the NAR of `path`. `filter` decides which entries go in, by path and type. The outer result is the evaluation's, the inner one the writer's.
pub(crate) fn dump(
    eval: &Evaluator<'_>,
    path: &[u8],
    out: &mut dyn io::Write,
    filter: &mut dyn FnMut(&[u8], FileType) -> EvalResult<bool>,
) -> EvalResult<io::Result<()>> {
    let mut writer = NarWriter::new(out);
    match write_tree(eval, path, &mut writer, filter) {
        Ok(()) => {}
        Err(Failure::Evaluation(error)) => return Err(error),
        Err(Failure::Writer(error)) => return Ok(Err(io::Error::other(error))),
    }
    Ok(writer.finish().map(drop).map_err(io::Error::other))
}

enum Failure {
    Evaluation(EvalError),
    Writer(NarError),
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        Failure::Evaluation(error)
    }
}

impl From<NarError> for Failure {
    fn from(error: NarError) -> Self {
        Failure::Writer(error)
    }
}

type Names = std::vec::IntoIter<(Vec<u8>, Option<FileType>)>;

fn write_tree(
    eval: &Evaluator<'_>,
    path: &[u8],
    writer: &mut NarWriter<&mut dyn io::Write>,
    filter: &mut dyn FnMut(&[u8], FileType) -> EvalResult<bool>,
) -> Result<(), Failure> {
    let file_type = eval.file_type(path)?.ok_or_else(|| missing(eval, path))?;
    let mut open: Vec<(Vec<u8>, Names)> = Vec::new();
    if let Some(names) = write_node(eval, path, file_type, writer)? {
        open.push((path.to_vec(), names));
    }
    while let Some((directory, names)) = open.last_mut() {
        let Some((name, listed)) = names.next() else {
            writer.end_directory()?;
            open.pop();
            continue;
        };
        let path = crate::path::join(directory, &name);
        // A listing doesn't say whether a file is executable.
        let file_type = match listed {
            Some(FileType::Directory) => FileType::Directory,
            Some(FileType::Symlink) => FileType::Symlink,
            _ => eval.file_type(&path)?.ok_or_else(|| missing(eval, &path))?,
        };
        // One entry after the other: a filter sees what is in a directory before what comes behind it.
        if !filter(&path, file_type)? {
            continue;
        }
        writer.entry(&name)?;
        if let Some(names) = write_node(eval, &path, file_type, writer)? {
            open.push((path, names));
        }
    }
    Ok(())
}

/// Writes a file or link whole, or begins a directory and returns its entries, sorted.
fn write_node(
    eval: &Evaluator<'_>,
    path: &[u8],
    file_type: FileType,
    writer: &mut NarWriter<&mut dyn io::Write>,
) -> Result<Option<Names>, Failure> {
    let host = |e| Failure::Evaluation(eval.host_error(e));
    match file_type {
        FileType::Regular { executable } => {
            writer.file(executable, &eval.host.read_file(path).map_err(host)?)?;
            Ok(None)
        }
        FileType::Symlink => {
            writer.symlink(&eval.host.read_link(path).map_err(host)?)?;
            Ok(None)
        }
        FileType::Directory => {
            writer.directory()?;
            let mut entries = eval.host.read_dir(path).map_err(host)?;
            entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Ok(Some(entries.into_iter()))
        }
        FileType::Unknown => {
            let message = format!("file '{}' has an unsupported type", String::from_utf8_lossy(path));
            Err(EvalError::new(ErrorKind::Host, message).into())
        }
    }
}

fn missing(eval: &Evaluator<'_>, path: &[u8]) -> EvalError {
    EvalError::new(ErrorKind::Host, format!("path '{}' does not exist", eval.sources.shown_path(path)))
}
