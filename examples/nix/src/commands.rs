//! The table of commands, and what all of them begin and end with.

mod build;
mod build_remote;
mod channel;
mod bundle;
mod copy_closure;
mod daemon;
mod doctor;
mod collect_garbage;
mod config;
mod copy;
mod derivation;
mod diff_closures;
mod develop;
mod edit;
mod eval;
mod flake;
mod fmt;
mod formatter;
mod hash;
mod instantiate;
mod key;
mod link_commands;
mod listing;
pub(crate) mod log;
mod nar;
mod nix_build;
mod nix_env;
mod nix_shell;
mod nix_store;
pub(crate) mod path_info;
mod prefetch;
mod profile;
mod repl;
mod realisation;
mod registry;
mod run;
mod search;
mod serve;
mod shell;
mod source;
mod sources;
mod store;
mod upgrade_nix;
mod why_depends;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use nixlang::diagnostics::Diagnostic;
use nixlang_build::Helper;

use crate::args::Args;
use crate::cancel::Cancel;
use crate::common::Common;
use crate::failure::{Failure, Outcome};
use crate::flakes::FlakeState;
use crate::settings::Settings;
use crate::store_choice::StoreChoice;
use crate::ui::Ui;

/// A command.
pub(crate) struct Command {
    /// What it is called by; words are separated by a blank.
    pub(crate) name: &'static str,
    /// What it does, in a few words.
    pub(crate) about: &'static str,
    /// Whether it is one of the classic ones, which a link can be named for.
    pub(crate) is_classic: bool,
    run: fn(Invocation) -> Outcome<u8>,
}

const fn word(name: &'static str, about: &'static str, run: fn(Invocation) -> Outcome<u8>) -> Command {
    Command { name, about, is_classic: false, run }
}

const fn classic(name: &'static str, about: &'static str, run: fn(Invocation) -> Outcome<u8>) -> Command {
    Command { name, about, is_classic: true, run }
}

