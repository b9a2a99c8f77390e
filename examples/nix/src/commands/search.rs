//! `search`: derivations of an installable whose attribute path, name or description match regular expressions.

use std::io::Write;

use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;
use regex::{Regex, RegexBuilder};

use super::Invocation;
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::{Failure, Outcome};
use crate::flakes::{Defaults, find_all};
use crate::installables::{Installables, Word};

/// What is looked for, and what was found.
struct Search {
    wanted: Vec<Regex>,
    excluded: Vec<Regex>,
    /// Found so far, as JSON if that is asked for.
    json: Option<serde_json::Map<String, serde_json::Value>>,
    n_found: usize,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables { defaults: Defaults::Search, ..Installables::default() };
    let (mut excluded, mut as_json) = (Vec::new(), false);
    let words = invocation.words(|flag, args| {
        match flag {
            "-e" | "--exclude" => excluded.push(args.value(flag)?),
            "--json" => as_json = true,
            _ => return installables.flag(flag, args),
        }
        Ok(true)
    })?;
    let mut words = words.into_iter();
    installables.words = vec![words.next().unwrap_or_default()];
    let wanted: Vec<String> = words.collect();
    if wanted.is_empty() {
        return Err(Failure::Usage("Must provide at least one regex! To match all packages, use 'nix search <installable> ^'.".into()));
    }
    if !invocation.common.settings.is_set("allow-import-from-derivation") {
        invocation.common.settings.set("allow-import-from-derivation", "false")?;
    }
    let context = installables.context(invocation)?;
    let compile = |texts: Vec<String>| texts.iter().map(|text| pattern(text)).collect::<Outcome<Vec<Regex>>>();
    let mut search = Search { wanted: compile(wanted)?, excluded: compile(excluded)?, json: as_json.then(serde_json::Map::new), n_found: 0 };
    let search = evaluate(&context, false, move |evaluation| {
        let word = installables.words().remove(0);
        if installables.has_source() {
            let (value, path) = installables.value(evaluation, &word)?;
            search.visit(evaluation, value, &path, true)?;
        } else if let Word::Flake { flake, .. } = installables.word(evaluation.context(), &word)? {
            for found in find_all(evaluation, &flake, &installables.flakes.options(evaluation.context())?)? {
                search.visit(evaluation, found.value, &found.path, true)?;
            }
        } else {
            return Err(Failure::new(format!("installable '{word}' does not correspond to a Nix language value")).into());
        }
        Ok(search)
    })?;
    match search.json {
        Some(found) => {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{}", serde_json::Value::Object(found))?;
        }
        None if search.n_found == 0 => return Err(Failure::new("no results for the given search term(s)!")),
        None => {}
    }
    Ok(0)
}

fn pattern(text: &str) -> Outcome<Regex> {
    RegexBuilder::new(text).case_insensitive(true).build().map_err(|_| Failure::new(format!("invalid regular expression '{text}'")))
}

