//! `nix-prefetch-url`, `store prefetch-file` and `flake prefetch`: put something into the store and print its hash.

use std::path::PathBuf;

use nixlang::heap::Kind;
use nixlang::source::Pos;
use nixlang_store::content_address::{ContentAddressMethod, ContentAddressWithReferences};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::input::url::Url;
use nixlang_store::input::FlakeRef;
use nixlang_store::path::{StorePath, StorePathName};
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::{Failure, Outcome};
use crate::fetch::{failed, fetchers};
use crate::ui::Verbosity;

/// What is to be downloaded, and how it goes into the store.
#[derive(Default)]
struct Wanted {
    url: String,
    name: Option<String>,
    algorithm: Option<Algorithm>,
    expected: Option<String>,
    unpack: bool,
    executable: bool,
}

fn algorithm(text: &str) -> Outcome<Algorithm> {
    text.parse().map_err(|error: nixlang_store::hash::HashError| Failure::Usage(error.to_string()))
}

/// Returns what follows the last slash of an address's path.
fn last_segment(url: &str) -> Option<String> {
    match Url::parse(url, &mut |_| {}) {
        Ok(url) => url.segments().last().map(|segment| (*segment).to_owned()),
        Err(_) => url.trim_end_matches('/').rsplit('/').next().map(str::to_owned),
    }
    .filter(|name| !name.is_empty())
}

fn prefetch(context: &Context, store: &dyn Store, wanted: &Wanted) -> Outcome<(StorePath, Hash)> {
    let Wanted { url, name, unpack, executable, .. } = wanted;
    let name = match name.clone().or_else(|| last_segment(url)) {
        Some(name) => name,
        None => return Err(Failure::new(format!("cannot figure out file name for '{url}'"))),
    };
    StorePathName::new(&name).map_err(|error| Failure::new(error.to_string()))?;
    let mut algorithm = wanted.algorithm.unwrap_or(Algorithm::Sha256);
    let mut expected = None;
    if let Some(text) = &wanted.expected {
        let hash = Hash::parse_prefixed(text).or_else(|_| Hash::parse(text, Some(algorithm))).map_err(|error| Failure::new(error.to_string()))?;
        algorithm = hash.algorithm();
        let method = if *unpack || *executable { ContentAddressMethod::Nar } else { ContentAddressMethod::Flat };
        let content = ContentAddressWithReferences { method, hash, references: Default::default(), self_reference: false };
        let path = store.store_dir().fixed_output_path(&name, &content).map_err(|error| Failure::new(error.to_string()))?;
        if store.is_valid(&path)? {
            return Ok((path, hash));
        }
        expected = Some(hash);
    }
    let fetched = fetchers(context).prefetch(store, url, &name, *unpack, *executable, algorithm).map_err(failed)?;
    match expected.filter(|expected| *expected != fetched.1) {
        Some(_) => Err(Failure::new(format!("hash mismatch for '{url}'"))),
        None => Ok(fetched),
    }
}