/// All commands.
pub(crate) const COMMANDS: &[Command] = &[
    word("build", "build derivations", build::run),
    word("__build-remote", "be the build hook of another Nix", build_remote::run),
    word("eval", "evaluate an expression and print its value", eval::run),
    word("repl", "evaluate expressions interactively", repl::run),
    word("search", "find derivations by name and description", search::run),
    word("run", "build something and run its program", run::run),
    word("shell", "run a program where installables are found", shell::run),
    word("env shell", "run a program where installables are found", shell::run),
    word("develop", "open a shell with the environment of a build", develop::develop),
    word("print-dev-env", "print the environment of a build as a script", develop::print_dev_env),
    word("derivation add", "add a derivation that is given as JSON", derivation::add),
    word("derivation show", "show derivations as JSON", derivation::show),
    word("show-derivation", "show derivations as JSON", derivation::show),
    word("copy", "copy paths from store to store", copy::run),
    word("store copy-log", "copy logs of builds from store to store", copy::log),
    word("realisation info", "show which paths outputs turned out to be", realisation::info),
    word("serve", "serve the store as a binary cache over HTTP", serve::run),
    word("path-info", "show what the store knows about paths", path_info::run),
    word("log", "show the log of a build", log::run),
    word("profile add", "add packages to a profile", profile::add),
    word("profile install", "add packages to a profile", profile::add),
    word("profile upgrade", "upgrade packages to what their flakes have now", profile::upgrade),
    word("profile list", "show the packages of a profile", profile::list),
    word("profile remove", "remove packages from a profile", profile::remove),
    word("profile history", "show the versions of a profile", profile::history),
    word("profile diff-closures", "say how versions and sizes of the versions of a profile differ", profile::diff_closures),
    word("profile rollback", "go back to an earlier version of a profile", profile::rollback),
    word("profile wipe-history", "delete old versions of a profile", profile::wipe_history),
    word("store add", "add files to the store", store::add),
    word("store add-file", "add a file to the store, by its bytes", store::add),
    word("store add-path", "add files to the store", store::add),
    word("store cat", "print a file of the store", store::cat),
    word("store copy-sigs", "copy signatures of paths from other stores", store::copy_signatures),
    word("store delete", "delete paths that nothing keeps alive", store::delete),
    word("store dump-path", "write a path as NAR", store::dump_path),
    word("store gc", "delete everything that nothing keeps alive", store::gc),
    word("store diff-closures", "say how versions and sizes of two closures differ", diff_closures::run),
    word("store info", "say which store is used", store::info),
    word("store ls", "list files of the store", store::ls),
    word("store make-content-addressed", "put paths under names that follow from their contents", store::make_content_addressed),
    word("store optimise", "link equal files", store::optimise),
    word("store path-from-hash-part", "find a path by its hash part", store::path_from_hash_part),
    word("store ping", "say which store is used", store::info),
    word("store repair", "put damaged paths right", store::repair),
    word("store sign", "sign paths", store::sign),
    word("store prefetch-file", "download a file into the store", prefetch::store_file),
    word("store verify", "look whether everything is there and unchanged", store::verify),
    word("why-depends", "say why one path has another in its closure", why_depends::run),
    word("key generate-secret", "make a signing key", key::generate_secret),
    word("key convert-secret-to-public", "get the public half of a signing key", key::to_public),
    word("nar cat", "print a file of an archive", nar::cat),
    word("nar dump-path", "write a file tree as NAR", nar::pack),
    word("nar ls", "list files of an archive", nar::ls),
    word("nar pack", "write a file tree as NAR", nar::pack),
    word("hash file", "hash the bytes of files", hash::files),
    word("hash path", "hash files as NAR", hash::files),
    word("hash convert", "write hashes in another notation", hash::convert),
    word("hash to-base16", "write hashes in base 16", hash::convert),
    word("hash to-base32", "write hashes in Nix's base 32", hash::convert),
    word("hash to-base64", "write hashes in base 64", hash::convert),
    word("hash to-sri", "write hashes as subresource integrity", hash::convert),
    word("definition", "say where a variable in a file is defined", source::definition),
    word("references", "list where a definition of a file is used", source::references),
    word("rename", "rename a variable of a file", source::rename),
    word("fmt", "reformat your code in the standard style, by the formatter of the flake here", formatter::run),
    word("formatter run", "reformat your code in the standard style, by the formatter of the flake here", formatter::run),
    word("formatter build", "build the formatter of the flake here", formatter::build_program),
    word("format", "format files in the standard style, without a flake", fmt::run),
    word("doc", "print the documentation comment of something in a file", source::doc),
    word("flake archive", "copy a flake and all its inputs to a store", flake::archive),
    word("flake check", "check whether the flake evaluates and run its tests", flake::check),
    word("flake clone", "clone flake repository", flake::clone),
    word("flake info", "show flake metadata", flake::info),
    word("flake init", "create a flake in the current directory from a template", flake::init),
    word("flake lock", "create missing lock file entries", flake::lock),
    word("flake metadata", "show flake metadata", flake::metadata),
    word("flake new", "create a flake in the specified directory from a template", flake::new),
    word("flake prefetch-inputs", "fetch the inputs of a flake", flake::prefetch_inputs),
    word("flake show", "show the outputs provided by a flake", flake::show),
    word("flake update", "update flake lock file", flake::update),
    word("registry add", "add or replace a flake in the user's registry", registry::add),
    word("registry list", "list the flakes of all registries", registry::list),
    word("registry pin", "pin a flake to what it is now", registry::pin),
    word("registry remove", "remove a flake from the user's registry", registry::remove),
    word("registry resolve", "look flake references up in the registries", registry::resolve),
    word("bundle", "make something of an installable that works without a store", bundle::run),
    word("edit", "open what a package is written in", edit::run),
    word("flake prefetch", "fetch the tree of a flake reference into the store", prefetch::flake),
    word("config check", "look for what is wrong with the setup", doctor::run),
    word("doctor", "look for what is wrong with the setup", doctor::run),
    word("config show", "show settings", config::show),
    word("show-config", "show settings", config::show),
    word("upgrade-nix", "say that this program is not upgraded by itself", upgrade_nix::run),
    word("daemon", "answer clients that use the store", daemon::run),
    word("link-commands", "make links named for the classic commands", link_commands::run),
    classic("nix-build", "build derivations of expressions", nix_build::run),
    classic("nix-shell", "open a shell with the environment of a derivation", nix_shell::run),
    classic("nix-copy-closure", "copy paths and what they refer to from or to another machine", copy_closure::run),
    classic("nix-daemon", "answer clients that use the store", daemon::run),
    classic("nix-store", "work on the store", nix_store::run),
    classic("nix-collect-garbage", "delete everything that nothing keeps alive", collect_garbage::run),
    classic("nix-channel", "fetch channels of expressions anew", channel::run),
    classic("nix-env", "install packages into profiles", nix_env::run),
    classic("nix-hash", "hash files, or write hashes in another notation", hash::classic),
    classic("nix-prefetch-url", "download a file into the store and print its hash", prefetch::classic),
    classic("nix-instantiate", "make derivations of expressions, or evaluate them", instantiate::run),
];

