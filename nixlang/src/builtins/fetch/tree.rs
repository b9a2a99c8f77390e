//! `fetchTree` and `fetchGit`: from an argument to an input, and from a fetched tree to the set that describes it.
//!
//! `fetchGit` is `fetchTree` with `type = "git"` and other defaults: no shallow clones, and what `.gitattributes` calls `export-ignore`
//! left out.

use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::input::url::Url;
use nixlang_store::input::{Attr, Attrs, Input, InputError, git_url};
use nixlang_store::path::StorePath;

use super::super::flake_ref::{failed, with_reader};
use super::super::paths::store_path_string;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs as AttrsValue, Kind, Value};
use crate::host::{FetchedInput, Message};
use crate::source::Pos;

/// What distinguishes the two.
#[derive(Clone, Copy)]
struct Fetcher {
    name: &'static str,
    is_git: bool,
    /// What errors in the argument say.
    argument: &'static str,
}

const FETCH_TREE: Fetcher = Fetcher { name: "fetchTree", is_git: false, argument: "while evaluating the first argument passed to 'fetchTree'" };
const FETCH_GIT: Fetcher = Fetcher { name: "fetchGit", is_git: true, argument: "while evaluating the first argument passed to 'fetchGit'" };

pub(super) fn fetch_tree<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    fetch(eval, args[0], pos, FETCH_TREE)
}

pub(super) fn fetch_git<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    fetch(eval, args[0], pos, FETCH_GIT)
}

fn wrong(message: String, pos: Pos) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message).at(pos)
}

fn fetch<'h>(eval: &Evaluator<'h>, argument: Value<'h>, pos: Pos, fetcher: Fetcher) -> EvalResult<Value<'h>> {
    let argument = eval.force_at(argument, pos)?;
    let input = match argument.kind() {
        Kind::Attrs(attrs) => {
            let attrs = attributes(eval, attrs, pos, fetcher)?;
            with_reader(eval, |reader| Input::from_attrs(attrs, reader))?
        }
        _ => from_text(eval, argument, pos, fetcher)?,
    };
    let fetched = fetch_input(eval, input, pos, fetcher.name)?;
    let shown = if fetcher.is_git { Revision::OrZeros } else { Revision::Known };
    Ok(describe(eval, &fetched.store_path, &fetched.input, shown))
}

/// Reads the attributes of the argument; they are checked later.
fn attributes<'h>(eval: &Evaluator<'h>, argument: AttrsValue<'h>, pos: Pos, fetcher: Fetcher) -> EvalResult<Attrs> {
    let who = fetcher.name;
    let mut attrs = Attrs::new();
    let flat = argument.flat(eval.heap);
    if let Some(entry) = flat.iter().find(|entry| entry.symbol == eval.names.type_) {
        if fetcher.is_git {
            return Err(wrong("unexpected argument 'type'".into(), pos));
        }
        let kind = eval.force_string_no_context(entry.slot.get(), entry.pos, "while evaluating the `type` argument passed to 'fetchTree'")?;
        attrs.insert("type".into(), lossy(kind.bytes()).into());
    } else if fetcher.is_git {
        attrs.insert("type".into(), "git".into());
    } else {
        return Err(wrong(format!("argument 'type' is missing in call to '{who}'"), pos));
    }
    for entry in flat.iter() {
        if entry.symbol == eval.names.type_ {
            continue;
        }
        let name = lossy(eval.symbols.text(entry.symbol));
        let value = eval.force_at(entry.slot.get(), entry.pos)?;
        let attr = match value.kind() {
            Kind::Path(_) | Kind::String(_) => {
                let text = lossy(eval.coerce_to_string(value, entry.pos, Coercion::PATH_SEGMENT, "")?.bytes());
                match name.as_str() {
                    "url" if fetcher.is_git => with_reader(eval, |reader| git_url(&text, reader))?.to_string().into(),
                    _ => Attr::Text(text),
                }
            }
            Kind::Bool(value) => Attr::Bool(value),
            Kind::Int(value) => match u64::try_from(value) {
                Ok(value) => Attr::Number(value),
                Err(_) => return Err(wrong(format!("negative value given for '{who}' argument '{name}': {value}"), pos)),
            },
            _ if name == "publicKeys" => {
                with_reader(eval, |reader| reader.require("verified-fetches"))?;
                Attr::Text(lossy(&eval.to_json(value, pos, false)?.0))
            }
            _ => {
                let message = format!("argument '{name}' to '{who}' is {} while a string, Boolean or integer is expected", value.described_type());
                return Err(EvalError::new(ErrorKind::Type, message));
            }
        };
        attrs.insert(name, attr);
    }
    if fetcher.is_git {
        set_export_ignore(&mut attrs)?;
    } else {
        if attrs.get("type") == Some(&"git".into()) {
            attrs.entry("shallow".into()).or_insert(Attr::Bool(true));
        }
        if attrs.contains_key("name") {
            return Err(wrong(format!("argument 'name' isn’t supported in call to '{who}'"), pos));
        }
    }
    Ok(attrs)
}

