//! `formatter run` (`fmt`) and `formatter build`: the program that a flake names for formatting its files.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::flakes::{Defaults, FlakeFlags, FlakeWord, configured, require};
use crate::start::{EnvironmentFlags, start};

/// Builds the formatter of the flake in the working directory. Returns what its program is called, too.
fn build_formatter(context: Arc<Context>, flags: &FlakeFlags) -> Outcome<(Arc<Context>, FlakeWord, PathBuf)> {
    require(&context, "flakes")?;
    flags.begin(&context)?;
    let word = FlakeWord::parse(&context, ".", Defaults::Formatter)?;
    let context = configured(context, std::slice::from_ref(&word.reference), flags)?;
    let program = crate::flakes::program(&context, &word, &flags.options(&context)?)?;
    Ok((context, word, program))
}

/// `formatter run [ARGUMENT…]`
pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = FlakeFlags::default();
    let mut arguments: Vec<OsString> = Vec::new();
    invocation.parse(
        |flag, args| flags.flag(flag, args),
        |word, _| {
            arguments.push(word.into());
            Ok(())
        },
    )?;
    let (context, word, program) = build_formatter(invocation.context()?, &flags)?;
    let directory = crate::fetch::fetchers(&context).working_copy(&word.reference.input).map_err(crate::fetch::failed)?;
    let mut variables = EnvironmentFlags::default().variables()?;
    if let Some(directory) = directory {
        variables.insert("PRJ_ROOT".into(), directory.into());
    }
    Err(start(&context, program.as_os_str(), &arguments, &variables))
}

/// `formatter build [--out-link LINK] [--no-link]`
pub(super) fn build_program(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = FlakeFlags::default();
    let mut link = Some("result".to_owned());
    let words = invocation.words(|flag, args| {
        match flag {
            "-o" | "--out-link" => link = Some(args.value(flag)?),
            "--no-link" => link = None,
            _ => return flags.flag(flag, args),
        }
        Ok(true)
    })?;
    if let Some(word) = words.first() {
        return Err(Failure::Usage(format!("unexpected argument '{word}'")));
    }
    let (context, _, program) = build_formatter(invocation.context()?, &flags)?;
    println!("{}", program.display());
    if let Some(link) = link {
        let text = program.display().to_string();
        let (path, _) = context.store.store_dir().split_store_path(&text).map_err(|error| Failure::new(error.to_string()))?;
        crate::roots::make(&context, &path, &std::path::absolute(link)?)?;
    }
    Ok(0)
}
