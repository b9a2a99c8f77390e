//! What changed from one lock file to the next, for people. Colours are ANSI sequences, which whoever shows the text takes out where they can't
//! be seen.

use super::FlakeRef;
use super::lock_file::{Edge, LockFile, print_input_path};

impl LockFile {
    /// Returns a text that says how the inputs of `new` differ from those here; empty if they don't.
    pub fn diff(&self, new: &LockFile) -> String {
        let (before, after) = (self.all_inputs(), new.all_inputs());
        let mut paths: Vec<_> = before.keys().chain(after.keys()).collect();
        paths.sort();
        paths.dedup();
        let mut text = String::new();
        for path in paths {
            let name = print_input_path(path);
            match (before.get(path), after.get(path)) {
                (None, Some(edge)) => text += &format!("• \x1b[32;1mAdded input '{name}':\x1b[0m\n    {}\n", new.describe(edge)),
                (Some(_), None) => text += &format!("• \x1b[31;1mRemoved input '{name}'\x1b[0m\n"),
                (Some(old), Some(edge)) if !self.is_same(old, new, edge) => {
                    text += &format!("• \x1b[1mUpdated input '{name}':\x1b[0m\n    {}\n  → {}\n", self.describe(old), new.describe(edge));
                }
                _ => {}
            }
        }
        text
    }

    fn reference(&self, edge: &Edge) -> Option<&FlakeRef> {
        match edge {
            Edge::Node(node) => self.node(*node).locked.as_ref().map(|locked| &locked.locked),
            Edge::Follows(_) => None,
        }
    }

    fn is_same(&self, edge: &Edge, other: &LockFile, other_edge: &Edge) -> bool {
        match (edge, other_edge) {
            (Edge::Node(_), Edge::Node(_)) => self.reference(edge) == other.reference(other_edge),
            (Edge::Follows(path), Edge::Follows(other)) => path == other,
            _ => false,
        }
    }

    fn describe(&self, edge: &Edge) -> String {
        match (edge, self.reference(edge)) {
            (Edge::Follows(path), _) => format!("follows '{}'", print_input_path(path)),
            (_, None) => String::new(),
            (_, Some(reference)) => {
                let modified = reference.input.number("lastModified");
                let date = modified.map(|seconds| format!(" ({})", super::day(seconds))).unwrap_or_default();
                format!("'{reference}'{date}")
            }
        }
    }
}