/// The new commands that `nix` has without the experimental feature `nix-command`.
const STABLE: &[&str] = &["repl", "upgrade-nix", "__build-remote"];

/// First words that several commands have in common, and what these are about.
const GROUPS: &[(&str, &str)] =
    &[("flake", "manage flakes"), ("formatter", "build or run the formatter"), ("registry", "manage the flake registry"), ("store", "work on a store")];

/// A command that was called.
pub(crate) struct Invocation {
    /// What it was called as.
    pub(crate) name: &'static str,
    /// Its arguments.
    pub(crate) args: Args,
    /// What the flags that all commands have say so far.
    pub(crate) common: Common,
    helper: Helper,
    /// What an error is shown by that ends the command; replaced once all flags are known.
    shown_by: Rc<Cell<Ui>>,
}

/// What a command works with once its flags are known.
pub(crate) struct Context {
    /// Settings, with those of the command line.
    pub(crate) settings: Settings,
    /// The flags that all commands have.
    pub(crate) common: Common,
    /// The way to stderr.
    pub(crate) ui: Ui,
    /// The store.
    pub(crate) store: StoreChoice,
    /// Where evaluations write (`--eval-store`), if that is another one.
    pub(crate) eval_store: Option<Arc<StoreChoice>>,
    /// Cancelled by Ctrl-C.
    pub(crate) cancel: Cancel,
    /// What builds run under.
    pub(crate) helper: Helper,
    /// What was found out of flakes.
    pub(crate) flakes: Arc<FlakeState>,
}

impl Context {
    /// Returns the store that evaluations read and write.
    pub(crate) fn eval_store(&self) -> &StoreChoice {
        self.eval_store.as_deref().unwrap_or(&self.store)
    }

    /// Returns the same with other settings.
    pub(crate) fn with_settings(&self, settings: Settings) -> Outcome<Arc<Context>> {
        let common = Common { settings: settings.clone(), ..self.common.clone() };
        let eval_store = self.eval_store.clone();
        let store = StoreChoice::new(&settings)?.building_for(eval_store.clone());
        let store = store.shown_by(self.ui, self.prints_build_logs(), common.is_classic).cancelled_by(&self.cancel);
        let (ui, cancel, helper, flakes) = (self.ui, self.cancel.clone(), self.helper.clone(), Arc::clone(&self.flakes));
        Ok(Arc::new(Context { settings, common, ui, store, eval_store, cancel, helper, flakes }))
    }

