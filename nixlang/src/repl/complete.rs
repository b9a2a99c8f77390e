//! Completion: commands, variables, attributes of what can be evaluated, and files.

use super::{Command, Repl};
use crate::source::Pos;

/// Where the word that is completed begins.
const BEFORE_WORDS: &[char] = &[' ', '\n', '\r', '\t', '(', ')', '{', '}', '[', ']'];

impl<'h> Repl<'_, 'h> {
    /// Returns what a line up to the cursor may become, sorted; each is the whole line. What cannot be evaluated has no completions.
    pub fn complete(&self, line: &str) -> Vec<String> {
        let start = line.rfind(BEFORE_WORDS).map_or(0, |at| at + 1);
        let (before, word) = line.split_at(start);
        let candidates = if before.trim().is_empty() && word.starts_with(':') {
            let mut words: Vec<String> = Command::words().filter(|known| known.starts_with(word)).map(str::to_owned).collect();
            words.sort();
            words
        } else if let Some((directory, name)) = word.rsplit_once('/') {
            self.files_in(directory, name)
        } else if let Some((expression, name)) = word.rsplit_once('.') {
            self.attributes_of(expression, name)
        } else {
            self.scope.with_prefix(word.as_bytes()).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        candidates.into_iter().map(|candidate| [before, &candidate].concat()).collect()
    }

    /// Returns how long the part of a line is that completion leaves as it is.
    pub fn completion_start(line: &str) -> usize {
        line.rfind(BEFORE_WORDS).map_or(0, |at| at + 1)
    }

    fn files_in(&self, directory: &str, prefix: &str) -> Vec<String> {
        let path = match directory {
            "" => b"/".to_vec(),
            _ => crate::path::canonicalise(&crate::path::join(&self.options.directory, directory.as_bytes())),
        };
        let entries = self.eval.host.read_dir(&path).unwrap_or_default();
        let names = entries.into_iter().map(|(name, _)| String::from_utf8_lossy(&name).into_owned());
        let mut found: Vec<String> = names.filter(|name| !name.starts_with('.') && name.starts_with(prefix)).map(|name| format!("{directory}/{name}")).collect();
        found.sort();
        found
    }

    fn attributes_of(&self, expression: &str, prefix: &str) -> Vec<String> {
        let eval = self.eval;
        let Ok(value) = self.evaluate(expression.as_bytes()) else { return Vec::new() };
        let Ok(attrs) = eval.force_attrs(value, Pos::NONE, "while looking for completions") else { return Vec::new() };
        let flat = attrs.flat(eval.heap);
        let names = flat.iter_lexicographic(eval.heap, &eval.symbols).map(|entry| eval.symbols.text(entry.symbol));
        let names = names.filter(|name| name.starts_with(prefix.as_bytes())).map(|name| {
            let mut shown = Vec::new();
            crate::eval::print_attr_name(&mut shown, name);
            format!("{expression}.{}", String::from_utf8_lossy(&shown))
        });
        names.collect()
    }
}