/// What `.gitattributes` says of exports counts unless submodules are wanted, where nobody knows what it would mean.
fn set_export_ignore(attrs: &mut Attrs) -> EvalResult<()> {
    let with_submodules = match attrs.get("submodules") {
        None => false,
        Some(Attr::Bool(value)) => *value,
        Some(_) => return Err(EvalError::new(ErrorKind::Evaluation, "input attribute 'submodules' is not a Boolean")),
    };
    if !with_submodules {
        attrs.entry("exportIgnore".into()).or_insert(Attr::Bool(true));
    }
    Ok(())
}

fn from_text<'h>(eval: &Evaluator<'h>, argument: Value<'h>, pos: Pos, fetcher: Fetcher) -> EvalResult<Input> {
    let text = lossy(eval.coerce_to_string(argument, pos, Coercion::PATH_SEGMENT, fetcher.argument)?.bytes());
    if fetcher.is_git {
        return with_reader(eval, |reader| {
            let url = git_url(&text, reader)?.to_string();
            let attrs = [("type", "git".into()), ("url", url.into()), ("exportIgnore", Attr::Bool(true))];
            Input::from_attrs(attrs.map(|(name, attr)| (name.to_owned(), attr)).into(), reader)
        });
    }
    if !eval.options.has_feature("flakes") {
        let message = format!("passing a string argument to '{}' requires the 'flakes' experimental feature", fetcher.name);
        return Err(wrong(message, pos));
    }
    with_reader(eval, |reader| {
        let url = Url::parse(&text, reader.dubious)?;
        Input::from_url(&url, true, reader)
    })
}

/// Fetches what this mode of evaluation allows.
pub(crate) fn fetch_input(eval: &Evaluator<'_>, mut input: Input, pos: Pos, who: &str) -> EvalResult<FetchedInput> {
    if !eval.options.pure && !input.is_direct() && eval.options.has_feature("flakes") {
        // What differs from machine to machine doesn't belong into an expression.
        input = eval.host.resolve_input(&input, true).map_err(|error| eval.host_error(error))?.0;
    }
    check_purity(eval, &input, pos, who)?;
    if input.is_final() {
        return Err(failed(InputError::Other(format!("input '{input}' is not allowed to use the '__final' attribute"))));
    }
    if !input.is_direct() {
        return Err(failed(InputError::Other(format!("'{input}' is an indirect flake reference, but registry lookups are not allowed"))));
    }
    fetch_unchecked(eval, &input)
}

/// Fetches, and has messages call the tree what it was fetched as.
pub(crate) fn fetch_unchecked(eval: &Evaluator<'_>, input: &Input) -> EvalResult<FetchedInput> {
    let fetched = eval.host.fetch_input(input).map_err(|error| eval.host_error(error))?;
    if let Some(shown) = &fetched.shown {
        eval.sources.show_tree(eval.host.store_dir().display(&fetched.store_path).as_bytes(), shown);
    }
    Ok(fetched)
}

