//! Locking: from a reference to a flake whose inputs are all known, and writing down which they are.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use nixlang_store::input::{FlakeRef, Input};

use super::lock_file::{InputPath, LockFile, NodeIndex, print_input_path};
use super::lock_file_json::LockFileReader;
use super::locking::Locking;
use super::{Flake, UseRegistries};
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::Message;
use crate::source::Pos;

/// A lock file that is read instead of the flake's own.
#[derive(Clone, Debug)]
pub struct ReferenceLockFile {
    /// How messages call it.
    pub file: String,
    /// What is in it; none if it isn't there.
    pub text: Option<Vec<u8>>,
}

/// What may be done to a lock file, and which inputs are something else than it says.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// Forget the lock file that there is.
    pub recreate: bool,
    /// Whether the lock file may change; if not it is an error that it has to.
    pub update: bool,
    /// Whether a changed lock file is written; if not it is used for now.
    pub write: bool,
    /// Whether it is an error that an input may be another tree tomorrow, rather than a reason not to write.
    pub fail_on_unlocked: bool,
    /// Whether registries are asked; if absent, as the settings say.
    pub use_registries: Option<bool>,
    /// Whether inputs may be locked that may be another tree tomorrow.
    pub allow_unlocked: bool,
    /// Whether a changed lock file is committed.
    pub commit: bool,
    /// What is read instead of `flake.lock`.
    pub reference: Option<ReferenceLockFile>,
    /// What is written instead of `flake.lock`.
    pub output: Option<String>,
    /// Inputs that are something else.
    pub overrides: BTreeMap<InputPath, FlakeRef>,
    /// Inputs to be found out anew.
    pub updates: BTreeSet<InputPath>,
}

impl Default for LockOptions {
    fn default() -> Self {
        LockOptions {
            recreate: false,
            update: true,
            write: true,
            fail_on_unlocked: false,
            use_registries: None,
            allow_unlocked: true,
            commit: false,
            reference: None,
            output: None,
            overrides: BTreeMap::new(),
            updates: BTreeSet::new(),
        }
    }
}

/// A flake with all its inputs.
#[derive(Clone, Debug)]
pub struct LockedFlake {
    /// The flake.
    pub flake: Flake,
    /// Its inputs.
    pub lock_file: LockFile,
    /// Where the trees of nodes are that were fetched for this; the directory of `flake.nix` where there is one.
    pub directories: BTreeMap<NodeIndex, Vec<u8>>,
}

impl LockedFlake {
    /// Returns what tells this flake's outputs from those of any other; none if its tree or an input may be another tomorrow.
    pub fn fingerprint(&self, eval: &Evaluator<'_>) -> Option<nixlang_store::hash::Hash> {
        use std::fmt::Write as _;
        if self.lock_file.unlocked_input(|input| is_considered_locked(eval, input)).is_some() {
            return None;
        }
        let mut text = self.flake.fingerprint.clone()?;
        let input = &self.flake.locked.input;
        let _ = write!(text, ";{};{}", self.flake.locked.subdir, self.lock_file.to_text());
        // They don't follow from the contents of an archive, but show in the outputs.
        for name in ["revCount", "lastModified"] {
            if let Some(number) = input.number(name) {
                let _ = write!(text, ";{name}={number}");
            }
        }
        Some(nixlang_store::hash::Hash::digest(nixlang_store::hash::Algorithm::Sha256, text.as_bytes()))
    }
}

/// Whether a tree is the same tomorrow, or at least known to be another.
fn is_considered_locked(eval: &Evaluator<'_>, input: &Input) -> bool {
    input.is_locked(eval.options.trust_forge_archives).unwrap_or(false)
        || eval.options.flakes.allow_dirty_locks && input.nar_hash().is_ok_and(|hash| hash.is_some())
}

fn wrong(message: impl Into<String>) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}

/// Finds out what all inputs of a flake are, and writes its lock file if that is to be done.
///
/// # Errors
/// When the flake or an input can't be had or is none, or the lock file has to change and must not.
pub fn lock(eval: &Evaluator<'_>, reference: &FlakeRef, options: &LockOptions) -> EvalResult<LockedFlake> {
    if !eval.options.has_feature("flakes") {
        return Err(wrong(nixlang_store::input::feature_message("flakes")));
    }
    let asks_registries = options.use_registries.unwrap_or(eval.options.flakes.use_registries);
    let of_top = if asks_registries { UseRegistries::All } else { UseRegistries::No };
    let of_inputs = if asks_registries { UseRegistries::Limited } else { UseRegistries::No };
    let flake = super::get_flake(eval, reference, of_top, &[])?;
    let shown = flake.locked.to_string();
    lock_read(eval, reference, flake, options, of_inputs)
        .map_err(|error| error.while_(Pos::NONE, format!("while updating the lock file of flake '{shown}'")))
}

