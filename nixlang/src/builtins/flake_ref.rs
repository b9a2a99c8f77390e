//! `parseFlakeRef` and `flakeRefToString`: text only, nothing is looked up.

use nixlang_store::input::{Attr, Attrs, Input, InputError as Error, Reader, feature_message, parse_reference};

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::host::Message;
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("parseFlakeRef", &["flake-ref"], parse)
        .strict(1)
        .doc("Returns the parts of a flake reference: `\"github:NixOS/nixpkgs/23.05?dir=lib\"` has `type`, `owner`, `repo`, `ref` and `dir`."),
    Definition::new("flakeRefToString", &["attrs"], to_string)
        .strict(1)
        .doc("Returns the flake reference that has these parts, in URL notation; the inverse of `parseFlakeRef`."),
];

pub(crate) fn failed(error: Error) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, error.to_string())
}

pub(super) fn require_flakes(eval: &Evaluator<'_>) -> EvalResult<()> {
    match eval.options.has_feature("flakes") {
        true => Ok(()),
        false => Err(EvalError::new(ErrorKind::Evaluation, feature_message("flakes"))),
    }
}

pub(crate) fn with_reader<T>(eval: &Evaluator<'_>, run: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>) -> EvalResult<T> {
    let mut dubious = |name: &str| {
        eval.say(Message::Warning, &format!("dubious URI query '{name}' is missing equal sign '=', ignoring"));
    };
    let has_feature = |feature: &str| eval.options.has_feature(feature);
    run(&mut Reader { has_feature: &has_feature, dubious: &mut dubious }).map_err(failed)
}

fn parse<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    require_flakes(eval)?;
    let text = eval.force_string_no_context(args[0], pos, "while evaluating the argument passed to builtins.parseFlakeRef")?;
    let text = String::from_utf8_lossy(text.bytes());
    let attrs = with_reader(eval, |reader| match parse_reference(&text, true, reader)? {
        (attrs, fragment) if fragment.is_empty() => Ok(attrs),
        (_, fragment) => Err(Error::Other(format!("unexpected fragment '{fragment}' in flake reference '{text}'"))),
    })?;
    let entries = attrs.iter().map(|(name, attr)| {
        let value = match attr {
            Attr::Text(text) => eval.heap.string(text.as_bytes()),
            Attr::Number(number) => eval.heap.int(*number as i64),
            Attr::Bool(value) => Value::bool(*value),
        };
        (eval.symbols.intern(name.as_bytes()), value)
    });
    Ok(eval.attrs_of(entries))
}

fn to_string<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    require_flakes(eval)?;
    let set = eval.force_attrs(args[0], Pos::NONE, "while evaluating the argument passed to builtins.flakeRefToString")?;
    let mut attrs = Attrs::new();
    for entry in set.flat(eval.heap).iter() {
        let name = String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned();
        let value = eval.force_at(entry.slot.get(), entry.pos)?;
        let attr = match value.kind() {
            Kind::Int(number) => match u64::try_from(number) {
                Ok(number) => Attr::Number(number),
                Err(_) => {
                    let message = format!("negative value given for flake ref attr {name}: {number}");
                    return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
                }
            },
            Kind::Bool(value) => Attr::Bool(value),
            Kind::String(text) => Attr::Text(String::from_utf8_lossy(text.bytes()).into_owned()),
            _ => {
                let what = value.described_type();
                let message = format!(
                    "flake reference attribute sets may only contain integers, Booleans, and strings, but attribute '{name}' is {what}"
                );
                return Err(EvalError::new(ErrorKind::Evaluation, message));
            }
        };
        attrs.insert(name, attr);
    }
    let url = with_reader(eval, |reader| {
        let mut bare = attrs.clone();
        bare.remove("dir");
        let input = Input::from_attrs(bare, reader)?;
        let directory = match attrs.get("dir") {
            None => None,
            Some(Attr::Text(directory)) => Some(directory).filter(|directory| !directory.is_empty()),
            Some(_) => return Err(Error::Other(format!("input attribute 'dir' is not a string {}", nixlang_store::input::to_json(&attrs)))),
        };
        let mut url = input.to_url()?;
        if let Some(directory) = directory {
            url.query.entry("dir".into()).or_insert_with(|| directory.to_owned());
        }
        Ok(url.to_string())
    })?;
    Ok(eval.heap.string(url.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::answer;

    /// Expressions, each followed by what Nix 2.34.8 says to it.
    #[test]
    fn answers() {
        let lines: Vec<&str> = include_str!("flake_ref/answers.txt").lines().collect();
        let (cases, rest) = lines.as_chunks::<2>();
        assert!(cases.len() > 100 && rest.is_empty());
        let wrong: Vec<String> = cases
            .iter()
            .map(|[expression, expected]| (expression, expected.trim_start(), answer(expression, "flakes")))
            .filter(|(_, expected, actual)| actual != expected)
            .map(|(expression, expected, actual)| format!("{expression}\n  expected {expected}\n  got      {actual}"))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
