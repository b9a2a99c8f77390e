//! `nixConfig` of flakes: settings that a flake wants. Those that can do harm count only if the user says so, once or for ever.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use nixlang::flake::{ConfigValue, FlakeRef, UseRegistries, get_flake};

use super::FlakeFlags;
use crate::commands::Context;
use crate::evaluation::evaluate;
use crate::failure::Outcome;
use crate::ui::Verbosity;

/// Settings that can do no harm.
const HARMLESS: &[&str] = &["bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "flake-registry", "commit-lock-file-summary", "commit-lockfile-summary"];

/// Setting, value, whether it is trusted.
type Trusted = BTreeMap<String, BTreeMap<String, bool>>;

/// Returns the context with what the flakes want that a command works on.
pub(crate) fn configured(context: Arc<Context>, references: &[FlakeRef], flags: &FlakeFlags) -> Outcome<Arc<Context>> {
    if references.is_empty() {
        return Ok(context);
    }
    super::require(&context, "flakes")?;
    let registries = match flags.options(&context)?.use_registries.unwrap_or_else(|| context.settings.is_on("use-registries")) {
        true => UseRegistries::All,
        false => UseRegistries::No,
    };
    let wanted = evaluate(&context, true, |evaluation| {
        let mut wanted = BTreeMap::new();
        for reference in references {
            wanted.extend(get_flake(evaluation.eval, reference, registries, &[])?.config);
        }
        Ok(wanted)
    })?;
    if wanted.is_empty() {
        return Ok(context);
    }
    let mut settings = context.settings.clone();
    for (name, value) in &wanted {
        let value = match value {
            ConfigValue::List(words) => words.iter().map(String::as_str).skip_while(|word| word.is_empty()).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        let plain = name.strip_prefix("extra-").unwrap_or(name);
        if HARMLESS.contains(&plain) || context.settings.is_on("accept-flake-config") || is_trusted(&context, name, &value)? {
            settings.set_or_remember(name, &value)?;
        } else {
            context.ui.warn_as_is(&format!("ignoring untrusted flake configuration setting '{name}'.\nPass '--accept-flake-config' to trust it"));
        }
    }
    context.with_settings(settings)
}

fn path() -> PathBuf {
    crate::settings::data_home().join("nix/trusted-settings.json")
}

fn is_trusted(context: &Context, name: &str, value: &str) -> Outcome<bool> {
    let mut trusted: Trusted = match std::fs::read(path()) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| crate::failure::Failure::new(format!("reading {}: {error}", path().display())))?,
        Err(_) => Trusted::new(),
    };
    if let Some(known) = trusted.get(name).and_then(|values| values.get(value)) {
        let message = format!("Using saved setting for '{name} = {value}' from ~/.local/share/nix/trusted-settings.json.");
        context.ui.line(Verbosity::INFO, &message);
        return Ok(*known);
    }
    let answer = ask(&format!("do you want to allow configuration setting '{name}' to be set to '\x1b[31;1m{value}\x1b[0m' (y/N)?"))?;
    let word = if answer { "trusted" } else { "untrusted" };
    if ask(&format!("do you want to permanently mark this value as {word} (y/N)?"))? {
        trusted.entry(name.to_owned()).or_default().insert(value.to_owned(), answer);
        if let Some(parent) = path().parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path(), serde_json::to_vec(&trusted).expect("texts and truth values can be written"))?;
    }
    Ok(answer)
}

/// Asks somebody at a terminal; nobody else agrees to anything.
fn ask(question: &str) -> Outcome<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}
