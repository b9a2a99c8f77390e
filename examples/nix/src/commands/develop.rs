//! `develop` and `print-dev-env`: the environment of a build, as a shell or as a script.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang_store::path::StorePath;

use super::{Context, Invocation};
use crate::args::Args;
use crate::dev_env::{DevEnv, of_target};
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Target};
use crate::start::{EnvironmentFlags, quote, start};
use crate::ui::Verbosity;

/// What both commands take.
#[derive(Debug, Default)]
struct Flags {
    installables: Installables,
    /// Paths to replace by directories: what stands for them, and where.
    redirects: Vec<(String, String)>,
    profile: Option<PathBuf>,
}

impl Flags {
    fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "--redirect" => self.redirects.push(args.two_values(flag)?),
            "--profile" => self.profile = Some(args.value(flag)?.into()),
            _ => return self.installables.flag(flag, args),
        }
        Ok(true)
    }

    fn plain(&mut self, word: String) -> Outcome<()> {
        if !self.installables.words.is_empty() {
            return Err(Failure::Usage(format!("unexpected argument '{word}'")));
        }
        self.installables.words.push(word);
        Ok(())
    }

    /// Builds the environment. Returns where it is, too.
    fn environment(&self, context: &Arc<Context>) -> Outcome<(StorePath, DevEnv)> {
        let mut installables = self.installables.clone();
        let word = installables.words().remove(0);
        let is_path = !installables.has_source() && crate::installables::store_path(context, &word).is_some_and(|path| path.name().ends_with("-env"));
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
        if let Some(profile) = &self.profile {
            crate::roots::make(context, &path, profile)?;
        }
        Ok((path, environment))
    }

    /// Returns the script that sets it up.
    fn script(&self, context: &Arc<Context>, environment: &DevEnv, files: &Path) -> Outcome<String> {
        let mut replaced = Vec::new();
        let plain = environment.script(&std::env::current_dir()?.join("outputs"), files, &[])?;
        for (word, directory) in &self.redirects {
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

pub(super) fn print_dev_env(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let mut words = Vec::new();
    let (mut json, mut pretty) = (false, false);
    invocation.parse(
        |flag, args| {
            match flag {
                "--json" => json = true,
                "--pretty" => pretty = true,
                "--no-pretty" => pretty = false,
                _ => return flags.flag(flag, args),
            }
            Ok(true)
        },
        |word, _| {
            words.push(word);
            Ok(())
        },
    )?;
    words.into_iter().try_for_each(|word| flags.plain(word))?;
    flags.installables.check(&mut invocation.common)?;
    let context = invocation.context()?;
    let (_, environment) = flags.environment(&context)?;
    if json {
        let json = environment.to_json()?;
        println!("{}", if pretty { nixlang_store::json::to_string_pretty(&json) } else { nixlang_store::json::to_string(&json) });
    } else {
        // The files of structured attributes are gone with the command, as with the reference: it is the script that is asked for.
        let files = tempfile::Builder::new().prefix("nix-dev-env").tempdir()?;
        print!("{}", flags.script(&context, &environment, files.path())?);
    }
    Ok(0)
}

pub(super) fn develop(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let mut words = Vec::new();
    let mut variables = EnvironmentFlags::default();
    let mut command: Vec<String> = Vec::new();
    let mut phase: Option<String> = None;
    invocation.parse(
        |flag, args| {
            match flag {
                "-c" | "--command" => {
                    command = args.take_rest();
                    if command.is_empty() {
                        return Err(Failure::Usage("--command requires at least one argument".into()));
                    }
                }
                "--phase" => phase = Some(args.value(flag)?),
                "--unpack" | "--configure" | "--build" | "--check" | "--install" => phase = Some(flag[2..].to_owned()),
                "--installcheck" => phase = Some("installCheck".to_owned()),
                _ => return Ok(variables.flag(flag, args)? || flags.flag(flag, args)?),
            }
            Ok(true)
        },
        |word, _| {
            words.push(word);
            Ok(())
        },
    )?;
    words.into_iter().try_for_each(|word| flags.plain(word))?;
    flags.installables.check(&mut invocation.common)?;
    if phase.is_some() && !command.is_empty() {
        return Err(Failure::Usage("you cannot use both '--command' and '--phase'".into()));
    }
    let context = invocation.context()?;
    let mut variables = variables.variables()?;
    let (path, environment) = flags.environment(&context)?;
    let files = tempfile::Builder::new().prefix("nix-develop").tempdir()?;
    let mut script = flags.script(&context, &environment, files.path())?;
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
    let shell = OsString::from("bash");
    variables.insert("SHELL".into(), shell.clone());
    std::fs::File::create(&rc)?.write_all(script.as_bytes())?;
    // An interactive shell goes on after the script; Ctrl-C ends the other kind.
    let arguments = if phase.is_none() && command.is_empty() { vec!["--rcfile".into(), rc.into()] } else { vec![rc.into_os_string()] };
    // The shell needs the files longer than this process is this program.
    let files = files.keep();
    let failure = start(&context, &shell, &arguments, &variables);
    let _ = std::fs::remove_dir_all(files);
    Err(failure)
}