fn lock_read(eval: &Evaluator<'_>, reference: &FlakeRef, mut flake: Flake, options: &LockOptions, of_inputs: UseRegistries) -> EvalResult<LockedFlake> {
    let old = match &options.reference {
        Some(_) if !eval.options.flakes.allow_dirty => {
            return Err(wrong("reference lock file was provided, but the `allow-dirty` setting is set to false"));
        }
        Some(file) => match &file.text {
            Some(text) => parse_lock_file(eval, text, &file.file)?,
            None => LockFile::default(),
        },
        None => read_lock_file(eval, &flake.lock_file())?,
    };
    let old = Rc::new(old);
    let (new, directories) = Locking::run(eval, &flake, options, &old, of_inputs)?;
    new.check().map_err(wrong)?;
    if new.to_json().0 != old.to_json().0 || options.output.is_some() {
        let diff = old.diff(&new);
        let diff = diff.trim_end();
        if options.write {
            write(eval, reference, &new, diff, options)?;
        } else {
            eval.say(Message::Warning, &format!("not writing modified lock file of flake '{reference}':\n{diff}"));
            flake.is_dirty = true;
        }
    }
    Ok(LockedFlake { flake, lock_file: new, directories })
}

/// Reads a lock file; one that isn't there is empty.
pub(super) fn read_lock_file(eval: &Evaluator<'_>, path: &[u8]) -> EvalResult<LockFile> {
    let path = eval.resolve_links(path)?;
    if eval.file_type(&path)?.is_none() {
        return Ok(LockFile::default());
    }
    let text = eval.host.read_file(&path).map_err(|error| eval.host_error(error))?;
    parse_lock_file(eval, &text, &String::from_utf8_lossy(&path))
}

fn parse_lock_file(eval: &Evaluator<'_>, text: &[u8], file: &str) -> EvalResult<LockFile> {
    let mut warn = |message: String| eval.say(Message::Warning, &message);
    LockFileReader { file, trust_forge_archives: eval.options.trust_forge_archives, warn: &mut warn }.read(text).map_err(|error| match error {
        super::LockFileError::Json { file, source } => wrong(format!("Could not parse '{file}': {source}")),
        error => wrong(error.to_string()),
    })
}

fn write(eval: &Evaluator<'_>, reference: &FlakeRef, new: &LockFile, diff: &str, options: &LockOptions) -> EvalResult<()> {
    let warn = |message: String| eval.say(Message::Warning, &message);
    let relative = if reference.subdir.is_empty() { "flake.lock".to_owned() } else { format!("{}/flake.lock", reference.subdir) };
    let place = eval.host.lock_file(&reference.input, &relative).map_err(|error| eval.host_error(error))?;
    if place.is_none() && options.output.is_none() {
        return Err(wrong(format!("cannot write modified lock file of flake '{reference}' (use '--no-write-lock-file' to ignore)")));
    }
    if let Some(unlocked) = new.unlocked_input(|input| is_considered_locked(eval, input)) {
        if options.fail_on_unlocked {
            return Err(wrong(format!(
                "Not writing lock file of flake '{reference}' because it has an unlocked input ('{unlocked}'). \
                 Use '--allow-dirty-locks' to allow this anyway."
            )));
        }
        if eval.options.flakes.warn_dirty {
            warn(format!("not writing lock file of flake '{reference}' because it has an unlocked input ('{unlocked}')"));
        }
        return Ok(());
    }
    if !options.update {
        return Err(wrong(format!("flake '{reference}' requires lock file changes but they're not allowed due to '--no-update-lock-file'")));
    }
    let text = new.to_text() + "\n";
    if let Some(path) = &options.output {
        if options.commit {
            return Err(wrong("'--commit-lock-file' and '--output-lock-file' are incompatible"));
        }
        return eval.host.write_file(path, text.as_bytes()).map_err(|error| eval.host_error(error));
    }
    let place = place.expect("one without a place was an error above");
    let shown = &place.path;
    warn(match (place.exists, diff.is_empty()) {
        (true, true) => format!("updating lock file \"{shown}\""),
        (true, false) => format!("updating lock file \"{shown}\":\n{diff}"),
        (false, _) => format!("creating lock file \"{shown}\": \n{diff}"),
    });
    let message = options.commit.then(|| {
        let summary = match eval.options.flakes.commit_lock_file_summary.as_str() {
            "" => format!("{relative}: {}", if place.exists { "Update" } else { "Add" }),
            summary => summary.to_owned(),
        };
        let details = crate::diagnostics::filter_escapes(diff, false);
        format!("{summary}\n\nFlake lock file updates:\n\n{details}{}", if details.is_empty() { "" } else { "\n" })
    });
    eval.host.write_lock_file(&reference.input, &relative, text.as_bytes(), message.as_deref()).map_err(|error| eval.host_error(error))
}

/// Says that something that was asked for didn't matter.
pub(super) fn warn_of_unused(eval: &Evaluator<'_>, options: &LockOptions, used: &BTreeSet<InputPath>, updated: &BTreeSet<InputPath>) {
    let warn = |message: String| eval.say(Message::Warning, &message);
    for (path, reference) in options.overrides.iter().filter(|(path, _)| !used.contains(*path)) {
        warn(format!("the flag '--override-input {} {reference}' does not match any input", print_input_path(path)));
    }
    for path in options.updates.difference(updated) {
        warn(format!("'{}' does not match any input of this flake", print_input_path(path)));
    }
}