/// Fetches an input of a lock file: there is nothing to find out about it any more.
pub(crate) fn fetch_final_input(eval: &Evaluator<'_>, input: &Input, pos: Pos) -> EvalResult<FetchedInput> {
    check_purity(eval, input, pos, "fetchTree")?;
    let mut input = input.clone();
    input.set("__final", Attr::Bool(true));
    fetch_unchecked(eval, &input)
}

/// Fails for what this mode of evaluation doesn't allow.
fn check_purity(eval: &Evaluator<'_>, input: &Input, pos: Pos, who: &str) -> EvalResult<()> {
    if eval.options.pure && !input.is_locked(eval.options.trust_forge_archives).map_err(failed)? {
        if input.nar_hash().map_err(failed)?.is_none() {
            return Err(wrong(format!("in pure evaluation mode, '{who}' doesn't fetch unlocked input '{input}'"), pos));
        }
        let warning = format!(
            "Input '{input}' is unlocked (e.g. lacks a Git revision) but is checked by NAR hash. \
             This is not reproducible and will break after garbage collection or when shared."
        );
        eval.say(Message::Warning, &warning);
    }
    let url = input.to_url().map_err(failed)?.to_string();
    eval.host.check_address(&url).map_err(|error| eval.host_error(error))
}

/// What a set that describes a tree says of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// What is known.
    Known,
    /// The same, or one of zeros.
    OrZeros,
    /// Nothing.
    Hidden,
}

/// Returns the set that describes a tree.
pub(crate) fn describe<'h>(eval: &Evaluator<'h>, path: &StorePath, input: &Input, shown: Revision) -> Value<'h> {
    let mut entries = vec![(eval.names.out_path, Value::string(store_path_string(eval, path)))];
    let mut set = |name: &str, value: Value<'h>| entries.push((eval.symbols.intern(name.as_bytes()), value));
    let text = |text: &str| eval.heap.string(text.as_bytes());
    if let Ok(Some(hash)) = input.nar_hash() {
        set("narHash", text(&hash.format(HashFormat::Sri, true)));
    }
    if input.kind() == "git" {
        set("submodules", Value::bool(input.is_on("submodules").unwrap_or(false)));
    }
    let with_zeros = shown == Revision::OrZeros;
    let is_shown = shown != Revision::Hidden;
    let revision = input.revision().unwrap_or_default().or_else(|| with_zeros.then(|| Hash::zero(Algorithm::Sha1)));
    if let Some(revision) = revision.filter(|_| is_shown) {
        let revision = revision.format(HashFormat::Base16, false);
        set("rev", text(&revision));
        set("shortRev", text(&revision[..7]));
    }
    if let Some(count) = input.number("revCount").or(with_zeros.then_some(0)).filter(|_| is_shown) {
        set("revCount", eval.heap.int(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    if let Some(dirty) = input.text("dirtyRev") {
        set("dirtyRev", text(dirty));
        set("dirtyShortRev", text(input.text("dirtyShortRev").unwrap_or_default()));
    }
    if let Some(seconds) = input.number("lastModified") {
        set("lastModified", eval.heap.int(i64::try_from(seconds).unwrap_or(i64::MAX)));
        set("lastModifiedDate", text(&date(seconds)));
    }
    eval.attrs_of(entries)
}

/// Writes seconds since 1970 as `YYYYMMDDhhmmss`, in UTC.
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the odd day comes last; 400 of them have 146 097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_782_400, "20000229000000"),
            (951_868_800, "20000301000000"),
            (1_000_000_000, "20010909014640"),
            (1_686_503_798, "20230611171638"),
            (4_107_542_399, "21000228235959"),
            (4_107_542_400, "21000301000000"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
