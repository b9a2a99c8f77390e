//! `fetchMercurial`: the one fetcher whose `rev` may be a branch or tag too.

use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::input::{Input, is_revision};

use super::super::flake_ref::{failed, with_reader};
use super::super::paths::store_path_string;
use super::tree::lossy;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::source::Pos;

pub(super) fn fetch_mercurial<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let wrong = |message: String| EvalError::new(ErrorKind::Evaluation, message);
    let argument = eval.force_at(args[0], pos)?;
    let mut url = String::new();
    let (mut revision, mut branch, mut name) = (None, None, "source".to_owned());
    if let Kind::Attrs(attrs) = argument.kind() {
        for entry in attrs.flat(eval.heap).iter() {
            let (value, at) = (entry.slot.get(), entry.pos);
            match eval.symbols.text(entry.symbol) {
                b"url" => {
                    let context = "while evaluating the `url` attribute passed to builtins.fetchMercurial";
                    url = lossy(eval.coerce_to_string(value, at, Coercion::PATH_SEGMENT, context)?.bytes());
                }
                b"rev" => {
                    let context = "while evaluating the `rev` attribute passed to builtins.fetchMercurial";
                    let text = lossy(eval.force_string_no_context(value, at, context)?.bytes());
                    let field = if is_revision(&text) { &mut revision } else { &mut branch };
                    *field = Some(text);
                }
                b"name" => {
                    let context = "while evaluating the `name` attribute passed to builtins.fetchMercurial";
                    name = lossy(eval.force_string_no_context(value, at, context)?.bytes());
                }
                other => return Err(wrong(format!("unsupported argument '{}' to 'fetchMercurial'", lossy(other))).at(at)),
            }
        }
        if url.is_empty() {
            return Err(wrong("'url' argument required".into()).at(pos));
        }
    } else {
        let context = "while evaluating the first argument passed to builtins.fetchMercurial";
        url = lossy(eval.coerce_to_string(argument, pos, Coercion::PATH_SEGMENT, context)?.bytes());
    }
    eval.host.check_address(&url).map_err(|error| eval.host_error(error))?;
    if eval.options.pure && revision.is_none() {
        return Err(wrong("in pure evaluation mode, 'fetchMercurial' requires a Mercurial revision".into()));
    }
    if !url.contains("://") {
        url.insert_str(0, "file://");
    }
    let revision = revision.map(|text| text.to_ascii_lowercase());
    let attrs = [("type", Some("hg".to_owned())), ("url", Some(url)), ("name", Some(name)), ("ref", branch), ("rev", revision)];
    let attrs = attrs.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect();
    let input = with_reader(eval, |reader| Input::from_attrs(attrs, reader))?;
    let fetched = eval.host.fetch_input(&input).map_err(|error| eval.host_error(error))?;

    let text = |text: &str| eval.heap.string(text.as_bytes());
    let mut entries = vec![(eval.names.out_path, Value::string(store_path_string(eval, &fetched.store_path)))];
    let mut set = |name: &str, value: Value<'h>| entries.push((eval.symbols.intern(name.as_bytes()), value));
    if let Some(branch) = fetched.input.text("ref") {
        set("branch", text(branch));
    }
    // A tree with changes has a commit of zeros.
    let revision = fetched.input.revision().map_err(failed)?.unwrap_or_else(|| Hash::zero(Algorithm::Sha1));
    let revision = revision.format(HashFormat::Base16, false);
    set("rev", text(&revision));
    set("shortRev", text(&revision[..12]));
    if let Some(count) = fetched.input.number("revCount") {
        set("revCount", eval.heap.int(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    Ok(eval.attrs_of(entries))
}
