//! `flake init` and `flake new`: the files of a template, copied to where a flake is to be. A file that is there already is never changed.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nixlang::eval::{ErrorKind, EvalError};
use nixlang::flake::LockOptions;
use nixlang::heap::Kind;
use nixlang::host::FileType;
use nixlang::source::Pos;

use super::Flake;
use crate::commands::Invocation;
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::{Failure, Outcome};
use crate::flakes::{Defaults, FlakeWord};
use crate::ui::Verbosity;

/// `flake init [-t TEMPLATE]`
pub(in crate::commands) fn init(invocation: Invocation) -> Outcome<u8> {
    run(invocation, false)
}

/// `flake new [-t TEMPLATE] DIRECTORY`
pub(in crate::commands) fn new(invocation: Invocation) -> Outcome<u8> {
    run(invocation, true)
}

fn run(mut invocation: Invocation, takes_directory: bool) -> Outcome<u8> {
    let mut template = "templates".to_owned();
    let flake = Flake::parse(&mut invocation, |flag, args| {
        let is_known = matches!(flag, "-t" | "--template");
        if is_known {
            template = args.value(flag)?;
        }
        Ok(is_known)
    })?;
    let directory = match (&flake.words[..], takes_directory) {
        ([], false) => ".",
        ([word], true) => word,
        ([], true) => return Err(Failure::Usage("more arguments are required".into())),
        ([.., word], _) => return Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    };
    let directory = PathBuf::from(std::ffi::OsStr::from_bytes(&nixlang::path::canonicalise(std::path::absolute(directory)?.as_os_str().as_bytes())));
    let context = flake.context(invocation)?;
    let word = FlakeWord::parse(&context, &template, Defaults::Templates)?;
    let options = LockOptions { write: false, ..LockOptions::default() };
    let copied = evaluate(&context, true, |evaluation| {
        let eval = evaluation.eval;
        let found = crate::flakes::find(evaluation, &word, &options)?;
        let shown = found.shown();
        let Kind::Attrs(attrs) = found.value.kind() else {
            return Err(EvalError::new(ErrorKind::Type, format!("'{shown}' is not an attribute set")).into());
        };
        let Some(path) = attrs.get(eval.symbols.intern(b"path")) else {
            return Err(EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{shown}.path' does not exist")).into());
        };
        let (path, _) = eval.coerce_to_path(path.get(), Pos::NONE, "")?;
        let mut copied = Copied::default();
        copied.directory(evaluation, path, &directory)?;
        if let Some(text) = attrs.get(eval.symbols.intern(b"welcomeText")) {
            copied.welcome = Some(String::from_utf8_lossy(eval.force_string(text.get(), Pos::NONE, "")?.bytes()).into_owned());
        }
        Ok(copied)
    })?;
    if !copied.changed.is_empty() && directory.join(".git").exists() {
        let mut command = Command::new("git");
        command.arg("-C").arg(&directory).args(["add", "--intent-to-add", "--force", "--"]).args(&copied.changed);
        let status = command.status().map_err(|error| Failure::new(format!("executing 'git': {}", crate::failure::plain(&error))))?;
        if !status.success() {
            return Err(Failure::new(format!("program 'git' failed: {status}")));
        }
    }
    if let Some(text) = copied.welcome {
        let text = crate::commands::repl::markdown(&text);
        context.ui.line(Verbosity::NOTICE, &format!("\n\n{text}"));
    }
    match copied.n_conflicts {
        0 => Ok(0),
        n_conflicts => Err(Failure::new(format!("encountered {n_conflicts} conflicts - see above"))),
    }
}

/// What became of the files of a template.
#[derive(Default)]
struct Copied {
    changed: Vec<PathBuf>,
    n_conflicts: usize,
    welcome: Option<String>,
}

impl Copied {
    fn directory(&mut self, evaluation: &Evaluation<'_, '_>, from: &[u8], to: &Path) -> Step<()> {
        let eval = evaluation.eval;
        let from = eval.resolve_links(from)?;
        std::fs::create_dir_all(to).map_err(|error| Failure::new(format!("creating directory \"{}\": {}", to.display(), crate::failure::plain(&error))))?;
        let mut entries = eval.host.read_dir(&from).map_err(|error| eval.host_error(error))?;
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, _) in entries {
            let (from, to) = (nixlang::path::join(&from, &name), to.join(std::ffi::OsStr::from_bytes(&name)));
            match eval.file_type(&from)? {
                Some(FileType::Directory) => {
                    self.directory(evaluation, &from, &to)?;
                    evaluation.context().ui.line(Verbosity::NOTICE, &format!("wrote: \"{}\"", to.display()));
                    self.changed.push(to);
                }
                Some(FileType::Regular { .. }) => {
                    let contents = eval.host.read_file(&from).map_err(|error| eval.host_error(error))?;
                    let is_same = || std::fs::read(&to).is_ok_and(|known| known == contents);
                    if self.is_free(evaluation, &from, &to, is_same)? {
                        std::fs::write(&to, &contents)?;
                    }
                }
                Some(FileType::Symlink) => {
                    let target = eval.host.read_link(&from).map_err(|error| eval.host_error(error))?;
                    let target = Path::new(std::ffi::OsStr::from_bytes(&target));
                    if self.is_free(evaluation, &from, &to, || std::fs::read_link(&to).is_ok_and(|known| known == target))? {
                        std::os::unix::fs::symlink(target, &to)?;
                    }
                }
                other => {
                    let kind = other.map_or("unknown", FileType::name);
                    let from = String::from_utf8_lossy(&from).into_owned();
                    return Err(Failure::new(format!("path '{from}' needs to be a symlink, file, or directory but instead is a {kind}")).into());
                }
            }
        }
        Ok(())
    }

    /// Says what becomes of a file. Returns whether it is to be written.
    fn is_free(&mut self, evaluation: &Evaluation<'_, '_>, from: &[u8], to: &Path, is_same: impl FnOnce() -> bool) -> Step<bool> {
        let ui = evaluation.context().ui;
        let from = evaluation.eval.sources.shown_path(from);
        if to.symlink_metadata().is_err() {
            ui.line(Verbosity::NOTICE, &format!("wrote: \"{}\"", to.display()));
            self.changed.push(to.to_owned());
            return Ok(true);
        }
        if is_same() {
            ui.line(Verbosity::NOTICE, &format!("skipping identical file: {from}"));
        } else {
            let message = format!("refusing to overwrite existing file \"{}\"\n please merge it manually with '{from}'", to.display());
            ui.line(Verbosity::ERROR, &message);
            self.n_conflicts += 1;
        }
        Ok(false)
    }
}
