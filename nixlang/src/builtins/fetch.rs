//! Builtins that fetch, through the host: `fetchurl` and `fetchTarball` here, those with more to say in files of their own.

mod closure;
mod mercurial;
pub(crate) mod tree;

use nixlang_store::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::path::{StorePath, StorePathName};

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::host::{FetchRequest, Message};
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("fetchurl", &["arg"], fetchurl)
        .strict(1)
        .doc("Downloads a file and returns its store path. *arg* is a URL or `{ url, name, sha256 }`."),
    Definition::new("fetchTarball", &["args"], fetch_tarball)
        .strict(1)
        .global()
        .doc("Downloads an archive, unpacks it and returns the tree's store path. *args* is a URL or `{ url, name, sha256 }`."),
    Definition::new("fetchGit", &["args"], tree::fetch_git)
        .strict(1)
        .global()
        .doc("Fetches a tree of a git repository. *args* is a URL or path, or a set of `url`, `ref`, `rev`, `submodules` and others."),
    Definition::new("fetchMercurial", &["args"], mercurial::fetch_mercurial)
        .strict(1)
        .global()
        .doc("Fetches a tree of a Mercurial repository. *args* is a URL or path, or `{ url, rev, name }`."),
    Definition::new("fetchTree", &["input"], tree::fetch_tree)
        .strict(1)
        .global()
        .feature("fetch-tree")
        .doc("Fetches a tree or file of any supported kind and returns a set with its store path and what is known of it."),
    Definition::new("fetchClosure", &["args"], closure::fetch_closure)
        .strict(1)
        .feature("fetch-closure")
        .doc("Copies a store path and all that it refers to from another store."),
];

fn fetchurl<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    fetch(eval, args[0], pos, Fetcher { name: "fetchurl", unpack: false, default_name: "" })
}

fn fetch_tarball<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    fetch(eval, args[0], pos, Fetcher { name: "fetchTarball", unpack: true, default_name: "source" })
}

#[derive(Clone, Copy)]
struct Fetcher {
    name: &'static str,
    unpack: bool,
    default_name: &'static str,
}

/// What the argument of a fetcher says.
#[derive(Default)]
struct Arguments {
    url: Option<String>,
    name: Option<String>,
    sha256: Option<Hash>,
    is_set: bool,
}

fn arguments<'h>(eval: &Evaluator<'h>, argument: Value<'h>, pos: Pos, fetcher: Fetcher) -> EvalResult<Arguments> {
    let text = |value, pos, context| {
        eval.force_string_no_context(value, pos, context).map(|text| String::from_utf8_lossy(text.bytes()).into_owned())
    };
    let argument = eval.force_at(argument, pos)?;
    let Kind::Attrs(attrs) = argument.kind() else {
        let url = text(argument, pos, "while evaluating the url we should fetch")?;
        return Ok(Arguments { url: Some(url), ..Default::default() });
    };
    let mut found = Arguments { is_set: true, ..Default::default() };
    for entry in attrs.flat(eval.heap).iter() {
        let value = entry.slot.get();
        match eval.symbols.text(entry.symbol) {
            b"url" => found.url = Some(text(value, entry.pos, "while evaluating the url we should fetch")?),
            b"name" => found.name = Some(text(value, entry.pos, "while evaluating the name of the content we should fetch")?),
            b"sha256" => {
                let hash = text(value, entry.pos, "while evaluating the sha256 of the content we should fetch")?;
                found.sha256 = Some(sha256(eval, &hash)?);
            }
            other => {
                let message = format!("unsupported argument '{}' to '{}'", String::from_utf8_lossy(other), fetcher.name);
                return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
            }
        }
    }
    Ok(found)
}

/// Reads a hash; an empty text stands for one that nothing has, so that the error says the right one.
fn sha256(eval: &Evaluator<'_>, text: &str) -> EvalResult<Hash> {
    if text.is_empty() {
        let zero = Hash::zero(Algorithm::Sha256);
        eval.say(Message::Warning, &format!("found empty hash, assuming '{}'", zero.format(HashFormat::Sri, true)));
        return Ok(zero);
    }
    Hash::parse(text, Some(Algorithm::Sha256)).map_err(|error| EvalError::new(ErrorKind::Evaluation, error.to_string()))
}

/// What `channel:NAME` stands for.
fn resolve_channel(url: String) -> String {
    match url.strip_prefix("channel:") {
        Some(channel) => format!("https://channels.nixos.org/{channel}/nixexprs.tar.xz"),
        None => url,
    }
}

fn fetch<'h>(eval: &Evaluator<'h>, argument: Value<'h>, pos: Pos, fetcher: Fetcher) -> EvalResult<Value<'h>> {
    let failed = |message: String| EvalError::new(ErrorKind::Evaluation, message).at(pos);
    let Arguments { url, name, sha256, is_set } = arguments(eval, argument, pos, fetcher)?;
    let url = url.ok_or_else(|| failed("'url' argument required".into()))?;
    let url = if fetcher.unpack { resolve_channel(url) } else { url };
    eval.host.check_address(&url).map_err(|error| eval.host_error(error))?;
    let has_name = name.is_some();
    let mut name = name.unwrap_or_else(|| fetcher.default_name.to_owned());
    if name.is_empty() {
        name = String::from_utf8_lossy(crate::path::base_name(url.trim_end_matches('/').as_bytes())).into_owned();
    }
    if let Err(error) = StorePathName::new(&name) {
        let who = fetcher.name;
        let help = if has_name {
            format!("Please change the value for the 'name' attribute passed to '{who}', so that it can create a valid store path.")
        } else if is_set {
            format!("Please add a valid 'name' attribute to the argument for '{who}', so that it can create a valid store path.")
        } else {
            format!("Please pass an attribute set with 'url' and 'name' attributes to '{who}',  so that it can create a valid store path.")
        };
        return Err(failed(format!("invalid store path name when fetching URL '{url}': {error}. {help}")));
    }
    if eval.options.pure && sha256.is_none() {
        return Err(failed(format!("in pure evaluation mode, '{}' requires a 'sha256' argument", fetcher.name)));
    }
    let path = match sha256.and_then(|hash| present(eval, &name, hash, fetcher.unpack)) {
        Some(path) => path,
        None => {
            let request = FetchRequest { url, name, unpack: fetcher.unpack, sha256 };
            eval.host.fetch(&request).map_err(|e| eval.host_error(e))?
        }
    };
    let text = eval.host.store_dir().display(&path);
    let context = eval.contexts.context(vec![eval.contexts.opaque(&text)]);
    Ok(Value::string(eval.heap.str_from_parts(&[text.as_bytes()], context)))
}

/// The store path that something of this hash has, if it is there already (or a substituter has it).
fn present(eval: &Evaluator<'_>, name: &str, hash: Hash, unpack: bool) -> Option<StorePath> {
    let method = if unpack { ContentAddressMethod::Nar } else { ContentAddressMethod::Flat };
    let content = ContentAddressWithReferences { method, hash, references: Default::default(), self_reference: false };
    let path = eval.host.store_dir().fixed_output_path(name, &content).ok()?;
    eval.host.ensure_path(&path).ok()?;
    Some(path)
}
