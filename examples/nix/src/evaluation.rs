//! From a command's flags to an evaluator, and from its errors to diagnostics.

use std::sync::Arc;

use nixlang::diagnostics::{Diagnostic, near_names};
use nixlang::eval::{Budgets, ErrorKind, EvalError, EvalOptions, Evaluator, session};
use nixlang::flake::FlakeOptions;
use nixlang::host::RecordingHost;
use nixlang::heap::{Kind, Value};
use nixlang::host::FetchRequest;
use nixlang::lower::{LintLevel, Lints};
use nixlang::source::{Origin, Pos};

use crate::commands::Context;
use crate::common::AutoArgument;
use crate::failure::{Failure, Outcome};
use crate::observation::Observation;
use crate::host::{Pending, StoreHost};
use crate::settings::Settings;

/// Why a step of an evaluation ended early.
pub(crate) enum Stop {
    /// The expression is wrong.
    Error(EvalError),
    /// Something else.
    Failure(Failure),
}

impl From<EvalError> for Stop {
    fn from(error: EvalError) -> Stop {
        Stop::Error(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Failure(error.into())
    }
}

impl Stop {
    /// Returns whether a build in the background is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Stop::Error(error) if error.kind() == ErrorKind::Waiting)
    }
}

/// What steps of an evaluation return.
pub(crate) type Step<T> = Result<T, Stop>;

/// An evaluator, and what the command line says about it.
pub(crate) struct Evaluation<'e, 'h> {
    /// The evaluator.
    pub(crate) eval: &'e Evaluator<'h>,
    /// The set of `--arg` and `--argstr`.
    pub(crate) auto_arguments: Value<'h>,
    /// Whether there are any.
    pub(crate) has_auto_arguments: bool,
    context: &'e Context,
    pending: &'e Pending,
}

/// Runs `body` with a new evaluator. `read_write` says whether what it adds to the store is really written.
pub(crate) fn evaluate<R: Send>(context: &Arc<Context>, read_write: bool, body: impl for<'h> FnOnce(&Evaluation<'_, 'h>) -> Step<R> + Send) -> Outcome<R> {
    let pure = context.settings.is_on("pure-eval") && !context.common.impure;
    let read_write = read_write && !context.common.read_only;
    let options = options(context, pure, read_write)?;
    let pending = Arc::new(Pending::default());
    let (of_host, host_context) = (Arc::clone(&pending), Arc::clone(context));
    let restriction = context.settings.is_on("restrict-eval").then(|| {
        // What the search path names may be read, where it says and where links there lead.
        let named = options.search_path.iter().map(|(_, path)| path.clone().into_bytes());
        let real = options.search_path.iter().filter_map(|(_, path)| std::fs::canonicalize(path).ok()).map(|path| path.into_os_string().into_encoded_bytes());
        let paths: Vec<Vec<u8>> = named.chain(real).collect();
        (paths, context.settings.list("allowed-uris").map(str::to_owned).collect::<Vec<_>>())
    });
    let reads = Arc::new(std::sync::Mutex::new(nixlang::host::Reads::new()));
    let (noted, is_recorded) = (Arc::clone(&reads), context.common.record_reads.is_some());
    let host = move || -> Box<dyn nixlang::host::Host> {
        let host = Box::new(StoreHost::new(host_context, of_host, pure, read_write));
        let host: Box<dyn nixlang::host::Host> = match restriction {
            Some((paths, addresses)) => Box::new(nixlang::host::RestrictedHost::new(host, paths, addresses)),
            None => host,
        };
        if is_recorded { Box::new(RecordingHost::new(host, noted)) } else { host }
    };
    session(host, options, |eval| {
        let run = || {
            let (auto_arguments, has_auto_arguments) = auto_arguments(eval, context)?;
            let evaluation = Evaluation { eval, auto_arguments, has_auto_arguments, context, pending: &pending };
            let observation = Observation::begin(context, eval)?;
            let result = body(&evaluation);
            observation.end(eval, result.is_ok())?;
            let result = result?;
            evaluation.flush()?;
            Ok(result)
        };
        let result = run().map_err(|stop| match stop {
            Stop::Error(error) => Failure::from(Diagnostic::from_error(&error, &eval.sources)),
            Stop::Failure(failure) => failure,
        });
        match &context.common.record_reads {
            Some(path) => crate::observation::write_reads(path, &reads).and(result),
            None => result,
        }
    })
    .map_err(|error| Failure::new(format!("cannot start the evaluation: {}", crate::failure::plain(&error))))?
}