impl Search {
    fn visit<'h>(&mut self, evaluation: &Evaluation<'_, 'h>, value: Value<'h>, path: &[String], is_first: bool) -> Step<()> {
        let in_legacy = path.first().is_some_and(|name| name == "legacyPackages");
        match self.look_at(evaluation, value, path, is_first) {
            // What can't be evaluated there is passed over.
            Err(crate::evaluation::Stop::Error(_)) if in_legacy => Ok(()),
            other => other,
        }
    }

    fn look_at<'h>(&mut self, evaluation: &Evaluation<'_, 'h>, value: Value<'h>, path: &[String], is_first: bool) -> Step<()> {
        let eval = evaluation.eval;
        let _depth = eval.enter_call(Pos::NONE)?;
        let attrs = eval.force_attrs(value, Pos::NONE, "while searching for packages")?;
        if eval.is_derivation(eval.force(value)?)? {
            return self.derivation(evaluation, value, path);
        }
        let may_recurse = is_first
            || path.len() <= 2 && matches!(path[0].as_str(), "legacyPackages" | "packages")
            || path[0] == "legacyPackages"
                && match attrs.get(eval.symbols.intern(b"recurseForDerivations")) {
                    Some(slot) => eval.force_bool(slot.get(), Pos::NONE, "while evaluating the attribute `recurseForDerivations`")?,
                    None => false,
                };
        if may_recurse {
            for entry in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols) {
                let name = String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned();
                let inner: Vec<String> = path.iter().cloned().chain([name]).collect();
                let member = eval.force_at(entry.slot.get(), entry.pos)?;
                if matches!(member.kind(), Kind::Attrs(_)) || path.len() < 2 {
                    self.visit(evaluation, member, &inner, false)?;
                }
            }
        }
        Ok(())
    }

    fn derivation<'h>(&mut self, evaluation: &Evaluation<'_, 'h>, value: Value<'h>, path: &[String]) -> Step<()> {
        let eval = evaluation.eval;
        let text = |value: Value<'h>, names: &[&[u8]]| -> Step<Option<String>> {
            let mut value = value;
            for name in names {
                let Kind::Attrs(attrs) = eval.force(value)?.kind() else { return Ok(None) };
                let Some(slot) = attrs.get(eval.symbols.intern(name)) else { return Ok(None) };
                value = slot.get();
            }
            let text = eval.force_string(value, Pos::NONE, "while searching for packages")?;
            Ok(Some(String::from_utf8_lossy(text.bytes()).into_owned()))
        };
        let full_name = text(value, &[b"name"])?.unwrap_or_default();
        let description = text(value, &[b"meta", b"description"])?.unwrap_or_default().replace('\n', " ");
        let (name, version) = split_name(&full_name);
        let shown_path = path.join(".");
        let fields = [shown_path.as_str(), name, description.as_str()];
        if self.excluded.iter().any(|pattern| fields.iter().any(|field| pattern.is_match(field))) {
            return Ok(());
        }
        if !self.wanted.iter().all(|pattern| fields.iter().any(|field| pattern.is_match(field))) {
            return Ok(());
        }
        self.n_found += 1;
        if let Some(json) = &mut self.json {
            json.insert(shown_path.clone(), serde_json::json!({ "pname": name, "version": version, "description": description }));
            return Ok(());
        }
        let (bold, normal) = ("\x1b[0;1m", "\x1b[0m");
        let mut stdout = std::io::stdout().lock();
        let mut say = |line: String| -> Step<()> {
            // As the reference: always with colours, unless they are not wanted at all.
            Ok(writeln!(stdout, "{line}")?)
        };
        if self.n_found > 1 {
            say(String::new())?;
        }
        let version = if version.is_empty() { String::new() } else { format!(" ({version})") };
        say(format!("* {bold}{}{normal}{version}", highlight(&shown_path, &self.wanted, bold)))?;
        if !description.is_empty() {
            say(format!("  {}", highlight(&description, &self.wanted, normal)))?;
        }
        Ok(())
    }
}

/// Splits a derivation's name at the first dash that no letter follows.
fn split_name(name: &str) -> (&str, &str) {
    let bytes = name.as_bytes();
    let dash = (0..bytes.len()).find(|i| bytes[*i] == b'-' && bytes.get(i + 1).is_some_and(|next| !next.is_ascii_alphabetic()));
    dash.map_or((name, ""), |dash| (&name[..dash], &name[dash + 1..]))
}

/// Marks what matches green; matches that touch are marked as one. `back` is the colour after them.
fn highlight(text: &str, patterns: &[Regex], back: &str) -> String {
    let mut found: Vec<(usize, usize)> = patterns.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| (found.start(), found.end())).collect();
    found.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in found {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let mut output = String::new();
    let mut copied = 0;
    for (start, end) in merged {
        output.push_str(&text[copied..start]);
        output.push_str(&format!("\x1b[32;1m{}{back}", &text[start..end]));
        copied = end;
    }
    output + &text[copied..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_that_touch_are_one() {
        let patterns = ["oo", "foo", "oo"].map(|text| pattern(text).expect("it is an expression"));
        assert_eq!(highlight("a foo b", &patterns, "<"), "a \x1b[32;1mfoo< b");
        assert_eq!(highlight("a", &patterns, "<"), "a");
    }

    #[test]
    fn names_and_versions() {
        assert_eq!(split_name("hello-0.1"), ("hello", "0.1"));
        assert_eq!(split_name("a-b-c"), ("a-b-c", ""));
    }
}
