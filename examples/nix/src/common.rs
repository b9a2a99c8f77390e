//! Flags that all commands have: verbosity, settings by name, and what evaluation starts with (`--arg`, `-I`).

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::json_log::JsonSink;
use crate::settings::{Kind, Settings, parse_integer};
use crate::ui::{Ui, Verbosity};

/// An argument for the expression's outermost function.
#[derive(Clone, Debug)]
pub(crate) enum AutoArgument {
    /// `--arg`: an expression.
    Expression(String),
    /// `--argstr`: a string.
    Text(Vec<u8>),
}

/// What the flags that all commands have say.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// Settings, with those of the command line.
    pub(crate) settings: Settings,
    /// Whether the command is one of the classic ones.
    pub(crate) is_classic: bool,
    /// `-v`, `--quiet`, `--debug`.
    pub(crate) verbosity: Verbosity,
    /// `--arg`, `--argstr`; a later one of the same name wins.
    pub(crate) auto_arguments: Vec<(String, AutoArgument)>,
    /// `-I`
    pub(crate) search_path: Vec<String>,
    /// `--nix-path` and `--extra-nix-path`, with what the latter adds to.
    pub(crate) nix_path: Option<Vec<String>>,
    /// `--override-flake`: what is meant, and what by that.
    pub(crate) override_flakes: Vec<(String, String)>,
    /// `--impure`
    pub(crate) impure: bool,
    /// `--pure-eval`, asked for and not just the default
    pub(crate) pure: bool,
    /// `-L`: show the logs of builds.
    pub(crate) print_build_logs: Option<bool>,
    /// Whether running builds are shown in lines that change; if absent, on terminals.
    pub(crate) progress: Option<bool>,
    /// Everything goes to stderr as JSON (`--log-format internal-json`).
    pub(crate) json: Option<&'static JsonSink>,
    /// `--eval-store`
    pub(crate) eval_store: Option<String>,
    /// Nothing is written to the store.
    pub(crate) read_only: bool,
    /// Complain about missing garbage collector roots.
    pub(crate) gc_warning: bool,
    /// `--repair`
    pub(crate) repair: bool,
    /// Where relative paths of `--arg` and expressions start from, if not in the working directory.
    pub(crate) base_directory: Option<std::path::PathBuf>,
    /// Variables that an evaluation sees besides those of the process.
    pub(crate) variables: std::collections::BTreeMap<String, String>,
    /// Whether an evaluation that fails or calls `builtins.break` stops to be looked at.
    pub(crate) debugger: bool,
    /// Where to write what evaluations read.
    pub(crate) record_reads: Option<std::path::PathBuf>,
    /// Whether the program was called `nix`: under that name its words are part of `nix-command`, as the reference's are.
    pub(crate) is_nix: bool,
    /// Experimental features that the command or its flags belong to.
    pub(crate) needed_features: Vec<&'static str>,
    /// What is still to be said about the flags.
    pub(crate) warnings: Vec<String>,
}