fn options(context: &Context, pure: bool, read_write: bool) -> Outcome<EvalOptions> {
    let settings = &context.settings;
    Ok(EvalOptions {
        pure,
        max_call_depth: u32::try_from(settings.integer("max-call-depth")).unwrap_or(u32::MAX),
        system: settings.eval_system().to_owned(),
        search_path: search_path(context),
        budgets: Budgets { cancel: Some(context.cancel.evaluation()), ..Budgets::default() },
        home: Some(crate::settings::home().to_string_lossy().into_owned()),
        experimental_features: settings.list("experimental-features").map(str::to_owned).collect(),
        trace_verbose: settings.is_on("trace-verbose"),
        abort_on_warn: settings.is_on("abort-on-warn"),
        show_trace: settings.is_on("show-trace"),
        read_write,
        trust_forge_archives: settings.is_on("trust-tarballs-from-git-forges"),
        lints: lints(settings)?,
        flakes: FlakeOptions {
            use_registries: settings.is_on("use-registries"),
            allow_dirty: settings.is_on("allow-dirty"),
            allow_dirty_locks: settings.is_on("allow-dirty-locks"),
            warn_dirty: settings.is_on("warn-dirty"),
            commit_lock_file_summary: settings.text("commit-lock-file-summary").to_owned(),
        },
        ..EvalOptions::default()
    })
}

fn lints(settings: &Settings) -> Outcome<Lints> {
    let level = |name: &'static str| -> Outcome<LintLevel> {
        settings.text(name).parse().map_err(|error: nixlang::lower::UnknownLintLevel| Failure::Usage(format!("setting '{name}': {error}")))
    };
    let mut lints = Lints { absolute_paths: level("lint-absolute-path-literals")?, short_paths: level("lint-short-path-literals")?, urls: level("lint-url-literals")? };
    if !settings.is_set("lint-short-path-literals") && settings.is_on("warn-short-path-literals") {
        lints.short_paths = LintLevel::Warn;
    }
    if settings.list("experimental-features").any(|feature| feature == "no-url-literals") {
        lints.urls = LintLevel::Fatal;
    }
    Ok(lints)
}

/// Returns the search path of the environment or of files of settings; none if nobody has set it.
pub(crate) fn configured_search_path(settings: &Settings) -> Option<Vec<String>> {
    match std::env::var("NIX_PATH") {
        Ok(text) => Some(split_search_path(&text)),
        Err(_) if settings.is_set("nix-path") => Some(settings.list("nix-path").map(str::to_owned).collect()),
        Err(_) => None,
    }
}

/// Returns the search path: `-I`, then `--nix-path`, or `NIX_PATH`, or the setting `nix-path`, or the user's channels.
fn search_path(context: &Context) -> Vec<(String, String)> {
    let mut entries: Vec<String> = context.common.search_path.clone();
    let configured = context.common.nix_path.clone().or_else(|| configured_search_path(&context.settings));
    entries.extend(configured.unwrap_or_else(|| default_search_path(context)));
    let absolute = |path: &str| -> String {
        if path.contains("://") || path.starts_with("channel:") || path.starts_with("flake:") {
            return path.to_owned();
        }
        std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
    };
    entries
        .iter()
        .map(|entry| match entry.split_once('=') {
            Some((prefix, path)) => (prefix.to_owned(), absolute(path)),
            None => (String::new(), absolute(entry)),
        })
        .collect()
}