    /// Returns whether the output of builders is shown line by line: by default the classic commands do.
    pub(crate) fn prints_build_logs(&self) -> bool {
        self.common.print_build_logs.unwrap_or(self.common.is_classic && self.ui.verbosity >= crate::ui::Verbosity::NOTICE)
    }
}

impl Invocation {
    /// Handles all flags: those of all commands here, the others by `flag`, plain words by `plain`. Both get the arguments behind.
    pub(crate) fn parse(
        &mut self,
        flag: impl FnMut(&str, &mut Args) -> Outcome<bool>,
        plain: impl FnMut(String, &mut Args) -> Outcome<()>,
    ) -> Outcome<()> {
        self.parse_with(flag, plain, |name| Err(crate::args::unknown_flag(name)))
    }

    /// As [`Invocation::parse`]; returns the plain words.
    pub(crate) fn words(&mut self, flag: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<Vec<String>> {
        let mut words = Vec::new();
        self.parse(flag, |word, _| {
            words.push(word);
            Ok(())
        })?;
        Ok(words)
    }

    /// As [`Invocation::parse`]; flags that nobody knows are handled by `unknown`.
    pub(crate) fn parse_with(
        &mut self,
        mut flag: impl FnMut(&str, &mut Args) -> Outcome<bool>,
        mut plain: impl FnMut(String, &mut Args) -> Outcome<()>,
        mut unknown: impl FnMut(&str) -> Outcome<()>,
    ) -> Outcome<()> {
        while let Some(word) = self.args.next() {
            match word {
                crate::args::Word::Plain(word) => plain(word, &mut self.args)?,
                crate::args::Word::Flag(name) if name == "--help" => {
                    if self.common.is_classic {
                        show_manual(self.name)?;
                    }
                    print_help();
                    return Err(Failure::Status(0));
                }
                crate::args::Word::Flag(name) if name == "--version" => {
                    crate::version::print(self.name, Some(&self.common), &self.helper)?;
                    return Err(Failure::Status(0));
                }
                crate::args::Word::Flag(name) => {
                    // The command's own meaning of a flag wins.
                    if !flag(&name, &mut self.args)? && !self.common.flag(&name, &mut self.args)? {
                        unknown(&name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the reading of flags.
    pub(crate) fn context(mut self) -> Outcome<Arc<Context>> {
        self.common.check_features()?;
        let ui = self.common.ui();
        self.shown_by.set(ui);
        let prints_logs = self.common.print_build_logs.unwrap_or(self.common.is_classic && ui.verbosity >= crate::ui::Verbosity::NOTICE);
        let cancel = Cancel::on_signals();
        let eval_store = match &self.common.eval_store {
            Some(address) => Some(Arc::new(StoreChoice::at(&self.common.settings, address)?.cancelled_by(&cancel))),
            None => None,
        };
        let store = StoreChoice::new(&self.common.settings)?.building_for(eval_store.clone());
        let store = store.shown_by(ui, prints_logs, self.common.is_classic).cancelled_by(&cancel);
        let settings = self.common.settings.clone();
        Ok(Arc::new(Context { settings, common: self.common, ui, store, eval_store, cancel, helper: self.helper, flakes: Arc::default() }))
    }
}

/// The version of the reference that this follows, which scripts ask for.
pub(crate) const VERSION: &str = "2.34.8";

/// Runs the command line of this process. Returns its exit status.
pub(crate) fn run(helper: Helper, program: &OsStr, arguments: impl Iterator<Item = OsString>) -> u8 {
    let shown_by = Rc::new(Cell::new(Ui::plain()));
    let (mut name, result) = match Args::new(arguments) {
        Ok(args) => find_and_run(helper, program, args, shown_by.clone()),
        Err(failure) => ("nixlang", Err(failure)),
    };
    let ui = shown_by.get();
    match result {
        Ok(status) => status,
        Err(Failure::Status(status)) => status,
        Err(Failure::BrokenPipe) => 1,
        Err(Failure::Shown(diagnostic)) => {
            ui.show(&diagnostic);
            diagnostic.exit_status
        }
        Err(Failure::Usage(message)) => {
            ui.show(&Diagnostic::error(message));
            if name == "nixlang" || !name.starts_with("nix") {
                name = called_as(program);
            }
            ui.line(crate::ui::Verbosity::ERROR, &format!("Try '{name} --help' for more information."));
            1
        }
    }
}

/// Returns what the new command line was called as: `nix` where a link of that name leads here.
fn called_as(program: &OsStr) -> &'static str {
    if Path::new(program).file_name() == Some(OsStr::new("nix")) { "nix" } else { "nixlang" }
}

fn find_and_run(helper: Helper, program: &OsStr, mut args: Args, shown_by: Rc<Cell<Ui>>) -> (&'static str, Outcome<u8>) {
    let link = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or("nixlang");
    let by_link = COMMANDS.iter().find(|command| command.is_classic && command.name == link);
    let mut before = None;
    let command = match by_link {
        Some(command) => Ok(command),
        None => of_script(&mut args).and_then(|directory| {
            if let Ok(number) = std::env::var("NIX_GET_COMPLETIONS") {
                return Err(completions(helper.clone(), &args, &number));
            }
            before = flags_before(&mut args)?;
            if let Some(directory) = directory {
                let common = match before.take() {
                    Some(common) => common,
                    None => Common::new(false)?,
                };
                before = Some(Common { base_directory: Some(directory), ..common });
            }
            by_words(&mut args, &mut before, program, &helper)
        }),
    };
    let command = match command {
        Ok(command) => command,
        Err(failure) => return ("nixlang", Err(failure)),
    };
    let run = || {
        let mut common = match before {
            Some(common) => common,
            None => Common::new(command.is_classic)?,
        };
        if !command.is_classic {
            // The words of the new command line evaluate purely unless told otherwise.
            common.settings.set("pure-eval", "true")?;
            common.is_nix = called_as(program) == "nix";
            if !STABLE.contains(&command.name) {
                common.needed_features.insert(0, "nix-command");
            }
        }
        shown_by.set(Ui::new(&common.settings, command.is_classic, common.verbosity));
        (command.run)(Invocation { name: command.name, args, common, helper, shown_by })
    };
    (command.name, run())
}

/// Puts the words of a script in place of its name, if that is what the first word is. Returns the directory that it lies in.
fn of_script(args: &mut Args) -> Outcome<Option<std::path::PathBuf>> {
    let Some(first) = args.all().next().filter(|word| !word.starts_with('-')).cloned() else { return Ok(None) };
    let Some(words) = crate::shebang::words_of_script(&first)? else { return Ok(None) };
    args.replace_next(words);
    Ok(Some(std::path::absolute(&first)?.parent().unwrap_or(Path::new("/")).to_owned()))
}

/// Prints what a word of a command line may become. Returns how the command ends.
fn completions(helper: Helper, args: &Args, number: &str) -> Failure {
    let print = || -> Outcome<()> {
        let mut words: Vec<String> = args.all().cloned().collect();
        let at = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).filter(|at| *at < words.len());
        let Some(at) = at else { return Err(Failure::Usage("NIX_GET_COMPLETIONS is the number of a word".into())) };
        let mut name = String::new();
        for (i, word) in words.iter().enumerate() {
            let begins = if name.is_empty() { String::new() } else { format!("{name} ") };
            if i == at {
                let next = |command: &Command| {
                    let rest = command.name.strip_prefix(&begins).filter(|_| !command.is_classic)?;
                    rest.split(' ').next().filter(|next| next.starts_with(word.as_str())).map(str::to_owned)
                };
                crate::flakes::complete_command(COMMANDS.iter().filter_map(next));
                return Ok(());
            }
            name = begins + word;
            if COMMANDS.iter().any(|command| command.name == name) {
                let rest = words.split_off(i + 1);
                let mut common = Common::new(false)?;
                (common.verbosity, common.warnings) = (crate::ui::Verbosity::ERROR, Vec::new());
                common.settings.set("pure-eval", "true")?;
                let shown_by = Rc::new(Cell::new(Ui::plain()));
                let context = Invocation { name: "completions", args: Args::new(std::iter::empty())?, common, helper, shown_by }.context()?;
                crate::flakes::complete(&context, &name, &rest, at - i - 1);
                return Ok(());
            }
        }
        Ok(())
    };
    match print() {
        Ok(()) => Failure::Status(0),
        Err(failure) => failure,
    }
}

/// Takes the flags of all commands that stand before the words of a new one.
fn flags_before(args: &mut Args) -> Outcome<Option<Common>> {
    let mut common: Option<Common> = None;
    take_flags(args, &mut common)?;
    // Classic commands have flags of their own everywhere.
    Ok(common)
}

/// Takes flags that all commands have, but for those that end the command line.
fn take_flags(args: &mut Args, common: &mut Option<Common>) -> Outcome<()> {
    while let Some(flag) = args.next_if_flag() {
        if matches!(flag.as_str(), "--version" | "--help" | "-h") {
            args.put_back(flag);
            break;
        }
        if common.is_none() {
            *common = Some(Common::new(false)?);
        }
        if !common.as_mut().expect("just made").flag(&flag, args)? {
            return Err(crate::args::unknown_flag(&flag));
        }
    }
    Ok(())
}

/// Takes the words that name a command, and the flags of all commands between them.
fn by_words(args: &mut Args, common: &mut Option<Common>, program: &OsStr, helper: &Helper) -> Outcome<&'static Command> {
    let mut name = String::new();
    loop {
        if !name.is_empty() {
            take_flags(args, common)?;
        }
        let Some(word) = args.plain() else {
            return match args.next() {
                Some(crate::args::Word::Flag(flag)) if flag == "--version" => {
                    crate::version::print(called_as(program), common.as_ref(), helper)?;
                    Err(Failure::Status(0))
                }
                Some(crate::args::Word::Flag(flag)) if flag == "--help" || flag == "-h" => {
                    if let Some(common) = common {
                        common.is_nix = called_as(program) == "nix";
                        common.check_features()?;
                    }
                    print_help();
                    Err(Failure::Status(0))
                }
                Some(crate::args::Word::Flag(flag)) => Err(crate::args::unknown_flag(&flag)),
                _ if name.is_empty() => Err(Failure::Usage("no subcommand specified".into())),
                _ => Err(Failure::Usage(format!("'{name}' requires a sub-command"))),
            };
        };
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(&word);
        if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
            return Ok(command);
        }
        let begins = format!("{name} ");
        if !COMMANDS.iter().any(|command| command.name.starts_with(&begins)) {
            let known = COMMANDS.iter().map(|command| command.name.as_bytes());
            let suggestions = nixlang::diagnostics::near_names(name.as_bytes(), known);
            return Err(Diagnostic { suggestions, ..Diagnostic::error(format!("'{name}' is not a recognised command")) }.into());
        }
    }
}

/// Shows the manual page of a classic command in place of this process, as the reference does, if there is one.
fn show_manual(name: &str) -> Outcome<()> {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    match Command::new("man").args(["-w", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Err(Command::new("man").arg(name).exec().into()),
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::new(format!(
            "The 'man' command was not found, but it is needed for '{name}' and some other 'nix-*' commands' help text. Perhaps you could \
             install the 'man' command?"
        ))),
    }
}

fn print_help() {
    println!("nixlang: a Nix command line\n\nUsage: nixlang WORD … | nixlang nix-… …\n");
    for command in COMMANDS {
        println!("  {:<20} {}", command.name, command.about);
    }
    println!();
    for (name, about) in GROUPS {
        println!("  {name:<20} {about}");
    }
}