impl Common {
    /// Starts with the settings of the environment.
    pub(crate) fn new(is_classic: bool) -> Outcome<Common> {
        Ok(Common {
            settings: crate::settings::load()?,
            is_classic,
            // On a terminal the new command line shows progress instead.
            verbosity: if is_classic || !std::io::IsTerminal::is_terminal(&std::io::stderr()) { Verbosity::INFO } else { Verbosity::NOTICE },
            auto_arguments: Vec::new(),
            search_path: Vec::new(),
            nix_path: None,
            override_flakes: Vec::new(),
            impure: false,
            pure: false,
            print_build_logs: None,
            progress: None,
            json: None,
            eval_store: None,
            read_only: false,
            gc_warning: true,
            repair: false,
            base_directory: None,
            variables: Default::default(),
            debugger: false,
            record_reads: None,
            is_nix: false,
            needed_features: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Handles a flag. Returns false if it is none of these.
    pub(crate) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        if !self.is_classic && matches!(flag, "-L" | "--print-build-logs" | "--offline" | "--refresh") {
            self.needed_features.push("nix-command");
        }
        match flag {
            "-v" | "--verbose" => self.verbosity = self.verbosity.more(1),
            "--quiet" => self.verbosity = self.verbosity.more(-1),
            "--debug" => self.verbosity = Verbosity::DEBUG,
            "--option" => {
                let (name, value) = args.two_values(flag)?;
                self.note_nix_path(&name, &value);
                match self.settings.set_or_remember(&name, &value) {
                    Ok(()) => {}
                    Err(error) => self.warnings.push(error.to_string()),
                }
            }
            "-j" | "--max-jobs" => self.settings.set("max-jobs", &args.value(flag)?)?,
            "--log-format" => match args.value(flag)?.as_str() {
                "raw" => (self.print_build_logs, self.progress) = (Some(false), Some(false)),
                "raw-with-logs" => (self.print_build_logs, self.progress) = (Some(true), Some(false)),
                "bar" | "multiline" => (self.print_build_logs, self.progress) = (Some(false), Some(true)),
                "bar-with-logs" | "multiline-with-logs" => (self.print_build_logs, self.progress) = (Some(true), Some(true)),
                "internal-json" => self.json = Some(JsonSink::stderr()),
                other => return Err(Failure::Usage(format!("option 'log-format' has an invalid value '{other}'"))),
            },
            "-L" | "--print-build-logs" if !self.is_classic => self.print_build_logs = Some(true),
            "-Q" | "--no-build-output" if self.is_classic => self.print_build_logs = Some(false),
            "-K" | "--keep-failed" => self.settings.set("keep-failed", "true")?,
            "-k" | "--keep-going" => self.settings.set("keep-going", "true")?,
            "--fallback" => self.settings.set("fallback", "true")?,
            "--readonly-mode" => self.read_only = true,
            "--no-gc-warning" => self.gc_warning = false,
            "--repair" => self.repair = true,
            "--store" => self.settings.set("store", &args.value(flag)?)?,
            "--eval-store" => {
                self.eval_store = Some(args.value(flag)?);
            }
            "--debugger" => self.debugger = true,
            "--record-reads" => self.record_reads = Some(args.value(flag)?.into()),
            "--offline" => {
                self.settings.set("substitute", "false")?;
                self.settings.set("tarball-ttl", &u32::MAX.to_string())?;
            }
            "--refresh" => {
                for name in ["tarball-ttl", "narinfo-cache-meta-ttl", "narinfo-cache-negative-ttl", "narinfo-cache-positive-ttl"] {
                    self.settings.set(name, "0")?;
                }
            }
            "--impure" => self.impure = true,
            "--pure-eval" => {
                self.settings.set("pure-eval", "true")?;
                self.pure = true;
            }
            "--override-flake" => self.override_flakes.push(args.two_values(flag)?),
            "-I" | "--include" => self.search_path.push(args.value(flag)?),
            "--arg" => {
                let (name, value) = args.two_values(flag)?;
                self.auto_arguments.push((name, AutoArgument::Expression(value)));
            }
            "--argstr" => {
                let (name, value) = args.two_values(flag)?;
                self.auto_arguments.push((name, AutoArgument::Text(value.into_bytes())));
            }
            "--arg-from-file" => {
                let (name, path) = args.two_values(flag)?;
                let text = std::fs::read(&path).map_err(|error| Failure::new(format!("reading file '{path}': {}", crate::failure::plain(&error))))?;
                self.auto_arguments.push((name, AutoArgument::Text(text)));
            }
            "--arg-from-stdin" => {
                let name = args.value(flag)?;
                self.auto_arguments.push((name, AutoArgument::Text(read_stdin()?)));
            }
            _ => return self.setting_flag(flag, args),
        }
        Ok(true)
    }

    /// Fails for a command or flag whose experimental feature is off.
    pub(crate) fn check_features(&self) -> Outcome<()> {
        let is_enabled = |feature: &str| self.settings.list("experimental-features").any(|enabled| enabled == feature);
        let mut needed = self.needed_features.iter().filter(|feature| self.is_nix || **feature != "nix-command");
        match needed.find(|feature| !is_enabled(feature)) {
            Some(feature) => Err(Failure::new(nixlang_store::input::feature_message(feature))),
            None => Ok(()),
        }
    }

    /// Handles `--NAME VALUE`, and for booleans `--NAME` and `--no-NAME`.
    fn setting_flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        let Some(name) = flag.strip_prefix("--") else { return Ok(false) };
        let plain = name.strip_prefix("no-").unwrap_or(name);
        self.needed_features.extend(Settings::find(plain).and_then(|(setting, _)| Settings::feature(setting.name)));
        let is_bool = |name: &str| Settings::find(name).is_some_and(|(setting, append)| setting.kind == Kind::Bool && !append);
        let is_sandbox = |name: &str| Settings::find(name).is_some_and(|(setting, append)| setting.name == "sandbox" && !append);
        let sandbox = [("no-", "false"), ("relaxed-", "relaxed")].iter().find_map(|(start, value)| Some((*value, name.strip_prefix(start)?)));
        if let Some(positive) = name.strip_prefix("no-").filter(|name| is_bool(name)) {
            self.settings.set(positive, "false")?;
        } else if is_bool(name) || is_sandbox(name) {
            self.settings.set(name, "true")?;
        } else if let Some((value, _)) = sandbox.filter(|(_, rest)| is_sandbox(rest)) {
            self.settings.set("sandbox", value)?;
        } else if let Some((setting, _)) = Settings::find(name) {
            let value = args.value(flag)?;
            if setting.kind == Kind::Integer && parse_integer(&value).is_none() {
                return Err(Failure::Usage(format!("'{value}' is not an integer")));
            }
            self.note_nix_path(name, &value);
            self.settings.set(name, &value)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Remembers a search path of the command line: unlike one of a file it comes before `NIX_PATH`, or is added to it.
    fn note_nix_path(&mut self, name: &str, value: &str) {
        let words = value.split_whitespace().map(str::to_owned);
        match name {
            "nix-path" => self.nix_path = Some(words.collect()),
            "extra-nix-path" => {
                let settings = &self.settings;
                let base = || crate::evaluation::configured_search_path(settings).unwrap_or_default();
                self.nix_path.get_or_insert_with(base).extend(words);
            }
            _ => {}
        }
    }

    /// Says what is to be said about settings, once all flags are known, and returns the way to stderr.
    pub(crate) fn ui(&mut self) -> Ui {
        let mut ui = Ui::new(&self.settings, self.is_classic, self.verbosity);
        ui.json = self.json;
        match self.settings.text("json-log-path") {
            "" => {}
            path => match JsonSink::file(std::path::Path::new(path)) {
                Ok(sink) => ui.json_copy = Some(sink),
                Err(error) => self.warnings.push(format!("opening \"{path}\": {}", crate::failure::plain(&error))),
            },
        }
        if self.settings.list("experimental-features").any(|feature| feature == "no-url-literals") {
            ui.warn("experimental feature 'no-url-literals' has been stabilized and renamed; use 'lint-url-literals = fatal' setting instead");
        }
        for (name, feature) in self.settings.drop_unavailable() {
            ui.warn(format!("Ignoring setting '{name}' because experimental feature '{feature}' is not enabled"));
        }
        for name in std::mem::take(&mut self.settings.unknown) {
            ui.warn(format!("unknown setting '{name}'"));
        }
        for warning in std::mem::take(&mut self.warnings) {
            ui.warn(warning);
        }
        ui
    }
}

/// Returns everything that comes on stdin.
pub(crate) fn read_stdin() -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text)?;
    Ok(text)
}
