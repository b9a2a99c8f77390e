//! `nix-shell`: a shell, or a script, with the environment of a derivation whose inputs are built, or with packages.
//!
//! Unlike `develop` nothing of the derivation is run in the sandbox: the shell itself sources the setup script of `stdenv`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang::diagnostics::Diagnostic;
use nixlang::heap::{Kind, Value};
use nixlang::host::FileType;
use nixlang::packages::package;
use nixlang::source::Origin;
use nixlang_build::DerivedPath;
use nixlang_store::derivation::Derivation;
use nixlang_store::path::StorePath;

use super::nix_build::made_before;
use super::sources::Sources;
use super::{Context, Invocation};
use crate::args::Args;
use crate::building::{BuildFlags, build, output, output_path};
use crate::derivations::ask_packages;
use crate::evaluation::{Evaluation, Step, Stop, evaluate, working_directory};
use crate::failure::{Failure, Outcome};
use crate::shebang::Script;
use crate::start::{Variables, quote, start};
use crate::ui::Verbosity;

/// Variables that `--pure` keeps.
const KEPT: &[&str] = &[
    "HOME", "XDG_RUNTIME_DIR", "USER", "LOGNAME", "DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "PATH", "TERM", "IN_NIX_SHELL",
    "NIX_SHELL_PRESERVE_PROMPT", "TZ", "PAGER", "NIX_BUILD_SHELL", "SHLVL", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "HTTP_PROXY",
    "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY",
];

#[derive(Debug, Default)]
struct Flags {
    sources: Sources,
    packages: bool,
    pure: bool,
    build: BuildFlags,
    exclude: Vec<String>,
    keep: BTreeSet<String>,
    /// What the shell does instead of reading commands.
    command: Option<String>,
    /// Set by `--run` and `-i`.
    not_interactive: bool,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let given = invocation.args.take_rest();
    let script = match given.first() {
        Some(word) => Script::read(word)?,
        None => None,
    };
    let words = script.as_ref().map_or(&given, |script| &script.flags);
    invocation.args = Args::new(words.iter().map(OsString::from))?;
    let mut flags = Flags::default();
    let plain = invocation.words(|flag, args| {
        match flag {
            "-p" | "--packages" => flags.packages = true,
            "--pure" => flags.pure = true,
            "--impure" => flags.pure = false,
            "--exclude" => flags.exclude.push(args.value(flag)?),
            "--keep" => drop(flags.keep.insert(args.value(flag)?)),
            "--command" => flags.command = Some(args.value(flag)? + "\nexit"),
            "--run" => {
                flags.not_interactive = true;
                flags.command = Some(args.value(flag)? + "\nexit");
            }
            "-i" if script.is_some() => {
                flags.not_interactive = true;
                let path = script.as_ref().map(|script| script.path.as_path()).unwrap_or(Path::new(""));
                flags.command = Some(interpreter(&args.value(flag)?, path, given.get(1..).unwrap_or_default()));
            }
            "--dry-run" => flags.build.dry_run = true,
            "--check" => flags.build.check = true,
            "--add-drv-link" | "--indirect" | "--no-out-link" | "--no-link" => {}
            "-o" | "--out-link" | "--drv-link" => drop(args.value(flag)?),
            _ => return flags.sources.flag(flag, args),
        }
        Ok(true)
    })?;
    flags.sources.complete(plain);
    if flags.packages && flags.sources.expressions {
        return Err(Failure::Usage("'-p' and '-E' are mutually exclusive".into()));
    }
    let relative_to_script = invocation.common.settings.is_on("nix-shell-shebang-arguments-relative-to-script");
    let script_directory = match &script {
        Some(script) => Some(script.directory()?),
        None => None,
    };
    if relative_to_script && let Some(directory) = &script_directory {
        invocation.common.base_directory = Some(directory.clone());
    }
    invocation.common.variables.insert("IN_NIX_SHELL".into(), if flags.pure { "pure" } else { "impure" }.into());
    let always_shell_nix = invocation.common.settings.is_on("nix-shell-always-looks-for-shell-nix");
    complete_words(&mut flags, always_shell_nix)?;
    let context = invocation.context()?;
    let found = find(&context, &flags, script_directory.as_deref())?;
    open(&context, &flags, found)
}