/// Splits at colons, but not in URLs.
fn split_search_path(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.find(':').unwrap_or(rest.len());
        // `flake:`, `channel:` and `https://` belong to what follows.
        let scheme = rest[..end].rsplit('=').next().unwrap_or_default();
        if rest[end..].starts_with("://") || matches!(scheme, "flake" | "channel") {
            end = rest[end + 1..].find(':').map_or(rest.len(), |next| end + 1 + next);
        }
        if end > 0 {
            entries.push(rest[..end].to_owned());
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    entries
}

fn default_search_path(context: &Context) -> Vec<String> {
    let state = std::env::var("NIX_STATE_DIR").unwrap_or_else(|_| "/nix/var/nix".into());
    let channels = format!("{state}/profiles/per-user/root/channels");
    let defexpr = if context.settings.is_on("use-xdg-base-directories") {
        crate::settings::state_home().join("nix/defexpr/channels")
    } else {
        crate::settings::home().join(".nix-defexpr/channels")
    };
    let candidates = [(String::new(), defexpr.to_string_lossy().into_owned()), ("nixpkgs=".into(), format!("{channels}/nixpkgs")), (String::new(), channels)];
    candidates.into_iter().filter(|(_, path)| std::path::Path::new(path).exists()).map(|(prefix, path)| prefix + &path).collect()
}

fn auto_arguments<'h>(eval: &Evaluator<'h>, context: &Context) -> Step<(Value<'h>, bool)> {
    let mut attributes: Vec<(nixlang::symbol::Symbol, Value<'h>)> = Vec::new();
    for (name, argument) in &context.common.auto_arguments {
        let value = match argument {
            AutoArgument::Text(text) => eval.heap.string(text),
            AutoArgument::Expression(text) => match eval.eval_text(text.as_bytes(), Origin::String, &base_directory(context)) {
                Ok(value) => value,
                Err(error) if error.kind() == ErrorKind::Syntax => return Err(error.into()),
                // It matters only if the argument is used.
                Err(error) => eval.heap.thunk_failed(error),
            },
        };
        let symbol = eval.symbols.intern(name.as_bytes());
        attributes.retain(|(other, _)| *other != symbol);
        attributes.push((symbol, value));
    }
    let is_empty = attributes.is_empty();
    Ok((eval.attrs_of(attributes), !is_empty))
}

/// Returns the directory that relative paths of expressions of the command line start from.
fn base_directory(context: &Context) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    context.common.base_directory.as_ref().map_or_else(working_directory, |path| path.as_os_str().as_bytes().to_vec())
}

/// Returns the directory that relative paths start from.
pub(crate) fn working_directory() -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    std::env::current_dir().map_or_else(|_| b"/".to_vec(), |path| path.into_os_string().into_vec())
}

impl<'e, 'h> Evaluation<'e, 'h> {
    /// Returns one that passes another argument along, unless the command line gave one of that name.
    pub(crate) fn with_argument(&self, name: &str, value: Value<'h>) -> Evaluation<'e, 'h> {
        let name = self.eval.symbols.intern(name.as_bytes());
        let mut arguments = vec![(name, value)];
        if let Kind::Attrs(given) = self.auto_arguments.kind() {
            let given: Vec<_> = given.flat(self.eval.heap).iter().map(|entry| (entry.symbol, entry.slot.get())).collect();
            arguments.retain(|(name, _)| given.iter().all(|(other, _)| other != name));
            arguments.extend(given);
        }
        Evaluation { auto_arguments: self.eval.attrs_of(arguments), has_auto_arguments: true, ..*self }
    }

    /// Returns what the command works with.
    pub(crate) fn context(&self) -> &Context {
        self.context
    }