/// `store prefetch-file [--json] [--name NAME] [--expected-hash HASH] [--hash-type TYPE] [--executable] [--unpack] URL`
pub(super) fn store_file(mut invocation: Invocation) -> Outcome<u8> {
    let mut wanted = Wanted::default();
    let mut json = false;
    let words = invocation.words(|flag, args| {
        match flag {
            "--json" => json = true,
            "--name" => wanted.name = Some(args.value(flag)?),
            "--expected-hash" => wanted.expected = Some(args.value(flag)?),
            "--hash-type" | "--hash-algo" => wanted.algorithm = Some(algorithm(&args.value(flag)?)?),
            "--executable" => wanted.executable = true,
            "--unpack" => wanted.unpack = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let [url] = <[String; 1]>::try_from(words).map_err(|_| Failure::Usage("'store prefetch-file' needs one address".into()))?;
    wanted.url = url;
    let context = invocation.context()?;
    let store = context.store.any()?;
    let (path, hash) = prefetch(&context, &*store, &wanted)?;
    let (path, hash) = (store.store_dir().display(&path), hash.format(HashFormat::Sri, true));
    if json {
        println!("{}", nixlang_store::json::to_string(&serde_json::json!({ "storePath": path, "hash": hash })));
    } else {
        context.ui.line(Verbosity::NOTICE, &format!("Downloaded '{}' to '{path}' (hash '{hash}').", wanted.url));
    }
    Ok(0)
}

/// `nix-prefetch-url [--unpack] [--executable] [--name NAME] [--type TYPE] [--print-path] [-A ATTR] URL [HASH]`
pub(super) fn classic(mut invocation: Invocation) -> Outcome<u8> {
    let mut wanted = Wanted::default();
    let mut attribute = None;
    let mut print_path = std::env::var_os("PRINT_PATH").is_some_and(|value| value == "1");
    let words = invocation.words(|flag, args| {
        match flag {
            "--type" => wanted.algorithm = Some(algorithm(&args.value(flag)?)?),
            "--print-path" => print_path = true,
            "-A" | "--attr" => attribute = Some(args.value(flag)?),
            "--unpack" => wanted.unpack = true,
            "--executable" => wanted.executable = true,
            "--name" => wanted.name = Some(args.value(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if words.len() > 2 {
        return Err(Failure::Usage("too many arguments".into()));
    }
    let mut words = words.into_iter();
    let first = words.next();
    wanted.expected = words.next();
    let context = invocation.context()?;
    match (attribute, first) {
        (Some(attribute), file) => {
            let file = file.unwrap_or_else(|| ".".to_owned());
            let described = evaluate(&context, false, |evaluation| described(evaluation, &file, &attribute))?;
            wanted.url = described.url;
            wanted.unpack |= described.unpack;
            wanted.name = wanted.name.or(described.name);
        }
        (None, Some(url)) => wanted.url = url,
        (None, None) => return Err(Failure::Usage("you must specify a URL".into())),
    }
    let store = context.store.any()?;
    let (path, hash) = prefetch(&context, &*store, &wanted)?;
    let path = store.store_dir().display(&path);
    if !print_path {
        context.ui.line(Verbosity::INFO, &format!("path is '{path}'"));
    }
    let format = if hash.algorithm() == Algorithm::Md5 { HashFormat::Base16 } else { HashFormat::Nix32 };
    println!("{}", hash.format(format, false));
    if print_path {
        println!("{path}");
    }
    Ok(0)
}

/// Reads what a call of `fetchurl` in an expression wants.
fn described(evaluation: &Evaluation<'_, '_>, file: &str, attribute: &str) -> Step<Wanted> {
    let eval = evaluation.eval;
    let value = evaluation.file(file)?;
    let value = evaluation.select(value, attribute)?;
    let attrs = eval.force_attrs(value, Pos::NONE, "while evaluating the source attribute to prefetch")?;
    let get = |name: &str| attrs.get(eval.symbols.intern(name.as_bytes())).map(|slot| slot.get());
    let text = |value, context| Ok::<_, crate::evaluation::Stop>(String::from_utf8_lossy(eval.force_string(value, Pos::NONE, context)?.bytes()).into_owned());
    let urls = get("urls").ok_or_else(|| Failure::new("attribute 'urls' missing"))?;
    let urls = eval.force_list(urls, Pos::NONE, "while evaluating the urls to prefetch")?;
    let first = urls.iter().next().ok_or_else(|| Failure::new("'urls' list is empty"))?;
    let mut wanted = Wanted { url: text(first, "while evaluating the first url from the urls list")?, ..Wanted::default() };
    if let Some(mode) = get("outputHashMode") {
        wanted.unpack = text(mode, "while evaluating the outputHashMode of the source to prefetch")? == "recursive";
    }
    if let Some(name) = get("name")
        && matches!(eval.force(name)?.kind(), Kind::String(_))
    {
        wanted.name = Some(text(name, "while evaluating the name of the source to prefetch")?);
    }
    Ok(wanted)
}

/// `flake prefetch [--json] [--out-link LINK] REFERENCE`
pub(super) fn flake(mut invocation: Invocation) -> Outcome<u8> {
    let (mut json, mut link) = (false, None::<PathBuf>);
    let words = invocation.words(|flag, args| {
        match flag {
            "--json" => json = true,
            "-o" | "--out-link" => link = Some(args.value(flag)?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if words.len() > 1 {
        return Err(Failure::Usage("'flake prefetch' takes one flake reference".into()));
    }
    let context = invocation.context()?;
    let store = context.store.any()?;
    let fetchers = fetchers(&context);
    let reference = crate::flakes::plain_reference(&context, words.first().map_or(".", String::as_str), false)?;
    let registries = crate::fetch::registries(&context, &fetchers, &*store).map_err(failed)?;
    let (input, extra) = registries.resolve(&reference.input, false).map_err(failed)?;
    let subdir = extra.get("dir").map_or(reference.subdir, ToString::to_string);
    let mut fetched = fetchers.fetch(&*store, &input).map_err(failed)?;
    fetched.input = crate::fetch::without_copy(&input, fetched.input);
    fetched.input.remove("__final");
    let (resolved, locked) = (FlakeRef::new(input, subdir.clone()), FlakeRef::new(fetched.input, subdir));
    let path = store.store_dir().display(&fetched.path);
    let hash = fetched.nar_hash.format(HashFormat::Sri, true);
    if json {
        let answer = serde_json::json!({
            "hash": hash, "storePath": path, "original": resolved.to_attrs(), "locked": locked.to_attrs(),
        });
        println!("{}", nixlang_store::json::to_string(&answer));
    } else {
        context.ui.line(Verbosity::NOTICE, &format!("Downloaded '{locked}' to '{path}' (hash '{hash}')."));
    }
    if let Some(link) = link {
        crate::roots::make(&context, &fetched.path, &std::path::absolute(link)?)?;
    }
    Ok(0)
}