/// Returns the shell command that runs a script by the interpreter that it names.
fn interpreter(interpreter: &str, script: &Path, arguments: &[String]) -> String {
    let arguments: String = arguments.iter().map(|argument| quote(argument) + " ").collect();
    let script = quote(&script.display().to_string());
    // Both look for a shebang themselves: perl unless it is called by another name, ruby always.
    let named = if interpreter.contains("perl") { "-a PERL" } else { "" };
    if interpreter.contains("ruby") {
        return format!("exec {named} {interpreter} -e 'load(ARGV.shift)' -- {script} {arguments}");
    }
    format!("exec {named} {interpreter} {script} {arguments}")
}

/// Turns packages into an expression, and adds what is meant when nothing is named.
fn complete_words(flags: &mut Flags, always_shell_nix: bool) -> Outcome<()> {
    if flags.packages {
        let packages: String = flags.sources.words.iter().map(|word| format!("({word}) ")).collect();
        let expression = format!(
            "{{...}}@args: with import <nixpkgs> args; (pkgs.runCommandCC or pkgs.runCommand) \"shell\" {{ buildInputs = [ {packages}]; }} \"\""
        );
        flags.sources.words = vec![expression];
        flags.sources.expressions = true;
    } else if flags.sources.is_empty() {
        let (shell, default) = (Path::new("shell.nix").exists(), Path::new("default.nix").exists());
        if !shell && !default {
            return Err(Failure::new("no argument specified and no 'shell.nix' or 'default.nix' file found in the working directory"));
        }
        flags.sources.words.push(if shell && !always_shell_nix { "shell.nix" } else { "." }.to_owned());
    }
    Ok(())
}

/// What evaluation gives.
struct Found {
    derivation: StorePath,
    /// Of `bashInteractive`, unless another shell is named.
    shell: Option<StorePath>,
}

fn find(context: &Arc<Context>, flags: &Flags, script_directory: Option<&Path>) -> Outcome<Found> {
    evaluate(context, true, |evaluation| {
        let mut found = Vec::new();
        let mut roots = Vec::new();
        if flags.sources.stdin {
            roots.push(evaluation.stdin()?);
        } else {
            for word in &flags.sources.words {
                if flags.sources.expressions {
                    roots.push(evaluation.text(word.as_bytes())?);
                } else if let Some(derivation) = made_before(context, word)? {
                    found.push(derivation.path);
                } else {
                    let word = match script_directory {
                        Some(directory) if !flags.packages && !word.starts_with('<') => directory.join(word).display().to_string(),
                        _ => word.clone(),
                    };
                    let path = shell_file(context, evaluation, &word)?;
                    let text = evaluation.eval.host.read_file(&path).map_err(|error| evaluation.eval.host_error(error))?;
                    roots.push(evaluation.eval.eval_text(&text, Origin::File(path.as_slice().into()), nixlang::path::parent(&path))?);
                }
            }
        }
        let in_shell = evaluation.with_argument("inNixShell", Value::bool(true));
        for root in roots {
            for attribute in &flags.sources.attributes {
                let value = if takes_in_nix_shell(evaluation, root)? { in_shell.select(root, attribute)? } else { evaluation.select(root, attribute)? };
                found.extend(ask_packages(if takes_in_nix_shell(evaluation, value)? { &in_shell } else { evaluation }, value, |package| package.require_derivation_path())?);
            }
        }
        let [derivation] = &found[..] else {
            return Err(Failure::Usage("nix-shell requires a single derivation".into()).into());
        };
        let shell = if std::env::var_os("NIX_BUILD_SHELL").is_none() { interactive_bash(context, evaluation) } else { None };
        Ok(Found { derivation: derivation.clone(), shell })
    })
}

/// Returns whether a function names the argument `inNixShell`; an ellipsis does not count.
fn takes_in_nix_shell<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>) -> Step<bool> {
    let Kind::Lambda(closure) = evaluation.eval.force(value)?.kind() else { return Ok(false) };
    let name = evaluation.eval.symbols.intern(b"inNixShell");
    Ok(closure.lambda.formals.is_some_and(|formals| formals.entries.iter().any(|formal| formal.symbol == name)))
}

