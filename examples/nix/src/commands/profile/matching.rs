//! Which elements of a profile the words of `remove` and `upgrade` mean: names, store paths, `--regex` and `--all`.

use std::collections::BTreeSet;

use nixlang_store::path::{StoreDir, StorePath};
use regex::Regex;

use super::super::Context;
use super::manifest::{Element, Manifest};
use crate::args::Args;
use crate::failure::{Failure, Outcome};

/// What the command line says.
#[derive(Debug, Default)]
pub(super) struct Matching {
    is_all: bool,
    /// `--regex`, with what it is called in messages.
    patterns: Vec<(String, Regex)>,
}

enum Matcher<'m> {
    Regex(&'m Regex),
    Path(StorePath),
    Name(&'m str),
}

impl Matching {
    /// Handles `--all` and `--regex`. Returns false for other flags.
    pub(super) fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "--all" => self.is_all = true,
            "--regex" => {
                let pattern = args.value(flag)?;
                let regex = Regex::new(&format!("^(?i:{pattern})$")).map_err(|error| Failure::new(format!("invalid regular expression '{pattern}': {error}")))?;
                self.patterns.push((pattern, regex));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the names of the elements that are meant; what means none is warned of.
    pub(super) fn names(&self, context: &Context, manifest: &Manifest, words: &[String]) -> Outcome<BTreeSet<String>> {
        let matchers = self.matchers(context.store.store_dir(), words)?;
        if manifest.elements.is_empty() {
            context.ui.warn("There are no packages in the profile.");
            return Ok(BTreeSet::new());
        }
        if self.is_all {
            return Ok(manifest.elements.keys().cloned().collect());
        }
        let mut names = BTreeSet::new();
        for (title, matcher) in &matchers {
            let found: Vec<&String> = manifest.elements.iter().filter(|(name, element)| matcher.matches(name, element)).map(|(name, _)| name).collect();
            if found.is_empty() {
                context.ui.warn(format!("{title} does not match any packages in the profile."));
            }
            names.extend(found.into_iter().cloned());
        }
        Ok(names)
    }

    fn matchers<'m>(&'m self, dir: &StoreDir, words: &'m [String]) -> Outcome<Vec<(String, Matcher<'m>)>> {
        let mut matchers: Vec<_> = self.patterns.iter().map(|(pattern, regex)| (format!("Regex '{pattern}'"), Matcher::Regex(regex))).collect();
        for word in words {
            if word.parse::<u64>().is_ok() {
                return Err(Failure::new(format!("'nix profile' no longer supports indices ('{word}')")));
            }
            matchers.push(match dir.parse(word) {
                Ok(path) => (format!("Store path '{}'", path.base_name()), Matcher::Path(path)),
                Err(_) => (format!("Package name '{word}'"), Matcher::Name(word)),
            });
        }
        match (matchers.is_empty(), self.is_all) {
            (true, false) => Err(Failure::Usage("No packages specified.".into())),
            (false, true) => Err(Failure::Usage("--all cannot be used with package names or regular expressions.".into())),
            _ => Ok(matchers),
        }
    }
}

impl Matcher<'_> {
    fn matches(&self, name: &str, element: &Element) -> bool {
        match self {
            Matcher::Regex(regex) => regex.is_match(&element.identifier()),
            Matcher::Path(path) => element.paths.contains(path),
            Matcher::Name(wanted) => *wanted == name,
        }
    }
}
