//! `hashString`, `hashFile`, `convertHash`.

use nixlang_store::hash::{Algorithm, Hash, HashFormat};

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Value};
use crate::host::Message;
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("hashString", &["type", "s"], hash_string)
        .strict(1)
        .doc("Returns the hash of the string *s* in base 16. *type* is `md5`, `sha1`, `sha256` or `sha512`."),
    Definition::new("hashFile", &["type", "p"], hash_file)
        .strict(1)
        .doc("Returns the hash of the file at path *p* in base 16. *type* is `md5`, `sha1`, `sha256` or `sha512`."),
    Definition::new("convertHash", &["args"], convert_hash).strict(1).doc(
        "Returns the hash `args.hash` in the notation `args.toHashFormat`: `base16`, `nix32`, `base64` or `sri`. `args.hashAlgo` says the \
         algorithm where the hash doesn't.",
    ),
];

#[cold]
fn failed(error: impl std::fmt::Display) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, error.to_string())
}

fn algorithm(eval: &Evaluator<'_>, name: &[u8]) -> EvalResult<Algorithm> {
    let algorithm: Algorithm = String::from_utf8_lossy(name).parse().map_err(failed)?;
    if algorithm == Algorithm::Blake3 && !eval.options.has_feature("blake3-hashes") {
        return Err(failed(
            "experimental Nix feature 'blake3-hashes' is disabled; add '--extra-experimental-features blake3-hashes' to enable it",
        ));
    }
    Ok(algorithm)
}

fn hash_string<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.hashString")?;
    let algorithm = algorithm(eval, name.bytes())?;
    let text = eval.force_string(args[1], pos, "while evaluating the second argument passed to builtins.hashString")?;
    Ok(eval.heap.string(Hash::digest(algorithm, text.bytes()).format(HashFormat::Base16, false).as_bytes()))
}

fn hash_file<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.hashFile")?;
    let algorithm = algorithm(eval, name.bytes())?;
    let path = super::paths::realise_path(eval, args[1], pos)?;
    let contents = eval.host.read_file(&path).map_err(|e| eval.host_error(e))?;
    Ok(eval.heap.string(Hash::digest(algorithm, &contents).format(HashFormat::Base16, false).as_bytes()))
}

/// The text of an attribute, `None` if it isn't there.
fn attribute<'h>(eval: &Evaluator<'h>, attrs: Attrs<'h>, name: &str, pos: Pos, context: &'static str) -> EvalResult<Option<String>> {
    let symbol = eval.symbols.intern(name.as_bytes());
    let Some(entry) = attrs.find(symbol) else { return Ok(None) };
    let text = eval.force_string_no_context(entry.slot.get(), pos, context)?;
    Ok(Some(String::from_utf8_lossy(text.bytes()).into_owned()))
}

fn convert_hash<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the first argument passed to builtins.convertHash")?;
    let missing = |name: &str, context: &'static str| {
        eval.missing_attribute(attrs, eval.symbols.intern(name.as_bytes()), Pos::NONE).while_(Pos::NONE, context)
    };
    let text = attribute(eval, attrs, "hash", pos, "while evaluating the attribute 'hash'")?
        .ok_or_else(|| missing("hash", "while locating the attribute 'hash'"))?;
    let expected = match attribute(eval, attrs, "hashAlgo", pos, "while evaluating the attribute 'hashAlgo'")? {
        Some(name) => Some(algorithm(eval, name.as_bytes())?),
        None => None,
    };
    let format = attribute(eval, attrs, "toHashFormat", pos, "while evaluating the attribute 'toHashFormat'")?
        .ok_or_else(|| missing("toHashFormat", "while locating the attribute 'toHashFormat'"))?;
    if format == "base32" {
        eval.say(Message::Warning, "\"base32\" is a deprecated alias for hash format \"nix32\".");
    }
    let format: HashFormat = format.parse().map_err(failed)?;
    let hash = Hash::parse(&text, expected).map_err(failed)?;
    Ok(eval.heap.string(hash.format(format, format == HashFormat::Sri).as_bytes()))
}