/// Returns the file of a word: of a directory its `shell.nix`, or else `default.nix`.
fn shell_file(context: &Context, evaluation: &Evaluation<'_, '_>, word: &str) -> Step<Vec<u8>> {
    let path = evaluation.file_argument(word)?;
    let eval = evaluation.eval;
    let type_of = |path: &[u8]| eval.host.file_type(path).map_err(|error| Stop::from(eval.host_error(error)));
    let exists = |name: &str| {
        let path = nixlang::path::join(&path, name.as_bytes());
        Ok::<_, Stop>(type_of(&path)?.map(|_| path))
    };
    // A link to a directory counts as one.
    if type_of(&nixlang::path::join(&path, b"."))? != Some(FileType::Directory) && eval.host.read_dir(&path).is_err() {
        return Ok(eval.resolve_expr_path(&path)?);
    }
    if let Some(path) = exists("shell.nix")? {
        if context.settings.is_on("nix-shell-always-looks-for-shell-nix") {
            return Ok(path);
        }
        let setting = "nix-shell-always-looks-for-shell-nix";
        context.ui.warn(format!(
            "Skipping '{}', because the setting '{setting}' is disabled. This is a deprecated behavior. Consider enabling '{setting}'.",
            String::from_utf8_lossy(&path)
        ));
    }
    match exists("default.nix")? {
        Some(path) => Ok(path),
        None => Err(Failure::new(format!("neither 'shell.nix' nor 'default.nix' found in '{}'", String::from_utf8_lossy(&path))).into()),
    }
}

/// Returns the derivation of the shell that people expect; none if there is no such package.
fn interactive_bash(context: &Context, evaluation: &Evaluation<'_, '_>) -> Option<StorePath> {
    let find = || -> Step<StorePath> {
        let value = evaluation.eval.eval_text(b"(import <nixpkgs> {}).bashInteractive", Origin::String, &working_directory())?;
        match package(evaluation.eval, value, false)? {
            Some(package) => {
                let path = package.require_derivation_path()?;
                evaluation.flush()?;
                Ok(path)
            }
            None => Err(Failure::new("the 'bashInteractive' attribute in <nixpkgs> did not evaluate to a derivation").into()),
        }
    };
    match find() {
        Ok(path) => return Some(path),
        Err(Stop::Error(error)) => context.ui.show(&Diagnostic::from_error(&error, &evaluation.eval.sources)),
        Err(Stop::Failure(Failure::Shown(diagnostic))) => context.ui.show(&diagnostic),
        Err(Stop::Failure(_)) => {}
    }
    context.ui.line(Verbosity::NOTICE, "will use bash from your environment");
    None
}

/// Builds what the shell needs, and becomes it.
fn open(context: &Arc<Context>, flags: &Flags, found: Found) -> Outcome<u8> {
    let store = context.store.open()?;
    let derivation = store.read_derivation(&found.derivation)?;
    let mut wanted: Vec<DerivedPath> = found.shell.iter().map(|path| output(path, ["out"])).collect();
    for (path, outputs) in &derivation.input_derivations {
        if !is_excluded(context, flags, path)? {
            wanted.push(output(path, &outputs.outputs));
        }
    }
    wanted.extend(derivation.input_sources.iter().map(|path| DerivedPath::Opaque(path.clone())));
    build(context, &wanted, flags.build)?;
    if flags.build.dry_run {
        return Ok(0);
    }
    let shell = match (&found.shell, std::env::var("NIX_BUILD_SHELL")) {
        (Some(path), _) => format!("{}/bin/bash", context.store.store_dir().display(&output_path(context, path, "out")?)),
        (None, Ok(shell)) => shell,
        (None, Err(_)) => "bash".to_owned(),
    };
    let directory = tempfile::Builder::new().prefix("nix-shell.").tempdir()?;
    let (variables, structured) = environment(context, flags, &found.derivation, &derivation, directory.path())?;
    let rc = directory.path().join("rc");
    std::fs::write(&rc, rc_script(flags, &shell, directory.path(), &structured))?;
    let interactive = !flags.not_interactive && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let arguments: Vec<OsString> = if interactive { vec!["--rcfile".into(), rc.into()] } else { vec![rc.into()] };
    // The shell removes it when it ends.
    let directory = directory.keep();
    let failure = start(context, OsStr::new(&shell), &arguments, &variables);
    let _ = std::fs::remove_dir_all(directory);
    Err(failure)
}