    /// Returns the set of `--arg` and `--argstr`.
    pub(crate) fn auto_arguments(&self) -> Value<'h> {
        self.auto_arguments
    }

    /// Writes the derivations that were made. Comes before somebody is told of their paths.
    pub(crate) fn flush(&self) -> Outcome<()> {
        self.pending.flush(self.context)
    }

    /// Evaluates a text of the command line.
    pub(crate) fn text(&self, text: &[u8]) -> Step<Value<'h>> {
        Ok(self.eval.eval_text(text, Origin::String, &base_directory(self.context))?)
    }

    /// Evaluates what is on stdin.
    pub(crate) fn stdin(&self) -> Step<Value<'h>> {
        let text = crate::common::read_stdin()?;
        Ok(self.eval.eval_text(&text, Origin::Stdin, &working_directory())?)
    }

    /// Returns the path that a file argument means: `<name>`, or a path.
    pub(crate) fn file_argument(&self, argument: &str) -> Step<Vec<u8>> {
        if let Some(name) = argument.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            return self.find_file(name);
        }
        if nixlang_store::open::is_pseudo_url(argument) {
            let request = FetchRequest { url: nixlang_store::open::resolve_pseudo_url(argument), name: "source".into(), unpack: true, sha256: None };
            let path = self.eval.host.fetch(&request).map_err(|error| self.eval.host_error(error))?;
            return Ok(self.eval.host.store_dir().display(&path).into_bytes());
        }
        if argument.starts_with("flake:") {
            let path = self.eval.host.fetch_search_path_entry(argument).map_err(|error| self.eval.host_error(error))?;
            return path.ok_or_else(|| Failure::new(format!("cannot fetch '{argument}'")).into());
        }
        let directory = if argument.starts_with('/') { b"/".to_vec() } else { base_directory(self.context) };
        Ok(nixlang::path::canonicalise(&nixlang::path::join(&directory, argument.as_bytes())))
    }

    /// Looks up a name in the search path.
    pub(crate) fn find_file(&self, name: &str) -> Step<Vec<u8>> {
        let bytes = |text: &String| text.clone().into_bytes();
        let entries: Vec<_> = self.eval.options.search_path.iter().map(|(prefix, path)| (bytes(prefix), bytes(path))).collect();
        Ok(self.eval.find_file(&entries, name.as_bytes(), Pos::NONE)?)
    }

    /// Evaluates a file argument.
    pub(crate) fn file(&self, argument: &str) -> Step<Value<'h>> {
        let path = self.eval.resolve_expr_path(&self.file_argument(argument)?)?;
        // Not `import`, which would say so in traces.
        let text = self.eval.host.read_file(&path).map_err(|error| self.eval.host_error(error))?;
        Ok(self.eval.eval_text(&text, Origin::File(path.as_slice().into()), nixlang::path::parent(&path))?)
    }

    /// Calls a function with the arguments of the command line; everything else stays as it is.
    pub(crate) fn auto_call(&self, value: Value<'h>) -> Step<Value<'h>> {
        Ok(self.eval.auto_call(value, self.auto_arguments)?)
    }

    /// Selects an attribute path such as `a."b.c".0`, calling functions on the way. The result may be a function.
    pub(crate) fn select(&self, root: Value<'h>, path: &str) -> Step<Value<'h>> {
        let mut value = root;
        for name in split_attr_path(path)? {
            value = self.auto_call(value)?;
            match (name.parse::<u32>(), value.kind()) {
                (Ok(index), Kind::List(list)) => match list.slots().get(index as usize) {
                    Some(slot) => value = slot.get(),
                    None => return Err(missing(format!("list index {index} in selection path '{path}' is out of range"), Vec::new())),
                },
                (Ok(_), _) => return Err(self.wrong_type(path, "list", value)),
                (Err(_), Kind::Attrs(_)) if name.is_empty() => return Err(Failure::new(format!("empty attribute name in selection path '{path}'")).into()),
                (Err(_), Kind::Attrs(attrs)) => match attrs.get(self.eval.symbols.intern(name.as_bytes())) {
                    Some(slot) => value = slot.get(),
                    None => {
                        let flat = attrs.flat(self.eval.heap);
                        let names = near_names(name.as_bytes(), flat.iter().map(|entry| self.eval.symbols.text(entry.symbol)));
                        return Err(missing(format!("attribute '{name}' in selection path '{path}' not found"), names));
                    }
                },
                (Err(_), _) => return Err(self.wrong_type(path, "set", value)),
            }
        }
        Ok(self.eval.force(value)?)
    }

    fn wrong_type(&self, path: &str, wanted: &str, found: Value<'h>) -> Stop {
        let found = if let Kind::Builtin(_) = found.kind() { "a built-in function" } else { found.plain_type() };
        let message = format!("the expression selected by the selection path '{path}' should be a {wanted} but is {found}");
        EvalError::new(ErrorKind::Type, message).into()
    }
}

fn missing(message: String, suggestions: Vec<String>) -> Stop {
    EvalError::new(ErrorKind::MissingAttribute, message).suggest(suggestions).into()
}

/// Splits an attribute path at dots outside of double quotes.
pub(crate) fn split_attr_path(path: &str) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' if !quoted => names.push(std::mem::take(&mut name)),
            '"' => quoted = !quoted,
            c => name.push(c),
        }
    }
    if quoted {
        return Err(Failure::new(format!("missing closing quote in selection path '{path}'")));
    }
    if !name.is_empty() {
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attr_paths() {
        let check = |path: &str, expected: &[&str]| assert_eq!(split_attr_path(path).expect("well-formed"), expected, "{path}");
        check("", &[]);
        check("a.b", &["a", "b"]);
        check("a.\"b.c\".0", &["a", "b.c", "0"]);
        assert!(split_attr_path("a.\"b").is_err());
    }

    #[test]
    fn search_paths() {
        let check = |text: &str, expected: &[&str]| assert_eq!(split_search_path(text), expected, "{text}");
        check("", &[]);
        check("a:b=/c", &["a", "b=/c"]);
        check("x=https://h/y:z", &["x=https://h/y", "z"]);
        check("n=flake:nixpkgs:o", &["n=flake:nixpkgs", "o"]);
        check("n=channel:nixos-unstable", &["n=channel:nixos-unstable"]);
    }
}
