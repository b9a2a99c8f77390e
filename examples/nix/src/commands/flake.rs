//! `flake …`: what there is to know of a flake, its lock file, its outputs, and making new ones.

mod archive;
mod check;
mod check_outputs;
mod metadata;
mod show;
mod template;

use std::sync::Arc;

use nixlang_store::input::{Attr, Attrs, FlakeRef};
use serde_json::{Map, Value};

pub(super) use archive::{archive, clone, prefetch_inputs};
pub(super) use check::check;
pub(super) use metadata::{info, metadata};
pub(super) use show::show;
pub(super) use template::{init, new};

use super::{Context, Invocation};
use crate::args::Args;
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::flakes::FlakeFlags;

/// What all words of `flake` take.
#[derive(Default)]
struct Flake {
    words: Vec<String>,
    flags: FlakeFlags,
    json: bool,
    pretty: Option<bool>,
}

impl Flake {
    /// Reads a command line whose own flags `own` handles.
    fn parse(invocation: &mut Invocation, mut own: impl FnMut(&str, &mut Args) -> Outcome<bool>) -> Outcome<Flake> {
        let mut flake = Flake::default();
        let words = invocation.words(|flag, args| {
            if own(flag, args)? {
                return Ok(true);
            }
            match flag {
                "--json" => flake.json = true,
                "--pretty" => flake.pretty = Some(true),
                "--no-pretty" => flake.pretty = Some(false),
                _ => return flake.flags.flag(flag, args),
            }
            Ok(true)
        })?;
        flake.words = words;
        Ok(flake)
    }

    /// Ends the reading of flags.
    fn context(&self, invocation: Invocation) -> Outcome<Arc<Context>> {
        let context = invocation.context()?;
        crate::flakes::require(&context, "flakes")?;
        self.flags.begin(&context)?;
        Ok(context)
    }

    /// Returns the flake that is meant: the only word, or the one around this directory.
    fn reference(&self, context: &Context) -> Outcome<FlakeRef> {
        match &self.words[..] {
            [] => crate::flakes::plain_reference(context, ".", false),
            [word] => crate::flakes::plain_reference(context, word, false),
            [_, word, ..] => Err(Failure::Usage(format!("unexpected argument '{word}'"))),
        }
    }

    /// Prints JSON, laid out where somebody reads it.
    fn print(&self, json: &Value) {
        let is_pretty = self.pretty.unwrap_or_else(|| std::io::IsTerminal::is_terminal(&std::io::stdout()));
        println!("{}", if is_pretty { nixlang_store::json::to_string_pretty(json) } else { nixlang_store::json::to_string(json) });
    }
}

/// Returns attributes as JSON.
fn attrs_to_json(attrs: &Attrs) -> Value {
    let value = |attr: &Attr| match attr {
        Attr::Text(text) => Value::from(text.as_str()),
        Attr::Number(number) => Value::from(*number),
        Attr::Bool(value) => Value::from(*value),
    };
    attrs.iter().map(|(name, attr)| (name.clone(), value(attr))).collect::<Map<_, _>>().into()
}

/// `flake lock`
pub(super) fn lock(mut invocation: Invocation) -> Outcome<u8> {
    let flake = Flake::parse(&mut invocation, |_, _| Ok(false))?;
    invocation.common.settings.set("tarball-ttl", "0")?;
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let context = crate::flakes::configured(context, std::slice::from_ref(&reference), &flake.flags)?;
    let mut options = flake.flags.options(&context)?;
    (options.write, options.fail_on_unlocked) = (true, true);
    evaluate(&context, true, |evaluation| crate::flakes::locked(evaluation, &reference, &options).map(drop))?;
    Ok(0)
}

/// `flake update [INPUT…]`
pub(super) fn update(mut invocation: Invocation) -> Outcome<u8> {
    let mut url = ".".to_owned();
    let mut flake = Flake::parse(&mut invocation, |flag, args| {
        if flag == "--flake" {
            url = args.value(flag)?;
        }
        Ok(flag == "--flake")
    })?;
    invocation.common.settings.set("tarball-ttl", "0")?;
    for word in &flake.words {
        let path = nixlang::flake::parse_input_path(word).and_then(|path| match path.is_empty() {
            true => Err("input path to be updated cannot be zero-length; it would refer to the flake itself, not an input".into()),
            false => Ok(path),
        });
        let path = path.map_err(|message| {
            let hint = format!("Invalid flake input '{word}'. To update a specific flake, use 'nix flake update --flake {word}' instead.");
            invocation.common.ui().warn(hint);
            Failure::Usage(message)
        })?;
        if flake.flags.updates.contains(&path) {
            let shown = nixlang::flake::print_input_path(&path);
            flake.flags.warnings.push(format!("Input '{shown}' was specified multiple times. You may have done this by accident."));
        }
        flake.flags.updates.push(path);
    }
    let context = flake.context(invocation)?;
    let reference = crate::flakes::plain_reference(&context, &url, false)?;
    let context = crate::flakes::configured(context, std::slice::from_ref(&reference), &flake.flags)?;
    let mut options = flake.flags.options(&context)?;
    options.recreate = options.updates.is_empty();
    options.write = true;
    evaluate(&context, true, |evaluation| crate::flakes::locked(evaluation, &reference, &options).map(drop))?;
    Ok(0)
}