fn is_excluded(context: &Context, flags: &Flags, path: &StorePath) -> Outcome<bool> {
    let path = context.store.store_dir().display(path);
    for pattern in &flags.exclude {
        let pattern = regex::Regex::new(pattern).map_err(|error| Failure::from_error(&error))?;
        if pattern.is_match(&path) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the shell's variables, and what it has to read for structured attributes. Files for it are written to `directory`.
fn environment(context: &Context, flags: &Flags, path: &StorePath, derivation: &Derivation, directory: &Path) -> Outcome<(Variables, String)> {
    let mut variables: Variables = std::env::vars_os().collect();
    variables.insert("IN_NIX_SHELL".into(), if flags.pure { "pure" } else { "impure" }.into());
    if flags.pure {
        variables.retain(|name, _| name.to_str().is_some_and(|name| KEPT.contains(&name) || flags.keep.contains(name)));
        // NixOS's bashrc reads the profile unless this says that it was read.
        variables.insert("__ETC_PROFILE_SOURCED".into(), "1".into());
    }
    for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP"] {
        variables.insert(name.into(), directory.into());
    }
    variables.insert("NIX_STORE".into(), context.store.store_dir().as_str().into());
    let options = crate::building::options(context)?;
    variables.insert("NIX_BUILD_CORES".into(), options.n_cores().to_string().into());
    let files = nixlang_build::shell_environment(context.store.local()?, &options, path, derivation, directory).map_err(|error| Failure::from_error(&error))?;
    for (name, text) in &files.files {
        std::fs::write(directory.join(name), text)?;
    }
    let structured = files.files.get(".attrs.sh").map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    variables.extend(files.variables.into_iter().map(|(name, value)| {
        use std::os::unix::ffi::OsStringExt;
        (OsString::from_vec(name), OsString::from_vec(value))
    }));
    Ok((variables, structured))
}

/// Returns the script that the shell begins with.
fn rc_script(flags: &Flags, shell: &str, directory: &Path, structured: &str) -> String {
    let directory = quote(&directory.display().to_string());
    let shell_directory = PathBuf::from(shell).parent().map(|path| path.display().to_string()).unwrap_or_default();
    let colour = if rustix::process::geteuid().is_root() { 31 } else { 32 };
    let mut lines = vec![
        format!("_nix_shell_end() {{ command rm -rf {directory}; }}"),
        "trap _nix_shell_end EXIT".to_owned(),
        // Setup scripts take the trap for themselves and have these instead.
        "exitHooks+=(_nix_shell_end)".to_owned(),
        "failureHooks+=(_nix_shell_end)".to_owned(),
    ];
    let mut line = |text: &str| lines.push(text.to_owned());
    if !flags.pure {
        line("if [ -n \"$PS1\" ] && [ -e ~/.bashrc ]; then source ~/.bashrc; fi");
        line("_nix_shell_path=$PATH");
    }
    line("unset PATH");
    line("dontAddDisableDepTrack=1");
    line(structured);
    line("if [ -e \"$stdenv/setup\" ]; then source \"$stdenv/setup\"; fi");
    if !flags.pure {
        line("PATH=$PATH:$_nix_shell_path; unset _nix_shell_path");
    }
    line(&format!("PATH={}:\"$PATH\"; SHELL={shell}; BASH={shell}", quote(&shell_directory), shell = quote(shell)));
    line("set +e");
    line(&format!("if [ -n \"$PS1\" ] && [ -z \"$NIX_SHELL_PRESERVE_PROMPT\" ]; then PS1='\\n\\[\\033[1;{colour}m\\][nix-shell:\\w]\\$\\[\\033[0m\\] '; fi"));
    line("if [ \"$(type -t runHook)\" = function ]; then runHook shellHook; fi");
    line("unset NIX_ENFORCE_PURITY TZ");
    if let Ok(zone) = std::env::var("TZ") {
        line(&format!("export TZ={}", quote(&zone)));
    }
    line("shopt -u nullglob; shopt -s execfail");
    line(flags.command.as_deref().unwrap_or_default());
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters() {
        let check = |name: &str, expected: &str| assert_eq!(interpreter(name, Path::new("/a b"), &["c d".into()]), expected);
        check("bash", "exec  bash '/a b' 'c d' ");
        check("perl -w", "exec -a PERL perl -w '/a b' 'c d' ");
        check("ruby", "exec  ruby -e 'load(ARGV.shift)' -- '/a b' 'c d' ");
    }
}
