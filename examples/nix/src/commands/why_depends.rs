//! `why-depends`: the way through references from one path to another, and with `--precise` the files where they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nixlang_store::nar::{Event, NarReader};
use nixlang_store::path::StorePath;
use nixlang_store::store::{Store, with_nar};

use super::Invocation;
use super::diff_closures::one_path;
use crate::failure::{Failure, Outcome};
use crate::installables::Installables;
use crate::ui::Verbosity;

const GREY: &str = "\x1b[38;5;244m";
const BLUE: &str = "\x1b[34;1m";
const GREEN: &str = "\x1b[32;1m";
const NORMAL: &str = "\x1b[0m";
/// Bytes shown on both sides of a reference.
const MARGIN: usize = 32;

struct Node {
    references: BTreeSet<StorePath>,
    /// Steps to the dependency; none if it can't be reached.
    distance: Option<usize>,
    visited: bool,
}

struct Walk<'s> {
    store: &'s dyn Store,
    graph: BTreeMap<StorePath, Node>,
    package: StorePath,
    dependency: StorePath,
    all: bool,
    precise: bool,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables::default();
    let (mut all, mut precise) = (false, false);
    let words = invocation.words(|flag, args| {
        match flag {
            "-a" | "--all" => all = true,
            "--precise" => precise = true,
            _ => return installables.flag(flag, args),
        }
        Ok(true)
    })?;
    installables.words = words.clone();
    let context = installables.context(invocation)?;
    let [package_word, dependency_word] = &words[..] else { return Err(Failure::Usage("'why-depends' requires a package and a dependency".into())) };
    let package = one_path(&context, &installables, package_word)?;
    let mut wanted = installables.clone();
    wanted.words = vec![dependency_word.clone()];
    let mut outputs = Vec::new();
    for target in wanted.targets(&context, true)? {
        outputs.extend(target.outputs(&context).unwrap_or_default());
    }
    let store = context.store.any()?;
    let closure = store.closure(std::slice::from_ref(&package))?;
    let dependency = outputs.pop().map(|(_, path)| path).filter(|path| closure.contains(path));
    let Some(dependency) = dependency else {
        context.ui.line(Verbosity::ERROR, &format!("'{package_word}' does not depend on '{dependency_word}'"));
        return Ok(0);
    };
    let mut walk = Walk { store: &*store, graph: BTreeMap::new(), package: package.clone(), dependency, all, precise };
    walk.load(&closure)?;
    if !precise {
        println!("{}", store.store_dir().display(&package));
    }
    walk.print()?;
    Ok(0)
}

/// What is still to be printed.
enum Step {
    /// Lines that are ready.
    Lines(Vec<String>),
    /// A node, with what stands before its line and the lines below.
    Node(StorePath, String),
}

