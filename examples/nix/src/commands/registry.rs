//! `registry …`: the tables from names to flakes.

use std::path::{Path, PathBuf};

use nixlang_store::fetchers::registry::{Entry, Registry};
use nixlang_store::input::{Attr, Attrs, FlakeRef};

use super::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::fetch::{Shown, failed, fetchers};

/// The words, and the table that they are about.
struct Command {
    words: Vec<String>,
    path: PathBuf,
}

impl Command {
    fn parse(invocation: &mut Invocation, n_words: std::ops::RangeInclusive<usize>) -> Outcome<Command> {
        let mut path = crate::settings::config_home().join("registry.json");
        let words = invocation.words(|flag, args| {
            if flag == "--registry" {
                path = args.value(flag)?.into();
            }
            Ok(flag == "--registry")
        })?;
        match words.len() {
            n if n < *n_words.start() => Err(Failure::Usage("more arguments are required".into())),
            n if n > *n_words.end() => Err(Failure::Usage(format!("unexpected argument '{}'", words[*n_words.end()]))),
            _ => Ok(Command { words, path }),
        }
    }

    /// Replaces the entry for a reference.
    fn replace(&self, context: &Context, from: &FlakeRef, to: Option<(nixlang_store::input::Input, &str)>) -> Outcome<()> {
        let mut registry = Registry::read(&self.path, &Shown(context.ui));
        registry.entries.retain(|entry| entry.from != from.input);
        if let Some((to, subdir)) = to {
            let mut extra = Attrs::new();
            if !subdir.is_empty() {
                extra.insert("dir".into(), Attr::from(subdir));
            }
            registry.entries.push(Entry { from: from.input.clone(), to, extra, is_exact: false });
        }
        write(&registry, &self.path)
    }
}

fn write(registry: &Registry, path: &Path) -> Outcome<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, registry.to_text()).map_err(|error| Failure::new(format!("opening file \"{}\": {}", path.display(), crate::failure::plain(&error))))
}

/// Reads a reference that is not relative to anything.
fn reference(context: &Context, text: &str) -> Outcome<FlakeRef> {
    crate::flakes::with_reader(context, |reader| {
        let (reference, fragment) = FlakeRef::parse(text, true, reader)?;
        reference.without_fragment(&fragment, text)
    })
}

/// `registry list`
pub(super) fn list(mut invocation: Invocation) -> Outcome<u8> {
    Command::parse(&mut invocation, 0..=0)?;
    let context = invocation.context()?;
    let registries = crate::fetch::registries(&context, &fetchers(&context), &*context.store.any()?).map_err(failed)?;
    let tables = [("flags ", registries.flag), ("user  ", registries.user), ("system", registries.system), ("global", registries.global)];
    for (name, registry) in tables {
        for Entry { from, to, extra, .. } in registry.entries {
            let subdir = extra.get("dir").map(ToString::to_string).unwrap_or_default();
            println!("{name} {from} {}", FlakeRef::new(to, subdir));
        }
    }
    Ok(0)
}

/// `registry add FROM TO`
pub(super) fn add(mut invocation: Invocation) -> Outcome<u8> {
    let command = Command::parse(&mut invocation, 2..=2)?;
    let context = invocation.context()?;
    let (from, to) = (reference(&context, &command.words[0])?, reference(&context, &command.words[1])?);
    command.replace(&context, &from, Some((to.input, &to.subdir)))?;
    Ok(0)
}

/// `registry remove URL`
pub(super) fn remove(mut invocation: Invocation) -> Outcome<u8> {
    let command = Command::parse(&mut invocation, 1..=1)?;
    let context = invocation.context()?;
    command.replace(&context, &reference(&context, &command.words[0])?, None)?;
    Ok(0)
}

/// `registry pin URL [LOCKED]`
pub(super) fn pin(mut invocation: Invocation) -> Outcome<u8> {
    let command = Command::parse(&mut invocation, 1..=2)?;
    let context = invocation.context()?;
    let from = reference(&context, &command.words[0])?;
    let to = match command.words.get(1) {
        Some(locked) => reference(&context, locked)?,
        None => from.clone(),
    };
    let store = context.store.any()?;
    let fetchers = fetchers(&context);
    let registries = crate::fetch::registries(&context, &fetchers, &*store).map_err(failed)?;
    let (input, _) = registries.resolve(&to.input, false).map_err(failed)?;
    let fetched = crate::fetch::without_copy(&input, fetchers.fetch(&*store, &input).map_err(failed)?.input);
    if !fetched.is_locked(context.settings.is_on("trust-tarballs-from-git-forges")).unwrap_or(false) {
        context.ui.warn(format!("flake '{fetched}' is not locked"));
    }
    command.replace(&context, &from, Some((fetched, &from.subdir)))?;
    Ok(0)
}

/// `registry resolve REFERENCE…`
pub(super) fn resolve(mut invocation: Invocation) -> Outcome<u8> {
    let command = Command::parse(&mut invocation, 0..=usize::MAX)?;
    let context = invocation.context()?;
    let registries = crate::fetch::registries(&context, &fetchers(&context), &*context.store.any()?).map_err(failed)?;
    for word in &command.words {
        let wanted = reference(&context, word)?;
        let (input, extra) = registries.resolve(&wanted.input, false).map_err(failed)?;
        let subdir = extra.get("dir").map_or(wanted.subdir, ToString::to_string);
        println!("{}", FlakeRef::new(input, subdir));
    }
    Ok(0)
}
