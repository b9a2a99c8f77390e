//! `develop` and `print-dev-env`: the environment of a build, as a shell or as a script.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang::flake::{FlakeRef, LockedFlake};
use nixlang_store::path::StorePath;

use super::{Context, Invocation};
use crate::args::Args;
use crate::building::BuildFlags;
use crate::dev_env::{DevEnv, of_target};
use crate::failure::{Failure, Outcome};
use crate::evaluation::evaluate;
use crate::flakes::{Defaults, FlakeWord, flake_target};
use crate::installables::{Installables, Outputs, Target, Word, realise_targets};
use crate::start::{EnvironmentFlags, command_of, quote, start};
use crate::ui::Verbosity;

/// What both commands take.
#[derive(Debug, Default)]
struct Flags {
    /// Paths to replace by directories: what stands for them, and where.
    redirects: Vec<(String, String)>,
    profile: Option<PathBuf>,
}

/// What both commands work on.
struct Wanted {
    installables: Installables,
    flags: Flags,
}

impl Flags {
    fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "--redirect" => self.redirects.push(args.two_values(flag)?),
            "--profile" => self.profile = Some(args.value(flag)?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Wanted {
    fn new(installables: Installables, flags: Flags) -> Outcome<Wanted> {
        match installables.words.get(1) {
            Some(word) => Err(Failure::Usage(format!("unexpected argument '{word}'"))),
            None => Ok(Wanted { installables, flags }),
        }
    }

    /// Builds the environment. Returns where it is, too.
    fn environment(&self, context: &Arc<Context>) -> Outcome<(StorePath, DevEnv)> {
        let mut installables = self.installables.clone();
        let word = installables.words().remove(0);
        let is_path = !installables.has_source() && word.contains('/') && crate::installables::store_path(context, &word).is_some_and(|path| path.name().ends_with("-env"));
        installables.derivations = !is_path;
        let targets = installables.targets(context, true)?;
        let [target] = &targets[..] else {
            let message = format!("'{word}' needs to evaluate to a single derivation, but it evaluated to {} derivations", targets.len());
            return Err(Failure::new(message));
        };
        let path = match target {
            Target::Path(path) => path,
            Target::Built { derivation, .. } => derivation,
            Target::Nested { .. } => return Err(Failure::new(format!("the derivation of '{word}' is not known before it is built"))),
        };
        let (path, environment) = of_target(context, path)?;
        if let Some(profile) = &self.flags.profile {
            crate::roots::make(context, &path, profile)?;
        }
        Ok((path, environment))
    }

    /// Returns the script that sets it up.
    fn script(&self, context: &Arc<Context>, environment: &DevEnv, files: &Path) -> Outcome<String> {
        let mut replaced = Vec::new();
        let plain = environment.script(&std::env::current_dir()?.join("outputs"), files, &[])?;
        for (word, directory) in &self.flags.redirects {
            let directory = std::path::absolute(directory)?.display().to_string();
            let targets = Installables { words: vec![word.clone()], derivations: false, ..self.installables.clone() }.targets(context, true)?;
            for target in &targets {
                for (_, path) in target.outputs(context)? {
                    let path = context.store.store_dir().display(&path);
                    if plain.contains(&path) {
                        context.ui.line(Verbosity::INFO, &format!("redirecting '{path}' to '{directory}'"));
                        replaced.push((path, directory.clone()));
                    } else {
                        context.ui.warn(format!("'{word}' (path '{path}') is not used by this build environment"));
                    }
                }
            }
        }
        if replaced.is_empty() { Ok(plain) } else { environment.script(&std::env::current_dir()?.join("outputs"), files, &replaced) }
    }
}

pub(super) fn print_dev_env(invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let (mut json, mut pretty) = (false, false);
    let (installables, context) = Installables::parse_for(Defaults::DevShells, invocation, |flag, args| {
        match flag {
            "--json" => json = true,
            "--pretty" => pretty = true,
            "--no-pretty" => pretty = false,
            _ => return flags.flag(flag, args),
        }
        Ok(true)
    })?;
    let wanted = Wanted::new(installables, flags)?;
    let (_, environment) = wanted.environment(&context)?;
    if json {
        let json = environment.to_json()?;
        println!("{}", if pretty { nixlang_store::json::to_string_pretty(&json) } else { nixlang_store::json::to_string(&json) });
    } else {
        // The files of structured attributes are gone with the command, as with the reference: it is the script that is asked for.
        let files = tempfile::Builder::new().prefix("nix-dev-env").tempdir()?;
        print!("{}", wanted.script(&context, &environment, files.path())?);
    }
    Ok(0)
}

pub(super) fn develop(invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let mut variables = EnvironmentFlags::default();
    let mut command: Vec<String> = Vec::new();
    let mut phase: Option<String> = None;
    let (installables, context) = Installables::parse_for(Defaults::DevShells, invocation, |flag, args| {
        match flag {
            "-c" | "--command" => command = command_of(args)?,
            "--phase" => phase = Some(args.value(flag)?),
            "--unpack" | "--configure" | "--build" | "--check" | "--install" => phase = Some(flag[2..].to_owned()),
            "--installcheck" => phase = Some("installCheck".to_owned()),
            _ => return Ok(variables.flag(flag, args)? || flags.flag(flag, args)?),
        }
        Ok(true)
    })?;
    if phase.is_some() && !command.is_empty() {
        return Err(Failure::Usage("you cannot use both '--command' and '--phase'".into()));
    }
    let wanted = Wanted::new(installables, flags)?;
    let mut variables = variables.variables()?;
    let (path, environment) = wanted.environment(&context)?;
    let files = tempfile::Builder::new().prefix("nix-develop").tempdir()?;
    let mut script = wanted.script(&context, &environment, files.path())?;
    if context.ui.verbosity >= Verbosity::DEBUG {
        script.push_str("set -x\n");
    }
    let rc = files.path().join("rc");
    if !environment.has_files() {
        // The shell goes on reading what it has open.
        script.insert_str(0, &format!("command rm -rf {}\n", quote(&files.path().display().to_string())));
    }
    let setting = |name: &str| Some(context.settings.text(name)).filter(|text| !text.is_empty()).map(quote);
    if let Some(phase) = &phase {
        // The build phase asks for it where the configure phase was not run before.
        script.push_str(&format!("foundMakefile=1\nrunHook {phase}Phase\n"));
    } else if !command.is_empty() {
        let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
        script.push_str(&format!("exec {}\n", words.join(" ")));
    } else {
        let begin = "[ -n \"$PS1\" ] && [ -e ~/.bashrc ] && source ~/.bashrc;\nshopt -u expand_aliases\n";
        script = format!("{begin}{script}\nshopt -s expand_aliases\n");
        for (name, assignment) in [("bash-prompt", "PS1=VALUE"), ("bash-prompt-prefix", "PS1=VALUE\"$PS1\""), ("bash-prompt-suffix", "PS1+=VALUE")] {
            if let Some(value) = setting(name) {
                script.push_str(&format!("[ -n \"$PS1\" ] && {};\n", assignment.replace("VALUE", &value)));
            }
        }
    }
    // Nobody collects it while the shell runs.
    variables.insert("NIX_GCROOT".into(), context.store.store_dir().display(&path).into());
    let flake = flake_of(&context, &wanted.installables)?;
    let shell = match interactive_bash(&context, &wanted.installables, flake.as_ref()) {
        Ok(Some(shell)) => {
            script.push_str(&format!("SHELL=\"{}\"\n", shell.display()));
            if let Some(directory) = shell.parent() {
                script.push_str(&format!("PATH=\"{}${{PATH:+:$PATH}}\"\n", directory.display()));
            }
            shell.into_os_string()
        }
        other => {
            if let Err(failure) = other {
                context.ui.line(Verbosity::ERROR, &format!("\x1b[31;1merror (ignored):\x1b[0m {}", failure.message()));
            }
            OsString::from("bash")
        }
    };
    variables.insert("SHELL".into(), shell.clone());
    if phase.is_some()
        && let Some(flake) = &flake
        && let Some(directory) = crate::fetch::fetchers(&context).working_copy(&flake.resolved.input).map_err(crate::fetch::failed)?
    {
        // Phases expect to run where the sources are.
        std::env::set_current_dir(&directory).map_err(|error| Failure::new(format!("chdir to \"{}\" failed: {}", directory.display(), crate::failure::plain(&error))))?;
    }
    std::fs::File::create(&rc)?.write_all(script.as_bytes())?;
    // An interactive shell goes on after the script; Ctrl-C ends the other kind.
    let arguments = if phase.is_none() && command.is_empty() { vec!["--rcfile".into(), rc.into()] } else { vec![rc.into_os_string()] };
    // The shell needs the files longer than this process is this program.
    let files = files.keep();
    let failure = start(&context, &shell, &arguments, &variables);
    let _ = std::fs::remove_dir_all(files);
    Err(failure)
}

/// Returns the flake that the environment is of, if it is one's.
fn flake_of(context: &Arc<Context>, installables: &Installables) -> Outcome<Option<nixlang::flake::Flake>> {
    Ok(locked_flake(context, installables)?.map(|locked| locked.flake.clone()))
}

fn locked_flake(context: &Arc<Context>, installables: &Installables) -> Outcome<Option<Arc<LockedFlake>>> {
    if installables.has_source() {
        return Ok(None);
    }
    let Word::Flake { flake, .. } = installables.word(context, &installables.words().remove(0))? else { return Ok(None) };
    let options = installables.flakes.options(context)?;
    evaluate(context, true, |evaluation| crate::flakes::locked(evaluation, &flake.reference, &options)).map(Some)
}

/// Returns the bash of the flake's nixpkgs, or of everybody's: the one of the system may lack what an interactive shell needs.
fn interactive_bash(context: &Arc<Context>, installables: &Installables, flake: Option<&nixlang::flake::Flake>) -> Outcome<Option<PathBuf>> {
    if crate::flakes::require(context, "flakes").is_err() {
        return Ok(None);
    }
    let mut nixpkgs = crate::flakes::with_reader(context, |reader| FlakeRef::indirect("nixpkgs", reader))?;
    if flake.is_some()
        && let Some(locked) = locked_flake(context, installables)?
        && let Ok(Some(index)) = locked.lock_file.find_input(&["nixpkgs".to_owned()])
        && let Some(node) = locked.lock_file.node(index).locked.as_ref().filter(|node| node.is_flake)
    {
        nixpkgs = node.locked.clone();
    }
    let word = FlakeWord::new(context, nixpkgs, "bashInteractive", Defaults::LegacyPackages);
    let mut options = installables.flakes.options(context)?;
    options.overrides.clear();
    options.updates.clear();
    let target = evaluate(context, true, |evaluation| flake_target(evaluation, &word, &Outputs::Default, &options, false))?;
    realise_targets(context, std::slice::from_ref(&target), BuildFlags::default())?;
    for (_, path) in target.outputs(context)? {
        let shell = format!("{}/bin/bash", context.store.store_dir().display(&path));
        let real = context.store.real_store_dir().map_or_else(|| PathBuf::from(&shell), |real| real.join(path.base_name()).join("bin/bash"));
        if real.exists() {
            return Ok(Some(shell.into()));
        }
    }
    Err(Failure::new("package 'nixpkgs#bashInteractive' does not provide a 'bin/bash'"))
}