impl Walk<'_> {
    /// Reads the graph and measures the way to the dependency.
    fn load(&mut self, closure: &BTreeSet<StorePath>) -> Outcome<()> {
        let paths: Vec<StorePath> = closure.iter().cloned().collect();
        let mut referrers: BTreeMap<StorePath, Vec<StorePath>> = BTreeMap::new();
        for info in self.store.query_path_infos(&paths)?.into_iter().flatten() {
            for reference in &info.info.references {
                referrers.entry(reference.clone()).or_default().push(info.path.clone());
            }
            self.graph.insert(info.path, Node { references: info.info.references, distance: None, visited: false });
        }
        let mut queue = VecDeque::from([(self.dependency.clone(), 0)]);
        while let Some((path, distance)) = queue.pop_front() {
            let Some(node) = self.graph.get_mut(&path) else { continue };
            if node.distance.is_none() {
                node.distance = Some(distance);
                queue.extend(referrers.get(&path).into_iter().flatten().map(|referrer| (referrer.clone(), distance + 1)));
            }
        }
        Ok(())
    }

    fn print(&mut self) -> Outcome<()> {
        let mut stack = vec![Step::Node(self.package.clone(), String::new())];
        while let Some(step) = stack.pop() {
            let (path, pad) = match step {
                Step::Lines(lines) => {
                    lines.iter().for_each(|line| println!("{line}"));
                    continue;
                }
                Step::Node(path, pad) => (path, pad),
            };
            let visited = self.graph[&path].visited;
            if self.precise {
                let (grey, arrow) = (if visited { GREY } else { "" }, if pad.is_empty() { "" } else { "→ " });
                println!("{pad}{grey}{arrow}{}{NORMAL}", self.store.store_dir().display(&path));
            }
            if path == self.dependency && !self.all && self.package != self.dependency {
                return Ok(());
            }
            if visited {
                continue;
            }
            self.graph.get_mut(&path).expect("it is in the closure").visited = true;
            let mut references: Vec<(usize, StorePath)> = self.graph[&path]
                .references
                .iter()
                .filter(|reference| **reference != path || self.package == self.dependency)
                .filter_map(|reference| Some((self.graph.get(reference)?.distance?, reference.clone())))
                .collect();
            references.sort();
            let hits = if self.precise { self.hits(&path, &references)? } else { BTreeMap::new() };
            let n = references.len();
            let mut steps = Vec::new();
            for (i, (_, reference)) in references.into_iter().enumerate() {
                let is_last = !self.all || i + 1 == n;
                let (first, rest) = if is_last { ("└───", "    ") } else { ("├───", "│   ") };
                if self.precise {
                    let found = hits.get(&reference).map_or(&[][..], Vec::as_slice);
                    let shown = found.iter().take(if self.all { usize::MAX } else { 1 });
                    steps.push(Step::Lines(shown.enumerate().map(|(i, hit)| format!("{pad}{}{hit}", if i == 0 { first } else { rest })).collect()));
                } else {
                    let grey = if self.graph[&reference].visited { GREY } else { "" };
                    steps.push(Step::Lines(vec![format!("{pad}{grey}{first}{}{NORMAL}", self.store.store_dir().display(&reference))]));
                }
                steps.push(Step::Node(reference, format!("{pad}{rest}")));
            }
            stack.extend(steps.into_iter().rev());
        }
        Ok(())
    }

    /// Finds the files and links of a path that name these references.
    fn hits(&self, path: &StorePath, references: &[(usize, StorePath)]) -> Outcome<BTreeMap<StorePath, Vec<String>>> {
        let mut hits: BTreeMap<StorePath, Vec<String>> = BTreeMap::new();
        with_nar(&mut |sink| self.store.write_nar(path, sink), &mut |nar| {
            let mut reader = NarReader::new(std::io::BufReader::new(nar));
            let mut names: Vec<String> = Vec::new();
            // What is kept of the file being read: enough to show what is around a reference.
            let mut text: Vec<u8> = Vec::new();
            let mut seen = BTreeSet::new();
            let failed = |error| nixlang_store::error::StoreError::format("reading a NAR", error);
            while let Some(event) = reader.next_event().map_err(failed)? {
                match event {
                    Event::Entry(name) => names.push(String::from_utf8_lossy(name).into_owned()),
                    Event::File { .. } => {
                        text.clear();
                        seen.clear();
                    }
                    Event::Contents(bytes) => {
                        text.extend_from_slice(bytes);
                        self.find(&names, references, &mut text, &mut seen, &mut hits, false);
                    }
                    Event::EndFile => {
                        self.find(&names, references, &mut text, &mut seen, &mut hits, true);
                        names.pop();
                    }
                    Event::Symlink(target) => {
                        for (_, reference) in references {
                            let digits = reference.hash_digits();
                            if let Some(place) = target.windows(digits.len()).position(|window| window == digits) {
                                let shown = self.highlight(target, place, reference);
                                hits.entry(reference.clone()).or_default().push(format!("{} -> {shown}", shown_path(&names)));
                            }
                        }
                        names.pop();
                    }
                    Event::EndDirectory => drop(names.pop()),
                    Event::Directory => {}
                }
            }
            Ok(())
        })?;
        Ok(hits)
    }

    /// Looks for references in what is kept, and forgets what can't be part of one any more.
    fn find(
        &self,
        names: &[String],
        references: &[(usize, StorePath)],
        text: &mut Vec<u8>,
        seen: &mut BTreeSet<StorePath>,
        hits: &mut BTreeMap<StorePath, Vec<String>>,
        is_end: bool,
    ) {
        for (_, reference) in references {
            let digits = reference.hash_digits();
            if seen.contains(reference) {
                continue;
            }
            let Some(place) = text.windows(digits.len()).position(|window| window == digits) else { continue };
            let end = place + digits.len() + MARGIN;
            if end > text.len() && !is_end {
                continue;
            }
            seen.insert(reference.clone());
            let start = place.saturating_sub(MARGIN);
            let shown: Vec<u8> = text[start..end.min(text.len())].iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'.' }).collect();
            let shown = self.highlight(&shown, place - start, reference);
            hits.entry(reference.clone()).or_default().push(format!("{}: …{shown}…", shown_path(names)));
        }
        let kept = nixlang_store::path::HASH_LEN + 2 * MARGIN;
        if text.len() > 16 * kept {
            text.drain(..text.len() - kept);
        }
    }

    fn highlight(&self, text: &[u8], place: usize, reference: &StorePath) -> String {
        let colour = if *reference == self.dependency { GREEN } else { BLUE };
        let show = String::from_utf8_lossy;
        let end = place + nixlang_store::path::HASH_LEN;
        format!("{}{colour}{}{NORMAL}{}", show(&text[..place]), show(&text[place..end]), show(&text[end..]))
    }
}

fn shown_path(names: &[String]) -> String {
    if names.is_empty() { "/".to_owned() } else { names.join("/") }
}
