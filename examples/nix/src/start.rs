//! Becoming another program, with the store where its paths say it is and the environment that flags ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nixlang_build::sandbox::view_command;

use crate::args::Args;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// Variables by name.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// Becomes a program, which is looked up in `PATH` if its name has no slash. Returns only if that fails.
pub(crate) fn start(context: &Context, program: &OsStr, arguments: &[OsString], variables: &Variables) -> Failure {
    let mut command = match context.store.real_store_dir() {
        Some(real) => view_command(&context.helper, Path::new(context.store.store_dir().as_str()), &real, program),
        None => Command::new(program),
    };
    let error = command.args(arguments).env_clear().envs(variables).exec();
    Failure::new(format!("unable to execute '{}': {}", Path::new(program).display(), crate::failure::plain(&error)))
}

/// `--ignore-env` and its kin.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvironmentFlags {
    ignore: bool,
    keep: BTreeSet<String>,
    unset: BTreeSet<String>,
    set: BTreeMap<String, String>,
}

impl EnvironmentFlags {
    /// Handles a flag. Returns false if it is none of these.
    pub(crate) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "-i" | "--ignore-env" | "--ignore-environment" => self.ignore = true,
            "-k" | "--keep" | "--keep-env-var" => drop(self.keep.insert(args.value(flag)?)),
            "-u" | "--unset" | "--unset-env-var" => {
                let name = args.value(flag)?;
                if self.set.contains_key(&name) {
                    return Err(Failure::Usage(format!("Cannot unset environment variable '{name}' that is set with '--set-env-var'")));
                }
                self.unset.insert(name);
            }
            "-s" | "--set-env-var" => {
                let (name, value) = args.two_values(flag)?;
                if self.unset.contains(&name) {
                    return Err(Failure::Usage(format!("Cannot set environment variable '{name}' that is unset with '--unset-env-var'")));
                }
                if let Some(other) = self.set.get(&name) {
                    return Err(Failure::Usage(format!("Duplicate definition of environment variable '{name}' with '--set-env-var' is ambiguous: '{other}', '{value}'")));
                }
                self.set.insert(name, value);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns this process's environment as the flags change it.
    pub(crate) fn variables(&self) -> Outcome<Variables> {
        if self.ignore && !self.unset.is_empty() {
            return Err(Failure::Usage("--unset-env-var does not make sense with --ignore-env".into()));
        }
        if !self.ignore && !self.keep.is_empty() {
            return Err(Failure::Usage("--keep-env-var does not make sense without --ignore-env".into()));
        }
        let mut variables: Variables = std::env::vars_os().collect();
        variables.retain(|name, _| !self.ignore || name.to_str().is_some_and(|name| self.keep.contains(name)));
        variables.extend(self.set.iter().map(|(name, value)| (name.into(), value.into())));
        variables.retain(|name, _| name.to_str().is_none_or(|name| !self.unset.contains(name)));
        Ok(variables)
    }
}

/// Takes the rest of the command line: the command of `--command`.
pub(crate) fn command_of(args: &mut Args) -> Outcome<Vec<String>> {
    let command = args.take_rest();
    if command.is_empty() { Err(Failure::Usage("--command requires at least one argument".into())) } else { Ok(command) }
}

/// Returns a text as one word of a shell.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Outcome<EnvironmentFlags> {
        let mut args = Args::new(words.iter().map(OsString::from))?;
        let mut flags = EnvironmentFlags::default();
        while let Some(crate::args::Word::Flag(flag)) = args.next() {
            assert!(flags.flag(&flag, &mut args)?, "{flag}");
        }
        Ok(flags)
    }

    #[test]
    fn flags_change_the_environment() {
        let variables = flags(&["-i", "-s", "A", "1"]).and_then(|flags| flags.variables()).expect("these go together");
        assert_eq!(variables, [("A".into(), "1".into())].into());
        let variables = flags(&["-u", "PATH"]).and_then(|flags| flags.variables()).expect("these go together");
        assert!(!variables.contains_key(OsStr::new("PATH")));
        for wrong in [&["-i", "-u", "A"][..], &["-k", "A"], &["-s", "A", "1", "-u", "A"], &["-u", "A", "-s", "A", "1"], &["-s", "A", "1", "-s", "A", "2"]] {
            assert!(matches!(flags(wrong).and_then(|flags| flags.variables()), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }

    #[test]
    fn quoted_words() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}
