//! `bundle`: something made of an installable by a function of a flake, such as a single file that runs anywhere.

use nixlang::eval::{ErrorKind, EvalError};
use nixlang::flake::LockOptions;
use nixlang::heap::Kind;
use nixlang::source::Pos;
use nixlang_build::{DerivedPath, OutputsSpec};

use super::Invocation;
use crate::building::{BuildFlags, build};
use crate::evaluation::evaluate;
use crate::failure::{Failure, Outcome};
use crate::flakes::{Defaults, FlakeWord, find};
use crate::installables::{Installables, split_outputs};

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let mut bundler = "github:NixOS/bundlers".to_owned();
    let mut link = None;
    let (installables, context) = Installables::parse_for(Defaults::Apps, invocation, |flag, args| {
        match flag {
            "--bundler" => bundler = args.value(flag)?,
            "-o" | "--out-link" => link = Some(args.value(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if let Some(word) = installables.words.get(1) {
        return Err(Failure::Usage(format!("unexpected argument '{word}'")));
    }
    let by = FlakeWord::parse(&context, split_outputs(&bundler).0, Defaults::Bundlers)?;
    let options = LockOptions { write: false, ..LockOptions::default() };
    let (derivation, output, name) = evaluate(&context, true, |evaluation| {
        let eval = evaluation.eval;
        let (value, _) = installables.value(evaluation, &installables.words().remove(0))?;
        let function = find(evaluation, &by, &options)?.value;
        let result = eval.call(function, &[value], Pos::NONE)?;
        let wrong = || EvalError::new(ErrorKind::Evaluation, format!("the bundler '{bundler}' does not produce a derivation"));
        if !eval.is_derivation(result)? {
            return Err(wrong().into());
        }
        let Kind::Attrs(attrs) = result.kind() else { return Err(wrong().into()) };
        let text = |name: &str| -> crate::evaluation::Step<String> {
            let entry = attrs.find(eval.symbols.intern(name.as_bytes())).ok_or_else(wrong)?;
            Ok(String::from_utf8_lossy(eval.force_string(entry.slot.get(), entry.pos, "")?.bytes()).into_owned())
        };
        let path = |text: String| eval.host.store_dir().parse(text.as_bytes()).map_err(|error| Failure::new(error.to_string()));
        let found = (path(text("drvPath")?)?, path(text("outPath")?)?, text("name")?);
        evaluation.flush()?;
        Ok(found)
    })?;
    build(&context, &[DerivedPath::built(derivation, OutputsSpec::All)], BuildFlags::default())?;
    crate::roots::make(&context, &output, &std::path::absolute(link.unwrap_or(name))?)?;
    Ok(0)
}
